//! What a file has beside its content: owner, permissions, times, extended attributes.

use std::os::fd::{AsFd, AsRawFd as _, OwnedFd};

use rustix::fs::{AtFlags, Gid, Mode, Timespec, Timestamps, Uid, XattrFlags};
use rustix::io::Errno;

use super::pipeline::Trouble;
use super::reader::Entry;

/// Everything of an entry that is set after it was made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Metadata {
    pub(super) mode: u32,
    pub(super) uid: u32,
    pub(super) gid: u32,
    pub(super) mtime: (i64, u32),
    pub(super) atime: (i64, u32),
    pub(super) attributes: Vec<(Vec<u8>, Vec<u8>)>,
}

/// Attributes that belong to overlayfs itself. An archive's would send lookups to other files of lower layers, so
/// they are never set from one; see "Security" in the kernel's Documentation/filesystems/overlayfs.rst.
pub(super) fn is_overlay(name: &[u8]) -> bool {
    name.starts_with(b"trusted.overlay.") || name.starts_with(b"user.overlay.")
}

impl Metadata {
    /// Takes the entry's, attributes of overlayfs left out.
    pub(super) fn of(entry: &mut Entry) -> Self {
        let mut attributes = std::mem::take(&mut entry.attributes);
        attributes.retain(|(name, _)| !is_overlay(name));
        Self {
            mode: entry.mode,
            uid: entry.uid,
            gid: entry.gid,
            mtime: entry.mtime,
            atime: entry.atime.unwrap_or(entry.mtime),
            attributes,
        }
    }

    /// Of a directory that the archive has files in and does not name: the same in every unpacking.
    pub(super) fn implied() -> Self {
        Self { mode: 0o755, uid: 0, gid: 0, mtime: (0, 0), atime: (0, 0), attributes: Vec::new() }
    }

    /// Sets it on an open file or directory. How many attributes the file system does not know.
    pub(super) fn set(&self, file: &OwnedFd, owned: bool) -> Result<u64, Trouble> {
        if !owned {
            rustix::fs::fchown(file, Some(Uid::from_raw(self.uid)), Some(Gid::from_raw(self.gid)))?;
        }
        // chown(2) takes the set-user-ID bit and capabilities away: what it takes comes after it.
        rustix::fs::fchmod(file, Mode::from_raw_mode(self.mode))?;
        let set = |name: &[u8], value: &[u8]| rustix::fs::fsetxattr(file, name, value, XattrFlags::empty());
        let unknown = self.set_attributes(set)?;
        rustix::fs::futimens(file, &self.times())?;
        Ok(unknown)
    }

    /// Sets it on what cannot be opened: links, devices, pipes. How many attributes the file system does not know.
    pub(super) fn set_at(&self, parent: &OwnedFd, name: &[u8], is_link: bool) -> Result<u64, Trouble> {
        let (uid, gid) = (Uid::from_raw(self.uid), Gid::from_raw(self.gid));
        rustix::fs::chownat(parent, name, Some(uid), Some(gid), AtFlags::SYMLINK_NOFOLLOW)?;
        if !is_link {
            rustix::fs::chmodat(parent, name, Mode::from_raw_mode(self.mode), AtFlags::empty())?;
        }
        let mut unknown = 0;
        if !self.attributes.is_empty() {
            let path = beside(parent, name);
            unknown = self.set_attributes(|key, value| {
                rustix::fs::lsetxattr(path.as_slice(), key, value, XattrFlags::empty())
            })?;
        }
        rustix::fs::utimensat(parent, name, &self.times(), AtFlags::SYMLINK_NOFOLLOW)?;
        Ok(unknown)
    }

    fn set_attributes(&self, set: impl Fn(&[u8], &[u8]) -> Result<(), Errno>) -> Result<u64, Trouble> {
        let mut unknown = 0;
        for (name, value) in &self.attributes {
            match set(name, value) {
                Ok(()) => {}
                // Labels of a security module that is not there, or `user.` on a link: other engines go on too. A
                // capability is what a program works by: never silently lost.
                Err(Errno::OPNOTSUPP | Errno::PERM) if name != b"security.capability" => unknown += 1,
                Err(errno) => {
                    let name = super::shown(name);
                    let words = std::io::Error::from(errno);
                    let words = step::words(&words);
                    return Err(Trouble::refused(format!("its attribute {name} cannot be set: {words}")));
                }
            }
        }
        Ok(unknown)
    }

    fn times(&self) -> Timestamps {
        let time =
            |(seconds, nanoseconds): (i64, u32)| Timespec { tv_sec: seconds, tv_nsec: nanoseconds.into() };
        Timestamps { last_access: time(self.atime), last_modification: time(self.mtime) }
    }
}

/// A path to `name` in an open directory, for calls that take none: the descriptor's link is followed, the name, being
/// the last component, is not.
pub(super) fn beside(parent: impl AsFd, name: &[u8]) -> Vec<u8> {
    [format!("/proc/self/fd/{}/", parent.as_fd().as_raw_fd()).as_bytes(), name].concat()
}
