//! What a tree must not keep of the host that made it, and of the day: caches, logs, names, numbers.

use std::fs;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, CWD, Mode, OFlags, ResolveFlags, Timespec, Timestamps};
use rustix::io::Errno;
use step::Failure;

use crate::STEP;

/// Directories that stay, without what is in them.
const EMPTIED: &[&str] = &[
    "dev",
    "proc",
    "run",
    "sys",
    "tmp",
    "var/cache/apt",
    "var/cache/ldconfig",
    "var/lib/apt/lists",
    "var/log",
    "var/tmp",
];

/// What apt and others expect of them.
const MADE: &[(&str, &str)] =
    &[("var/cache/apt", "archives/partial"), ("var/lib/apt/lists", "partial"), ("var/log", "apt")];

/// Files of the host, of this run, and the copies that tools keep of what they changed.
const REMOVED: &[(&str, &[&str])] = &[
    (
        "etc",
        &[
            "hostname",
            "resolv.conf",
            ".pwd.lock",
            "passwd-",
            "group-",
            "shadow-",
            "gshadow-",
            "subuid-",
            "subgid-",
        ],
    ),
    ("var/lib/dbus", &["machine-id"]),
    ("var/lib/systemd", &["random-seed", "catalog/database"]),
    (
        "var/lib/dpkg",
        &["available-old", "diversions-old", "statoverride-old", "status-old", "lock", "lock-frontend"],
    ),
    ("var/lib/dpkg/triggers", &["Lock"]),
    ("var/cache/debconf", &["config.dat-old", "templates.dat-old"]),
];

/// A directory of the tree, reached through no link and no mount.
pub(crate) struct Inside(OwnedFd);

impl Inside {
    /// For calls that take paths; as long as it is open.
    pub(crate) fn path(&self) -> PathBuf {
        PathBuf::from(format!("/proc/self/fd/{}", self.0.as_raw_fd()))
    }
}

/// The directory below `root`; none where there is none.
pub(crate) fn inside(root: &Path, directory: &str) -> Result<Option<Inside>, Failure> {
    let failed = |errno: Errno| Failure::new(STEP, root.join(directory).display().to_string(), errno);
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let top = rustix::fs::openat(CWD, root, flags, Mode::empty()).map_err(failed)?;
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_XDEV;
    match rustix::fs::openat2(&top, directory, flags, Mode::empty(), resolve) {
        Ok(directory) => Ok(Some(Inside(directory))),
        Err(Errno::NOENT | Errno::LOOP | Errno::NOTDIR) => Ok(None),
        Err(errno) => Err(failed(errno)),
    }
}

/// Takes away what is the host's own and what differs between two runs.
pub(crate) fn host_traces(root: &Path) -> Result<(), Failure> {
    for directory in EMPTIED {
        let Some(inside) = inside(root, directory)? else { continue };
        for entry in fs::read_dir(inside.path()).map_err(|cause| failed(directory, cause))? {
            let entry = entry.map_err(|cause| failed(directory, cause))?;
            let is_directory = entry.file_type().is_ok_and(|kind| kind.is_dir());
            let path = entry.path();
            let removed = if is_directory { fs::remove_dir_all(&path) } else { fs::remove_file(&path) };
            removed
                .map_err(|cause| failed(&format!("{directory}/{}", entry.file_name().display()), cause))?;
        }
    }
    for (parent, below) in MADE {
        if let Some(parent) = inside(root, parent)? {
            fs::create_dir_all(parent.path().join(below)).map_err(|cause| failed(below, cause))?;
        }
    }
    for (directory, names) in REMOVED {
        let Some(inside) = inside(root, directory)? else { continue };
        for name in *names {
            match fs::remove_file(inside.path().join(name)) {
                Err(cause) if cause.kind() != std::io::ErrorKind::NotFound => {
                    return Err(failed(&format!("{directory}/{name}"), cause));
                }
                _ => {}
            }
        }
    }
    // Empty: machine-id(5), "uninitialized", so that each machine makes its own.
    if let Some(etc) = inside(root, "etc")?
        && etc.path().join("machine-id").symlink_metadata().is_ok()
    {
        fs::write(etc.path().join("machine-id"), "").map_err(|cause| failed("etc/machine-id", cause))?;
    }
    Ok(())
}

/// Sets every time that is later than `epoch` to it, and the days of password changes in /etc/shadow.
pub(crate) fn not_newer_than(root: &Path, epoch: u64) -> Result<(), Failure> {
    if let Some(etc) = inside(root, "etc")? {
        let path = etc.path().join("shadow");
        if let Ok(text) = fs::read_to_string(&path) {
            fs::write(&path, days(&text, epoch / 86_400)).map_err(|cause| failed("etc/shadow", cause))?;
        }
    }
    clamp(root, epoch)
}

/// The third field of shadow(5): days since 1970.
fn days(text: &str, latest: u64) -> String {
    let line = |line: &str| {
        let mut fields: Vec<String> = line.split(':').map(str::to_owned).collect();
        if let Some(field) = fields.get_mut(2)
            && field.parse::<u64>().is_ok_and(|day| day > latest)
        {
            *field = latest.to_string();
        }
        fields.join(":") + "\n"
    };
    text.lines().map(line).collect()
}

fn clamp(path: &Path, epoch: u64) -> Result<(), Failure> {
    let failed = |cause| Failure::new(STEP, path.display().to_string(), cause);
    let metadata = fs::symlink_metadata(path).map_err(failed)?;
    if metadata.is_dir() {
        for entry in fs::read_dir(path).map_err(failed)? {
            clamp(&entry.map_err(failed)?.path(), epoch)?;
        }
    }
    if metadata.mtime() > epoch as i64 {
        let time = Timespec { tv_sec: epoch as i64, tv_nsec: 0 };
        let times = Timestamps { last_access: time, last_modification: time };
        rustix::fs::utimensat(CWD, path, &times, AtFlags::SYMLINK_NOFOLLOW)
            .map_err(|errno| failed(errno.into()))?;
    }
    Ok(())
}

fn failed(below: &str, cause: std::io::Error) -> Failure {
    Failure::new(STEP, below, cause)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn later_password_days_become_the_epochs() {
        let text = "root:*:20000:0:99999:7:::\nbin:*:100:0:::::\nodd\n";
        assert_eq!(days(text, 19_000), "root:*:19000:0:99999:7:::\nbin:*:100:0:::::\nodd\n");
    }
}
