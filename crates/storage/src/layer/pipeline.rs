//! A layer's way from a source to whoever reads its tar stream, each stage on a thread of its own with few pieces
//! between them:
//!
//! ```text
//! source ─ read, digest ─▶ inflate, limits ─┬▶ the caller: parse and write
//!                                           └▶ digest (the diff id)
//! ```
//!
//! A stage whose successor is gone ends; an error goes down the same way as the bytes.

use std::io::{self, BufRead, Read};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::Builder;

use rustix::io::Errno;
use step::Failure;

use super::apply::Limits;
use super::foreign::{Foreign, Unpacked};
use oci::{Digest, Hasher};

/// Bytes of a piece between the stages: a few of them fit into a processor's cache.
const PIECE: usize = 256 << 10;
/// Pieces that wait between two stages.
const WAITING: usize = 8;

/// What goes wrong on the way, without the entry that it belongs to where that is not known there.
#[derive(Debug)]
pub(super) enum Trouble {
    /// The caller's source failed: the network, a file.
    Source(io::Error),
    /// The content is not what it should be.
    Refused { entry: Option<String>, reason: String, hint: Option<&'static str> },
    /// The kernel refused.
    Kernel(Errno),
    /// Told in full already.
    Told(Box<Failure>),
}

impl Trouble {
    pub(super) fn refused<S: Into<String>>(reason: S) -> Self {
        Self::Refused { entry: None, reason: reason.into(), hint: None }
    }

    pub(super) fn truncated() -> Self {
        Self::refused("the archive ends in the middle")
    }

    /// The same, about an entry.
    pub(super) fn of(self, name: &str) -> Self {
        match self {
            Self::Refused { entry: None, reason, hint } => {
                Self::Refused { entry: Some(name.to_owned()), reason, hint }
            }
            other => other,
        }
    }

    fn hint(self, hint: &'static str) -> Self {
        match self {
            Self::Refused { entry, reason, .. } => Self::Refused { entry, reason, hint: Some(hint) },
            other => other,
        }
    }
}

impl From<Errno> for Trouble {
    fn from(errno: Errno) -> Self {
        Self::Kernel(errno)
    }
}

impl From<Failure> for Trouble {
    fn from(failure: Failure) -> Self {
        Self::Told(Box::new(failure))
    }
}

/// What was counted on the way.
#[derive(Debug)]
pub(super) struct Totals {
    /// Of the tar stream.
    pub(super) diff_id: Digest,
    /// Of the tar stream.
    pub(super) bytes: u64,
    /// Digest of what the source gave; none if nobody wanted it.
    pub(super) compressed: Option<Digest>,
    /// Bytes that the source gave.
    pub(super) compressed_bytes: u64,
}

type Piece = Result<Arc<Vec<u8>>, Trouble>;

/// Buffers that were used and may be used again: fresh ones cost a page fault for each page.
#[derive(Clone, Default)]
struct Pool(Arc<Mutex<Vec<Vec<u8>>>>);

impl Pool {
    fn take(&self) -> Vec<u8> {
        let buffer = self.0.lock().unwrap_or_else(PoisonError::into_inner).pop();
        buffer.unwrap_or_else(|| vec![0; PIECE])
    }

    /// Gives a piece back; whoever of its users is last.
    fn give(&self, piece: Arc<Vec<u8>>) {
        if let Some(buffer) = Arc::into_inner(piece) {
            self.0.lock().unwrap_or_else(PoisonError::into_inner).push(buffer);
        }
    }
}

/// Runs `consume` on the tar stream of `source`, and the stream to its end.
pub(super) fn run<T>(
    source: impl Read + Send,
    limits: &Limits,
    wants_compressed: bool,
    consume: impl FnOnce(&mut Stream) -> Result<T, Trouble>,
) -> Result<(T, Totals), Trouble> {
    // One for all: of a plain stream the pieces that are read are the tar stream's.
    let pool = Pool::default();
    let taken = AtomicU64::new(0);
    std::thread::scope(|scope| {
        let thread = |name: &str| Builder::new().name(format!("layer-{name}"));
        let no_thread = |cause| Trouble::from(Failure::new(super::apply::STEP, "a thread for it", cause));
        let (raw_sender, raw) = sync_channel(WAITING);
        let (tar_sender, tar) = sync_channel(WAITING);
        let (sum_sender, sum) = sync_channel(WAITING);
        let reading = {
            let pool = pool.clone();
            thread("read")
                .spawn_scoped(scope, move || read(source, &raw_sender, wants_compressed, &pool))
                .map_err(no_thread)?
        };
        let inflating = {
            let (pool, taken) = (pool.clone(), &taken);
            let input =
                Input { raw, piece: None, at: 0, taken, failed: Failed::default(), pool: pool.clone() };
            thread("inflate")
                .spawn_scoped(scope, move || inflate(input, &tar_sender, &sum_sender, limits, &pool))
                .map_err(no_thread)?
        };
        let summing = {
            let pool = pool.clone();
            let sum = move || {
                let mut hash = Hasher::default();
                for piece in sum {
                    hash.update(&piece);
                    pool.give(piece);
                }
                hash.finish()
            };
            thread("digest").spawn_scoped(scope, sum).map_err(no_thread)?
        };
        let mut stream = Stream { pieces: tar, piece: None, at: 0, ended: false, pool };
        let result = consume(&mut stream).and_then(|value| stream.drain().map(|()| value));
        drop(stream);
        let (compressed, bytes, diff_id) = (reading.join(), inflating.join(), summing.join());
        let value = result?;
        let lost = |_| Trouble::refused("a thread of the applier failed");
        Ok((
            value,
            Totals {
                diff_id: diff_id.map_err(lost)?,
                bytes: bytes.map_err(lost)?,
                compressed: compressed.map_err(lost)?,
                compressed_bytes: taken.load(Ordering::Relaxed),
            },
        ))
    })
}

/// Reads the source to its end, and its digest where it is wanted.
fn read(
    mut source: impl Read,
    sender: &SyncSender<Piece>,
    wants_digest: bool,
    pool: &Pool,
) -> Option<Digest> {
    let mut hash = wants_digest.then(Hasher::default);
    loop {
        let mut buffer = pool.take();
        buffer.resize(PIECE, 0);
        let length = match source.read(&mut buffer) {
            Ok(0) => return hash.map(Hasher::finish),
            Ok(length) => length,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => {
                let _ = sender.send(Err(Trouble::Source(error)));
                return None;
            }
        };
        buffer.truncate(length);
        if let Some(hash) = &mut hash {
            hash.update(&buffer);
        }
        if sender.send(Ok(Arc::new(buffer))).is_err() {
            return None;
        }
    }
}

/// The source's error: decoders tell it in other words.
#[derive(Clone, Default)]
struct Failed(Arc<Mutex<Option<Trouble>>>);

impl Failed {
    fn set(&self, trouble: Trouble) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(trouble);
    }

    fn take(&self) -> Option<Trouble> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

/// What was read, for a decoder.
struct Input<'t> {
    raw: Receiver<Piece>,
    piece: Option<Arc<Vec<u8>>>,
    at: usize,
    /// Bytes that the decoder has taken.
    taken: &'t AtomicU64,
    failed: Failed,
    pool: Pool,
}

impl Input<'_> {
    /// The piece that was read last, as it is, if nothing of it was taken; none at the end.
    fn whole(&mut self) -> io::Result<Option<Arc<Vec<u8>>>> {
        if self.fill_buf()?.is_empty() {
            return Ok(None);
        }
        let piece = self.piece.take();
        let length = piece.as_ref().map_or(0, |piece| piece.len());
        self.taken.fetch_add(length as u64, Ordering::Relaxed);
        Ok(piece)
    }
}

impl BufRead for Input<'_> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        if self.piece.as_ref().is_none_or(|piece| self.at == piece.len()) {
            if let Some(used) = self.piece.take() {
                self.pool.give(used);
            }
            self.at = 0;
            match self.raw.recv() {
                Ok(Ok(piece)) => self.piece = Some(piece),
                Ok(Err(trouble)) => {
                    self.failed.set(trouble);
                    return Err(io::Error::other("the source failed"));
                }
                Err(_) => return Ok(&[]),
            }
        }
        Ok(self.piece.as_ref().map_or(&[], |piece| &piece[self.at..]))
    }

    fn consume(&mut self, amount: usize) {
        self.at += amount;
        self.taken.fetch_add(amount as u64, Ordering::Relaxed);
    }
}

impl Read for Input<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let piece = self.fill_buf()?;
        let length = piece.len().min(buffer.len());
        buffer[..length].copy_from_slice(&piece[..length]);
        self.consume(length);
        Ok(length)
    }
}

/// How a stream is compressed.
enum Decoder<'t> {
    Plain(Input<'t>),
    Gzip(Box<flate2::bufread::MultiGzDecoder<Input<'t>>>),
    Zstd(Box<zstd::stream::read::Decoder<'static, Input<'t>>>),
    Foreign(Foreign, Unpacked<Input<'t>>),
}

impl<'t> Decoder<'t> {
    /// By the first bytes: media types lie.
    fn new(mut input: Input<'t>) -> Result<Self, Trouble> {
        let Ok(begin) = input.fill_buf() else {
            return Err(input.failed.take().unwrap_or_else(Trouble::truncated));
        };
        match begin {
            [0x1f, 0x8b, ..] => Ok(Self::Gzip(Box::new(flate2::bufread::MultiGzDecoder::new(input)))),
            [0x28, 0xb5, 0x2f, 0xfd, ..] | [0x50..=0x5f, 0x2a, 0x4d, 0x18, ..] => {
                let decoder = zstd::stream::read::Decoder::with_buffer(input);
                decoder.map(|decoder| Self::Zstd(Box::new(decoder))).map_err(Trouble::Source)
            }
            begin => match Foreign::of(begin) {
                Some(foreign) => Ok(Self::Foreign(foreign, foreign.unpack(input))),
                None => Ok(Self::Plain(input)),
            },
        }
    }

    /// The next piece of the tar stream; none at the end.
    fn piece(&mut self, pool: &Pool) -> io::Result<Option<Arc<Vec<u8>>>> {
        let decoder: &mut dyn Read = match self {
            // Nothing takes a part of one, so they go on uncopied.
            Self::Plain(input) => return input.whole(),
            Self::Gzip(decoder) => decoder,
            Self::Zstd(decoder) => decoder,
            Self::Foreign(_, unpacked) => unpacked,
        };
        let mut buffer = pool.take();
        buffer.resize(PIECE, 0);
        let mut length = 0;
        while length < PIECE {
            match decoder.read(&mut buffer[length..]) {
                Ok(0) => break,
                Ok(more) => length += more,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        buffer.truncate(length);
        Ok((length > 0).then(|| Arc::new(buffer)))
    }

    /// What an error of a read was.
    fn trouble(&self, error: &io::Error) -> Trouble {
        let how = match self {
            Self::Plain(_) => "plain",
            Self::Gzip(_) => "gzip",
            Self::Zstd(_) => "zstd",
            Self::Foreign(foreign, _) => foreign.name(),
        };
        if error.kind() == io::ErrorKind::UnexpectedEof {
            return Trouble::truncated();
        }
        Trouble::refused(format!("its {how} stream is damaged: {error}"))
    }
}

/// Decompresses to the end; how many bytes that were.
fn inflate(
    input: Input<'_>,
    tar: &SyncSender<Piece>,
    sum: &SyncSender<Arc<Vec<u8>>>,
    limits: &Limits,
    pool: &Pool,
) -> u64 {
    let taken = input.taken;
    let mut bytes = 0;
    let work = || -> Result<(), Trouble> {
        let failed = input.failed.clone();
        let mut decoder = Decoder::new(input)?;
        loop {
            let piece = decoder.piece(pool);
            let piece = piece.map_err(|error| failed.take().unwrap_or_else(|| decoder.trouble(&error)))?;
            let Some(piece) = piece else { return Ok(()) };
            bytes += piece.len() as u64;
            limits.check(bytes, taken.load(Ordering::Relaxed)).map_err(|reason| {
                Trouble::refused(reason).hint("if you trust where it comes from, raise the limit")
            })?;
            // A receiver that is gone has said why, or will.
            if sum.send(Arc::clone(&piece)).is_err() || tar.send(Ok(piece)).is_err() {
                return Ok(());
            }
        }
    };
    if let Err(trouble) = work() {
        let _ = tar.send(Err(trouble));
    }
    bytes
}

/// Bytes as they come, in pieces: what an archive is read from.
pub(super) trait Pieces {
    /// What comes next, as much as is at hand; empty at the end.
    fn piece(&mut self) -> Result<&[u8], Trouble>;

    /// Takes so many of the bytes that [`Self::piece`] gave.
    fn consume(&mut self, amount: usize);

    /// Fills the buffer, or finds the end before its first byte and says false.
    fn fill_or_end(&mut self, buffer: &mut [u8]) -> Result<bool, Trouble> {
        let mut filled = 0;
        while filled < buffer.len() {
            let piece = self.piece()?;
            if piece.is_empty() {
                return if filled == 0 { Ok(false) } else { Err(Trouble::truncated()) };
            }
            let length = piece.len().min(buffer.len() - filled);
            buffer[filled..filled + length].copy_from_slice(&piece[..length]);
            self.consume(length);
            filled += length;
        }
        Ok(true)
    }

    /// Fills the buffer.
    fn fill(&mut self, buffer: &mut [u8]) -> Result<(), Trouble> {
        if buffer.is_empty() || self.fill_or_end(buffer)? { Ok(()) } else { Err(Trouble::truncated()) }
    }

    /// Passes over so many bytes, or to the end; whether all of them were there.
    fn pass(&mut self, mut bytes: u64) -> Result<bool, Trouble> {
        while bytes > 0 {
            let piece = self.piece()?;
            if piece.is_empty() {
                return Ok(false);
            }
            let length = piece.len().min(usize::try_from(bytes).unwrap_or(usize::MAX));
            self.consume(length);
            bytes -= length as u64;
        }
        Ok(true)
    }

    /// Passes over so many bytes.
    fn skip(&mut self, bytes: u64) -> Result<(), Trouble> {
        if self.pass(bytes)? { Ok(()) } else { Err(Trouble::truncated()) }
    }
}

/// The tar stream, piece after piece.
pub(super) struct Stream {
    pieces: Receiver<Piece>,
    piece: Option<Arc<Vec<u8>>>,
    at: usize,
    ended: bool,
    pool: Pool,
}

impl Pieces for Stream {
    fn piece(&mut self) -> Result<&[u8], Trouble> {
        if !self.ended && self.piece.as_ref().is_none_or(|piece| self.at == piece.len()) {
            if let Some(used) = self.piece.take() {
                self.pool.give(used);
            }
            self.at = 0;
            match self.pieces.recv() {
                Ok(piece) => self.piece = Some(piece?),
                Err(_) => self.ended = true,
            }
        }
        Ok(self.piece.as_ref().map_or(&[], |piece| &piece[self.at..]))
    }

    fn consume(&mut self, amount: usize) {
        self.at += amount;
    }
}

impl Pieces for &mut Stream {
    fn piece(&mut self) -> Result<&[u8], Trouble> {
        (**self).piece()
    }

    fn consume(&mut self, amount: usize) {
        (**self).consume(amount);
    }
}

impl Stream {
    /// What stands after the archive's end counts for the digests and for nothing else, as Docker has it.
    fn drain(&mut self) -> Result<(), Trouble> {
        self.pass(u64::MAX).map(|_| ())
    }
}
