//! `ps`: every container, and whether it runs.

use std::collections::BTreeMap;
use std::time::SystemTime;

use step::Failure;

use crate::state::{Record, Store, time};
use crate::sweep::sweep;
use crate::{Error, Settings};

/// One container, as `ps` shows it.
#[derive(Debug, Clone)]
pub struct Summary {
    /// 64 hex digits.
    pub id: String,
    /// Its name.
    pub name: String,
    /// What it was made from.
    pub image: String,
    /// The command's words.
    pub command: Vec<String>,
    /// When it was made.
    pub created: SystemTime,
    /// Whether it runs, asked of the kernel.
    pub state: State,
    /// Labels.
    pub labels: BTreeMap<String, String>,
    /// Its addresses, `172.30.0.2/16`.
    pub addresses: Vec<String>,
}

/// What a container is doing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum State {
    /// Being made by a living command.
    Created,
    /// Runs since then, with this pid outside.
    Running(SystemTime, i32),
    /// Ended then with this code.
    Exited(SystemTime, u8),
    /// Ended, nobody knows how: its monitor was killed, or the machine went down.
    Lost,
    /// Its record cannot be read, for this reason; `rm -f` removes it.
    Damaged(String),
}

/// Every container, newest first.
pub fn list(settings: &Settings) -> Result<Vec<Summary>, Error> {
    let store = Store::new(settings);
    sweep(settings, &store)?;
    let mut summaries = Vec::new();
    for id in store.all()? {
        summaries.extend(match store.record(&id) {
            Ok(Some(record)) => Some(summary(&store, record)?),
            // One that ends while we look has no record any more.
            Ok(None) => None,
            // One bad file must not hide the others.
            Err(failure) => Some(damaged(id, &failure)),
        });
    }
    summaries.sort_by(|a, b| b.created.cmp(&a.created).then_with(|| a.id.cmp(&b.id)));
    Ok(summaries)
}

fn damaged(id: String, failure: &Failure) -> Summary {
    Summary {
        name: String::new(),
        image: String::new(),
        command: Vec::new(),
        created: time(0),
        state: State::Damaged(failure.to_string()),
        labels: BTreeMap::new(),
        addresses: Vec::new(),
        id,
    }
}

fn summary(store: &Store, record: Record) -> Result<Summary, Error> {
    let state = state(store, &record)?;
    let place = |place: &network::Attachment| format!("{}/{}", place.address, place.prefix);
    Ok(Summary {
        addresses: match state {
            State::Running(..) => record.network.iter().map(place).collect(),
            _ => Vec::new(),
        },
        id: record.id,
        name: record.name,
        image: record.request.image.to_string(),
        command: record.command,
        created: time(record.created),
        state,
        labels: record.request.labels,
    })
}

/// What a container is doing: its first process decides, not a file.
fn state(store: &Store, record: &Record) -> Result<State, Error> {
    if let Some(pid) = store.living_init(&record.id) {
        let since = store.started(&record.id).unwrap_or_else(|| time(record.created));
        return Ok(State::Running(since, pid));
    }
    Ok(match store.exit(&record.id)? {
        Some(exit) => match exit.code {
            Some(code) => State::Exited(time(exit.at), code),
            None => State::Lost,
        },
        None if store.run_dir(&record.id).exists() => State::Created,
        None => State::Lost,
    })
}
