//! The steps that make a disk of a container's own: an image and its mount, a copy, a project.

use std::borrow::Cow;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, Mode, OFlags};
use rustix::io::Errno;
use rustix::mount::{MountPropagationFlags, OpenTreeFlags};
use step::{Context, Failure, Shell, Step, quote};
use sys::mount::MountAttr;

use crate::disk::shown;
use crate::image;
use crate::mask::Mask;
use crate::overlay::{self, Attached, Flags, Layers};
use crate::steps::{Directory, Slot, make_directory, open_directory, set_idmapped};
use crate::{copy, project};

const COPY: &str = "storage.copy";

/// One file system of a source that is to be copied.
#[derive(Debug)]
pub(crate) struct Part {
    /// Where it goes below the root; none for the root itself.
    pub(crate) at: Option<PathBuf>,
    /// Its layers, the uppermost first.
    pub(crate) lower: Vec<PathBuf>,
    /// What hides parts of it.
    pub(crate) mask: Option<Mask>,
}

impl Part {
    fn is_plain(&self) -> bool {
        self.lower.len() == 1 && self.mask.is_none()
    }

    fn shown(&self) -> String {
        let all: Vec<_> = self.lower.iter().map(|path| path.display().to_string()).collect();
        all.join(":")
    }
}

/// Where a copy goes.
#[derive(Debug)]
pub(crate) enum Target {
    /// The root of what is mounted in the slot.
    Mounted(Slot),
    /// A directory.
    Directory(PathBuf),
}

/// The steps.
#[derive(Debug)]
pub(crate) enum Disk {
    /// A file with an empty ext4 in it.
    Image { path: PathBuf, size: u64, journal: bool, because: Option<String> },
    /// The file on a loop device.
    Loop { path: PathBuf, device: Slot },
    /// The file system on it: a detached mount, with directories for a layer.
    Mount { path: PathBuf, device: Slot, disk: Slot, directories: Vec<Directory>, volatile: bool },
    /// All of the source.
    Copy { parts: Vec<Part>, to: Target, beside: PathBuf },
    /// It is whole: its name says so from now on.
    Keep { container: PathBuf, from: &'static str, to: &'static str, disk: Option<Slot>, sync: bool },
    /// The mount in the slot becomes the root.
    Root { disk: Slot, path: PathBuf, idmapped: bool, volatile: bool },
    /// A project of the container's own.
    Project { container: PathBuf, id: String, names: Vec<String>, size: u64 },
}

impl Step for Disk {
    fn id(&self) -> &'static str {
        match self {
            Self::Image { .. } => "storage.image",
            Self::Loop { .. } => "storage.loop",
            Self::Mount { .. } => "storage.disk",
            Self::Copy { .. } => COPY,
            Self::Keep { .. } => "storage.keep",
            Self::Root { .. } => "storage.root",
            Self::Project { .. } => "storage.quota",
        }
    }

    fn call(&self) -> String {
        match self {
            Self::Image { path, size, .. } => {
                format!("openat({path:?}, O_CREAT); ftruncate {size}; pwrite64 an empty ext4")
            }
            Self::Loop { path, .. } => format!(
                "openat({path:?}); ioctl(/dev/loop-control, LOOP_CTL_GET_FREE); \
                 ioctl(/dev/loopN, LOOP_CONFIGURE, LO_FLAGS_AUTOCLEAR|LO_FLAGS_DIRECT_IO)"
            ),
            Self::Mount { directories, volatile, .. } => {
                let names: Vec<_> = directories.iter().map(|one| one.name.as_str()).collect();
                let barrier = if *volatile { ", barrier=0" } else { "" };
                let directories = if names.is_empty() {
                    String::new()
                } else {
                    format!("; mkdirat {{{}}}", names.join(", "))
                };
                format!(
                    "fsopen(\"ext4\"); fsconfig source=/dev/loopN, discard{barrier}; fsmount{directories}"
                )
            }
            Self::Copy { parts, to, .. } => {
                let from: Vec<_> = parts.iter().map(Part::shown).collect();
                let to = match to {
                    Target::Mounted(_) => "the mount".to_owned(),
                    Target::Directory(path) => path.display().to_string(),
                };
                let calls = if parts.iter().all(Part::is_plain) {
                    "open_tree(OPEN_TREE_CLONE)"
                } else {
                    "fsopen(\"overlay\"), fsmount of each view"
                };
                format!("{calls}; FICLONE or copy and utimensat of each file in {} to {to}", from.join(", "))
            }
            Self::Keep { container, from, to, sync, .. } => {
                let sync = if *sync { "syncfs; " } else { "" };
                format!("{sync}renameat({:?}, {:?})", container.join(from), container.join(to))
            }
            Self::Root { idmapped, .. } => {
                let idmap = if *idmapped { ", MOUNT_ATTR_IDMAP" } else { "" };
                format!("mount_setattr(MS_PRIVATE{idmap}) of the mount")
            }
            Self::Project { container, names, size, .. } => format!(
                "ioctl({}/{{{}}}, FS_IOC_FSSETXATTR, PROJINHERIT); quotactl_fd(Q_SETQUOTA, {size} bytes)",
                container.display(),
                names.join(", ")
            ),
        }
    }

    fn why(&self) -> Cow<'static, str> {
        match self {
            Self::Image { size, because, .. } => {
                let because = because.as_ref().map_or_else(String::new, |because| format!(": {because}"));
                Cow::Owned(format!("a disk of {} of its own, sparse{because}", shown(*size)))
            }
            Self::Loop { .. } => Cow::Borrowed(
                "the file becomes a disk; it is free again when its last user has gone, however it goes",
            ),
            Self::Mount { .. } => {
                Cow::Borrowed("the disk's file system; blocks of deleted files go back to the host")
            }
            Self::Copy { parts, .. } => {
                let from: Vec<_> = parts.iter().map(Part::shown).collect();
                Cow::Owned(format!("all of {} is the container's own from now on", from.join(", ")))
            }
            Self::Keep { .. } => Cow::Borrowed("its name says that it is whole"),
            Self::Root { .. } => Cow::Borrowed("the container's own disk becomes the root"),
            Self::Project { size, .. } => Cow::Owned(format!(
                "a project of its own may take {} and no more: the file system has project quotas",
                shown(*size)
            )),
        }
    }

    fn shell(&self) -> Shell {
        let path = |path: &Path| quote(&path.to_string_lossy()).into_owned();
        Shell::Lines(match self {
            Self::Image { path: file, size, journal, .. } => {
                let features = if *journal { "" } else { "-O ^has_journal " };
                vec![
                    format!("truncate -s {size} {}", path(file)),
                    format!("mkfs.ext4 -q -m 0 {features}{}", path(file)),
                ]
            }
            // By mount(8) where the mount is used: it attaches and lets go by itself.
            Self::Loop { .. } | Self::Mount { .. } => {
                return Shell::Within("mount -o loop, where the disk is used");
            }
            Self::Copy { parts, to: Target::Directory(to), .. } => {
                parts.iter().flat_map(|part| copy_lines(part, &path(to))).collect()
            }
            Self::Copy { parts, beside, .. } => {
                let mut lines = mount_lines(&beside.join(image::NEW), &[]);
                // Of mkfs.ext4; ours makes none.
                lines.push("rmdir \"$DISK\"/lost+found".to_owned());
                lines.extend(parts.iter().flat_map(|part| copy_lines(part, "\"$DISK\"")));
                lines.push("umount \"$DISK\" && rmdir \"$DISK\"".to_owned());
                lines
            }
            Self::Keep { container, from, to, .. } => {
                vec![format!("mv {} {}", path(&container.join(from)), path(&container.join(to)))]
            }
            Self::Root { path: file, volatile, .. } => {
                let barrier = if *volatile { ",barrier=0" } else { "" };
                vec![format!("mount -t ext4 -o loop,discard{barrier} {} \"$ROOT\"", path(file))]
            }
            Self::Project { container, names, size, .. } => {
                let directories: Vec<_> = names.iter().map(|name| path(&container.join(name))).collect();
                vec![
                    "PROJECT=$((0x40000000 + $$))".to_owned(),
                    format!("chattr -p \"$PROJECT\" +P {}", directories.join(" ")),
                    format!(
                        "setquota -P \"$PROJECT\" 0 {} 0 0 \"$(findmnt -no TARGET -T {})\"",
                        size / 1024,
                        path(container)
                    ),
                ]
            }
        })
    }

    fn perform(&self, context: &mut Context) -> Result<(), Failure> {
        match self {
            Self::Image { path, size, journal, .. } => image::make(path, *size, *journal).map_err(|cause| {
                let full = cause.kind() == std::io::ErrorKind::StorageFull;
                let failure = self.failed(path.display().to_string(), cause);
                if full {
                    failure.hint("the disk is full: free some space, or choose another with --root")
                } else {
                    failure
                }
            }),
            Self::Loop { path, device } => {
                device.replace(Some(image::attach(self.id(), path)?));
                Ok(())
            }
            Self::Mount { path, device, disk, directories, volatile } => {
                let missing =
                    || Failure::because(self.id(), path.display().to_string(), "is on no loop device");
                let device = device.take().ok_or_else(missing)?;
                let mount = image::mount(&device, *volatile).map_err(|refused| {
                    let failure = self.failed(path.display().to_string(), refused.errno);
                    Failure { reason: refused.words, ..failure }
                })?;
                for Directory { name, owner } in directories {
                    make_directory(&mount, name, *owner)
                        .map_err(|errno| self.failed(path.join(name).display().to_string(), errno))?;
                }
                disk.replace(Some(mount));
                Ok(())
            }
            Self::Copy { parts, to, beside } => self.copy(parts, to, beside),
            Self::Keep { container, from, to, disk, sync } => {
                let new = container.join(from);
                let failed = |errno: Errno| self.failed(new.display().to_string(), errno);
                if *sync {
                    // What the name promises must be there after a loss of power too.
                    let there =
                        match disk.as_ref().and_then(|disk| disk.borrow().as_ref().map(open_for_reading)) {
                            Some(there) => there,
                            None => open_for_reading(&open_directory(CWD, container).map_err(failed)?),
                        };
                    rustix::fs::syncfs(there.map_err(failed)?).map_err(failed)?;
                }
                rustix::fs::rename(&new, container.join(to)).map_err(failed)
            }
            Self::Root { disk, path, idmapped, .. } => {
                let failed = |cause: std::io::Error| self.failed(path.display().to_string(), cause);
                let missing = || Failure::because(self.id(), path.display().to_string(), "is not mounted");
                let mount = disk.take().ok_or_else(missing)?;
                // Nothing that is mounted on it comes back to the host.
                let private = MountPropagationFlags::PRIVATE;
                let attr = MountAttr { propagation: u64::from(private.bits()), ..MountAttr::default() };
                sys::mount::set_attr(&mount, c"", false, attr).map_err(failed)?;
                if *idmapped {
                    set_idmapped(&mount, self.id(), context)?.map_err(|errno| failed(errno.into()))?;
                }
                context.root = Some(mount);
                Ok(())
            }
            Self::Project { container, id, names, size } => {
                let names: Vec<&str> = names.iter().map(String::as_str).collect();
                project::limit(container, id, &names, *size)
            }
        }
    }
}

impl Disk {
    fn copy(&self, parts: &[Part], to: &Target, beside: &Path) -> Result<(), Failure> {
        let top = match to {
            Target::Mounted(slot) => {
                let missing = || Failure::because(self.id(), "the disk", "is not mounted");
                let slot = slot.borrow();
                slot.as_ref()
                    .ok_or_else(missing)?
                    .try_clone()
                    .map_err(|cause| self.failed("the disk", cause))?
            }
            Target::Directory(path) => {
                open_directory(CWD, path).map_err(|errno| self.failed(path.display().to_string(), errno))?
            }
        };
        for part in parts {
            let failed = |errno: Errno| self.failed(part.shown(), errno);
            let to = match &part.at {
                None => top.try_clone().map_err(|cause| self.failed("the disk", cause))?,
                Some(at) => open_below(&top, at).map_err(failed)?,
            };
            let Some(path) = part.lower.first() else { continue };
            if part.is_plain() {
                // Alone: what is mounted below it is not copied.
                let flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC;
                let view = rustix::mount::open_tree(CWD, path, flags).map_err(failed)?;
                copy::tree(&view, &to, path)?;
                continue;
            }
            let view = apart(part, beside)?;
            copy::tree(&view, &to, Path::new("/"))?;
        }
        Ok(())
    }
}

/// The source as its container would see it, to be read: a detached mount. Made by a thread with a mount namespace of
/// its own, for older kernels want layers attached somewhere: what a kill leaves of it goes with it.
pub(crate) fn apart(part: &Part, beside: &Path) -> Result<OwnedFd, Failure> {
    std::thread::scope(|scope| {
        let made = scope.spawn(|| {
            private_namespace().map_err(|errno| Failure::new(COPY, part.shown(), errno))?;
            view(part, beside)
        });
        made.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })
}

fn view(part: &Part, beside: &Path) -> Result<OwnedFd, Failure> {
    let failed = |errno: Errno| Failure::new(COPY, part.shown(), errno);
    let mut lower = Vec::with_capacity(part.lower.len() + 1);
    if let Some(mask) = &part.mask {
        let made = mask.make(None);
        lower.push(made.map_err(|(what, errno)| Failure::new(COPY, format!("{what} of the mask"), errno))?);
    }
    for path in &part.lower {
        lower.push(open_directory(CWD, path).map_err(failed)?);
    }
    let layers = Layers { lower, own: None };
    let attached = match &part.mask {
        Some(_) if !overlay::takes_detached_layers() => {
            Some(Attached::new(beside.to_owned(), layers.lower.first()).map_err(failed)?)
        }
        _ => None,
    };
    let flags = Flags { read_only: true, ..Flags::default() };
    let view = overlay::mount(&layers, flags, beside).map_err(|refused| {
        let failure = failed(refused.errno);
        Failure { reason: refused.words, ..failure }
    });
    attached.map_or(Ok(()), Attached::detach).map_err(failed)?;
    view
}

fn private_namespace() -> Result<(), Errno> {
    let flags = rustix::thread::UnshareFlags::NEWNS | rustix::thread::UnshareFlags::FS;
    #[allow(deprecated, reason = "the successor is unsafe for CLONE_FILES alone")]
    rustix::thread::unshare(flags)?;
    let private = rustix::mount::MountPropagationFlags::PRIVATE | rustix::mount::MountPropagationFlags::REC;
    rustix::mount::mount_change("/", private)
}

fn open_for_reading(directory: &OwnedFd) -> Result<OwnedFd, Errno> {
    rustix::fs::openat(directory, ".", OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())
}

/// A directory that was copied, by a path of the host that has no links in it.
fn open_below(top: &OwnedFd, at: &Path) -> Result<OwnedFd, Errno> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let resolve = rustix::fs::ResolveFlags::IN_ROOT | rustix::fs::ResolveFlags::NO_MAGICLINKS;
    rustix::fs::openat2(top, at, flags, Mode::empty(), resolve)
}

/// The image at a place of its own, `$DISK`, with directories for a layer.
pub(crate) fn mount_lines(image: &Path, directories: &[Directory]) -> Vec<String> {
    let file = image.to_string_lossy();
    let mut lines = vec![
        "DISK=$(mktemp -d)".to_owned(),
        format!("mount -t ext4 -o loop,discard {} \"$DISK\"", quote(&file)),
    ];
    lines.extend(directories.iter().map(|Directory { name, owner }| {
        let (mode, uid, gid) = (owner.mode, owner.uid, owner.gid);
        format!("install -d -m {mode:o} -o {uid} -g {gid} \"$DISK\"/{}", quote(name))
    }));
    lines
}

/// By cp(1), of the directory itself or of a view of it.
fn copy_lines(part: &Part, to: &str) -> Vec<String> {
    let path = |path: &Path| quote(&path.to_string_lossy()).into_owned();
    let to = part.at.as_ref().map_or_else(|| to.to_owned(), |at| format!("{to}/{}", path(at)));
    if let (true, Some(lower)) = (part.is_plain(), part.lower.first()) {
        return vec![format!("cp -ax --sparse=always {}/. {to}", path(lower))];
    }
    let mut lines = Vec::new();
    let mut lower: Vec<String> = part.lower.iter().map(|lower| path(lower)).collect();
    if let Some(mask) = &part.mask {
        lines.push("MASK=$(mktemp -d)".to_owned());
        lines.push("mount -t tmpfs minidocker-mask \"$MASK\"".to_owned());
        lines.extend(mask.shell());
        lower.insert(0, "\"$MASK\"".to_owned());
    }
    lines.push("VIEW=$(mktemp -d)".to_owned());
    lines.push(format!("mount -t overlay minidocker -o ro,lowerdir={},index=off \"$VIEW\"", lower.join(":")));
    lines.push(format!("cp -ax --sparse=always \"$VIEW\"/. {to}"));
    lines.push("umount \"$VIEW\" && rmdir \"$VIEW\"".to_owned());
    if part.mask.is_some() {
        lines.push("umount \"$MASK\" && rmdir \"$MASK\"".to_owned());
    }
    lines
}
