//! Paths inside of a root file system that is not trusted: every look-up stays below the root, whatever links the
//! image brought (openat2(2), RESOLVE_IN_ROOT; CVE-2019-19921, CVE-2021-30465).

use std::ffi::OsString;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStringExt;
use std::path::{Component, Path, PathBuf};

use rustix::fs::{FileType, Mode, OFlags, ResolveFlags};
use rustix::io::Errno;

/// What a mount is put on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A directory.
    Directory,
    /// A file.
    File,
}

/// `path` below `root`, as a descriptor to refer to it (O_PATH). Links are followed inside of the root.
pub fn open(root: impl AsFd, path: &Path) -> Result<OwnedFd, Errno> {
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

/// `path` below the directory `top`, whose links are followed as long as they do not lead out of it: EXDEV if one does.
pub(crate) fn open_beneath(top: &Path, path: &Path) -> Result<OwnedFd, Errno> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let top = rustix::fs::open(top, flags, Mode::empty())?;
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_MAGICLINKS;
    retry(|| rustix::fs::openat2(&top, path, OFlags::PATH | OFlags::CLOEXEC, Mode::empty(), resolve))
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

/// How many links may follow on one another, as in the kernel (path_resolution(7)).
const LINKS: u32 = 40;

/// [`open`], after making what is missing of `path`: directories on the way, and at its end a directory or an empty
/// file. A link that leads nowhere leads to what is made, inside of the root like everything else.
pub fn ensure(root: impl AsFd, path: &Path, kind: Kind) -> Result<OwnedFd, Errno> {
    match open(&root, path) {
        Err(Errno::NOENT) => make_way(root, path, kind, LINKS),
        result => result,
    }
}

/// [`open_plain`], after making what is missing of `path`. ELOOP if any part of it is a link.
pub(crate) fn ensure_plain(root: impl AsFd, path: &Path, kind: Kind) -> Result<OwnedFd, Errno> {
    match open_plain(&root, path) {
        Err(Errno::NOENT) => make_way(root, path, kind, 0),
        result => result,
    }
}

/// Walks `path`, following at most so many links, and makes what is missing.
fn make_way(root: impl AsFd, path: &Path, kind: Kind, most: u32) -> Result<OwnedFd, Errno> {
    // From descriptor to descriptor, no link ever followed by the kernel; `..` goes back on this stack, not up.
    let mut way: Vec<OwnedFd> = vec![open(&root, Path::new("/"))?];
    let mut todo = parts(path);
    let mut links = 0;
    while let Some(part) = todo.pop() {
        let last = todo.is_empty();
        if part == ".." {
            if way.len() > 1 {
                way.pop();
            }
            continue;
        }
        let Some(parent) = way.last() else { return Err(Errno::NOENT) };
        let step = match open_here(parent, Path::new(&part)) {
            Err(Errno::NOENT) => {
                make(parent, Path::new(&part), if last { kind } else { Kind::Directory })?;
                open_here(parent, Path::new(&part))?
            }
            step => step?,
        };
        if FileType::from_raw_mode(rustix::fs::fstat(&step)?.st_mode) != FileType::Symlink {
            way.push(step);
            continue;
        }
        links += 1;
        if links > most {
            return Err(Errno::LOOP);
        }
        let target = rustix::fs::readlinkat(parent, part.as_os_str(), Vec::new())?;
        let target = PathBuf::from(OsString::from_vec(target.into_bytes()));
        if target.is_absolute() {
            way.truncate(1);
        }
        todo.extend(parts(&target));
    }
    way.pop().ok_or(Errno::NOENT)
}

/// The components of a path, the first one last.
fn parts(path: &Path) -> Vec<OsString> {
    let name = |part| match part {
        Component::Normal(name) => Some(name.to_owned()),
        Component::ParentDir => Some("..".into()),
        _ => None,
    };
    path.components().rev().filter_map(name).collect()
}

fn open_here(parent: &OwnedFd, name: &Path) -> Result<OwnedFd, Errno> {
    let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    rustix::fs::openat(parent, name, flags, Mode::empty())
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
        ensure(&root, Path::new("/up/x/y"), Kind::File).unwrap();
        assert!(dir.0.join("etc/x/y").is_file());
        assert!(!Path::new("/etc/x").exists());
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
    fn a_link_to_nowhere_leads_to_what_is_made() {
        let (dir, root) = Scratch::new("dangling");
        fs::create_dir(dir.0.join("etc")).unwrap();
        symlink("../run/systemd/resolve/stub.conf", dir.0.join("etc/resolv.conf")).unwrap();
        ensure(&root, Path::new("/etc/resolv.conf"), Kind::File).unwrap();
        assert!(dir.0.join("run/systemd/resolve/stub.conf").is_file());
        symlink("/a/../../b/c", dir.0.join("far")).unwrap();
        ensure(&root, Path::new("/far/d"), Kind::Directory).unwrap();
        assert!(dir.0.join("b/c/d").is_dir());
        assert_eq!(ensure_plain(&root, Path::new("/far/e"), Kind::File).unwrap_err(), Errno::LOOP);
        symlink("nowhere", dir.0.join("console")).unwrap();
        assert_eq!(ensure_plain(&root, Path::new("/console"), Kind::File).unwrap_err(), Errno::LOOP);
        assert!(!dir.0.join("nowhere").exists());
        ensure_plain(&root, Path::new("/dev/console"), Kind::File).unwrap();
        assert!(dir.0.join("dev/console").is_file());
        symlink("round", dir.0.join("round")).unwrap();
        assert_eq!(ensure(&root, Path::new("/round/x"), Kind::File).unwrap_err(), Errno::LOOP);
    }
}
