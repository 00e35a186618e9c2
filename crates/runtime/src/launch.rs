//! The launch: two processes, one socket, an ordered list of meeting points.
//!
//! ```text
//!  monitor                                   init (PID 1 of the container)
//!  ───────                                   ─────────────────────────────
//!  groups (version 2)
//!  clone3 ───────────────────────────────▶   dies with the monitor from here on
//!  id maps            ── Mapped ─────────▶   becomes root of its user namespace     (own user namespace only)
//!  root, idmapped     ── Rooted + mount ─▶                                          (own user namespace only)
//!  groups (version 1) ── Grouped ──▶  ┐      unshare: network
//!                     ◀──────── Isolated ──  unshare: mount, UTS, IPC, time
//!  bridge, veth       ── Linked ────▶ │      root, /proc, /sys, /dev, …
//!                                     ├──▶   joins its groups, unshare: cgroup
//!                     ◀─ Terminal + pty ──   opens its terminal                     (-t only)
//!                                     └──▶   address, route, up
//!                     ◀─────── Addressed ──
//!                     ◀───────── Mounted ──                                         (hooks only)
//!  hooks              ── Hooked ──────────▶  hooks in its namespaces
//!  waits for the port ── Settled ─────────▶  outlives the monitor from here on; limits, masks, pivot; user, capabilities, filter
//!                     ◀── Filtered + fd ──   has a filter that notifies             (notify only)
//!  hands it on        ── Heard ───────────▶
//!                     ◀─────────── Ready ──
//!  is done                                   waits at its gate                      (create only)
//!                     ◀─── end of file ───   hooks, filter; execve: the sealed stub, then the program
//! ```
//!
//! Each meeting is one `Tell` on one side and one `Await` with the same name on the other; `plan` has a test that both
//! lists agree. A wrong message is an error, and so is a dead init: nothing waits for ever, because the kernel closes
//! the socket of whoever dies.

use std::ffi::CString;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::Path;
use std::time::{Duration, Instant};

use rustix::fs::{FileType, Mode, OFlags};
use rustix::io::Errno;
use rustix::process::{PidfdGetfdFlags, WaitId, WaitIdOptions};
use step::{Actor, Context, Failure, Record, Trace};
use sys::process::Fork;

use crate::message::{Line, Message};
use crate::plan::{Entry, Plan, Point};
use crate::program;
use crate::steps::gate;

/// The container's ends of its standard streams; a container with a terminal has none.
#[derive(Debug)]
pub struct Stdio {
    /// Descriptor 0.
    pub stdin: OwnedFd,
    /// Descriptor 1.
    pub stdout: OwnedFd,
    /// Descriptor 2.
    pub stderr: OwnedFd,
}

/// A container whose program runs.
#[derive(Debug)]
pub struct Running {
    /// Its first process, as the monitor's pid namespace numbers it.
    pub pid: i32,
    /// The same, safe from reuse of the number.
    pub pidfd: OwnedFd,
    /// The monitor's end of its terminal.
    pub terminal: Option<OwnedFd>,
    /// The sockets of its name service, where a step opened them.
    pub resolver: Option<[OwnedFd; 2]>,
}

/// What the caller does at two moments of a launch. A closure that takes the pid is one.
pub trait Parent {
    /// There is a first process: who finds what is left of us must know whom to look for.
    fn cloned(&mut self, pid: i32) -> Result<(), Failure>;

    /// The listener of a filter that notifies, to be handed to whoever answers for the kernel.
    fn listener(&mut self, pid: i32, listener: OwnedFd) -> Result<(), Failure> {
        drop(listener);
        Err(Failure::because("seccomp.notify", format!("process {pid}"), "nobody here listens to a filter"))
    }
}

impl<F: FnMut(i32) -> Result<(), Failure>> Parent for F {
    fn cloned(&mut self, pid: i32) -> Result<(), Failure> {
        self(pid)
    }
}

/// Performs a plan. The caller has one thread, and is the parent of the container's first process afterwards.
///
/// A plan with a gate returns when the container waits at it, any other when its program runs.
/// On failure init is dead and reaped; what the steps made is found by the container's id.
pub fn launch(
    plan: &Plan,
    stdio: Option<Stdio>,
    trace: &mut Trace,
    parent: &mut dyn Parent,
) -> Result<Running, Failure> {
    let mut context = Context::default();
    trace.perform_all(&plan.before, &mut context)?;
    if let Some(stdio) = &stdio {
        give_streams(stdio, plan.stream_owner)
            .map_err(|errno| Failure::new("process.streams", "fchown", errno))?;
    }
    let (ours, theirs) = Line::pair().map_err(|errno| Failure::new("launch.socket", "socketpair", errno))?;
    let start = Instant::now();
    let fork = plan.clone.perform(&mut context)?;
    let Fork::Parent(pid, pidfd) = fork else {
        drop(ours);
        // Opened in the host's network namespace.
        context.netlink = None;
        init(plan, theirs, stdio, context, trace.is_on());
    };
    drop((theirs, stdio, context.gate.take()));
    trace.push(Record { took: Some(start.elapsed()), ..Record::planned(Actor::Monitor, &plan.clone) });
    context.init = Some(pid);
    let told = parent.cloned(pid);
    let mut side = Monitor {
        plan,
        line: ours,
        trace,
        context,
        terminal: None,
        last: None,
        suspicion: None,
        pidfd: pidfd.as_fd(),
        parent,
    };
    match told.and_then(|()| side.run()) {
        Ok(()) => {
            let (terminal, resolver) = (side.terminal.take(), side.context.resolver.take());
            Ok(Running { pid, pidfd, terminal, resolver })
        }
        Err(failure) => {
            let _ = sys::signal::send(&pidfd, 9);
            let ended = rustix::process::waitid(WaitId::PidFd(pidfd.as_fd()), WaitIdOptions::EXITED);
            let signal = ended.ok().flatten().and_then(|status| status.terminating_signal());
            // What init said before it died is the cause, whatever the monitor stumbled over because of it.
            Err(match side.last_words() {
                Some(cause) => cause,
                None => side.explain(failure, signal),
            })
        }
    }
}

/// The number of a mount that is handed over right before it is needed.
pub(crate) const NEXT: usize = usize::MAX;

/// The step of a failure that only says that init is gone; [`Monitor::explain`] finds better words.
const GONE: &str = "launch.init";

struct Monitor<'a> {
    plan: &'a Plan,
    line: Line,
    trace: &'a mut Trace,
    context: Context,
    terminal: Option<OwnedFd>,
    /// The last sign of life of init.
    last: Option<String>,
    suspicion: Option<Failure>,
    pidfd: BorrowedFd<'a>,
    parent: &'a mut dyn Parent,
}

impl Monitor<'_> {
    fn run(&mut self) -> Result<(), Failure> {
        for entry in &self.plan.monitor {
            match entry {
                Entry::Do(step) => self.trace.perform(step.as_ref(), &mut self.context)?,
                Entry::Tell(point) => self.tell(*point)?,
                Entry::Await(point) => self.wait_for(*point)?,
            }
        }
        if self.plan.gated { Ok(()) } else { self.wait_for_exec() }
    }

    fn tell(&mut self, point: Point) -> Result<(), Failure> {
        let message = Message::Reached(point);
        let handed = matches!(point, Point::Rooted | Point::Handed);
        let sent = if handed {
            let taken = std::mem::take(&mut self.context.taken);
            let root = if point == Point::Rooted { self.context.root.take() } else { None };
            let taken = taken.iter().map(|(_, mount)| mount.as_fd());
            let fds: Vec<_> = root.iter().map(AsFd::as_fd).chain(taken).collect();
            self.line.send_with(&message, &fds)
        } else {
            self.line.send(&message)
        };
        match sent {
            Err(Errno::TOOBIG) => {
                Err(Failure::because("launch.tell", point.name(), "more than 252 mounts must be handed over")
                    .hint("with a user namespace, or with idmapped mounts, that many binds are too many"))
            }
            Err(Errno::PIPE | Errno::CONNRESET) => Err(Failure::because(GONE, point.name(), "is gone")),
            result => result.map_err(|errno| Failure::new("launch.tell", point.name(), errno)),
        }
    }

    fn wait_for(&mut self, point: Point) -> Result<(), Failure> {
        loop {
            match self.next(point.name())? {
                Some((Message::Reached(reached), fds)) if reached == point => {
                    self.last = Some(format!("meeting point {}", point.name()));
                    if point == Point::Terminal {
                        self.terminal = fds.into_iter().next();
                    }
                    return Ok(());
                }
                Some((Message::Listener(number), _)) if point == Point::Filtered => {
                    self.last = Some(format!("meeting point {}", point.name()));
                    return self.fetch_listener(number);
                }
                Some((Message::Suspects(failure), _)) => self.suspicion = Some(failure),
                Some((message, _)) => {
                    return Err(Failure::because(
                        "launch.wait",
                        point.name(),
                        format!("unexpected {message:?}"),
                    ));
                }
                None => return Err(Failure::because(GONE, point.name(), "is gone")),
            }
        }
    }

    fn fetch_listener(&mut self, number: i32) -> Result<(), Failure> {
        let listener = rustix::process::pidfd_getfd(self.pidfd, number, PidfdGetfdFlags::empty())
            .map_err(|errno| Failure::new("seccomp.notify", "pidfd_getfd", errno))?;
        self.parent.listener(self.context.init.unwrap_or_default(), listener)
    }

    /// The next message that is not of the trace.
    fn next(&mut self, target: &str) -> Result<Option<(Message, Vec<OwnedFd>)>, Failure> {
        loop {
            match self.line.receive().map_err(|errno| Failure::new("launch.wait", target, errno))? {
                Some((Message::Took { index, nanos }, _)) => self.record(index, nanos),
                Some((Message::Failed(failure), _)) => return Err(failure),
                other => return Ok(other),
            }
        }
    }

    fn record(&mut self, index: u16, nanos: u64) {
        let index = usize::from(index);
        let late = || self.plan.late.get(index.checked_sub(self.plan.init.len())?);
        let step = match self.plan.init.get(index) {
            Some(Entry::Do(step)) => Some(step),
            Some(_) => None,
            None => late(),
        };
        if let Some(step) = step {
            self.last = Some(format!("step {}", step.id()));
            let took = Some(Duration::from_nanos(nanos));
            self.trace.push(Record { took, ..Record::planned(Actor::Init, step.as_ref()) });
        }
    }

    /// The socket is close-on-exec: its end means that the program runs (or that init died on its last step, which
    /// its exit will tell).
    fn wait_for_exec(&mut self) -> Result<(), Failure> {
        let start = Instant::now();
        match self.next("execve")? {
            None => {
                let took = Some(start.elapsed());
                self.trace.push(Record { took, ..Record::planned(Actor::Init, &self.plan.program) });
                Ok(())
            }
            Some((Message::ExecFailed(errno), _)) => {
                Err(self.plan.program.refused(errno, self.suspicion.take()))
            }
            Some((message, _)) => {
                Err(Failure::because("launch.wait", "execve", format!("unexpected {message:?}")))
            }
        }
    }

    /// The failure that a dead init told, if it told one.
    fn last_words(&mut self) -> Option<Failure> {
        loop {
            match self.line.receive().ok()? {
                Some((Message::Failed(failure), _)) => return Some(failure),
                Some((Message::Took { index, nanos }, _)) => self.record(index, nanos),
                Some(_) => {}
                None => return None,
            }
        }
    }

    /// Says of a dead init what killed it and where.
    fn explain(&self, failure: Failure, signal: Option<i32>) -> Failure {
        if failure.step != GONE {
            return failure;
        }
        let place = self.last.as_deref().unwrap_or("its start");
        let how = match signal {
            Some(signal) => format!("was killed by signal {signal}"),
            None => "ended".to_owned(),
        };
        let failure =
            Failure::because(GONE, self.plan.id.clone(), format!("the container's init {how} after {place}"));
        match signal {
            Some(9) => failure
                .hint("if the memory limit is very small, the start itself does not fit: raise --memory"),
            _ => failure,
        }
    }
}

/// The container's first process, from the clone to execve(2).
fn init(plan: &Plan, line: Line, stdio: Option<Stdio>, context: Context, traced: bool) -> ! {
    let mut side = Init { line, context, traced, early: Vec::new() };
    let failure = match side.run(plan, stdio) {
        Ok(never) => match never {},
        Err(failure) => failure,
    };
    // If the monitor is gone there is nobody left to tell.
    side.send(&Message::Failed(failure));
    sys::process::exit_now(1)
}

struct Init {
    line: Line,
    context: Context,
    traced: bool,
    /// What the monitor had reached before it was waited for.
    early: Vec<Point>,
}

impl Init {
    fn run(&mut self, plan: &Plan, stdio: Option<Stdio>) -> Result<std::convert::Infallible, Failure> {
        if let Some(stdio) = stdio {
            take_streams(&stdio).map_err(|errno| Failure::new("process.streams", "dup2", errno))?;
        }
        sys::signal::reset_dispositions();
        sys::signal::Signals::none()
            .block()
            .map_err(|error| Failure::new("process.signals", "sigprocmask", error))?;
        for (index, entry) in plan.init.iter().enumerate() {
            match entry {
                Entry::Do(step) => self.perform(index, step.as_ref())?,
                Entry::Tell(point) => self.tell(*point),
                Entry::Await(point) => self.wait_for(*point, plan)?,
            }
        }
        let found = plan.program.find()?;
        if let Some(suspicion) = &found.suspicion {
            self.send(&Message::Suspects(suspicion.clone()));
        }
        // What is needed for the end is there before a filter may forbid to get it.
        let failed = |error: std::io::Error| Failure::new("exec.stub", found.path.to_string_lossy(), error);
        let stub = if plan.sealed { None } else { Some(crate::stub::sealed().map_err(failed)?) };
        let env = plan.program.environment();
        sys::process::close_on_exec_from(3 + plan.preserved.cast_signed()).map_err(failed)?;
        self.send(&Message::Reached(Point::Ready));
        self.pass_gate()?;
        for (index, step) in plan.late.iter().enumerate() {
            self.perform(plan.init.len() + index, step.as_ref())?;
        }
        self.execute(plan, found, stub, &env)
    }

    fn perform(&mut self, index: usize, step: &dyn step::Step) -> Result<(), Failure> {
        let start = self.traced.then(Instant::now);
        step.perform(&mut self.context)?;
        if let Some(start) = start {
            self.send(&Message::Took { index: index as u16, nanos: start.elapsed().as_nanos() as u64 });
        }
        Ok(())
    }

    /// Waits until somebody opens the gate; from then on he is the one who is told.
    fn pass_gate(&mut self) -> Result<(), Failure> {
        let Some(gate) = self.context.gate.take() else { return Ok(()) };
        self.traced = false;
        self.line = Line::over(gate.told);
        // PID 1 of a pid namespace ignores what it has no handler for: whoever ends a container that was not started
        // yet means it.
        sys::signal::end_on_signals();
        let mut byte = [0];
        loop {
            match rustix::io::read(&gate.go, &mut byte) {
                Ok(1) => return Ok(()),
                Err(Errno::INTR) => {}
                other => {
                    let errno = other.err().unwrap_or(Errno::PIPE);
                    return Err(Failure::new("launch.gate", "read", errno));
                }
            }
        }
    }

    /// A monitor that is gone does not read; init ends at its next wait.
    fn send(&self, message: &Message) {
        let _ = self.line.send(message);
    }

    fn tell(&self, point: Point) {
        match (&self.context.terminal, point) {
            (Some(terminal), Point::Terminal) => {
                let _ = self.line.send_with(&Message::Reached(point), &[terminal.master.as_fd()]);
            }
            (_, Point::Filtered) => {
                let listener = self.context.listener.as_ref().map_or(-1, |fd| fd.as_fd().as_raw_fd());
                self.send(&Message::Listener(listener));
            }
            _ => self.send(&Message::Reached(point)),
        }
    }

    fn wait_for(&mut self, point: Point, plan: &Plan) -> Result<(), Failure> {
        if let Some(at) = self.early.iter().position(|reached| *reached == point) {
            self.early.swap_remove(at);
            return Ok(());
        }
        loop {
            // A filter may already be on: a plain read(2), but for the one message that brings descriptors.
            let message = match point {
                Point::Rooted | Point::Handed => self.line.receive(),
                _ => self.line.read(),
            };
            match message.map_err(|errno| Failure::new("launch.wait", point.name(), errno))? {
                Some((Message::Reached(reached), fds)) if reached == point => {
                    self.hand_over(point, plan, fds);
                    return Ok(());
                }
                // The monitor does not wait for init with what init needs later only.
                Some((Message::Reached(reached), fds)) if fds.is_empty() => self.early.push(reached),
                Some((message, _)) => {
                    return Err(Failure::because(
                        "launch.wait",
                        point.name(),
                        format!("unexpected {message:?}"),
                    ));
                }
                None => sys::process::exit_now(1),
            }
        }
    }

    fn hand_over(&mut self, point: Point, plan: &Plan, fds: Vec<OwnedFd>) {
        let mut fds = fds.into_iter();
        if point == Point::Rooted {
            if plan.root_handed {
                self.context.root = fds.next();
            }
            self.context.taken.extend(plan.handed.iter().copied().zip(fds));
        } else if point == Point::Handed {
            // The next mount is the one that it is for.
            self.context.taken.extend(fds.map(|fd| (NEXT, fd)));
        }
    }

    /// The stub keeps the host's binary out of reach (see `stub`); of the descriptors only 0, 1, 2 and for a moment
    /// the socket go with it. Where this program cannot be written to anyway it becomes the container's directly.
    fn execute(
        &mut self,
        plan: &Plan,
        found: program::Found,
        stub: Option<OwnedFd>,
        env: &[CString],
    ) -> Result<std::convert::Infallible, Failure> {
        let program = &plan.program;
        let error = match stub {
            None => sys::process::execve(&found.path, &program.args, env),
            Some(stub) => {
                rustix::io::fcntl_setfd(&self.line, rustix::io::FdFlags::empty())
                    .map_err(|errno| Failure::new("exec.stub", found.path.to_string_lossy(), errno))?;
                let line = self.line.as_fd().as_raw_fd();
                let args = crate::stub::arguments(line, program.first, &found.path, &program.args);
                sys::process::execve_fd(&stub, &args, env)
            }
        };
        Err(program.refused(error.raw_os_error().unwrap_or_default(), found.suspicion))
    }
}

/// Opens the gate in `dir` for the container whose program is called `name`, and waits until that runs.
///
/// # Errors
/// `ENXIO` on `go` where no container waits; else what failed on the container's last steps.
pub fn open_gate(dir: &Path, name: &str) -> Result<(), Failure> {
    let failed =
        |what: &str, errno: Errno| Failure::new("launch.gate", dir.join(what).display().to_string(), errno);
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let told = rustix::fs::open(dir.join(gate::NAMES[1]), flags, Mode::empty())
        .map_err(|e| failed(gate::NAMES[1], e))?;
    let go = gate::open_go(dir).map_err(|errno| failed(gate::NAMES[0], errno))?;
    rustix::fs::fcntl_setfl(&told, OFlags::empty()).map_err(|errno| failed(gate::NAMES[1], errno))?;
    rustix::io::write(&go, b"g").map_err(|errno| failed(gate::NAMES[0], errno))?;
    drop(go);
    let mut bytes = Vec::new();
    std::io::Read::read_to_end(&mut std::fs::File::from(told), &mut bytes).map_err(|error| {
        Failure::new("launch.gate", dir.join(gate::NAMES[1]).display().to_string(), error)
    })?;
    match Message::decode(&bytes) {
        None if bytes.is_empty() => Ok(()),
        Some(Message::Failed(failure)) => Err(failure),
        Some(Message::ExecFailed(errno)) => Err(Failure::new("exec", name, Errno::from_raw_os_error(errno))),
        _ => Err(Failure::because(
            "launch.gate",
            "told",
            "the container said something that is not understood",
        )),
    }
}

/// Gives pipes to the program's user, who may open them again by /dev/stdout. By the monitor: init may be in a user
/// namespace that does not know whose they are.
fn give_streams(stdio: &Stdio, owner: Option<u32>) -> Result<(), Errno> {
    let Some(owner) = owner.filter(|owner| *owner != 0) else { return Ok(()) };
    for stream in [&stdio.stdin, &stdio.stdout, &stdio.stderr] {
        // Pipes only: a change to /dev/null would be a change to the host's.
        if FileType::from_raw_mode(rustix::fs::fstat(stream)?.st_mode) == FileType::Fifo {
            rustix::fs::fchown(stream, Some(rustix::fs::Uid::from_raw(owner)), None)?;
        }
    }
    Ok(())
}

/// Descriptors 0, 1, 2.
fn take_streams(stdio: &Stdio) -> Result<(), Errno> {
    rustix::stdio::dup2_stdin(&stdio.stdin)?;
    rustix::stdio::dup2_stdout(&stdio.stdout)?;
    rustix::stdio::dup2_stderr(&stdio.stderr)
}
