//! Files and directories of the state, written whole or not at all.

use std::path::Path;

use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use serde::{Deserialize, Serialize};
use step::Failure;

pub(super) fn failed(path: &Path) -> impl Fn(Errno) -> Failure {
    move |errno| {
        let failure = Failure::new("state", path.display().to_string(), errno);
        match errno {
            Errno::ACCESS | Errno::PERM => failure.hint("minidocker must run as root"),
            Errno::NOSPC => failure.hint("the disk is full: free some space, or choose another with --root"),
            Errno::ROFS => failure.hint("choose a writable place with --root and --run-root"),
            _ => failure,
        }
    }
}

/// Makes a directory of the state's and its parents: the way through is open for all, the lists are closed.
pub(crate) fn make_dirs(dir: &Path) -> Result<(), Failure> {
    make_dirs_with(dir, Mode::from_raw_mode(0o711))
}

/// Makes a directory and its parents.
pub(crate) fn make_dirs_with(dir: &Path, mode: Mode) -> Result<(), Failure> {
    match rustix::fs::mkdir(dir, mode) {
        Err(Errno::NOENT) => {
            if let Some(parent) = dir.parent() {
                make_dirs_with(parent, mode)?;
            }
            match rustix::fs::mkdir(dir, mode) {
                Err(Errno::EXIST) => Ok(()),
                made => made.map_err(failed(dir)),
            }
        }
        Ok(()) | Err(Errno::EXIST) => Ok(()),
        Err(errno) => Err(failed(dir)(errno)),
    }
}

/// What a symbolic link says; none where there is no such link.
pub(crate) fn read_link(path: &Path) -> Option<String> {
    rustix::fs::readlink(path, Vec::new()).ok()?.into_string().ok()
}

pub(super) fn directories(dir: &Path) -> Result<Vec<String>, Failure> {
    let entries = match std::fs::read_dir(dir) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries.map_err(|error| {
            let errno = error.raw_os_error().map_or(Errno::IO, Errno::from_raw_os_error);
            failed(dir)(errno)
        })?,
    };
    let names = entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
    Ok(names.filter(|name| is_id(name)).collect())
}

/// Whether a name is an id: 64 hexadecimal digits.
pub(crate) fn is_id(name: &str) -> bool {
    name.len() == 64 && name.bytes().all(|digit| digit.is_ascii_hexdigit())
}

/// Writes a file whole: beside it, then over it. `durable` survives a power cut.
pub(super) fn write_json(
    dir: &Path,
    name: &str,
    value: &impl Serialize,
    durable: bool,
) -> Result<(), Failure> {
    let (path, new) = (dir.join(name), dir.join(format!("{name}.new")));
    let bytes = serde_json::to_vec(value)
        .map_err(|error| Failure::new("state", path.display().to_string(), error))?;
    let written = write_file(&new, &bytes, durable)
        .and_then(|()| rustix::fs::rename(&new, &path).map_err(failed(&path)));
    if written.is_err() {
        // Half of it takes room on a full disk, and is of use to nobody.
        let _ = rustix::fs::unlink(&new);
    }
    written
}

/// Writes a file of the state's.
pub(crate) fn write_file(path: &Path, bytes: &[u8], durable: bool) -> Result<(), Failure> {
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::TRUNC | OFlags::CLOEXEC | OFlags::NOFOLLOW;
    let file = rustix::fs::open(path, flags, Mode::from_raw_mode(0o644)).map_err(failed(path))?;
    let mut rest = bytes;
    while !rest.is_empty() {
        let written = rustix::io::write(&file, rest).map_err(failed(path))?;
        rest = &rest[written..];
    }
    if durable { rustix::fs::fdatasync(&file).map_err(failed(path)) } else { Ok(()) }
}

pub(super) fn read_json<T: for<'d> Deserialize<'d>>(path: &Path) -> Result<Option<T>, Failure> {
    let bytes = match std::fs::read(path) {
        Err(error)
            if matches!(error.kind(), std::io::ErrorKind::NotFound | std::io::ErrorKind::NotADirectory) =>
        {
            return Ok(None);
        }
        bytes => bytes.map_err(|error| Failure::new("state", path.display().to_string(), error))?,
    };
    serde_json::from_slice(&bytes).map(Some).map_err(|error| {
        Failure::because("state", path.display().to_string(), format!("is damaged: {error}"))
            .hint("remove the container's directory if its content is of no use")
    })
}
