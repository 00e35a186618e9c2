//! A new layer: a directory that gets what a COPY brings, without a mount. Directories that lower layers have already
//! are copied up as overlayfs would: with owner, permissions and attributes.

use std::collections::BTreeMap;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::sync::Arc;

use rustix::fs::{AtFlags, CWD, FileType, Gid, Mode, OFlags, Stat, Timespec, Timestamps, Uid, XattrFlags};
use rustix::io::Errno;
use step::Failure;

use super::owner::Owner;
use super::stack::{Dir, Found, Resolved, Stack, beside, open_directory};
use super::{failed, refused};

/// A layer that is being written.
pub(crate) struct Layer {
    top: Arc<OwnedFd>,
    /// With this layer as the uppermost.
    stack: Stack,
    /// Times that directories get when all is in them.
    times: BTreeMap<Vec<Vec<u8>>, Timestamps>,
}

impl Layer {
    /// Begins one in the empty directory `path`, over `lower`. Its root is as the lower one.
    pub(crate) fn begin(path: &Path, lower: &Stack) -> Result<Self, Failure> {
        let name = path.as_os_str().as_encoded_bytes();
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let top = rustix::fs::openat(CWD, path, flags, Mode::empty()).map_err(|errno| failed(name, errno))?;
        let mut times = BTreeMap::new();
        match lower.root() {
            Some(root) => {
                let stat = copy_up(&root, &top).map_err(|errno| failed(b"/", errno))?;
                times.insert(Vec::new(), times_of(&stat));
            }
            None => {
                rustix::fs::fchmod(&top, Mode::from_raw_mode(0o755)).map_err(|errno| failed(name, errno))?;
            }
        }
        let top = Arc::new(top);
        Ok(Self { stack: lower.with_top(top.clone()), top, times })
    }

    /// The directory to write in, by names that no link is among; made where it is missing, with `owner` and 0755.
    pub(crate) fn directory(
        &mut self,
        components: &[Vec<u8>],
        owner: Owner,
    ) -> Result<Arc<OwnedFd>, Failure> {
        let mut here = self.top.clone();
        for depth in 0..components.len() {
            let name = &components[depth];
            match open_directory(&here, name) {
                Ok(next) => {
                    here = Arc::new(next);
                    continue;
                }
                Err(Errno::NOENT) => {}
                Err(errno) => return Err(self.no_directory(&components[..=depth], errno)),
            }
            let path = components[..=depth].join(&b'/');
            let error = |errno| failed(&path, errno);
            let below = self.stack.resolve(&path, false).map_err(error)?;
            if let Found::File(_) = below.found {
                return Err(self.no_directory(&components[..=depth], Errno::NOTDIR));
            }
            rustix::fs::mkdirat(&*here, name.as_slice(), Mode::RWXU).map_err(error)?;
            let next = open_directory(&here, name).map_err(error)?;
            match below.found {
                Found::Dir(directory) => {
                    let stat = copy_up(&directory, &next).map_err(error)?;
                    self.times.insert(components[..=depth].to_vec(), times_of(&stat));
                }
                _ => {
                    chown(&next, owner).map_err(error)?;
                    rustix::fs::fchmod(&next, Mode::from_raw_mode(0o755)).map_err(error)?;
                }
            }
            here = Arc::new(next);
        }
        Ok(here)
    }

    fn no_directory(&self, components: &[Vec<u8>], errno: Errno) -> Failure {
        match errno {
            Errno::NOTDIR | Errno::LOOP => {
                refused(&components.join(&b'/'), "it is there and is no directory")
            }
            errno => failed(&components.join(&b'/'), errno),
        }
    }

    /// Where a path of the image leads.
    pub(crate) fn resolve(&self, path: &[u8]) -> Result<Resolved, Failure> {
        self.stack.resolve(path, true).map_err(|errno| match errno {
            Errno::NOTDIR => refused(path, "it leads through what is no directory"),
            errno => failed(path, errno),
        })
    }

    /// Makes the way for a new file: what this layer has there goes. A directory stays, and is an error.
    pub(crate) fn clear(&self, parent: &OwnedFd, at: &[Vec<u8>]) -> Result<(), Failure> {
        let path = at.join(&b'/');
        let error = |errno| failed(&path, errno);
        let Some(name) = at.last() else {
            return Err(refused(b"/", "it is a directory, and a file would replace it"));
        };
        match self.stack.resolve(&path, false).map_err(error)?.found {
            Found::Dir(_) => Err(refused(&path, "it is a directory, and a file would replace it")),
            Found::Nothing => Ok(()),
            Found::File(_) => match rustix::fs::unlinkat(parent, name.as_slice(), AtFlags::empty()) {
                // Only lower layers have it.
                Err(Errno::NOENT) => Ok(()),
                gone => gone.map_err(error),
            },
        }
    }

    /// Notes which times a directory gets in the end.
    pub(crate) fn set_times(&mut self, components: Vec<Vec<u8>>, times: Timestamps) {
        self.times.insert(components, times);
    }

    /// Sets what writing would have changed.
    pub(crate) fn finish(self) -> Result<(), Failure> {
        for (components, times) in self.times.into_iter().rev() {
            let path = components.join(&b'/');
            let error = |errno| failed(&path, errno);
            let mut here = self.top.clone();
            for name in &components {
                here = Arc::new(open_directory(&here, name).map_err(error)?);
            }
            rustix::fs::futimens(&*here, &times).map_err(error)?;
        }
        Ok(())
    }
}

/// Gives a new directory what the one below has. Its stat.
fn copy_up(from: &Dir, to: &OwnedFd) -> Result<Stat, Errno> {
    let stat = from.stat()?;
    rustix::fs::fchown(to, Some(Uid::from_raw(stat.st_uid)), Some(Gid::from_raw(stat.st_gid)))?;
    rustix::fs::fchmod(to, Mode::from_raw_mode(stat.st_mode & 0o7777))?;
    for (name, value) in attributes(&beside(from.top(), b"."), true)? {
        set_attribute(&beside(to, b"."), &name, &value)?;
    }
    Ok(stat)
}

pub(crate) fn chown(file: &OwnedFd, owner: Owner) -> Result<(), Errno> {
    rustix::fs::fchown(file, Some(Uid::from_raw(owner.uid)), Some(Gid::from_raw(owner.gid)))
}

/// The times of something, the last access being the last change: reading is no change.
pub(crate) fn times_of(stat: &Stat) -> Timestamps {
    let time = Timespec { tv_sec: stat.st_mtime, tv_nsec: stat.st_mtime_nsec as _ };
    Timestamps { last_access: time, last_modification: time }
}

/// An extended attribute: its name and its value.
pub(crate) type Attribute = (Vec<u8>, Vec<u8>);

/// Extended attributes by name, in order: without those that belong to overlayfs or to a security module's labels.
/// `all`: access control lists too.
pub(crate) fn attributes(path: &[u8], all: bool) -> Result<Vec<Attribute>, Errno> {
    // XATTR_LIST_MAX and XATTR_SIZE_MAX, linux/limits.h.
    let mut names = vec![0; 1024];
    let length = match rustix::fs::llistxattr(path, &mut names[..]) {
        Err(Errno::OPNOTSUPP) => return Ok(Vec::new()),
        Err(Errno::RANGE) => {
            names = vec![0; 65536];
            rustix::fs::llistxattr(path, &mut names[..])?
        }
        length => length?,
    };
    let mut found = Vec::new();
    for name in names[..length].split(|byte| *byte == 0) {
        let is_kept = name == b"security.capability"
            || name.starts_with(b"user.") && !name.starts_with(b"user.overlay.")
            || all && (name.starts_with(b"system.posix_acl_") || name == b"security.ima");
        if !is_kept {
            continue;
        }
        let mut value = vec![0; 65536];
        match rustix::fs::lgetxattr(path, name, &mut value[..]) {
            Err(Errno::NODATA | Errno::OPNOTSUPP) => {}
            length => {
                value.truncate(length?);
                found.push((name.to_vec(), value));
            }
        }
    }
    found.sort();
    Ok(found)
}

/// Sets one, unless the file system knows nothing of it. A capability is what a program works by: never silently lost.
pub(crate) fn set_attribute(path: &[u8], name: &[u8], value: &[u8]) -> Result<(), Errno> {
    match rustix::fs::lsetxattr(path, name, value, XattrFlags::empty()) {
        Err(Errno::OPNOTSUPP | Errno::PERM) if name != b"security.capability" => Ok(()),
        set => set,
    }
}

/// Owner, permissions, attributes and times of what was made by its name, once and in the order that keeps them:
/// chown(2) takes the set-user-ID bit and capabilities away.
pub(crate) fn dress(
    parent: &OwnedFd,
    name: &[u8],
    kind: FileType,
    owner: Owner,
    mode: u32,
    attributes: &[Attribute],
    times: &Timestamps,
) -> Result<(), Errno> {
    let (uid, gid) = (Some(Uid::from_raw(owner.uid)), Some(Gid::from_raw(owner.gid)));
    rustix::fs::chownat(parent, name, uid, gid, AtFlags::SYMLINK_NOFOLLOW)?;
    if kind != FileType::Symlink {
        rustix::fs::chmodat(parent, name, Mode::from_raw_mode(mode), AtFlags::empty())?;
    }
    let path = beside(parent, name);
    attributes.iter().try_for_each(|(key, value)| set_attribute(&path, key, value))?;
    rustix::fs::utimensat(parent, name, times, AtFlags::SYMLINK_NOFOLLOW)
}
