//! What a container prints: written by its monitor, read by `minidocker logs`, on disk or in the journal.
//!
//! - `settings`, `origin`: what is asked for with `--log-driver` and `--log-opt`, and whose output it is.
//! - `writer`, `reader`: the two ends, whatever the driver.
//! - `local`: frames in a format of our own, the default (docs/decisions/0019-logs.md).
//! - `json`: Docker's json-file, byte for byte.
//! - `journald`: datagrams to systemd's journal.
//! - `pieces`: where Docker cuts lines; `packing`: compression by a child process; `watch`: inotify(7);
//!   `tail`: the last lines, from the end.

#![forbid(unsafe_code)]

mod journald;
mod json;
mod local;
mod origin;
mod packing;
mod pieces;
mod reader;
mod settings;
mod tail;
mod watch;
mod writer;

pub use origin::Origin;
pub use reader::{Options, Piece, Reader};
pub use settings::{Bound, Driver, Mode, Settings};
pub use writer::Writer;

use std::io;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use step::Failure;

/// The file of the log in `dir` that ends in something torn, and where its whole part ends, in bytes: what a writer that
/// was killed left. The next writer cuts it off. Nobody may write to the log meanwhile; none where all is whole.
///
/// # Errors
/// Files that cannot be read.
pub fn torn(dir: &Path, id: &str, settings: &Settings) -> Result<Option<(PathBuf, u64)>, Failure> {
    let torn = match settings.driver {
        Driver::Local => local::torn(dir),
        Driver::JsonFile => json::torn(dir, id),
        Driver::Journald | Driver::None => return Ok(None),
    };
    match torn {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        torn => torn.map_err(|error| Failure::new("log.check", dir.display().to_string(), error)),
    }
}

/// Where a container printed it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Stream {
    /// Its standard output, or its terminal.
    Stdout,
    /// Its standard error.
    Stderr,
}

impl Stream {
    /// `stdout`, `stderr`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Stdout => "stdout",
            Self::Stderr => "stderr",
        }
    }

    /// Its place in an array of two.
    pub(crate) fn index(self) -> usize {
        self as usize
    }
}
