//! Removing what a container left on disk. Its content was written by the container: every step goes by descriptors,
//! no link is followed, no mount is entered, no depth and no permission stops it.

use std::ffi::{CStr, CString};
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::path::Path;

use rustix::fs::{AtFlags, CWD, FileType, IFlags, Mode, OFlags, RawDir, ResolveFlags};
use rustix::io::Errno;
use step::Failure;

use crate::blobs::with_hint;
use crate::{Places, project, source};

const STEP: &str = "storage.remove";

/// How deep the recursion goes, each level with a descriptor and a buffer; what lies deeper is moved up first.
const DEEPEST: usize = 32;

/// Removes `containers/<id>` below the root with all that is in it. Fine if there is nothing.
///
/// One rename(2) into `removed` makes it gone, record and layer at once; emptying it there takes its time, and can be
/// cut short and done again.
///
/// # Errors
/// What could not be removed, and why; all else that comes before it is gone.
pub fn remove(places: &Places, id: &str) -> Result<(), Failure> {
    source::check_id(id)?;
    let (path, gone) = (places.container(id), places.removed());
    let failed = |errno: Errno| with_hint(Failure::new(STEP, path.display().to_string(), errno));
    let moved = || rustix::fs::rename(&path, gone.join(id));
    match moved() {
        Err(Errno::NOENT) if rustix::fs::lstat(&path).is_ok() => {
            match rustix::fs::mkdir(&gone, Mode::from_raw_mode(0o700)) {
                Err(Errno::EXIST) => {}
                made => made.map_err(failed)?,
            }
            moved()
        }
        Err(Errno::NOENT) => Ok(()),
        moved => moved,
    }
    .map_err(failed)?;
    project::release(&gone.join(id));
    empty(&gone, id)
}

/// Removes what was being removed when the machine went down.
///
/// # Errors
/// As [`remove`]'s.
pub fn remove_leftovers(places: &Places) -> Result<(), Failure> {
    let gone = places.removed();
    let Ok(entries) = std::fs::read_dir(&gone) else { return Ok(()) };
    entries.flatten().try_for_each(|entry| {
        project::release(&entry.path());
        empty(&gone, &entry.file_name().to_string_lossy())
    })
}

/// Removes the directory `name` in the directory `parent`, with all that is in it. Fine if there is nothing.
///
/// # Errors
/// As [`remove`]'s.
pub fn empty(parent: &Path, name: &str) -> Result<(), Failure> {
    let path = parent.join(name);
    let failed = |errno: Errno| Failure::new(STEP, path.display().to_string(), errno);
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let parent = match rustix::fs::openat(CWD, parent, flags, Mode::empty()) {
        Err(Errno::NOENT) => return Ok(()),
        result => result.map_err(failed)?,
    };
    let name = CString::new(name).map_err(|_| failed(Errno::INVAL))?;
    let top = match open(&parent, &name) {
        Err(Errno::NOENT) => return Ok(()),
        // A link or a file in the place of the directory.
        Err(Errno::LOOP | Errno::NOTDIR) => {
            return rustix::fs::unlinkat(&parent, name, AtFlags::empty()).map_err(failed);
        }
        result => result.map_err(failed)?,
    };
    Removal { top: &top, moved: 0 }.empty(&top, &path, 0)?;
    remove_name(&parent, &name, FileType::Directory).map_err(failed)
}

/// Removes the directory `name` in `parent` with all that is in it; `path` is for messages.
pub(crate) fn tree(parent: &OwnedFd, name: &[u8], path: &Path) -> Result<(), Failure> {
    let failed = |errno: Errno| failure(path, errno);
    let name = CString::new(name).map_err(|_| failed(Errno::INVAL))?;
    let top = open(parent, &name).map_err(failed)?;
    Removal { top: &top, moved: 0 }.empty(&top, path, 0)?;
    remove_name(parent, &name, FileType::Directory).map_err(failed)
}

/// Removes all that is in `directory`, which is open for reading; `path` is for messages.
pub(crate) fn content(directory: &OwnedFd, path: &Path) -> Result<(), Failure> {
    Removal { top: directory, moved: 0 }.empty(directory, path, 0)
}

struct Removal<'a> {
    /// Where deep directories are moved to.
    top: &'a OwnedFd,
    moved: u64,
}

impl Removal<'_> {
    /// Removes everything in `directory`, which is `depth` levels below the top.
    fn empty(&mut self, directory: &OwnedFd, path: &Path, depth: usize) -> Result<(), Failure> {
        loop {
            let failed = |cause: Errno| Failure::new(STEP, path.display().to_string(), cause);
            rustix::fs::seek(directory, rustix::fs::SeekFrom::Start(0)).map_err(failed)?;
            let entries = match list(directory) {
                // Somebody else removes it too, and was faster.
                Err(Errno::NOENT) => return Ok(()),
                entries => entries.map_err(failed)?,
            };
            if entries.is_empty() {
                return Ok(());
            }
            for (name, kind) in entries {
                self.remove(directory, path, &name, kind, depth)?;
            }
            // Once more: a listing may miss what was moved up meanwhile.
        }
    }

    fn remove(
        &mut self,
        directory: &OwnedFd,
        path: &Path,
        name: &CStr,
        kind: FileType,
        depth: usize,
    ) -> Result<(), Failure> {
        let here = || path.join(Path::new(&*name.to_string_lossy()));
        let failed = |errno| failure(&here(), errno);
        if kind != FileType::Directory {
            return remove_name(directory, name, kind).map_err(failed);
        }
        if depth >= DEEPEST {
            return self.move_up(directory, name).map_err(failed);
        }
        match open(directory, name) {
            Err(Errno::NOENT) => return Ok(()),
            Ok(child) => self.empty(&child, &here(), depth + 1)?,
            Err(errno) => return Err(failed(errno)),
        }
        remove_name(directory, name, kind).map_err(failed)
    }

    /// Moves a deep directory to the top, where the next listing finds it.
    fn move_up(&mut self, directory: &OwnedFd, name: &CStr) -> Result<(), Errno> {
        loop {
            let target = format!(".deep-{}", self.moved);
            self.moved += 1;
            // NOREPLACE: the name may be there from a removal that was cut short.
            match rustix::fs::renameat_with(
                directory,
                name,
                self.top,
                target,
                rustix::fs::RenameFlags::NOREPLACE,
            ) {
                Err(Errno::EXIST) => {}
                Err(Errno::NOENT) => return Ok(()),
                Err(Errno::PERM | Errno::ACCESS) if clear_flags(directory, name) => {}
                result => return result,
            }
        }
    }
}

fn failure(path: &Path, errno: Errno) -> Failure {
    let failure = Failure::new(STEP, path.display().to_string(), errno);
    match errno {
        Errno::XDEV | Errno::BUSY => {
            failure.hint(format!("something is mounted there: umount {}, then remove again", path.display()))
        }
        _ => failure,
    }
}

/// Unlinks; if the kernel does not allow it, once more without the attributes that forbid it (chattr(1)).
fn remove_name(directory: &OwnedFd, name: &CStr, kind: FileType) -> Result<(), Errno> {
    let flags = if kind == FileType::Directory { AtFlags::REMOVEDIR } else { AtFlags::empty() };
    let unlink = || match rustix::fs::unlinkat(directory, name, flags) {
        Err(Errno::NOENT) => Ok(()),
        result => result,
    };
    match unlink() {
        Err(Errno::PERM | Errno::ACCESS) if clear_flags(directory, name) => unlink(),
        result => result,
    }
}

/// A directory to list, if it is one and nothing is mounted on it.
fn open(parent: &OwnedFd, name: &CStr) -> Result<OwnedFd, Errno> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_XDEV;
    loop {
        match rustix::fs::openat2(parent, name, flags, Mode::empty(), resolve) {
            Err(Errno::AGAIN | Errno::INTR) => {}
            result => return result,
        }
    }
}

/// Takes away "immutable" and "append only" of a file and of the directory that it is in; false if that is
/// impossible or there was nothing to take. Device nodes and pipes are not opened: that could have effects.
fn clear_flags(directory: &OwnedFd, name: &CStr) -> bool {
    let clear = |fd: &OwnedFd| {
        let locks = IFlags::IMMUTABLE | IFlags::APPEND;
        let flags = rustix::fs::ioctl_getflags(fd).unwrap_or(IFlags::empty());
        flags.intersects(locks) && rustix::fs::ioctl_setflags(fd, flags - locks).is_ok()
    };
    let mut cleared = clear(directory);
    if let Ok(stat) = rustix::fs::statat(directory, name, AtFlags::SYMLINK_NOFOLLOW)
        && matches!(FileType::from_raw_mode(stat.st_mode), FileType::RegularFile | FileType::Directory)
    {
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
        cleared |= rustix::fs::openat(directory, name, flags, Mode::empty()).is_ok_and(|fd| clear(&fd));
    }
    cleared
}

/// The names in a directory, open for reading, and what they are.
pub(crate) fn list(directory: &OwnedFd) -> Result<Vec<(CString, FileType)>, Errno> {
    let mut buffer = [MaybeUninit::uninit(); 8192];
    let mut entries = RawDir::new(directory, &mut buffer);
    let mut all = Vec::new();
    while let Some(entry) = entries.next() {
        let entry = entry?;
        let name = entry.file_name();
        if name == c"." || name == c".." {
            continue;
        }
        let kind = match entry.file_type() {
            FileType::Unknown => match rustix::fs::statat(directory, name, AtFlags::SYMLINK_NOFOLLOW) {
                Ok(stat) => FileType::from_raw_mode(stat.st_mode),
                Err(Errno::NOENT) => continue,
                Err(errno) => return Err(errno),
            },
            kind => kind,
        };
        all.push((name.to_owned(), kind));
    }
    Ok(all)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::trial::{Scratch, in_namespace};
    use std::fs;
    use std::os::unix::fs::{PermissionsExt, symlink};
    use std::process::Command;

    fn container(scratch: &Scratch) -> (Places, std::path::PathBuf) {
        let places = scratch.places();
        let path = places.container("c1");
        fs::create_dir_all(path.join("upper")).unwrap();
        fs::write(path.join("config.json"), "{}").unwrap();
        (places, path)
    }

    #[test]
    fn nothing_to_remove_is_fine_and_names_are_checked() {
        let scratch = Scratch::new("remove-nothing");
        let places = scratch.places();
        remove(&places, "c1").unwrap();
        let (places, path) = container(&scratch);
        remove(&places, "c1").unwrap();
        assert!(!path.exists() && places.root.join("containers").exists());
        remove(&places, "c1").unwrap();
        for id in ["", ".", "..", "../containers", "c1/upper"] {
            assert!(remove(&places, id).is_err(), "{id:?}");
        }
    }

    #[test]
    fn several_remove_the_same_at_once() {
        let scratch = Scratch::new("remove-same");
        for _ in 0..20 {
            let (places, path) = container(&scratch);
            for number in 0..20 {
                fs::create_dir_all(path.join(format!("upper/{number}/work/work"))).unwrap();
            }
            fs::create_dir_all(places.removed()).unwrap();
            fs::rename(path, places.removed().join("c1")).unwrap();
            let gate = std::sync::Barrier::new(4);
            std::thread::scope(|scope| {
                let one = || {
                    gate.wait();
                    remove_leftovers(&places)
                };
                let all: Vec<_> = (0..4).map(|_| scope.spawn(one)).collect();
                all.into_iter().for_each(|one| one.join().unwrap().unwrap());
            });
            assert!(!places.removed().join("c1").exists());
        }
    }

    #[test]
    fn hostile_links_lead_nowhere() {
        let scratch = Scratch::new("remove-links");
        let victim = scratch.path.join("victim");
        fs::create_dir_all(victim.join("keep")).unwrap();
        fs::write(victim.join("keep/file"), "x").unwrap();
        let (places, path) = container(&scratch);
        symlink(&victim, path.join("upper/absolute")).unwrap();
        symlink("../../../../victim", path.join("upper/relative")).unwrap();
        symlink(".", path.join("upper/loop")).unwrap();
        symlink("/", path.join("work")).unwrap();
        fs::hard_link(victim.join("keep/file"), path.join("upper/hard")).unwrap();
        remove(&places, "c1").unwrap();
        assert!(!path.exists());
        assert_eq!(fs::read(victim.join("keep/file")).unwrap(), b"x");
        // The container's directory itself.
        symlink(&victim, &path).unwrap();
        remove(&places, "c1").unwrap();
        assert!(path.symlink_metadata().is_err() && victim.join("keep/file").exists());
    }

    #[test]
    fn odd_nodes_and_permissions_do_not_stop_it() {
        let scratch = Scratch::new("remove-odd");
        let (places, path) = container(&scratch);
        let upper = path.join("upper");
        fs::create_dir_all(upper.join("closed/inner")).unwrap();
        fs::write(upper.join("closed/inner/file"), "x").unwrap();
        for (name, kind, device) in [
            ("gone", FileType::CharacterDevice, 0),
            ("null", FileType::CharacterDevice, rustix::fs::makedev(1, 3)),
            ("loop", FileType::BlockDevice, rustix::fs::makedev(7, 0)),
            ("pipe", FileType::Fifo, 0),
            ("socket", FileType::Socket, 0),
        ] {
            rustix::fs::mknodat(CWD, upper.join(name), kind, Mode::empty(), device).unwrap();
        }
        let bytes = std::os::unix::ffi::OsStrExt::from_bytes(b"not \xff utf-8\n: -rf *");
        fs::write(upper.join::<&std::ffi::OsStr>(bytes), "x").unwrap();
        fs::write(upper.join("fixed"), "x").unwrap();
        fs::create_dir(upper.join("fixed-directory")).unwrap();
        fs::write(upper.join("fixed-directory/file"), "x").unwrap();
        for (attribute, name) in [("+i", "fixed"), ("+i", "fixed-directory"), ("+a", "closed/inner")] {
            assert!(Command::new("chattr").arg(attribute).arg(upper.join(name)).status().unwrap().success());
        }
        for name in ["closed/inner", "closed", ""] {
            let _ = fs::set_permissions(upper.join(name), fs::Permissions::from_mode(0o000));
        }
        remove(&places, "c1").unwrap();
        assert!(!path.exists());
    }

    #[test]
    fn depth_and_width_do_not_stop_it() {
        let scratch = Scratch::new("remove-deep");
        let (places, path) = container(&scratch);
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let mut here = rustix::fs::openat(CWD, path.join("upper"), flags, Mode::empty()).unwrap();
        // Far beyond PATH_MAX and any limit of descriptors.
        for _ in 0..3000 {
            rustix::fs::mkdirat(&here, c"directory", Mode::RWXU).unwrap();
            rustix::fs::mknodat(&here, c"file", FileType::RegularFile, Mode::RUSR, 0).unwrap();
            here = rustix::fs::openat(&here, c"directory", flags, Mode::empty()).unwrap();
        }
        fs::create_dir(path.join(".deep-0")).unwrap();
        fs::create_dir(path.join("upper/wide")).unwrap();
        for number in 0..2000 {
            fs::write(path.join(format!("upper/wide/a file with a longer name {number}")), "").unwrap();
        }
        remove(&places, "c1").unwrap();
        assert!(!path.exists());
    }

    #[test]
    fn a_mount_is_not_entered() {
        in_namespace(|| {
            let scratch = Scratch::new("remove-mount");
            let (places, path) = container(&scratch);
            let victim = scratch.path.join("victim");
            fs::create_dir(&victim).unwrap();
            fs::write(victim.join("file"), "x").unwrap();
            fs::create_dir(path.join("upper/mnt")).unwrap();
            rustix::mount::mount_bind(&victim, path.join("upper/mnt")).unwrap();
            let failure = remove(&places, "c1").unwrap_err();
            assert_eq!((failure.errno, failure.hint.is_some()), (Errno::XDEV.raw_os_error(), true));
            assert!(failure.target.ends_with("/removed/c1/upper/mnt"), "{failure}");
            assert!(victim.join("file").exists() && !path.exists());
            let mount = places.removed().join("c1/upper/mnt");
            rustix::mount::unmount(mount, rustix::mount::UnmountFlags::DETACH).unwrap();
            remove(&places, "c1").unwrap();
            assert!(victim.join("file").exists() && !places.removed().join("c1").exists());
        });
    }
}
