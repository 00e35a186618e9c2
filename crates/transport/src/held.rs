//! What is brought into the store, held back until all of it was verified: then it is kept, or none of it is.
//!
//! A [`Fresh`] has no name that another process would wait for, so that two loads of the same layers never wait for each
//! other in a circle; that both write them costs less than that.

use std::collections::HashSet;
use std::fs::File;
use std::io::Read;
use std::sync::{Mutex, PoisonError};

use oci::Digest;
use step::Failure;
use storage::blobs::{Blobs, Fresh};

/// Each held blob is an open file; more than these are committed at once, whatever comes of the rest. Images have some
/// ten layers: this is for archives of many.
const MOST_OPEN: usize = 300;

/// Blobs on their way into a store.
#[derive(Debug)]
pub(crate) struct Held<'b> {
    pub(crate) blobs: &'b Blobs,
    fresh: Mutex<Vec<(Digest, Fresh)>>,
}

impl<'b> Held<'b> {
    pub(crate) fn new(blobs: &'b Blobs) -> Self {
        Self { blobs, fresh: Mutex::default() }
    }

    fn all(&self) -> std::sync::MutexGuard<'_, Vec<(Digest, Fresh)>> {
        self.fresh.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether the blob is held or in the store; its size in bytes.
    pub(crate) fn has(&self, digest: &Digest) -> Option<u64> {
        let held = self.all().iter().find(|(held, _)| held == digest).map(|(_, fresh)| fresh.offset());
        held.or_else(|| self.blobs.has(digest))
    }

    /// Holds a blob, which has been verified to be `digest`.
    pub(crate) fn add(&self, digest: Digest, fresh: Fresh) -> Result<(), Failure> {
        let mut all = self.all();
        if all.len() >= MOST_OPEN {
            drop(all);
            return fresh.commit().map(drop);
        }
        if all.iter().all(|(held, _)| *held != digest) {
            all.push((digest, fresh));
        }
        Ok(())
    }

    /// Holds a few bytes.
    pub(crate) fn add_bytes(&self, digest: Digest, bytes: &[u8]) -> Result<(), Failure> {
        if self.has(&digest).is_some() {
            return Ok(());
        }
        let mut fresh = self.blobs.create_by(digest.algorithm())?;
        std::io::Write::write_all(&mut fresh, bytes)
            .map_err(|cause| Failure::new("storage.blob", digest.to_string(), cause))?;
        self.add(digest, fresh)
    }

    /// A blob that is held or in the store.
    pub(crate) fn open(&self, digest: &Digest) -> Result<Option<File>, Failure> {
        if let Some((_, fresh)) = self.all().iter().find(|(held, _)| held == digest) {
            return fresh.reader().map(Some);
        }
        Ok(self.blobs.get(digest)?.map(|blob| blob.file))
    }

    /// The first bytes of a blob that is held or in the store.
    pub(crate) fn begin(&self, digest: &Digest) -> Result<Vec<u8>, Failure> {
        let Some(file) = self.open(digest)? else { return Ok(Vec::new()) };
        let mut begin = Vec::new();
        file.take(crate::sniff::BEGIN as u64)
            .read_to_end(&mut begin)
            .map_err(|cause| Failure::new("storage.blob", digest.to_string(), cause))?;
        Ok(begin)
    }

    /// Keeps the blobs that are wanted, and drops the others.
    pub(crate) fn commit(self, wanted: &HashSet<Digest>) -> Result<(), Failure> {
        let all = self.fresh.into_inner().unwrap_or_else(PoisonError::into_inner);
        let (mut keep, drop): (Vec<_>, Vec<_>) =
            all.into_iter().partition(|(digest, _)| wanted.contains(digest));
        std::mem::drop(drop);
        // The largest first: while they go to the disk the others' bytes follow.
        keep.sort_by_key(|(digest, fresh)| (std::cmp::Reverse(fresh.offset()), *digest));
        keep.into_iter().try_for_each(|(_, fresh)| fresh.commit().map(std::mem::drop))
    }
}
