//! The door of a pod: who comes in holds it open until the record that names the pod is written; who removes the pod,
//! ends it for want of members, or writes who is in it, closes it for that long.
//!
//! A lock on a file beside the infra's record. It belongs to the open file, which a fork has too: so it is let go by a
//! call, and not by closing.

use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use rustix::fs::{FlockOperation, Mode, OFlags};
use rustix::io::Errno;
use step::Failure;

use crate::state::Store;
use crate::{Error, Kind};

/// It, as long as this is there.
#[derive(Debug)]
pub(crate) struct Door(OwnedFd);

impl Door {
    /// Holds it open. Waits while it is closed; then the pod may be gone.
    pub(crate) fn hold_open(store: &Store, pod: &str) -> Result<Self, Error> {
        let door = Self::at(store, pod)?.ok_or_else(|| {
            let message = format!("no such pod: {}", pod.get(..12).unwrap_or(pod));
            Error::new(Kind::NoSuchPod, message).hint("it has just been removed")
        })?;
        loop {
            match rustix::fs::flock(&door.0, FlockOperation::LockShared) {
                Err(Errno::INTR) => {}
                result => return result.map(|()| door).map_err(|errno| failed(store, pod, errno).into()),
            }
        }
    }

    /// Closes it, unless the pod is gone, or others have it for longer than this: they come in, or they remove it.
    pub(crate) fn close(store: &Store, pod: &str, patience: Duration) -> Result<Option<Self>, Error> {
        let Some(door) = Self::at(store, pod)? else { return Ok(None) };
        let start = Instant::now();
        loop {
            match rustix::fs::flock(&door.0, FlockOperation::NonBlockingLockExclusive) {
                Ok(()) => return Ok(Some(door)),
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) if start.elapsed() < patience => {
                    std::thread::sleep(Duration::from_millis(1))
                }
                Err(Errno::AGAIN) => return Ok(None),
                Err(errno) => return Err(failed(store, pod, errno).into()),
            }
        }
    }

    /// None: there is no such pod any more.
    fn at(store: &Store, pod: &str) -> Result<Option<Self>, Failure> {
        let flags = OFlags::RDWR | OFlags::CREATE | OFlags::CLOEXEC | OFlags::NOFOLLOW;
        let path = store.keep_dir(pod).join("door");
        match rustix::fs::open(path, flags, Mode::RUSR | Mode::WUSR) {
            Ok(file) => Ok(Some(Self(file))),
            Err(Errno::NOENT) => Ok(None),
            Err(errno) => Err(failed(store, pod, errno)),
        }
    }
}

impl Drop for Door {
    fn drop(&mut self) {
        let _ = rustix::fs::flock(&self.0, FlockOperation::Unlock);
    }
}

fn failed(store: &Store, pod: &str, errno: Errno) -> Failure {
    Failure::new("pod.door", store.keep_dir(pod).join("door").display().to_string(), errno)
}
