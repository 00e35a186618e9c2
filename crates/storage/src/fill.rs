//! A new volume gets what the image has in its place, once: Docker's copy-up. Copied beside the volume's data, then
//! moved in; whoever comes after a crash finishes or begins anew, and nobody ever starts with half of it.
//!
//! ```text
//! <volume>/lock            held while somebody looks or copies: the others wait
//! <volume>/data            the volume
//! <volume>/filling/        being copied: thrown away by whoever finds it
//!   tree, into             the copy; a link whose text is the place in `data` that it is for
//! <volume>/filled/         the same, whole: being moved into its place
//! ```
//!
//! Where the data is a directory of the host, the last two lie in `.minidocker-fill` in it: a move is one on one file
//! system.

use std::ffi::OsStr;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, CWD, FlockOperation, Mode, OFlags, RenameFlags, ResolveFlags};
use rustix::io::Errno;
use step::Failure;

use crate::{Source, copy, remove, stacked};

const STEP: &str = "volume.fill";
const FILLING: &str = "filling";
const FILLED: &str = "filled";
const STAGE: &str = ".minidocker-fill";

/// How directories are opened.
const LIST: OFlags = OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::CLOEXEC);

/// What is to be filled.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fill {
    /// The volume's directory, with `data` in it.
    pub volume: PathBuf,
    /// The directory of the host that is its data instead.
    pub device: Option<PathBuf>,
    /// Where in `data`: relative; empty for all of it.
    pub into: PathBuf,
    /// In the image.
    pub from: PathBuf,
    /// The volume is thrown away with its container: nothing needs to outlive a power cut.
    pub volatile: bool,
}

/// What became of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Filled {
    /// The volume has content of its own.
    Kept,
    /// The image has no directory there.
    Nothing,
    /// So many names were copied, the directory's own attributes too.
    Copied(u64),
}

/// Fills an empty volume with what lies at `fill.from` in the image, and finishes what a crash has left in between.
/// No link of the image or of the volume leads anywhere but into itself. `source` none: only finishes.
///
/// # Errors
/// A layer that is gone; a disk that is full; the kernel's. The volume is as it was, or the next call finishes it.
pub fn fill(fill: &Fill, source: Option<&Source>) -> Result<Filled, Failure> {
    let failed = |errno: Errno| copy::failure(&fill.volume, errno);
    let volume = directory(CWD, &fill.volume).map_err(failed)?;
    let _lock = lock(&volume).map_err(failed)?;
    let data = match &fill.device {
        None => directory(&volume, Path::new("data")).map_err(failed)?,
        // Whoever mounts it says what is wrong with it.
        Some(device) => match rustix::fs::open(device, LIST, Mode::empty()) {
            Err(Errno::NOENT | Errno::NOTDIR) => return Ok(Filled::Kept),
            opened => opened.map_err(|errno| Failure::new(STEP, device.display().to_string(), errno))?,
        },
    };
    let filled = match fill.device {
        None => from_stage(fill, source, &data, &volume),
        Some(_) => from_own_stage(fill, source, &data),
    };
    filled.map_err(|failure| Failure { step: STEP.into(), ..failure })
}

/// With a stage in the data itself, which is there only for as long.
fn from_own_stage(fill: &Fill, source: Option<&Source>, data: &OwnedFd) -> Result<Filled, Failure> {
    let failed = |errno: Errno| copy::failure(&fill.volume, errno);
    let is_there = rustix::fs::statat(data, STAGE, AtFlags::SYMLINK_NOFOLLOW).is_ok();
    let others = remove::list(data).map_err(failed)?.len() - usize::from(is_there);
    if !is_there && (source.is_none() || others > 0) {
        return Ok(Filled::Kept);
    }
    match rustix::fs::mkdirat(data, STAGE, Mode::RWXU) {
        Ok(()) | Err(Errno::EXIST) => {}
        Err(errno) => return Err(failed(errno)),
    }
    let stage = directory(data, Path::new(STAGE)).map_err(failed)?;
    let filled = from_stage(fill, source, data, &stage)?;
    match rustix::fs::unlinkat(data, STAGE, AtFlags::REMOVEDIR) {
        Ok(()) | Err(Errno::NOENT) => Ok(filled),
        Err(errno) => Err(failed(errno)),
    }
}

fn from_stage(
    fill: &Fill,
    source: Option<&Source>,
    data: &OwnedFd,
    stage: &OwnedFd,
) -> Result<Filled, Failure> {
    let failed = |errno: Errno| copy::failure(&fill.volume, errno);
    let exists = |name: &str| rustix::fs::statat(stage, name, AtFlags::SYMLINK_NOFOLLOW).is_ok();
    if exists(FILLED) {
        move_in(data, stage, &fill.volume)?;
    }
    if exists(FILLING) {
        remove::tree(stage, FILLING.as_bytes(), &fill.volume.join(FILLING))?;
    }
    let Some(source) = source else { return Ok(Filled::Kept) };
    let place = match below(data, &fill.into) {
        Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP | Errno::XDEV) => return Ok(Filled::Kept),
        place => place.map_err(failed)?,
    };
    if remove::list(&place).map_err(failed)?.iter().any(|(name, _)| name.to_bytes() != STAGE.as_bytes()) {
        return Ok(Filled::Kept);
    }
    let Some(root) = image(source)? else { return Ok(Filled::Nothing) };
    let Some(content) = content(&root, &fill.from)
        .map_err(|errno| Failure::new(STEP, fill.from.display().to_string(), errno))?
    else {
        return Ok(Filled::Nothing);
    };
    rustix::fs::mkdirat(stage, FILLING, Mode::RWXU).map_err(failed)?;
    let filling = directory(stage, Path::new(FILLING)).map_err(failed)?;
    rustix::fs::symlinkat(named(&fill.into), &filling, "into").map_err(failed)?;
    rustix::fs::mkdirat(&filling, "tree", Mode::RWXU).map_err(failed)?;
    let tree = directory(&filling, Path::new("tree")).map_err(failed)?;
    let copied = copy::tree(&content, &tree, &fill.from)?;
    if !fill.volatile {
        rustix::fs::syncfs(&filling).map_err(failed)?;
    }
    drop((tree, filling));
    rustix::fs::renameat(stage, FILLING, stage, FILLED).map_err(failed)?;
    move_in(data, stage, &fill.volume)?;
    Ok(Filled::Copied(copied.names))
}

/// Moves what was copied into its place. What somebody has made there meanwhile stays as it is.
fn move_in(data: &OwnedFd, stage: &OwnedFd, shown: &Path) -> Result<(), Failure> {
    let failed = |errno: Errno| copy::failure(shown, errno);
    let filled = directory(stage, Path::new(FILLED)).map_err(failed)?;
    let into = rustix::fs::readlinkat(&filled, "into", Vec::new());
    let tree = directory(&filled, Path::new("tree"));
    // Without both it is what a finished move leaves when it is cut short.
    if let (Ok(into), Ok(tree)) = (into, tree)
        && let Ok(place) = below(data, Path::new(OsStr::from_bytes(into.to_bytes())))
    {
        for (name, _) in remove::list(&tree).map_err(failed)? {
            match rustix::fs::renameat_with(&tree, &name, &place, &name, RenameFlags::NOREPLACE) {
                Ok(()) | Err(Errno::EXIST) => {}
                Err(errno) => return Err(failed(errno)),
            }
        }
        copy::own_attributes(&tree, &place).map_err(failed)?;
    }
    remove::tree(stage, FILLED.as_bytes(), &shown.join(FILLED))
}

/// The image's root, to be read. The host's own is nobody's image: a volume takes nothing from it.
fn image(source: &Source) -> Result<Option<OwnedFd>, Failure> {
    let open = |path: &Path| {
        directory(CWD, path).map_err(|errno| Failure::new(STEP, path.display().to_string(), errno)).map(Some)
    };
    match source {
        Source::Host => Ok(None),
        Source::Directory(path) | Source::DirectoryOverlay(path) => {
            let real =
                path.canonicalize().map_err(|cause| Failure::new(STEP, path.display().to_string(), cause))?;
            open(&real)
        }
        Source::Layers(layers) if layers.is_empty() => Ok(None),
        Source::Layers(layers) => stacked::read_only(layers).map(Some),
    }
}

/// The directory that a path of the image means there, its links followed as the program would: within the image.
fn content(root: &OwnedFd, path: &Path) -> Result<Option<OwnedFd>, Errno> {
    let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
    match retry(|| rustix::fs::openat2(root, path, LIST, Mode::empty(), resolve)) {
        Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => Ok(None),
        opened => opened.map(Some),
    }
}

/// A directory of the volume's data. Its content is a container's: nothing leads out of it.
fn below(data: &OwnedFd, path: &Path) -> Result<OwnedFd, Errno> {
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_MAGICLINKS;
    retry(|| rustix::fs::openat2(data, named(path), LIST, Mode::empty(), resolve))
}

/// An empty path is the directory itself.
fn named(path: &Path) -> &Path {
    if path.as_os_str().is_empty() { Path::new(".") } else { path }
}

/// openat2(2) answers EAGAIN where a rename elsewhere raced with its look-up.
fn retry(mut open: impl FnMut() -> Result<OwnedFd, Errno>) -> Result<OwnedFd, Errno> {
    for _ in 0..128 {
        match open() {
            Err(Errno::AGAIN | Errno::INTR) => {}
            result => return result,
        }
    }
    open()
}

fn directory(parent: impl std::os::fd::AsFd, path: &Path) -> Result<OwnedFd, Errno> {
    rustix::fs::openat(parent, path, LIST | OFlags::NOFOLLOW, Mode::empty())
}

/// Waits until nobody else fills the volume. The kernel gives it back with the process that had it.
fn lock(volume: &OwnedFd) -> Result<OwnedFd, Errno> {
    let flags = OFlags::RDWR | OFlags::CREATE | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let lock = rustix::fs::openat(volume, "lock", flags, Mode::RUSR | Mode::WUSR)?;
    loop {
        match rustix::fs::flock(&lock, FlockOperation::LockExclusive) {
            Err(Errno::INTR) => {}
            locked => return locked.map(|()| lock),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink};

    use super::*;
    use crate::trial::Scratch;

    struct Trial {
        scratch: Scratch,
        fill: Fill,
    }

    impl Trial {
        fn new(name: &str, from: &str) -> Self {
            let scratch = Scratch::new(name);
            let volume = scratch.path.join("volume");
            fs::create_dir_all(volume.join("data")).unwrap();
            fs::create_dir_all(scratch.path.join("image/srv/deep")).unwrap();
            let fill = Fill { volume, device: None, into: PathBuf::new(), from: from.into(), volatile: true };
            Self { scratch, fill }
        }

        fn image(&self, path: &str) -> PathBuf {
            self.scratch.path.join("image").join(path)
        }

        fn data(&self, path: &str) -> PathBuf {
            self.fill.volume.join("data").join(path)
        }

        fn run(&self) -> Filled {
            fill(&self.fill, Some(&Source::Directory(self.image("")))).unwrap()
        }
    }

    #[test]
    fn an_empty_volume_gets_all_of_it_once() {
        let trial = Trial::new("fill-once", "/srv");
        fs::write(trial.image("srv/deep/file"), "text").unwrap();
        fs::hard_link(trial.image("srv/deep/file"), trial.image("srv/other")).unwrap();
        symlink("/etc/passwd", trial.image("srv/link")).unwrap();
        fs::set_permissions(trial.image("srv"), fs::Permissions::from_mode(0o1730)).unwrap();
        std::os::unix::fs::chown(trial.image("srv"), Some(71), Some(72)).unwrap();
        assert_eq!(trial.run(), Filled::Copied(4));
        assert_eq!(fs::read(trial.data("deep/file")).unwrap(), b"text");
        assert_eq!(fs::metadata(trial.data("other")).unwrap().nlink(), 2);
        assert_eq!(fs::read_link(trial.data("link")).unwrap(), Path::new("/etc/passwd"));
        let own = fs::metadata(trial.data("")).unwrap();
        assert_eq!((own.mode() & 0o7777, own.uid(), own.gid()), (0o1730, 71, 72));
        fs::remove_file(trial.data("other")).unwrap();
        assert_eq!(trial.run(), Filled::Kept);
        assert!(!trial.data("other").exists());
        let mut left: Vec<_> =
            fs::read_dir(&trial.fill.volume).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        left.sort();
        assert_eq!(left, ["data", "lock"]);
    }

    #[test]
    fn links_of_the_image_stay_in_it() {
        let trial = Trial::new("fill-links", "/way/srv");
        let secret = trial.scratch.path.join("srv");
        fs::create_dir(&secret).unwrap();
        fs::write(secret.join("secret"), "").unwrap();
        fs::write(trial.image("srv/own"), "").unwrap();
        symlink("../../..", trial.image("way")).unwrap();
        assert_eq!(trial.run(), Filled::Copied(2));
        assert!(trial.data("own").exists() && !trial.data("secret").exists());
        let trial = Trial::new("fill-absolute", "/way");
        symlink(&secret, trial.image("way")).unwrap();
        assert_eq!(trial.run(), Filled::Nothing);
        let trial = Trial::new("fill-file", "/srv/file");
        fs::write(trial.image("srv/file"), "").unwrap();
        assert_eq!(trial.run(), Filled::Nothing);
    }

    #[test]
    fn half_a_copy_is_thrown_away_and_a_whole_one_moved_in() {
        let trial = Trial::new("fill-crash", "/srv");
        fs::write(trial.image("srv/file"), "new").unwrap();
        fs::create_dir_all(trial.fill.volume.join("filling/tree/half")).unwrap();
        assert_eq!(trial.run(), Filled::Copied(2));
        assert!(!trial.data("half").exists() && trial.data("file").exists());
        // Cut short on the way in: some of it is there, one of its names is somebody else's by now.
        let tree = trial.fill.volume.join("filled/tree");
        fs::create_dir_all(&tree).unwrap();
        symlink(".", trial.fill.volume.join("filled/into")).unwrap();
        fs::write(tree.join("file"), "old").unwrap();
        fs::write(tree.join("more"), "old").unwrap();
        assert_eq!(fill(&trial.fill, None).unwrap(), Filled::Kept);
        assert_eq!(fs::read(trial.data("file")).unwrap(), b"new");
        assert_eq!(fs::read(trial.data("more")).unwrap(), b"old");
        assert!(!trial.fill.volume.join("filled").exists());
        // The last step of a move.
        fs::create_dir_all(trial.fill.volume.join("filled")).unwrap();
        assert_eq!(trial.run(), Filled::Kept);
    }

    #[test]
    fn a_directory_of_the_host_is_filled_likewise() {
        let mut trial = Trial::new("fill-device", "/srv");
        fs::write(trial.image("srv/file"), "new").unwrap();
        let device = trial.scratch.path.join("device");
        trial.fill.device = Some(device.clone());
        assert_eq!(trial.run(), Filled::Kept, "it is not there");
        fs::create_dir_all(device.join(".minidocker-fill/filling/tree")).unwrap();
        assert_eq!(trial.run(), Filled::Copied(2));
        let mut names: Vec<_> =
            fs::read_dir(&device).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        names.sort();
        assert_eq!(names, ["deep", "file"]);
        assert_eq!(trial.run(), Filled::Kept);
        assert_eq!(fs::read_dir(trial.data("")).unwrap().count(), 0);
    }

    #[test]
    fn a_part_of_a_volume_is_filled_in_its_place_and_nowhere_else() {
        let mut trial = Trial::new("fill-part", "/srv");
        fs::write(trial.image("srv/file"), "").unwrap();
        fs::create_dir_all(trial.data("a/b")).unwrap();
        trial.fill.into = "a/b".into();
        assert_eq!(trial.run(), Filled::Copied(2));
        assert!(trial.data("a/b/file").exists());
        let outside = trial.scratch.path.join("outside");
        fs::create_dir(&outside).unwrap();
        symlink(&outside, trial.data("a/out")).unwrap();
        trial.fill.into = "a/out".into();
        assert_eq!(trial.run(), Filled::Kept);
        assert_eq!(fs::read_dir(&outside).unwrap().count(), 0);
    }

    #[test]
    fn one_of_many_copies_and_the_others_wait() {
        let trial = Trial::new("fill-many", "/srv");
        for number in 0..200 {
            fs::write(trial.image(&format!("srv/{number}")), "x").unwrap();
        }
        let results: Vec<Filled> = std::thread::scope(|scope| {
            let all: Vec<_> = (0..4).map(|_| scope.spawn(|| trial.run())).collect();
            all.into_iter().map(|one| one.join().unwrap()).collect()
        });
        assert_eq!(results.iter().filter(|one| **one == Filled::Copied(201)).count(), 1, "{results:?}");
        assert_eq!(results.iter().filter(|one| **one == Filled::Kept).count(), 3, "{results:?}");
    }
}
