//! Through a tree, what is left out being left out: one walk for the digest of sources and for copying them.

use rustix::fs::{FileType, Stat};
use step::Failure;

use super::failed;
use super::pick::Picked;
use super::stack::{Dir, Entry, Found, Stack};
use crate::ignore::Ignore;

/// What of a tree no COPY sees.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Filter<'f> {
    /// `.dockerignore`, by paths from the context's root.
    pub(crate) ignore: Option<&'f Ignore>,
    /// `--exclude`, by paths from a source.
    pub(crate) exclude: Option<&'f Ignore>,
}

impl Filter<'_> {
    /// Whether a path is left out, and whether something below it may stay.
    fn judge(&self, path: &[u8], relative: &[u8]) -> (bool, bool) {
        let judge = |ignore: Option<&Ignore>, path: &[u8]| match ignore {
            Some(ignore) if !ignore.is_empty() && !path.is_empty() => {
                let path = String::from_utf8_lossy(path);
                let excluded = ignore.excludes(&path);
                (excluded, !excluded || ignore.may_include_below(&path))
            }
            _ => (false, true),
        };
        let (a, b) = (judge(self.ignore, path), judge(self.exclude, relative));
        (a.0 || b.0, a.1 && b.1)
    }

    /// Whether a path is left out.
    pub(crate) fn excludes(&self, path: &[u8], relative: &[u8]) -> bool {
        self.judge(path, relative).0
    }
}

/// One thing on the way.
pub(crate) enum Item<'i> {
    Dir(&'i Dir),
    File(&'i Entry),
}

impl Item<'_> {
    pub(crate) fn stat(&self) -> Result<Stat, rustix::io::Errno> {
        match self {
            Self::Dir(directory) => directory.stat(),
            Self::File(entry) => Ok(entry.stat),
        }
    }
}

/// Gets the path of a thing from its source, and the thing.
pub(crate) type Visit<'v> = dyn FnMut(&[u8], Item<'_>) -> Result<(), Failure> + 'v;

/// Goes through a source: the source itself first, by an empty name, each directory before what is in it, names in
/// order. Sockets are passed over. `visit` gets the path from the source.
pub(crate) fn walk(
    stack: &Stack,
    picked: &Picked,
    filter: Filter<'_>,
    visit: &mut Visit<'_>,
) -> Result<(), Failure> {
    match &picked.found {
        Found::Nothing => Ok(()),
        Found::File(entry) => visit(b"", Item::File(entry)),
        Found::Dir(directory) => {
            visit(b"", Item::Dir(directory))?;
            let mut walk = Walk { stack, filter, visit, waiting: Vec::new() };
            walk.directory(directory, &picked.path, b"")
        }
    }
}

struct Walk<'w, 'v> {
    stack: &'w Stack,
    filter: Filter<'w>,
    visit: &'w mut Visit<'v>,
    /// Directories that are left out unless something in them stays.
    waiting: Vec<(Vec<u8>, Dir)>,
}

impl Walk<'_, '_> {
    fn directory(&mut self, directory: &Dir, path: &[u8], relative: &[u8]) -> Result<(), Failure> {
        for name in self.stack.list(directory).map_err(|errno| failed(path, errno))? {
            let (path, relative) = (join(path, &name), join(relative, &name));
            let (excluded, deeper) = self.filter.judge(&path, &relative);
            if excluded && !deeper {
                continue;
            }
            match self.stack.lookup(directory, &name).map_err(|errno| failed(&path, errno))? {
                Found::Nothing => {}
                Found::File(entry) if excluded || entry.kind() == FileType::Socket => {}
                Found::File(entry) => {
                    self.flush()?;
                    (self.visit)(&relative, Item::File(&entry))?;
                }
                Found::Dir(below) => {
                    let depth = self.waiting.len();
                    self.waiting.push((relative.clone(), below.clone()));
                    if !excluded {
                        self.flush()?;
                    }
                    self.directory(&below, &path, &relative)?;
                    self.waiting.truncate(depth);
                }
            }
        }
        Ok(())
    }

    fn flush(&mut self) -> Result<(), Failure> {
        for (relative, directory) in std::mem::take(&mut self.waiting) {
            (self.visit)(&relative, Item::Dir(&directory))?;
        }
        Ok(())
    }
}

/// A path and a name.
pub(crate) fn join(path: &[u8], name: &[u8]) -> Vec<u8> {
    if path.is_empty() { name.to_vec() } else { [path, b"/", name].concat() }
}
