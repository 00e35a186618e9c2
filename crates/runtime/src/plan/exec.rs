//! A further program in a container that runs: the same launch with a shorter plan. Nothing is half-joined: one
//! setns(2) enters all namespaces or none.

use std::os::fd::OwnedFd;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;

use oci::spec::{Linux, Process};
use step::{Failure, Steps};
use sys::process::CloneFlags;
use sys::seccomp::{Flags, Instruction};

use super::clone::Clone;
use super::facts::{Facts, limit_step, outside_of, program};
use super::lane::Lane;
use super::{Plan, Point, ScriptFacts, lists};
use crate::container::{First, GroupSteps, Manner};
use crate::steps::identity::Identity;
use crate::steps::namespaces::{IdRange, Kind, Namespaces};
use crate::steps::terminal::Console;

/// A program to be started in a container that runs.
#[derive(Debug)]
pub struct Exec {
    /// The container's id.
    pub id: String,
    /// What to start.
    pub process: Process,
    /// The container's first process, whose namespaces are entered.
    pub pid: i32,
    /// The same, safe from reuse of the number.
    pub pidfd: OwnedFd,
    /// How its control groups are joined.
    pub groups: GroupSteps,
    /// The system call filter, compiled.
    pub filter: Option<(Vec<Instruction>, Flags)>,
    /// How it is started; `gate` means nothing here.
    pub manner: Manner,
    /// The container's specification: what of it holds for every process.
    pub linux: Linux,
}

/// Makes the plan. Reads which namespaces the container has for its own.
///
/// # Errors
/// The container has ended; its process is not one.
pub fn plan_exec(exec: Exec) -> Result<Plan, Failure> {
    let Exec { id, process, pid, pidfd, groups, filter, manner, linux } = exec;
    let kinds = differing(pid)?;
    let confined = kinds.contains(&Kind::User);
    let facts = Facts::of_process(&id, process, linux, confined, filter.as_ref());
    let filter_flags = filter.as_ref().map(|(_, flags)| flags.bits());
    let program = program(&facts.process, First::Program, manner.follows_host)?;
    let GroupSteps { mut before, beside, into, join, .. } = groups;
    before.extend(beside);

    let mut monitor = Lane::default();
    if facts.terminal {
        monitor.wait(Point::Terminal);
    }
    if facts.notifies {
        monitor.wait(Point::Filtered);
        monitor.tell(Point::Heard);
    }
    monitor.wait(Point::Ready);

    let mut lane = Lane::default();
    lane.step(Namespaces::DieWithMonitor);
    lane.step(Namespaces::Undumpable);
    lists::affinity(&mut lane, &facts, join)?;
    lists::attributes(&mut lane, &facts)?;
    // With the host's rights: a container's may not raise a limit.
    if let Some(score) = facts.process.oom_score_adj() {
        lane.step(Identity::OomScore(score));
    }
    for limit in facts.process.rlimits().iter().flatten() {
        lane.step(limit_step(limit)?);
    }
    // The pid namespace is entered by the clone.
    let entered: Vec<Kind> = kinds.iter().copied().filter(|kind| *kind != Kind::Pid).collect();
    if !entered.is_empty() {
        lane.step(Namespaces::Enter { pid, pidfd, kinds: entered });
    }
    if confined {
        lane.step(Namespaces::BecomeRoot { hidden: true });
        lane.step(Namespaces::DieWithMonitor);
    }
    lane.step(Namespaces::Session);
    if !manner.no_new_keyring {
        lane.step(Namespaces::Keyring(format!("_ses.{id}")));
    }
    lane.step(Namespaces::FindRoot);
    if facts.terminal {
        let size = facts.process.console_size();
        let (rows, columns) = size.map_or((0, 0), |size| (size.height() as u16, size.width() as u16));
        lane.step(Console::Open {
            owner: facts.owner().0,
            rows,
            columns,
            on_console: false,
            plain: manner.plain_newlines,
        });
        lane.tell(Point::Terminal);
    }
    lists::labels(&mut lane, &facts);
    let late = lists::identity(&mut lane, &facts, &manner, filter, Steps::new());

    let join_pid = kinds.contains(&Kind::Pid).then(|| PathBuf::from(format!("/proc/{pid}/ns/pid")));
    let stream_owner = if confined { owner_outside(pid, facts.owner().0) } else { Some(facts.owner().0) };
    Ok(Plan {
        stream_owner,
        script: ScriptFacts::of(&facts, ""),
        id,
        before,
        clone: Clone {
            flags: CloneFlags::default(),
            into,
            join_pid,
            join_user: None,
            join_before: Vec::new(),
        },
        monitor: monitor.0,
        init: lane.0,
        late,
        program,
        gated: false,
        root_handed: false,
        handed: Vec::new(),
        preserved: manner.preserved,
        sealed: manner.sealed,
        filter_flags,
    })
}

/// What a user of the process's user namespace is here: uid_map of user_namespaces(7).
fn owner_outside(pid: i32, uid: u32) -> Option<u32> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/uid_map")).ok()?;
    text.lines().find_map(|line| {
        let mut numbers = line.split_ascii_whitespace().map(str::parse::<u32>);
        let (inside, outside, size) = (numbers.next()?.ok()?, numbers.next()?.ok()?, numbers.next()?.ok()?);
        outside_of(IdRange { inside, outside, size }, uid)
    })
}

/// Which of the process's namespaces are not this process's.
fn differing(pid: i32) -> Result<Vec<Kind>, Failure> {
    let mut kinds = Vec::new();
    for (kind, file) in Kind::FILES {
        let number = |of: &str| std::fs::metadata(format!("/proc/{of}/ns/{file}")).map(|data| data.ino());
        // A kernel without this kind has no such file.
        let Ok(own) = number("self") else { continue };
        let theirs = number(&pid.to_string())
            .map_err(|error| Failure::new("namespace.enter", format!("process {pid}"), error))?;
        if own != theirs {
            kinds.push(kind);
        }
    }
    Ok(kinds)
}
