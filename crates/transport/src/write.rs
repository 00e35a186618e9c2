//! From images in the store to places: everything is looked for before the first byte is written, and nothing is there
//! half: a file or an index gets its name when it is whole.

mod archive;
mod directory;
mod layout;
mod part;

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use oci::Reference;
use oci::image::Descriptor;
use step::Failure;
use storage::blobs::Blobs;

use crate::location::{Form, Location, Which};
use part::Parts;

pub(crate) const STEP: &str = "transport.write";

/// An image that is to be written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Export {
    /// The names that it is to have there.
    pub names: Vec<Reference>,
    /// What an OCI layout is to call it where it has no name.
    pub label: Option<String>,
    /// Its manifest, or an index of which all is written that is in the store.
    pub manifest: Descriptor,
}

/// Writes images out of a store. Manifests and configurations stay what they are, byte for byte, and layers as they are
/// compressed.
#[derive(Debug, Clone, Copy)]
pub struct Writer<'s> {
    /// The store.
    pub blobs: &'s Blobs,
}

impl Writer<'_> {
    /// Writes images to a place. A file gets its name when it is whole; a layout that is there gets more images, and those
    /// of the same name make way.
    ///
    /// # Errors
    /// Step `transport.write`: what of an image is not in the store, or cannot be said in that form; a directory with
    /// other things in it; the kernel's.
    pub fn write(&self, location: &Location, images: &[Export]) -> Result<(), Failure> {
        let place = location.path.display().to_string();
        let images = &labelled(location, images)?;
        let parts = Parts::gather(self.blobs, images)?;
        match location.form {
            Form::OciLayout => layout::write(self.blobs, &location.path, &parts),
            Form::Directory => directory::write(self.blobs, &location.path, &parts),
            Form::OciArchive | Form::DockerArchive => {
                let also_docker = location.form == Form::DockerArchive;
                let plan = archive::plan(&parts, also_docker)?;
                replace(&location.path, |file| archive::write(self.blobs, &plan, file))
                    .map_err(|cause| storage::blobs::with_hint(Failure::new(STEP, place, cause)))
            }
        }
    }

    /// Writes images as one archive that is an OCI layout and Docker's format at once, as `docker save` does since 25: to
    /// a pipe, or a file that is already there. `place` is what messages call it.
    ///
    /// # Errors
    /// As [`Writer::write`]'s.
    pub fn save(&self, output: impl Write, place: &str, images: &[Export]) -> Result<(), Failure> {
        let plan = archive::plan(&Parts::gather(self.blobs, images)?, true)?;
        archive::write(self.blobs, &plan, output)
            .map_err(|cause| storage::blobs::with_hint(Failure::new(STEP, place, cause)))
    }
}

/// The images with the name that the location gives.
fn labelled(location: &Location, images: &[Export]) -> Result<Vec<Export>, Failure> {
    let mut images = images.to_vec();
    let refused = |reason: &str| Err(Failure::because(STEP, location.to_string(), reason));
    match (&location.which, images.as_mut_slice()) {
        (_, []) => return refused("there is no image to be written"),
        (None, _) => {}
        (Some(Which::At(_)), _) => {
            return refused("an image is written under a name, not at a place of a list");
        }
        (Some(Which::Named(name)), [image]) => {
            let reference = name.parse::<Reference>().ok().filter(|_| name.contains(['/', ':']));
            if location.form == Form::DockerArchive && reference.is_none() {
                return refused("its name has a tag, as in docker-archive:FILE:NAME:TAG");
            }
            image.names = reference.into_iter().collect();
            image.label = Some(name.clone());
        }
        (Some(Which::Named(_)), _) => return refused("one name is for one image, and there are several"),
    }
    Ok(images)
}

/// Writes a file beside `path`, and gives it that name when it is whole and on disk. What is no file, as a pipe or a
/// device, is written to as it is.
fn replace(path: &Path, write: impl FnOnce(File) -> io::Result<()>) -> io::Result<()> {
    if fs::metadata(path).is_ok_and(|there| !there.is_file()) {
        return write(File::options().write(true).open(path)?);
    }
    let (beside, file) = beside(path)?;
    let written = file.try_clone().and_then(write).and_then(|()| {
        file.sync_all()?;
        fs::rename(&beside, path)
    });
    if written.is_err() {
        let _ = fs::remove_file(&beside);
    }
    written
}

/// A new file in the same directory, which nobody else has: a link of that name is not followed.
fn beside(path: &Path) -> io::Result<(PathBuf, File)> {
    static NUMBER: AtomicU64 = AtomicU64::new(0);
    let name = path.file_name().ok_or(io::ErrorKind::InvalidInput)?.to_string_lossy();
    loop {
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let beside = path.with_file_name(format!(".{name}.{}-{number}", std::process::id()));
        match File::options().write(true).create_new(true).open(&beside) {
            Err(cause) if cause.kind() == io::ErrorKind::AlreadyExists => {}
            opened => return Ok((beside, opened?)),
        }
    }
}

/// Whether a directory has nothing in it, or is not there.
fn is_free(path: &Path) -> Result<bool, Failure> {
    match fs::read_dir(path) {
        Err(cause) if cause.kind() == io::ErrorKind::NotFound => Ok(true),
        Err(cause) => Err(Failure::new(STEP, path.display().to_string(), cause)),
        Ok(mut entries) => Ok(entries.next().is_none()),
    }
}
