//! `push`: an image's blobs, then its manifest, to a registry.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::thread;

use oci::image::{Descriptor, DescriptorBuilder, MediaType};
use oci::{Digest, Reference};
use registry::{Client, Pushed, Settings};
use serde_json::{Value, json};
use step::Failure;

use crate::Images;
use crate::bring::{Event, Phase, Watch};
use crate::find::by_digest;
use crate::image::{Image, Layer};

/// How many blobs go at the same time.
const AT_ONCE: usize = 4;

/// What is to be pushed.
#[derive(Debug, Clone, Copy)]
pub struct Push<'p> {
    /// How registries are reached.
    pub settings: &'p Arc<Settings>,
    /// The image.
    pub image: &'p Image,
    /// Where to, and what it will be called there.
    pub reference: &'p Reference,
}

impl Images {
    /// Pushes an image; the digest of its manifest. Layers that are not packed are packed by gzip for the way, as Docker
    /// does; then the manifest is another one. `watch` is told [`Phase::Present`] of what the registry has already.
    ///
    /// # Errors
    /// The registry's; blobs that are gone.
    pub fn push(&self, push: Push<'_>, watch: Watch<'_>) -> Result<Digest, Failure> {
        let Push { settings, image, reference } = push;
        let failed = |error: registry::Error| error.into_failure("push");
        let client = Client::new(reference.registry(), Arc::clone(settings)).map_err(failed)?;
        let _bringing = self.bringing()?;
        let bytes = self.manifest_bytes(image)?;
        let mut sent: Vec<Layer> = Vec::new();
        for layer in &image.layers {
            sent.push(self.packed(layer)?);
        }
        let from = image.digests.iter().filter_map(|name| name.parse::<Reference>().ok());
        let from = from
            .filter(|from| {
                from.registry() == reference.registry() && from.repository() != reference.repository()
            })
            .map(|from| from.repository().to_owned())
            .next();

        send(self, &client, (reference, from.as_deref()), &sent, watch)?;
        let (bytes, media_type) = match sent == image.layers {
            true => (bytes, image.manifest.media_type.clone()),
            false => repacked(&bytes, &sent)?,
        };
        let config = self.config_bytes(image)?;
        let kind = serde_json::from_slice::<Value>(&bytes).ok();
        let kind = kind.as_ref().and_then(|value| value.pointer("/config/mediaType")).and_then(Value::as_str);
        let kind = kind.unwrap_or("application/vnd.oci.image.config.v1+json");
        let config_descriptor = descriptor(kind, image.id, config.len() as u64)?;
        client
            .push_blob(reference.repository(), &config_descriptor, &config, from.as_deref(), &mut |_: u64| {})
            .map_err(failed)?;
        let digest = client.push_manifest(reference, &media_type, &bytes).map_err(failed)?;
        let name = by_digest(reference, digest);
        self.change(|catalogue| {
            for known in catalogue.images.iter_mut().filter(|known| known.id == image.id) {
                if !known.digests.contains(&name) {
                    known.digests.push(name.clone());
                }
            }
            Ok::<_, Failure>(())
        })?;
        Ok(digest)
    }

    /// Makes an image at a registry of a configuration and of layers whose blobs are here, as they are. Nobody runs it:
    /// `media_type` says what the configuration is (image specification, manifest.md, "Guidelines for Artifact Usage").
    ///
    /// # Errors
    /// The registry's; blobs that are gone.
    pub fn push_artifact(
        &self,
        settings: &Arc<Settings>,
        reference: &Reference,
        (media_type, configuration): (&str, &[u8]),
        layers: &[Layer],
    ) -> Result<(), Failure> {
        const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
        let failed = |error: registry::Error| error.into_failure("push");
        let client = Client::new(reference.registry(), Arc::clone(settings)).map_err(failed)?;
        send(self, &client, (reference, None), layers, &|_| {})?;
        let digest = Digest::of(configuration);
        let size = configuration.len() as u64;
        let described = descriptor(media_type, digest, size)?;
        client
            .push_blob(reference.repository(), &described, &configuration, None, &mut |_: u64| {})
            .map_err(failed)?;
        let manifest = json!({
            "schemaVersion": 2,
            "mediaType": MANIFEST,
            "config": {"mediaType": media_type, "digest": digest, "size": size},
            "layers": described_layers(layers),
        });
        client.push_manifest(reference, MANIFEST, manifest.to_string().as_bytes()).map_err(failed)?;
        Ok(())
    }

    /// The layer as it goes over the net. Its blob stays until the next removal: it is named by nobody.
    fn packed(&self, layer: &Layer) -> Result<Layer, Failure> {
        let media_type = match MediaType::from(layer.media_type.as_str()) {
            MediaType::ImageLayer => "application/vnd.oci.image.layer.v1.tar+gzip",
            _ if layer.media_type == "application/vnd.docker.image.rootfs.diff.tar" => {
                "application/vnd.docker.image.rootfs.diff.tar.gzip"
            }
            _ => return Ok(layer.clone()),
        };
        let blob = self.blobs.get(&layer.digest)?.ok_or_else(|| {
            Failure::because("push", layer.digest.to_string(), "is gone from the content store")
                .hint("pull or load the image again")
        })?;
        let mut fresh = self.blobs.create()?;
        storage::layer::compress(blob.file, &mut fresh, storage::layer::Compression::Gzip(6))?;
        let (digest, size) = fresh.commit()?;
        self.change(|catalogue| {
            catalogue.dropped.blobs.push(digest);
            Ok::<_, Failure>(())
        })?;
        Ok(Layer { diff_id: layer.diff_id, digest, size, media_type: media_type.to_owned() })
    }
}

/// Sends blobs to a repository, several at the same time; `from` is a repository that may have them.
fn send(
    images: &Images,
    client: &Client,
    (reference, from): (&Reference, Option<&str>),
    sent: &[Layer],
    watch: Watch<'_>,
) -> Result<(), Failure> {
    let next = AtomicUsize::new(0);
    let failure: Mutex<Option<Failure>> = Mutex::default();
    let keep = |error: Failure| {
        failure.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(error);
    };
    let one = |layer: &Layer| -> Result<(), Failure> {
        watch(Event { layer, phase: Phase::Waiting });
        let mut progress = |bytes: u64| watch(Event { layer, phase: Phase::Downloading(bytes) });
        let pushed = client
            .push_blob(
                reference.repository(),
                &descriptor(&layer.media_type, layer.digest, layer.size)?,
                &images.blobs.path(&layer.digest),
                from,
                &mut progress,
            )
            .map_err(|error| error.into_failure("push"))?;
        let phase = if pushed == Pushed::Present { Phase::Present } else { Phase::Done };
        watch(Event { layer, phase });
        Ok(())
    };
    thread::scope(|scope| {
        for _ in 0..sent.len().min(AT_ONCE) {
            scope.spawn(|| {
                while let Some(layer) = sent.get(next.fetch_add(1, Ordering::Relaxed)) {
                    if let Err(error) = one(layer) {
                        keep(error);
                        next.store(usize::MAX / 2, Ordering::Relaxed);
                    }
                }
            });
        }
    });
    failure.into_inner().unwrap_or_else(PoisonError::into_inner).map_or(Ok(()), Err)
}

/// A manifest with other layers.
fn repacked(bytes: &[u8], layers: &[Layer]) -> Result<(Vec<u8>, String), Failure> {
    let failed = |cause: serde_json::Error| Failure::new("push", "the image's manifest", cause);
    let mut manifest: Value = serde_json::from_slice(bytes).map_err(failed)?;
    manifest["layers"] = described_layers(layers);
    let kind = manifest.get("mediaType").and_then(Value::as_str);
    let kind = kind.unwrap_or("application/vnd.oci.image.manifest.v1+json").to_owned();
    Ok((serde_json::to_vec(&manifest).map_err(failed)?, kind))
}

/// A manifest's list of layers.
fn described_layers(layers: &[Layer]) -> Value {
    let one =
        |layer: &Layer| json!({"mediaType": layer.media_type, "digest": layer.digest, "size": layer.size});
    layers.iter().map(one).collect()
}

pub(crate) fn descriptor(media_type: &str, digest: Digest, size: u64) -> Result<Descriptor, Failure> {
    let failed = |why: String| Failure::because("images", digest.to_string(), why);
    let digest: oci::image::Digest =
        digest.to_string().parse().map_err(|error| failed(format!("{error}")))?;
    DescriptorBuilder::default()
        .media_type(MediaType::from(media_type))
        .digest(digest)
        .size(size)
        .build()
        .map_err(|error| failed(error.to_string()))
}
