//! From plans to images in the store: layers several at a time, and what was read is kept when all of it is right.

use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

use oci::image::{Descriptor, MediaType};
use oci::{Compression, Digest};
use serde::Serialize;
use step::Failure;

use crate::files::{Content, Files, STEP, at, missing, wrong};
use crate::held::Held;
use crate::image::{Blob, Image, Layer, Plan, PlannedLayer, layer_type};
use crate::layout::Platforms;
use crate::pass::{Passing, pass, peek};
use crate::sniff::{Sort, sort};
use crate::unpack::Unpack;

/// Layers that are read at a time; each has threads of its own where it is unpacked.
const MOST_WORKERS: usize = 4;

/// A layer by where it lies and what it should be: those that are the same in several images are brought once.
type Key = (String, Option<Digest>, Digest);

fn key(layer: &PlannedLayer) -> Key {
    (layer.entry.clone(), layer.promised.as_ref().map(|(_, digest)| *digest), layer.diff_id)
}

/// Brings the images that are planned.
pub(crate) fn bring(
    files: &dyn Files,
    plans: Vec<Plan>,
    held: Held<'_>,
    unpack: &dyn Unpack,
    platforms: &Platforms,
) -> Result<Vec<Image>, Failure> {
    let mut todo: Vec<&PlannedLayer> = Vec::new();
    let mut known = HashSet::new();
    for layer in plans.iter().flat_map(|plan| &plan.layers) {
        if known.insert(key(layer)) {
            todo.push(layer);
        }
    }
    let brought = bring_layers(files, &todo, &held, unpack)?;
    let mut images = Vec::new();
    let mut wanted = HashSet::new();
    for plan in plans {
        let image = finish(files, plan, &brought)?;
        let indexes = if *platforms == Platforms::All { image.indexes.as_slice() } else { &[] };
        for blob in [&image.manifest, &image.config].into_iter().chain(indexes) {
            held.add_bytes(blob.digest, &blob.bytes)?;
            wanted.insert(blob.digest);
        }
        wanted.extend(image.layers.iter().map(|layer| layer.digest));
        images.push(image);
    }
    held.commit(&wanted)?;
    Ok(images)
}

/// Brings layers; what each became.
fn bring_layers(
    files: &dyn Files,
    todo: &[&PlannedLayer],
    held: &Held<'_>,
    unpack: &dyn Unpack,
) -> Result<HashMap<Key, (Descriptor, Digest)>, Failure> {
    let next = AtomicUsize::new(0);
    let brought = Mutex::new(HashMap::new());
    // With its place, so that the same failure is told whichever thread is faster.
    let failed: Mutex<Option<(usize, Failure)>> = Mutex::default();
    let work = || {
        loop {
            let place = next.fetch_add(1, Ordering::Relaxed);
            let Some(planned) = todo.get(place) else { return };
            match layer(files, planned, held, unpack) {
                Ok(layer) => {
                    brought.lock().unwrap_or_else(PoisonError::into_inner).insert(key(planned), layer);
                }
                Err(failure) => {
                    next.store(todo.len(), Ordering::Relaxed);
                    let mut failed = failed.lock().unwrap_or_else(PoisonError::into_inner);
                    if failed.as_ref().is_none_or(|(other, _)| *other > place) {
                        *failed = Some((place, failure));
                    }
                    return;
                }
            }
        }
    };
    let workers =
        std::thread::available_parallelism().map_or(1, usize::from).min(MOST_WORKERS).min(todo.len());
    std::thread::scope(|scope| {
        for _ in 1..workers {
            let thread = std::thread::Builder::new().name("image-layer".to_owned());
            // Without a further thread this one does it all.
            let _ = thread.spawn_scoped(scope, work);
        }
        work();
    });
    match failed.into_inner().unwrap_or_else(PoisonError::into_inner) {
        Some((_, failure)) => Err(failure),
        None => Ok(brought.into_inner().unwrap_or_else(PoisonError::into_inner)),
    }
}

/// Brings one layer; its descriptor.
fn layer(
    files: &dyn Files,
    planned: &PlannedLayer,
    held: &Held<'_>,
    unpack: &dyn Unpack,
) -> Result<(Descriptor, Digest), Failure> {
    let PlannedLayer { entry, promised, diff_id } = planned;
    if let Some((digest, size)) = files.kept(entry) {
        return kept(files, planned, digest, size, held, unpack);
    }
    let Some(Content { size, reader }) = files.open(entry)? else { return Err(missing(files, entry)) };
    if let Some((descriptor, _)) = promised
        && descriptor.size() != size
    {
        return Err(wrong(files, entry, format!("has {size} bytes in the place of {}", descriptor.size())));
    }
    let (begin, content) =
        peek(reader).map_err(|cause| Failure::new(STEP, at(files.place(), entry), cause))?;
    let compression = compression(files, entry, &begin)?;
    let plain = compression == Compression::None;
    let digest = promised.as_ref().map(|(_, digest)| *digest).or(plain.then_some(*diff_id));
    let there = digest.is_some_and(|digest| held.has(&digest) == Some(size));
    if let (Some(digest), true, false) = (digest, there, unpack.wants(diff_id)) {
        return Ok(named(promised, compression, digest, size));
    }
    let algorithm = digest.map(|digest| digest.algorithm()).unwrap_or_default();
    let fresh = if there { None } else { Some(held.blobs.create_by(algorithm)?) };
    let passing = Passing {
        place: files.place(),
        entry,
        content,
        size,
        promised: digest,
        diff_id: Some(*diff_id),
        plain: plain && digest == Some(*diff_id),
        fresh,
    };
    let digest = match (pass(passing, unpack)?, digest) {
        (None, Some(digest)) => digest,
        (None, None) => return Err(missing(files, entry)),
        (Some(fresh), _) => {
            let digest = fresh.digest();
            held.add(digest, fresh)?;
            digest
        }
    };
    Ok(named(promised, compression, digest, size))
}

/// The same for a layer that came before anybody knew whose it is.
fn kept(
    files: &dyn Files,
    planned: &PlannedLayer,
    digest: Digest,
    size: u64,
    held: &Held<'_>,
    unpack: &dyn Unpack,
) -> Result<(Descriptor, Digest), Failure> {
    let PlannedLayer { entry, promised, diff_id } = planned;
    if let Some((descriptor, promised)) = promised
        && (*promised, descriptor.size()) != (digest, size)
    {
        let reason =
            format!("has the digest {digest} and {size} bytes, not {promised} and {}", descriptor.size());
        return Err(wrong(files, entry, reason));
    }
    let compression = compression(files, entry, &held.begin(&digest)?)?;
    if compression == Compression::None && digest.algorithm() == diff_id.algorithm() && digest != *diff_id {
        return Err(wrong(files, entry, format!("has the digest {digest}, and the image names {diff_id}")));
    }
    if files.was_read(entry) && !unpack.wants(diff_id) {
        return Ok(named(promised, compression, digest, size));
    }
    let Some(file) = held.open(&digest)? else { return Err(missing(files, entry)) };
    let passing = Passing {
        place: files.place(),
        entry,
        content: Box::new(file),
        size,
        promised: None,
        diff_id: Some(*diff_id),
        plain: digest == *diff_id,
        fresh: None,
    };
    pass(passing, unpack)?;
    Ok(named(promised, compression, digest, size))
}

/// How a layer is packed, by its first bytes.
fn compression(files: &dyn Files, entry: &str, begin: &[u8]) -> Result<Compression, Failure> {
    match sort(begin) {
        Sort::Layer(compression) => Ok(compression),
        Sort::Foreign(foreign) => Err(wrong(
            files,
            entry,
            format!("is compressed by {}: layers are by gzip or zstd, or not at all", foreign.name()),
        )),
        Sort::Text | Sort::Other => Err(wrong(files, entry, "is no layer: it is no tar archive")),
    }
}

/// The layer as its manifest names it, or as one that is made will.
fn named(
    promised: &Option<(Descriptor, Digest)>,
    compression: Compression,
    digest: Digest,
    size: u64,
) -> (Descriptor, Digest) {
    let made = || (Descriptor::new(layer_type(compression), size, digest), digest);
    promised.clone().unwrap_or_else(made)
}

/// A manifest for an image that came without one: the same bytes for the same image.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Made<'i> {
    schema_version: u32,
    media_type: &'i str,
    config: &'i Descriptor,
    layers: &'i [Descriptor],
}

fn finish(
    files: &dyn Files,
    plan: Plan,
    brought: &HashMap<Key, (Descriptor, Digest)>,
) -> Result<Image, Failure> {
    let mut layers = Vec::new();
    for planned in &plan.layers {
        let Some((descriptor, digest)) = brought.get(&key(planned)) else {
            return Err(missing(files, &planned.entry));
        };
        layers.push(Layer { descriptor: descriptor.clone(), digest: *digest, diff_id: planned.diff_id });
    }
    let manifest = match plan.manifest {
        Some(manifest) => manifest,
        None => {
            let descriptors: Vec<Descriptor> = layers.iter().map(|layer| layer.descriptor.clone()).collect();
            let made = Made {
                schema_version: 2,
                media_type: MediaType::ImageManifest.as_ref(),
                config: &plan.config.descriptor,
                layers: &descriptors,
            };
            let bytes = serde_json::to_vec(&made)
                .map_err(|error| wrong(files, "", format!("no manifest can be made for it: {error}")))?;
            Blob::of(MediaType::ImageManifest, bytes)
        }
    };
    let Plan { names, label, config, platform, indexes, .. } = plan;
    Ok(Image { names, label, manifest, config, layers, platform, indexes })
}
