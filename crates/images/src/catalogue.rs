//! The file that says which images there are.

use std::fs::File;
use std::io::Write as _;
use std::path::Path;

use oci::Digest;
use serde::{Deserialize, Serialize};
use step::Failure;

use crate::Images;
use crate::image::Image;
use crate::index::Index;

/// The number that the file begins with.
const FORMAT: u32 = 1;

/// What the file says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Catalogue {
    format: u32,
    /// In the order in which they came.
    pub(crate) images: Vec<Image>,
    /// Those that have several of the images, one for each platform.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) indexes: Vec<Index>,
    /// What no image has any more and nobody has removed yet.
    #[serde(default)]
    pub(crate) dropped: Dropped,
}

/// Content that waits to be removed.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Dropped {
    /// Digests of blobs.
    pub(crate) blobs: Vec<Digest>,
    /// Diff ids of layers.
    pub(crate) layers: Vec<Digest>,
}

impl Default for Catalogue {
    fn default() -> Self {
        Self { format: FORMAT, images: Vec::new(), indexes: Vec::new(), dropped: Dropped::default() }
    }
}

impl Catalogue {
    /// The image of this id.
    pub(crate) fn get(&self, id: &Digest) -> Option<&Image> {
        self.images.iter().find(|image| image.id == *id)
    }

    /// Whether an index has the image.
    pub(crate) fn is_part(&self, id: &Digest) -> bool {
        self.indexes.iter().any(|index| index.has(id))
    }

    /// Takes a name from every image and index but this one. They are not removed for it: without a name they are
    /// dangling.
    pub(crate) fn give_name(&mut self, id: &Digest, name: &str, now: i64) {
        let images = self.images.iter_mut().map(|image| (image.id, &mut image.names, &mut image.tagged));
        let indexes = self.indexes.iter_mut().map(|index| (index.id(), &mut index.names, &mut index.tagged));
        for (own, names, tagged) in images.chain(indexes) {
            if own == *id {
                if !names.iter().any(|known| known == name) {
                    names.push(name.to_owned());
                    names.sort();
                }
                *tagged = now;
            } else {
                names.retain(|known| known != name);
            }
        }
    }

    /// Takes a name, or a name by digest, from an image or an index.
    pub(crate) fn take_name(&mut self, id: &Digest, name: &str) {
        let images = self.images.iter_mut().map(|image| (image.id, &mut image.names, &mut image.digests));
        let indexes = self.indexes.iter_mut().map(|index| (index.id(), &mut index.names, &mut index.digests));
        for (_, names, digests) in images.chain(indexes).filter(|(own, ..)| own == id) {
            names.retain(|known| known != name);
            digests.retain(|known| known != name);
        }
    }

    /// Adds an index, or what is new of it to the one of the same digest.
    pub(crate) fn add_index(&mut self, index: Index) {
        let Some(known) = self.indexes.iter_mut().find(|known| known.id() == index.id()) else {
            self.indexes.push(index);
            return;
        };
        for digest in index.digests {
            if !known.digests.contains(&digest) {
                known.digests.push(digest);
            }
        }
        for (known, new) in known.entries.iter_mut().zip(index.entries) {
            if known.image.is_none() && new.image.is_some() {
                *known = new;
            }
        }
    }

    /// Adds an image, or what is new of it to the one of the same id. The manifest that is there stays: what was pulled
    /// is not replaced by what was loaded.
    pub(crate) fn add(&mut self, image: Image) {
        let Some(known) = self.images.iter_mut().find(|known| known.id == image.id) else {
            self.images.push(image);
            return;
        };
        for digest in image.digests {
            if !known.digests.contains(&digest) {
                known.digests.push(digest);
            }
        }
        // The blobs of another manifest of the same image, which nobody asks for.
        let (id, layers) = (known.id, known.layers.clone());
        let news = image.layers.iter().map(|layer| layer.digest).chain([image.manifest.digest]);
        let olds: Vec<Digest> =
            layers.iter().map(|layer| layer.digest).chain([id, known.manifest.digest]).collect();
        self.dropped.blobs.extend(news.filter(|digest| !olds.contains(digest)));
    }
}

impl Images {
    /// All images, in the order in which they came.
    ///
    /// # Errors
    /// A catalogue that cannot be read.
    pub fn list(&self) -> Result<Vec<Image>, Failure> {
        Ok(self.read()?.images)
    }

    pub(crate) fn read(&self) -> Result<Catalogue, Failure> {
        let path = self.root.join("images.json");
        let failed = |cause: std::io::Error| Failure::new("images", path.display().to_string(), cause);
        let text = match std::fs::read(&path) {
            Err(cause) if cause.kind() == std::io::ErrorKind::NotFound => return Ok(Catalogue::default()),
            text => text.map_err(failed)?,
        };
        #[derive(Deserialize)]
        struct Head {
            format: u32,
        }
        let damaged = |cause: serde_json::Error| {
            Failure::because("images", path.display().to_string(), format!("is damaged: {cause}"))
                .hint("move it away: images can be pulled again, their content stays")
        };
        let head: Head = serde_json::from_slice(&text).map_err(damaged)?;
        if head.format != FORMAT {
            let reason = format!("has the format {}, this version knows {FORMAT}", head.format);
            return Err(Failure::because("images", path.display().to_string(), reason)
                .hint("it was written by a newer minidocker: use that one"));
        }
        serde_json::from_slice(&text).map_err(damaged)
    }

    /// Changes the catalogue; others wait. What `change` refuses changes nothing.
    pub(crate) fn change<T, E: From<Failure>>(
        &self,
        change: impl FnOnce(&mut Catalogue) -> Result<T, E>,
    ) -> Result<T, E> {
        let _lock = self.changing()?;
        let old = self.read()?;
        let mut new = old.clone();
        let result = change(&mut new)?;
        if new != old {
            write(&self.root, &new)?;
        }
        Ok(result)
    }
}

/// Beside the old one, to the disk, then over it.
fn write(root: &Path, catalogue: &Catalogue) -> Result<(), Failure> {
    let (path, new) = (root.join("images.json"), root.join("images.json.new"));
    let failed = |cause: std::io::Error| {
        storage::blobs::with_hint(Failure::new("images", path.display().to_string(), cause))
    };
    let text = serde_json::to_vec(catalogue).map_err(|cause| failed(cause.into()))?;
    let mut file = File::create(&new).map_err(failed)?;
    file.write_all(&text).and_then(|()| file.sync_data()).map_err(failed)?;
    std::fs::rename(&new, &path).map_err(failed)?;
    File::open(root).and_then(|directory| directory.sync_all()).map_err(failed)
}
