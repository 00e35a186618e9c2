//! Containers that a program with threads waits for: the steps of a build.
//!
//! A container's launcher has one thread (`runtime::launch`). So processes are forked before there are threads; each
//! takes one task after the other, launches its container without a monitor, waits for its end and takes it down. What
//! the container prints goes into a pipe that ends in the program. When the program ends, however it ends, the line to its
//! workers ends too: a worker then kills its container, takes it down and goes. What a crash of both leaves is swept as
//! ever.

use std::io::{self, Read as _, Write as _};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::ffi::OsStringExt;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Condvar, Mutex, PoisonError};
use std::time::{Instant, SystemTime};

use monitor::{Exit, Keeper as _, Note};
use runtime::Stdio;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{Mode, OFlags, ResolveFlags};
use rustix::io::Errno;
use rustix::mount::{MountFlags, MountPropagationFlags, UnmountFlags};
use rustix::process::{WaitId, WaitIdOptions};
use serde::{Deserialize, Serialize};
use step::{Actor, Context, Failure, Trace};
use sys::process::{CloneFlags, Fork};
use sys::signal::Signals;

use crate::keeper::Keeper;
use crate::ops::refusal;
use crate::prepare::{draft, finish, reserve};
use crate::request::{Mount, NetworkMode, RunRequest};
use crate::state::{Record, Store, millis};
use crate::steps::Remains;
use crate::{Error, Kind, Settings, names, spec};

/// An empty directory of the run root, on which each worker mounts what only it sees.
const STAGE: &str = "stage";

/// What a container is to do.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Task {
    /// How; its image is not looked at.
    pub request: RunRequest,
    /// Its root: directories of layers, the lowest first.
    pub lower: Vec<PathBuf>,
    /// Where what it has written goes if it ends well: an empty directory on the store's file system.
    pub upper: PathBuf,
    /// Parts of other images that it sees.
    pub views: Vec<View>,
}

/// A path within layers, bound into the container.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct View {
    /// Directories of layers, the lowest first.
    pub lower: Vec<PathBuf>,
    /// The path in them; empty for all.
    pub path: String,
    /// Where in the container.
    pub target: PathBuf,
    /// Where writes go, and the overlay's own directory.
    pub writable: Option<(PathBuf, PathBuf)>,
}

/// How it went.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Done {
    /// Docker's exit code.
    pub code: u8,
    /// What the user should know.
    pub notes: Vec<Note>,
}

#[derive(Serialize, Deserialize)]
enum Answer {
    Done(Done),
    Failed { kind: Kind, message: String, hint: Option<String> },
}

/// Processes that wait for tasks.
#[derive(Debug)]
pub(crate) struct Workers {
    idle: Mutex<Vec<Worker>>,
    returned: Condvar,
}

#[derive(Debug)]
struct Worker {
    line: UnixStream,
    output: OwnedFd,
    pidfd: OwnedFd,
}

/// How often a waiting thread looks whether it is to stop, in milliseconds.
const GLANCE: i64 = 100;

impl Workers {
    /// Forks `count` of them. The caller has one thread still.
    pub(crate) fn start(settings: &Settings, count: usize) -> Result<Self, Error> {
        crate::state::make_dirs_with(&settings.run_root.join(STAGE), Mode::from_raw_mode(0o700))?;
        let mut all: Vec<Worker> = Vec::new();
        for _ in 0..count {
            let worker = fork(settings, &mut all)?;
            all.push(worker);
        }
        Ok(Self { idle: Mutex::new(all), returned: Condvar::new() })
    }

    /// Has a task done by the first worker that is free; `output` gets what the container prints, as it comes.
    /// With `stop` the container is killed, and its worker goes.
    pub(crate) fn run(
        &self,
        task: &Task,
        stop: &AtomicBool,
        output: &mut dyn FnMut(&[u8]),
    ) -> Result<Done, Error> {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        let mut worker = loop {
            match idle.pop() {
                Some(worker) => break worker,
                None => idle = self.returned.wait(idle).unwrap_or_else(PoisonError::into_inner),
            }
        };
        drop(idle);
        let result = worker.run(task, stop, output);
        // A dead one too: who waits for one would wait for ever, and of a dead one gets an error at once.
        self.idle.lock().unwrap_or_else(PoisonError::into_inner).push(worker);
        self.returned.notify_one();
        match result {
            Ok(Answer::Done(done)) => Ok(done),
            Ok(Answer::Failed { kind, message, hint }) => Err(Error { kind, message, hint }),
            Err(error) => Err(Error::new(
                Kind::Engine,
                format!("the process that starts containers: {}", step::words(&error)),
            )),
        }
    }
}

/// How long a worker may take to kill a container and take it down. Longer, and a process is stuck in the kernel.
const PATIENCE: i64 = 10;

impl Drop for Workers {
    /// Nothing of theirs is left when the program goes on.
    fn drop(&mut self) {
        for worker in self.idle.get_mut().unwrap_or_else(PoisonError::into_inner) {
            worker.end();
        }
    }
}

impl Worker {
    /// Ends its line, and waits until it has gone.
    fn end(&self) {
        let _ = self.line.shutdown(std::net::Shutdown::Both);
        let patience = Timespec { tv_sec: PATIENCE, tv_nsec: 0 };
        let mut fds = [PollFd::new(&self.pidfd, PollFlags::IN)];
        while poll(&mut fds, Some(&patience)) == Err(Errno::INTR) {}
        let _ = rustix::process::waitid(
            WaitId::PidFd(self.pidfd.as_fd()),
            WaitIdOptions::EXITED | WaitIdOptions::NOHANG,
        );
    }

    fn run(&mut self, task: &Task, stop: &AtomicBool, output: &mut dyn FnMut(&[u8])) -> io::Result<Answer> {
        send(&mut self.line, task)?;
        let mut buffer = vec![0; 1 << 16];
        loop {
            let mut fds = [PollFd::new(&self.output, PollFlags::IN), PollFd::new(&self.line, PollFlags::IN)];
            let glance = Timespec { tv_sec: 0, tv_nsec: GLANCE * 1_000_000 };
            match poll(&mut fds, Some(&glance)) {
                Err(Errno::INTR) => continue,
                polled => polled?,
            };
            if stop.load(Ordering::Relaxed) {
                self.end();
                return Err(io::Error::other("it was stopped"));
            }
            let ended = !fds[1].revents().is_empty();
            // The answer comes after the last word: what is in the pipe by then is all there is.
            loop {
                match rustix::io::read(&self.output, &mut buffer) {
                    Ok(0) | Err(Errno::AGAIN) => break,
                    Ok(count) => output(&buffer[..count]),
                    Err(Errno::INTR) => {}
                    Err(errno) => return Err(errno.into()),
                }
            }
            if ended {
                return receive(&mut self.line)?.ok_or_else(|| io::Error::other("it was killed"));
            }
        }
    }
}

/// Forks one beside `others`.
fn fork(settings: &Settings, others: &mut Vec<Worker>) -> Result<Worker, Error> {
    let failed = |cause: io::Error| Error::from(Failure::new("build.worker", "fork", cause));
    let (ours, theirs) = UnixStream::pair().map_err(failed)?;
    let (output, inlet) =
        rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC).map_err(|e| failed(e.into()))?;
    rustix::fs::fcntl_setfl(&output, OFlags::NONBLOCK).map_err(|e| failed(e.into()))?;
    match sys::process::fork().map_err(failed)? {
        Fork::Parent(_, pidfd) => Ok(Worker { line: ours, output, pidfd }),
        Fork::Child => {
            // The program's ends of all lines are the program's alone: they tell of its end.
            drop((ours, output, std::mem::take(others)));
            let mut line = theirs;
            // A key that ends the program is no end of what has to be taken down after it.
            if Signals::all().block().is_err() {
                sys::process::exit_now(1);
            }
            // Mounts of its own, for parts of other images; what the host unmounts goes here too.
            let mounts = sys::process::unshare(CloneFlags(CloneFlags::NEWNS)).and_then(|()| {
                let slave = MountPropagationFlags::DOWNSTREAM | MountPropagationFlags::REC;
                rustix::mount::mount_change("/", slave).map_err(io::Error::from)
            });
            if mounts.is_err() {
                sys::process::exit_now(1);
            }
            // The end of the line is the end of the program.
            while let Ok(Some(task)) = receive::<Task>(&mut line) {
                let answer = match perform(settings, task, &inlet, &line) {
                    Ok(done) => Answer::Done(done),
                    Err(Error { kind, message, hint }) => Answer::Failed { kind, message, hint },
                };
                if send(&mut line, &answer).is_err() {
                    break;
                }
            }
            sys::process::exit_now(0)
        }
    }
}

/// From a task to its end: the way of a `run`, without a monitor.
fn perform(settings: &Settings, task: Task, output: &OwnedFd, line: &UnixStream) -> Result<Done, Error> {
    let Task { mut request, lower, upper, views } = task;
    let store = Store::new(settings);
    let _mounted = mount_views(&views, &mut request, &settings.run_root.join(STAGE))?;
    let id = names::id();
    let held = store.hold(&id)?;
    let remains = Remains {
        id: id.clone(),
        group: settings.group(request.resources.cgroup_parent.as_deref(), &id),
        kill: false,
        networks: None,
        no_network: request.network.mode != NetworkMode::Bridge,
        name: None,
        remove: true,
        keep_volumes: true,
        kept: false,
        pod: None,
    };
    let record = Record {
        format: 1,
        id: id.clone(),
        name: id[..12].to_owned(),
        command: spec::command(&request)?,
        created: millis(SystemTime::now()),
        group: remains.group.clone(),
        networks: Vec::new(),
        request: request.clone(),
        origin: None,
        disk: None,
        by_run: true,
        passing: true,
    };
    let source = storage::Source::Layers(lower);
    let mut keeper = Keeper::new(settings, record, source.clone(), remains, held.lock);
    let mut trace = Trace::new(Actor::Command, false);
    let result = (|| {
        let draft = draft(settings, &store, &request, &source, &id)?;
        let (places, _) = reserve(settings, &store, &request, &id, &id[..12])?;
        let prepared = finish(&store, &request, &id, draft, places)?;
        keeper.record.networks.clone_from(&prepared.places);
        keeper.remains.networks = Some(prepared.places);
        keeper.checks = prepared.checks;
        store.write_record(&keeper.record)?;
        trace.perform_all(&prepared.prepare, &mut Context::default())?;
        let null = || rustix::fs::open("/dev/null", OFlags::RDWR | OFlags::CLOEXEC, Mode::empty());
        let streams = || -> Result<Stdio, Errno> {
            Ok(Stdio { stdin: null()?, stdout: dup(output)?, stderr: dup(output)? })
        };
        let stdio = streams().map_err(|errno| Failure::new("build.worker", "streams", errno))?;
        let mut running =
            runtime::launch(&prepared.plan, Some(stdio), &mut trace, &mut |pid| keeper.cloned(pid))
                .map_err(|failure| refusal(&id[..12], failure))?;
        let mut notes = keeper.running(&mut running);
        let exit = wait(&running.pidfd, line, &mut keeper)
            .map_err(|errno| Failure::new("build.worker", "waitid", errno))?;
        notes.extend(keeper.ended(Some(exit)));
        Ok::<Done, Error>(Done { code: exit.code(), notes })
    })();
    let kept = match &result {
        Ok(done) if done.code == 0 => keep(settings, &id, &upper),
        _ => Ok(()),
    };
    keeper.clean(&mut trace);
    keeper.finish(&mut trace);
    kept?;
    result
}

/// What it wrote becomes the caller's.
fn keep(settings: &Settings, id: &str, upper: &PathBuf) -> Result<(), Failure> {
    std::fs::rename(settings.places().upper(id), upper)
        .map_err(|cause| Failure::new("build.worker", upper.display().to_string(), cause))
}

/// Layers as directories that can be bound, in the worker's own mount namespace; they go with the task.
fn mount_views(views: &[View], request: &mut RunRequest, at: &Path) -> Result<Option<Views>, Failure> {
    if views.is_empty() {
        return Ok(None);
    }
    let failed = |errno: Errno| Failure::new("build.worker", at.display().to_string(), errno);
    let options = c"mode=700";
    rustix::mount::mount("minidocker", at, "tmpfs", MountFlags::empty(), options).map_err(failed)?;
    let mounted = Views(at.to_owned());
    for (number, view) in views.iter().enumerate() {
        let point = at.join(number.to_string());
        rustix::fs::mkdir(&point, Mode::RWXU).map_err(failed)?;
        storage::mount_view(&view.lower, view.writable.as_ref(), &point)?;
        let source = inside(&point, &view.path).map_err(|errno| {
            Failure::new("build.mount", view.path.clone(), errno)
                .hint("there is no such path in the image or stage")
        })?;
        request.storage.mounts.push(Mount::Bind {
            source,
            target: view.target.clone(),
            read_only: view.writable.is_none(),
            recursive_read_only: false,
            propagation: None,
            create_source: false,
            options: Vec::new(),
            idmap: false,
            shallow: false,
        });
    }
    Ok(Some(mounted))
}

/// A path below a mount whose links stay in it.
fn inside(point: &Path, path: &str) -> Result<PathBuf, Errno> {
    let flags = OFlags::PATH | OFlags::CLOEXEC;
    let root = rustix::fs::open(point, flags | OFlags::DIRECTORY, Mode::empty())?;
    let path = if path.is_empty() { "." } else { path };
    let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
    let found = rustix::fs::openat2(&root, path, flags, Mode::empty(), resolve)?;
    let name = format!("/proc/self/fd/{}", found.as_raw_fd());
    let real = rustix::fs::readlink(name, Vec::new())?;
    Ok(PathBuf::from(std::ffi::OsString::from_vec(real.into_bytes())))
}

/// Mounts that go, with all that is mounted on them.
struct Views(PathBuf);

impl Drop for Views {
    fn drop(&mut self) {
        let _ = rustix::mount::unmount(&self.0, UnmountFlags::DETACH);
    }
}

fn dup(fd: &impl AsFd) -> Result<OwnedFd, Errno> {
    rustix::io::fcntl_dupfd_cloexec(fd, 3)
}

/// Waits for the container's end, and brings it about where nobody waits for it any more. Meanwhile its names are served.
fn wait(pidfd: &OwnedFd, line: &UnixStream, keeper: &mut Keeper) -> Result<Exit, Errno> {
    loop {
        // Nothing is said on the line while a task is done: whatever there is to read is its end.
        let mut fds = vec![PollFd::new(pidfd, PollFlags::IN), PollFd::new(line, PollFlags::IN)];
        fds.extend(keeper.names().map(|names| PollFd::from_borrowed_fd(names, PollFlags::IN)));
        let left = keeper.resolver.as_ref().and_then(|resolver| resolver.due()).map(|due| {
            let left = due.saturating_duration_since(Instant::now());
            Timespec { tv_sec: left.as_secs() as i64, tv_nsec: left.subsec_nanos().into() }
        });
        match poll(&mut fds, left.as_ref()) {
            Err(Errno::INTR) => continue,
            polled => polled?,
        };
        if fds[..2].iter().all(|fd| fd.revents().is_empty()) {
            drop(fds);
            keeper.serve_names();
            continue;
        }
        if fds[0].revents().is_empty() {
            // Gone by itself meanwhile: the next line takes its exit.
            let _ = sys::signal::send(pidfd, 9);
        }
        match rustix::process::waitid(WaitId::PidFd(pidfd.as_fd()), WaitIdOptions::EXITED) {
            Err(Errno::INTR) => {}
            Err(errno) => return Err(errno),
            Ok(Some(status)) => {
                return Ok(match (status.exit_status(), status.terminating_signal()) {
                    (Some(code), _) => Exit::Code(code),
                    (None, signal) => Exit::Signal(signal.unwrap_or(9)),
                });
            }
            Ok(None) => {}
        }
    }
}

/// A length of four bytes, and JSON.
fn send(line: &mut UnixStream, what: &impl Serialize) -> io::Result<()> {
    let text = serde_json::to_vec(what)?;
    let length = u32::try_from(text.len()).map_err(io::Error::other)?;
    line.write_all(&length.to_le_bytes())?;
    line.write_all(&text)
}

/// None at the end of the line.
fn receive<T: for<'d> Deserialize<'d>>(line: &mut UnixStream) -> io::Result<Option<T>> {
    let mut length = [0; 4];
    match line.read_exact(&mut length) {
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
        read => read?,
    }
    let mut text = vec![0; u32::from_le_bytes(length) as usize];
    line.read_exact(&mut text)?;
    Ok(Some(serde_json::from_slice(&text)?))
}
