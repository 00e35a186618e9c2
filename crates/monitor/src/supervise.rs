//! The monitor: a fork of the command that launches the container, carries its streams and takes it down.

use std::os::fd::{AsFd, OwnedFd};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use runtime::{Plan, Running};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::process::{WaitId, WaitIdOptions};
use rustix::termios::{OptionalActions, Termios};
use serde::Serialize;
use step::{Actor, Failure, Trace};
use sys::process::Fork;
use sys::signal::{SignalFd, Signals};

use crate::channel::{Channel, Kind};
use crate::client::{Client, Hello, Welcome};
use crate::keeper::{Ended, Exit, Job, Keeper, Orphan, Started, Stream};
use crate::socket;
use crate::streams::{Carried, Streams, null};

/// Forks the monitor. Returns the command's end of the channel to it.
pub fn start(job: Job, keeper: impl Keeper) -> Result<Channel, Failure> {
    let failed = |errno: Errno| Failure::new("monitor.start", "socketpair", errno);
    let (ours, theirs) = Channel::pair().map_err(failed)?;
    match sys::process::fork().map_err(|error| Failure::new("monitor.start", "clone3", error))? {
        Fork::Parent(..) => Ok(ours),
        Fork::Child => {
            drop(ours);
            // What goes wrong from here on was told, or there is nobody left to be told.
            let _ = watch(job, keeper, theirs);
            sys::process::exit_now(0)
        }
    }
}

/// Forks a monitor for a program that lives no longer than this process wants: dropping the channel kills it. What makes
/// the job runs in the fork too, so that its time and its memory are not ours. With the fork's pidfd: it is our child.
///
/// The fork has no descriptor of ours but the standard streams: it would keep locks and sockets alive.
pub fn start_apart<K: Keeper>(
    make: impl FnOnce() -> Result<(Job, K), Failure>,
) -> Result<(Channel, OwnedFd), Failure> {
    let failed = |errno: Errno| Failure::new("monitor.start", "socketpair", errno);
    let (ours, theirs) = Channel::pair().map_err(failed)?;
    match sys::process::fork().map_err(|error| Failure::new("monitor.start", "clone3", error))? {
        Fork::Parent(_, pidfd) => Ok((ours, pidfd)),
        Fork::Child => {
            drop(ours);
            if let Ok(mut channel) = theirs.alone() {
                match make() {
                    Ok((job, keeper)) => drop(watch(job, keeper, channel)),
                    Err(failure) => {
                        let told = Started { failure: Some(failure), ..Started::default() };
                        // It is short, and the socket is empty: it goes at once.
                        channel.push(Kind::Failed, &serde_json::to_vec(&told).unwrap_or_default());
                    }
                }
            }
            sys::process::exit_now(0)
        }
    }
}

/// Forks a monitor for a container that runs and has lost its own.
pub fn adopt(orphan: Orphan, keeper: impl Keeper) -> Result<(), Failure> {
    match sys::process::fork().map_err(|error| Failure::new("monitor.adopt", "clone3", error))? {
        Fork::Parent(..) => Ok(()),
        Fork::Child => {
            let _ = watch_orphan(orphan, keeper);
            sys::process::exit_now(0)
        }
    }
}

fn watch(mut job: Job, keeper: impl Keeper, channel: Channel) -> Result<(), Errno> {
    job.trace.hand_to(Actor::Monitor);
    stand_alone()?;
    let Job { plan, terminal, interactive, stdin_once, foreground, reading, socket, trace, restore } = job;
    let mut monitor = Monitor {
        clients: vec![Client::starter(channel, foreground, reading)],
        terminal,
        interactive,
        stdin_once,
        trace,
        restore,
        ..Monitor::new(keeper, socket)
    };
    if let Err(failure) = monitor.launch(&plan) {
        monitor.keeper.abandon(&failure, &mut monitor.trace);
        let records = monitor.trace.take();
        monitor.tell(Kind::Failed, &Started { failure: Some(failure), records, ..Started::default() });
        return monitor.drain();
    }
    drop(plan);
    monitor.stay()
}

fn watch_orphan(orphan: Orphan, keeper: impl Keeper) -> Result<(), Errno> {
    stand_alone()?;
    close_own_streams()?;
    let Orphan { pid, pidfd, output: [stdout, stderr], socket } = orphan;
    let mut monitor = Monitor::new(keeper, Some(socket));
    (monitor.streams.stdout, monitor.streams.stderr) = (stdout, stderr);
    monitor.running = Some(Running { pid, pidfd, terminal: None, resolver: None });
    monitor.is_parent = false;
    monitor.listen();
    monitor.stay()
}

/// In a session of its own, in the way of nobody.
fn stand_alone() -> Result<(), Errno> {
    rustix::process::setsid()?;
    rustix::process::chdir("/")?;
    Signals::all().block().map_err(|_| Errno::INVAL)
}

/// Where the command was started is nobody's to keep busy, and its streams are the command's own.
fn close_own_streams() -> Result<(), Errno> {
    let null = null()?;
    rustix::stdio::dup2_stdin(&null)?;
    rustix::stdio::dup2_stdout(&null)?;
    rustix::stdio::dup2_stderr(&null)
}

struct Monitor<K> {
    keeper: K,
    clients: Vec<Client>,
    /// Its directory, and the socket in it.
    dir: Option<PathBuf>,
    listener: Option<OwnedFd>,
    running: Option<Running>,
    /// Its first process is our child.
    is_parent: bool,
    streams: Streams,
    terminal: bool,
    interactive: bool,
    stdin_once: bool,
    /// The user wants it ended.
    halted: bool,
    trace: Trace,
    restore: Option<(OwnedFd, Termios)>,
}

impl<K: Keeper> Monitor<K> {
    fn new(keeper: K, dir: Option<PathBuf>) -> Self {
        Self {
            keeper,
            clients: Vec::new(),
            dir,
            listener: None,
            running: None,
            is_parent: true,
            streams: Streams::default(),
            terminal: false,
            interactive: false,
            stdin_once: false,
            halted: false,
            trace: Trace::new(Actor::Monitor, false),
            restore: None,
        }
    }

    /// Starts it, and tells who waits for that.
    fn launch(&mut self, plan: &Plan) -> Result<(), Failure> {
        let failed = |errno: Errno| Failure::new("monitor.streams", "pipe2", errno);
        self.streams = Streams::new(self.terminal);
        let stdio = if self.terminal {
            None
        } else {
            let named = self.keeper.named_pipes()?;
            Some(self.streams.pipes(self.interactive, named).map_err(failed)?)
        };
        let keeper = &mut self.keeper;
        let mut running = runtime::launch(plan, stdio, &mut self.trace, &mut |pid| keeper.cloned(pid))?;
        if let Some(master) = running.terminal.take() {
            self.streams.take_terminal(master).map_err(failed)?;
        }
        let notes = self.keeper.running(&mut running);
        let pid = running.pid;
        (self.running, self.is_parent) = (Some(running), true);
        if self.listener.is_none() {
            self.listen();
        }
        let records = self.trace.take();
        self.tell(Kind::Started, &Started { failure: None, pid, records, notes });
        // Nobody else has them open any more once the container ends.
        close_own_streams().map_err(failed)
    }

    /// Without its socket the container lives on all the same; commands say that they cannot reach its monitor.
    fn listen(&mut self) {
        self.listener = self.dir.as_deref().and_then(|dir| socket::listen(dir).ok());
    }

    /// Everything after the start: to the end, and again from the start where that is wanted.
    fn stay(&mut self) -> Result<(), Errno> {
        let signals = SignalFd::new(&Signals::all()).map_err(|_| Errno::INVAL)?;
        loop {
            let exit = self.run(&signals)?;
            let notes = self.keeper.ended(exit);
            let mut again = if self.halted { None } else { self.keeper.again() };
            self.tell(Kind::Ended, &Ended { exit, notes, again: again.is_some() });
            while let Some(pause) = again {
                if !self.rest(&signals, pause)? {
                    self.tell(Kind::Ended, &Ended { exit, notes: Vec::new(), again: false });
                    break;
                }
                let started = self.keeper.renew(&mut self.trace).and_then(|plan| self.launch(&plan));
                match started {
                    Ok(()) => break,
                    Err(failure) => {
                        self.keeper.abandon(&failure, &mut self.trace);
                        again = self.keeper.again();
                    }
                }
            }
            if self.running.is_none() {
                break;
            }
        }
        self.keeper.clean(&mut self.trace);
        let records = self.trace.take();
        self.tell(Kind::Gone, &records);
        self.drain()?;
        self.keeper.finish(&mut self.trace);
        Ok(())
    }

    fn tell(&mut self, kind: Kind, what: &impl Serialize) {
        for client in &mut self.clients {
            client.say(kind, what);
        }
    }

    /// The event loop, until the first process has ended and its streams are empty.
    fn run(&mut self, signals: &SignalFd) -> Result<Option<Exit>, Errno> {
        let mut slim = false;
        loop {
            let sources = self.poll(signals, (!slim).then(|| Instant::now() + SETTLED))?;
            if sources.is_empty() && !slim {
                // It lives on, so it is worth the while to become small: most of the time there is nothing to do.
                slim = true;
                sys::process::slim_down();
            }
            let mut exit = None;
            for source in sources {
                match source {
                    Source::Stdout => drop(self.carry(Kind::Stdout)),
                    Source::Stderr => drop(self.carry(Kind::Stderr)),
                    Source::Exit => exit = self.reap()?,
                    Source::Turn => {
                        if let Some(word) = self.keeper.turn() {
                            let asked = self.clients.iter_mut().filter(|client| client.probes);
                            asked.for_each(|client| client.channel.push(Kind::Health, &word));
                        }
                        // What that took is given back when nothing more comes of it.
                        slim = false;
                    }
                    Source::Names => self.keeper.serve_names(),
                    source => self.attend(source, signals),
                }
            }
            self.look_after_clients();
            self.streams.feed();
            if let Some(exit) = exit {
                // What it wrote before its end is still in the pipes; nobody can write more, unless a process of the
                // host's pid namespace holds them.
                self.drain_streams();
                self.streams = Streams::default();
                return Ok(exit);
            }
        }
    }

    /// Waits so long before the next start; false when it is not wanted any more.
    fn rest(&mut self, signals: &SignalFd, pause: Duration) -> Result<bool, Errno> {
        let until = Instant::now() + pause;
        while Instant::now() < until {
            for source in self.poll(signals, Some(until))? {
                self.attend(source, signals);
            }
            self.look_after_clients();
            if self.halted {
                return Ok(false);
            }
        }
        Ok(!self.halted)
    }

    /// What is the same whether it runs or not.
    fn attend(&mut self, source: Source, signals: &SignalFd) {
        match source {
            Source::Signal => self.forward(signals),
            Source::Guest => {
                while let Some(socket) = self.listener.as_ref().and_then(socket::accept) {
                    self.clients.push(Client::guest(socket));
                }
            }
            Source::Client(index) => self.listen_to(index),
            Source::Stdin | Source::Stdout | Source::Stderr | Source::Exit | Source::Turn | Source::Names => {
            }
        }
    }

    /// Waits until something is to be done, and says what; nothing: the time is over. What has no room to go is not
    /// read.
    fn poll(&self, signals: &SignalFd, until: Option<Instant>) -> Result<Vec<Source>, Errno> {
        let mut watched = vec![(Source::Signal, signals.as_fd(), PollFlags::IN)];
        if let Some(running) = &self.running {
            watched.push((Source::Exit, running.pidfd.as_fd(), PollFlags::IN));
        }
        if let Some(listener) = &self.listener {
            watched.push((Source::Guest, listener.as_fd(), PollFlags::IN));
        }
        for (index, client) in self.clients.iter().enumerate() {
            let out = if client.channel.has_output() { PollFlags::OUT } else { PollFlags::empty() };
            watched.push((Source::Client(index), client.channel.as_fd(), PollFlags::IN | out));
        }
        for (source, kind, stream) in [
            (Source::Stdout, Kind::Stdout, &self.streams.stdout),
            (Source::Stderr, Kind::Stderr, &self.streams.stderr),
        ] {
            if let Some(stream) = stream.as_ref().filter(|_| !self.is_full(kind)) {
                watched.push((source, stream.as_fd(), PollFlags::IN));
            }
        }
        if let Some(stdin) = self.streams.stdin.as_ref().filter(|_| !self.streams.pending.is_empty()) {
            watched.push((Source::Stdin, stdin.as_fd(), PollFlags::OUT));
        }
        let due = self.keeper.due();
        if let Some((fd, flags)) = self.keeper.waits_for() {
            watched.push((Source::Turn, fd, flags));
        }
        if let Some(fd) = self.keeper.names() {
            watched.push((Source::Names, fd, PollFlags::IN));
        }
        let until = [until, due].into_iter().flatten().min();
        let mut fds: Vec<_> =
            watched.iter().map(|(_, fd, flags)| PollFd::from_borrowed_fd(*fd, *flags)).collect();
        loop {
            let timeout = until.map(|until| {
                let left = until.saturating_duration_since(Instant::now());
                Timespec { tv_sec: left.as_secs() as i64, tv_nsec: left.subsec_nanos().into() }
            });
            match poll(&mut fds, timeout.as_ref()) {
                Err(Errno::INTR) => {}
                Err(errno) => return Err(errno),
                Ok(_) => break,
            }
        }
        let ready = fds.iter().map(|fd| !fd.revents().is_empty());
        let ready = watched.iter().zip(ready).filter(|(_, ready)| *ready).map(|((source, ..), _)| *source);
        let mut ready: Vec<Source> = ready.collect();
        if due.is_some_and(|due| due <= Instant::now()) && !ready.contains(&Source::Turn) {
            ready.push(Source::Turn);
        }
        Ok(ready)
    }

    /// Whether somebody who reads this stream has not yet taken what there was.
    fn is_full(&self, kind: Kind) -> bool {
        self.clients.iter().any(|client| client.reads(kind) && client.channel.is_full())
    }

    /// A signal to the monitor means the container: at a shutdown everything is asked to end.
    fn forward(&mut self, signals: &SignalFd) {
        while let Ok(Some(signal)) = signals.next() {
            match signal {
                SIGCHLD => self.keeper.child_ended(),
                SIGPIPE => {}
                signal => {
                    // Whoever ends the monitors of a machine does not want containers started again until it is back.
                    self.halted |= signal == SIGTERM;
                    self.signal(signal);
                }
            }
        }
    }

    fn signal(&self, signal: i32) {
        if let Some(running) = &self.running {
            // ESRCH: it has just ended, which the loop will see.
            let _ = sys::signal::send(&running.pidfd, signal);
        }
    }

    /// What one of the clients says.
    fn listen_to(&mut self, index: usize) {
        let Some(client) = self.clients.get_mut(index) else { return };
        client.channel.fill();
        while let Some((kind, payload)) = self.clients[index].channel.take() {
            match kind {
                Kind::Hello => self.greet(index, &payload),
                Kind::Stdin => self.streams.pending.extend(payload),
                Kind::StdinEnd if self.stdin_once => self.streams.ended = true,
                Kind::Signal => {
                    if let Ok(bytes) = payload.as_slice().try_into() {
                        self.signal(i32::from_ne_bytes(bytes));
                    }
                }
                Kind::Size => {
                    if let Some((rows, columns)) = self.streams.resize(&payload) {
                        self.keeper.resized(rows, columns);
                    }
                }
                Kind::Unread => self.unread(index, if payload == [2] { Kind::Stderr } else { Kind::Stdout }),
                Kind::Detach => self.leave_alone(index),
                _ => {}
            }
        }
    }

    fn greet(&mut self, index: usize, payload: &[u8]) {
        let Ok(hello) = serde_json::from_slice::<Hello>(payload) else { return };
        if hello.halt {
            self.halted = true;
            self.keeper.halted();
        }
        if hello.probe {
            self.keeper.asked();
        }
        let welcome = Welcome {
            pid: self.running.as_ref().map(|running| running.pid),
            terminal: self.terminal,
            interactive: self.streams.stdin.is_some(),
        };
        let client = &mut self.clients[index];
        client.greet(hello);
        client.say(Kind::Welcome, &welcome);
    }

    /// Nobody reads that stream of a foreground container any more: the program learns of it as on the host, by
    /// SIGPIPE, or by SIGHUP from its terminal. Others are not told.
    fn unread(&mut self, index: usize, kind: Kind) {
        let client = &mut self.clients[index];
        client.unread(kind);
        match (client.owner, self.streams.terminal, kind) {
            (false, ..) => {}
            (true, true, _) => self.signal(SIGHUP),
            (true, false, Kind::Stderr) => self.streams.stderr = None,
            (true, false, _) => self.streams.stdout = None,
        }
    }

    fn leave_alone(&mut self, index: usize) {
        if std::mem::take(&mut self.clients[index].owner) {
            self.restore = None;
            self.keeper.left_alone();
        }
    }

    /// Sends what waits, and forgets who is gone. A command that is gone without a word takes its foreground container
    /// with it.
    fn look_after_clients(&mut self) {
        let mut ends = false;
        self.clients.retain_mut(|client| {
            client.channel.flush();
            ends |= client.channel.is_closed() && client.owner;
            !client.channel.is_closed()
        });
        if ends {
            self.signal(SIGKILL);
            if let Some((terminal, settings)) = self.restore.take() {
                let _ = rustix::termios::tcsetattr(&terminal, OptionalActions::Now, &settings);
            }
        }
    }

    /// Carries what one of its streams has to whoever reads it. True while there may be more.
    ///
    /// Never part of its caller, whose frame lives as long as the container: the buffer would be kept in memory with it.
    #[inline(never)]
    fn carry(&mut self, kind: Kind) -> bool {
        let mut buffer = [0_u8; 64 * 1024];
        let Carried::Bytes(count) = self.streams.read(kind, &mut buffer) else { return false };
        let bytes = &buffer[..count];
        self.keeper.printed(if kind == Kind::Stderr { Stream::Stderr } else { Stream::Stdout }, bytes);
        for client in self.clients.iter_mut().filter(|client| client.reads(kind)) {
            client.channel.push(kind, bytes);
        }
        true
    }

    fn drain_streams(&mut self) {
        for kind in [Kind::Stdout, Kind::Stderr] {
            while self.carry(kind) {
                while self.is_full(kind) && self.wait_for_room().is_ok() {}
            }
        }
    }

    /// Waits until somebody has taken some of what is for them. Only the command whose foreground the container is may
    /// take its time: another that reads nothing for a while, a stopped one, say, is left behind.
    fn wait_for_room(&mut self) -> Result<(), Errno> {
        let waiting = self.clients.iter().filter(|client| client.channel.has_output());
        let mut fds: Vec<_> = waiting.map(|client| PollFd::new(&client.channel, PollFlags::OUT)).collect();
        match poll(&mut fds, Some(&PATIENCE)) {
            Ok(0) => self.clients.retain(|client| client.owner || !client.channel.has_output()),
            Err(Errno::INTR) | Ok(_) => {}
            Err(errno) => return Err(errno),
        }
        self.clients.iter_mut().for_each(|client| client.channel.flush());
        Ok(())
    }

    /// The last words, as far as somebody takes them.
    fn drain(&mut self) -> Result<(), Errno> {
        while self.clients.iter().any(|client| client.channel.has_output()) {
            self.wait_for_room()?;
        }
        Ok(())
    }

    /// The outer option: whether it has ended; the inner one: how, where that is known.
    fn reap(&mut self) -> Result<Option<Option<Exit>>, Errno> {
        let Some(running) = &self.running else { return Ok(None) };
        if !self.is_parent {
            let status = sys::pidfd::exit_status(&running.pidfd, running.pid);
            self.running = None;
            return Ok(Some(status.map(Exit::from_status)));
        }
        let options = WaitIdOptions::EXITED | WaitIdOptions::NOHANG;
        let Some(status) = rustix::process::waitid(WaitId::PidFd(running.pidfd.as_fd()), options)? else {
            return Ok(None);
        };
        let exit = match (status.exit_status(), status.terminating_signal()) {
            (Some(code), _) => Exit::Code(code),
            (None, Some(signal)) => Exit::Signal(signal),
            (None, None) => return Ok(None),
        };
        self.running = None;
        Ok(Some(Some(exit)))
    }
}

/// What the event loop waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Source {
    Signal,
    Exit,
    Guest,
    Client(usize),
    Stdout,
    Stderr,
    Stdin,
    /// What the keeper waits for, or the time that it is due.
    Turn,
    /// Somebody in the container asks for a name, or somebody answers.
    Names,
}

/// A container that has run for so long runs on.
const SETTLED: Duration = Duration::from_millis(50);

/// How long the end of a container waits for a guest that does not read.
const PATIENCE: Timespec = Timespec { tv_sec: 3, tv_nsec: 0 };

const SIGHUP: i32 = 1;
const SIGKILL: i32 = 9;
const SIGPIPE: i32 = 13;
const SIGTERM: i32 = 15;
const SIGCHLD: i32 = 17;
