//! A layer of a directory: a tar stream that is the same whenever the directory is. Names in order of their bytes, pax
//! records only where ustar has no room, no names of users, no times but the files' own.

use std::collections::{BTreeSet, HashMap};
use std::io::{Read, Write};
use std::os::fd::{AsFd, OwnedFd};

use rustix::fs::{AtFlags, FileType, Mode, OFlags, ResolveFlags, SeekFrom, Stat};
use rustix::io::Errno;
use step::Failure;

use super::compress::{self, Feed, Gone, Tap};
use super::framing;
use super::header::{BLOCK, Header};
use super::metadata::{self, is_overlay};
use super::pax::{self, Records};
use super::sparse::{self, Segment};
use super::tree::opaque_attribute;
use super::{OPAQUE, WHITEOUT, shown};
use oci::Digest;

use crate::remove;

pub(super) const STEP: &str = "storage.pack";

/// What a directory is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A whole tree.
    Tree,
    /// A whole tree that will be no layer: names that mean whiteouts in layers are names like others.
    Export,
    /// A layer of an overlay: devices 0:0 and opaque directories become whiteouts.
    Layer {
        /// The overlay is mounted with the option of that name.
        userxattr: bool,
    },
}

/// How the stream is compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Compression {
    /// Not at all.
    None,
    /// By gzip, of level 1 (fast) to 12 (small); 6 is what others have.
    Gzip(u8),
    /// By zstd, of level 1 to 19; 3 is what others have.
    Zstd(u8),
}

/// Whose files are in the archive.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Owners {
    /// As they are.
    Keep,
    /// All of one user and group.
    Only(u32, u32),
    /// By ranges (`first on disk`, `first in the archive`, `count`), as /proc/PID/uid_map has them in another order; an
    /// owner in none of them is an error.
    Ranges(Vec<(u32, u32, u32)>),
}

/// How a layer is made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// What the directory is.
    pub kind: Kind,
    /// Compression.
    pub compression: Compression,
    /// SOURCE_DATE_EPOCH: seconds since 1970 that no time of a file is after.
    pub latest: Option<i64>,
    /// Times in whole seconds, as Docker has them. Fractions cost a kilobyte for each entry before compression.
    pub whole_seconds: bool,
    /// Owners.
    pub owners: Owners,
    /// Holes are kept, in pax's format 1.0. Which holes a file has is its file system's business, so that two copies of
    /// a directory may give two archives.
    pub sparse: bool,
    /// Paths from the directory, without a slash at either end, that are not in the archive, nor what is below them.
    pub left_out: BTreeSet<Vec<u8>>,
}

impl Default for Settings {
    /// A whole tree, by gzip of level 6, as it is.
    fn default() -> Self {
        Self {
            kind: Kind::Tree,
            compression: Compression::Gzip(6),
            latest: None,
            whole_seconds: false,
            owners: Owners::Keep,
            sparse: false,
            left_out: BTreeSet::new(),
        }
    }
}

/// What was made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Archived {
    /// The digest of the tar stream.
    pub diff_id: Digest,
    /// The tar stream's size in bytes.
    pub bytes: u64,
    /// The digest of what was written.
    pub digest: Digest,
    /// Its size in bytes.
    pub size: u64,
    /// Entries of the archive.
    pub entries: u64,
}

/// Writes `directory` as a layer to `output`. Sockets are left out, mounts below it are empty directories.
///
/// # Errors
/// Step `storage.pack`: a file that cannot be read or changes meanwhile, an owner without a place in the ranges, a name
/// that would be read as a whiteout, an overlay's renamed directory (`redirect_dir`), output that fails.
pub fn archive(
    directory: impl AsFd,
    output: impl Write + Send,
    settings: &Settings,
) -> Result<Archived, Failure> {
    archive_with(directory, output, None, settings)
}

/// The same, with somebody beside who takes the tar stream as it comes, before it is compressed: all of it where this
/// succeeds. One who takes no more ends it; why is his to tell.
///
/// # Errors
/// As [`archive`]'s.
pub fn archive_tapped(
    directory: impl AsFd,
    output: impl Write + Send,
    tap: Tap<'_>,
    settings: &Settings,
) -> Result<Archived, Failure> {
    archive_with(directory, output, Some(tap), settings)
}

fn archive_with(
    directory: impl AsFd,
    output: impl Write + Send,
    tap: Option<Tap<'_>>,
    settings: &Settings,
) -> Result<Archived, Failure> {
    let root =
        open(directory.as_fd().try_clone_to_owned().map_err(|cause| Failure::new(STEP, ".", cause))?, b".")
            .map_err(|errno| Failure::new(STEP, ".", errno))?;
    let (entries, written) = compress::run(settings.compression, output, tap, |feed| {
        let mut packer = Packer::new(&root, settings, feed, b"");
        match packer.all() {
            // What stopped it is the output's error, which it tells itself.
            Err(Stop::Gone) => Ok(0),
            Err(Stop::Failed(failure)) => Err(*failure),
            Ok(()) => Ok(packer.entries),
        }
    })?;
    let compress::Written { diff_id, bytes, digest, size } = written;
    Ok(Archived { diff_id, bytes, digest, size, entries })
}

/// What of a directory [`archive_part`] takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part<'n> {
    /// All of it; its name in the archive, empty for none.
    Whole,
    /// One file of it that is no directory, by its name in it.
    File(&'n [u8]),
}

/// Writes a directory with all below it, or one file of it, to `output` under the name `name`, not compressed, as it is
/// when it is read. Other file systems mounted below are part of it, unless they are the kernel's own or memory.
///
/// # Errors
/// Those of [`archive`].
pub fn archive_part(
    directory: impl AsFd,
    part: Part<'_>,
    name: &[u8],
    output: impl Write + Send,
) -> Result<Archived, Failure> {
    let settings = Settings { kind: Kind::Export, compression: Compression::None, ..Settings::default() };
    let root = directory.as_fd().try_clone_to_owned().map_err(|cause| Failure::new(STEP, ".", cause))?;
    let (entries, written) = compress::run(Compression::None, output, None, |feed| {
        let prefix = if part == Part::Whole { name } else { b"" };
        let mut packer = Packer { across: true, ..Packer::new(&root, &settings, feed, prefix) };
        let packed = match part {
            Part::Whole => packer.all(),
            Part::File(file) => packer
                .item(&root, name, file, &mut Vec::new())
                .and_then(|()| Ok(packer.feed.write(&[0; 2 * BLOCK])?)),
        };
        match packed {
            Err(Stop::Gone) => Ok(0),
            Err(Stop::Failed(failure)) => Err(*failure),
            Ok(()) => Ok(packer.entries),
        }
    })?;
    let compress::Written { diff_id, bytes, digest, size } = written;
    Ok(Archived { diff_id, bytes, digest, size, entries })
}

/// Compresses a tar stream that is there already. Its digests; `entries` are not counted.
///
/// # Errors
/// Step `storage.pack`: a source that cannot be read, output that fails.
pub fn compress(
    mut source: impl Read,
    output: impl Write + Send,
    compression: Compression,
) -> Result<Archived, Failure> {
    let ((), written) = compress::run(compression, output, None, |feed| {
        let mut buffer = vec![0; 1 << 18];
        loop {
            match source.read(&mut buffer) {
                Ok(0) => return Ok(()),
                Ok(length) => match feed.write(&buffer[..length]) {
                    Ok(()) => {}
                    // What stopped it is the output's error, which it tells itself.
                    Err(Gone) => return Ok(()),
                },
                Err(cause) if cause.kind() == std::io::ErrorKind::Interrupted => {}
                Err(cause) => return Err(Failure::new(STEP, "the layer", cause)),
            }
        }
    })?;
    let compress::Written { diff_id, bytes, digest, size } = written;
    Ok(Archived { diff_id, bytes, digest, size, entries: 0 })
}

enum Stop {
    Gone,
    Failed(Box<Failure>),
}

impl From<Gone> for Stop {
    fn from(_: Gone) -> Self {
        Self::Gone
    }
}

impl From<Failure> for Stop {
    fn from(failure: Failure) -> Self {
        Self::Failed(Box::new(failure))
    }
}

fn failed(key: &[u8], errno: Errno) -> Failure {
    Failure::new(STEP, shown(key), errno)
}

fn refused(key: &[u8], reason: impl Into<String>) -> Failure {
    Failure::because(STEP, shown(key), reason)
}

/// What is still to be written: a name in a directory, both relative to the root.
struct Waiting {
    parent: Vec<u8>,
    name: Vec<u8>,
}

struct Packer<'p, 't> {
    root: &'p OwnedFd,
    settings: &'p Settings,
    feed: &'p mut Feed<'t>,
    /// The first names of files that have several.
    links: HashMap<(u64, u64), Vec<u8>>,
    entries: u64,
    buffer: Vec<u8>,
    /// What the names in the archive begin with.
    prefix: &'p [u8],
    /// Mounts below are part of it.
    across: bool,
}

impl<'p, 't> Packer<'p, 't> {
    fn new(root: &'p OwnedFd, settings: &'p Settings, feed: &'p mut Feed<'t>, prefix: &'p [u8]) -> Self {
        let (links, buffer) = (HashMap::new(), vec![0; 1 << 18]);
        Self { root, settings, feed, links, entries: 0, buffer, prefix, across: false }
    }

    /// A name as it stands in the archive.
    fn named(&self, name: &[u8]) -> Vec<u8> {
        match (self.prefix, name) {
            (b"", name) => name.to_vec(),
            (prefix, b"./") => [prefix, b"/"].concat(),
            (prefix, name) => [prefix, b"/", name].concat(),
        }
    }

    fn all(&mut self) -> Result<(), Stop> {
        let stat = rustix::fs::fstat(self.root).map_err(|errno| failed(b".", errno))?;
        let attributes = attributes(self.root, b".", b"./")?;
        self.directory(b"./", &stat, attributes)?;
        let mut waiting = Vec::new();
        self.list(self.root, b"", &mut waiting)?;
        let mut open: Option<(Vec<u8>, OwnedFd)> = None;
        while let Some(Waiting { parent, name }) = waiting.pop() {
            let key = join(&parent, &name);
            if open.as_ref().is_none_or(|(key, _)| *key != parent) {
                let root =
                    self.root.try_clone().map_err(|cause| Failure::new(STEP, shown(&parent), cause))?;
                let path = if parent.is_empty() { b".".as_slice() } else { &parent };
                let opened = open_at(&root, path, self.across).map_err(|errno| failed(&parent, errno))?;
                open = Some((parent.clone(), opened));
            }
            let Some((_, directory)) = &open else { continue };
            self.item(directory, &key, &name, &mut waiting)?;
        }
        self.feed.write(&[0; 2 * BLOCK])?;
        Ok(())
    }

    /// Puts the entries of a directory to what waits, the last name first.
    fn list(&self, directory: &OwnedFd, key: &[u8], waiting: &mut Vec<Waiting>) -> Result<(), Stop> {
        let names = remove::list(directory).map_err(|errno| failed(key, errno))?;
        let mut names: Vec<_> = names.into_iter().map(|(name, _)| name.into_bytes()).collect();
        names.sort_unstable();
        let with_parent = |name| Waiting { parent: key.to_vec(), name };
        waiting.extend(names.into_iter().rev().map(with_parent));
        Ok(())
    }

    fn item(
        &mut self,
        parent: &OwnedFd,
        key: &[u8],
        name: &[u8],
        waiting: &mut Vec<Waiting>,
    ) -> Result<(), Stop> {
        if self.settings.left_out.contains(key) {
            return Ok(());
        }
        let stat = rustix::fs::statat(parent, name, AtFlags::SYMLINK_NOFOLLOW)
            .map_err(|errno| failed(key, errno))?;
        if name.starts_with(WHITEOUT) && self.settings.kind != Kind::Export {
            return Err(refused(key, "its name means a whiteout in a layer").into());
        }
        let kind = FileType::from_raw_mode(stat.st_mode);
        if kind == FileType::CharacterDevice
            && stat.st_rdev == 0
            && matches!(self.settings.kind, Kind::Layer { .. })
        {
            let at = key.len() - name.len();
            return self.whiteout(&[&key[..at], WHITEOUT, name].concat());
        }
        match kind {
            FileType::Socket => Ok(()),
            FileType::Directory => {
                let attributes = attributes(parent, name, key)?;
                self.directory(&[key, b"/"].concat(), &stat, attributes)?;
                match open_at(parent, name, self.across) {
                    // Something is mounted on it.
                    Err(Errno::XDEV) => Ok(()),
                    Err(errno) => Err(failed(key, errno).into()),
                    Ok(directory) if self.across && is_kernels(parent, &directory) => Ok(()),
                    Ok(directory) => self.list(&directory, key, waiting),
                }
            }
            _ => self.file(parent, key, name, kind, &stat),
        }
    }

    fn directory(&mut self, name: &[u8], stat: &Stat, attributes: Attributes) -> Result<(), Stop> {
        let Attributes { keep, overlay } = attributes;
        let opaque = self.overlay_says(name, &overlay)?;
        let header = self.header(name, b'5', stat)?;
        self.entry(header, self.records(stat, keep))?;
        if opaque {
            let base = name.strip_prefix(b"./").unwrap_or(name);
            self.whiteout(&[base, OPAQUE].concat())?;
        }
        Ok(())
    }

    /// Whether a directory of an overlay hides what is below it.
    fn overlay_says(&self, name: &[u8], overlay: &[(Vec<u8>, Vec<u8>)]) -> Result<bool, Failure> {
        let Kind::Layer { userxattr } = self.settings.kind else { return Ok(false) };
        let opaque = opaque_attribute(userxattr).as_bytes();
        let prefix = &opaque[..opaque.len() - b"opaque".len()];
        for (key, _) in overlay {
            if matches!(key.strip_prefix(prefix), Some(b"redirect" | b"metacopy")) {
                let reason = "it was renamed, or changed without its content, in a way that only this overlay understands";
                return Err(
                    refused(name, reason).hint("mount the overlay with redirect_dir=off,metacopy=off")
                );
            }
        }
        Ok(overlay.iter().any(|(key, value)| key == opaque && value == b"y"))
    }

    fn file(
        &mut self,
        parent: &OwnedFd,
        key: &[u8],
        name: &[u8],
        kind: FileType,
        stat: &Stat,
    ) -> Result<(), Stop> {
        if stat.st_nlink > 1 {
            if let Some(first) = self.links.get(&(stat.st_dev, stat.st_ino)).cloned() {
                let header = Header { link: first, ..self.header(key, b'1', stat)? };
                return self.entry(header, self.records(stat, Vec::new()));
            }
            self.links.insert((stat.st_dev, stat.st_ino), key.to_vec());
        }
        let Attributes { keep, overlay } = attributes(parent, name, key)?;
        self.overlay_says(key, &overlay)?;
        let records = self.records(stat, keep);
        let letter = match kind {
            FileType::RegularFile => return self.content(parent, key, name, records),
            FileType::Symlink => b'2',
            FileType::CharacterDevice => b'3',
            FileType::BlockDevice => b'4',
            FileType::Fifo => b'6',
            _ => return Err(refused(key, "it is of an unknown kind").into()),
        };
        let mut header = self.header(key, letter, stat)?;
        if kind == FileType::Symlink {
            let target =
                rustix::fs::readlinkat(parent, name, Vec::new()).map_err(|errno| failed(key, errno))?;
            header.link = target.into_bytes();
        }
        if matches!(kind, FileType::CharacterDevice | FileType::BlockDevice) {
            (header.major, header.minor) = (rustix::fs::major(stat.st_rdev), rustix::fs::minor(stat.st_rdev));
        }
        self.entry(header, records)
    }

    fn content(
        &mut self,
        parent: &OwnedFd,
        key: &[u8],
        name: &[u8],
        mut records: Records,
    ) -> Result<(), Stop> {
        // NONBLOCK: what became a pipe since we looked must not hold us.
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOATIME | OFlags::CLOEXEC;
        let open = |flags| rustix::fs::openat(parent, name, flags, Mode::empty());
        // NOATIME is the owner's right.
        let file = match open(flags) {
            Err(Errno::PERM) => open(flags - OFlags::NOATIME),
            opened => opened,
        }
        .map_err(|errno| failed(key, errno))?;
        let stat = rustix::fs::fstat(&file).map_err(|errno| failed(key, errno))?;
        let size = stat.st_size as u64;
        let mut header = self.header(key, b'0', &stat)?;
        header.size = size;
        let whole = [Segment { offset: 0, length: size }];
        let holes =
            if self.settings.sparse { holes(&file, size).map_err(|errno| failed(key, errno))? } else { None };
        let mut map = Vec::new();
        if let Some(segments) = &holes {
            map = sparse::written(segments);
            records.add(b"GNU.sparse.major", "1");
            records.add(b"GNU.sparse.minor", "0");
            records.add(b"GNU.sparse.name", key);
            records.add(b"GNU.sparse.realsize", size.to_string());
            header.name = [b"GNUSparseFile.0/", framing::last(key)].concat();
            header.name.truncate(100);
            header.size = map.len() as u64 + segments.iter().map(|segment| segment.length).sum::<u64>();
        }
        let size = header.size;
        self.entry(header, records)?;
        self.feed.write(&map)?;
        for segment in holes.as_deref().unwrap_or(&whole) {
            self.stretch(&file, key, *segment)?;
        }
        let padding = size.next_multiple_of(BLOCK as u64) - size;
        self.feed.write(&[0; BLOCK][..padding as usize])?;
        Ok(())
    }

    fn stretch(&mut self, file: &OwnedFd, key: &[u8], segment: Segment) -> Result<(), Stop> {
        let (mut at, end) = (segment.offset, segment.offset + segment.length);
        while at < end {
            let most = self.buffer.len().min(usize::try_from(end - at).unwrap_or(usize::MAX));
            match rustix::io::pread(file, &mut self.buffer[..most], at) {
                Err(Errno::INTR) => {}
                Err(errno) => return Err(failed(key, errno).into()),
                Ok(0) => return Err(refused(key, "it became smaller while it was read").into()),
                Ok(length) => {
                    self.feed.write(&self.buffer[..length])?;
                    at += length as u64;
                }
            }
        }
        Ok(())
    }

    /// An empty file that hides another.
    fn whiteout(&mut self, name: &[u8]) -> Result<(), Stop> {
        let header = Header {
            name: name.to_vec(),
            mode: 0,
            uid: 0,
            gid: 0,
            size: 0,
            mtime: 0,
            kind: b'0',
            link: Vec::new(),
            major: 0,
            minor: 0,
        };
        self.entry(header, Records::default())
    }

    fn header(&self, name: &[u8], kind: u8, stat: &Stat) -> Result<Header, Failure> {
        let owner = |id: u32| match &self.settings.owners {
            Owners::Keep | Owners::Only(..) => Ok(id),
            Owners::Ranges(ranges) => ranges
                .iter()
                .find_map(|(from, to, count)| id.checked_sub(*from).filter(|at| at < count)?.checked_add(*to))
                .ok_or_else(|| {
                    refused(name, format!("its owner {id} has no place in the ranges of user ids"))
                }),
        };
        let (uid, gid) = match self.settings.owners {
            Owners::Only(uid, gid) => (uid, gid),
            _ => (owner(stat.st_uid)?, owner(stat.st_gid)?),
        };
        Ok(Header {
            name: name.to_vec(),
            mode: stat.st_mode & 0o7777,
            uid: uid.into(),
            gid: gid.into(),
            size: 0,
            mtime: self.mtime(stat).0,
            kind,
            link: Vec::new(),
            major: 0,
            minor: 0,
        })
    }

    fn mtime(&self, stat: &Stat) -> (i64, u32) {
        let nanoseconds = if self.settings.whole_seconds { 0 } else { stat.st_mtime_nsec as u32 };
        let time = (stat.st_mtime, nanoseconds);
        self.settings.latest.map_or(time, |latest| time.min((latest, 0)))
    }

    /// What of a file needs records whatever its header has room for.
    fn records(&self, stat: &Stat, attributes: Vec<(Vec<u8>, Vec<u8>)>) -> Records {
        let mut records = Records::default();
        let (seconds, nanoseconds) = self.mtime(stat);
        if nanoseconds != 0 || seconds < 0 {
            records.add(b"mtime", pax::written_time(seconds, nanoseconds));
        }
        for (name, value) in attributes {
            records.add(&[pax::XATTR, &name].concat(), value);
        }
        records
    }

    /// Writes the header, before it one with records if there are any or ustar has no room.
    fn entry(&mut self, mut header: Header, records: Records) -> Result<(), Stop> {
        self.entries += 1;
        header.mtime = header.mtime.max(0);
        let name = header.name.clone();
        header.name = self.named(&name);
        if header.kind == b'1' {
            header.link = self.named(&header.link);
        }
        let bytes = framing::encode(header, records)
            .ok_or_else(|| refused(&name, "it does not fit into an archive"))?;
        self.feed.write(&bytes)?;
        Ok(())
    }
}

fn join(parent: &[u8], name: &[u8]) -> Vec<u8> {
    if parent.is_empty() { name.to_vec() } else { [parent, b"/", name].concat() }
}

/// Extended attributes, by name in order.
struct Attributes {
    keep: Vec<(Vec<u8>, Vec<u8>)>,
    /// Overlayfs's own.
    overlay: Vec<(Vec<u8>, Vec<u8>)>,
}

fn attributes(parent: &OwnedFd, name: &[u8], key: &[u8]) -> Result<Attributes, Failure> {
    let mut all = Attributes { keep: Vec::new(), overlay: Vec::new() };
    let path = metadata::beside(parent, name);
    let failed = |errno| failed(key, errno);
    let mut names = [0; 1024];
    let list = match rustix::fs::llistxattr(path.as_slice(), &mut names[..]) {
        Ok(length) => names[..length].to_vec(),
        Err(Errno::OPNOTSUPP) => return Ok(all),
        Err(Errno::RANGE) => {
            // XATTR_LIST_MAX, linux/limits.h.
            let mut names = vec![0; 65536];
            let length = rustix::fs::llistxattr(path.as_slice(), &mut names[..]).map_err(failed)?;
            names.truncate(length);
            names
        }
        Err(errno) => return Err(failed(errno)),
    };
    for attribute in list.split(|byte| *byte == 0).filter(|name| !name.is_empty()) {
        // XATTR_SIZE_MAX.
        let mut value = vec![0; 65536];
        let length = match rustix::fs::lgetxattr(path.as_slice(), attribute, &mut value[..]) {
            Err(Errno::NODATA) => continue,
            length => length.map_err(failed)?,
        };
        value.truncate(length);
        let pair = (attribute.to_vec(), value);
        if is_overlay(attribute) { all.overlay.push(pair) } else { all.keep.push(pair) }
    }
    all.keep.sort();
    Ok(all)
}

/// The data of a file with holes; none if it has none that are worth a map.
fn holes(file: &OwnedFd, size: u64) -> Result<Option<Vec<Segment>>, Errno> {
    let (mut segments, mut at) = (Vec::new(), 0);
    while at < size {
        let data = match rustix::fs::seek(file, SeekFrom::Data(at)) {
            Err(Errno::NXIO) => break,
            data => data?.min(size),
        };
        let hole = rustix::fs::seek(file, SeekFrom::Hole(data))?.min(size);
        if data < hole {
            segments.push(Segment { offset: data, length: hole - data });
        }
        at = hole;
    }
    let data: u64 = segments.iter().map(|segment| segment.length).sum();
    if data == size || segments.len() >= sparse::MOST_SEGMENTS {
        return Ok(None);
    }
    // GNU tar ends every map that ends in a hole with an empty stretch at the file's end.
    if at < size || segments.last().is_none_or(|last| last.offset + last.length < size) {
        segments.push(Segment { offset: size, length: 0 });
    }
    Ok(Some(segments))
}

fn open(parent: OwnedFd, path: &[u8]) -> Result<OwnedFd, Errno> {
    open_at(&parent, path, false)
}

fn open_at(parent: &OwnedFd, path: &[u8], across: bool) -> Result<OwnedFd, Errno> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let mounts = if across { ResolveFlags::NO_MAGICLINKS } else { ResolveFlags::NO_XDEV };
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | mounts;
    loop {
        match rustix::fs::openat2(parent, path, flags, Mode::empty(), resolve) {
            Err(Errno::AGAIN | Errno::INTR) => {}
            result => return result,
        }
    }
}

/// Whether a directory is the root of a file system that the kernel makes up, or that is memory: linux/magic.h.
fn is_kernels(parent: &OwnedFd, directory: &OwnedFd) -> bool {
    // proc, sysfs, cgroup, cgroup2, devpts, mqueue, tmpfs, securityfs, debugfs, tracefs, bpf, ramfs.
    const KINDS: [u64; 12] = [
        0x9fa0,
        0x6265_6572,
        0x27_e0eb,
        0x6367_7270,
        0x1cd1,
        0x1980_0202,
        0x0102_1994,
        0x7363_6673,
        0x6462_6720,
        0x7472_6163,
        0xcafe_4a11,
        0x8584_58f6,
    ];
    let device = |of: &OwnedFd| rustix::fs::fstat(of).map(|stat| stat.st_dev).ok();
    device(parent) != device(directory)
        && rustix::fs::fstatfs(directory).is_ok_and(|facts| KINDS.contains(&(facts.f_type as u64)))
}
