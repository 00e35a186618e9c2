//! `clone`: a further container with the same configuration and a copy of what the first one wrote.

use std::time::SystemTime;

use ::images::Images;
use rustix::fs::{CWD, Mode, OFlags};
use step::{Context, Failure};

use super::commit::Frozen;
use super::create::{Created, finish};
use crate::prepare::take_name;
use crate::request::{Image, Mount};
use crate::state::{Record, Store, make_dirs, millis};
use crate::steps::{Remains, take_all, takedown};
use crate::sweep::sweep;
use crate::{Error, Note, Settings, image, names, pods, volumes};

/// What is asked for.
#[derive(Debug, Clone, Default)]
pub struct Clone {
    /// The container, by name or id.
    pub source: String,
    /// The new one's name; made up where there is none.
    pub name: Option<String>,
    /// A MAC address that was asked for stays: only one of the two can run in a network then.
    pub keep_mac: bool,
}

/// Makes the container; it is not started. Processes of a running source stand still while its files are copied.
pub fn clone(settings: &Settings, asked: &Clone) -> Result<Created, Error> {
    let store = Store::new(settings);
    store.prepare()?;
    let mut notes = sweep(settings, &store)?;
    let (from, source) = store.load(&asked.source)?;
    // Its layers are the source's too, which may go meanwhile.
    let bringing = match &source.origin {
        Some(_) => Some(Images::open(&settings.root)?.bringing()?),
        None => None,
    };
    let door = pods::stay(&store, &source.request)?;
    let id = names::id();
    let mut record = record(settings, &source, asked, &id);
    let held = store.hold(&id)?;
    let made = make(settings, &store, &from, &source, &mut record);
    drop((bringing, door));
    if made.is_err() {
        let remains = Remains { remove: true, ..Remains::of(&record) };
        take_all(&takedown(settings, &remains).all(), |step| step.perform(&mut Context::default()))?;
    } else {
        store.forget(&id)?;
    }
    drop(held);
    made?;
    if let Some(pod) = source.request.pod.membership() {
        pods::announce(settings, &store, pod)?;
    }
    notes.extend(shared(&source));
    Ok(Created { id, name: record.name, notes })
}

/// The source's record as the new one's: an id, a control group and anonymous volumes of its own.
fn record(settings: &Settings, source: &Record, asked: &Clone, id: &str) -> Record {
    let mut request = source.request.clone();
    request.name.clone_from(&asked.name);
    (request.cidfile, request.remove) = (None, false);
    if !asked.keep_mac {
        request.network.mac = None;
        request.network.endpoints.iter_mut().flatten().for_each(|endpoint| endpoint.mac = None);
    }
    for mount in &mut request.storage.mounts {
        if let Mount::Volume(volume) = mount
            && volume.anonymous
        {
            volume.name = names::id();
        }
    }
    Record {
        id: id.to_owned(),
        created: millis(SystemTime::now()),
        group: settings.group(request.resources.cgroup_parent.as_deref(), id),
        networks: Vec::new(),
        by_run: false,
        passing: false,
        request,
        ..source.clone()
    }
}

fn make(
    settings: &Settings,
    store: &Store,
    from: &str,
    source: &Record,
    record: &mut Record,
) -> Result<(), Error> {
    let places = volumes::places(&store.volumes(), &record.request)?;
    let root = image::source(settings, source)?;
    record.name = take_name(store, &record.request, &record.id)?;
    make_dirs(&store.keep_dir(&record.id))?;
    let frozen = match store.joinable_init(from) {
        Some(pid) => {
            let frozen = Frozen::new(source)?;
            sync(pid)?;
            Some(frozen)
        }
        None => None,
    };
    storage::duplicate(&settings.places(), from, &record.id)?;
    drop(frozen);
    finish(settings, store, record, &places, &root)
}

/// What the kernel has not written yet to an image that its root is on.
fn sync(pid: i32) -> Result<(), Failure> {
    let path = format!("/proc/{pid}/root");
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let root = match rustix::fs::openat(CWD, path.as_str(), flags, Mode::empty()) {
        // It has just ended: its root is synced as it is taken down.
        Err(_) => return Ok(()),
        Ok(root) => root,
    };
    rustix::fs::syncfs(&root).map_err(|errno| Failure::new("clone.sync", path, errno))
}

/// What the two have in common, and somebody might not expect.
fn shared(source: &Record) -> Option<Note> {
    match &source.request.image {
        Image::Directory(path) => {
            let words = format!("both containers write to the same root directory, {}", path.display());
            Some((words, Some("--rootfs DIR:overlay gives each container a layer of its own".to_owned())))
        }
        _ => None,
    }
}
