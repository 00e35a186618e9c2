//! Root directories for containers: one with the reporter alone, one with busybox.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::{need, programs};

/// A directory that can be a container's root. It goes with its world.
#[derive(Debug, Clone)]
pub struct Rootfs {
    path: PathBuf,
}

impl Rootfs {
    /// An empty one at `path`.
    pub(crate) fn empty(path: PathBuf) -> Self {
        fs::create_dir(&path).unwrap_or_else(|error| panic!("make {}: {error}", path.display()));
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).expect("our own directory");
        Self { path }
    }

    /// With the static reporter as /inside, and nothing else.
    pub(crate) fn inside(path: PathBuf) -> Self {
        let root = Self::empty(path);
        root.program("inside", &programs::inside());
        root
    }

    /// With busybox, its links, /etc/passwd, /etc/group, /tmp, and the reporter as /inside.
    pub(crate) fn busybox(path: PathBuf) -> Self {
        let root = Self::inside(path);
        for directory in ["bin", "etc", "home/user", "root", "tmp", "usr", "var"] {
            root.directory(directory);
        }
        let busybox = need("busybox");
        root.program("bin/busybox", &busybox);
        let list = Command::new(&busybox).arg("--list").output().expect("the list of busybox");
        for name in String::from_utf8_lossy(&list.stdout).lines().filter(|name| *name != "busybox") {
            symlink("busybox", root.path.join("bin").join(name)).expect("a link to busybox");
        }
        root.file("etc/passwd", "root:x:0:0:root:/root:/bin/sh\nuser:x:1000:1000::/home/user:/bin/sh\n");
        root.file("etc/group", "root:x:0:\nuser:x:1000:\nwheel:x:10:root,user\naudio:x:29:user\n");
        fs::set_permissions(root.path.join("tmp"), fs::Permissions::from_mode(0o1777)).expect("our own");
        root
    }

    /// Where it is on the host.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The value for `--rootfs`: the directory itself, changes stay.
    pub fn plain(&self) -> String {
        self.path.to_str().expect("our own names are text").to_owned()
    }

    /// The value for `--rootfs` that keeps the directory as it is.
    pub fn overlay(&self) -> String {
        format!("{}:overlay", self.plain())
    }

    /// Makes a directory in it, with its parents. `name` is relative.
    pub fn directory(&self, name: &str) -> PathBuf {
        let path = self.path.join(name);
        fs::create_dir_all(&path).unwrap_or_else(|error| panic!("make {}: {error}", path.display()));
        path
    }

    /// Writes a file into it, mode 0644.
    pub fn file(&self, name: &str, text: impl AsRef<[u8]>) -> PathBuf {
        let path = self.path.join(name);
        if let Some(parent) = path.parent() {
            fs::create_dir_all(parent).unwrap_or_else(|error| panic!("make {}: {error}", parent.display()));
        }
        fs::write(&path, text).unwrap_or_else(|error| panic!("write {}: {error}", path.display()));
        path
    }

    /// Writes a file into it that may be run, mode 0755.
    pub fn script(&self, name: &str, text: impl AsRef<[u8]>) -> PathBuf {
        let path = self.file(name, text);
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).expect("our own file");
        path
    }

    /// Makes a symbolic link in it.
    pub fn link(&self, name: &str, target: &str) {
        let path = self.path.join(name);
        symlink(target, &path).unwrap_or_else(|error| panic!("link {}: {error}", path.display()));
    }

    /// Copies a program of the host into it.
    pub fn program(&self, name: &str, source: &Path) -> PathBuf {
        let path = self.path.join(name);
        if let Some(parent) = path.parent() {
            fs::create_dir_all(parent).unwrap_or_else(|error| panic!("make {}: {error}", parent.display()));
        }
        fs::copy(source, &path).unwrap_or_else(|error| panic!("copy to {}: {error}", path.display()));
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).expect("our own file");
        path
    }
}
