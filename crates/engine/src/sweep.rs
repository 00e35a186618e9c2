//! What a crash left behind is taken down by the next command, whichever it is. A container whose lock is free has no
//! monitor any more; a detached one that still runs is left alone.

use monitor::Note;
use step::{Context, Failure, Step};

use crate::Settings;
use crate::state::{ExitRecord, Held, Store};
use crate::steps::{Remains, take_all, takedown};

/// Sweeps. What cannot be taken down stays for the next time and keeps nobody from working: it is told.
pub(crate) fn sweep(settings: &Settings, store: &Store) -> Result<Vec<Note>, Failure> {
    let mut left = Vec::new();
    for id in store.present()? {
        if let Some(held) = store.abandoned(&id)?
            && let Err(failure) = sweep_one(settings, store, &id, held)
        {
            let words = format!("container {} crashed and cannot be taken down yet: {failure}", &id[..12]);
            left.push((words, failure.hint));
        }
    }
    Ok(left)
}

fn sweep_one(settings: &Settings, store: &Store, id: &str, held: Held) -> Result<(), Failure> {
    // A damaged record must not keep its remains for ever.
    let record = store.record(id).ok().flatten();
    let alive = store.living_init(id);
    if let (Some(pid), Some(record)) = (alive, &record) {
        if record.request.detach {
            return Ok(());
        }
        kill(pid);
    }
    let remains = Remains {
        id: id.to_owned(),
        group: record.as_ref().map_or_else(|| settings.group(None, id), |record| record.group.clone()),
        kill: true,
        network: None,
        no_network: false,
        name: record.as_ref().map(|record| record.name.clone()),
        kept: record.as_ref().is_some_and(|record| !record.request.remove),
        remove: record.as_ref().is_none_or(|record| {
            record.request.remove
                || store.exit(id).ok().flatten().is_none() && alive.is_none() && !started(store, id)
        }),
    };
    if let Some(record) = record.as_ref().filter(|_| !remains.remove)
        && store.exit(id).ok().flatten().is_none()
    {
        store.write_exit(record, ExitRecord::now(None))?;
    }
    let mut context = Context::default();
    let taken = take_all(&takedown(settings, &remains).all(), |step: &dyn Step| step.perform(&mut context));
    drop(held);
    taken
}

/// Whether its first process was ever there: before that, there is no container to keep a record of.
fn started(store: &Store, id: &str) -> bool {
    store.started(id).is_some()
}

fn kill(pid: i32) {
    use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};
    if let Some(pidfd) = Pid::from_raw(pid).and_then(|pid| pidfd_open(pid, PidfdFlags::empty()).ok()) {
        let _ = pidfd_send_signal(pidfd, Signal::KILL);
    }
}
