//! Layers seen as one tree, without a mount: what overlayfs would show, looked up one name at a time. No name is ever
//! resolved by the kernel through a link, so neither a link of the image's nor one of the context's leads out of it.

use std::collections::BTreeMap;
use std::os::fd::{AsRawFd as _, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustix::fs::{AtFlags, CWD, Dir as Listing, FileType, Mode, OFlags, Stat};
use rustix::io::Errno;

/// As many links as the kernel follows in one path (linux/namei.h, MAXSYMLINKS).
const LINKS: usize = 40;

/// Directories over each other, the uppermost first.
#[derive(Debug, Clone)]
pub(crate) struct Stack {
    layers: Vec<Arc<OwnedFd>>,
    /// The attribute of a directory that hides those below it; none where there are no whiteouts.
    opaque: Option<&'static str>,
}

/// A directory of such a tree: its parts in the layers that have it, the uppermost first; one at least.
#[derive(Debug, Clone)]
pub(crate) struct Dir {
    parts: Vec<Arc<OwnedFd>>,
}

/// What has a name.
#[derive(Debug, Clone)]
pub(crate) enum Found {
    Nothing,
    Dir(Dir),
    File(Entry),
}

/// What is no directory, by the directory that has it.
#[derive(Debug, Clone)]
pub(crate) struct Entry {
    pub(crate) parent: Arc<OwnedFd>,
    pub(crate) name: Vec<u8>,
    pub(crate) stat: Stat,
}

/// Where a path leads.
#[derive(Debug, Clone)]
pub(crate) struct Resolved {
    /// Its names without links, `.` and `..`; those that are not there too.
    pub(crate) components: Vec<Vec<u8>>,
    /// What is there.
    pub(crate) found: Found,
}

impl Stack {
    /// Layers of an overlay, the lowest first.
    pub(crate) fn open(layers: &[PathBuf], userxattr: bool) -> Result<Self, (PathBuf, Errno)> {
        let opaque = if userxattr { "user.overlay.opaque" } else { "trusted.overlay.opaque" };
        let open = |path: &PathBuf| Ok(Arc::new(open_top(path).map_err(|errno| (path.clone(), errno))?));
        Ok(Self { layers: layers.iter().rev().map(open).collect::<Result<_, _>>()?, opaque: Some(opaque) })
    }

    /// Nothing at all.
    pub(crate) fn empty() -> Self {
        Self { layers: Vec::new(), opaque: None }
    }

    /// A directory that is nothing but that.
    pub(crate) fn plain(path: &Path) -> Result<Self, Errno> {
        Ok(Self { layers: vec![Arc::new(open_top(path)?)], opaque: None })
    }

    /// Puts a layer on top.
    pub(crate) fn with_top(&self, top: Arc<OwnedFd>) -> Self {
        Self { layers: [top].into_iter().chain(self.layers.iter().cloned()).collect(), opaque: self.opaque }
    }

    pub(crate) fn root(&self) -> Option<Dir> {
        let mut parts = Vec::new();
        for layer in &self.layers {
            parts.push(layer.clone());
            if self.is_opaque(layer) {
                break;
            }
        }
        (!parts.is_empty()).then_some(Dir { parts })
    }

    fn is_opaque(&self, directory: &OwnedFd) -> bool {
        let mut value = [0; 1];
        self.opaque.is_some_and(|name| {
            rustix::fs::fgetxattr(directory, name, &mut value[..])
                .is_ok_and(|length| length == 1 && value == *b"y")
        })
    }

    fn is_whiteout(&self, stat: &Stat) -> bool {
        self.opaque.is_some()
            && FileType::from_raw_mode(stat.st_mode) == FileType::CharacterDevice
            && stat.st_rdev == 0
    }

    /// What a directory has under a name, which is one component and neither `.` nor `..`.
    pub(crate) fn lookup(&self, directory: &Dir, name: &[u8]) -> Result<Found, Errno> {
        let mut parts: Vec<Arc<OwnedFd>> = Vec::new();
        for part in &directory.parts {
            let stat = match rustix::fs::statat(&**part, name, AtFlags::SYMLINK_NOFOLLOW) {
                Err(Errno::NOENT) => continue,
                stat => stat?,
            };
            if FileType::from_raw_mode(stat.st_mode) != FileType::Directory {
                if !parts.is_empty() || self.is_whiteout(&stat) {
                    break;
                }
                return Ok(Found::File(Entry { parent: part.clone(), name: name.to_vec(), stat }));
            }
            let opened = Arc::new(open_directory(part, name)?);
            let opaque = self.is_opaque(&opened);
            parts.push(opened);
            if opaque {
                break;
            }
        }
        Ok(if parts.is_empty() { Found::Nothing } else { Found::Dir(Dir { parts }) })
    }

    /// The names in a directory, in order.
    pub(crate) fn list(&self, directory: &Dir) -> Result<Vec<Vec<u8>>, Errno> {
        let mut all: BTreeMap<Vec<u8>, bool> = BTreeMap::new();
        for part in &directory.parts {
            for entry in Listing::read_from(&**part)? {
                let entry = entry?;
                let name = entry.file_name().to_bytes();
                if name == b"." || name == b".." || all.contains_key(name) {
                    continue;
                }
                let mut there = true;
                if self.opaque.is_some()
                    && matches!(entry.file_type(), FileType::CharacterDevice | FileType::Unknown)
                {
                    let stat = rustix::fs::statat(&**part, name, AtFlags::SYMLINK_NOFOLLOW)?;
                    there = !self.is_whiteout(&stat);
                }
                all.insert(name.to_vec(), there);
            }
        }
        Ok(all.into_iter().filter_map(|(name, there)| there.then_some(name)).collect())
    }

    /// Follows a path from the root, links in it too, as if the root were the machine's: `..` of the root is the root.
    /// Names behind one that is not there are kept. A name behind a file is ENOTDIR.
    pub(crate) fn resolve(&self, path: &[u8], follow_last: bool) -> Result<Resolved, Errno> {
        let mut waiting: Vec<Vec<u8>> = split(path).rev().map(<[u8]>::to_vec).collect();
        let Some(root) = self.root() else {
            let mut components = Vec::new();
            while let Some(name) = waiting.pop() {
                step(&mut components, name);
            }
            let found = Found::Nothing;
            return Ok(Resolved { components, found });
        };
        let mut way: Vec<(Vec<u8>, Dir)> = Vec::new();
        let mut links = 0;
        while let Some(name) = waiting.pop() {
            if name == b".." {
                way.pop();
                continue;
            }
            let here = way.last().map_or(&root, |(_, directory)| directory);
            let found = self.lookup(here, &name)?;
            match found {
                Found::Dir(directory) => way.push((name, directory)),
                Found::File(entry) if is_link(&entry.stat) && (follow_last || !waiting.is_empty()) => {
                    links += 1;
                    if links > LINKS {
                        return Err(Errno::LOOP);
                    }
                    let target =
                        rustix::fs::readlinkat(&*entry.parent, &*entry.name, Vec::new())?.into_bytes();
                    if target.starts_with(b"/") {
                        way.clear();
                    }
                    waiting.extend(split(&target).rev().map(<[u8]>::to_vec));
                }
                Found::File(_) if !waiting.is_empty() => return Err(Errno::NOTDIR),
                found => {
                    let mut components: Vec<_> = way.into_iter().map(|(name, _)| name).collect();
                    components.push(name);
                    let back = waiting.iter().any(|name| name == b"..");
                    while let Some(name) = waiting.pop() {
                        step(&mut components, name);
                    }
                    // `missing/../there` is there, as Docker has it.
                    return match back {
                        true => self.resolve(&components.join(&b'/'), follow_last),
                        false => Ok(Resolved { components, found }),
                    };
                }
            }
        }
        let found = Found::Dir(way.last().map_or(root, |(_, directory)| directory.clone()));
        Ok(Resolved { components: way.into_iter().map(|(name, _)| name).collect(), found })
    }

    /// The text of a small file; none if there is no such file.
    pub(crate) fn read(&self, path: &[u8], most: u64) -> Option<String> {
        let Ok(Resolved { found: Found::File(entry), .. }) = self.resolve(path, true) else { return None };
        let file = entry.open().ok()?;
        let mut bytes = Vec::new();
        std::io::Read::read_to_end(&mut std::io::Read::take(std::fs::File::from(file), most), &mut bytes)
            .ok()?;
        Some(String::from_utf8_lossy(&bytes).into_owned())
    }
}

impl Dir {
    /// The part that has its owner and permissions.
    pub(crate) fn top(&self) -> &OwnedFd {
        &self.parts[0]
    }

    pub(crate) fn stat(&self) -> Result<Stat, Errno> {
        rustix::fs::fstat(self.top())
    }
}

impl Entry {
    pub(crate) fn kind(&self) -> FileType {
        FileType::from_raw_mode(self.stat.st_mode)
    }

    /// Opens a regular file.
    pub(crate) fn open(&self) -> Result<OwnedFd, Errno> {
        // NONBLOCK: what became a pipe since we looked must not hold us.
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let file = rustix::fs::openat(&*self.parent, &*self.name, flags, Mode::empty())?;
        match FileType::from_raw_mode(rustix::fs::fstat(&file)?.st_mode) {
            FileType::RegularFile => Ok(file),
            _ => Err(Errno::INVAL),
        }
    }

    /// For calls that take a path alone: the last name is not followed by those that begin with `l`.
    pub(crate) fn path(&self) -> Vec<u8> {
        beside(&self.parent, &self.name)
    }
}

/// A path to `name` in an open directory.
pub(crate) fn beside(parent: &OwnedFd, name: &[u8]) -> Vec<u8> {
    [format!("/proc/self/fd/{}/", parent.as_raw_fd()).as_bytes(), name].concat()
}

pub(crate) fn is_link(stat: &Stat) -> bool {
    FileType::from_raw_mode(stat.st_mode) == FileType::Symlink
}

fn step(components: &mut Vec<Vec<u8>>, name: Vec<u8>) {
    if name == b".." {
        components.pop();
    } else {
        components.push(name);
    }
}

/// The names of a path that mean something.
pub(crate) fn split(path: &[u8]) -> impl DoubleEndedIterator<Item = &[u8]> {
    path.split(|byte| *byte == b'/').filter(|name| !name.is_empty() && *name != b".")
}

fn open_top(path: &Path) -> Result<OwnedFd, Errno> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    rustix::fs::openat(CWD, path, flags, Mode::empty())
}

/// A directory by one name.
pub(crate) fn open_directory(parent: &OwnedFd, name: &[u8]) -> Result<OwnedFd, Errno> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    rustix::fs::openat(parent, name, flags, Mode::empty())
}
