//! Images by name: which are here, how they come, how they go.
//!
//! ```text
//! <root>/images.json    the catalogue: every image with its names, its manifest, its layers; indexes of several images;
//!                       what waits to be removed
//! <root>/images.lock    held alone by who changes the catalogue; readers take no lock
//! <root>/bringing.lock  held shared by who brings content that no image names yet, or starts a container from what an
//!                       image names; alone by who removes blobs and layers
//! <root>/blobs, layers  the content (crate storage)
//! ```
//!
//! The catalogue is one small file, replaced whole: a kill at any moment leaves the old one or the new one. Content comes
//! first and its name last, so what a name stands for is complete. The other way round an image loses its name first;
//! its content is removed when nobody brings anything, and what could not be removed then waits in the catalogue.

#![forbid(unsafe_code)]

mod bring;
mod catalogue;
mod config;
mod find;
mod image;
mod index;
mod locks;
mod pull;
mod push;
mod remove;
#[cfg(test)]
mod tests;

use std::path::{Path, PathBuf};

use step::Failure;
use storage::blobs::Blobs;
use storage::layers::Layers;

pub use bring::{Event, Phase, Supply, Watch};
pub use config::{Config, HistoryEntry};
pub use find::Found;
pub use image::{Image, Layer, Manifest};
pub use index::{Entry, INDEX, Index};
pub use locks::Bringing;
pub use pull::{Pull, Pulled, PulledAll, now};
pub use push::Push;
pub use remove::{Freed, Gone, Removed, Used};

/// The images below a root directory.
#[derive(Debug)]
pub struct Images {
    root: PathBuf,
    blobs: Blobs,
    layers: Layers,
}

impl Images {
    /// The images below `root`; directories are made where they are missing.
    ///
    /// # Errors
    /// Directories that cannot be made.
    pub fn open(root: &Path) -> Result<Self, Failure> {
        let (blobs, layers) = (Blobs::open(root)?, Layers::open(root, false)?);
        Ok(Self { root: root.to_owned(), blobs, layers })
    }

    /// The content store.
    pub fn blobs(&self) -> &Blobs {
        &self.blobs
    }

    /// The unpacked layers.
    pub fn layers(&self) -> &Layers {
        &self.layers
    }
}
