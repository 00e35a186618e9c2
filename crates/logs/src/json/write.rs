//! Writing json-file: entries as Docker cuts and writes them, files as it renames them.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use flate2::{Compression, GzBuilder};
use memchr::memrchr;
use step::Failure;

use super::files::{Identity, Names};
use super::line::{Ending, escape};
use crate::packing::Packing;
use crate::pieces::{Cutter, Piece};
use crate::settings::{Bound, Settings};
use crate::writer::Losses;
use crate::{Origin, Stream};

/// How much is gathered before it is written.
const BATCH: usize = 32 * 1024;

#[derive(Debug)]
pub(crate) struct Writer {
    cutter: Cutter,
    log: Log,
}

impl Writer {
    pub(crate) fn open(dir: &Path, settings: &Settings, origin: &Origin) -> Result<Self, Failure> {
        let attributes = origin.json(settings)?;
        let names = Names::new(dir, &origin.id);
        let failed = |error| Failure::new("log.open", names.active().display().to_string(), error);
        let (file, end) = recover(dir, &names).map_err(failed)?;
        let mut log = Log {
            names,
            bound: settings.bound,
            attributes,
            file,
            end,
            batch: Vec::new(),
            printed: 0,
            ending: Ending::default(),
            losses: Losses::default(),
            packing: None,
            looks: true,
        };
        log.tend();
        Ok(Self { cutter: Cutter::default(), log })
    }

    pub(crate) fn write(&mut self, stream: Stream, time: i64, bytes: &[u8]) {
        if self.log.packing.is_some() {
            self.log.tend();
        }
        self.cutter.cut(stream, time, bytes, |piece| self.log.entry(piece));
        self.log.flush();
    }

    pub(crate) fn end(&mut self, stream: Stream, time: i64) {
        self.cutter.end(stream, time, |piece| self.log.entry(piece));
        self.log.flush();
    }

    pub(crate) fn tend(&mut self) {
        self.log.tend();
    }

    pub(crate) fn losses(&self) -> &Losses {
        &self.log.losses
    }
}

#[derive(Debug)]
struct Log {
    names: Names,
    bound: Bound,
    attributes: Vec<u8>,
    /// The active file, and how long it is.
    file: File,
    end: u64,
    /// Whole entries that are about to be written, and how many bytes of output they hold.
    batch: Vec<u8>,
    printed: usize,
    ending: Ending,
    losses: Losses,
    /// The child that compresses, and the index that its file has by now.
    packing: Option<(Packing, u32)>,
    /// There may be files to compress.
    looks: bool,
}

impl Log {
    fn entry(&mut self, piece: Piece<'_>) {
        let size = piece.bytes.len() + usize::from(piece.ends);
        if self.bound.size.is_some_and(|bound| self.end + self.batch.len() as u64 >= bound) {
            self.flush();
            if let Err(error) = self.rotate() {
                return self.losses.add(size, &error);
            }
        }
        self.batch.extend_from_slice(b"{\"log\":\"");
        escape(&mut self.batch, piece.bytes);
        if piece.ends {
            self.batch.extend_from_slice(b"\\n");
        }
        self.batch.extend_from_slice(self.ending.of(piece.stream, piece.time, &self.attributes));
        self.printed += size;
        if self.batch.len() >= BATCH {
            self.flush();
        }
    }

    /// Writes what was gathered, or nothing of it.
    fn flush(&mut self) {
        if self.batch.is_empty() {
            return;
        }
        if let Err(error) = self.tell_losses().and_then(|()| append(&self.file, &mut self.end, &self.batch)) {
            self.losses.add(self.printed, &error);
        }
        self.batch.clear();
        self.printed = 0;
    }

    fn tell_losses(&mut self) -> io::Result<()> {
        let Some(told) = self.losses.told() else { return Ok(()) };
        let mut line = b"{\"log\":\"".to_vec();
        escape(&mut line, told.as_bytes());
        line.extend_from_slice(b"\\n");
        let now = oci::time::nanoseconds(SystemTime::now());
        line.extend_from_slice(Ending::default().of(Stream::Stderr, now, &self.attributes));
        append(&self.file, &mut self.end, &line)?;
        self.losses.forget();
        Ok(())
    }

    /// Moves every file on by one, and begins a new one. The oldest goes first: on a full disk it makes the room.
    fn rotate(&mut self) -> io::Result<()> {
        let last = self.bound.files - 1;
        let mut indices = self.names.indices()?;
        for index in indices.split_off(&last) {
            remove_if_there(&self.names.plain(index))?;
            remove_if_there(&self.names.packed(index))?;
        }
        self.packing.take_if(|(_, index)| *index >= last);
        let next = self.names.next();
        let file = create(&next)?;
        for index in indices.into_iter().rev() {
            rename_if_there(&self.names.plain(index), &self.names.plain(index + 1))?;
            rename_if_there(&self.names.packed(index), &self.names.packed(index + 1))?;
        }
        if let Some((_, index)) = &mut self.packing {
            *index += 1;
        }
        if last > 0 {
            // No other file of this log was changed in this nanosecond: it is known by that from now on.
            self.file.set_modified(SystemTime::now())?;
            rename_if_there(self.names.active(), &self.names.plain(1))?;
        }
        fs::rename(&next, self.names.active())?;
        (self.file, self.end) = (file, 0);
        self.looks = true;
        self.tend();
        Ok(())
    }

    fn tend(&mut self) {
        if let Some((packing, index)) = &mut self.packing {
            let Some(done) = packing.ended() else { return };
            let index = *index;
            self.packing = None;
            let named = done && self.name_packed(index).is_ok();
            // What fails once, for want of room, say, waits for the next rotation.
            self.looks &= named;
        }
        if !self.bound.compress || !self.looks {
            return;
        }
        let waits = |index: &u32| self.names.plain(*index).exists() && !self.names.packed(*index).exists();
        let indices = self.names.indices().unwrap_or_default();
        let Some(index) = indices.into_iter().find(waits) else {
            self.looks = false;
            return;
        };
        let to = self.names.unready();
        let started = File::open(self.names.plain(index))
            .and_then(|input| Packing::start(&input, |input| pack(input, &to)));
        self.looks = started.is_ok();
        self.packing = started.ok().map(|packing| (packing, index));
    }

    fn name_packed(&self, index: u32) -> io::Result<()> {
        fs::rename(self.names.unready(), self.names.packed(index))?;
        fs::remove_file(self.names.plain(index))
    }
}

impl Drop for Log {
    fn drop(&mut self) {
        if let Some((packing, _)) = self.packing.take() {
            drop(packing);
            let _ = fs::remove_file(self.names.unready());
        }
    }
}

/// In the child: whole, and on disk.
fn pack(mut plain: File, to: &Path) -> io::Result<()> {
    let extra = Identity::of(&plain)?.extra();
    let packed = create(to)?;
    let mut encoder = GzBuilder::new().extra(extra).write(packed, Compression::fast());
    io::copy(&mut plain, &mut encoder)?;
    encoder.finish()?.sync_data()
}

fn append(file: &File, end: &mut u64, bytes: &[u8]) -> io::Result<()> {
    file.write_all_at(bytes, *end).inspect_err(|_| {
        let _ = file.set_len(*end);
    })?;
    *end += bytes.len() as u64;
    Ok(())
}

fn create(path: &Path) -> io::Result<File> {
    OpenOptions::new().read(true).write(true).create(true).truncate(true).mode(0o640).open(path)
}

fn rename_if_there(from: &Path, to: &Path) -> io::Result<()> {
    absent_is_well(fs::rename(from, to))
}

fn remove_if_there(path: &Path) -> io::Result<()> {
    absent_is_well(fs::remove_file(path))
}

fn absent_is_well(result: io::Result<()>) -> io::Result<()> {
    match result {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}

/// Finishes or undoes what an earlier writer was about to do, and opens the active file behind its last whole line.
fn recover(dir: &Path, names: &Names) -> io::Result<(File, u64)> {
    fs::create_dir_all(dir)?;
    remove_if_there(&names.next())?;
    remove_if_there(&names.unready())?;
    for index in names.indices()? {
        // A packed one that has its name is whole.
        if names.packed(index).exists() {
            remove_if_there(&names.plain(index))?;
        }
    }
    let file = OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o640)
        .open(names.active())?;
    let end = whole(&file)?;
    file.set_len(end)?;
    Ok((file, end))
}

/// The active file, if something is behind its last whole line, and where that one ends.
pub(crate) fn torn(dir: &Path, id: &str) -> io::Result<Option<(PathBuf, u64)>> {
    let path = Names::new(dir, id).active().to_owned();
    let file = File::open(&path)?;
    let end = whole(&file)?;
    Ok((end < file.metadata()?.size()).then_some((path, end)))
}

/// Where the last whole line ends. A line feed stands nowhere but at the end of one.
fn whole(file: &File) -> io::Result<u64> {
    let mut block = vec![0; 64 * 1024];
    let mut until = file.metadata()?.size();
    while until > 0 {
        let from = until.saturating_sub(block.len() as u64);
        let part = &mut block[..(until - from) as usize];
        file.read_exact_at(part, from)?;
        if let Some(at) = memrchr(b'\n', part) {
            return Ok(from + at as u64 + 1);
        }
        until = from;
    }
    Ok(0)
}
