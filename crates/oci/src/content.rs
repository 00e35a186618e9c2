//! What a manifest is and holds: OCI's and Docker's media types, and what is refused on purpose.

use oci_spec::image::{Descriptor, ImageIndex, ImageManifest, MediaType};
use serde_json::Value;

use crate::digest::Digest;
use crate::platform::Platform;
use crate::shown::shown;

const OCI_MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
const OCI_INDEX: &str = "application/vnd.oci.image.index.v1+json";
const DOCKER_MANIFEST: &str = "application/vnd.docker.distribution.manifest.v2+json";
const DOCKER_LIST: &str = "application/vnd.docker.distribution.manifest.list.v2+json";
const DOCKER_OLD: &str = "application/vnd.docker.distribution.manifest.v1+json";
const DOCKER_OLD_SIGNED: &str = "application/vnd.docker.distribution.manifest.v1+prettyjws";

/// The kinds of manifests that are known: what a registry is asked for.
pub const ACCEPTED: [&str; 4] = [OCI_INDEX, OCI_MANIFEST, DOCKER_LIST, DOCKER_MANIFEST];

/// What a manifest says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Content {
    /// One image for one platform (OCI's image manifest, Docker's version 2, schema 2).
    Image(Box<ImageManifest>),
    /// Several images (OCI's index, Docker's manifest list).
    Index(Box<ImageIndex>),
}

/// How a layer is packed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Compression {
    /// A tar file as it is.
    None,
    /// gzip.
    Gzip,
    /// Zstandard.
    Zstd,
}

/// A layer of an image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Layer<'a> {
    /// As the manifest has it.
    pub descriptor: &'a Descriptor,
    /// The digest of the packed layer.
    pub digest: Digest,
    /// How it is packed.
    pub compression: Compression,
}

/// Why something is no image.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidContent {
    /// A kind of content that is not handled, on purpose.
    #[error("{what} is not supported: {reason}")]
    Unsupported {
        /// Which kind.
        what: String,
        /// Why not.
        reason: &'static str,
    },
    /// Content that is no manifest or contradicts itself.
    #[error("this is no image manifest: {reason}")]
    Manifest {
        /// What is wrong.
        reason: String,
    },
}

/// Reads a manifest of this media type, as a registry's Content-Type or a descriptor says; where that says
/// nothing (`application/json`, nothing at all), what stands inside counts.
///
/// # Errors
///
/// [`InvalidContent::Unsupported`] for Docker's schema 1, [`InvalidContent::Manifest`] for what is none or could be read in two ways
/// (CVE-2021-41190).
pub fn content(media_type: &str, bytes: &[u8]) -> Result<Content, InvalidContent> {
    let invalid = |reason: String| InvalidContent::Manifest { reason: shown(&reason) };
    let value: Value = serde_json::from_slice(bytes).map_err(|error| invalid(format!("no JSON: {error}")))?;
    let has = |name: &str| value.get(name).is_some();
    let inside = value.get("mediaType").and_then(Value::as_str);
    let said = media_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    let kind = if is_known(&said) { said.as_str() } else { inside.unwrap_or_default() };
    let old = value.get("schemaVersion").and_then(Value::as_u64) == Some(1);
    if old || matches!(kind, DOCKER_OLD | DOCKER_OLD_SIGNED) {
        return Err(InvalidContent::Unsupported {
            what: "an image in Docker's schema 1".into(),
            reason: "Docker gave the format up in 2019; push the image anew with a current tool",
        });
    }
    if let Some(inside) = inside.filter(|inside| *inside != kind) {
        return Err(invalid(format!("it came as {kind} and says that it is {inside}")));
    }
    if has("manifests") && (has("layers") || has("config")) {
        return Err(invalid("it is an image and an index at once".into()));
    }
    let index = match kind {
        OCI_INDEX | DOCKER_LIST => true,
        OCI_MANIFEST | DOCKER_MANIFEST => false,
        "" if has("manifests") => true,
        "" if has("layers") => false,
        other => return Err(invalid(format!("its media type is '{other}'"))),
    };
    if value.get("schemaVersion").and_then(Value::as_u64) != Some(2) {
        return Err(invalid("its schemaVersion is not 2".into()));
    }
    Ok(if index {
        Content::Index(Box::new(serde_json::from_value(value).map_err(|error| invalid(error.to_string()))?))
    } else {
        Content::Image(Box::new(serde_json::from_value(value).map_err(|error| invalid(error.to_string()))?))
    })
}

fn is_known(media_type: &str) -> bool {
    ACCEPTED.contains(&media_type) || matches!(media_type, DOCKER_OLD | DOCKER_OLD_SIGNED)
}

/// An image's layers, the lowest first.
///
/// # Errors
///
/// [`InvalidContent::Unsupported`] for foreign layers, which lie at other places than the image, and for what is no layer of a
/// file system; [`InvalidContent::Manifest`] for digests that are none.
pub fn layers(image: &ImageManifest) -> Result<Vec<Layer<'_>>, InvalidContent> {
    image.layers().iter().map(layer).collect()
}

fn layer(descriptor: &Descriptor) -> Result<Layer<'_>, InvalidContent> {
    let compression = match descriptor.media_type() {
        MediaType::ImageLayer => Compression::None,
        MediaType::ImageLayerGzip => Compression::Gzip,
        MediaType::ImageLayerZstd => Compression::Zstd,
        MediaType::ImageLayerNonDistributable
        | MediaType::ImageLayerNonDistributableGzip
        | MediaType::ImageLayerNonDistributableZstd => return Err(foreign()),
        MediaType::Other(name) => match name.as_str() {
            "application/vnd.docker.image.rootfs.diff.tar" => Compression::None,
            "application/vnd.docker.image.rootfs.diff.tar.gzip" => Compression::Gzip,
            "application/vnd.docker.image.rootfs.diff.tar.zstd" => Compression::Zstd,
            name if name.contains(".foreign.") => return Err(foreign()),
            name => return Err(no_layer(name)),
        },
        other => return Err(no_layer(other.as_ref())),
    };
    if descriptor.urls().as_ref().is_some_and(|urls| !urls.is_empty()) {
        return Err(foreign());
    }
    Ok(Layer { descriptor, digest: digest_of(descriptor)?, compression })
}

fn foreign() -> InvalidContent {
    InvalidContent::Unsupported {
        what: "an image with foreign layers".into(),
        reason: "they are fetched from servers of others, and the formats that have them are deprecated",
    }
}

fn no_layer(name: &str) -> InvalidContent {
    InvalidContent::Unsupported {
        what: format!("a layer of type '{}'", shown(name)),
        reason: "layers of images are tar files, plain or packed by gzip or zstd",
    }
}

/// A descriptor's digest as ours.
///
/// # Errors
///
/// [`InvalidContent::Manifest`] for one that is none.
pub fn digest_of(descriptor: &Descriptor) -> Result<Digest, InvalidContent> {
    Digest::try_from(descriptor.digest())
        .map_err(|error| InvalidContent::Manifest { reason: error.to_string() })
}

/// An index's platforms, for a message.
pub fn offered(index: &ImageIndex) -> String {
    let mut list: Vec<String> = index
        .manifests()
        .iter()
        .filter_map(|manifest| manifest.platform().as_ref())
        .map(|platform| shown(&Platform::from(platform).to_string()))
        .filter(|platform| platform != "unknown/unknown")
        .collect();
    list.dedup();
    if list.is_empty() { "nothing".into() } else { list.join(", ") }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DIGEST: &str = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

    fn image(media_type: &str, layer: &str, more: &str) -> String {
        format!(
            r#"{{"schemaVersion":2{media_type},"config":{{"mediaType":"application/vnd.oci.image.config.v1+json",
               "digest":"{DIGEST}","size":0}},"layers":[{{"mediaType":"{layer}","digest":"{DIGEST}","size":3{more}}}]}}"#
        )
    }

    fn of(text: &str, media_type: &str) -> Result<ImageManifest, String> {
        match content(media_type, text.as_bytes()) {
            Ok(Content::Image(image)) => Ok(*image),
            Ok(Content::Index(_)) => Err("an index".into()),
            Err(error) => Err(error.to_string()),
        }
    }

    #[test]
    fn all_layers_in_use_are_known() {
        for (name, compression) in [
            ("application/vnd.oci.image.layer.v1.tar", Compression::None),
            ("application/vnd.oci.image.layer.v1.tar+gzip", Compression::Gzip),
            ("application/vnd.oci.image.layer.v1.tar+zstd", Compression::Zstd),
            ("application/vnd.docker.image.rootfs.diff.tar", Compression::None),
            ("application/vnd.docker.image.rootfs.diff.tar.gzip", Compression::Gzip),
            ("application/vnd.docker.image.rootfs.diff.tar.zstd", Compression::Zstd),
        ] {
            let image = of(&image("", name, ""), OCI_MANIFEST).unwrap();
            let layers = layers(&image).unwrap();
            assert_eq!((layers[0].compression, layers[0].digest.to_string()), (compression, DIGEST.into()));
        }
    }

    #[test]
    fn foreign_layers_and_others_are_refused() {
        for (name, more, words) in [
            ("application/vnd.docker.image.rootfs.foreign.diff.tar.gzip", "", "an image with foreign layers"),
            ("application/vnd.oci.image.layer.nondistributable.v1.tar", "", "an image with foreign layers"),
            (
                "application/vnd.oci.image.layer.nondistributable.v1.tar+gzip",
                "",
                "an image with foreign layers",
            ),
            (
                "application/vnd.oci.image.layer.nondistributable.v1.tar+zstd",
                "",
                "an image with foreign layers",
            ),
            (
                "application/vnd.oci.image.layer.v1.tar",
                r#","urls":["https://x/"]"#,
                "an image with foreign layers",
            ),
            (
                "application/vnd.cncf.helm.chart.content.v1.tar+gzip",
                "",
                "a layer of type 'application/vnd.cncf.helm",
            ),
            ("application/vnd.oci.empty.v1+json", "", "a layer of type 'application/vnd.oci.empty"),
        ] {
            let image = of(&image("", name, more), OCI_MANIFEST).unwrap();
            let error = layers(&image).unwrap_err().to_string();
            assert!(error.starts_with(words) && error.contains("is not supported: "), "{name}: {error}");
        }
    }

    #[test]
    fn the_kind_is_never_guessed_against_what_is_said() {
        let inside = |kind: &str| format!(r#","mediaType":"{kind}""#);
        let layer = "application/vnd.oci.image.layer.v1.tar";
        let plain = image("", layer, "");
        assert!(of(&plain, "application/json").is_ok());
        assert!(of(&plain, DOCKER_MANIFEST).is_ok());
        assert!(of(&plain, "Application/vnd.oci.image.manifest.v1+json; charset=utf-8").is_ok());
        assert!(of(&image(&inside(DOCKER_MANIFEST), layer, ""), "text/plain").is_ok());
        assert!(of(&image(&inside(OCI_MANIFEST), layer, ""), OCI_MANIFEST).is_ok());
        let both = r#"{"schemaVersion":2,"layers":[],"manifests":[],"config":{}}"#.to_owned();
        for (text, media_type, words) in [
            (
                image(&inside(OCI_INDEX), layer, ""),
                OCI_MANIFEST,
                "and says that it is application/vnd.oci.image.index",
            ),
            (both, "", "an image and an index at once"),
            (plain.clone(), OCI_INDEX, "missing field `manifests`"),
            (plain.replace(":2,", ":3,"), OCI_MANIFEST, "its schemaVersion is not 2"),
            (r#"{"schemaVersion":2}"#.into(), "", "its media type is ''"),
            (image(&inside("text/x"), layer, ""), "", "its media type is 'text/x'"),
            ("{".into(), OCI_MANIFEST, "no JSON"),
            (
                r#"{"schemaVersion":1,"fsLayers":[]}"#.into(),
                "application/json",
                "an image in Docker's schema 1 is not",
            ),
            (plain.clone(), DOCKER_OLD_SIGNED, "an image in Docker's schema 1 is not supported"),
        ] {
            let error = of(&text, media_type).expect_err(&text);
            assert!(error.contains(words), "{text}: {error}");
        }
    }

    #[test]
    fn indexes_tell_their_platforms() {
        let text = format!(
            r#"{{"schemaVersion":2,"manifests":[
               {{"mediaType":"{DOCKER_MANIFEST}","digest":"{DIGEST}","size":1,
                 "platform":{{"os":"linux","architecture":"arm64","variant":"v8"}}}},
               {{"mediaType":"{DOCKER_MANIFEST}","digest":"{DIGEST}","size":1,
                 "platform":{{"os":"unknown","architecture":"unknown"}}}}]}}"#
        );
        let Ok(Content::Index(index)) = content(DOCKER_LIST, text.as_bytes()) else { panic!("no index") };
        assert_eq!(offered(&index), "linux/arm64");
    }
}
