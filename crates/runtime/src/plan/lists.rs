//! The two lists, part by part, in the order in which the steps are taken.

use std::path::{Path, PathBuf};

use oci::spec::{ContainerState, Hook, Spec};
use step::{Failure, Steps};
use sys::seccomp::{Flags, Instruction};

use super::Point;
use super::facts::{Facts, limit_step};
use super::lane::Lane;
use super::sources::Sources;
use crate::container::{GroupView, Hooks, Manner, NetworkSteps, RootSteps};
use crate::options::Options;
use crate::steps::attributes::Attributes;
use crate::steps::hooks::{At, Run, state_at};
use crate::steps::identity::{Again, Identity};
use crate::steps::mounts::{Change, Mounts};
use crate::steps::namespaces::{Kind, Namespaces};
use crate::steps::terminal::Console;

/// The hooks: the monitor's, init's before it leaves the host's files, init's right before the program.
pub(super) fn hooks(hooks: Hooks, env: Vec<String>) -> (Steps, Steps, Steps) {
    let Hooks { state, prestart, create_runtime, create_container, start_container } = hooks;
    let step = |kind, hooks: Vec<Hook>, status, at| -> Steps {
        let state = state_at(&state, status, None);
        // In the container there is no caller's environment: the program's own is the one that fits.
        let env = (at == At::Here).then(|| env.clone());
        let run = Run { kind, hooks, state, env, at };
        if run.hooks.is_empty() { Steps::new() } else { vec![Box::new(run)] }
    };
    let mut outer = step("prestart", prestart, ContainerState::Creating, At::Bundle);
    outer.append(&mut step("createRuntime", create_runtime, ContainerState::Creating, At::Bundle));
    let inner = step("createContainer", create_container, ContainerState::Creating, At::Root);
    (outer, inner, step("startContainer", start_container, ContainerState::Created, At::Here))
}

/// The monitor's, after the clone. `root` builds the root file system where init has no rights to.
pub(super) fn monitor(
    facts: &Facts,
    sources: &Sources,
    root: Steps,
    groups: Steps,
    network: &mut NetworkSteps,
    hooks: Steps,
) -> Lane {
    let mut lane = Lane::default();
    if facts.own_user {
        let (uids, gids) = (facts.names.uids.clone(), facts.names.gids.clone());
        lane.step(Namespaces::Maps { uids, gids });
        lane.tell(Point::Mapped);
    }
    if let Some((_, path)) = facts.names.joins.iter().find(|(kind, _)| *kind == Kind::User) {
        lane.step(Namespaces::UserAt(path.clone()));
    }
    if facts.is_handed(sources) {
        lane.steps(root);
        sources.outside(facts).for_each(|take| lane.step(take));
        lane.tell(Point::Rooted);
    }
    lane.steps(groups);
    if facts.grouped {
        lane.tell(Point::Grouped);
    }
    lane.steps(std::mem::take(&mut network.host));
    if facts.linked {
        lane.wait(Point::Isolated);
        lane.steps(std::mem::take(&mut network.beside));
        lane.tell(Point::Linked);
    }
    for take in sources.within(facts) {
        lane.wait(Point::Wanted);
        lane.step(take);
        lane.tell(Point::Handed);
    }
    if facts.terminal {
        lane.wait(Point::Terminal);
    }
    if facts.linked {
        lane.wait(Point::Addressed);
    }
    if facts.hooked {
        lane.wait(Point::Mounted);
        lane.steps(hooks);
        lane.tell(Point::Hooked);
    }
    if facts.linked {
        lane.steps(std::mem::take(&mut network.settled));
    }
    lane.tell(Point::Settled);
    if facts.notifies {
        lane.wait(Point::Filtered);
        lane.tell(Point::Heard);
    }
    lane.wait(Point::Ready);
    lane
}

/// Init: out of the host's namespaces.
pub(super) fn namespaces(lane: &mut Lane, facts: &Facts, spec: &Spec, manner: &Manner) {
    let names = &facts.names;
    lane.step(Namespaces::DieWithMonitor);
    if facts.own_user {
        lane.wait(Point::Mapped);
        lane.step(Namespaces::BecomeRoot { hidden: false });
        // A change of user clears it (prctl(2)).
        lane.step(Namespaces::DieWithMonitor);
    }
    let shared_pids = !names.owns(Kind::Pid);
    if names.joins.iter().any(|(kind, _)| *kind == Kind::Pid) || manner.gate.is_some() && !facts.confined {
        lane.step(Namespaces::Undumpable);
    }
    // The user namespace last: what belongs to the host can be joined with the host's rights only.
    let joins = |user: bool| {
        let wanted = move |kind: Kind| kind != Kind::Pid && (kind == Kind::User) == user;
        names.joins.iter().filter(move |(kind, _)| wanted(*kind))
    };
    for (kind, path) in joins(false) {
        lane.step(Namespaces::Join(*kind, path.clone()));
    }
    for (kind, path) in joins(true).filter(|_| !names.owns(Kind::Pid)) {
        lane.step(Namespaces::Join(*kind, path.clone()));
    }
    if joins(true).next().is_some() {
        lane.step(Namespaces::BecomeRoot { hidden: shared_pids });
        lane.step(Namespaces::DieWithMonitor);
    }
    // The network first: the monitor can work on it while init goes on.
    if names.owns(Kind::Network) {
        lane.step(Namespaces::Unshare(Kind::Network));
        if facts.linked {
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
    if !manner.no_new_keyring {
        lane.step(Namespaces::Keyring(format!("_ses.{}", facts.id)));
    }
    if let Some(name) = spec.hostname() {
        lane.step(Namespaces::Hostname(name.clone()));
    }
    if let Some(name) = spec.domainname() {
        lane.step(Namespaces::Domainname(name.clone()));
    }
}

/// Init: the root file system. Its `mount` is empty where the monitor builds it.
pub(super) fn root(lane: &mut Lane, facts: &Facts, sources: &Sources, manner: &Manner, root: RootSteps) {
    let RootSteps { mount: build, below, at } = root;
    sources.early().for_each(|take| lane.step(take));
    let asked = facts.linux.rootfs_propagation().clone().filter(|word| !word.is_empty());
    let asked_shared = manner.follows_host && asked.as_deref().is_some_and(|word| word.ends_with("shared"));
    let usual = if manner.follows_host { "rslave" } else { "rprivate" };
    let propagation = Mounts::Propagation(Options::parse(&[asked.unwrap_or_else(|| usual.to_owned())]));
    if facts.is_handed(sources) {
        lane.wait(Point::Rooted);
    }
    // A directory is cloned while it may be: an unbindable mount may not.
    if manner.follows_host {
        lane.steps(build);
        if facts.mounts {
            lane.step(propagation);
        }
    } else {
        lane.step(propagation);
        lane.steps(build);
    }
    if facts.mounts && asked_shared {
        lane.step(Mounts::CutOff { at: at.clone() });
    }
    lane.step(Mounts::AttachRoot { at });
    lane.steps(below);
}

/// Init: what is mounted on it, the devices, the control groups, the terminal.
pub(super) fn mounts(
    lane: &mut Lane,
    facts: &Facts,
    spec: &Spec,
    sources: &Sources,
    manner: &Manner,
    join: Steps,
    groups: (&[GroupView], Option<&Path>),
) -> Result<(), Failure> {
    let mut join = Some(join);
    // Devices go onto the container's own /dev; where there is none, into the root's, after everything else.
    let mut devices = manner.follows_host;
    for (slot, source) in sources.0.iter().enumerate() {
        let kind = source.mount.typ().as_deref();
        if matches!(kind, Some("cgroup" | "cgroup2")) {
            enter_groups(lane, facts, &mut join);
        }
        if source.is_within() {
            lane.tell(Point::Wanted);
            lane.wait(Point::Handed);
        }
        lane.mount(facts, slot, source, manner, groups)?;
        if source.mount.destination() == Path::new("/dev") {
            if kind == Some("tmpfs") {
                lane.devices(spec, facts.confined);
            }
            devices = false;
        }
    }
    enter_groups(lane, facts, &mut join);
    if manner.follows_host {
        lane.step(Attributes::AnyProcessor);
    }
    if devices {
        lane.devices(spec, facts.confined);
    }
    if facts.terminal {
        let size = facts.process.console_size();
        let (rows, columns) = size.map_or((0, 0), |size| (size.height() as u16, size.width() as u16));
        lane.step(Console::Open {
            owner: facts.owner().0,
            rows,
            columns,
            on_console: true,
            plain: manner.plain_newlines,
        });
        lane.tell(Point::Terminal);
    }
    Ok(())
}

/// Joins the groups (version 1), then makes them look like the top of the tree: before they are mounted.
fn enter_groups(lane: &mut Lane, facts: &Facts, join: &mut Option<Steps>) {
    let Some(join) = join.take() else { return };
    if facts.grouped {
        lane.wait(Point::Grouped);
    }
    lane.steps(join);
    if facts.names.owns(Kind::Cgroup) {
        lane.step(Namespaces::Unshare(Kind::Cgroup));
    }
}

/// Init: its interface.
pub(super) fn network(lane: &mut Lane, facts: &Facts, network: NetworkSteps) {
    lane.steps(network.loopback);
    if facts.linked {
        lane.wait(Point::Linked);
    }
    lane.steps(network.inside);
    if facts.linked {
        lane.tell(Point::Addressed);
    }
}

/// Init: the hooks of both sides, while the host's files and the container's are there.
pub(super) fn inner_hooks(lane: &mut Lane, facts: &Facts, hooks: Steps) {
    if facts.hooked {
        lane.tell(Point::Mounted);
        lane.wait(Point::Hooked);
        lane.steps(hooks);
    }
}

/// Init: what may no longer be changed, and the end of the host's files.
pub(super) fn locks(lane: &mut Lane, facts: &Facts, spec: &Spec, manner: &Manner) -> Result<(), Failure> {
    let process = &facts.process;
    let mut sysctls: Vec<_> = facts.linux.sysctl().clone().unwrap_or_default().into_iter().collect();
    sysctls.sort();
    for (key, value) in sysctls {
        lane.step(Mounts::Sysctl { key, value });
    }
    let paths = |list: &Option<Vec<String>>| -> Vec<PathBuf> {
        let mut once: Vec<PathBuf> = Vec::new();
        for path in list.iter().flatten().map(PathBuf::from) {
            if !once.contains(&path) {
                once.push(path);
            }
        }
        once
    };
    let read_only = paths(facts.linux.readonly_paths());
    if !read_only.is_empty() {
        lane.step(Mounts::ReadOnly(read_only));
    }
    let masked = paths(facts.linux.masked_paths());
    if !masked.is_empty() {
        lane.step(Mounts::Mask(masked));
    }
    if manner.follows_host {
        lane.seals(spec);
    }
    if process.cwd() != Path::new("/") {
        lane.step(Identity::MakeWorkDirectory { path: process.cwd().clone(), owner: facts.owner() });
    }
    if spec.root().as_ref().is_some_and(|root| root.readonly().unwrap_or(false)) {
        lane.step(Mounts::ReadOnlyRoot);
    }
    if let Some(score) = process.oom_score_adj() {
        lane.step(Identity::OomScore(score));
    }
    attributes(lane, facts)?;
    labels(lane, facts);
    for limit in process.rlimits().iter().flatten() {
        lane.step(limit_step(limit)?);
    }
    let asked = facts.linux.rootfs_propagation().clone().filter(|word| !word.is_empty());
    lane.step(Mounts::Change(match (facts.mounts, manner.no_pivot) {
        (false, _) => Change::Chroot,
        (true, true) => Change::Move,
        (true, false) => {
            // Any other word leaves mounts below the root as they are: shared on most hosts.
            Change::Pivot {
                peers: asked.as_deref().is_some_and(|word| !matches!(word, "rslave" | "rprivate")),
            }
        }
    }));
    if let Some(word) = asked.filter(|_| manner.follows_host && facts.mounts) {
        lane.step(Mounts::RootPropagation(Options::parse(&[word])));
    }
    Ok(())
}

/// A further program's processors: first those it starts on, then, in its groups, those it goes on with.
pub(super) fn affinity(lane: &mut Lane, facts: &Facts, join: Steps) -> Result<(), Failure> {
    let asked = facts.process.exec_cpu_affinity().as_ref().map(Attributes::affinity).transpose()?;
    let (initial, last) = asked.unwrap_or((None, Some(Attributes::AnyProcessor)));
    initial.into_iter().for_each(|step| lane.step(step));
    lane.steps(join);
    last.into_iter().for_each(|step| lane.step(step));
    Ok(())
}

/// How the kernel schedules the program, gives it memory and looks to it. With the host's rights.
pub(super) fn attributes(lane: &mut Lane, facts: &Facts) -> Result<(), Failure> {
    if let Some(asked) = facts.process.scheduler() {
        lane.step(Attributes::scheduler(asked)?);
    }
    if let Some(asked) = facts.process.io_priority() {
        lane.step(Attributes::io_priority(asked)?);
    }
    if let Some(asked) = facts.linux.memory_policy() {
        lane.step(Attributes::memory_policy(asked)?);
    }
    if let Some(asked) = facts.linux.personality() {
        lane.step(Attributes::personality(asked)?);
    }
    Ok(())
}

/// What the host's security module, if it has one, is told.
pub(super) fn labels(lane: &mut Lane, facts: &Facts) {
    if let Some(profile) = facts.process.apparmor_profile().as_ref().filter(|profile| !profile.is_empty()) {
        lane.step(Identity::Label { file: "attr/apparmor/exec", value: format!("exec {profile}") });
    }
    if let Some(label) = facts.process.selinux_label().as_ref().filter(|label| !label.is_empty()) {
        lane.step(Identity::Label { file: "attr/exec", value: label.clone() });
    }
}

/// Init: who the program is. What comes last of all is given back: the filter, which would forbid what comes before.
pub(super) fn identity(
    lane: &mut Lane,
    facts: &Facts,
    manner: &Manner,
    filter: Option<(Vec<Instruction>, Flags)>,
    hooks: Steps,
) -> Steps {
    if facts.terminal {
        lane.step(Console::Take);
    }
    let (uid, gid) = facts.owner();
    lane.step(Namespaces::OutliveMonitor);
    lane.step(Identity::Umask(facts.process.user().umask().unwrap_or(0o022)));
    let twice = manner.follows_host && uid != 0;
    let directory = |again| Identity::WorkDirectory { path: facts.process.cwd().clone(), again };
    lane.step(directory(twice.then_some(Again::Later)));
    lane.step(Identity::Bounding(facts.caps.bounding));
    lane.step(Identity::User { uid, gid, groups: facts.groups.clone() });
    // Without no_new_privs only CAP_SYS_ADMIN may set a filter: it is kept for just that.
    let borrowed = filter.is_some() && !facts.no_new_privileges && facts.caps.permitted & SYS_ADMIN == 0;
    let mut caps = facts.caps;
    if borrowed {
        caps.permitted |= SYS_ADMIN;
        caps.effective |= SYS_ADMIN;
    }
    lane.step(Identity::Capabilities(caps));
    if twice {
        lane.step(directory(Some(Again::Now)));
    }
    if facts.no_new_privileges {
        lane.step(Identity::NoNewPrivileges);
    }
    let mut late = Steps::new();
    if let Some((program, flags)) = filter {
        let mut steps: Steps = vec![Box::new(Identity::Filter { program, flags })];
        if borrowed {
            steps.push(Box::new(Identity::GiveBack(facts.caps)));
        }
        if facts.notifies {
            // The listener is handed on while the container is made; the filter is on from there.
            let rest = steps.split_off(1);
            lane.steps(steps);
            lane.tell(Point::Filtered);
            lane.wait(Point::Heard);
            lane.steps(rest);
        } else {
            late.append(&mut steps);
        }
    }
    late.extend(hooks);
    late
}

/// CAP_SYS_ADMIN.
const SYS_ADMIN: u64 = 1 << 21;
