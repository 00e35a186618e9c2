//! What a container is doing, asked of the kernel.

use std::path::Path;

use cgroup::{Group, Hierarchies};
use serde::{Serialize, Serializer};

use crate::store::{Init, Saved};

/// What a container is doing; runc's words, of which `paused` is none of the specification's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Status {
    /// `create` is at work on it.
    Creating,
    /// It waits for `start`.
    Created,
    /// Its program runs.
    Running,
    /// Its processes are frozen.
    Paused,
    /// Its first process has ended.
    Stopped,
}

impl Status {
    /// As printed.
    pub fn word(self) -> &'static str {
        match self {
            Self::Creating => "creating",
            Self::Created => "created",
            Self::Running => "running",
            Self::Paused => "paused",
            Self::Stopped => "stopped",
        }
    }

    /// What the container whose directory is `dir` is doing now.
    pub(crate) fn of(saved: &Saved, dir: &Path) -> Self {
        let Some(init) = saved.init.filter(Init::is_alive) else { return Self::Stopped };
        if is_paused(saved) {
            return Self::Paused;
        }
        if saved.creating {
            // Whoever creates it dies with it unless it is done: a dead one left it half-made.
            return Self::Creating;
        }
        let _ = init;
        if runtime::is_waiting(dir) { Self::Created } else { Self::Running }
    }
}

impl Serialize for Status {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.word())
    }
}

fn is_paused(saved: &Saved) -> bool {
    let group = Hierarchies::probe().and_then(|h| Group::open(&h, &saved.group));
    group.is_ok_and(|group| group.is_frozen().unwrap_or(false))
}
