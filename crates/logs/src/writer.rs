//! The writing end, whatever the driver: what a container prints goes in as it came from the pipe.

use std::io;
use std::path::Path;
use std::time::SystemTime;

use oci::time::nanoseconds;
use step::{Failure, words};

use crate::settings::{Driver, Settings};
use crate::{Origin, Stream, journald, json, local};

/// Writes one container's output. One at a time for a directory; the lock of the container sees to that.
///
/// Nothing here ever fails or waits after `open`: what a full disk refuses is counted, and told in the log when it
/// takes something again. It has no threads; files are compressed by a forked child, which needs a caller with one thread.
/// Dropped, it ends that child: what was not compressed then is when it is opened again.
#[derive(Debug)]
pub struct Writer {
    to: To,
}

#[derive(Debug)]
enum To {
    Local(local::Writer),
    Json(json::Writer),
    Journal(journald::Writer),
    Nobody,
}

impl Writer {
    /// Opens the log in `dir`, an absolute path, which is made where it is missing; goes on behind the last whole entry
    /// of an earlier writer, however that ended. Fails where the directory cannot be written, or without a journal.
    pub fn open(dir: &Path, settings: &Settings, origin: &Origin) -> Result<Self, Failure> {
        let to = match settings.driver {
            Driver::Local => To::Local(local::Writer::open(dir, settings, origin)?),
            Driver::JsonFile => To::Json(json::Writer::open(dir, settings, origin)?),
            Driver::Journald => To::Journal(journald::Writer::open(settings, origin)?),
            Driver::None => To::Nobody,
        };
        Ok(Self { to })
    }

    /// Takes what came from the pipe of `stream`, cut anywhere, at `time`.
    pub fn write(&mut self, stream: Stream, time: SystemTime, bytes: &[u8]) {
        if bytes.is_empty() {
            return;
        }
        let time = nanoseconds(time);
        match &mut self.to {
            To::Local(writer) => writer.write(stream, time, bytes),
            To::Json(writer) => writer.write(stream, time, bytes),
            To::Journal(writer) => writer.write(stream, time, bytes),
            To::Nobody => {}
        }
    }

    /// The stream has ended: what waits for the end of its line is written. Local has nothing that waits.
    pub fn end(&mut self, stream: Stream, time: SystemTime) {
        let time = nanoseconds(time);
        match &mut self.to {
            To::Json(writer) => writer.end(stream, time),
            To::Journal(writer) => writer.end(stream, time),
            To::Local(_) | To::Nobody => {}
        }
    }

    /// Takes a child that has compressed, without waiting, and starts the next one where a file waits for it. To be
    /// called on SIGCHLD; `write` does it too.
    pub fn tend(&mut self) {
        match &mut self.to {
            To::Local(writer) => writer.tend(),
            To::Json(writer) => writer.tend(),
            To::Journal(_) | To::Nobody => {}
        }
    }

    /// How many bytes were lost and not yet told of.
    pub fn lost(&self) -> u64 {
        match &self.to {
            To::Local(writer) => writer.losses().bytes,
            To::Json(writer) => writer.losses().bytes,
            To::Journal(writer) => writer.losses().bytes,
            To::Nobody => 0,
        }
    }
}

/// What could not be written and was not yet told of.
#[derive(Debug, Default)]
pub(crate) struct Losses {
    pub(crate) bytes: u64,
    why: String,
}

impl Losses {
    pub(crate) fn add(&mut self, bytes: usize, why: &io::Error) {
        self.bytes = self.bytes.saturating_add(bytes as u64);
        self.why = words(why);
    }

    /// The line that tells of it, without its end; none where nothing was lost.
    pub(crate) fn told(&self) -> Option<String> {
        (self.bytes > 0)
            .then(|| format!("minidocker: {} bytes of output were lost: {}", self.bytes, self.why))
    }

    pub(crate) fn forget(&mut self) {
        *self = Self::default();
    }
}
