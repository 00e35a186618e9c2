//! Mounting an overlay, detached. Layers are named by `/proc/self/fd`: no colon, comma or backslash of a path can be
//! read as a separator (the old parser of Linux before 6.5 refuses commas altogether), idmapped mounts need no place
//! in the tree, and the container's /proc/mounts tells nothing of the host's directories.

use std::os::fd::{AsRawFd, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::fs::CWD;
use rustix::io::Errno;
use rustix::mount::{FsMountFlags, FsOpenFlags, MountAttrFlags, MoveMountFlags, UnmountFlags};

/// An overlay's layers, as descriptors that may be opened with O_PATH.
#[derive(Debug)]
pub(crate) struct Layers {
    /// The uppermost first.
    pub(crate) lower: Vec<OwnedFd>,
    /// What is written goes there.
    pub(crate) upper: OwnedFd,
    /// On the same mount as `upper`.
    pub(crate) work: OwnedFd,
}

/// How an overlay is mounted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Flags {
    /// Never synced to disk.
    pub(crate) volatile: bool,
    /// File numbers stay the same over a copy to the upper layer although layers are on different file systems.
    pub(crate) steady_inodes: bool,
    /// The mount is read-only.
    pub(crate) read_only: bool,
}

/// Why the kernel refused.
#[derive(Debug)]
pub(crate) struct Refused {
    /// The error number.
    pub(crate) errno: Errno,
    /// Its own words, where it has any.
    pub(crate) words: Option<String>,
}

/// A detached overlay mount. The layers may be closed afterwards.
pub(crate) fn mount(layers: &Layers, flags: Flags) -> Result<OwnedFd, Refused> {
    let context = rustix::mount::fsopen("overlay", FsOpenFlags::FSOPEN_CLOEXEC)
        .map_err(|errno| Refused { errno, words: None })?;
    configure(&context, layers, flags).map_err(|errno| Refused { errno, words: log(&context) })
}

fn configure(context: &OwnedFd, layers: &Layers, flags: Flags) -> Result<OwnedFd, Errno> {
    let set = |key: &str, value: &str| rustix::mount::fsconfig_set_string(context, key, value);
    let place = |fd: &OwnedFd| format!("/proc/self/fd/{}", fd.as_raw_fd());
    // The only thing of it that others can see, in /proc/mounts and df(1).
    set("source", "minidocker")?;
    set("lowerdir", &layers.lower.iter().map(place).collect::<Vec<_>>().join(":"))?;
    set("upperdir", &place(&layers.upper))?;
    set("workdir", &place(&layers.work))?;
    // The host may change below: an index would take that for corruption, and makes a second mount impossible.
    set("index", "off")?;
    if flags.steady_inodes {
        set("xino", "on")?;
    }
    if flags.volatile {
        rustix::mount::fsconfig_set_flag(context, "volatile")?;
    }
    rustix::mount::fsconfig_create(context)?;
    let attributes =
        if flags.read_only { MountAttrFlags::MOUNT_ATTR_RDONLY } else { MountAttrFlags::empty() };
    rustix::mount::fsmount(context, FsMountFlags::FSMOUNT_CLOEXEC, attributes)
}

/// Whether the kernel takes layers from detached mounts. Before Linux 6.15 overlayfs wants them in the caller's mount
/// namespace (clone_private_mount in fs/namespace.c). Asked of the version, because a failed attempt marks a volatile
/// work directory as used.
pub(crate) fn takes_detached_layers() -> bool {
    let name = rustix::system::uname();
    let mut numbers = name.release().to_str().unwrap_or_default().split(|c: char| !c.is_ascii_digit());
    let mut number = || numbers.next().and_then(|word| word.parse::<u32>().ok()).unwrap_or(0);
    (number(), number()) >= (6, 15)
}

/// Layers that are attached, one over the other, as long as an overlay is being made of them. Descriptors of what
/// lies beneath, and of the layers, stay what they are.
#[derive(Debug)]
pub(crate) struct Attached {
    at: PathBuf,
    count: usize,
}

impl Attached {
    /// Attaches `layers` at the directory `at`.
    pub(crate) fn new<'l>(at: PathBuf, layers: impl IntoIterator<Item = &'l OwnedFd>) -> Result<Self, Errno> {
        let mut this = Self { at, count: 0 };
        for layer in layers {
            let flags = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH;
            if let Err(errno) = rustix::mount::move_mount(layer, c"", CWD, &this.at, flags) {
                this.detach()?;
                return Err(errno);
            }
            this.count += 1;
        }
        Ok(this)
    }

    /// Takes them away again; an overlay that was made of them keeps them.
    pub(crate) fn detach(self) -> Result<(), Errno> {
        let flags = UnmountFlags::DETACH | UnmountFlags::NOFOLLOW;
        (0..self.count).try_for_each(|_| rustix::mount::unmount(&self.at, flags))
    }
}

/// What the kernel wrote to the context's log: one message each read, `e overlay: …`. Empty before Linux 6.5, which
/// tells the kernel log alone.
fn log(context: &OwnedFd) -> Option<String> {
    let mut messages = Vec::new();
    let mut buffer = [0; 512];
    while let Ok(length @ 1..) = rustix::io::read(context, &mut buffer) {
        let message = String::from_utf8_lossy(&buffer[..length]);
        if let Some(error) = message.strip_prefix("e ") {
            messages.push(error.trim_end().to_owned());
        }
    }
    (!messages.is_empty()).then(|| messages.join("; "))
}

/// Whether the file system of `path` is one that the kernel accepts as an upper layer: it must have extended
/// attributes of its own, whiteouts, and file types in its listings. Its name where it is not.
pub(crate) fn unfit_for_upper(path: &Path) -> Option<&'static str> {
    const UNFIT: &[(u32, &str)] = &[
        (0x794c_7630, "overlay"),
        (0x6969, "nfs"),
        (0x6573_5546, "fuse"),
        (0xff53_4d42, "cifs"),
        (0xfe53_4d42, "smb"),
        (0x0102_1997, "9p"),
        (0x4d44, "vfat"),
        (0x2011_bab0, "exfat"),
        (0x5346_544e, "ntfs"),
        (0x7366_746e, "ntfs"),
        (0x7371_7368, "squashfs"),
        (0xe0f5_e1e2, "erofs"),
        (0x9660, "iso9660"),
        (0x8584_58f6, "ramfs"),
    ];
    let kind = rustix::fs::statfs(path).ok()?.f_type as u32;
    UNFIT.iter().find(|(magic, _)| *magic == kind).map(|(_, name)| *name)
}
