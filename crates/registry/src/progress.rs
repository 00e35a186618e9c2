//! How far a blob is, for whoever draws it.

use std::io::{self, Read};

/// Is told how far one blob is. Called for each piece that was moved, from the thread that moves it: it should do
/// little, as adding to a number that somebody else draws.
pub trait Progress {
    /// So many bytes of the blob are there by now. The number can fall where something had to be sent anew.
    fn so_far(&mut self, bytes: u64);
}

impl<F: FnMut(u64)> Progress for F {
    fn so_far(&mut self, bytes: u64) {
        self(bytes);
    }
}

/// Nobody draws.
impl Progress for () {
    fn so_far(&mut self, _: u64) {}
}

/// A reader that tells how far it is.
#[derive(Debug)]
pub struct Watched<R, P> {
    inner: R,
    seen: u64,
    progress: P,
}

impl<R: Read, P: Progress> Watched<R, P> {
    /// Counts from `seen`, what was there before.
    pub fn new(inner: R, seen: u64, progress: P) -> Self {
        Self { inner, seen, progress }
    }

    /// The reader below.
    pub fn get_ref(&self) -> &R {
        &self.inner
    }
}

impl<R: Read, P: Progress> Read for Watched<R, P> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.inner.read(buffer)?;
        if count > 0 {
            self.seen += count as u64;
            self.progress.so_far(self.seen);
        }
        Ok(count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tells_what_was_moved() {
        let mut told = Vec::new();
        let mut reader = Watched::new(&b"abcdef"[..], 10, |bytes| told.push(bytes));
        let mut buffer = [0; 4];
        while reader.read(&mut buffer).unwrap() > 0 {}
        assert_eq!(told, [14, 16]);
    }
}
