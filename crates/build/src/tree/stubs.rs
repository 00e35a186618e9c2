//! What a RUN leaves behind of its own mounts: empty directories and files that were made to mount something on.

use std::collections::BTreeSet;
use std::os::fd::{AsRawFd as _, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, CWD, FileType, Mode, OFlags};
use rustix::io::Errno;

use step::Failure;

use super::stack::{Dir, Found, Stack, open_directory};
use super::write::attributes;
use crate::host::STUBS;

/// What a container's own mounts ([`STUBS`] and `targets`, absolute paths of the image) have left in `upper`: paths in it
/// of files and directories that the layers below (`lower`, the lowest first) have not and that are empty, and of
/// directories that are only there to hold such.
///
/// # Errors
/// Step `build.run`: directories that cannot be read.
pub fn mount_points<'t>(
    lower: &[PathBuf],
    userxattr: bool,
    upper: &Path,
    targets: impl IntoIterator<Item = &'t [u8]>,
) -> Result<BTreeSet<Vec<u8>>, Failure> {
    let failed = |path: &Path, errno| Failure::new("build.run", path.display().to_string(), errno);
    let stack = Stack::open(lower, userxattr).map_err(|(path, errno)| failed(&path, errno))?;
    let own = Stack::plain(upper).map_err(|errno| failed(upper, errno))?;
    let all = STUBS.into_iter().map(str::as_bytes).chain(targets);
    let stubs = Stubs::note_bytes(&stack, all);
    let mut empty = BTreeSet::new();
    let mut holders = BTreeSet::new();
    for path in &stubs.0 {
        let key = path.join(&b'/');
        if is_bare(&own, path, &empty).map_err(|errno| failed(upper, errno))? {
            empty.insert(key);
            holders.extend((1..path.len()).map(|depth| path[..depth].to_vec()));
        }
    }
    // The deepest first, so that those above see what is left out.
    let mut holders: Vec<_> = holders.into_iter().collect();
    holders.sort_by_key(|path| std::cmp::Reverse(path.len()));
    for path in holders {
        let same = is_bare(&own, &path, &empty).and_then(|bare| Ok(bare && is_same(&stack, &own, &path)?));
        if same.map_err(|errno| failed(upper, errno))? {
            empty.insert(path.join(&b'/'));
        }
    }
    Ok(empty)
}

/// Whether there is an empty file, or a directory with nothing but what is known to be left out.
fn is_bare(tree: &Stack, path: &[Vec<u8>], left_out: &BTreeSet<Vec<u8>>) -> Result<bool, Errno> {
    let key = path.join(&b'/');
    Ok(match tree.resolve(&key, false)?.found {
        Found::Nothing => false,
        Found::File(entry) => entry.kind() == FileType::RegularFile && entry.stat.st_size == 0,
        Found::Dir(directory) => {
            let names = tree.list(&directory)?;
            names.iter().all(|name| left_out.contains(&[&key, &b"/"[..], name].concat()))
        }
    })
}

/// Whether a directory was copied up for nothing: it is there below, with the same owner, permissions and attributes, and
/// hides nothing.
fn is_same(below: &Stack, above: &Stack, path: &[Vec<u8>]) -> Result<bool, Errno> {
    let key = path.join(&b'/');
    let (Found::Dir(old), Found::Dir(new)) =
        (below.resolve(&key, false)?.found, above.resolve(&key, false)?.found)
    else {
        return Ok(false);
    };
    let facts = |directory: &Dir| -> Result<_, Errno> {
        let stat = directory.stat()?;
        let path = format!("/proc/self/fd/{}/.", directory.top().as_raw_fd());
        Ok((stat.st_mode, stat.st_uid, stat.st_gid, attributes(path.as_bytes(), true)?))
    };
    let mut value = [0; 1];
    let opaque = ["trusted.overlay.opaque", "user.overlay.opaque"]
        .iter()
        .any(|name| rustix::fs::fgetxattr(new.top(), *name, &mut value[..]).is_ok_and(|_| value == *b"y"));
    Ok(!opaque && facts(&old)? == facts(&new)?)
}

/// Names that were not there before, each with what leads to it.
#[derive(Debug, Default)]
pub(crate) struct Stubs(Vec<Vec<Vec<u8>>>);

impl Stubs {
    /// Notes which of `targets`, and of the directories above them, the tree has not.
    pub(crate) fn note<'t>(stack: &Stack, targets: impl IntoIterator<Item = &'t str>) -> Self {
        Self::note_bytes(stack, targets.into_iter().map(str::as_bytes))
    }

    fn note_bytes<'t>(stack: &Stack, targets: impl IntoIterator<Item = &'t [u8]>) -> Self {
        let mut all = Vec::new();
        for target in targets {
            let Ok(resolved) = stack.resolve(target, true) else { continue };
            if !matches!(resolved.found, Found::Nothing) {
                continue;
            }
            for depth in (1..=resolved.components.len()).rev() {
                let path = resolved.components[..depth].to_vec();
                match stack.resolve(&path.join(&b'/'), false) {
                    Ok(there) if matches!(there.found, Found::Nothing) => all.push(path),
                    _ => break,
                }
            }
        }
        // The deepest first.
        all.sort_by_key(|path| std::cmp::Reverse(path.len()));
        Self(all)
    }

    /// Removes those of them that are in `upper` and empty.
    pub(crate) fn remove(&self, upper: &Path) -> Result<(), Errno> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let top = rustix::fs::openat(CWD, upper, flags, Mode::empty())?;
        for path in &self.0 {
            let Some((name, above)) = path.split_last() else { continue };
            match remove(&top, above, name) {
                Ok(()) | Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP | Errno::NOTEMPTY | Errno::EXIST) => {
                }
                Err(errno) => return Err(errno),
            }
        }
        Ok(())
    }
}

fn remove(top: &OwnedFd, above: &[Vec<u8>], name: &[u8]) -> Result<(), Errno> {
    let mut here = top.try_clone().map_err(|_| Errno::MFILE)?;
    for name in above {
        here = open_directory(&here, name)?;
    }
    let before = rustix::fs::fstat(&here)?;
    let stat = rustix::fs::statat(&here, name, AtFlags::SYMLINK_NOFOLLOW)?;
    match FileType::from_raw_mode(stat.st_mode) {
        FileType::Directory => rustix::fs::unlinkat(&here, name, AtFlags::REMOVEDIR)?,
        FileType::RegularFile if stat.st_size == 0 => rustix::fs::unlinkat(&here, name, AtFlags::empty())?,
        _ => return Ok(()),
    }
    rustix::fs::futimens(&here, &super::write::times_of(&before))
}
