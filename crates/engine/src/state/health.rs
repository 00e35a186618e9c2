//! What is known of a container's health: a file of its own, written by its monitor alone and read by anybody.
//!
//! While the container runs it lies in the run root, which is memory: a probe costs no disk a write, and after a reboot
//! nothing of it is true any more. So it is never synced; the rename alone makes it whole for readers. The last one is
//! kept beside the record, for `inspect` of a container that has ended.

use serde::{Deserialize, Serialize};
use step::Failure;

use super::files::{read_json, write_json};
use super::{Record, Store};

/// What is said of a container that is looked after.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Health {
    /// It was never healthy since its start, and has not failed too often.
    #[default]
    Starting,
    /// The last probe that counts went well.
    Healthy,
    /// Too many have failed in a row; or it has ended.
    Unhealthy,
}

impl Health {
    /// Docker's word.
    pub fn name(self) -> &'static str {
        match self {
            Self::Starting => "starting",
            Self::Healthy => "healthy",
            Self::Unhealthy => "unhealthy",
        }
    }
}

/// How one probe went.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Verdict {
    /// When it began: nanoseconds since 1970.
    pub start: u64,
    /// When it was over.
    pub end: u64,
    /// 0 is healthy; -1: it could not be made, or took too long.
    pub exit_code: i32,
    /// What it said, 4096 bytes at most and what minidocker says of it.
    pub output: String,
}

/// The file.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Known {
    /// What is said.
    pub status: Health,
    /// How many probes in a row have failed.
    pub failing_streak: u64,
    /// The last few.
    pub log: Vec<Verdict>,
}

/// As much of it as a list needs.
#[derive(Deserialize)]
struct Brief {
    status: Health,
}

const NAME: &str = "health.json";

impl Store {
    /// Writes it for a container that runs.
    pub(crate) fn write_health(&self, id: &str, known: &Known) -> Result<(), Failure> {
        write_json(&self.run_dir(id), NAME, known, false)
    }

    /// The same, read. None: nothing was found so far.
    pub(crate) fn health(&self, id: &str) -> Option<Known> {
        // A damaged one is as good as none: the next probe writes it anew.
        read_json(&self.run_dir(id).join(NAME)).ok().flatten()
    }

    /// What is said of one that runs.
    pub(crate) fn health_now(&self, id: &str) -> Health {
        let brief = read_json::<Brief>(&self.run_dir(id).join(NAME)).ok().flatten();
        brief.map_or(Health::Starting, |brief| brief.status)
    }

    /// Keeps what was known of one that has ended. Docker calls it unhealthy from then on.
    pub(crate) fn keep_health(&self, record: &Record) {
        if let Some(known) = self.health(&record.id).filter(|_| !record.passing) {
            let known = Known { status: Health::Unhealthy, ..known };
            // Where it cannot be written there is nothing to tell.
            let _ = write_json(&self.keep_dir(&record.id), NAME, &known, false);
        }
    }

    /// What was known last of one that has ended.
    pub(crate) fn last_health(&self, id: &str) -> Option<Known> {
        read_json(&self.keep_dir(id).join(NAME)).ok().flatten()
    }
}
