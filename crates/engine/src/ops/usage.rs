//! `system df`: what minidocker has on disk, counted as du(1) counts.

use std::collections::{BTreeMap, HashSet};

use images::{Image, Images, Index};
use oci::Digest;

use crate::image::users;
use crate::state::Store;
use crate::{Error, Settings};

/// One kind of thing.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Sum {
    /// How many there are.
    pub total: usize,
    /// How many of them are in use.
    pub active: usize,
    /// Bytes.
    pub size: u64,
    /// Bytes that `prune` would give back.
    pub reclaimable: u64,
}

/// An image's share.
#[derive(Debug, Clone)]
pub struct ImageUsage {
    /// The image.
    pub image: Image,
    /// Bytes of layers that other images have too.
    pub shared: u64,
    /// Bytes of layers that it alone has.
    pub unique: u64,
    /// Bytes of its blobs: the layers as they came, for a push.
    pub packed: u64,
    /// Containers made of it.
    pub containers: usize,
}

/// A container's share.
#[derive(Debug, Clone)]
pub struct ContainerUsage {
    /// 64 hex digits.
    pub id: String,
    /// Its name.
    pub name: String,
    /// What it was made of.
    pub image: String,
    /// Whether it runs.
    pub running: bool,
    /// Bytes that it has written.
    pub size: u64,
}

/// A volume's share.
#[derive(Debug, Clone)]
pub struct VolumeUsage {
    /// Its name.
    pub name: String,
    /// How many containers' records name it.
    pub links: usize,
    /// Bytes.
    pub size: u64,
}

/// All of it.
#[derive(Debug, Clone, Default)]
pub struct Usage {
    /// Layers, blobs, and the disks that virtual machines have of them.
    pub images: Sum,
    /// What containers have written.
    pub containers: Sum,
    /// What builds kept: layers that no image has, cache mounts, records.
    pub cache: Sum,
    /// Volumes: active are those that a container's record names.
    pub volumes: Sum,
    /// Each image.
    pub each_image: Vec<ImageUsage>,
    /// Each container.
    pub each_container: Vec<ContainerUsage>,
    /// Each volume.
    pub each_volume: Vec<VolumeUsage>,
}

/// An image with the names of the index that has it, if it has none of its own.
fn named(image: &Image, indexes: &[Index]) -> Image {
    let mut image = image.clone();
    if let Some(index) = indexes.iter().find(|index| image.names.is_empty() && index.has(&image.id)) {
        image.names.clone_from(&index.names);
    }
    image
}

/// Counts.
pub fn usage(settings: &Settings) -> Result<Usage, Error> {
    let store = Store::new(settings);
    let images = Images::open(&settings.root)?;
    let users = users(&store)?;
    let (all, indexes) = (images.list()?, images.indexes()?);
    let mut usage = Usage::default();

    let mut layers: BTreeMap<Digest, u64> = BTreeMap::new();
    for diff_id in images.layers().list()? {
        layers.insert(diff_id, images.layers().usage(&diff_id)?);
    }
    let blobs: BTreeMap<Digest, u64> = images.blobs().list()?.into_iter().collect();
    let blob = |digest: &Digest| blobs.get(digest).copied().unwrap_or(0).next_multiple_of(4096);
    let has = |image: &Image, diff_id: &Digest| image.layers.iter().any(|layer| layer.diff_id == *diff_id);
    for image in &all {
        let (mut shared, mut unique) = (0, 0);
        let mine: HashSet<Digest> = image.layers.iter().map(|layer| layer.diff_id).collect();
        for diff_id in &mine {
            let size = layers.get(diff_id).copied().unwrap_or(0);
            match all.iter().filter(|other| has(other, diff_id)).count() {
                0 | 1 => unique += size,
                _ => shared += size,
            }
        }
        let own: HashSet<Digest> = image.layers.iter().map(|layer| layer.digest).collect();
        usage.each_image.push(ImageUsage {
            shared,
            unique,
            packed: own.iter().map(blob).sum(),
            containers: users.iter().filter(|user| user.origin.id == image.id).count(),
            image: named(image, &indexes),
        });
    }
    let cached = super::builder::Contents::of(settings, &images)?;
    let own = settings.root.join("build");
    let of_builds = if own.is_dir() { storage::layers::disk_usage(&own)? } else { 0 };
    let free_mounts: u64 = cached.mounts.iter().filter(|mount| !mount.busy).map(|mount| mount.bytes).sum();
    usage.cache = Sum {
        total: cached.records.len() + cached.mounts.len(),
        active: cached.mounts.iter().filter(|mount| mount.busy).count(),
        size: cached.content() + of_builds,
        reclaimable: cached.content() + free_mounts,
    };
    let active: HashSet<Digest> =
        usage.each_image.iter().filter(|one| one.containers > 0).map(|one| one.image.id).collect();
    // Of several for platforms none goes as long as one is used.
    let kept_indexes: Vec<&Index> =
        indexes.iter().filter(|index| active.iter().any(|id| index.has(id))).collect();
    let is_kept =
        |image: &&Image| active.contains(&image.id) || kept_indexes.iter().any(|index| index.has(&image.id));
    let kept: Vec<&Image> = all.iter().filter(is_kept).collect();
    let keeps_layer = |diff_id: &Digest| {
        kept.iter().any(|image| has(image, diff_id))
            || users.iter().any(|user| user.origin.layers.contains(diff_id))
    };
    let keeps_blob = |digest: &Digest| {
        let named = |image: &&&Image| {
            image.id == *digest
                || image.manifest.digest == *digest
                || image.layers.iter().any(|layer| layer.digest == *digest)
        };
        kept.iter().any(|image| named(&image))
            || kept_indexes.iter().any(|index| index.blobs().any(|blob| blob == *digest))
    };
    let of_cache = cached.content();
    let free_layers =
        layers.iter().filter(|(diff_id, _)| !keeps_layer(diff_id) && !cached.layers.contains_key(diff_id));
    let free_layers: u64 = free_layers.map(|(_, size)| size).sum();
    let free_blobs = blobs.keys().filter(|digest| !keeps_blob(digest) && !cached.blobs.contains_key(digest));
    let free_blobs: u64 = free_blobs.map(blob).sum();
    let is_kept = |name: &str| kept.iter().any(|image| image.id.hex() == name);
    let (disks, free_disks) = machines(settings, &is_kept)?;
    usage.images = Sum {
        total: super::images::list(settings)?.len(),
        active: active.len(),
        size: (layers.values().sum::<u64>() + blobs.keys().map(blob).sum::<u64>()).saturating_sub(of_cache)
            + disks,
        reclaimable: free_layers + free_blobs + free_disks,
    };

    for id in store.all()? {
        let Ok(Some(record)) = store.record(&id) else { continue };
        let running = store.living_init(&id).is_some();
        let directory = store.keep_dir(&id);
        let size = if directory.is_dir() { storage::layers::disk_usage(&directory)? } else { 0 };
        let image = record.request.image.to_string();
        usage.each_container.push(ContainerUsage { id, name: record.name, image, running, size });
    }
    let all = &usage.each_container;
    usage.containers = Sum {
        total: all.len(),
        active: all.iter().filter(|one| one.running).count(),
        size: all.iter().map(|one| one.size).sum(),
        reclaimable: all.iter().filter(|one| !one.running).map(|one| one.size).sum(),
    };
    count_volumes(&store, &mut usage)?;
    Ok(usage)
}

/// What the disks of images take, and those of images that are not kept.
fn machines(settings: &Settings, is_kept: &dyn Fn(&str) -> bool) -> Result<(u64, u64), Error> {
    let (mut all, mut free) = (0, 0);
    for entry in
        std::fs::read_dir(storage::machine::directory(&settings.places())).into_iter().flatten().flatten()
    {
        let size = storage::layers::disk_usage(&entry.path())?;
        all += size;
        free += if entry.file_name().to_str().is_some_and(is_kept) { 0 } else { size };
    }
    Ok((all, free))
}

/// Volumes. Where a record cannot be read all count as used.
fn count_volumes(store: &Store, usage: &mut Usage) -> Result<(), Error> {
    let volumes = store.volumes();
    let users = crate::volumes::users(store)?;
    for volume in volumes.list()? {
        let links = users.as_ref().map_or(1, |users| users.get(&volume.name).map_or(0, Vec::len));
        let size = super::volumes::size(&volumes, &volume.name)?;
        usage.each_volume.push(VolumeUsage { name: volume.name, links, size });
    }
    let all = &usage.each_volume;
    usage.volumes = Sum {
        total: all.len(),
        active: all.iter().filter(|one| one.links > 0).count(),
        size: all.iter().map(|one| one.size).sum(),
        reclaimable: all.iter().filter(|one| one.links == 0).map(|one| one.size).sum(),
    };
    Ok(())
}
