//! `ps`: every container, and whether it runs.

use std::collections::BTreeMap;
use std::time::SystemTime;

use cgroup::{Group, Hierarchies};
use step::Failure;

use crate::state::{End, Life, Record, Store, time};
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
    /// Made, and not started yet.
    Created,
    /// Runs since then, with this pid outside.
    Running(SystemTime, i32),
    /// Stands still since a `pause`; started then, with this pid outside.
    Paused(SystemTime, i32),
    /// Ended at that time with this code, and is started again by its policy.
    Restarting(SystemTime, u8),
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
    look(&store, summary)
}

/// What `each` makes of every container, newest first.
pub(crate) fn look<T: AsRef<Summary> + From<Summary>>(
    store: &Store,
    each: impl Fn(&Store, Record) -> Result<T, Error>,
) -> Result<Vec<T>, Error> {
    let mut summaries: Vec<T> = Vec::new();
    for id in store.all()? {
        summaries.extend(match store.record(&id) {
            Ok(Some(record)) => Some(each(store, record)?),
            // One that ends while we look has no record any more.
            Ok(None) => None,
            // One bad file must not hide the others.
            Err(failure) => Some(damaged(id, &failure).into()),
        });
    }
    summaries.sort_by(|a, b| {
        let (a, b) = (a.as_ref(), b.as_ref());
        b.created.cmp(&a.created).then_with(|| a.id.cmp(&b.id))
    });
    Ok(summaries)
}

impl AsRef<Summary> for Summary {
    fn as_ref(&self) -> &Summary {
        self
    }
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

pub(crate) fn summary(store: &Store, record: Record) -> Result<Summary, Error> {
    let state = state(store, &record)?;
    let place = |place: &network::Attachment| format!("{}/{}", place.address, place.prefix);
    Ok(Summary {
        addresses: match state {
            State::Running(..) | State::Paused(..) => record.network.iter().map(place).collect(),
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
pub(crate) fn state(store: &Store, record: &Record) -> Result<State, Error> {
    if let Some(pid) = store.living_init(&record.id) {
        let since = store.started(&record.id).unwrap_or_else(|| time(record.created));
        let group = Hierarchies::probe().and_then(|hierarchies| Group::open(&hierarchies, &record.group));
        let paused = group.and_then(|group| group.is_frozen()).unwrap_or(false);
        return Ok(if paused { State::Paused(since, pid) } else { State::Running(since, pid) });
    }
    let cared_for = || store.run_dir(&record.id).exists();
    let life = store.life(&record.id)?;
    // Its monitor is about to write down how it ended.
    if life.as_ref().is_none_or(|life| life.ended.is_none()) && store.started(&record.id).is_some() {
        return Ok(State::Lost);
    }
    Ok(match life {
        None if record.by_run && !cared_for() => State::Lost,
        None => State::Created,
        Some(Life { ended: Some(End { at, code, .. }), again, .. }) => match code {
            _ if again.is_some() && cared_for() => State::Restarting(time(at), code.unwrap_or_default()),
            Some(code) => State::Exited(time(at), code),
            None => State::Lost,
        },
        Some(Life { ended: None, .. }) if cared_for() => State::Created,
        Some(_) => State::Lost,
    })
}
