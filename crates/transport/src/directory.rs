//! skopeo's directory with one image: `manifest.json` is its manifest as it is, blobs are files of their digits, and of
//! an index the manifests are `<digits>.manifest.json`.

use oci::Digest;
use oci::image::{Descriptor, MediaType};
use step::Failure;

use crate::files::{Files, text, wrong};
use crate::image::{Blob, Plan};
use crate::layout::{Platforms, Walk};

pub(crate) const MANIFEST: &str = "manifest.json";
/// What skopeo marks such a directory with, and what stands in it.
pub(crate) const VERSION: &str = "version";
pub(crate) const VERSION_TEXT: &str = "Directory Transport Version: 1.1\n";

/// Where a directory has a blob.
pub(crate) fn blob_name(digest: &Digest) -> String {
    digest.hex()
}

/// Where it has a manifest that an index names.
pub(crate) fn manifest_name(digest: &Digest) -> String {
    format!("{}.manifest.json", digest.hex())
}

/// The image of a directory, or those of its index, their layers not read yet.
pub(crate) fn plans(files: &dyn Files, platforms: &Platforms) -> Result<Vec<Plan>, Failure> {
    let bytes = text(files, MANIFEST)?;
    // What it is stands in it, or shows.
    let said: Said = serde_json::from_slice(&bytes).map_err(|error| {
        wrong(files, MANIFEST, oci::shown(&format!("is no manifest of an image: {error}")))
    })?;
    let media_type = MediaType::from(said.media_type.as_deref().unwrap_or(match said.manifests {
        Some(_) => "application/vnd.oci.image.index.v1+json",
        None => "application/vnd.oci.image.manifest.v1+json",
    }));
    let digest = Digest::of(&bytes);
    let descriptor = Descriptor::new(media_type, bytes.len() as u64, digest);
    let mut walk = Walk {
        files,
        platforms,
        naming: blob_name,
        manifest_naming: manifest_name,
        read: 0,
        plans: Vec::new(),
    };
    walk.blob(Blob { descriptor, digest, bytes }, MANIFEST, &[])?;
    if walk.plans.is_empty() {
        return Err(wrong(files, MANIFEST, "names no image whose manifest is there"));
    }
    Ok(walk.plans)
}

#[derive(serde::Deserialize)]
#[serde(rename_all = "camelCase")]
struct Said {
    media_type: Option<String>,
    manifests: Option<serde::de::IgnoredAny>,
}
