//! The OCI's types (oci-spec), and Docker's defaults for what a specification says. Pure: nothing here touches the
//! host.

#![forbid(unsafe_code)]

mod capability;
pub mod defaults;

pub use capability::{CAPABILITIES, capability_named, capability_number, is_capability};
pub use oci_spec::runtime as spec;
