//! A tar stream on its way out: digest, compression on all processors, digest of the result, output.
//!
//! gzip comes in members of one megabyte of content each (RFC 1952, section 2.2), so that they can be made beside each
//! other, and the bytes are the same whatever the number of processors. zstd is fast enough on one.

use std::io::{self, Write};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Mutex, PoisonError};
use std::thread::Builder;

use libdeflater::{CompressionLvl, Compressor};
use step::Failure;

use super::archive::{Compression, STEP};
use oci::{Digest, Hasher};

/// Bytes of content in a member.
const MEMBER: usize = 1 << 20;

/// What came out.
pub(super) struct Written {
    pub(super) diff_id: Digest,
    pub(super) bytes: u64,
    pub(super) digest: Digest,
    pub(super) size: u64,
}

/// A part of the output, in its order.
enum Part {
    Ready(Vec<u8>),
    Later(Receiver<Vec<u8>>),
}

type Job = (Vec<u8>, SyncSender<Vec<u8>>);

/// Takes the tar stream beside the output, in pieces; false from one who takes no more of it.
pub type Tap<'t> = &'t mut (dyn FnMut(&[u8]) -> bool + Send);

/// What takes the tar stream.
pub(super) struct Feed<'t> {
    tap: Option<Tap<'t>>,
    buffer: Vec<u8>,
    hash: Hasher,
    bytes: u64,
    parts: SyncSender<Part>,
    jobs: Option<SyncSender<Job>>,
}

/// The receiving side is gone: it failed, and says itself how.
pub(super) struct Gone;

impl Feed<'_> {
    pub(super) fn write(&mut self, mut bytes: &[u8]) -> Result<(), Gone> {
        while !bytes.is_empty() {
            let length = bytes.len().min(MEMBER - self.buffer.len());
            self.buffer.extend_from_slice(&bytes[..length]);
            bytes = &bytes[length..];
            if self.buffer.len() == MEMBER {
                self.pass_on()?;
            }
        }
        Ok(())
    }

    fn pass_on(&mut self) -> Result<(), Gone> {
        let full = std::mem::replace(&mut self.buffer, Vec::with_capacity(MEMBER));
        if let Some(tap) = &mut self.tap
            && !tap(&full)
        {
            return Err(Gone);
        }
        self.hash.update(&full);
        self.bytes += full.len() as u64;
        let part = match &self.jobs {
            None => Part::Ready(full),
            Some(jobs) => {
                let (done, result) = sync_channel(1);
                jobs.send((full, done)).map_err(|_| Gone)?;
                Part::Later(result)
            }
        };
        self.parts.send(part).map_err(|_| Gone)
    }
}

/// Runs `produce`, and what it feeds through compression to `output`.
pub(super) fn run<T>(
    compression: Compression,
    output: impl Write + Send,
    tap: Option<Tap<'_>>,
    produce: impl FnOnce(&mut Feed<'_>) -> Result<T, Failure>,
) -> Result<(T, Written), Failure> {
    let workers = std::thread::available_parallelism().map_or(1, usize::from);
    let no_thread = |cause| Failure::new(STEP, "a thread for it", cause);
    std::thread::scope(|scope| {
        let (parts, in_order) = sync_channel(2 * workers);
        let (jobs, todo) = sync_channel::<Job>(2 * workers);
        let todo = std::sync::Arc::new(Mutex::new(todo));
        let writing = Builder::new()
            .name("layer-write".to_owned())
            .spawn_scoped(scope, move || write(compression, output, &in_order))
            .map_err(no_thread)?;
        let gzip = match compression {
            Compression::Gzip(level) => Some(level),
            Compression::None | Compression::Zstd(_) => None,
        };
        for _ in 0..gzip.map_or(0, |_| workers) {
            let todo = todo.clone();
            let level = gzip.unwrap_or_default();
            Builder::new()
                .name("layer-deflate".to_owned())
                .spawn_scoped(scope, move || deflate(level, &todo))
                .map_err(no_thread)?;
        }
        drop(todo);
        let mut feed = Feed {
            tap,
            buffer: Vec::with_capacity(MEMBER),
            hash: Hasher::default(),
            bytes: 0,
            parts,
            jobs: gzip.map(|_| jobs),
        };
        let produced = produce(&mut feed);
        let passed = if feed.buffer.is_empty() { Ok(()) } else { feed.pass_on() };
        let Feed { hash, bytes, parts, jobs, .. } = feed;
        drop((parts, jobs));
        let written = writing.join();
        let (digest, size) = match written {
            Ok(Ok(written)) => written,
            Ok(Err(cause)) => return Err(crate::blobs::with_hint(Failure::new(STEP, "the output", cause))),
            Err(_) => return Err(Failure::because(STEP, "the output", "a thread of the archiver failed")),
        };
        let value = produced?;
        passed.map_err(|Gone| Failure::because(STEP, "the output", "a thread of the archiver failed"))?;
        Ok((value, Written { diff_id: hash.finish(), bytes, digest, size }))
    })
}

/// Makes members of jobs until there are no more.
fn deflate(level: u8, todo: &Mutex<Receiver<Job>>) {
    let level = CompressionLvl::new(i32::from(level)).unwrap_or_default();
    let mut compressor = Compressor::new(level);
    loop {
        let job = todo.lock().unwrap_or_else(PoisonError::into_inner).recv();
        let Ok((content, done)) = job else { return };
        let mut member = vec![0; compressor.gzip_compress_bound(content.len())];
        let Ok(length) = compressor.gzip_compress(&content, &mut member) else { return };
        member.truncate(length);
        let _ = done.send(member);
    }
}

/// Counts and hashes what goes out.
struct Counted<W> {
    output: W,
    hash: Hasher,
    size: u64,
}

impl<W: Write> Write for Counted<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let length = self.output.write(bytes)?;
        self.hash.update(&bytes[..length]);
        self.size += length as u64;
        Ok(length)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.output.flush()
    }
}

/// Writes the parts in their order; digest and size.
fn write(compression: Compression, output: impl Write, parts: &Receiver<Part>) -> io::Result<(Digest, u64)> {
    let mut output = Counted { output, hash: Hasher::default(), size: 0 };
    let lost = |_| io::Error::other("a part of it was not compressed");
    if let Compression::Zstd(level) = compression {
        let mut encoder = zstd::stream::write::Encoder::new(&mut output, i32::from(level))?;
        encoder.include_checksum(true)?;
        for part in parts {
            if let Part::Ready(bytes) = part {
                encoder.write_all(&bytes)?;
            }
        }
        encoder.finish()?;
    } else {
        for part in parts {
            let bytes = match part {
                Part::Ready(bytes) => bytes,
                Part::Later(bytes) => bytes.recv().map_err(lost)?,
            };
            output.write_all(&bytes)?;
        }
    }
    output.flush()?;
    Ok((output.hash.finish(), output.size))
}
