//! An archive that comes once, from a pipe or out of a decompressor: what it has goes into the store as it comes, before
//! anybody knows whose it is. Texts stay in memory.

use std::io::{self, BufRead, Read};

use oci::{Compression, Digest};
use step::Failure;
use storage::layer::{Limits, Member, Members};

use super::archive::{Names, of_archive};
use super::{Content, Files, MAX_TEXT, STEP, at, wrong};
use crate::held::Held;
use crate::pass::{Passing, pass};
use crate::sniff::{BEGIN, Sort, sort};
use crate::unpack::Unpack;

/// So many bytes of texts are kept in memory.
const MOST_TEXTS: u64 = 64 << 20;

/// What became of a member.
#[derive(Debug)]
enum Kept {
    Text(Vec<u8>),
    /// A text that is too long to be any that is wanted, of so many bytes.
    Long(u64),
    Layer {
        digest: Digest,
        size: u64,
        was_read: bool,
    },
    /// Neither a text nor a layer.
    Other,
}

/// What came of an archive.
#[derive(Debug)]
pub(crate) struct Spool {
    place: String,
    names: Names<Kept>,
}

/// Reads the archive that `reader` gives to its end.
pub(crate) fn spool(
    reader: impl BufRead + Send,
    place: &str,
    held: &Held<'_>,
    unpack: &dyn Unpack,
) -> Result<Spool, Failure> {
    let mut members = Members::new(reader);
    let mut spool = Spool { place: place.to_owned(), names: Names::new() };
    let (mut texts, mut bytes) = (0, 0_u64);
    while let Some(member) = members.next_member().map_err(|failure| of_archive(place, failure))? {
        let shown = || at(place, &String::from_utf8_lossy(&member.name));
        let refused = |reason: String| Failure::because(STEP, shown(), reason);
        bytes = bytes.saturating_add(member.size);
        if bytes > Limits::default().bytes {
            return Err(refused(format!(
                "has more than the {} bytes of all images",
                Limits::default().bytes
            )));
        }
        let Some(name) = spool.names.take(&member).map_err(refused)? else { continue };
        let failed = |cause: io::Error| Failure::new(STEP, shown(), cause);
        let mut begin = Vec::new();
        members.by_ref().take(BEGIN as u64).read_to_end(&mut begin).map_err(failed)?;
        let kept = match sort(&begin) {
            Sort::Text if member.size <= MAX_TEXT => {
                texts += member.size;
                if texts > MOST_TEXTS {
                    return Err(refused(format!(
                        "is one text more than the {MOST_TEXTS} bytes that are kept"
                    )));
                }
                members.read_to_end(&mut begin).map_err(failed)?;
                Kept::Text(begin)
            }
            Sort::Text => Kept::Long(member.size),
            Sort::Layer(compression) => {
                let coming =
                    Coming { name: &name, member: &member, begin, plain: compression == Compression::None };
                coming.keep(&mut members, place, held, unpack)?
            }
            Sort::Foreign(_) | Sort::Other => Kept::Other,
        };
        spool.names.insert(name, kept);
    }
    // A pipe's writer is not to be killed by what stands behind the archive's end.
    let mut reader = members.into_inner();
    io::copy(&mut reader, &mut io::sink()).map_err(|cause| Failure::new(STEP, place, cause))?;
    Ok(spool)
}

/// A layer that comes.
struct Coming<'m> {
    name: &'m str,
    member: &'m Member,
    begin: Vec<u8>,
    plain: bool,
}

impl Coming<'_> {
    fn keep<R: BufRead + Send>(
        self,
        members: &mut Members<R>,
        place: &str,
        held: &Held<'_>,
        unpack: &dyn Unpack,
    ) -> Result<Kept, Failure> {
        let Self { name, member, begin, plain } = self;
        let size = member.size;
        let promised = promised(name);
        // A plain layer's digest is its diff id.
        let diff_id = promised.filter(|_| plain);
        if let Some(digest) = promised
            && held.has(&digest) == Some(size)
            && !diff_id.is_some_and(|diff_id| unpack.wants(&diff_id))
        {
            return Ok(Kept::Layer { digest, size, was_read: plain });
        }
        let fresh = held.blobs.create_by(promised.map(|digest| digest.algorithm()).unwrap_or_default())?;
        let content = Box::new(io::Cursor::new(begin).chain(members));
        let passing =
            Passing { place, entry: name, content, size, promised, diff_id, plain, fresh: Some(fresh) };
        let Some(fresh) = pass(passing, unpack)? else {
            return Err(Failure::because(STEP, at(place, name), "was not written"));
        };
        let digest = fresh.digest();
        held.add(digest, fresh)?;
        Ok(Kept::Layer { digest, size, was_read: diff_id.is_some() })
    }
}

/// The digest that a blob of an OCI layout is named by.
fn promised(name: &str) -> Option<Digest> {
    let (algorithm, hex) = name.strip_prefix("blobs/")?.split_once('/')?;
    format!("{algorithm}:{hex}").parse().ok()
}

impl Spool {
    fn find(&self, name: &str) -> Result<Option<&Kept>, Failure> {
        self.names.get(name).map_err(|reason| wrong(self, name, reason))
    }
}

impl Files for Spool {
    fn place(&self) -> &str {
        &self.place
    }

    fn open(&self, name: &str) -> Result<Option<Content<'_>>, Failure> {
        Ok(match self.find(name)? {
            None => None,
            Some(Kept::Text(text)) => {
                Some(Content { size: text.len() as u64, reader: Box::new(text.as_slice()) })
            }
            Some(Kept::Long(size)) => Some(Content { size: *size, reader: Box::new(io::empty()) }),
            Some(Kept::Layer { .. }) => return Err(wrong(self, name, "is an archive, and should be a text")),
            Some(Kept::Other) => return Err(wrong(self, name, "is neither a text nor a tar archive")),
        })
    }

    fn kept(&self, name: &str) -> Option<(Digest, u64)> {
        match self.find(name) {
            Ok(Some(Kept::Layer { digest, size, .. })) => Some((*digest, *size)),
            _ => None,
        }
    }

    fn was_read(&self, name: &str) -> bool {
        matches!(self.find(name), Ok(Some(Kept::Layer { was_read: true, .. })))
    }
}
