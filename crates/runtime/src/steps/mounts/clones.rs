//! Detached clones of mounts: of the host's, and of another container's.

use std::ffi::CStr;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, FileType, Mode, OFlags};
use rustix::io::Errno;
use rustix::mount::{MoveMountFlags, OpenTreeFlags};
use sys::mount::MountAttr;

use crate::options::Options;

/// The path that means the descriptor itself.
pub(super) const EMPTY: &CStr = c"";

/// Whether the source of a bind must be taken before init's own mounts begin ([`Mounts::Take`]).
pub(crate) fn is_taken(source: &Path, options: &Options) -> bool {
    options.passes_events() || elsewhere(source).is_some()
}

/// `/proc/<pid>/root/…` means a mount of another process's namespace, which can only be cloned from within: that
/// namespace, and the path in it.
pub(super) fn elsewhere(source: &Path) -> Option<(PathBuf, PathBuf)> {
    let mut parts = source.strip_prefix("/proc").ok()?.components();
    let pid: u32 = parts.next()?.as_os_str().to_str()?.parse().ok()?;
    (parts.next()?.as_os_str() == "root")
        .then(|| (PathBuf::from(format!("/proc/{pid}/ns/mnt")), Path::new("/").join(parts.as_path())))
}

/// Clones a mount of another mount namespace: there, and back again.
pub(super) fn take_elsewhere(namespace: &Path, inside: &Path, recursive: bool) -> Result<OwnedFd, Errno> {
    use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};
    let open = |path: &Path| rustix::fs::open(path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty());
    let (own, other) = (open(Path::new("/proc/self/ns/mnt"))?, open(namespace)?);
    move_into_link_name_space(other.as_fd(), Some(LinkNameSpaceType::Mount))?;
    let taken = clone(CWD, inside, recursive);
    move_into_link_name_space(own.as_fd(), Some(LinkNameSpaceType::Mount))?;
    taken
}

/// Whether events pass between the mount that `path` is on and its peers: the tag `shared:` in proc_pid_mountinfo(5).
pub(super) fn is_shared(path: &Path) -> Result<bool, Errno> {
    use std::os::fd::AsRawFd;
    let fd = rustix::fs::open(path, OFlags::PATH | OFlags::CLOEXEC, Mode::empty())?;
    let read = |path: &str| std::fs::read_to_string(path).map_err(|_| Errno::NOENT);
    let info = read(&format!("/proc/self/fdinfo/{}", fd.as_raw_fd()))?;
    let id = info.lines().find_map(|line| line.strip_prefix("mnt_id:")).map(str::trim).ok_or(Errno::NOENT)?;
    let mounts = read("/proc/self/mountinfo")?;
    let line = mounts.lines().find(|line| line.split(' ').next() == Some(id)).unwrap_or_default();
    Ok(line.split(' ').take_while(|word| *word != "-").any(|word| word.starts_with("shared:")))
}

/// open_tree(2): a detached copy of the mount at `path` below `dir`.
pub(crate) fn clone(dir: impl AsFd, path: &Path, recursive: bool) -> Result<OwnedFd, Errno> {
    let mut flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC;
    if path.as_os_str().is_empty() {
        flags |= OpenTreeFlags::AT_EMPTY_PATH;
    }
    if recursive {
        flags |= OpenTreeFlags::AT_RECURSIVE;
    }
    rustix::mount::open_tree(dir, path, flags)
}

/// move_mount(2) from descriptor to descriptor.
pub(crate) fn attach(mount: &OwnedFd, place: &OwnedFd) -> Result<(), Errno> {
    let flags = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH | MoveMountFlags::MOVE_MOUNT_T_EMPTY_PATH;
    rustix::mount::move_mount(mount, "", place, "", flags)
}

pub(super) fn attributes(mount: &OwnedFd, options: &Options) -> std::io::Result<()> {
    let own = MountAttr { set: options.set, clear: options.clear, ..MountAttr::default() };
    if own.set | own.clear != 0 {
        sys::mount::set_attr(mount, EMPTY, false, own)?;
    }
    let all =
        MountAttr { set: options.recursive_set, clear: options.recursive_clear, ..MountAttr::default() };
    if all.set | all.clear != 0 {
        sys::mount::set_attr(mount, EMPTY, true, all)?;
    }
    Ok(())
}

pub(super) fn file_type(fd: &OwnedFd) -> Result<FileType, Errno> {
    Ok(FileType::from_raw_mode(rustix::fs::fstat(fd)?.st_mode))
}
