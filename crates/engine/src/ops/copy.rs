//! `cp`: files into a container and out of it, running or not. Names of the container are resolved by the kernel in its
//! root (openat2(2), RESOLVE_IN_ROOT): no link of it, whatever it is changed to meanwhile, leads anywhere else, and no
//! program or library of it is ever run (CVE-2018-15664, CVE-2019-14271).

use std::io::{Read, Write};
use std::os::fd::OwnedFd;

use rustix::fs::{CWD, FileType, Mode, OFlags, ResolveFlags};
use rustix::io::Errno;
use step::Failure;
use storage::layer::{self, Onto, Part};

use crate::request::{Image as From, Mount, UserNamespace};
use crate::state::{Held, Record, Store};
use crate::sweep::sweep;
use crate::{Error, Kind, Settings};

/// How files are copied.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Options {
    /// `-a`: owners are kept.
    pub archive: bool,
    /// `-L`: a source that is a link means what it leads to.
    pub follow: bool,
}

/// More links than this lead in a circle (path_resolution(7)).
const MAX_LINKS: usize = 40;

/// One side of a copy.
#[derive(Debug)]
struct Side {
    /// The container's root; none for this machine.
    root: Option<OwnedFd>,
    /// What messages call it: `web:`.
    prefix: String,
    /// The first user id outside of a container with its own user namespace.
    shift: u32,
    /// Of a container that does not run: nobody starts or removes it meanwhile.
    _held: Option<(Store, String, Held)>,
}

/// What is copied.
struct Source {
    /// The directory itself, or the one that the file is in.
    directory: OwnedFd,
    /// The file's name in it; none: all of the directory.
    file: Option<Vec<u8>>,
    /// The last component of its path; empty where there is none.
    name: Vec<u8>,
    /// What is in it, and not it: `/.`.
    contents: bool,
}

/// From a container to this machine. Bytes of the archive that it went through.
pub fn out(settings: &Settings, name: &str, source: &str, target: &str, how: Options) -> Result<u64, Error> {
    let from = Side::container(settings, name, source, false)?;
    let owner = (rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw());
    between(&from, source, &Side::host(), target, how, owner)
}

/// From this machine to a container.
pub fn into(settings: &Settings, source: &str, name: &str, target: &str, how: Options) -> Result<u64, Error> {
    let to = Side::container(settings, name, target, true)?;
    between(&Side::host(), source, &to, target, how, (0, 0))
}

/// From a container, as a tar archive.
pub fn out_archive(
    settings: &Settings,
    name: &str,
    source: &str,
    how: Options,
    output: impl Write + Send,
) -> Result<(), Error> {
    let side = Side::container(settings, name, source, false)?;
    let found = side.source(source, how.follow)?;
    let name = if found.contents || found.name.is_empty() { b".".to_vec() } else { found.name.clone() };
    found.pack(&name, output)?;
    Ok(())
}

/// A tar archive, plain or compressed, into a directory of a container.
pub fn into_archive(
    settings: &Settings,
    name: &str,
    target: &str,
    how: Options,
    input: impl Read + Send,
) -> Result<(), Error> {
    let side = Side::container(settings, name, target, true)?;
    let shown = side.shown(target.as_bytes());
    let no_directory = || Error::new(Kind::Invalid, format!("destination {shown} must be a directory"));
    let path = side.end_of_links(plain(target.as_bytes()))?;
    let directory = match side.open(&path, OFlags::RDONLY | OFlags::DIRECTORY) {
        Err(Errno::NOTDIR) => return Err(no_directory()),
        Err(Errno::NOENT) => return Err(no_directory().hint("it does not exist: make it first")),
        opened => opened.map_err(|errno| side.failed(&path, errno))?,
    };
    // As Docker does: an archive says whose its files are.
    let _ = how;
    side.unpack(&directory, None, input)?;
    Ok(())
}

fn between(
    from: &Side,
    source: &str,
    to: &Side,
    target: &str,
    how: Options,
    owner: (u32, u32),
) -> Result<u64, Error> {
    let found = from.source(source, how.follow)?;
    let (directory, name) = to.target(target, &found)?;
    let owner = (!how.archive).then_some(owner);
    let (reader, writer) = std::io::pipe().map_err(|cause| Failure::new("cp", "a pipe", cause))?;
    let (packed, unpacked) = std::thread::scope(|scope| {
        let packing = scope.spawn(|| found.pack(&name, writer));
        let unpacked = to.unpack(&directory, owner, reader);
        (packing.join(), unpacked)
    });
    let packed = packed.map_err(|_| Failure::because("cp", source, "a thread of it failed"))?;
    match (packed, unpacked) {
        // Where the writer gave up, the packer only sees that nobody reads any more.
        (_, Err(failure)) if failure.cause() != "it ends in the middle" => Err(failure.into()),
        (Err(failure), _) | (Ok(_), Err(failure)) => Err(failure.into()),
        (Ok(bytes), Ok(())) => Ok(bytes),
    }
}

impl Source {
    /// Writes it as an archive whose names begin with `name`.
    fn pack(&self, name: &[u8], output: impl Write + Send) -> Result<u64, Failure> {
        let part = self.file.as_deref().map_or(Part::Whole, Part::File);
        let name = if self.file.is_none() && name == b"." { b"" } else { name };
        layer::archive_part(&self.directory, part, name, output).map(|archived| archived.bytes)
    }
}

/// A path without what only says that a directory is meant: slashes at its end, `/.`.
fn plain(path: &[u8]) -> &[u8] {
    let mut path = path;
    loop {
        path = match path {
            [rest @ .., b'/'] | [rest @ .., b'/', b'.'] if !rest.is_empty() => rest,
            _ => return path,
        };
    }
}

fn means_contents(path: &[u8]) -> bool {
    path == b"." || path.ends_with(b"/.")
}

fn means_directory(path: &[u8]) -> bool {
    path.ends_with(b"/") || means_contents(path)
}

/// The directory's path and the last component; `.` for the directory of a name alone.
fn split(path: &[u8]) -> (&[u8], &[u8]) {
    match path.iter().rposition(|byte| *byte == b'/') {
        Some(0) => (b"/", &path[1..]),
        Some(at) => (&path[..at], &path[at + 1..]),
        None => (b".", path),
    }
}

/// Whether a last component is the name of an entry.
fn is_name(name: &[u8]) -> bool {
    !matches!(name, b"" | b"." | b"..")
}

impl Side {
    fn host() -> Self {
        Self { root: None, prefix: String::new(), shift: 0, _held: None }
    }

    /// A container's root: of one that runs its own view, of another what it will see.
    fn container(settings: &Settings, name: &str, path: &str, writes: bool) -> Result<Self, Error> {
        let store = Store::new(settings);
        sweep(settings, &store)?;
        let (id, record) = store.load(name)?;
        let prefix = format!("{name}:");
        let open = |path: &str| {
            let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
            rustix::fs::openat(CWD, path, flags, Mode::empty())
                .map_err(|errno| Error::from(Failure::new("cp", path, errno)))
        };
        if let Some(pid) = store.joinable_init(&id) {
            let root = open(&format!("/proc/{pid}/root"))?;
            let shift = if writes { first_id(pid, &record) } else { 0 };
            return Ok(Self { root: Some(root), prefix, shift, _held: None });
        }
        on_no_mount(&record, name, path)?;
        let held = match writes {
            true => Some(store.hold(&id).map_err(|_| {
                Error::new(Kind::Invalid, format!("container {name} is being started or removed"))
                    .hint("try again")
            })?),
            false => None,
        };
        let held = held.map(|held| (store.clone(), id.clone(), held));
        let refused = |reason: String, hint: &str| {
            Err(Error::new(Kind::Invalid, format!("container {name} does not run, and {reason}")).hint(hint))
        };
        let disk = record.disk.as_ref().filter(|disk| disk.kind.is_some() && !disk.is_plain_overlay());
        let root = match (disk, &record.request.image, &record.origin) {
            (_, From::Directory(path), _) => open(&path.display().to_string())?,
            (Some(disk), ..) => {
                let copy = store.keep_dir(&id).join("root");
                if !copy.is_dir() {
                    let reason = format!("its disk is {disk}");
                    return refused(reason, "copy while it runs");
                }
                open(&copy.display().to_string())?
            }
            (None, From::Host, _) | (None, From::Named(_), None) => {
                return refused("it is a view of this machine".to_owned(), "copy while it runs");
            }
            (None, ..) => {
                let layers = match crate::image::source(settings, &record)? {
                    storage::Source::Layers(layers) => layers,
                    storage::Source::Directory(path) | storage::Source::DirectoryOverlay(path) => vec![path],
                    storage::Source::Host => Vec::new(),
                };
                if writes {
                    storage::writable(&settings.places(), &id, &layers)?
                } else {
                    let upper = settings.places().upper(&id);
                    let upper = upper.is_dir().then_some(upper);
                    storage::read_only(&layers.into_iter().chain(upper).collect::<Vec<_>>())?
                }
            }
        };
        Ok(Self { root: Some(root), prefix, shift: 0, _held: held })
    }

    fn shown(&self, path: &[u8]) -> String {
        format!("{}{}", self.prefix, layer::shown(path))
    }

    fn failed(&self, path: &[u8], errno: Errno) -> Error {
        let shown = self.shown(path);
        match errno {
            Errno::NOENT if self.root.is_some() => {
                Error::new(Kind::Engine, format!("could not find the file {shown} in the container"))
            }
            Errno::NOENT => Error::new(Kind::Engine, format!("no such file or directory: {shown}")),
            Errno::NOTDIR => Error::new(Kind::Engine, format!("{shown} is not a directory")),
            errno => Failure::new("cp", shown, errno).into(),
        }
    }

    /// Opens a path; of a container in its root, relative ones from there.
    fn open(&self, path: &[u8], flags: OFlags) -> Result<OwnedFd, Errno> {
        let flags = flags | OFlags::CLOEXEC;
        let Some(root) = &self.root else { return rustix::fs::openat(CWD, path, flags, Mode::empty()) };
        let path = if path.is_empty() { b"." } else { path };
        let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
        loop {
            match rustix::fs::openat2(root, path, flags, Mode::empty(), resolve) {
                // A rename somewhere on the machine while `..` was resolved; openat2(2) says to try again.
                Err(Errno::AGAIN | Errno::INTR) => {}
                result => return result,
            }
        }
    }

    fn kind(&self, path: &[u8], follow: bool) -> Result<FileType, Errno> {
        let flags = if follow { OFlags::PATH } else { OFlags::PATH | OFlags::NOFOLLOW };
        let stat = rustix::fs::fstat(self.open(path, flags)?)?;
        Ok(FileType::from_raw_mode(stat.st_mode))
    }

    /// The path that the last component's links lead to; it need not exist.
    fn end_of_links(&self, path: &[u8]) -> Result<Vec<u8>, Error> {
        let mut path = path.to_vec();
        for _ in 0..MAX_LINKS {
            let (parent, name) = split(&path);
            if !is_name(name) {
                return Ok(path);
            }
            let Ok(directory) = self.open(parent, OFlags::PATH | OFlags::DIRECTORY) else { return Ok(path) };
            match rustix::fs::readlinkat(&directory, name, Vec::new()) {
                Err(_) => return Ok(path),
                Ok(target) => {
                    let target = target.into_bytes();
                    path = match target.first() {
                        Some(b'/') => plain(&target).to_vec(),
                        _ => [parent, b"/", plain(&target)].concat(),
                    };
                }
            }
        }
        Err(self.failed(&path, Errno::LOOP))
    }

    /// What a source means.
    fn source(&self, typed: &str, follow: bool) -> Result<Source, Error> {
        let typed = typed.as_bytes();
        let clean = plain(typed);
        let is_meant = means_directory(typed);
        let path = if follow || is_meant { self.end_of_links(clean)? } else { clean.to_vec() };
        let kind = self.kind(&path, is_meant).map_err(|errno| self.failed(clean, errno))?;
        if is_meant && kind != FileType::Directory {
            return Err(self.failed(clean, Errno::NOTDIR));
        }
        // A link that is followed keeps its own name.
        let (_, name) = split(clean);
        let name = if is_name(name) { name.to_vec() } else { Vec::new() };
        if kind == FileType::Directory {
            let flags = OFlags::RDONLY | OFlags::DIRECTORY;
            let directory = self.open(&path, flags).map_err(|errno| self.failed(clean, errno))?;
            let contents = means_contents(typed) || name.is_empty();
            return Ok(Source { directory, file: None, name, contents });
        }
        let (parent, file) = split(&path);
        let flags = OFlags::RDONLY | OFlags::DIRECTORY;
        let directory = self.open(parent, flags).map_err(|errno| self.failed(clean, errno))?;
        Ok(Source { directory, file: Some(file.to_vec()), name, contents: false })
    }

    /// Where a source goes: the directory to unpack into, and what its first name becomes; empty for none.
    fn target(&self, typed: &str, source: &Source) -> Result<(OwnedFd, Vec<u8>), Error> {
        let typed = typed.as_bytes();
        let clean = plain(typed);
        let path = self.end_of_links(clean)?;
        let shown = self.shown(clean);
        let directory = |path: &[u8]| self.open(path, OFlags::RDONLY | OFlags::DIRECTORY);
        let is_directory = source.file.is_none();
        match self.kind(&path, false) {
            Ok(FileType::Directory) => {
                let into = directory(&path).map_err(|errno| self.failed(clean, errno))?;
                let name = if source.contents { Vec::new() } else { source.name.clone() };
                return Ok((into, name));
            }
            Ok(_) if is_directory => {
                return Err(Error::new(Kind::Engine, format!("cannot copy a directory to the file {shown}"))
                    .hint("name a directory, or what does not exist yet"));
            }
            Ok(_) if means_directory(typed) => return Err(self.failed(clean, Errno::NOTDIR)),
            Ok(_) => {}
            Err(Errno::NOENT) if !is_directory && means_directory(typed) => {
                return Err(Error::new(Kind::Engine, format!("no such directory: {shown}"))
                    .hint("a slash at the end means a directory that is there"));
            }
            Err(Errno::NOENT) => {}
            Err(errno) => return Err(self.failed(clean, errno)),
        }
        let (parent, name) = split(&path);
        let into = directory(parent).map_err(|errno| self.failed(parent, errno))?;
        Ok((into, name.to_vec()))
    }

    /// Unpacks an archive into an open directory.
    fn unpack(
        &self,
        directory: &OwnedFd,
        owner: Option<(u32, u32)>,
        input: impl Read + Send,
    ) -> Result<(), Failure> {
        let shift = self.shift;
        let owner = owner.map(|(user, group)| (user.saturating_add(shift), group.saturating_add(shift)));
        let options = layer::Options { onto: Onto::Files { owner, shift }, ..layer::Options::default() };
        if shift == 0 {
            return layer::apply(input, directory, &options).map(drop);
        }
        // Root of the host has no place in such a container's files: whoever makes one there is its root.
        let work = || {
            sys::process::set_file_ids(shift, shift)
                .map_err(|cause| Failure::new("cp", "the container's root user", cause))?;
            layer::apply(input, directory, &options).map(drop)
        };
        let done = std::thread::scope(|scope| scope.spawn(work).join());
        done.unwrap_or_else(|_| Err(Failure::because("cp", "the archive", "a thread of it failed")))
    }
}

impl Drop for Side {
    fn drop(&mut self) {
        // Its root first: it is a mount of what the next start mounts.
        drop(self.root.take());
        if let Some((store, id, _)) = &self._held {
            // What cannot be taken away is taken by the next command's sweep.
            let _ = store.forget(id);
        }
    }
}

/// What root of a container with its own user namespace is outside, user_namespaces(7).
fn first_id(pid: i32, record: &Record) -> u32 {
    if record.request.namespaces.user == UserNamespace::Host {
        return 0;
    }
    let map = std::fs::read_to_string(format!("/proc/{pid}/uid_map")).unwrap_or_default();
    map.split_ascii_whitespace().nth(1).and_then(|first| first.parse().ok()).unwrap_or(0)
}

/// What is mounted in a container is there only while it runs.
fn on_no_mount(record: &Record, name: &str, path: &str) -> Result<(), Error> {
    let mut parts: Vec<&str> = Vec::new();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." => drop(parts.pop()),
            part => parts.push(part),
        }
    }
    let path = std::path::PathBuf::from(format!("/{}", parts.join("/")));
    for mount in &record.request.storage.mounts {
        let target = mount.target();
        let source = match mount {
            Mount::Bind { source, .. } => Some(source),
            Mount::Tmpfs { .. } | Mount::Volume(_) => None,
        };
        if path.starts_with(target) {
            let message = format!(
                "container {name} does not run, and {} is mounted only while it does",
                target.display()
            );
            let hint = source.map_or_else(
                || format!("start it first: minidocker start {name}"),
                |source| format!("start it first, or copy to or from {} itself", source.display()),
            );
            return Err(Error::new(Kind::Invalid, message).hint(hint));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_taken_apart() {
        for (path, without) in [
            ("/a/", "/a"),
            ("/a/.", "/a"),
            ("a//./", "a"),
            ("/", "/"),
            ("/.", "/."),
            (".", "."),
            ("a.", "a."),
        ] {
            assert_eq!(plain(path.as_bytes()), without.as_bytes(), "{path}");
        }
        for (path, parent, name) in
            [("/a", "/", "a"), ("a", ".", "a"), ("a/b", "a", "b"), ("/a/b", "/a", "b")]
        {
            assert_eq!(split(path.as_bytes()), (parent.as_bytes(), name.as_bytes()), "{path}");
        }
        assert!(means_contents(b"a/.") && means_contents(b".") && !means_contents(b"a."));
        assert!(means_directory(b"a/") && !means_directory(b"a"));
    }
}
