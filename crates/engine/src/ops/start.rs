//! `start`: a container that does not run, from its record.

use std::time::{Duration, Instant, SystemTime};

use step::{Actor, Context, Trace};

use super::launch::{Started, launch};
use crate::keeper::{Keeper, Start};
use crate::prepare::{draft, finish, reserve};
use crate::state::{Held, Life, Record, Store, millis};
use crate::steps::{Remains, take_all, takedown};
use crate::sweep::sweep;
use crate::{Error, Kind, Settings, image, pods};

/// How long the monitor of a container that has ended may take to be gone.
const PATIENCE: Duration = Duration::from_secs(10);

/// Starts a container that is there. None: it runs already. `reading`: this command reads what it prints.
pub fn start(settings: &Settings, name: &str, reading: bool) -> Result<Option<Started>, Error> {
    let store = Store::new(settings);
    store.prepare()?;
    sweep(settings, &store)?;
    let (id, record) = store.load(name)?;
    // Before anything of this container is held: the monitor of a pod's infra is a fork of this process.
    if let Some(pod) = record.request.pod.membership() {
        pods::run_infra(settings, &store, pod)?;
    }
    if record.request.pod.infra().is_some() {
        pods::check_whole(&store, &record)?;
    }
    let Some(held) = hold(&store, name, &id)? else { return Ok(None) };
    start_held(settings, &store, &id, held, reading).map(Some)
}

/// Without a sweep: for the sweep itself, and for a pod's infra.
pub(crate) fn start_swept(settings: &Settings, store: &Store, id: &str) -> Result<(), Error> {
    let (id, record) = store.load(id)?;
    if let Some(pod) = record.request.pod.membership() {
        pods::run_infra(settings, store, pod)?;
    }
    match hold(store, &record.name, &id)? {
        Some(held) => start_held(settings, store, &id, held, false).map(drop),
        None => Ok(()),
    }
}

/// Takes a container that does not run; none if it does.
fn hold(store: &Store, name: &str, id: &str) -> Result<Option<Held>, Error> {
    let start = Instant::now();
    loop {
        match store.hold(id) {
            Ok(held) => return Ok(Some(held)),
            Err(failure) if failure.errno == rustix::io::Errno::EXIST.raw_os_error() => {}
            Err(failure) => return Err(failure.into()),
        }
        if store.living_init(id).is_some() {
            return Ok(None);
        }
        // On its way down, between two starts, or another command starts it.
        if store.life(id)?.is_some_and(|life| life.again.is_some()) {
            return Ok(None);
        }
        if start.elapsed() > PATIENCE {
            return Err(Error::new(
                Kind::Engine,
                format!("cannot start container {name}: its monitor does not end"),
            )
            .hint("try again in a moment"));
        }
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// Starts one that is held: nobody else starts or removes it.
fn start_held(
    settings: &Settings,
    store: &Store,
    id: &str,
    held: Held,
    reading: bool,
) -> Result<Started, Error> {
    // Before that somebody may have removed it.
    let record = match store.load(id) {
        Ok((_, record)) => record,
        Err(error) => return store.forget(id).map_err(Error::from).and(Err(error)),
    };
    let remains = Remains { remove: false, ..Remains::of(&record) };
    match prepare(settings, store, record, held, reading) {
        Err(error) => {
            // Its monitor has taken down what it started; the rest is ours.
            if let Some(_held) = store.abandoned(id)? {
                let mut context = Context::default();
                take_all(&takedown(settings, &remains).all(), |step| step.perform(&mut context))?;
            }
            Err(error)
        }
        started => started,
    }
}

fn prepare(
    settings: &Settings,
    store: &Store,
    mut record: Record,
    held: Held,
    reading: bool,
) -> Result<Started, Error> {
    let id = record.id.clone();
    let writing = store.lock_record(&record)?;
    (_, record) = store.load(&id)?;
    let source = image::source(settings, &record)?;
    let draft = draft(settings, store, &record.request, &source, &id)?;
    let (places, notes) = reserve(settings, store, &record.request, &id, &record.name)?;
    let prepared = finish(store, &record.request, &id, draft, places)?;
    record.group.clone_from(&prepared.group);
    record.networks.clone_from(&prepared.places);
    record.disk = Some(prepared.disk.clone());
    writing.write(&record)?;
    if record.request.pod.infra().is_some() {
        pods::names(settings, store, &record)?;
    }
    // The monitor is a fork of this process: it must not keep the lock.
    drop(writing);
    let before = store.life(&id)?.unwrap_or_default();
    let life = Life { starts: before.starts + 1, started: millis(SystemTime::now()), ..Life::default() };
    store.write_life(&record, &life, true)?;
    let remains = Remains {
        networks: Some(prepared.places.clone()),
        kill: record.request.namespaces.pid != crate::request::Namespace::Private,
        ..Remains::of(&record)
    };
    let mut keeper = Keeper::new(settings, record, source, remains, held.lock);
    (keeper.life, keeper.start, keeper.apart) = (life, Start::Kept, true);
    let mut started = launch(store, keeper, prepared, reading, &mut Trace::new(Actor::Command, false))?;
    started.notes.splice(0..0, notes);
    Ok(started)
}
