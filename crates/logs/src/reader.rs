//! The reading end, whatever the driver: lines or chunks of what a container printed, by time, stream and number.

use std::os::fd::BorrowedFd;
use std::path::Path;
use std::time::SystemTime;

use oci::time::nanoseconds;
use step::Failure;

use crate::settings::{Driver, Settings};
use crate::{Stream, journald, json, local};

/// What of the output is wanted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Options {
    /// Nothing before it.
    pub since: Option<SystemTime>,
    /// Nothing after it: the first piece that is later ends the reading.
    pub until: Option<SystemTime>,
    /// Only so many lines from the end of the log, of the wanted streams; `since` and `until` choose among them, as
    /// Docker has it.
    pub tail: Option<u64>,
    /// Standard output.
    pub stdout: bool,
    /// Standard error.
    pub stderr: bool,
    /// A piece for each line, for who writes something before each; else pieces come as large as they are kept.
    pub lines: bool,
    /// What comes later too: `read` can be called again and again.
    pub follow: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self { since: None, until: None, tail: None, stdout: true, stderr: true, lines: false, follow: false }
    }
}

/// A piece of the output.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Piece<'a> {
    /// When it came from the container, in nanoseconds since 1970; [`Piece::time`] is the same.
    pub nanoseconds: i64,
    /// Where it was printed.
    pub stream: Stream,
    /// The bytes as they were printed, with their line feeds; json-file has U+FFFD for what is no UTF-8.
    pub bytes: &'a [u8],
    /// It begins a line. False for the rest of a line that came in pieces.
    pub begins: bool,
    /// Labels and variables that were asked for, a JSON object; empty where there are none.
    pub attributes: &'a str,
}

impl Piece<'_> {
    /// When it came from the container.
    pub fn time(&self) -> SystemTime {
        oci::time::at(self.nanoseconds)
    }
}

/// Reads one container's output. Takes no lock: it may run beside the writer, or another writer's successor.
#[derive(Debug)]
pub struct Reader {
    from: From,
}

#[derive(Debug)]
enum From {
    Local(local::Reader),
    Json(json::Reader),
    Journal(journald::Reader),
}

impl Reader {
    /// Opens the log in `dir` of the container with this full id. A log that was never written to is empty. To follow
    /// one, `dir` must exist.
    ///
    /// Fails for the driver none, where files cannot be read, and without journalctl(1) for the journal.
    pub fn open(dir: &Path, id: &str, settings: &Settings, options: &Options) -> Result<Self, Failure> {
        let from = match settings.driver {
            Driver::Local => From::Local(local::Reader::open(dir, options)?),
            Driver::JsonFile => From::Json(json::Reader::open(dir, id, options)?),
            Driver::Journald => From::Journal(journald::Reader::open(id, options)?),
            Driver::None => {
                let reason = "configured logging driver does not support reading";
                return Err(Failure::because("logs", "", reason)
                    .hint("create the container without --log-driver none, or attach to it"));
            }
        };
        Ok(Self { from })
    }

    /// Hands over everything that is there now and was not handed over before. With `follow`, to be called again when
    /// the descriptor is readable, and once more after the container has ended.
    ///
    /// Ends with the first error of `each`, or its own.
    pub fn read<E: std::convert::From<Failure>>(
        &mut self,
        each: impl FnMut(Piece<'_>) -> Result<(), E>,
    ) -> Result<(), E> {
        match &mut self.from {
            From::Local(reader) => reader.read(each),
            From::Json(reader) => reader.read(each),
            From::Journal(reader) => reader.read(each),
        }
    }

    /// What to poll(2) for reading when the log is followed.
    pub fn descriptor(&self) -> Option<BorrowedFd<'_>> {
        match &self.from {
            From::Local(reader) => reader.descriptor(),
            From::Json(reader) => reader.descriptor(),
            From::Journal(reader) => reader.descriptor(),
        }
    }

    /// Nothing will come any more that is not later than `until`.
    pub fn is_done(&self) -> bool {
        match &self.from {
            From::Local(reader) => reader.filter().done,
            From::Json(reader) => reader.filter().done,
            From::Journal(reader) => reader.filter().done,
        }
    }
}

/// What passes, and how it is cut.
#[derive(Debug)]
pub(crate) struct Filter {
    since: i64,
    until: i64,
    wanted: [bool; 2],
    lines: bool,
    /// The next byte of the stream begins a line.
    begins: [bool; 2],
    pub(crate) done: bool,
}

impl Filter {
    pub(crate) fn new(options: &Options) -> Self {
        Self {
            since: options.since.map_or(i64::MIN, nanoseconds),
            until: options.until.map_or(i64::MAX, nanoseconds),
            wanted: [options.stdout, options.stderr],
            lines: options.lines,
            begins: [true; 2],
            done: false,
        }
    }

    pub(crate) fn wants(&self, stream: Stream) -> bool {
        self.wanted[stream.index()]
    }

    /// Hands over what passes of `bytes`.
    pub(crate) fn pass<E>(
        &mut self,
        time: i64,
        stream: Stream,
        bytes: &[u8],
        attributes: &str,
        each: &mut impl FnMut(Piece<'_>) -> Result<(), E>,
    ) -> Result<(), E> {
        if time > self.until {
            self.done = true;
        }
        let Some(last) = bytes.last() else { return Ok(()) };
        let begins = std::mem::replace(&mut self.begins[stream.index()], *last == b'\n');
        if self.done || time < self.since || !self.wants(stream) {
            return Ok(());
        }
        let mut piece = Piece { nanoseconds: time, stream, bytes, begins, attributes };
        if !self.lines {
            return each(piece);
        }
        let mut start = 0;
        for end in memchr::memchr_iter(b'\n', bytes).map(|at| at + 1).chain([bytes.len()]) {
            if start < end {
                piece.bytes = &bytes[start..end];
                each(piece)?;
                piece.begins = true;
            }
            start = end;
        }
        Ok(())
    }
}
