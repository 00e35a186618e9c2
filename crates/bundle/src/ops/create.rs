//! `create`: everything is made, and the program waits for `start`.

use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};

use oci::spec::{ContainerState, Spec};
use runtime::{Parent, Running, Stdio};
use step::Failure;

use crate::config::{self, Bundle};
use crate::error::Error;
use crate::prepare::{self, Asked, Grouped};
use crate::store::{Init, Saved, Store, write_whole};
use crate::{Settings, clock, console, debug, notify};

/// What `create` is asked for.
#[derive(Debug, Clone, Default)]
pub struct CreateRequest {
    /// The container's id.
    pub id: String,
    /// The directory with config.json.
    pub bundle: PathBuf,
    /// Where the terminal's outer end is sent.
    pub console_socket: Option<PathBuf>,
    /// Where the first process's number is written.
    pub pid_file: Option<PathBuf>,
    /// Where a pidfd of the first process is sent.
    pub pidfd_socket: Option<PathBuf>,
    /// chroot(2) instead of pivot_root(2).
    pub no_pivot: bool,
    /// The caller's session keyring.
    pub no_new_keyring: bool,
    /// How many descriptors from 3 on the program inherits.
    pub preserve_fds: u32,
    /// How many before those it inherits as sockets to listen on, sd_listen_fds(3).
    pub listen_fds: u32,
}

/// Creates a container. On failure nothing of it is left.
pub fn create(settings: &Settings, request: &CreateRequest) -> Result<(), Error> {
    let bundle = config::load(&request.bundle)?;
    make(settings, request, bundle, true).map(drop)
}

/// A container that was made by this process.
pub(super) struct Made {
    pub(super) saved: Saved,
    pub(super) running: Running,
}

/// Creates a container; with a gate it waits there, without its program runs.
pub(super) fn make(
    settings: &Settings,
    request: &CreateRequest,
    bundle: Bundle,
    gated: bool,
) -> Result<Made, Error> {
    bundle.warnings.iter().for_each(|warning| (settings.warn)(warning));
    let terminal = bundle.spec.process().as_ref().is_some_and(|process| process.terminal().unwrap_or(false));
    match (&request.console_socket, terminal, gated) {
        (None, true, true) => {
            return Err(Error::new("cannot allocate tty if runc will detach without setting console socket")
                .hint("--console-socket names the socket that takes the terminal"));
        }
        (Some(_), false, _) => {
            return Err(Error::new("cannot use console socket if runc will not detach or allocate tty")
                .hint("process.terminal in config.json asks for a terminal"));
        }
        _ => {}
    }
    let connect =
        |what, path: &Option<PathBuf>| path.as_deref().map(|path| console::connect(what, path)).transpose();
    let sockets = Sockets {
        console: connect("console socket", &request.console_socket)?,
        pidfd: connect("pidfd socket", &request.pidfd_socket)?,
    };
    let store = Store::new(&settings.root);
    let dir = store.make(&request.id)?;
    let made = build(settings, request, bundle, (&store, &dir), gated, sockets);
    if made.is_err() {
        // What was made is found by the container's id, whatever it was.
        let _ = super::delete::destroy(&store, &request.id, settings);
    }
    made
}

/// The engine's sockets, connected before anything was made.
struct Sockets {
    console: Option<UnixStream>,
    pidfd: Option<UnixStream>,
}

fn build(
    settings: &Settings,
    request: &CreateRequest,
    bundle: Bundle,
    (store, dir): (&Store, &Path),
    gated: bool,
    sockets: Sockets,
) -> Result<Made, Error> {
    let spec = &bundle.spec;
    let Grouped { path: group, unit, steps: groups } = prepare::groups(spec, &request.id, settings)?;
    let asked = Asked {
        id: &request.id,
        gate: gated.then(|| dir.to_owned()),
        no_pivot: request.no_pivot,
        no_new_keyring: request.no_new_keyring,
        preserve_fds: request.preserve_fds + request.listen_fds,
        listen_fds: request.listen_fds,
        plain_newlines: request.console_socket.is_none(),
    };
    let container = prepare::container(&bundle, asked, groups, settings.warn)?;
    let plan = runtime::plan(container)?;
    let saved = Saved {
        format: crate::store::FORMAT,
        id: request.id.clone(),
        bundle: bundle.path.clone(),
        rootfs: bundle.rootfs.clone(),
        created: clock::now(),
        owner: rustix::process::getuid().as_raw(),
        creating: true,
        init: None,
        group,
        unit,
        no_new_keyring: request.no_new_keyring,
        streams: stream_names(&bundle.spec),
        config: bundle.spec,
    };
    store.save(&saved)?;
    let terminal = saved.config.process().as_ref().is_some_and(|process| process.terminal().unwrap_or(false));
    let stdio = if terminal { None } else { Some(own_streams()?) };
    let mut creator = Creator { store, saved };
    let mut trace = debug::trace(settings);
    debug::planned(settings, &plan, None);
    let resources = creator.saved.config.linux().as_ref().and_then(|linux| linux.resources().clone());
    let cpus = resources.and_then(|resources| resources.cpu().clone());
    let has_cpus = cpus.is_some_and(|cpu| cpu.cpus().as_ref().is_some_and(|cpus| !cpus.is_empty()));
    let launched = runtime::launch(&plan, stdio, &mut trace, &mut creator);
    debug::performed(settings, &plan, &mut trace);
    let mut running = launched.map_err(|failure| {
        let place = match failure.step.split('.').next() {
            Some("plan" | "clone") => "unable to start container process",
            _ => "unable to start container process: error during container init",
        };
        // sched_setattr(2): EPERM where the affinity does not include every processor.
        if failure.step == "process.scheduler" && failure.errno == 1 && has_cpus {
            return Error::new("process scheduler can't be used together with AllowedCPUs").during(place);
        }
        Error::from(failure).during(place)
    })?;
    let mut saved = creator.saved;
    if let Some(socket) = &sockets.console
        && let Some(master) = running.terminal.take()
    {
        console::send_terminal(socket, master.as_fd())?;
    }
    if let Some(socket) = &sockets.pidfd {
        console::send(socket, b"pidfd", running.pidfd.as_fd())
            .map_err(|error| error.during("the pidfd socket"))?;
    }
    saved.creating = false;
    store.save(&saved)?;
    if let Some(path) = &request.pid_file {
        write_whole(path, running.pid.to_string().as_bytes())?;
    }
    Ok(Made { saved, running })
}

/// Copies of this process's standard streams: the container's own.
pub(super) fn own_streams() -> Result<Stdio, Error> {
    let copy = |fd: rustix::fd::BorrowedFd<'_>| {
        // Above the three, so that none is overwritten before it is used.
        rustix::io::fcntl_dupfd_cloexec(fd, 3)
            .map_err(|errno| Error::new(format!("the standard streams: {}", step::words(&errno.into()))))
    };
    Ok(Stdio {
        stdin: copy(std::io::stdin().as_fd())?,
        stdout: copy(std::io::stdout().as_fd())?,
        stderr: copy(std::io::stderr().as_fd())?,
    })
}

/// Where this process's standard streams lead, if the container gets them.
pub(super) fn stream_names(spec: &Spec) -> [String; 3] {
    if spec.process().as_ref().is_some_and(|process| process.terminal().unwrap_or(false)) {
        return Default::default();
    }
    // Of a process of one's own they can be read; a stream that is closed has no name.
    criu::Descriptors::of(rustix::process::getpid()).unwrap_or_default().0
}

/// What is done while the container is being made.
struct Creator<'a> {
    store: &'a Store,
    saved: Saved,
}

impl Parent for Creator<'_> {
    fn cloned(&mut self, pid: i32) -> Result<(), Failure> {
        self.saved.init = Init::of(pid);
        self.store
            .save(&self.saved)
            .map_err(|error| Failure::because("state.write", self.saved.id.clone(), error.message))
    }

    fn listener(&mut self, pid: i32, listener: OwnedFd) -> Result<(), Failure> {
        let Some(profile) = prepare::seccomp_of(&self.saved.config) else { return Ok(()) };
        let state = prepare::state(&self.saved.config, &self.saved.id, &self.saved.bundle);
        let state = runtime::state_at(&state, ContainerState::Creating, Some(pid));
        notify::hand_over(profile, &state, pid, listener)
            .map_err(|error| Failure::because("seccomp.notify", self.saved.id.clone(), error.message))
    }
}
