//! Reading and writing the files of a control group: whole, small, and never to be created by us.
//! Three system calls a file, no look at its size: these files have none.

use std::io;
use std::path::{Path, PathBuf};

use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;

/// The whole of `path`.
pub(crate) fn read(path: &Path) -> io::Result<String> {
    let fd = rustix::fs::open(path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())?;
    let mut text = Vec::with_capacity(4096);
    loop {
        if text.capacity() - text.len() < 1024 {
            text.reserve(text.capacity());
        }
        match rustix::io::read(&fd, rustix::buffer::spare_capacity(&mut text)) {
            Ok(0) => break,
            Ok(_) | Err(Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(String::from_utf8(text).unwrap_or_else(|bytes| String::from_utf8_lossy(bytes.as_bytes()).into_owned()))
}

/// Writes each line of `value` to `path` by a write(2) of its own: the kernel takes one entry a write.
pub(crate) fn write(path: &Path, value: &str) -> io::Result<()> {
    let fd = rustix::fs::open(path, OFlags::WRONLY | OFlags::CLOEXEC, Mode::empty())?;
    // An empty value is one too: it clears a list. A write(2) of nothing would not reach the kernel's file.
    let lines = if value.is_empty() { "\n" } else { value }.lines();
    for line in lines.map(|line| if line.is_empty() { "\n" } else { line }) {
        loop {
            match rustix::io::write(&fd, line.as_bytes()) {
                Err(Errno::INTR) => {}
                Err(error) => return Err(error.into()),
                Ok(_) => break,
            }
        }
    }
    Ok(())
}

/// The directories below `dir`: its child groups. Empty where `dir` is gone.
pub(crate) fn children(dir: &Path) -> Vec<PathBuf> {
    let Ok(entries) = std::fs::read_dir(dir) else { return Vec::new() };
    entries
        .flatten()
        .filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()))
        .map(|entry| entry.path())
        .collect()
}

/// `dir` and every group below it, parents first.
pub(crate) fn subtree(dir: &Path) -> Vec<PathBuf> {
    let mut all = vec![dir.to_owned()];
    let mut next = 0;
    while next < all.len() {
        let below = children(&all[next]);
        all.extend(below);
        next += 1;
    }
    all
}

/// The number behind `key` in lines of `key number`.
pub(crate) fn keyed(text: &str, key: &str) -> Option<u64> {
    text.lines().find_map(|line| {
        let (name, value) = line.split_once(' ')?;
        if name == key { value.trim().parse().ok() } else { None }
    })
}
