//! From a place to images in the store.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read as _, Seek as _};
use std::os::unix::fs::FileExt as _;
use std::path::Path;

use oci::Compression;
use step::Failure;
use storage::blobs::Blobs;

use crate::bring::bring;
use crate::directory;
use crate::docker;
use crate::files::{ArchiveFile, Directory, Files, STEP, spool};
use crate::held::Held;
use crate::image::{Image, Plan};
use crate::layout::{self, LAYOUT, Platforms};
use crate::location::{Form, Location, Which};
use crate::sniff::{BEGIN, Sort, sort};
use crate::unpack::Unpack;

/// Bytes that are read of a pipe at once.
const BUFFER: usize = 256 << 10;

/// Brings images into a store. All of one call are kept, or none.
#[derive(Clone, Copy)]
pub struct Reader<'s> {
    /// The store.
    pub blobs: &'s Blobs,
    /// Which images of an index are taken.
    pub platforms: &'s Platforms,
    /// Who reads the layers on their way.
    pub unpack: &'s dyn Unpack,
}

/// What an archive is taken for.
#[derive(Debug, Clone, Copy)]
enum As {
    Layout,
    Docker,
    /// A layout if it is one, else Docker's. Of what is both, the layout knows more: it has manifests.
    Either,
}

impl Reader<'_> {
    /// Brings the images of a place. A file may be compressed by gzip, zstd, xz or bzip2 as a whole, and may be a pipe.
    ///
    /// # Errors
    /// Step `transport.read`: what is wrong, on the file and the name in it. Those of the store.
    pub fn read(&self, location: &Location) -> Result<Vec<Image>, Failure> {
        let which = location.which.as_ref();
        let place = location.path.display().to_string();
        match location.form {
            Form::OciLayout | Form::Directory => {
                let files = Directory::open(&location.path)?;
                let plans = match location.form {
                    Form::OciLayout => layout::plans(&files, which, self.platforms)?,
                    _ => directory::plans(&files, self.platforms)?,
                };
                self.bring(&files, plans, Held::new(self.blobs))
            }
            Form::OciArchive => self.archive(open(&location.path)?, &place, As::Layout, which),
            Form::DockerArchive => self.archive(open(&location.path)?, &place, As::Docker, which),
        }
    }

    /// Brings all images of an archive, whichever it is: an OCI layout, Docker's, or both in one, as `docker save` writes
    /// them since 25. `file` is read from where it stands; `place` is what messages call it.
    ///
    /// # Errors
    /// As [`Reader::read`]'s.
    pub fn load(&self, file: File, place: &str) -> Result<Vec<Image>, Failure> {
        self.archive(file, place, As::Either, None)
    }

    fn archive(
        &self,
        mut file: File,
        place: &str,
        form: As,
        which: Option<&Which>,
    ) -> Result<Vec<Image>, Failure> {
        let failed = |cause: io::Error| Failure::new(STEP, place, cause);
        let kind = file.metadata().map_err(failed)?;
        if kind.is_dir() {
            return Err(Failure::because(STEP, place, "is a directory, and should be an archive")
                .hint("images in directories are named by oci:DIR or dir:DIR"));
        }
        let held = Held::new(self.blobs);
        if kind.is_file() {
            let here = file.stream_position().map_err(failed)?;
            let mut begin = vec![0; BEGIN];
            let length = file.read_at(&mut begin, here).map_err(failed)?;
            if sort(&begin[..length]) == Sort::Layer(Compression::None) {
                let files = ArchiveFile::open(file, here, place)?;
                return self.either(&files, form, which, held);
            }
        }
        let reader = decompressed(file, place)?;
        let files = spool(reader, place, &held, self.unpack)?;
        self.either(&files, form, which, held)
    }

    fn either(
        &self,
        files: &dyn Files,
        form: As,
        which: Option<&Which>,
        held: Held<'_>,
    ) -> Result<Vec<Image>, Failure> {
        let is_layout = match form {
            As::Layout => true,
            As::Docker => false,
            As::Either => files.open(LAYOUT)?.is_some() && files.open(layout::INDEX)?.is_some(),
        };
        let plans = if is_layout {
            let mut plans = layout::plans(files, which, self.platforms)?;
            if matches!(form, As::Either) && files.open(docker::MANIFEST)?.is_some() {
                docker::add_names(files, &mut plans)?;
            }
            plans
        } else {
            docker::plans(files, which)?
        };
        self.bring(files, plans, held)
    }

    fn bring(&self, files: &dyn Files, plans: Vec<Plan>, held: Held<'_>) -> Result<Vec<Image>, Failure> {
        bring(files, plans, held, self.unpack, self.platforms)
    }
}

fn open(path: &Path) -> Result<File, Failure> {
    File::open(path).map_err(|cause| Failure::new(STEP, path.display().to_string(), cause))
}

/// What a stream has in it, by its first bytes.
fn decompressed(file: File, place: &str) -> Result<Box<dyn BufRead + Send>, Failure> {
    let failed = |cause: io::Error| Failure::new(STEP, place, cause);
    let mut begin = Vec::new();
    (&file).take(BEGIN as u64).read_to_end(&mut begin).map_err(failed)?;
    let sort = sort(&begin);
    let whole = BufReader::with_capacity(BUFFER, io::Cursor::new(begin).chain(file));
    let refused = |reason: &str| Err(Failure::because(STEP, place, reason));
    match sort {
        Sort::Layer(Compression::None) => Ok(Box::new(whole)),
        Sort::Layer(Compression::Gzip) => {
            Ok(Box::new(BufReader::with_capacity(BUFFER, flate2::bufread::MultiGzDecoder::new(whole))))
        }
        Sort::Layer(Compression::Zstd) => {
            let decoder = zstd::stream::read::Decoder::with_buffer(whole).map_err(failed)?;
            Ok(Box::new(BufReader::with_capacity(BUFFER, decoder)))
        }
        Sort::Foreign(foreign) => Ok(Box::new(BufReader::with_capacity(BUFFER, foreign.unpack(whole)))),
        Sort::Text => refused("is a text, and should be an archive of images"),
        Sort::Other => refused("is no archive of images"),
    }
}
