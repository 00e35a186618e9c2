//! Records of the networks that users made: `<root>/networks/<name>.json`. One that has its name is whole: it is written
//! beside, synced and renamed. Who makes, changes or removes one holds the lock, who looks takes none.

use std::fs;
use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, FlockOperation, Mode, OFlags};
use serde::{Deserialize, Serialize};

use crate::error::Error;
use crate::network::Network;
use crate::reservation::file_error;
use crate::settings::Settings;

/// The format of a record; others are refused.
const FORMAT: u32 = 1;
const ENDING: &str = ".json";

#[derive(Serialize, Deserialize)]
struct Record {
    format: u32,
    #[serde(flatten)]
    network: Network,
}

/// The records of an engine.
#[derive(Debug, Clone)]
pub(crate) struct Records {
    dir: PathBuf,
}

/// Nobody else changes records.
#[derive(Debug)]
pub(crate) struct Locked {
    _lock: OwnedFd,
}

/// Whether a network can have this name: Docker's rule.
pub(crate) fn is_name(name: &str) -> bool {
    let later = |byte: u8| byte.is_ascii_alphanumeric() || b"_.-".contains(&byte);
    (1..=200).contains(&name.len())
        && name.bytes().next().is_some_and(|byte| byte.is_ascii_alphanumeric())
        && name.bytes().all(later)
}

impl Records {
    pub(crate) fn of(settings: &Settings) -> Self {
        Self { dir: settings.networks.clone() }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.join(format!("{name}{ENDING}"))
    }

    /// Waits until nobody else changes records, for a moment.
    pub(crate) fn lock(&self) -> Result<Locked, Error> {
        fs::create_dir_all(&self.dir).map_err(file_error("create", &self.dir))?;
        let path = self.dir.join("lock");
        let flags = OFlags::RDWR | OFlags::CREATE | OFlags::CLOEXEC | OFlags::NOFOLLOW;
        let lock =
            rustix::fs::open(&path, flags, Mode::RUSR | Mode::WUSR).map_err(file_error("open", &path))?;
        rustix::io::retry_on_intr(|| rustix::fs::flock(&lock, FlockOperation::LockExclusive))
            .map_err(file_error("lock", &path))?;
        Ok(Locked { _lock: lock })
    }

    /// The network of this name; none where there is none.
    pub(crate) fn find(&self, name: &str) -> Result<Option<Network>, Error> {
        if is_name(name) { read(&self.path(name)) } else { Ok(None) }
    }

    /// Every network by its name, and the files that cannot be read.
    pub(crate) fn list(&self) -> Result<(Vec<Network>, Vec<Error>), Error> {
        let entries = match fs::read_dir(&self.dir) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok((Vec::new(), Vec::new())),
            entries => entries.map_err(file_error("read", &self.dir))?,
        };
        let (mut found, mut damaged) = (Vec::new(), Vec::new());
        for entry in entries.flatten() {
            let file = entry.file_name();
            let Some(name) = file.to_str().and_then(|name| name.strip_suffix(ENDING)) else { continue };
            match self.find(name) {
                Ok(network) => found.extend(network),
                Err(error) => damaged.push(error),
            }
        }
        found.sort_by(|a: &Network, b| a.name.cmp(&b.name));
        Ok((found, damaged))
    }

    /// Writes a network's record, a new one or in the place of its old one.
    pub(crate) fn write(&self, _locked: &Locked, network: &Network) -> Result<(), Error> {
        let (new, path) = (self.dir.join(".new"), self.path(&network.name));
        let record = Record { format: FORMAT, network: network.clone() };
        let text = serde_json::to_vec_pretty(&record)
            .map_err(|error| file_error("write", &path)(io::Error::other(error)))?;
        let write = || {
            let file = fs::File::create(&new)?;
            io::Write::write_all(&mut &file, &text)?;
            file.sync_data()
        };
        write().map_err(file_error("write", &new))?;
        fs::rename(&new, &path).map_err(file_error("replace", &path))?;
        self.sync()
    }

    /// Removes it; one that is not there is removed already.
    pub(crate) fn remove(&self, _locked: &Locked, name: &str) -> Result<(), Error> {
        let path = self.path(name);
        match fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(file_error("remove", &path)(error)),
            _ => self.sync(),
        }
    }

    fn sync(&self) -> Result<(), Error> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let dir = rustix::fs::openat(CWD, &self.dir, flags, Mode::empty());
        dir.and_then(rustix::fs::fsync).map_err(file_error("sync", &self.dir))
    }
}

fn read(path: &Path) -> Result<Option<Network>, Error> {
    let bytes = match fs::read(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        bytes => bytes.map_err(file_error("read", path))?,
    };
    let damaged = |why: String| Error::Damaged { path: path.to_owned(), why };
    let record: Record =
        serde_json::from_slice(&bytes).map_err(|error| damaged(format!("is damaged: {error}")))?;
    match record.format {
        FORMAT => Ok(Some(record.network)),
        other => Err(damaged(format!("has format {other}, this minidocker knows {FORMAT}"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::network::tests::network;

    #[test]
    fn a_record_is_there_whole_or_not_at_all() {
        let dir = std::env::temp_dir().join(format!("minidocker-networks-{}", std::process::id()));
        let records = Records { dir: dir.join("networks") };
        assert_eq!(records.list().unwrap().0, []);
        let locked = records.lock().unwrap();
        let web = network("web", "10.7.0.0/24");
        records.write(&locked, &web).unwrap();
        assert_eq!(records.find("web").unwrap(), Some(web.clone()));
        fs::write(records.path("half"), "{").unwrap();
        fs::write(records.path("new"), "{\"format\":2}").unwrap();
        assert!(records.find("half").unwrap_err().to_string().contains("is damaged"));
        let (found, damaged) = records.list().unwrap();
        assert_eq!((found, damaged.len()), (vec![web], 2));
        records.remove(&locked, "web").unwrap();
        records.remove(&locked, "web").unwrap();
        assert_eq!(records.find("web").unwrap(), None);
        fs::remove_dir_all(dir).unwrap();
    }

    #[test]
    fn names_are_no_paths() {
        for name in ["a", "web-1", "0.b_c"] {
            assert!(is_name(name), "{name}");
        }
        for name in ["", ".", "..", "a/b", "-a", "a b", "a\n"] {
            assert!(!is_name(name), "{name:?}");
        }
    }
}
