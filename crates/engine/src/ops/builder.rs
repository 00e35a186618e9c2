//! `builder prune`: what builds kept for later ones.

use std::collections::{BTreeMap, HashSet};
use std::time::{Duration, SystemTime};

use build::{CacheMount, Cached};
use images::Images;
use oci::Digest;
use step::Failure;

use crate::image::used_layers;
use crate::state::Store;
use crate::{Error, Settings};

/// What no build has used for so long goes by itself: BuildKit's time for what is not local.
const OLD: Duration = Duration::from_secs(60 * 86_400);
/// How often that is looked for.
const DAY: Duration = Duration::from_secs(86_400);

/// What is asked for.
#[derive(Debug, Clone, Copy, Default)]
pub struct Prune {
    /// Records of layers that images have, and remembered digests, too.
    pub all: bool,
    /// Only what no build has used since.
    pub since: Option<SystemTime>,
    /// The oldest first, until no more bytes than these are left.
    pub keep: Option<u64>,
}

/// What was done.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Pruned {
    /// Records and cache mounts that are gone.
    pub pieces: usize,
    /// Bytes that the disk got back.
    pub bytes: u64,
    /// Layers stay for now: somebody builds or brings something, or a container's record cannot be read.
    pub waits: bool,
}

/// What the cache has and no image.
pub(crate) struct Contents {
    pub(crate) records: Vec<Cached>,
    pub(crate) mounts: Vec<CacheMount>,
    /// Bytes of layers, by diff id.
    pub(crate) layers: BTreeMap<Digest, u64>,
    /// Bytes of blobs.
    pub(crate) blobs: BTreeMap<Digest, u64>,
}

impl Contents {
    pub(crate) fn of(settings: &Settings, images: &Images) -> Result<Self, Failure> {
        let records = build::cached(&settings.root)?;
        let mounts = build::cache_mounts(&settings.root)?;
        let listed = images.list()?;
        let named: HashSet<Digest> = listed
            .iter()
            .flat_map(|image| image.layers.iter().flat_map(|layer| [layer.diff_id, layer.digest]))
            .collect();
        let (mut layers, mut blobs) = (BTreeMap::new(), BTreeMap::new());
        for record in &records {
            if !named.contains(&record.diff_id) && images.layers().have(&record.diff_id).is_some() {
                layers.insert(record.diff_id, images.layers().usage(&record.diff_id)?);
            }
            if let Some(size) = images.blobs().has(&record.digest).filter(|_| !named.contains(&record.digest))
            {
                blobs.insert(record.digest, size.next_multiple_of(4096));
            }
        }
        Ok(Self { records, mounts, layers, blobs })
    }

    /// Bytes of layers and blobs.
    pub(crate) fn content(&self) -> u64 {
        self.layers.values().sum::<u64>() + self.blobs.values().sum::<u64>()
    }

    /// What is in images too.
    fn is_shared(&self, record: &Cached) -> bool {
        !self.layers.contains_key(&record.diff_id) && !self.blobs.contains_key(&record.digest)
    }

    /// Bytes that go with the last of the records of a layer.
    fn bytes(&self, record: &Cached) -> u64 {
        let get = |all: &BTreeMap<Digest, u64>, digest| all.get(digest).copied().unwrap_or(0);
        get(&self.layers, &record.diff_id) + get(&self.blobs, &record.digest)
    }
}

/// One thing that may go.
enum Piece {
    Record(Cached),
    Mount(CacheMount),
}

/// Removes what is asked for. What a build that runs uses stays: its cache mounts are locked, and no layer goes as long as
/// anybody builds.
pub fn prune(settings: &Settings, asked: &Prune) -> Result<Pruned, Error> {
    let images = Images::open(&settings.root)?;
    let contents = Contents::of(settings, &images)?;
    let mounted: u64 = contents.mounts.iter().map(|mount| mount.bytes).sum();
    let mut left = contents.content() + mounted;
    let mut users: BTreeMap<Digest, usize> = BTreeMap::new();
    for record in &contents.records {
        *users.entry(record.diff_id).or_default() += 1;
    }
    let records = contents.records.iter().filter(|record| asked.all || !contents.is_shared(record));
    let records = records.map(|record| (record.used, Piece::Record(record.clone())));
    let mounts = contents.mounts.iter().map(|mount| (mount.used, Piece::Mount(mount.clone())));
    let mut pieces: Vec<(SystemTime, Piece)> = records.chain(mounts).collect();
    pieces.retain(|(used, _)| asked.since.is_none_or(|since| *used < since));
    pieces.sort_by_key(|(used, _)| *used);

    let mut done = Pruned::default();
    let (mut layers, mut blobs) = (Vec::new(), Vec::new());
    for (_, piece) in pieces {
        if asked.keep.is_some_and(|keep| left <= keep) {
            break;
        }
        match piece {
            Piece::Mount(mount) => {
                if !mount.remove()? {
                    continue;
                }
                done.bytes += mount.bytes;
                left = left.saturating_sub(mount.bytes);
            }
            Piece::Record(record) => {
                record.forget()?;
                let others = users.entry(record.diff_id).or_default();
                *others = others.saturating_sub(1);
                if *others == 0 {
                    left = left.saturating_sub(contents.bytes(&record));
                    layers.push(record.diff_id);
                    blobs.push(record.digest);
                }
            }
        }
        done.pieces += 1;
    }
    if asked.all && asked.since.is_none() && asked.keep.is_none() {
        done.bytes += forget_digests(settings)?;
    }
    if !layers.is_empty() {
        images.drop_content(&blobs, &layers)?;
        let store = Store::new(settings);
        match images.sweep(&|| used_layers(&store))? {
            Some(freed) => done.bytes += freed.bytes,
            None => done.waits = true,
        }
    }
    Ok(done)
}

/// Once a day, at the end of a build: what no build has used for long goes by itself.
pub(super) fn expire(settings: &Settings) -> Result<(), Error> {
    let marker = settings.root.join("build/pruned");
    let failed = |cause| Failure::new("build.prune", marker.display().to_string(), cause);
    let last = std::fs::metadata(&marker).and_then(|metadata| metadata.modified()).ok();
    if last.is_some_and(|last| last.elapsed().is_ok_and(|age| age < DAY)) {
        return Ok(());
    }
    std::fs::write(&marker, "").map_err(failed)?;
    let since = SystemTime::now().checked_sub(OLD);
    prune(settings, &Prune { all: true, since, keep: None }).map(|_| ())
}

fn forget_digests(settings: &Settings) -> Result<u64, Failure> {
    let path = settings.root.join("build/digests");
    let bytes = std::fs::metadata(&path).map_or(0, |metadata| metadata.len());
    match std::fs::remove_file(&path) {
        Err(cause) if cause.kind() != std::io::ErrorKind::NotFound => {
            Err(Failure::new("build.prune", path.display().to_string(), cause))
        }
        _ => Ok(bytes),
    }
}
