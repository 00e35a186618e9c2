//! What happens to a layer's content while it passes on its way into the store.

use std::collections::HashSet;
use std::io::Read;
use std::sync::{Mutex, PoisonError};

use oci::Digest;
use step::Failure;
use storage::blobs::Blobs;
use storage::layer::{self, Limits, Options};
use storage::layers::{self, Extracted, Extraction, Layers};

use crate::image::Image;

/// Who reads the layers that are brought, while they are: several at a time, each once.
pub trait Unpack: Sync {
    /// Whether this layer is to be read, although it is in the store already.
    fn wants(&self, diff_id: &Digest) -> bool;

    /// Reads a layer, plain or compressed, and checks that its tar stream has the digest `diff_id`. What it does not read
    /// is read behind it. Whoever has read an uncompressed one to its end without an error has told its content's digest.
    ///
    /// # Errors
    /// What is no layer, or another one: then nothing of the images is kept.
    fn layer(&self, diff_id: &Digest, content: &mut (dyn Read + Send)) -> Result<(), Failure>;
}

/// Layers are read to their ends and written nowhere: they are archives, and have the digests that they should.
#[derive(Debug, Clone, Copy, Default)]
pub struct Inspect {
    /// What a layer may cost.
    pub limits: Limits,
}

impl Unpack for Inspect {
    fn wants(&self, _: &Digest) -> bool {
        false
    }

    fn layer(&self, diff_id: &Digest, content: &mut (dyn Read + Send)) -> Result<(), Failure> {
        let found = layer::inspect(content, &self.limits, false)?.diff_id;
        if found != *diff_id {
            let reason = format!("its tar stream has the digest {found}, and the image names {diff_id}");
            return Err(Failure::because("transport.read", "the layer", reason));
        }
        Ok(())
    }
}

/// Layers become directories in a store of them.
#[derive(Debug)]
pub struct Unpacking<'l> {
    layers: &'l Layers,
    options: Options,
    extracted: Mutex<Vec<(Digest, Extracted)>>,
}

impl<'l> Unpacking<'l> {
    /// Into these layers, `options` as for [`Layers::extract`].
    pub fn new(layers: &'l Layers, options: Options) -> Self {
        Self { layers, options, extracted: Mutex::default() }
    }

    /// Gives the images' layers their names; those that other processes were at meanwhile are waited for, or unpacked from
    /// `blobs`. Layers of no image are dropped.
    ///
    /// # Errors
    /// The kernel's.
    pub fn publish(self, images: &[Image], blobs: &Blobs) -> Result<(), Failure> {
        let wanted: HashSet<Digest> =
            images.iter().flat_map(|image| &image.layers).map(|layer| layer.diff_id).collect();
        let extracted = self.extracted.into_inner().unwrap_or_else(PoisonError::into_inner);
        let keep = extracted.into_iter().filter(|(diff_id, _)| wanted.contains(diff_id));
        layers::publish(keep.map(|(_, extracted)| extracted).collect())?;
        for layer in images.iter().flat_map(|image| &image.layers) {
            if self.layers.have(&layer.diff_id).is_some() {
                continue;
            }
            let Some(blob) = blobs.get(&layer.digest)? else {
                return Err(Failure::because(
                    "storage.layer",
                    layer.digest.to_string(),
                    "is no longer there",
                ));
            };
            // Ours have their names: whoever waits for us while we wait for him gets on.
            if let Extraction::Done(done) = self.layers.extract(&layer.diff_id, blob.file, &self.options)? {
                layers::publish(vec![*done])?;
            }
        }
        Ok(())
    }

    fn all(&self) -> std::sync::MutexGuard<'_, Vec<(Digest, Extracted)>> {
        self.extracted.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Unpack for Unpacking<'_> {
    fn wants(&self, diff_id: &Digest) -> bool {
        self.layers.have(diff_id).is_none() && self.all().iter().all(|(have, _)| have != diff_id)
    }

    fn layer(&self, diff_id: &Digest, content: &mut (dyn Read + Send)) -> Result<(), Failure> {
        match self.layers.try_extract(diff_id, content, &self.options)? {
            Extraction::Done(done) => self.all().push((*diff_id, *done)),
            // Nothing was read: whoever has it, or is at it, verifies it; and what comes here is checked by its digest.
            Extraction::Present | Extraction::Busy => {}
        }
        Ok(())
    }
}
