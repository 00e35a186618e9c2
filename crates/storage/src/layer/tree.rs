//! The directory that an archive is written into. Names are resolved here and nowhere else: one component at a time,
//! by openat2(2) below the root, through no link and no mount; descriptors of the last path stay open for the next.

use std::collections::{BTreeMap, HashSet};
use std::os::fd::OwnedFd;
use std::path::Path;
use std::rc::Rc;

use rustix::fs::{AtFlags, FileType, Mode, OFlags, ResolveFlags, XattrFlags};
use rustix::io::Errno;

use super::metadata::Metadata;
use super::pipeline::Trouble;
use crate::remove;

/// How many directories of a path stay open. Deeper ones are opened anew.
const OPEN: usize = 64;

/// An overlay's attribute for a directory that hides all of its name below.
pub(super) fn opaque_attribute(userxattr: bool) -> &'static str {
    if userxattr { "user.overlay.opaque" } else { "trusted.overlay.opaque" }
}

/// A name of an archive: its components, without those that mean nothing.
pub(super) struct Place<'n> {
    pub(super) components: Vec<&'n [u8]>,
}

impl<'n> Place<'n> {
    /// Slashes at the beginning are taken off, as Docker and GNU tar do: the name means a file of the layer. `..` is
    /// refused wherever it stands: no program that makes layers writes it.
    pub(super) fn parse(name: &'n [u8]) -> Result<Self, Trouble> {
        let mut components = Vec::new();
        for component in name.split(|byte| *byte == b'/') {
            match component {
                b"" | b"." => {}
                b".." => return Err(Trouble::refused("its name leads upwards (`..`)")),
                component if component.contains(&0) => return Err(Trouble::refused("its name has a NUL")),
                component if component.len() > 255 => {
                    return Err(Trouble::refused("a part of its name is longer than 255 bytes"));
                }
                component => components.push(component),
            }
        }
        Ok(Self { components })
    }

    /// The parent's components and the last one; none for the root.
    pub(super) fn split(&self) -> Option<(&[&'n [u8]], &'n [u8])> {
        self.components.split_last().map(|(last, parent)| (parent, *last))
    }

    pub(super) fn key(&self) -> Vec<u8> {
        self.components.join(&b'/')
    }
}

/// What is still to be done to a directory when all is in it.
#[derive(Debug)]
struct Pending {
    metadata: Metadata,
    opaque: bool,
}

/// How files that hide others are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Hiding {
    /// As overlayfs reads them.
    Overlay { userxattr: bool },
    /// What they hide is removed.
    Remove,
    /// There are none, and a directory stays a directory.
    Never,
}

/// The directory.
pub(super) struct Tree {
    root: Rc<OwnedFd>,
    /// The components of the last path, as deep as they are kept, and their directories.
    open: Vec<(Vec<u8>, Rc<OwnedFd>)>,
    hiding: Hiding,
    pending: BTreeMap<Vec<u8>, Pending>,
    /// Whiteouts that this archive brought.
    whiteouts: HashSet<Vec<u8>>,
    /// What this archive made and what leads there: a whiteout spares it. Kept where whiteouts remove.
    made: HashSet<Vec<u8>>,
}

impl Tree {
    pub(super) fn new(root: OwnedFd, hiding: Hiding) -> Self {
        Self {
            root: Rc::new(root),
            open: Vec::new(),
            hiding,
            pending: BTreeMap::new(),
            whiteouts: HashSet::new(),
            made: HashSet::new(),
        }
    }

    /// The directory of these components; those that are missing are made.
    pub(super) fn directory(&mut self, components: &[&[u8]]) -> Result<Rc<OwnedFd>, Trouble> {
        let same = self.open.iter().zip(components).take_while(|((name, _), other)| name == *other).count();
        self.open.truncate(same);
        let mut here = self.open.last().map_or(&self.root, |(_, directory)| directory).clone();
        for (depth, name) in components.iter().enumerate().skip(same) {
            let next = match self.open_directory(&here, name) {
                Ok(next) => next,
                Err(Errno::NOENT) => self.make_implied(&here, &components[..=depth], false)?,
                Err(Errno::NOTDIR | Errno::LOOP) => {
                    let key = components[..=depth].join(&b'/');
                    if !self.whiteouts.contains(&key) {
                        let what = super::shown(&key);
                        return Err(Trouble::refused(format!(
                            "its name leads through {what}, which is no directory"
                        )));
                    }
                    // The archive hides what lower layers have there, and brings its own.
                    rustix::fs::unlinkat(&here, *name, AtFlags::empty())?;
                    self.make_implied(&here, &components[..=depth], true)?
                }
                Err(errno) => return Err(errno.into()),
            };
            here = Rc::new(next);
            if depth < OPEN {
                self.open.push((name.to_vec(), here.clone()));
            }
        }
        Ok(here)
    }

    fn make_implied(
        &mut self,
        parent: &OwnedFd,
        components: &[&[u8]],
        opaque: bool,
    ) -> Result<OwnedFd, Trouble> {
        let key = components.join(&b'/');
        let name = components.last().copied().unwrap_or_default();
        rustix::fs::mkdirat(parent, name, Mode::RWXU)?;
        self.whiteouts.remove(&key);
        self.note(&key);
        self.pending.insert(key, Pending { metadata: Metadata::implied(), opaque });
        Ok(self.open_directory(parent, name)?)
    }

    /// A directory that is there, without making any: where a hard link's target lies.
    pub(super) fn existing(&self, components: &[&[u8]]) -> Result<OwnedFd, Errno> {
        if components.is_empty() {
            return rustix::io::fcntl_dupfd_cloexec(&*self.root, 3);
        }
        self.open_directory(&self.root, &components.join(&b'/'))
    }

    /// Runs `make` for a name; if something of another kind has it, that goes first: a later entry counts.
    pub(super) fn make<T>(
        &mut self,
        parent: &OwnedFd,
        place: &Place<'_>,
        name: &[u8],
        make: impl Fn() -> Result<T, Errno>,
    ) -> Result<T, Trouble> {
        let key = place.key();
        let made = match make() {
            Err(Errno::EXIST) => {
                self.check_kind(parent, &key, name, false)?;
                self.clear(parent, &key, name)?;
                make()
            }
            made => made,
        }?;
        self.note(&key);
        Ok(made)
    }

    /// Makes a directory, or takes the one that is there.
    pub(super) fn make_directory(&mut self, place: &Place<'_>, metadata: Metadata) -> Result<(), Trouble> {
        let key = place.key();
        let Some((parents, name)) = place.split() else {
            self.pending.insert(key, Pending { metadata, opaque: false });
            return Ok(());
        };
        let parent = self.directory(parents)?;
        let mut opaque = self.pending.get(&key).is_some_and(|pending| pending.opaque);
        match rustix::fs::mkdirat(&*parent, name, Mode::RWXU) {
            Err(Errno::EXIST) => {
                let stat = rustix::fs::statat(&*parent, name, AtFlags::SYMLINK_NOFOLLOW)?;
                if FileType::from_raw_mode(stat.st_mode) != FileType::Directory {
                    self.check_kind(&parent, &key, name, true)?;
                    // Hidden below and brought anew: what lower layers have in it stays hidden.
                    opaque = self.whiteouts.contains(&key);
                    self.clear(&parent, &key, name)?;
                    rustix::fs::mkdirat(&*parent, name, Mode::RWXU)?;
                }
            }
            made => made?,
        }
        self.note(&key);
        self.pending.insert(key, Pending { metadata, opaque });
        Ok(())
    }

    fn open_directory(&self, parent: &OwnedFd, path: &[u8]) -> Result<OwnedFd, Errno> {
        open(parent, path, OFlags::PATH, self.hiding)
    }

    fn open_listed(&self, parent: &OwnedFd, path: &[u8]) -> Result<OwnedFd, Errno> {
        open(parent, path, OFlags::RDONLY, self.hiding)
    }

    /// Refuses what would put a file in a directory's place or a directory in a file's, where that is not to be.
    fn check_kind(
        &self,
        parent: &OwnedFd,
        key: &[u8],
        name: &[u8],
        is_directory: bool,
    ) -> Result<(), Trouble> {
        if self.hiding != Hiding::Never {
            return Ok(());
        }
        let stat = rustix::fs::statat(parent, name, AtFlags::SYMLINK_NOFOLLOW)?;
        let shown = super::shown(key);
        match (is_directory, FileType::from_raw_mode(stat.st_mode) == FileType::Directory) {
            (true, false) => {
                Err(Trouble::refused(format!("cannot overwrite non-directory {shown} with a directory")))
            }
            (false, true) => {
                Err(Trouble::refused(format!("cannot overwrite directory {shown} with a non-directory")))
            }
            _ => Ok(()),
        }
    }

    /// Hides `name`, the entry of lower layers, unless this archive has brought one itself.
    pub(super) fn hide(&mut self, parents: &[&[u8]], name: &[u8]) -> Result<(), Trouble> {
        if name.is_empty() || name == b"." || name == b".." {
            return Err(Trouble::refused("it hides no name"));
        }
        let key = [parents, &[name]].concat().join(&b'/');
        let parent = match self.hiding {
            Hiding::Overlay { .. } => self.directory(parents)?,
            Hiding::Never => return Ok(()),
            Hiding::Remove => match self.existing(parents) {
                Ok(parent) => Rc::new(parent),
                Err(Errno::NOENT) => return Ok(()),
                Err(Errno::NOTDIR | Errno::LOOP) => {
                    return Err(Trouble::refused("its name leads through what is no directory"));
                }
                Err(errno) => return Err(errno.into()),
            },
        };
        match self.hiding {
            Hiding::Overlay { .. } => {
                match rustix::fs::mknodat(&*parent, name, FileType::CharacterDevice, Mode::empty(), 0) {
                    Err(Errno::EXIST) => {
                        if let Some(pending) = self.pending.get_mut(&key) {
                            pending.opaque = true;
                        }
                    }
                    made => {
                        made?;
                        self.whiteouts.insert(key);
                    }
                }
            }
            Hiding::Remove if self.made.contains(&key) => {
                if let Ok(directory) = self.open_listed(&parent, name) {
                    self.empty(&directory, &key)?;
                }
            }
            Hiding::Remove => self.clear(&parent, &key, name)?,
            Hiding::Never => {}
        }
        Ok(())
    }

    /// Hides all that lower layers have in a directory.
    pub(super) fn hide_all(&mut self, components: &[&[u8]]) -> Result<(), Trouble> {
        let key = components.join(&b'/');
        let directory = self.directory(components)?;
        match self.hiding {
            Hiding::Overlay { .. } => {
                // The root of a layer that is named nowhere: its own permissions are nobody's wish.
                let implied = || Pending { metadata: Metadata::implied(), opaque: false };
                self.pending.entry(key).or_insert_with(implied).opaque = true;
                Ok(())
            }
            Hiding::Remove => {
                let directory = self.open_listed(&directory, b".")?;
                self.empty(&directory, &key)
            }
            Hiding::Never => Ok(()),
        }
    }

    /// Removes all in a directory that this archive did not make.
    fn empty(&mut self, directory: &OwnedFd, key: &[u8]) -> Result<(), Trouble> {
        for (name, kind) in remove::list(directory)? {
            let name = name.to_bytes();
            let below = if key.is_empty() { name.to_vec() } else { [key, b"/", name].concat() };
            if !self.made.contains(&below) {
                self.clear(directory, &below, name)?;
            } else if kind == FileType::Directory {
                self.empty(&self.open_listed(directory, name)?, &below)?;
            }
        }
        Ok(())
    }

    /// Removes what has a name, with all that is in it and all that was to be done to it.
    fn clear(&mut self, parent: &OwnedFd, key: &[u8], name: &[u8]) -> Result<(), Trouble> {
        let stat = match rustix::fs::statat(parent, name, AtFlags::SYMLINK_NOFOLLOW) {
            Err(Errno::NOENT) => return Ok(()),
            stat => stat?,
        };
        if FileType::from_raw_mode(stat.st_mode) == FileType::Directory {
            self.open.clear();
            let below = [key, b"/"].concat();
            self.pending.retain(|path, _| path != key && !path.starts_with(&below));
            self.whiteouts.retain(|path| !path.starts_with(&below));
            self.made.retain(|path| !path.starts_with(&below));
            remove::tree(parent, name, Path::new(&super::shown(key)))?;
        } else {
            rustix::fs::unlinkat(parent, name, AtFlags::empty())?;
        }
        self.whiteouts.remove(key);
        Ok(())
    }

    /// Notes what was made, with what leads there.
    fn note(&mut self, key: &[u8]) {
        if self.hiding != Hiding::Remove {
            self.whiteouts.remove(key);
            return;
        }
        let mut end = key.len();
        // What leads to a known one is known.
        while end > 0 && self.made.insert(key[..end].to_vec()) {
            end = key[..end].iter().rposition(|byte| *byte == b'/').unwrap_or(0);
        }
    }

    /// Directories get what they have last, the deepest first: files in them change their times, and default ACLs and
    /// the set-group-ID bit would be handed down. How many attributes the file system does not know.
    pub(super) fn finish(mut self) -> Result<u64, (Vec<u8>, Trouble)> {
        self.open.clear();
        let mut unknown = 0;
        for (key, pending) in std::mem::take(&mut self.pending).into_iter().rev() {
            unknown += self.finish_one(&key, &pending).map_err(|trouble| (key, trouble))?;
        }
        Ok(unknown)
    }

    fn finish_one(&self, key: &[u8], pending: &Pending) -> Result<u64, Trouble> {
        let name = if key.is_empty() { b".".as_slice() } else { key };
        let directory = self.open_listed(&self.root, name)?;
        if let (true, Hiding::Overlay { userxattr }) = (pending.opaque, self.hiding) {
            rustix::fs::fsetxattr(&directory, opaque_attribute(userxattr), b"y", XattrFlags::empty())?;
        }
        pending.metadata.set(&directory, false)
    }
}

const RESOLVE: ResolveFlags = ResolveFlags::BENEATH
    .union(ResolveFlags::NO_SYMLINKS)
    .union(ResolveFlags::NO_MAGICLINKS)
    .union(ResolveFlags::NO_XDEV);

fn open(parent: &OwnedFd, path: &[u8], flags: OFlags, hiding: Hiding) -> Result<OwnedFd, Errno> {
    let flags = flags | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let resolve = match hiding {
        Hiding::Never => RESOLVE - ResolveFlags::NO_XDEV,
        _ => RESOLVE,
    };
    loop {
        match rustix::fs::openat2(parent, path, flags, Mode::empty(), resolve) {
            // A rename somewhere on the machine while `..` was resolved; openat2(2) says to try again.
            Err(Errno::AGAIN | Errno::INTR) => {}
            result => return result,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_its_components() {
        let key = |name: &[u8]| Place::parse(name).map(|place| place.key()).ok();
        assert_eq!(key(b"usr/bin/x").unwrap(), b"usr/bin/x");
        assert_eq!(key(b"./usr//bin/./x/").unwrap(), b"usr/bin/x");
        assert_eq!(key(b"/etc/passwd").unwrap(), b"etc/passwd");
        assert_eq!(key(b"./").unwrap(), b"");
        assert_eq!(key(b"...").unwrap(), b"...");
        assert_eq!(key(&[b'n'; 255]).unwrap(), [b'n'; 255]);
        for wrong in [&b".."[..], b"../x", b"a/../b", b"/..", b"a/..", b"a\0b", &[b'n'; 256]] {
            assert_eq!(key(wrong), None, "{:?}", String::from_utf8_lossy(wrong));
        }
    }
}
