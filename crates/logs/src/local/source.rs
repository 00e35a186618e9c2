//! One local file for reading, in either of its forms: its frames by their place, forwards and backwards.

use std::fs::File;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use rustix::buffer::spare_capacity;
use rustix::io::{Errno, pread, retry_on_intr};

use super::files;
use super::frame::{self, AFTER, BEFORE, Frame, HEAD, Kind, Parsed};
use super::pack::{self, Block};

/// How much is read at a time.
const WINDOW: usize = 256 * 1024;

#[derive(Debug)]
pub(super) struct Source {
    pub(super) number: u64,
    /// What belongs to all of its frames: JSON, or empty.
    pub(super) attributes: String,
    file: File,
    /// Of a compressed one.
    blocks: Option<Vec<Block>>,
    seed: u32,
    /// Some bytes of it, and the place of the first.
    buffer: Vec<u8>,
    place: u64,
}

impl Source {
    /// Opens the file of that number. None where it is gone, or is no whole file of this format.
    pub(super) fn open(dir: &Path, number: u64) -> io::Result<Option<Self>> {
        // A plain one may become a packed one between the two looks, and never the other way round.
        for (path, is_packed) in [(files::plain(dir, number), false), (files::packed(dir, number), true)] {
            match File::open(path) {
                Ok(file) => return Self::of(file, number, is_packed),
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(error),
            }
        }
        Ok(None)
    }

    /// A file that is open.
    pub(super) fn of(file: File, number: u64, is_packed: bool) -> io::Result<Option<Self>> {
        let blocks = match is_packed {
            true => match pack::blocks(&file)? {
                Some(blocks) => Some(blocks),
                None => return Ok(None),
            },
            false => None,
        };
        let (attributes, buffer) = (String::new(), Vec::new());
        let mut source = Self { number, attributes, file, blocks, seed: 0, buffer, place: 0 };
        if !source.ensure(0, HEAD)? {
            return Ok(None);
        }
        let Some(seed) = frame::seed(&source.buffer) else { return Ok(None) };
        source.seed = seed;
        if let Some(Frame { kind: Kind::Attributes, bytes, .. }) = source.frame(HEAD as u64)? {
            source.attributes = String::from_utf8_lossy(bytes).into_owned();
        }
        Ok(Some(source))
    }

    pub(super) fn seed(&self) -> u32 {
        self.seed
    }

    /// The whole frame at that place; none where there is none, or not yet.
    pub(super) fn frame(&mut self, at: u64) -> io::Result<Option<Frame<'_>>> {
        if !self.ensure(at, BEFORE)? {
            return Ok(None);
        }
        let start = (at - self.place) as usize;
        let size = match frame::parse(self.seed, at, &self.buffer[start..start + BEFORE]) {
            Parsed::Short(size) => size,
            Parsed::Whole(_) | Parsed::Broken => {
                self.buffer.clear();
                return Ok(None);
            }
        };
        if !self.ensure(at, size)? {
            return Ok(None);
        }
        let start = (at - self.place) as usize;
        match frame::parse(self.seed, at, &self.buffer[start..start + size]) {
            Parsed::Whole(frame) => Ok(Some(frame)),
            // The beginning may have been read before it was written over: what is read next is read anew.
            Parsed::Short(_) | Parsed::Broken => {
                self.place = u64::MAX;
                Ok(None)
            }
        }
    }

    /// The frame that ends at that place, and where it begins; none before the first, or where none ends there.
    pub(super) fn before(&mut self, end: u64) -> io::Result<Option<(u64, Frame<'_>)>> {
        if end <= HEAD as u64 || !self.ensure_before(end, AFTER)? {
            return Ok(None);
        }
        let until = (end - self.place) as usize;
        let Some(size) = frame::last_size(&self.buffer[..until]) else { return Ok(None) };
        let start = match end.checked_sub(size as u64) {
            Some(start) if start >= HEAD as u64 => start,
            _ => return Ok(None),
        };
        if !self.ensure_before(end, size)? {
            return Ok(None);
        }
        let until = (end - self.place) as usize;
        match frame::parse(self.seed, start, &self.buffer[until - size..until]) {
            Parsed::Whole(frame) => Ok(Some((start, frame))),
            Parsed::Short(_) | Parsed::Broken => Ok(None),
        }
    }

    /// Where reading goes on when there is no whole frame at that place: at the first one that leads to the end of the
    /// file, behind what was damaged, by a power loss, say. None at the end, and where that is torn.
    pub(super) fn resume(&mut self, at: u64) -> io::Result<Option<u64>> {
        let mut first = None;
        let mut end = self.length()?;
        while end > at
            && let Some((start, _)) = self.before(end)?
            // It was written meanwhile, if that is the place.
            && start >= at
        {
            (first, end) = (Some(start), start);
        }
        Ok(first)
    }

    /// Where its last whole frame ends.
    pub(super) fn end(&mut self) -> io::Result<u64> {
        let length = self.length()?;
        if length <= HEAD as u64 || self.before(length)?.is_some() {
            return Ok(length.max(HEAD as u64));
        }
        // A torn one lies behind it, so it can only be found from the beginning.
        self.first_end()
    }

    /// Where the frames end that stand one behind the other from the beginning on.
    pub(super) fn first_end(&mut self) -> io::Result<u64> {
        let mut at = HEAD as u64;
        while let Some(frame) = self.frame(at)? {
            at += frame.size() as u64;
        }
        Ok(at)
    }

    /// Its bytes, unpacked.
    fn length(&self) -> io::Result<u64> {
        Ok(match self.blocks.as_ref().map(|blocks| blocks.last()) {
            Some(last) => last.map_or(0, |last| last.place + u64::from(last.length)),
            None => self.file.metadata()?.size(),
        })
    }

    /// Whether `size` bytes from `at` on are there and in the buffer.
    fn ensure(&mut self, at: u64, size: usize) -> io::Result<bool> {
        if self.has(at, size) {
            return Ok(true);
        }
        if self.blocks.is_some() {
            return Ok(self.load_block(at)? && self.has(at, size));
        }
        let kept = match at.checked_sub(self.place).map(|start| start as usize) {
            Some(start) if start < self.buffer.len() => {
                self.buffer.copy_within(start.., 0);
                self.buffer.len() - start
            }
            _ => 0,
        };
        self.buffer.truncate(kept);
        self.place = at;
        self.fill(size.max(WINDOW))?;
        let enough = self.buffer.len() >= size;
        if !enough {
            // A later writer may write something else there: it is read anew.
            self.buffer.clear();
        }
        Ok(enough)
    }

    /// Whether `size` bytes before `end` are there and in the buffer.
    fn ensure_before(&mut self, end: u64, size: usize) -> io::Result<bool> {
        let Some(start) = end.checked_sub(size as u64) else { return Ok(false) };
        if self.has(start, size) {
            return Ok(true);
        }
        if self.blocks.is_some() {
            return Ok(self.load_block(end - 1)? && self.has(start, size));
        }
        self.place = end.saturating_sub(size.max(WINDOW) as u64);
        self.buffer.clear();
        self.fill((end - self.place) as usize)?;
        Ok(self.has(start, size))
    }

    fn has(&self, at: u64, size: usize) -> bool {
        let start = at.checked_sub(self.place);
        start.is_some_and(|start| start + size as u64 <= self.buffer.len() as u64)
    }

    /// Reads until the buffer has so many bytes, or the file no more.
    fn fill(&mut self, size: usize) -> io::Result<()> {
        self.buffer.reserve_exact(size.saturating_sub(self.buffer.len()));
        while self.buffer.len() < size {
            let at = self.place + self.buffer.len() as u64;
            let read = retry_on_intr(|| pread(&self.file, spare_capacity(&mut self.buffer), at));
            if read.map_err(|errno: Errno| io::Error::from(errno))? == 0 {
                break;
            }
        }
        Ok(())
    }

    /// Unpacks the block with the byte at that place.
    fn load_block(&mut self, at: u64) -> io::Result<bool> {
        let blocks = self.blocks.as_deref().unwrap_or_default();
        let next = blocks.partition_point(|block| block.place <= at);
        let Some(block) = next.checked_sub(1).map(|last| blocks[last]) else { return Ok(false) };
        self.buffer.clear();
        self.place = block.place;
        pack::unpack(&self.file, block, &mut self.buffer)
    }
}
