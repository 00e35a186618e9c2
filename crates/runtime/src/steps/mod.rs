//! The runtime's own steps, one file per kernel domain.

pub(crate) mod attributes;
pub(crate) mod devices;
pub(crate) mod gate;
pub(crate) mod hooks;
pub(crate) mod identity;
pub(crate) mod mounts;
pub(crate) mod namespaces;
pub(crate) mod terminal;

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use rustix::fs::{Mode, OFlags, ResolveFlags};
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
    write_once(&rustix::fs::openat(dir, path, flags, Mode::empty())?, value)
}

fn write_once(file: &OwnedFd, value: &[u8]) -> Result<(), Errno> {
    match rustix::io::write(file, value)? {
        n if n == value.len() => Ok(()),
        _ => Err(Errno::IO),
    }
}

/// Writes to a file of the procfs at /proc below `root`, after a look that it is one, as a whole, with nothing mounted
/// over that file: else a container could have the write go astray, and run without what it was to be confined by
/// (CVE-2019-16884, CVE-2025-52881).
///
/// # Errors
/// `XDEV` if something else is in the place of the file; `LOOP` if /proc is a link.
fn write_proc(root: impl AsFd, file: impl AsRef<Path>, value: &str) -> Result<(), Errno> {
    let proc = crate::path::open_plain(root, Path::new("/proc"))?;
    // The number of every procfs's own directory: linux/proc_ns.h, PROC_ROOT_INO.
    if !is_proc(&proc) || rustix::fs::fstat(&proc)?.st_ino != 1 {
        return Err(Errno::XDEV);
    }
    // `self` is a link, but none out of procfs.
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_XDEV | ResolveFlags::NO_MAGICLINKS;
    let flags = OFlags::WRONLY | OFlags::CLOEXEC;
    let file = rustix::fs::openat2(&proc, file.as_ref(), flags, Mode::empty(), resolve)?;
    write_once(&file, value.as_bytes())
}

/// Whether it is on a procfs.
fn is_proc(file: impl AsFd) -> bool {
    const PROC_SUPER_MAGIC: i64 = 0x9fa0;
    rustix::fs::fstatfs(file).is_ok_and(|stat| stat.f_type == PROC_SUPER_MAGIC)
}
