//! An image that was brought into the store, or is on its way.

use oci::image::{Descriptor, MediaType};
use oci::{Compression, Digest, InvalidContent, Platform, Reference};
use serde::Deserialize;
use step::Failure;

use crate::files::{Files, wrong};

/// An image in the store: all its blobs are there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Image {
    /// The names that it had where it came from: `RepoTags`, `io.containerd.image.name`, and
    /// `org.opencontainers.image.ref.name` where that is a whole name.
    pub names: Vec<Reference>,
    /// What an OCI layout calls it, as it stands there: often a tag alone.
    pub label: Option<String>,
    /// Its manifest. Of an archive without one (`docker save` before 25) it was made: an OCI manifest that names the
    /// configuration and the layers as they were.
    pub manifest: Blob,
    /// Its configuration, byte for byte; the digest is the image's id.
    pub config: Blob,
    /// Its layers, the lowest first.
    pub layers: Vec<Layer>,
    /// What it runs on, by its configuration.
    pub platform: Platform,
    /// The indexes that it was found in, the outermost first. They are in the store only where all platforms were asked
    /// for.
    pub indexes: Vec<Blob>,
}

/// A small blob of an image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Blob {
    /// Media type, digest and size, as an index or a manifest names it.
    pub descriptor: Descriptor,
    /// The same digest, as ours.
    pub digest: Digest,
    /// What it is.
    pub bytes: Vec<u8>,
}

/// A layer of an image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Layer {
    /// As the manifest names it.
    pub descriptor: Descriptor,
    /// The same digest, as ours.
    pub digest: Digest,
    /// The digest of its tar stream.
    pub diff_id: Digest,
}

/// An image whose texts were read, and whose layers were not.
#[derive(Debug)]
pub(crate) struct Plan {
    pub(crate) names: Vec<Reference>,
    pub(crate) label: Option<String>,
    /// None where it has to be made.
    pub(crate) manifest: Option<Blob>,
    pub(crate) config: Blob,
    pub(crate) layers: Vec<PlannedLayer>,
    pub(crate) platform: Platform,
    pub(crate) indexes: Vec<Blob>,
}

/// A layer that is still to be brought.
#[derive(Debug, Clone)]
pub(crate) struct PlannedLayer {
    /// What it is called where it lies.
    pub(crate) entry: String,
    /// As the manifest names it; none where no manifest does.
    pub(crate) promised: Option<(Descriptor, Digest)>,
    pub(crate) diff_id: Digest,
}

/// What of a configuration is read here.
#[derive(Debug, Deserialize)]
pub(crate) struct Config {
    #[serde(default)]
    architecture: String,
    #[serde(default)]
    os: String,
    #[serde(default)]
    variant: Option<String>,
    rootfs: RootFs,
}

#[derive(Debug, Deserialize)]
struct RootFs {
    #[serde(default)]
    diff_ids: Option<Vec<Digest>>,
}

impl Config {
    /// Reads the configuration `bytes` that is called `entry` in messages.
    pub(crate) fn read(files: &dyn Files, entry: &str, bytes: &[u8]) -> Result<Self, Failure> {
        serde_json::from_slice(bytes).map_err(|error| {
            wrong(files, entry, oci::shown(&format!("is no configuration of an image: {error}")))
        })
    }

    pub(crate) fn platform(&self) -> Platform {
        let or =
            |text: &str, default: &str| if text.is_empty() { default.to_owned() } else { text.to_owned() };
        let host = Platform::host();
        Platform::new(
            &or(&self.os, host.os()),
            &or(&self.architecture, host.architecture()),
            self.variant.as_deref(),
        )
    }

    /// The layers' diff ids; an error if they are not so many.
    pub(crate) fn diff_ids(
        self,
        files: &dyn Files,
        entry: &str,
        layers: usize,
    ) -> Result<Vec<Digest>, Failure> {
        let diff_ids = self.rootfs.diff_ids.unwrap_or_default();
        if diff_ids.len() != layers {
            let reason = format!("names {} layers, and the image has {layers}", diff_ids.len());
            return Err(wrong(files, entry, reason));
        }
        Ok(diff_ids)
    }
}

impl Blob {
    /// A blob that is known by its bytes alone.
    pub(crate) fn of(media_type: MediaType, bytes: Vec<u8>) -> Self {
        let digest = Digest::of(&bytes);
        Self { descriptor: Descriptor::new(media_type, bytes.len() as u64, digest), digest, bytes }
    }

    /// The blob that `descriptor` names, called `entry` where it lies. Checked by size and digest.
    pub(crate) fn read(files: &dyn Files, entry: &str, descriptor: &Descriptor) -> Result<Self, Failure> {
        let digest = digest(files, entry, descriptor)?;
        let bytes = crate::files::text(files, entry)?;
        if bytes.len() as u64 != descriptor.size() {
            let reason = format!("has {} bytes in the place of {}", bytes.len(), descriptor.size());
            return Err(wrong(files, entry, reason));
        }
        let found = Digest::with(digest.algorithm(), &bytes);
        if found != digest {
            return Err(wrong(files, entry, format!("has the digest {found}, not the promised {digest}")));
        }
        Ok(Self { descriptor: descriptor.clone(), digest, bytes })
    }
}

/// A descriptor's digest, as ours.
pub(crate) fn digest(files: &dyn Files, entry: &str, descriptor: &Descriptor) -> Result<Digest, Failure> {
    oci::digest_of(descriptor).map_err(|error| refused(files, entry, error))
}

/// What cannot be taken, with its way out.
pub(crate) fn refused(files: &dyn Files, entry: &str, error: InvalidContent) -> Failure {
    wrong(files, entry, error.to_string())
}

/// The OCI's media type of a layer.
pub(crate) fn layer_type(compression: Compression) -> MediaType {
    match compression {
        Compression::None => MediaType::ImageLayer,
        Compression::Gzip => MediaType::ImageLayerGzip,
        Compression::Zstd => MediaType::ImageLayerZstd,
    }
}

/// Names as references; what is none is passed over, for it names nothing here either.
pub(crate) fn references<'t>(texts: impl IntoIterator<Item = &'t str>) -> Vec<Reference> {
    let mut names: Vec<Reference> = Vec::new();
    for name in texts.into_iter().filter_map(|text| text.parse().ok()) {
        if !names.contains(&name) {
            names.push(name);
        }
    }
    names
}
