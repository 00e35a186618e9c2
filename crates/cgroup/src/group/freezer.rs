//! Stopping a group and letting it run: v1's freezer, where it is mounted, else v2's `cgroup.freeze`.
//!
//! v1 (Documentation/admin-guide/cgroup-v1/freezer-subsystem.rst) goes from THAWED by way of FREEZING to FROZEN. A
//! task that is forked or moved in meanwhile can be missed, and then it stays in FREEZING until somebody asks anew,
//! or for ever: asking again and, now and then, a short thaw help. v2 does it by itself and tells it in
//! `cgroup.events`.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use ::step::Failure;
use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags};

use super::{Backoff, Group};
use crate::kernfs;

/// How long processes may take to stop: one that is in the kernel stops when it leaves it.
const FREEZE: Duration = Duration::from_secs(10);
/// How long a look waits for a group that is on its way to stand still.
const LOOK: Duration = Duration::from_secs(2);
/// v1: after so many times of asking in vain, a thaw.
const TRIES: u32 = 25;
/// v1: how long a thaw lasts, and the longest pause between two times of asking.
const THAW: Duration = Duration::from_millis(10);

/// What a group does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Running,
    Stopping,
    Stopped,
}

impl Group {
    /// Stops every process in the group and waits until all stand still. Where one does not, all run on.
    pub fn freeze(&self) -> Result<(), Failure> {
        self.set_frozen(true, FREEZE).inspect_err(|_| {
            // Half a freeze is none.
            let _ = self.write_frozen(false);
        })
    }

    /// Lets them run again.
    pub fn thaw(&self) -> Result<(), Failure> {
        self.set_frozen(false, FREEZE)
    }

    /// Whether the group was stopped; one that only stands still with a group above it was not, and one that is not
    /// there neither. Waits a moment for a group that is on its way, and errors where it gets stuck there.
    pub fn is_frozen(&self) -> Result<bool, Failure> {
        let deadline = Instant::now() + LOOK;
        let mut pause = Backoff::new();
        loop {
            match self.freezer_state()? {
                State::Running => return Ok(false),
                State::Stopped => return Ok(true),
                State::Stopping if Instant::now() >= deadline => return Err(self.not_frozen(true, LOOK)),
                State::Stopping => pause.wait(),
            }
        }
    }

    fn freezer_state(&self) -> Result<State, Failure> {
        let read = |file: PathBuf| match kernfs::read(&file) {
            Ok(text) => Ok(text),
            // No such group any more, or a kernel without the file: nothing was stopped.
            Err(error)
                if [Errno::NOENT, Errno::NODEV]
                    .iter()
                    .any(|errno| error.raw_os_error() == Some(errno.raw_os_error())) =>
            {
                Ok(String::new())
            }
            Err(error) => Err(Failure::new("cgroup.freeze", file.to_string_lossy(), error)),
        };
        if let Some(dir) = self.v1("freezer") {
            let (state, own) = (read(dir.join("freezer.state"))?, read(dir.join("freezer.self_freezing"))?);
            return Ok(state_v1(&state, &own));
        }
        let Some(dir) = self.v2() else { return Ok(State::Running) };
        let asked = read(dir.join("cgroup.freeze"))?;
        let events = if asked.trim() == "1" { read(dir.join("cgroup.events"))? } else { String::new() };
        Ok(state_v2(&asked, &events))
    }

    /// The file that freezes, what to write to it, the file that tells, and what it then says.
    fn freezer(&self, freeze: bool) -> Option<(PathBuf, &'static str, PathBuf, &'static str)> {
        if let Some(dir) = self.v1("freezer") {
            let state = if freeze { "FROZEN" } else { "THAWED" };
            return Some((dir.join("freezer.state"), state, dir.join("freezer.state"), state));
        }
        let (value, event) = if freeze { ("1", "frozen 1") } else { ("0", "frozen 0") };
        self.v2().map(|dir| (dir.join("cgroup.freeze"), value, dir.join("cgroup.events"), event))
    }

    pub(super) fn write_frozen(&self, freeze: bool) -> Result<(PathBuf, &'static str), Failure> {
        let Some((file, value, tells, says)) = self.freezer(freeze) else {
            return Err(Failure::because(
                "cgroup.freeze",
                self.path(),
                "this host has neither v1's freezer nor v2",
            )
            .hint("mount cgroup2, or the v1 hierarchy freezer"));
        };
        kernfs::write(&file, value)
            .map_err(|cause| Failure::new("cgroup.freeze", file.to_string_lossy(), cause))?;
        Ok((tells, says))
    }

    pub(super) fn set_frozen(&self, freeze: bool, limit: Duration) -> Result<(), Failure> {
        let deadline = Instant::now() + limit;
        let (tells, says) = self.write_frozen(freeze)?;
        let failed = |cause: io::Error| Failure::new("cgroup.freeze", tells.to_string_lossy(), cause);
        let fd = rustix::fs::open(&tells, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())
            .map_err(|errno| failed(errno.into()))?;
        let mut pause = Backoff::new();
        for tries in 1.. {
            let mut text = [0u8; 256];
            let length = rustix::io::pread(&fd, &mut text, 0).map_err(|errno| failed(errno.into()))?;
            if String::from_utf8_lossy(&text[..length]).lines().any(|line| line == says) {
                return Ok(());
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                break;
            }
            let step = pause.next().min(left);
            if tells.ends_with("cgroup.events") {
                wait_for_event(&fd, step);
            } else {
                self.ask_again(freeze, tries, step)?;
            }
        }
        Err(self.not_frozen(freeze, limit))
    }

    /// v1 does not look again at who could not stop before (runc met it too).
    fn ask_again(&self, freeze: bool, tries: u32, step: Duration) -> Result<(), Failure> {
        if freeze && tries.is_multiple_of(TRIES) {
            // A task that was missed stops with the others the next time.
            self.write_frozen(false)?;
            std::thread::sleep(THAW);
        } else {
            std::thread::sleep(step.min(THAW));
        }
        self.write_frozen(freeze).map(|_| ())
    }

    pub(crate) fn not_frozen(&self, freeze: bool, limit: Duration) -> Failure {
        let done = if freeze { "stopped" } else { "running" };
        let reason = match self.stuck() {
            Some((pid, at)) => format!("not {done} after {limit:?}: process {pid} is in {at}"),
            None => format!("not {done} after {limit:?}, and no process is in it"),
        };
        Failure::because("cgroup.freeze", self.path(), reason)
            .hint("a process that waits for a device or a network file system stops when that answers")
    }

    /// A process that does not stand where stopped ones stand, and where it stands instead.
    fn stuck(&self) -> Option<(i32, String)> {
        let at = |pid: i32| {
            let place = std::fs::read_to_string(format!("/proc/{pid}/wchan")).unwrap_or_default();
            (
                pid,
                if matches!(place.trim(), "" | "0") {
                    "user space".to_owned()
                } else {
                    place.trim().to_owned()
                },
            )
        };
        let places: Vec<(i32, String)> = self.processes().into_iter().map(at).collect();
        let stopped = ["__refrigerator", "do_freezer_trap", "get_signal"];
        places.iter().find(|(_, place)| !stopped.contains(&place.as_str())).or(places.first()).cloned()
    }

    /// Sends a signal to every process in the group and below; how many got it. Stopped meanwhile where that can be
    /// done, so that none is forked unseen; a group that was stopped before stays so, except for the signal 9, of
    /// which v1's stopped processes would not die.
    ///
    /// Errors: `EINVAL` for a number that is no signal, `EPERM` where a process is another user's.
    pub fn signal(&self, signal: i32) -> Result<usize, Failure> {
        const KILL: i32 = 9;
        let before = self.is_frozen().unwrap_or(false);
        if !before {
            // Without it somebody may slip through, as with any list of processes.
            let _ = self.set_frozen(true, LOOK);
        }
        let sent = self.processes().into_iter().try_fold(0, |sent, pid| match send(pid, signal) {
            Ok(()) => Ok(sent + 1),
            // Gone of itself.
            Err(error) if error.raw_os_error() == Some(Errno::SRCH.raw_os_error()) => Ok(sent),
            Err(error) => Err(Failure::new("cgroup.signal", format!("{} process {pid}", self.path()), error)),
        });
        if !before || signal == KILL {
            let _ = self.write_frozen(false);
        }
        sent
    }
}

fn send(pid: i32, signal: i32) -> io::Result<()> {
    let Some(pid) = Pid::from_raw(pid) else { return Err(Errno::SRCH.into()) };
    sys::signal::send(&rustix::process::pidfd_open(pid, PidfdFlags::empty())?, signal)
}

/// v2 tells by an event; the time is for a kernel that does not.
fn wait_for_event(fd: &OwnedFd, step: Duration) {
    let time = Timespec { tv_sec: 0, tv_nsec: i64::from(step.subsec_nanos()) };
    let _ = rustix::event::poll(&mut [PollFd::from_borrowed_fd(fd.as_fd(), PollFlags::PRI)], Some(&time));
}

/// By `freezer.state` and `freezer.self_freezing`.
fn state_v1(state: &str, own: &str) -> State {
    match (state.trim(), own.trim()) {
        ("FREEZING", _) => State::Stopping,
        // Stopped by a group above.
        ("FROZEN", "0") => State::Running,
        ("FROZEN", _) => State::Stopped,
        _ => State::Running,
    }
}

/// By `cgroup.freeze` and `cgroup.events`.
fn state_v2(asked: &str, events: &str) -> State {
    let frozen = kernfs::keyed(events, "frozen");
    match (asked.trim(), frozen) {
        ("1", Some(1)) => State::Stopped,
        // The group went between both reads.
        ("1", None) => State::Running,
        ("1", _) => State::Stopping,
        _ => State::Running,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn states_of_v1() {
        assert_eq!(state_v1("THAWED\n", "0\n"), State::Running);
        assert_eq!(state_v1("FREEZING\n", "1\n"), State::Stopping);
        assert_eq!(state_v1("FROZEN\n", "1\n"), State::Stopped);
        assert_eq!(state_v1("FROZEN\n", "0\n"), State::Running, "by a group above");
        assert_eq!(state_v1("FROZEN\n", ""), State::Stopped, "Linux before 3.8 does not tell by whom");
        assert_eq!(state_v1("", ""), State::Running);
    }

    #[test]
    fn states_of_v2() {
        assert_eq!(state_v2("0\n", ""), State::Running);
        assert_eq!(state_v2("1\n", "populated 1\nfrozen 0\n"), State::Stopping);
        assert_eq!(state_v2("1\n", "populated 1\nfrozen 1\n"), State::Stopped);
        assert_eq!(state_v2("1\n", ""), State::Running);
        assert_eq!(state_v2("", ""), State::Running);
    }
}
