//! Records: what is kept of a container, and how it ended.

use std::os::fd::{AsRawFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rustix::fs::{FlockOperation, Mode, OFlags};
use rustix::io::Errno;
use serde::{Deserialize, Serialize};
use step::Failure;

use super::Store;
use super::files::{failed, read_json, write_json};
use crate::image::Origin;
use crate::request::RunRequest;

/// The format of the records; others are refused.
const FORMAT: u32 = 1;

/// What is kept of a container.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Record {
    /// [`FORMAT`].
    pub format: u32,
    /// 64 hex digits.
    pub id: String,
    /// Its name.
    pub name: String,
    /// The program and its arguments.
    pub command: Vec<String>,
    /// When it was made: milliseconds since 1970.
    pub created: u64,
    /// The path of its control group in each hierarchy.
    pub group: String,
    /// Its places in networks, `eth0` first; older versions wrote at most one, as `network`.
    #[serde(default, alias = "network", deserialize_with = "one_or_several")]
    pub networks: Vec<network::Attachment>,
    /// Where its files lie and what bounds them; none in the records of older versions.
    pub disk: Option<storage::Disk>,
    /// What was asked for.
    pub request: RunRequest,
    /// The image that it was made of; none of a directory or of the host.
    #[serde(default)]
    pub origin: Option<Origin>,
    /// `run` made it: without a [`Life`] it was lost before its end could be written.
    #[serde(default)]
    pub by_run: bool,
    /// It lies in the run root and goes with its run: `run --rm`. Told by the place, not by the file.
    #[serde(skip)]
    pub passing: bool,
}

/// A list, or what older versions have in its place: one, or null.
fn one_or_several<'de, D: serde::Deserializer<'de>>(
    deserializer: D,
) -> Result<Vec<network::Attachment>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Found {
        Several(Vec<network::Attachment>),
        One(Option<Box<network::Attachment>>),
    }
    Ok(match Found::deserialize(deserializer)? {
        Found::Several(places) => places,
        Found::One(place) => place.map(|place| *place).into_iter().collect(),
    })
}

/// What became of a container so far. Whether it runs is not here: that is asked of the kernel.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Life {
    /// [`FORMAT`].
    pub format: u32,
    /// How often a user started it.
    pub starts: u32,
    /// How often its restart policy has started it since then.
    pub restarts: u32,
    /// When it was started last: milliseconds since 1970.
    pub started: u64,
    /// How that ended; none while it runs, and where nobody saw it.
    pub ended: Option<End>,
    /// When its restart policy starts it again; counts while its monitor lives.
    pub again: Option<u64>,
    /// A user stopped it: `unless-stopped` does not start it at the next boot.
    pub by_user: bool,
}

/// How a container ended.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct End {
    /// The exit code; none where nobody saw it.
    pub code: Option<u8>,
    /// Milliseconds since 1970.
    pub at: u64,
    /// The kernel killed a process of it for want of memory.
    #[serde(default)]
    pub out_of_memory: bool,
    /// Why it could not be started.
    #[serde(default)]
    pub error: Option<String>,
}

impl End {
    /// Now.
    pub(crate) fn now(code: Option<u8>) -> Self {
        Self { code, at: millis(SystemTime::now()), ..Self::default() }
    }
}

/// Milliseconds since 1970.
pub(crate) fn millis(time: SystemTime) -> u64 {
    time.duration_since(UNIX_EPOCH).map_or(0, |past| past.as_millis() as u64)
}

/// And back.
pub(crate) fn time(millis: u64) -> SystemTime {
    UNIX_EPOCH + Duration::from_millis(millis)
}

/// The right to change a container's record, and the directory that has it: a container that is removed meanwhile does
/// not come back by a change.
#[derive(Debug)]
pub(crate) struct Writing {
    lock: OwnedFd,
    /// What the directory is called, for messages.
    dir: PathBuf,
}

impl Writing {
    /// Writes the record in the place of the one that is there.
    pub(crate) fn write(&self, record: &Record) -> Result<(), Failure> {
        let dir = format!("/proc/self/fd/{}", self.lock.as_raw_fd());
        write_json(Path::new(&dir), "container.json", record, !record.passing).map_err(|failure| {
            let target = self.dir.join("container.json").display().to_string();
            Failure { target, ..failure }
        })
    }
}

fn read_record(dir: &Path, passing: bool) -> Result<Option<Record>, Failure> {
    let Some(record) = read_json::<Record>(&dir.join("container.json"))? else { return Ok(None) };
    if record.format == FORMAT {
        return Ok(Some(Record { passing, ..record }));
    }
    let reason = format!("the record has format {}, this minidocker knows {FORMAT}", record.format);
    Err(Failure::because("state", dir.display().to_string(), reason)
        .hint("use the minidocker that wrote it, or remove the directory"))
}

impl Store {
    /// Writes a new container's record where it belongs.
    pub(crate) fn write_record(&self, record: &Record) -> Result<(), Failure> {
        let dir = if record.passing {
            self.run_dir(&record.id)
        } else {
            let dir = self.keep_dir(&record.id);
            match rustix::fs::mkdir(&dir, Mode::from_raw_mode(0o711)) {
                Err(Errno::EXIST) => {}
                made => made.map_err(failed(&dir))?,
            }
            dir
        };
        write_json(&dir, "container.json", record, !record.passing)
    }

    /// Takes the right to change a container's record. The record has to be read after that.
    pub(crate) fn lock_record(&self, record: &Record) -> Result<Writing, Failure> {
        let dir = self.record_dir(record);
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let lock = rustix::fs::open(&dir, flags, Mode::empty()).map_err(failed(&dir))?;
        loop {
            match rustix::fs::flock(&lock, FlockOperation::LockExclusive) {
                Err(Errno::INTR) => {}
                result => return result.map_err(failed(&dir)).map(|()| Writing { lock, dir }),
            }
        }
    }

    /// The same, if nobody has it.
    pub(crate) fn try_lock_record(&self, record: &Record) -> Option<Writing> {
        let dir = self.record_dir(record);
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let lock = rustix::fs::open(&dir, flags, Mode::empty()).ok()?;
        rustix::fs::flock(&lock, FlockOperation::NonBlockingLockExclusive).ok()?;
        Some(Writing { lock, dir })
    }

    fn record_dir(&self, record: &Record) -> PathBuf {
        if record.passing { self.run_dir(&record.id) } else { self.keep_dir(&record.id) }
    }

    /// Writes what became of a container, where its record is kept. `durable` survives a power cut.
    pub(crate) fn write_life(&self, record: &Record, life: &Life, durable: bool) -> Result<(), Failure> {
        if record.passing {
            return Ok(());
        }
        let life = Life { format: FORMAT, ..life.clone() };
        write_json(&self.keep_dir(&record.id), "life.json", &life, durable)
    }

    /// The record of a container; none if there is none (any more).
    pub(crate) fn record(&self, id: &str) -> Result<Option<Record>, Failure> {
        match read_record(&self.run_dir(id), true)? {
            None => self.kept_record(id),
            found => Ok(found),
        }
    }

    /// The same of a container without a directory in the run root.
    pub(crate) fn kept_record(&self, id: &str) -> Result<Option<Record>, Failure> {
        read_record(&self.keep_dir(id), false)
    }

    /// What became of a container so far; none of one that was never started, that runs for the first time, or whose
    /// record goes with its run.
    pub(crate) fn life(&self, id: &str) -> Result<Option<Life>, Failure> {
        read_json(&self.keep_dir(id).join("life.json"))
    }

    /// Removes the record that a container with --rm has in the run root.
    pub(crate) fn forget_record(&self, id: &str) -> Result<(), Failure> {
        let path = self.run_dir(id).join("container.json");
        match rustix::fs::unlink(&path) {
            Err(Errno::NOENT | Errno::NOTDIR) => Ok(()),
            result => result.map_err(failed(&path)),
        }
    }
}
