//! A pod goes, and all that is in it.

use std::time::Duration;

use super::super::kill;
use super::super::remove::Remover;
use super::super::stop::Options;
use super::{Done, Listed, PodState, list, stop};
use crate::pods::{self, Door};
use crate::state::Store;
use crate::{Error, Kind, Settings};

/// How a pod is removed.
#[derive(Debug, Clone, Copy, Default)]
pub struct Removal {
    /// With containers that run, which are killed.
    pub force: bool,
    /// Before that they are asked, and have so many seconds; negative for ever.
    pub timeout: Option<i64>,
}

/// So long those who come in may take.
const PATIENCE: Duration = Duration::from_secs(10);

const SIGKILL: i32 = 9;

/// Removes a pod with its containers and their anonymous volumes; containers that run only by force. What cannot be removed
/// stays, and the pod with it.
pub fn remove(settings: &Settings, name: &str, how: Removal) -> Result<Done, Error> {
    let remover = Remover::new(settings)?;
    let store = Store::new(settings);
    let found = pods::find(&store, name)?;
    let (id, pod) = (found.record.id, found.record.name);
    if how.force {
        end(settings, &store, &id, how)?;
    }
    // Whoever comes in now waits, and learns then that it is gone.
    let Some(door) = Door::close(&store, &id, PATIENCE)? else {
        return Err(Error::new(
            Kind::InUse,
            format!("cannot remove pod {pod}: containers are coming into it"),
        )
        .hint("try again"));
    };
    let members = pods::members(&store, &id)?;
    let running = members.iter().filter(|member| store.living_init(&member.id).is_some());
    let running: Vec<&str> = running.map(|member| member.name.as_str()).collect();
    if !how.force && !running.is_empty() {
        let verb = if running.len() == 1 { "runs" } else { "run" };
        let message = format!("cannot remove pod {pod}: {} {verb} in it", running.join(", "));
        return Err(Error::new(Kind::InUse, message)
            .hint(format!("stop it first: minidocker pod stop {pod}; or use `minidocker pod rm -f {pod}`")));
    }
    let mut done = Done::of(&id);
    done.each(&members, |member| {
        match remover.remove_with_pod(&member.id, how.force) {
            // By somebody else.
            Err(error) if error.kind == Kind::NoSuchContainer => Ok(Vec::new()),
            removed => removed.map(|()| Vec::new()),
        }
    });
    if done.failed.is_empty() {
        remover.remove_with_pod(&id, true)?;
    }
    drop(door);
    remover.finish()?;
    Ok(done)
}

/// Ends what runs, all at once: removals wait for one after the other.
fn end(settings: &Settings, store: &Store, id: &str, how: Removal) -> Result<(), Error> {
    if let Some(seconds) = how.timeout {
        stop(settings, id, Options { signal: None, timeout: Some(seconds) })?;
    }
    for member in pods::members(store, id)?.iter().filter(|member| store.living_init(&member.id).is_some()) {
        // One that has just ended needs nothing more.
        let _ = kill::kill(settings, &member.id, SIGKILL);
    }
    Ok(())
}

/// Removes all pods that have ended and that `keep` does not want to keep; their ids. One that cannot be removed stays, and
/// is told of.
pub fn prune(
    settings: &Settings,
    keep: &dyn Fn(&Listed) -> bool,
) -> Result<(Vec<String>, Vec<Error>), Error> {
    let (mut ids, mut failed) = (Vec::new(), Vec::new());
    for listed in list(settings)? {
        if !matches!(listed.state(), PodState::Exited | PodState::Stopped) || keep(&listed) {
            continue;
        }
        // One that was started meanwhile is kept: nothing is forced.
        match remove(settings, &listed.infra.id, Removal::default()) {
            Ok(done) if done.failed.is_empty() => ids.push(done.id),
            Ok(done) => failed.extend(done.failed),
            Err(error) if error.kind == Kind::NoSuchPod => {}
            Err(error) => failed.push(error),
        }
    }
    Ok((ids, failed))
}

/// Removes a pod that was made for a container that did not come; one that has containers stays.
pub fn discard(settings: &Settings, id: &str) -> Result<(), Error> {
    match pods::members(&Store::new(settings), id)?.is_empty() {
        true => remove(settings, id, Removal::default()).map(drop),
        false => Ok(()),
    }
}
