//! What a RUN leaves behind of its own mounts: empty directories and files that were made to mount something on.

use std::os::fd::OwnedFd;
use std::path::Path;

use rustix::fs::{AtFlags, CWD, FileType, Mode, OFlags};
use rustix::io::Errno;

use super::stack::{Found, Stack, open_directory};

/// Names that were not there before, each with what leads to it.
#[derive(Debug, Default)]
pub(crate) struct Stubs(Vec<Vec<Vec<u8>>>);

impl Stubs {
    /// Notes which of `targets`, and of the directories above them, the tree has not.
    pub(crate) fn note<'t>(stack: &Stack, targets: impl IntoIterator<Item = &'t str>) -> Self {
        let mut all = Vec::new();
        for target in targets {
            let Ok(resolved) = stack.resolve(target.as_bytes(), true) else { continue };
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
