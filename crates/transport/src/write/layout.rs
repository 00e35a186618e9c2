//! Images in a directory with an OCI layout, which may have others already.

use std::fs;
use std::io;
use std::path::Path;

use rustix::fs::FlockOperation;
use serde_json::{Map, Value, json};
use step::Failure;
use storage::blobs::Blobs;

use super::part::{Parts, Whole};
use super::{STEP, is_free, replace};
use crate::layout::{IMAGE_NAME, INDEX, LAYOUT, REF_NAME, blob_name};

pub(super) const VERSION_TEXT: &str = r#"{"imageLayoutVersion":"1.0.0"}"#;

/// Adds images to the layout at `path`, which is made if it is not there. Its index is written last.
pub(super) fn write(blobs: &Blobs, path: &Path, parts: &Parts) -> Result<(), Failure> {
    let failed = |path: &Path, cause: io::Error| {
        storage::blobs::with_hint(Failure::new(STEP, path.display().to_string(), cause))
    };
    let (layout, index) = (path.join(LAYOUT), path.join(INDEX));
    fs::create_dir_all(path).map_err(|cause| failed(path, cause))?;
    // Of two that add to one layout at a time none may lose what the other adds. The lock goes with the descriptor.
    let directory = fs::File::open(path).map_err(|cause| failed(path, cause))?;
    rustix::fs::flock(&directory, FlockOperation::LockExclusive)
        .map_err(|errno| failed(path, errno.into()))?;
    if !is_free(path)? && !layout.exists() {
        return Err(Failure::because(
            STEP,
            path.display().to_string(),
            "has other things in it than an OCI layout",
        )
        .hint("name a directory that is not there yet, or one with a layout"));
    }
    let text = |path: &Path, text: &[u8]| {
        replace(path, |mut file| io::Write::write_all(&mut file, text)).map_err(|cause| failed(path, cause))
    };
    // First: what an interrupted attempt leaves is a layout that the next one adds to.
    if !layout.exists() {
        text(&layout, VERSION_TEXT.as_bytes())?;
    }
    let there = existing(&index)?;
    for (digest, size) in &parts.blobs {
        let target = path.join(blob_name(digest));
        if fs::metadata(&target).is_ok_and(|there| there.len() == *size) {
            continue;
        }
        copy(blobs, digest, &target)?;
    }
    text(&index, &self::index(there, parts))
}

/// Copies a blob out of the store.
pub(super) fn copy(blobs: &Blobs, digest: &oci::Digest, target: &Path) -> Result<(), Failure> {
    let failed =
        |cause: io::Error| storage::blobs::with_hint(Failure::new(STEP, target.display().to_string(), cause));
    if let Some(directory) = target.parent() {
        fs::create_dir_all(directory).map_err(failed)?;
    }
    let Some(mut blob) = blobs.get(digest)? else {
        return Err(Failure::because(STEP, digest.to_string(), "is no longer in the store"));
    };
    replace(target, |mut file| io::copy(&mut blob.file, &mut file).map(drop)).map_err(failed)
}

/// The descriptors that an index has already.
fn existing(index: &Path) -> Result<Vec<Value>, Failure> {
    let failed = |cause: io::Error| Failure::new(STEP, index.display().to_string(), cause);
    let text = match fs::read(index) {
        Err(cause) if cause.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        text => text.map_err(failed)?,
    };
    let mut value: Value = serde_json::from_slice(&text).map_err(|error| failed(error.into()))?;
    match value.get_mut("manifests").map(Value::take) {
        Some(Value::Array(manifests)) => Ok(manifests),
        _ => Err(Failure::because(STEP, index.display().to_string(), "is no index of images")),
    }
}

/// An index's text: what it had, without what has now another meaning, and the images.
pub(super) fn index(there: Vec<Value>, parts: &Parts) -> Vec<u8> {
    let new: Vec<Value> = parts.images.iter().flat_map(descriptors).collect();
    let name = |descriptor: &Value, key: &str| descriptor.pointer("/annotations")?.get(key).cloned();
    let same = |one: &Value, other: &Value| {
        let names = |descriptor| (name(descriptor, REF_NAME), name(descriptor, IMAGE_NAME));
        names(one) == names(other) && (names(one) != (None, None) || one.get("digest") == other.get("digest"))
    };
    let mut manifests: Vec<Value> = Vec::new();
    for descriptor in there {
        if !new.iter().any(|new| same(new, &descriptor)) {
            manifests.push(descriptor);
        }
    }
    for descriptor in new {
        if !manifests.contains(&descriptor) {
            manifests.push(descriptor);
        }
    }
    // Maps of this JSON are sorted by their keys: the same images give the same bytes.
    let media_type = oci::image::MediaType::ImageIndex.to_string();
    json!({ "schemaVersion": 2, "mediaType": media_type, "manifests": manifests }).to_string().into_bytes()
}

/// An image's descriptors: one for each name.
fn descriptors(whole: &Whole) -> Vec<Value> {
    let export = &whole.export;
    let plain = || {
        let mut map = Map::new();
        map.insert("mediaType".into(), export.manifest.media_type().to_string().into());
        map.insert("digest".into(), whole.digest.to_string().into());
        map.insert("size".into(), export.manifest.size().into());
        if let Some(Ok(platform)) = export.manifest.platform().as_ref().map(serde_json::to_value) {
            map.insert("platform".into(), platform);
        }
        map
    };
    let with = |annotations: &[(&str, &str)]| {
        let mut map = plain();
        let annotations: Map<String, Value> =
            annotations.iter().map(|(key, value)| ((*key).to_owned(), (*value).into())).collect();
        if !annotations.is_empty() {
            map.insert("annotations".into(), annotations.into());
        }
        Value::Object(map)
    };
    match (export.names.as_slice(), &export.label) {
        ([], None) => vec![with(&[])],
        ([], Some(label)) => vec![with(&[(REF_NAME, label)])],
        (names, label) => {
            let one = |name: &oci::Reference| {
                let canonical = name.canonical();
                // As Docker and containerd write it: the tag alone, unless somebody asked for another.
                match label.as_deref().or(name.tag()) {
                    Some(label) => with(&[(IMAGE_NAME, &canonical), (REF_NAME, label)]),
                    None => with(&[(IMAGE_NAME, &canonical)]),
                }
            };
            names.iter().map(one).collect()
        }
    }
}
