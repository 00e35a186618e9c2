//! `pod`: containers that share namespaces, as a whole: made, listed, started, ended, removed.

mod acts;
mod inspect;
mod removal;

use std::collections::BTreeMap;

pub use acts::{Done, kill, pause, restart, start, stop, top, unpause};
pub use inspect::inspect;
pub use removal::{Removal, discard, prune, remove};

use super::create::{self, Created};
use super::list::{self, State, Summary};
use crate::pods;
use crate::request::{
    Image, Log, Namespaces, Network, NetworkMode, Pod, Role, RunRequest, Security, Share, Storage,
};
use crate::state::Store;
use crate::sweep::sweep;
use crate::{Error, Kind, Settings};

/// A pod that is to be made.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct NewPod {
    /// `--name`; made up where absent.
    pub name: Option<String>,
    /// `--label`.
    pub labels: BTreeMap<String, String>,
    /// `--hostname`; the pod's name where absent.
    pub hostname: Option<String>,
    /// Its network, as a container's.
    pub network: Network,
    /// `--shm-size`, bytes.
    pub shm_size: Option<u64>,
    /// `--sysctl`.
    pub sysctls: BTreeMap<String, String>,
    /// What its containers share.
    pub pod: Pod,
}

impl NewPod {
    /// Its infra: the container that the pod's namespaces belong to.
    pub fn infra(self) -> RunRequest {
        let network = match self.pod.shares(Share::Net) {
            true => self.network,
            false => Network { mode: NetworkMode::None, ..Network::default() },
        };
        RunRequest {
            image: Image::Pause,
            command: vec!["pause".to_owned()],
            name: self.name,
            labels: self.labels,
            log: Log { driver: logs::Driver::None, ..Log::default() },
            namespaces: Namespaces { hostname: self.hostname, ..Namespaces::default() },
            network,
            storage: Storage { shm_size: self.shm_size, ..Storage::default() },
            security: Security {
                cap_drop: vec!["ALL".to_owned()],
                no_new_privileges: true,
                sysctls: self.sysctls,
                ..Security::default()
            },
            pod: Role::Infra(self.pod),
            ..RunRequest::default()
        }
    }
}

/// Makes a pod. It is started with its first container, or by [`start`].
pub fn create(settings: &Settings, new: NewPod) -> Result<Created, Error> {
    check(&new)?;
    create::create(settings, &new.infra())
}

/// What was asked for must be of something that the pod has.
fn check(new: &NewPod) -> Result<(), Error> {
    let invalid = |message: &str, hint: &str| Err(Error::new(Kind::Invalid, message).hint(hint));
    if matches!(new.network.mode, NetworkMode::Container(_)) {
        return invalid(
            "--network container:NAME: a pod has its own network, the host's or none",
            "let that container be in the pod too: minidocker run --pod",
        );
    }
    let is_without = |what| !new.pod.shares(what);
    if is_without(Share::Net) && new.network != Network::default() {
        return invalid(
            "--share without net: the pod has no network that --publish, --network and their like could speak of",
            "add net to --share, or say it of the containers",
        );
    }
    if is_without(Share::Uts) && new.hostname.is_some() {
        return invalid(
            "--hostname with --share without uts: nobody would be called so",
            "add uts to --share",
        );
    }
    if is_without(Share::Ipc) && new.shm_size.is_some() {
        return invalid("--shm-size with --share without ipc: nobody would have it", "add ipc to --share");
    }
    Ok(())
}

/// A pod, and what is in it.
#[derive(Debug, Clone)]
pub struct Listed {
    /// The container that its namespaces belong to: its id and its name are the pod's.
    pub infra: Summary,
    /// What the pod is.
    pub pod: Pod,
    /// The other containers, the oldest first.
    pub members: Vec<Summary>,
}

impl Listed {
    /// All containers, the infra first.
    pub fn containers(&self) -> impl Iterator<Item = &Summary> {
        std::iter::once(&self.infra).chain(&self.members)
    }

    /// What it is doing.
    pub fn state(&self) -> PodState {
        PodState::of(self.containers().map(|one| &one.state))
    }
}

/// What a pod is doing, in Podman's words.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PodState {
    /// Nothing of it was started yet.
    Created,
    /// All of it runs.
    Running,
    /// Some of it runs.
    Degraded,
    /// All of it has ended.
    Exited,
    /// Some of it has ended, and none of it runs.
    Stopped,
    /// All of it stands still.
    Paused,
}

impl PodState {
    /// All of them.
    pub const ALL: [Self; 6] =
        [Self::Created, Self::Running, Self::Degraded, Self::Exited, Self::Stopped, Self::Paused];

    /// Podman's word.
    pub fn name(self) -> &'static str {
        match self {
            Self::Created => "Created",
            Self::Running => "Running",
            Self::Degraded => "Degraded",
            Self::Exited => "Exited",
            Self::Stopped => "Stopped",
            Self::Paused => "Paused",
        }
    }

    /// Podman's rule.
    fn of<'s>(states: impl Iterator<Item = &'s State>) -> Self {
        let (mut all, mut running, mut paused, mut ended) = (0, 0, 0, 0);
        for state in states {
            all += 1;
            match state {
                State::Running(..) => running += 1,
                State::Paused(..) => paused += 1,
                State::Exited(..) | State::Restarting(..) | State::Lost | State::Damaged(_) => ended += 1,
                State::Created => {}
            }
        }
        match (running, paused, ended) {
            (some, ..) if some == all => Self::Running,
            (1.., ..) => Self::Degraded,
            (_, some, _) if some == all => Self::Paused,
            (.., some) if some == all => Self::Exited,
            (.., 1..) => Self::Stopped,
            _ => Self::Created,
        }
    }
}

/// Every pod, the newest first.
pub fn list(settings: &Settings) -> Result<Vec<Listed>, Error> {
    Ok(grouped(list::list(settings)?))
}

/// The names of all pods, for completion: without a lock, and nothing is changed.
pub fn names(settings: &Settings) -> Vec<String> {
    let all = list::glance(settings).unwrap_or_default();
    grouped(all).into_iter().map(|listed| listed.infra.name).collect()
}

/// The pods among containers, which are in the order of a list.
fn grouped(all: Vec<Summary>) -> Vec<Listed> {
    let mut members: BTreeMap<String, Vec<Summary>> = BTreeMap::new();
    let mut pods = Vec::new();
    for one in all {
        match &one.pod {
            None => {}
            Some(list::PodOf { infra: Some(pod), .. }) => {
                pods.push(Listed { pod: pod.clone(), infra: one, members: Vec::new() });
            }
            Some(list::PodOf { id, infra: None }) => members.entry(id.clone()).or_default().push(one),
        }
    }
    for listed in &mut pods {
        listed.members = members.remove(&listed.infra.id).unwrap_or_default();
        listed.members.reverse();
    }
    pods
}

/// One pod, by its name or its id.
pub fn find(settings: &Settings, name: &str) -> Result<Listed, Error> {
    let store = Store::new(settings);
    sweep(settings, &store)?;
    let id = pods::find(&store, name)?.record.id;
    let all = list::look(&store, |record, state| Ok(list::summary(&store, record, state)))?;
    grouped(all).into_iter().find(|listed| listed.infra.id == id).ok_or_else(|| {
        Error::new(Kind::NoSuchPod, format!("no such pod: {name}")).hint("it has just been removed")
    })
}

/// Whether there is a pod of that name or id.
pub fn exists(settings: &Settings, name: &str) -> Result<bool, Error> {
    let store = Store::new(settings);
    sweep(settings, &store)?;
    match pods::find(&store, name) {
        Ok(_) => Ok(true),
        Err(error) if error.kind == Kind::NoSuchPod => Ok(false),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests;
