//! Digests of files, remembered: a file whose number, size and times are the same is not read again.
//!
//! `<root>/build/digests`: a header, then records of 96 bytes. Losing it costs time only, so it is neither locked nor
//! synced; a rename(2) puts it in place, and the last writer wins.

use std::collections::HashMap;
use std::io::Read as _;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use oci::{Digest, Hasher};
use rustix::fs::Stat;
use rustix::io::Errno;

const HEADER: &[u8; 16] = b"minidocker-dig-1";
const RECORD: usize = 96;
/// Files that are remembered.
const MOST: usize = 400_000;
/// A file that changed later than this many nanoseconds ago may change again within the clock's grain, which is at most
/// 10 ms, and look the same.
const YOUNG: i128 = 100_000_000;

type Key = [u8; 64];

/// What is known of files.
#[derive(Debug)]
pub(crate) struct Memo {
    path: PathBuf,
    known: Mutex<HashMap<Key, [u8; 32]>>,
    changed: AtomicBool,
    /// Files that had to be read.
    pub(crate) read: AtomicU64,
}

impl Memo {
    /// What an earlier build left at `path`; anything else there counts for nothing.
    pub(crate) fn load(path: PathBuf) -> Self {
        let bytes = std::fs::read(&path).unwrap_or_default();
        let mut known = HashMap::new();
        if let Some(records) = bytes.strip_prefix(HEADER) {
            for record in records.chunks_exact(RECORD) {
                if let (Ok(key), Ok(digest)) = (record[..64].try_into(), record[64..].try_into()) {
                    known.insert(key, digest);
                }
            }
        }
        Self { path, known: Mutex::new(known), changed: AtomicBool::new(false), read: AtomicU64::new(0) }
    }

    /// The digest of an open file's content.
    pub(crate) fn digest(&self, file: OwnedFd) -> Result<Digest, Errno> {
        let stat = rustix::fs::fstat(&file)?;
        let key = key(&stat);
        if let Some(digest) = self.known.lock().ok().and_then(|known| known.get(&key).copied()) {
            return Digest::from_hex(&hex(&digest)).map_err(|_| Errno::INVAL);
        }
        self.read.fetch_add(1, Ordering::Relaxed);
        let mut hasher = Hasher::default();
        let mut file = std::fs::File::from(file);
        let mut buffer = vec![0; 1 << 17];
        loop {
            let errno = |error: std::io::Error| Errno::from_io_error(&error).unwrap_or(Errno::IO);
            match file.read(&mut buffer) {
                Ok(0) => break,
                Ok(length) => hasher.update(&buffer[..length]),
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                Err(error) => return Err(errno(error)),
            }
        }
        let digest = hasher.finish();
        let after = rustix::fs::fstat(&file)?;
        let changed = i128::from(after.st_ctime) * 1_000_000_000 + i128::from(after.st_ctime_nsec);
        if self::key(&after) == key
            && now() - changed > YOUNG
            && let (Ok(mut known), Ok(bytes)) = (self.known.lock(), digest.bytes().try_into())
        {
            known.insert(key, bytes);
            self.changed.store(true, Ordering::Relaxed);
        }
        Ok(digest)
    }

    /// Writes what is new for later builds. What fails costs time only.
    pub(crate) fn save(&self) {
        if !self.changed.swap(false, Ordering::Relaxed) {
            return;
        }
        let Ok(known) = self.known.lock() else { return };
        let mut bytes = HEADER.to_vec();
        if known.len() <= MOST {
            for (key, digest) in known.iter() {
                bytes.extend_from_slice(key);
                bytes.extend_from_slice(digest);
            }
        }
        let _ = replace(&self.path, &bytes);
    }
}

/// Puts a file in place by rename(2).
fn replace(path: &Path, bytes: &[u8]) -> std::io::Result<()> {
    let temporary = path.with_extension(format!("new-{}", std::process::id()));
    std::fs::write(&temporary, bytes).and_then(|()| std::fs::rename(&temporary, path)).inspect_err(|_| {
        let _ = std::fs::remove_file(&temporary);
    })
}

fn now() -> i128 {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Realtime);
    i128::from(now.tv_sec) * 1_000_000_000 + i128::from(now.tv_nsec)
}

fn key(stat: &Stat) -> Key {
    let numbers: [u64; 8] = [
        stat.st_dev,
        stat.st_ino,
        stat.st_size as u64,
        stat.st_mtime as u64,
        stat.st_mtime_nsec,
        stat.st_ctime as u64,
        stat.st_ctime_nsec,
        0,
    ];
    let mut key = [0; 64];
    for (place, number) in key.chunks_exact_mut(8).zip(numbers) {
        place.copy_from_slice(&number.to_le_bytes());
    }
    key
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
