//! Who cares for a container: the lock in its run directory.

use std::os::fd::OwnedFd;
use std::path::Path;
use std::time::Duration;

use rustix::fs::{FlockOperation, Mode, OFlags};
use rustix::io::Errno;
use step::Failure;

use super::Store;
use super::files::failed;

/// A container's directory in the run root, with its lock held.
#[derive(Debug)]
pub(crate) struct Held {
    /// Closed, it is free.
    pub lock: OwnedFd,
}

impl Store {
    /// Makes the directory of a new container, with its lock held before anybody can see it free.
    pub(crate) fn hold(&self, id: &str) -> Result<Held, Failure> {
        let _shared = self.turnstile(FlockOperation::LockShared)?;
        let dir = self.run_dir(id);
        rustix::fs::mkdir(&dir, Mode::from_raw_mode(0o711)).map_err(failed(&dir))?;
        let lock = open_lock(&dir.join("lock"), true).map_err(failed(&dir))?;
        wait_for(&lock).map_err(failed(&dir))?;
        Ok(Held { lock })
    }

    /// The container's directory if nobody cares for it any more, now held by us.
    pub(crate) fn abandoned(&self, id: &str) -> Result<Option<Held>, Failure> {
        let dir = self.run_dir(id);
        let try_lock = || match open_lock(&dir.join("lock"), false) {
            Err(Errno::NOENT) => Ok(None),
            Err(errno) => Err(errno),
            Ok(lock) => match rustix::fs::flock(&lock, FlockOperation::NonBlockingLockExclusive) {
                Err(Errno::AGAIN) => Ok(Some(None)),
                Err(errno) => Err(errno),
                Ok(()) => Ok(Some(Some(lock))),
            },
        };
        // The hot answer first: somebody cares.
        if matches!(try_lock(), Ok(Some(None))) {
            return Ok(None);
        }
        // It may be in the making, between its directory and its lock: judged alone.
        let _alone = self.turnstile(FlockOperation::LockExclusive)?;
        match try_lock().map_err(failed(&dir))? {
            Some(None) => Ok(None),
            Some(Some(lock)) => Ok(Some(Held { lock })),
            None if dir.is_dir() => {
                let lock = open_lock(&dir.join("lock"), true).map_err(failed(&dir))?;
                wait_for(&lock).map_err(failed(&dir))?;
                Ok(Some(Held { lock }))
            }
            None => Ok(None),
        }
    }

    /// [`Self::abandoned`], once its monitor has ended: a dying process lets go of its socket before its lock. None: it
    /// is gone by itself, or `patience` is over.
    pub(crate) fn wait_until_abandoned(&self, id: &str, patience: Duration) -> Result<Option<Held>, Failure> {
        let start = std::time::Instant::now();
        loop {
            if let Some(held) = self.abandoned(id)? {
                return Ok(Some(held));
            }
            if !self.run_dir(id).exists() || start.elapsed() > patience {
                return Ok(None);
            }
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    fn turnstile(&self, how: FlockOperation) -> Result<OwnedFd, Failure> {
        let path = self.run.join("lock");
        let lock = open_lock(&path, true).map_err(failed(&path))?;
        loop {
            match rustix::fs::flock(&lock, how) {
                Err(Errno::INTR) => {}
                result => return result.map(|()| lock).map_err(failed(&path)),
            }
        }
    }

    /// Removes a container's directory in the run root, the lock last: until then it counts as cared for.
    pub(crate) fn forget(&self, id: &str) -> Result<(), Failure> {
        self.give_ids(id);
        let dir = self.run_dir(id);
        for name in FILES {
            match rustix::fs::unlink(dir.join(name)) {
                Err(Errno::NOENT) => {}
                result => result.map_err(failed(&dir))?,
            }
        }
        // Between these two calls it would look like one in the making.
        let _alone = self.turnstile(FlockOperation::LockExclusive)?;
        match rustix::fs::unlink(dir.join("lock")) {
            Err(Errno::NOENT) => {}
            result => result.map_err(failed(&dir))?,
        }
        match rustix::fs::rmdir(&dir) {
            Err(Errno::NOENT) => Ok(()),
            result => result.map_err(failed(&dir)),
        }
    }
}

/// What may be in a container's directory in the run root, besides the lock.
const FILES: [&str; 16] = [
    "init",
    "ready",
    "apart",
    "networks",
    "container.json",
    "container.json.new",
    "health.json",
    "health.json.new",
    "hosts",
    "hostname",
    "resolv.conf",
    "monitor.sock",
    "stdout",
    "stderr",
    "mounts.json",
    "mounts.json.new",
];

/// Takes a lock that nobody has but, for a moment, who only looks whether it is free.
fn wait_for(lock: &OwnedFd) -> Result<(), Errno> {
    loop {
        match rustix::fs::flock(lock, FlockOperation::LockExclusive) {
            Err(Errno::INTR) => {}
            result => return result,
        }
    }
}

fn open_lock(path: &Path, create: bool) -> Result<OwnedFd, Errno> {
    let flags = OFlags::RDWR | OFlags::CLOEXEC | OFlags::NOFOLLOW;
    let flags = if create { flags | OFlags::CREATE } else { flags };
    rustix::fs::open(path, flags, Mode::from_raw_mode(0o600))
}
