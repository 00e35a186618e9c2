//! State on disk. One directory per container, small files, each written whole or not at all; whether a container
//! runs is asked of the kernel.
//!
//! ```text
//! <run_root>/                        gone after a reboot
//!   lock                             held shared while a directory below `containers` is made, alone to judge one
//!   names/<name>         -> <id>     a symbolic link: made in one call, refused if it exists, read in one call
//!   ids/<first>          -> <id>     a range of user ids, likewise
//!   addresses/…                      the network room's
//!   events/…                         what happened: `events.rs`
//!   root/                            where each init attaches its root, in its own mount namespace
//!   containers/<id>/
//!     lock                           held by the container's monitor: free means that nobody cares for it
//!     init               -> pid:start   its first process, by number and start time
//!     apart                          it lives on when its command or its monitor is gone
//!     monitor.sock                   by it commands come to the monitor
//!     stdout, stderr                 the output's pipes of a container that lives on by itself
//!     container.json                 the record (with --rm)
//!     health.json                    what is known of its health, where it is looked after
//!     networks                       its networks are others than when it was started
//!     hosts, hostname, resolv.conf   bound into the container
//! <root>/                            survives a reboot
//!   containers/<id>/
//!     container.json                 the record (without --rm)
//!     door                           of a pod: locked by who comes in, and by who ends it
//!     life.json                      how often it was started, and how it ended
//!     health.json                    what was known of its health when it ended
//!     upper/, work/, …               the storage room's
//!   removed/<id>/                    on the way out: one rename takes it there, record and layer at once
//! ```
//!
//! A directory below `<run_root>/containers` whose lock is free was left behind by a crash: `sweep` takes it down.

mod files;
mod health;
mod hold;
mod links;
mod record;

use std::path::{Path, PathBuf};

use files::directories;
pub(crate) use files::{is_id, make_dirs, make_dirs_with, read_link, write_file};
pub use health::Health;
pub(crate) use health::{Known, Verdict};
pub(crate) use hold::Held;
pub(crate) use links::parent_and_session;
pub(crate) use record::{End, Life, Record, millis, time};
use step::Failure;

use crate::volumes::Volumes;
use crate::{Error, Kind, Settings};

/// The store of a pair of roots.
#[derive(Debug, Clone)]
pub(crate) struct Store {
    run: PathBuf,
    keep: PathBuf,
}

impl Store {
    /// The store of these settings; nothing is made yet.
    pub(crate) fn new(settings: &Settings) -> Self {
        Self { run: settings.run_root.clone(), keep: settings.root.clone() }
    }

    /// What a reboot empties.
    pub(crate) fn run_root(&self) -> &Path {
        &self.run
    }

    /// Where the network room finds what it needs to plan: reservations and records.
    pub(crate) fn network(&self) -> network::Settings {
        let networks = self.keep.join(crate::settings::NETWORKS);
        network::Settings { run_dir: self.run.clone(), networks, ..network::Settings::default() }
    }

    /// Where inits attach their roots.
    pub(crate) fn mount_point(&self) -> PathBuf {
        self.run.join("root")
    }

    /// A container's directory that a reboot empties.
    pub(crate) fn run_dir(&self, id: &str) -> PathBuf {
        self.run.join("containers").join(id)
    }

    /// A container's directory that stays.
    pub(crate) fn keep_dir(&self, id: &str) -> PathBuf {
        self.keep.join("containers").join(id)
    }

    /// Where the output of a container is kept.
    pub(crate) fn log_dir(&self, id: &str) -> PathBuf {
        self.keep_dir(id).join("log")
    }

    /// The volumes, which outlive containers.
    pub(crate) fn volumes(&self) -> Volumes {
        Volumes::new(&self.keep)
    }

    /// Makes the directories, where they are missing.
    pub(crate) fn prepare(&self) -> Result<(), Failure> {
        let point = self.mount_point();
        if rustix::fs::access(&point, rustix::fs::Access::EXISTS).is_ok() {
            return Ok(());
        }
        for dir in [self.keep.join("containers"), self.run.join("containers"), self.run.join("names"), point]
        {
            make_dirs(&dir)?;
        }
        storage::remove_leftovers(&storage::Places { root: self.keep.clone(), run_root: self.run.clone() })?;
        self.restore_names()
    }

    /// After a reboot: the names of the containers that are kept.
    fn restore_names(&self) -> Result<(), Failure> {
        for id in self.kept()? {
            // Those that go with their run are here only while others run already, and give their names back themselves.
            let Ok(Some(record)) = self.kept_record(&id) else { continue };
            let _ = self.take_name(&record.name, &id)?;
            // Removed meanwhile: whoever did it may have looked for the name before.
            if !self.keep_dir(&id).join("container.json").exists() {
                self.give_name(&record.name, &id)?;
            }
        }
        Ok(())
    }

    /// The ids of the containers that have a directory in the run root: those that run, and those that crashed.
    pub(crate) fn present(&self) -> Result<Vec<String>, Failure> {
        directories(&self.run.join("containers"))
    }

    /// Whether somebody cares for a container, or left it behind in a crash: its directory in the run root is made before
    /// everything else of it and goes last.
    pub(crate) fn is_cared_for(&self, id: &str) -> bool {
        is_id(id) && self.run_dir(id).exists()
    }

    /// The ids of the containers that are kept, running or not; and of directories that should be one's.
    pub(crate) fn kept(&self) -> Result<Vec<String>, Failure> {
        directories(&self.keep.join("containers"))
    }

    /// The ids of all containers.
    pub(crate) fn all(&self) -> Result<Vec<String>, Failure> {
        let mut ids = self.present()?;
        ids.extend(self.kept()?);
        ids.sort();
        ids.dedup();
        Ok(ids)
    }

    /// The container that a user means by `name`: a name, an id, or the unambiguous beginning of an id.
    pub(crate) fn find(&self, name: &str) -> Result<String, Error> {
        let valid = |text: &str| !text.is_empty() && !text.contains('/') && text != "." && text != "..";
        let none = || {
            Error::new(Kind::NoSuchContainer, format!("no such container: {name}"))
                .hint("`minidocker ps -a` lists all containers")
        };
        if !valid(name) {
            return Err(none());
        }
        if let Some(id) = read_link(&self.run.join("names").join(name)) {
            return Ok(id);
        }
        let all = self.all()?;
        if all.iter().any(|id| id == name) {
            return Ok(name.to_owned());
        }
        let mut begins = all.iter().filter(|id| id.starts_with(name));
        match (begins.next(), begins.next()) {
            (Some(id), None) => Ok(id.clone()),
            (Some(_), Some(_)) => Err(Error::new(
                Kind::Invalid,
                format!("id {name} is ambiguous: several containers begin with it"),
            )
            .hint("give more digits, or the name")),
            (None, _) => match all
                .into_iter()
                .find(|id| self.record(id).ok().flatten().is_some_and(|r| r.name == name))
            {
                Some(id) => Ok(id),
                None => Err(none()),
            },
        }
    }
}

impl Store {
    /// The container that a user means, and its record.
    pub(crate) fn load(&self, name: &str) -> Result<(String, Record), Error> {
        let id = self.find(name)?;
        let record = self.record(&id)?.ok_or_else(|| {
            Error::new(Kind::NoSuchContainer, format!("no such container: {name}"))
                .hint("`minidocker ps -a` lists all containers")
        })?;
        Ok((id, record))
    }
}

#[cfg(test)]
mod tests;
