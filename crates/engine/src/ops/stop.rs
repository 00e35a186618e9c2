//! `stop` and `restart`: a container is asked to end, and made to where it does not.

use std::time::{Duration, Instant};

use cgroup::{Group, Hierarchies};
use monitor::{Channel, Hello};
use rustix::process::{Pid, PidfdFlags, pidfd_open};

use super::start;
use crate::contact::{self, Word};
use crate::state::{Record, Store};
use crate::sweep::sweep;
use crate::{Error, Kind, Settings, events};

/// How a container is stopped.
#[derive(Debug, Clone, Copy, Default)]
pub struct Options {
    /// `--signal`; else the container's own, else TERM.
    pub signal: Option<i32>,
    /// `--timeout`, seconds; negative for ever; else the container's own, else [`TIMEOUT`].
    pub timeout: Option<i64>,
}

/// How long a container may take to end after it was asked to, in seconds, as in Docker.
pub const TIMEOUT: i64 = 10;

/// How long a killed one may take. Longer, and a process is stuck in the kernel.
const PATIENCE: Duration = Duration::from_secs(10);

/// How often a killed one is looked after: somebody else may pause it meanwhile, and with version 1 of control groups
/// a frozen process does not die of a signal.
pub(super) const THAW: Duration = Duration::from_millis(50);

const SIGTERM: i32 = 15;
const SIGKILL: i32 = 9;

/// Stops a container. One that does not run is content with that.
pub fn stop(settings: &Settings, name: &str, options: Options) -> Result<(), Error> {
    let store = Store::new(settings);
    sweep(settings, &store)?;
    match ask(settings, &store, name, options)? {
        Some(stopping) => stopping.finish(settings),
        None => Ok(()),
    }
}

/// A container that was asked to end.
#[derive(Debug)]
pub(crate) struct Stopping {
    record: Record,
    channel: Channel,
    pid: i32,
    /// Until then it has time; none: for ever.
    until: Option<Instant>,
}

/// Asks a container to end; none where it does not run.
pub(crate) fn ask(
    settings: &Settings,
    store: &Store,
    name: &str,
    options: Options,
) -> Result<Option<Stopping>, Error> {
    let (id, record) = store.load(name)?;
    let hello = Hello { halt: true, ..Hello::default() };
    let Some((channel, welcome)) = contact::connect(store, &id, hello)? else { return Ok(None) };
    let signal = options.signal.or(record.request.stop_signal).unwrap_or(SIGTERM);
    send(settings, &record, signal);
    thaw(&record);
    let seconds = options.timeout.or(record.request.stop_timeout).unwrap_or(TIMEOUT);
    let until = u64::try_from(seconds).ok().map(|seconds| Instant::now() + Duration::from_secs(seconds));
    Ok(Some(Stopping { record, channel, pid: welcome.pid.unwrap_or_default(), until }))
}

impl Stopping {
    /// Waits until it has ended, and makes it where it does not.
    pub(crate) fn finish(self, settings: &Settings) -> Result<(), Error> {
        let Self { record, mut channel, pid, until } = self;
        if wait_until_gone(&mut channel, until)? {
            events::container(settings, &record, "stop", &[]);
            return Ok(());
        }
        send(settings, &record, SIGKILL);
        let patience = Instant::now() + PATIENCE;
        while Instant::now() < patience {
            thaw(&record);
            if wait_until_gone(&mut channel, Some(Instant::now() + THAW))? {
                events::container(settings, &record, "stop", &[]);
                return Ok(());
            }
        }
        let message = format!("cannot stop container {}: its process {pid} does not end", record.name);
        Err(Error::new(Kind::Engine, message)
            .hint(format!("it is stuck in the kernel, see /proc/{pid}/stack; try again when it has ended")))
    }
}

/// Stops a container that runs, and starts it.
pub fn restart(settings: &Settings, name: &str, options: Options) -> Result<(), Error> {
    stop(settings, name, options)?;
    start::start(settings, name, false)?;
    if let Ok((_, record)) = Store::new(settings).load(name) {
        events::container(settings, &record, "restart", &[]);
    }
    Ok(())
}

/// A signal for its first process, if it lives.
fn send(settings: &Settings, record: &Record, signal: i32) {
    let (store, id) = (Store::new(settings), record.id.as_str());
    let Some(pid) = store.living_init(id).and_then(Pid::from_raw) else { return };
    let Ok(pidfd) = pidfd_open(pid, PidfdFlags::empty()) else { return };
    if store.living_init(id) == Some(pid.as_raw_pid()) {
        // Before it can end: a death comes after what it died of.
        events::container(settings, record, "kill", &[("signal", &signal.to_string())]);
        // It may have ended meanwhile: that is what is wanted.
        let _ = sys::signal::send(&pidfd, signal);
    }
}

/// A paused container cannot hear.
pub(super) fn thaw(record: &Record) {
    let group = Hierarchies::probe().and_then(|hierarchies| Group::open(&hierarchies, &record.group));
    if let Ok(group) = group
        && group.is_frozen().unwrap_or(false)
    {
        let _ = group.thaw();
    }
}

/// False when the time is over.
fn wait_until_gone(channel: &mut Channel, until: Option<Instant>) -> Result<bool, Error> {
    loop {
        match contact::next(channel, until)? {
            Word::Gone | Word::Lost => return Ok(true),
            Word::Ended(_) => {}
            Word::Nothing => return Ok(false),
        }
    }
}
