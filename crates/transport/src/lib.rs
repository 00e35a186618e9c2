//! Images as files, in both directions: what `save`, `load`, `import` and `export` are made of, and the places that are
//! written `oci:DIR`, `oci-archive:FILE`, `docker-archive:FILE` and `dir:DIR`.

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
