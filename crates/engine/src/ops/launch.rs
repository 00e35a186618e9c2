//! What `run` and `start` have in common: from a container that only has to be performed to one that runs.

use std::os::fd::AsFd;

use monitor::{Channel, Job, Note};
use step::{Actor, Context, Trace};

use super::attach::{refusal, wait_for_start};
use crate::keeper::Keeper;
use crate::prepare::Prepared;
use crate::request::RunRequest;
use crate::state::Store;
use crate::{Error, Settings, events};

/// A container, or a further program in one, that was started.
#[derive(Debug)]
pub struct Started {
    /// The container's id, 64 hex digits.
    pub id: String,
    /// Its name.
    pub name: String,
    /// What the user should be told already.
    pub notes: Vec<Note>,
    pub(super) channel: Channel,
    pub(super) settings: Settings,
    pub(super) terminal: bool,
    pub(super) interactive: bool,
    /// It ends with the command that waits for it.
    pub(super) foreground: bool,
    /// The id of a further program.
    pub(super) exec: Option<String>,
}

impl Started {
    /// Whether it has a terminal.
    pub fn is_terminal(&self) -> bool {
        self.terminal
    }

    /// Whether what is typed goes to it, as far as its standard input is open.
    #[must_use]
    pub fn interactive(mut self, typing: bool) -> Self {
        self.interactive &= typing;
        self
    }
}

/// Starts what was prepared; `reading`: this command stays and reads what it prints.
pub(super) fn launch(
    store: &Store,
    mut keeper: Keeper,
    prepared: Prepared,
    reading: bool,
    trace: &mut Trace,
) -> Result<Started, Error> {
    let (settings, record) = (keeper.settings.clone(), keeper.record.clone());
    let request = &record.request;
    if keeper.apart {
        store.set_apart(&record.id)?;
    }
    let mut context = Context::default();
    trace.perform_all(&prepared.prepare, &mut context)?;
    // What they hold open is held by the plan from here on, and goes with it.
    drop(prepared.prepare);
    // The steps tell it where they are told.
    let disk = disk_note(request, &prepared.disk).filter(|_| !trace.is_on());
    let foreground = !keeper.apart;
    let restore = if foreground { terminal_to_restore(request) } else { None };
    keeper.checks = prepared.checks;
    let mut own = Trace::new(Actor::Monitor, trace.is_on());
    trace.take().into_iter().for_each(|record| own.push(record));
    let job = Job {
        plan: prepared.plan,
        terminal: request.tty,
        interactive: request.interactive,
        stdin_once: !request.detach,
        foreground,
        reading,
        socket: Some(store.run_dir(&record.id)),
        trace: own,
        restore,
    };
    if reading {
        events::container(&settings, &record, "attach", &[]);
    }
    let mut channel = monitor::start(job, keeper)?;
    let told = wait_for_start(&mut channel)?;
    told.records.into_iter().for_each(|record| trace.push(record));
    if let Some(failure) = told.failure {
        return Err(refusal(&record.name, failure));
    }
    Ok(Started {
        notes: disk.into_iter().chain(told.notes).collect(),
        channel,
        settings,
        terminal: request.tty,
        interactive: request.interactive,
        foreground,
        exec: None,
        id: record.id,
        name: record.name,
    })
}

/// Which way was taken to what was asked for, where there is more than one.
fn disk_note(request: &RunRequest, disk: &storage::Disk) -> Option<Note> {
    let told = request.storage.size.is_some() || disk.because.is_some();
    told.then(|| (format!("root file system: {disk}"), None))
}

fn terminal_to_restore(request: &RunRequest) -> Option<(std::os::fd::OwnedFd, rustix::termios::Termios)> {
    if !request.tty || !request.interactive {
        return None;
    }
    let stdin = std::io::stdin();
    let settings = rustix::termios::tcgetattr(&stdin).ok()?;
    Some((stdin.as_fd().try_clone_to_owned().ok()?, settings))
}
