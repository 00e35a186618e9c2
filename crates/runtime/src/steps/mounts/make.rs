//! Making mounts: file systems, binds, control groups; each finished before it appears.

use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, FileType, Mode, OFlags};
use rustix::io::Errno;
use rustix::mount::{FsMountFlags, FsOpenFlags, MountAttrFlags, MoveMountFlags};
use step::{Context, Failure, Step};
use sys::mount::MountAttr;

use super::clones::{
    EMPTY, Map, attach, attributes, clone, elsewhere, file_type, is_shared, kept, mount_point, take_elsewhere,
};
use super::locks::is_proc;
use super::{Mounts, Origin, Special};
use crate::container::GroupView;
use crate::options::Options;
use crate::path::{self, Kind};
use crate::steps::root;

impl Mounts {
    pub(super) fn propagation(&self, options: &Options) -> Result<(), Failure> {
        let attr = MountAttr { propagation: options.propagation, ..MountAttr::default() };
        let recursive = options.propagation_recursive;
        sys::mount::set_attr(CWD, c"/", recursive, attr).map_err(|error| self.failed("/", error))
    }

    /// Its own mount is private, and what lies below follows the host: as other OCI runtimes have it.
    pub(super) fn directory(&self, path: &Path, context: &mut Context) -> Result<(), Failure> {
        let failed = |errno| self.failed(path.display().to_string(), errno);
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let place = rustix::fs::open(path, flags, Mode::empty()).map_err(|errno| match errno {
            Errno::NOENT => failed(errno).hint("config.json's root.path names the directory; make it first"),
            _ => failed(errno),
        })?;
        let mount = clone(&place, Path::new(""), true).map_err(failed)?;
        for (recursive, propagation) in
            [(true, Options::parse(&["rslave"])), (false, Options::parse(&["private"]))]
        {
            let attr = MountAttr { propagation: propagation.propagation, ..MountAttr::default() };
            sys::mount::set_attr(&mount, EMPTY, recursive, attr)
                .map_err(|error| self.failed(path.display().to_string(), error))?;
        }
        context.root = Some(mount);
        Ok(())
    }

    pub(super) fn attach_root(&self, at: &Path, context: &mut Context) -> Result<(), Failure> {
        let failed = |errno| self.failed(at.display().to_string(), errno);
        let mount = root(context, self.id())?;
        let flags = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH;
        match rustix::mount::move_mount(mount, "", CWD, at, flags) {
            // In a user namespace the way to the directory may be barred. Any place will do: paths still begin below
            // what is mounted over the root.
            Err(Errno::ACCESS) => rustix::mount::move_mount(mount, "", CWD, "/", flags).map_err(failed),
            moved => moved.map_err(failed),
        }
    }

    pub(super) fn target(&self, target: &Path, kind: Kind, context: &Context) -> Result<OwnedFd, Failure> {
        let root = root(context, self.id())?;
        // The kernel's own trees must lie where they seem to: a link there could only lead a later write astray.
        let plain = ["/proc", "/sys", "/dev"].iter().any(|place| target.starts_with(place));
        let place =
            if plain { path::ensure_plain(root, target, kind) } else { path::ensure(root, target, kind) };
        let place = place.map_err(|errno| {
            let failure = self.failed(target.display().to_string(), errno);
            if let Some(link) = first_link(root, target).filter(|_| errno != Errno::ROFS) {
                let reason = if plain {
                    "the image has a symbolic link in this place: /proc, /sys and /dev must be mounted on ordinary directory"
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
        if !plain && is_proc(&place) {
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

    /// /proc is a procfs, and nothing is mounted into it: what is written to a kernel file later must reach the kernel
    /// (CVE-2019-19921). But for what file systems like lxcfs put there.
    fn spare_proc(&self, target: &Path, is_proc: bool) -> Result<(), Failure> {
        const EMULATED: [&str; 10] = [
            "/proc/cpuinfo",
            "/proc/diskstats",
            "/proc/meminfo",
            "/proc/stat",
            "/proc/swaps",
            "/proc/uptime",
            "/proc/loadavg",
            "/proc/slabinfo",
            "/proc/sys/kernel/ns_last_pid",
            "/proc/sys/crypto/fips_enabled",
        ];
        let inside = target != Path::new("/proc");
        if !target.starts_with("/proc")
            || (is_proc && !inside)
            || EMULATED.iter().any(|&e| target == Path::new(e))
        {
            return Ok(());
        }
        let reason = match inside {
            true => "cannot be mounted on: it is inside of /proc, which is the kernel's",
            false => "only a procfs can be mounted here",
        };
        Err(Failure::because(self.id(), target.display().to_string(), reason).hint("mount it elsewhere"))
    }

    pub(super) fn mount_new(
        &self,
        kind: &str,
        source: &str,
        target: &Path,
        options: &Options,
        context: &mut Context,
    ) -> Result<(), Failure> {
        let failed = |errno| self.failed(target.display().to_string(), errno);
        let existing = path::open(root(context, self.id())?, target)
            .and_then(rustix::fs::fstat)
            .ok()
            .map(|stat| stat.st_mode & 0o7777);
        let place = self.target(target, Kind::Directory, context)?;
        let copy = if options.copy_up {
            Some(path::open(root(context, self.id())?, target).map_err(failed)?)
        } else {
            None
        };
        // A tmpfs over a directory looks like it, where nothing else is said.
        let mode = existing.filter(|_| kind == "tmpfs" && !options.data.iter().any(|(key, _)| key == "mode"));
        let mut options = options.clone();
        options.data.extend(mode.map(|mode| ("mode".to_owned(), Some(format!("{mode:o}")))));
        let options = &options;
        self.spare_proc(target, kind == "proc")?;
        let mount = self.create(kind, source, target, options)?;
        if let Some(from) = copy {
            crate::copy_up::copy(&from, &mount).map_err(failed)?;
        }
        attach(&mount, &place).map_err(failed)?;
        self.propagate(target, options, &mount)
    }

    /// A detached mount of a new file system. What the kernel writes into the context's log is the better reason.
    pub(super) fn create(
        &self,
        kind: &str,
        source: &str,
        target: &Path,
        options: &Options,
    ) -> Result<OwnedFd, Failure> {
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

    pub(super) fn propagate(&self, target: &Path, options: &Options, mount: &OwnedFd) -> Result<(), Failure> {
        if options.propagation == 0 {
            return Ok(());
        }
        let attr = MountAttr { propagation: options.propagation, ..MountAttr::default() };
        sys::mount::set_attr(mount, EMPTY, options.propagation_recursive, attr)
            .map_err(|error| self.failed(target.display().to_string(), error))
    }

    pub(super) fn take(
        &self,
        source: &Path,
        options: &Options,
        map: Option<&Map>,
        (from, slave): (Origin, bool),
        context: &Context,
    ) -> Result<OwnedFd, Failure> {
        let failed = |errno| self.failed(source.display().to_string(), errno);
        let init = context.init.filter(|_| from == Origin::Init);
        let init = init.map(|pid| (format!("/proc/{pid}/ns/mnt").into(), source.to_owned()));
        let mount = match elsewhere(source).or(init) {
            Some((namespace, inside)) => {
                take_elsewhere(&namespace, &inside, options.recursive).map_err(failed)?
            }
            None => {
                if from == Origin::Shared {
                    self.must_be_shared(source)?;
                }
                self.source(source, options, &failed)?
            }
        };
        if slave {
            let attr =
                MountAttr { propagation: Options::parse(&["rslave"]).propagation, ..MountAttr::default() };
            sys::mount::set_attr(&mount, EMPTY, true, attr)
                .map_err(|error| self.failed(source.display().to_string(), error))?;
        }
        self.map(&mount, source, map, context)?;
        Ok(mount)
    }

    pub(super) fn map(
        &self,
        mount: &OwnedFd,
        source: &Path,
        map: Option<&Map>,
        context: &Context,
    ) -> Result<(), Failure> {
        let Some(map) = map else { return Ok(()) };
        map.apply(mount, context.userns.as_ref())
            .map_err(|error| self.failed(source.display().to_string(), error))
            .map_err(|failure| match failure.errno {
                22 => failure.hint("its file system has no idmapped mounts, or it is idmapped already"),
                _ => failure,
            })
    }

    /// A source that is more than a path: a part of what containers write, or a file system to be mounted.
    pub(super) fn take_special(
        &self,
        source: &Path,
        options: &Options,
        special: &Special,
    ) -> Result<OwnedFd, Failure> {
        match special {
            Special::New(kind) => self.create(kind, &source.to_string_lossy(), source, options),
            Special::Within(top) => {
                let below = source.strip_prefix(top).unwrap_or(source);
                let shown = || below.display().to_string();
                let place = path::open_beneath(top, below).map_err(|errno| match errno {
                    Errno::XDEV => Failure::because(self.id(), shown(), "leads out of the volume")
                        .hint("name a directory of the volume that no link outside stands for"),
                    Errno::NOENT | Errno::NOTDIR => self
                        .failed(shown(), errno)
                        .hint("a subpath must be in the volume already: make it first"),
                    errno => self.failed(shown(), errno),
                })?;
                clone(&place, Path::new(""), options.recursive).map_err(|errno| self.failed(shown(), errno))
            }
        }
    }

    fn must_be_shared(&self, source: &Path) -> Result<(), Failure> {
        let failed = |errno| self.failed(source.display().to_string(), errno);
        if !is_shared(source).map_err(failed)? {
            return Err(Failure::because(
                self.id(),
                source.display().to_string(),
                "is on a mount that is not shared on the host",
            )
            .hint("share the mount that it is on: mount --make-shared MOUNTPOINT"));
        }
        Ok(())
    }

    pub(super) fn bind(
        &self,
        slot: Option<usize>,
        source: &Path,
        target: &Path,
        options: &Options,
        (exact, confined): (bool, bool),
        context: &mut Context,
    ) -> Result<(), Failure> {
        let failed = |errno| self.failed(format!("{} for {}", source.display(), target.display()), errno);
        let taken = slot.and_then(|slot| context.taken.iter().position(|(number, _)| *number == slot));
        let mount = match taken {
            Some(at) => context.taken.swap_remove(at).1,
            None => self.source(source, options, &failed)?,
        };
        let kind = match file_type(&mount).map_err(failed)? {
            FileType::Directory => Kind::Directory,
            _ => Kind::File,
        };
        self.spare_proc(target, is_proc(&mount))?;
        let place = self.target(target, kind, context)?;
        let mut attrs = if exact { options.exact() } else { options.clone() };
        if confined {
            attrs = kept(&mount, options, attrs)
                .map_err(|errno| self.failed(target.display().to_string(), errno))?;
        }
        attributes(&mount, &attrs).map_err(|error| self.failed(target.display().to_string(), error))?;
        self.propagate(target, options, &mount)?;
        attach(&mount, &place).map_err(|errno| match errno {
            Errno::NOTDIR => {
                failed(errno).hint("one is a directory and the other a file; they must be the same")
            }
            _ => failed(errno),
        })
    }

    pub(super) fn cut_off(&self, at: &Path) -> Result<(), Failure> {
        let failed = |errno| self.failed(at.display().to_string(), errno);
        let point = mount_point(at).map_err(failed)?;
        let flags = OFlags::PATH | OFlags::CLOEXEC;
        let mount = rustix::fs::open(&point, flags, Mode::empty()).map_err(failed)?;
        let attr =
            MountAttr { propagation: Options::parse(&["private"]).propagation, ..MountAttr::default() };
        sys::mount::set_attr(&mount, EMPTY, false, attr)
            .map_err(|error| self.failed(point.display().to_string(), error))
    }

    /// The mount at `target` with other attributes; a descriptor leads there, so no link can.
    pub(super) fn remount(&self, target: &Path, options: &Options, context: &Context) -> Result<(), Failure> {
        let failed = |errno| self.failed(target.display().to_string(), errno);
        let place = path::open(root(context, self.id())?, target).map_err(failed)?;
        attributes(&place, options).map_err(|error| self.failed(target.display().to_string(), error))?;
        self.propagate(target, options, &place)
    }

    pub(super) fn source(
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

    pub(super) fn groups(
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
}

/// The first part of `path` that is a symbolic link in the image.
fn first_link(root: &OwnedFd, path: &Path) -> Option<PathBuf> {
    let mut way: Vec<_> = path.ancestors().collect();
    way.reverse();
    way.into_iter()
        .find(|part| path::open_plain(root, part).is_err_and(|errno| errno == Errno::LOOP))
        .map(Path::to_owned)
}

/// The first error in a file system context's log (fsopen(2)): "e overlay: …" without its mark.
fn log(context: &OwnedFd) -> Option<String> {
    let mut buffer = [0_u8; 512];
    let read = rustix::io::read(context, &mut buffer).ok()?;
    let line = String::from_utf8_lossy(&buffer[..read]);
    Some(line.trim().trim_start_matches("e ").to_owned())
}
