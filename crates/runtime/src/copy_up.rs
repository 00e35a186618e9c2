//! `tmpcopyup`: a new tmpfs starts with a copy of the directory that it hides.

use std::os::fd::{AsFd, OwnedFd};

use rustix::fs::{AtFlags, Dir, FileType, Gid, Mode, OFlags, Uid};
use rustix::io::Errno;

/// Copies what lies in `from` into the empty directory `to`: directories, files, links; owners and modes.
pub(crate) fn copy(from: &OwnedFd, to: &OwnedFd) -> Result<(), Errno> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let readable = rustix::fs::openat(from, ".", flags, Mode::empty())?;
    for entry in Dir::read_from(&readable)? {
        let entry = entry?;
        let name = entry.file_name();
        if name == c"." || name == c".." {
            continue;
        }
        let stat = rustix::fs::statat(&readable, name, AtFlags::SYMLINK_NOFOLLOW)?;
        let mode = Mode::from_raw_mode(stat.st_mode);
        match FileType::from_raw_mode(stat.st_mode) {
            FileType::Directory => {
                rustix::fs::mkdirat(to, name, mode)?;
                let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
                let below_from = rustix::fs::openat(&readable, name, flags, Mode::empty())?;
                let below_to = rustix::fs::openat(to, name, flags, Mode::empty())?;
                copy(&below_from, &below_to)?;
            }
            FileType::Symlink => {
                let link = rustix::fs::readlinkat(&readable, name, Vec::new())?;
                rustix::fs::symlinkat(&link, to, name)?;
            }
            FileType::RegularFile => {
                // A neighbour may have put a link or a pipe there meanwhile: neither is followed or waited for.
                let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
                let source = rustix::fs::openat(&readable, name, flags, Mode::empty())?;
                let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
                let target = rustix::fs::openat(to, name, flags, mode)?;
                while rustix::fs::sendfile(target.as_fd(), source.as_fd(), None, 1 << 20)? > 0 {}
            }
            kind => rustix::fs::mknodat(to, name, kind, mode, stat.st_rdev)?,
        }
        let (owner, group) = (Uid::from_raw(stat.st_uid), Gid::from_raw(stat.st_gid));
        rustix::fs::chownat(to, name, Some(owner), Some(group), AtFlags::SYMLINK_NOFOLLOW)?;
        if FileType::from_raw_mode(stat.st_mode) != FileType::Symlink {
            rustix::fs::chmodat(to, name, mode, AtFlags::empty())?;
        }
    }
    Ok(())
}
