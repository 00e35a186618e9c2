//! The command's side of a running container: until it has started, while it runs, until it is gone.

use std::time::Duration;

use monitor::{Attached, Channel, DetachKeys, Hello, Kind as Frame, Note};
use rustix::event::{PollFd, PollFlags, poll};
use step::Failure;

use super::launch::Started;
use super::list::{State, state};
use crate::state::Store;
use crate::sweep::sweep;
use crate::{Error, Kind, Settings, contact, events};

/// How the user is attached to a foreground container.
#[derive(Debug, Clone)]
pub struct AttachOptions {
    /// `--sig-proxy`.
    pub forward_signals: bool,
    /// `--detach-keys`.
    pub detach: DetachKeys,
    /// `-a stdout`, or no `-a`.
    pub stdout: bool,
    /// `-a stderr`, or no `-a`.
    pub stderr: bool,
}

impl Default for AttachOptions {
    fn default() -> Self {
        Self { forward_signals: true, detach: DetachKeys::default(), stdout: true, stderr: true }
    }
}

/// How a foreground container ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finished {
    /// The command's own code, or 128 + the signal that ended it.
    pub code: u8,
    /// What the user should be told: the memory limit was hit, a limit could not be read back; a line each, with a
    /// hint where there is one.
    pub notes: Vec<Note>,
    /// The steps of taking it down, if the trace was asked for.
    pub records: Vec<step::Record>,
}

/// Waits until the monitor says how the start went.
pub(super) fn wait_for_start(channel: &mut Channel) -> Result<monitor::Started, Error> {
    let lost =
        || Error::new(Kind::Engine, "the container's monitor was killed before it had started the container");
    loop {
        match channel.take() {
            Some((Frame::Started | Frame::Failed, payload)) => {
                return serde_json::from_slice(&payload).map_err(|error| {
                    Error::new(Kind::Engine, format!("the monitor is not understood: {error}"))
                });
            }
            Some(_) => continue,
            None if channel.is_closed() => return Err(lost()),
            None => {}
        }
        wait(channel)?;
    }
}

fn wait(channel: &mut Channel) -> Result<(), Error> {
    let mut fds = [PollFd::new(channel, PollFlags::IN)];
    match poll(&mut fds, None) {
        Err(rustix::io::Errno::INTR) => {}
        result => drop(result.map_err(|errno| Failure::new("monitor.wait", "poll", errno))?),
    }
    channel.fill();
    Ok(())
}

/// A start that failed, in the user's words.
pub(crate) fn refusal(name: &str, failure: Failure) -> Error {
    let kind = match (failure.step.starts_with("exec"), failure.errno) {
        (true, 2) => Kind::NotFound,
        (true, _) => Kind::NotExecutable,
        (false, _) => Kind::Engine,
    };
    let cause = match (&failure.reason, failure.step.starts_with("exec")) {
        // The reason says what the error number says, and more.
        (Some(reason), true) => format!("cannot execute {}: {reason}", failure.target),
        (None, true) => format!("cannot execute {}: {}", failure.target, failure.cause()),
        (_, false) => format!("container {name} could not be started: {failure}"),
    };
    Error { kind, message: cause, hint: failure.hint }
}

impl Started {
    /// Carries the user's terminal (or pipes) to the container and back until it ends: raw mode, size, signals,
    /// the detach keys; the terminal is restored on every way out. `None`: the user detached.
    ///
    /// Returns when everything is taken down.
    pub fn attach(mut self, options: &AttachOptions) -> Result<Option<Finished>, Error> {
        let how = monitor::Options {
            terminal: self.terminal,
            interactive: self.interactive,
            forward_signals: options.forward_signals,
            detach: options.detach.clone(),
            stdout: options.stdout,
            stderr: options.stderr,
            guest: !self.foreground,
        };
        match monitor::attach(&mut self.channel, &how)? {
            Attached::Detached => {
                self.tell_detached();
                Ok(None)
            }
            Attached::Ended(ended) => {
                // One that is started again is not gone for a long time.
                let records = if ended.again { Vec::new() } else { self.wait_until_gone()? };
                let code = ended.exit.map_or(UNKNOWN, monitor::Exit::code);
                Ok(Some(Finished { code, notes: ended.notes, records }))
            }
            Attached::Lost => Err(self.lost()),
        }
    }

    fn tell_detached(&self) {
        if let Ok(Some(record)) = Store::new(&self.settings).record(&self.id) {
            let action = if self.exec.is_some() { "exec_detach" } else { "detach" };
            let exec: Vec<_> = self.exec.iter().map(|id| ("execID", id.as_str())).collect();
            events::container(&self.settings, &record, action, &exec);
        }
    }

    fn wait_until_gone(&mut self) -> Result<Vec<step::Record>, Error> {
        loop {
            match self.channel.take() {
                Some((Frame::Gone, payload)) => {
                    return Ok(serde_json::from_slice(&payload).unwrap_or_default());
                }
                Some(_) => continue,
                None if self.channel.is_closed() => return Ok(Vec::new()),
                None => wait(&mut self.channel)?,
            }
        }
    }

    /// The monitor was killed, or the user lost patience: a foreground container ends with its command.
    fn lost(self) -> Error {
        let Self { id, channel, settings, name, foreground, .. } = self;
        drop(channel);
        let store = Store::new(&settings);
        if !foreground {
            return Error::new(
                Kind::Engine,
                format!("no longer attached to container {name}; it is left alone"),
            )
            .hint(format!("`minidocker attach {name}` attaches again"));
        }
        let swept = store.wait_until_abandoned(&id, PATIENCE).and_then(|held| {
            drop(held);
            sweep(&settings, &store)
        });
        match swept {
            Ok(_) => Error::new(
                Kind::Engine,
                format!("container {name} was ended: its monitor is gone, or was told to stop waiting"),
            ),
            Err(failure) => failure.into(),
        }
    }
}

/// The exit code of a container whose end nobody saw.
pub(crate) const UNKNOWN: u8 = 255;

/// Attaches to a container that runs.
pub fn attach(settings: &Settings, name: &str, input: bool) -> Result<Started, Error> {
    let store = Store::new(settings);
    sweep(settings, &store)?;
    let (id, record) = store.load(name)?;
    let invalid = |message: String| Error::new(Kind::Invalid, message);
    match state(&store, &record)? {
        State::Running(..) => {}
        State::Paused(..) => {
            return Err(invalid(format!("cannot attach to container {name}: it is paused"))
                .hint(format!("`minidocker unpause {name}` lets it run on")));
        }
        State::Restarting(..) => {
            return Err(invalid(format!("cannot attach to container {name}: it is between two starts"))
                .hint("wait until it runs; `minidocker logs` tells why it ended"));
        }
        _ => {
            return Err(invalid(format!("cannot attach to container {name}: it is not running"))
                .hint(format!("`minidocker start -a {name}` starts it and attaches")));
        }
    }
    let hello = Hello { stdout: true, stderr: true, ..Hello::default() };
    let gone = || invalid(format!("container {name} has just ended"));
    let (channel, welcome) = contact::connect(&store, &id, hello)?.ok_or_else(gone)?;
    events::container(settings, &record, "attach", &[]);
    Ok(Started {
        id,
        name: record.name,
        notes: Vec::new(),
        channel,
        settings: settings.clone(),
        terminal: welcome.terminal,
        interactive: input && record.request.interactive,
        foreground: false,
        exec: None,
    })
}

/// How long the end of a monitor may take that has nothing left to wait for.
const PATIENCE: Duration = Duration::from_secs(10);
