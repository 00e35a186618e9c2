//! Reading json-file beside its writer: which files there are is found out although they are renamed meanwhile.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, Read as _};
use std::os::fd::BorrowedFd;
use std::os::unix::fs::{FileExt as _, MetadataExt as _};
use std::path::Path;

use flate2::read::GzDecoder;
use memchr::{memchr, memrchr};
use rustix::fs::MemfdFlags;
use step::Failure;

use super::files::{Identity, Names};
use super::line::Entry;
use crate::reader::{Filter, Options, Piece};
use crate::tail::{Search, Start};
use crate::watch::Watch;

/// How much is read at a time.
const WINDOW: usize = 256 * 1024;
/// The longest line that is taken for one.
const LONGEST: usize = 4 * 1024 * 1024;
/// How often the files are looked up anew when they were moved meanwhile.
const TRIES: usize = 100;

#[derive(Debug)]
pub(crate) struct Reader {
    names: Names,
    filter: Filter,
    start: Start,
    /// The present one, and those that follow it.
    input: Option<Input>,
    inputs: VecDeque<Input>,
    /// The number of the next input.
    next: u64,
    entry: Entry,
    watch: Option<Watch>,
}

/// A file that is read.
#[derive(Debug)]
struct Input {
    /// Its place in the order of the output.
    number: u64,
    bytes: Bytes,
    /// Some bytes of it, and the place of the first.
    buffer: Vec<u8>,
    place: u64,
    /// How many bytes of the buffer were taken.
    taken: usize,
}

#[derive(Debug)]
enum Bytes {
    Plain(File),
    Packed(Box<GzDecoder<File>>),
}

impl Input {
    fn new(bytes: Bytes) -> Self {
        Self { number: 0, bytes, buffer: Vec::new(), place: 0, taken: 0 }
    }

    /// The next whole line, without its line feed: its place and its bytes in the buffer.
    fn line(&mut self) -> io::Result<Option<(u64, std::ops::Range<usize>)>> {
        let mut looked = self.taken;
        loop {
            if let Some(end) = memchr(b'\n', &self.buffer[looked..]).map(|end| looked + end) {
                let line = self.taken..end;
                self.taken = end + 1;
                return Ok(Some((self.place + line.start as u64, line)));
            }
            let kept = self.buffer.len() - self.taken;
            self.buffer.copy_within(self.taken.., 0);
            self.buffer.truncate(kept);
            self.place += self.taken as u64;
            self.taken = 0;
            if kept > LONGEST {
                // Nobody writes such lines: damage, which ends with the next line feed.
                self.place += kept as u64;
                self.buffer.clear();
            }
            looked = self.buffer.len();
            let size = self.read()?;
            if size == 0 {
                // A torn line may be cut off and written over: it is read anew.
                if matches!(self.bytes, Bytes::Plain(_)) {
                    self.buffer.clear();
                }
                return Ok(None);
            }
        }
    }

    /// Reads some more behind what is in the buffer.
    fn read(&mut self) -> io::Result<usize> {
        let old = self.buffer.len();
        self.buffer.resize(old + WINDOW, 0);
        let space = &mut self.buffer[old..];
        let read = match &mut self.bytes {
            Bytes::Plain(file) => file.read_at(space, self.place + old as u64),
            Bytes::Packed(decoder) => decoder.read(space),
        };
        self.buffer.truncate(old + *read.as_ref().unwrap_or(&0));
        read
    }

    fn identity(&self) -> Option<Identity> {
        match &self.bytes {
            Bytes::Plain(file) => Identity::of(file).ok(),
            Bytes::Packed(decoder) => Identity::of_extra(decoder.header()?.extra()?),
        }
    }

    /// Unpacks it into memory, so that it can be read from its end.
    fn unpack(&mut self) -> io::Result<()> {
        let Bytes::Packed(decoder) = &mut self.bytes else { return Ok(()) };
        let mut plain = File::from(rustix::fs::memfd_create(c"minidocker-log", MemfdFlags::CLOEXEC)?);
        // What is damaged ends where the damage begins.
        match io::copy(decoder, &mut plain) {
            Err(error)
                if !matches!(error.kind(), io::ErrorKind::InvalidInput | io::ErrorKind::UnexpectedEof) =>
            {
                return Err(error);
            }
            _ => self.bytes = Bytes::Plain(plain),
        }
        Ok(())
    }
}

impl Reader {
    pub(crate) fn open(dir: &Path, id: &str, options: &Options) -> Result<Self, Failure> {
        // Before the first look: what is written after it is an event.
        let watch = options.follow.then(|| Watch::new(dir)).transpose()?;
        let mut reader = Self {
            names: Names::new(dir, id),
            filter: Filter::new(options),
            start: Start::ALL,
            input: None,
            inputs: VecDeque::new(),
            next: 0,
            entry: Entry::default(),
            watch,
        };
        reader.look_up()?;
        if let Some(lines) = options.tail {
            reader.start = reader.tail(lines).map_err(|error| reader.failed(error))?;
            reader.skip_to_start();
        }
        Ok(reader)
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
        let mut was_moved = false;
        while !self.filter.done {
            if self.input.is_none() {
                self.input = self.inputs.pop_front();
            }
            if self.read_input(&mut each)? {
                continue;
            }
            if !self.inputs.is_empty() {
                self.input = None;
                continue;
            }
            // Once it has been renamed, nothing is added to it any more: what was before that is read first.
            match (was_moved, self.input.as_ref().is_none_or(|input| !self.is_active(input))) {
                (_, false) => return Ok(()),
                (false, true) => was_moved = true,
                (true, true) => {
                    was_moved = false;
                    self.look_up()?;
                    if self.inputs.is_empty() {
                        return Ok(());
                    }
                    self.input = None;
                }
            }
        }
        Ok(())
    }

    /// Hands over the lines of the present file that are there. Whether there was any.
    fn read_input<E: From<Failure>>(
        &mut self,
        each: &mut impl FnMut(Piece<'_>) -> Result<(), E>,
    ) -> Result<bool, E> {
        let Some(input) = &mut self.input else { return Ok(false) };
        let mut any = false;
        while !self.filter.done {
            let line = match input.line() {
                Ok(line) => line,
                // A compressed file that is damaged ends there.
                Err(_) if matches!(input.bytes, Bytes::Packed(_)) => None,
                Err(error) => return Err(failed(&self.names, error).into()),
            };
            let Some((place, line)) = line else { break };
            any = true;
            let Some((stream, time)) = self.entry.read(&input.buffer[line]) else { continue };
            let (start_number, start_place, skipped) = self.start.0[stream.index()];
            let log = match (input.number, place).cmp(&(start_number, start_place)) {
                std::cmp::Ordering::Less => continue,
                std::cmp::Ordering::Equal => self.entry.log.get(skipped..).unwrap_or_default(),
                std::cmp::Ordering::Greater => &self.entry.log,
            };
            self.filter.pass(time, stream, log, &self.entry.attributes, each)?;
        }
        Ok(any)
    }

    /// Whether the file is still the one that is written to.
    fn is_active(&self, input: &Input) -> bool {
        let Bytes::Plain(file) = &input.bytes else { return false };
        let here = file.metadata().map(|file| (file.dev(), file.ino()));
        let there = self.names.active().metadata().map(|file| (file.dev(), file.ino()));
        matches!((here, there), (Ok(here), Ok(there)) if here == there)
    }

    /// Finds the files after the present one.
    fn look_up(&mut self) -> Result<(), Failure> {
        let mut found = Vec::new();
        for _ in 0..TRIES {
            found = self.found().map_err(|error| self.failed(error))?;
            let still = match found.last() {
                Some(last) if self.is_active(last) => true,
                _ => !self.names.active().exists(),
            };
            if still {
                break;
            }
        }
        if let Some(present) = self.input.as_ref().and_then(Input::identity)
            && let Some(at) = found.iter().position(|input| input.identity() == Some(present))
        {
            found.drain(..=at);
        }
        for mut input in found {
            input.number = self.next;
            self.next += 1;
            self.inputs.push_back(input);
        }
        Ok(())
    }

    /// Opens all files, oldest first. The active one is opened first and the others in the direction in which they are
    /// moved on: so none is missed, and one that is met twice is dropped.
    fn found(&self) -> io::Result<Vec<Input>> {
        let mut found = Vec::new();
        if let Some(file) = open(self.names.active())? {
            found.push(Input::new(Bytes::Plain(file)));
        }
        // And where they may be on their way to.
        let mut indices = self.names.indices()?;
        indices.extend(indices.clone().into_iter().map(|index| index.saturating_add(1)).chain([1]));
        for index in indices {
            let input = match open(&self.names.plain(index))? {
                Some(file) => Input::new(Bytes::Plain(file)),
                None => match open(&self.names.packed(index))? {
                    Some(file) => Input::new(Bytes::Packed(Box::new(GzDecoder::new(file)))),
                    None => continue,
                },
            };
            let identity = input.identity();
            if identity.is_none() || found.iter().all(|other| other.identity() != identity) {
                found.push(input);
            }
        }
        found.reverse();
        Ok(found)
    }

    /// Where the last lines begin.
    fn tail(&mut self, lines: u64) -> io::Result<Start> {
        let filter = &self.filter;
        let wants = |stream| filter.wants(stream);
        let mut search: Option<Search> = None;
        for input in self.inputs.iter_mut().rev() {
            input.unpack()?;
            let Bytes::Plain(file) = &input.bytes else { continue };
            let mut lines_of = Backwards::new(file)?;
            let search = search.get_or_insert_with(|| Search::new(lines, (input.number, lines_of.end, 0)));
            loop {
                if search.is_over(wants) {
                    return Ok(search.start);
                }
                let Some((place, line)) = lines_of.before()? else { break };
                if let Some((stream, _)) = self.entry.read(line)
                    && wants(stream)
                {
                    search.look(stream.index(), (input.number, place), &self.entry.log);
                }
            }
        }
        Ok(search.map_or(Start::ALL, Search::at_the_beginning))
    }

    /// Leaves out what lies before the beginning of the last lines.
    fn skip_to_start(&mut self) {
        let (number, place) = self.start.first();
        self.inputs.retain(|input| input.number >= number);
        if let Some(input) = self.inputs.front_mut()
            && input.number == number
            && matches!(input.bytes, Bytes::Plain(_))
        {
            input.place = place;
        }
    }

    fn failed(&self, error: io::Error) -> Failure {
        failed(&self.names, error)
    }
}

fn failed(names: &Names, error: io::Error) -> Failure {
    Failure::new("logs.read", names.active().display().to_string(), error)
}

fn open(path: &Path) -> io::Result<Option<File>> {
    match File::open(path) {
        Ok(file) => Ok(Some(file)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// The lines of a file from its end.
struct Backwards<'a> {
    file: &'a File,
    /// Where the line ends that comes next, behind its line feed.
    end: u64,
    buffer: Vec<u8>,
    place: u64,
}

impl<'a> Backwards<'a> {
    /// From the last whole line on.
    fn new(file: &'a File) -> io::Result<Self> {
        let size = file.metadata()?.size();
        let mut lines = Self { file, end: size, buffer: Vec::new(), place: size };
        lines.end = lines.feed_before(size)?.map_or(0, |feed| feed + 1);
        Ok(lines)
    }

    /// The line before, without its line feed, and its place.
    fn before(&mut self) -> io::Result<Option<(u64, &[u8])>> {
        let Some(last) = self.end.checked_sub(1) else { return Ok(None) };
        let start = self.feed_before(last)?.map_or(0, |feed| feed + 1);
        self.end = start;
        let line = (start - self.place) as usize..(last - self.place) as usize;
        Ok(Some((start, &self.buffer[line])))
    }

    /// The last line feed before that place; all behind it is in the buffer then.
    fn feed_before(&mut self, end: u64) -> io::Result<Option<u64>> {
        self.buffer.truncate(end.saturating_sub(self.place) as usize);
        let mut looked = self.buffer.len();
        loop {
            if let Some(feed) = memrchr(b'\n', &self.buffer[..looked]) {
                return Ok(Some(self.place + feed as u64));
            }
            if self.place == 0 {
                return Ok(None);
            }
            let size = (WINDOW as u64).min(self.place) as usize;
            let mut buffer = vec![0; size];
            self.place -= size as u64;
            self.file.read_exact_at(&mut buffer, self.place)?;
            buffer.append(&mut self.buffer);
            self.buffer = buffer;
            looked = size;
        }
    }
}
