//! Trees of files as they go in and out without an image around them: `import` and `export`.

use std::io::{self, BufReader, Read, Write as _};
use std::os::fd::AsFd;

use oci::image::Descriptor;
use step::Failure;
use storage::blobs::{Blobs, Fresh};
use storage::layer::{self, Archived, Compression, Kind, Limits, Owners, Settings};

use crate::image::{Layer, layer_type};
use crate::sniff::{BEGIN, Sort, sort};

const STEP: &str = "transport.import";

/// Bytes that are read at once.
const BUFFER: usize = 256 << 10;

/// Stores the tar archive that `source` gives, plain or compressed, as a layer: as it comes, so that it costs no more
/// than reading it, but for xz and bzip2, which become gzip. `place` is what messages call it.
///
/// # Errors
/// Step `transport.import`: what is no archive. Those of the source and the store. Then nothing is kept.
pub fn import(
    blobs: &Blobs,
    source: impl Read + Send,
    place: &str,
    limits: &Limits,
) -> Result<Layer, Failure> {
    let mut writing = Writing { source, fresh: blobs.create()?, begin: Vec::new(), failed: None };
    let inspected = layer::inspect(&mut writing, limits, false);
    let Writing { fresh, begin, failed, .. } = writing;
    if let Some(cause) = failed {
        return Err(storage::blobs::with_hint(Failure::new("storage.blob", place, cause)));
    }
    let named = |failure: Failure| {
        let target = match failure.target.strip_prefix("entry ") {
            Some(entry) => format!("{place}: {entry}"),
            None => place.to_owned(),
        };
        Failure { step: STEP.into(), target, ..failure }
    };
    let inspected = inspected.map_err(named)?;
    let (fresh, compression) = match sort(&begin) {
        Sort::Layer(compression) => (fresh, compression),
        // No layer is packed so, and nobody could read what is pushed.
        Sort::Foreign(foreign) => {
            let content = BufReader::with_capacity(BUFFER, fresh.reader()?);
            let mut packed = blobs.create()?;
            let made =
                layer::compress(foreign.unpack(content), &mut packed, Compression::Gzip(6)).map_err(named)?;
            if made.diff_id != inspected.diff_id {
                return Err(Failure::because(STEP, place, "is not what it was a moment ago"));
            }
            (packed, oci::Compression::Gzip)
        }
        _ => return Err(Failure::because(STEP, place, "is no tar archive")),
    };
    let (digest, size) = fresh.commit()?;
    let descriptor = Descriptor::new(layer_type(compression), size, digest);
    Ok(Layer { descriptor, digest, diff_id: inspected.diff_id })
}

/// What is read is written.
struct Writing<R> {
    source: R,
    fresh: Fresh,
    begin: Vec<u8>,
    failed: Option<io::Error>,
}

impl<R: Read> Read for Writing<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let length = self.source.read(buffer)?;
        let more = BEGIN.saturating_sub(self.begin.len()).min(length);
        self.begin.extend_from_slice(&buffer[..more]);
        if let Err(error) = self.fresh.write_all(&buffer[..length]) {
            let told = io::Error::from(error.kind());
            self.failed = Some(error);
            return Err(told);
        }
        Ok(length)
    }
}

/// Writes a tree of files, as a container's root, as one plain tar stream: no whiteouts, no sockets, what is mounted below
/// it left out. Times are in whole seconds, as Docker has them.
///
/// # Errors
/// As [`layer::archive`]'s.
pub fn export(root: impl AsFd, output: impl io::Write + Send) -> Result<Archived, Failure> {
    let settings = Settings {
        kind: Kind::Export,
        compression: Compression::None,
        latest: None,
        whole_seconds: true,
        owners: Owners::Keep,
        sparse: false,
        ..Settings::default()
    };
    layer::archive(root, output, &settings)
}
