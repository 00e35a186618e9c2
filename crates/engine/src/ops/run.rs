//! `run`: from a request to a running container, and to its end.

use std::os::fd::AsFd;
use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use cgroup::{Check, Hierarchies, Limits};
use monitor::{Attached, Channel, DetachKeys, Job, Kind as Frame, Note};
use runtime::{Container, GroupSteps, GroupView, NetworkSteps, RootSteps};
use rustix::event::{PollFd, PollFlags, poll};
use seccomp::Arch;
use step::{Actor, Context, Failure, Step, Steps, Trace};

use crate::facts::{self, Facts};
use crate::keeper::Keeper;
use crate::request::{Image, Mount, Namespace, NetworkMode, RunRequest, Seccomp};
use crate::spec::{self, Specified};
use crate::state::{Held, Record, Store, millis};
use crate::steps::{EngineStep, Remains, take_all, takedown};
use crate::sweep::sweep;
use crate::{Error, Kind, Settings, files, names};

/// A container that was started.
#[derive(Debug)]
pub struct Started {
    /// The container's id, 64 hex digits.
    pub id: String,
    /// Its name.
    pub name: String,
    /// What the user should be told already.
    pub notes: Vec<Note>,
    channel: Channel,
    settings: Settings,
    terminal: bool,
    interactive: bool,
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

/// What a `run` would do.
#[derive(Debug)]
pub struct Plan {
    /// Every step in order, not taken.
    pub records: Vec<step::Record>,
    /// `--explain=shell`: a script that builds the same container by hand.
    pub script: String,
}

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

/// Starts a container. What was done is added to `records` where they are given: `--explain`; of a start that failed
/// too.
pub fn run(
    settings: &Settings,
    request: &RunRequest,
    records: Option<&mut Vec<step::Record>>,
) -> Result<Started, Error> {
    let mut trace = Trace::new(Actor::Command, records.is_some());
    let result = run_traced(settings, request, &mut trace);
    if let Some(records) = records {
        records.extend(trace.take());
    }
    result
}

fn run_traced(settings: &Settings, request: &RunRequest, trace: &mut Trace) -> Result<Started, Error> {
    check_cidfile(request)?;
    let store = Store::new(settings);
    store.prepare()?;
    sweep(settings, &store)?;
    let id = names::id();
    let held = store.hold(&id)?;
    match start(settings, &store, request, &id, held, trace) {
        Ok(started) => {
            if let Some(path) = &request.cidfile {
                crate::state::write_file(path, started.id.as_bytes(), false)?;
            }
            Ok(started)
        }
        Err(error) => {
            // The monitor takes down what it started. What was prepared before is ours; a step that has nothing to
            // do does nothing.
            if let Some(_held) = store.abandoned(&id)? {
                let remains = Remains { remove: true, ..remains_of(settings, request, &id) };
                let mut context = Context::default();
                take_all(&takedown(settings, &remains).all(), |step| step.perform(&mut context))?;
            }
            Err(error)
        }
    }
}

fn start(
    settings: &Settings,
    store: &Store,
    request: &RunRequest,
    id: &str,
    held: Held,
    trace: &mut Trace,
) -> Result<Started, Error> {
    let draft = draft(settings, store, request, id)?;
    let name = take_name(store, request, id)?;
    let place = reserve(settings, store, request, id, &name)?;
    let prepared = finish(store, request, id, draft, place)?;
    let record = record(request, id, &name, &prepared)?;
    store.write_record(&record)?;
    let mut context = Context::default();
    trace.perform_all(&prepared.prepare, &mut context)?;
    let restore = terminal_to_restore(request);
    let remains = Remains {
        name: Some(name.clone()),
        network: prepared.place.clone(),
        ..remains_of(settings, request, id)
    };
    let keeper = Keeper {
        settings: settings.clone(),
        record,
        checks: prepared.checks,
        remains,
        later: Steps::new(),
        _lock: held.lock,
    };
    let mut own = Trace::new(Actor::Monitor, trace.is_on());
    trace.take().into_iter().for_each(|record| own.push(record));
    let job = Job {
        plan: prepared.plan,
        terminal: request.tty,
        interactive: request.interactive,
        detached: request.detach,
        trace: own,
        restore,
    };
    let mut channel = monitor::start(job, keeper)?;
    let told = wait_for_start(&mut channel)?;
    told.records.into_iter().for_each(|record| trace.push(record));
    if let Some(failure) = told.failure {
        return Err(refusal(&name, failure));
    }
    Ok(Started {
        id: id.to_owned(),
        name,
        notes: told.notes,
        channel,
        settings: settings.clone(),
        terminal: request.tty,
        interactive: request.interactive,
    })
}

/// What a `run` would do. An address is reserved for a moment, so that the plan names a free one; nothing stays.
pub fn plan(settings: &Settings, request: &RunRequest) -> Result<Plan, Error> {
    let store = Store::new(settings);
    store.prepare()?;
    sweep(settings, &store)?;
    let id = names::id();
    let held = store.hold(&id)?;
    let planned = plan_held(settings, &store, request, &id);
    let remains = remains_of(settings, request, &id);
    let mut context = Context::default();
    let taken = take_all(&takedown(settings, &remains).all(), |step| step.perform(&mut context));
    drop(held);
    let plan = planned?;
    taken?;
    Ok(plan)
}

fn plan_held(settings: &Settings, store: &Store, request: &RunRequest, id: &str) -> Result<Plan, Error> {
    let draft = draft(settings, store, request, id)?;
    let place = reserve(settings, store, request, id, request.name.as_deref().unwrap_or(&id[..12]))?;
    let prepared = finish(store, request, id, draft, place)?;
    let remains =
        Remains { network: prepared.place.clone(), remove: true, ..remains_of(settings, request, id) };
    let down = takedown(settings, &remains).all();
    let clean: Vec<String> = down
        .iter()
        .flat_map(|step| match step.shell() {
            step::Shell::Lines(lines) => lines,
            _ => Vec::new(),
        })
        .collect();
    let script = runtime::script(&prepared.plan, &prepared.prepare, &clean);
    let mut records: Vec<_> =
        prepared.prepare.iter().map(|step| step::Record::planned(Actor::Command, step.as_ref())).collect();
    records.extend(prepared.plan.records());
    records.extend(down.iter().map(|step| step::Record::planned(Actor::Monitor, step.as_ref())));
    Ok(Plan { records, script })
}

/// What can be known before anything is reserved: bad requests end here.
struct Draft {
    rootfs: storage::Rootfs,
    facts: Facts,
    hierarchies: Hierarchies,
    group: String,
}

fn draft(settings: &Settings, store: &Store, request: &RunRequest, id: &str) -> Result<Draft, Error> {
    let source = match &request.image {
        Image::Host => storage::Source::Host,
        Image::Directory(path) => storage::Source::Directory(path.clone()),
        Image::DirectoryOverlay(path) => storage::Source::DirectoryOverlay(path.clone()),
    };
    let options = storage::Options {
        volatile: request.remove,
        read_only: request.storage.read_only,
        idmapped: request.namespaces.user != crate::request::UserNamespace::Host,
    };
    let rootfs = storage::plan(&settings.places(), id, &source, options)?;
    let facts = facts::gather(store, request, id, &rootfs.lookup)?;
    let group = settings.group(request.resources.cgroup_parent.as_deref(), id);
    Ok(Draft { rootfs, facts, hierarchies: Hierarchies::probe()?, group })
}

fn take_name(store: &Store, request: &RunRequest, id: &str) -> Result<String, Error> {
    let Some(name) = &request.name else {
        for tries in 0..1000 {
            let name = names::name(tries);
            if store.take_name(&name, id)?.is_ok() {
                return Ok(name);
            }
        }
        return Err(Error::new(Kind::Engine, "found no free name").hint("give one with --name"));
    };
    match store.take_name(name, id)? {
        Ok(()) => Ok(name.clone()),
        Err(owner) => Err(Error::new(
            Kind::Invalid,
            format!("the name {name} is taken by container {}", owner.get(..12).unwrap_or(&owner)),
        )
        .hint(format!("choose another with --name, or remove that one: minidocker rm -f {name}"))),
    }
}

fn network_mode(request: &RunRequest) -> network::Mode {
    match &request.network.mode {
        NetworkMode::Host => network::Mode::Host,
        NetworkMode::Container(_) => network::Mode::Join,
        NetworkMode::None => network::Mode::None,
        NetworkMode::Bridge => network::Mode::Bridge(network::BridgeRequest {
            ip: request.network.ip.map(|(addr, prefix)| network::IpRequest { addr, prefix }),
            mac: request.network.mac,
        }),
    }
}

fn reserve(
    settings: &Settings,
    store: &Store,
    request: &RunRequest,
    id: &str,
    name: &str,
) -> Result<Option<network::Attachment>, Error> {
    let mut chosen = settings.network();
    chosen.subnet =
        match &settings.subnet {
            Some(text) => Some(text.parse().map_err(|error: network::ParseError| {
                Error::new(Kind::Invalid, format!("--subnet: {error}"))
            })?),
            None => None,
        };
    let is_alive = |id: &str| store.run_dir(id).exists();
    network::reserve(&chosen, id, name, &network_mode(request), &is_alive).map_err(|error| {
        let hint = error.hint();
        let error = Error::new(Kind::Invalid, error.to_string());
        match hint {
            Some(hint) => error.hint(hint),
            None => error,
        }
    })
}

/// A container that only has to be performed.
struct Prepared {
    prepare: Steps,
    plan: runtime::Plan,
    checks: Vec<Check>,
    place: Option<network::Attachment>,
    group: String,
}

fn finish(
    store: &Store,
    request: &RunRequest,
    id: &str,
    draft: Draft,
    place: Option<network::Attachment>,
) -> Result<Prepared, Error> {
    let Draft { rootfs, mut facts, hierarchies, group } = draft;
    facts.terminal = terminal_size(request);
    let hostname = spec::own_hostname(request, &facts, id).unwrap_or_else(|| facts.hostname.clone());
    let texts = files::texts(request, &hostname, place.as_ref());
    let dir = store.run_dir(id);
    let files = facts.network_files.clone().unwrap_or_else(|| dir.clone());
    let binds: Vec<_> = files::TARGETS.iter().map(|(name, target)| (files.join(name), *target)).collect();
    let binds: Vec<_> = binds.into_iter().filter(|(file, _)| !texts.is_empty() || file.exists()).collect();
    let Specified { spec, capabilities } = spec::specify(request, &facts, id, &group, &binds)?;

    let mut limits = match spec.linux().as_ref().and_then(|linux| linux.resources().as_ref()) {
        Some(resources) => Limits::from_oci(resources)?,
        None => Limits::default(),
    };
    limits.raw.extend(request.resources.raw.clone());
    let groups = cgroup::plan(&hierarchies, &group, &limits)?;
    let own_user = facts.ids.is_some();
    let mut groups = if own_user { groups.opened_by_monitor() } else { groups };
    let mut before = if own_user { Steps::new() } else { groups.take_into() };
    let beside = if own_user { Steps::new() } else { std::mem::take(&mut groups.create) };
    before.append(&mut groups.create);
    let network = network::plan(&network_mode(request), place.as_ref());
    let filter = filter(request, &capabilities)?;

    let mut prepare: Steps = Vec::new();
    if !texts.is_empty() {
        let files = texts.into_iter().map(|text| (dir.join(text.name), text.text)).collect();
        prepare.push(Box::new(EngineStep::Files(files)));
    }
    prepare.extend(
        missing_sources(request)?
            .into_iter()
            .map(|path| -> Box<dyn Step> { Box::new(EngineStep::Source(path)) }),
    );
    prepare.extend(rootfs.prepare);
    let v1 = groups.view.iter().filter(|view| !view.name.is_empty());
    let view = v1.map(|view| GroupView {
        name: view.name.clone(),
        links: view.links.clone(),
        dir: view.dir.clone(),
    });
    let container = Container {
        id: id.to_owned(),
        spec,
        root: RootSteps { mount: rootfs.mount, below: rootfs.after_attach, at: store.mount_point() },
        groups: GroupSteps { before, beside, into: groups.into, join: groups.join, view: view.collect() },
        network: NetworkSteps {
            host: network.host,
            beside: network.beside,
            loopback: network.loopback,
            inside: network.inside,
            settled: network.settled,
            script_name: network::netns_name(id),
        },
        filter: filter.map(|program| (program.instructions().to_vec(), program.flags())),
        init: request.process.init,
    };
    Ok(Prepared { prepare, plan: runtime::plan(container)?, checks: groups.checks, place, group })
}

/// Docker's default policy without the way through names, or the profile that was given.
fn filter(
    request: &RunRequest,
    capabilities: &[oci::spec::Capability],
) -> Result<Option<seccomp::Program>, Error> {
    let invalid = |path: &PathBuf, error: seccomp::Error| {
        Error::new(Kind::Invalid, format!("--security-opt seccomp={}: {error}", path.display()))
    };
    match &request.security.seccomp {
        Seccomp::Unconfined => Ok(None),
        _ if request.security.privileged => Ok(None),
        Seccomp::Default => seccomp::default_program(Arch::NATIVE, capabilities, kernel())
            .map(Some)
            .map_err(|error| Error::new(Kind::Engine, format!("the default system call filter: {error}"))),
        Seccomp::Profile(path, text) => {
            let profile = seccomp::from_docker_json(text, Arch::NATIVE, capabilities, kernel())
                .map_err(|error| invalid(path, error))?;
            seccomp::compile(&profile).map(Some).map_err(|error| invalid(path, error))
        }
    }
}

/// The kernel's version, major and minor.
fn kernel() -> (u32, u32) {
    let name = rustix::system::uname();
    let release = name.release().to_string_lossy();
    let mut numbers = release.split(|c: char| !c.is_ascii_digit()).map(|part| part.parse().unwrap_or(0));
    (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0))
}

fn missing_sources(request: &RunRequest) -> Result<Vec<PathBuf>, Error> {
    let mut missing = Vec::new();
    for mount in &request.storage.mounts {
        if let Mount::Bind { source, create_source, .. } = mount
            && !source.exists()
        {
            if !create_source {
                return Err(Error::new(
                    Kind::Invalid,
                    format!("--mount: the source {} does not exist on the host", source.display()),
                )
                .hint("make it first, or use -v, which makes a directory"));
            }
            missing.push(source.clone());
        }
    }
    Ok(missing)
}

fn record(request: &RunRequest, id: &str, name: &str, prepared: &Prepared) -> Result<Record, Error> {
    Ok(Record {
        format: 1,
        id: id.to_owned(),
        name: name.to_owned(),
        command: spec::command(request)?,
        created: millis(SystemTime::now()),
        group: prepared.group.clone(),
        network: prepared.place.clone(),
        request: request.clone(),
    })
}

fn remains_of(settings: &Settings, request: &RunRequest, id: &str) -> Remains {
    Remains {
        id: id.to_owned(),
        group: settings.group(request.resources.cgroup_parent.as_deref(), id),
        kill: request.namespaces.pid != Namespace::Private,
        network: None,
        no_network: request.network.mode != NetworkMode::Bridge,
        name: request.name.clone(),
        remove: request.remove,
        kept: !request.remove,
    }
}

fn check_cidfile(request: &RunRequest) -> Result<(), Error> {
    match &request.cidfile {
        Some(path) if path.exists() => {
            Err(Error::new(Kind::Invalid, format!("--cidfile {}: the file exists", path.display()))
                .hint("another container may still use it; remove it, or give another path"))
        }
        _ => Ok(()),
    }
}

fn terminal_size(request: &RunRequest) -> Option<(u16, u16)> {
    let size = |fd: rustix::fd::BorrowedFd<'_>| rustix::termios::tcgetwinsize(fd).ok();
    let size = size(std::io::stdout().as_fd()).or_else(|| size(std::io::stdin().as_fd()))?;
    request.tty.then_some((size.ws_row, size.ws_col))
}

fn terminal_to_restore(request: &RunRequest) -> Option<(std::os::fd::OwnedFd, rustix::termios::Termios)> {
    if !request.tty || !request.interactive || request.detach {
        return None;
    }
    let stdin = std::io::stdin();
    let settings = rustix::termios::tcgetattr(&stdin).ok()?;
    Some((stdin.as_fd().try_clone_to_owned().ok()?, settings))
}

/// Waits until the monitor says how the start went.
fn wait_for_start(channel: &mut Channel) -> Result<monitor::Started, Error> {
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
fn refusal(name: &str, failure: Failure) -> Error {
    let kind = match (failure.step.starts_with("exec"), failure.errno) {
        (true, 2) => Kind::NotFound,
        (true, _) => Kind::NotExecutable,
        (false, _) => Kind::Engine,
    };
    let cause = match (&failure.reason, failure.step.starts_with("exec")) {
        (Some(reason), true) => format!("cannot execute {}: {reason}", failure.target),
        (None, true) => {
            let text = failure.to_string();
            let cause = text.rsplit(": ").next().unwrap_or_default();
            format!("cannot execute {}: {cause}", failure.target)
        }
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
        };
        match monitor::attach(&mut self.channel, &how)? {
            Attached::Detached => Ok(None),
            Attached::Ended(ended) => {
                let records = self.wait_until_gone()?;
                Ok(Some(Finished { code: ended.exit.code(), notes: ended.notes, records }))
            }
            Attached::Lost => Err(self.lost()),
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
        let Self { id, channel, settings, name, .. } = self;
        drop(channel);
        let store = Store::new(&settings);
        let swept = store.wait_until_abandoned(&id, PATIENCE).and_then(|held| {
            drop(held);
            sweep(&settings, &store)
        });
        match swept {
            Ok(()) => Error::new(
                Kind::Engine,
                format!("container {name} was ended: its monitor is gone, or was told to stop waiting"),
            ),
            Err(failure) => failure.into(),
        }
    }
}

/// How long the end of a monitor may take that has nothing left to wait for.
const PATIENCE: Duration = Duration::from_secs(10);
