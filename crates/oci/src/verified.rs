//! A reader that believes nothing: what is read through it has the promised size and digest, or reading fails.

use std::io::{self, Read};

use crate::digest::{Digest, Hasher};

/// Reads from `R` and fails, as soon as it is known, if the content is not the promised one: with the first byte that
/// is too much, or at the end. Whoever read to the end without an error has what was promised.
///
/// The errors are of kind [`io::ErrorKind::InvalidData`] around a [`Mismatch`].
#[derive(Debug)]
pub struct Verified<R> {
    inner: R,
    promised: Digest,
    size: u64,
    seen: u64,
    hasher: Option<Hasher>,
}

/// Content that is not what it was said to be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Mismatch {
    /// More bytes than promised. The rest was not read.
    #[error("{digest} has more than the promised {size} bytes")]
    Long {
        /// What it should be.
        digest: Digest,
        /// How long it should be.
        size: u64,
    },
    /// Fewer bytes than promised.
    #[error("{digest} ended after {seen} of {size} bytes")]
    Short {
        /// What it should be.
        digest: Digest,
        /// How long it should be.
        size: u64,
        /// How long it is.
        seen: u64,
    },
    /// Other bytes than promised.
    #[error("the content has digest {found}, not the promised {digest}")]
    Other {
        /// What it should be.
        digest: Digest,
        /// What it is.
        found: Digest,
    },
}

impl<R: Read> Verified<R> {
    /// Content of `size` bytes with this digest, from its beginning.
    pub fn new(inner: R, promised: Digest, size: u64) -> Self {
        Self { inner, promised, size, seen: 0, hasher: Some(Hasher::new(promised.algorithm())) }
    }

    /// The same, where the first `seen` bytes are there already and went through `hasher`.
    pub fn resumed(inner: R, promised: Digest, size: u64, seen: u64, hasher: Hasher) -> Self {
        Self { inner, promised, size, seen, hasher: Some(hasher) }
    }

    /// How many bytes of the content were read, those of before included.
    pub fn seen(&self) -> u64 {
        self.seen
    }

    /// The reader below.
    pub fn get_ref(&self) -> &R {
        &self.inner
    }

    /// The reader below and the state of the digest, to go on with it later. None after the end.
    pub fn into_parts(self) -> (R, Option<Hasher>) {
        (self.inner, self.hasher)
    }

    fn end(&mut self) -> io::Result<usize> {
        let (digest, size, seen) = (self.promised, self.size, self.seen);
        if seen < size {
            return Err(invalid(Mismatch::Short { digest, size, seen }));
        }
        if let Some(hasher) = &self.hasher {
            // Kept where it is wrong: the next read fails too.
            let found = hasher.clone().finish();
            if found != digest {
                return Err(invalid(Mismatch::Other { digest, found }));
            }
            self.hasher = None;
        }
        Ok(0)
    }
}

fn invalid(mismatch: Mismatch) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, mismatch)
}

impl<R: Read> Read for Verified<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if buffer.is_empty() {
            return Ok(0);
        }
        let Some(hasher) = &mut self.hasher else { return Ok(0) };
        let count = self.inner.read(buffer)?;
        if count == 0 {
            return self.end();
        }
        if count as u64 > self.size.saturating_sub(self.seen) {
            return Err(invalid(Mismatch::Long { digest: self.promised, size: self.size }));
        }
        hasher.update(&buffer[..count]);
        self.seen += count as u64;
        Ok(count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(content: &[u8], promised: &[u8], size: u64) -> Result<Vec<u8>, Box<Mismatch>> {
        let mut reader = Verified::new(content, Digest::of(promised), size);
        let mut found = Vec::new();
        match reader.read_to_end(&mut found) {
            Ok(_) => Ok(found),
            Err(error) => {
                assert_eq!(error.kind(), io::ErrorKind::InvalidData);
                assert!(reader.read(&mut [0; 8]).is_err(), "what failed once must not end well later");
                Err(Box::new(error.get_ref().and_then(|e| e.downcast_ref::<Mismatch>()).unwrap().clone()))
            }
        }
    }

    #[test]
    fn what_was_promised_passes() {
        assert_eq!(read(b"content", b"content", 7).unwrap(), b"content");
        assert_eq!(read(b"", b"", 0).unwrap(), b"");
    }

    #[test]
    fn anything_else_fails() {
        let digest = Digest::of(b"content");
        assert_eq!(read(b"contents", b"content", 7), Err(Box::new(Mismatch::Long { digest, size: 7 })));
        assert_eq!(
            read(b"conten", b"content", 7),
            Err(Box::new(Mismatch::Short { digest, size: 7, seen: 6 }))
        );
        let found = Digest::of(b"contemt");
        assert_eq!(read(b"contemt", b"content", 7), Err(Box::new(Mismatch::Other { digest, found })));
    }

    #[test]
    fn goes_on_where_it_was() {
        let digest = Digest::of(b"content");
        let mut first = Verified::new(&b"cont"[..], digest, 7);
        first.read_exact(&mut [0; 4]).unwrap();
        let seen = first.seen();
        let (_, hasher) = first.into_parts();
        let mut rest = Vec::new();
        let mut second = Verified::resumed(&b"ent"[..], digest, 7, seen, hasher.unwrap());
        second.read_to_end(&mut rest).unwrap();
        assert_eq!((rest.as_slice(), second.seen()), (&b"ent"[..], 7));
    }
}
