//! Images as files, in both directions: what `save`, `load`, `import` and `export` are made of, and the places that are
//! written `oci:DIR`, `oci-archive:FILE`, `docker-archive:FILE` and `dir:DIR`.
//!
//! ```no_run
//! # fn main() -> Result<(), step::Failure> {
//! use std::fs::File;
//! use std::path::Path;
//! use storage::{blobs::Blobs, layers::Layers};
//! use transport::{Export, Location, Platforms, Reader, Unpacking, Writer};
//!
//! let root = Path::new("/var/lib/minidocker");
//! let (blobs, layers) = (Blobs::open(root)?, Layers::open(root, false)?);
//!
//! // In: blobs and unpacked layers from one read.
//! let unpacking = Unpacking::new(&layers, storage::layer::Options::default());
//! let platforms = Platforms::One(oci::Platform::host());
//! let reader = Reader { blobs: &blobs, platforms: &platforms, unpack: &unpacking };
//! # let file = File::open("image.tar").map_err(|cause| step::Failure::new("example", "image.tar", cause))?;
//! let images = reader.load(file, "image.tar")?;
//! unpacking.publish(&images, &blobs)?;
//!
//! // Out: one archive that Docker, Podman and skopeo read.
//! let exports: Vec<Export> = images
//!     .iter()
//!     .map(|image| Export {
//!         names: image.names.clone(),
//!         label: None,
//!         manifest: image.manifest.descriptor.clone(),
//!     })
//!     .collect();
//! Writer { blobs: &blobs }.write(&Location::all(transport::Form::DockerArchive, "copy.tar"), &exports)
//! # }
//! ```
//!
//! # What is where
//!
//! ```text
//! location   how places are written
//! read       Reader: a place → files → plans → images      write      Writer: images → parts → a place
//!   files      contents by name, whatever has them             part       what there is to write, each once
//!   layout     index.json: OCI                                 archive    OCI's layout and Docker's in one tar
//!   docker     manifest.json: Docker                           layout     a directory that may have others
//!   directory  manifest.json: skopeo                           directory  skopeo's
//!   bring      layers, several at a time                   tree       import and export
//!   pass       one layer: digest, write, unpack
//!   held       all is kept, or nothing
//! ```
//!
//! # What it holds to
//!
//! - What is brought is checked: every blob against its digest, every layer against its diff id.
//! - Bytes stay: manifests and configurations are never written anew, so that an image keeps its id.
//! - A call that fails leaves nothing in the store, and no half file where it wrote.
//! - Memory is bounded whatever an archive says: texts of 4 MiB, some 200,000 names, 1000 images.

#![forbid(unsafe_code)]

mod bring;
mod directory;
mod docker;
mod files;
mod held;
mod image;
mod layout;
mod location;
mod pass;
mod read;
mod sniff;
mod tree;
mod unpack;
mod write;

pub use image::{Blob, Image, Layer};
pub use layout::Platforms;
pub use location::{Form, InvalidLocation, Location, Which};
pub use read::Reader;
pub use tree::{export, import};
pub use unpack::{Inspect, Unpack, Unpacking};
pub use write::{Export, Writer};
