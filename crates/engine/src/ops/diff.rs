//! `diff`: what a container has changed in its root, by a walk through what it has written beside what it was made of.

use std::collections::{BTreeSet, HashSet};
use std::ffi::CString;
use std::os::fd::OwnedFd;
use std::path::Path;

use rustix::fs::{AtFlags, CWD, Dir, FileType, Mode, OFlags, ResolveFlags, Stat};
use rustix::io::Errno;
use step::Failure;

use crate::request::Image as From;
use crate::state::{Record, Store};
use crate::sweep::sweep;
use crate::{Error, Kind, Settings};

/// What became of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    /// It is new.
    Added,
    /// It is another than before, or something below it is.
    Changed,
    /// It is gone.
    Deleted,
}

/// What a container has changed: paths from its root, in the order of their names, without what its own mounts needed.
pub fn diff(settings: &Settings, name: &str) -> Result<Vec<(Change, Vec<u8>)>, Error> {
    let store = Store::new(settings);
    sweep(settings, &store)?;
    let (id, record) = store.load(name)?;
    let runs = store.joinable_init(&id);
    let mut changes = Vec::new();
    for tree in trees(settings, &record, runs, name)? {
        let mut walk = Walk { whole: tree.whole, targets: targets(&record), changes: Vec::new() };
        let path = tree.at.into_bytes();
        walk.directory(&tree.upper, Some(&tree.lower), &path).map_err(|(path, errno)| {
            Failure::new("diff", String::from_utf8_lossy(&path).into_owned(), errno)
        })?;
        changes.append(&mut walk.changes);
    }
    // Of several file systems of the host: the parts of a path decide, as they do in one walk.
    changes.sort_by(|a, b| a.1.split(|byte| *byte == b'/').cmp(b.1.split(|byte| *byte == b'/')));
    Ok(changes)
}

/// Where something was written, and what lies below it.
struct Tree {
    /// Where it is in the container: empty for the root.
    at: String,
    upper: OwnedFd,
    lower: OwnedFd,
    /// It is no layer: all files are there.
    whole: bool,
}

fn trees(settings: &Settings, record: &Record, runs: Option<i32>, name: &str) -> Result<Vec<Tree>, Error> {
    let dir = Store::new(settings).keep_dir(&record.id);
    if let From::Directory(path) = &record.request.image {
        let message =
            format!("container {name} has no layer of its own: it changes {} itself", path.display());
        return Err(
            Error::new(Kind::Invalid, message).hint("--rootfs DIR:overlay keeps the directory as it is")
        );
    }
    let plain = record.disk.as_ref().is_none_or(storage::Disk::is_plain_overlay);
    let is_host = record.origin.is_none() && matches!(record.request.image, From::Host | From::Named(_));
    if plain {
        // One that was never started has written nothing.
        if !dir.join("upper").is_dir() {
            return Ok(Vec::new());
        }
        let lower = if is_host { open(Path::new("/"))? } else { lower(settings, record)? };
        let first = Tree { at: String::new(), upper: open(&dir.join("upper"))?, lower, whole: false };
        let mut all = vec![first];
        if is_host {
            all.extend(further(&dir)?);
        }
        return Ok(all);
    }
    let disk = record.disk.as_ref().map(ToString::to_string).unwrap_or_default();
    let refused = |reason: &str, hint: String| {
        Err(Error::new(
            Kind::Invalid,
            format!("cannot compare container {name}: {reason} (its disk is {disk})"),
        )
        .hint(hint))
    };
    if is_host {
        return refused(
            "it is a copy of this machine",
            format!("minidocker export {name} gives all of its files"),
        );
    }
    let copy = dir.join("root");
    let upper = match runs {
        Some(pid) => open(Path::new(&format!("/proc/{pid}/root")))?,
        None if copy.is_dir() => open(&copy)?,
        None => return refused("it does not run", format!("start it first: minidocker start {name}")),
    };
    Ok(vec![Tree { at: String::new(), upper, lower: lower(settings, record)?, whole: true }])
}

/// What a container of an image or of a directory was made of.
fn lower(settings: &Settings, record: &Record) -> Result<OwnedFd, Error> {
    match (crate::image::source(settings, record)?, &record.request.image) {
        (storage::Source::Layers(layers), _) => Ok(storage::read_only(&layers)?),
        (_, From::DirectoryOverlay(path)) => open(path),
        _ => open(Path::new("/")),
    }
}

/// Of the host: what was written to its further file systems.
fn further(dir: &Path) -> Result<Vec<Tree>, Error> {
    let failed = |cause| Failure::new("diff", dir.display().to_string(), cause);
    let mut all = Vec::new();
    for entry in std::fs::read_dir(dir).map_err(failed)?.flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        if let Some(at) = name.strip_prefix("upper%2F") {
            let at = format!("/{}", at.replace("%2F", "/").replace("%25", "%"));
            let lower = open(Path::new(&at))?;
            all.push(Tree { upper: open(&entry.path())?, lower, at, whole: false });
        }
    }
    Ok(all)
}

fn open(path: &Path) -> Result<OwnedFd, Error> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    rustix::fs::openat(CWD, path, flags, Mode::empty())
        .map_err(|errno| Failure::new("diff", path.display().to_string(), errno).into())
}

/// Where the container's own mounts are, with a slash before.
fn targets(record: &Record) -> BTreeSet<Vec<u8>> {
    let own = build::STUBS.into_iter().map(|path| path.as_bytes().to_vec());
    let mounts = record.request.storage.mounts.iter();
    let asked = mounts.map(|mount| mount.target().as_os_str().as_encoded_bytes().to_vec());
    let plain = |path: Vec<u8>| {
        let parts = path.split(|byte| *byte == b'/').filter(|part| !part.is_empty());
        parts.flat_map(|part| [b"/", part].concat()).collect()
    };
    own.chain(asked).map(plain).collect()
}

struct Walk {
    whole: bool,
    targets: BTreeSet<Vec<u8>>,
    changes: Vec<(Change, Vec<u8>)>,
}

/// What was found in a directory.
#[derive(Default, Clone, Copy)]
struct Found {
    /// Something was left out: a mount needed it.
    left_out: bool,
    /// Something was not.
    kept: bool,
}

type Stop = (Vec<u8>, Errno);

/// Deeper than PATH_MAX has room for no names are made by honest programs, and the stack has an end.
const DEEPEST: usize = 2048;

impl Walk {
    fn directory(&mut self, upper: &OwnedFd, lower: Option<&OwnedFd>, at: &[u8]) -> Result<Found, Stop> {
        let stop = |errno| (at.to_vec(), errno);
        if at.iter().filter(|byte| **byte == b'/').count() > DEEPEST {
            return Err(stop(Errno::NAMETOOLONG));
        }
        let mut names: BTreeSet<CString> = list(upper).map_err(stop)?.into_iter().collect();
        let own = rustix::fs::fstat(upper).map_err(stop)?;
        // What an opaque directory does not have any more.
        if let Some(lower) = lower.filter(|_| self.whole || is_opaque(upper)) {
            names.extend(list(lower).map_err(stop)?);
        }
        let mut found = Found::default();
        for name in names {
            let path = [at, b"/", name.as_bytes()].concat();
            let before = lower.and_then(|lower| look(lower, &name));
            let Some(now) = look(upper, &name) else {
                self.note(Change::Deleted, path, &mut found);
                continue;
            };
            let kind = FileType::from_raw_mode(now.st_mode);
            if kind == FileType::CharacterDevice && now.st_rdev == 0 && !self.whole {
                if before.is_some() {
                    self.note(Change::Deleted, path, &mut found);
                }
                continue;
            }
            // Something is mounted there.
            if self.whole && now.st_dev != own.st_dev {
                continue;
            }
            self.one(upper, lower, &name, path, (&now, before.as_ref()), &mut found)?;
        }
        Ok(found)
    }

    fn one(
        &mut self,
        upper: &OwnedFd,
        lower: Option<&OwnedFd>,
        name: &CString,
        path: Vec<u8>,
        (now, before): (&Stat, Option<&Stat>),
        found: &mut Found,
    ) -> Result<(), Stop> {
        let kind = FileType::from_raw_mode(now.st_mode);
        let change = if before.is_some() { Change::Changed } else { Change::Added };
        let is_target = change == Change::Added && self.targets.contains(&path);
        if kind != FileType::Directory {
            if is_target && kind == FileType::RegularFile && now.st_size == 0 {
                found.left_out = true;
            } else if !self.whole || before.is_none_or(|before| !same(before, now, true)) {
                self.note(change, path, found);
            }
            return Ok(());
        }
        let sub = match enter(upper, name) {
            Err(Errno::XDEV) => return Ok(()),
            opened => opened.map_err(|errno| (path.clone(), errno))?,
        };
        let below = match lower.filter(|_| before.is_some_and(is_directory)) {
            Some(lower) => Some(enter(lower, name).map_err(|errno| (path.clone(), errno))?),
            None => None,
        };
        let place = self.changes.len();
        let inside = self.directory(&sub, below.as_ref(), &path)?;
        let same = before.is_some_and(|before| {
            // What was made in it for a mount has changed its time.
            is_directory(before) && same(before, now, !inside.left_out && !self.whole)
        });
        let holder = change == Change::Added && (is_target || inside.left_out && self.leads(&path));
        if !inside.kept && (same || holder) {
            found.left_out |= holder || inside.left_out;
            return Ok(());
        }
        self.changes.insert(place, (change, path));
        found.kept = true;
        Ok(())
    }

    fn note(&mut self, change: Change, path: Vec<u8>, found: &mut Found) {
        self.changes.push((change, path));
        found.kept = true;
    }

    /// Whether a mount lies below a path.
    fn leads(&self, path: &[u8]) -> bool {
        let below = [path, b"/"].concat();
        self.targets.range(below.clone()..).next().is_some_and(|target| target.starts_with(&below))
    }
}

/// What a directory's files have in all, in bytes as Docker counts them: one with several names once, directories and
/// what is mounted below not.
pub(super) fn bytes(directory: &Path) -> Result<u64, Failure> {
    let failed = |errno: Errno| Failure::new("size", directory.display().to_string(), errno);
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let root = rustix::fs::openat(CWD, directory, flags, Mode::empty()).map_err(failed)?;
    let mut seen = HashSet::new();
    sum(&root, &mut seen, 0).map_err(failed)
}

fn sum(here: &OwnedFd, seen: &mut HashSet<u64>, depth: usize) -> Result<u64, Errno> {
    let mut bytes = 0;
    for name in list(here)? {
        // A file may go at any time: a container that runs writes here.
        let Some(stat) = look(here, &name) else { continue };
        if !is_directory(&stat) {
            bytes += if stat.st_nlink < 2 || seen.insert(stat.st_ino) { stat.st_size as u64 } else { 0 };
        } else if depth < DEEPEST
            && let Ok(below) = enter(here, &name)
        {
            bytes += sum(&below, seen, depth + 1)?;
        }
    }
    Ok(bytes)
}

fn is_directory(stat: &Stat) -> bool {
    FileType::from_raw_mode(stat.st_mode) == FileType::Directory
}

/// Whether a file is what it was, as far as its inode tells.
fn same(before: &Stat, now: &Stat, time: bool) -> bool {
    let facts = |stat: &Stat| (stat.st_mode, stat.st_uid, stat.st_gid, stat.st_rdev);
    let size = |stat: &Stat| if is_directory(stat) { 0 } else { stat.st_size };
    facts(before) == facts(now) && size(before) == size(now) && (!time || before.st_mtime == now.st_mtime)
}

fn look(directory: &OwnedFd, name: &CString) -> Option<Stat> {
    rustix::fs::statat(directory, name, AtFlags::SYMLINK_NOFOLLOW).ok()
}

/// A directory of a directory; through no link and no mount, whatever a container puts there meanwhile.
fn enter(parent: &OwnedFd, name: &CString) -> Result<OwnedFd, Errno> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_XDEV;
    loop {
        match rustix::fs::openat2(parent, name, flags, Mode::empty(), resolve) {
            Err(Errno::AGAIN | Errno::INTR) => {}
            result => return result,
        }
    }
}

fn list(directory: &OwnedFd) -> Result<Vec<CString>, Errno> {
    let mut all = Vec::new();
    for entry in Dir::read_from(directory)? {
        let name = entry?.file_name().to_owned();
        if !matches!(name.as_bytes(), b"." | b"..") {
            all.push(name);
        }
    }
    Ok(all)
}

/// Documentation/filesystems/overlayfs.rst, "whiteouts and opaque directories".
fn is_opaque(directory: &OwnedFd) -> bool {
    ["trusted.overlay.opaque", "user.overlay.opaque"].into_iter().any(|name| {
        let mut value = [0; 8];
        matches!(rustix::fs::fgetxattr(directory, name, &mut value[..]), Ok(1) if value[0] == b'y')
    })
}
