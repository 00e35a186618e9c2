//! The compressed form of a local file: zstd, in parts that are unpacked alone.
//!
//! Parts end where frames end and are zstd frames of their own; behind them stands a table in a frame that other readers
//! skip (the "seekable format" of zstd's contrib folder): `zstd -d` gives the plain file back, and a reader may begin at
//! the end.

use std::fs::File;
use std::io::{self, Write};
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use rustix::io::{Errno, pread, retry_on_intr};
use zstd::bulk::{Compressor, Decompressor};

use super::files::unready;
use super::frame::{HEAD, LONGEST, OVERHEAD, around, head, number};
use super::source::Source;

/// Plain bytes of a part, and one frame more.
const PART: usize = 512 * 1024;
/// The longest that a part can be.
const LARGEST: usize = PART + LONGEST + OVERHEAD + HEAD;
/// Little for much: what is compressed while the container prints must not take the processor from it.
const LEVEL: i32 = 1;

/// Numbers of the seekable format.
const SKIPPABLE: u32 = 0x184D_2A5E;
const SEEKABLE: u32 = 0x8F92_EAB1;
const FOOT: usize = 9;
const ENTRY: usize = 8;

/// A part: where it is in the compressed file and in the plain one.
#[derive(Debug, Clone, Copy)]
pub(super) struct Block {
    at: u64,
    size: u32,
    pub(super) place: u64,
    pub(super) length: u32,
}

/// Writes the compressed form of `plain` beside `packed`, whole and on disk; the caller gives it its name.
pub(super) fn pack(plain: File, number: u64, packed: &Path) -> io::Result<()> {
    let Some(mut source) = Source::of(plain, number, false)? else {
        return Err(io::ErrorKind::InvalidData.into());
    };
    let mut parts = Parts {
        file: File::create(unready(packed))?,
        compressor: Compressor::new(LEVEL)?,
        table: Vec::new(),
        space: Vec::with_capacity(zstd::zstd_safe::compress_bound(LARGEST)),
    };
    let mut part = Vec::with_capacity(LARGEST);
    part.extend_from_slice(&head(source.seed()));
    let (mut at, mut place) = (HEAD as u64, HEAD as u64);
    let seed = source.seed();
    loop {
        let Some(frame) = source.frame(at)? else {
            match source.resume(at)? {
                Some(next) => at = next,
                None => break,
            }
            continue;
        };
        let (before, after) = around(seed, place, frame.kind, frame.time, frame.bytes);
        part.extend_from_slice(&before);
        part.extend_from_slice(frame.bytes);
        part.extend_from_slice(&after);
        at += frame.size() as u64;
        place += frame.size() as u64;
        if part.len() >= PART {
            parts.add(&mut part)?;
        }
    }
    parts.add(&mut part)?;
    parts.finish()
}

struct Parts {
    file: File,
    compressor: Compressor<'static>,
    table: Vec<u8>,
    space: Vec<u8>,
}

impl Parts {
    fn add(&mut self, part: &mut Vec<u8>) -> io::Result<()> {
        if part.is_empty() {
            return Ok(());
        }
        self.space.clear();
        let size = self.compressor.compress_to_buffer(part, &mut self.space)?;
        self.file.write_all(&self.space)?;
        self.table.extend_from_slice(&(size as u32).to_le_bytes());
        self.table.extend_from_slice(&(part.len() as u32).to_le_bytes());
        part.clear();
        Ok(())
    }

    fn finish(mut self) -> io::Result<()> {
        let count = (self.table.len() / ENTRY) as u32;
        let mut end = Vec::with_capacity(self.table.len() + FOOT + 8);
        end.extend_from_slice(&SKIPPABLE.to_le_bytes());
        end.extend_from_slice(&((self.table.len() + FOOT) as u32).to_le_bytes());
        end.extend_from_slice(&self.table);
        end.extend_from_slice(&count.to_le_bytes());
        end.push(0);
        end.extend_from_slice(&SEEKABLE.to_le_bytes());
        self.file.write_all(&end)?;
        // Its name takes the plain file's place, which must not happen before it is whole on disk.
        self.file.sync_data()
    }
}

/// The parts of a compressed file; none where it is no such file.
pub(super) fn blocks(file: &File) -> io::Result<Option<Vec<Block>>> {
    let size = file.metadata()?.size();
    let Some(foot) = size.checked_sub(FOOT as u64) else { return Ok(None) };
    let foot = read_at(file, foot, FOOT)?;
    if number(&foot, 5) != Some(SEEKABLE) || foot.get(4) != Some(&0) {
        return Ok(None);
    }
    let table = number(&foot, 0).unwrap_or(0) as usize * ENTRY;
    let Some(start) = size.checked_sub((table + FOOT) as u64) else { return Ok(None) };
    let table = read_at(file, start, table)?;
    let (mut at, mut place) = (0, 0);
    let mut blocks = Vec::with_capacity(table.len() / ENTRY);
    for entry in table.chunks_exact(ENTRY) {
        let (Some(size), Some(length)) = (number(entry, 0), number(entry, 4)) else { return Ok(None) };
        if length as usize > LARGEST || length == 0 {
            return Ok(None);
        }
        blocks.push(Block { at, size, place, length });
        at += u64::from(size);
        place += u64::from(length);
    }
    // The parts fill the file up to the table's frame.
    Ok((at + 8 == start).then_some(blocks))
}

/// Unpacks a part into `into`, which is empty. False where the part is damaged.
pub(super) fn unpack(file: &File, block: Block, into: &mut Vec<u8>) -> io::Result<bool> {
    let packed = read_at(file, block.at, block.size as usize)?;
    into.reserve_exact(block.length as usize);
    let unpacked = Decompressor::new()?.decompress_to_buffer(&packed, into);
    if unpacked.is_err() {
        into.clear();
    }
    Ok(unpacked.ok() == Some(block.length as usize))
}

fn read_at(file: &File, at: u64, size: usize) -> io::Result<Vec<u8>> {
    let mut bytes = vec![0; size];
    let mut done = 0;
    while done < size {
        let read = retry_on_intr(|| pread(file, &mut bytes[done..], at + done as u64));
        match read.map_err(|errno: Errno| io::Error::from(errno))? {
            0 => return Err(io::ErrorKind::UnexpectedEof.into()),
            read => done += read,
        }
    }
    Ok(bytes)
}
