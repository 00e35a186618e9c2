//! What of images there is to write: manifests, configurations, layers, each once.

use std::collections::BTreeMap;
use std::io::Read as _;

use oci::image::{Descriptor, ImageManifest};
use oci::{Content, Digest, InvalidContent, Platform, content, digest_of, select};
use step::Failure;
use storage::blobs::Blobs;

use super::{Export, STEP};
use crate::files::MAX_TEXT;

/// As deep as an index is read.
const MAX_DEPTH: usize = 4;

/// An image with all that it has.
#[derive(Debug)]
pub(super) struct Whole {
    pub(super) export: Export,
    /// Its manifest; of an index that of this host's platform, or the first that there is.
    pub(super) image: ImageManifest,
    /// Manifests that an index has, by what skopeo's directory calls them.
    pub(super) below: Vec<Digest>,
    /// The manifest's or index's own digest.
    pub(super) digest: Digest,
}

/// All that is written, the same blob of several images once.
#[derive(Debug, Default)]
pub(super) struct Parts {
    /// Sizes in bytes.
    pub(super) blobs: BTreeMap<Digest, u64>,
    pub(super) images: Vec<Whole>,
}

impl Parts {
    /// Looks for all of it.
    pub(super) fn gather(blobs: &Blobs, images: &[Export]) -> Result<Self, Failure> {
        let mut parts = Self::default();
        for export in images {
            let mut found = Found::default();
            let digest = digest_of(&export.manifest).map_err(|error| refused(export, &error))?;
            parts.manifest(blobs, export, &export.manifest, 0, &mut found)?;
            let host = Platform::host();
            let best =
                found.indexes.iter().find_map(|index| select(index, &host)).and_then(|d| digest_of(d).ok());
            let at = best.and_then(|best| found.images.iter().position(|(digest, _)| *digest == best));
            if found.images.is_empty() {
                return Err(
                    Failure::because(STEP, called(export), "has no image in the store").hint("pull it again")
                );
            }
            let below = found.below;
            let (_, image) = found.images.swap_remove(at.unwrap_or(0));
            parts.images.push(Whole { export: export.clone(), image, below, digest });
        }
        Ok(parts)
    }

    fn manifest(
        &mut self,
        blobs: &Blobs,
        export: &Export,
        descriptor: &Descriptor,
        depth: usize,
        found: &mut Found,
    ) -> Result<(), Failure> {
        let digest = self.part(blobs, export, descriptor)?;
        let bytes = read(blobs, &digest)?;
        match content(descriptor.media_type().as_ref(), &bytes).map_err(|error| refused(export, &error))? {
            Content::Image(image) => {
                for part in [image.config()].into_iter().chain(image.layers()) {
                    self.part(blobs, export, part)?;
                }
                found.images.push((digest, *image));
            }
            Content::Index(_) if depth >= MAX_DEPTH => {
                return Err(Failure::because(
                    STEP,
                    called(export),
                    "is an index in an index, and so on: too deep",
                ));
            }
            Content::Index(index) => {
                for below in index.manifests() {
                    let digest = digest_of(below).map_err(|error| refused(export, &error))?;
                    // Of an index only what was asked for is pulled.
                    if blobs.has(&digest).is_some() {
                        found.below.push(digest);
                        self.manifest(blobs, export, below, depth + 1, found)?;
                    }
                }
                found.indexes.push(*index);
            }
        }
        Ok(())
    }

    /// A blob that is there and has the size that it should.
    fn part(&mut self, blobs: &Blobs, export: &Export, descriptor: &Descriptor) -> Result<Digest, Failure> {
        let digest = digest_of(descriptor).map_err(|error| refused(export, &error))?;
        match blobs.has(&digest) {
            Some(size) if size == descriptor.size() => {
                self.blobs.insert(digest, size);
                Ok(digest)
            }
            Some(size) => {
                let reason =
                    format!("{digest} has {size} bytes in the store, and should have {}", descriptor.size());
                Err(Failure::because(STEP, called(export), reason).hint("pull it again"))
            }
            None => {
                let reason = format!("{digest} is not in the store");
                Err(Failure::because(STEP, called(export), reason).hint("pull it again"))
            }
        }
    }
}

/// What an export's manifest leads to.
#[derive(Default)]
struct Found {
    images: Vec<(Digest, ImageManifest)>,
    indexes: Vec<oci::image::ImageIndex>,
    below: Vec<Digest>,
}

/// What messages call an image.
pub(super) fn called(export: &Export) -> String {
    match (export.names.first(), &export.label) {
        (Some(name), _) => name.to_string(),
        (None, Some(label)) => oci::shown(label),
        (None, None) => export.manifest.digest().to_string(),
    }
}

pub(super) fn refused(export: &Export, error: &InvalidContent) -> Failure {
    Failure::because(STEP, called(export), error.to_string())
}

/// A manifest out of the store.
pub(super) fn read(blobs: &Blobs, digest: &Digest) -> Result<Vec<u8>, Failure> {
    let Some(blob) = blobs.get(digest)? else {
        return Err(Failure::because(STEP, digest.to_string(), "is no longer in the store"));
    };
    let mut bytes = Vec::new();
    blob.file
        .take(MAX_TEXT)
        .read_to_end(&mut bytes)
        .map_err(|cause| Failure::new(STEP, digest.to_string(), cause))?;
    Ok(bytes)
}
