//! `kill`: a signal for a container's first process.

use rustix::process::{Pid, PidfdFlags, pidfd_open};
use step::Failure;

use crate::state::Store;
use crate::sweep::sweep;
use crate::{Error, Kind, Settings};

/// Sends `signal` (a number) to the first process of the running container that `name` (name, id or unambiguous
/// beginning of an id) means.
pub fn kill(settings: &Settings, name: &str, signal: i32) -> Result<(), Error> {
    let store = Store::new(settings);
    sweep(settings, &store)?;
    let id = store.find(name)?;
    let not_running = || {
        Error::new(Kind::Invalid, format!("cannot kill container {name}: it is not running"))
            .hint("`minidocker ps` lists the containers that run")
    };
    let pid = store.living_init(&id).and_then(Pid::from_raw).ok_or_else(not_running)?;
    let pidfd = pidfd_open(pid, PidfdFlags::empty()).map_err(|_| not_running())?;
    // Between the look and the open it may have ended and its number may mean another: now it cannot any more.
    if store.living_init(&id) != Some(pid.as_raw_pid()) {
        return Err(not_running());
    }
    sys::signal::send(&pidfd, signal).map_err(|error| Failure::new("kill", name, error).into())
}
