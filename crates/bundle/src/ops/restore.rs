//! `restore`: a container is made of a bundle, and in it the processes that `checkpoint` saved.
//!
//! ```text
//!   this thread                             a thread in a mount namespace of its own
//!   ───────────                             ────────────────────────────────────────
//!   directory, state
//!                                           the root as a mount point, mount points, bind mounts for a moment
//!                                           starts CRIU
//!   control groups, CRIU into them   ◀────  started
//!   hooks, loopback, devices         ◀────  the namespaces are there
//!   keeps or sends the terminal      ◀────  a terminal's master
//!   writes down the first process    ◀────  all is there, nothing runs
//!                                           all runs; ends, and its mounts go with it
//!   pid file; waits, if not detached
//! ```

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{self, Receiver, Sender};
use std::thread;

use cgroup::Hierarchies;
use criu::{
    CgroupRoot, Descriptors, Event, Inherit, JoinNamespace, NamespaceKind, Notify, RestoreOptions, Restored,
    Script,
};
use oci::spec::{ContainerState, Hook, LinuxNamespaceType as Kind, Spec};
use runtime::{GroupSteps, Running};
use rustix::mount::MountPropagationFlags;
use rustix::process::{Pid, PidfdFlags};
use rustix::thread::LinkNameSpaceType;
use step::{Context, Failure};
use sys::process::CloneFlags;
use sys::signal::Signals;

use crate::config::{self, Bundle};
use crate::error::Error;
use crate::foreground::Watch;
use crate::outside::Outside;
use crate::prepare::{self, Grouped};
use crate::store::{FORMAT, Init, Saved, Store, write_whole};
use crate::{Settings, clock, console};

use super::checkpoint::{Criu, common, joined, told};
use super::create::stream_names;
use super::delete;

/// What `restore` is asked for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RestoreRequest {
    /// The new container's id.
    pub id: String,
    /// The directory with config.json.
    pub bundle: PathBuf,
    /// Where the terminal's outer end is sent.
    pub console_socket: Option<PathBuf>,
    /// Where the first process's number is written.
    pub pid_file: Option<PathBuf>,
    /// Returns when the processes run.
    pub detach: bool,
    /// What `checkpoint` was asked too.
    pub criu: Criu,
    /// `apparmor:NAME` or `selinux:LABEL` in the place of the saved one.
    pub lsm_profile: Option<String>,
    /// The SELinux context of mounts in the place of the saved one.
    pub lsm_mount_context: Option<String>,
}

/// Restores a container; its exit code, or 0 with `detach`. On failure nothing of it is left.
pub fn restore(settings: &Settings, request: &RestoreRequest) -> Result<u8, Error> {
    let bundle = config::load(&request.bundle)?;
    bundle.warnings.iter().for_each(|warning| (settings.warn)(warning));
    let terminal = bundle.spec.process().as_ref().is_some_and(|process| process.terminal().unwrap_or(false));
    match (request.detach, terminal, &request.console_socket) {
        (true, true, None) => {
            return Err(Error::new("cannot allocate tty if runc will detach without setting console socket")
                .hint("--console-socket names the socket that takes the terminal"));
        }
        (false, _, Some(_)) | (_, false, Some(_)) => {
            return Err(Error::new("cannot use console socket if runc will not detach or allocate tty")
                .hint("use --detach with a process.terminal, or leave --console-socket out"));
        }
        _ => {}
    }
    let socket = request.console_socket.as_deref();
    let socket = socket.map(|path| console::connect("console socket", path)).transpose()?;
    let criu = criu::Criu::find(settings.criu.as_deref())?;
    let streams = Descriptors::read(&request.criu.image_path).map_err(|error| {
        Error::new(error.to_string()).hint("--image-path names what checkpoint has written")
    })?;
    let watch = if request.detach { None } else { Some(Watch::begin()?) };
    let store = Store::new(&settings.root);
    let dir = store.make(&request.id)?;
    let made = build(settings, request, bundle, (&store, &dir), socket)
        .and_then(|mut restoring| restoring.run(&criu, &dir.join("root"), &streams, watch.is_some()));
    let running = made.inspect_err(|_| drop(delete::destroy(&store, &request.id, settings)))?;
    let Some(watch) = watch else { return Ok(0) };
    let code = watch.until_end(&running);
    delete::destroy(&store, &request.id, settings)?;
    code
}

/// The state of a container that is being restored, and its groups, which are only planned.
fn build<'a>(
    settings: &'a Settings,
    request: &'a RestoreRequest,
    bundle: Bundle,
    (store, dir): (&'a Store, &Path),
    socket: Option<UnixStream>,
) -> Result<Restoring<'a>, Error> {
    let Grouped { path: group, unit, steps } = prepare::groups(&bundle.spec, &request.id, settings)?;
    let saved = Saved {
        format: FORMAT,
        id: request.id.clone(),
        bundle: bundle.path,
        rootfs: bundle.rootfs,
        created: clock::now(),
        owner: rustix::process::getuid().as_raw(),
        creating: true,
        init: None,
        group,
        unit,
        no_new_keyring: false,
        streams: stream_names(&bundle.spec),
        config: bundle.spec,
    };
    store.save(&saved)?;
    let root = dir.join("root");
    std::fs::create_dir(&root).map_err(|error| Error::io("create", &root, error))?;
    let hierarchies = Hierarchies::probe()?;
    Ok(Restoring {
        settings,
        request,
        store,
        saved,
        hierarchies,
        groups: steps,
        socket,
        terminals: Vec::new(),
    })
}

/// A container that is being restored: what is done in the host's namespaces while CRIU works.
struct Restoring<'a> {
    settings: &'a Settings,
    request: &'a RestoreRequest,
    store: &'a Store,
    saved: Saved,
    hierarchies: Hierarchies,
    groups: GroupSteps,
    socket: Option<UnixStream>,
    /// The outer ends of the container's terminals, which hang up when they are closed.
    terminals: Vec<OwnedFd>,
}

/// What CRIU's thread asks the first one to do.
enum Asked {
    Started(Pid),
    Notified(Event),
}

impl Restoring<'_> {
    fn run(
        &mut self,
        criu: &criu::Criu,
        root: &Path,
        streams: &Descriptors,
        foreground: bool,
    ) -> Result<Running, Error> {
        let places = Given::of(&self.saved.config)?;
        let stdin = rustix::stdio::stdin();
        let mut options = RestoreOptions {
            common: common(&self.request.criu, &self.saved.config)?,
            inherit: places.inherit(streams),
            // The terminal of a session that is not the container's own.
            terminal: (self.request.criu.shell_job && rustix::termios::isatty(stdin)).then_some(stdin),
            join_namespaces: places.joins.clone(),
            cgroup_roots: self.cgroup_roots(),
            lsm_profile: self.request.lsm_profile.clone(),
            lsm_mount_context: self.request.lsm_mount_context.clone(),
            ..RestoreOptions::new("")
        };
        options.common.root = Some(root.to_owned());
        options.common.evasive_devices = true;
        let (spec, bundle, rootfs) =
            (self.saved.config.clone(), self.saved.bundle.clone(), self.saved.rootfs.clone());
        let joined = |dir: &Path| self.is_joined(dir);
        let outside = Outside::new(&spec, (&bundle, &rootfs), &self.hierarchies, &self.saved.group, joined);
        let (ask, asked) = mpsc::channel();
        let (answers, answer) = mpsc::channel();
        let restored = thread::scope(|scope| {
            let relay = Relay { ask, answer, foreground };
            let work = || apart(criu, options, &outside, relay);
            let worker = thread::Builder::new().name("criu".into()).spawn_scoped(scope, work);
            let worker = worker.map_err(|error| Error::new(format!("a thread: {}", step::words(&error))))?;
            for asked in asked {
                // Who does not hear the answer has failed already.
                let _ = answers.send(self.answer(asked));
            }
            worker.join().unwrap_or_else(|_| Err(Error::new("the thread that talks to CRIU has ended")))
        })?;
        for (script, failure) in restored.complaints {
            (self.settings.warn)(&format!("criu, {script}: {}", failure.cause()));
        }
        // It was a mount point in a namespace that is gone.
        let _ = std::fs::remove_dir(root);
        if let Some(path) = &self.request.pid_file {
            write_whole(path, restored.pid.as_raw_nonzero().to_string().as_bytes())?;
        }
        let pidfd = rustix::process::pidfd_open(restored.pid, PidfdFlags::empty());
        let pidfd = pidfd
            .map_err(|errno| Error::new(format!("the first process: {}", step::words(&errno.into()))))?;
        let terminal = if self.terminals.is_empty() { None } else { Some(self.terminals.swap_remove(0)) };
        Ok(Running { pid: restored.pid.as_raw_nonzero().get(), pidfd, terminal, resolver: None })
    }

    fn is_joined(&self, dir: &Path) -> bool {
        self.groups.into.as_deref() == Some(dir)
            || self.groups.view.iter().any(|view| view.dir == dir)
            || self.hierarchies.v2().is_some() && !self.hierarchies.is_hybrid()
    }

    /// The container's group in each hierarchy that it is in.
    fn directories(&self) -> Vec<(&cgroup::Mount, PathBuf)> {
        let all = self.hierarchies.mounts().iter().map(|mount| (mount, mount.group(&self.saved.group)));
        all.filter(|(_, dir)| self.is_joined(dir)).collect()
    }

    /// Where CRIU puts what was in the old container's groups.
    fn cgroup_roots(&self) -> Vec<CgroupRoot> {
        let root =
            |name: &str| CgroupRoot { controller: Some(name.into()), path: self.saved.group.clone().into() };
        let of = |mount: &cgroup::Mount| match mount.version {
            cgroup::Version::V1 => mount.controllers.iter().map(|name| root(name)).collect(),
            cgroup::Version::V2 => vec![root("")],
        };
        self.directories().into_iter().flat_map(|(mount, _)| of(mount)).collect()
    }

    fn answer(&mut self, asked: Asked) -> Result<(), Failure> {
        match asked {
            Asked::Started(criu) => self.enter_groups(criu),
            Asked::Notified(event) => {
                told(self.settings, &event);
                self.notified(event)
            }
        }
    }

    /// Makes the groups with their limits and puts CRIU into them, whose children the processes become.
    fn enter_groups(&mut self, criu: Pid) -> Result<(), Failure> {
        let number = criu.as_raw_nonzero().get();
        let mut context = Context { init: Some(number), ..Context::default() };
        let GroupSteps { before, beside, .. } = &mut self.groups;
        let steps = std::mem::take(before).into_iter().chain(std::mem::take(beside));
        for step in steps {
            step.perform(&mut context)?;
        }
        for (_, dir) in self.directories() {
            let procs = dir.join("cgroup.procs");
            std::fs::write(&procs, number.to_string())
                .map_err(|error| Failure::new("cgroup.join", procs.display().to_string(), error))?;
        }
        Ok(())
    }

    fn notified(&mut self, event: Event) -> Result<(), Failure> {
        let id = &self.saved.id;
        match (event.script, event.pid, event.descriptor) {
            (Script::SetupNamespaces, Some(pid), _) => self.fill(pid.as_raw_nonzero().get()),
            (Script::OrphanPtsMaster, _, Some(master)) => match &self.socket {
                Some(socket) => console::send_terminal(socket, master.as_fd())
                    .map_err(|error| Failure::because("restore.terminal", id.clone(), error.message)),
                None => {
                    self.terminals.push(master);
                    Ok(())
                }
            },
            (Script::PostRestore, Some(pid), _) => {
                self.saved.init = Init::of(pid.as_raw_nonzero().get());
                self.saved.creating = false;
                let saved = self.store.save(&self.saved);
                saved.map_err(|error| Failure::because("state.write", id.clone(), error.message))
            }
            _ => Ok(()),
        }
    }

    /// What is in the new namespaces beside what CRIU brings: devices and loopback link of the container's own network,
    /// and what hooks make there.
    fn fill(&self, pid: i32) -> Result<(), Failure> {
        let spec = &self.saved.config;
        if prepare::owns(spec, Kind::Network) {
            let devices =
                spec.linux().as_ref().and_then(|linux| linux.net_devices().clone()).unwrap_or_default();
            let to = network::Namespace::Init { script_name: String::new() };
            let mut context = Context { init: Some(pid), ..Context::default() };
            for step in network::move_devices(&devices, &to)? {
                step.perform(&mut context)?;
            }
            in_network(pid, || fill_network(spec))?;
        }
        let Some(hooks) = spec.hooks() else { return Ok(()) };
        let state = prepare::state(spec, &self.saved.id, &self.saved.bundle);
        let state = runtime::state_at(&state, ContainerState::Creating, Some(pid));
        let list = |hooks: &Option<Vec<Hook>>| hooks.clone().unwrap_or_default();
        runtime::run_hooks("prestart", &list(hooks.prestart()), &state)?;
        runtime::run_hooks("createRuntime", &list(hooks.create_runtime()), &state)
    }
}

/// Does something in a process's network namespace: in a thread that ends there.
fn in_network(pid: i32, work: impl FnOnce() -> Result<(), Failure> + Send) -> Result<(), Failure> {
    let path = format!("/proc/{pid}/ns/net");
    let entered = || {
        let namespace = File::open(&path)?;
        let kind = Some(LinkNameSpaceType::Network);
        Ok(rustix::thread::move_into_link_name_space(namespace.as_fd(), kind)?)
    };
    let inside = || {
        entered().map_err(|error: io::Error| Failure::new("namespace.enter", path.clone(), error))?;
        work()
    };
    let gone = || Failure::because("namespace.enter", path.clone(), "the thread that was in it has ended");
    thread::scope(|scope| {
        let worker = thread::Builder::new().name("network".into()).spawn_scoped(scope, inside);
        let worker = worker.map_err(|error| Failure::new("namespace.enter", path.clone(), error))?;
        worker.join().unwrap_or_else(|_| Err(gone()))
    })
}

/// In the container's network namespace, which came back empty: what `create` makes there.
fn fill_network(spec: &Spec) -> Result<(), Failure> {
    let mut context = Context::default();
    for step in network::plan(&network::Mode::None, None).loopback {
        step.perform(&mut context)?;
    }
    let settings = spec.linux().as_ref().and_then(|linux| linux.sysctl().clone()).unwrap_or_default();
    for (key, value) in settings {
        let path = sysctl(&key);
        // Those of other kinds are in the images.
        if path.starts_with("net") {
            let path = Path::new("/proc/sys").join(path);
            std::fs::write(&path, value)
                .map_err(|error| Failure::new("sysctl", path.display().to_string(), error))?;
        }
    }
    Ok(())
}

/// The path of a kernel setting below /proc/sys. sysctl.d(5): the first separator decides which of the two the key is
/// written with.
fn sysctl(key: &str) -> PathBuf {
    let dots = key.find('.').is_some_and(|dot| key.find('/').is_none_or(|slash| dot < slash));
    let swapped = |c| match c {
        '.' => '/',
        '/' => '.',
        c => c,
    };
    if dots { key.chars().map(swapped).collect::<String>().into() } else { key.into() }
}

/// Restores in a mount namespace of this thread's own, which goes with it.
fn apart(
    criu: &criu::Criu,
    mut options: RestoreOptions<'_>,
    outside: &Outside<'_>,
    mut relay: Relay,
) -> Result<Restored, Error> {
    let failed = |what: &str, error: io::Error| Error::new(format!("{what}: {}", step::words(&error)));
    sys::process::unshare(CloneFlags(CloneFlags::NEWNS))
        .map_err(|error| failed("a mount namespace for the restore", error))?;
    // What is mounted on the host goes on to arrive, in the container's mounts too that shall see it; nothing goes back.
    let slave = MountPropagationFlags::DOWNSTREAM | MountPropagationFlags::REC;
    rustix::mount::mount_change("/", slave)
        .map_err(|errno| failed("cut the mounts of the restore off", errno.into()))?;
    let root = options.common.root.clone().unwrap_or_default();
    // CRIU wants a mount point that no other mount covers.
    rustix::mount::mount_bind_recursive(outside.rootfs, &root)
        .map_err(|errno| Error::io("bind", outside.rootfs, errno))?;
    let root = std::fs::canonicalize(&root).map_err(|error| Error::io("open", &root, error))?;
    options.common.external = outside.restored(&root)?;
    options.common.root = Some(root);
    if relay.foreground {
        // CRIU waits for its children's signals.
        Signals::none().block().map_err(|error| failed("signals", error))?;
    }
    Ok(criu.restore(&options, &mut relay)?)
}

/// Has the first thread, which is in the host's namespaces, do what is to be done.
struct Relay {
    ask: Sender<Asked>,
    answer: Receiver<Result<(), Failure>>,
    foreground: bool,
}

impl Relay {
    fn ask(&self, asked: Asked) -> Result<(), Failure> {
        let gone = || Failure::because("restore", "criu", "nobody answers it");
        self.ask.send(asked).map_err(|_| gone())?;
        self.answer.recv().map_err(|_| gone())?
    }
}

impl Notify for Relay {
    fn started(&mut self, criu: Pid) -> Result<(), Failure> {
        if self.foreground {
            // Again ours are all read in the foreground.
            Signals::all().block().map_err(|error| Failure::new("restore.signals", "criu", error))?;
        }
        self.ask(Asked::Started(criu))
    }

    fn notified(&mut self, event: Event) -> Result<(), Failure> {
        self.ask(Asked::Notified(event))
    }
}

/// Namespaces that the container does not make for itself.
struct Given {
    outer: Vec<(NamespaceKind, File)>,
    joins: Vec<JoinNamespace>,
}

impl Given {
    fn of(spec: &Spec) -> Result<Self, Error> {
        if joined(spec, Kind::Cgroup).is_some() {
            return Err(Error::new("CRIU joins no cgroup namespace")
                .hint("leave the cgroup namespace's path out of config.json"));
        }
        let mut outer = Vec::new();
        for (kind, criu) in [(Kind::Network, NamespaceKind::Network), (Kind::Pid, NamespaceKind::Pid)] {
            if let Some(path) = joined(spec, kind) {
                let file = File::open(path).map_err(|error| Error::io("open the namespace", path, error))?;
                outer.push((criu, file));
            }
        }
        let kinds = [
            (Kind::Ipc, "ipc"),
            (Kind::Uts, "uts"),
            (Kind::Time, "time"),
            (Kind::User, "user"),
            (Kind::Mount, "mnt"),
        ];
        let join = |(kind, name): (Kind, &'static str)| {
            joined(spec, kind).map(|path| JoinNamespace { kind: name, path: path.to_owned() })
        };
        Ok(Self { outer, joins: kinds.into_iter().filter_map(join).collect() })
    }

    /// These, and this process's streams in the place of pipes and files that were outside.
    fn inherit(&self, streams: &Descriptors) -> Vec<Inherit<'_>> {
        let stream = |number: usize| -> BorrowedFd<'static> {
            match number {
                0 => rustix::stdio::stdin(),
                1 => rustix::stdio::stdout(),
                _ => rustix::stdio::stderr(),
            }
        };
        let streams = streams.0.iter().enumerate();
        let outside =
            streams.filter(|(_, name)| ["pipe:", "file["].iter().any(|kind| name.starts_with(kind)));
        let streams = outside.map(|(number, name)| Inherit { key: name.clone(), descriptor: stream(number) });
        let outer = self.outer.iter();
        let outer =
            outer.map(|(kind, file)| Inherit { key: kind.key().to_owned(), descriptor: file.as_fd() });
        streams.chain(outer).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_are_paths() {
        let path = |key| sysctl(key).to_str().unwrap().to_owned();
        assert_eq!(path("net.ipv4.ip_forward"), "net/ipv4/ip_forward");
        assert_eq!(path("net/ipv4/conf/eth0.100/forwarding"), "net/ipv4/conf/eth0.100/forwarding");
        assert_eq!(path("net.ipv4.conf.eth0/100.forwarding"), "net/ipv4/conf/eth0.100/forwarding");
    }
}
