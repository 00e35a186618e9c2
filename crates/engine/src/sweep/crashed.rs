//! Containers whose lock is free: their monitor is gone. One that lives on by itself gets a new one, of all others the
//! remains are taken down.

use std::os::fd::OwnedFd;

use step::Failure;

use super::finding::Finding;
use super::steps::{SweepStep, first_life};
use crate::Settings;
use crate::keeper::wants_again;
use crate::state::{End, Held, Record, Store};
use crate::steps::{Remains, takedown};

const KIND: &str = "container";

/// What is to be done about a container of the run root; none where its monitor lives.
pub(super) fn look(settings: &Settings, store: &Store, id: &str) -> Result<Option<Finding>, Failure> {
    let Some(Held { lock }) = store.abandoned(id)? else { return Ok(None) };
    // A damaged record must not keep its remains for ever.
    let record = store.record(id).ok().flatten();
    let name = record.as_ref().map_or(String::new(), |record| format!(" ({})", record.name));
    let which = format!("{}{name}", &id[..12]);
    Ok(Some(match (store.living_init(id), record) {
        (Some(pid), Some(record)) if store.is_apart(id) => {
            let found = Finding::new(KIND, which, "it runs, and its monitor is gone");
            let step = SweepStep::Adopt { settings: settings.clone(), record: Box::new(record), pid, lock };
            found.step("give it a new monitor", step)
        }
        (alive, record) => crashed(settings, store, id, which, alive, record, lock),
    }))
}

fn crashed(
    settings: &Settings,
    store: &Store,
    id: &str,
    which: String,
    alive: Option<i32>,
    record: Option<Record>,
    lock: OwnedFd,
) -> Finding {
    let life = store.life(id).ok().flatten();
    let started = store.started(id).is_some();
    let remains = Remains {
        // Without a record, or before its first process was there, there is no container to keep.
        remove: record.as_ref().is_none_or(|record| {
            record.request.remove || record.by_run && life.is_none() && alive.is_none() && !started
        }),
        ..record.as_ref().map_or_else(|| unknown(settings, id), Remains::of)
    };
    let why = match (alive, &record) {
        (Some(_), _) => "it was to end with its command, which is gone",
        (None, None) => "it was being made, and nobody goes on with it",
        (None, Some(_)) => "its monitor is gone, and it ended",
    };
    let mut found = Finding::new(KIND, which, why);
    found.remedy =
        if remains.remove { "remove what is left of it" } else { "take down what it had" }.to_owned();
    found.repair.extend(alive.map(|pid| Box::new(SweepStep::Kill { pid }) as _));
    let mut again = false;
    if let Some(record) = record.as_ref().filter(|_| !remains.remove) {
        let ended = life.as_ref().is_some_and(|life| life.ended.is_some());
        let mut life = life.unwrap_or_else(|| first_life(record));
        if !ended && (record.by_run || started) {
            life.ended = Some(End::now(None));
            let (settings, record) = (settings.clone(), Box::new(record.clone()));
            found.repair.push(Box::new(SweepStep::Lost { settings, record, life: Box::new(life.clone()) }));
        }
        again = store.is_apart(id) && wants_again(record.request.restart, &life);
    }
    found.repair.extend(takedown(settings, &remains).all());
    if let Some(record) = record.filter(|_| remains.remove) {
        found.then.push(Box::new(SweepStep::Gone { settings: settings.clone(), record: Box::new(record) }));
    }
    if again {
        found.remedy.push_str(", start it again");
        found.then.push(Box::new(SweepStep::Again { settings: settings.clone(), id: id.to_owned() }));
    }
    found.held(lock)
}

/// A container without a record.
fn unknown(settings: &Settings, id: &str) -> Remains {
    Remains {
        id: id.to_owned(),
        group: settings.group(None, id),
        kill: true,
        networks: None,
        no_network: false,
        name: None,
        remove: true,
        keep_volumes: true,
        // A damaged record, perhaps: it goes before the name does.
        kept: true,
        pod: None,
    }
}
