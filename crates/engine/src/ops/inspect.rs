//! `inspect`: all that is known of a container, in Docker's fields.

mod configuration;
mod host_config;
mod mounts;
mod network;

use std::path::Path;

use ::images::Images;
use oci::time::Rfc3339;
use serde_json::{Map, Value, json};

use super::attach::UNKNOWN;
use super::list::{State, state};
use crate::request::Image as From;
use crate::state::{End, Health, Known, Life, Record, Store, Verdict, millis};
use crate::sweep::sweep;
use crate::{Error, Settings};

pub(super) use host_config::{bindings as port_bindings, networks as network_names};
pub(super) use network::endpoint_id;

/// What a time is that never was: Go's zero.
const NEVER: &str = "0001-01-01T00:00:00Z";

/// The object that Docker's `container inspect` prints; with `sizes` what it has written and what its root has in all.
pub fn inspect(settings: &Settings, name: &str, sizes: bool) -> Result<Value, Error> {
    let store = Store::new(settings);
    sweep(settings, &store)?;
    let (id, record) = store.load(name)?;
    let life = store.life(&id)?;
    let state = state(&store, &record)?;
    let run_dir = store.run_dir(&id);
    let file =
        |name: &str| if run_dir.join(name).exists() { shown(&run_dir.join(name)) } else { String::new() };
    let (path, arguments) = record.command.split_first().map_or(("", &[][..]), |(path, rest)| (path, rest));
    let request = &record.request;
    let mut value = json!({
        "Id": id,
        "Created": time(record.created),
        "Path": path,
        "Args": arguments,
        "State": described(&store, &record, life.as_ref(), &state),
        "Image": record.origin.as_ref().map_or_else(String::new, |origin| origin.id.to_string()),
        "ResolvConfPath": file("resolv.conf"),
        "HostnamePath": file("hostname"),
        "HostsPath": file("hosts"),
        "LogPath": log_path(&store, &record),
        "Name": format!("/{}", record.name),
        "RestartCount": life.as_ref().map_or(0, |life| life.restarts),
        "Driver": driver(&record),
        "Platform": "linux",
        "MountLabel": "",
        "ProcessLabel": "",
        "AppArmorProfile": request.security.apparmor.clone().unwrap_or_default(),
        "ExecIDs": null,
        "HostConfig": host_config::of(settings, request),
        "GraphDriver": graph_driver(settings, &record)?,
        "Mounts": mounts::of(settings, &record),
        "Config": configuration::of(settings, &record),
        "NetworkSettings": network::of(&record, matches!(state, State::Running(..) | State::Paused(..))),
    });
    // As Podman has it; Docker has no pods.
    if let Some(pod) = request.pod.infra().map(|_| id.as_str()).or(request.pod.membership()) {
        value["Pod"] = json!(pod);
        value["IsInfra"] = json!(request.pod.infra().is_some());
    }
    if sizes {
        let (written, all) = self::sizes(settings, &record)?;
        value["SizeRw"] = json!(written);
        value["SizeRootFs"] = json!(all);
    }
    Ok(value)
}

/// The file of `json-file`, as Docker has it; of other drivers nothing.
fn log_path(store: &Store, record: &Record) -> String {
    match record.request.log.driver.name() {
        "json-file" => shown(&store.log_dir(&record.id).join(format!("{}-json.log", record.id))),
        _ => String::new(),
    }
}

fn shown(path: &Path) -> String {
    path.display().to_string()
}

/// Milliseconds since 1970 as RFC 3339.
fn time(millis: u64) -> String {
    Rfc3339::short((millis * 1_000_000) as i64).to_string()
}

fn described(store: &Store, record: &Record, life: Option<&Life>, state: &State) -> Value {
    let (running, pid) = match state {
        State::Running(_, pid) | State::Paused(_, pid) => (true, *pid),
        State::Restarting(..) => (true, 0),
        State::Created | State::Exited(..) | State::Lost | State::Damaged(_) => (false, 0),
    };
    let ended: Option<&End> = life.and_then(|life| life.ended.as_ref());
    let ended = if pid == 0 { ended } else { None };
    let started = match state {
        State::Created => None,
        _ => store
            .started(&record.id)
            .map(millis)
            .or_else(|| life.map(|life| life.started).filter(|started| *started > 0))
            .or_else(|| record.by_run.then_some(record.created)),
    };
    let code = match state {
        State::Exited(_, code) | State::Restarting(_, code) => *code,
        // As `wait` tells it.
        State::Lost => UNKNOWN,
        _ => ended.and_then(|end| end.code).unwrap_or(0),
    };
    let mut value = json!({
        "Status": state.word(),
        "Running": running,
        "Paused": matches!(state, State::Paused(..)),
        "Restarting": matches!(state, State::Restarting(..)),
        "OOMKilled": ended.is_some_and(|end| end.out_of_memory),
        "Dead": matches!(state, State::Damaged(_)),
        "Pid": pid,
        "ExitCode": code,
        "Error": ended.and_then(|end| end.error.clone()).unwrap_or_default(),
        "StartedAt": started.map_or_else(|| NEVER.to_owned(), time),
        "FinishedAt": ended.map_or_else(|| NEVER.to_owned(), |end| time(end.at)),
    });
    if let Some(known) = health(store, record, state) {
        value["Health"] = shown_health(&known);
    }
    value
}

/// What is known of its health; nothing of one that nobody looks after, or that was never started.
fn health(store: &Store, record: &Record, state: &State) -> Option<Known> {
    record.request.healthcheck.as_ref()?.probe()?;
    match state {
        State::Running(..) | State::Paused(..) => Some(store.health(&record.id).unwrap_or_default()),
        State::Restarting(..) | State::Exited(..) | State::Lost => {
            let known = store.last_health(&record.id).unwrap_or_default();
            Some(Known { status: Health::Unhealthy, ..known })
        }
        State::Created | State::Damaged(_) => None,
    }
}

fn shown_health(known: &Known) -> Value {
    let time = |nanos: u64| Rfc3339::short(nanos as i64).to_string();
    let one = |verdict: &Verdict| {
        let (start, end) = (time(verdict.start), time(verdict.end));
        json!({"Start": start, "End": end, "ExitCode": verdict.exit_code, "Output": verdict.output})
    };
    let log: Vec<Value> = known.log.iter().map(one).collect();
    json!({"Status": known.status.name(), "FailingStreak": known.failing_streak, "Log": log})
}

/// Docker's word for where a root lies.
fn driver(record: &Record) -> &'static str {
    match record.disk.as_ref().map(|disk| disk.kind) {
        Some(Some(storage::Kind::Loop)) => "loop",
        Some(Some(storage::Kind::Copy)) => "copy",
        Some(None) => "directory",
        _ => "overlay2",
    }
}

fn graph_driver(settings: &Settings, record: &Record) -> Result<Value, Error> {
    let mut data = Map::new();
    if driver(record) == "overlay2" {
        let dir = settings.root.join("containers").join(&record.id);
        let lower = match (&record.request.image, &record.origin) {
            (From::Directory(path) | From::DirectoryOverlay(path), _) => vec![shown(path)],
            (_, Some(origin)) => {
                let layers = storage::layers::Layers::open(&settings.root, false)?;
                origin.layers.iter().rev().map(|layer| shown(&layers.path(layer))).collect()
            }
            _ => vec!["/".to_owned()],
        };
        data.insert("LowerDir".into(), lower.join(":").into());
        data.insert("MergedDir".into(), shown(&Store::new(settings).mount_point()).into());
        data.insert("UpperDir".into(), shown(&dir.join("upper")).into());
        data.insert("WorkDir".into(), shown(&dir.join("work")).into());
    }
    Ok(json!({"Name": driver(record), "Data": data}))
}

/// Bytes that the container has written, and that its root has in all.
pub(crate) fn sizes(settings: &Settings, record: &Record) -> Result<(u64, u64), Error> {
    let dir = Store::new(settings).keep_dir(&record.id);
    let mut written = 0;
    for entry in std::fs::read_dir(&dir).into_iter().flatten().flatten() {
        let name = entry.file_name();
        let name = name.to_string_lossy();
        if name == "root" || name == "upper" || name.starts_with("upper%") {
            written += super::diff::bytes(&entry.path())?;
        } else if name == "disk" {
            use std::os::unix::fs::MetadataExt as _;
            written += entry.metadata().map_or(0, |facts| facts.blocks() * 512);
        }
    }
    let base = match &record.origin {
        Some(origin) => Images::open(&settings.root)?.by_id(&origin.id)?.map_or(0, |image| image.size),
        None => 0,
    };
    Ok((written, written + base))
}
