//! Reading a local log forwards, beside its writer: from file to file by their numbers.

use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::io;
use std::os::fd::BorrowedFd;
use std::path::{Path, PathBuf};

use step::Failure;

use super::files::{self, Form};
use super::frame::HEAD;
use super::source::Source;
use super::tail;
use crate::reader::{Filter, Options, Piece};
use crate::tail::Start;
use crate::watch::Watch;

#[derive(Debug)]
pub(crate) struct Reader {
    dir: PathBuf,
    filter: Filter,
    start: Start,
    /// The file that is read, what belongs to all of it, and the place of its next frame.
    source: Option<Source>,
    attributes: String,
    at: u64,
    /// The last number that was gone on to.
    passed: Option<u64>,
    watch: Option<Watch>,
}

impl Reader {
    pub(crate) fn open(dir: &Path, options: &Options) -> Result<Self, Failure> {
        // Before the first look: what is written after it is an event.
        let watch = options.follow.then(|| Watch::new(dir)).transpose()?;
        let filter = Filter::new(options);
        let start = match options.tail {
            None => Start::ALL,
            Some(lines) => {
                let files = existing(dir).map_err(|error| failed(dir, error))?;
                tail::start(dir, &files, lines, |stream| filter.wants(stream))
                    .map_err(|error| failed(dir, error))?
            }
        };
        Ok(Self {
            dir: dir.to_owned(),
            filter,
            start,
            source: None,
            attributes: String::new(),
            at: 0,
            passed: None,
            watch,
        })
    }

    pub(crate) fn filter(&self) -> &Filter {
        &self.filter
    }

    pub(crate) fn descriptor(&self) -> Option<BorrowedFd<'_>> {
        self.watch.as_ref().map(Watch::descriptor)
    }

    pub(crate) fn read<E: From<Failure>>(
        &mut self,
        mut each: impl FnMut(Piece<'_>) -> Result<(), E>,
    ) -> Result<(), E> {
        if let Some(watch) = &self.watch {
            watch.drain();
        }
        if self.source.is_none() && !self.advance()? {
            return Ok(());
        }
        let mut next_exists = false;
        while !self.filter.done {
            if self.read_file(&mut each)? {
                continue;
            }
            // Once there is a next one, nothing is added to this one any more: what was before that is read first.
            if !next_exists {
                next_exists = self.next_number()?.is_some();
                if next_exists {
                    continue;
                }
                return Ok(());
            }
            next_exists = false;
            if !self.advance()? {
                return Ok(());
            }
        }
        Ok(())
    }

    /// Hands over the frames of this file that are there. Whether there was any.
    fn read_file<E: From<Failure>>(
        &mut self,
        each: &mut impl FnMut(Piece<'_>) -> Result<(), E>,
    ) -> Result<bool, E> {
        let Some(source) = &mut self.source else { return Ok(false) };
        let from = self.at;
        while !self.filter.done {
            let number = source.number;
            let Some(frame) = source.frame(self.at).map_err(|error| failed(&self.dir, error))? else {
                match source.resume(self.at).map_err(|error| failed(&self.dir, error))? {
                    Some(at) => self.at = at,
                    None => break,
                }
                continue;
            };
            let place = self.at;
            // First, so that what a failing `each` was given is not given again.
            self.at += frame.size() as u64;
            let Some(stream) = frame.kind.stream() else { continue };
            let (start_number, start_place, skipped) = self.start.0[stream.index()];
            let bytes = match (number, place).cmp(&(start_number, start_place)) {
                Ordering::Less => continue,
                Ordering::Equal => frame.bytes.get(skipped..).unwrap_or_default(),
                Ordering::Greater => frame.bytes,
            };
            self.filter.pass(frame.time, stream, bytes, &self.attributes, each)?;
        }
        Ok(self.at > from)
    }

    /// Goes on to the next file that can be read: whether there is one.
    fn advance(&mut self) -> Result<bool, Failure> {
        while let Some(number) = self.next_number()? {
            let opened = Source::open(&self.dir, number).map_err(|error| failed(&self.dir, error))?;
            self.passed = Some(number);
            let Some(mut source) = opened else { continue };
            let (first, place) = self.start.first();
            self.at = if number == first { place.max(HEAD as u64) } else { HEAD as u64 };
            self.attributes = std::mem::take(&mut source.attributes);
            self.source = Some(source);
            return Ok(true);
        }
        Ok(false)
    }

    /// The number of the file after the present one.
    fn next_number(&self) -> Result<Option<u64>, Failure> {
        let files = existing(&self.dir).map_err(|error| failed(&self.dir, error))?;
        let first = self.passed.map_or(self.start.first().0, |passed| passed + 1);
        Ok(files.range(first..).next().map(|(number, _)| *number))
    }
}

fn failed(dir: &Path, error: io::Error) -> Failure {
    Failure::new("logs.read", dir.display().to_string(), error)
}

/// The files; none where nothing was ever written.
fn existing(dir: &Path) -> io::Result<BTreeMap<u64, Form>> {
    match files::list(dir) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(BTreeMap::new()),
        other => other,
    }
}
