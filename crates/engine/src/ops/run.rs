//! `run`: from a request to a running container, and to its end.

use std::time::SystemTime;

use step::{Actor, Context, Trace};

pub use super::attach::{AttachOptions, Finished};
pub use super::launch::Started;
use super::launch::launch;
use crate::image::{self, Origin, Resolved};
use crate::keeper::Keeper;
use crate::prepare::{Prepared, draft, finish, reserve, take_name};
use crate::request::{Namespace, NetworkMode, RunRequest};
use crate::spec;
use crate::state::{Held, Record, Store, millis};
use crate::steps::{Remains, take_all, takedown};
use crate::sweep::sweep;
use crate::volumes::has_anonymous;
use crate::{Error, Kind, Settings, events, names, pods};

/// What a `run` would do.
#[derive(Debug)]
pub struct Plan {
    /// Every step in order, not taken.
    pub records: Vec<step::Record>,
    /// `--explain=shell`: a script that builds the same container by hand.
    pub script: String,
}

/// Starts a container. What was done is added to `records` where they are given: `--explain`; of a start that failed
/// too.
pub fn run(
    settings: &Settings,
    request: &RunRequest,
    records: Option<&mut Vec<step::Record>>,
) -> Result<Started, Error> {
    let mut trace = Trace::new(Actor::Command, records.is_some());
    let result = run_traced(settings, request, &mut trace);
    if let Some(records) = records {
        records.extend(trace.take());
    }
    result
}

fn run_traced(settings: &Settings, request: &RunRequest, trace: &mut Trace) -> Result<Started, Error> {
    check_cidfile(request)?;
    let store = Store::new(settings);
    store.prepare()?;
    let left = sweep(settings, &store)?;
    let request = pods::joined(&store, request)?;
    // First, for its monitor is a fork of this process.
    let door = pods::enter(settings, &store, &request)?;
    let image = Resolved { door, ..image::resolve(settings, &request)? };
    let id = names::id();
    let held = store.hold(&id)?;
    match start(settings, &store, image, &id, held, trace) {
        Ok(mut started) => {
            started.notes.extend(left);
            if let Some(path) = &request.cidfile {
                crate::state::write_file(path, started.id.as_bytes(), false)?;
            }
            Ok(started)
        }
        Err(error) => {
            // The monitor takes down what it started. What was prepared before is ours, and all of it where the monitor
            // was killed: the container may run by now. A step that has nothing to do does nothing.
            if let Some(_held) = store.abandoned(&id)? {
                let remains = Remains { remove: true, kill: true, ..remains_of(settings, &request, &id) };
                let mut context = Context::default();
                let record = store.record(&id).ok().flatten();
                take_all(&takedown(settings, &remains).all(), |step| step.perform(&mut context))?;
                if let Some(record) = record {
                    events::container(settings, &record, "destroy", &[]);
                }
            }
            Err(error)
        }
    }
}

fn start(
    settings: &Settings,
    store: &Store,
    image: Resolved,
    id: &str,
    held: Held,
    trace: &mut Trace,
) -> Result<Started, Error> {
    let Resolved { request, source, origin, bringing, door } = image;
    let request = &request;
    let draft = draft(settings, store, request, &source, id)?;
    let name = take_name(store, request, id)?;
    let (places, notes) = reserve(settings, store, request, id, &name)?;
    let prepared = finish(store, request, id, draft, places)?;
    let record = record(request, id, &name, &prepared, origin)?;
    store.write_record(&record)?;
    events::container(settings, &record, "create", &[]);
    // From now on the record keeps the layers, and the pod.
    drop((bringing, door));
    if let Some(pod) = request.pod.membership() {
        pods::announce(settings, store, pod)?;
    }
    let remains = Remains {
        name: Some(name),
        networks: Some(prepared.places.clone()),
        keep_volumes: !has_anonymous(request),
        ..remains_of(settings, request, id)
    };
    let mut keeper = Keeper::new(settings, record, source, remains, held.lock);
    keeper.apart = request.detach;
    let mut started = launch(store, keeper, prepared, !request.detach, trace)?;
    started.notes.splice(0..0, notes);
    Ok(started)
}

/// What a `run` would do. An address is reserved for a moment, so that the plan names a free one; nothing stays.
pub fn plan(settings: &Settings, request: &RunRequest) -> Result<Plan, Error> {
    let store = Store::new(settings);
    store.prepare()?;
    let request = pods::joined(&store, request)?;
    let image = image::resolve(settings, &request)?;
    sweep(settings, &store)?;
    let id = names::id();
    let held = store.hold(&id)?;
    let planned = plan_held(settings, &store, &image, &id);
    let remains = remains_of(settings, &request, &id);
    let mut context = Context::default();
    let taken = take_all(&takedown(settings, &remains).all(), |step| step.perform(&mut context));
    drop(held);
    let plan = planned?;
    taken?;
    Ok(plan)
}

fn plan_held(settings: &Settings, store: &Store, image: &Resolved, id: &str) -> Result<Plan, Error> {
    let request = &image.request;
    let draft = draft(settings, store, request, &image.source, id)?;
    let name = request.name.as_deref().unwrap_or(&id[..12]);
    let (places, _) = reserve(settings, store, request, id, name)?;
    let prepared = finish(store, request, id, draft, places)?;
    let remains = Remains {
        networks: Some(prepared.places.clone()),
        remove: true,
        keep_volumes: !has_anonymous(request),
        ..remains_of(settings, request, id)
    };
    let down = takedown(settings, &remains).all();
    let clean: Vec<String> = down
        .iter()
        .flat_map(|step| match step.shell() {
            step::Shell::Lines(lines) => lines,
            _ => Vec::new(),
        })
        .collect();
    let script = runtime::script(&prepared.plan, &prepared.prepare, &clean);
    let mut records: Vec<_> =
        prepared.prepare.iter().map(|step| step::Record::planned(Actor::Command, step.as_ref())).collect();
    records.extend(prepared.plan.records());
    records.extend(down.iter().map(|step| step::Record::planned(Actor::Monitor, step.as_ref())));
    Ok(Plan { records, script })
}

pub(super) fn record(
    request: &RunRequest,
    id: &str,
    name: &str,
    prepared: &Prepared,
    origin: Option<Origin>,
) -> Result<Record, Error> {
    Ok(Record {
        format: 1,
        id: id.to_owned(),
        name: name.to_owned(),
        command: spec::command(request)?,
        created: millis(SystemTime::now()),
        group: prepared.group.clone(),
        networks: prepared.places.clone(),
        disk: Some(prepared.disk.clone()),
        request: request.clone(),
        origin,
        by_run: true,
        passing: request.remove,
    })
}

fn remains_of(settings: &Settings, request: &RunRequest, id: &str) -> Remains {
    Remains {
        id: id.to_owned(),
        group: settings.group(request.resources.cgroup_parent.as_deref(), id),
        kill: request.namespaces.pid != Namespace::Private,
        networks: None,
        no_network: request.network.mode != NetworkMode::Bridge,
        name: request.name.clone(),
        remove: request.remove,
        keep_volumes: false,
        kept: !request.remove,
        pod: request.pod.membership().map(str::to_owned),
    }
}

pub(super) fn check_cidfile(request: &RunRequest) -> Result<(), Error> {
    match &request.cidfile {
        Some(path) if path.exists() => {
            Err(Error::new(Kind::Invalid, format!("--cidfile {}: the file exists", path.display()))
                .hint("another container may still use it; remove it, or give another path"))
        }
        _ => Ok(()),
    }
}
