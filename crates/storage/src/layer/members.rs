//! Archives that are not unpacked but looked into: image archives, whose members are layers, manifests and
//! configurations. The same reader as for layers, without threads and digests, which are for the members to have.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read, Seek as _, SeekFrom, Write};

use step::Failure;

use super::apply::tell;
use super::framing;
use super::header::{BLOCK, Header};
use super::pax::Records;
use super::pipeline::{Pieces, Trouble};
use super::reader::{Entries, Kind};

/// Bytes that are read at once where only headers are wanted: they lie far apart.
const HEADERS: usize = 8 * BLOCK;

/// What a member of an archive is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MemberKind {
    /// A file.
    File,
    /// A directory.
    Directory,
    /// A symbolic link to this name, from where it stands.
    Symlink(Vec<u8>),
    /// A further name of this member.
    HardLink(Vec<u8>),
    /// A device, a pipe, a file with holes.
    Other,
}

/// A member of an archive.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    /// As it stands in the archive, of 4096 bytes at most.
    pub name: Vec<u8>,
    /// What it is.
    pub kind: MemberKind,
    /// Bytes of its data.
    pub size: u64,
    /// Where its data begin, in bytes from where the archive began.
    pub offset: u64,
}

/// An archive, member after member. Reading from it gives the data of the member that came last.
#[derive(Debug)]
pub struct Members<R> {
    entries: Entries<Plain<R>>,
}

/// An archive as it lies there.
#[derive(Debug)]
struct Plain<R> {
    reader: R,
    /// How many bytes were taken.
    at: u64,
    /// How many there are, where that is known.
    end: Option<u64>,
    /// Passes over so many bytes; whether they were there.
    pass: fn(&mut R, u64) -> io::Result<bool>,
}

impl<R: BufRead> Pieces for Plain<R> {
    fn piece(&mut self) -> Result<&[u8], Trouble> {
        loop {
            match self.reader.fill_buf() {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(Trouble::Source(error)),
                Ok(_) => break,
            }
        }
        // What was filled is at hand: no read is made by this.
        self.reader.fill_buf().map_err(Trouble::Source)
    }

    fn consume(&mut self, amount: usize) {
        self.reader.consume(amount);
        self.at += amount as u64;
    }

    fn pass(&mut self, bytes: u64) -> Result<bool, Trouble> {
        let there = self.end.map_or(bytes, |end| bytes.min(end.saturating_sub(self.at)));
        self.at = self.at.saturating_add(there);
        let passed = (self.pass)(&mut self.reader, there).map_err(Trouble::Source)?;
        Ok(passed && there == bytes)
    }
}

/// Passes over so many bytes by reading them.
fn read_over(reader: &mut impl BufRead, mut bytes: u64) -> io::Result<bool> {
    while bytes > 0 {
        let length = match reader.fill_buf() {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            piece => piece?.len().min(usize::try_from(bytes).unwrap_or(usize::MAX)),
        };
        if length == 0 {
            return Ok(false);
        }
        reader.consume(length);
        bytes -= length as u64;
    }
    Ok(true)
}

impl Members<BufReader<File>> {
    /// The archive that begins where `file` stands. Of data that nobody reads nothing is read: only the headers are.
    ///
    /// # Errors
    /// A file that has no positions, as a pipe.
    pub fn seeking(mut file: File) -> io::Result<Self> {
        let here = file.stream_position()?;
        let end = file.seek(SeekFrom::End(0))?.saturating_sub(here);
        file.seek(SeekFrom::Start(here))?;
        let reader = BufReader::with_capacity(HEADERS, file);
        let pass: fn(&mut BufReader<File>, u64) -> io::Result<bool> = |reader, bytes| {
            let bytes = i64::try_from(bytes).map_err(|_| io::ErrorKind::InvalidInput)?;
            reader.seek_relative(bytes).map(|()| true)
        };
        Ok(Self { entries: Entries::new(Plain { reader, at: 0, end: Some(end), pass }) })
    }
}

impl<R: BufRead> Members<R> {
    /// The archive that `reader` gives.
    pub fn new(reader: R) -> Self {
        Self { entries: Entries::new(Plain { reader, at: 0, end: None, pass: read_over }) }
    }

    /// The next member; none at the archive's end. What was not read of the one before is passed over.
    ///
    /// # Errors
    /// Step `storage.unpack`: what is no archive, or a damaged one, on the entry that it is about; step `storage.read`:
    /// the reader's own.
    pub fn next_member(&mut self) -> Result<Option<Member>, Failure> {
        let Some(entry) = self.entries.next().map_err(|trouble| tell(trouble, None))? else {
            return Ok(None);
        };
        let (size, offset) = (self.entries.left(), self.entries.stream().at);
        let kind = match entry.kind {
            Kind::File if entry.segments.is_none() => MemberKind::File,
            Kind::Directory => MemberKind::Directory,
            Kind::Symlink => MemberKind::Symlink(entry.link),
            Kind::HardLink => MemberKind::HardLink(entry.link),
            Kind::File | Kind::CharDevice | Kind::BlockDevice | Kind::Fifo => MemberKind::Other,
        };
        Ok(Some(Member { name: entry.name, kind, size, offset }))
    }

    /// The reader below, which stands somewhere behind what was read last.
    pub fn into_inner(self) -> R {
        self.entries.into_stream().reader
    }
}

impl<R: BufRead> Read for Members<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let left = self.entries.left();
        let most = buffer.len().min(usize::try_from(left).unwrap_or(usize::MAX));
        if most == 0 {
            return Ok(0);
        }
        let plain = self.entries.stream();
        let length = plain.reader.read(&mut buffer[..most])?;
        if length == 0 {
            return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the archive ends in the middle"));
        }
        plain.at += length as u64;
        self.entries.took(length as u64);
        Ok(length)
    }
}

/// Writes archives of files and directories, the same bytes for the same members: owned by root, of the beginning of
/// 1970, readable by all.
#[derive(Debug)]
pub struct MembersWriter<W> {
    output: W,
}

impl<W: Write> MembersWriter<W> {
    /// An archive to `output`.
    pub fn new(output: W) -> Self {
        Self { output }
    }

    /// A directory; `name` without a slash at its end.
    ///
    /// # Errors
    /// The output's.
    pub fn directory(&mut self, name: &str) -> io::Result<()> {
        self.header(&format!("{name}/"), b'5', 0o755, 0)
    }

    /// A file of `size` bytes, read from `content` by [`io::copy`], which between files lets the kernel do it.
    ///
    /// # Errors
    /// The output's, the content's, a content of another size.
    pub fn file(&mut self, name: &str, size: u64, content: impl Read) -> io::Result<()> {
        self.header(name, b'0', 0o644, size)?;
        let copied = io::copy(&mut content.take(size), &mut self.output)?;
        if copied != size {
            return Err(io::Error::other(format!("{name} has {copied} bytes in the place of {size}")));
        }
        let padding = size.next_multiple_of(BLOCK as u64) - size;
        self.output.write_all(&[0; BLOCK][..padding as usize])
    }

    /// Writes the archive's end; the output.
    ///
    /// # Errors
    /// The output's.
    pub fn finish(mut self) -> io::Result<W> {
        self.output.write_all(&[0; 2 * BLOCK])?;
        self.output.flush()?;
        Ok(self.output)
    }

    fn header(&mut self, name: &str, kind: u8, mode: u32, size: u64) -> io::Result<()> {
        let header = Header {
            name: name.as_bytes().to_vec(),
            mode,
            uid: 0,
            gid: 0,
            size,
            mtime: 0,
            kind,
            link: Vec::new(),
            major: 0,
            minor: 0,
        };
        let bytes = framing::encode(header, Records::default()).ok_or(io::ErrorKind::InvalidInput)?;
        self.output.write_all(&bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::trial::Scratch;

    fn archive() -> Vec<u8> {
        let mut writer = MembersWriter::new(Vec::new());
        let long = format!("blobs/sha512/{}", "a".repeat(128));
        writer.directory("blobs").unwrap();
        writer.file("blobs/one", 3, &b"one"[..]).unwrap();
        writer.file(&long, 1000, &[7; 1000][..]).unwrap();
        writer.file("empty", 0, &b""[..]).unwrap();
        writer.finish().unwrap()
    }

    fn listed<R: BufRead>(members: &mut Members<R>) -> Vec<(String, u64, u64)> {
        let mut all = Vec::new();
        while let Some(member) = members.next_member().unwrap() {
            all.push((String::from_utf8(member.name).unwrap(), member.size, member.offset));
        }
        all
    }

    #[test]
    fn what_is_written_is_read_by_reading_and_by_seeking() {
        let bytes = archive();
        assert_eq!(bytes, archive());
        let read = listed(&mut Members::new(&bytes[..]));
        let long = format!("blobs/sha512/{}", "a".repeat(128));
        let names: Vec<_> = read.iter().map(|(name, size, _)| (name.as_str(), *size)).collect();
        assert_eq!(names, [("blobs/", 0), ("blobs/one", 3), (long.as_str(), 1000), ("empty", 0)]);
        assert!(bytes[read[2].2 as usize..][..1000] == [7; 1000]);
        let scratch = Scratch::new("members");
        let path = scratch.path.join("archive");
        std::fs::write(&path, &bytes).unwrap();
        let mut seeking = Members::seeking(File::open(&path).unwrap()).unwrap();
        assert_eq!(listed(&mut seeking), read);
        let mut theirs = tar::Archive::new(&bytes[..]);
        let theirs: Vec<_> = theirs
            .entries()
            .unwrap()
            .map(|entry| entry.unwrap())
            .map(|entry| (entry.path().unwrap().display().to_string(), entry.size()))
            .collect();
        assert_eq!(theirs.len(), 4);
        assert_eq!(theirs[2], (long, 1000));
    }

    #[test]
    fn data_are_read_from_the_member_that_came_last() {
        let bytes = archive();
        let mut members = Members::new(&bytes[..]);
        members.next_member().unwrap();
        members.next_member().unwrap();
        let mut text = String::new();
        members.read_to_string(&mut text).unwrap();
        assert_eq!(text, "one");
        members.next_member().unwrap();
        let mut part = [0; 10];
        members.read_exact(&mut part).unwrap();
        assert_eq!(part, [7; 10]);
        assert_eq!(members.next_member().unwrap().unwrap().name, b"empty");
        assert_eq!(members.next_member().unwrap(), None);
    }

    #[test]
    fn what_ends_in_the_middle_is_told_by_reading_and_by_seeking() {
        let bytes = archive();
        let cut = &bytes[..2800];
        let mut members = Members::new(cut);
        let failure = loop {
            match members.next_member() {
                Ok(member) => assert!(member.is_some()),
                Err(failure) => break failure,
            }
        };
        assert_eq!(failure.reason.as_deref(), Some("the archive ends in the middle"));
        let scratch = Scratch::new("members-cut");
        let path = scratch.path.join("archive");
        std::fs::write(&path, cut).unwrap();
        let mut members = Members::seeking(File::open(&path).unwrap()).unwrap();
        while let Ok(member) = members.next_member() {
            assert!(member.is_some());
        }
    }
}
