//! What builds keep for later ones, as `builder prune` and `system df` see it: records of the cache and directories of
//! `RUN --mount=type=cache`. A record is touched when it is used, a directory's parent when it is mounted: those times say
//! what is old.

use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use oci::Digest;
use rustix::fs::{CWD, FlockOperation, Mode, OFlags};
use rustix::io::Errno;
use step::Failure;

const STEP: &str = "build.prune";

/// A record: which layer a step made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cached {
    path: PathBuf,
    /// The layer, by its tar stream.
    pub diff_id: Digest,
    /// Its blob.
    pub digest: Digest,
    /// When a build made or took it last.
    pub used: SystemTime,
}

/// A directory of `RUN --mount=type=cache`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CacheMount {
    path: PathBuf,
    /// When a command had it last.
    pub used: SystemTime,
    /// Bytes, as du(1) counts.
    pub bytes: u64,
    /// Whether a command has it now.
    pub busy: bool,
}

/// All records below a root. What is none, such as half a file of a killed build, is removed when it is a day old.
///
/// # Errors
/// Step `build.prune`: a directory that cannot be read.
pub fn cached(root: &Path) -> Result<Vec<Cached>, Failure> {
    const DAY: std::time::Duration = std::time::Duration::from_secs(86_400);
    let mut all = Vec::new();
    for path in entries(&root.join("build/cache"))? {
        let Ok(used) = std::fs::symlink_metadata(&path).and_then(|metadata| metadata.modified()) else {
            continue;
        };
        let record =
            path.extension().is_some_and(|end| end == "json").then(|| crate::cache::read(&path)).flatten();
        match record {
            Some(record) => {
                all.push(Cached { path, diff_id: record.diff_id, digest: record.digest, used });
            }
            None if used.elapsed().is_ok_and(|age| age > DAY) => remove_file(&path)?,
            None => {}
        }
    }
    Ok(all)
}

/// All cache mounts below a root.
///
/// # Errors
/// Step `build.prune`: a directory that cannot be read.
pub fn cache_mounts(root: &Path) -> Result<Vec<CacheMount>, Failure> {
    let mut all = Vec::new();
    for id in entries(&root.join("build/mounts"))? {
        for path in entries(&id)? {
            let Ok(used) = std::fs::symlink_metadata(&path).and_then(|metadata| metadata.modified()) else {
                continue;
            };
            let bytes = storage::layers::disk_usage(&path)?;
            all.push(CacheMount { used, bytes, busy: lock(&path)?.is_none(), path });
        }
    }
    Ok(all)
}

impl Cached {
    /// Forgets it. The layer is another's to remove.
    ///
    /// # Errors
    /// Step `build.prune`: the kernel's.
    pub fn forget(&self) -> Result<(), Failure> {
        remove_file(&self.path)
    }
}

impl CacheMount {
    /// Removes it, unless a command has it now: whether it is gone.
    ///
    /// # Errors
    /// Step `build.prune`: the kernel's.
    pub fn remove(&self) -> Result<bool, Failure> {
        // Who waits for the lock sees that the directory is no longer there, and makes another.
        let Some(_lock) = lock(&self.path)? else { return Ok(false) };
        let (Some(above), Some(name)) = (self.path.parent(), self.path.file_name()) else { return Ok(false) };
        storage::remove_directory(above, &name.to_string_lossy())?;
        // Others with the same id may be there.
        let _ = std::fs::remove_dir(above);
        Ok(true)
    }
}

/// The lock of a cache mount, for nobody else; none as long as a command has it.
fn lock(path: &Path) -> Result<Option<OwnedFd>, Failure> {
    let failed = |errno: Errno| Failure::new(STEP, path.display().to_string(), errno);
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let file = rustix::fs::openat(CWD, path, flags, Mode::empty()).map_err(failed)?;
    match rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive) {
        Err(Errno::WOULDBLOCK) => Ok(None),
        locked => locked.map(|()| Some(file)).map_err(failed),
    }
}

/// What is in a directory; nothing where it is missing.
fn entries(directory: &Path) -> Result<Vec<PathBuf>, Failure> {
    let failed = |cause: std::io::Error| Failure::new(STEP, directory.display().to_string(), cause);
    match std::fs::read_dir(directory) {
        Err(cause) if cause.kind() == std::io::ErrorKind::NotFound => Ok(Vec::new()),
        entries => entries.map_err(failed)?.map(|entry| Ok(entry.map_err(failed)?.path())).collect(),
    }
}

fn remove_file(path: &Path) -> Result<(), Failure> {
    match std::fs::remove_file(path) {
        Err(cause) if cause.kind() == std::io::ErrorKind::NotFound => Ok(()),
        removed => removed.map_err(|cause| Failure::new(STEP, path.display().to_string(), cause)),
    }
}
