//! Where a build puts things: directories to work in, and from those layers and blobs.
//!
//! ```text
//! <root>/build/work/<pid>-<time>/<number>/fs, work   of a build that runs: locked
//! ```
//!
//! A layer gets its name in the store at the end of the build: one syncfs(2) for all. A build that is killed before
//! loses no work all the same: blob and record are there, and the layer is unpacked from them.

use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use oci::Digest;
use rustix::fs::{CWD, Gid, Mode, OFlags, Uid};
use rustix::io::Errno;
use step::Failure;
use storage::blobs::Blobs;
use storage::layer::{Archived, Compression, Kind, Settings, archive};
use storage::layers::{Extracted, Extraction, Layers, publish};

use crate::cache::Record;
use crate::host::Layer;
use crate::tree::stack::Stack;
use crate::workplace::Workplace;

const STEP: &str = "build.layer";

/// The store, as one build sees it.
#[derive(Debug)]
pub(crate) struct Shelf {
    pub(crate) blobs: Blobs,
    layers: Layers,
    pub(crate) userxattr: bool,
    settings: Settings,
    // Dropped last: `publish` needs what lies in it.
    place: Workplace,
    number: AtomicU64,
    waiting: Mutex<Vec<Extracted>>,
}

/// A directory to work in, removed at the end.
#[derive(Debug)]
pub(crate) struct Scratch {
    above: PathBuf,
    name: String,
    keep: bool,
}

impl Scratch {
    /// What becomes a layer.
    pub(crate) fn files(&self) -> PathBuf {
        self.path().join("fs")
    }

    /// An overlay's own.
    pub(crate) fn work(&self) -> PathBuf {
        self.path().join("work")
    }

    pub(crate) fn path(&self) -> PathBuf {
        self.above.join(&self.name)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        if !self.keep {
            // What is left is the next build's to remove.
            let _ = storage::remove_directory(&self.above, &self.name);
        }
    }
}

impl Shelf {
    pub(crate) fn open(
        root: &Path,
        userxattr: bool,
        compression: Compression,
        latest: Option<i64>,
    ) -> Result<Self, Failure> {
        let place = Workplace::new(root)?;
        let kind = Kind::Layer { userxattr };
        let layers = Layers::open(root, userxattr)?;
        layers.sweep()?;
        Ok(Self {
            blobs: Blobs::open(root)?,
            layers,
            userxattr,
            settings: Settings { kind, compression, latest, whole_seconds: true, ..Settings::default() },
            place,
            number: AtomicU64::new(0),
            waiting: Mutex::new(Vec::new()),
        })
    }

    /// What of the settings changes a layer's bytes.
    pub(crate) fn manner(&self) -> String {
        format!("{:?} {:?}", self.settings.compression, self.settings.latest)
    }

    /// The layers' media type.
    fn media_type(&self) -> &'static str {
        match self.settings.compression {
            Compression::None => "application/vnd.oci.image.layer.v1.tar",
            Compression::Gzip(_) => "application/vnd.oci.image.layer.v1.tar+gzip",
            Compression::Zstd(_) => "application/vnd.oci.image.layer.v1.tar+zstd",
        }
    }

    /// A new directory to work in; its `fs` has the owner and the permissions of the root below.
    pub(crate) fn scratch(&self, lower: Option<&Stack>) -> Result<Scratch, Failure> {
        let number = self.number.fetch_add(1, Ordering::Relaxed).to_string();
        let scratch = Scratch { above: self.place.path(), name: number, keep: false };
        let path = scratch.path();
        let failed = |errno: Errno| Failure::new(STEP, path.display().to_string(), errno);
        rustix::fs::mkdir(&path, Mode::RWXU).map_err(failed)?;
        rustix::fs::mkdir(scratch.work(), Mode::RWXU).map_err(failed)?;
        let files = scratch.files();
        rustix::fs::mkdir(&files, Mode::RWXU).map_err(failed)?;
        let mut mode = 0o755;
        if let Some(root) = lower.and_then(Stack::root) {
            let stat = root.stat().map_err(failed)?;
            let (uid, gid) = (Some(Uid::from_raw(stat.st_uid)), Some(Gid::from_raw(stat.st_gid)));
            rustix::fs::chown(&files, uid, gid).map_err(failed)?;
            mode = stat.st_mode & 0o7777;
        }
        rustix::fs::chmod(&files, Mode::from_raw_mode(mode)).map_err(failed)?;
        Ok(scratch)
    }

    /// Makes a blob of what is in a directory, and of the directory the layer.
    pub(crate) fn commit(&self, mut scratch: Scratch) -> Result<Layer, Failure> {
        let files = scratch.files();
        let failed = |errno: Errno| Failure::new(STEP, files.display().to_string(), errno);
        let directory = open_directory(&files).map_err(failed)?;
        let mut fresh = self.blobs.create()?;
        let archived = archive(&directory, &mut fresh, &self.settings)?;
        let (digest, size) = fresh.commit()?;
        let Archived { diff_id, .. } = archived;
        let directory = match self.layers.adopt(&archived, &files)? {
            Extraction::Done(extracted) => {
                let path = extracted.files();
                self.waiting.lock().unwrap_or_else(PoisonError::into_inner).push(*extracted);
                path
            }
            Extraction::Present => self.layers.path(&diff_id),
            // Another build, or stage, has the same on its way; its name is not to be waited for.
            Extraction::Busy => {
                scratch.keep = true;
                files
            }
        };
        Ok(Layer { directory, diff_id, media_type: self.media_type().to_owned(), digest, size })
    }

    /// The layer of a record; none if it is neither unpacked nor a blob.
    pub(crate) fn layer(&self, record: &Record) -> Result<Option<Layer>, Failure> {
        let Record { diff_id, media_type, digest, size, .. } = record;
        let layer = |directory| {
            let (diff_id, digest, size) = (*diff_id, *digest, *size);
            Ok(Some(Layer { directory, diff_id, media_type: media_type.clone(), digest, size }))
        };
        if let Some(path) = self.layers.have(diff_id).or_else(|| self.waits(diff_id)) {
            return layer(path);
        }
        let Some(blob) = self.blobs.get(digest)? else { return Ok(None) };
        let options = storage::layer::Options::default();
        match self.layers.try_extract(diff_id, blob.file, &options)? {
            Extraction::Done(extracted) => {
                let path = extracted.files();
                self.waiting.lock().unwrap_or_else(PoisonError::into_inner).push(*extracted);
                layer(path)
            }
            Extraction::Present => layer(self.layers.path(diff_id)),
            Extraction::Busy => {
                let (mut scratch, Some(blob)) = (self.scratch(None)?, self.blobs.get(digest)?) else {
                    return Ok(None);
                };
                let files = scratch.files();
                let failed = |errno: Errno| Failure::new(STEP, files.display().to_string(), errno);
                let onto = storage::layer::Onto::Layer { userxattr: self.userxattr };
                let options = storage::layer::Options { onto, diff_id: Some(*diff_id), ..options };
                storage::layer::apply(blob.file, open_directory(&files).map_err(failed)?, &options)?;
                scratch.keep = true;
                layer(files)
            }
        }
    }

    fn waits(&self, diff_id: &Digest) -> Option<PathBuf> {
        let waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        waiting.iter().find(|extracted| extracted.applied.diff_id == *diff_id).map(Extracted::files)
    }

    /// Gives all new layers their names.
    pub(crate) fn publish(&self) -> Result<(), Failure> {
        publish(std::mem::take(&mut *self.waiting.lock().unwrap_or_else(PoisonError::into_inner)))
    }

    /// Where a layer is after [`Shelf::publish`].
    pub(crate) fn settled(&self, layer: &mut Layer) {
        if let Some(path) = self.layers.have(&layer.diff_id) {
            layer.directory = path;
        }
    }
}

impl Drop for Shelf {
    fn drop(&mut self) {
        // Of a build that failed too: what was made is found again.
        let _ = self.publish();
    }
}

fn open_directory(path: &Path) -> Result<OwnedFd, Errno> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    rustix::fs::openat(CWD, path, flags, Mode::empty())
}
