//! `pause` and `unpause`: every process of a container stands still, and runs on.

use cgroup::{Group, Hierarchies};
use monitor::Hello;

use super::list::{State, state};
use crate::state::{Record, Store};
use crate::sweep::sweep;
use crate::{Error, Kind, Settings, contact, events};

/// Stops every process of a running container where it is.
pub fn pause(settings: &Settings, name: &str) -> Result<(), Error> {
    let (record, state) = look(settings, name)?;
    match state {
        State::Running(..) => {
            // A monitor that answers has started it: one that stands still on its way there would never get there.
            let monitor = contact::connect(&Store::new(settings), &record.id, Hello::default())?;
            if monitor.is_none_or(|(_, welcome)| welcome.pid.is_none()) {
                return Err(not_running("pause", name));
            }
            group(&record)?.freeze()?;
            events::container(settings, &record, "pause", &[]);
            Ok(())
        }
        State::Paused(..) => {
            let error = Error::new(Kind::Invalid, format!("container {name} is already paused"));
            Err(error.hint(format!("`minidocker unpause {name}` lets it run on")))
        }
        _ => Err(not_running("pause", name)),
    }
}

/// Lets them run on.
pub fn unpause(settings: &Settings, name: &str) -> Result<(), Error> {
    let (record, state) = look(settings, name)?;
    match state {
        State::Paused(..) => {
            group(&record)?.thaw()?;
            events::container(settings, &record, "unpause", &[]);
            Ok(())
        }
        State::Running(..) => Err(Error::new(Kind::Invalid, format!("container {name} is not paused"))),
        _ => Err(not_running("unpause", name)),
    }
}

fn look(settings: &Settings, name: &str) -> Result<(Record, State), Error> {
    let store = Store::new(settings);
    sweep(settings, &store)?;
    let (_, record) = store.load(name)?;
    let state = state(&store, &record)?;
    Ok((record, state))
}

fn group(record: &Record) -> Result<Group, Error> {
    Ok(Group::open(&Hierarchies::probe()?, &record.group)?)
}

fn not_running(verb: &str, name: &str) -> Error {
    Error::new(Kind::Invalid, format!("cannot {verb} container {name}: it is not running"))
        .hint("`minidocker ps` lists the containers that run")
}
