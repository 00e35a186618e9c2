//! Mounting an overlay, detached. Layers are named by `/proc/self/fd`: no colon, comma or backslash of a path can be
//! read as a separator (the old parser of Linux before 6.5 refuses commas altogether), idmapped mounts need no place
//! in the tree, and the container's /proc/mounts tells nothing of the host's directories.

use std::ffi::CString;
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::fs::CWD;
use rustix::io::Errno;
use rustix::mount::{
    FsMountFlags, FsOpenFlags, MountAttrFlags, MountFlags, MountPropagationFlags, MoveMountFlags,
    OpenTreeFlags, UnmountFlags,
};
use sys::mount::MountAttr;

/// An overlay's layers, as descriptors that may be opened with O_PATH.
#[derive(Debug)]
pub(crate) struct Layers {
    /// The uppermost first.
    pub(crate) lower: Vec<OwnedFd>,
    /// Where what is written goes, and overlayfs's own directory on the same mount; none for a view that is only read,
    /// of two layers at least.
    pub(crate) own: Option<(OwnedFd, OwnedFd)>,
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

/// Bytes that a value of fsconfig(2) may have, its NUL not counted (fs/fsopen.c).
const LONGEST_VALUE: usize = 255;
/// Bytes that all options of mount(2) may have together: a page, its last byte a NUL (fs/namespace.c).
const LONGEST_OPTIONS: usize = 4095;

/// What a module parameter of the host could have set otherwise (/sys/module/overlay/parameters).
///
/// - The host may change below: an index would take that for corruption, and makes a second mount impossible.
/// - A redirect says that a directory's content lies elsewhere in the lower layers: none is made, so that a layer can be
///   read without overlayfs, and none is followed, so that a directory from elsewhere cannot show more than itself.
/// - With metacopy a file's data stays below when its owner changes: a layer would be none without the ones below it.
pub(crate) const STEADY: [(&str, &str); 3] =
    [("index", "off"), ("redirect_dir", "nofollow"), ("metacopy", "off")];

/// In the syntax of mount(8).
pub(crate) fn steady_options() -> String {
    STEADY.map(|(key, value)| format!("{key}={value}")).join(",")
}

/// How the lower layers are told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    /// All in one value.
    Joined,
    /// One after the other, `lowerdir+`: Linux 6.7.
    Appended,
    /// By mount(2), whose options have room for some 200.
    Classic,
}

/// A detached overlay mount. The layers may be closed afterwards. `at` is an empty directory of the host where older
/// kernels mount it for a moment if there are many layers.
pub(crate) fn mount(layers: &Layers, flags: Flags, at: &Path) -> Result<OwnedFd, Refused> {
    let refused = |errno| Refused { errno, words: None };
    let way = match joined(layers).len() {
        ..=LONGEST_VALUE => Way::Joined,
        _ if kernel() >= (6, 7) => Way::Appended,
        _ => Way::Classic,
    };
    if way == Way::Classic {
        return mount_classic(layers, flags, at);
    }
    let context = rustix::mount::fsopen("overlay", FsOpenFlags::FSOPEN_CLOEXEC).map_err(refused)?;
    configure(&context, layers, flags, way).map_err(|errno| Refused { errno, words: log(&context) })
}

fn place(fd: &OwnedFd) -> String {
    format!("/proc/self/fd/{}", fd.as_raw_fd())
}

fn joined(layers: &Layers) -> String {
    layers.lower.iter().map(place).collect::<Vec<_>>().join(":")
}

/// By mount(2), and a clone of what it attached, which goes again.
pub(crate) fn mount_classic(layers: &Layers, flags: Flags, at: &Path) -> Result<OwnedFd, Refused> {
    let refused = |errno| Refused { errno, words: None };
    let options = format!(
        "lowerdir={}{},{}{}{}",
        joined(layers),
        layers.own.as_ref().map_or_else(String::new, |(upper, work)| format!(
            ",upperdir={},workdir={}",
            place(upper),
            place(work)
        )),
        steady_options(),
        if flags.steady_inodes { ",xino=on" } else { "" },
        if flags.volatile { ",volatile" } else { "" },
    );
    if options.len() > LONGEST_OPTIONS {
        let words = format!("{} layers are more than it takes before Linux 6.7", layers.lower.len());
        return Err(Refused { errno: Errno::TOOBIG, words: Some(words) });
    }
    let options = CString::new(options).map_err(|_| refused(Errno::INVAL))?;
    rustix::mount::mount("minidocker", at, "overlay", MountFlags::empty(), options.as_c_str())
        .map_err(refused)?;
    let flags_of_clone = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC;
    let clone = rustix::mount::open_tree(CWD, at, flags_of_clone);
    rustix::mount::unmount(at, UnmountFlags::DETACH | UnmountFlags::NOFOLLOW).map_err(refused)?;
    let clone = clone.map_err(refused)?;
    // Attached it was of its parent's propagation, and a clone keeps that.
    let attr = MountAttr {
        set: if flags.read_only { sys::mount::RDONLY } else { 0 },
        propagation: u64::from(MountPropagationFlags::PRIVATE.bits()),
        ..MountAttr::default()
    };
    let errno = |error: std::io::Error| Errno::from_io_error(&error).unwrap_or(Errno::INVAL);
    sys::mount::set_attr(&clone, c"", false, attr).map_err(|error| refused(errno(error)))?;
    Ok(clone)
}

fn configure(context: &OwnedFd, layers: &Layers, flags: Flags, way: Way) -> Result<OwnedFd, Errno> {
    let set = |key: &str, value: &str| rustix::mount::fsconfig_set_string(context, key, value);
    // The only thing of it that others can see, in /proc/mounts and df(1).
    set("source", "minidocker")?;
    match way {
        Way::Appended => layers.lower.iter().try_for_each(|lower| set("lowerdir+", &place(lower)))?,
        Way::Joined | Way::Classic => set("lowerdir", &joined(layers))?,
    }
    if let Some((upper, work)) = &layers.own {
        set("upperdir", &place(upper))?;
        set("workdir", &place(work))?;
    }
    STEADY.iter().try_for_each(|(key, value)| set(key, value))?;
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
    kernel() >= (6, 15)
}

/// The running kernel's version.
fn kernel() -> (u32, u32) {
    let name = rustix::system::uname();
    let mut numbers = name.release().to_str().unwrap_or_default().split(|c: char| !c.is_ascii_digit());
    let mut number = || numbers.next().and_then(|word| word.parse::<u32>().ok()).unwrap_or(0);
    (number(), number())
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
pub(crate) fn log(context: &OwnedFd) -> Option<String> {
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
