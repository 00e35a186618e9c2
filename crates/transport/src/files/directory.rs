//! A directory, seen without what lies outside of it.

use std::fs::File;
use std::os::fd::OwnedFd;
use std::path::Path;

use rustix::fs::{CWD, FileType, Mode, OFlags, ResolveFlags};
use rustix::io::Errno;
use step::Failure;

use super::{Content, Files, STEP, at, wrong};

/// A directory with contents in files.
#[derive(Debug)]
pub(crate) struct Directory {
    root: OwnedFd,
    place: String,
}

impl Directory {
    pub(crate) fn open(path: &Path) -> Result<Self, Failure> {
        let place = path.display().to_string();
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let root = rustix::fs::openat(CWD, path, flags, Mode::empty())
            .map_err(|errno| Failure::new(STEP, place.as_str(), errno))?;
        Ok(Self { root, place })
    }
}

impl Files for Directory {
    fn place(&self) -> &str {
        &self.place
    }

    fn open(&self, name: &str) -> Result<Option<Content<'_>>, Failure> {
        // A pipe in a file's place must not be waited for.
        let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_MAGICLINKS;
        let failed = |errno: Errno| Failure::new(STEP, at(&self.place, name), errno);
        let file = match rustix::fs::openat2(&self.root, name, flags, Mode::empty(), resolve) {
            Err(Errno::NOENT | Errno::NOTDIR) => return Ok(None),
            Err(Errno::XDEV) => return Err(wrong(self, name, "leads out of the directory")),
            opened => opened.map_err(failed)?,
        };
        let stat = rustix::fs::fstat(&file).map_err(failed)?;
        if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
            return Err(wrong(self, name, "is no file"));
        }
        Ok(Some(Content { size: stat.st_size as u64, reader: Box::new(File::from(file)) }))
    }
}
