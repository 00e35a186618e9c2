//! `push`: an image's blobs, then its manifest, to a registry; of several images each, then their index.

use std::io::{self, Read};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::thread;

use oci::image::{Descriptor, DescriptorBuilder, MediaType};
use oci::{Content, Digest, Reference};
use registry::{Client, Pushed, Settings, Source};
use serde_json::{Value, json};
use step::Failure;

use crate::Images;
use crate::bring::{Event, Phase, Watch};
use crate::find::by_digest;
use crate::image::{Image, Layer, Manifest};
use crate::index::{Entry, Index};

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
        let from = neighbour(&image.digests, reference);
        let sent = Sent { id: image.id, manifest: &image.manifest, layers: &image.layers };
        let (bytes, media_type) = self.push_content(&client, (reference, from.as_deref()), sent, watch)?;
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

    /// Pushes an index with all of its images; its digest. What of it is not here must be at the registry already, or is
    /// brought there from where it is. Where an image's manifest becomes another one on the way, so does the index.
    ///
    /// # Errors
    /// The registry's; blobs that are gone; an image that is nowhere.
    pub fn push_index(
        &self,
        settings: &Arc<Settings>,
        index: &Index,
        reference: &Reference,
        watch: Watch<'_>,
    ) -> Result<Digest, Failure> {
        let failed = |error: registry::Error| error.into_failure("push");
        let damaged = |cause: serde_json::Error| Failure::new("push", index.called(), cause);
        let client = Client::new(reference.registry(), Arc::clone(settings)).map_err(failed)?;
        let _bringing = self.bringing()?;
        let from = neighbour(&index.digests, reference);
        let bytes = self.index_bytes(index)?;
        let mut text: Value = serde_json::from_slice(&bytes).map_err(damaged)?;
        let mut is_other = false;
        for descriptor in text["manifests"].as_array_mut().into_iter().flatten() {
            let digest = descriptor["digest"].as_str().unwrap_or_default();
            let digest: Digest = digest
                .parse()
                .map_err(|_| Failure::because("push", index.called(), "has a damaged index"))?;
            let entry = index.entries.iter().find(|entry| entry.manifest.digest == digest);
            let at = reference.at(digest);
            let Some((entry, id)) = entry.and_then(|entry| Some((entry, entry.image?))) else {
                if client.digest(&at).map_err(failed)?.is_none() {
                    let source = entry.and_then(|entry| entry.from.clone());
                    let source = source.or_else(|| elsewhere(&index.digests, reference, digest));
                    let source = source.ok_or_else(|| absent(index, entry, digest))?;
                    hand_on(settings, &client, &source, &at)?;
                }
                continue;
            };
            let sent = Sent { id, manifest: &entry.manifest, layers: &entry.layers };
            let (bytes, media_type) =
                self.push_content(&client, (reference, from.as_deref()), sent, watch)?;
            let pushed = Digest::with(digest.algorithm(), &bytes);
            let at = if pushed == digest { at } else { reference.at(pushed) };
            client.push_manifest(&at, &media_type, &bytes).map_err(failed)?;
            if pushed != digest {
                is_other = true;
                descriptor["digest"] = json!(pushed);
                descriptor["size"] = json!(bytes.len());
            }
        }
        let bytes = if is_other { serde_json::to_vec(&text).map_err(damaged)? } else { bytes };
        let digest = client.push_manifest(reference, &index.manifest.media_type, &bytes).map_err(failed)?;
        let name = by_digest(reference, digest);
        self.change(|catalogue| {
            for known in catalogue.indexes.iter_mut().filter(|known| known.id() == index.id()) {
                if !known.digests.contains(&name) {
                    known.digests.push(name.clone());
                }
            }
            Ok::<_, Failure>(())
        })?;
        Ok(digest)
    }

    /// Sends an image's layers and its configuration. Its manifest, which may be another one now, is the caller's to send.
    fn push_content(
        &self,
        client: &Client,
        (reference, from): (&Reference, Option<&str>),
        image: Sent<'_>,
        watch: Watch<'_>,
    ) -> Result<(Vec<u8>, String), Failure> {
        let bytes = self.blob_bytes(&image.manifest.digest)?;
        let mut sent: Vec<Layer> = Vec::new();
        for layer in image.layers {
            sent.push(self.packed(layer)?);
        }
        send(self, client, (reference, from), &sent, watch)?;
        let (bytes, media_type) = match sent == image.layers {
            true => (bytes, image.manifest.media_type.clone()),
            false => repacked(&bytes, &sent)?,
        };
        let config = self.blob_bytes(&image.id)?;
        let kind = serde_json::from_slice::<Value>(&bytes).ok();
        let kind = kind.as_ref().and_then(|value| value.pointer("/config/mediaType")).and_then(Value::as_str);
        let kind = kind.unwrap_or("application/vnd.oci.image.config.v1+json");
        let described = descriptor(kind, image.id, config.len() as u64)?;
        client
            .push_blob(reference.repository(), &described, &config, from, &mut |_: u64| {})
            .map_err(|error| error.into_failure("push"))?;
        Ok((bytes, media_type))
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

/// What of an image is sent.
#[derive(Clone, Copy)]
struct Sent<'s> {
    /// Its configuration.
    id: Digest,
    manifest: &'s Manifest,
    layers: &'s [Layer],
}

/// A repository of the same registry that may have an image's blobs.
fn neighbour(digests: &[String], reference: &Reference) -> Option<String> {
    let mut known = digests.iter().filter_map(|name| name.parse::<Reference>().ok());
    let near = known
        .find(|from| from.registry() == reference.registry() && from.repository() != reference.repository());
    near.map(|from| from.repository().to_owned())
}

/// Where else an index was, and so may be what it names.
fn elsewhere(digests: &[String], reference: &Reference, wanted: Digest) -> Option<String> {
    let mut known = digests.iter().filter_map(|name| name.parse::<Reference>().ok());
    let place = |name: &Reference| format!("{}/{}", name.registry(), name.repository());
    let other = known.find(|name| place(name) != place(reference))?;
    Some(format!("{}@{wanted}", place(&other)))
}

fn absent(index: &Index, entry: Option<&Entry>, digest: Digest) -> Failure {
    let what = match entry {
        Some(entry) => format!("its image for {}", entry.platform),
        None => digest.to_string(),
    };
    let reason = format!("{what} is neither here nor at the registry");
    Failure::because("push", index.called(), reason)
        .hint("pull it with --all-platforms first, or push one image alone with --platform")
}

/// Brings an image from one repository to another, by way of this machine's memory alone.
fn hand_on(settings: &Arc<Settings>, to: &Client, source: &str, at: &Reference) -> Result<(), Failure> {
    let failed = |error: registry::Error| error.into_failure("push");
    let invalid = |error: oci::InvalidReference| Failure::because("push", "", error.to_string());
    let source: Reference = source.parse().map_err(invalid)?;
    let from = Client::new(source.registry(), Arc::clone(settings)).map_err(failed)?;
    let manifest = from.manifest(&source).map_err(failed)?;
    let Content::Image(image) = manifest.content().map_err(failed)? else {
        let reason = "is an index in an index, which is not brought from one registry to another";
        return Err(Failure::because("push", source.to_string(), reason));
    };
    let same = (source.registry() == at.registry()).then(|| source.repository().to_owned());
    for part in [image.config()].into_iter().chain(image.layers()) {
        let remote = Remote { client: &from, repository: source.repository(), descriptor: part };
        to.push_blob(at.repository(), part, &remote, same.as_deref(), &mut |_: u64| {}).map_err(failed)?;
    }
    to.push_manifest(at, &manifest.media_type, &manifest.bytes).map_err(failed)?;
    Ok(())
}

/// A blob of another repository.
struct Remote<'r> {
    client: &'r Client,
    repository: &'r str,
    descriptor: &'r Descriptor,
}

impl Source for Remote<'_> {
    fn open(&self, offset: u64) -> io::Result<Box<dyn Read + '_>> {
        let blob = self.client.blob(self.repository, self.descriptor, offset);
        Ok(Box::new(blob.map_err(io::Error::other)?))
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
