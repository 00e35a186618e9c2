//! The entries of a tar stream: headers with all that extends them, merged as Go's archive/tar merges them, every size
//! bounded before anything is read.

use super::header::{self, BLOCK, Header};
use super::pax::Records;
use super::pipeline::{Pieces, Trouble};
use super::sparse::{self, Leading, Segment};

/// How much an extended header, a long name or a sparse map may have: Go's limit (archive/tar, maxSpecialFileSize).
const MOST_SPECIAL: u64 = 1 << 20;
/// PATH_MAX.
const LONGEST: usize = 4096;

/// What an entry becomes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    File,
    HardLink,
    Symlink,
    CharDevice,
    BlockDevice,
    Directory,
    Fifo,
}

/// One entry, its data not read yet.
#[derive(Debug)]
pub(super) struct Entry {
    /// As it stands in the archive.
    pub(super) name: Vec<u8>,
    pub(super) kind: Kind,
    pub(super) mode: u32,
    pub(super) uid: u32,
    pub(super) gid: u32,
    /// Seconds since 1970, nanoseconds.
    pub(super) mtime: (i64, u32),
    pub(super) atime: Option<(i64, u32)>,
    /// Target of a link.
    pub(super) link: Vec<u8>,
    /// Major and minor number.
    pub(super) device: (u32, u32),
    /// Extended attributes.
    pub(super) attributes: Vec<(Vec<u8>, Vec<u8>)>,
    /// The file's full size.
    pub(super) size: u64,
    /// Where its data belong; none if it has no holes.
    pub(super) segments: Option<Vec<Segment>>,
}

/// Reads entry after entry.
#[derive(Debug)]
pub(super) struct Entries<S> {
    stream: S,
    /// Bytes of data that were not read yet.
    data: u64,
    /// Bytes after them up to the next block.
    padding: u64,
    /// Entries so far.
    count: u64,
}

/// What stands before an entry and belongs to it.
#[derive(Default)]
struct Before {
    records: Records,
    name: Option<Vec<u8>>,
    link: Option<Vec<u8>>,
    any: bool,
}

impl<S: Pieces> Entries<S> {
    pub(super) fn new(stream: S) -> Self {
        Self { stream, data: 0, padding: 0, count: 0 }
    }

    /// Entries that were read.
    pub(super) fn count(&self) -> u64 {
        self.count
    }

    /// The next entry; none at the archive's end. What was not read of the one before is passed over.
    pub(super) fn next(&mut self) -> Result<Option<Entry>, Trouble> {
        self.stream.skip(self.data)?;
        // The last entry's padding may be missing, as Go's archive/tar has it.
        self.stream.pass(self.padding)?;
        (self.data, self.padding) = (0, 0);
        let mut before = Before::default();
        loop {
            let Some(block) = self.header_block(before.any)? else { return Ok(None) };
            let header = Header::parse(&block).map_err(Trouble::refused)?;
            before.any = true;
            match header.kind {
                b'x' => {
                    before.records = Records::parse(&self.special(header.size)?).map_err(Trouble::refused)?
                }
                // Records for all that follow. Nobody makes layers with such, and engines pass over them.
                b'g' => {
                    before.any = false;
                    self.stream.skip(padded(header.size)?)?;
                }
                b'L' => before.name = Some(c_string(self.special(header.size)?)),
                b'K' => before.link = Some(c_string(self.special(header.size)?)),
                _ => return self.entry(&block, header, before).map(Some),
            }
        }
    }

    /// The stream below, to read an entry's data from it: tell [`Self::took`].
    pub(super) fn stream(&mut self) -> &mut S {
        &mut self.stream
    }

    /// The stream below.
    pub(super) fn into_stream(self) -> S {
        self.stream
    }

    /// Bytes of the entry's data that were not read yet.
    pub(super) fn left(&self) -> u64 {
        self.data
    }

    /// So many of them were read.
    pub(super) fn took(&mut self, amount: u64) {
        self.data -= amount;
    }

    /// Calls `take` with the data of the entry, piece after piece.
    pub(super) fn data<E: From<Trouble>>(
        &mut self,
        mut take: impl FnMut(&[u8]) -> Result<(), E>,
    ) -> Result<(), E> {
        while self.data > 0 {
            let piece = self.stream.piece()?;
            if piece.is_empty() {
                return Err(Trouble::truncated().into());
            }
            let length = piece.len().min(usize::try_from(self.data).unwrap_or(usize::MAX));
            take(&piece[..length])?;
            self.stream.consume(length);
            self.data -= length as u64;
        }
        Ok(())
    }

    /// A block that is not all zeroes; none at the end, which is two blocks of zeroes, or the stream's own.
    fn header_block(&mut self, inside: bool) -> Result<Option<[u8; BLOCK]>, Trouble> {
        let mut block = [0; BLOCK];
        if !self.stream.fill_or_end(&mut block)? {
            return if inside { Err(Trouble::truncated()) } else { Ok(None) };
        }
        if block.iter().any(|byte| *byte != 0) {
            return Ok(Some(block));
        }
        if inside {
            return Err(Trouble::refused("an extended header is followed by the archive's end"));
        }
        if self.stream.fill_or_end(&mut block)? && block.iter().any(|byte| *byte != 0) {
            return Err(Trouble::refused("one block of zeroes stands between entries"));
        }
        Ok(None)
    }

    /// The data of a header that extends the next one.
    fn special(&mut self, size: u64) -> Result<Vec<u8>, Trouble> {
        if size > MOST_SPECIAL {
            return Err(Trouble::refused(format!(
                "an extended header has {size} bytes, more than {MOST_SPECIAL}"
            )));
        }
        let mut content = vec![0; size as usize];
        self.stream.fill(&mut content)?;
        self.stream.skip(padded(size)? - size)?;
        Ok(content)
    }

    fn entry(&mut self, block: &[u8; BLOCK], header: Header, before: Before) -> Result<Entry, Trouble> {
        self.count += 1;
        let records = &before.records;
        let text = |key: &[u8]| records.get(key).map(<[u8]>::to_vec);
        let refused = Trouble::refused::<&'static str>;
        let name = before.name.or_else(|| text(b"path")).unwrap_or_else(|| header.name.clone());
        let name = text(b"GNU.sparse.name").unwrap_or(name);
        let shown = super::shown(&name);
        // From here on the entry has a name to be refused by.
        let named = |trouble: Trouble| trouble.of(&shown);
        if name.len() > LONGEST {
            return Err(named(refused("its name is longer than 4096 bytes")));
        }
        let link = before.link.or_else(|| text(b"linkpath")).unwrap_or_else(|| header.link.clone());
        if link.len() > LONGEST {
            return Err(named(refused("the name that it links to is longer than 4096 bytes")));
        }
        let number = |key: &[u8], or: u64| Ok(records.number(key)?.unwrap_or(or));
        let id = |key: &[u8], or: u64, what: &'static str| {
            number(key, or).and_then(|id| u32::try_from(id).ok().filter(|id| *id != u32::MAX).ok_or(what))
        };
        let kind = match header.kind {
            b'\0' if name.ends_with(b"/") => Kind::Directory,
            b'0' | b'\0' | b'7' | b'S' => Kind::File,
            b'1' => Kind::HardLink,
            b'2' => Kind::Symlink,
            b'3' => Kind::CharDevice,
            b'4' => Kind::BlockDevice,
            b'5' => Kind::Directory,
            b'6' => Kind::Fifo,
            other => {
                let reason = format!("it is of an unknown type, {:?}", char::from(other));
                return Err(named(Trouble::refused(reason)));
            }
        };
        let fields = || -> Result<_, &'static str> {
            Ok((
                number(b"size", header.size)?,
                id(b"uid", header.uid, "its owner is no user id")?,
                id(b"gid", header.gid, "its group is no group id")?,
                records.time(b"mtime")?.unwrap_or((header.mtime, 0)),
                records.time(b"atime")?,
            ))
        };
        let (size, uid, gid, mtime, atime) = fields().map_err(refused).map_err(named)?;
        let mut entry = Entry {
            name,
            kind,
            mode: header.mode,
            uid,
            gid,
            mtime,
            atime,
            link,
            device: (header.major, header.minor),
            attributes: records.attributes(),
            size: 0,
            segments: None,
        };
        // What is no file has no data, whatever its size says: as Go's archive/tar reads it.
        if kind == Kind::File {
            self.data = size;
            self.padding = padded(size).map_err(named)? - size;
            self.holes(block, header.kind == b'S', records, &mut entry).map_err(named)?;
        }
        Ok(entry)
    }

    /// Reads the map of a sparse file, in whichever format it has one.
    fn holes(
        &mut self,
        block: &[u8; BLOCK],
        gnu: bool,
        records: &Records,
        entry: &mut Entry,
    ) -> Result<(), Trouble> {
        entry.size = self.data;
        let segments = if gnu {
            let (full, mut more) = header::gnu_sparse(block).map_err(Trouble::refused)?;
            entry.size = full;
            let mut all = Vec::new();
            header::gnu_segments(block, 386, 4, &mut all).map_err(Trouble::refused)?;
            while more {
                let mut block = [0; BLOCK];
                self.stream.fill(&mut block)?;
                header::gnu_segments(&block, 0, 21, &mut all).map_err(Trouble::refused)?;
                more = block[504] != 0;
                if all.len() > sparse::MOST_SEGMENTS {
                    return Err(Trouble::refused("its sparse map is too long"));
                }
            }
            Some(all)
        } else if records.get(b"GNU.sparse.major") == Some(b"1") {
            entry.size =
                records.number(b"GNU.sparse.realsize").map_err(Trouble::refused)?.unwrap_or(self.data);
            Some(self.leading_map()?)
        } else {
            let map = sparse::from_records(records).map_err(Trouble::refused)?;
            if map.is_some() {
                let full = records.number(b"GNU.sparse.size").map_err(Trouble::refused)?;
                entry.size = full.ok_or(Trouble::refused("its sparse map has no full size"))?;
            }
            map
        };
        if let Some(segments) = &segments {
            sparse::check(segments, entry.size, self.data).map_err(Trouble::refused)?;
        }
        entry.segments = segments;
        Ok(())
    }

    fn leading_map(&mut self) -> Result<Vec<Segment>, Trouble> {
        let mut map = Leading::default();
        let mut read = 0;
        loop {
            let mut block = [0; BLOCK];
            read += BLOCK as u64;
            if self.data < BLOCK as u64 || read > 4 * MOST_SPECIAL {
                return Err(Trouble::refused("its sparse map is damaged"));
            }
            self.stream.fill(&mut block)?;
            self.data -= BLOCK as u64;
            if map.take(&block).map_err(Trouble::refused)? {
                return Ok(map.segments());
            }
        }
    }
}

/// A size in whole blocks.
fn padded(size: u64) -> Result<u64, Trouble> {
    size.checked_next_multiple_of(BLOCK as u64).ok_or(Trouble::refused("its size cannot be"))
}

fn c_string(mut content: Vec<u8>) -> Vec<u8> {
    if let Some(end) = content.iter().position(|byte| *byte == 0) {
        content.truncate(end);
    }
    content
}
