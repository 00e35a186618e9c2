//! What the catalogue says of an image.

use oci::Digest;
use serde::{Deserialize, Serialize};

/// One image for one platform.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Image {
    /// The digest of its configuration: what Docker and Podman call its id.
    pub id: Digest,
    /// Its manifest, which is kept byte for byte.
    pub manifest: Manifest,
    /// What it is called, in full: `docker.io/library/alpine:latest`. None of a dangling one.
    pub names: Vec<String>,
    /// What registries call it, in full and by digest: `docker.io/library/alpine@sha256:…`. The digest is that of the
    /// index where it was chosen from one.
    pub digests: Vec<String>,
    /// Its layers, the lowest first.
    pub layers: Vec<Layer>,
    /// `linux/amd64`.
    pub platform: String,
    /// When it was made, by its own account: seconds since 1970. 0 where it does not say.
    pub created: i64,
    /// When it got a name last, in seconds since 1970.
    pub tagged: i64,
    /// What its layers take on disk, in bytes, each counted as if it were this image's alone.
    pub size: u64,
}

/// A manifest in the content store.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Manifest {
    /// OCI's or Docker's.
    pub media_type: String,
    /// Its digest.
    pub digest: Digest,
    /// Its size in bytes.
    pub size: u64,
}

/// A layer, packed and unpacked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Layer {
    /// The digest of its tar stream: the name of its directory.
    pub diff_id: Digest,
    /// The digest of what came, packed or not: the name of its blob.
    pub digest: Digest,
    /// The blob's size in bytes.
    pub size: u64,
    /// The blob's media type.
    pub media_type: String,
}

impl Image {
    /// The digests of all blobs that it is made of.
    pub(crate) fn blobs(&self) -> impl Iterator<Item = Digest> + '_ {
        [self.id, self.manifest.digest].into_iter().chain(self.layers.iter().map(|layer| layer.digest))
    }

    /// The first twelve digits of its id.
    pub fn short_id(&self) -> String {
        self.id.hex().chars().take(12).collect()
    }
}
