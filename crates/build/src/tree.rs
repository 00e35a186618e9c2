//! Files of a build: trees made of layers, what a COPY picks of one, its digest, and the new layer that it makes.

pub(crate) mod copy;
pub(crate) mod digest;
pub(crate) mod memo;
pub(crate) mod mode;
pub(crate) mod owner;
pub(crate) mod pick;
pub(crate) mod stack;
pub(crate) mod stubs;
pub(crate) mod walk;
pub(crate) mod write;

use rustix::io::Errno;
use step::Failure;

pub(crate) const STEP: &str = "build.copy";

/// A path as messages show it.
pub(crate) fn shown(path: &[u8]) -> String {
    String::from_utf8_lossy(path).chars().map(|c| if c.is_control() { '?' } else { c }).collect()
}

pub(crate) fn failed(path: &[u8], errno: Errno) -> Failure {
    Failure::new(STEP, shown(path), errno)
}

pub(crate) fn refused(path: &[u8], reason: impl Into<String>) -> Failure {
    Failure::because(STEP, shown(path), reason)
}
