//! The storage steps: what each calls, why, and its doing.

use std::borrow::Cow;
use std::cell::RefCell;
use std::fs::DirBuilder;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use rustix::fs::{Access, AtFlags, CWD, Gid, Mode, OFlags, ResolveFlags, Uid};
use rustix::io::Errno;
use rustix::mount::{MountPropagationFlags, MoveMountFlags, OpenTreeFlags};
use step::{Context, Failure, Shell, Step, quote};
use sys::mount::MountAttr;

use crate::Options;
use crate::disk_steps::mount_lines;
use crate::identity;
use crate::image;
use crate::mask::{self, IdMap, Mask, Owner};
use crate::overlay::{self, Attached, Flags, Layers};

/// A layer on its way from the step that makes it to the overlay that uses it, in the same process.
pub(crate) type Slot = Rc<RefCell<Option<OwnedFd>>>;

/// A directory of the container's own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Directory {
    /// Below the container's directory.
    pub(crate) name: String,
    /// Of the new directory; one that is there keeps its own.
    pub(crate) owner: Owner,
}

/// One overlay.
#[derive(Debug)]
pub(crate) struct Overlay {
    /// The container's directory.
    container: PathBuf,
    /// The lower layers, the uppermost first, never written.
    lower: Vec<PathBuf>,
    /// Where it goes below the attached root; none for the root itself.
    at: Option<PathBuf>,
    /// Between the two.
    pub(crate) mask: Option<Slot>,
    /// What holds the container's layer in the place of its directory.
    pub(crate) disk: Option<OnDisk>,
    /// [`Flags::steady_inodes`].
    pub(crate) steady_inodes: bool,
    options: Options,
}

/// A mount that holds layers of the container.
#[derive(Debug)]
pub(crate) struct OnDisk {
    /// The mount, detached.
    pub(crate) slot: Slot,
    /// Nobody needs it afterwards.
    pub(crate) last: bool,
    /// What is on it: for the shell.
    pub(crate) directories: Vec<Directory>,
}

impl Overlay {
    pub(crate) fn new(container: &Path, lower: Vec<PathBuf>, at: Option<PathBuf>, options: Options) -> Self {
        let container = container.to_owned();
        Self { container, lower, at, mask: None, disk: None, steady_inodes: false, options }
    }

    /// `upper` and `work`, one pair for each place.
    fn names(&self) -> (String, String) {
        let suffix = self.at.as_ref().map_or_else(String::new, |at| {
            let at = at.to_string_lossy().replace('%', "%25").replace('/', "%2F");
            format!("%2F{at}")
        });
        (format!("upper{suffix}"), format!("work{suffix}"))
    }

    /// What must be there before the mount; `owner` is the lower layer's, for the upper one covers it.
    pub(crate) fn directories(&self, owner: Owner) -> [Directory; 2] {
        let (upper, work) = self.names();
        let private = Owner { mode: 0o700, uid: 0, gid: 0 };
        [Directory { name: upper, owner }, Directory { name: work, owner: private }]
    }

    /// A directory of the host where older kernels have layers attached for a moment.
    fn place(&self) -> PathBuf {
        match &self.disk {
            Some(_) => self.container.clone(),
            None => self.container.join(self.names().1),
        }
    }

    /// For messages: the uppermost layer, and how many more there are.
    fn lower_shown(&self) -> String {
        let first = self.lower.first().map_or_else(String::new, |path| path.display().to_string());
        match self.lower.len() {
            0 | 1 => first,
            count => format!("{first} and {} layers below it", count - 1),
        }
    }

    fn flags(&self) -> Flags {
        Flags {
            volatile: self.options.volatile,
            steady_inodes: self.steady_inodes,
            read_only: self.options.read_only && self.at.is_some(),
        }
    }

    /// Whether the lower layers are too many to be written out: then the shell gets links with short names.
    fn is_deep(&self) -> bool {
        self.lower.len() > 8
    }

    /// In the syntax of mount(8), where colons and commas have a meaning. Of many layers the numbers of their links.
    fn shell_options(&self) -> String {
        let escape = |path: &Path| {
            let escaped = path.to_string_lossy().replace('\\', r"\\").replace(':', r"\:");
            quote(&escaped.replace(',', r"\,")).into_owned()
        };
        let (upper, work) = self.names();
        let own = |name: &str| match &self.disk {
            Some(_) => format!("\"$DISK\"/{}", escape(Path::new(name))),
            None => escape(&self.container.join(name)),
        };
        let mask = if self.mask.is_some() { "\"$MASK\":" } else { "" };
        let flags = self.flags();
        let lower: Vec<String> = match self.is_deep() {
            true => (0..self.lower.len()).map(|number| number.to_string()).collect(),
            false => self.lower.iter().map(|path| escape(path)).collect(),
        };
        format!(
            "lowerdir={mask}{},upperdir={},workdir={},{}{}{}{}",
            lower.join(":"),
            own(&upper),
            own(&work),
            overlay::steady_options(),
            if flags.steady_inodes { ",xino=on" } else { "" },
            if flags.volatile { ",volatile" } else { "" },
            if flags.read_only { ",ro" } else { "" },
        )
    }
}

/// Storage steps.
#[derive(Debug)]
pub(crate) enum Storage {
    /// The container's own directories.
    Directories { container: PathBuf, all: Vec<Directory> },
    /// A directory as it is.
    Tree { path: PathBuf, read_only: bool, idmapped: bool },
    /// The layer that hides parts of `over`.
    Mask { mask: Mask, over: PathBuf, slot: Slot, idmapped: bool },
    /// A directory behind a layer of the container's own.
    Overlay(Overlay),
}

impl Step for Storage {
    fn id(&self) -> &'static str {
        match self {
            Self::Directories { .. } => "storage.directories",
            Self::Tree { .. } => "storage.tree",
            Self::Mask { .. } => "storage.mask",
            Self::Overlay(_) => "storage.overlay",
        }
    }

    fn call(&self) -> String {
        let idmap = |yes: bool| if yes { "; mount_setattr(MOUNT_ATTR_IDMAP)" } else { "" };
        match self {
            Self::Directories { container, all } => {
                let names: Vec<_> =
                    all.iter().map(|one| format!("{} 0{:o}", one.name, one.owner.mode)).collect();
                format!("mkdirat {}/{{{}}}", container.display(), names.join(", "))
            }
            Self::Tree { path, read_only, idmapped } => format!(
                "open_tree({:?}, OPEN_TREE_CLONE|AT_RECURSIVE); mount_setattr(AT_RECURSIVE, MS_PRIVATE{}){}",
                path,
                if *read_only { ", MOUNT_ATTR_RDONLY below it" } else { "" },
                idmap(*idmapped)
            ),
            Self::Mask { mask, idmapped, .. } => {
                format!("fsopen(\"tmpfs\"); fsmount; {}{}", mask.summary(), idmap(*idmapped))
            }
            Self::Overlay(layer) => {
                let attach = layer
                    .at
                    .as_ref()
                    .map_or_else(String::new, |at| format!("; move_mount to /{}", at.display()));
                let layers = if layer.options.idmapped {
                    "open_tree(OPEN_TREE_CLONE), mount_setattr(MOUNT_ATTR_IDMAP) of each layer; "
                } else {
                    ""
                };
                format!("{layers}fsopen(\"overlay\"); fsconfig {}; fsmount{attach}", layer.shell_options())
            }
        }
    }

    fn why(&self) -> Cow<'static, str> {
        match self {
            Self::Directories { .. } => {
                Cow::Borrowed("all that the container writes lies here, and goes with it")
            }
            Self::Tree { .. } => Cow::Borrowed("the directory as it is becomes the root; changes stay in it"),
            Self::Mask { over, .. } => Cow::Owned(format!(
                "hides what of {} is none of the container's business: homes, secrets, logs, other engines",
                over.display()
            )),
            Self::Overlay(layer) => Cow::Owned(format!(
                "shows {} and keeps it as it is: writes go to the container's own layer",
                layer.lower_shown()
            )),
        }
    }

    fn shell(&self) -> Shell {
        Shell::Lines(match self {
            Self::Directories { container, all } => {
                let line = |one: &Directory| {
                    let Owner { mode, uid, gid } = one.owner;
                    let path = container.join(&one.name);
                    format!("install -d -m {mode:o} -o {uid} -g {gid} {}", quote(&path.to_string_lossy()))
                };
                let base = format!("mkdir -p -m 700 {}", quote(&container.to_string_lossy()));
                [base].into_iter().chain(all.iter().map(line)).collect()
            }
            Self::Tree { path, .. } => {
                vec![format!("mount --rbind --make-rprivate {} \"$ROOT\"", quote(&path.to_string_lossy()))]
            }
            Self::Mask { mask, .. } => {
                let mut lines = vec![
                    "MASK=$(mktemp -d)".to_owned(),
                    "mount -t tmpfs minidocker-mask \"$MASK\"".to_owned(),
                ];
                lines.extend(mask.shell());
                lines
            }
            Self::Overlay(layer) => {
                let at = layer
                    .at
                    .as_ref()
                    .map_or_else(String::new, |at| format!("/{}", quote(&at.to_string_lossy())));
                let mut lines = match &layer.disk {
                    Some(disk) if layer.at.is_none() => {
                        mount_lines(&layer.container.join(image::NAME), &disk.directories)
                    }
                    _ => Vec::new(),
                };
                let mount = format!("mount -t overlay minidocker -o {} \"$ROOT\"{at}", layer.shell_options());
                if layer.is_deep() {
                    lines.push("LAYERS=$(mktemp -d)".to_owned());
                    lines.extend(layer.lower.iter().enumerate().map(|(number, path)| {
                        format!("ln -s {} \"$LAYERS\"/{number}", quote(&path.to_string_lossy()))
                    }));
                    lines.push(format!("(cd \"$LAYERS\" && {mount})"));
                    lines.push("rm -r \"$LAYERS\"".to_owned());
                } else {
                    lines.push(mount);
                }
                if layer.mask.is_some() {
                    lines.push("umount \"$MASK\" && rmdir \"$MASK\"".to_owned());
                }
                if layer.disk.as_ref().is_some_and(|disk| disk.last) {
                    lines.push("umount -l \"$DISK\" && rmdir \"$DISK\"".to_owned());
                }
                lines
            }
        })
    }

    fn perform(&self, context: &mut Context) -> Result<(), Failure> {
        match self {
            Self::Directories { container, all } => {
                self.make_directories(container, all).map_err(|failure| match errno(&failure) {
                    Some(Errno::NOSPC | Errno::DQUOT) => {
                        failure.hint("the disk is full: free some space, or choose another with --root")
                    }
                    Some(Errno::ROFS) => failure.hint("choose a writable place with --root"),
                    _ => failure,
                })
            }
            Self::Tree { path, read_only, idmapped } => {
                let userns = idmapped.then(|| self.userns(context)).transpose()?;
                let tree = self.clone_tree(path, *read_only, userns)?;
                context.root = Some(tree);
                Ok(())
            }
            Self::Mask { mask, over, slot, idmapped } => {
                let layer = self.make_mask(mask, over, *idmapped, context)?;
                slot.replace(Some(layer));
                Ok(())
            }
            Self::Overlay(layer) => {
                let mount = self.mount_overlay(layer, context)?;
                match &layer.at {
                    Some(at) => self.attach(&mount, at, context),
                    None => {
                        context.root = Some(mount);
                        Ok(())
                    }
                }
            }
        }
    }
}

impl Storage {
    fn userns<'c>(&self, context: &'c Context) -> Result<&'c OwnedFd, Failure> {
        let missing =
            || Failure::because(self.id(), "the user namespace", "was not made before the root file system");
        context.userns.as_ref().ok_or_else(missing)
    }

    fn shared(&self, disk: &Slot) -> Result<Option<OwnedFd>, Failure> {
        let cloned = disk.borrow().as_ref().map(OwnedFd::try_clone).transpose();
        cloned.map_err(|cause| self.failed("the disk", cause))
    }

    fn make_directories(&self, container: &Path, all: &[Directory]) -> Result<(), Failure> {
        let failed = |cause| self.failed(container.display().to_string(), cause);
        // Other users must not reach programs with the set-user-ID bit that a container brought.
        DirBuilder::new().recursive(true).mode(0o700).create(container).map_err(failed)?;
        let directory = open_directory(CWD, container).map_err(|errno| failed(errno.into()))?;
        for Directory { name, owner } in all {
            make_directory(&directory, name, *owner)
                .map_err(|errno| self.failed(container.join(name).display().to_string(), errno))?;
        }
        Ok(())
    }

    fn clone_tree(&self, path: &Path, read_only: bool, userns: Option<&OwnedFd>) -> Result<OwnedFd, Failure> {
        let failed = |cause| self.failed(path.display().to_string(), cause);
        let flags =
            OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC | OpenTreeFlags::AT_RECURSIVE;
        let tree = rustix::mount::open_tree(CWD, path, flags).map_err(|errno| failed(errno.into()))?;
        // A clone of a shared mount would hand each mount of the container back to the host.
        let mut attr = MountAttr {
            propagation: u64::from(MountPropagationFlags::PRIVATE.bits()),
            userns: userns.map(AsFd::as_fd),
            ..MountAttr::default()
        };
        if read_only {
            attr.set |= sys::mount::RDONLY;
        }
        if userns.is_some() {
            attr.set |= sys::mount::IDMAP;
        }
        sys::mount::set_attr(&tree, c"", true, attr).map_err(|error| {
            let no_idmap = userns.is_some() && error.raw_os_error() == Some(Errno::INVAL.raw_os_error());
            let failure = failed(error);
            if no_idmap { failure.hint(NO_IDMAP) } else { failure }
        })?;
        if read_only {
            let attr = MountAttr { clear: sys::mount::RDONLY, ..MountAttr::default() };
            sys::mount::set_attr(&tree, c"", false, attr).map_err(failed)?;
        }
        Ok(tree)
    }

    fn make_mask(
        &self,
        mask: &Mask,
        over: &Path,
        idmapped: bool,
        context: &Context,
    ) -> Result<OwnedFd, Failure> {
        let make = |ids: Option<&(IdMap, IdMap)>| {
            mask.make(ids).map_err(|(what, errno)| {
                self.failed(format!("{what} of the mask over {}", over.display()), errno)
            })
        };
        let layer = make(None)?;
        if !idmapped {
            return Ok(layer);
        }
        match mask::idmapped(&layer, Path::new(""), self.userns(context)?) {
            Ok(clone) => Ok(clone),
            // tmpfs has idmapped mounts since Linux 6.3; before, the owners are translated one by one.
            Err(Errno::INVAL) => make(Some(&self.id_maps(context)?)),
            Err(errno) => Err(self.failed("tmpfs", errno)),
        }
    }

    fn id_maps(&self, context: &Context) -> Result<(IdMap, IdMap), Failure> {
        let process = context.init.map_or_else(|| "self".to_owned(), |pid| pid.to_string());
        let read = |file: &str| {
            let path = format!("/proc/{process}/{file}");
            let text = std::fs::read_to_string(&path).map_err(|cause| self.failed(path, cause))?;
            Ok(mask::parse_id_map(&text))
        };
        Ok((read("uid_map")?, read("gid_map")?))
    }

    fn mount_overlay(&self, layer: &Overlay, context: &Context) -> Result<OwnedFd, Failure> {
        let userns = layer.options.idmapped.then(|| self.userns(context)).transpose()?;
        let open = |path: &Path| match userns {
            None => open_directory(CWD, path).map_err(|errno| self.failed(path.display().to_string(), errno)),
            Some(userns) => mask::idmapped_path(path, userns).map_err(|errno| {
                let failure = self.failed(path.display().to_string(), errno);
                if errno == Errno::INVAL { failure.hint(NO_IDMAP) } else { failure }
            }),
        };
        let mut lower = Vec::with_capacity(layer.lower.len() + 1);
        if let Some(slot) = &layer.mask {
            let mask = slot.borrow_mut().take();
            let missing = || Failure::because(self.id(), layer.lower_shown(), "its mask was not made");
            lower.push(mask.ok_or_else(missing)?);
        }
        for path in &layer.lower {
            lower.push(open(path)?);
        }
        // Both from the same mount: overlayfs insists, and a clone for each would be two.
        let container = match &layer.disk {
            None => open(&layer.container)?,
            Some(OnDisk { slot, last, .. }) => {
                let disk = if *last { slot.take() } else { self.shared(slot)? };
                let missing = || {
                    Failure::because(self.id(), layer.container.display().to_string(), "has no disk mounted")
                };
                let disk = disk.ok_or_else(missing)?;
                if layer.options.idmapped && layer.at.is_none() {
                    set_idmapped(&disk, self.id(), context)?
                        .map_err(|errno| self.failed(layer.container.display().to_string(), errno))?;
                }
                disk
            }
        };
        let (upper, work) = layer.names();
        let own = |name: &str| {
            open_directory(&container, Path::new(name))
                .map_err(|errno| self.failed(layer.container.join(name).display().to_string(), errno))
        };
        let (upper_fd, work_fd) = (own(&upper)?, own(&work)?);
        // The kernel's mark of a volatile mount, set by a failed attempt too.
        let used =
            || rustix::fs::accessat(&work_fd, "work/incompat/volatile", Access::EXISTS, AtFlags::empty());
        if layer.options.volatile && used().is_ok() {
            let path = layer.container.join(&upper).display().to_string();
            return Err(Failure::because(self.id(), path, "was mounted before and never synced to disk")
                .hint("a container with --rm starts once only: run a new one"));
        }

        let layers = Layers { lower, own: Some((upper_fd, work_fd)) };
        let mut detached: Vec<&OwnedFd> = match (userns, &layer.mask) {
            (Some(_), _) => layers.lower.iter().collect(),
            (None, Some(_)) => vec![&layers.lower[0]],
            (None, None) => Vec::new(),
        };
        if userns.is_some() || layer.disk.is_some() {
            detached.push(&container);
        }
        let attached = if detached.is_empty() || overlay::takes_detached_layers() {
            None
        } else {
            let at = layer.place();
            let failed = |errno| self.failed(at.display().to_string(), errno);
            Some(Attached::new(at.clone(), detached).map_err(failed)?)
        };
        let mounted = self.mount_layers(layer, &layers, userns.map(|_| &container));
        let detach = attached.map_or(Ok(()), Attached::detach);
        mounted.and_then(|mount| {
            detach.map_err(|errno| self.failed(layer.place().display().to_string(), errno))?;
            Ok(mount)
        })
    }

    /// `idmapped`: the container's directory on an idmapped mount, where it has a user namespace.
    fn mount_layers(
        &self,
        layer: &Overlay,
        layers: &Layers,
        idmapped: Option<&OwnedFd>,
    ) -> Result<OwnedFd, Failure> {
        let at = layer.place();
        let mount =
            || overlay::mount(layers, layer.flags(), &at).map_err(|refused| self.refused(layer, refused));
        let Some(container) = idmapped else { return mount() };
        let failed = |errno: Errno| self.failed(layer.container.display().to_string(), errno);
        // The directory is root's on disk: what it shows on the idmapped mount is the namespace's root.
        let root = rustix::fs::fstat(container).map_err(failed)?;
        identity::acting_as(root.st_uid, root.st_gid, mount).map_err(failed)?
    }

    /// The kernel's refusal with the way out, as far as it can be told.
    fn refused(&self, layer: &Overlay, refused: overlay::Refused) -> Failure {
        let mut failure = self.failed(layer.lower_shown(), refused.errno);
        failure.reason = refused.words;
        if refused.errno == Errno::NODEV {
            return failure.hint("the kernel has no overlay file system: try `modprobe overlay`");
        }
        if let Some(kind) = overlay::unfit_for_upper(&layer.container).filter(|_| layer.disk.is_none()) {
            failure.reason = Some(format!(
                "{} is on {kind}, which cannot hold a container's layer",
                layer.container.display()
            ));
            return failure.hint(
                "use --root DIR on ext4, xfs, btrfs or tmpfs, or --storage-opt size=, or --rootfs-kind copy",
            );
        }
        if layer.options.idmapped && refused.errno == Errno::INVAL {
            return failure.hint("overlays of idmapped layers need Linux 5.19; --userns host does without");
        }
        failure
    }

    fn attach(&self, mount: &OwnedFd, at: &Path, context: &Context) -> Result<(), Failure> {
        let failed = |errno: Errno| self.failed(format!("/{}", at.display()), errno);
        let missing =
            || Failure::because(self.id(), format!("/{}", at.display()), "the root is not attached yet");
        let root = context.root.as_ref().ok_or_else(missing)?;
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
        let target = rustix::fs::openat2(root, at, flags, Mode::empty(), resolve).map_err(failed)?;
        let flags = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH | MoveMountFlags::MOVE_MOUNT_T_EMPTY_PATH;
        rustix::mount::move_mount(mount, c"", &target, c"", flags).map_err(failed)
    }
}

const NO_IDMAP: &str =
    "its file system has no idmapped mounts: put it on ext4, xfs or btrfs, or run with --userns host";

/// On a detached mount of the container's own the ids become those of its user namespace. The inner error is the
/// kernel's.
pub(crate) fn set_idmapped(
    mount: &OwnedFd,
    step: &'static str,
    context: &Context,
) -> Result<Result<(), Errno>, Failure> {
    let missing = || Failure::because(step, "the user namespace", "was not made before the root file system");
    let userns = context.userns.as_ref().ok_or_else(missing)?;
    let attr = MountAttr { set: sys::mount::IDMAP, userns: Some(userns.as_fd()), ..MountAttr::default() };
    let set = sys::mount::set_attr(mount, c"", false, attr);
    Ok(set.map_err(|error| Errno::from_io_error(&error).unwrap_or(Errno::IO)))
}

pub(crate) fn open_directory(parent: impl AsFd, path: &Path) -> Result<OwnedFd, Errno> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    rustix::fs::openat(parent, path, flags, Mode::empty())
}

pub(crate) fn make_directory(parent: &OwnedFd, name: &str, owner: Owner) -> Result<(), Errno> {
    let mode = Mode::from_raw_mode(owner.mode);
    match rustix::fs::mkdirat(parent, name, mode) {
        // A second start of the same container: it may have changed its root's permissions.
        Err(Errno::EXIST) => return Ok(()),
        made => made?,
    }
    if (owner.uid, owner.gid) != (0, 0) {
        let (uid, gid) = (Uid::from_raw(owner.uid), Gid::from_raw(owner.gid));
        rustix::fs::chownat(parent, name, Some(uid), Some(gid), AtFlags::SYMLINK_NOFOLLOW)?;
    }
    // The umask has taken from what mkdir was told.
    rustix::fs::chmodat(parent, name, mode, AtFlags::empty())
}

/// What the kernel refused it with, if it was the kernel.
fn errno(failure: &Failure) -> Option<Errno> {
    (failure.errno > 0).then(|| Errno::from_raw_os_error(failure.errno))
}
