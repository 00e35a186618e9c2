//! `pull`: from a registry into the store, and then a name.

use std::io::Read;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use oci::image::{Descriptor, ImageManifest};
use oci::{Digest, Platform, Reference, Verified};
use registry::{Client, Settings};
use step::Failure;

use crate::Images;
use crate::bring::{Event, Phase, Supply, Watch};
use crate::config::Config;
use crate::find::by_digest;
use crate::image::{Image, Layer, Manifest};

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

impl Images {
    /// Pulls an image. Killed at any moment, it has changed nothing but what the next attempt goes on with.
    ///
    /// # Errors
    /// The registry's; content that is not what it says; the disk's.
    pub fn pull(&self, pull: Pull<'_>, watch: Watch<'_>) -> Result<Pulled, Failure> {
        let Pull { settings, reference, platform } = pull;
        let failed = |error: registry::Error| match error {
            // These say what is wrong, and not of what.
            registry::Error::Manifest { .. } | registry::Error::Unsupported { .. } => {
                Failure { target: reference.to_string(), ..error.into_failure("pull") }
            }
            error => error.into_failure("pull"),
        };
        let client = Client::new(reference.registry(), Arc::clone(settings)).map_err(failed)?;
        let top = client.manifest(reference).map_err(failed)?;
        let digest = top.digest;
        let (manifest, content) = client.choose(reference, top, platform).map_err(failed)?;
        let _bringing = self.bringing()?;

        let config = self.pull_config(&client, reference, content.config())?;
        let id = Digest::of(&config);
        let layers = layers(&content, &Config::parse(&config)?, reference)?;
        let from = Registry { client, repository: reference.repository() };
        let known = self.by_id(&id)?;
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
        let image = self.describe(&config, manifest, layers)?;
        let name = reference.tag().filter(|_| reference.digest().is_none()).map(|_| reference.canonical());
        let image = Image { digests: vec![by_digest(reference, digest)], ..image };
        let up_to_date = known.is_some_and(|known| {
            known.digests.contains(&image.digests[0])
                && name.as_ref().is_none_or(|name| known.names.contains(name))
        });
        let image = self.add(image, name.as_slice())?;
        Ok(Pulled { image, digest, up_to_date })
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
