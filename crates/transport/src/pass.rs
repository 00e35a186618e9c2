//! One layer's content on its way: read once, and while it is read digested, written and unpacked.

use std::io::{self, Read, Write as _};

use oci::Digest;
use step::Failure;
use storage::blobs::{Fresh, Unproven};

use crate::files::{STEP, at};
use crate::unpack::{Inspect, Unpack};

/// What passes.
pub(crate) struct Passing<'r> {
    /// The place and the name there, for messages.
    pub(crate) place: &'r str,
    pub(crate) entry: &'r str,
    /// All of it.
    pub(crate) content: Box<dyn Read + Send + 'r>,
    /// How many bytes it should have.
    pub(crate) size: u64,
    /// What digest it should have, where that is known.
    pub(crate) promised: Option<Digest>,
    /// What digest its tar stream should have; none where nobody is to read it.
    pub(crate) diff_id: Option<Digest>,
    /// It is a tar stream itself, and no compressed one: what digest that has, it has.
    pub(crate) plain: bool,
    /// Where it is written; none where the store has it.
    pub(crate) fresh: Option<Fresh>,
}

/// Where it is written.
enum Output {
    Hashed(Fresh),
    /// Whoever unpacks it hashes it.
    Unproven(Unproven),
}

impl Output {
    fn write_all(&mut self, bytes: &[u8]) -> io::Result<()> {
        match self {
            Self::Hashed(fresh) => fresh.write_all(bytes),
            Self::Unproven(unproven) => unproven.write_all(bytes),
        }
    }
}

/// A reader that writes what it reads.
struct Tee<'r> {
    content: Box<dyn Read + Send + 'r>,
    output: Option<Output>,
    seen: u64,
    /// What went wrong; whoever reads through this tells it in other words.
    trouble: Option<Failure>,
    place: String,
}

impl Read for Tee<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let length = match self.content.read(buffer) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => return Err(error),
            Err(error) => {
                let told = io::Error::from(error.kind());
                self.trouble = Some(Failure::new(STEP, self.place.as_str(), error));
                return Err(told);
            }
            Ok(length) => length,
        };
        if let Some(output) = &mut self.output
            && let Err(error) = output.write_all(&buffer[..length])
        {
            let told = io::Error::from(error.kind());
            self.trouble =
                Some(storage::blobs::with_hint(Failure::new("storage.blob", self.place.as_str(), error)));
            return Err(told);
        }
        self.seen += length as u64;
        Ok(length)
    }
}

/// Reads it to its end; what it is, with the blob that was written.
///
/// Where several things are wrong the first of these is told: it cannot be read or written; it has not its size; it has
/// not its digest; it is no layer, or another one.
pub(crate) fn pass(passing: Passing<'_>, unpack: &dyn Unpack) -> Result<Option<Fresh>, Failure> {
    let Passing { place, entry, content, size, promised, diff_id, plain, fresh } = passing;
    let target = at(place, entry);
    // A tar stream's digest is found by who reads it as a layer: it is not hashed twice.
    let hashes_itself =
        !plain || diff_id.is_none() || promised.is_some_and(|promised| Some(promised) != diff_id);
    let output = fresh.map(|fresh| match hashes_itself {
        true => Output::Hashed(fresh),
        false => Output::Unproven(fresh.unproven()),
    });
    let mut tee = Tee { content, output, seen: 0, trouble: None, place: target.clone() };
    let mut read = diff_id.map_or(Ok(()), |diff_id| unpack.layer(&diff_id, &mut tee));
    let read_by_it = tee.seen;
    if let Some(diff_id) = diff_id
        && read.is_ok()
        && tee.seen == 0
        && !plain
    {
        // Who needs no more of it has not looked whether it is what he has.
        read = Inspect::default().layer(&diff_id, &mut tee);
    }
    if let (Err(failure), None) = (&read, &tee.trouble)
        && failure.errno != 0
    {
        // The kernel's word, as of a full disk: what the rest of the content is does not matter.
        return read.map(|()| None);
    }
    if tee.trouble.is_none() {
        let _ = io::copy(&mut tee, &mut io::sink());
    }
    if let Some(failure) = tee.trouble {
        return Err(failure);
    }
    let wrong = |reason: String| Err(Failure::because(STEP, target.as_str(), reason));
    if tee.seen != size {
        return wrong(format!("ends after {} of {size} bytes", tee.seen));
    }
    let fresh = match (tee.output, diff_id) {
        (None, _) => None,
        (Some(Output::Hashed(fresh)), _) => Some(fresh),
        (Some(Output::Unproven(unproven)), Some(diff_id)) if read.is_ok() && read_by_it == size => {
            Some(unproven.proven(diff_id))
        }
        (Some(Output::Unproven(unproven)), _) => Some(unproven.hashed()?),
    };
    if let (Some(promised), Some(fresh)) = (promised, &fresh) {
        let found = fresh.digest();
        if found != promised {
            return wrong(format!("has the digest {found}, not the promised {promised}"));
        }
    }
    match read {
        Ok(()) => Ok(fresh),
        Err(failure) => {
            let inner = match failure.target.as_str() {
                "the layer" | "the archive" => String::new(),
                other => format!("{other}: "),
            };
            let failure_of_it = Failure::because(STEP, target, format!("{inner}{}", failure.cause()));
            Err(match failure.hint {
                Some(hint) => failure_of_it.hint(hint),
                None => failure_of_it,
            })
        }
    }
}

/// The first bytes of a content, and all of it again.
pub(crate) fn peek<'r>(
    mut content: Box<dyn Read + Send + 'r>,
) -> io::Result<(Vec<u8>, Box<dyn Read + Send + 'r>)> {
    let mut begin = Vec::new();
    content.by_ref().take(crate::sniff::BEGIN as u64).read_to_end(&mut begin)?;
    let whole = io::Cursor::new(begin.clone()).chain(content);
    Ok((begin, Box::new(whole)))
}
