//! What may no longer be seen or changed: masks, read-only places, kernel settings; and the pivot.

use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, FileType, Mode, OFlags};
use rustix::io::Errno;
use rustix::mount::{MoveMountFlags, UnmountFlags};
use step::{Context, Failure, Step};
use sys::mount::MountAttr;

use super::clones::{EMPTY, attach, clone, file_type};
use super::{Change, Mounts};
use crate::options::Options;
use crate::path;
use crate::steps::{root, write_proc};

pub(super) use crate::steps::is_proc;

impl Mounts {
    /// One empty tmpfs serves all directories, the container's own /dev/null all files. What does not exist needs no
    /// mask.
    pub(super) fn mask(&self, paths: &[PathBuf], context: &Context) -> Result<(), Failure> {
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
    pub(super) fn null_device(&self, root: &OwnedFd, masked: &Path) -> Result<OwnedFd, Failure> {
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

    pub(super) fn read_only(&self, path: &Path, context: &Context) -> Result<(), Failure> {
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

    pub(super) fn read_only_root(&self, context: &Context) -> Result<(), Failure> {
        let attr = MountAttr { set: sys::mount::RDONLY, ..MountAttr::default() };
        sys::mount::set_attr(root(context, self.id())?, EMPTY, false, attr)
            .map_err(|error| self.failed("/", error))
    }

    /// Written through the container's /proc (CVE-2019-16884).
    pub(super) fn sysctl(&self, key: &str, value: &str, context: &Context) -> Result<(), Failure> {
        let file = key.replace('.', "/");
        let failed = |errno| {
            let failure = self.failed(format!("/proc/sys/{file}"), errno);
            match errno {
                Errno::NOENT => {
                    failure.hint("there is no such setting in this kernel, or not in an own namespace")
                }
                Errno::INVAL => failure.hint(format!("the kernel does not take the value {value:?}")),
                Errno::XDEV => failure.hint("something else is mounted where the kernel's file should be"),
                _ => failure,
            }
        };
        let root = root(context, self.id())?;
        write_proc(root, Path::new("sys").join(&file), value).map_err(failed)
    }

    /// The host's /proc and /sys go: below the new root they could not be seen, and still let a program mount new ones
    /// without the masks (the kernel asks whether a fully visible one is there).
    fn uncover(&self) -> Result<(), Failure> {
        let failed = |point: &Path, errno| self.failed(point.display().to_string(), errno);
        let new = rustix::process::getcwd(Vec::new()).map_err(|errno| self.failed("getcwd", errno))?;
        let new = PathBuf::from(std::ffi::OsStr::from_bytes(new.to_bytes()));
        let mounts = std::fs::read_to_string("/proc/self/mountinfo")
            .map_err(|error| self.failed("/proc/self/mountinfo", error))?;
        let line = |line: &str| -> Option<(PathBuf, String)> {
            let (before, after) = line.split_once(" - ")?;
            Some((
                sys::mount::unescape(before.split(' ').nth(4)?.as_bytes()),
                after.split(' ').next()?.to_owned(),
            ))
        };
        let kernels = mounts
            .lines()
            .filter_map(line)
            .filter(|(point, kind)| matches!(kind.as_str(), "proc" | "sysfs") && !point.starts_with(&new));
        for (point, _) in kernels {
            let flags = OFlags::PATH | OFlags::CLOEXEC;
            match rustix::fs::open(&point, flags, Mode::empty()) {
                Ok(place) => self.detach_from_host(&place, &point.to_string_lossy())?,
                Err(Errno::NOENT) => continue,
                Err(errno) => return Err(failed(&point, errno)),
            }
            match rustix::mount::unmount(&point, UnmountFlags::DETACH) {
                Ok(()) | Err(Errno::NOENT) => {}
                // Locked in a user namespace: hidden then.
                Err(Errno::INVAL | Errno::PERM) => {
                    let tmpfs = self.create("tmpfs", "tmpfs", &point, &Options::default())?;
                    let flags = OFlags::PATH | OFlags::CLOEXEC;
                    let place = rustix::fs::open(&point, flags, Mode::empty())
                        .map_err(|errno| failed(&point, errno))?;
                    attach(&tmpfs, &place).map_err(|errno| failed(&point, errno))?;
                }
                Err(errno) => return Err(failed(&point, errno)),
            }
        }
        Ok(())
    }

    /// What is unmounted of it from now on stays mounted where it came from.
    fn detach_from_host(&self, mount: &OwnedFd, name: &str) -> Result<(), Failure> {
        let propagation = Options::parse(&["rslave"]).propagation;
        let attr = MountAttr { propagation, ..MountAttr::default() };
        sys::mount::set_attr(mount, EMPTY, true, attr).map_err(|error| self.failed(name, error))
    }

    pub(super) fn change(&self, change: Change, context: &mut Context) -> Result<(), Failure> {
        let failed = |call: &'static str| move |errno: Errno| self.failed(call, errno);
        let root = root(context, self.id())?;
        rustix::process::fchdir(root).map_err(failed("fchdir"))?;
        if change == Change::Move {
            self.uncover()?;
            let (from, to) = (MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH, CWD);
            rustix::mount::move_mount(root, "", to, "/", from).map_err(failed("move_mount"))?;
        }
        let Change::Pivot { peers } = change else {
            rustix::process::chroot(".").map_err(failed("chroot"))?;
            return rustix::process::chdir("/").map_err(failed("chdir"));
        };
        let flags = OFlags::PATH | OFlags::CLOEXEC;
        let old = rustix::fs::open("/", flags, Mode::empty()).map_err(failed("open"))?;
        rustix::process::pivot_root(".", ".").map_err(|errno| {
            self.failed("pivot_root", errno)
                .hint("the host's root is an initial ramdisk, which cannot be pivoted from")
        })?;
        if peers {
            self.detach_from_host(&old, "/")?;
        }
        // The old root lies over the new one now; taken off lazily, since we were just standing in it.
        rustix::mount::unmount(".", UnmountFlags::DETACH).map_err(failed("umount2"))?;
        rustix::process::chdir("/").map_err(failed("chdir"))
    }
}
