//! `--squash`: the layers of a build as one, in an overlay's own terms.

use std::collections::BTreeSet;
use std::os::fd::OwnedFd;
use std::path::Path;

use rustix::fs::{AtFlags, CWD, Dir, FileType, Gid, Mode, OFlags, Stat, Uid, XattrFlags};
use rustix::io::Errno;
use step::Failure;

use crate::builder::{Builder, Stage};
use crate::config::History;
use crate::error::Error;
use crate::tree::stack::{beside, open_directory};
use crate::tree::write::{attributes, set_attribute, times_of};

/// Makes one layer of all that the build added.
pub(crate) fn squash(builder: &Builder<'_>, stage: &mut Stage) -> Result<(), Error> {
    let new = stage.layers.split_off(stage.inherited);
    let scratch = builder.shelf.scratch(None)?;
    let files = scratch.files();
    let failed = |errno| Failure::new("build.squash", files.display().to_string(), errno);
    let opaque = if builder.shelf.userxattr { "user.overlay.opaque" } else { "trusted.overlay.opaque" };
    let open = |path: &Path| {
        rustix::fs::openat(CWD, path, OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())
    };
    let parts = new
        .iter()
        .rev()
        .map(|layer| open(&layer.directory))
        .collect::<Result<Vec<_>, _>>()
        .map_err(failed)?;
    let to = open(&files).map_err(failed)?;
    Merge { opaque }.directory(&parts, &to).map_err(failed)?;
    let layer = builder.shelf.commit(scratch)?;
    stage.layers.push(layer);
    let history = &mut stage.image.history;
    let mut left = stage.inherited;
    for entry in history.iter_mut().filter(|entry| !entry.empty_layer) {
        match left {
            0 => entry.empty_layer = true,
            _ => left -= 1,
        }
    }
    let created = stage.image.last_created();
    let comment = format!("squashed {} layers", new.len());
    stage.image.history.push(History { created, comment, ..History::default() });
    Ok(())
}

struct Merge {
    opaque: &'static str,
}

impl Merge {
    /// Merges directories, the uppermost first, into an empty one.
    fn directory(&self, parts: &[OwnedFd], to: &OwnedFd) -> Result<(), Errno> {
        let mut names = BTreeSet::new();
        for part in parts {
            for entry in Dir::read_from(part)? {
                let entry = entry?;
                let name = entry.file_name().to_bytes();
                if name != b"." && name != b".." {
                    names.insert(name.to_vec());
                }
            }
        }
        names.iter().try_for_each(|name| self.name(parts, name, to))?;
        let Some(top) = parts.first() else { return Ok(()) };
        let stat = rustix::fs::fstat(top)?;
        rustix::fs::fchown(to, Some(Uid::from_raw(stat.st_uid)), Some(Gid::from_raw(stat.st_gid)))?;
        rustix::fs::fchmod(to, Mode::from_raw_mode(stat.st_mode & 0o7777))?;
        for (name, value) in attributes(&beside(top, b"."), true)? {
            set_attribute(&beside(to, b"."), &name, &value)?;
        }
        rustix::fs::futimens(to, &times_of(&stat))
    }

    fn name(&self, parts: &[OwnedFd], name: &[u8], to: &OwnedFd) -> Result<(), Errno> {
        let (mut below, mut hides) = (Vec::new(), false);
        for part in parts {
            let stat = match rustix::fs::statat(part, name, AtFlags::SYMLINK_NOFOLLOW) {
                Err(Errno::NOENT) => continue,
                stat => stat?,
            };
            if FileType::from_raw_mode(stat.st_mode) != FileType::Directory {
                if below.is_empty() {
                    return file(part, name, &stat, to);
                }
                hides = true;
                break;
            }
            let directory = open_directory(part, name)?;
            let mut value = [0; 1];
            hides = rustix::fs::fgetxattr(&directory, self.opaque, &mut value[..]).is_ok() && value == *b"y";
            below.push(directory);
            if hides {
                break;
            }
        }
        rustix::fs::mkdirat(to, name, Mode::RWXU)?;
        let made = open_directory(to, name)?;
        if hides {
            rustix::fs::fsetxattr(&made, self.opaque, b"y", XattrFlags::empty())?;
        }
        self.directory(&below, &made)
    }
}

/// A file by a further name: layers do not change. What hides is made anew.
fn file(part: &OwnedFd, name: &[u8], stat: &Stat, to: &OwnedFd) -> Result<(), Errno> {
    if FileType::from_raw_mode(stat.st_mode) == FileType::CharacterDevice && stat.st_rdev == 0 {
        return rustix::fs::mknodat(to, name, FileType::CharacterDevice, Mode::empty(), 0);
    }
    rustix::fs::linkat(part, name, to, name, AtFlags::empty())
}
