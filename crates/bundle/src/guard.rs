//! This program made read-only for whoever could see it from inside of a container (CVE-2019-5736).
//!
//! Until init becomes the container's program it runs this one, and a process that is in the container already could
//! open /proc/<init>/exe, keep it, and write to it later. So before anything is started in a container the program
//! executes itself anew from a mount that nobody else has and that cannot be written through: an overlay file system
//! without an upper directory over its own, or else a read-only clone of the mount that it lies on. No byte is copied;
//! it costs one execve(2).

use std::ffi::{CString, OsStr, OsString};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::Path;

use rustix::fs::{CWD, Mode, OFlags, StatVfsMountFlags};
use rustix::io::Errno;
use rustix::mount::{
    FsMountFlags, FsOpenFlags, MountAttrFlags, OpenTreeFlags, fsconfig_create, fsconfig_set_fd, fsmount,
    fsopen,
};
use sys::mount::MountAttr;

const SELF: &str = "/proc/self/exe";

/// Whether it runs from an overlay file system.
pub(crate) fn is_over() -> bool {
    const OVERLAYFS_SUPER_MAGIC: i64 = 0x794c_7630;
    rustix::fs::statfs(SELF).is_ok_and(|stat| stat.f_type == OVERLAYFS_SUPER_MAGIC)
}

/// Whether it runs from a mount that cannot be written through.
pub(crate) fn is_read_only() -> bool {
    rustix::fs::statvfs(SELF).is_ok_and(|vfs| vfs.f_flag.contains(StatVfsMountFlags::RDONLY))
}

/// Executes this program anew from a read-only mount, with the same words; returns where that is done already, or
/// cannot be: without the rights to clone a mount a container's root has none on this program either.
///
/// The caller has one thread and has opened nothing.
pub fn read_only_self() {
    if is_read_only() {
        return;
    }
    let Ok(own) = over().or_else(|_| clone()) else { return };
    // Neither an argument nor a variable has a NUL byte: the kernel gave them as C strings.
    let c = |text: OsString| CString::new(text.into_vec()).unwrap_or_default();
    let args: Vec<CString> = std::env::args_os().map(c).collect();
    let variable = |(mut name, value): (OsString, OsString)| {
        name.push("=");
        name.push(value);
        c(name)
    };
    let env: Vec<CString> = std::env::vars_os().map(variable).collect();
    // A failure is no reason not to go on: the stub stands between this program and the container all the same.
    let _ = sys::process::execve_fd(&own, &args, &env);
}

/// This program in an overlay of the directory that it lies in: whatever mount is made of that, there is nowhere to
/// write to. Descriptors as layers came with Linux 6.13.
fn over() -> Result<OwnedFd, Errno> {
    let path = rustix::fs::readlink(SELF, Vec::new())?;
    let path = Path::new(OsStr::from_bytes(path.to_bytes()));
    let (Some(directory), Some(name)) = (path.parent(), path.file_name()) else { return Err(Errno::NOENT) };
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let directory = rustix::fs::open(directory, flags, Mode::empty())?;
    let overlay = fsopen("overlay", FsOpenFlags::FSOPEN_CLOEXEC)?;
    // One layer alone is none: the second is empty, and there as long as its descriptor.
    let empty = mount(fsopen("tmpfs", FsOpenFlags::FSOPEN_CLOEXEC)?.as_fd())?;
    for layer in [&directory, &empty] {
        fsconfig_set_fd(overlay.as_fd(), "lowerdir+", layer.as_fd())?;
    }
    let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let found = rustix::fs::openat(mount(overlay.as_fd())?, name, flags, Mode::empty())?;
    // Its name may mean another file by now: an update while this runs.
    let (own, there) = (rustix::fs::stat(SELF)?, rustix::fs::fstat(&found)?);
    if (own.st_ino, own.st_size, own.st_ctime) != (there.st_ino, there.st_size, there.st_ctime) {
        return Err(Errno::STALE);
    }
    Ok(found)
}

fn mount(context: BorrowedFd<'_>) -> Result<OwnedFd, Errno> {
    fsconfig_create(context)?;
    fsmount(context, FsMountFlags::FSMOUNT_CLOEXEC, MountAttrFlags::MOUNT_ATTR_RDONLY)
}

/// The mount of this program's file, cloned and read-only.
fn clone() -> Result<OwnedFd, Errno> {
    let flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC;
    let mount = rustix::mount::open_tree(CWD, SELF, flags)?;
    let attr = MountAttr { set: sys::mount::RDONLY, ..MountAttr::default() };
    sys::mount::set_attr(&mount, c"", false, attr)
        .map_err(|error| Errno::from_io_error(&error).unwrap_or(Errno::IO))?;
    Ok(mount)
}
