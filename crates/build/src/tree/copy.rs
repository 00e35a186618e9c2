//! COPY into a new layer, by Docker's rules: what becomes of a file, of a directory's content, of a destination that
//! ends in a slash, is a directory already, or is a link.

use std::collections::HashMap;
use std::os::fd::OwnedFd;
use std::sync::Arc;

use rustix::fs::{AtFlags, FileType, Mode, OFlags, Stat, Timespec, Timestamps};
use rustix::io::Errno;
use step::Failure;

use super::mode::Chmod;
use super::owner::Owner;
use super::pick::Picked;
use super::stack::{Entry, Found, Stack, beside, split};
use super::walk::{Filter, Item, join, walk};
use super::write::{Layer, attributes, chown, dress, times_of};
use super::{failed, refused};

/// How things are written.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Manner<'m> {
    /// Whose they become; none: they keep their owners.
    pub(crate) owner: Option<Owner>,
    /// Their permissions.
    pub(crate) chmod: Option<&'m Chmod>,
    /// The source's directories are made too.
    pub(crate) parents: bool,
    /// Files may be linked instead of copied: nobody else has them, and they are on the same file system.
    pub(crate) link: bool,
}

impl Manner<'_> {
    /// Of directories that are missing on the way.
    fn new_owner(&self) -> Owner {
        self.owner.unwrap_or_default()
    }

    fn owner_of(&self, stat: &Stat) -> Owner {
        self.owner.unwrap_or(Owner { uid: stat.st_uid, gid: stat.st_gid })
    }

    fn mode_of(&self, stat: &Stat) -> u32 {
        let is_directory = FileType::from_raw_mode(stat.st_mode) == FileType::Directory;
        let mode = stat.st_mode & 0o7777;
        self.chmod.map_or(mode, |chmod| chmod.apply(mode, is_directory))
    }
}

/// Copies what was picked to `destination`, an absolute path of the image; `into` if it ends in a slash.
pub(crate) fn copy(
    layer: &mut Layer,
    stack: &Stack,
    picked: &Picked,
    filter: Filter<'_>,
    destination: &[u8],
    into: bool,
    manner: Manner<'_>,
) -> Result<(), Failure> {
    let resolved = layer.resolve(destination)?;
    let mut base = resolved.components;
    let is_directory = matches!(picked.found, Found::Dir(_));
    if manner.parents {
        base = layer.resolve(&join(&base.join(&b'/'), &picked.written))?.components;
    } else if is_directory {
        if let Found::File(_) = resolved.found {
            return Err(refused(destination, "it is there and is no directory"));
        }
    } else if into || matches!(resolved.found, Found::Dir(_)) {
        if let (true, Found::File(_)) = (into, &resolved.found) {
            return Err(refused(destination, "it is there and is no directory"));
        }
        base.push(picked.name.clone());
    }
    if is_directory {
        layer.directory(&base, manner.new_owner())?;
    } else if let Some((_, above)) = base.split_last() {
        layer.directory(above, manner.new_owner())?;
    }
    let mut copier = Copier { layer, manner, places: HashMap::new(), links: HashMap::new() };
    copier.places.insert(Vec::new(), base.clone());
    walk(stack, picked, filter, &mut |relative, item| match item {
        // The source's own directory is not copied, its content is.
        Item::Dir(_) if relative.is_empty() && !manner.parents => Ok(()),
        Item::Dir(directory) => {
            let stat = directory.stat().map_err(|errno| failed(relative, errno))?;
            copier.directory(relative, &stat, &beside(directory.top(), b"."))
        }
        Item::File(entry) if relative.is_empty() => copier.file(&base, entry),
        Item::File(entry) => {
            let at = copier.place(relative)?;
            copier.file(&at, entry)
        }
    })
}

/// Writes one file with the given content: of a heredoc, of an address.
pub(crate) fn write_file(
    layer: &mut Layer,
    destination: &[u8],
    name: Option<&[u8]>,
    content: &[u8],
    owner: Owner,
    mode: u32,
    time: Option<i64>,
) -> Result<(), Failure> {
    let resolved = layer.resolve(destination)?;
    let mut at = resolved.components;
    match (name, &resolved.found) {
        (Some(_), Found::File(_)) => return Err(refused(destination, "it is there and is no directory")),
        (Some(name), _) => at.push(name.to_vec()),
        (None, Found::Dir(_)) => return Err(refused(destination, "it is a directory")),
        (None, _) => {}
    }
    let path = at.join(&b'/');
    let error = |errno| failed(&path, errno);
    let Some((last, above)) = at.split_last() else { return Err(refused(b"/", "it is a directory")) };
    let parent = layer.directory(above, owner)?;
    layer.clear(&parent, &at)?;
    let file = create(&parent, last).map_err(error)?;
    let mut rest = content;
    while !rest.is_empty() {
        let written = rustix::io::retry_on_intr(|| rustix::io::write(&file, rest)).map_err(error)?;
        rest = &rest[written..];
    }
    chown(&file, owner).map_err(error)?;
    rustix::fs::fchmod(&file, Mode::from_raw_mode(mode)).map_err(error)?;
    if let Some(seconds) = time {
        let time = Timespec { tv_sec: seconds, tv_nsec: 0 };
        let times = Timestamps { last_access: time, last_modification: time };
        rustix::fs::futimens(&file, &times).map_err(error)?;
    }
    Ok(())
}

struct Copier<'c> {
    layer: &'c mut Layer,
    manner: Manner<'c>,
    /// Where directories of the source went: through links of the destination.
    places: HashMap<Vec<u8>, Vec<Vec<u8>>>,
    /// Where files with several names went.
    links: HashMap<(u64, u64), (Arc<OwnedFd>, Vec<u8>)>,
}

impl Copier<'_> {
    /// Where something of the source goes, its directory being known.
    fn place(&self, relative: &[u8]) -> Result<Vec<Vec<u8>>, Failure> {
        let (above, name) = match relative.iter().rposition(|byte| *byte == b'/') {
            Some(at) => (&relative[..at], &relative[at + 1..]),
            None => (&b""[..], relative),
        };
        let above =
            self.places.get(above).ok_or_else(|| refused(relative, "its directory changed meanwhile"))?;
        Ok(above.iter().cloned().chain([name.to_vec()]).collect())
    }

    fn directory(&mut self, relative: &[u8], stat: &Stat, source: &[u8]) -> Result<(), Failure> {
        let at = if relative.is_empty() { self.places[relative].clone() } else { self.place(relative)? };
        // A link to a directory stays what it is, and is followed within the image.
        let resolved = self.layer.resolve(&at.join(&b'/'))?;
        let at = resolved.components;
        let path = at.join(&b'/');
        let error = |errno| failed(&path, errno);
        if let Found::File(_) = resolved.found {
            return Err(refused(&path, "it is there and is no directory"));
        }
        let made = self.layer.directory(&at, self.manner.new_owner())?;
        chown(&made, self.manner.owner_of(stat)).map_err(error)?;
        rustix::fs::fchmod(&*made, Mode::from_raw_mode(self.manner.mode_of(stat))).map_err(error)?;
        for (name, value) in attributes(source, self.manner.owner.is_none()).map_err(error)? {
            super::write::set_attribute(&beside(&made, b"."), &name, &value).map_err(error)?;
        }
        self.layer.set_times(at.clone(), times_of(stat));
        self.places.insert(relative.to_vec(), at);
        Ok(())
    }

    fn file(&mut self, at: &[Vec<u8>], entry: &Entry) -> Result<(), Failure> {
        let path = at.join(&b'/');
        let error = |errno| failed(&path, errno);
        let Some((name, above)) = at.split_last() else {
            return Err(refused(b"/", "it is a directory, and a file would replace it"));
        };
        let parent = self.layer.directory(above, self.manner.new_owner())?;
        self.layer.clear(&parent, at)?;
        let stat = &entry.stat;
        let inode = (stat.st_dev, stat.st_ino);
        if let Some((directory, first)) = self.links.get(&inode) {
            return rustix::fs::linkat(
                &**directory,
                first.as_slice(),
                &*parent,
                name.as_slice(),
                AtFlags::empty(),
            )
            .map_err(error);
        }
        self.make(&parent, name, entry).map_err(error)?;
        if stat.st_nlink > 1 {
            self.links.insert(inode, (parent, name.clone()));
        }
        Ok(())
    }

    fn make(&self, parent: &OwnedFd, name: &[u8], entry: &Entry) -> Result<(), Errno> {
        let (stat, kind) = (&entry.stat, entry.kind());
        match kind {
            FileType::RegularFile if self.manner.link => {
                rustix::fs::linkat(&*entry.parent, &*entry.name, parent, name, AtFlags::empty())?;
            }
            FileType::RegularFile => content(&entry.open()?, &create(parent, name)?)?,
            FileType::Symlink => {
                let target = rustix::fs::readlinkat(&*entry.parent, &*entry.name, Vec::new())?;
                rustix::fs::symlinkat(&*target, parent, name)?;
            }
            kind => rustix::fs::mknodat(parent, name, kind, Mode::from_raw_mode(0o600), stat.st_rdev)?,
        }
        let (owner, mode) = (self.manner.owner_of(stat), self.manner.mode_of(stat));
        let attributes = attributes(&entry.path(), self.manner.owner.is_none())?;
        dress(parent, name, kind, owner, mode, &attributes, &times_of(stat))
    }
}

fn create(parent: &OwnedFd, name: &[u8]) -> Result<OwnedFd, Errno> {
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    rustix::fs::openat(parent, name, flags, Mode::from_raw_mode(0o600))
}

/// Copies a file's content: shared where the file system can, else by the kernel, else by us.
fn content(from: &OwnedFd, to: &OwnedFd) -> Result<(), Errno> {
    if rustix::fs::ioctl_ficlone(to, from).is_ok() {
        return Ok(());
    }
    let mut any = false;
    loop {
        match rustix::fs::copy_file_range(from, None, to, None, 1 << 30) {
            // Files of /proc and the like say that they are empty, and are not.
            Ok(0) if any => return Ok(()),
            Ok(0) | Err(Errno::XDEV | Errno::INVAL | Errno::OPNOTSUPP | Errno::NOSYS | Errno::PERM) => break,
            Ok(_) => any = true,
            Err(Errno::INTR) => {}
            Err(errno) => return Err(errno),
        }
    }
    let mut buffer = vec![0; 1 << 17];
    loop {
        let length = rustix::io::retry_on_intr(|| rustix::io::read(from, &mut buffer[..]))?;
        let mut rest = &buffer[..length];
        while !rest.is_empty() {
            let written = rustix::io::retry_on_intr(|| rustix::io::write(to, rest))?;
            rest = &rest[written..];
        }
        if length == 0 {
            return Ok(());
        }
    }
}

/// An absolute path of the image, of words that may be relative to its working directory.
pub(crate) fn absolute(workdir: &str, path: &str) -> String {
    let whole = if path.starts_with('/') { path.to_owned() } else { format!("{workdir}/{path}") };
    let mut names: Vec<&[u8]> = Vec::new();
    for name in split(whole.as_bytes()) {
        match name {
            b".." => {
                names.pop();
            }
            name => names.push(name),
        }
    }
    format!("/{}", String::from_utf8_lossy(&names.join(&b'/')))
}
