//! The mask: the overlay's layer that hides parts of the host. A small memory file system of each mount's own.
//!
//! Not a directory on disk that is made once, because overlayfs refuses a lower layer that lies inside of another
//! one ("overlapping lowerdir path"), and everything on the root disk lies inside of `/`. Made anew it cannot be out
//! of date either, and leaves nothing behind: it ends with the last mount that uses it.
//! Whiteouts and opaque directories: Documentation/filesystems/overlayfs.rst.

use std::os::fd::{AsRawFd, OwnedFd};
use std::path::PathBuf;

use rustix::fs::{AtFlags, CWD, FileType, Gid, Mode, OFlags, Stat, Uid, XattrFlags};
use rustix::io::Errno;
use rustix::mount::{FsMountFlags, FsOpenFlags, MountAttrFlags, OpenTreeFlags};
use step::quote;
use sys::mount::MountAttr;

/// Owner and permissions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Owner {
    /// Permission bits with the sticky bit and its like.
    pub(crate) mode: u32,
    /// User.
    pub(crate) uid: u32,
    /// Group.
    pub(crate) gid: u32,
}

impl Owner {
    pub(crate) fn of(stat: &Stat) -> Self {
        Self { mode: stat.st_mode & 0o7777, uid: stat.st_uid, gid: stat.st_gid }
    }
}

/// What stands in the place of the host's file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum What {
    /// Nothing: a whiteout.
    Gone,
    /// An empty directory: an opaque one.
    Empty(Owner),
    /// A file with this content.
    File(Owner, Vec<u8>),
    /// The directory as the host has it; only the way to another entry.
    Way(Owner),
}

/// One entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Entry {
    /// Relative to the layer's root.
    pub(crate) path: PathBuf,
    /// What is there.
    pub(crate) what: What,
}

/// A mask: entries in an order in which each directory comes before what is in it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Mask {
    /// In order.
    pub(crate) entries: Vec<Entry>,
}

/// Ids of a user namespace: (first inside, first outside, how many), user_namespaces(7).
pub(crate) type IdMap = Vec<(u32, u32, u32)>;

impl Mask {
    /// The same by commands, below the directory in the variable `$MASK`.
    pub(crate) fn shell(&self) -> Vec<String> {
        let mut lines = Vec::with_capacity(self.entries.len());
        for Entry { path, what } in &self.entries {
            let at = format!("\"$MASK\"/{}", quote(&path.to_string_lossy()));
            let directory = |owner: &Owner| {
                let Owner { mode, uid, gid } = owner;
                format!("install -d -m {mode:o} -o {uid} -g {gid} {at}")
            };
            lines.push(match what {
                What::Gone => format!("mknod {at} c 0 0"),
                What::Way(owner) => directory(owner),
                What::Empty(owner) => {
                    format!("{} && setfattr -n trusted.overlay.opaque -v y {at}", directory(owner))
                }
                What::File(Owner { mode, uid, gid }, content) => {
                    let content = quote(&String::from_utf8_lossy(content)).into_owned();
                    format!("printf %s {content} >{at}; chmod {mode:o} {at}; chown {uid}:{gid} {at}")
                }
            });
        }
        lines
    }

    /// How many of each kind, in words.
    pub(crate) fn summary(&self) -> String {
        let count = |is: fn(&What) -> bool| self.entries.iter().filter(|entry| is(&entry.what)).count();
        let gone = count(|what| matches!(what, What::Gone));
        let empty = count(|what| matches!(what, What::Empty(_)));
        let files = count(|what| matches!(what, What::File(..)));
        format!("{gone} whiteouts, {empty} opaque directories, {files} files")
    }

    /// A new file system in memory with the entries: a detached mount. Owners are those of the entries; with `ids`
    /// they are what the user namespace sees as such.
    ///
    /// # Errors
    /// The path of the entry that failed, `tmpfs` for the file system itself.
    pub(crate) fn make(&self, ids: Option<&(IdMap, IdMap)>) -> Result<OwnedFd, (String, Errno)> {
        let layer = memory().map_err(|errno| ("tmpfs".to_owned(), errno))?;
        // One call instead of a chmod for each entry.
        let umask = rustix::process::umask(Mode::empty());
        let fill = || {
            self.entries.iter().try_for_each(|entry| {
                put(&layer, entry, ids).map_err(|errno| (entry.path.display().to_string(), errno))
            })
        };
        let filled = fill();
        rustix::process::umask(umask);
        filled.map(|()| layer)
    }
}

fn memory() -> Result<OwnedFd, Errno> {
    let context = rustix::mount::fsopen("tmpfs", FsOpenFlags::FSOPEN_CLOEXEC)?;
    rustix::mount::fsconfig_set_string(&context, "source", "minidocker-mask")?;
    rustix::mount::fsconfig_create(&context)?;
    rustix::mount::fsmount(&context, FsMountFlags::FSMOUNT_CLOEXEC, MountAttrFlags::empty())
}

fn put(layer: &OwnedFd, entry: &Entry, ids: Option<&(IdMap, IdMap)>) -> Result<(), Errno> {
    let path = &entry.path;
    let owner = match &entry.what {
        What::Gone => return rustix::fs::mknodat(layer, path, FileType::CharacterDevice, Mode::empty(), 0),
        What::Empty(owner) | What::Way(owner) => {
            rustix::fs::mkdirat(layer, path, Mode::from_raw_mode(owner.mode))?;
            if matches!(entry.what, What::Empty(_)) {
                // There is no setxattr relative to a descriptor before Linux 6.13.
                let at = PathBuf::from(format!("/proc/self/fd/{}", layer.as_raw_fd())).join(path);
                rustix::fs::setxattr(at, "trusted.overlay.opaque", b"y", XattrFlags::empty())?;
            }
            owner
        }
        What::File(owner, content) => {
            let flags = OFlags::CREATE | OFlags::EXCL | OFlags::WRONLY | OFlags::CLOEXEC;
            let file = rustix::fs::openat(layer, path, flags, Mode::from_raw_mode(owner.mode))?;
            let mut rest = &content[..];
            while !rest.is_empty() {
                rest = &rest[rustix::io::write(&file, rest)?..];
            }
            owner
        }
    };
    let (uid, gid) = match ids {
        Some((users, groups)) => (outside(users, owner.uid), outside(groups, owner.gid)),
        None => (owner.uid, owner.gid),
    };
    if (uid, gid) != (0, 0) {
        let (uid, gid) = (Uid::from_raw(uid), Gid::from_raw(gid));
        rustix::fs::chownat(layer, path, Some(uid), Some(gid), AtFlags::SYMLINK_NOFOLLOW)?;
    }
    const SET_ID: u32 = 0o6000;
    if owner.mode & SET_ID != 0 {
        // mkdir(2) does not take these, and chown(2) takes them away.
        rustix::fs::chmodat(layer, path, Mode::from_raw_mode(owner.mode), AtFlags::empty())?;
    }
    Ok(())
}

/// What `inside` is outside of the user namespace; itself where it is not mapped.
fn outside(map: &IdMap, inside: u32) -> u32 {
    let found = map.iter().find(|(first, _, count)| inside >= *first && inside - first < *count);
    found.map_or(inside, |(first, outside, _)| outside + (inside - first))
}

/// Reads a uid_map or gid_map file.
pub(crate) fn parse_id_map(text: &str) -> IdMap {
    let number = |words: &mut std::str::SplitWhitespace<'_>| words.next()?.parse().ok();
    let parse = |line: &str| {
        let mut words = line.split_whitespace();
        Some((number(&mut words)?, number(&mut words)?, number(&mut words)?))
    };
    text.lines().filter_map(parse).collect()
}

/// A detached clone of the mount of `path` on which the ids are those of the user namespace: an idmapped mount.
/// `EINVAL` where the file system cannot.
pub(crate) fn idmapped(
    directory: impl std::os::fd::AsFd,
    path: &std::path::Path,
    userns: &OwnedFd,
) -> Result<OwnedFd, Errno> {
    let mut flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC;
    if path.as_os_str().is_empty() {
        flags |= OpenTreeFlags::AT_EMPTY_PATH;
    }
    let tree = rustix::mount::open_tree(directory, path, flags)?;
    let attr = MountAttr {
        set: sys::mount::IDMAP,
        userns: Some(std::os::fd::AsFd::as_fd(userns)),
        ..MountAttr::default()
    };
    sys::mount::set_attr(&tree, c"", false, attr)
        .map_err(|error| Errno::from_io_error(&error).unwrap_or(Errno::IO))?;
    Ok(tree)
}

/// [`idmapped`] with a path of the process.
pub(crate) fn idmapped_path(path: &std::path::Path, userns: &OwnedFd) -> Result<OwnedFd, Errno> {
    idmapped(CWD, path, userns)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_translated_by_the_map() {
        let map = parse_id_map("         0     100000      65536\n     70000          5         1\n");
        assert_eq!(map, [(0, 100_000, 65536), (70000, 5, 1)]);
        assert_eq!([0, 42, 65535, 70000].map(|id| outside(&map, id)), [100_000, 100_042, 165_535, 5]);
        assert_eq!(outside(&map, 66000), 66000);
    }

    #[test]
    fn the_layer_is_made_as_described() {
        // With a umask of its own, for it is the process's otherwise.
        crate::trial::in_namespace(make_and_look);
    }

    fn make_and_look() {
        let owner = Owner { mode: 0o2750, uid: 7, gid: 8 };
        let entry = |path: &str, what| Entry { path: PathBuf::from(path), what };
        let mask = Mask {
            entries: vec![
                entry("etc", What::Way(Owner { mode: 0o755, uid: 0, gid: 0 })),
                entry("etc/gone", What::Gone),
                entry("etc/shadow", What::File(owner, b"root:*\n".to_vec())),
                entry("tmp", What::Empty(Owner { mode: 0o1777, uid: 0, gid: 0 })),
            ],
        };
        for (ids, shift) in [(None, 0), (Some((vec![(0, 1000, 100)], vec![(0, 1000, 100)])), 1000)] {
            let layer = mask.make(ids.as_ref()).unwrap();
            let stat = |path: &str| rustix::fs::statat(&layer, path, AtFlags::SYMLINK_NOFOLLOW).unwrap();
            let gone = stat("etc/gone");
            assert_eq!((FileType::from_raw_mode(gone.st_mode), gone.st_rdev), (FileType::CharacterDevice, 0));
            assert_eq!(
                Owner::of(&stat("etc/shadow")),
                Owner { mode: 0o2750, uid: 7 + shift, gid: 8 + shift }
            );
            assert_eq!(Owner::of(&stat("tmp")), Owner { mode: 0o1777, uid: shift, gid: shift });
            let opaque = |path: &str| {
                let at = format!("/proc/self/fd/{}/{path}", layer.as_raw_fd());
                let mut value = Vec::with_capacity(8);
                let got = rustix::fs::getxattr(
                    at,
                    "trusted.overlay.opaque",
                    rustix::buffer::spare_capacity(&mut value),
                );
                got.map(|_| value)
            };
            assert_eq!(opaque("tmp").unwrap(), b"y");
            assert!(opaque("etc").is_err());
        }
        assert_eq!(mask.summary(), "1 whiteouts, 1 opaque directories, 1 files");
    }
}
