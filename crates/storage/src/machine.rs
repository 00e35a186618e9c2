//! What a virtual machine's root is made of: views of the host's trees to be shared with it, an image's files on a disk
//! that all machines of the image read, and an empty disk that takes what one of them writes.
//!
//! ```text
//! <root>/machines/<image id>/disk       an ext4 with all of the image's files; nobody writes to it
//! <root>/machines/<image id>/disk.new   the same while it is being made, by whoever holds the lock
//! <root>/machines/<image id>/lock
//! ```
//!
//! A disk without its image is thrown away: by whoever makes one, and with the image itself. Machines that read it keep
//! the file as long as they have it open.

use std::fs::{self, File};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, FlockOperation, Mode, OFlags};
use rustix::io::Errno;
use rustix::mount::OpenTreeFlags;
use step::{Context, Failure, Steps};
use sys::mount::MountAttr;

use crate::disk_steps::{self, Part, Target};
use crate::steps::Slot;
use crate::{Places, host, image, source};

const STEP: &str = "vm.disk";

/// The directory of all of them, below the state directory.
const MACHINES: &str = "machines";

/// The host's own files as containers of the image `host` see them, read-only: the root first, with an empty path, then
/// further file systems, each with where it goes. Each is a mount that nobody sees but who has it.
///
/// # Errors
/// A host that cannot be read; the kernel's.
pub fn host_views(places: &Places) -> Result<Vec<(OwnedFd, PathBuf)>, Failure> {
    let facts = host::Facts::read(places)?;
    let base = Path::new("/");
    let mut views = Vec::new();
    for (at, mask) in host::plan(base, &facts)? {
        let part =
            Part { lower: vec![base.join(&at)], at: None, mask: (!mask.entries.is_empty()).then_some(mask) };
        let view = if part.mask.is_some() {
            disk_steps::apart(&part, &places.root)?
        } else {
            plain(&part.lower[0])?
        };
        views.push((view, at));
    }
    Ok(views)
}

/// A mount of the file system that the directory lies in, from there on and read-only.
fn plain(directory: &Path) -> Result<OwnedFd, Failure> {
    tree(directory, true)
}

/// A directory of the host as a mount of its own, without what is mounted below it.
///
/// # Errors
/// It is not there, or no directory; the kernel's.
pub fn tree(directory: &Path, read_only: bool) -> Result<OwnedFd, Failure> {
    const SHARE: &str = "vm.share";
    let name = || directory.display().to_string();
    let meta = fs::metadata(directory).map_err(|cause| Failure::new(SHARE, name(), cause))?;
    if !meta.is_dir() {
        return Err(
            Failure::because(SHARE, name(), "is no directory").hint("share the directory that it is in")
        );
    }
    let flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC;
    let mount = rustix::mount::open_tree(CWD, directory, flags)
        .map_err(|errno| Failure::new(SHARE, name(), errno))?;
    if read_only {
        let attr = MountAttr { set: sys::mount::RDONLY, ..MountAttr::default() };
        sys::mount::set_attr(&mount, c"", false, attr).map_err(|cause| Failure::new(SHARE, name(), cause))?;
    }
    Ok(mount)
}

/// The disk with all files of the image's layers, the lowest first as its configuration names them; made where there is
/// none. `content`: about how many bytes they have.
///
/// # Errors
/// A layer that is gone, a disk that is full; the kernel's. Nothing half-made has the disk's name.
pub fn disk(places: &Places, image: &str, layers: &[PathBuf], content: u64) -> Result<File, Failure> {
    source::check_id(image)?;
    let directory = self::directory(places).join(image);
    let failed = |cause: std::io::Error| Failure::new(STEP, directory.display().to_string(), cause);
    loop {
        match File::open(directory.join(image::NAME)) {
            Err(cause) if cause.kind() == std::io::ErrorKind::NotFound => {}
            opened => return opened.map_err(failed),
        }
        fs::create_dir_all(&directory).map_err(failed)?;
        let lock = match File::create(directory.join("lock")) {
            // Somebody has thrown the directory away.
            Err(cause) if cause.kind() == std::io::ErrorKind::NotFound => continue,
            made => made.map_err(failed)?,
        };
        loop {
            match rustix::fs::flock(&lock, FlockOperation::LockExclusive) {
                Err(Errno::INTR) => {}
                locked => break locked.map_err(|errno| failed(errno.into()))?,
            }
        }
        // Of whoever was faster; and a lock that has no name any more keeps nobody out.
        let named = fs::metadata(directory.join("lock")).ok();
        let same = named.zip(lock.metadata().ok()).is_some_and(|(named, held)| {
            use std::os::unix::fs::MetadataExt as _;
            named.ino() == held.ino()
        });
        if same && !directory.join(image::NAME).exists() {
            make(&directory, layers, content)?;
        }
    }
}

fn make(directory: &Path, layers: &[PathBuf], content: u64) -> Result<(), Failure> {
    let name = || directory.display().to_string();
    let free = rustix::fs::statvfs(directory).map_err(|errno| Failure::new(STEP, name(), errno))?;
    let free = free.f_bavail.saturating_mul(free.f_frsize);
    if free < content {
        let reason = format!("has {} MiB free, and the image's files need {} MiB", free >> 20, content >> 20);
        return Err(Failure::because(STEP, name(), reason)
            .hint("free some space, or choose another disk with --root"));
    }
    // Room for what an ext4 needs besides; it is sparse.
    let size = image::USUAL.max(content.saturating_mul(2).next_multiple_of(1 << 20));
    let path = directory.join(image::NEW);
    let (device, disk) = (Slot::default(), Slot::default());
    let part = Part { at: None, lower: source::check_layers(layers)?, mask: None };
    let beside = directory.to_owned();
    let steps: Steps = vec![
        Box::new(disk_steps::Disk::Image { path: path.clone(), size, journal: false, because: None }),
        Box::new(disk_steps::Disk::Loop { path: path.clone(), device: device.clone() }),
        Box::new(disk_steps::Disk::Mount {
            path: path.clone(),
            device,
            disk: disk.clone(),
            directories: Vec::new(),
            volatile: true,
        }),
        Box::new(disk_steps::Disk::Copy {
            parts: vec![part],
            to: Target::Mounted(disk.clone()),
            beside: beside.clone(),
        }),
    ];
    let mut context = Context::default();
    let made = steps.iter().try_for_each(|step| step.perform(&mut context));
    drop(steps);
    let made = made.and_then(|()| {
        let keep = disk_steps::Disk::Keep {
            container: beside,
            from: image::NEW,
            to: image::NAME,
            disk: Some(disk),
            sync: true,
        };
        step::Step::perform(&keep, &mut context)
    });
    if made.is_err() {
        let _ = fs::remove_file(&path);
    }
    made.map_err(|failure| Failure { step: STEP.into(), ..failure })
}

/// An empty ext4 of `size` bytes that goes with its last descriptor: it has no name.
///
/// # Errors
/// A size that no file system has; a disk that is full; the kernel's.
pub fn scratch(places: &Places, size: u64) -> Result<File, Failure> {
    let directory = self::directory(places);
    let failed = |cause: std::io::Error| Failure::new(STEP, directory.display().to_string(), cause);
    fs::create_dir_all(&directory).map_err(failed)?;
    let flags = OFlags::TMPFILE | OFlags::RDWR | OFlags::CLOEXEC;
    let file = rustix::fs::openat(CWD, &directory, flags, Mode::RUSR | Mode::WUSR);
    let file = File::from(file.map_err(|errno| failed(errno.into()))?);
    image::format(&file, size, true).map_err(failed)?;
    Ok(file)
}

/// Where the disks of images lie, each in a directory named after its image.
pub fn directory(places: &Places) -> PathBuf {
    places.root.join(MACHINES)
}

/// Throws away the disks of images that are not `kept`; gives how many there were.
///
/// # Errors
/// The kernel's.
pub fn forget_disks(places: &Places, kept: &dyn Fn(&str) -> bool) -> Result<usize, Failure> {
    let directory = self::directory(places);
    let mut forgotten = 0;
    for entry in fs::read_dir(&directory).into_iter().flatten().flatten() {
        let name = entry.file_name();
        if name.to_str().is_some_and(kept) {
            continue;
        }
        fs::remove_dir_all(entry.path())
            .map_err(|cause| Failure::new(STEP, entry.path().display().to_string(), cause))?;
        forgotten += 1;
    }
    Ok(forgotten)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::trial::Scratch;

    #[test]
    fn a_disk_is_made_once_for_an_image_and_goes_with_it() {
        let scratch = Scratch::new("machine");
        let (low, high) = (scratch.path.join("low"), scratch.path.join("high"));
        for layer in [&low, &high] {
            fs::create_dir(layer).unwrap();
        }
        fs::write(low.join("file"), "low").unwrap();
        fs::write(high.join("other"), "high").unwrap();
        let places = Places { root: scratch.path.join("root"), run_root: scratch.path.join("run") };
        fs::create_dir(&places.root).unwrap();
        let layers = [low, high];
        let inode = |file: &File| std::os::unix::fs::MetadataExt::ino(&file.metadata().unwrap());
        let first = disk(&places, "image", &layers, 8).unwrap();
        let second = disk(&places, "image", &layers, 8).unwrap();
        assert_eq!(inode(&first), inode(&second));
        assert!(first.metadata().unwrap().len() >= image::USUAL);
        let full = disk(&places, "other", &layers, u64::MAX >> 1).unwrap_err();
        assert!(full.hint.is_some_and(|hint| hint.contains("--root")));
        assert!(!places.root.join("machines/other/disk").exists());
        assert_eq!(forget_disks(&places, &|name| name == "image").unwrap(), 1);
        assert_eq!(forget_disks(&places, &|_| false).unwrap(), 1);
        assert!(!places.root.join("machines/image").exists());
        assert!(disk(&places, "../x", &layers, 8).is_err());

        let empty = super::scratch(&places, 64 << 20).unwrap();
        assert_eq!(empty.metadata().unwrap().len(), 64 << 20);
        assert_eq!(fs::read_dir(places.root.join("machines")).unwrap().count(), 0);
    }

    #[test]
    fn a_tree_that_only_reads_is_kept_so_by_the_kernel() {
        let scratch = Scratch::new("tree");
        let view = tree(&scratch.path, true).unwrap();
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::CLOEXEC;
        let made = rustix::fs::openat(&view, "file", flags, Mode::RUSR);
        assert_eq!(made.unwrap_err(), Errno::ROFS);
        let view = tree(&scratch.path, false).unwrap();
        assert!(rustix::fs::openat(&view, "file", flags, Mode::RUSR).is_ok());
        assert!(tree(&scratch.path.join("file"), true).unwrap_err().hint.is_some());
    }
}
