//! Volumes on disk: directories with a name, which outlive containers. A volume that has its name is whole; who makes,
//! removes or judges one holds the lock, who looks takes none.
//!
//! ```text
//! <root>/volumes.lock              held to make and to remove a volume
//! <root>/volumes/<name>/
//!   volume.json                    driver, labels, options, with a format number
//!   data/                          what a container sees
//!   lock, filling/, filled/        the storage room's, while it gets what the image has there
//! <root>/volumes/.new              on its way in
//! <root>/volumes/.old-<hex>        on its way out, locked by who empties it
//! ```

mod driver;
mod idmap;
mod mount;
mod request;
mod steps;

use std::collections::BTreeMap;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use rustix::fs::{CWD, FlockOperation, Mode, OFlags};
use rustix::io::Errno;
use serde::{Deserialize, Serialize};
use step::Failure;

pub(crate) use driver::check as check_driver;
pub(crate) use idmap::{Range, ranges};
pub(crate) use mount::{Place, owners, place, places, runtime_volumes};
pub(crate) use request::complete;
pub(crate) use steps::{VolumeStep, prepare};

use crate::names;
use crate::request::{Mount, RunRequest, VolumeMount};
use crate::state::{Record, Store, make_dirs, millis, time, write_file};

const STEP: &str = "volume";

/// The format of volume.json; others are refused.
const FORMAT: u32 = 1;

/// The label of a volume that nobody named, as Docker's.
pub(crate) const ANONYMOUS: &str = "com.docker.volume.anonymous";

/// The only driver.
pub(crate) const DRIVER: &str = "local";

/// What is known of a volume.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Volume {
    format: u32,
    /// Its name.
    pub name: String,
    /// Milliseconds since 1970.
    created: u64,
    /// Labels.
    pub labels: BTreeMap<String, String>,
    /// The driver's options, `type`, `device` and `o`.
    pub options: BTreeMap<String, String>,
}

impl Volume {
    /// Whether nobody named it.
    pub fn is_anonymous(&self) -> bool {
        self.labels.contains_key(ANONYMOUS)
    }

    /// When it was made.
    pub fn created(&self) -> SystemTime {
        time(self.created)
    }
}

/// Docker's rule for names.
pub(crate) fn is_name(name: &str) -> bool {
    let later = |byte: u8| byte.is_ascii_alphanumeric() || b"_.-".contains(&byte);
    (2..=255).contains(&name.len())
        && name.bytes().next().is_some_and(|byte| byte.is_ascii_alphanumeric())
        && name.bytes().all(later)
}

/// The volumes of a root.
#[derive(Debug, Clone)]
pub(crate) struct Volumes {
    root: PathBuf,
}

/// Nobody else makes or removes volumes.
#[derive(Debug)]
pub(crate) struct Locked {
    _lock: OwnedFd,
}

/// Volumes without a name any more, yet to be emptied.
#[derive(Debug, Default)]
pub(crate) struct Gone(Vec<(String, OwnedFd)>);

impl Volumes {
    /// Those below the state root.
    pub(crate) fn new(root: &Path) -> Self {
        Self { root: root.to_owned() }
    }

    /// The directory of all.
    pub(crate) fn all(&self) -> PathBuf {
        self.root.join("volumes")
    }

    /// A volume's directory.
    pub(crate) fn directory(&self, name: &str) -> PathBuf {
        self.all().join(name)
    }

    /// What a container sees of it.
    pub(crate) fn data(&self, name: &str) -> PathBuf {
        self.directory(name).join("data")
    }

    /// Waits until nobody else makes or removes volumes, for a moment.
    pub(crate) fn lock(&self) -> Result<Locked, Failure> {
        let path = self.root.join("volumes.lock");
        let flags = OFlags::RDWR | OFlags::CREATE | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let open = || rustix::fs::open(&path, flags, Mode::RUSR | Mode::WUSR);
        let lock = match open() {
            Err(Errno::NOENT) => {
                make_dirs(&self.root)?;
                open()
            }
            opened => opened,
        }
        .map_err(failed(&path))?;
        loop {
            match rustix::fs::flock(&lock, FlockOperation::LockExclusive) {
                Err(Errno::INTR) => {}
                locked => return locked.map(|()| Locked { _lock: lock }).map_err(failed(&path)),
            }
        }
    }

    /// One volume; none where there is none of that name.
    pub(crate) fn find(&self, name: &str) -> Result<Option<Volume>, Failure> {
        if !is_name(name) {
            return Ok(None);
        }
        let path = self.directory(name).join("volume.json");
        let bytes = match std::fs::read(&path) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            bytes => bytes.map_err(|error| Failure::new(STEP, path.display().to_string(), error))?,
        };
        let damaged = |reason: String| {
            Failure::because(STEP, path.display().to_string(), reason)
                .hint(format!("the volume's files are in {}", self.data(name).display()))
        };
        let volume: Volume =
            serde_json::from_slice(&bytes).map_err(|error| damaged(format!("is damaged: {error}")))?;
        match volume.format {
            FORMAT => Ok(Some(volume)),
            other => Err(damaged(format!("has format {other}, this minidocker knows {FORMAT}"))),
        }
    }

    /// Every volume by its name. One whose file cannot be read is left out.
    pub(crate) fn list(&self) -> Result<Vec<Volume>, Failure> {
        let all = self.all();
        let entries = match std::fs::read_dir(&all) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
            entries => entries.map_err(|error| Failure::new(STEP, all.display().to_string(), error))?,
        };
        let names = entries.flatten().filter_map(|entry| entry.file_name().into_string().ok());
        let mut volumes: Vec<Volume> = names.filter_map(|name| self.find(&name).ok().flatten()).collect();
        volumes.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(volumes)
    }

    /// Makes a volume that is not there yet: beside its name, then with it.
    pub(crate) fn make(
        &self,
        _locked: &Locked,
        name: &str,
        labels: &BTreeMap<String, String>,
        options: &BTreeMap<String, String>,
    ) -> Result<Volume, Failure> {
        let volume = Volume {
            format: FORMAT,
            name: name.to_owned(),
            created: millis(SystemTime::now()),
            labels: labels.clone(),
            options: options.clone(),
        };
        let all = self.all();
        make_dirs(&all)?;
        let new = all.join(".new");
        // A crash may have left one: under the lock it is nobody's.
        storage::remove_directory(&all, ".new")?;
        let directory =
            |path: &Path, mode: u32| rustix::fs::mkdir(path, Mode::from_raw_mode(mode)).map_err(failed(path));
        directory(&new, 0o711)?;
        directory(&new.join("data"), 0o755)?;
        let text = serde_json::to_vec(&volume)
            .map_err(|error| Failure::new(STEP, new.display().to_string(), error))?;
        write_file(&new.join("volume.json"), &text, true)?;
        // mkdir(2) asks the umask.
        let open = rustix::fs::open(new.join("data"), OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty());
        open.and_then(|data| rustix::fs::fchmod(data, Mode::from_raw_mode(0o755))).map_err(failed(&new))?;
        let place = self.directory(name);
        rustix::fs::rename(&new, &place).map_err(failed(&place))?;
        Ok(volume)
    }

    /// Takes a volume's name away: from here on it is not there. Its files go with [`Self::empty`].
    pub(crate) fn retire(&self, _locked: &Locked, name: &str, gone: &mut Gone) -> Result<bool, Failure> {
        let from = self.directory(name);
        let old = format!(".old-{}", &names::id()[..16]);
        match rustix::fs::rename(&from, self.all().join(&old)) {
            Err(Errno::NOENT) => return Ok(false),
            renamed => renamed.map_err(failed(&from))?,
        }
        gone.0.extend(self.claim(&old));
        Ok(true)
    }

    /// What an interrupted removal has left.
    pub(crate) fn leftovers(&self, _locked: &Locked, gone: &mut Gone) {
        let entries = std::fs::read_dir(self.all()).into_iter().flatten().flatten();
        let names = entries.filter_map(|entry| entry.file_name().into_string().ok());
        for name in names.filter(|name| name.starts_with(".old-")) {
            gone.0.extend(self.claim(&name));
        }
    }

    /// One that nobody else empties.
    fn claim(&self, name: &str) -> Option<(String, OwnedFd)> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let directory = rustix::fs::openat(CWD, self.all().join(name), flags, Mode::empty()).ok()?;
        rustix::fs::flock(&directory, FlockOperation::NonBlockingLockExclusive).ok()?;
        Some((name.to_owned(), directory))
    }

    /// Bytes that emptying them gives back, as du counts.
    pub(crate) fn usage(&self, gone: &Gone) -> u64 {
        let usage =
            |name: &String| storage::layers::disk_usage(&self.all().join(name).join("data")).unwrap_or(0);
        gone.0.iter().map(|(name, _)| usage(name)).sum()
    }

    /// Empties what has no name any more; without the lock, for that takes its time. The first failure is told.
    pub(crate) fn empty(&self, gone: Gone) -> Result<(), Failure> {
        let mut first = Ok(());
        for (name, _held) in gone.0 {
            let emptied = storage::remove_directory(&self.all(), &name);
            first = first.and(emptied);
        }
        first
    }
}

/// The containers whose records name a volume, by the volume's name. None where a record cannot be read: what it uses
/// is not known then.
pub(crate) fn users(store: &Store) -> Result<Option<BTreeMap<String, Vec<String>>>, Failure> {
    let mut users: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for id in store.all()? {
        let Ok(record) = store.record(&id) else { return Ok(None) };
        for name in record.iter().flat_map(names_of) {
            let ids = users.entry(name.to_owned()).or_default();
            if !ids.contains(&id) {
                ids.push(id.clone());
            }
        }
    }
    Ok(Some(users))
}

/// The volumes that a record names.
pub(crate) fn names_of(record: &Record) -> impl Iterator<Item = &str> {
    mounts_of(record).map(|volume| volume.name.as_str())
}

/// The volume mounts of a record.
pub(crate) fn mounts_of(record: &Record) -> impl Iterator<Item = &VolumeMount> {
    mounts_in(&record.request)
}

/// Whether a request has volumes that nobody named: they may go with its container.
pub(crate) fn has_anonymous(request: &RunRequest) -> bool {
    mounts_in(request).any(|mount| mount.anonymous)
}

/// The volume mounts of a request.
pub(crate) fn mounts_in(request: &RunRequest) -> impl Iterator<Item = &VolumeMount> {
    request.storage.mounts.iter().filter_map(|mount| match mount {
        Mount::Volume(volume) => Some(volume),
        _ => None,
    })
}

fn failed(path: &Path) -> impl Fn(Errno) -> Failure {
    move |errno| {
        let failure = Failure::new(STEP, path.display().to_string(), errno);
        match errno {
            Errno::ACCESS | Errno::PERM => failure.hint("minidocker must run as root"),
            Errno::NOSPC => failure.hint("the disk is full: free some space, or choose another with --root"),
            Errno::ROFS => failure.hint("choose a writable place with --root"),
            _ => failure,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_volume_is_there_whole_or_not_at_all() {
        let dir = std::env::temp_dir().join(format!("minidocker-volumes-{}", std::process::id()));
        let volumes = Volumes::new(&dir);
        assert_eq!(volumes.list().unwrap(), []);
        let locked = volumes.lock().unwrap();
        std::fs::create_dir_all(volumes.all().join(".new/half")).unwrap();
        let labels = BTreeMap::from([("a".to_owned(), "b".to_owned())]);
        let made = volumes.make(&locked, "data-1", &labels, &BTreeMap::new()).unwrap();
        assert_eq!(volumes.find("data-1").unwrap(), Some(made.clone()));
        assert!(!made.is_anonymous() && volumes.data("data-1").is_dir());
        assert_eq!(volumes.list().unwrap(), [made]);
        let mut gone = Gone::default();
        assert!(volumes.retire(&locked, "data-1", &mut gone).unwrap());
        assert!(!volumes.retire(&locked, "data-1", &mut gone).unwrap());
        assert_eq!((volumes.list().unwrap().len(), gone.0.len()), (0, 1));
        // Whoever empties it is left alone; who was killed is not.
        let mut left = Gone::default();
        volumes.leftovers(&locked, &mut left);
        assert!(left.0.is_empty());
        drop(gone);
        volumes.leftovers(&locked, &mut left);
        volumes.empty(left).unwrap();
        assert_eq!(std::fs::read_dir(volumes.all()).unwrap().count(), 0);
        std::fs::remove_dir_all(dir).unwrap();
    }

    #[test]
    fn names_are_no_paths() {
        for name in ["ab", "a.b", "0-_"] {
            assert!(is_name(name), "{name}");
        }
        for name in ["", "a", ".a", "..", "a/b", "-a", "ab\n", "_a"] {
            assert!(!is_name(name), "{name:?}");
        }
    }
}
