//! What a specification says, read once: namespaces, capabilities, the program, limits.

use std::ffi::CString;
use std::path::PathBuf;

use oci::spec::{Linux, LinuxNamespaceType, PosixRlimit, Process, Spec};
use step::Failure;

use sys::seccomp::{Flags, Instruction};

use super::sources::Sources;
use crate::container::{Container, First};
use crate::program::Program;
use crate::steps::identity::{Capabilities, Identity};
use crate::steps::namespaces::{IdRange, Kind};

/// The facts of a container that more than one part of its lists needs.
pub(super) struct Facts {
    pub(super) id: String,
    pub(super) linux: Linux,
    pub(super) process: Process,
    pub(super) names: Namespacing,
    pub(super) caps: Capabilities,
    /// Supplementary groups.
    pub(super) groups: Vec<u32>,
    /// It has a terminal.
    pub(super) terminal: bool,
    /// The monitor makes it an interface.
    pub(super) linked: bool,
    /// It joins control groups itself.
    pub(super) grouped: bool,
    /// It has a user namespace of its own.
    pub(super) own_user: bool,
    /// It is in a user namespace, its own or another's: init has no rights on the host's things.
    pub(super) confined: bool,
    /// It has a mount namespace, its own or another's.
    pub(super) mounts: bool,
    /// Its system call filter notifies a listener.
    pub(super) notifies: bool,
    /// The monitor runs hooks, or init does before it leaves the host's files.
    pub(super) hooked: bool,
    pub(super) no_new_privileges: bool,
}

impl Facts {
    pub(super) fn of(container: &Container) -> Result<Self, Failure> {
        let Container { id, spec, groups, network, hooks, filter, .. } = container;
        let Some(process) = spec.process().clone() else {
            return Err(Failure::because("plan", id, "the specification has no process"));
        };
        let names = Namespacing::of(spec);
        let joins = |wanted| names.joins.iter().any(|(kind, _)| *kind == wanted);
        Ok(Self {
            confined: names.owns(Kind::User) || joins(Kind::User),
            mounts: names.owns(Kind::Mount) || joins(Kind::Mount),
            notifies: filter.as_ref().is_some_and(|(_, flags)| flags.contains(Flags::NEW_LISTENER)),
            hooked: !(hooks.prestart.is_empty()
                && hooks.create_runtime.is_empty()
                && hooks.create_container.is_empty()),
            id: id.clone(),
            linux: spec.linux().clone().unwrap_or_default(),
            caps: capabilities(&process),
            groups: once(&process),
            terminal: process.terminal().unwrap_or(false),
            linked: !network.beside.is_empty(),
            grouped: !groups.join.is_empty(),
            own_user: names.owns(Kind::User),
            no_new_privileges: process.no_new_privileges().unwrap_or(false),
            names,
            process,
        })
    }

    /// Of a further program in a container that runs.
    pub(super) fn of_process(
        id: &str,
        process: Process,
        linux: Linux,
        confined: bool,
        filter: Option<&(Vec<Instruction>, Flags)>,
    ) -> Self {
        Self {
            id: id.to_owned(),
            linux,
            names: Namespacing::of(&Spec::default()),
            caps: capabilities(&process),
            groups: once(&process),
            terminal: process.terminal().unwrap_or(false),
            linked: false,
            grouped: false,
            own_user: false,
            confined,
            mounts: false,
            notifies: filter.is_some_and(|(_, flags)| flags.contains(Flags::NEW_LISTENER)),
            hooked: false,
            no_new_privileges: process.no_new_privileges().unwrap_or(false),
            process,
        }
    }

    /// Whether the monitor hands mounts over.
    pub(super) fn is_handed(&self, sources: &Sources) -> bool {
        self.confined || !sources.by_monitor().is_empty()
    }

    /// The program's user as the monitor numbers him; none where only init can tell.
    pub(super) fn owner_outside(&self) -> Option<u32> {
        let uid = self.owner().0;
        match (self.own_user, self.confined) {
            (true, _) => self.names.uids.iter().find_map(|range| outside_of(*range, uid)),
            (false, true) => None,
            (false, false) => Some(uid),
        }
    }

    /// User and group of the program.
    pub(super) fn owner(&self) -> (u32, u32) {
        (self.process.user().uid(), self.process.user().gid())
    }
}

/// What the specification says of namespaces.
pub(super) struct Namespacing {
    pub(super) own: Vec<Kind>,
    pub(super) joins: Vec<(Kind, PathBuf)>,
    pub(super) uids: Vec<IdRange>,
    pub(super) gids: Vec<IdRange>,
    pub(super) offsets: Vec<(&'static str, i64, u32)>,
}

impl Namespacing {
    pub(super) fn of(spec: &Spec) -> Self {
        let linux = spec.linux().clone().unwrap_or_default();
        let mut names = Self {
            own: Vec::new(),
            joins: Vec::new(),
            uids: ranges(linux.uid_mappings()),
            gids: ranges(linux.gid_mappings()),
            offsets: Vec::new(),
        };
        for namespace in linux.namespaces().iter().flatten() {
            let kind = kind(namespace.typ());
            match namespace.path().as_ref().filter(|path| !path.as_os_str().is_empty()) {
                Some(path) => names.joins.push((kind, path.clone())),
                None => names.own.push(kind),
            }
        }
        if let Some(offsets) = linux.time_offsets() {
            for clock in ["monotonic", "boottime"] {
                if let Some(offset) = offsets.get(clock) {
                    names.offsets.push((clock, offset.secs().unwrap_or(0), offset.nanosecs().unwrap_or(0)));
                }
            }
        }
        names
    }

    pub(super) fn owns(&self, kind: Kind) -> bool {
        self.own.contains(&kind)
    }
}

/// The supplementary groups, each once: engines join the image's list with the user's.
fn once(process: &Process) -> Vec<u32> {
    let mut found = Vec::new();
    for gid in process.user().additional_gids().iter().flatten() {
        if !found.contains(gid) {
            found.push(*gid);
        }
    }
    found
}

/// What an id of the range is outside of it.
pub(super) fn outside_of(range: IdRange, id: u32) -> Option<u32> {
    let above = id.checked_sub(range.inside).filter(|above| *above < range.size)?;
    range.outside.checked_add(above)
}

/// Id mappings in the words of user_namespaces(7).
pub(super) fn ranges(maps: &Option<Vec<oci::spec::LinuxIdMapping>>) -> Vec<IdRange> {
    let range = |m: &oci::spec::LinuxIdMapping| IdRange {
        inside: m.container_id(),
        outside: m.host_id(),
        size: m.size(),
    };
    maps.iter().flatten().map(range).collect()
}

fn kind(kind: LinuxNamespaceType) -> Kind {
    match kind {
        LinuxNamespaceType::Mount => Kind::Mount,
        LinuxNamespaceType::Cgroup => Kind::Cgroup,
        LinuxNamespaceType::Uts => Kind::Uts,
        LinuxNamespaceType::Ipc => Kind::Ipc,
        LinuxNamespaceType::User => Kind::User,
        LinuxNamespaceType::Pid => Kind::Pid,
        LinuxNamespaceType::Network => Kind::Network,
        LinuxNamespaceType::Time => Kind::Time,
    }
}

pub(super) fn program(process: &Process, first: First, home: bool) -> Result<Program, Failure> {
    let c = |text: &String| {
        CString::new(text.as_str())
            .map_err(|_| Failure::because("plan", text.escape_debug().to_string(), "contains a NUL byte"))
    };
    Ok(Program {
        args: process.args().iter().flatten().map(c).collect::<Result<_, _>>()?,
        env: process.env().iter().flatten().map(c).collect::<Result<_, _>>()?,
        owner: process.user().uid(),
        first,
        home,
    })
}

fn capabilities(process: &Process) -> Capabilities {
    let Some(caps) = process.capabilities() else { return Capabilities::default() };
    let bits = |set: &Option<oci::spec::Capabilities>| {
        set.iter().flatten().fold(0, |bits, capability| bits | 1 << oci::capability_number(*capability))
    };
    Capabilities {
        bounding: bits(caps.bounding()),
        effective: bits(caps.effective()),
        permitted: bits(caps.permitted()),
        inheritable: bits(caps.inheritable()),
        ambient: bits(caps.ambient()),
    }
}

pub(super) fn limit_step(limit: &PosixRlimit) -> Result<Identity, Failure> {
    use oci::spec::PosixRlimitType as Type;
    use rustix::process::Resource;
    let (resource, name) = match limit.typ() {
        Type::RlimitCpu => (Resource::Cpu, "cpu"),
        Type::RlimitFsize => (Resource::Fsize, "fsize"),
        Type::RlimitData => (Resource::Data, "data"),
        Type::RlimitStack => (Resource::Stack, "stack"),
        Type::RlimitCore => (Resource::Core, "core"),
        Type::RlimitRss => (Resource::Rss, "rss"),
        Type::RlimitNproc => (Resource::Nproc, "nproc"),
        Type::RlimitNofile => (Resource::Nofile, "nofile"),
        Type::RlimitMemlock => (Resource::Memlock, "memlock"),
        Type::RlimitAs => (Resource::As, "as"),
        Type::RlimitLocks => (Resource::Locks, "locks"),
        Type::RlimitSigpending => (Resource::Sigpending, "sigpending"),
        Type::RlimitMsgqueue => (Resource::Msgqueue, "msgqueue"),
        Type::RlimitNice => (Resource::Nice, "nice"),
        Type::RlimitRtprio => (Resource::Rtprio, "rtprio"),
        Type::RlimitRttime => (Resource::Rttime, "rttime"),
    };
    if limit.soft() > limit.hard() {
        return Err(Failure::because(
            "plan",
            name,
            format!("soft limit {} is above hard limit {}", limit.soft(), limit.hard()),
        ));
    }
    Ok(Identity::Limit { resource, name: name.to_owned(), soft: limit.soft(), hard: limit.hard() })
}
