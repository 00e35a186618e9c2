//! A blob on its way: locked, hashed as it is written, resumed where a killed attempt left it.

use std::fmt;
use std::fs::File;
use std::io::{self, Read as _, Seek as _, SeekFrom, Write};
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use rustix::fs::{CWD, Mode, OFlags, RenameFlags};
use rustix::io::{Errno, ReadWriteFlags};
use step::Failure;

use super::{Blobs, STEP, is_at, lock, sync_directory, with_hint};
use oci::{Algorithm, Digest, Hasher};

/// How an attempt to bring a blob begins.
#[derive(Debug)]
pub enum Ingesting {
    /// The blob is there, with so many bytes: nothing to do.
    Present(u64),
    /// It is ours to bring, from [`Ingest::offset`] on.
    Begun(Ingest),
    /// Another process brings it; of [`Blobs::try_ingest`] only.
    Busy,
}

/// A blob of known digest on its way. Dropped, it keeps what it has for a later attempt.
///
/// Its lock is flock(2)'s: a process that is forked meanwhile and does not execute another program holds it too.
pub struct Ingest {
    digest: Digest,
    size: u64,
    writing: Box<Writing>,
}

/// A blob of unknown digest on its way. Dropped, it is gone.
pub struct Fresh {
    writing: Writing,
    /// What somebody else has found its digest to be: then nothing was hashed here.
    proven: Option<Digest>,
}

/// A blob on its way that is not hashed as it is written, for somebody else reads and hashes the same bytes: once is
/// enough. Dropped, it is gone.
#[derive(Debug)]
pub struct Unproven(Fresh);

struct Writing {
    /// Locked.
    file: OwnedFd,
    path: PathBuf,
    complete: PathBuf,
    hash: Hasher,
    /// Whether what is written is hashed.
    hashes: bool,
    offset: u64,
}

impl fmt::Debug for Ingest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Ingest({}, {} of {})", self.digest, self.writing.offset, self.size)
    }
}

impl fmt::Debug for Fresh {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Fresh({:?}, {})", self.writing.path, self.writing.offset)
    }
}

pub(super) fn begin(blobs: &Blobs, digest: &Digest, size: u64, wait: bool) -> Result<Ingesting, Failure> {
    let path = blobs.partial.join(digest.hex());
    let failed = |cause: io::Error| with_hint(Failure::new(STEP, digest.to_string(), cause));
    loop {
        if let Some(there) = blobs.has(digest) {
            return Ok(Ingesting::Present(there));
        }
        let Some(file) = open_locked(&path, wait).map_err(|errno| failed(errno.into()))? else {
            return Ok(Ingesting::Busy);
        };
        // Renamed into place or removed while we waited: what we have locked is no longer what the name means.
        if !is_at(&file, &path) {
            continue;
        }
        // Committed between our look and our lock, and begun anew by nobody but us.
        if let Some(there) = blobs.has(digest) {
            let _ = rustix::fs::unlink(&path);
            return Ok(Ingesting::Present(there));
        }
        let (hash, offset) = rehash(&file, size, digest.algorithm()).map_err(failed)?;
        let complete = blobs.complete.clone();
        let writing = Box::new(Writing { file, path, complete, hash, hashes: true, offset });
        return Ok(Ingesting::Begun(Ingest { digest: *digest, size, writing }));
    }
}

pub(super) fn create(blobs: &Blobs, algorithm: Algorithm) -> Result<Fresh, Failure> {
    static NUMBER: AtomicU64 = AtomicU64::new(0);
    loop {
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let path = blobs.partial.join(format!("new-{}-{number}", std::process::id()));
        let failed = |errno: Errno| with_hint(Failure::new(STEP, path.display().to_string(), errno));
        let flags = OFlags::RDWR | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
        // Another process of the same number, in another pid namespace or before a crash, may have the name.
        let file = match rustix::fs::open(&path, flags, Mode::from_raw_mode(0o600)) {
            Err(Errno::EXIST) => continue,
            opened => opened.map_err(failed)?,
        };
        if lock(&file, false).map_err(failed)? && is_at(&file, &path) {
            let (complete, hash) = (blobs.complete.clone(), Hasher::new(algorithm));
            let writing = Writing { file, path, complete, hash, hashes: true, offset: 0 };
            return Ok(Fresh { writing, proven: None });
        }
    }
}

/// The partial file with its lock; none if another has it and `wait` is false.
fn open_locked(path: &PathBuf, wait: bool) -> Result<Option<OwnedFd>, Errno> {
    let flags = OFlags::RDWR | OFlags::CREATE | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let file = rustix::fs::openat(CWD, path, flags, Mode::from_raw_mode(0o600))?;
    Ok(lock(&file, wait)?.then_some(file))
}

/// The hash of what an earlier attempt wrote, and how much that is; the file stands at its end. More than the blob can
/// have is nothing worth keeping.
fn rehash(file: &OwnedFd, size: u64, algorithm: Algorithm) -> io::Result<(Hasher, u64)> {
    let mut file = File::from(file.try_clone()?);
    if file.metadata()?.len() > size {
        file.set_len(0)?;
    }
    file.seek(SeekFrom::Start(0))?;
    let mut hash = Hasher::new(algorithm);
    let mut buffer = vec![0; 1 << 18];
    let mut offset = 0;
    loop {
        match file.read(&mut buffer)? {
            0 => return Ok((hash, offset)),
            length => {
                hash.update(&buffer[..length]);
                offset += length as u64;
            }
        }
    }
}

/// RWF_DONTCACHE of pwritev2(2), since Linux 6.14: to the disk at once, and out of the page cache when it is there.
const UNCACHED: ReadWriteFlags = ReadWriteFlags::from_bits_retain(0x80);
/// Less than this is worth no write to the disk of its own.
const LARGE: usize = 128 << 10;
/// The offset that means the file's position, pwritev2(2).
const AT_POSITION: u64 = u64::MAX;

/// Writes at the file's position, as [`UNCACHED`] where the kernel knows that.
fn write_uncached(file: &OwnedFd, bytes: &[u8]) -> Result<usize, Errno> {
    static REFUSED: AtomicBool = AtomicBool::new(false);
    if bytes.len() >= LARGE && !REFUSED.load(Ordering::Relaxed) {
        match rustix::io::pwritev2(file, &[io::IoSlice::new(bytes)], AT_POSITION, UNCACHED) {
            // An older kernel, or a file system that does not know it.
            Err(Errno::OPNOTSUPP | Errno::INVAL | Errno::NOSYS) => REFUSED.store(true, Ordering::Relaxed),
            written => return written,
        }
    }
    rustix::io::write(file, bytes)
}

impl Writing {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = rustix::io::retry_on_intr(|| match self.hashes {
            true => rustix::io::write(&self.file, bytes),
            // It is unpacked while it comes, and seldom read again. What the page cache has for others stays in it, and
            // the pages that it leaves are taken for the next: fresh ones can be dear in a virtual machine.
            false => write_uncached(&self.file, bytes),
        })?;
        if self.hashes {
            self.hash.update(&bytes[..written]);
        }
        self.offset += written as u64;
        Ok(written)
    }

    /// On disk first, then under its name: a name never stands for less than its content.
    fn publish(&self, digest: &Digest) -> Result<(), Errno> {
        rustix::fs::fdatasync(&self.file)?;
        rustix::fs::fchmod(&self.file, Mode::from_raw_mode(0o444))?;
        let directory = self.complete.join(digest.algorithm().name());
        let target = directory.join(digest.hex());
        match rustix::fs::renameat_with(CWD, &self.path, CWD, &target, RenameFlags::NOREPLACE) {
            // The same content by another way: one is enough.
            Err(Errno::EXIST) => rustix::fs::unlink(&self.path)?,
            // A file system without NOREPLACE: replacing one by its equal does no harm either.
            Err(Errno::INVAL | Errno::NOSYS) => rustix::fs::rename(&self.path, &target)?,
            renamed => renamed?,
        }
        sync_directory(&directory)
    }
}

impl Ingest {
    /// The blob's digest.
    pub fn digest(&self) -> Digest {
        self.digest
    }

    /// How many bytes are there already: where to go on.
    pub fn offset(&self) -> u64 {
        self.writing.offset
    }

    /// How many bytes it will have.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// Writes all of `bytes` at the end.
    ///
    /// # Errors
    /// More than the blob's size; the disk's, with what was written kept.
    pub fn write(&mut self, bytes: &[u8]) -> Result<(), Failure> {
        let target = self.digest.to_string();
        self.write_all(bytes).map_err(|cause| with_hint(Failure::new(STEP, target, cause)))
    }

    /// Throws away what is there and begins anew: for a server that cannot go on in the middle.
    ///
    /// # Errors
    /// The kernel's.
    pub fn restart(&mut self) -> Result<(), Failure> {
        let failed = |errno: Errno| Failure::new(STEP, self.digest.to_string(), errno);
        rustix::fs::ftruncate(&self.writing.file, 0).map_err(failed)?;
        rustix::fs::seek(&self.writing.file, rustix::fs::SeekFrom::Start(0)).map_err(failed)?;
        (self.writing.hash, self.writing.offset) = (Hasher::new(self.digest.algorithm()), 0);
        Ok(())
    }

    /// A reader of what is there so far, from the beginning: what an applier must see before the rest comes.
    ///
    /// # Errors
    /// The kernel's.
    pub fn begun(&self) -> Result<io::Take<File>, Failure> {
        let failed = |errno: Errno| Failure::new(STEP, self.digest.to_string(), errno);
        let flags = OFlags::RDONLY | OFlags::CLOEXEC;
        let file = rustix::fs::open(&self.writing.path, flags, Mode::empty()).map_err(failed)?;
        Ok(File::from(file).take(self.writing.offset))
    }

    /// Checks size and digest and makes it a blob, on disk and under its name.
    ///
    /// # Errors
    /// Too few bytes, which are kept for a later attempt; another digest, with which it is all gone; the disk's.
    pub fn commit(self) -> Result<(), Failure> {
        let Self { digest, size, writing } = self;
        if writing.offset != size {
            let reason = format!("has {} of {size} bytes", writing.offset);
            return Err(
                Failure::because(STEP, digest.to_string(), reason).hint("pull again: it goes on from there")
            );
        }
        let is = writing.hash.clone().finish();
        let failed = |errno: Errno| with_hint(Failure::new(STEP, digest.to_string(), errno));
        if is != digest {
            rustix::fs::unlink(&writing.path).map_err(failed)?;
            return Err(Failure::because(STEP, digest.to_string(), format!("what came has the digest {is}"))
                .hint("the download or its source is damaged; nothing of it was kept: try again"));
        }
        writing.publish(&digest).map_err(failed)
    }

    /// Gives up and removes what is there.
    ///
    /// # Errors
    /// The kernel's.
    pub fn abandon(self) -> Result<(), Failure> {
        match rustix::fs::unlink(&self.writing.path) {
            Err(Errno::NOENT) | Ok(()) => Ok(()),
            Err(errno) => Err(Failure::new(STEP, self.digest.to_string(), errno)),
        }
    }
}

impl Write for Ingest {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if bytes.len() as u64 > self.size - self.writing.offset {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "more bytes come than it has"));
        }
        self.writing.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Fresh {
    /// How many bytes it has so far.
    pub fn offset(&self) -> u64 {
        self.writing.offset
    }

    /// The digest of what it has so far.
    pub fn digest(&self) -> Digest {
        self.proven.unwrap_or_else(|| self.writing.hash.clone().finish())
    }

    /// A reader of what it has, from the beginning.
    ///
    /// # Errors
    /// The kernel's.
    pub fn reader(&self) -> Result<File, Failure> {
        let failed = |errno: Errno| Failure::new(STEP, self.writing.path.display().to_string(), errno);
        let flags = OFlags::RDONLY | OFlags::CLOEXEC;
        rustix::fs::open(&self.writing.path, flags, Mode::empty()).map(File::from).map_err(failed)
    }

    /// What is written from here on is not hashed; of what was written before, the hash is forgotten.
    #[must_use]
    pub fn unproven(mut self) -> Unproven {
        self.writing.hashes = false;
        Unproven(self)
    }

    /// Makes it a blob; its digest and size.
    ///
    /// # Errors
    /// The disk's; then nothing is left.
    pub fn commit(self) -> Result<(Digest, u64), Failure> {
        let digest = self.digest();
        let failed = |errno: Errno| with_hint(Failure::new(STEP, digest.to_string(), errno));
        self.writing.publish(&digest).map_err(failed)?;
        Ok((digest, self.writing.offset))
    }
}

impl Write for Fresh {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.proven.is_some() {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "the blob has its digest already"));
        }
        self.writing.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Unproven {
    /// Whoever hashed the very bytes that were written has found this digest.
    #[must_use]
    pub fn proven(mut self, digest: Digest) -> Fresh {
        self.0.proven = Some(digest);
        self.0
    }

    /// Nobody else has hashed them: they are read back and hashed here.
    ///
    /// # Errors
    /// The disk's.
    pub fn hashed(mut self) -> Result<Fresh, Failure> {
        let writing = &mut self.0.writing;
        let failed = |cause| Failure::new(STEP, writing.path.display().to_string(), cause);
        let (hash, _) = rehash(&writing.file, writing.offset, writing.hash.algorithm()).map_err(failed)?;
        (writing.hash, writing.hashes) = (hash, true);
        Ok(self.0)
    }
}

impl Write for Unproven {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.writing.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Drop for Fresh {
    fn drop(&mut self) {
        // After a commit the name is gone already; by its lock nobody else can have made it anew.
        if is_at(&self.writing.file, &self.writing.path) {
            let _ = rustix::fs::unlink(&self.writing.path);
        }
    }
}
