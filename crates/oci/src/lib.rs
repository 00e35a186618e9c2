//! The OCI's types (oci-spec), manifests, image names, digests and platforms, and Docker's defaults for what a specification
//! says. Pure: nothing here touches the host.

#![forbid(unsafe_code)]

mod capability;
mod content;
pub mod defaults;
mod digest;
mod healthcheck;
mod platform;
mod reference;
mod shown;
pub mod time;
mod verified;

pub use capability::{CAPABILITIES, capability_named, capability_number, is_capability};
pub use content::{
    ACCEPTED, Compression, Content, InvalidContent, Layer, content, digest_of, layers, offered,
};
pub use digest::{Algorithm, Digest, Hasher, InvalidDigest};
pub use healthcheck::{Healthcheck, Probe};
pub use oci_spec::image;
pub use oci_spec::runtime as spec;
pub use platform::{InvalidPlatform, Platform, select};
pub use reference::{DOCKER_HUB, InvalidReference, Reference};
pub use shown::shown;
pub use verified::{Mismatch, Verified};
