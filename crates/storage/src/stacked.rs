//! Layers as one directory without a container: to be read, or to be bound into another's.

use std::os::fd::{AsRawFd, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::fs::{Access, CWD, Gid, Mode, OFlags, Uid};
use rustix::io::Errno;
use rustix::mount::{FsMountFlags, FsOpenFlags, MountAttrFlags, MoveMountFlags, OpenTreeFlags};
use step::Failure;

use crate::blobs::with_hint;
use crate::{Places, source};

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
    // overlayfs wants two where nothing is written.
    if let [only] = layers.as_slice() {
        return rustix::fs::openat(CWD, only, flags, Mode::empty()).map_err(failed);
    }
    let mount = overlay(&layers, None).map_err(failed)?;
    rustix::fs::openat(&mount, ".", flags, Mode::empty()).map_err(failed)
}

/// The same for changes, which go to the container `id`'s own layer: as it will see them when it is started.
///
/// # Errors
/// A layer that is gone; the kernel's.
pub fn writable(places: &Places, id: &str, layers: &[PathBuf]) -> Result<OwnedFd, Failure> {
    let layers = source::check_layers(layers)?;
    let dir = places.container(id);
    let (upper, work) = (places.upper(id), dir.join("work"));
    let failed = |errno: Errno| with_hint(Failure::new(STEP, dir.display().to_string(), errno));
    // The mount would say that an argument is invalid.
    if let Err(Errno::ROFS) = rustix::fs::access(&dir, Access::WRITE_OK) {
        return Err(failed(Errno::ROFS));
    }
    // Of one that was never started: the upper layer covers the owner and the permissions of the lower ones.
    if let Some(first) = layers.first() {
        let stat = rustix::fs::stat(first).map_err(failed)?;
        match rustix::fs::mkdir(&upper, Mode::from_raw_mode(stat.st_mode & 0o7777)) {
            Err(Errno::EXIST) => {}
            made => {
                made.map_err(failed)?;
                let (uid, gid) = (Uid::from_raw(stat.st_uid), Gid::from_raw(stat.st_gid));
                rustix::fs::chown(&upper, Some(uid), Some(gid)).map_err(failed)?;
                let mode = Mode::from_raw_mode(stat.st_mode & 0o7777);
                rustix::fs::chmod(&upper, mode).map_err(failed)?;
            }
        }
    }
    match rustix::fs::mkdir(&work, Mode::RWXU) {
        Err(Errno::EXIST) => {}
        made => made.map_err(failed)?,
    }
    let mount = overlay(&layers, Some((&upper, &work))).map_err(failed)?;
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    rustix::fs::openat(&mount, ".", flags, Mode::empty()).map_err(failed)
}

/// Mounts layers, the lowest first, at an empty directory; `writable` is where writes go and the overlay's own directory,
/// both empty.
///
/// # Errors
/// A layer that is gone; the kernel's.
pub fn mount_view(
    layers: &[PathBuf],
    writable: Option<&(PathBuf, PathBuf)>,
    at: &Path,
) -> Result<(), Failure> {
    let failed = |errno: Errno| Failure::new(STEP, at.display().to_string(), errno);
    let attach = |mount: &OwnedFd| {
        let flags = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH;
        rustix::mount::move_mount(mount, c"", CWD, at, flags).map_err(failed)
    };
    let Some((upper, work)) = writable else {
        let layers = source::check_layers(layers)?;
        return match layers.as_slice() {
            [only] => {
                let flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC;
                attach(&rustix::mount::open_tree(CWD, only, flags).map_err(failed)?)
            }
            all => attach(&overlay(all, None).map_err(failed)?),
        };
    };
    attach(&overlay(&source::check_layers(layers)?, Some((upper.as_path(), work.as_path()))).map_err(failed)?)
}

/// A detached overlay of layers, the uppermost first.
fn overlay(layers: &[PathBuf], writable: Option<(&Path, &Path)>) -> Result<OwnedFd, Errno> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    // By descriptor: no colon of a path is a separator.
    let open = |path: &Path| rustix::fs::openat(CWD, path, flags, Mode::empty());
    let lower = layers.iter().map(|layer| open(layer)).collect::<Result<Vec<_>, _>>()?;
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
    let mut attributes = MountAttrFlags::MOUNT_ATTR_RDONLY | MountAttrFlags::MOUNT_ATTR_NOATIME;
    let opened = writable.map(|(upper, work)| Ok::<_, Errno>((open(upper)?, open(work)?))).transpose()?;
    if let Some((upper, work)) = &opened {
        set("upperdir", &place(upper))?;
        set("workdir", &place(work))?;
        set("index", "off")?;
        attributes = MountAttrFlags::empty();
    }
    rustix::mount::fsconfig_create(&context)?;
    rustix::mount::fsmount(&context, FsMountFlags::FSMOUNT_CLOEXEC, attributes)
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
