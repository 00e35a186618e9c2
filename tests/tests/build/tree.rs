//! A directory as lines that can be compared: everything that a layer says of a file but times.

use std::collections::BTreeMap;
use std::fs;
use std::hash::{DefaultHasher, Hasher as _};
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _};
use std::path::Path;

/// Paths, each with its kind, mode, owner, size, content, target, other names, attributes.
pub(crate) type Tree = BTreeMap<String, String>;

/// Reads a tree. Nothing of it is followed.
#[track_caller]
pub(crate) fn read(root: &Path) -> Tree {
    let (mut tree, mut inodes) = (Tree::new(), BTreeMap::new());
    walk(root, root, &mut tree, &mut inodes);
    tree
}

fn walk(root: &Path, path: &Path, tree: &mut Tree, inodes: &mut BTreeMap<u64, String>) {
    let name = path.strip_prefix(root).expect("below the root").to_string_lossy().into_owned();
    let meta = fs::symlink_metadata(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let kind = meta.file_type();
    let what = if kind.is_dir() {
        "directory".to_owned()
    } else if kind.is_symlink() {
        format!("link to {}", fs::read_link(path).expect("a link").display())
    } else if kind.is_file() {
        let content = fs::read(path).expect("a file");
        let mut hasher = DefaultHasher::new();
        hasher.write(&content);
        format!("file of {} bytes {:016x}", content.len(), hasher.finish())
    } else if kind.is_fifo() {
        "fifo".to_owned()
    } else {
        format!("special {:o} {:x}", meta.mode() >> 12, meta.rdev())
    };
    let mut line = format!("{what} {:04o} {}:{}", meta.mode() & 0o7777, meta.uid(), meta.gid());
    if !kind.is_dir() && meta.nlink() > 1 {
        let first = inodes.entry(meta.ino()).or_insert_with(|| name.clone());
        line.push_str(&format!(" same as {first}"));
    }
    for (attribute, value) in attributes(path) {
        line.push_str(&format!(" {attribute}={}", value.escape_ascii()));
    }
    tree.insert(name, line);
    if kind.is_dir() {
        let mut names: Vec<_> =
            fs::read_dir(path).expect("a directory").flatten().map(|e| e.path()).collect();
        names.sort();
        names.iter().for_each(|path| walk(root, path, tree, inodes));
    }
}

fn attributes(path: &Path) -> Vec<(String, Vec<u8>)> {
    let mut names = vec![0; 4096];
    let length = rustix::fs::llistxattr(path, &mut names[..]).unwrap_or(0);
    let mut all = Vec::new();
    for name in names[..length].split(|byte| *byte == 0).filter(|name| !name.is_empty()) {
        let name = String::from_utf8_lossy(name).into_owned();
        let mut value = vec![0; 4096];
        let length = rustix::fs::lgetxattr(path, name.as_str(), &mut value[..]).expect("an attribute");
        value.truncate(length);
        all.push((name, value));
    }
    all.sort();
    all
}

/// What two trees do not share, a line each.
pub(crate) fn differences(ours: &Tree, theirs: &Tree) -> Vec<String> {
    let mut all = Vec::new();
    for (path, line) in ours {
        match theirs.get(path) {
            None => all.push(format!("/{path}: only ours: {line}")),
            Some(other) if other != line => all.push(format!("/{path}: ours {line}; theirs {other}")),
            Some(_) => {}
        }
    }
    let only = theirs.iter().filter(|(path, _)| !ours.contains_key(*path));
    all.extend(only.map(|(path, line)| format!("/{path}: only theirs: {line}")));
    all
}
