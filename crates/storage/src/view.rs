//! Files of a stack of layers, read as an overlay would show them, before there is a mount.

use std::collections::VecDeque;
use std::io::Read as _;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use rustix::fs::{AtFlags, CWD, FileType, Mode, OFlags, Stat};
use rustix::io::Errno;

/// More links than this lead in a circle (path_resolution(7)).
const MAX_LINKS: usize = 40;

/// One directory of the view: those that it is made of, the uppermost first.
type Merged = Rc<Vec<OwnedFd>>;

/// What a name of a directory stands for.
enum Found {
    Nothing,
    Directory(Merged),
    Link(Vec<u8>),
    /// A file, and in which directory it lies.
    File(usize),
}

/// A file's content as the overlay of `layers` would show it, the uppermost first; links are followed inside of it. None
/// if there is no such file, or it is none, or it has more than `limit` bytes, or the layers cannot be read.
///
/// Layers are what a stranger made: nothing outside of them is ever looked at, and no device or pipe is opened.
pub fn read_file(layers: &[PathBuf], path: &Path, limit: u64) -> Option<Vec<u8>> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let open = |layer: &PathBuf| rustix::fs::openat(CWD, layer, flags, Mode::empty()).ok();
    let root: Merged = Rc::new(layers.iter().map(open).collect::<Option<Vec<_>>>()?);
    let mut way = vec![Rc::clone(&root)];
    let mut rest: VecDeque<Vec<u8>> = components(path.as_os_str().as_bytes()).collect();
    let mut links = 0;
    while let Some(name) = rest.pop_front() {
        if name == b".." {
            if way.len() > 1 {
                way.pop();
            }
            continue;
        }
        let here = Rc::clone(way.last()?);
        match look_up(&here, &name).ok()? {
            Found::Nothing => return None,
            Found::Directory(merged) => way.push(merged),
            Found::Link(target) => {
                links += 1;
                if links > MAX_LINKS {
                    return None;
                }
                if target.starts_with(b"/") {
                    way.truncate(1);
                }
                for component in components(&target).collect::<Vec<_>>().into_iter().rev() {
                    rest.push_front(component);
                }
            }
            Found::File(layer) if rest.is_empty() => return content(&here[layer], &name, limit),
            Found::File(_) => return None,
        }
    }
    None
}

fn components(path: &[u8]) -> impl Iterator<Item = Vec<u8>> + '_ {
    path.split(|byte| *byte == b'/').filter(|name| !name.is_empty() && *name != b".").map(<[u8]>::to_vec)
}

fn look_up(directories: &[OwnedFd], name: &[u8]) -> Result<Found, Errno> {
    let mut merged = Vec::new();
    for (number, directory) in directories.iter().enumerate() {
        let stat = match rustix::fs::statat(directory, name, AtFlags::SYMLINK_NOFOLLOW) {
            Err(Errno::NOENT | Errno::NOTDIR) => continue,
            stat => stat?,
        };
        match FileType::from_raw_mode(stat.st_mode) {
            FileType::Directory => {
                let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
                let lower = rustix::fs::openat(directory, name, flags, Mode::empty())?;
                let opaque = is_opaque(&lower);
                merged.push(lower);
                if opaque {
                    break;
                }
            }
            // What lies below a directory and is none is hidden by it.
            _ if !merged.is_empty() => break,
            _ if is_whiteout(&stat) => return Ok(Found::Nothing),
            FileType::Symlink => {
                let target = rustix::fs::readlinkat(directory, name, Vec::new())?;
                return Ok(Found::Link(target.into_bytes()));
            }
            _ => return Ok(Found::File(number)),
        }
    }
    Ok(if merged.is_empty() { Found::Nothing } else { Found::Directory(Rc::new(merged)) })
}

/// Documentation/filesystems/overlayfs.rst, "whiteouts and opaque directories".
fn is_whiteout(stat: &Stat) -> bool {
    FileType::from_raw_mode(stat.st_mode) == FileType::CharacterDevice && stat.st_rdev == 0
}

fn is_opaque(directory: &OwnedFd) -> bool {
    ["trusted.overlay.opaque", "user.overlay.opaque"].into_iter().any(|name| {
        let mut value = [0; 8];
        matches!(rustix::fs::fgetxattr(directory, name, &mut value), Ok(1) if value[0] == b'y')
    })
}

fn content(directory: &OwnedFd, name: &[u8], limit: u64) -> Option<Vec<u8>> {
    // O_NONBLOCK: a pipe in this place must not hold us up.
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let stat = rustix::fs::statat(directory, name, AtFlags::SYMLINK_NOFOLLOW).ok()?;
    if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile || stat.st_size as u64 > limit {
        return None;
    }
    let file = rustix::fs::openat(directory, name, flags, Mode::empty()).ok()?;
    let mut bytes = Vec::new();
    std::fs::File::from(file).take(limit).read_to_end(&mut bytes).ok()?;
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;

    use super::*;
    use crate::trial::Scratch;

    #[test]
    fn a_stack_is_read_as_the_overlay_shows_it() {
        let scratch = Scratch::new("view");
        let at = |path: &str| scratch.path.join(path);
        let write = |path: &str, text: &str| {
            fs::create_dir_all(at(path).parent().unwrap()).unwrap();
            fs::write(at(path), text).unwrap();
        };
        let hide = |path: &str| {
            fs::create_dir_all(at(path).parent().unwrap()).unwrap();
            let mode = Mode::from_raw_mode(0);
            rustix::fs::mknodat(CWD, at(path), FileType::CharacterDevice, mode, 0).unwrap();
        };
        write("low/etc/passwd", "low");
        write("low/etc/group", "low group");
        write("low/opt/a", "low a");
        write("low/gone/file", "hidden");
        write("top/etc/passwd", "top");
        hide("top/gone");
        write("top/opt/b", "top b");
        rustix::fs::setxattr(at("top/opt"), "trusted.overlay.opaque", b"y", rustix::fs::XattrFlags::empty())
            .unwrap();
        write("top/file", "plain");
        write("low/file/below", "hidden by a file");
        symlink("etc", at("top/link")).unwrap();
        symlink("/link/../link/passwd", at("low/far")).unwrap();
        symlink("../../../../../../../../etc/passwd", at("low/out")).unwrap();
        symlink("circle", at("top/circle")).unwrap();
        let outside = at("secret");
        fs::write(&outside, "secret").unwrap();
        symlink(&outside, at("top/absolute")).unwrap();
        rustix::fs::mknodat(CWD, at("top/pipe"), FileType::Fifo, Mode::from_raw_mode(0o600), 0).unwrap();

        let layers = [at("top"), at("low")];
        let read = |path: &str| {
            read_file(&layers, Path::new(path), 1 << 20).map(|bytes| String::from_utf8(bytes).unwrap())
        };
        for (path, content) in [
            ("etc/passwd", Some("top")),
            ("/etc/group", Some("low group")),
            ("opt/b", Some("top b")),
            ("opt/a", None),
            ("gone/file", None),
            ("file", Some("plain")),
            ("file/below", None),
            ("link/group", Some("low group")),
            ("far", Some("top")),
            ("out", Some("top")),
            ("circle", None),
            ("absolute", None),
            ("pipe", None),
            ("etc", None),
            ("", None),
            ("../secret", None),
        ] {
            assert_eq!(read(path).as_deref(), content, "{path}");
        }
        assert_eq!(read_file(&layers, Path::new("etc/group"), 3), None);
        assert_eq!(read_file(&[at("missing")], Path::new("etc/group"), 3), None);
    }
}
