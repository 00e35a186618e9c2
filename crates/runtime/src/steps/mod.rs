//! The runtime's own steps, one file per kernel domain.

pub(crate) mod attributes;
pub(crate) mod devices;
pub(crate) mod gate;
pub(crate) mod hooks;
pub(crate) mod identity;
pub(crate) mod mounts;
pub(crate) mod namespaces;
pub(crate) mod terminal;

use std::os::fd::{BorrowedFd, OwnedFd};
use std::path::Path;

use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use step::{Context, Failure};

/// The root that init builds in; a plan that asks for it before it is attached is wrong.
fn root<'c>(context: &'c Context, step: &'static str) -> Result<&'c OwnedFd, Failure> {
    context
        .root
        .as_ref()
        .ok_or_else(|| Failure::because(step, "/", "the root file system is not attached yet"))
}

/// Writes `value` to a file of the kernel's, which takes one write(2) as a whole.
fn write_file(dir: BorrowedFd<'_>, path: &Path, value: &[u8]) -> Result<(), Errno> {
    let flags = OFlags::WRONLY | OFlags::CLOEXEC | OFlags::NOFOLLOW;
    let file = rustix::fs::openat(dir, path, flags, Mode::empty())?;
    match rustix::io::write(&file, value)? {
        n if n == value.len() => Ok(()),
        _ => Err(Errno::IO),
    }
}
