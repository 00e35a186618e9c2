//! Records: what is kept of a container, and how it ended.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rustix::fs::Mode;
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
    /// Its place in a network.
    pub network: Option<network::Attachment>,
    /// Where its files lie and what bounds them; none in the records of older versions.
    pub disk: Option<storage::Disk>,
    /// What was asked for.
    pub request: RunRequest,
    /// The image that it was made of; none of a directory or of the host.
    #[serde(default)]
    pub origin: Option<Origin>,
}

/// How a container ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ExitRecord {
    /// [`FORMAT`].
    pub format: u32,
    /// The exit code; none where nobody saw it.
    pub code: Option<u8>,
    /// Milliseconds since 1970.
    pub at: u64,
}

impl ExitRecord {
    /// Now.
    pub(crate) fn now(code: Option<u8>) -> Self {
        Self { format: FORMAT, code, at: millis(SystemTime::now()) }
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

impl Store {
    /// Writes a container's record where it belongs.
    pub(crate) fn write_record(&self, record: &Record) -> Result<(), Failure> {
        let dir = if record.request.remove {
            self.run_dir(&record.id)
        } else {
            let dir = self.keep_dir(&record.id);
            match rustix::fs::mkdir(&dir, Mode::from_raw_mode(0o711)) {
                Err(Errno::EXIST) => {}
                made => made.map_err(failed(&dir))?,
            }
            dir
        };
        write_json(&dir, "container.json", record, !record.request.remove)
    }

    /// Writes how a container ended, where its record is kept.
    pub(crate) fn write_exit(&self, record: &Record, exit: ExitRecord) -> Result<(), Failure> {
        if record.request.remove {
            Ok(())
        } else {
            write_json(&self.keep_dir(&record.id), "exit.json", &exit, true)
        }
    }

    /// The record of a container; none if there is none (any more).
    pub(crate) fn record(&self, id: &str) -> Result<Option<Record>, Failure> {
        for dir in [self.run_dir(id), self.keep_dir(id)] {
            let record: Option<Record> = read_json(&dir.join("container.json"))?;
            if let Some(record) = record {
                return if record.format == FORMAT {
                    Ok(Some(record))
                } else {
                    Err(Failure::because(
                        "state",
                        dir.display().to_string(),
                        format!("the record has format {}, this minidocker knows {FORMAT}", record.format),
                    )
                    .hint("use the minidocker that wrote it, or remove the directory"))
                };
            }
        }
        Ok(None)
    }

    /// How a container ended, if it is known.
    pub(crate) fn exit(&self, id: &str) -> Result<Option<ExitRecord>, Failure> {
        read_json(&self.keep_dir(id).join("exit.json"))
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
