//! `kill`: a signal for a container's first process.

use monitor::Hello;
use rustix::process::{Pid, PidfdFlags, pidfd_open};
use step::Failure;

use crate::ops::stop::thaw;
use crate::request::Restart;
use crate::state::Store;
use crate::sweep::sweep;
use crate::{Error, Kind, Settings, contact, events};

const SIGKILL: i32 = 9;
const SIGTERM: i32 = 15;

/// Sends `signal` (a number) to the first process of the running container that `name` (name, id or unambiguous
/// beginning of an id) means.
pub fn kill(settings: &Settings, name: &str, signal: i32) -> Result<(), Error> {
    let store = Store::new(settings);
    sweep(settings, &store)?;
    let (id, record) = store.load(name)?;
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
    // Whoever ends it does not want it started again.
    let ends = [SIGKILL, record.request.stop_signal.unwrap_or(SIGTERM)].contains(&signal);
    let halted = match ends && record.request.restart != Restart::No {
        true => contact::connect(&store, &id, Hello { halt: true, ..Hello::default() })?,
        false => None,
    };
    // Before it can end: a death comes after what it died of.
    events::container(settings, &record, "kill", &[("signal", &signal.to_string())]);
    sys::signal::send(&pidfd, signal).map_err(|error| Failure::new("kill", name, error))?;
    if ends {
        thaw(&record);
    }
    drop(halted);
    Ok(())
}
