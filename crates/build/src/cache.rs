//! What earlier builds made, by the content that it was made from.
//!
//! ```text
//! <root>/build/cache/<key>.json    which layer a step made; written elsewhere and renamed
//! <DIR>/cache/<key>.json           the same of `--cache-to type=local,dest=DIR`, with
//! <DIR>/blobs/sha256/<hex>         the layers' blobs
//! ```
//!
//! An image of a registry carries [`Steps`]: `--cache-to type=registry` makes one for nothing else, `type=inline` puts them
//! into the image that was built. Their layers are fetched when a step asks for them.
//!
//! A record stands for nothing but itself: the layer is looked for when it is read. A layer whose directory is gone is
//! unpacked from its blob; if that is gone too, the step is done again.

use std::collections::{BTreeMap, HashSet};
use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use oci::{Digest, Hasher};
use serde::{Deserialize, Serialize};
use step::Failure;
use storage::blobs::{Blobs, Ingesting};

use crate::host::{Host, Packed};

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

    /// The layer as a blob.
    fn packed(&self) -> Packed {
        let Self { diff_id, digest, size, .. } = *self;
        Packed { diff_id, digest, size, media_type: self.media_type.clone() }
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

/// Steps as an image carries them to other machines: JSON.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Steps {
    format: u32,
    steps: BTreeMap<String, Record>,
}

impl Steps {
    /// Their layers' blobs, each once.
    fn packed(&self) -> Vec<Packed> {
        let mut seen = HashSet::new();
        let all = self.steps.values().filter(|record| seen.insert(record.digest));
        all.map(Record::packed).collect()
    }
}

/// The part of an image's configuration that carries them.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Carrier {
    #[serde(rename = "minidocker.build.steps", default, skip_serializing_if = "Option::is_none")]
    pub(crate) steps: Option<Steps>,
}

impl Carrier {
    /// What a configuration carries. What cannot be read, or is of another format, is nothing.
    fn read(configuration: &[u8]) -> Option<Steps> {
        let carrier: Self = serde_json::from_slice(configuration).ok()?;
        carrier.steps.filter(|steps| steps.format == FORMAT)
    }
}

/// Where `--cache-from` takes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CacheFrom {
    /// `type=local,src=`.
    Directory(PathBuf),
    /// `type=registry,ref=`, or a name alone: an image of a registry that carries steps.
    Image(String),
}

/// Where `--cache-to` brings.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CacheTo {
    /// `type=local,dest=`.
    Directory(PathBuf),
    /// `type=registry,ref=`, or a name alone.
    Image {
        /// Its name at its registry.
        name: String,
        /// `mode=max`: the steps of all stages, not only those whose layers the image has.
        all: bool,
    },
    /// `type=inline`: the image that is built carries the steps of its layers.
    Inline,
}

/// The records below a root, and those of `--cache-from` and `--cache-to`.
pub(crate) struct Cache<'c> {
    own: PathBuf,
    from: &'c [CacheFrom],
    to: &'c [CacheTo],
    /// What the images of `from` carry, by their names.
    carried: BTreeMap<&'c str, Steps>,
    /// All steps of this build.
    steps: Mutex<BTreeMap<String, Record>>,
    /// Whether records are read: not with `--no-cache`.
    reads: bool,
    host: &'c dyn Host,
    warn: &'c (dyn Fn(&str) + Sync),
}

impl<'c> Cache<'c> {
    /// `warn` gets what cannot be had of another cache: a build goes on without.
    pub(crate) fn open(
        build: &Path,
        (from, to, reads): (&'c [CacheFrom], &'c [CacheTo], bool),
        host: &'c dyn Host,
        warn: &'c (dyn Fn(&str) + Sync),
    ) -> Result<Self, Failure> {
        let own = build.join("cache");
        make(&own)?;
        for to in to {
            if let CacheTo::Directory(directory) = to {
                make(&directory.join("cache"))?;
                make(&directory.join("blobs/sha256"))?;
            }
        }
        let mut carried = BTreeMap::new();
        for from in from.iter().filter(|_| reads) {
            let CacheFrom::Image(name) = from else { continue };
            match host.configuration(name).map(|bytes| Carrier::read(&bytes)) {
                Ok(Some(steps)) => drop(carried.insert(name.as_str(), steps)),
                Ok(None) => warn(&format!("no cache from {name}: it carries none that this version reads")),
                Err(failure) => warn(&format!("no cache from {name}: {failure}")),
            }
        }
        Ok(Self { own, from, to, carried, steps: Mutex::default(), reads, host, warn })
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
        let record = self.from.iter().find_map(|from| match from {
            CacheFrom::Directory(directory) => {
                let record = read(&directory.join("cache").join(format!("{key}.json")))?;
                import(directory, &record, blobs).map(|()| record)
            }
            CacheFrom::Image(name) => {
                let record = self.carried.get(name.as_str())?.steps.get(key)?;
                let brought = self.host.bring(name, &record.packed());
                let brought = brought.inspect_err(|failure| (self.warn)(&format!("from {name}: {failure}")));
                brought.ok().map(|()| record.clone())
            }
        })?;
        let _ = write(&self.own, key, &record);
        Some(record)
    }

    /// Keeps what was made.
    pub(crate) fn keep(&self, key: &str, record: &Record, blobs: &Blobs) -> Result<(), Failure> {
        write(&self.own, key, record)?;
        self.export(key, record, blobs)
    }

    /// Writes it to the directories of `--cache-to` too, and notes it for the images.
    pub(crate) fn export(&self, key: &str, record: &Record, blobs: &Blobs) -> Result<(), Failure> {
        self.steps.lock().unwrap_or_else(PoisonError::into_inner).insert(key.to_owned(), record.clone());
        for to in self.to {
            let CacheTo::Directory(directory) = to else { continue };
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

    /// What the image with these layers carries itself; none where that was not asked for.
    pub(crate) fn inline(&self, layers: &[Digest]) -> Carrier {
        Carrier { steps: self.to.contains(&CacheTo::Inline).then(|| self.steps_of(Some(layers))) }
    }

    /// Brings the steps to the images of `--cache-to`; `layers` are those of the image that was built.
    pub(crate) fn carry(&self, layers: &[Digest]) -> Result<(), Failure> {
        for to in self.to {
            let CacheTo::Image { name, all } = to else { continue };
            let steps = self.steps_of((!all).then_some(layers));
            let layers = steps.packed();
            let configuration = serde_json::to_vec(&Carrier { steps: Some(steps) });
            let configuration = configuration.map_err(|cause| Failure::new(STEP, name, cause))?;
            self.host.carry(name, &configuration, &layers)?;
        }
        Ok(())
    }

    /// The steps of this build; with `layers` those that made one of them.
    fn steps_of(&self, layers: Option<&[Digest]>) -> Steps {
        let steps = self.steps.lock().unwrap_or_else(PoisonError::into_inner);
        let wanted = |record: &Record| layers.is_none_or(|layers| layers.contains(&record.diff_id));
        let steps = steps.iter().filter(|(_, record)| wanted(record));
        Steps { format: FORMAT, steps: steps.map(|(key, record)| (key.clone(), record.clone())).collect() }
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
