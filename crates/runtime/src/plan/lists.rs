//! The two lists, part by part, in the order in which the steps are taken.

use std::path::{Path, PathBuf};

use oci::spec::Spec;
use step::{Failure, Steps};
use sys::seccomp::{Flags, Instruction};

use super::Point;
use super::facts::{Facts, limit_step};
use super::lane::Lane;
use crate::container::{GroupView, NetworkSteps};
use crate::options::Options;
use crate::steps::identity::Identity;
use crate::steps::mounts::{Mounts, is_taken};
use crate::steps::namespaces::{Kind, Namespaces};
use crate::steps::terminal::Console;

/// The monitor's, after the clone. `root` builds the root file system where init has no rights to.
pub(super) fn monitor(facts: &Facts, root: Steps, groups: Steps, network: &mut NetworkSteps) -> Lane {
    let mut lane = Lane::default();
    if facts.own_user {
        let (uids, gids) = (facts.names.uids.clone(), facts.names.gids.clone());
        lane.step(Namespaces::Maps { uids, gids });
        lane.tell(Point::Mapped);
        lane.steps(root);
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
    if facts.terminal {
        lane.wait(Point::Terminal);
    }
    if facts.linked {
        lane.wait(Point::Addressed);
        lane.steps(std::mem::take(&mut network.settled));
        lane.tell(Point::Settled);
    }
    lane.wait(Point::Ready);
    lane
}

/// Init: out of the host's namespaces.
pub(super) fn namespaces(lane: &mut Lane, facts: &Facts, spec: &Spec) {
    let names = &facts.names;
    lane.step(Namespaces::DieWithMonitor);
    if facts.own_user {
        lane.wait(Point::Mapped);
        lane.step(Namespaces::BecomeRoot);
    }
    if names.joins.iter().any(|(kind, _)| *kind == Kind::Pid) {
        lane.step(Namespaces::Undumpable);
    }
    for (kind, path) in names.joins.iter().filter(|(kind, _)| *kind != Kind::Pid) {
        lane.step(Namespaces::Join(*kind, path.clone()));
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
    lane.step(Namespaces::Keyring(format!("_ses.{}", facts.id)));
    if let Some(name) = spec.hostname() {
        lane.step(Namespaces::Hostname(name.clone()));
    }
    if let Some(name) = spec.domainname() {
        lane.step(Namespaces::Domainname(name.clone()));
    }
}

/// Init: the root file system. `build` is empty where the monitor builds it.
pub(super) fn root(lane: &mut Lane, facts: &Facts, spec: &Spec, build: Steps, at: PathBuf, below: Steps) {
    for mount in spec.mounts().iter().flatten() {
        let options = Options::parse(mount.options().as_deref().unwrap_or_default());
        let source = mount.source().clone().unwrap_or_default();
        if options.bind && is_taken(&source, &options) {
            lane.step(Mounts::Take { source, options });
        }
    }
    let propagation = facts.linux.rootfs_propagation().clone().unwrap_or_else(|| "rprivate".to_owned());
    lane.step(Mounts::Propagation(Options::parse(&[propagation])));
    if facts.own_user {
        lane.wait(Point::Rooted);
    } else {
        lane.steps(build);
    }
    lane.step(Mounts::AttachRoot { at });
    lane.steps(below);
}

/// Init: what is mounted on it, the devices, the control groups, the terminal.
pub(super) fn mounts(
    lane: &mut Lane,
    facts: &Facts,
    spec: &Spec,
    join: Steps,
    view: &[GroupView],
) -> Result<(), Failure> {
    let mut join = Some(join);
    for mount in spec.mounts().iter().flatten() {
        if mount.typ().as_deref() == Some("cgroup") {
            enter_groups(lane, facts, &mut join);
        }
        lane.mount(mount, view)?;
        if mount.destination() == Path::new("/dev") && mount.typ().as_deref() == Some("tmpfs") {
            lane.devices(spec, facts.own_user);
        }
    }
    enter_groups(lane, facts, &mut join);
    if facts.terminal {
        let size = facts.process.console_size();
        let (rows, columns) = size.map_or((0, 0), |size| (size.height() as u16, size.width() as u16));
        lane.step(Console::Open { owner: facts.owner().0, rows, columns });
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

/// Init: what may no longer be changed, and the end of the host's files.
pub(super) fn locks(lane: &mut Lane, facts: &Facts, spec: &Spec) -> Result<(), Failure> {
    let process = &facts.process;
    let mut sysctls: Vec<_> = facts.linux.sysctl().clone().unwrap_or_default().into_iter().collect();
    sysctls.sort();
    for (key, value) in sysctls {
        lane.step(Mounts::Sysctl { key, value });
    }
    let paths =
        |list: &Option<Vec<String>>| -> Vec<PathBuf> { list.iter().flatten().map(PathBuf::from).collect() };
    let read_only = paths(facts.linux.readonly_paths());
    if !read_only.is_empty() {
        lane.step(Mounts::ReadOnly(read_only));
    }
    let masked = paths(facts.linux.masked_paths());
    if !masked.is_empty() {
        lane.step(Mounts::Mask(masked));
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
    Ok(())
}

/// Init: who the program is.
pub(super) fn identity(lane: &mut Lane, facts: &Facts, filter: Option<(Vec<Instruction>, Flags)>) {
    // Its first packet must not be lost.
    if facts.linked {
        lane.wait(Point::Settled);
    }
    if facts.terminal {
        lane.step(Console::Take);
    }
    let (uid, gid) = facts.owner();
    lane.step(Namespaces::OutliveMonitor);
    lane.step(Identity::Umask(facts.process.user().umask().unwrap_or(0o022)));
    lane.step(Identity::WorkDirectory(facts.process.cwd().clone()));
    lane.step(Identity::Bounding(facts.caps.bounding));
    // Without no_new_privs only CAP_SYS_ADMIN may set a filter: before it goes. With it: last, so that the filter
    // need not allow what comes before.
    let mut filter = filter.map(|(program, flags)| Identity::Filter { program, flags });
    if !facts.no_new_privileges
        && let Some(filter) = filter.take()
    {
        lane.step(filter);
    }
    lane.step(Identity::User { uid, gid, groups: facts.groups.clone() });
    lane.step(Identity::Capabilities(facts.caps));
    if facts.no_new_privileges {
        lane.step(Identity::NoNewPrivileges);
    }
    if let Some(filter) = filter {
        lane.step(filter);
    }
}
