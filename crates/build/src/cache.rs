//! What earlier builds made, by the content that it was made from.
//!
//! ```text
//! <root>/build/cache/<key>.json    which layer a step made; written elsewhere and renamed
//! <DIR>/cache/<key>.json           the same of `--cache-to type=local,dest=DIR`, with
//! <DIR>/blobs/sha256/<hex>         the layers' blobs
//! ```
//!
//! A record stands for nothing but itself: the layer is looked for when it is read. A layer whose directory is gone is
//! unpacked from its blob; if that is gone too, the step is done again.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use oci::{Digest, Hasher};
use serde::{Deserialize, Serialize};
use step::Failure;
use storage::blobs::{Blobs, Ingesting};

const STEP: &str = "build.cache";

/// The number that a record begins with.
const FORMAT: u32 = 1;

/// What a step made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Record {
    format: u32,
    pub(crate) diff_id: Digest,
    pub(crate) media_type: String,
    pub(crate) digest: Digest,
    pub(crate) size: u64,
    pub(crate) created: String,
}

impl Record {
    pub(crate) fn new(diff_id: Digest, media_type: &str, digest: Digest, size: u64, created: String) -> Self {
        Self { format: FORMAT, diff_id, media_type: media_type.to_owned(), digest, size, created }
    }
}

/// What a step is made from, as a digest of named values.
#[derive(Debug)]
pub(crate) struct Key(Hasher);

impl Key {
    /// A key of its kind.
    pub(crate) fn new(kind: &str) -> Self {
        let mut this = Self(Hasher::default());
        this.add("minidocker build step", &FORMAT.to_le_bytes());
        this.add("kind", kind.as_bytes());
        this
    }

    /// Adds a value.
    pub(crate) fn add(&mut self, name: &str, value: &[u8]) {
        for bytes in [name.as_bytes(), value] {
            self.0.update(&(bytes.len() as u64).to_le_bytes());
            self.0.update(bytes);
        }
    }

    /// Adds a list, whose length counts.
    pub(crate) fn list(&mut self, name: &str, values: &[String]) {
        self.add(name, &(values.len() as u64).to_le_bytes());
        values.iter().for_each(|value| self.add(name, value.as_bytes()));
    }

    /// The key.
    pub(crate) fn finish(self) -> String {
        self.0.finish().hex()
    }
}

/// The records below a root, and those of `--cache-from` and `--cache-to`.
#[derive(Debug)]
pub(crate) struct Cache {
    own: PathBuf,
    from: Vec<PathBuf>,
    to: Vec<PathBuf>,
    /// Whether records are read: not with `--no-cache`.
    reads: bool,
}

impl Cache {
    pub(crate) fn open(build: &Path, from: &[PathBuf], to: &[PathBuf], reads: bool) -> Result<Self, Failure> {
        let own = build.join("cache");
        make(&own)?;
        for directory in to {
            make(&directory.join("cache"))?;
            make(&directory.join("blobs/sha256"))?;
        }
        Ok(Self { own, from: from.to_vec(), to: to.to_vec(), reads })
    }

    /// What was made of that key. What cannot be read is not there.
    pub(crate) fn find(&self, key: &str, blobs: &Blobs) -> Option<Record> {
        if !self.reads {
            return None;
        }
        let path = self.own.join(format!("{key}.json"));
        if let Some(record) = read(&path)
            && blobs.has(&record.digest) == Some(record.size)
        {
            touch(&path);
            return Some(record);
        }
        self.from.iter().find_map(|directory| {
            let record = read(&directory.join("cache").join(format!("{key}.json")))?;
            import(directory, &record, blobs)?;
            let _ = write(&self.own, key, &record);
            Some(record)
        })
    }

    /// Keeps what was made.
    pub(crate) fn keep(&self, key: &str, record: &Record, blobs: &Blobs) -> Result<(), Failure> {
        write(&self.own, key, record)?;
        self.export(key, record, blobs)
    }

    /// Writes it to the directories of `--cache-to` too.
    pub(crate) fn export(&self, key: &str, record: &Record, blobs: &Blobs) -> Result<(), Failure> {
        for directory in &self.to {
            let target = directory.join("blobs/sha256").join(record.digest.hex());
            let failed = |cause| Failure::new(STEP, target.display().to_string(), cause);
            if !target.exists()
                && let Some(mut blob) = blobs.get(&record.digest)?
            {
                let temporary = target.with_extension(format!("new-{}", std::process::id()));
                File::create(&temporary)
                    .and_then(|mut file| std::io::copy(&mut blob.file, &mut file))
                    .and_then(|_| std::fs::rename(&temporary, &target))
                    .map_err(failed)?;
            }
            write(&directory.join("cache"), key, record)?;
        }
        Ok(())
    }
}

/// Takes a blob over, by its digest.
fn import(directory: &Path, record: &Record, blobs: &Blobs) -> Option<()> {
    let mut file = File::open(directory.join("blobs/sha256").join(record.digest.hex())).ok()?;
    if let Ingesting::Begun(mut ingest) = blobs.ingest(&record.digest, record.size).ok()? {
        ingest.restart().ok()?;
        std::io::copy(&mut file, &mut ingest).ok()?;
        ingest.commit().ok()?;
    }
    Some(())
}

pub(crate) fn read(path: &Path) -> Option<Record> {
    let record: Record = serde_json::from_slice(&std::fs::read(path).ok()?).ok()?;
    (record.format == FORMAT).then_some(record)
}

fn write(directory: &Path, key: &str, record: &Record) -> Result<(), Failure> {
    let path = directory.join(format!("{key}.json"));
    // Two stages may make the same at the same time.
    static NUMBER: AtomicU64 = AtomicU64::new(0);
    let number = NUMBER.fetch_add(1, Ordering::Relaxed);
    let temporary = directory.join(format!("{key}.new-{}-{number}", std::process::id()));
    let text = serde_json::to_vec(record).unwrap_or_default();
    std::fs::write(&temporary, text)
        .and_then(|()| std::fs::rename(&temporary, &path))
        .map_err(|cause| Failure::new(STEP, path.display().to_string(), cause))
}

/// Notes that it is used now: [`crate::kept`] tells by it what is old.
pub(crate) fn touch(path: &Path) {
    use rustix::fs::{AtFlags, CWD, Timespec, Timestamps, UTIME_NOW};
    let now = Timespec { tv_sec: 0, tv_nsec: UTIME_NOW };
    let times = Timestamps { last_access: now, last_modification: now };
    let _ = rustix::fs::utimensat(CWD, path, &times, AtFlags::SYMLINK_NOFOLLOW);
}

pub(crate) fn make(path: &Path) -> Result<(), Failure> {
    use std::os::unix::fs::DirBuilderExt as _;
    let made = std::fs::DirBuilder::new().recursive(true).mode(0o700).create(path);
    made.map_err(|cause| Failure::new(STEP, path.display().to_string(), cause))
}
