//! What the runtime is given: the specification, and the steps that other rooms planned for this container.

use std::path::PathBuf;

use oci::spec::{Hook, Spec, State};
use step::Steps;
use sys::seccomp::{Flags, Instruction};

use crate::steps::mounts::Mounts;

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
    /// What becomes of its first process.
    pub first: First,
    /// Programs of the host to be run on the way.
    pub hooks: Hooks,
    /// How it is started.
    pub manner: Manner,
}

/// What becomes of a container's first process.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum First {
    /// The program.
    #[default]
    Program,
    /// A small init, whose child is the program.
    Init,
    /// Nothing: it waits until it is ended. There is no program, and none is needed in the root.
    Pause,
}

/// The hooks that are run before the program, OCI runtime specification, "POSIX-platform Hooks".
#[derive(Debug, Default)]
pub struct Hooks {
    /// What each is told on its standard input; the pid is filled in.
    pub state: State,
    /// In the host's namespaces, when the container's are there (deprecated; before the next).
    pub prestart: Vec<Hook>,
    /// The same.
    pub create_runtime: Vec<Hook>,
    /// In the container's namespaces, before pivot_root(2).
    pub create_container: Vec<Hook>,
    /// In the container, right before the program.
    pub start_container: Vec<Hook>,
}

/// How a container is started.
#[derive(Debug, Default)]
pub struct Manner {
    /// Created first and started later: the directory for the two named pipes of its gate.
    pub gate: Option<PathBuf>,
    /// By moving the root over `/` and chroot(2): for a host whose root is an initial ramdisk (`--no-pivot`).
    pub no_pivot: bool,
    /// In the caller's session keyring (`--no-new-keyring`).
    pub no_new_keyring: bool,
    /// How many descriptors from 3 on the program inherits (`--preserve-fds`).
    pub preserved: u32,
    /// Line feeds stay line feeds on the terminal: whoever copies its bytes has one that makes new lines of them.
    pub plain_newlines: bool,
    /// The running program lies on a mount that cannot be written through: no stub needs to stand between it and the
    /// container's.
    pub sealed: bool,
    /// Mounts whose sources are more than a path.
    pub volumes: Vec<VolumeSource>,
    /// Without an own setting of the root's propagation the host's mounts still arrive, as with other OCI runtimes.
    pub follows_host: bool,
}

/// What the specification cannot say of the source of one of its mounts.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct VolumeSource {
    /// The mount's destination, as the specification has it.
    pub target: PathBuf,
    /// The source lies in this directory, which others write: no link on the way leads out of it.
    pub within: Option<PathBuf>,
    /// A file system for the monitor to mount: it needs the host's rights, or a device of the host's.
    pub by_monitor: bool,
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

impl RootSteps {
    /// A directory as it is, its mounts included. Without a mount namespace the mount stays when the container ends.
    pub fn directory(path: PathBuf) -> Self {
        let step = Mounts::Directory { path: path.clone() };
        Self { mount: vec![Box::new(step)], below: Steps::new(), at: path }
    }
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
