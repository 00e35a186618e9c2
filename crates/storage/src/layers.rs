//! Layers as directories, ready to be mounted.
//!
//! ```text
//! <root>/layers/<hex of the diff id>/fs          the files, as an overlay wants them
//! <root>/layers/<hex of the diff id>/size.json   what `du` says of them, and where they came from
//! <root>/layers/new/<hex>                        on its way; locked by whoever extracts it
//! <root>/layers/new/fresh-<pid>-<number>         the same, the digest not known yet
//! <root>/layers/old/<hex>                        on its way out
//! ```
//!
//! A name that is there stands for a complete layer: the directory is made elsewhere, its digest verified, the whole
//! file system synced (syncfs(2), once for all layers of an image), and then it gets its name. So neither a kill nor a
//! loss of power leaves a layer that is not what it says. What a killed attempt left is removed by the next one of the
//! same layer, or by [`Layers::sweep`].

#[cfg(test)]
mod tests;

use std::collections::HashSet;
use std::fs::File;
use std::io::{Read, Write as _};
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use rustix::fs::{AtFlags, CWD, FileType, IFlags, Mode, OFlags};
use rustix::io::Errno;
use serde::{Deserialize, Serialize};
use step::Failure;

use crate::blobs::{is_at, lock, make_private, names, sync_directory, with_hint};
use crate::layer::{self, Applied, Onto, Options};
use oci::Digest;

use crate::remove;

const STEP: &str = "storage.layer";

/// The number that `size.json` begins with.
const FORMAT: u32 = 1;

/// How many layers are removed at a time: unlink(2) waits for the journal more than it computes.
const MOST_REMOVERS: usize = 4;

/// The layers below a root directory.
#[derive(Debug)]
pub struct Layers {
    all: PathBuf,
    userxattr: bool,
}

/// What is noted beside a layer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Size {
    format: u32,
    /// What the layer takes on disk, in bytes, as du(1) counts.
    pub disk: u64,
    /// Bytes of the tar stream that it came from.
    pub tar: u64,
    /// Entries of that.
    pub entries: u64,
}

/// How an extraction went.
#[derive(Debug)]
pub enum Extraction {
    /// The layer is there: nothing was read of the source.
    Present,
    /// It is extracted and verified, and waits for [`publish`].
    Done(Box<Extracted>),
    /// Another process extracts it; of [`Layers::try_extract`] only.
    Busy,
}

/// A layer that is extracted and has no name yet. Dropped, it is gone.
#[derive(Debug)]
pub struct Extracted {
    /// The directory in `new`, locked.
    lock: OwnedFd,
    all: PathBuf,
    /// Its name in `new`.
    name: String,
    /// What was written.
    pub applied: Applied,
    published: bool,
}

impl Layers {
    /// The layers below `root`, whose directory is made if it is not there. `userxattr`: see [`Onto::Layer`].
    ///
    /// # Errors
    /// Directories that cannot be made.
    pub fn open(root: &Path, userxattr: bool) -> Result<Self, Failure> {
        let this = Self { all: root.join("layers"), userxattr };
        for name in ["new", "old"] {
            make_private(&this.all.join(name), STEP)?;
        }
        Ok(this)
    }

    /// The files of a layer, if it is there.
    pub fn have(&self, diff_id: &Digest) -> Option<PathBuf> {
        let path = self.path(diff_id);
        path.is_dir().then_some(path)
    }

    /// Where the files of a layer are or would be.
    pub fn path(&self, diff_id: &Digest) -> PathBuf {
        self.all.join(diff_id.hex()).join("fs")
    }

    /// Extracts a layer from its tar stream, plain or compressed. Waits as long as another process does the same.
    /// `options.onto` and `options.diff_id` are set here.
    ///
    /// # Errors
    /// Those of [`layer::apply`], another digest among them; then nothing is left.
    pub fn extract(
        &self,
        diff_id: &Digest,
        source: impl Read + Send,
        options: &Options,
    ) -> Result<Extraction, Failure> {
        self.begin(diff_id, source, options, true)
    }

    /// As [`Layers::extract`], without waiting.
    ///
    /// # Errors
    /// As [`Layers::extract`]'s.
    pub fn try_extract(
        &self,
        diff_id: &Digest,
        source: impl Read + Send,
        options: &Options,
    ) -> Result<Extraction, Failure> {
        self.begin(diff_id, source, options, false)
    }

    /// Where layers are made. The kernel is told that they have nothing to do with each other (chattr(1), `T`), so that
    /// ext4 begins each in a block group of its own: in one group they would be made of the inodes of those that were
    /// removed, and for minutes ext4 gives none of these out again but passes over all of them for each new file. A hint;
    /// other file systems need none.
    fn nursery(&self) -> PathBuf {
        let path = self.all.join("new");
        if let Ok(directory) = open_directory(&path)
            && let Ok(flags) = rustix::fs::ioctl_getflags(&directory)
            && !flags.contains(IFlags::TOPDIR)
        {
            let _ = rustix::fs::ioctl_setflags(&directory, flags | IFlags::TOPDIR);
        }
        path
    }

    /// A locked and empty place in `new` for a layer that is not there.
    fn claim(&self, diff_id: &Digest, wait: bool) -> Result<Extraction, Failure> {
        let hex = diff_id.hex();
        let path = self.nursery().join(&hex);
        let failed = |errno: Errno| with_hint(Failure::new(STEP, format!("layer {diff_id}"), errno));
        let lock = loop {
            if self.have(diff_id).is_some() {
                return Ok(Extraction::Present);
            }
            match rustix::fs::mkdir(&path, Mode::RWXU) {
                Ok(()) | Err(Errno::EXIST) => {}
                Err(errno) => return Err(failed(errno)),
            }
            let directory = match open_directory(&path) {
                // Published or swept between the two calls.
                Err(Errno::NOENT) => continue,
                opened => opened.map_err(failed)?,
            };
            if !lock(&directory, wait).map_err(failed)? {
                return Ok(Extraction::Busy);
            }
            if is_at(&directory, &path) {
                break directory;
            }
        };
        let extracted = Extracted {
            lock,
            all: self.all.clone(),
            name: hex,
            applied: nothing(*diff_id),
            published: false,
        };
        if self.have(diff_id).is_some() {
            return Ok(Extraction::Present);
        }
        remove::content(&extracted.lock, &path)?;
        Ok(Extraction::Done(Box::new(extracted)))
    }

    /// Takes a directory of this file system as the layer that `archived` is the archive of: by one rename(2), nothing
    /// is read or written anew. It must be as an overlay wants it, and nobody may write to it any more. Where the answer
    /// is not [`Extraction::Done`] it stays where it is.
    ///
    /// # Errors
    /// A directory of another file system; the kernel's.
    pub fn adopt(&self, archived: &layer::Archived, files: &Path) -> Result<Extraction, Failure> {
        let Extraction::Done(mut extracted) = self.claim(&archived.diff_id, false)? else {
            let is_there = self.have(&archived.diff_id).is_some();
            return Ok(if is_there { Extraction::Present } else { Extraction::Busy });
        };
        rustix::fs::rename(files, extracted.files())
            .map_err(|errno| with_hint(Failure::new(STEP, files.display().to_string(), errno)))?;
        (extracted.applied.bytes, extracted.applied.entries) = (archived.bytes, archived.entries);
        Ok(Extraction::Done(extracted))
    }

    fn begin(
        &self,
        diff_id: &Digest,
        source: impl Read + Send,
        options: &Options,
        wait: bool,
    ) -> Result<Extraction, Failure> {
        let mut extracted = match self.claim(diff_id, wait)? {
            Extraction::Done(extracted) => extracted,
            other => return Ok(other),
        };
        self.fill(&mut extracted, source, &Options { diff_id: Some(*diff_id), ..*options })?;
        Ok(Extraction::Done(extracted))
    }

    /// Extracts a layer whose digest is known at its end only, whether it is there or not.
    /// `options.onto` and `options.diff_id` are set here.
    ///
    /// # Errors
    /// Those of [`layer::apply`]; then nothing is left.
    pub fn extract_fresh(
        &self,
        source: impl Read + Send,
        options: &Options,
    ) -> Result<Box<Extracted>, Failure> {
        static NUMBER: AtomicU64 = AtomicU64::new(0);
        let mut extracted = loop {
            let number = NUMBER.fetch_add(1, Ordering::Relaxed);
            let name = format!("fresh-{}-{number}", std::process::id());
            let path = self.nursery().join(&name);
            let failed = |errno: Errno| with_hint(Failure::new(STEP, path.display().to_string(), errno));
            match rustix::fs::mkdir(&path, Mode::RWXU) {
                // Of a process of the same number, in another pid namespace or before a crash.
                Err(Errno::EXIST) => continue,
                made => made.map_err(failed)?,
            }
            // Swept before it was locked, perhaps.
            let Ok(lock) = open_directory(&path) else { continue };
            if self::lock(&lock, false).map_err(failed)? && is_at(&lock, &path) {
                let applied = nothing(Digest::of(b""));
                break Box::new(Extracted { lock, all: self.all.clone(), name, applied, published: false });
            }
        };
        self.fill(&mut extracted, source, &Options { diff_id: None, ..*options })?;
        Ok(extracted)
    }

    /// Unpacks into a place that was claimed.
    fn fill(
        &self,
        extracted: &mut Extracted,
        source: impl Read + Send,
        options: &Options,
    ) -> Result<(), Failure> {
        let files = extracted.files();
        let failed = |errno: Errno| with_hint(Failure::new(STEP, files.display().to_string(), errno));
        rustix::fs::mkdirat(&extracted.lock, "fs", Mode::from_raw_mode(0o755)).map_err(failed)?;
        // mkdir(2) is told less by the umask; a layer that says nothing of its root has this one.
        rustix::fs::chmodat(&extracted.lock, "fs", Mode::from_raw_mode(0o755), AtFlags::empty())
            .map_err(failed)?;
        let directory = open_directory(&files).map_err(failed)?;
        let onto = Onto::Layer { userxattr: self.userxattr };
        extracted.applied = layer::apply(source, &directory, &Options { onto, ..*options })?;
        Ok(())
    }

    /// Removes a layer. Whether it was there. That nothing is mounted from it is the caller's to know.
    ///
    /// # Errors
    /// The kernel's. The layer is gone by name before its files are; what could not be removed is left to
    /// [`Layers::clear`].
    pub fn remove(&self, diff_id: &Digest) -> Result<bool, Failure> {
        let was_there = self.set_aside(diff_id)?;
        if was_there {
            remove::empty(&self.all.join("old"), &diff_id.hex())?;
        }
        Ok(was_there)
    }

    /// Takes a layer's name away, by one rename(2); its files go with [`Layers::clear`]. Whether it was there.
    ///
    /// # Errors
    /// The kernel's.
    pub fn set_aside(&self, diff_id: &Digest) -> Result<bool, Failure> {
        let (hex, old) = (diff_id.hex(), self.all.join("old"));
        let failed = |errno: Errno| Failure::new(STEP, format!("layer {diff_id}"), errno);
        let moved = || rustix::fs::rename(self.all.join(&hex), old.join(&hex));
        match moved() {
            Err(Errno::NOENT) => return Ok(false),
            Err(Errno::EXIST | Errno::NOTEMPTY) => {
                remove::empty(&old, &hex)?;
                moved().map_err(failed)?;
            }
            moved => moved.map_err(failed)?,
        }
        Ok(true)
    }

    /// Whether there is something for [`Layers::clear`].
    ///
    /// # Errors
    /// A directory that cannot be read.
    pub fn is_to_clear(&self) -> Result<bool, Failure> {
        Ok(!names(&self.all.join("old"), STEP)?.is_empty())
    }

    /// Removes the files of all layers that were set aside, or whose removal was killed: several at a time.
    ///
    /// # Errors
    /// The first that cannot be removed.
    pub fn clear(&self) -> Result<(), Failure> {
        let old = self.all.join("old");
        let names = names(&old, STEP)?;
        let next = AtomicUsize::new(0);
        let work = || -> Result<(), Failure> {
            while let Some(name) = names.get(next.fetch_add(1, Ordering::Relaxed)) {
                remove::empty(&old, name)?;
            }
            Ok(())
        };
        let most = std::thread::available_parallelism().map_or(1, usize::from).min(MOST_REMOVERS);
        std::thread::scope(|scope| {
            let helper =
                || std::thread::Builder::new().name("layer-remove".to_owned()).spawn_scoped(scope, work);
            // Without a further thread this one does it all.
            let helpers: Vec<_> = (1..most.min(names.len())).filter_map(|_| helper().ok()).collect();
            let lost =
                |_| Err(Failure::because(STEP, old.display().to_string(), "a thread of the removal failed"));
            let own = work();
            helpers.into_iter().map(|helper| helper.join().unwrap_or_else(lost)).fold(own, Result::and)
        })
    }

    /// All layers, in no order.
    ///
    /// # Errors
    /// A directory that cannot be read.
    pub fn list(&self) -> Result<Vec<Digest>, Failure> {
        Ok(names(&self.all, STEP)?.iter().filter_map(|name| Digest::from_hex(name).ok()).collect())
    }

    /// What was noted when the layer was extracted; none if there is no such layer.
    ///
    /// # Errors
    /// A note that cannot be read, or is of a newer format.
    pub fn size(&self, diff_id: &Digest) -> Result<Option<Size>, Failure> {
        let path = self.all.join(diff_id.hex()).join("size.json");
        let failed = |cause: std::io::Error| Failure::new(STEP, path.display().to_string(), cause);
        let text = match std::fs::read(&path) {
            Err(cause) if cause.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            text => text.map_err(failed)?,
        };
        let size: Size = serde_json::from_slice(&text).map_err(|cause| failed(cause.into()))?;
        if size.format != FORMAT {
            let reason = format!("has the format {}, this version knows {FORMAT}", size.format);
            return Err(Failure::because(STEP, path.display().to_string(), reason)
                .hint("it was written by a newer minidocker: use that one"));
        }
        Ok(Some(size))
    }

    /// What a layer takes on disk now, in bytes, as du(1) counts.
    ///
    /// # Errors
    /// A directory that cannot be read.
    pub fn usage(&self, diff_id: &Digest) -> Result<u64, Failure> {
        disk_usage(&self.all.join(diff_id.hex()))
    }

    /// Removes what killed extractions and removals left, unless somebody is at it.
    ///
    /// # Errors
    /// What cannot be removed.
    pub fn sweep(&self) -> Result<(), Failure> {
        self.clear()?;
        let new = self.all.join("new");
        for hex in names(&new, STEP)? {
            let path = new.join(&hex);
            let Ok(directory) = open_directory(&path) else { continue };
            if lock(&directory, false).unwrap_or(false) && is_at(&directory, &path) {
                remove::empty(&new, &hex)?;
            }
        }
        Ok(())
    }
}

/// Gives extracted layers their names: one syncfs(2) for all of them, for they share a file system, and then a rename
/// each.
///
/// # Errors
/// The kernel's; what has no name then is gone.
pub fn publish(layers: Vec<Extracted>) -> Result<(), Failure> {
    let Some(first) = layers.first() else { return Ok(()) };
    let all = first.all.clone();
    let failed = |errno: Errno| with_hint(Failure::new(STEP, all.display().to_string(), errno));
    rustix::fs::syncfs(&first.lock).map_err(failed)?;
    for mut layer in layers {
        layer.note()?;
        match rustix::fs::rename(layer.path(), layer.all.join(layer.applied.diff_id.hex())) {
            // Extracted by another process meanwhile, which did not know whose it would be: one is enough.
            Err(Errno::EXIST | Errno::NOTEMPTY) => {}
            renamed => {
                renamed.map_err(failed)?;
                layer.published = true;
            }
        }
    }
    sync_directory(&all).map_err(failed)
}

/// What files take on disk, in bytes, as du(1) counts: blocks of each file once, directories too, mounts left out.
///
/// # Errors
/// A directory that cannot be read.
pub fn disk_usage(path: &Path) -> Result<u64, Failure> {
    let failed = |errno: Errno| Failure::new(STEP, path.display().to_string(), errno);
    let top = open_directory(path).map_err(failed)?;
    let stat = rustix::fs::fstat(&top).map_err(failed)?;
    let mut usage = Usage { device: stat.st_dev, seen: HashSet::new(), bytes: stat.st_blocks as u64 * 512 };
    usage.add(top).map_err(failed)?;
    Ok(usage.bytes)
}

struct Usage {
    device: u64,
    /// Files with several names.
    seen: HashSet<u64>,
    bytes: u64,
}

impl Usage {
    fn add(&mut self, top: OwnedFd) -> Result<(), Errno> {
        // Directories to look into, as paths from the top: no depth costs a descriptor.
        let mut waiting = vec![Vec::new()];
        while let Some(path) = waiting.pop() {
            let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            let resolve = rustix::fs::ResolveFlags::BENEATH | rustix::fs::ResolveFlags::NO_SYMLINKS;
            let at: &[u8] = if path.is_empty() { b"." } else { &path };
            let directory = match rustix::fs::openat2(&top, at, flags, Mode::empty(), resolve) {
                Err(Errno::NOENT | Errno::NOTDIR) => continue,
                opened => opened?,
            };
            for (name, _) in remove::list(&directory)? {
                let stat = match rustix::fs::statat(&directory, &*name, AtFlags::SYMLINK_NOFOLLOW) {
                    Err(Errno::NOENT) => continue,
                    stat => stat?,
                };
                let is_directory = FileType::from_raw_mode(stat.st_mode) == FileType::Directory;
                if stat.st_dev != self.device
                    || !is_directory && stat.st_nlink > 1 && !self.seen.insert(stat.st_ino)
                {
                    continue;
                }
                self.bytes += stat.st_blocks as u64 * 512;
                if is_directory {
                    let name = name.to_bytes();
                    waiting.push(if path.is_empty() {
                        name.to_vec()
                    } else {
                        [&path, &b"/"[..], name].concat()
                    });
                }
            }
        }
        Ok(())
    }
}

fn nothing(diff_id: Digest) -> Applied {
    Applied { diff_id, bytes: 0, entries: 0, compressed: None, compressed_bytes: 0, unknown_attributes: 0 }
}

fn open_directory(path: &Path) -> Result<OwnedFd, Errno> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    rustix::fs::openat(CWD, path, flags, Mode::empty())
}

impl Extracted {
    fn path(&self) -> PathBuf {
        self.all.join("new").join(&self.name)
    }

    /// The layer's files, without a name that lasts: for one who wants to mount them before [`publish`].
    pub fn files(&self) -> PathBuf {
        self.path().join("fs")
    }

    /// Writes `size.json`. After the sync, when the file system has decided what files take.
    fn note(&self) -> Result<(), Failure> {
        let Applied { bytes: tar, entries, .. } = self.applied;
        let path = self.path().join("size.json");
        let failed = |cause: std::io::Error| with_hint(Failure::new(STEP, path.display().to_string(), cause));
        let size = Size { format: FORMAT, disk: disk_usage(&self.files())?, tar, entries };
        let text = serde_json::to_vec(&size).map_err(|cause| failed(cause.into()))?;
        let mut file = File::create(&path).map_err(failed)?;
        file.write_all(&text)
            .and_then(|()| rustix::fs::fdatasync(file.as_fd()).map_err(Into::into))
            .map_err(failed)
    }
}

impl Drop for Extracted {
    fn drop(&mut self) {
        if !self.published && is_at(&self.lock, &self.path()) {
            let _ = remove::empty(&self.all.join("new"), &self.name);
        }
    }
}
