//! `kill`: a signal for the container's first process, or for all of them.

use cgroup::{Group, Hierarchies};
use oci::spec::LinuxNamespaceType as Kind;

use crate::error::Error;
use crate::store::{Saved, Store};
use crate::{Settings, prepare};

/// SIGKILL.
const KILL: i32 = 9;

/// Sends `signal` to the container's first process; to every process of it with `all`, and by SIGKILL where the first
/// one's end does not end the others: without a pid namespace of its own.
pub fn kill(settings: &Settings, id: &str, signal: i32, all: bool) -> Result<(), Error> {
    let store = Store::new(&settings.root);
    let saved = store.load(id)?;
    let group = group(&saved)?;
    let shared = !prepare::owns(&saved.config, Kind::Pid);
    if all || shared && signal == KILL {
        // Its own first process may be gone while others live on.
        if saved.init.is_none_or(|init| !init.is_alive()) && group.processes().is_empty() {
            return if all { Ok(()) } else { Err(not_running()) };
        }
        return signal_all(&group, signal);
    }
    let Some(pidfd) = saved.init.and_then(|init| init.pidfd()) else { return Err(not_running()) };
    sys::signal::send(&pidfd, signal).map_err(|error| match error.raw_os_error() {
        Some(3) => not_running(),
        _ => Error::new(format!("unable to signal init: {}", step::words(&error))),
    })?;
    // Frozen processes do not die: SIGKILL is meant to be the end all the same.
    if signal == KILL && group.is_frozen().unwrap_or(false) {
        group.thaw()?;
    }
    Ok(())
}

fn not_running() -> Error {
    Error::new("container not running")
}

/// The control group of a container.
pub(super) fn group(saved: &Saved) -> Result<Group, Error> {
    Ok(Group::open(&Hierarchies::probe()?, &saved.group)?)
}

fn signal_all(group: &Group, signal: i32) -> Result<(), Error> {
    if signal == KILL {
        return Ok(group.kill()?);
    }
    group.signal(signal)?;
    Ok(())
}
