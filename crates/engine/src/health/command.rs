//! A question by a program in the container: started as `exec` starts one, by a fork of the monitor that carries its
//! streams, waits for it and ends with it. Planning and launching take their time there, not in the monitor's loop.

use std::collections::HashSet;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use cgroup::{Group, Hierarchies};
use monitor::{Channel, Ended, Exit, Job, Kind, Note, Started};
use runtime::Running;
use rustix::process::{Pid, PidfdFlags, pidfd_open};
use step::{Actor, Failure, Trace};

use super::talk::Answer;
use crate::Settings;
use crate::ops::UNKNOWN;
use crate::ops::exec::{self, ExecRequest};
use crate::ops::refusal;
use crate::state::{Record, Store, parent_and_session};

/// Docker's: so much of what it prints is kept.
const MOST: usize = 4096;

/// A program that was asked.
#[derive(Debug)]
pub(super) struct Command {
    channel: Channel,
    /// The fork: our child.
    worker: OwnedFd,
    /// Its first process.
    first: Option<i32>,
    output: Vec<u8>,
    cut: bool,
}

impl Command {
    pub(super) fn begin(settings: &Settings, record: &Record, words: Vec<String>) -> Result<Self, Answer> {
        let make = || Ok((job(settings, record, words)?, Silent));
        let (channel, worker) = monitor::start_apart(make).map_err(|failure| (-1, failure.to_string()))?;
        Ok(Self { channel, worker, first: None, output: Vec::new(), cut: false })
    }

    pub(super) fn waits_for(&self) -> BorrowedFd<'_> {
        self.channel.as_fd()
    }

    /// Takes in what there is; the answer, once there is one.
    pub(super) fn go_on(&mut self, name: &str) -> Option<Answer> {
        self.channel.fill();
        while let Some((kind, payload)) = self.channel.take() {
            match kind {
                Kind::Started => {
                    let told = serde_json::from_slice::<Started>(&payload).ok();
                    self.first = told.map(|told| told.pid).filter(|pid| *pid > 0);
                }
                Kind::Failed => return Some((-1, why(name, &payload))),
                Kind::Stdout | Kind::Stderr => self.take_in(&payload),
                Kind::Ended => {
                    let exit = serde_json::from_slice::<Ended>(&payload).ok().and_then(|ended| ended.exit);
                    return Some((exit.map_or(UNKNOWN, Exit::code).into(), self.printed()));
                }
                _ => {}
            }
        }
        let lost = "the process that watches over the check was killed";
        self.channel.is_closed().then(|| (-1, lost.to_owned()))
    }

    fn take_in(&mut self, bytes: &[u8]) {
        let room = MOST - self.output.len();
        self.output.extend(&bytes[..bytes.len().min(room)]);
        self.cut |= bytes.len() > room;
    }

    /// What it has printed, as Docker cuts it.
    pub(super) fn printed(&self) -> String {
        let text = String::from_utf8_lossy(&self.output);
        if self.cut { format!("{text}...") } else { text.into_owned() }
    }

    /// Kills it and what it has started. Dropping the rest kills it too where it is only about to be started.
    pub(super) fn kill(&self, record: &Record) {
        if let Some(first) = self.first {
            kill_all(record, first);
        }
    }

    /// The fork, which ends when its program has.
    pub(super) fn into_worker(self) -> OwnedFd {
        self.worker
    }
}

fn why(name: &str, payload: &[u8]) -> String {
    match serde_json::from_slice::<Started>(payload).ok().and_then(|told| told.failure) {
        Some(failure) if failure.step.starts_with("exec") => refusal(name, failure).message,
        Some(failure) => format!("the check could not be started: {failure}"),
        None => "the check could not be started".to_owned(),
    }
}

/// In the fork.
fn job(settings: &Settings, record: &Record, command: Vec<String>) -> Result<Job, Failure> {
    let store = Store::new(settings);
    let gone = || Failure::because("health", "", "the container has just ended");
    let pid = store.living_init(&record.id).ok_or_else(gone)?;
    let pidfd = Pid::from_raw(pid).and_then(|pid| pidfd_open(pid, PidfdFlags::empty()).ok());
    let pidfd = pidfd.filter(|_| store.living_init(&record.id) == Some(pid)).ok_or_else(gone)?;
    let asked = ExecRequest { command, ..ExecRequest::default() };
    let plan = exec::plan(record, &asked, pid, pidfd)
        .map_err(|error| Failure::because("health", "", error.message))?;
    Ok(Job {
        plan,
        terminal: false,
        interactive: false,
        stdin_once: true,
        foreground: true,
        reading: true,
        socket: None,
        trace: Trace::new(Actor::Monitor, false),
        restore: None,
    })
}

/// Nothing of a check is told to others, and nothing has to be taken down.
struct Silent;

impl monitor::Keeper for Silent {
    fn cloned(&mut self, _: i32) -> Result<(), Failure> {
        Ok(())
    }

    fn running(&mut self, _: &mut Running) -> Vec<Note> {
        Vec::new()
    }

    fn ended(&mut self, _: Option<Exit>) -> Vec<Note> {
        Vec::new()
    }

    fn abandon(&mut self, _: &Failure, _: &mut Trace) {}

    fn clean(&mut self, _: &mut Trace) {}

    fn finish(&mut self, _: &mut Trace) {}
}

/// How often the container's processes are gone through: some may have started others meanwhile.
const ROUNDS: usize = 50;

/// Kills a process of the container's, whatever it has started, and what those have. It leads a session of its own, so
/// that those whose parents are gone are known by that. Who left both before is the container's own.
fn kill_all(record: &Record, first: i32) {
    let group = Hierarchies::probe().and_then(|hierarchies| Group::open(&hierarchies, &record.group));
    let Ok(group) = group else { return };
    let mut known = HashSet::from([first]);
    for _ in 0..ROUNDS {
        // Opened before it is looked at: the signal goes to whom was seen, or to nobody.
        let living: Vec<_> = group
            .processes()
            .into_iter()
            .filter_map(|pid| {
                let pidfd = pidfd_open(Pid::from_raw(pid)?, PidfdFlags::empty()).ok()?;
                Some((pid, pidfd, parent_and_session(pid)?))
            })
            .collect();
        let mut count = 0;
        while known.len() > count {
            count = known.len();
            let theirs = living
                .iter()
                .filter(|(_, _, (parent, session))| known.contains(parent) || known.contains(session));
            let more: Vec<i32> = theirs.map(|(pid, ..)| *pid).collect();
            known.extend(more);
        }
        let victims = living.iter().filter(|(pid, ..)| known.contains(pid));
        let killed = victims.filter(|(_, pidfd, _)| sys::signal::send(pidfd, 9).is_ok()).count();
        if killed == 0 {
            return;
        }
    }
}
