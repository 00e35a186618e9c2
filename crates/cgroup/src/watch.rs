//! Being told when a group runs out of memory: a descriptor to wait on, and what happened when it wakes.
//! v1 signals an eventfd(2) (Documentation/admin-guide/cgroup-v1/memory.rst, "OOM Control"), v2 changes
//! `memory.events`, which inotify(7) tells.

use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::event::{EventfdFlags, PollFd, PollFlags, Timespec};
use rustix::fs::inotify::{CreateFlags, Reader, WatchFlags};
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;

use crate::group::Group;
use crate::hierarchies::Version;
use crate::kernfs::{self, keyed};

/// What [`OomWatch::next`] woke for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Woken {
    /// The group ran out of memory. v2 tells a kill in it or below it, after it happened. v1 tells, before, that a
    /// task of the group or of one above asked for memory in vain, and may tell that more than once for one kill.
    OutOfMemory,
    /// Nothing more will be told. v1: the group was removed. v2: its last process is gone, or the group is.
    Ended,
    /// The time was up.
    Nothing,
}

/// A watch on a group. Its descriptor is readable when [`OomWatch::next`] has something to tell; then ask it with no
/// time to wait until it says [`Woken::Nothing`] or [`Woken::Ended`].
#[derive(Debug)]
pub struct OomWatch {
    source: Source,
    /// Told after what is told now.
    ended: bool,
}

#[derive(Debug)]
enum Source {
    /// `control` is the open `memory.oom_control`: reading it fails once the group is gone, also where another group
    /// of the same name has taken its place.
    V1 {
        event: OwnedFd,
        control: OwnedFd,
    },
    V2 {
        inotify: OwnedFd,
        dir: PathBuf,
        kills: u64,
    },
}

impl Group {
    /// Starts to watch. Errors: `ENOENT` where the group is not there or its memory is not counted, and what
    /// registering says; v1 wants the right to write to the group, v2 to read it.
    pub fn watch_oom(&self) -> io::Result<OomWatch> {
        match self.with("memory", "memory") {
            Some((Version::V1, dir)) => watch_v1(dir),
            Some((Version::V2, dir)) => watch_v2(dir),
            None => Err(Errno::NOENT.into()),
        }
    }
}

fn watch_v1(dir: &Path) -> io::Result<OomWatch> {
    let open = |file: &str, flags| rustix::fs::open(dir.join(file), flags | OFlags::CLOEXEC, Mode::empty());
    let control = open("memory.oom_control", OFlags::RDONLY)?;
    let event = rustix::event::eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
    let register = open("cgroup.event_control", OFlags::WRONLY)?;
    let line = format!("{} {}", event.as_raw_fd(), control.as_raw_fd());
    rustix::io::write(&register, line.as_bytes())?;
    Ok(OomWatch { source: Source::V1 { event, control }, ended: false })
}

fn watch_v2(dir: &Path) -> io::Result<OomWatch> {
    let inotify = rustix::fs::inotify::init(CreateFlags::CLOEXEC | CreateFlags::NONBLOCK)?;
    // Removing a group makes no event on its files: that it is empty does.
    for file in ["memory.events", "cgroup.events"] {
        rustix::fs::inotify::add_watch(&inotify, dir.join(file), WatchFlags::MODIFY)?;
    }
    // From here on nothing is missed: what happened before is counted, what happens from now on wakes.
    let kills = oom_kills(dir)?.unwrap_or(0);
    let ended = !is_populated(dir)?;
    Ok(OomWatch { source: Source::V2 { inotify, dir: dir.to_owned(), kills }, ended })
}

/// None where the group is gone.
fn oom_kills(dir: &Path) -> io::Result<Option<u64>> {
    Ok(text(dir, "memory.events")?.map(|text| keyed(&text, "oom_kill").unwrap_or(0)))
}

/// Whether the group or one below it has processes. One that is gone has none.
fn is_populated(dir: &Path) -> io::Result<bool> {
    Ok(text(dir, "cgroup.events")?.is_some_and(|text| keyed(&text, "populated") != Some(0)))
}

fn text(dir: &Path, file: &str) -> io::Result<Option<String>> {
    match kernfs::read(&dir.join(file)) {
        Ok(text) => Ok(Some(text)),
        Err(error) if is_gone(error.raw_os_error()) => Ok(None),
        Err(error) => Err(error),
    }
}

fn is_gone(errno: Option<i32>) -> bool {
    matches!(errno.map(Errno::from_raw_os_error), Some(Errno::NOENT | Errno::NODEV))
}

impl AsFd for OomWatch {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match &self.source {
            Source::V1 { event, .. } => event.as_fd(),
            Source::V2 { inotify, .. } => inotify.as_fd(),
        }
    }
}

impl OomWatch {
    /// What happens next, within `timeout`; `None` waits for ever. Once it has said [`Woken::Ended`] it says nothing
    /// else.
    pub fn next(&mut self, timeout: Option<Duration>) -> io::Result<Woken> {
        let deadline = timeout.map(|timeout| Instant::now() + timeout);
        loop {
            if self.ended {
                return Ok(Woken::Ended);
            }
            let (told, ended) = self.source.look()?;
            self.ended = ended;
            if told {
                return Ok(Woken::OutOfMemory);
            }
            if ended {
                continue;
            }
            let left = deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
            if left.is_some_and(|left| left.is_zero()) {
                return Ok(Woken::Nothing);
            }
            self.wait(left)?;
        }
    }

    fn wait(&self, left: Option<Duration>) -> io::Result<()> {
        let time = left.map(|left| Timespec {
            tv_sec: i64::try_from(left.as_secs()).unwrap_or(i64::MAX),
            tv_nsec: i64::from(left.subsec_nanos()),
        });
        match rustix::event::poll(&mut [PollFd::new(self, PollFlags::IN)], time.as_ref()) {
            Ok(_) | Err(Errno::INTR) => Ok(()),
            Err(errno) => Err(errno.into()),
        }
    }
}

impl Source {
    /// Whether memory ran out since the last look, and whether this was the last.
    fn look(&mut self) -> io::Result<(bool, bool)> {
        match self {
            Self::V1 { event, control } => {
                let mut count = [0u8; 8];
                match rustix::io::read(&*event, &mut count) {
                    Ok(_) => {}
                    Err(Errno::AGAIN | Errno::INTR) => return Ok((false, false)),
                    Err(errno) => return Err(errno.into()),
                }
                let gone = match rustix::io::pread(&*control, &mut [0u8; 64], 0) {
                    Ok(_) => false,
                    Err(errno) if is_gone(Some(errno.raw_os_error())) => true,
                    Err(errno) => return Err(errno.into()),
                };
                // The kernel signals once more when it removes the group (`memcg_event_remove`).
                Ok((u64::from_ne_bytes(count) > u64::from(gone), gone))
            }
            Self::V2 { inotify, dir, kills } => {
                if !drain(inotify)? {
                    return Ok((false, false));
                }
                // The end first: what is counted after it was looked for is not lost.
                let ended = !is_populated(dir)?;
                let now = oom_kills(dir)?.unwrap_or(*kills);
                let told = now > *kills;
                *kills = now;
                Ok((told, ended))
            }
        }
    }
}

/// Takes all events. Whether there were any.
fn drain(inotify: &OwnedFd) -> io::Result<bool> {
    let mut space = [MaybeUninit::uninit(); 1024];
    let mut reader = Reader::new(inotify, &mut space);
    let mut any = false;
    loop {
        match reader.next() {
            Ok(_) => any = true,
            Err(Errno::AGAIN) => return Ok(any),
            Err(Errno::INTR) => {}
            Err(errno) => return Err(errno.into()),
        }
    }
}
