//! `ps`: every container, and whether it runs.

use std::cell::OnceCell;
use std::collections::{BTreeMap, HashSet};
use std::time::{Duration, Instant, SystemTime};

use ::images::{Found, Images};
use cgroup::{Group, Hierarchies};
use step::Failure;

use super::{inspect, port};
use crate::request::{Mount, Pod, Ports, Published, Role};
pub use crate::state::Health;
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
    /// The id of the image that it was made of, `sha256:…`; none of a directory or of the host.
    pub image_id: Option<String>,
    /// What is mounted in it: a path of the host or a volume's name, and where in it.
    pub mounts: Vec<(String, String)>,
    /// How many volumes it has.
    pub volumes: usize,
    /// The networks that it is in: `bridge`, `host`, `none`.
    pub networks: Vec<String>,
    /// The host's ports that lead into it, while it runs.
    pub ports: Vec<Published>,
    /// Its ports that somebody is meant to know of, by --expose, --publish or its image.
    pub exposed: Vec<Ports>,
    /// Those that were asked to be published.
    pub to_publish: Vec<Ports>,
    /// What is said of its health; none of one that nobody looks after, or that was never started.
    pub health: Option<Health>,
    /// The pod that it belongs to.
    pub pod: Option<PodOf>,
}

/// The pod of a container.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PodOf {
    /// Its id, which is its infra's.
    pub id: String,
    /// What the pod is, where the container is its infra.
    pub infra: Option<Pod>,
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

impl State {
    /// Docker's one word for it.
    pub fn word(&self) -> &'static str {
        match self {
            Self::Created => "created",
            Self::Running(..) => "running",
            Self::Paused(..) => "paused",
            Self::Restarting(..) => "restarting",
            Self::Exited(..) | Self::Lost => "exited",
            Self::Damaged(_) => "dead",
        }
    }
}

/// Every container, newest first.
pub fn list(settings: &Settings) -> Result<Vec<Summary>, Error> {
    let store = Store::new(settings);
    sweep(settings, &store)?;
    look(&store, |record, state| Ok(summary(&store, record, state)))
}

/// The same without a lock, and without taking down what a crash has left: for a look that must neither wait nor change
/// anything.
pub fn glance(settings: &Settings) -> Result<Vec<Summary>, Error> {
    let store = Store::new(settings);
    look(&store, |record, state| Ok(summary(&store, record, state)))
}

/// What `each` makes of every container and its state, newest first.
pub(crate) fn look<T: AsRef<Summary> + From<Summary>>(
    store: &Store,
    each: impl Fn(Record, State) -> Result<T, Error>,
) -> Result<Vec<T>, Error> {
    // Those that run, or are about to: nothing of the others is in the run root, and nothing is looked for there.
    let present: HashSet<String> = store.present()?.into_iter().collect();
    let look = Look { store, hierarchies: OnceCell::new() };
    let mut summaries: Vec<T> = Vec::new();
    for id in store.all()? {
        let is_present = present.contains(&id);
        let record = if is_present { store.record(&id) } else { store.kept_record(&id) };
        summaries.extend(match record {
            Ok(Some(record)) => {
                let state = if is_present { look.state(&record) } else { at_rest(store, &record, false) }?;
                Some(each(record, state)?)
            }
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

/// Bytes that a container has written, and that its root has in all; none of one that cannot be counted.
pub fn sizes(settings: &Settings, id: &str) -> Option<(u64, u64)> {
    let record = Store::new(settings).record(id).ok()??;
    inspect::sizes(settings, &record).ok()
}

/// The ids of an image and of all images that have its layers below theirs; none where it is not here.
pub fn descendants(settings: &Settings, name: &str) -> Result<HashSet<String>, Error> {
    let images = Images::open(&settings.root)?;
    let all = images.list()?;
    let meant: Vec<&::images::Image> = match images.look(name).unwrap_or(None) {
        None => return Ok(HashSet::new()),
        Some(found) => {
            let is_meant = |image: &&::images::Image| match &found {
                Found::Image(own) => own.id == image.id,
                Found::Index(index) => index.has(&image.id),
            };
            all.iter().filter(is_meant).collect()
        }
    };
    let layers =
        |image: &::images::Image| -> Vec<_> { image.layers.iter().map(|layer| layer.diff_id).collect() };
    let below = |other: &::images::Image| {
        let is_below = |own: &Vec<_>| !own.is_empty() && layers(other).starts_with(own);
        meant.iter().any(|image| other.id == image.id || is_below(&layers(image)))
    };
    Ok(all.iter().filter(|other| below(other)).map(|other| other.id.to_string()).collect())
}

/// When the container that a user means was made.
pub fn created(settings: &Settings, name: &str) -> Result<SystemTime, Error> {
    Ok(time(Store::new(settings).load(name)?.1.created))
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
        image_id: None,
        mounts: Vec::new(),
        volumes: 0,
        networks: Vec::new(),
        ports: Vec::new(),
        exposed: Vec::new(),
        to_publish: Vec::new(),
        health: None,
        pod: None,
        id,
    }
}

pub(crate) fn summary(store: &Store, record: Record, state: State) -> Summary {
    let health = health(store, &record, &state);
    let place = |place: &network::Attachment| {
        let six = place.v6.map(|six| format!("{}/{}", six.address, six.subnet.prefix()));
        [format!("{}/{}", place.address, place.prefix)].into_iter().chain(six)
    };
    let mount = |mount: &Mount| {
        let what = match mount {
            Mount::Bind { source, .. } => source.display().to_string(),
            Mount::Volume(volume) => volume.name.clone(),
            Mount::Tmpfs { .. } => String::new(),
        };
        (what, mount.target().display().to_string())
    };
    let volumes =
        record.request.storage.mounts.iter().filter(|mount| matches!(mount, Mount::Volume(_))).count();
    let pod = match &record.request.pod {
        Role::Alone => None,
        Role::Member(membership) => Some(PodOf { id: membership.pod.clone(), infra: None }),
        Role::Infra(pod) => Some(PodOf { id: record.id.clone(), infra: Some(pod.clone()) }),
    };
    Summary {
        pod,
        addresses: match state {
            State::Running(..) | State::Paused(..) => record.networks.iter().flat_map(place).collect(),
            _ => Vec::new(),
        },
        ports: match state {
            State::Running(..) | State::Paused(..) => port::published(&record),
            _ => Vec::new(),
        },
        exposed: port::exposed(&record),
        to_publish: record.request.network.publish.iter().map(|publish| publish.container).collect(),
        id: record.id,
        name: record.name,
        image: record.request.image.to_string(),
        command: record.command,
        created: time(record.created),
        state,
        labels: record.request.labels,
        image_id: record.origin.map(|origin| origin.id.to_string()),
        mounts: record.request.storage.mounts.iter().map(mount).collect(),
        volumes,
        networks: inspect::network_names(&record.request.network),
        health,
    }
}

/// What is said of its health: Docker's rule is that one that has ended is unhealthy.
fn health(store: &Store, record: &Record, state: &State) -> Option<Health> {
    record.request.healthcheck.as_ref()?.probe()?;
    match state {
        State::Running(..) | State::Paused(..) => Some(store.health_now(&record.id)),
        State::Restarting(..) | State::Exited(..) | State::Lost => Some(Health::Unhealthy),
        State::Created | State::Damaged(_) => None,
    }
}

/// What a container is doing: its first process decides, not a file.
pub(crate) fn state(store: &Store, record: &Record) -> Result<State, Error> {
    Look { store, hierarchies: OnceCell::new() }.state(record)
}

/// A look at several containers: what is the same for all of them is found out once, when it is needed first.
struct Look<'s> {
    store: &'s Store,
    hierarchies: OnceCell<Option<Hierarchies>>,
}

impl Look<'_> {
    fn state(&self, record: &Record) -> Result<State, Error> {
        let store = self.store;
        let Some(pid) = store.living_init(&record.id) else {
            return at_rest(store, record, true);
        };
        let since = store.started(&record.id).unwrap_or_else(|| time(record.created));
        let hierarchies = self.hierarchies.get_or_init(|| Hierarchies::probe().ok());
        let group = hierarchies.as_ref().and_then(|hierarchies| Group::open(hierarchies, &record.group).ok());
        let paused = group.is_some_and(|group| group.is_frozen().unwrap_or(false));
        Ok(if paused { State::Paused(since, pid) } else { State::Running(since, pid) })
    }
}

/// So long a monitor may take to write down how a container ended.
const SOON: Duration = Duration::from_secs(1);

/// What became of a container that has no process; `is_present`: it may have a directory in the run root.
fn at_rest(store: &Store, record: &Record, is_present: bool) -> Result<State, Error> {
    let cared_for = || is_present && store.run_dir(&record.id).exists();
    let mut life = store.life(&record.id)?;
    let began = || is_present && store.started(&record.id).is_some();
    let patience = Instant::now() + SOON;
    while life.as_ref().is_none_or(|life| life.ended.is_none()) && began() {
        // Its monitor is about to write down how it ended; one without a monitor is for the next sweep.
        if store.abandoned(&record.id)?.is_some() || Instant::now() > patience {
            return Ok(State::Lost);
        }
        std::thread::sleep(Duration::from_millis(1));
        life = store.life(&record.id)?;
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
