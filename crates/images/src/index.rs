//! Several images under one name, one for each platform: an index (image-spec, image-index.md), and what of it is here.

use oci::image::{Descriptor, ImageIndex};
use oci::{Digest, Platform};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use step::Failure;

use crate::Images;
use crate::find::missing;
use crate::image::{Image, Layer, Manifest};
use crate::pull::now;

/// The media type of an index that is made here.
pub const INDEX: &str = "application/vnd.oci.image.index.v1+json";

/// What the catalogue says of an index.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Index {
    /// The index itself, which is kept byte for byte. Its digest is the id.
    pub manifest: Manifest,
    /// What it is called, in full.
    pub names: Vec<String>,
    /// What registries call it, in full and by digest.
    pub digests: Vec<String>,
    /// Its images in its order, those too that are not here.
    pub entries: Vec<Entry>,
    /// When it got a name last, in seconds since 1970.
    pub tagged: i64,
}

/// An image of an index.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// Its manifest, as the index names it.
    pub manifest: Manifest,
    /// `linux/arm64`.
    pub platform: String,
    /// Its id in the catalogue; none where it is not here.
    pub image: Option<Digest>,
    /// Its layers as its own manifest has them, the lowest first: the catalogue's image may have come by another manifest.
    #[serde(default)]
    pub layers: Vec<Layer>,
    /// Where it is if it is not here, in full and by digest.
    #[serde(default)]
    pub from: Option<String>,
}

impl Entry {
    /// An image that is here, as an index names it.
    pub fn of(image: &Image) -> Self {
        Self {
            manifest: image.manifest.clone(),
            platform: image.platform.clone(),
            image: Some(image.id),
            layers: image.layers.clone(),
            from: None,
        }
    }
}

impl Index {
    /// Its digest.
    pub fn id(&self) -> Digest {
        self.manifest.digest
    }

    /// The first twelve digits of its id.
    pub fn short_id(&self) -> String {
        self.id().hex().chars().take(12).collect()
    }

    /// Whether an image is one of its own.
    pub fn has(&self, id: &Digest) -> bool {
        self.entries.iter().any(|entry| entry.image == Some(*id))
    }

    /// The image that suits a platform best, of those that are here.
    pub fn best(&self, platform: &Platform) -> Option<&Entry> {
        let here = |wanted: String| {
            self.entries.iter().find(|entry| entry.image.is_some() && entry.platform == wanted)
        };
        platform.runs().iter().find_map(|wanted| here(wanted.to_string()))
    }

    /// Notes that the image of a manifest is here.
    pub(crate) fn take(&mut self, manifest: &Digest, image: &Image) {
        for entry in self.entries.iter_mut().filter(|entry| entry.manifest.digest == *manifest) {
            (entry.image, entry.layers) = (Some(image.id), image.layers.clone());
        }
    }

    /// The digests of all blobs that it is made of, as far as they are here.
    pub fn blobs(&self) -> impl Iterator<Item = Digest> + '_ {
        let of_entry = |entry: &'_ Entry| -> Vec<Digest> {
            let Some(id) = entry.image else { return Vec::new() };
            let layers = entry.layers.iter().map(|layer| layer.digest);
            [id, entry.manifest.digest].into_iter().chain(layers).collect()
        };
        std::iter::once(self.id()).chain(self.entries.iter().flat_map(of_entry))
    }

    /// What it is called in messages.
    pub(crate) fn called(&self) -> String {
        self.names.first().cloned().unwrap_or_else(|| self.id().to_string())
    }
}

impl Images {
    /// All indexes, in the order in which they came.
    ///
    /// # Errors
    /// A catalogue that cannot be read.
    pub fn indexes(&self) -> Result<Vec<Index>, Failure> {
        Ok(self.read()?.indexes)
    }

    /// Makes an index of images: its text becomes a blob. It has no name, and is in no catalogue yet.
    ///
    /// # Errors
    /// The store's.
    pub fn make_index(&self, entries: Vec<Entry>) -> Result<Index, Failure> {
        let descriptors: Vec<Value> = entries.iter().map(described).collect();
        self.index_of(&json!({"schemaVersion": 2, "mediaType": INDEX, "manifests": descriptors}), entries)
    }

    /// The same of a text that is there.
    fn index_of(&self, text: &Value, entries: Vec<Entry>) -> Result<Index, Failure> {
        let bytes = text.to_string().into_bytes();
        let digest = self.blobs.put_bytes(&bytes)?;
        let manifest = Manifest { media_type: INDEX.to_owned(), digest, size: bytes.len() as u64 };
        Ok(Index { manifest, names: Vec::new(), digests: Vec::new(), entries, tagged: now() })
    }

    /// An index whose text is in the store, with those of its images that are here.
    ///
    /// # Errors
    /// What is no index.
    pub fn read_index(&self, manifest: Manifest, bytes: &[u8], here: &[Image]) -> Result<Index, Failure> {
        let target = manifest.digest.to_string();
        let listed: ImageIndex = serde_json::from_slice(bytes)
            .map_err(|cause| Failure::because("images", target, format!("is no index: {cause}")))?;
        let entries = entries(&listed, None)?;
        let mut index = Index { manifest, names: Vec::new(), digests: Vec::new(), entries, tagged: now() };
        for image in here {
            index.take(&image.manifest.digest, image);
        }
        Ok(index)
    }

    /// Gives an index a place in the catalogue, with images of it whose content is here, and names, each of which another
    /// image may lose.
    ///
    /// # Errors
    /// A catalogue that cannot be written.
    pub fn add_index(&self, index: Index, images: Vec<Image>, names: &[String]) -> Result<Index, Failure> {
        let (id, now) = (index.id(), now());
        self.change(|catalogue| {
            images.into_iter().for_each(|image| catalogue.add(image));
            catalogue.add_index(index);
            for name in names {
                catalogue.give_name(&id, name, now);
            }
            let index = catalogue.indexes.iter().find(|index| index.id() == id).cloned();
            index.ok_or_else(|| Failure::because("images", id.to_string(), "is gone"))
        })
    }

    /// Puts another index in the place of the one of that name.
    ///
    /// # Errors
    /// No index of that name; a catalogue that cannot be written.
    pub fn replace_index(&self, old: &Digest, new: Index) -> Result<Index, Failure> {
        self.change(|catalogue| {
            let place = catalogue.indexes.iter().position(|index| index.id() == *old);
            let Some(place) = place else { return Err(missing(&old.to_string())) };
            let known = catalogue.indexes.remove(place);
            catalogue.dropped.blobs.extend(known.blobs());
            // A registry has the old one by its digests, not the new one.
            let new = Index { names: known.names, tagged: known.tagged, ..new };
            catalogue.add_index(new.clone());
            Ok(new)
        })
    }

    /// The very bytes of an index.
    ///
    /// # Errors
    /// A blob that is gone or cannot be read.
    pub fn index_bytes(&self, index: &Index) -> Result<Vec<u8>, Failure> {
        self.blob_bytes(&index.id())
    }
}

/// An image as an index names it.
fn described(entry: &Entry) -> Value {
    let Manifest { media_type, digest, size } = &entry.manifest;
    let mut platform = Map::new();
    let mut parts = entry.platform.splitn(3, '/');
    for name in ["os", "architecture", "variant"] {
        if let Some(part) = parts.next() {
            platform.insert(name.to_owned(), part.into());
        }
    }
    json!({"mediaType": media_type, "digest": digest, "size": size, "platform": platform})
}

/// What belongs to an image and is none: proofs of how it was built.
pub(crate) fn is_attestation(descriptor: &Descriptor) -> bool {
    let of_nobody =
        |platform: &oci::image::Platform| Platform::from(platform).to_string() == "unknown/unknown";
    let annotated = descriptor.annotations().as_ref();
    descriptor.platform().as_ref().is_some_and(of_nobody)
        || annotated.is_some_and(|all| all.contains_key("vnd.docker.reference.type"))
        || descriptor.artifact_type().is_some()
}

/// The images that an index names, none of them here, with where they are.
pub(crate) fn entries(index: &ImageIndex, from: Option<&str>) -> Result<Vec<Entry>, Failure> {
    let images = index.manifests().iter().filter(|descriptor| !is_attestation(descriptor));
    images
        .map(|descriptor| {
            let digest = crate::pull::digest_of(descriptor)?;
            let media_type = descriptor.media_type().to_string();
            let platform = descriptor.platform().as_ref();
            Ok(Entry {
                manifest: Manifest { media_type, digest, size: descriptor.size() },
                platform: platform.map_or_else(String::new, |platform| Platform::from(platform).to_string()),
                image: None,
                layers: Vec::new(),
                from: from.map(|from| format!("{from}@{digest}")),
            })
        })
        .collect()
}
