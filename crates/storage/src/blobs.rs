//! The content store: files by the digest of what is in them.
//!
//! ```text
//! <root>/blobs/sha256/<hex>   complete, read-only; a name that is there has the content that it says; sha512 beside it
//! <root>/ingest/<hex>         on its way, as far as it came; locked by whoever brings it
//! <root>/ingest/new-<number>  on its way, the digest not known yet
//! ```
//!
//! Processes share it without a daemon. A partial file is locked with flock(2), so that one process brings a blob and
//! others wait for it; the lock goes with the process that held it. The last step is a rename(2) after fdatasync(2):
//! killed before it, an attempt leaves what it wrote for the next one to go on with; after it, the blob is complete.
//! A lock taken on a file that was renamed or removed meanwhile is noticed by the inode and given up.

mod ingest;
#[cfg(test)]
mod tests;

use std::fs::File;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, CWD, FlockOperation, Mode, OFlags};
use rustix::io::Errno;
use step::Failure;

use oci::{Algorithm, Digest};

pub use ingest::{Fresh, Ingest, Ingesting, Unproven};

const STEP: &str = "storage.blob";
/// Each has its directory.
const ALGORITHMS: [Algorithm; 2] = [Algorithm::Sha256, Algorithm::Sha512];

/// The content store below a root directory.
#[derive(Debug)]
pub struct Blobs {
    /// `<root>/blobs`.
    complete: PathBuf,
    /// `<root>/ingest`.
    partial: PathBuf,
}

/// A complete blob, open for reading.
#[derive(Debug)]
pub struct Blob {
    /// At its beginning. It stays readable although the blob be removed.
    pub file: File,
    /// In bytes.
    pub size: u64,
}

impl Blobs {
    /// The store below `root`, which is made if it is not there.
    ///
    /// # Errors
    /// Directories that cannot be made.
    pub fn open(root: &Path) -> Result<Self, Failure> {
        let this = Self { complete: root.join("blobs"), partial: root.join("ingest") };
        for algorithm in ALGORITHMS {
            make_private(&this.complete.join(algorithm.name()), STEP)?;
        }
        make_private(&this.partial, STEP)?;
        Ok(this)
    }

    /// The blob, or none.
    ///
    /// # Errors
    /// A file that cannot be opened.
    pub fn get(&self, digest: &Digest) -> Result<Option<Blob>, Failure> {
        let path = self.path(digest);
        let failed = |errno: Errno| Failure::new(STEP, digest.to_string(), errno);
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let file = match rustix::fs::open(&path, flags, Mode::empty()) {
            Err(Errno::NOENT) => return Ok(None),
            opened => opened.map_err(failed)?,
        };
        let size = rustix::fs::fstat(&file).map_err(failed)?.st_size as u64;
        Ok(Some(Blob { file: file.into(), size }))
    }

    /// The blob's size in bytes, or none.
    pub fn has(&self, digest: &Digest) -> Option<u64> {
        rustix::fs::lstat(self.path(digest)).ok().map(|stat| stat.st_size as u64)
    }

    /// Where the blob is or would be: for programs that are given a path.
    pub fn path(&self, digest: &Digest) -> PathBuf {
        self.complete.join(digest.algorithm().name()).join(digest.hex())
    }

    /// Begins to bring a blob of `size` bytes, or goes on where a killed attempt was. Waits as long as another process
    /// brings the same one.
    ///
    /// # Errors
    /// A partial file that cannot be made or read.
    pub fn ingest(&self, digest: &Digest, size: u64) -> Result<Ingesting, Failure> {
        ingest::begin(self, digest, size, true)
    }

    /// As [`Blobs::ingest`], without waiting: [`Ingesting::Busy`] where another process brings it.
    ///
    /// # Errors
    /// As [`Blobs::ingest`]'s.
    pub fn try_ingest(&self, digest: &Digest, size: u64) -> Result<Ingesting, Failure> {
        ingest::begin(self, digest, size, false)
    }

    /// Begins to write a blob whose digest is known at its end only. It does not outlive this process.
    ///
    /// # Errors
    /// A file that cannot be made.
    pub fn create(&self) -> Result<Fresh, Failure> {
        ingest::create(self, Algorithm::default())
    }

    /// The same for a digest of this algorithm. Nobody else waits for it, so that one process can hold any number of
    /// them and keep all or none.
    ///
    /// # Errors
    /// A file that cannot be made.
    pub fn create_by(&self, algorithm: Algorithm) -> Result<Fresh, Failure> {
        ingest::create(self, algorithm)
    }

    /// Stores `bytes`.
    ///
    /// # Errors
    /// As [`Ingest::commit`]'s.
    pub fn put_bytes(&self, bytes: &[u8]) -> Result<Digest, Failure> {
        let digest = Digest::of(bytes);
        match self.ingest(&digest, bytes.len() as u64)? {
            Ingesting::Begun(mut ingest) => {
                // What is there may be damaged, and all of it is at hand.
                ingest.restart()?;
                ingest.write(bytes)?;
                ingest.commit()?;
            }
            Ingesting::Present(_) | Ingesting::Busy => {}
        }
        Ok(digest)
    }

    /// Removes a blob; who has it open goes on reading. Whether it was there.
    ///
    /// # Errors
    /// The kernel's.
    pub fn remove(&self, digest: &Digest) -> Result<bool, Failure> {
        match rustix::fs::unlink(self.path(digest)) {
            Err(Errno::NOENT) => Ok(false),
            Err(errno) => Err(Failure::new(STEP, digest.to_string(), errno)),
            Ok(()) => Ok(true),
        }
    }

    /// All complete blobs with their sizes in bytes, in no order. What is not named as a blob is passed over.
    ///
    /// # Errors
    /// A directory that cannot be read.
    pub fn list(&self) -> Result<Vec<(Digest, u64)>, Failure> {
        let mut all = Vec::new();
        for algorithm in ALGORITHMS {
            let names = names(&self.complete.join(algorithm.name()), STEP)?;
            let digests = names.iter().filter_map(|name| format!("{}:{name}", algorithm.name()).parse().ok());
            all.extend(digests.filter_map(|digest: Digest| Some((digest, self.has(&digest)?))));
        }
        Ok(all)
    }

    /// Removes all partial files that nobody is writing: what killed attempts left and no later one went on with.
    /// How many bytes they had.
    ///
    /// # Errors
    /// A directory that cannot be read, a file that cannot be removed.
    pub fn remove_partial(&self) -> Result<u64, Failure> {
        self.remove_partial_of(|_| true)
    }

    /// The same for those alone whose digest was never known: no later attempt can go on with them.
    ///
    /// # Errors
    /// As [`Blobs::remove_partial`]'s.
    pub fn remove_nameless(&self) -> Result<u64, Failure> {
        self.remove_partial_of(|name| name.starts_with("new-"))
    }

    fn remove_partial_of(&self, unwanted: impl Fn(&str) -> bool) -> Result<u64, Failure> {
        let mut bytes = 0;
        for name in names(&self.partial, STEP)?.into_iter().filter(|name| unwanted(name)) {
            let path = self.partial.join(&name);
            let failed = |errno: Errno| Failure::new(STEP, path.display().to_string(), errno);
            let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
            let Ok(file) = rustix::fs::open(&path, flags, Mode::empty()) else { continue };
            if !lock(&file, false).map_err(failed)? || !is_at(&file, &path) {
                continue;
            }
            bytes += rustix::fs::fstat(&file).map_err(failed)?.st_size as u64;
            match rustix::fs::unlink(&path) {
                Err(Errno::NOENT) => {}
                removed => removed.map_err(failed)?,
            }
        }
        Ok(bytes)
    }
}

/// Takes the lock; false if another has it and `wait` is false. It goes with the last descriptor of this opening.
pub(crate) fn lock(file: &OwnedFd, wait: bool) -> Result<bool, Errno> {
    let how = if wait { FlockOperation::LockExclusive } else { FlockOperation::NonBlockingLockExclusive };
    loop {
        match rustix::fs::flock(file, how) {
            Err(Errno::INTR) => {}
            Err(Errno::WOULDBLOCK) => return Ok(false),
            result => return result.map(|()| true),
        }
    }
}

/// Whether `path` still names the open file.
pub(crate) fn is_at(file: &OwnedFd, path: &Path) -> bool {
    let here = rustix::fs::fstat(file);
    let there = rustix::fs::statat(CWD, path, AtFlags::SYMLINK_NOFOLLOW);
    matches!((here, there), (Ok(a), Ok(b)) if (a.st_dev, a.st_ino) == (b.st_dev, b.st_ino))
}

/// Makes a directory and those above it, for root alone: layers have programs with the set-user-ID bit.
pub(crate) fn make_private(path: &Path, step: &'static str) -> Result<(), Failure> {
    use std::os::unix::fs::DirBuilderExt as _;
    std::fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(path)
        .map_err(|cause| with_hint(Failure::new(step, path.display().to_string(), cause)))
}

/// The names in a directory, as far as they are text; ours all are.
pub(crate) fn names(path: &Path, step: &'static str) -> Result<Vec<String>, Failure> {
    let failed = |cause| Failure::new(step, path.display().to_string(), cause);
    let mut all = Vec::new();
    for entry in std::fs::read_dir(path).map_err(failed)? {
        all.extend(entry.map_err(failed)?.file_name().into_string());
    }
    Ok(all)
}

/// Makes a rename in `directory` outlive a loss of power.
pub(crate) fn sync_directory(directory: &Path) -> Result<(), Errno> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    rustix::fs::fsync(rustix::fs::open(directory, flags, Mode::empty())?)
}

/// The way out where there is one that depends on the error alone.
pub fn with_hint(failure: Failure) -> Failure {
    // Of our own words there is no number, and rustix makes no Errno of 0.
    let is = |errno: Errno| failure.errno == errno.raw_os_error();
    if is(Errno::NOSPC) || is(Errno::DQUOT) {
        return failure.hint("the disk is full: free some space, or choose another with --root");
    }
    if is(Errno::ROFS) {
        return failure.hint("choose a writable place with --root");
    }
    failure
}
