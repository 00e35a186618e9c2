//! A reader of events: what there was, then what comes, through all renamings, each line once.

use std::collections::VecDeque;
use std::os::fd::OwnedFd;
use std::time::{Duration, SystemTime};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{FlockOperation, Mode, OFlags, inotify};
use rustix::io::Errno;
use step::Failure;

use super::{Event, KEPT, Log, read_line, take};
use crate::Settings;

/// Reads events in the order in which they were written.
#[derive(Debug)]
pub(crate) struct Follower {
    log: Log,
    /// Tells that something happened in the directory.
    watch: OwnedFd,
    /// The file that is read, and its number on disk; none before the first event ever.
    file: Option<File>,
    /// The files after it.
    next: VecDeque<File>,
    /// What was read and not yet given.
    bytes: Vec<u8>,
}

#[derive(Debug)]
struct File {
    fd: OwnedFd,
    inode: u64,
}

impl Follower {
    /// From the oldest event that is kept, or (`past` is false) from now on.
    pub(crate) fn new(settings: &Settings, past: bool) -> Result<Self, Failure> {
        let log = Log::new(&settings.run_root);
        let failed = |errno: Errno| {
            let failure = Failure::new("events", log.dir.display().to_string(), errno);
            match errno {
                Errno::MFILE => failure.hint("raise fs.inotify.max_user_instances with sysctl(8)"),
                Errno::ACCESS | Errno::PERM => failure.hint("minidocker must run as root"),
                _ => failure,
            }
        };
        log.make_dir().map_err(failed)?;
        let flags = inotify::CreateFlags::CLOEXEC | inotify::CreateFlags::NONBLOCK;
        let watch = inotify::init(flags).map_err(failed)?;
        let happens =
            inotify::WatchFlags::MODIFY | inotify::WatchFlags::CREATE | inotify::WatchFlags::MOVED_TO;
        inotify::add_watch(&watch, &log.dir, happens).map_err(failed)?;
        let mut follower =
            Self { watch, file: None, next: VecDeque::new(), bytes: Vec::new(), log: log.clone() };
        follower.next = follower.open_after(None).map_err(failed)?.into();
        if !past {
            follower.file = follower.next.pop_back();
            follower.next.clear();
            if let Some(file) = &follower.file {
                rustix::fs::seek(&file.fd, rustix::fs::SeekFrom::End(0)).map_err(failed)?;
            }
        }
        Ok(follower)
    }

    /// The next event; none once there is no more, and `until` (none: never) is over.
    pub(crate) fn next(&mut self, until: Option<SystemTime>) -> Result<Option<Event>, Failure> {
        let failed = |errno: Errno| Failure::new("events", "the file of events", errno);
        loop {
            while let Some(end) = self.bytes.iter().position(|byte| *byte == b'\n') {
                let line: Vec<u8> = self.bytes.drain(..=end).collect();
                if let Some(event) = read_line(&line) {
                    return Ok(Some(event));
                }
            }
            if self.read().map_err(failed)? || self.advance().map_err(failed)? {
                continue;
            }
            if !self.wait(until).map_err(failed)? {
                return Ok(None);
            }
        }
    }

    /// Takes in what the file has; false at its end.
    fn read(&mut self) -> Result<bool, Errno> {
        let Some(file) = &self.file else { return Ok(false) };
        let mut buffer = [0; 16 * 1024];
        let count = match rustix::io::read(&file.fd, &mut buffer) {
            Err(Errno::INTR) => return Ok(true),
            count => count?,
        };
        self.bytes.extend(&buffer[..count]);
        Ok(count > 0)
    }

    /// Goes on to the file after this one, when nothing more can come to this one; true where there is more to read.
    fn advance(&mut self) -> Result<bool, Errno> {
        if self.next.is_empty() {
            let here = self.file.as_ref().map(|file| file.inode);
            self.next = self.open_after(here)?.into();
            if self.next.is_empty() {
                return Ok(false);
            }
        }
        // It has a file after it, so it was renamed; what was appended before that is all there is.
        if self.read()? {
            return Ok(true);
        }
        self.bytes.clear();
        self.file = self.next.pop_front();
        Ok(true)
    }

    /// The files after the one with this number, the oldest first; all where it is not there (any more).
    fn open_after(&self, here: Option<u64>) -> Result<Vec<File>, Errno> {
        // The hot answer: it is still the one that grows.
        if let (Some(here), Ok(stat)) = (here, rustix::fs::stat(self.log.path(0)))
            && stat.st_ino == here
        {
            return Ok(Vec::new());
        }
        let lock = self.log.open_lock()?;
        let _ = take(&lock, FlockOperation::NonBlockingLockShared);
        let mut files = Vec::new();
        for generation in 0..=KEPT {
            let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NOFOLLOW;
            let fd = match rustix::fs::open(self.log.path(generation), flags, Mode::empty()) {
                Err(Errno::NOENT) => continue,
                fd => fd?,
            };
            let inode = rustix::fs::fstat(&fd)?.st_ino;
            if here == Some(inode) {
                break;
            }
            files.push(File { fd, inode });
        }
        files.reverse();
        Ok(files)
    }

    /// Waits until something happens in the directory; false when the time is over.
    fn wait(&self, until: Option<SystemTime>) -> Result<bool, Errno> {
        let left = until.map(|until| until.duration_since(SystemTime::now()).unwrap_or(Duration::ZERO));
        let timeout = left.map(|left| Timespec {
            tv_sec: i64::try_from(left.as_secs()).unwrap_or(i64::MAX),
            tv_nsec: left.subsec_nanos().into(),
        });
        let mut fds = [PollFd::new(&self.watch, PollFlags::IN)];
        match poll(&mut fds, timeout.as_ref()) {
            Ok(0) => return Ok(false),
            Err(Errno::INTR) => return Ok(true),
            result => drop(result?),
        }
        // What happened is of no interest, only that something did.
        let mut buffer = [0; 4096];
        while matches!(rustix::io::read(&self.watch, &mut buffer), Ok(count) if count > 0) {}
        Ok(true)
    }
}
