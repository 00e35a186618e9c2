//! The monitor: a fork of the command that launches the container, carries its streams and takes it down.

use std::os::fd::{AsFd, OwnedFd};

use runtime::{Plan, Running, Stdio};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use rustix::process::{WaitId, WaitIdOptions};
use rustix::pty::OpenptFlags;
use rustix::termios::{OptionalActions, Termios, Winsize};
use serde::{Deserialize, Serialize};
use step::{Actor, Failure, Record, Trace};
use sys::process::Fork;
use sys::signal::{SignalFd, Signals};

use crate::channel::{Channel, Kind};

/// What a monitor is made for.
#[derive(Debug)]
pub struct Job {
    /// What to launch.
    pub plan: Plan,
    /// The container has a terminal.
    pub terminal: bool,
    /// Its standard input stays open.
    pub interactive: bool,
    /// It lives on without the command.
    pub detached: bool,
    /// What was done so far, and whether records are kept.
    pub trace: Trace,
    /// The user's terminal and its settings: put right by the monitor if the command is killed while it is raw.
    pub restore: Option<(OwnedFd, Termios)>,
}

/// How the first process ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Exit {
    /// It ended with this code.
    Code(i32),
    /// This signal ended it.
    Signal(i32),
}

impl Exit {
    /// Docker's exit code: the program's own, or 128 and the signal.
    pub fn code(self) -> u8 {
        match self {
            Self::Code(code) => code as u8,
            Self::Signal(signal) => 128_u8.wrapping_add(signal as u8),
        }
    }
}

/// What the engine does for its container at the turns of its life, inside of the monitor.
pub trait Keeper {
    /// Its first process exists.
    fn cloned(&mut self, pid: i32) -> Result<(), Failure>;
    /// Its program runs: what can only be seen now, and what the user should be told of it.
    fn running(&mut self, running: &Running) -> Vec<Note>;
    /// It ended: to be recorded, while its control groups still tell what it used.
    fn ended(&mut self, exit: Exit) -> Vec<Note>;
    /// It could not be started: nothing of it stays.
    fn abandon(&mut self, trace: &mut Trace);
    /// Takes down whatever it left that others could stumble over; the steps of it go into the trace.
    fn clean(&mut self, trace: &mut Trace);
    /// Takes down the rest, when everybody was told.
    fn finish(&mut self, trace: &mut Trace);
}

/// A line for the user, and what can be done about it.
pub type Note = (String, Option<String>);

/// How a start went.
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct Started {
    /// Why it could not be started.
    pub failure: Option<Failure>,
    /// The container's first process, seen from the command.
    pub pid: i32,
    /// The trace so far.
    pub records: Vec<Record>,
    /// What the user should know.
    pub notes: Vec<Note>,
}

/// How it ended.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Ended {
    /// Code or signal.
    pub exit: Exit,
    /// What the user should know.
    pub notes: Vec<Note>,
}

/// Forks the monitor. Returns the command's end of the channel to it.
pub fn start(job: Job, mut keeper: impl Keeper) -> Result<Channel, Failure> {
    let failed = |errno: Errno| Failure::new("monitor.start", "socketpair", errno);
    let (ours, theirs) = Channel::pair().map_err(failed)?;
    match sys::process::fork().map_err(|error| Failure::new("monitor.start", "clone3", error))? {
        Fork::Parent(..) => Ok(ours),
        Fork::Child => {
            drop(ours);
            // What goes wrong from here on was told, or there is nobody left to be told.
            let _ = watch(job, &mut keeper, theirs);
            sys::process::exit_now(0)
        }
    }
}

fn watch(mut job: Job, keeper: &mut impl Keeper, channel: Channel) -> Result<(), Errno> {
    job.trace.hand_to(Actor::Monitor);
    rustix::process::setsid()?;
    rustix::process::chdir("/")?;
    let all = Signals::all();
    all.block().map_err(|_| Errno::INVAL)?;
    let mut monitor = Monitor::launch(job, keeper, channel)?;
    let exit = monitor.run(&all)?;
    let notes = keeper.ended(exit);
    monitor.say(Kind::Ended, &Ended { exit, notes });
    keeper.clean(&mut monitor.trace);
    let records = monitor.trace.take();
    monitor.say(Kind::Gone, &records);
    monitor.drain()?;
    keeper.finish(&mut monitor.trace);
    Ok(())
}

/// The ends of the container's streams that stay here.
#[derive(Debug, Default)]
struct Streams {
    stdin: Option<OwnedFd>,
    stdout: Option<OwnedFd>,
    stderr: Option<OwnedFd>,
    /// One descriptor for both directions, in `stdin` and `stdout`.
    terminal: bool,
    /// The terminal's inner end.
    inner: Option<OwnedFd>,
    /// Typed and not yet taken.
    pending: Vec<u8>,
    /// No more will be typed.
    ended: bool,
}

struct Monitor {
    channel: Channel,
    running: Option<Running>,
    streams: Streams,
    detached: bool,
    trace: Trace,
    restore: Option<(OwnedFd, Termios)>,
}

impl Monitor {
    fn launch(job: Job, keeper: &mut impl Keeper, channel: Channel) -> Result<Self, Errno> {
        let Job { plan, terminal, interactive, detached, trace, restore } = job;
        let streams = Streams { terminal, ..Streams::default() };
        let mut monitor = Self { channel, running: None, streams, detached, trace, restore };
        let stdio = if terminal { None } else { Some(monitor.pipes(interactive)?) };
        let launched = runtime::launch(&plan, stdio, &mut monitor.trace, &mut |pid| keeper.cloned(pid));
        let mut running = match launched {
            Ok(running) => running,
            Err(failure) => {
                keeper.abandon(&mut monitor.trace);
                let records = monitor.trace.take();
                monitor.say(Kind::Failed, &Started { failure: Some(failure), records, ..Started::default() });
                monitor.drain()?;
                sys::process::exit_now(0);
            }
        };
        if let Some(master) = running.terminal.take() {
            set_nonblocking(&master)?;
            // Held open, so that a program that closes its terminal for a while is no end of it.
            let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
            monitor.streams.inner = Some(rustix::pty::ioctl_tiocgptpeer(&master, flags)?);
            monitor.streams.stdin = Some(rustix::io::fcntl_dupfd_cloexec(&master, 3)?);
            monitor.streams.stdout = Some(master);
        }
        let notes = keeper.running(&running);
        let started = Started { failure: None, pid: running.pid, records: monitor.trace.take(), notes };
        monitor.say(Kind::Started, &started);
        monitor.running = Some(running);
        // Where the command was started is nobody's to keep busy, and its streams are the command's own.
        let null = rustix::fs::open("/dev/null", OFlags::RDWR | OFlags::CLOEXEC, Mode::empty())?;
        rustix::stdio::dup2_stdin(&null)?;
        rustix::stdio::dup2_stdout(&null)?;
        rustix::stdio::dup2_stderr(&null)?;
        Ok(monitor)
    }

    /// The container's standard streams: pipes, since a descriptor of the caller's own could be opened again by
    /// /proc/self/fd with more rights than meant. Detached, nobody reads, and there is nothing to carry.
    fn pipes(&mut self, interactive: bool) -> Result<Stdio, Errno> {
        let null = || rustix::fs::open("/dev/null", OFlags::RDWR | OFlags::CLOEXEC, Mode::empty());
        if self.detached {
            return Ok(Stdio { stdin: null()?, stdout: null()?, stderr: null()? });
        }
        let pipe = || rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC);
        let stdin = if interactive {
            let (theirs, ours) = pipe()?;
            set_nonblocking(&ours)?;
            self.streams.stdin = Some(ours);
            theirs
        } else {
            null()?
        };
        let (ours, stdout) = pipe()?;
        set_nonblocking(&ours)?;
        self.streams.stdout = Some(ours);
        let (ours, stderr) = pipe()?;
        set_nonblocking(&ours)?;
        self.streams.stderr = Some(ours);
        Ok(Stdio { stdin, stdout, stderr })
    }

    fn say(&mut self, kind: Kind, what: &impl Serialize) {
        // Strings, numbers and lists: writing them as JSON cannot fail.
        self.channel.push(kind, &serde_json::to_vec(what).unwrap_or_default());
    }

    /// The event loop, until the first process has ended and its streams are empty.
    fn run(&mut self, signals: &Signals) -> Result<Exit, Errno> {
        let signals = SignalFd::new(signals).map_err(|_| Errno::INVAL)?;
        let mut exit = None;
        let mut slim = false;
        loop {
            if let Some(exit) = exit {
                // What it wrote before its end is still in the pipes; nobody can write more, unless a process of the
                // host's pid namespace holds them.
                self.drain_streams();
                return Ok(exit);
            }
            let sources = self.poll(&signals, (!slim).then_some(SETTLED))?;
            if sources.is_empty() && !slim {
                // It lives on, so it is worth the while to become small: most of the time there is nothing to do.
                slim = true;
                sys::process::slim_down();
            }
            for source in sources {
                match source {
                    Source::Signal => self.forward(&signals),
                    Source::Channel => self.listen(),
                    Source::Stdin => {}
                    Source::Stdout => drop(self.carry(Kind::Stdout)),
                    Source::Stderr => drop(self.carry(Kind::Stderr)),
                    Source::Exit => exit = self.reap()?,
                }
            }
            self.feed();
            self.channel.flush();
        }
    }

    /// Waits until something is to be done, and says what. What has no room to go is not read.
    fn poll(&self, signals: &SignalFd, timeout: Option<Timespec>) -> Result<Vec<Source>, Errno> {
        let mut watched = vec![(Source::Signal, signals.as_fd(), PollFlags::IN)];
        if let Some(running) = &self.running {
            watched.push((Source::Exit, running.pidfd.as_fd(), PollFlags::IN));
        }
        if !self.channel.is_closed() {
            let out = if self.channel.has_output() { PollFlags::OUT } else { PollFlags::empty() };
            watched.push((Source::Channel, self.channel.as_fd(), PollFlags::IN | out));
        }
        for (source, stream) in
            [(Source::Stdout, &self.streams.stdout), (Source::Stderr, &self.streams.stderr)]
        {
            if let Some(stream) = stream.as_ref().filter(|_| !self.channel.is_full()) {
                watched.push((source, stream.as_fd(), PollFlags::IN));
            }
        }
        if let Some(stdin) = self.streams.stdin.as_ref().filter(|_| !self.streams.pending.is_empty()) {
            watched.push((Source::Stdin, stdin.as_fd(), PollFlags::OUT));
        }
        let mut fds: Vec<_> =
            watched.iter().map(|(_, fd, flags)| PollFd::from_borrowed_fd(*fd, *flags)).collect();
        while let Err(errno) = poll(&mut fds, timeout.as_ref()) {
            if errno != Errno::INTR {
                return Err(errno);
            }
        }
        let ready = fds.iter().map(|fd| !fd.revents().is_empty());
        Ok(watched.iter().zip(ready).filter(|(_, ready)| *ready).map(|((source, ..), _)| *source).collect())
    }

    /// A signal to the monitor means the container: at a shutdown everything is asked to end.
    fn forward(&mut self, signals: &SignalFd) {
        while let Ok(Some(signal)) = signals.next() {
            if signal != SIGCHLD && signal != SIGPIPE {
                self.signal(signal);
            }
        }
    }

    fn signal(&self, signal: i32) {
        if let Some(running) = &self.running {
            // ESRCH: it has just ended, which the loop will see.
            let _ = sys::signal::send(&running.pidfd, signal);
        }
    }

    /// What the command says. A command that is gone without a word takes its foreground container with it.
    fn listen(&mut self) {
        self.channel.fill();
        while let Some((kind, payload)) = self.channel.take() {
            match kind {
                Kind::Stdin => self.streams.pending.extend(payload),
                Kind::StdinEnd => self.streams.ended = true,
                Kind::Signal => {
                    if let Ok(bytes) = payload.as_slice().try_into() {
                        self.signal(i32::from_ne_bytes(bytes));
                    }
                }
                Kind::Size => self.resize(&payload),
                // The program learns of it as on the host: by SIGPIPE, or by SIGHUP from its terminal.
                Kind::Unread if self.streams.terminal => self.signal(SIGHUP),
                Kind::Unread if payload == [2] => self.streams.stderr = None,
                Kind::Unread => self.streams.stdout = None,
                Kind::Detach => self.detached = true,
                _ => {}
            }
        }
        if self.channel.is_closed() && !self.detached {
            self.signal(SIGKILL);
            if let Some((terminal, settings)) = self.restore.take() {
                let _ = rustix::termios::tcsetattr(&terminal, OptionalActions::Now, &settings);
            }
        }
        if self.detached {
            self.restore = None;
        }
    }

    fn resize(&self, payload: &[u8]) {
        let (Some(master), [a, b, c, d]) = (&self.streams.stdout, payload) else { return };
        let (rows, columns) = (u16::from_ne_bytes([*a, *b]), u16::from_ne_bytes([*c, *d]));
        if self.streams.terminal {
            let size = Winsize { ws_row: rows, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 };
            let _ = rustix::termios::tcsetwinsize(master, size);
        }
    }

    /// Gives the container what was typed, as far as it takes it.
    fn feed(&mut self) {
        let streams = &mut self.streams;
        let Some(stdin) = &streams.stdin else { return streams.pending.clear() };
        while !streams.pending.is_empty() {
            match rustix::io::write(stdin, &streams.pending) {
                Ok(n) => drop(streams.pending.drain(..n)),
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => return,
                // It has closed its standard input: what is typed from here on is for nobody.
                Err(_) => {
                    streams.stdin = None;
                    return streams.pending.clear();
                }
            }
        }
        if streams.ended {
            // A terminal's end of input is a key, which was typed; a pipe's is its close.
            if !streams.terminal {
                streams.stdin = None;
            }
            streams.ended = false;
        }
    }

    /// Carries what one of its streams has to the command. True while there may be more.
    fn carry(&mut self, kind: Kind) -> bool {
        let stream = if kind == Kind::Stderr { &mut self.streams.stderr } else { &mut self.streams.stdout };
        let Some(fd) = stream else { return false };
        let mut buffer = [0_u8; 32 * 1024];
        match rustix::io::read(&*fd, &mut buffer) {
            Ok(0) => *stream = None,
            Ok(n) => {
                self.channel.push(kind, &buffer[..n]);
                return true;
            }
            Err(Errno::AGAIN | Errno::INTR) => return false,
            Err(_) => *stream = None,
        }
        false
    }

    fn drain_streams(&mut self) {
        for kind in [Kind::Stdout, Kind::Stderr] {
            while self.carry(kind) {
                while self.channel.is_full() && self.wait_for_room().is_ok() {}
            }
        }
    }

    /// Waits until the command has taken some of what is for it.
    fn wait_for_room(&mut self) -> Result<(), Errno> {
        let mut fds = [PollFd::new(&self.channel, PollFlags::OUT)];
        match poll(&mut fds, None) {
            Err(Errno::INTR) => {}
            result => drop(result?),
        }
        self.channel.flush();
        Ok(())
    }

    /// The last words, as far as somebody takes them.
    fn drain(&mut self) -> Result<(), Errno> {
        while self.channel.has_output() {
            self.wait_for_room()?;
        }
        Ok(())
    }

    fn reap(&mut self) -> Result<Option<Exit>, Errno> {
        let Some(running) = &self.running else { return Ok(None) };
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
        Ok(Some(exit))
    }
}

/// What the event loop waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Source {
    Signal,
    Exit,
    Channel,
    Stdout,
    Stderr,
    Stdin,
}

/// A container that has run for so long runs on.
const SETTLED: Timespec = Timespec { tv_sec: 0, tv_nsec: 50_000_000 };

const SIGHUP: i32 = 1;
const SIGKILL: i32 = 9;
const SIGPIPE: i32 = 13;
const SIGCHLD: i32 = 17;

fn set_nonblocking(fd: &OwnedFd) -> Result<(), Errno> {
    let flags = rustix::fs::fcntl_getfl(fd)?;
    rustix::fs::fcntl_setfl(fd, flags | OFlags::NONBLOCK)
}
