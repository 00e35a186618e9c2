//! The plan: an OCI specification becomes two lists of steps, with the points where the monitor and init meet. Pure:
//! the same container gives the same plan on any host, and nothing is touched.

mod clone;
mod exec;
mod facts;
mod lane;
mod lists;
mod sources;

use std::path::PathBuf;

use step::{Actor, Failure, Record, Step, Steps};
use sys::process::CloneFlags;

use clone::Clone;
pub use exec::{Exec, plan_exec};
use facts::Facts;
use lane::Lane;
use sources::Sources;

use crate::container::{Container, First, GroupSteps, RootSteps};
use crate::program::Program;
use crate::steps::gate::Make;
use crate::steps::namespaces::{IdRange, Kind};

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
    /// Init: I need a mount that is beyond my rights, now.
    Wanted,
    /// Monitor: here it is.
    Handed,
    /// Init: my interface is up and has its address.
    Addressed,
    /// Init: my mounts are there.
    Mounted,
    /// Monitor: the hooks were run.
    Hooked,
    /// Monitor: it has noted the first process, and the network forwards for it.
    Settled,
    /// Init: here is my filter's listener.
    Filtered,
    /// Monitor: it was handed on.
    Heard,
    /// Init: the program comes next.
    Ready,
}

impl Point {
    const ALL: [(Self, &str); 15] = [
        (Self::Mapped, "mapped"),
        (Self::Rooted, "rooted"),
        (Self::Isolated, "isolated"),
        (Self::Linked, "linked"),
        (Self::Grouped, "grouped"),
        (Self::Terminal, "terminal"),
        (Self::Wanted, "wanted"),
        (Self::Handed, "handed"),
        (Self::Addressed, "addressed"),
        (Self::Mounted, "mounted"),
        (Self::Hooked, "hooked"),
        (Self::Settled, "settled"),
        (Self::Filtered, "filtered"),
        (Self::Heard, "heard"),
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
    /// Init, when all else is done and nobody waits for it any more but at its gate.
    pub late: Steps,
    /// What init becomes.
    pub program: Program,
    /// It waits at a gate before the late steps.
    pub(crate) gated: bool,
    /// The monitor hands over the root.
    pub(crate) root_handed: bool,
    /// The numbers of the mounts that the monitor hands over, in this order.
    pub(crate) handed: Vec<usize>,
    /// Descriptors from 3 on that the program inherits.
    pub(crate) preserved: u32,
    /// No stub is needed.
    pub(crate) sealed: bool,
    /// Who the program's standard streams are to belong to, as the monitor numbers users.
    pub(crate) stream_owner: Option<u32>,
    pub(crate) filter_flags: Option<u32>,
    pub(crate) script: ScriptFacts,
}

impl Plan {
    /// SECCOMP_FILTER_FLAG_* of the container's filter, if it has one.
    pub fn filter_flags(&self) -> Option<u32> {
        self.filter_flags
    }

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
                        // Said once, heard once: some points are met again and again.
                        Entry::Await(point) => {
                            if let Some(said) = reached.iter().position(|said| said == point) {
                                reached.swap_remove(said);
                            }
                        }
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
        records.extend(self.late.iter().map(|step| planned(Actor::Init, step.as_ref())));
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

/// Makes the plan.
pub fn plan(container: Container) -> Result<Plan, Failure> {
    let facts = Facts::of(&container)?;
    let Container { id, spec, root, groups, mut network, filter, first, hooks, manner } = container;
    let GroupSteps { mut before, beside, into, join, view } = groups;
    let RootSteps { mount, below, at } = root;
    if let Some(dir) = &manner.gate {
        before.push(Box::new(Make { dir: dir.clone() }));
    }
    let filter_flags = filter.as_ref().map(|(_, flags)| flags.bits());
    let program = facts::program(&facts.process, first, manner.follows_host)?;
    let script = ScriptFacts::of(&facts, &network.script_name);
    let group = into.clone();
    let clone = clone_of(&facts, into);
    // In a user namespace init may not mount what only the host's root may: the monitor does.
    let (outside, inside) = if facts.confined { (mount, Steps::new()) } else { (Steps::new(), mount) };
    let (outer_hooks, inner_hooks, late_hooks) = lists::hooks(hooks, program.environment_words());
    let sources = Sources::of(&facts, &spec, &manner, &at)?;

    let monitor = lists::monitor(&facts, &sources, outside, beside, &mut network, outer_hooks);
    let mut lane = Lane::default();
    lists::namespaces(&mut lane, &facts, &spec, &manner);
    lists::root(&mut lane, &facts, &sources, &manner, RootSteps { mount: inside, below, at });
    lists::mounts(&mut lane, &facts, &spec, &sources, &manner, join, (&view, group.as_deref()))?;
    lists::network(&mut lane, &facts, network);
    lists::inner_hooks(&mut lane, &facts, inner_hooks);
    lists::locks(&mut lane, &facts, &spec, &manner)?;
    // Its first packet must not be lost; and before it may outlive its monitor, that one must have noted it.
    lane.wait(Point::Settled);
    let late = lists::identity(&mut lane, &facts, &manner, filter, late_hooks);
    Ok(Plan {
        id,
        before,
        clone,
        monitor: monitor.0,
        init: lane.0,
        late,
        program,
        gated: manner.gate.is_some(),
        root_handed: facts.confined,
        handed: sources.by_monitor(),
        preserved: manner.preserved,
        sealed: manner.sealed && first == First::Program,
        stream_owner: facts.owner_outside(),
        filter_flags,
        script,
    })
}

/// The pid and the user namespace exist from the clone on; the rest is for init to leave.
fn clone_of(facts: &Facts, into: Option<PathBuf>) -> Clone {
    let own = |kind: &Kind| facts.names.owns(*kind);
    let flags =
        [Kind::User, Kind::Pid].iter().filter(|kind| own(kind)).fold(0, |flags, kind| flags | kind.flag());
    let joined = |wanted| {
        let found = facts.names.joins.iter().find(|(kind, _)| *kind == wanted);
        found.map(|(_, path)| path.clone())
    };
    Clone {
        flags: CloneFlags(flags),
        into,
        join_pid: joined(Kind::Pid),
        join_user: joined(Kind::User).filter(|_| own(&Kind::Pid)),
        join_before: facts
            .names
            .joins
            .iter()
            .filter(|(kind, _)| !matches!(kind, Kind::User | Kind::Pid | Kind::Mount))
            .map(|(_, path)| path.clone())
            .collect(),
    }
}

impl ScriptFacts {
    fn of(facts: &Facts, network: &str) -> Self {
        let names = &facts.names;
        let (uid, gid) = facts.owner();
        Self {
            unshare: names.own.clone(),
            joins: names.joins.clone(),
            network: names.owns(Kind::Network).then(|| network.to_owned()),
            uids: names.uids.clone(),
            gids: names.gids.clone(),
            offsets: names.offsets.clone(),
            identity: crate::steps::identity::setpriv(
                uid,
                gid,
                &facts.groups,
                facts.caps,
                facts.no_new_privileges,
            ),
        }
    }
}

#[cfg(test)]
mod tests;
