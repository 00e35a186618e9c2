//! The plan: an OCI specification becomes two lists of steps, with the points where the monitor and init meet. Pure:
//! the same container gives the same plan on any host, and nothing is touched.

use std::borrow::Cow;
use std::ffi::CString;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use oci::spec::{LinuxNamespaceType, Mount, PosixRlimit, Process, Spec};
use rustix::fs::{Mode, OFlags};
use step::{Actor, Context, Failure, Record, Shell, Step, Steps};
use sys::process::{CloneFlags, Fork};

use crate::container::{Container, GroupSteps, GroupView, RootSteps};
use crate::options::Options;
use crate::program::Program;
use crate::steps::devices::{Devices, Node};
use crate::steps::identity::{Capabilities, Identity};
use crate::steps::mounts::{Mounts, is_taken};
use crate::steps::namespaces::{IdRange, Kind, Namespaces};
use crate::steps::terminal::Console;

/// Where the two processes meet; `launch` draws it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Point {
    /// Monitor: the id maps are written.
    Mapped,
    /// Monitor: here is the root file system.
    Rooted,
    /// Init: my network namespace is there.
    Isolated,
    /// Monitor: your interface is there.
    Linked,
    /// Monitor: your control groups are there.
    Grouped,
    /// Init: here is my terminal.
    Terminal,
    /// Init: my interface is up and has its address.
    Addressed,
    /// Monitor: the network forwards for it.
    Settled,
    /// Init: the program comes next.
    Ready,
}

impl Point {
    const ALL: [(Self, &str); 9] = [
        (Self::Mapped, "mapped"),
        (Self::Rooted, "rooted"),
        (Self::Isolated, "isolated"),
        (Self::Linked, "linked"),
        (Self::Grouped, "grouped"),
        (Self::Terminal, "terminal"),
        (Self::Addressed, "addressed"),
        (Self::Settled, "settled"),
        (Self::Ready, "ready"),
    ];

    /// As printed.
    pub fn name(self) -> &'static str {
        Self::ALL[self as usize].1
    }

    pub(crate) fn from_byte(byte: u8) -> Option<Self> {
        Self::ALL.get(usize::from(byte)).map(|(point, _)| *point)
    }
}

/// An entry of a list.
#[derive(Debug)]
pub enum Entry {
    /// Take a step.
    Do(Box<dyn Step>),
    /// Say that the point is reached, and go on.
    Tell(Point),
    /// Wait until the other says so.
    Await(Point),
}

/// What is done to start a container.
#[derive(Debug)]
pub struct Plan {
    /// The container's id.
    pub id: String,
    /// The monitor, before there is an init.
    pub before: Steps,
    /// The clone.
    pub clone: Clone,
    /// The monitor, afterwards.
    pub monitor: Vec<Entry>,
    /// Init.
    pub init: Vec<Entry>,
    /// What init becomes.
    pub program: Program,
    pub(crate) script: ScriptFacts,
}

impl Plan {
    /// The record of every step, not taken: the monitor's before the clone, the clone, then both lists from meeting
    /// to meeting.
    pub fn records(&self) -> Vec<Record> {
        let planned = Record::planned;
        let mut records: Vec<_> =
            self.before.iter().map(|step| planned(Actor::Monitor, step.as_ref())).collect();
        records.push(planned(Actor::Monitor, &self.clone));
        let mut lists = [(Actor::Monitor, self.monitor.iter()), (Actor::Init, self.init.iter())];
        let mut reached = Vec::new();
        loop {
            let mut went = false;
            for (actor, entries) in &mut lists {
                while let Some(entry) = entries.clone().next() {
                    match entry {
                        Entry::Await(point) if *point != Point::Ready && !reached.contains(point) => break,
                        Entry::Tell(point) => reached.push(*point),
                        Entry::Await(_) => {}
                        Entry::Do(step) => records.push(planned(*actor, step.as_ref())),
                    }
                    entries.next();
                    went = true;
                }
            }
            if !went {
                break;
            }
        }
        records.push(planned(Actor::Init, &self.program));
        records
    }
}

/// What the script needs to know besides the steps.
#[derive(Debug)]
pub(crate) struct ScriptFacts {
    pub(crate) unshare: Vec<Kind>,
    pub(crate) joins: Vec<(Kind, PathBuf)>,
    pub(crate) network: Option<String>,
    pub(crate) uids: Vec<IdRange>,
    pub(crate) gids: Vec<IdRange>,
    pub(crate) offsets: Vec<(&'static str, i64, u32)>,
    pub(crate) identity: String,
}

/// The clone of init.
#[derive(Debug)]
pub struct Clone {
    flags: CloneFlags,
    into: Option<PathBuf>,
    join_pid: Option<PathBuf>,
}

impl Clone {
    /// Clones, once; in the child too it returns.
    pub(crate) fn perform(&self, _: &mut Context) -> Result<Fork, Failure> {
        let open = |path: &Path| {
            let flags = OFlags::RDONLY | OFlags::CLOEXEC;
            rustix::fs::open(path, flags, Mode::empty())
                .map_err(|errno| Failure::new("clone", path.display().to_string(), errno))
        };
        let own = match &self.join_pid {
            Some(path) => {
                let own = open(Path::new("/proc/self/ns/pid"))?;
                enter_pid(&open(path)?)?;
                Some(own)
            }
            None => None,
        };
        let group = self.into.as_deref().map(open).transpose()?;
        let fork = sys::process::clone3(self.flags, group.as_ref());
        // The child is where it belongs.
        if let (Some(own), false) = (own, matches!(fork, Ok(Fork::Child))) {
            enter_pid(&own)?;
        }
        fork.map_err(|error| {
            let failure = Failure::new("clone", self.flags.to_string(), error);
            match failure.errno {
                1 => failure.hint("minidocker must run as root"),
                22 | 38 => failure.hint("the kernel must be 5.5 or newer and have these namespaces"),
                28 => failure.hint("raise the limit in /proc/sys/user/max_*_namespaces"),
                _ => failure,
            }
        })
    }
}

/// A process cannot change its own pid namespace, only that of its children: no second process is needed to join one.
fn enter_pid(namespace: &OwnedFd) -> Result<(), Failure> {
    let kind = rustix::thread::LinkNameSpaceType::ProcessID;
    rustix::thread::move_into_link_name_space(std::os::fd::AsFd::as_fd(namespace), Some(kind))
        .map_err(|errno| Failure::new("clone", "the pid namespace to join", errno))
}

impl Step for Clone {
    fn id(&self) -> &'static str {
        "clone"
    }

    fn call(&self) -> String {
        let into = self
            .into
            .as_ref()
            .map_or(String::new(), |dir| format!("|CLONE_INTO_CGROUP, \"{}\"", dir.display()));
        let join =
            self.join_pid.as_ref().map_or(String::new(), |path| format!("setns(\"{}\"), ", path.display()));
        format!("{join}clone3(CLONE_PIDFD|{}{into})", self.flags)
    }

    fn why(&self) -> Cow<'static, str> {
        Cow::Borrowed("the container's first process; the pidfd means it and no later process of its number")
    }

    fn shell(&self) -> Shell {
        Shell::Within("unshare --fork")
    }

    fn perform(&self, _: &mut Context) -> Result<(), Failure> {
        Err(Failure::because(self.id(), "init", "is not performed from a list"))
    }
}

/// Makes the plan.
pub fn plan(container: Container) -> Result<Plan, Failure> {
    let Container { id, spec, root, groups, network, filter, init } = container;
    let linux = spec.linux().clone().unwrap_or_default();
    let Some(process) = spec.process().clone() else {
        return Err(Failure::because("plan", id, "the specification has no process"));
    };
    let names = Namespacing::of(&spec);
    let program = program(&process, init)?;
    let caps = capabilities(&process);
    let user = process.user().clone();
    let additional = user.additional_gids().clone().unwrap_or_default();
    let script = ScriptFacts {
        unshare: names.own.clone(),
        joins: names.joins.clone(),
        network: names.owns(Kind::Network).then(|| network.script_name.clone()),
        uids: names.uids.clone(),
        gids: names.gids.clone(),
        offsets: names.offsets.clone(),
        identity: crate::steps::identity::setpriv(
            user.uid(),
            user.gid(),
            &additional,
            caps,
            process.no_new_privileges().unwrap_or(false),
        ),
    };

    let GroupSteps { before, beside, into, join, view } = groups;
    let mut monitor = Lane::default();
    let mut lane = Lane::default();
    let grouped = !join.is_empty();
    let own_user = names.owns(Kind::User);

    // The monitor's list.
    let RootSteps { mount, below, at } = root;
    let mut mount = Some(mount);
    if own_user {
        monitor.step(Namespaces::Maps { uids: names.uids.clone(), gids: names.gids.clone() });
        monitor.tell(Point::Mapped);
        monitor.steps(mount.take().unwrap_or_default());
        monitor.tell(Point::Rooted);
    }
    monitor.steps(beside);
    if grouped {
        monitor.tell(Point::Grouped);
    }
    let linked = !network.beside.is_empty();
    monitor.steps(network.host);
    if linked {
        monitor.wait(Point::Isolated);
        monitor.steps(network.beside);
        monitor.tell(Point::Linked);
    }
    let terminal = process.terminal().unwrap_or(false);
    if terminal {
        monitor.wait(Point::Terminal);
    }
    if linked {
        monitor.wait(Point::Addressed);
        monitor.steps(network.settled);
        monitor.tell(Point::Settled);
    }
    monitor.wait(Point::Ready);

    // Init's list: namespaces.
    lane.step(Namespaces::DieWithMonitor);
    if own_user {
        lane.wait(Point::Mapped);
        lane.step(Namespaces::BecomeRoot);
    }
    if names.joins.iter().any(|(kind, _)| *kind == Kind::Pid) {
        lane.step(Namespaces::Undumpable);
    }
    for (kind, path) in names.joins.iter().filter(|(kind, _)| *kind != Kind::Pid) {
        lane.step(Namespaces::Join(*kind, path.clone()));
    }
    if names.owns(Kind::Network) {
        lane.step(Namespaces::Unshare(Kind::Network));
        if linked {
            lane.tell(Point::Isolated);
        }
    }
    for kind in [Kind::Mount, Kind::Uts, Kind::Ipc, Kind::Time] {
        if names.owns(kind) {
            lane.step(Namespaces::Unshare(kind));
        }
    }
    if names.owns(Kind::Time) {
        lane.step(Namespaces::Offsets(names.offsets.clone()));
    }
    lane.step(Namespaces::Session);
    lane.step(Namespaces::Keyring(format!("_ses.{id}")));
    if let Some(name) = spec.hostname() {
        lane.step(Namespaces::Hostname(name.clone()));
    }
    if let Some(name) = spec.domainname() {
        lane.step(Namespaces::Domainname(name.clone()));
    }

    // Init's list: the file system.
    for mount in spec.mounts().iter().flatten() {
        let options = Options::parse(mount.options().as_deref().unwrap_or_default());
        let source = mount.source().clone().unwrap_or_default();
        if options.bind && is_taken(&source, &options) {
            lane.step(Mounts::Take { source, options });
        }
    }
    let propagation = linux.rootfs_propagation().clone().unwrap_or_else(|| "rprivate".to_owned());
    lane.step(Mounts::Propagation(Options::parse(&[propagation])));
    match mount {
        Some(mount) => lane.steps(mount),
        None => lane.wait(Point::Rooted),
    }
    lane.step(Mounts::AttachRoot { at });
    lane.steps(below);
    let mut join = Some(join);
    for mount in spec.mounts().clone().unwrap_or_default() {
        if mount.typ().as_deref() == Some("cgroup") {
            enter_groups(&mut lane, &mut join, grouped, &names);
        }
        lane.mount(&mount, &view)?;
        if mount.destination() == Path::new("/dev") && mount.typ().as_deref() == Some("tmpfs") {
            lane.devices(&spec, own_user);
        }
    }
    enter_groups(&mut lane, &mut join, grouped, &names);
    if terminal {
        let size = process.console_size();
        let (rows, columns) = size.map_or((0, 0), |size| (size.height() as u16, size.width() as u16));
        lane.step(Console::Open { owner: user.uid(), rows, columns });
        lane.tell(Point::Terminal);
    }

    // Init's list: the network, then what may no longer be changed.
    lane.steps(network.loopback);
    if linked {
        lane.wait(Point::Linked);
    }
    lane.steps(network.inside);
    if linked {
        lane.tell(Point::Addressed);
    }
    let mut sysctls: Vec<_> = linux.sysctl().clone().unwrap_or_default().into_iter().collect();
    sysctls.sort();
    for (key, value) in sysctls {
        lane.step(Mounts::Sysctl { key, value });
    }
    let paths =
        |list: &Option<Vec<String>>| -> Vec<PathBuf> { list.iter().flatten().map(PathBuf::from).collect() };
    let read_only = paths(linux.readonly_paths());
    if !read_only.is_empty() {
        lane.step(Mounts::ReadOnly(read_only));
    }
    let masked = paths(linux.masked_paths());
    if !masked.is_empty() {
        lane.step(Mounts::Mask(masked));
    }
    if process.cwd() != Path::new("/") {
        let (path, owner) = (process.cwd().clone(), (user.uid(), user.gid()));
        lane.step(Identity::MakeWorkDirectory { path, owner });
    }
    if spec.root().as_ref().is_some_and(|root| root.readonly().unwrap_or(false)) {
        lane.step(Mounts::ReadOnlyRoot);
    }
    if let Some(score) = process.oom_score_adj() {
        lane.step(Identity::OomScore(score));
    }
    if let Some(profile) = process.apparmor_profile().as_ref().filter(|profile| !profile.is_empty()) {
        lane.step(Identity::Label { file: "attr/apparmor/exec", value: format!("exec {profile}") });
    }
    if let Some(label) = process.selinux_label().as_ref().filter(|label| !label.is_empty()) {
        lane.step(Identity::Label { file: "attr/exec", value: label.clone() });
    }
    for limit in process.rlimits().iter().flatten() {
        lane.step(limit_step(limit)?);
    }
    lane.step(Mounts::Pivot);

    // Init's list: who the program is. Its first packet must not be lost.
    if linked {
        lane.wait(Point::Settled);
    }
    if terminal {
        lane.step(Console::Take);
    }
    lane.step(Namespaces::OutliveMonitor);
    lane.step(Identity::Umask(user.umask().unwrap_or(0o022)));
    lane.step(Identity::WorkDirectory(process.cwd().clone()));
    lane.step(Identity::Bounding(caps.bounding));
    // Without no_new_privs only CAP_SYS_ADMIN may set a filter: before it goes. With it: last, so that the filter
    // need not allow what comes before.
    let no_new_privileges = process.no_new_privileges().unwrap_or(false);
    let mut filter = filter.map(|(program, flags)| Identity::Filter { program, flags });
    if !no_new_privileges && let Some(filter) = filter.take() {
        lane.step(filter);
    }
    lane.step(Identity::User { uid: user.uid(), gid: user.gid(), groups: additional });
    lane.step(Identity::Capabilities(caps));
    if no_new_privileges {
        lane.step(Identity::NoNewPrivileges);
    }
    if let Some(filter) = filter {
        lane.step(filter);
    }

    let join_pid = names.joins.iter().find(|(kind, _)| *kind == Kind::Pid).map(|(_, path)| path.clone());
    let mut flags = 0;
    for kind in [Kind::User, Kind::Pid] {
        if names.owns(kind) {
            flags |= kind.flag();
        }
    }
    let clone = Clone { flags: CloneFlags(flags), into, join_pid };
    Ok(Plan { id, before, clone, monitor: monitor.0, init: lane.0, program, script })
}

/// Joins the groups (version 1), then makes them look like the top of the tree.
fn enter_groups(lane: &mut Lane, join: &mut Option<Steps>, grouped: bool, names: &Namespacing) {
    let Some(join) = join.take() else { return };
    if grouped {
        lane.wait(Point::Grouped);
    }
    lane.steps(join);
    if names.owns(Kind::Cgroup) {
        lane.step(Namespaces::Unshare(Kind::Cgroup));
    }
}

/// One list under construction.
#[derive(Debug, Default)]
struct Lane(Vec<Entry>);

impl Lane {
    fn step(&mut self, step: impl Step + 'static) {
        self.0.push(Entry::Do(Box::new(step)));
    }

    fn steps(&mut self, steps: Steps) {
        self.0.extend(steps.into_iter().map(Entry::Do));
    }

    fn tell(&mut self, point: Point) {
        self.0.push(Entry::Tell(point));
    }

    fn wait(&mut self, point: Point) {
        self.0.push(Entry::Await(point));
    }

    fn mount(&mut self, mount: &Mount, view: &[GroupView]) -> Result<(), Failure> {
        let options = Options::parse(mount.options().as_deref().unwrap_or_default());
        let target = mount.destination().clone();
        if !target.is_absolute() {
            return Err(Failure::because(
                "plan",
                target.display().to_string(),
                "a mount's destination must be absolute",
            ));
        }
        let source = mount.source().clone().unwrap_or_default();
        match mount.typ().as_deref().unwrap_or("none") {
            "bind" | "none" => self.step(Mounts::Bind { source, target, options }),
            _ if options.bind => self.step(Mounts::Bind { source, target, options }),
            "cgroup" if view.is_empty() => {
                // Version 2: one file system, whose top is the container's group in its cgroup namespace.
                let (kind, source) = ("cgroup2".to_owned(), "cgroup".to_owned());
                self.step(Mounts::New { kind, source, target, options });
            }
            "cgroup" => self.step(Mounts::Groups { target, view: view.to_vec(), options }),
            kind => {
                let source = source.to_string_lossy().into_owned();
                self.step(Mounts::New { kind: kind.to_owned(), source, target, options });
            }
        }
        Ok(())
    }

    /// The OCI runtime specification's default devices and those that were asked for.
    fn devices(&mut self, spec: &Spec, own_user: bool) {
        let standard = |name: &str, minor: u32| Node {
            path: PathBuf::from(format!("/dev/{name}")),
            kind: 'c',
            number: (if name == "tty" { 5 } else { 1 }, minor),
            mode: 0o666,
            owner: (0, 0),
        };
        let mut nodes: Vec<_> =
            [("null", 3), ("zero", 5), ("full", 7), ("random", 8), ("urandom", 9), ("tty", 0)]
                .map(|(name, minor)| standard(name, minor))
                .into();
        let asked = spec.linux().as_ref().and_then(|linux| linux.devices().clone()).unwrap_or_default();
        nodes.extend(asked.iter().map(|device| Node {
            path: device.path().clone(),
            kind: device.typ().as_str().chars().next().unwrap_or('c'),
            number: (device.major() as u32, device.minor() as u32),
            mode: device.file_mode().unwrap_or(0o666) & 0o7777,
            owner: (device.uid().unwrap_or(0), device.gid().unwrap_or(0)),
        }));
        self.step(if own_user { Devices::BindNodes(nodes) } else { Devices::Nodes(nodes) });
        let ptmx = spec.mounts().iter().flatten().any(|mount| mount.typ().as_deref() == Some("devpts"));
        self.step(Devices::Links { ptmx });
    }
}

/// What the specification says of namespaces.
struct Namespacing {
    own: Vec<Kind>,
    joins: Vec<(Kind, PathBuf)>,
    uids: Vec<IdRange>,
    gids: Vec<IdRange>,
    offsets: Vec<(&'static str, i64, u32)>,
}

impl Namespacing {
    fn of(spec: &Spec) -> Self {
        let linux = spec.linux().clone().unwrap_or_default();
        let ranges = |maps: &Option<Vec<oci::spec::LinuxIdMapping>>| -> Vec<IdRange> {
            let range = |m: &oci::spec::LinuxIdMapping| IdRange {
                inside: m.container_id(),
                outside: m.host_id(),
                size: m.size(),
            };
            maps.iter().flatten().map(range).collect()
        };
        let mut names = Self {
            own: Vec::new(),
            joins: Vec::new(),
            uids: ranges(linux.uid_mappings()),
            gids: ranges(linux.gid_mappings()),
            offsets: Vec::new(),
        };
        for namespace in linux.namespaces().iter().flatten() {
            let kind = kind(namespace.typ());
            match namespace.path() {
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

    fn owns(&self, kind: Kind) -> bool {
        self.own.contains(&kind)
    }
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

fn program(process: &Process, init: bool) -> Result<Program, Failure> {
    let c = |text: &String| {
        CString::new(text.as_str())
            .map_err(|_| Failure::because("plan", text.escape_debug().to_string(), "contains a NUL byte"))
    };
    Ok(Program {
        args: process.args().iter().flatten().map(c).collect::<Result<_, _>>()?,
        env: process.env().iter().flatten().map(c).collect::<Result<_, _>>()?,
        owner: process.user().uid(),
        init,
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

fn limit_step(limit: &PosixRlimit) -> Result<Identity, Failure> {
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

#[cfg(test)]
#[path = "plan_tests.rs"]
mod tests;
