//! `events`: what a container uses, again and again, and when it runs out of memory; one JSON object per line.

use std::io;
use std::time::{Duration, Instant};

use cgroup::Woken;
use serde::Serialize;

use crate::error::Error;
use crate::store::Store;
use crate::{Settings, Status};

/// What `events` is asked for.
#[derive(Debug, Clone)]
pub struct EventsRequest {
    /// The container's id.
    pub id: String,
    /// What it uses now, once.
    pub stats: bool,
    /// How often what it uses is told.
    pub interval: Duration,
}

/// One line.
#[derive(Serialize)]
struct Event<'a, T> {
    #[serde(rename = "type")]
    kind: &'static str,
    id: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    data: Option<T>,
}

/// Tells events to `line` until the container ends, or once with `stats`.
pub fn events(
    settings: &Settings,
    request: &EventsRequest,
    line: &mut dyn FnMut(&str) -> io::Result<()>,
) -> Result<(), Error> {
    if !request.stats && request.interval.is_zero() {
        return Err(Error::new("duration interval must be greater than 0"));
    }
    let store = Store::new(&settings.root);
    let saved = store.load(&request.id)?;
    let status = Status::of(&saved, &store.dir(&request.id));
    if status == Status::Stopped {
        return Err(Error::new(format!("container with id {} is not running", request.id)));
    }
    let group = super::kill::group(&saved)?;
    let told = |result: io::Result<()>| {
        result.map_err(|error| Error::new(format!("write: {}", step::words(&error))))
    };
    let stats = |line: &mut dyn FnMut(&str) -> io::Result<()>| -> Result<(), Error> {
        let event = Event { kind: "stats", id: &request.id, data: Some(group.stats()?) };
        told(line(&text(&event)?))
    };
    if request.stats {
        return stats(line);
    }
    let failed =
        |error: io::Error| Error::new(format!("watch for out-of-memory events: {}", step::words(&error)));
    let mut watch = group.watch_oom().map_err(failed)?;
    let mut next = Instant::now() + request.interval;
    loop {
        match watch.next(Some(next.saturating_duration_since(Instant::now()))).map_err(failed)? {
            Woken::Ended => return Ok(()),
            Woken::OutOfMemory => {
                let event = Event::<()> { kind: "oom", id: &request.id, data: None };
                told(line(&text(&event)?))?;
            }
            Woken::Nothing => {
                next += request.interval;
                if Status::of(&saved, &store.dir(&request.id)) == Status::Stopped {
                    return Ok(());
                }
                stats(line)?;
            }
        }
    }
}

fn text<T: Serialize>(event: &Event<'_, T>) -> Result<String, Error> {
    serde_json::to_string(event).map_err(|error| Error::new(format!("the container's usage: {error}")))
}
