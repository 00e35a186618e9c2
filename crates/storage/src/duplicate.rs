//! What a container wrote, once more for another container over the same source.

use std::os::fd::OwnedFd;
use std::path::Path;

use rustix::fs::{CWD, Mode, OFlags};
use step::Failure;

use crate::{Places, copy, source};

/// Copies the files of the container `from` to the container `to`, whose directory is there and has none yet: layers of
/// overlays, an image of a disk, a tree. Blocks are shared where the file system can do that, and holes stay holes. Nobody
/// may write to them meanwhile; an image of a disk must have been synced.
///
/// # Errors
/// What cannot be read or written; what was copied before it stays.
pub fn duplicate(places: &Places, from: &str, to: &str) -> Result<(), Failure> {
    source::check_id(from)?;
    source::check_id(to)?;
    let (from, to) = (places.container(from), places.container(to));
    if !from.exists() {
        return Ok(());
    }
    copy::parts(&open(&from)?, &open(&to)?, &from, &is_written)
}

/// `upper`, `upper%2Fvar`, `disk`, `root`: see the crate's first lines. An overlay's work is its own.
fn is_written(name: &[u8]) -> bool {
    name == b"upper" || name.starts_with(b"upper%") || name == b"disk" || name == b"root"
}

fn open(directory: &Path) -> Result<OwnedFd, Failure> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    rustix::fs::openat(CWD, directory, flags, Mode::empty()).map_err(|errno| copy::failure(directory, errno))
}
