//! What a container has to do with pods: nothing, it is in one, or it is the one that holds one together.

use serde::{Deserialize, Serialize};

/// It.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Role {
    /// Nothing.
    #[default]
    Alone,
    /// It is in a pod: `--pod`.
    Member(Membership),
    /// Its namespaces are a pod's: its record is the pod, its id and its name are the pod's.
    Infra(Pod),
}

impl Role {
    /// Whether it has nothing to do with pods.
    pub fn is_alone(&self) -> bool {
        *self == Self::Alone
    }

    /// The pod that a container is in as one among others: its id, from the container's record on.
    pub fn membership(&self) -> Option<&str> {
        match self {
            Self::Member(membership) => Some(&membership.pod),
            _ => None,
        }
    }

    /// The pod that a container holds together.
    pub fn infra(&self) -> Option<&Pod> {
        match self {
            Self::Infra(pod) => Some(pod),
            _ => None,
        }
    }
}

/// `--pod`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Membership {
    /// The pod: a name or an id as typed until the container is made, its id from then on.
    pub pod: String,
    /// What the container does not share, because an option says whose it is.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub apart: Vec<Share>,
}

/// What is a pod's alone; all else of it is its infra's.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pod {
    /// `--share`, in the order of [`Share::ALL`].
    pub shares: Vec<Share>,
    /// `--exit-policy stop`: the infra ends with the last of the others.
    #[serde(default)]
    pub stops: bool,
}

impl Pod {
    /// Whether its containers share that.
    pub fn shares(&self, what: Share) -> bool {
        self.shares.contains(&what)
    }
}

/// A namespace that the containers of a pod can share.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Share {
    /// System V's and POSIX's ways to speak to each other, and /dev/shm.
    Ipc,
    /// Links, addresses, ports.
    Net,
    /// Processes.
    Pid,
    /// The host's name.
    Uts,
}

impl Share {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Ipc, Self::Net, Self::Pid, Self::Uts];

    /// Podman's default.
    pub const USUAL: [Self; 3] = [Self::Ipc, Self::Net, Self::Uts];

    /// `ipc`, `net`, `pid`, `uts`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Ipc => "ipc",
            Self::Net => "net",
            Self::Pid => "pid",
            Self::Uts => "uts",
        }
    }
}
