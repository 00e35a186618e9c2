//! The digest of what a COPY would write: names, kinds, permissions, owners, targets of links, attributes, content.
//! Not times: it is the same after touch(1) and in another checkout.

use oci::{Digest, Hasher};
use rustix::fs::FileType;
use step::Failure;

use super::failed;
use super::memo::Memo;
use super::mode::Chmod;
use super::pick::Picked;
use super::stack::{Stack, beside};
use super::walk::{Filter, Item, join, walk};
use super::write::attributes;

/// What of a source does not count, for it is not written.
#[derive(Debug, Clone, Copy)]
pub(crate) struct View<'v> {
    /// Owners stay as they are.
    pub(crate) owners: bool,
    /// Permissions become these.
    pub(crate) chmod: Option<&'v Chmod>,
    /// The directory above a source's content is made too.
    pub(crate) top: bool,
}

/// The digest of one source.
pub(crate) fn digest(
    stack: &Stack,
    picked: &Picked,
    filter: Filter<'_>,
    view: View<'_>,
    memo: &Memo,
) -> Result<Digest, Failure> {
    let mut hasher = Hasher::default();
    let mut add = |bytes: &[u8]| {
        hasher.update(&(bytes.len() as u64).to_le_bytes());
        hasher.update(bytes);
    };
    walk(stack, picked, filter, &mut |relative, item| {
        let path = join(&picked.path, relative);
        let error = |errno| failed(&path, errno);
        let stat = item.stat().map_err(error)?;
        let kind = FileType::from_raw_mode(stat.st_mode);
        let is_directory = kind == FileType::Directory;
        add(relative);
        add(&(stat.st_mode & 0o170_000).to_le_bytes());
        if is_directory && relative.is_empty() && !view.top {
            return Ok(());
        }
        let mode = stat.st_mode & 0o7777;
        let mode = view.chmod.map_or(mode, |chmod| chmod.apply(mode, is_directory));
        if kind != FileType::Symlink {
            add(&mode.to_le_bytes());
        }
        if view.owners {
            add(&stat.st_uid.to_le_bytes());
            add(&stat.st_gid.to_le_bytes());
        }
        let place = match &item {
            Item::Dir(directory) => beside(directory.top(), b"."),
            Item::File(entry) => entry.path(),
        };
        for (name, value) in attributes(&place, view.owners).map_err(error)? {
            add(&name);
            add(&value);
        }
        let Item::File(entry) = item else { return Ok(()) };
        match kind {
            FileType::RegularFile => add(memo.digest(entry.open().map_err(error)?).map_err(error)?.bytes()),
            FileType::Symlink => {
                let target =
                    rustix::fs::readlinkat(&*entry.parent, &*entry.name, Vec::new()).map_err(error)?;
                add(target.as_bytes());
            }
            _ => add(&stat.st_rdev.to_le_bytes()),
        }
        Ok(())
    })?;
    Ok(hasher.finish())
}
