//! Paths inside of a root file system that is not trusted: every look-up stays below the root, whatever links the
//! image brought (openat2(2), RESOLVE_IN_ROOT; CVE-2019-19921, CVE-2021-30465).

use std::os::fd::{AsFd, OwnedFd};
use std::path::{Component, Path};

use rustix::fs::{Mode, OFlags, ResolveFlags};
use rustix::io::Errno;

/// What a mount is put on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// A directory.
    Directory,
    /// A file.
    File,
}

/// `path` below `root`, as a descriptor to refer to it (O_PATH). Links are followed inside of the root.
pub(crate) fn open(root: impl AsFd, path: &Path) -> Result<OwnedFd, Errno> {
    open_with(root, path, OFlags::PATH)
}

/// `path` below `root`, opened with `flags`.
pub(crate) fn open_with(root: impl AsFd, path: &Path, flags: OFlags) -> Result<OwnedFd, Errno> {
    let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
    retry(|| rustix::fs::openat2(root.as_fd(), path, flags | OFlags::CLOEXEC, Mode::empty(), resolve))
}

/// `path` below `root` if no component of it is a link: for /proc, /sys and /dev, where a link could only be a trick.
/// ELOOP if one is.
pub(crate) fn open_plain(root: impl AsFd, path: &Path) -> Result<OwnedFd, Errno> {
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS;
    let path = path.strip_prefix("/").unwrap_or(path);
    let path = if path.as_os_str().is_empty() { Path::new(".") } else { path };
    retry(|| rustix::fs::openat2(root.as_fd(), path, OFlags::PATH | OFlags::CLOEXEC, Mode::empty(), resolve))
}

/// openat2(2) answers EAGAIN where a rename elsewhere raced with its look-up and it cannot be sure of the root.
fn retry(mut open: impl FnMut() -> Result<OwnedFd, Errno>) -> Result<OwnedFd, Errno> {
    for _ in 0..128 {
        match open() {
            Err(Errno::AGAIN | Errno::INTR) => {}
            result => return result,
        }
    }
    open()
}

/// [`open`], after making what is missing of `path`: directories on the way, and at its end a directory or an empty
/// file. A link that leads nowhere is EEXIST.
pub(crate) fn ensure(root: impl AsFd, path: &Path, kind: Kind) -> Result<OwnedFd, Errno> {
    match open(&root, path) {
        Err(Errno::NOENT) => {}
        result => return result,
    }
    let names: Vec<_> = path
        .components()
        .filter_map(|part| match part {
            Component::Normal(name) => Some(name),
            _ => None,
        })
        .collect();
    let Some((last, parents)) = names.split_last() else { return open(&root, Path::new("/")) };
    let mut below = Path::new("/").to_owned();
    for name in parents {
        let parent = open(&root, &below)?;
        below.push(name);
        make(&parent, Path::new(name), Kind::Directory)?;
    }
    let parent = open(&root, &below)?;
    make(&parent, Path::new(last), kind)?;
    open(&root, path).map_err(|errno| if errno == Errno::NOENT { Errno::EXIST } else { errno })
}

fn make(parent: &OwnedFd, name: &Path, kind: Kind) -> Result<(), Errno> {
    let made = match kind {
        Kind::Directory => rustix::fs::mkdirat(parent, name, Mode::from_raw_mode(0o755)),
        Kind::File => {
            let flags = OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::WRONLY;
            rustix::fs::openat(parent, name, flags, Mode::from_raw_mode(0o644)).map(drop)
        }
    };
    match made {
        Err(Errno::EXIST) => Ok(()),
        result => result,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::symlink;

    /// A directory of this test's own, removed at its end.
    struct Scratch(std::path::PathBuf);

    impl Scratch {
        fn new(name: &str) -> (Self, OwnedFd) {
            let path = std::env::temp_dir().join(format!("minidocker-path-{}-{name}", std::process::id()));
            fs::create_dir(&path).unwrap();
            let root = rustix::fs::open(&path, OFlags::PATH | OFlags::CLOEXEC, Mode::empty()).unwrap();
            (Self(path), root)
        }
    }

    impl Drop for Scratch {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    #[test]
    fn links_stay_below_the_root() {
        let (dir, root) = Scratch::new("links");
        symlink("/etc", dir.0.join("absolute")).unwrap();
        symlink("../../../../etc", dir.0.join("up")).unwrap();
        // Neither leads to the host's /etc: both mean the root's own, which is made.
        for link in ["/absolute", "/up"] {
            assert_eq!(open(&root, Path::new(&format!("{link}/passwd"))).unwrap_err(), Errno::NOENT);
        }
        assert_eq!(ensure(&root, Path::new("/up/x/y"), Kind::File).unwrap_err(), Errno::NOENT);
        fs::create_dir(dir.0.join("etc")).unwrap();
        ensure(&root, Path::new("/up/x/y"), Kind::File).unwrap();
        assert!(dir.0.join("etc/x/y").is_file());
    }

    #[test]
    fn a_plain_path_has_no_links() {
        let (dir, root) = Scratch::new("plain");
        symlink("etc", dir.0.join("proc")).unwrap();
        fs::create_dir(dir.0.join("etc")).unwrap();
        assert_eq!(open_plain(&root, Path::new("/proc")).unwrap_err(), Errno::LOOP);
        open_plain(&root, Path::new("/etc")).unwrap();
        open_plain(&root, Path::new("/")).unwrap();
    }

    #[test]
    fn a_link_to_nowhere_is_refused_and_not_followed() {
        let (dir, root) = Scratch::new("dangling");
        symlink("/nowhere", dir.0.join("data")).unwrap();
        assert_eq!(ensure(&root, Path::new("/data"), Kind::Directory).unwrap_err(), Errno::EXIST);
        assert!(!dir.0.join("nowhere").exists());
    }
}
