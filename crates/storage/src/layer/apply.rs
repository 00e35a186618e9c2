//! Writing a layer into a directory.
//!
//! What is refused, with the entry named: names with `..` or NUL or longer than the kernel takes; names that lead through
//! a link or a file, whoever made it; relative links that lead above the root; hard links to what is not there, or
//! through a link; types that nobody knows; headers, lists and sizes beyond their limits; what ends in the middle. As
//! Docker has it: slashes before a name are taken off, a later entry replaces an earlier one of the same name (two
//! directories become one), what stands after the archive's end counts for the digest alone, and names that begin with
//! `.wh..wh.` are AUFS's own and passed over. Names that differ in case alone are two names, as on every Linux.

use std::io::Read;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use rustix::fs::{AtFlags, FileType, Mode, OFlags};
use rustix::io::Errno;
use step::Failure;

use super::metadata::Metadata;
use super::pipeline::{self, Stream, Trouble};
use super::reader::{Entries, Entry, Kind};
use super::tree::{Hiding, Place, Tree};
use super::{AUFS, OPAQUE, WHITEOUT};
use oci::Digest;

use crate::{blobs, remove};

pub(super) const STEP: &str = "storage.unpack";

/// What a layer is written onto.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Onto {
    /// An empty directory that becomes one layer of an overlay: whiteouts become character devices 0:0, opaque
    /// directories get an attribute, `user.overlay.opaque` with `userxattr` (a mount option for user namespaces),
    /// `trusted.overlay.opaque` without. After a failure it is empty again.
    Layer {
        /// The overlay is mounted with the option of that name.
        userxattr: bool,
    },
    /// A whole tree that has the lower layers already: what the layer hides is removed. A failure leaves it half done.
    Tree,
    /// Files beside others, as cp(1) copies them: names that mean whiteouts in layers are names like others, no directory
    /// takes the place of a file or the other way round, what is mounted below is written to. Of extended attributes
    /// only capabilities and `user.` are taken.
    Files {
        /// User and group that all of it becomes; the archive's where absent.
        owner: Option<(u32, u32)>,
        /// Added to the archive's owners: where the tree's root has its own user namespace.
        shift: u32,
    },
}

/// Whether device nodes are made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Devices {
    /// As the archive has them. A container reaches none by them that its device rules refuse.
    Make,
    /// An archive with one is refused.
    Refuse,
}

/// What an archive may cost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of the tar stream.
    pub bytes: u64,
    /// Entries.
    pub entries: u64,
    /// Bytes of the tar stream for each compressed one, above [`Limits::RATIO_FREE`] bytes. gzip reaches 1032, zstd
    /// some 20,000.
    pub ratio: u64,
}

impl Limits {
    /// So many bytes may come from however few.
    pub const RATIO_FREE: u64 = 4 << 30;

    pub(super) fn check(&self, bytes: u64, compressed: u64) -> Result<(), String> {
        if bytes > self.bytes {
            return Err(format!("it has more than {} bytes", self.bytes));
        }
        if bytes > Self::RATIO_FREE.saturating_add(compressed.saturating_mul(self.ratio)) {
            return Err(format!("{compressed} bytes become {bytes}, more than {} times as many", self.ratio));
        }
        Ok(())
    }
}

impl Default for Limits {
    /// 256 GiB, 16 million entries, 400 times.
    fn default() -> Self {
        Self { bytes: 256 << 30, entries: 16_000_000, ratio: 400 }
    }
}

/// How a layer is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Options {
    /// What onto.
    pub onto: Onto,
    /// Device nodes.
    pub devices: Devices,
    /// What it may cost.
    pub limits: Limits,
    /// The digest that the tar stream must have, where it is known.
    pub diff_id: Option<Digest>,
    /// Whether the digest of the compressed stream is wanted; one who writes it to [`crate::blobs::Ingest`] at the same
    /// time has it from there.
    pub compressed: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            onto: Onto::Layer { userxattr: false },
            devices: Devices::Make,
            limits: Limits::default(),
            diff_id: None,
            compressed: false,
        }
    }
}

/// What was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Applied {
    /// The digest of the tar stream.
    pub diff_id: Digest,
    /// The tar stream's size in bytes.
    pub bytes: u64,
    /// Entries of the archive.
    pub entries: u64,
    /// The compressed stream's digest, if it was wanted.
    pub compressed: Option<Digest>,
    /// The compressed stream's size in bytes.
    pub compressed_bytes: u64,
    /// Extended attributes that the file system, or a security module that is not there, does not know, and that were
    /// left out.
    pub unknown_attributes: u64,
}

/// Writes the layer that `source` gives (tar, plain or by gzip or zstd) into `directory`, as root of its user
/// namespace.
///
/// Reading, decompressing, digesting and writing are threads of their own, which end before this returns: after an error
/// it waits for the read of `source` that is going on.
///
/// # Errors
/// Step `storage.read`: the source's own error. Step `storage.unpack`: what is wrong with the archive, on the entry that
/// it is about; what the kernel refused; a directory that is not empty, for [`Onto::Layer`].
pub fn apply(source: impl Read + Send, directory: impl AsFd, options: &Options) -> Result<Applied, Failure> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let failed = |errno: Errno| Failure::new(STEP, "the directory to unpack into", errno);
    let root = rustix::fs::openat(&directory, ".", flags, Mode::empty()).map_err(failed)?;
    let is_layer = matches!(options.onto, Onto::Layer { .. });
    if is_layer && !remove::list(&root).map_err(failed)?.is_empty() {
        return Err(failed(Errno::NOTEMPTY));
    }
    let applied = pipeline::run(source, &options.limits, options.compressed, |stream| {
        let mut writer = Writer::new(&root, options)?;
        let result = writer.all(&mut Entries::new(stream));
        let entry = writer.at.take();
        result
            .and_then(|entries| Ok((entries, writer.finish()?)))
            .map_err(|trouble| tell(trouble, entry.as_deref()).into())
    })
    .map_err(|trouble| tell(trouble, None))
    .and_then(|((entries, unknown_attributes), totals)| {
        let pipeline::Totals { diff_id, bytes, compressed, compressed_bytes } = totals;
        if let Some(expected) = options.diff_id.filter(|expected| *expected != diff_id) {
            let reason = format!("what was unpacked has the digest {diff_id}");
            return Err(Failure::because(STEP, format!("layer {expected}"), reason)
                .hint("the image names another content than it has: nothing of it was kept"));
        }
        Ok(Applied { diff_id, bytes, entries, compressed, compressed_bytes, unknown_attributes })
    });
    if applied.is_err() && is_layer {
        // The first failure is the one to tell; what cannot be removed is the caller's to find.
        let _ = remove::content(&root, Path::new("the directory to unpack into"));
    }
    applied
}

/// A trouble in words for the user.
pub(super) fn tell(trouble: Trouble, entry: Option<&str>) -> Failure {
    let target =
        |of: Option<&str>| of.map_or_else(|| "the archive".to_owned(), |name| format!("entry {name}"));
    match trouble {
        Trouble::Told(failure) => *failure,
        Trouble::Source(error) => Failure::new("storage.read", "the layer", error),
        Trouble::Refused { entry: of, reason, hint } => {
            let failure = Failure::because(STEP, target(of.as_deref().or(entry)), reason);
            match hint {
                Some(hint) => failure.hint(hint),
                None => failure,
            }
        }
        Trouble::Kernel(errno) => blobs::with_hint(Failure::new(STEP, target(entry), errno)),
    }
}

struct Writer<'o> {
    tree: Tree,
    options: &'o Options,
    /// The entry at work, as messages show it.
    at: Option<String>,
    /// New files belong to root anyway.
    is_root: bool,
    unknown: u64,
}

impl<'o> Writer<'o> {
    fn new(root: &OwnedFd, options: &'o Options) -> Result<Self, Trouble> {
        let hiding = match options.onto {
            Onto::Layer { userxattr } => Hiding::Overlay { userxattr },
            Onto::Tree => Hiding::Remove,
            Onto::Files { .. } => Hiding::Never,
        };
        let stat = rustix::fs::fstat(root)?;
        let plain = stat.st_mode & 0o2000 == 0 && stat.st_gid == 0;
        let is_root = rustix::process::geteuid().is_root() && rustix::process::getegid().is_root() && plain;
        let is_root = is_root && matches!(hiding, Hiding::Overlay { .. });
        let tree = Tree::new(rustix::io::fcntl_dupfd_cloexec(root, 3)?, hiding);
        Ok(Self { tree, options, at: None, is_root, unknown: 0 })
    }

    fn all(&mut self, entries: &mut Entries<&mut Stream>) -> Result<u64, Trouble> {
        while let Some(mut entry) = entries.next().inspect_err(|_| self.at = None)? {
            self.at = Some(super::shown(&entry.name));
            if entries.count() > self.options.limits.entries {
                let most = self.options.limits.entries;
                return Err(Trouble::refused(format!("the archive has more than {most} entries")));
            }
            self.entry(&mut entry, entries)?;
        }
        self.at = None;
        Ok(entries.count())
    }

    fn finish(self) -> Result<u64, Trouble> {
        let written = self.unknown;
        let finished = self.tree.finish();
        let named = |(key, trouble): (Vec<u8>, Trouble)| tell(trouble, Some(&super::shown(&key))).into();
        finished.map(|unknown| written + unknown).map_err(named)
    }

    fn entry(&mut self, entry: &mut Entry, entries: &mut Entries<&mut Stream>) -> Result<(), Trouble> {
        let mut metadata = Metadata::of(entry);
        if let Onto::Files { owner, shift } = self.options.onto {
            metadata
                .attributes
                .retain(|(name, _)| name == b"security.capability" || name.starts_with(b"user."));
            let shifted = (metadata.uid.saturating_add(shift), metadata.gid.saturating_add(shift));
            (metadata.uid, metadata.gid) = owner.unwrap_or(shifted);
        }
        let place = Place::parse(&entry.name)?;
        let Some((parents, name)) = place.split() else {
            if entry.kind == Kind::Directory {
                return self.tree.make_directory(&place, metadata);
            }
            return Err(Trouble::refused("it has no name, and is no directory"));
        };
        if matches!(self.options.onto, Onto::Files { .. }) {
            return self.plain(entry, metadata, &place, entries);
        }
        if place.components[0].starts_with(AUFS) && place.components[..] != [OPAQUE] {
            return Ok(());
        }
        if parents.iter().any(|parent| parent.starts_with(WHITEOUT)) {
            return Err(Trouble::refused("its name leads through the name of a whiteout"));
        }
        if name == OPAQUE {
            return self.tree.hide_all(parents);
        }
        if let Some(hidden) = name.strip_prefix(WHITEOUT) {
            return self.tree.hide(parents, hidden);
        }
        self.plain(entry, metadata, &place, entries)
    }

    fn plain(
        &mut self,
        entry: &Entry,
        metadata: Metadata,
        place: &Place<'_>,
        entries: &mut Entries<&mut Stream>,
    ) -> Result<(), Trouble> {
        match entry.kind {
            Kind::Directory => self.tree.make_directory(place, metadata),
            Kind::File => self.file(entry, &metadata, place, entries),
            Kind::HardLink => self.hard_link(entry, place),
            Kind::Symlink | Kind::CharDevice | Kind::BlockDevice | Kind::Fifo => {
                self.special(entry, &metadata, place)
            }
        }
    }

    fn file(
        &mut self,
        entry: &Entry,
        metadata: &Metadata,
        place: &Place<'_>,
        entries: &mut Entries<&mut Stream>,
    ) -> Result<(), Trouble> {
        let Some((parents, name)) = place.split() else { return Ok(()) };
        let parent = self.tree.directory(parents)?;
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let file = self.tree.make(&parent, place, name, || {
            rustix::fs::openat(&*parent, name, flags, Mode::RUSR | Mode::WUSR)
        })?;
        match &entry.segments {
            None => entries.data(|bytes| write_all(&file, bytes, None))?,
            Some(segments) => {
                let mut segments = segments.iter().filter(|segment| segment.length > 0);
                let (mut at, mut left) = (0, 0);
                entries.data(|mut bytes| -> Result<(), Trouble> {
                    while !bytes.is_empty() {
                        if left == 0 {
                            // The map was checked to have as many bytes as there are.
                            let Some(next) = segments.next() else { return Err(Trouble::truncated()) };
                            (at, left) = (next.offset, next.length);
                        }
                        let length = bytes.len().min(usize::try_from(left).unwrap_or(usize::MAX));
                        write_all(&file, &bytes[..length], Some(at))?;
                        (at, left) = (at + length as u64, left - length as u64);
                        bytes = &bytes[length..];
                    }
                    Ok(())
                })?;
                rustix::fs::ftruncate(&file, entry.size)?;
            }
        }
        let owned = self.is_root && (metadata.uid, metadata.gid) == (0, 0);
        self.unknown += metadata.set(&file, owned)?;
        Ok(())
    }

    fn hard_link(&mut self, entry: &Entry, place: &Place<'_>) -> Result<(), Trouble> {
        let Some((parents, name)) = place.split() else { return Ok(()) };
        let to = super::shown(&entry.link);
        let target = Place::parse(&entry.link).map_err(|_| {
            Trouble::refused(format!("it is a hard link to {to}, which leads out of the layer"))
        })?;
        if target.key() == place.key() {
            return Err(Trouble::refused("it is a hard link to itself"));
        }
        let none = || Trouble::refused(format!("it is a hard link to {to}, which is no file of this layer"));
        let Some((target_parents, target_name)) = target.split() else { return Err(none()) };
        let target_parent = match self.tree.existing(target_parents) {
            Err(Errno::NOENT) => return Err(none()),
            Err(Errno::NOTDIR | Errno::LOOP | Errno::XDEV) => {
                return Err(Trouble::refused(format!(
                    "it is a hard link to {to}, which leads through a link or a file"
                )));
            }
            opened => opened?,
        };
        let stat = match rustix::fs::statat(&target_parent, target_name, AtFlags::SYMLINK_NOFOLLOW) {
            Err(Errno::NOENT) => return Err(none()),
            stat => stat?,
        };
        if FileType::from_raw_mode(stat.st_mode) == FileType::Directory {
            return Err(none());
        }
        let parent = self.tree.directory(parents)?;
        // Of a symbolic link this makes another name of the link: linkat(2) follows none unless told to.
        self.tree.make(&parent, place, name, || {
            rustix::fs::linkat(&target_parent, target_name, &*parent, name, AtFlags::empty())
        })
    }

    fn special(&mut self, entry: &Entry, metadata: &Metadata, place: &Place<'_>) -> Result<(), Trouble> {
        let Some((parents, name)) = place.split() else { return Ok(()) };
        let device = match entry.kind {
            Kind::CharDevice => Some(FileType::CharacterDevice),
            Kind::BlockDevice => Some(FileType::BlockDevice),
            Kind::Fifo => Some(FileType::Fifo),
            _ => None,
        };
        if matches!(entry.kind, Kind::CharDevice | Kind::BlockDevice) {
            if self.options.devices == Devices::Refuse {
                return Err(Trouble::refused("it is a device node"));
            }
            let is_layer = matches!(self.options.onto, Onto::Layer { .. });
            if is_layer && entry.kind == Kind::CharDevice && entry.device == (0, 0) {
                return Err(Trouble::refused("it is a device 0:0, which hides files of other layers"));
            }
        }
        // Of files beside others, what a link means is decided where it is followed; here none is.
        if entry.kind == Kind::Symlink && !matches!(self.options.onto, Onto::Files { .. }) {
            check_link(parents.len(), &entry.link)?;
        }
        let parent = self.tree.directory(parents)?;
        self.tree.make(&parent, place, name, || match device {
            None => rustix::fs::symlinkat(entry.link.as_slice(), &*parent, name),
            Some(kind) => {
                let number = match kind {
                    FileType::Fifo => 0,
                    _ => rustix::fs::makedev(entry.device.0, entry.device.1),
                };
                rustix::fs::mknodat(&*parent, name, kind, Mode::empty(), number)
            }
        })?;
        self.unknown += metadata.set_at(&parent, name, device.is_none())?;
        Ok(())
    }
}

/// Refuses a relative link that leads above the root by its own words, as Docker does. What an absolute one means is
/// decided by the root that it is resolved in.
fn check_link(depth: usize, target: &[u8]) -> Result<(), Trouble> {
    if target.is_empty() || target.contains(&0) {
        return Err(Trouble::refused("it is a link to no name"));
    }
    if target.starts_with(b"/") {
        return Ok(());
    }
    let mut depth = depth;
    for component in target.split(|byte| *byte == b'/') {
        match component {
            b"" | b"." => {}
            b".." if depth == 0 => {
                let target = super::shown(target);
                return Err(Trouble::refused(format!(
                    "it is a link to {target}, which leads out of the layer"
                )));
            }
            b".." => depth -= 1,
            _ => depth += 1,
        }
    }
    Ok(())
}

/// Writes all of it, at a place or at the end.
fn write_all(file: &OwnedFd, mut bytes: &[u8], mut at: Option<u64>) -> Result<(), Trouble> {
    while !bytes.is_empty() {
        let written = match at {
            None => rustix::io::write(file, bytes),
            Some(at) => rustix::io::pwrite(file, bytes, at),
        };
        match written {
            Err(Errno::INTR) => {}
            Ok(0) => return Err(Errno::NOSPC.into()),
            Ok(length) => {
                bytes = &bytes[length..];
                at = at.map(|at| at + length as u64);
            }
            Err(errno) => return Err(errno.into()),
        }
    }
    Ok(())
}
