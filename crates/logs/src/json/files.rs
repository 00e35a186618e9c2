//! The names of json-file's files, and what tells one of them from another.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::{FileExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};

use flate2::Crc;

/// How much of a file's beginning tells it from others.
const BEGINNING: usize = 256;

#[derive(Debug, Clone)]
pub(super) struct Names {
    base: PathBuf,
}

impl Names {
    pub(super) fn new(dir: &Path, id: &str) -> Self {
        Self { base: dir.join(format!("{id}-json.log")) }
    }

    /// The file that is written to.
    pub(super) fn active(&self) -> &Path {
        &self.base
    }

    /// An older one; 1 is the youngest of them.
    pub(super) fn plain(&self, index: u32) -> PathBuf {
        self.with(&format!(".{index}"))
    }

    pub(super) fn packed(&self, index: u32) -> PathBuf {
        self.with(&format!(".{index}.gz"))
    }

    /// The next active one, before it is that.
    pub(super) fn next(&self) -> PathBuf {
        self.with(".new")
    }

    /// What a child compresses to.
    pub(super) fn unready(&self) -> PathBuf {
        self.with(".gz.new")
    }

    /// The indices of the older files that are there, ascending.
    pub(super) fn indices(&self) -> io::Result<BTreeSet<u32>> {
        let (Some(dir), Some(base)) =
            (self.base.parent(), self.base.file_name().and_then(|name| name.to_str()))
        else {
            return Ok(BTreeSet::new());
        };
        let entries = match fs::read_dir(dir) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(BTreeSet::new()),
            entries => entries?,
        };
        let mut indices = BTreeSet::new();
        for entry in entries {
            let name = entry?.file_name();
            let end = name.to_str().and_then(|name| name.strip_prefix(base)?.strip_prefix('.'));
            let index = end.and_then(|end| end.strip_suffix(".gz").unwrap_or(end).parse().ok());
            indices.extend(index.filter(|index: &u32| *index > 0));
        }
        Ok(indices)
    }

    fn with(&self, end: &str) -> PathBuf {
        let mut path = self.base.clone().into_os_string();
        path.push(end);
        path.into()
    }
}

/// What tells a file from the others, also when it was renamed or compressed: its inode's number, which may be used
/// again, the time of its last change, which the writer makes a unique one when it goes on to the next file, and the check
/// of its beginning.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Identity {
    inode: u64,
    changed: i64,
    check: u32,
}

/// What the extra field of gzip (RFC 1952, 2.3.1.1) begins with: subfield `mi`, 20 bytes.
const SUBFIELD: &[u8] = b"mi\x14\x00";

impl Identity {
    /// Of a plain file.
    pub(super) fn of(file: &File) -> io::Result<Self> {
        let mut beginning = [0; BEGINNING];
        let mut size = 0;
        while size < BEGINNING {
            match file.read_at(&mut beginning[size..], size as u64)? {
                0 => break,
                read => size += read,
            }
        }
        let mut crc = Crc::new();
        crc.update(&beginning[..size]);
        let facts = file.metadata()?;
        let changed = facts.mtime().saturating_mul(1_000_000_000).saturating_add(facts.mtime_nsec());
        Ok(Self { inode: facts.ino(), changed, check: crc.sum() })
    }

    /// As an extra field of gzip.
    pub(super) fn extra(self) -> Vec<u8> {
        let mut field = SUBFIELD.to_vec();
        field.extend_from_slice(&self.inode.to_le_bytes());
        field.extend_from_slice(&self.changed.to_le_bytes());
        field.extend_from_slice(&self.check.to_le_bytes());
        field
    }

    /// The other way round; none where another program compressed it.
    pub(super) fn of_extra(field: &[u8]) -> Option<Self> {
        let field: &[u8; 20] = field.strip_prefix(SUBFIELD)?.try_into().ok()?;
        let (inode, rest) = field.split_at(8);
        let (changed, check) = rest.split_at(8);
        Some(Self {
            inode: u64::from_le_bytes(inode.try_into().ok()?),
            changed: i64::from_le_bytes(changed.try_into().ok()?),
            check: u32::from_le_bytes(check.try_into().ok()?),
        })
    }
}
