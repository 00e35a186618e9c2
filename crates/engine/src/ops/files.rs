//! Images as files: `save`, `load`, `import`, and the places that are written `oci:DIR`, `docker-archive:FILE`.

use std::fs::File;
use std::io::{Read, Write};

use images::{Image, Images, Layer, Manifest};
use oci::image::Descriptor;
use oci::time::Rfc3339;
use oci::{Digest, Reference};
use serde_json::{Value, json};
use step::Failure;
use storage::layer::{Limits, Options};
use transport::{Export, Location, Platforms, Reader, Unpacking, Writer};

use super::images::{platform, reference, sweep};
use crate::image::absent;
use crate::{Error, Kind, Settings, events};

const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
const CONFIG: &str = "application/vnd.oci.image.config.v1+json";

/// An image that was brought.
#[derive(Debug, Clone)]
pub struct Loaded {
    /// Its id.
    pub id: Digest,
    /// The names that it has now.
    pub names: Vec<Reference>,
}

/// Where images are, if the text is written so: `oci:DIR[:NAME]`, `oci-archive:FILE`, `docker-archive:FILE`, `dir:DIR`.
pub fn location(text: &str) -> Option<Location> {
    text.parse().ok()
}

/// Brings all images of an archive, as `docker save` or an OCI layout in a tar has them. `file` may be a pipe; `place` is
/// what messages call it.
pub fn load(
    settings: &Settings,
    file: File,
    place: &str,
    wanted: Option<&str>,
) -> Result<Vec<Loaded>, Error> {
    bring(settings, wanted, |reader| reader.load(file, place))
}

/// Brings the images of a place. One that a layout calls by a tag alone has no name of its own here, but its id.
pub fn pull_from(
    settings: &Settings,
    location: &Location,
    wanted: Option<&str>,
) -> Result<Vec<Loaded>, Error> {
    bring(settings, wanted, |reader| reader.read(location))
}

fn bring(
    settings: &Settings,
    wanted: Option<&str>,
    read: impl FnOnce(&Reader<'_>) -> Result<Vec<transport::Image>, Failure>,
) -> Result<Vec<Loaded>, Error> {
    let images = Images::open(&settings.root)?;
    let platforms = Platforms::One(platform(wanted)?);
    let bringing = images.bringing()?;
    let unpacking = Unpacking::new(images.layers(), Options::default());
    let reader = Reader { blobs: images.blobs(), platforms: &platforms, unpack: &unpacking };
    let brought = read(&reader)?;
    unpacking.publish(&brought, images.blobs())?;
    let mut loaded = Vec::new();
    for image in &brought {
        let descriptor = &image.manifest.descriptor;
        let manifest = Manifest {
            media_type: descriptor.media_type().to_string(),
            digest: image.manifest.digest,
            size: descriptor.size(),
        };
        let layer = |layer: &transport::Layer| Layer {
            diff_id: layer.diff_id,
            digest: layer.digest,
            size: layer.descriptor.size(),
            media_type: layer.descriptor.media_type().to_string(),
        };
        let layers = image.layers.iter().map(layer).collect();
        let described = images.describe(&image.config.bytes, manifest, layers)?;
        let names: Vec<Reference> =
            image.names.iter().filter(|name| name.digest().is_none()).cloned().collect();
        let canonical: Vec<String> = names.iter().map(Reference::canonical).collect();
        let id = images.add(described, &canonical)?.id;
        let name = names.first().map_or_else(|| id.to_string(), Reference::to_string);
        events::image(settings, "load", &id.to_string(), &name);
        loaded.push(Loaded { id, names });
    }
    drop(bringing);
    sweep(settings, &images)?;
    Ok(loaded)
}

/// Writes images as one archive that Docker, Podman and skopeo read. A repository without a tag stands for all its tags.
pub fn save(settings: &Settings, names: &[String], output: impl Write, place: &str) -> Result<(), Error> {
    let images = Images::open(&settings.root)?;
    let _bringing = images.bringing()?;
    let exports = exports(&images, names)?;
    Writer { blobs: images.blobs() }.save(output, place, &exports)?;
    for name in names {
        if let Some(image) = images.find(name)? {
            events::image(settings, "save", &image.id.to_string(), name);
        }
    }
    Ok(())
}

/// Writes images to a place.
pub fn push_to(settings: &Settings, names: &[String], location: &Location) -> Result<(), Error> {
    let images = Images::open(&settings.root)?;
    let _bringing = images.bringing()?;
    let exports = exports(&images, names)?;
    Ok(Writer { blobs: images.blobs() }.write(location, &exports)?)
}

fn exports(images: &Images, names: &[String]) -> Result<Vec<Export>, Error> {
    let mut exports = Vec::new();
    for text in names {
        let asked = reference(text).ok();
        let whole = asked.as_ref().filter(|name| name.digest().is_none() && !text.ends_with(&name.wanted()));
        // As Docker: a repository alone is all of its tags.
        let tags = whole.map(|name| name.familiar_name());
        let mut found = false;
        for image in images.list()? {
            let known: Vec<Reference> = image.names.iter().filter_map(|name| name.parse().ok()).collect();
            let its: Vec<Reference> =
                known.into_iter().filter(|name| Some(name.familiar_name()) == tags).collect();
            if !its.is_empty() {
                found = true;
                exports.push(export(&image, its)?);
            }
        }
        if !found {
            let image = images.find(text)?.ok_or_else(|| absent(text))?;
            let named = asked.filter(|name| image.names.contains(&name.canonical()));
            exports.push(export(&image, named.into_iter().collect())?);
        }
    }
    Ok(exports)
}

fn export(image: &Image, names: Vec<Reference>) -> Result<Export, Error> {
    let manifest = &image.manifest;
    let kind = oci::image::MediaType::from(manifest.media_type.as_str());
    let manifest = Descriptor::new(kind, manifest.size, manifest.digest);
    Ok(Export { names, label: None, manifest })
}

/// What `import` is asked for.
#[derive(Debug, Clone, Default)]
pub struct Import {
    /// The image's name; none leaves it dangling.
    pub name: Option<String>,
    /// `--message`.
    pub message: String,
    /// `--platform`.
    pub platform: Option<String>,
    /// `--change`: instructions of Dockerfiles.
    pub changes: Vec<String>,
}

/// Makes an image of one layer of a tar archive, plain or compressed; its id. `place` is what messages call the archive.
pub fn import(
    settings: &Settings,
    asked: &Import,
    source: impl Read + Send,
    place: &str,
) -> Result<Digest, Error> {
    let name = asked.name.as_deref().map(reference).transpose()?;
    if name.as_ref().is_some_and(|name| name.digest().is_some()) {
        return Err(Error::new(Kind::Invalid, "an image's new name has no digest"));
    }
    super::build::check_changes(&asked.changes)?;
    let platform = platform(asked.platform.as_deref())?;
    let images = Images::open(&settings.root)?;
    let _bringing = images.bringing()?;
    let layer = transport::import(images.blobs(), source, place, &Limits::default())?;
    let layer = Layer {
        diff_id: layer.diff_id,
        digest: layer.digest,
        size: layer.descriptor.size(),
        media_type: layer.descriptor.media_type().to_string(),
    };
    images.bring(std::slice::from_ref(&layer), &super::commit::Nothing, &|_| {})?;
    let now = Rfc3339::seconds(images::now()).to_string();
    let mut config = json!({
        "architecture": platform.architecture(),
        "os": platform.os(),
        "created": now,
        "config": {},
        "rootfs": {"type": "layers", "diff_ids": [layer.diff_id]},
        "history": [{"created": now, "created_by": format!("import {place}"), "comment": asked.message}],
    });
    if let Some(variant) = platform.variant() {
        config["variant"] = json!(variant);
    }
    let image = put(&images, &config, vec![layer], "import")?;
    let id = super::commit::named(settings, &images, image, name.as_ref(), &asked.changes)?;
    let name = name.map_or_else(|| id.to_string(), |name| name.to_string());
    events::image(settings, "import", &id.to_string(), &name);
    Ok(id)
}

/// An image of layers that are here: its configuration and its manifest become blobs.
pub(super) fn put(
    images: &Images,
    config: &Value,
    layers: Vec<Layer>,
    step: &'static str,
) -> Result<Image, Error> {
    let failed = |cause: serde_json::Error| Failure::new(step, "the image", cause);
    let bytes = serde_json::to_vec(config).map_err(failed)?;
    // Of one family: OCI's.
    let layers: Vec<Layer> = layers.into_iter().map(oci_layer).collect();
    let one =
        |layer: &Layer| json!({"mediaType": layer.media_type, "digest": layer.digest, "size": layer.size});
    let manifest = json!({
        "schemaVersion": 2,
        "mediaType": MANIFEST,
        "config": {"mediaType": CONFIG, "digest": Digest::of(&bytes), "size": bytes.len()},
        "layers": layers.iter().map(one).collect::<Vec<_>>(),
    });
    let text = serde_json::to_vec(&manifest).map_err(failed)?;
    let digest = images.blobs().put_bytes(&text)?;
    let manifest = Manifest { media_type: MANIFEST.to_owned(), digest, size: text.len() as u64 };
    Ok(images.describe(&bytes, manifest, layers)?)
}

/// A layer by OCI's media types.
fn oci_layer(layer: Layer) -> Layer {
    let media_type = match layer.media_type.as_str() {
        "application/vnd.docker.image.rootfs.diff.tar.gzip" => "application/vnd.oci.image.layer.v1.tar+gzip",
        "application/vnd.docker.image.rootfs.diff.tar.zstd" => "application/vnd.oci.image.layer.v1.tar+zstd",
        "application/vnd.docker.image.rootfs.diff.tar" => "application/vnd.oci.image.layer.v1.tar",
        other => other,
    };
    Layer { media_type: media_type.to_owned(), ..layer }
}
