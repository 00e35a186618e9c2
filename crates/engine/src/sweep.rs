//! What a crash left behind is taken down by the next command, whichever it is. A container whose lock is free has no
//! monitor any more; one that lives on by itself gets a new one.

use std::os::fd::OwnedFd;

use monitor::Note;
use rustix::fs::{Mode, OFlags};
use rustix::process::{Pid, PidfdFlags, pidfd_open};
use step::{Context, Failure, Step};

use crate::health::Watch;
use crate::keeper::{Keeper, Start, wants_again};
use crate::ops::{UNKNOWN, start};
use crate::state::{End, Held, Life, Record, Store};
use crate::steps::{Remains, take_all, takedown};
use crate::{Settings, events, image};

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
        if store.is_apart(id) {
            return adopt(settings, store, record, pid, held);
        }
        kill(pid);
    }
    let life = store.life(id).ok().flatten();
    let ended = life.as_ref().is_some_and(|life| life.ended.is_some());
    let remains = Remains {
        // Without a record, or before its first process was there, there is no container to keep.
        remove: record.as_ref().is_none_or(|record| {
            record.request.remove || record.by_run && life.is_none() && alive.is_none() && !started(store, id)
        }),
        ..record.as_ref().map_or_else(|| unknown(settings, id), Remains::of)
    };
    let mut again = false;
    if let Some(record) = record.as_ref().filter(|_| !remains.remove) {
        let mut life = life.unwrap_or_else(|| Life { starts: 1, started: record.created, ..Life::default() });
        if !ended && (record.by_run || started(store, id)) {
            life.ended = Some(End::now(None));
            store.write_life(record, &life, true)?;
            store.keep_health(record);
            events::container(settings, record, "die", &[("exitCode", &UNKNOWN.to_string())]);
        }
        again = store.is_apart(id) && wants_again(record.request.restart, &life);
    }
    let mut context = Context::default();
    let taken = take_all(&takedown(settings, &remains).all(), |step: &dyn Step| step.perform(&mut context));
    drop(held);
    taken?;
    if let Some(record) = record.filter(|_| remains.remove) {
        events::container(settings, &record, "destroy", &[]);
    }
    if again {
        start::start_swept(settings, store, id)
            .map_err(|error| Failure::because("monitor.again", id[..12].to_owned(), error.message))?;
    }
    Ok(())
}

/// A container without a record.
fn unknown(settings: &Settings, id: &str) -> Remains {
    Remains {
        id: id.to_owned(),
        group: settings.group(None, id),
        kill: true,
        network: None,
        no_network: false,
        name: None,
        remove: true,
        keep_volumes: true,
        kept: false,
    }
}

/// Gives a container that runs and has lost its monitor a new one.
fn adopt(settings: &Settings, store: &Store, record: &Record, pid: i32, held: Held) -> Result<(), Failure> {
    let id = record.id.as_str();
    let Some(pidfd) = open_pid(pid) else { return Ok(()) };
    // It may have ended, and its number may mean another by now: the next command takes it down.
    if store.living_init(id) != Some(pid) {
        return Ok(());
    }
    let dir = store.run_dir(id);
    let pipe = |name| {
        let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::CLOEXEC | OFlags::NOFOLLOW;
        rustix::fs::open(dir.join(name), flags, Mode::empty()).ok()
    };
    let output = [pipe("stdout"), pipe("stderr")];
    let source = image::source(settings, record)?;
    let life = store.life(id)?.filter(|life| life.ended.is_none());
    let mut keeper = Keeper::new(settings, record.clone(), source, Remains::of(record), held.lock);
    keeper.life = life.unwrap_or_else(|| Life { starts: 1, started: record.created, ..Life::default() });
    keeper.health = Watch::resume(store, record, keeper.life.started);
    (keeper.start, keeper.apart) = (Start::Again, true);
    monitor::adopt(monitor::Orphan { pid, pidfd, output, socket: dir }, keeper)
}

/// Whether its first process was ever there: before that, there is no container to keep a record of.
fn started(store: &Store, id: &str) -> bool {
    store.started(id).is_some()
}

fn kill(pid: i32) {
    if let Some(pidfd) = open_pid(pid) {
        let _ = sys::signal::send(&pidfd, 9);
    }
}

fn open_pid(pid: i32) -> Option<OwnedFd> {
    pidfd_open(Pid::from_raw(pid)?, PidfdFlags::empty()).ok()
}
