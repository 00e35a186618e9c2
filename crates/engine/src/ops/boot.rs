//! `system start`: after a boot, the containers that are to run.

use super::start;
use crate::request::Restart;
use crate::state::{Life, Store};
use crate::sweep::sweep;
use crate::{Error, Settings};

/// A container that was to be started: its name, and how that went.
pub type Tried = (String, Result<(), Error>);

/// Starts every container that does not run and that its restart policy wants to run after a boot.
pub fn start_all(settings: &Settings) -> Result<Vec<Tried>, Error> {
    let store = Store::new(settings);
    store.prepare()?;
    sweep(settings, &store)?;
    let mut tried = Vec::new();
    for id in store.all()? {
        // One bad file must not keep the others.
        let Ok(Some(record)) = store.record(&id) else { continue };
        let life = match store.life(&id) {
            Ok(Some(life)) => life,
            Ok(None) if record.by_run => Life::default(),
            _ => continue,
        };
        if wanted(record.request.restart, &life) && store.living_init(&id).is_none() {
            // One that is on its way down is waited for; none: it runs by now.
            let started = start::start(settings, &id, false).map(|started| started.map(drop)).transpose();
            tried.extend(started.map(|started| (record.name, started)));
        }
    }
    Ok(tried)
}

/// Docker's rules: `always` is always, `unless-stopped` not if a user had stopped it, `on-failure` if it failed or ran
/// when the machine went down.
fn wanted(restart: Restart, life: &Life) -> bool {
    match restart {
        Restart::No => false,
        Restart::Always => true,
        Restart::UnlessStopped => !life.by_user,
        Restart::OnFailure(_) => {
            !life.by_user && life.ended.as_ref().is_none_or(|end| end.code.is_none_or(|code| code != 0))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::state::End;

    #[test]
    fn what_runs_after_a_boot() {
        let life = |code: Option<Option<u8>>, by_user| Life {
            ended: code.map(|code| End { code, ..End::default() }),
            by_user,
            ..Life::default()
        };
        let all = [
            (life(None, false), [false, true, true, true]),
            (life(Some(None), false), [false, true, true, true]),
            (life(Some(Some(0)), false), [false, true, true, false]),
            (life(Some(Some(1)), false), [false, true, true, true]),
            (life(Some(Some(137)), true), [false, true, false, false]),
        ];
        for (life, expected) in all {
            let policies = [Restart::No, Restart::Always, Restart::UnlessStopped, Restart::OnFailure(None)];
            assert_eq!(policies.map(|policy| wanted(policy, &life)), expected, "{life:?}");
        }
    }
}
