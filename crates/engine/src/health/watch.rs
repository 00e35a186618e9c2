//! The monitor's part: one question at a time, none of them waited for.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use cgroup::{Group, Hierarchies};
use oci::Probe;
use rustix::event::PollFlags;
use rustix::process::{WaitId, WaitIdOptions};
use serde::{Deserialize, Serialize};

use super::command::Command;
use super::rules::{Rules, shown};
use super::talk::{Answer, Talk};
use crate::Settings;
use crate::state::{Health, Known, Record, Store, Verdict};

/// The health of one container that runs.
#[derive(Debug)]
pub(crate) struct Watch {
    rules: Rules,
    /// When the container was started.
    began: Instant,
    known: Known,
    /// When the next question is asked, or the one that is asked has taken too long. None: it has ended.
    due: Option<Instant>,
    /// When the last question was asked: nanoseconds since 1970, and since the start.
    asked: (u64, Duration),
    asking: Option<Asking>,
    /// The process of a question that is over. There is no further one before it has ended: they would pile up where
    /// processes are stuck.
    worker: Option<OwnedFd>,
    /// When that was over, or when the container stood still after that.
    parted: Instant,
}

#[derive(Debug)]
enum Asking {
    Talk(Talk),
    Command(Command),
}

/// After this time it is seen whether the process of a question that is over has gone.
const SOON: Duration = Duration::from_millis(10);

/// What those who asked are told of an answer.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Told {
    /// 0 is well.
    pub exit_code: i32,
    /// What is said now.
    pub status: Health,
    /// The answer changed it.
    #[serde(skip)]
    pub is_new: bool,
}

impl Watch {
    /// Of a container that was started just now; none where nobody asked for it. `last` is that of the start before.
    pub(crate) fn begin(store: &Store, record: &Record, last: Option<Box<Self>>) -> Option<Box<Self>> {
        let mut watch = Self::new(record, Known::default(), Duration::ZERO, Duration::ZERO)?;
        watch.worker = last.and_then(|last| last.worker);
        watch.write(store, record);
        Some(watch)
    }

    /// Of one that was started then, in milliseconds since 1970, and has lost its monitor: what was known counts on.
    pub(crate) fn resume(store: &Store, record: &Record, started: u64) -> Option<Box<Self>> {
        let now = nanos();
        let since = |then: u64| Duration::from_nanos(now.saturating_sub(then));
        let known = store.health(&record.id).unwrap_or_default();
        let started = started.saturating_mul(1_000_000);
        let waited = since(known.log.last().map_or(started, |verdict| verdict.end));
        Self::new(record, known, since(started), waited)
    }

    fn new(record: &Record, known: Known, age: Duration, waited: Duration) -> Option<Box<Self>> {
        let check = record.request.healthcheck.as_ref().filter(|check| check.probe().is_some())?;
        let (rules, now) = (Rules::of(check), Instant::now());
        let pause = rules.pause(known.status, age).saturating_sub(waited);
        Some(Box::new(Self {
            rules,
            began: now.checked_sub(age).unwrap_or(now),
            known,
            due: now.checked_add(pause),
            asked: (0, Duration::ZERO),
            asking: None,
            worker: None,
            parted: now,
        }))
    }

    /// When it wants its turn without anything else happening.
    pub(crate) fn due(&self) -> Option<Instant> {
        self.due
    }

    /// What it waits for besides.
    pub(crate) fn waits_for(&self) -> Option<(BorrowedFd<'_>, PollFlags)> {
        Some(match self.asking.as_ref()? {
            Asking::Talk(talk) => talk.waits_for(),
            Asking::Command(command) => (command.waits_for(), PollFlags::IN),
        })
    }

    /// The next question is asked now.
    pub(crate) fn ask_now(&mut self) {
        if self.asking.is_none() && self.due.is_some() {
            self.due = Some(Instant::now());
        }
    }

    /// Its turn. The answer is still to be written: who sees it in the file has been told of it before.
    pub(crate) fn turn(&mut self, settings: &Settings, record: &Record) -> Option<Told> {
        let is_due = self.due.is_some_and(|due| due <= Instant::now());
        let answer = match &mut self.asking {
            None if !is_due => return None,
            None => self.ask(settings, record)?,
            Some(asking) => {
                let answer = match asking {
                    Asking::Talk(talk) => talk.go_on(),
                    Asking::Command(command) => command.go_on(&record.name),
                };
                match answer {
                    Some(answer) => {
                        self.let_go();
                        answer
                    }
                    None if is_due => self.give_up(record)?,
                    None => return None,
                }
            }
        };
        let (exit_code, output) = answer;
        let (start, age) = self.asked;
        let is_new =
            self.rules.judge(&mut self.known, Verdict { start, end: nanos(), exit_code, output }, age);
        self.wait();
        Some(Told { exit_code, status: self.known.status, is_new })
    }

    /// A child of the monitor's has ended, which may be ours.
    pub(crate) fn reap(&mut self) {
        let options = WaitIdOptions::EXITED | WaitIdOptions::NOHANG;
        let lives = |pidfd: &OwnedFd| {
            matches!(rustix::process::waitid(WaitId::PidFd(pidfd.as_fd()), options), Ok(None))
        };
        self.worker = self.worker.take().filter(lives);
    }

    /// The container has ended: what is asked is asked nobody.
    pub(crate) fn end(&mut self, store: &Store, record: &Record) {
        self.let_go();
        self.due = None;
        store.keep_health(record);
    }

    /// Asks. An answer at once is that it cannot be asked; none: it is asked, or it is not the time for it.
    fn ask(&mut self, settings: &Settings, record: &Record) -> Option<Answer> {
        self.asked = (nanos(), self.began.elapsed());
        self.wait();
        self.reap();
        if is_paused(record) {
            self.parted = Instant::now();
            return None;
        }
        if self.worker.is_some() {
            if self.parted.elapsed() < self.rules.timeout {
                self.due = Instant::now().checked_add(SOON);
                return None;
            }
            let words = "Health check exceeded timeout: the process of the last one does not end";
            return Some((-1, words.to_owned()));
        }
        let shell = &record.request.shell;
        let asking = match record.request.healthcheck.as_ref()?.probe()? {
            Probe::Tcp(address) => talk(settings, record, address, None),
            Probe::Http(address, path) => talk(settings, record, address, Some(path)),
            Probe::Command(words) => command(settings, record, words.to_vec()),
            Probe::Shell(line) if shell.is_empty() => {
                command(settings, record, ["/bin/sh", "-c", line].map(str::to_owned).to_vec())
            }
            Probe::Shell(line) => {
                command(settings, record, shell.iter().cloned().chain([line.to_owned()]).collect())
            }
        };
        match asking {
            Ok(asking) => {
                self.asking = Some(asking);
                self.due = Instant::now().checked_add(self.rules.timeout);
                None
            }
            Err(answer) => Some(answer),
        }
    }

    /// It has taken too long. No answer where the container stands still: it could not answer.
    fn give_up(&mut self, record: &Record) -> Option<Answer> {
        let paused = is_paused(record);
        let mut printed = String::new();
        if let Some(Asking::Command(command)) = &self.asking {
            printed = command.printed();
            command.kill(record);
        }
        self.let_go();
        if paused {
            self.wait();
            return None;
        }
        let words = format!("Health check exceeded timeout ({})", shown(self.rules.timeout));
        Some((-1, if printed.is_empty() { words } else { format!("{words}: {printed}") }))
    }

    fn let_go(&mut self) {
        self.parted = Instant::now();
        if let Some(Asking::Command(command)) = self.asking.take() {
            self.worker = Some(command.into_worker());
        }
    }

    fn wait(&mut self) {
        let pause = self.rules.pause(self.known.status, self.began.elapsed());
        self.due = Instant::now().checked_add(pause);
    }

    /// Writes what is known.
    pub(crate) fn write(&self, store: &Store, record: &Record) {
        // A full run root: the next answer may find room.
        let _ = store.write_health(&record.id, &self.known);
    }
}

fn talk(
    settings: &Settings,
    record: &Record,
    address: std::net::SocketAddr,
    path: Option<&str>,
) -> Result<Asking, Answer> {
    let pid = Store::new(settings).living_init(&record.id);
    let pid = pid.ok_or_else(|| (-1, "the container has just ended".to_owned()))?;
    Talk::begin(pid, address, path).map(Asking::Talk)
}

fn command(settings: &Settings, record: &Record, words: Vec<String>) -> Result<Asking, Answer> {
    Command::begin(settings, record, words).map(Asking::Command)
}

fn is_paused(record: &Record) -> bool {
    let group = Hierarchies::probe().and_then(|hierarchies| Group::open(&hierarchies, &record.group));
    group.is_ok_and(|group| group.is_frozen().unwrap_or(false))
}

/// Now, since 1970.
fn nanos() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |past| past.as_nanos() as u64)
}
