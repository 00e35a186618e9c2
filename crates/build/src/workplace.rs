//! A directory that a build has for itself: its lock tells whether the build lives, and what is left of one that was
//! killed goes with the next.

use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use rustix::fs::{CWD, FlockOperation, Mode, OFlags};
use rustix::io::Errno;
use step::Failure;

use crate::cache::make;

const STEP: &str = "build.work";

/// `<root>/build/work/<pid>-<time>-<number>`: locked as long as this lives, and removed with it.
#[derive(Debug)]
pub struct Workplace {
    all: PathBuf,
    name: String,
    _lock: OwnedFd,
}

impl Workplace {
    /// A new one; those of killed builds go.
    ///
    /// # Errors
    /// A directory that cannot be made.
    pub fn new(root: &Path) -> Result<Self, Failure> {
        static NUMBER: AtomicU64 = AtomicU64::new(0);
        let all = root.join("build/work");
        make(&all)?;
        sweep(&all);
        let now = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
        let failed = |errno| Failure::new(STEP, all.display().to_string(), errno);
        loop {
            let number = NUMBER.fetch_add(1, Ordering::Relaxed);
            let name = format!("{}-{}-{}-{number}", std::process::id(), now.tv_sec, now.tv_nsec);
            rustix::fs::mkdir(all.join(&name), Mode::RWXU).map_err(failed)?;
            let Ok(lock) = open_directory(&all.join(&name)) else { continue };
            // Swept between the two calls.
            if rustix::fs::flock(&lock, FlockOperation::NonBlockingLockExclusive).is_ok()
                && rustix::fs::fstat(&lock).is_ok_and(|stat| stat.st_nlink > 0)
            {
                return Ok(Self { all, name, _lock: lock });
            }
            // Whoever looked at it just then may find it again, and say that a build was killed.
            let _ = rustix::fs::rmdir(all.join(&name));
        }
    }

    /// Where it is.
    pub fn path(&self) -> PathBuf {
        self.all.join(&self.name)
    }
}

impl Drop for Workplace {
    fn drop(&mut self) {
        // What is left is the next build's to remove.
        let _ = storage::remove_directory(&self.all, &self.name);
    }
}

/// Removes what killed builds left.
fn sweep(all: &Path) {
    let Ok(entries) = std::fs::read_dir(all) else { return };
    for entry in entries.flatten() {
        let Ok(directory) = open_directory(&entry.path()) else { continue };
        if rustix::fs::flock(&directory, FlockOperation::NonBlockingLockExclusive).is_ok() {
            let _ = storage::remove_directory(all, &entry.file_name().to_string_lossy());
        }
    }
}

fn open_directory(path: &Path) -> Result<OwnedFd, Errno> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    rustix::fs::openat(CWD, path, flags, Mode::empty())
}
