//! A file tree copied as it is: hard links, holes, extended attributes, devices, owners, times. Where the file system
//! shares blocks between files, nothing but names is copied. Every step goes by descriptors; no link is followed.

use std::collections::HashMap;
use std::ffi::{CStr, CString};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use rustix::fs::{
    AtFlags, FileType, Gid, Mode, OFlags, RawDir, SeekFrom, Stat, Timespec, Timestamps, Uid, XattrFlags,
};
use rustix::io::Errno;
use step::Failure;

const STEP: &str = "storage.copy";

/// What was copied.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Copied {
    /// Directories, files, links and what else has a name.
    pub(crate) names: u64,
    /// Of data, holes not counted.
    pub(crate) bytes: u64,
}

/// Copies what is in the directory `from`, and its own attributes, to the directory `to`. `shown` is what `from` is
/// called in messages.
pub(crate) fn tree(from: &OwnedFd, to: &OwnedFd, shown: &Path) -> Result<Copied, Failure> {
    let mut copy = Copy::new(to, false);
    copy.directory(from, to, shown, Path::new(""))?;
    Ok(copy.copied)
}

/// Copies those of the entries of `from` that `wanted` says to the empty directory `to`. They may be parts of an overlay:
/// its whiteouts and what it has noted for itself are copied too.
pub(crate) fn parts(
    from: &OwnedFd,
    to: &OwnedFd,
    shown: &Path,
    wanted: &dyn Fn(&[u8]) -> bool,
) -> Result<(), Failure> {
    let mut copy = Copy::new(to, true);
    for name in names(from).map_err(|errno| failure(shown, errno))? {
        if !wanted(name.to_bytes()) {
            continue;
        }
        let part = Path::new(std::ffi::OsStr::from_bytes(name.to_bytes()));
        let stat = rustix::fs::statat(from, &name, AtFlags::SYMLINK_NOFOLLOW)
            .map_err(|errno| failure(&shown.join(part), errno))?;
        copy.entry((from, to), &name, &stat, &shown.join(part), part)?;
    }
    Ok(())
}

/// A directory's own owner, permissions, extended attributes and times.
pub(crate) fn own_attributes(from: &OwnedFd, to: &OwnedFd) -> Result<(), Errno> {
    attributes_of(from, to, false)
}

fn attributes_of(from: &OwnedFd, to: &OwnedFd, layer: bool) -> Result<(), Errno> {
    let stat = rustix::fs::fstat(from)?;
    let to = open(to, c".")?;
    Copy::attributes(&within(from, c"."), &within(&to, c"."), layer)?;
    rustix::fs::fchown(&to, Some(Uid::from_raw(stat.st_uid)), Some(Gid::from_raw(stat.st_gid)))?;
    rustix::fs::fchmod(&to, Mode::from_raw_mode(stat.st_mode & 0o7777))?;
    rustix::fs::futimens(&to, &times(&stat))
}

struct Copy<'t> {
    top: &'t OwnedFd,
    /// Where the first name of a file with several went.
    linked: HashMap<(u64, u64), PathBuf>,
    /// Until the file system refuses.
    reflinks: bool,
    /// It is what an overlay wrote: whiteouts are entries, and its notes go along.
    layer: bool,
    copied: Copied,
}

impl<'t> Copy<'t> {
    fn new(top: &'t OwnedFd, layer: bool) -> Self {
        Self { top, linked: HashMap::new(), reflinks: true, layer, copied: Copied::default() }
    }

    /// `below`: the directory's path below the top.
    fn directory(&mut self, from: &OwnedFd, to: &OwnedFd, shown: &Path, below: &Path) -> Result<(), Failure> {
        let failed = |errno: Errno| failure(shown, errno);
        // A directory that was opened by its path alone cannot be listed.
        let listed = open(from, c".").map_err(failed)?;
        for name in names(&listed).map_err(failed)? {
            let part = Path::new(std::ffi::OsStr::from_bytes(name.to_bytes()));
            let stat = match rustix::fs::statat(from, &name, AtFlags::SYMLINK_NOFOLLOW) {
                // The host's own files come and go.
                Err(Errno::NOENT) => continue,
                stat => stat.map_err(|errno| failure(&shown.join(part), errno))?,
            };
            self.entry((from, to), &name, &stat, &shown.join(part), &below.join(part))?;
        }
        attributes_of(from, to, self.layer).map_err(failed)
    }

    fn entry(
        &mut self,
        (from, to): (&OwnedFd, &OwnedFd),
        name: &CStr,
        stat: &Stat,
        shown: &Path,
        below: &Path,
    ) -> Result<(), Failure> {
        let failed = |errno: Errno| failure(shown, errno);
        self.copied.names += 1;
        let kind = FileType::from_raw_mode(stat.st_mode);
        if kind == FileType::Directory {
            rustix::fs::mkdirat(to, name, Mode::RWXU).map_err(failed)?;
            let (from, to) = (open(from, name).map_err(failed)?, open(to, name).map_err(failed)?);
            return self.directory(&from, &to, shown, below);
        }
        if stat.st_nlink > 1 {
            let id = (stat.st_dev, stat.st_ino);
            if let Some(first) = self.linked.get(&id) {
                return rustix::fs::linkat(self.top, first, to, name, AtFlags::empty()).map_err(failed);
            }
            self.linked.insert(id, below.to_owned());
        }
        match kind {
            FileType::RegularFile => {
                if !self.file(from, to, name, stat).map_err(failed)? {
                    return Ok(());
                }
            }
            FileType::Symlink => {
                let target = rustix::fs::readlinkat(from, name, Vec::new()).map_err(failed)?;
                rustix::fs::symlinkat(target, to, name).map_err(failed)?;
            }
            // A whiteout of an overlay: nothing is here.
            FileType::CharacterDevice if stat.st_rdev == 0 && !self.layer => return Ok(()),
            kind => rustix::fs::mknodat(to, name, kind, Mode::RUSR, stat.st_rdev).map_err(failed)?,
        }
        let owner = (Some(Uid::from_raw(stat.st_uid)), Some(Gid::from_raw(stat.st_gid)));
        rustix::fs::chownat(to, name, owner.0, owner.1, AtFlags::SYMLINK_NOFOLLOW).map_err(failed)?;
        // chown(2) takes capabilities and set-user-ID bits away: they come after it.
        Self::attributes(&within(from, name), &within(to, name), self.layer).map_err(failed)?;
        if kind != FileType::Symlink {
            let mode = Mode::from_raw_mode(stat.st_mode & 0o7777);
            rustix::fs::chmodat(to, name, mode, AtFlags::empty()).map_err(failed)?;
        }
        rustix::fs::utimensat(to, name, &times(stat), AtFlags::SYMLINK_NOFOLLOW).map_err(failed)
    }

    /// The content of a file; false if it is gone.
    fn file(&mut self, from: &OwnedFd, to: &OwnedFd, name: &CStr, stat: &Stat) -> Result<bool, Errno> {
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let source = match rustix::fs::openat(from, name, flags, Mode::empty()) {
            Err(Errno::NOENT) => return Ok(false),
            opened => opened?,
        };
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
        let target = rustix::fs::openat(to, name, flags, Mode::RUSR | Mode::WUSR)?;
        let size = stat.st_size as u64;
        if size == 0 {
            return Ok(true);
        }
        if self.reflinks {
            match rustix::fs::ioctl_ficlone(&target, &source) {
                Ok(()) => return Ok(true),
                Err(_) => self.reflinks = false,
            }
        }
        let mut at = 0;
        while at < size {
            let data = match rustix::fs::seek(&source, SeekFrom::Data(at)) {
                Err(Errno::NXIO) => break,
                // It knows no holes.
                Err(Errno::INVAL) => at,
                data => data?.min(size),
            };
            let hole = rustix::fs::seek(&source, SeekFrom::Hole(data)).unwrap_or(size).min(size);
            stretch(&source, &target, data, hole - data)?;
            self.copied.bytes += hole - data;
            at = hole;
        }
        // Ends in a hole, or became shorter meanwhile.
        rustix::fs::ftruncate(&target, size)?;
        Ok(true)
    }

    fn attributes(from: &[u8], to: &[u8], layer: bool) -> Result<(), Errno> {
        let mut names = [0; 1024];
        let list = match rustix::fs::llistxattr(from, &mut names[..]) {
            Ok(0) | Err(Errno::OPNOTSUPP | Errno::NOENT) => return Ok(()),
            Ok(length) => names[..length].to_vec(),
            Err(Errno::RANGE) => {
                // XATTR_LIST_MAX, linux/limits.h.
                let mut names = vec![0; 65536];
                let length = rustix::fs::llistxattr(from, &mut names[..])?;
                names.truncate(length);
                names
            }
            Err(errno) => return Err(errno),
        };
        for name in list.split(|byte| *byte == 0).filter(|name| !name.is_empty()) {
            // What an overlay has noted for itself means nothing elsewhere.
            let of_overlay = name.starts_with(b"trusted.overlay.") || name.starts_with(b"user.overlay.");
            if of_overlay && !layer {
                continue;
            }
            // XATTR_SIZE_MAX.
            let mut value = vec![0; 65536];
            let length = match rustix::fs::lgetxattr(from, name, &mut value[..]) {
                Err(Errno::NODATA) => continue,
                length => length?,
            };
            match rustix::fs::lsetxattr(to, name, &value[..length], XattrFlags::empty()) {
                // Labels of a security module that is not there. A capability is what a program works by.
                Err(Errno::OPNOTSUPP | Errno::PERM) if name != b"security.capability" => {}
                result => result?,
            }
        }
        Ok(())
    }
}

/// Copies `length` bytes at the same place, in the kernel.
fn stretch(source: &OwnedFd, target: &OwnedFd, offset: u64, length: u64) -> Result<(), Errno> {
    let (mut at, end) = (offset, offset + length);
    while at < end {
        let left = (end - at).min(1 << 30) as usize;
        let (mut input, mut output) = (at, at);
        match rustix::fs::copy_file_range(source, Some(&mut input), target, Some(&mut output), left) {
            Ok(0) => return Ok(()),
            Ok(count) => at += count as u64,
            // Between file systems of different kinds.
            Err(Errno::XDEV | Errno::INVAL | Errno::OPNOTSUPP | Errno::NOSYS) => {
                rustix::fs::seek(target, SeekFrom::Start(at))?;
                match rustix::fs::sendfile(target, source, Some(&mut input), left)? {
                    0 => return Ok(()),
                    count => at += count as u64,
                }
            }
            Err(errno) => return Err(errno),
        }
    }
    Ok(())
}

fn open(parent: &OwnedFd, name: &CStr) -> Result<OwnedFd, Errno> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    rustix::fs::openat(parent, name, flags, Mode::empty())
}

fn names(directory: &OwnedFd) -> Result<Vec<CString>, Errno> {
    let mut buffer = vec![MaybeUninit::uninit(); 32768];
    let mut listing = RawDir::new(directory, &mut buffer);
    let mut all = Vec::new();
    while let Some(entry) = listing.next() {
        let entry = entry?;
        if !matches!(entry.file_name().to_bytes(), b"." | b"..") {
            all.push(entry.file_name().to_owned());
        }
    }
    Ok(all)
}

/// A path to `name` in an open directory, for calls that take none; the name, being last, is not followed.
fn within(parent: impl AsFd, name: &CStr) -> Vec<u8> {
    [format!("/proc/self/fd/{}/", parent.as_fd().as_raw_fd()).as_bytes(), name.to_bytes()].concat()
}

fn times(stat: &Stat) -> Timestamps {
    let time = |seconds, nanoseconds| Timespec { tv_sec: seconds, tv_nsec: nanoseconds as _ };
    Timestamps {
        last_access: time(stat.st_atime, stat.st_atime_nsec),
        last_modification: time(stat.st_mtime, stat.st_mtime_nsec),
    }
}

pub(crate) fn failure(path: &Path, errno: Errno) -> Failure {
    let failure = Failure::new(STEP, path.display().to_string(), errno);
    match errno {
        Errno::NOSPC | Errno::DQUOT => failure.hint(
            "the copy does not fit: give more with --storage-opt size=, or free some space below --root",
        ),
        Errno::MFILE => failure.hint("the tree is deep: raise the limit of open files, ulimit -n"),
        _ => failure,
    }
}
