//! A container's file system while it does not run: its layers and what it wrote, to be read.

use std::os::fd::{AsRawFd, OwnedFd};
use std::path::PathBuf;

use rustix::fs::{CWD, Mode, OFlags};
use rustix::io::Errno;
use rustix::mount::{FsMountFlags, FsOpenFlags, MountAttrFlags};
use step::Failure;

use crate::source;

const STEP: &str = "storage.read";

/// A view of layers, the lowest first, that nobody sees but who has it: a detached mount, open as a directory. It goes
/// with its last descriptor.
///
/// # Errors
/// A layer that is gone; the kernel's.
pub fn read_only(layers: &[PathBuf]) -> Result<OwnedFd, Failure> {
    let layers = source::check_layers(layers)?;
    let failed = |errno: Errno| Failure::new(STEP, "the container's layers", errno);
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let open = |path: &PathBuf| {
        rustix::fs::openat(CWD, path, flags, Mode::empty())
            .map_err(|errno| Failure::new(STEP, path.display().to_string(), errno))
    };
    // By descriptor: no colon of a path is a separator.
    let mut lower = layers.iter().map(open).collect::<Result<Vec<_>, _>>()?;
    if lower.len() == 1 {
        // overlayfs wants two where nothing is written.
        return Ok(lower.remove(0));
    }
    let mount = || -> Result<OwnedFd, Errno> {
        let context = rustix::mount::fsopen("overlay", FsOpenFlags::FSOPEN_CLOEXEC)?;
        let place = |fd: &OwnedFd| format!("/proc/self/fd/{}", fd.as_raw_fd());
        let set = |key: &str, value: &str| rustix::mount::fsconfig_set_string(&context, key, value);
        set("source", "minidocker")?;
        let all = lower.iter().map(place).collect::<Vec<_>>().join(":");
        // A value has 255 bytes at most; one by one since Linux 6.7.
        if all.len() < 256 {
            set("lowerdir", &all)?;
        } else {
            lower.iter().try_for_each(|fd| set("lowerdir+", &place(fd)))?;
        }
        rustix::mount::fsconfig_create(&context)?;
        let attributes = MountAttrFlags::MOUNT_ATTR_RDONLY | MountAttrFlags::MOUNT_ATTR_NOATIME;
        let mount = rustix::mount::fsmount(&context, FsMountFlags::FSMOUNT_CLOEXEC, attributes)?;
        rustix::fs::openat(&mount, ".", flags, Mode::empty())
    };
    mount().map_err(failed)
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::io::Read as _;

    use super::*;
    use crate::trial::Scratch;

    #[test]
    fn what_was_written_is_seen_over_the_layers() {
        let scratch = Scratch::new("rest");
        let at = |path: &str| scratch.path.join(path);
        for (path, text) in [("low/a", "low"), ("low/b", "low"), ("upper/b", "upper")] {
            fs::create_dir_all(at(path).parent().unwrap()).unwrap();
            fs::write(at(path), text).unwrap();
        }
        let view = read_only(&[at("low"), at("upper")]).unwrap();
        let read = |name: &str| {
            let mut text = String::new();
            let file = rustix::fs::openat(&view, name, OFlags::RDONLY, Mode::empty()).unwrap();
            fs::File::from(file).read_to_string(&mut text).unwrap();
            text
        };
        assert_eq!((read("a").as_str(), read("b").as_str()), ("low", "upper"));
        let new = rustix::fs::openat(&view, "new", OFlags::WRONLY | OFlags::CREATE, Mode::RWXU);
        assert_eq!(new.unwrap_err(), Errno::ROFS);
        assert!(read_only(&[at("low"), at("gone")]).is_err());
    }
}
