//! What the runtime is given: the specification, and the steps that other rooms planned for this container.

use std::path::PathBuf;

use oci::spec::Spec;
use step::Steps;
use sys::seccomp::{Flags, Instruction};

/// A container to be planned.
#[derive(Debug)]
pub struct Container {
    /// Its id: 64 hex digits.
    pub id: String,
    /// The OCI specification.
    pub spec: Spec,
    /// How its root file system comes to be.
    pub root: RootSteps,
    /// Its control groups.
    pub groups: GroupSteps,
    /// Its network.
    pub network: NetworkSteps,
    /// The system call filter, compiled.
    pub filter: Option<(Vec<Instruction>, Flags)>,
    /// A small init as PID 1.
    pub init: bool,
}

/// The root file system, as the storage room planned it.
#[derive(Debug, Default)]
pub struct RootSteps {
    /// Leave a detached mount in the context.
    pub mount: Steps,
    /// Further mounts below it, once it is attached.
    pub below: Steps,
    /// An existing directory of the host to attach it to, in the container's own mount namespace.
    pub at: PathBuf,
}

/// The control groups, as the cgroup room planned them.
#[derive(Debug, Default)]
pub struct GroupSteps {
    /// The monitor, before the clone: what init is cloned into, and what was opened for it.
    pub before: Steps,
    /// The monitor, while init starts: the other groups and their limits.
    pub beside: Steps,
    /// Version 2: the directory that init is cloned into.
    pub into: Option<PathBuf>,
    /// Version 1: init joins.
    pub join: Steps,
    /// What the container sees below /sys/fs/cgroup on version 1.
    pub view: Vec<GroupView>,
}

/// One hierarchy, as the container sees it below /sys/fs/cgroup.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GroupView {
    /// The directory's name: `cpu,cpuacct`.
    pub name: String,
    /// Links to it: `cpu`, `cpuacct`.
    pub links: Vec<String>,
    /// The group's directory on the host.
    pub dir: PathBuf,
}

/// The network, as the network room planned it.
#[derive(Debug, Default)]
pub struct NetworkSteps {
    /// The monitor: what must exist on the host.
    pub host: Steps,
    /// The monitor, once init has its network namespace.
    pub beside: Steps,
    /// Init, in its namespace.
    pub loopback: Steps,
    /// Init, once `beside` is done.
    pub inside: Steps,
    /// The monitor, once `inside` is done and before the program begins.
    pub settled: Steps,
    /// The name that the shell script gives to the network namespace.
    pub script_name: String,
}
