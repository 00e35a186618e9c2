//! `commit`: what a container has written becomes a layer, and the container an image.

use std::fs::File;
use std::io::{self, Cursor, Read};
use std::sync::mpsc::{Receiver, sync_channel};
use std::time::SystemTime;

use cgroup::{Group, Hierarchies};
use images::{Image, Images, Layer};
use oci::time::Rfc3339;
use oci::{Digest, Reference};
use serde_json::{Value, json};
use step::Failure;
use storage::layer::{self, Compression, Kind as Tree};

use super::files::put;
use super::images::reference;
use crate::request::Image as From;
use crate::state::{Record, Store, millis};
use crate::{Error, Kind, Settings, events};

pub(super) const LAYER: &str = "application/vnd.oci.image.layer.v1.tar+gzip";

/// What is asked for.
#[derive(Debug, Clone, Default)]
pub struct Commit {
    /// The container, by name or id.
    pub container: String,
    /// The new image's name; none leaves it dangling.
    pub name: Option<String>,
    /// `--author`.
    pub author: String,
    /// `--message`.
    pub message: String,
    /// The processes stand still meanwhile.
    pub pause: bool,
    /// `--change`: instructions of Dockerfiles.
    pub changes: Vec<String>,
}

/// Makes the image; its id.
pub fn commit(settings: &Settings, asked: &Commit) -> Result<Digest, Error> {
    let name = asked.name.as_deref().map(reference).transpose()?;
    if name.as_ref().is_some_and(|name| name.digest().is_some()) {
        return Err(Error::new(Kind::Invalid, "an image's new name has no digest"));
    }
    super::build::check_changes(&asked.changes)?;
    let store = Store::new(settings);
    let id = store.find(&asked.container)?;
    let record = store.record(&id)?.ok_or_else(|| gone(&asked.container))?;
    if let Some(disk) = record.disk.as_ref().filter(|disk| !disk.is_plain_overlay()) {
        let message = format!("what container {} has written is no layer: it is {disk}", asked.container);
        return Err(Error::new(Kind::Invalid, message)
            .hint(format!("minidocker export {} | minidocker import - NAME", asked.container)));
    }
    let Some(origin) = &record.origin else {
        return Err(Error::new(
            Kind::Invalid,
            format!("container {} was not made of an image: {}", asked.container, record.request.image),
        )
        .hint(match record.request.image {
            From::Host => "what it wrote makes no image without this machine's own files".to_owned(),
            _ => format!("minidocker export {} | minidocker import - NAME", asked.container),
        }));
    };
    let images = Images::open(&settings.root)?;
    let _bringing = images.bringing()?;
    // What one that was killed left.
    images.blobs().remove_nameless()?;
    images.layers().sweep()?;
    let base = images.by_id(&origin.id)?.ok_or_else(|| {
        Error::new(Kind::NoSuchImage, format!("the image of container {} was removed", asked.container))
            .hint(format!("minidocker export {} | minidocker import - NAME", asked.container))
    })?;
    let frozen =
        if asked.pause && store.living_init(&id).is_some() { Some(Frozen::new(&record)?) } else { None };
    let layer = pack(settings, &images, &id, &record, &base)?;
    drop(frozen);

    let mut config: Value = serde_json::from_slice(&images.config_bytes(&base)?)
        .map_err(|cause| Failure::new("commit", "the image's configuration", cause))?;
    describe(&mut config, &record, asked, &layer);
    let mut layers = base.layers.clone();
    layers.push(layer);
    let image = put(&images, &config, layers, "commit")?;
    let id = named(settings, &images, image, name.as_ref(), &asked.changes)?;
    let (image, name) = (id.to_string(), name.map_or(String::new(), |name| name.to_string()));
    let more = [("comment", asked.message.as_str()), ("imageID", &image), ("imageRef", &name)];
    events::container(settings, &record, "commit", &more);
    Ok(id)
}

/// Puts an image into the catalogue, with its name and after all changes.
pub(super) fn named(
    settings: &Settings,
    images: &Images,
    image: Image,
    name: Option<&Reference>,
    changes: &[String],
) -> Result<Digest, Error> {
    let names: Vec<String> = name.iter().map(|name| name.canonical()).collect();
    if changes.is_empty() {
        return Ok(images.add(image, &names)?.id);
    }
    let config = |image: &Image| -> Result<Value, Error> {
        serde_json::from_slice(&images.config_bytes(image)?)
            .map_err(|cause| Failure::new("commit", "the image's configuration", cause).into())
    };
    let mut all = config(&image)?;
    let layers = image.layers.clone();
    let plain = images.add(image, &[])?.id;
    let changed = super::build::change(settings, &plain, changes)?;
    // How a container starts is all that they change. The history stays as it was, with its comment: Docker's way.
    if let Some(changed) = images.by_id(&changed)? {
        all["config"] = config(&changed)?["config"].take();
    }
    let id = images.add(put(images, &all, layers, "commit")?, &names)?.id;
    if changed != id {
        super::images::remove(settings, &changed.to_string(), true)?;
    }
    Ok(id)
}

fn gone(name: &str) -> Error {
    Error::new(Kind::NoSuchContainer, format!("no such container: {name}"))
}

/// Processes that stand still as long as this lives; those that its user paused stay so.
pub(super) struct Frozen(Option<Group>);

impl Frozen {
    pub(super) fn new(record: &Record) -> Result<Self, Error> {
        let group = Group::open(&Hierarchies::probe()?, &record.group)?;
        if group.is_frozen()? {
            return Ok(Self(None));
        }
        group.freeze()?;
        Ok(Self(Some(group)))
    }
}

impl Drop for Frozen {
    fn drop(&mut self) {
        if let Some(group) = &self.0 {
            let _ = group.thaw();
        }
    }
}

/// What the container has written, as a blob and as a layer: without the empty files and directories that its mounts
/// needed and that the image has not. Read once for both.
fn pack(
    settings: &Settings,
    images: &Images,
    id: &str,
    record: &Record,
    base: &Image,
) -> Result<Layer, Error> {
    let upper = settings.places().upper(id);
    let directory =
        File::open(&upper).map_err(|cause| Failure::new("commit", upper.display().to_string(), cause))?;
    let lower: Vec<_> = base.layers.iter().map(|layer| images.layers().path(&layer.diff_id)).collect();
    let mounts = record.request.storage.mounts.iter();
    let targets = mounts.map(|mount| mount.target().as_os_str().as_encoded_bytes());
    let how = layer::Settings {
        left_out: build::mount_points(&lower, false, &upper, targets)?,
        kind: Tree::Layer { userxattr: false },
        // Of all levels the one with the most for its time: the others take two to three times as long for some
        // hundredths less.
        compression: Compression::Gzip(1),
        whole_seconds: true,
        ..layer::Settings::default()
    };
    let mut fresh = images.blobs().create()?;
    let (sender, pieces) = sync_channel(PIECES);
    let (packed, extracted) = std::thread::scope(|scope| {
        let unpack = || images.layers().extract_fresh(Pieces::new(pieces), &layer::Options::default());
        let unpacking = std::thread::Builder::new()
            .name("commit-layer".to_owned())
            .spawn_scoped(scope, unpack)
            .map_err(|cause| Failure::new("commit", "a thread for the layer", cause))?;
        let mut is_taken = true;
        let mut tap = |piece: &[u8]| {
            is_taken = sender.send(piece.to_vec()).is_ok();
            is_taken
        };
        let packed = layer::archive_tapped(&directory, &mut fresh, &mut tap, &how);
        drop(sender);
        let lost = |_| Err(Failure::because("commit", "the layer", "a thread of it failed"));
        match (packed, unpacking.join().unwrap_or_else(lost)) {
            (Ok(packed), Ok(extracted)) => Ok((packed, extracted)),
            // Who took no more of the archive knows why.
            (Err(_), Err(failure)) if !is_taken => Err(failure),
            (Err(failure), _) | (Ok(_), Err(failure)) => Err(failure),
        }
    })?;
    let diff_id = packed.diff_id;
    if extracted.applied.diff_id != diff_id {
        let reason = format!("what was unpacked has the digest {}", extracted.applied.diff_id);
        return Err(Failure::because("commit", format!("layer {diff_id}"), reason).into());
    }
    if images.layers().have(&diff_id).is_none() {
        storage::layers::publish(vec![*extracted])?;
    }
    let (digest, size) = fresh.commit()?;
    Ok(Layer { diff_id, digest, size, media_type: LAYER.to_owned() })
}

/// Pieces of an archive that wait to be unpacked.
const PIECES: usize = 4;

/// A reader of pieces that come from another thread.
struct Pieces {
    coming: Receiver<Vec<u8>>,
    piece: Cursor<Vec<u8>>,
}

impl Pieces {
    fn new(coming: Receiver<Vec<u8>>) -> Self {
        Self { coming, piece: Cursor::default() }
    }
}

impl Read for Pieces {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            match self.piece.read(buffer)? {
                0 => match self.coming.recv() {
                    Ok(piece) => self.piece = Cursor::new(piece),
                    Err(_) => return Ok(0),
                },
                length => return Ok(length),
            }
        }
    }
}

/// The blob is here: nobody is asked for it.
pub(super) struct Nothing;

impl images::Supply for Nothing {
    fn open(&self, layer: &Layer, _: u64) -> Result<Box<dyn std::io::Read + Send + '_>, Failure> {
        Err(Failure::because("commit", layer.digest.to_string(), "is gone from the content store"))
    }
}

/// The image's configuration becomes the container's.
fn describe(config: &mut Value, record: &Record, asked: &Commit, layer: &Layer) {
    let now = Rfc3339::seconds((millis(SystemTime::now()) / 1000) as i64).to_string();
    let request = &record.request;
    config["created"] = json!(now);
    if !asked.author.is_empty() {
        config["author"] = json!(asked.author);
    }
    if let Some(map) = config.as_object_mut() {
        for old in ["container", "container_config", "id", "parent"] {
            map.remove(old);
        }
    }
    if !config["config"].is_object() {
        config["config"] = json!({});
    }
    let start = &mut config["config"];
    let mut variables: Vec<(String, String)> = Vec::new();
    for (name, value) in &request.process.env {
        variables.retain(|(known, _)| known != name);
        variables.extend(value.clone().map(|value| (name.clone(), value)));
    }
    start["Env"] = variables.into_iter().map(|(name, value)| json!(format!("{name}={value}"))).collect();
    start["Cmd"] = json!(request.command);
    let entrypoint = request.entrypoint.as_ref().filter(|words| !words.is_empty());
    start["Entrypoint"] = entrypoint.map_or(Value::Null, |words| json!(words));
    start["WorkingDir"] = json!(request.process.workdir.clone().unwrap_or_default());
    start["User"] = json!(request.process.user.clone().unwrap_or_default());
    start["Labels"] = json!(request.labels);
    if let Some(check) = &request.healthcheck {
        start["Healthcheck"] = json!(check);
    }
    let entry = json!({
        "created": now,
        "created_by": record.command.join(" "),
        "author": asked.author,
        "comment": asked.message,
    });
    match config.get_mut("history").and_then(Value::as_array_mut) {
        Some(history) => history.push(entry),
        None => config["history"] = json!([entry]),
    }
    match config.pointer_mut("/rootfs/diff_ids").and_then(Value::as_array_mut) {
        Some(layers) => layers.push(json!(layer.diff_id)),
        None => config["rootfs"] = json!({"type": "layers", "diff_ids": [layer.diff_id]}),
    }
}
