//! The OCI's types (oci-spec), image names, digests and platforms, and Docker's defaults for what a specification
//! says. Pure: nothing here touches the host.

#![forbid(unsafe_code)]

mod capability;
pub mod defaults;
mod digest;
mod platform;
mod reference;
mod verified;

pub use capability::{CAPABILITIES, capability_named, capability_number, is_capability};
pub use digest::{Algorithm, Digest, Hasher, InvalidDigest};
pub use oci_spec::image;
pub use oci_spec::runtime as spec;
pub use platform::{InvalidPlatform, Platform, select};
pub use reference::{DOCKER_HUB, InvalidReference, Reference};
pub use verified::{Mismatch, Verified};
