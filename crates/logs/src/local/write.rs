//! Appending to a local log: one writev(2) for each chunk, on to the next file at the bound, recovery.

use std::fs::{self, File, OpenOptions};
use std::io::{self, IoSlice};
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use memchr::{memchr, memrchr};
use rustix::io::{pwritev, retry_on_intr};
use step::Failure;

use super::files::{self, Form};
use super::frame::{self, HEAD, Kind, LONGEST, OVERHEAD, around};
use super::pack;
use super::source::Source;
use crate::packing::Packing;
use crate::settings::{Bound, Settings};
use crate::writer::Losses;
use crate::{Origin, Stream};

/// How much longer than its bound a file may get to end with a line's end.
const GRACE: u64 = 64 * 1024;
/// Files below this take no less room when they are compressed.
const WORTH_PACKING: u64 = 8 * 1024;

#[derive(Debug)]
pub(crate) struct Writer {
    dir: PathBuf,
    bound: Bound,
    attributes: Vec<u8>,
    /// The file that is written to: its number, its seed and where its next frame goes.
    file: File,
    number: u64,
    seed: u32,
    end: u64,
    /// The last byte of the stream was no line feed.
    within_line: [bool; 2],
    losses: Losses,
    /// The child that compresses, and what.
    packing: Option<(Packing, u64)>,
    /// Files that wait for it.
    waiting: Vec<u64>,
}

impl Writer {
    pub(crate) fn open(dir: &Path, settings: &Settings, origin: &Origin) -> Result<Self, Failure> {
        let attributes = origin.json(settings)?;
        let failed = |error| Failure::new("log.open", dir.display().to_string(), error);
        let existing = recover(dir).map_err(failed)?;
        let last = existing.last().map(|(number, _)| *number);
        let opened = match existing.last() {
            Some((number, Form::Plain)) => reopen(dir, *number).map_err(failed)?,
            _ => None,
        };
        let (file, number, seed, end, within_line) = match opened {
            Some(opened) => opened,
            None => {
                let number = last.map_or(0, |last| last + 1);
                let (file, seed, end) = create(dir, number, &attributes).map_err(failed)?;
                (file, number, seed, end, [false; 2])
            }
        };
        let plain = existing.iter().filter(|(other, form)| *form == Form::Plain && *other < number);
        let waiting = plain.map(|(other, _)| *other).collect();
        let mut writer = Self {
            dir: dir.to_owned(),
            bound: settings.bound,
            attributes,
            file,
            number,
            seed,
            end,
            within_line,
            losses: Losses::default(),
            packing: None,
            waiting,
        };
        writer.drop_oldest(number);
        writer.tend();
        Ok(writer)
    }

    pub(crate) fn losses(&self) -> &Losses {
        &self.losses
    }

    pub(crate) fn write(&mut self, stream: Stream, time: i64, bytes: &[u8]) {
        if self.packing.is_some() {
            self.tend();
        }
        let kind = match stream {
            Stream::Stdout => Kind::Stdout,
            Stream::Stderr => Kind::Stderr,
        };
        let mut rest = bytes;
        while !rest.is_empty() {
            let now = self.fitting(rest);
            if now == 0 {
                if let Err(error) = self.next_file() {
                    return self.losses.add(rest.len(), &error);
                }
                continue;
            }
            let (piece, later) = rest.split_at(now);
            if let Err(error) = self.tell_losses(time).and_then(|()| self.append(kind, time, piece)) {
                self.losses.add(piece.len(), &error);
            }
            self.within_line[stream.index()] = piece.last() != Some(&b'\n');
            rest = later;
        }
    }

    /// How many of the bytes go into the present file: all, or up to the end of a line; none where it is full.
    fn fitting(&self, bytes: &[u8]) -> usize {
        let most = bytes.len().min(LONGEST);
        let Some(bound) = self.bound.size else { return most };
        let room = bound.saturating_sub(self.end).saturating_sub(OVERHEAD as u64);
        if most as u64 <= room {
            return most;
        }
        let room = room as usize;
        if let Some(end) = memrchr(b'\n', &bytes[..room]) {
            return end + 1;
        }
        let is_new = self.end <= (HEAD + OVERHEAD + self.attributes.len()) as u64;
        let is_between_lines = self.within_line == [false; 2];
        if is_between_lines && !is_new {
            return 0;
        }
        // A line that is longer than what is left: to its end if that is near, else it is cut.
        let grace = (bound + GRACE).saturating_sub(self.end).saturating_sub(OVERHEAD as u64);
        let near = most.min(usize::try_from(grace).unwrap_or(most));
        match memchr(b'\n', &bytes[..near]) {
            Some(end) => end + 1,
            None => near,
        }
    }

    /// Writes one frame behind the last, or nothing.
    fn append(&mut self, kind: Kind, time: i64, bytes: &[u8]) -> io::Result<()> {
        let (before, after) = around(self.seed, self.end, kind, time, bytes);
        write_all(&self.file, self.end, [&before, bytes, &after]).inspect_err(|_| {
            // A torn frame harms nobody, and the next one is written over it. Without it, the file is whole.
            let _ = self.file.set_len(self.end);
        })?;
        self.end += (bytes.len() + OVERHEAD) as u64;
        Ok(())
    }

    fn tell_losses(&mut self, time: i64) -> io::Result<()> {
        let Some(told) = self.losses.told() else { return Ok(()) };
        let start = if self.within_line[Stream::Stderr.index()] { "\n" } else { "" };
        self.append(Kind::Loss, time, format!("{start}{told}\n").as_bytes())?;
        self.within_line[Stream::Stderr.index()] = false;
        self.losses.forget();
        Ok(())
    }

    /// Goes on to a new file. The oldest goes first: on a full disk it makes the room.
    fn next_file(&mut self) -> io::Result<()> {
        let next = self.number + 1;
        if self.bound.files > 1 {
            self.drop_oldest(next);
        }
        let (file, seed, end) = create(&self.dir, next, &self.attributes)?;
        if self.bound.compress && self.end >= WORTH_PACKING {
            self.waiting.push(self.number);
        }
        (self.file, self.number, self.seed, self.end) = (file, next, seed, end);
        self.drop_oldest(next);
        self.tend();
        Ok(())
    }

    /// Removes what is too old when the file of that number is the newest.
    fn drop_oldest(&mut self, newest: u64) {
        let Some(first) = newest.checked_sub(u64::from(self.bound.files) - 1) else { return };
        self.waiting.retain(|number| *number >= first);
        self.packing.take_if(|(_, number)| *number < first);
        for (number, _) in files::list(&self.dir).unwrap_or_default().range(..first) {
            remove(&self.dir, *number);
        }
    }

    pub(crate) fn tend(&mut self) {
        if let Some((packing, number)) = &mut self.packing {
            let Some(done) = packing.ended() else { return };
            let number = *number;
            self.packing = None;
            // What fails once, for want of room, say, stays as it is: the bound removes it in time.
            if done {
                let _ = name_packed(&self.dir, number);
            }
        }
        if !self.bound.compress {
            return;
        }
        if let Some(number) = self.waiting.pop() {
            let (plain, packed) = (files::plain(&self.dir, number), files::packed(&self.dir, number));
            let started = File::open(plain)
                .and_then(|input| Packing::start(&input, |input| pack::pack(input, number, &packed)));
            self.packing = started.ok().map(|packing| (packing, number));
        }
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        if let Some((packing, number)) = self.packing.take() {
            drop(packing);
            let _ = fs::remove_file(files::unready(&files::packed(&self.dir, number)));
        }
    }
}

fn name_packed(dir: &Path, number: u64) -> io::Result<()> {
    let packed = files::packed(dir, number);
    fs::rename(files::unready(&packed), packed)?;
    fs::remove_file(files::plain(dir, number))
}

fn remove(dir: &Path, number: u64) {
    for path in [files::plain(dir, number), files::packed(dir, number)] {
        let _ = fs::remove_file(&path);
        let _ = fs::remove_file(files::unready(&path));
    }
}

/// Finishes or undoes what an earlier writer was about to do. What is there then, oldest first.
fn recover(dir: &Path) -> io::Result<Vec<(u64, Form)>> {
    fs::create_dir_all(dir)?;
    for entry in fs::read_dir(dir)? {
        let name = entry?.file_name();
        if name.to_str().is_some_and(files::is_unready) {
            fs::remove_file(dir.join(name))?;
        }
    }
    let mut all: Vec<_> = files::list(dir)?.into_iter().collect();
    for (number, form) in &mut all {
        // A packed one that has its name is whole.
        if *form == Form::Plain && files::packed(dir, *number).exists() {
            fs::remove_file(files::plain(dir, *number))?;
            *form = Form::Packed;
        }
    }
    Ok(all)
}

/// The last file, if something is behind its last whole frame, and where that one ends.
pub(crate) fn torn(dir: &Path) -> io::Result<Option<(PathBuf, u64)>> {
    let Some((number, Form::Plain)) = files::list(dir)?.into_iter().next_back() else { return Ok(None) };
    let path = files::plain(dir, number);
    let file = File::open(&path)?;
    let size = file.metadata()?.len();
    let Some(mut source) = Source::of(file, number, false)? else { return Ok(None) };
    let end = source.end()?;
    Ok((end < size).then_some((path, end)))
}

type Opened = (File, u64, u32, u64, [bool; 2]);

/// Opens the last file behind its last whole frame, and cuts off what is torn; none where it has not even a head.
fn reopen(dir: &Path, number: u64) -> io::Result<Option<Opened>> {
    let file = OpenOptions::new().read(true).write(true).open(files::plain(dir, number))?;
    let Some(mut source) = Source::of(file.try_clone()?, number, false)? else { return Ok(None) };
    let end = source.end()?;
    if !is_of_this_boot(&file)? && source.first_end()? < end {
        // A power loss may have damaged more than its end. What is sound of it stays, and nothing is added to it.
        return Ok(None);
    }
    file.set_len(end)?;
    let mut within_line = [false; 2];
    if let Some((_, frame)) = source.before(end)?
        && let Some(stream) = frame.kind.stream()
    {
        within_line[stream.index()] = frame.bytes.last().is_some_and(|last| *last != b'\n');
    }
    Ok(Some((file, number, source.seed(), end, within_line)))
}

/// Whether the file was last changed since the machine started: then the page cache has all that was written.
fn is_of_this_boot(file: &File) -> io::Result<bool> {
    let up = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
    let up = Duration::new(up.tv_sec.try_into().unwrap_or(0), 0);
    let changed = file.metadata()?.modified()?;
    let now = SystemTime::now();
    Ok(changed <= now && now.duration_since(changed).is_ok_and(|age| age < up))
}

/// A new file with its head and attributes: it gets its name when it has them. Its seed and its end.
fn create(dir: &Path, number: u64, attributes: &[u8]) -> io::Result<(File, u32, u64)> {
    let path = files::plain(dir, number);
    let unready = files::unready(&path);
    let mut seed = [0; 4];
    rustix::rand::getrandom(&mut seed, rustix::rand::GetRandomFlags::empty())?;
    let seed = u32::from_le_bytes(seed);
    let mut start = frame::head(seed).to_vec();
    if !attributes.is_empty() {
        let (before, after) = around(seed, HEAD as u64, Kind::Attributes, 0, attributes);
        start.extend_from_slice(&before);
        start.extend_from_slice(attributes);
        start.extend_from_slice(&after);
    }
    let made = || -> io::Result<File> {
        use std::os::unix::fs::OpenOptionsExt as _;
        let mut options = OpenOptions::new();
        let file = options.read(true).write(true).create(true).truncate(true).mode(0o640).open(&unready)?;
        file.write_all_at(&start, 0)?;
        fs::rename(&unready, &path)?;
        Ok(file)
    };
    let file = made().inspect_err(|_| drop(fs::remove_file(&unready)))?;
    Ok((file, seed, start.len() as u64))
}

/// Writes all of it at that place.
fn write_all(file: &File, at: u64, parts: [&[u8]; 3]) -> io::Result<()> {
    let mut slices = parts.map(IoSlice::new);
    let mut left = &mut slices[..];
    let mut at = at;
    while !left.is_empty() {
        match retry_on_intr(|| pwritev(file, left, at))? {
            0 => return Err(io::ErrorKind::WriteZero.into()),
            written => {
                at += written as u64;
                IoSlice::advance_slices(&mut left, written);
            }
        }
    }
    Ok(())
}
