//! Mounts: the new mount API throughout (fsopen, fsmount, open_tree, move_mount; Linux 5.2, mount_setattr 5.12), so
//! that each mount is finished before it appears and lands on a descriptor, never on a path that could be swapped.

use std::borrow::Cow;
use std::ffi::CStr;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, FileType, Mode, OFlags};
use rustix::io::Errno;
use rustix::mount::{FsMountFlags, FsOpenFlags, MountAttrFlags, MoveMountFlags, OpenTreeFlags, UnmountFlags};
use step::{Context, Failure, Shell, Step, quote};
use sys::mount::MountAttr;

use super::{root, write_file};
use crate::container::GroupView;
use crate::options::Options;
use crate::path::{self, Kind};

/// Mount steps.
#[derive(Debug)]
pub(crate) enum Mounts {
    /// How mounts made on either side show on the other.
    Propagation(Options),
    /// The finished root file system, put where init builds on it.
    AttachRoot { at: PathBuf },
    /// A new file system.
    New { kind: String, source: String, target: PathBuf, options: Options },
    /// The source of a bind that events are to pass through, before [`Self::Propagation`] ends that for all others; or
    /// one of another container's.
    Take { source: PathBuf, options: Options },
    /// A directory or file of the host.
    Bind { source: PathBuf, target: PathBuf, options: Options },
    /// The container's own control groups, each hierarchy below one tmpfs (version 1).
    Groups { target: PathBuf, view: Vec<GroupView>, options: Options },
    /// Nothing to see here.
    Mask(Vec<PathBuf>),
    /// To be read only.
    ReadOnly(Vec<PathBuf>),
    /// The root itself, to be read only.
    ReadOnlyRoot,
    /// Kernel settings of the container's namespaces.
    Sysctl { key: String, value: String },
    /// The new root becomes `/`, the old one goes.
    Pivot,
}

impl Step for Mounts {
    fn id(&self) -> &'static str {
        match self {
            Self::Propagation(_) => "mount.propagation",
            Self::AttachRoot { .. } => "mount.root",
            Self::New { kind, .. } => match kind.as_str() {
                "proc" => "mount.proc",
                "sysfs" => "mount.sys",
                "devpts" => "mount.devpts",
                "mqueue" => "mount.mqueue",
                "cgroup2" => "mount.cgroup",
                "tmpfs" => "mount.tmpfs",
                _ => "mount.new",
            },
            Self::Take { .. } => "mount.take",
            Self::Bind { .. } => "mount.bind",
            Self::Groups { .. } => "mount.cgroup",
            Self::Mask(_) => "mount.mask",
            Self::ReadOnly(_) | Self::ReadOnlyRoot => "mount.read-only",
            Self::Sysctl { .. } => "sysctl.set",
            Self::Pivot => "mount.pivot",
        }
    }

    fn call(&self) -> String {
        match self {
            Self::Propagation(options) => {
                let word = options.propagation_word().unwrap_or_default().to_uppercase();
                format!(
                    "mount_setattr(\"/\", AT_RECURSIVE, {{propagation=MS_{}}})",
                    word.trim_start_matches('R')
                )
            }
            Self::AttachRoot { at } => format!("move_mount(<root>, \"{}\")", at.display()),
            Self::New { kind, target, options, .. } => format!(
                "fsopen(\"{kind}\"){}, fsmount({}), move_mount(\"{}\")",
                data_text(options),
                options.words().join(","),
                target.display()
            ),
            Self::Take { source, options } if elsewhere(source).is_some() => format!(
                "setns(<its mount namespace>), open_tree(\"{}\", OPEN_TREE_CLONE{}), setns(<the own one>)",
                source.display(),
                if options.recursive { "|AT_RECURSIVE" } else { "" }
            ),
            Self::Take { source, options } => format!(
                "open_tree(\"{}\", OPEN_TREE_CLONE{})",
                source.display(),
                if options.recursive { "|AT_RECURSIVE" } else { "" }
            ),
            Self::Bind { source, target, options } => format!(
                "open_tree(\"{}\", OPEN_TREE_CLONE{}), mount_setattr({}), move_mount(\"{}\")",
                source.display(),
                if options.recursive { "|AT_RECURSIVE" } else { "" },
                options.words().join(","),
                target.display()
            ),
            Self::Groups { target, view, .. } => {
                let names: Vec<_> = view.iter().map(|group| group.name.as_str()).collect();
                format!(
                    "fsopen(\"tmpfs\"), move_mount(\"{}\"), open_tree(<group>) and move_mount for {}",
                    target.display(),
                    names.join(" ")
                )
            }
            Self::Mask(paths) => format!("move_mount(/dev/null or an empty tmpfs) over {}", list(paths)),
            Self::ReadOnly(paths) => {
                format!("open_tree(OPEN_TREE_CLONE), mount_setattr(ro), move_mount over {}", list(paths))
            }
            Self::ReadOnlyRoot => "mount_setattr(<root>, ro)".into(),
            Self::Sysctl { key, value } => {
                format!("write(\"/proc/sys/{}\", {value:?})", key.replace('.', "/"))
            }
            Self::Pivot => {
                "fchdir(<root>), pivot_root(\".\", \".\"), umount2(\".\", MNT_DETACH), chdir(\"/\")".into()
            }
        }
    }

    fn why(&self) -> Cow<'static, str> {
        Cow::Borrowed(match self {
            Self::Propagation(_) => "nothing that the container mounts reaches the host",
            Self::AttachRoot { .. } => "init builds on it; the mount exists in this namespace only",
            Self::New { kind, target, .. } => match (kind.as_str(), target.to_str().unwrap_or_default()) {
                ("proc", _) => "ps and friends see the container's own processes",
                ("sysfs", _) => "devices and interfaces of the container's own network",
                ("devpts", _) => "terminals that no other container can open",
                ("mqueue", _) => "the POSIX message queues of the container's own IPC namespace",
                ("cgroup2", _) => "programs can read their own limits",
                (_, "/dev") => "an empty /dev to fill with the standard devices alone",
                (_, "/dev/shm") => "shared memory of its own, with a size limit",
                _ => "asked for",
            },
            Self::Take { .. } => {
                "mounts made on one side are to show on the other: it must stay the host's peer"
            }
            Self::Bind { target, .. } => match target.to_str().unwrap_or_default() {
                "/etc/hosts" | "/etc/hostname" | "/etc/resolv.conf" => {
                    "names as the container should see them"
                }
                _ => "asked for",
            },
            Self::Groups { .. } => "programs can read their own limits",
            Self::Mask(_) => "these tell of the host, or reach into it",
            Self::ReadOnly(_) => "these change the host's kernel",
            Self::ReadOnlyRoot => "asked for: --read-only",
            Self::Sysctl { .. } => "asked for: --sysctl, in the container's own namespaces",
            Self::Pivot => "the host's files are out of reach: not hidden, gone from this namespace",
        })
    }

    fn shell(&self) -> Shell {
        match self {
            Self::Propagation(options) => Shell::line(format!(
                "mount --make-{} /",
                options.propagation_word().unwrap_or("rprivate".into())
            )),
            Self::AttachRoot { .. } => Shell::Within("the mount on $ROOT"),
            Self::New { kind, source, target, options } => {
                let mut words: Vec<String> = options.words().iter().map(|w| (*w).to_owned()).collect();
                words.extend(options.data.iter().map(|(key, value)| match value {
                    Some(value) => format!("{key}={value}"),
                    None => key.clone(),
                }));
                let flags =
                    if words.is_empty() { String::new() } else { format!(" -o {}", quote(&words.join(","))) };
                let at = below_root(target);
                Shell::Lines(vec![
                    format!("mkdir -p {at}"),
                    format!("mount -t {kind}{flags} {} {at}", quote(source)),
                ])
            }
            Self::Take { .. } => Shell::Nothing("a script's bind mounts are private"),
            Self::Bind { source, target, options } => bind_lines(source, target, options),
            Self::Groups { target, view, .. } => {
                let at = below_root(target);
                let mut lines = vec![format!("mount -t tmpfs -o nosuid,nodev,noexec,mode=755 tmpfs {at}")];
                for GroupView { name, links, dir } in view {
                    lines.push(format!(
                        "mkdir {at}/{name}; mount --bind {} {at}/{name}",
                        quote(&dir.to_string_lossy())
                    ));
                    lines.push(format!("mount -o remount,bind,ro,nosuid,nodev,noexec {at}/{name}"));
                    lines.extend(links.iter().map(|link| format!("ln -s {name} {at}/{link}")));
                }
                lines.push(format!("mount -o remount,ro {at}"));
                Shell::Lines(lines)
            }
            Self::Mask(paths) => Shell::Lines(paths.iter().map(|path| mask_line(path)).collect()),
            Self::ReadOnly(paths) => Shell::Lines(paths.iter().map(|path| read_only_line(path)).collect()),
            Self::ReadOnlyRoot => Shell::line("mount -o remount,bind,ro \"$ROOT\""),
            Self::Sysctl { key, value } => {
                Shell::line(format!("echo {} > /proc/sys/{}", quote(value), quote(&key.replace('.', "/"))))
            }
            Self::Pivot => Shell::Lines(vec![
                "cd \"$ROOT\"".into(),
                "pivot_root . .".into(),
                "hash -r; umount -l . 2>/dev/null || echo 'no umount in this root: the host stays mounted behind it' >&2".into(),
                "cd /; hash -r".into(),
            ]),
        }
    }

    fn perform(&self, context: &mut Context) -> Result<(), Failure> {
        match self {
            Self::Propagation(options) => self.propagation(options),
            Self::AttachRoot { at } => self.attach_root(at, context),
            Self::New { kind, source, target, options } => {
                self.mount_new(kind, source, target, options, context)
            }
            Self::Take { source, options } => self.take(source, options, context),
            Self::Bind { source, target, options } => self.bind(source, target, options, context),
            Self::Groups { target, view, options } => self.groups(target, view, options, context),
            Self::Mask(paths) => self.mask(paths, context),
            Self::ReadOnly(paths) => paths.iter().try_for_each(|path| self.read_only(path, context)),
            Self::ReadOnlyRoot => self.read_only_root(context),
            Self::Sysctl { key, value } => self.sysctl(key, value, context),
            Self::Pivot => self.pivot(context),
        }
    }
}

fn list(paths: &[PathBuf]) -> String {
    paths.iter().map(|path| path.to_string_lossy()).collect::<Vec<_>>().join(" ")
}

fn data_text(options: &Options) -> String {
    options.data.iter().fold(String::new(), |text, (key, value)| match value {
        Some(value) => format!("{text}, fsconfig({key}={value})"),
        None => format!("{text}, fsconfig({key})"),
    })
}

fn below_root(target: &Path) -> String {
    let path = target.to_string_lossy();
    if path == "/" { "\"$ROOT\"".into() } else { format!("\"$ROOT\"{}", quote(&path)) }
}

fn bind_lines(source: &Path, target: &Path, options: &Options) -> Shell {
    let (from, at) = (quote(&source.to_string_lossy()).into_owned(), below_root(target));
    let kind = if options.recursive { "--rbind" } else { "--bind" };
    let mut lines = vec![
        format!(
            "[ -d {from} ] && mkdir -p {at} || {{ mkdir -p \"$(dirname {at})\"; [ -e {at} ] || : > {at}; }}"
        ),
        format!("mount {kind} {from} {at}"),
    ];
    let words = options.words();
    if !words.is_empty() {
        lines.push(format!("mount -o remount,bind,{} {at}", words.join(",")));
    }
    if let Some(word) = options.propagation_word() {
        lines.push(format!("mount --make-{word} {at}"));
    }
    Shell::Lines(lines)
}

fn mask_line(path: &Path) -> String {
    let at = below_root(path);
    format!(
        "if [ -d {at} ]; then mount -t tmpfs -o ro,nosuid,nodev,noexec tmpfs {at}; elif [ -e {at} ]; then mount --bind \"$ROOT\"/dev/null {at}; fi"
    )
}

fn read_only_line(path: &Path) -> String {
    let at = below_root(path);
    format!(
        "if [ -e {at} ]; then mount --bind {at} {at}; mount -o remount,bind,ro,nosuid,nodev,noexec {at}; fi"
    )
}

const EMPTY: &CStr = c"";

impl Mounts {
    fn propagation(&self, options: &Options) -> Result<(), Failure> {
        let attr = MountAttr { propagation: options.propagation, ..MountAttr::default() };
        sys::mount::set_attr(CWD, c"/", true, attr).map_err(|error| self.failed("/", error))
    }

    fn attach_root(&self, at: &Path, context: &mut Context) -> Result<(), Failure> {
        let failed = |errno| self.failed(at.display().to_string(), errno);
        let mount = root(context, self.id())?;
        rustix::mount::move_mount(mount, "", CWD, at, MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH).map_err(failed)
    }

    fn target(&self, target: &Path, kind: Kind, context: &Context) -> Result<OwnedFd, Failure> {
        let root = root(context, self.id())?;
        // The kernel's own trees must lie where they seem to: a link there could only lead a later write astray.
        let plain = ["/proc", "/sys", "/dev"].iter().any(|place| target.starts_with(place));
        let place = path::ensure(root, target, kind);
        let place = if plain { place.and_then(|_| path::open_plain(root, target)) } else { place };
        let place = place.map_err(|errno| {
            let failure = self.failed(target.display().to_string(), errno);
            if let Some(link) = first_link(root, target).filter(|_| errno != Errno::ROFS) {
                let reason = if plain {
                    "the image has a symbolic link in this place, and a container needs a real directory"
                } else {
                    "the image has a symbolic link on the way that leads to no place for it"
                };
                return Failure::because(self.id(), link.display().to_string(), reason)
                    .hint(format!("remove the link from the root file system: rm ROOTFS{}", link.display()));
            }
            match errno {
                Errno::NOTDIR => failure.hint("something on the way is a file; remove it or mount elsewhere"),
                Errno::ROFS => failure
                    .hint("the place does not exist and the root file system is read-only: make it first"),
                _ => failure,
            }
        })?;
        if !plain && ensure_proc(&place).is_ok() {
            return Err(Failure::because(
                self.id(),
                target.display().to_string(),
                "leads into /proc, which is the kernel's",
            )
            .hint("remove the link from the root file system, or mount elsewhere"));
        }
        if kind == Kind::Directory && file_type(&place).is_ok_and(|found| found != FileType::Directory) {
            return Err(Failure::because(
                self.id(),
                target.display().to_string(),
                "is not a directory in the image",
            )
            .hint("remove it from the root file system, or mount elsewhere"));
        }
        Ok(place)
    }

    fn mount_new(
        &self,
        kind: &str,
        source: &str,
        target: &Path,
        options: &Options,
        context: &mut Context,
    ) -> Result<(), Failure> {
        let failed = |errno| self.failed(target.display().to_string(), errno);
        let place = self.target(target, Kind::Directory, context)?;
        let copy = if options.copy_up {
            Some(path::open(root(context, self.id())?, target).map_err(failed)?)
        } else {
            None
        };
        let mount = self.create(kind, source, target, options)?;
        if let Some(from) = copy {
            crate::copy_up::copy(&from, &mount).map_err(failed)?;
        }
        attach(&mount, &place).map_err(failed)?;
        self.propagate(target, options, &mount)
    }

    /// A detached mount of a new file system. What the kernel writes into the context's log is the better reason.
    fn create(&self, kind: &str, source: &str, target: &Path, options: &Options) -> Result<OwnedFd, Failure> {
        let failed = |errno| self.failed(format!("{kind} for {}", target.display()), errno);
        let context = rustix::mount::fsopen(kind, FsOpenFlags::FSOPEN_CLOEXEC).map_err(|errno| {
            failed(errno).hint(format!("this kernel has no file system {kind}; see /proc/filesystems"))
        })?;
        let told = |errno| match log(&context) {
            Some(reason) => Failure { reason: Some(reason), ..failed(errno) },
            None => failed(errno),
        };
        rustix::mount::fsconfig_set_string(context.as_fd(), "source", source).map_err(told)?;
        for (key, value) in &options.data {
            match value {
                Some(value) => {
                    rustix::mount::fsconfig_set_string(context.as_fd(), key.as_str(), value.as_str())
                }
                None => rustix::mount::fsconfig_set_flag(context.as_fd(), key.as_str()),
            }
            .map_err(|errno| told(errno).hint(format!("{kind} does not take the option {key}")))?;
        }
        rustix::mount::fsconfig_create(context.as_fd()).map_err(told)?;
        let attributes = MountAttrFlags::from_bits_retain(options.set as u32);
        rustix::mount::fsmount(context.as_fd(), FsMountFlags::FSMOUNT_CLOEXEC, attributes).map_err(told)
    }

    fn propagate(&self, target: &Path, options: &Options, mount: &OwnedFd) -> Result<(), Failure> {
        if options.propagation == 0 {
            return Ok(());
        }
        let attr = MountAttr { propagation: options.propagation, ..MountAttr::default() };
        sys::mount::set_attr(mount, EMPTY, options.propagation_recursive, attr)
            .map_err(|error| self.failed(target.display().to_string(), error))
    }

    fn take(&self, source: &Path, options: &Options, context: &mut Context) -> Result<(), Failure> {
        let failed = |errno| self.failed(source.display().to_string(), errno);
        if let Some((namespace, inside)) = elsewhere(source) {
            context.taken.push(take_elsewhere(&namespace, &inside, options.recursive).map_err(failed)?);
            return Ok(());
        }
        if !is_shared(source).map_err(failed)? {
            return Err(Failure::because(
                self.id(),
                source.display().to_string(),
                "is on a mount that is not shared on the host",
            )
            .hint("share the mount that it is on: mount --make-shared MOUNTPOINT"));
        }
        context.taken.push(clone(CWD, source, options.recursive).map_err(failed)?);
        Ok(())
    }

    fn bind(
        &self,
        source: &Path,
        target: &Path,
        options: &Options,
        context: &mut Context,
    ) -> Result<(), Failure> {
        let failed = |errno| self.failed(format!("{} for {}", source.display(), target.display()), errno);
        let mount = if is_taken(source, options) && !context.taken.is_empty() {
            context.taken.remove(0)
        } else {
            self.source(source, options, &failed)?
        };
        let kind = match file_type(&mount).map_err(failed)? {
            FileType::Directory => Kind::Directory,
            _ => Kind::File,
        };
        let place = self.target(target, kind, context)?;
        attributes(&mount, options).map_err(|error| self.failed(target.display().to_string(), error))?;
        self.propagate(target, options, &mount)?;
        attach(&mount, &place).map_err(|errno| match errno {
            Errno::NOTDIR => {
                failed(errno).hint("one is a directory and the other a file; they must be the same")
            }
            _ => failed(errno),
        })
    }

    fn source(
        &self,
        source: &Path,
        options: &Options,
        failed: &dyn Fn(Errno) -> Failure,
    ) -> Result<OwnedFd, Failure> {
        clone(CWD, source, options.recursive).map_err(|errno| match errno {
            Errno::NOENT => failed(errno).hint("the source does not exist on the host; make it first"),
            _ => failed(errno),
        })
    }

    fn groups(
        &self,
        target: &Path,
        view: &[GroupView],
        options: &Options,
        context: &mut Context,
    ) -> Result<(), Failure> {
        let place = self.target(target, Kind::Directory, context)?;
        let words = ["mode=755"];
        let tmpfs = Options { set: options.set & !sys::mount::RDONLY, ..Options::parse(&words) };
        let top = self.create("tmpfs", "cgroup", target, &tmpfs)?;
        attach(&top, &place).map_err(|errno| self.failed(target.display().to_string(), errno))?;
        for GroupView { name, links, dir } in view {
            let failed = |errno| self.failed(target.join(name).display().to_string(), errno);
            rustix::fs::mkdirat(&top, name.as_str(), Mode::from_raw_mode(0o755)).map_err(failed)?;
            let flags = OFlags::PATH | OFlags::CLOEXEC | OFlags::NOFOLLOW;
            let place = rustix::fs::openat(&top, name.as_str(), flags, Mode::empty()).map_err(failed)?;
            let group = clone(CWD, dir, false).map_err(failed)?;
            attributes(&group, options).map_err(|error| self.failed(name.clone(), error))?;
            attach(&group, &place).map_err(failed)?;
            for link in links {
                rustix::fs::symlinkat(name.as_str(), &top, link.as_str()).map_err(failed)?;
            }
        }
        let attr = MountAttr { set: options.set, ..MountAttr::default() };
        sys::mount::set_attr(&top, EMPTY, false, attr)
            .map_err(|error| self.failed(target.display().to_string(), error))
    }

    /// One empty tmpfs serves all directories, the container's own /dev/null all files. What does not exist needs no
    /// mask.
    fn mask(&self, paths: &[PathBuf], context: &Context) -> Result<(), Failure> {
        let root = root(context, self.id())?;
        let mut empty = None;
        for path in paths {
            let failed = |errno| self.failed(path.display().to_string(), errno);
            let place = match path::open(root, path) {
                Err(Errno::NOENT | Errno::NOTDIR) => continue,
                place => place.map_err(failed)?,
            };
            let mount = match (file_type(&place).map_err(failed)?, &empty) {
                (FileType::Directory, None) => {
                    let options = Options::parse(&["ro", "nosuid", "nodev", "noexec", "size=0"]);
                    let tmpfs = self.create("tmpfs", "tmpfs", path, &options)?;
                    // Before Linux 6.15 only an attached mount can be cloned: the first is the one itself.
                    attach(&tmpfs, &place).map_err(failed)?;
                    empty = Some(tmpfs);
                    continue;
                }
                (FileType::Directory, Some(tmpfs)) => clone(tmpfs, Path::new(""), false).map_err(failed)?,
                _ => self.null_device(root, path)?,
            };
            attach(&mount, &place).map_err(failed)?;
        }
        Ok(())
    }

    /// A clone of the container's /dev/null, after a look that it is the device 1:3 and not a file that an image put
    /// there to be bound over /proc (CVE-2025-31133).
    fn null_device(&self, root: &OwnedFd, masked: &Path) -> Result<OwnedFd, Failure> {
        let failed = |errno| self.failed(format!("/dev/null for {}", masked.display()), errno);
        let null = path::open_plain(root, Path::new("/dev/null")).map_err(failed)?;
        let stat = rustix::fs::fstat(&null).map_err(failed)?;
        let device = (rustix::fs::major(stat.st_rdev), rustix::fs::minor(stat.st_rdev));
        if FileType::from_raw_mode(stat.st_mode) != FileType::CharacterDevice || device != (1, 3) {
            return Err(Failure::because(
                self.id(),
                "/dev/null",
                "is not the null device: the image tampered with /dev",
            ));
        }
        clone(null, Path::new(""), false).map_err(failed)
    }

    fn read_only(&self, path: &Path, context: &Context) -> Result<(), Failure> {
        let failed = |errno| self.failed(path.display().to_string(), errno);
        let root = root(context, self.id())?;
        let place = match path::open(root, path) {
            Err(Errno::NOENT | Errno::NOTDIR) => return Ok(()),
            place => place.map_err(failed)?,
        };
        let mount = clone(&place, Path::new(""), true).map_err(failed)?;
        let attr = MountAttr { set: sys::mount::RDONLY, ..MountAttr::default() };
        sys::mount::set_attr(&mount, EMPTY, true, attr)
            .map_err(|error| self.failed(path.display().to_string(), error))?;
        attach(&mount, &place).map_err(failed)
    }

    fn read_only_root(&self, context: &Context) -> Result<(), Failure> {
        let attr = MountAttr { set: sys::mount::RDONLY, ..MountAttr::default() };
        sys::mount::set_attr(root(context, self.id())?, EMPTY, false, attr)
            .map_err(|error| self.failed("/", error))
    }

    /// Written through the container's /proc, after a look that it is one (CVE-2019-16884).
    fn sysctl(&self, key: &str, value: &str, context: &Context) -> Result<(), Failure> {
        let file = key.replace('.', "/");
        let failed = |errno| {
            let failure = self.failed(format!("/proc/sys/{file}"), errno);
            match errno {
                Errno::NOENT => {
                    failure.hint("there is no such setting in this kernel, or not in an own namespace")
                }
                Errno::INVAL => failure.hint(format!("the kernel does not take the value {value:?}")),
                _ => failure,
            }
        };
        let root = root(context, self.id())?;
        let proc = path::open_plain(root, Path::new("/proc")).map_err(failed)?;
        ensure_proc(&proc).map_err(|reason| Failure::because(self.id(), "/proc", reason))?;
        write_file(proc.as_fd(), Path::new(&format!("sys/{file}")), value.as_bytes()).map_err(failed)
    }

    fn pivot(&self, context: &mut Context) -> Result<(), Failure> {
        let failed = |call: &'static str| move |errno: Errno| self.failed(call, errno);
        let root = root(context, self.id())?;
        rustix::process::fchdir(root).map_err(failed("fchdir"))?;
        rustix::process::pivot_root(".", ".").map_err(|errno| {
            self.failed("pivot_root", errno)
                .hint("the host's root is an initial ramdisk, which cannot be pivoted from")
        })?;
        // The old root lies over the new one now; taken off lazily, since we were just standing in it.
        rustix::mount::unmount(".", UnmountFlags::DETACH).map_err(failed("umount2"))?;
        rustix::process::chdir("/").map_err(failed("chdir"))
    }
}

/// Whether `proc` is on a procfs.
pub(crate) fn ensure_proc(proc: &OwnedFd) -> Result<(), &'static str> {
    const PROC_SUPER_MAGIC: i64 = 0x9fa0;
    match rustix::fs::fstatfs(proc) {
        Ok(stat) if stat.f_type == PROC_SUPER_MAGIC => Ok(()),
        _ => Err("is no procfs: the container has no /proc, or the image tampered with it"),
    }
}

/// The first part of `path` that is a symbolic link in the image.
fn first_link(root: &OwnedFd, path: &Path) -> Option<PathBuf> {
    let mut way: Vec<_> = path.ancestors().collect();
    way.reverse();
    way.into_iter()
        .find(|part| path::open_plain(root, part).is_err_and(|errno| errno == Errno::LOOP))
        .map(Path::to_owned)
}

/// Whether the source of a bind must be taken before init's own mounts begin ([`Mounts::Take`]).
pub(crate) fn is_taken(source: &Path, options: &Options) -> bool {
    options.passes_events() || elsewhere(source).is_some()
}

/// `/proc/<pid>/root/…` means a mount of another process's namespace, which can only be cloned from within: that
/// namespace, and the path in it.
fn elsewhere(source: &Path) -> Option<(PathBuf, PathBuf)> {
    let mut parts = source.strip_prefix("/proc").ok()?.components();
    let pid: u32 = parts.next()?.as_os_str().to_str()?.parse().ok()?;
    (parts.next()?.as_os_str() == "root")
        .then(|| (PathBuf::from(format!("/proc/{pid}/ns/mnt")), Path::new("/").join(parts.as_path())))
}

/// Clones a mount of another mount namespace: there, and back again.
fn take_elsewhere(namespace: &Path, inside: &Path, recursive: bool) -> Result<OwnedFd, Errno> {
    use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};
    let open = |path: &Path| rustix::fs::open(path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty());
    let (own, other) = (open(Path::new("/proc/self/ns/mnt"))?, open(namespace)?);
    move_into_link_name_space(other.as_fd(), Some(LinkNameSpaceType::Mount))?;
    let taken = clone(CWD, inside, recursive);
    move_into_link_name_space(own.as_fd(), Some(LinkNameSpaceType::Mount))?;
    taken
}

/// Whether events pass between the mount that `path` is on and its peers: the tag `shared:` in proc_pid_mountinfo(5).
fn is_shared(path: &Path) -> Result<bool, Errno> {
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
pub(super) fn clone(dir: impl AsFd, path: &Path, recursive: bool) -> Result<OwnedFd, Errno> {
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
pub(super) fn attach(mount: &OwnedFd, place: &OwnedFd) -> Result<(), Errno> {
    let flags = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH | MoveMountFlags::MOVE_MOUNT_T_EMPTY_PATH;
    rustix::mount::move_mount(mount, "", place, "", flags)
}

fn attributes(mount: &OwnedFd, options: &Options) -> std::io::Result<()> {
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

fn file_type(fd: &OwnedFd) -> Result<FileType, Errno> {
    Ok(FileType::from_raw_mode(rustix::fs::fstat(fd)?.st_mode))
}

/// The first error in a file system context's log (fsopen(2)): "e overlay: …" without its mark.
fn log(context: &OwnedFd) -> Option<String> {
    let mut buffer = [0_u8; 512];
    let read = rustix::io::read(context, &mut buffer).ok()?;
    let line = String::from_utf8_lossy(&buffer[..read]);
    Some(line.trim().trim_start_matches("e ").to_owned())
}
