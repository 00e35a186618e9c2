//! `pull`: from a registry into the store, and then a name.

use std::io::Read;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use oci::image::{Descriptor, ImageManifest};
use oci::{Content, Digest, Platform, Reference, Verified};
use registry::{Client, Settings};
use step::Failure;

use crate::Images;
use crate::bring::{Event, Phase, Supply, Watch};
use crate::config::Config;
use crate::find::by_digest;
use crate::image::{Image, Layer, Manifest};
use crate::index::{self, Entry, Index};

/// A configuration is text: some kilobytes.
const MAX_CONFIG: u64 = 8 << 20;

/// What is to be pulled.
#[derive(Debug, Clone, Copy)]
pub struct Pull<'p> {
    /// How registries are reached.
    pub settings: &'p Arc<Settings>,
    /// The name. One with a digest brings exactly that, and gives no tag.
    pub reference: &'p Reference,
    /// For whom, where the name stands for several images.
    pub platform: &'p Platform,
}

/// What came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pulled {
    /// The image.
    pub image: Image,
    /// What the name stands for at the registry: the digest of its manifest, or of the index.
    pub digest: Digest,
    /// Nothing had to be brought, and the name stood for this image before.
    pub up_to_date: bool,
}

/// All images of an index that came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PulledAll {
    /// The index, with its images.
    pub index: Index,
    /// Nothing had to be brought, and the name stood for this index before.
    pub up_to_date: bool,
}

impl Images {
    /// Pulls an image. Killed at any moment, it has changed nothing but what the next attempt goes on with.
    ///
    /// A name that stands for several images goes to the one that is brought, unless their index is here already: then it
    /// is the index's.
    ///
    /// # Errors
    /// The registry's; content that is not what it says; the disk's.
    pub fn pull(&self, pull: Pull<'_>, watch: Watch<'_>) -> Result<Pulled, Failure> {
        let Pull { settings, reference, platform } = pull;
        let failed = |error| failed(reference, error);
        let client = Client::new(reference.registry(), Arc::clone(settings)).map_err(failed)?;
        let top = client.manifest(reference).map_err(failed)?;
        let digest = top.digest;
        let (manifest, content) = client.choose(reference, top, platform).map_err(failed)?;
        let _bringing = self.bringing()?;
        let manifest_digest = manifest.digest;
        let (image, known) = self.pull_image(&client, reference, manifest, &content, watch)?;
        let names = name_of(reference);
        let called = by_digest(reference, digest);
        let here = |digests: &[String], known: &[String]| {
            digests.contains(&called) && names.iter().all(|name| known.contains(name))
        };
        let index = self.indexes()?.into_iter().find(|index| index.id() == digest);
        if let Some(mut index) = index {
            let up_to_date = known.is_some() && here(&index.digests, &index.names);
            index.digests = vec![called];
            index.take(&manifest_digest, &image);
            let id = image.id;
            self.add_index(index, vec![image], &names)?;
            let image = self.by_id(&id)?;
            let image = image.ok_or_else(|| Failure::because("images", id.to_string(), "is gone"))?;
            return Ok(Pulled { image, digest, up_to_date });
        }
        let up_to_date = known.is_some_and(|known| here(&known.digests, &known.names));
        let image = self.add(Image { digests: vec![called], ..image }, &names)?;
        Ok(Pulled { image, digest, up_to_date })
    }

    /// Pulls all images of an index, for whatever platforms they are; none where the name stands for one image alone.
    ///
    /// # Errors
    /// Those of [`Images::pull`].
    pub fn pull_all(
        &self,
        settings: &Arc<Settings>,
        reference: &Reference,
        watch: Watch<'_>,
    ) -> Result<Option<PulledAll>, Failure> {
        let failed = |error| failed(reference, error);
        let client = Client::new(reference.registry(), Arc::clone(settings)).map_err(failed)?;
        let top = client.manifest(reference).map_err(failed)?;
        let Content::Index(listed) = top.content().map_err(failed)? else { return Ok(None) };
        let _bringing = self.bringing()?;
        let (mut entries, mut images, mut is_new) = (index::entries(&listed, None)?, Vec::new(), false);
        for entry in &mut entries {
            let one = reference.at(entry.manifest.digest);
            let manifest = client.manifest(&one).map_err(failed)?;
            let Content::Image(content) = manifest.content().map_err(failed)? else {
                let reason = "has an index in its index, and one platform of that at a time can be pulled";
                return Err(Failure::because("pull", reference.to_string(), reason).hint("use --platform"));
            };
            let (image, known) = self.pull_image(&client, reference, manifest, &content, watch)?;
            is_new |= known.is_none();
            *entry = Entry {
                platform: Some(entry.platform.clone())
                    .filter(|text| !text.is_empty())
                    .unwrap_or(image.platform.clone()),
                manifest: entry.manifest.clone(),
                ..Entry::of(&image)
            };
            images.push(image);
        }
        self.blobs.put_bytes(&top.bytes)?;
        let media_type = listed.media_type().as_ref().map_or(top.media_type, ToString::to_string);
        let manifest = Manifest { media_type, digest: top.digest, size: top.bytes.len() as u64 };
        let called = by_digest(reference, top.digest);
        let names = name_of(reference);
        let known = self.indexes()?.into_iter().find(|index| index.id() == top.digest);
        let up_to_date = !is_new
            && known.is_some_and(|known| {
                known.digests.contains(&called) && names.iter().all(|name| known.names.contains(name))
            });
        let index = Index { manifest, names: Vec::new(), digests: vec![called], entries, tagged: now() };
        let index = self.add_index(index, images, &names)?;
        Ok(Some(PulledAll { index, up_to_date }))
    }

    /// Brings an image of a manifest, and what is known of it already. It has no place in the catalogue yet.
    fn pull_image(
        &self,
        client: &Client,
        reference: &Reference,
        manifest: registry::Manifest,
        content: &ImageManifest,
        watch: Watch<'_>,
    ) -> Result<(Image, Option<Image>), Failure> {
        let config = self.pull_config(client, reference, content.config())?;
        let layers = layers(content, &Config::parse(&config)?, reference)?;
        let from = Registry { client: client.clone(), repository: reference.repository() };
        let known = self.by_id(&Digest::of(&config))?;
        // Of an image that is here Docker tells no layers.
        let told = |event: Event<'_>| {
            if known.is_none() || event.phase != Phase::Present {
                watch(event);
            }
        };
        self.bring(&layers, &from, &told)?;
        self.blobs.put_bytes(&manifest.bytes)?;
        let size = manifest.bytes.len() as u64;
        let media_type = content.media_type().as_ref().map_or(manifest.media_type, ToString::to_string);
        let manifest = Manifest { media_type, digest: manifest.digest, size };
        Ok((self.describe(&config, manifest, layers)?, known))
    }

    /// An image of a registry as an index names it: its manifest is asked for, and its configuration, nothing else. A name
    /// that stands for several gives all of them.
    ///
    /// # Errors
    /// The registry's.
    pub fn look_up(&self, settings: &Arc<Settings>, reference: &Reference) -> Result<Vec<Entry>, Failure> {
        let failed = |error| failed(reference, error);
        let client = Client::new(reference.registry(), Arc::clone(settings)).map_err(failed)?;
        let top = client.manifest(reference).map_err(failed)?;
        let repository = format!("{}/{}", reference.registry(), reference.repository());
        let content = match top.content().map_err(failed)? {
            Content::Index(listed) => return index::entries(&listed, Some(&repository)),
            Content::Image(content) => content,
        };
        let config = Config::parse(&self.pull_config(&client, reference, content.config())?)?;
        let media_type = content.media_type().as_ref().map_or(top.media_type, ToString::to_string);
        let size = top.bytes.len() as u64;
        Ok(vec![Entry {
            manifest: Manifest { media_type, digest: top.digest, size },
            platform: Platform::new(&config.os, &config.architecture, config.variant.as_deref()).to_string(),
            image: None,
            layers: Vec::new(),
            from: Some(format!("{repository}@{}", top.digest)),
        }])
    }

    /// The configuration of an image of a registry, nothing else of it.
    ///
    /// # Errors
    /// The registry's.
    pub fn pull_configuration(&self, pull: Pull<'_>) -> Result<Vec<u8>, Failure> {
        let Pull { settings, reference, platform } = pull;
        let failed = |error: registry::Error| error.into_failure("pull");
        let client = Client::new(reference.registry(), Arc::clone(settings)).map_err(failed)?;
        let (_, content) = client.image(reference, platform).map_err(failed)?;
        self.pull_config(&client, reference, content.config())
    }

    /// Brings a layer of an image of a registry: a blob, and unpacked.
    ///
    /// # Errors
    /// The registry's; content that is not what it says.
    pub fn pull_layer(
        &self,
        settings: &Arc<Settings>,
        reference: &Reference,
        layer: &Layer,
    ) -> Result<(), Failure> {
        let client = Client::new(reference.registry(), Arc::clone(settings))
            .map_err(|error| error.into_failure("pull"))?;
        let from = Registry { client, repository: reference.repository() };
        self.bring(std::slice::from_ref(layer), &from, &|_| {})
    }

    /// Gives an image whose content is here a place in the catalogue, and names, each of which another image may lose.
    ///
    /// # Errors
    /// A catalogue that cannot be written.
    pub fn add(&self, image: Image, names: &[String]) -> Result<Image, Failure> {
        let (id, now) = (image.id, now());
        self.change(|catalogue| {
            catalogue.add(image);
            for name in names {
                catalogue.give_name(&id, name, now);
            }
            catalogue.get(&id).cloned().ok_or_else(|| Failure::because("images", id.to_string(), "is gone"))
        })
    }

    /// What the catalogue says of an image whose configuration and layers are here. The configuration becomes a blob.
    ///
    /// # Errors
    /// A configuration that is none, layers that are not here.
    pub fn describe(&self, config: &[u8], manifest: Manifest, layers: Vec<Layer>) -> Result<Image, Failure> {
        let id = self.blobs.put_bytes(config)?;
        let read = Config::parse(config)?;
        let mut size = 0;
        for layer in &layers {
            size += self.layers.size(&layer.diff_id)?.map_or(0, |size| size.disk);
        }
        let platform = Platform::new(&read.os, &read.architecture, read.variant.as_deref());
        let created = read.created.as_deref().and_then(oci::time::seconds).unwrap_or(0);
        let (names, digests) = (Vec::new(), Vec::new());
        let platform = platform.to_string();
        Ok(Image { id, manifest, names, digests, layers, platform, created, tagged: now(), size })
    }

    fn pull_config(
        &self,
        client: &Client,
        reference: &Reference,
        descriptor: &Descriptor,
    ) -> Result<Vec<u8>, Failure> {
        let digest = digest_of(descriptor)?;
        let target = format!("the configuration of {reference}");
        if descriptor.size() > MAX_CONFIG {
            let reason = format!("has {} bytes, more than {MAX_CONFIG}", descriptor.size());
            return Err(Failure::because("pull", target, reason));
        }
        let mut bytes = Vec::new();
        let read = match self.blobs.get(&digest)? {
            Some(mut blob) => blob.file.read_to_end(&mut bytes),
            None => {
                let blob = client.blob(reference.repository(), descriptor, 0);
                let blob = blob.map_err(|error| error.into_failure("pull"))?;
                Verified::new(blob, digest, descriptor.size()).read_to_end(&mut bytes)
            }
        };
        read.map_err(|error| Failure::because("pull", target, step::words(&error)))?;
        Ok(bytes)
    }
}

/// A registry's error, with the image's name where it says only what is wrong, and not of what.
fn failed(reference: &Reference, error: registry::Error) -> Failure {
    match error {
        registry::Error::Manifest { .. } | registry::Error::Unsupported { .. } => {
            Failure { target: reference.to_string(), ..error.into_failure("pull") }
        }
        error => error.into_failure("pull"),
    }
}

/// The name that what a reference brings gets; none for one by digest.
fn name_of(reference: &Reference) -> Vec<String> {
    let named = reference.tag().filter(|_| reference.digest().is_none());
    named.map(|_| reference.canonical()).into_iter().collect()
}

/// A manifest's layers with their diff ids.
fn layers(manifest: &ImageManifest, config: &Config, reference: &Reference) -> Result<Vec<Layer>, Failure> {
    let packed = registry::layers(manifest)
        .map_err(|error| Failure::because("pull", reference.to_string(), error.to_string()))?;
    let diff_ids = &config.rootfs.diff_ids;
    if packed.len() != diff_ids.len() {
        let kind = manifest.config().media_type().to_string();
        if !["application/vnd.oci.image.config.v1+json", "application/vnd.docker.container.image.v1+json"]
            .contains(&kind.as_str())
        {
            let reason = format!("is no image to run: its configuration is of type {kind}");
            return Err(Failure::because("pull", reference.to_string(), reason));
        }
        let reason = format!("has {} layers, its configuration knows {}", packed.len(), diff_ids.len());
        return Err(Failure::because("pull", reference.to_string(), reason));
    }
    let both = packed.into_iter().zip(diff_ids);
    let layer = |(packed, diff_id): (registry::Layer<'_>, &Digest)| Layer {
        diff_id: *diff_id,
        digest: packed.digest,
        size: packed.descriptor.size(),
        media_type: packed.descriptor.media_type().to_string(),
    };
    Ok(both.map(layer).collect())
}

/// A repository's layers.
struct Registry<'r> {
    client: Client,
    repository: &'r str,
}

impl Supply for Registry<'_> {
    fn open(&self, layer: &Layer, offset: u64) -> Result<Box<dyn Read + Send + '_>, Failure> {
        let described = crate::push::descriptor(&layer.media_type, layer.digest, layer.size)?;
        let blob = self.client.blob(self.repository, &described, offset);
        Ok(Box::new(blob.map_err(|error| error.into_failure("pull"))?))
    }
}

pub(crate) fn digest_of(descriptor: &Descriptor) -> Result<Digest, Failure> {
    Digest::try_from(descriptor.digest())
        .map_err(|error| Failure::because("pull", "the manifest", error.to_string()))
}

/// Seconds since 1970.
pub fn now() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |past| past.as_secs() as i64)
}
