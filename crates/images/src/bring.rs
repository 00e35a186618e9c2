//! Bringing an image's layers: many at once, each read once, while it is written as a blob and unpacked as a layer.

use std::collections::HashSet;
use std::io::{self, Read};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::thread;

use step::Failure;
use storage::blobs::{Ingest, Ingesting};
use storage::layer::Options;
use storage::layers::{Extracted, Extraction, publish};

use crate::Images;
use crate::image::Layer;

/// How many layers come at the same time.
const AT_ONCE: usize = 4;
/// Bytes that are read at a time where nothing is unpacked.
const PIECE: usize = 1 << 18;

/// Where layers come from.
pub trait Supply: Sync {
    /// A layer's blob from byte `offset` on. What it says is verified by who reads it.
    ///
    /// # Errors
    /// A source that has it not, or cannot be reached.
    fn open(&self, layer: &Layer, offset: u64) -> Result<Box<dyn Read + Send + '_>, Failure>;
}

/// How far a layer is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// It will come.
    Waiting,
    /// It is here already.
    Present,
    /// So many bytes of its blob are here.
    Downloading(u64),
    /// Its blob is here.
    Downloaded,
    /// It is unpacked.
    Done,
}

/// Something that happened to a layer.
#[derive(Debug, Clone, Copy)]
pub struct Event<'e> {
    /// The layer.
    pub layer: &'e Layer,
    /// How far it is.
    pub phase: Phase,
}

/// Who is told of it, from several threads.
pub type Watch<'w> = &'w (dyn Fn(Event<'_>) + Sync);

/// What all threads know.
struct Work<'w> {
    images: &'w Images,
    layers: Vec<(&'w Layer, bool)>,
    next: AtomicUsize,
    supply: &'w dyn Supply,
    watch: Watch<'w>,
    stopped: AtomicBool,
    results: Mutex<Results<'w>>,
}

#[derive(Default)]
struct Results<'w> {
    extracted: Vec<Extracted>,
    /// Another process unpacks these.
    busy: Vec<&'w Layer>,
    failure: Option<Failure>,
}

impl Images {
    /// Brings what is missing of these layers, the lowest first. Each becomes a blob and a directory; nothing has a name
    /// before it is verified. What was brought when another failed stays, for the next attempt.
    ///
    /// Hold [`Images::bringing`] until an image names them.
    ///
    /// # Errors
    /// Those of the supply, of the content (another digest, an archive that is refused), of the disk.
    pub fn bring(&self, layers: &[Layer], supply: &dyn Supply, watch: Watch<'_>) -> Result<(), Failure> {
        let (mut blobs, mut trees) = (HashSet::new(), HashSet::new());
        // A layer that an image has twice comes once, and is unpacked once.
        let once = layers.iter().filter(|layer| blobs.insert(layer.digest));
        let layers: Vec<_> = once.map(|layer| (layer, trees.insert(layer.diff_id))).collect();
        for (layer, unpacked) in &layers {
            let is_here = self.blobs.has(&layer.digest).is_some()
                && (!unpacked || self.layers.have(&layer.diff_id).is_some());
            if !is_here {
                watch(Event { layer, phase: Phase::Waiting });
            }
        }
        let threads = layers.len().min(AT_ONCE);
        let work = Work {
            images: self,
            layers,
            next: AtomicUsize::new(0),
            supply,
            watch,
            stopped: AtomicBool::new(false),
            results: Mutex::default(),
        };
        thread::scope(|scope| {
            for _ in 0..threads {
                scope.spawn(|| work.run());
            }
        });
        let results = work.results.into_inner().unwrap_or_else(PoisonError::into_inner);
        let whole: Vec<_> = results.extracted.iter().map(|layer| layer.applied.diff_id).collect();
        publish(results.extracted)?;
        if let Some(failure) = results.failure {
            return Err(failure);
        }
        for (layer, _) in work.layers.iter().filter(|(layer, _)| whole.contains(&layer.diff_id)) {
            watch(Event { layer, phase: Phase::Done });
        }
        // Only now, with nothing of our own left unpublished, for which that process may be waiting.
        for layer in results.busy {
            self.unpack(layer)?;
            watch(Event { layer, phase: Phase::Done });
        }
        Ok(())
    }

    /// Unpacks a layer whose blob is here; waits as long as another process does it.
    fn unpack(&self, layer: &Layer) -> Result<(), Failure> {
        let blob = self.blobs.get(&layer.digest)?.ok_or_else(|| gone(layer))?;
        match self.layers.extract(&layer.diff_id, blob.file, &Options::default())? {
            Extraction::Done(extracted) => publish(vec![*extracted]),
            Extraction::Present | Extraction::Busy => Ok(()),
        }
    }
}

fn gone(layer: &Layer) -> Failure {
    Failure::because("images", layer.digest.to_string(), "is gone from the content store").hint("try again")
}

impl<'w> Work<'w> {
    fn run(&self) {
        while !self.stopped.load(Ordering::Relaxed) {
            let Some((layer, unpacked)) = self.layers.get(self.next.fetch_add(1, Ordering::Relaxed)) else {
                return;
            };
            match self.one(layer, *unpacked) {
                Ok(extraction) => self.results(|results| match extraction {
                    Some(Extraction::Done(extracted)) => results.extracted.push(*extracted),
                    Some(Extraction::Busy) => results.busy.push(layer),
                    Some(Extraction::Present) | None => {}
                }),
                Err(failure) => {
                    // The first is the one to tell: the others may be its consequence.
                    let first = !self.stopped.swap(true, Ordering::Relaxed);
                    self.results(|results| {
                        if first {
                            results.failure = Some(failure);
                        }
                    });
                }
            }
        }
    }

    fn results(&self, change: impl FnOnce(&mut Results<'w>)) {
        change(&mut self.results.lock().unwrap_or_else(PoisonError::into_inner));
    }

    /// Brings one layer. What became of its directory, if that was wanted.
    fn one(&self, layer: &'w Layer, unpacked: bool) -> Result<Option<Extraction>, Failure> {
        let images = self.images;
        let unpacked = unpacked && images.layers.have(&layer.diff_id).is_none();
        let extraction = match images.blobs.ingest(&layer.digest, layer.size)? {
            Ingesting::Begun(ingest) => self.download(layer, ingest, unpacked)?,
            Ingesting::Present(_) | Ingesting::Busy if unpacked => {
                (self.watch)(Event { layer, phase: Phase::Downloaded });
                let blob = images.blobs.get(&layer.digest)?.ok_or_else(|| gone(layer))?;
                Some(images.layers.try_extract(&layer.diff_id, blob.file, &Options::default())?)
            }
            Ingesting::Present(_) | Ingesting::Busy => {
                (self.watch)(Event { layer, phase: Phase::Present });
                None
            }
        };
        Ok(extraction)
    }

    /// Reads the supply once: to the blob, and to the directory if that is wanted.
    fn download(
        &self,
        layer: &'w Layer,
        ingest: Ingest,
        unpacked: bool,
    ) -> Result<Option<Extraction>, Failure> {
        let begun = ingest.begun()?;
        let rest = self.supply.open(layer, ingest.offset())?;
        let mut tee = Tee { work: self, layer, begun, rest, ingest, failure: None };
        // Where nothing is unpacked, what is there of the blob is not read once more.
        let extraction = match unpacked {
            true => Some(self.images.layers.try_extract(&layer.diff_id, &mut tee, &Options::default())),
            false => None,
        };
        if let Some(failure) = tee.failure {
            return Err(failure);
        }
        // The archive may be refused for what a broken download made of it; then it must not be gone on with.
        let refused = matches!(&extraction, Some(Err(_)));
        let drained = tee.drain();
        if let Some(failure) = tee.failure {
            return Err(failure);
        }
        match drained {
            Ok(()) => {}
            Err(_) if refused => {}
            Err(error) => return Err(Failure::new("images", layer.digest.to_string(), error)),
        }
        tee.ingest.commit()?;
        let extraction = match extraction.transpose() {
            // An archive that is refused is so for ever; what the kernel refuses may be a matter of space.
            Err(failure) if failure.errno == 0 => {
                self.images.blobs.remove(&layer.digest)?;
                return Err(failure);
            }
            extraction => extraction?,
        };
        (self.watch)(Event { layer, phase: Phase::Downloaded });
        Ok(extraction)
    }
}

/// A reader of a layer's blob that writes what it reads from the supply.
struct Tee<'t, 'w> {
    work: &'t Work<'w>,
    layer: &'t Layer,
    /// What an earlier attempt left.
    begun: io::Take<std::fs::File>,
    rest: Box<dyn Read + Send + 't>,
    ingest: Ingest,
    /// What the supply or the disk said: an unpacker tells it in other words.
    failure: Option<Failure>,
}

impl Tee<'_, '_> {
    fn supplied_bytes(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.work.stopped.load(Ordering::Relaxed) {
            return Err(io::Error::other("another layer failed"));
        }
        let target = || self.layer.digest.to_string();
        let count = self.rest.read(buffer).inspect_err(|error| {
            if error.kind() != io::ErrorKind::Interrupted {
                self.failure = Some(supplied(error, target()));
            }
        })?;
        if let Err(failure) = self.ingest.write(&buffer[..count]) {
            self.failure = Some(failure);
            return Err(io::Error::other("the blob cannot be written"));
        }
        if count > 0 {
            let phase = Phase::Downloading(self.ingest.offset());
            (self.work.watch)(Event { layer: self.layer, phase });
        }
        Ok(count)
    }

    /// Reads what nobody has read.
    fn drain(&mut self) -> io::Result<()> {
        let mut buffer = vec![0; PIECE];
        loop {
            match self.supplied_bytes(&mut buffer) {
                Ok(0) => return Ok(()),
                Err(error) if error.kind() != io::ErrorKind::Interrupted => return Err(error),
                _ => {}
            }
        }
    }
}

/// A supply's error, in its own words where it has some.
fn supplied(error: &io::Error, target: String) -> Failure {
    match registry::Error::below(error) {
        Some(inner) => Failure { hint: inner.hint(), ..Failure::because("pull", "", inner.to_string()) },
        None => Failure::because("images", target, step::words(error)),
    }
}

impl Read for Tee<'_, '_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self.begun.read(buffer)? {
            0 => self.supplied_bytes(buffer),
            count => Ok(count),
        }
    }
}
