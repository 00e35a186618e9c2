//! A tar file on a disk: its headers are read once, its contents where they lie, by several threads at a time.

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::FileExt as _;

use step::Failure;
use storage::layer::{Member, MemberKind, Members};

use super::{Content, Files, STEP, at, link_target, normal, wrong};

/// How many members an archive may have, and how long all their names may be: so much is kept in memory.
const MOST_MEMBERS: usize = 200_000;
const MOST_NAMES: usize = 16 << 20;
/// A link may lead to a link, so often.
const MOST_LINKS: usize = 16;

/// What is known of the members of an archive by their headers.
#[derive(Debug)]
pub(super) struct Names<T> {
    files: HashMap<String, T>,
    links: HashMap<String, String>,
    bytes: usize,
    count: usize,
}

impl<T> Names<T> {
    pub(super) fn new() -> Self {
        Self { files: HashMap::new(), links: HashMap::new(), bytes: 0, count: 0 }
    }

    /// What a member is; `Some` with its name for a file that is not there yet. An error says what is wrong with it.
    pub(super) fn take(&mut self, member: &Member) -> Result<Option<String>, String> {
        self.count += 1;
        self.bytes += member.name.len();
        if self.count > MOST_MEMBERS || self.bytes > MOST_NAMES {
            return Err(format!(
                "is one more than the {MOST_MEMBERS} members that an archive of images may have"
            ));
        }
        let Some(name) = normal(&member.name)? else { return Ok(None) };
        let target = match &member.kind {
            MemberKind::Directory => return Ok(None),
            MemberKind::Other => return Err("is neither a file nor a directory nor a link".to_owned()),
            MemberKind::File => None,
            MemberKind::Symlink(target) => Some(link_target(&name, target)),
            MemberKind::HardLink(target) => Some(normal(target)?),
        };
        let there = self.files.contains_key(&name) || self.links.contains_key(&name);
        // Which of two counts, readers do not agree on. Of two blobs it does not matter: they are known by digest.
        if there && !(target.is_none() && name.starts_with("blobs/")) {
            return Err("is there twice".to_owned());
        }
        match target {
            None => Ok((!there).then_some(name)),
            Some(None) => Err("is a link that leads out of the archive".to_owned()),
            Some(Some(target)) => {
                self.links.insert(name, target);
                Ok(None)
            }
        }
    }

    pub(super) fn insert(&mut self, name: String, what: T) {
        self.files.insert(name, what);
    }

    /// The file of this name, through links; an error says what is wrong with them.
    pub(super) fn get(&self, name: &str) -> Result<Option<&T>, &'static str> {
        let Ok(Some(name)) = normal(name.as_bytes()) else {
            return Err("is no name of a file in an archive");
        };
        let mut name = name.as_str();
        for _ in 0..MOST_LINKS {
            if let Some(file) = self.files.get(name) {
                return Ok(Some(file));
            }
            match self.links.get(name) {
                Some(target) => name = target,
                None => return Ok(None),
            }
        }
        Err("is a link to a link to a link, and so on")
    }
}

/// Where a member's data lie, in bytes of the file.
#[derive(Debug, Clone, Copy)]
struct Extent {
    offset: u64,
    size: u64,
}

/// A tar file with its members.
#[derive(Debug)]
pub(crate) struct ArchiveFile {
    file: File,
    place: String,
    names: Names<Extent>,
}

impl ArchiveFile {
    /// The archive that begins at `file`'s position `begin`, uncompressed.
    pub(crate) fn open(file: File, begin: u64, place: &str) -> Result<Self, Failure> {
        let failed = |cause: io::Error| Failure::new(STEP, place, cause);
        let mut members = Members::seeking(file.try_clone().map_err(failed)?).map_err(failed)?;
        let mut names = Names::new();
        while let Some(member) = members.next_member().map_err(|failure| of_archive(place, failure))? {
            let shown = || at(place, &String::from_utf8_lossy(&member.name));
            let taken = names.take(&member).map_err(|reason| Failure::because(STEP, shown(), reason))?;
            if let Some(name) = taken {
                names.insert(name, Extent { offset: begin + member.offset, size: member.size });
            }
        }
        Ok(Self { file, place: place.to_owned(), names })
    }
}

/// A failure of the archive itself, with its name.
pub(super) fn of_archive(place: &str, failure: Failure) -> Failure {
    let target = match failure.target.strip_prefix("entry ") {
        Some(entry) => format!("{place}: {entry}"),
        None => place.to_owned(),
    };
    Failure { step: STEP.into(), target, ..failure }
}

impl Files for ArchiveFile {
    fn place(&self) -> &str {
        &self.place
    }

    fn open(&self, name: &str) -> Result<Option<Content<'_>>, Failure> {
        let found = self.names.get(name).map_err(|reason| wrong(self, name, reason))?;
        Ok(found.map(|extent| Content {
            size: extent.size,
            reader: Box::new(Window { file: &self.file, at: extent.offset, left: extent.size }),
        }))
    }
}

/// A part of a file, read without moving the file's position.
struct Window<'f> {
    file: &'f File,
    at: u64,
    left: u64,
}

impl Read for Window<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let most = buffer.len().min(usize::try_from(self.left).unwrap_or(usize::MAX));
        let length = self.file.read_at(&mut buffer[..most], self.at)?;
        self.at += length as u64;
        self.left -= length as u64;
        Ok(length)
    }
}
