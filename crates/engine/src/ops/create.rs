//! `create`: a container that is not started yet.

use std::collections::BTreeMap;
use std::time::SystemTime;

use step::Context;

use crate::image::{self, Resolved};
use crate::prepare::{missing_sources, take_name};
use crate::request::{Image, RunRequest};
use crate::state::{Record, Store, millis};
use crate::steps::{Remains, take_all, takedown};
use crate::sweep::sweep;
use crate::volumes::Place;
use crate::{Error, Kind, Note, Settings, events, names, pods, spec, volumes};

/// A container that was made.
#[derive(Debug)]
pub struct Created {
    /// 64 hex digits.
    pub id: String,
    /// Its name.
    pub name: String,
    /// What the user should be told.
    pub notes: Vec<Note>,
}

/// Makes a container: its name, its record, its volumes; everything else is made when it is started.
pub fn create(settings: &Settings, request: &RunRequest) -> Result<Created, Error> {
    super::run::check_cidfile(request)?;
    check_directory(&request.image)?;
    let store = Store::new(settings);
    store.prepare()?;
    let notes = sweep(settings, &store)?;
    let request = pods::joined(&store, request)?;
    let image = image::resolve(settings, &request)?;
    let image = Resolved { door: pods::stay(&store, &image.request)?, ..image };
    let id = names::id();
    let held = store.hold(&id)?;
    let made = record(settings, &store, image, &id);
    if made.is_err() {
        store.give_all_names(&id)?;
    }
    store.forget(&id)?;
    drop(held);
    let name = made?;
    if let Some(pod) = request.pod.membership() {
        pods::announce(settings, &store, pod)?;
    }
    if let Some(path) = &request.cidfile {
        crate::state::write_file(path, id.as_bytes(), false)?;
    }
    Ok(Created { id, name, notes })
}

/// A start looks at it closely; one that is not there is told now, while the words are still in sight.
fn check_directory(image: &Image) -> Result<(), Error> {
    match image {
        Image::Directory(path) | Image::DirectoryOverlay(path) if !path.is_dir() => {
            let message = format!("--rootfs {}: no such directory", path.display());
            Err(Error::new(Kind::Invalid, message).hint("fill one first, or name an image"))
        }
        _ => Ok(()),
    }
}

fn record(settings: &Settings, store: &Store, image: Resolved, id: &str) -> Result<String, Error> {
    let Resolved { mut request, source, origin, bringing, door } = image;
    let places = volumes::places(&store.volumes(), &request)?;
    let command = spec::command(&request)?;
    missing_sources(&request)?;
    let name = take_name(store, &request, id)?;
    if request.pod.infra().is_some() {
        // As in Podman a pod's containers are on a host that is called as the pod is.
        request.namespaces.hostname.get_or_insert_with(|| host_name(&name));
    }
    let record = Record {
        format: 1,
        id: id.to_owned(),
        name: name.clone(),
        command,
        created: millis(SystemTime::now()),
        group: settings.group(request.resources.cgroup_parent.as_deref(), id),
        networks: Vec::new(),
        disk: None,
        request,
        origin,
        by_run: false,
        passing: false,
    };
    let made = finish(settings, store, &record, &places, &source);
    drop((bringing, door));
    if made.is_err() {
        let remains = Remains { remove: true, ..Remains::of(&record) };
        take_all(&takedown(settings, &remains).all(), |step| step.perform(&mut Context::default()))?;
    }
    made.map(|()| name)
}

/// A name as a host's: uname(2) keeps 64 bytes.
fn host_name(name: &str) -> String {
    name.chars().take(64).collect()
}

/// Writes the record, and makes the volumes that it names: as in Docker they are there before the container is started,
/// which may never be.
pub(super) fn finish(
    settings: &Settings,
    store: &Store,
    record: &Record,
    places: &BTreeMap<String, Place>,
    source: &storage::Source,
) -> Result<(), Error> {
    store.write_record(record)?;
    let steps = volumes::prepare(store, &record.request, places, source, &record.id);
    steps.iter().try_for_each(|step| step.perform(&mut Context::default()))?;
    events::container(settings, record, "create", &[]);
    Ok(())
}
