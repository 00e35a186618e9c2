//! One image in a directory as skopeo has it: its manifest, and blobs beside it.

use std::fs;
use std::io::{self, Write as _};
use std::path::Path;

use step::Failure;
use storage::blobs::Blobs;

use super::part::{Parts, read};
use super::{STEP, is_free, layout, replace};
use crate::directory::{MANIFEST, VERSION, VERSION_TEXT, blob_name, manifest_name};

/// Writes one image to the directory at `path`, which is made if it is not there. Its manifest is written last.
pub(super) fn write(blobs: &Blobs, path: &Path, parts: &Parts) -> Result<(), Failure> {
    let failed = |path: &Path, cause: io::Error| Failure::new(STEP, path.display().to_string(), cause);
    let place = path.display().to_string();
    let [whole] = parts.images.as_slice() else {
        return Err(Failure::because(STEP, place, "such a directory has one image, and there are several")
            .hint("write them to oci:DIR, or each to a directory of its own"));
    };
    if !is_free(path)? && !path.join(VERSION).exists() {
        return Err(Failure::because(STEP, place, "has other things in it than an image")
            .hint("name a directory that is not there yet"));
    }
    fs::create_dir_all(path).map_err(|cause| failed(path, cause))?;
    for digest in parts.blobs.keys().filter(|digest| **digest != whole.digest) {
        let name = if whole.below.contains(digest) { manifest_name(digest) } else { blob_name(digest) };
        layout::copy(blobs, digest, &path.join(name))?;
    }
    let manifest = read(blobs, &whole.digest)?;
    for (name, text) in [(VERSION, VERSION_TEXT.as_bytes()), (MANIFEST, &manifest)] {
        let target = path.join(name);
        replace(&target, |mut file| file.write_all(text)).map_err(|cause| failed(&target, cause))?;
    }
    Ok(())
}
