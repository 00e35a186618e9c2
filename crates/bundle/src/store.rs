//! The containers' directories: `<root>/<id>/` with `state.json`, the gate of a container that was created and not
//! started, and a lock for those who change it.
//!
//! The directory is made by the first who wants the id (mkdir(2) admits one) and goes last of all. `state.json` is
//! replaced as a whole. What is in it does not change while the container lives but for `update` and the end of
//! `create`; whether a container lives is asked of the kernel.

use std::fs;
use std::io::ErrorKind;
use std::os::fd::OwnedFd;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use oci::spec::Spec;
use rustix::fs::{FlockOperation, Mode, OFlags};
use rustix::process::{Pid, PidfdFlags};
use serde::{Deserialize, Serialize};

use crate::error::Error;

/// The version of the format of `state.json`.
pub(crate) const FORMAT: u32 = 1;

/// What is remembered of a container.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Saved {
    /// The version of this format.
    pub format: u32,
    /// Its id.
    pub id: String,
    /// The bundle's directory, absolute.
    pub bundle: PathBuf,
    /// The root file system's directory, absolute.
    pub rootfs: PathBuf,
    /// When it was made, RFC 3339.
    pub created: String,
    /// The user who made it.
    pub owner: u32,
    /// `create` is at work on it.
    pub creating: bool,
    /// Its first process, once there is one.
    pub init: Option<Init>,
    /// Its control group, a path below every hierarchy.
    pub group: String,
    /// The systemd unit that the group belongs to.
    pub unit: Option<String>,
    /// Its processes keep the session keyring of whoever starts them.
    #[serde(default)]
    pub no_new_keyring: bool,
    /// Where its standard streams led when it was started, as /proc/PID/fd names it: their names in the images of a
    /// checkpoint. Empty with a terminal.
    #[serde(default)]
    pub streams: [String; 3],
    /// Its config.json.
    pub config: Spec,
}

/// A process that is not mistaken for a later one of its number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Init {
    /// Its number here.
    pub pid: i32,
    /// When it began, in ticks since the boot: field 22 of proc_pid_stat(5).
    pub start_time: u64,
}

impl Init {
    /// The process with this number now.
    pub(crate) fn of(pid: i32) -> Option<Self> {
        let (_, start_time) = stat(pid)?;
        Some(Self { pid, start_time })
    }

    /// Whether it lives: a zombie does not.
    pub(crate) fn is_alive(&self) -> bool {
        stat(self.pid).is_some_and(|(state, start)| start == self.start_time && !matches!(state, 'Z' | 'X'))
    }

    /// Whether it has ended, is about to, or will as soon as it goes on: SIGKILL waits for it.
    pub(crate) fn is_dying(&self) -> bool {
        // PF_EXITING of linux/sched.h among its flags; a mask of signals has the bit number - 1.
        const EXITING: u64 = 0x4;
        const KILLED: u64 = 1 << 8;
        if !self.is_alive() {
            return true;
        }
        let read = |name: &str| fs::read_to_string(format!("/proc/{}/{name}", self.pid)).unwrap_or_default();
        let flags = read("stat").rsplit_once(") ").and_then(|(_, rest)| rest.split(' ').nth(6)?.parse().ok());
        let waits = |line: &str| {
            let mask = line.strip_prefix("SigPnd:").or_else(|| line.strip_prefix("ShdPnd:"));
            mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok())
                .is_some_and(|mask| mask & KILLED != 0)
        };
        flags.is_none_or(|flags: u64| flags & EXITING != 0) || read("status").lines().any(waits)
    }

    /// A descriptor that means it alone; none if it has ended.
    pub(crate) fn pidfd(&self) -> Option<OwnedFd> {
        let pidfd = rustix::process::pidfd_open(Pid::from_raw(self.pid)?, PidfdFlags::empty()).ok()?;
        self.is_alive().then_some(pidfd)
    }
}

/// State and start time of a process, proc_pid_stat(5). The name before them may hold anything, brackets too.
fn stat(pid: i32) -> Option<(char, u64)> {
    let text = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let fields: Vec<&str> = text.rsplit_once(") ")?.1.split(' ').collect();
    Some((fields.first()?.chars().next()?, fields.get(19)?.parse().ok()?))
}

/// The directory of all containers.
#[derive(Debug, Clone)]
pub(crate) struct Store {
    root: PathBuf,
}

impl Store {
    pub(crate) fn new(root: &Path) -> Self {
        Self { root: root.to_owned() }
    }

    /// A container's directory.
    pub(crate) fn dir(&self, id: &str) -> PathBuf {
        self.root.join(id)
    }

    /// Makes the directory of a new container.
    pub(crate) fn make(&self, id: &str) -> Result<PathBuf, Error> {
        check_id(id)?;
        let dir = self.dir(id);
        let mut builder = fs::DirBuilder::new();
        builder.mode(0o711);
        let made = match builder.create(&dir) {
            Err(error) if error.kind() == ErrorKind::NotFound => {
                let mut parents = fs::DirBuilder::new();
                parents.recursive(true).mode(0o711);
                parents.create(&self.root).and_then(|()| builder.create(&dir))
            }
            made => made,
        };
        match made {
            Err(error) if error.kind() == ErrorKind::AlreadyExists => {
                Err(Error::new(format!("container with given ID already exists: {id}"))
                    .hint("delete it first, or choose another id"))
            }
            made => made
                .map(|()| dir.clone())
                .map_err(|error| Error::io("create the container's directory", &dir, error)),
        }
    }

    /// What is remembered of a container.
    pub(crate) fn load(&self, id: &str) -> Result<Saved, Error> {
        check_id(id)?;
        let path = self.dir(id).join("state.json");
        let text = match fs::read(&path) {
            Err(error) if error.kind() == ErrorKind::NotFound => {
                return Err(Error::new(format!("container does not exist: {id}")));
            }
            read => read.map_err(|error| Error::io("read", &path, error))?,
        };
        let saved: Saved = serde_json::from_slice(&text)
            .map_err(|error| Error::new(format!("{}: {error}", path.display())))?;
        if saved.format != FORMAT {
            return Err(Error::new(format!(
                "{}: format {} is not known; this version knows {FORMAT}",
                path.display(),
                saved.format
            )));
        }
        Ok(saved)
    }

    /// Replaces what is remembered: the old or the new, never a part.
    pub(crate) fn save(&self, saved: &Saved) -> Result<(), Error> {
        let dir = self.dir(&saved.id);
        let text = serde_json::to_vec(saved)
            .map_err(|error| Error::new(format!("the state of {}: {error}", saved.id)))?;
        write_whole(&dir.join("state.json"), &text)
    }

    /// Holds the container's lock until the value is dropped: one changes it at a time.
    pub(crate) fn lock(&self, id: &str) -> Result<OwnedFd, Error> {
        let path = self.dir(id);
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let dir = match rustix::fs::open(&path, flags, Mode::empty()) {
            Err(rustix::io::Errno::NOENT) => {
                return Err(Error::new(format!("container does not exist: {id}")));
            }
            opened => opened.map_err(|errno| Error::io("open", &path, errno))?,
        };
        rustix::fs::flock(&dir, FlockOperation::LockExclusive)
            .map_err(|errno| Error::io("lock", &path, errno))?;
        Ok(dir)
    }

    /// Removes the container's directory: from here on nobody knows of it.
    pub(crate) fn forget(&self, id: &str) -> Result<(), Error> {
        let dir = self.dir(id);
        match fs::remove_dir_all(&dir) {
            Err(error) if error.kind() != ErrorKind::NotFound => Err(Error::io("remove", &dir, error)),
            _ => Ok(()),
        }
    }

    /// The ids of all containers, sorted.
    pub(crate) fn ids(&self) -> Result<Vec<String>, Error> {
        let entries = match fs::read_dir(&self.root) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
            entries => entries.map_err(|error| Error::io("read", &self.root, error))?,
        };
        let names = entries.flatten().filter_map(|entry| entry.file_name().into_string().ok());
        let mut ids: Vec<String> = names.filter(|id| self.dir(id).join("state.json").exists()).collect();
        ids.sort();
        Ok(ids)
    }
}

/// Writes a file so that it is there as a whole or not at all.
pub(crate) fn write_whole(path: &Path, text: &[u8]) -> Result<(), Error> {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let beside = path.with_file_name(format!(".{name}.{}", std::process::id()));
    let written = fs::write(&beside, text).and_then(|()| fs::rename(&beside, path));
    written.map_err(|error| {
        let _ = fs::remove_file(&beside);
        Error::io("write", path, error)
    })
}

/// runc's rule: letters, digits and `_ + - .`, and no name of a directory that is there already.
fn check_id(id: &str) -> Result<(), Error> {
    let allowed = |c: char| c.is_ascii_alphanumeric() || "_+-.".contains(c);
    match id {
        "" => Err(Error::new("container id cannot be empty")),
        "." | ".." => Err(Error::new(format!("invalid container ID format: {id:?}"))),
        id if id.chars().all(allowed) && id.len() <= 1024 => Ok(()),
        id => Err(Error::new(format!("invalid container ID format: {id:?}"))
            .hint("letters, digits and _ + - . are allowed")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids() {
        for good in ["a", "A-b_c.d+e", "0123"] {
            check_id(good).unwrap();
        }
        for bad in ["", ".", "..", "a/b", "a b", "ä", "a\0"] {
            check_id(bad).unwrap_err();
        }
    }

    #[test]
    fn a_process_is_told_from_a_later_one_of_its_number() {
        let own = Init::of(std::process::id().cast_signed()).unwrap();
        assert!(own.is_alive() && own.pidfd().is_some());
        let other = Init { start_time: own.start_time + 1, ..own };
        assert!(!other.is_alive() && other.pidfd().is_none());
    }
}
