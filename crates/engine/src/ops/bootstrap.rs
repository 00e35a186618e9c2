//! `image bootstrap`: a base image by this machine's own tools.

use std::fs::File;
use std::path::{Path, PathBuf};

use ::bootstrap::{Options, Suggested, find};
use images::{Images, Layer};
use oci::time::Rfc3339;
use oci::{Digest, Platform};
use rustix::fs::FlockOperation;
use serde_json::json;
use step::Failure;
use storage::layer::{self, Compression, Kind as Tree};
use storage::layers::{Extraction, publish};

use super::commit::{LAYER, Nothing};
use super::files::put;
use super::images::reference;
use crate::{Error, Kind, Settings};

/// What is asked for.
#[derive(Debug, Clone, Default)]
pub struct Bootstrap {
    /// `debian:bookworm`.
    pub template: String,
    /// The image's name; the template's where absent.
    pub name: Option<String>,
    /// `--mirror`.
    pub mirror: Option<String>,
    /// SOURCE_DATE_EPOCH, in seconds since 1970.
    pub epoch: Option<u64>,
}

/// The names of all templates.
pub fn templates() -> Vec<&'static str> {
    ::bootstrap::TEMPLATES.iter().map(|template| template.name).collect()
}

/// Makes it; the image's id. `progress` gets a line for each thing that is done.
pub fn bootstrap(
    settings: &Settings,
    asked: &Bootstrap,
    progress: &mut dyn FnMut(&str),
) -> Result<Digest, Error> {
    let invalid = |failure: Failure| Error { kind: Kind::Invalid, ..Error::from(failure) };
    let template = find(&asked.template).map_err(invalid)?;
    let name = reference(asked.name.as_deref().unwrap_or(template.name))?;
    if name.digest().is_some() {
        return Err(Error::new(Kind::Invalid, "an image's new name has no digest"));
    }
    let images = Images::open(&settings.root)?;
    let _bringing = images.bringing()?;
    let place = Place::new(&settings.root)?;
    let options = Options { mirror: asked.mirror.clone(), epoch: asked.epoch };
    let suggested = ::bootstrap::bootstrap(template, &options, &place.tree(), progress)?;

    progress("packing");
    let how = layer::Settings {
        kind: Tree::Tree,
        compression: Compression::Gzip(6),
        whole_seconds: true,
        latest: asked.epoch.and_then(|epoch| i64::try_from(epoch).ok()),
        ..layer::Settings::default()
    };
    let tree = File::open(place.tree())
        .map_err(|cause| Failure::new("image.bootstrap", place.tree().display().to_string(), cause))?;
    let mut fresh = images.blobs().create()?;
    let packed = layer::archive(&tree, &mut fresh, &how)?;
    let (digest, size) = fresh.commit()?;
    if let Extraction::Done(tree) = images.layers().adopt(&packed, &place.tree())? {
        publish(vec![*tree])?;
    }
    let layer = Layer { diff_id: packed.diff_id, digest, size, media_type: LAYER.to_owned() };
    // Where another process has the same layer at this moment.
    images.bring(std::slice::from_ref(&layer), &Nothing, &|_| {})?;
    let image = put(&images, &config(asked, &suggested, &layer), vec![layer], "image.bootstrap")?;
    Ok(images.add(image, &[name.canonical()])?.id)
}

fn config(asked: &Bootstrap, suggested: &Suggested, layer: &Layer) -> serde_json::Value {
    let epoch = asked.epoch.and_then(|epoch| i64::try_from(epoch).ok());
    let now = Rfc3339::seconds(epoch.unwrap_or_else(images::now)).to_string();
    let from = suggested.mirror.as_ref().map_or_else(String::new, |mirror| format!(" from {mirror}"));
    let platform = Platform::host();
    json!({
        "architecture": platform.architecture(),
        "os": platform.os(),
        "created": now,
        "config": {"Env": suggested.env, "Cmd": suggested.cmd},
        "rootfs": {"type": "layers", "diff_ids": [layer.diff_id]},
        "history": [{"created": now, "created_by": format!("bootstrap {}{from}", asked.template)}],
    })
}

/// A directory of the store that goes with this, and at the latest with the next one.
struct Place {
    all: PathBuf,
    name: String,
    _lock: File,
}

impl Place {
    fn new(root: &Path) -> Result<Self, Error> {
        let all = root.join("bootstrap");
        let failed = |cause| Failure::new("image.bootstrap", all.display().to_string(), cause);
        std::fs::create_dir_all(&all).map_err(failed)?;
        for entry in std::fs::read_dir(&all).map_err(failed)? {
            let entry = entry.map_err(failed)?;
            let Ok(left) = File::open(entry.path()) else { continue };
            // Nobody has it: a killed attempt left it.
            if rustix::fs::flock(&left, FlockOperation::NonBlockingLockExclusive).is_ok() {
                storage::remove_directory(&all, &entry.file_name().to_string_lossy())?;
            }
        }
        let name = crate::names::id();
        let path = all.join(&name);
        std::fs::create_dir(&path).map_err(failed)?;
        let lock = File::open(&path).map_err(failed)?;
        rustix::fs::flock(&lock, FlockOperation::LockExclusive).map_err(|errno| failed(errno.into()))?;
        Ok(Self { all, name, _lock: lock })
    }

    fn tree(&self) -> PathBuf {
        self.all.join(&self.name).join("tree")
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let _ = storage::remove_directory(&self.all, &self.name);
    }
}
