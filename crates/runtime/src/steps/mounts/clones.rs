//! Detached clones of mounts: of the host's, and of another container's.

use std::ffi::CStr;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, FileType, Mode, OFlags};
use rustix::io::Errno;
use rustix::mount::{MoveMountFlags, OpenTreeFlags};
use sys::mount::MountAttr;
use sys::process::{CloneFlags, Fork};

use crate::options::Options;
use crate::steps::namespaces::{IdRange, map_text};

/// The path that means the descriptor itself.
pub(super) const EMPTY: &CStr = c"";

/// Whether a path means a mount of another process's namespace: see [`elsewhere`].
pub(crate) fn is_elsewhere(source: &Path) -> bool {
    elsewhere(source).is_some()
}

/// How the ids of an idmapped mount are mapped, mount_setattr(2).
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Map {
    /// Users and groups; none: as in the container's own user namespace.
    pub(crate) maps: Option<(Vec<IdRange>, Vec<IdRange>)>,
    /// And every mount below.
    pub(crate) recursive: bool,
}

impl Map {
    pub(super) fn apply(&self, mount: &OwnedFd, own: Option<&OwnedFd>) -> std::io::Result<()> {
        let made = match &self.maps {
            Some((uids, gids)) => Some(user_namespace(uids, gids)?),
            None => None,
        };
        let userns = made.as_ref().or(own).ok_or_else(|| {
            std::io::Error::other(
                "idmap needs uidMappings and gidMappings, or a user namespace of the container's own",
            )
        })?;
        let attr = MountAttr { set: sys::mount::IDMAP, userns: Some(userns.as_fd()), ..MountAttr::default() };
        sys::mount::set_attr(mount, EMPTY, self.recursive, attr)
    }
}

/// A user namespace with these maps, held by its descriptor alone: a child makes it and waits to be ended.
fn user_namespace(uids: &[IdRange], gids: &[IdRange]) -> std::io::Result<OwnedFd> {
    use rustix::process::{WaitId, WaitIdOptions};
    let (ours, theirs) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC)?;
    match sys::process::clone3(CloneFlags(CloneFlags::NEWUSER), None)? {
        Fork::Child => {
            drop(theirs);
            // Until the parent ends us, or is gone itself.
            let _ = rustix::io::read(&ours, &mut [0]);
            sys::process::exit_now(0)
        }
        Fork::Parent(pid, pidfd) => {
            let write = |name: &str, ranges: &[IdRange]| {
                std::fs::write(format!("/proc/{pid}/{name}"), map_text(ranges))
            };
            let open = || -> std::io::Result<OwnedFd> {
                write("uid_map", uids)?;
                write("gid_map", gids)?;
                let flags = OFlags::RDONLY | OFlags::CLOEXEC;
                Ok(rustix::fs::open(format!("/proc/{pid}/ns/user"), flags, Mode::empty())?)
            };
            let opened = open();
            sys::signal::send(&pidfd, 9)?;
            rustix::process::waitid(WaitId::PidFd(pidfd.as_fd()), WaitIdOptions::EXITED)?;
            opened
        }
    }
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
    // setns(2) moves the working directory to the root.
    let here = rustix::fs::open(".", OFlags::PATH | OFlags::CLOEXEC, Mode::empty())?;
    move_into_link_name_space(other.as_fd(), Some(LinkNameSpaceType::Mount))?;
    let taken = clone(CWD, inside, recursive);
    move_into_link_name_space(own.as_fd(), Some(LinkNameSpaceType::Mount))?;
    rustix::process::fchdir(here)?;
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

/// Where the mount that `path` is on is attached: the last of the longest, proc_pid_mountinfo(5).
pub(super) fn mount_point(path: &Path) -> Result<PathBuf, Errno> {
    let mounts = std::fs::read_to_string("/proc/self/mountinfo").map_err(|_| Errno::NOENT)?;
    let points = mounts.lines().filter_map(|line| line.split(' ').nth(4));
    let points = points.map(|point| sys::mount::unescape(point.as_bytes()));
    let on = points.filter(|point| path.starts_with(point));
    on.max_by_key(|point| point.as_os_str().len()).ok_or(Errno::NOENT)
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

/// The attributes of a mount for a user namespace, as the kernel would have them there had init made it (it locks what
/// the host set: mount_namespaces(7)): what the host has set stays. EPERM where it was asked to be taken off, or where
/// access times are to be others.
pub(super) fn kept(mount: &OwnedFd, asked: &Options, wanted: Options) -> Result<Options, Errno> {
    use rustix::fs::StatVfsMountFlags as Has;
    const LOCKED: [(Has, u64); 4] = [
        (Has::RDONLY, sys::mount::RDONLY),
        (Has::NOSUID, sys::mount::NOSUID),
        (Has::NODEV, sys::mount::NODEV),
        (Has::NOEXEC, sys::mount::NOEXEC),
    ];
    let has = rustix::fs::fstatvfs(mount)?.f_flag;
    let mut wanted = wanted;
    for (flag, bit) in LOCKED.into_iter().filter(|(flag, _)| has.contains(*flag)) {
        if asked.clear & bit != 0 && asked.set & bit == 0 {
            let _ = flag;
            return Err(Errno::PERM);
        }
        wanted.clear &= !bit;
    }
    if wanted.access_time {
        let now = match (has.contains(Has::NOATIME), has.contains(Has::RELATIME)) {
            (true, _) => sys::mount::NOATIME,
            (_, true) => 0,
            _ => sys::mount::STRICTATIME,
        };
        let same = wanted.set & sys::mount::ATIME == now
            && (wanted.set & sys::mount::NODIRATIME != 0) == has.contains(Has::NODIRATIME);
        if !same {
            return Err(Errno::PERM);
        }
        let times = sys::mount::ATIME | sys::mount::NODIRATIME;
        wanted.set &= !times;
        wanted.clear &= !times;
    }
    Ok(wanted)
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
