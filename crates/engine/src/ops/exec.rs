//! `exec`: a further program in a container that runs.

use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use cgroup::Hierarchies;
use monitor::{Exit, Job, Note};
use runtime::{Exec, GroupSteps, Manner, Running};
use rustix::process::{Pid, PidfdFlags, pidfd_open};
use step::{Actor, Failure, Trace};

use super::attach::{UNKNOWN, refusal, wait_for_start};
use super::launch::Started;
use super::list::{State, state};
use crate::facts::Facts;
use crate::request::{Namespace, NetworkMode, RunRequest};
use crate::state::{Record, Store};
use crate::sweep::sweep;
use crate::{Error, Kind, Settings, events, names, prepare, spec, users};

/// A program for a container that runs.
#[derive(Debug, Clone, Default)]
pub struct ExecRequest {
    /// The program and its arguments.
    pub command: Vec<String>,
    /// `-u`; else the container's own.
    pub user: Option<String>,
    /// `-w`; else the container's own.
    pub workdir: Option<PathBuf>,
    /// `-e` and `--env-file`, after the container's own.
    pub env: Vec<(String, Option<String>)>,
    /// `-t`.
    pub tty: bool,
    /// `-i`.
    pub interactive: bool,
    /// `-d`.
    pub detach: bool,
    /// `--privileged`: every capability.
    pub privileged: bool,
}

/// Starts a program in a container that runs. It ends with this command, unless it is detached.
pub fn exec(settings: &Settings, name: &str, asked: &ExecRequest) -> Result<Started, Error> {
    let store = Store::new(settings);
    sweep(settings, &store)?;
    let (id, record) = store.load(name)?;
    let invalid = |message: String, hint: String| Err(Error::new(Kind::Invalid, message).hint(hint));
    let pid = match state(&store, &record)? {
        State::Running(_, pid) => pid,
        State::Paused(..) => {
            return invalid(
                format!("cannot exec in container {name}: it is paused"),
                format!("`minidocker unpause {name}` lets it run on"),
            );
        }
        State::Restarting(..) => {
            return invalid(
                format!("cannot exec in container {name}: it is between two starts"),
                "wait until it runs; `minidocker logs` tells why it ended".to_owned(),
            );
        }
        _ => {
            return invalid(
                format!("cannot exec in container {name}: it is not running"),
                format!("`minidocker start {name}` starts it"),
            );
        }
    };
    let gone = || Error::new(Kind::Invalid, format!("container {name} has just ended"));
    let pidfd = Pid::from_raw(pid).and_then(|pid| pidfd_open(pid, PidfdFlags::empty()).ok());
    let pidfd = pidfd.filter(|_| store.joinable_init(&id) == Some(pid)).ok_or_else(gone)?;
    let plan = plan(&record, asked, pid, pidfd)?;
    let job = Job {
        plan,
        terminal: asked.tty,
        interactive: asked.interactive,
        stdin_once: true,
        foreground: !asked.detach,
        reading: !asked.detach,
        socket: None,
        trace: Trace::new(Actor::Monitor, false),
        restore: None,
    };
    let mut guest = Guest { settings: settings.clone(), exec: names::id(), record };
    guest.record.command.clone_from(&asked.command);
    guest.tell(&format!("exec_create: {}", asked.command.join(" ")), &[]);
    let (exec, name) = (guest.exec.clone(), guest.record.name.clone());
    let mut channel = monitor::start(job, guest)?;
    let told = wait_for_start(&mut channel)?;
    if let Some(failure) = told.failure {
        return Err(refusal(&name, failure));
    }
    Ok(Started {
        id,
        name,
        notes: told.notes,
        channel,
        settings: settings.clone(),
        terminal: asked.tty,
        interactive: asked.interactive,
        foreground: !asked.detach,
        exec: Some(exec),
    })
}

/// The launch of a program in a container: the container's own process with what was asked for in its places.
pub(crate) fn plan(
    record: &Record,
    asked: &ExecRequest,
    pid: i32,
    pidfd: OwnedFd,
) -> Result<runtime::Plan, Error> {
    let mut request = record.request.clone();
    // They are there already.
    request.storage.mounts.clear();
    request.tty = asked.tty;
    request.entrypoint = Some(Vec::new());
    request.command.clone_from(&asked.command);
    request.process.env.extend(asked.env.iter().cloned());
    if let Some(workdir) = &asked.workdir {
        request.process.workdir = Some(workdir.clone());
    }
    if asked.user.is_some() {
        request.process.user.clone_from(&asked.user);
        request.process.groups.clear();
    }
    // Its files as the container has them now; nothing outside of its root is looked at.
    let root = [PathBuf::from(format!("/proc/{pid}/root"))];
    let user = users::resolve(&root, request.process.user.as_deref(), &request.process.groups)
        // Nothing can be started as nobody.
        .map_err(|error| Error { kind: Kind::NotExecutable, ..error })?;
    let facts = Facts {
        user,
        hostname: hostname(&request, &root),
        capabilities: rustix::thread::capabilities(None).map_or(0, |sets| sets.permitted.bits()),
        terminal: prepare::terminal_size(&request),
        ..Facts::default()
    };
    let own = spec::specify(&request, &facts, &record.id, &record.group, &[])?;
    let filter = prepare::filter(&request, &own.capabilities)?;
    request.security.privileged |= asked.privileged;
    let spec = spec::specify(&request, &facts, &record.id, &record.group, &[])?.spec;
    let entry = cgroup::entry(&Hierarchies::probe()?, &|_| record.group.clone())?;
    Ok(runtime::plan_exec(Exec {
        id: record.id.clone(),
        process: spec.process().clone().unwrap_or_default(),
        pid,
        pidfd,
        groups: GroupSteps { into: entry.into, join: entry.join, ..GroupSteps::default() },
        filter: filter.map(|program| (program.instructions().to_vec(), program.flags())),
        manner: Manner::default(),
        linux: spec.linux().clone().unwrap_or_default(),
    })?)
}

/// What the container is called where that is not its own to say: as another container whose name or network it shares, by
/// the file that it has of it, else as the host.
fn hostname(request: &RunRequest, root: &[PathBuf]) -> String {
    let is_anothers = matches!(request.network.mode, NetworkMode::Container(_))
        || matches!(request.namespaces.uts, Namespace::Container(_));
    let file = if is_anothers { storage::read_file(root, Path::new("etc/hostname"), 256) } else { None };
    let text = file.and_then(|bytes| String::from_utf8(bytes).ok()).filter(|text| !text.contains('\0'));
    let name = text.and_then(|text| Some(text.split_ascii_whitespace().next()?.to_owned()));
    name.unwrap_or_else(|| rustix::system::uname().nodename().to_string_lossy().into_owned())
}

/// Nothing of a further program is kept, and nothing has to be taken down.
#[derive(Debug)]
pub(crate) struct Guest {
    settings: Settings,
    /// The program's own id, 64 hex digits.
    exec: String,
    record: Record,
}

impl Guest {
    fn tell(&self, action: &str, more: &[(&str, &str)]) {
        let more = [&[("execID", self.exec.as_str())], more].concat();
        events::container(&self.settings, &self.record, action, &more);
    }
}

impl monitor::Keeper for Guest {
    fn cloned(&mut self, _: i32) -> Result<(), Failure> {
        Ok(())
    }

    fn running(&mut self, _: &mut Running) -> Vec<Note> {
        let command = self.record.command.join(" ");
        self.tell(&format!("exec_start: {command}"), &[]);
        Vec::new()
    }

    fn ended(&mut self, exit: Option<Exit>) -> Vec<Note> {
        let code = exit.map_or(UNKNOWN, Exit::code).to_string();
        self.tell("exec_die", &[("exitCode", &code)]);
        Vec::new()
    }

    fn abandon(&mut self, _: &Failure, _: &mut Trace) {}

    fn clean(&mut self, _: &mut Trace) {}

    fn finish(&mut self, _: &mut Trace) {}
}
