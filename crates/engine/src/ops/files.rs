//! Images as files: `save`, `load`, `import`, and the places that are written `oci:DIR`, `docker-archive:FILE`.

use std::fs::File;
use std::io::{Read, Write};

use images::{Found, Image, Images, Index, Layer, Manifest};
use oci::image::Descriptor;
use oci::time::Rfc3339;
use oci::{Digest, Platform, Reference};
use serde_json::{Value, json};
use step::Failure;
use storage::layer::{Limits, Options};
use transport::{Export, Location, Platforms, Reader, Unpacking, Writer};

use super::images::{for_platform, platform, reference, sweep};
use crate::image::absent;
use crate::{Error, Kind, Settings, events};

const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
const CONFIG: &str = "application/vnd.oci.image.config.v1+json";

/// An image that was brought.
#[derive(Debug, Clone)]
pub struct Loaded {
    /// Its id; of several for platforms that of their index.
    pub id: Digest,
    /// The names that it has now.
    pub names: Vec<Reference>,
}

/// Where images are, if the text is written so: `oci:DIR[:NAME]`, `oci-archive:FILE`, `docker-archive:FILE`, `dir:DIR`.
pub fn location(text: &str) -> Option<Location> {
    text.parse().ok()
}

/// Brings all images of an archive, as `docker save` or an OCI layout in a tar has them: for all platforms, unless one is
/// wanted. `file` may be a pipe; `place` is what messages call it.
pub fn load(
    settings: &Settings,
    file: File,
    place: &str,
    wanted: Option<&str>,
) -> Result<Vec<Loaded>, Error> {
    let platforms = match wanted {
        None => Platforms::All,
        wanted => Platforms::One(platform(wanted)?),
    };
    bring(settings, &platforms, |reader| reader.load(file, place))
}

/// Brings the images of a place, of several for platforms this machine's or the one that is wanted. One that a layout calls
/// by a tag alone has no name of its own here, but its id.
pub fn pull_from(
    settings: &Settings,
    location: &Location,
    wanted: Option<&str>,
) -> Result<Vec<Loaded>, Error> {
    bring(settings, &Platforms::One(platform(wanted)?), |reader| reader.read(location))
}

/// The same for all platforms.
pub fn pull_all_from(settings: &Settings, location: &Location) -> Result<Vec<Loaded>, Error> {
    bring(settings, &Platforms::All, |reader| reader.read(location))
}

fn bring(
    settings: &Settings,
    platforms: &Platforms,
    read: impl FnOnce(&Reader<'_>) -> Result<Vec<transport::Image>, Failure>,
) -> Result<Vec<Loaded>, Error> {
    let images = Images::open(&settings.root)?;
    let bringing = images.bringing()?;
    let unpacking = Unpacking::new(images.layers(), Options::default());
    let reader = Reader { blobs: images.blobs(), platforms, unpack: &unpacking };
    let brought = read(&reader)?;
    unpacking.publish(&brought, images.blobs())?;
    let mut loaded = Vec::new();
    let together = together(&brought);
    for image in &brought {
        let of = together.iter().filter(|several| several.has(image));
        // Names of all of them are the index's.
        let shared: Vec<&Reference> = of.flat_map(|several| several.names.iter().copied()).collect();
        let is_part = together.iter().any(|several| several.has(image));
        let names: Vec<Reference> =
            tagged(&image.names).filter(|name| !shared.contains(name)).cloned().collect();
        if is_part && names.is_empty() {
            continue;
        }
        let canonical: Vec<String> = names.iter().map(Reference::canonical).collect();
        let id = images.add(described(&images, image)?, &canonical)?.id;
        loaded.push(Loaded { id, names });
    }
    for several in &together {
        let members = several.images.iter().map(|image| described(&images, image));
        let members = members.collect::<Result<Vec<Image>, Error>>()?;
        let index = images.read_index(manifest_of(several.index), &several.index.bytes, &members)?;
        let canonical: Vec<String> = several.names.iter().map(|name| name.canonical()).collect();
        let id = images.add_index(index, members, &canonical)?.id();
        loaded.push(Loaded { id, names: several.names.iter().map(|name| (*name).clone()).collect() });
    }
    // Of an index that has one image here nobody asks for more than that.
    let all = brought.iter().flat_map(|image| &image.indexes).map(|index| index.digest);
    images.drop_content(&all.collect::<Vec<Digest>>(), &[])?;
    for one in &loaded {
        let id = one.id.to_string();
        let name = one.names.first().map_or_else(|| id.clone(), Reference::to_string);
        events::image(settings, "load", &id, &name);
    }
    drop(bringing);
    sweep(settings, &images)?;
    Ok(loaded)
}

/// Several images of one index.
struct Together<'b> {
    index: &'b transport::Blob,
    images: Vec<&'b transport::Image>,
    /// The names that all of them have.
    names: Vec<&'b Reference>,
}

impl Together<'_> {
    fn has(&self, image: &transport::Image) -> bool {
        self.images.iter().any(|own| own.manifest.digest == image.manifest.digest)
    }
}

/// The indexes of which more than one image was brought. What is deeper than one index is each image for itself.
fn together(brought: &[transport::Image]) -> Vec<Together<'_>> {
    let mut all: Vec<Together<'_>> = Vec::new();
    for image in brought {
        let [index] = image.indexes.as_slice() else { continue };
        match all.iter_mut().find(|several| several.index.digest == index.digest) {
            Some(several) => several.images.push(image),
            None => all.push(Together { index, images: vec![image], names: tagged(&image.names).collect() }),
        }
    }
    all.retain(|several| several.images.len() > 1);
    for Together { images, names, .. } in &mut all {
        names.retain(|name| images.iter().all(|image| image.names.contains(name)));
    }
    // Where one of them alone has names, nobody calls all of them anything.
    all.retain(|several| {
        !several.names.is_empty() || several.images.iter().all(|image| image.names.is_empty())
    });
    all
}

/// Names that are no digests.
fn tagged(names: &[Reference]) -> impl Iterator<Item = &Reference> {
    names.iter().filter(|name| name.digest().is_none())
}

fn manifest_of(blob: &transport::Blob) -> Manifest {
    let descriptor = &blob.descriptor;
    let media_type = descriptor.media_type().to_string();
    Manifest { media_type, digest: blob.digest, size: descriptor.size() }
}

/// An image that was brought, as the catalogue has it.
fn described(images: &Images, image: &transport::Image) -> Result<Image, Error> {
    let layer = |layer: &transport::Layer| Layer {
        diff_id: layer.diff_id,
        digest: layer.digest,
        size: layer.descriptor.size(),
        media_type: layer.descriptor.media_type().to_string(),
    };
    let layers = image.layers.iter().map(layer).collect();
    Ok(images.describe(&image.config.bytes, manifest_of(&image.manifest), layers)?)
}

/// Writes images as one archive that Docker, Podman and skopeo read. A repository without a tag stands for all its tags.
/// Of several for platforms all are written, unless one is wanted.
pub fn save(
    settings: &Settings,
    names: &[String],
    wanted: Option<&str>,
    output: impl Write,
    place: &str,
) -> Result<(), Error> {
    let images = Images::open(&settings.root)?;
    let _bringing = images.bringing()?;
    let exports = exports(&images, names, wanted)?;
    Writer { blobs: images.blobs() }.save(output, place, &exports)?;
    for name in names {
        if let Some(found) = images.look(name)? {
            events::image(settings, "save", &found.id().to_string(), name);
        }
    }
    Ok(())
}

/// Writes images to a place.
pub fn push_to(
    settings: &Settings,
    names: &[String],
    wanted: Option<&str>,
    location: &Location,
) -> Result<(), Error> {
    let images = Images::open(&settings.root)?;
    let _bringing = images.bringing()?;
    let exports = exports(&images, names, wanted)?;
    Ok(Writer { blobs: images.blobs() }.write(location, &exports)?)
}

fn exports(images: &Images, names: &[String], wanted: Option<&str>) -> Result<Vec<Export>, Error> {
    let wanted = wanted.map(|text| platform(Some(text))).transpose()?;
    let listed = images.list()?.into_iter().map(Found::Image);
    let listed: Vec<Found> = listed.chain(images.indexes()?.into_iter().map(Found::Index)).collect();
    let mut exports = Vec::new();
    for text in names {
        let asked = reference(text).ok();
        let whole = asked.as_ref().filter(|name| name.digest().is_none() && !text.ends_with(&name.wanted()));
        // As Docker: a repository alone is all of its tags.
        let tags = whole.map(|name| name.familiar_name());
        let mut found = false;
        for one in &listed {
            let known: Vec<Reference> = names_of(one).iter().filter_map(|name| name.parse().ok()).collect();
            let its: Vec<Reference> =
                known.into_iter().filter(|name| Some(name.familiar_name()) == tags).collect();
            if !its.is_empty() {
                found = true;
                let of_it = one.id().to_string();
                exports.push(export(images, one, &of_it, its, wanted.as_ref())?);
            }
        }
        if !found {
            let one = images.look(text)?.ok_or_else(|| absent(text))?;
            let named = asked.filter(|name| names_of(&one).contains(&name.canonical()));
            exports.push(export(images, &one, text, named.into_iter().collect(), wanted.as_ref())?);
        }
    }
    Ok(exports)
}

fn names_of(found: &Found) -> &[String] {
    match found {
        Found::Image(image) => &image.names,
        Found::Index(index) => &index.names,
    }
}

/// What is written of an image, or of several all or the one that is wanted.
fn export(
    images: &Images,
    found: &Found,
    text: &str,
    names: Vec<Reference>,
    wanted: Option<&Platform>,
) -> Result<Export, Error> {
    let manifest = match (found, wanted) {
        (Found::Index(Index { manifest, .. }), None) => manifest.clone(),
        (Found::Image(_), _) | (_, Some(_)) => for_platform(images, text, wanted)?.manifest,
    };
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
