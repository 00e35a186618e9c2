//! The OCI's types, and the specification of a container made from what the user asked for. Pure: nothing here
//! touches the host.

#![forbid(unsafe_code)]

pub use oci_spec::runtime as spec;
