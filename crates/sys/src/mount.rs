//! mount_setattr(2), which rustix does not have yet, and the paths of mountinfo. The rest of the mount API comes from
//! rustix.

use std::ffi::{CStr, OsString};
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::os::unix::ffi::OsStringExt;
use std::path::PathBuf;

/// What mount_setattr(2) changes: MOUNT_ATTR_* bits, a propagation (MS_PRIVATE, MS_SLAVE, …; 0 keeps it) and the
/// user namespace of an idmapped mount.
#[derive(Debug, Clone, Copy, Default)]
pub struct MountAttr<'fd> {
    /// Bits to set.
    pub set: u64,
    /// Bits to clear.
    pub clear: u64,
    /// MS_PRIVATE and its like.
    pub propagation: u64,
    /// With MOUNT_ATTR_IDMAP in `set`.
    pub userns: Option<BorrowedFd<'fd>>,
}

/// MOUNT_ATTR_RDONLY.
pub const RDONLY: u64 = libc::MOUNT_ATTR_RDONLY;
/// MOUNT_ATTR_NOSUID.
pub const NOSUID: u64 = libc::MOUNT_ATTR_NOSUID;
/// MOUNT_ATTR_NODEV.
pub const NODEV: u64 = libc::MOUNT_ATTR_NODEV;
/// MOUNT_ATTR_NOEXEC.
pub const NOEXEC: u64 = libc::MOUNT_ATTR_NOEXEC;
/// MOUNT_ATTR__ATIME: the mask of the access time settings.
pub const ATIME: u64 = libc::MOUNT_ATTR__ATIME;
/// MOUNT_ATTR_NOATIME.
pub const NOATIME: u64 = libc::MOUNT_ATTR_NOATIME;
/// MOUNT_ATTR_STRICTATIME.
pub const STRICTATIME: u64 = libc::MOUNT_ATTR_STRICTATIME;
/// MOUNT_ATTR_NODIRATIME.
pub const NODIRATIME: u64 = libc::MOUNT_ATTR_NODIRATIME;
/// MOUNT_ATTR_NOSYMFOLLOW.
pub const NOSYMFOLLOW: u64 = libc::MOUNT_ATTR_NOSYMFOLLOW;
/// MOUNT_ATTR_IDMAP.
pub const IDMAP: u64 = libc::MOUNT_ATTR_IDMAP;

/// Changes the mount that `fd` is, or that `path` below it is; `recursive`: and all mounts below it.
pub fn set_attr(fd: impl AsFd, path: &CStr, recursive: bool, attr: MountAttr<'_>) -> io::Result<()> {
    let raw = libc::mount_attr {
        attr_set: attr.set,
        attr_clr: attr.clear,
        propagation: attr.propagation,
        userns_fd: attr.userns.map_or(0, |fd| fd.as_raw_fd() as u64),
    };
    let mut flags = 0;
    if path.is_empty() {
        flags |= libc::AT_EMPTY_PATH;
    }
    if recursive {
        flags |= libc::AT_RECURSIVE;
    }
    // SAFETY: `path` is NUL-terminated, `raw` is a valid mount_attr, and its size is given.
    let result = unsafe {
        libc::syscall(
            libc::SYS_mount_setattr,
            fd.as_fd().as_raw_fd(),
            path.as_ptr(),
            flags,
            &raw const raw,
            size_of::<libc::mount_attr>(),
        )
    };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// A path as mountinfo has it, in which space, tab, newline and backslash are a backslash and three octal digits:
/// proc_pid_mountinfo(5).
#[must_use]
pub fn unescape(word: &[u8]) -> PathBuf {
    let mut path = Vec::with_capacity(word.len());
    let mut rest = word;
    while let [byte, tail @ ..] = rest {
        rest = tail;
        path.push(match tail {
            [a @ b'0'..=b'3', b @ b'0'..=b'7', c @ b'0'..=b'7', after @ ..] if *byte == b'\\' => {
                rest = after;
                (a - b'0') << 6 | (b - b'0') << 3 | (c - b'0')
            }
            _ => *byte,
        });
    }
    PathBuf::from(OsString::from_vec(path))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn octal_digits_are_letters() {
        let path = |text: &str| unescape(text.as_bytes()).into_os_string().into_vec();
        assert_eq!(path(r"/a\040b\134c\9\+12"), br"/a b\c\9\+12");
        assert_eq!(path(r"/\377\04"), b"/\xff\\04");
    }
}
