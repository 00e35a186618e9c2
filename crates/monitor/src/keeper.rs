//! What a monitor is given, what it says, and what its keeper does at the turns of a container's life.

use std::os::fd::{BorrowedFd, OwnedFd};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use runtime::{Plan, Running};
use rustix::event::PollFlags;
use rustix::termios::Termios;
use serde::{Deserialize, Serialize};
use step::{Failure, Record, Trace};

/// What a monitor is made for.
#[derive(Debug)]
pub struct Job {
    /// What to launch.
    pub plan: Plan,
    /// The container has a terminal.
    pub terminal: bool,
    /// Its standard input stays open.
    pub interactive: bool,
    /// Its standard input is closed when the first who typed has no more to type.
    pub stdin_once: bool,
    /// It ends with the command.
    pub foreground: bool,
    /// The command reads what it prints.
    pub reading: bool,
    /// Its directory, where further commands come to the monitor; none: nobody does.
    pub socket: Option<PathBuf>,
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

    /// From a status of wait(2).
    pub(crate) fn from_status(status: i32) -> Self {
        match status & 0x7f {
            0 => Self::Code(status >> 8 & 0xff),
            signal => Self::Signal(signal),
        }
    }
}

/// A container that lost its monitor.
#[derive(Debug)]
pub struct Orphan {
    /// Its first process.
    pub pid: i32,
    /// The same, opened while it was known to be that.
    pub pidfd: OwnedFd,
    /// Our ends of its standard output and standard error, where it can still be heard.
    pub output: [Option<OwnedFd>; 2],
    /// Its directory.
    pub socket: PathBuf,
}

/// A stream that a container prints to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stream {
    /// Standard output, or the terminal.
    Stdout,
    /// Standard error.
    Stderr,
}

/// What the engine does for its container at the turns of its life, inside of the monitor.
pub trait Keeper {
    /// Its first process exists.
    fn cloned(&mut self, pid: i32) -> Result<(), Failure>;
    /// Its program runs: what can only be seen now, and what the user should be told of it.
    fn running(&mut self, running: &mut Running) -> Vec<Note>;
    /// It ended: to be recorded, while its control groups still tell what it used. None: nobody saw how.
    fn ended(&mut self, exit: Option<Exit>) -> Vec<Note>;
    /// It could not be started: nothing of this start stays.
    fn abandon(&mut self, failure: &Failure, trace: &mut Trace);
    /// Takes down whatever it left that others could stumble over; the steps of it go into the trace.
    fn clean(&mut self, trace: &mut Trace);
    /// Takes down the rest, when everybody was told.
    fn finish(&mut self, trace: &mut Trace);

    /// The output's pipes, ours and the container's, where they have names and so outlive the monitor.
    fn named_pipes(&mut self) -> Result<Option<[(OwnedFd, OwnedFd); 2]>, Failure> {
        Ok(None)
    }
    /// It printed this.
    fn printed(&mut self, stream: Stream, bytes: &[u8]) {
        let _ = (stream, bytes);
    }
    /// When it wants its turn at the latest, while the container runs. None: whenever there is something for it.
    fn due(&self) -> Option<Instant> {
        None
    }
    /// What it waits for besides.
    fn waits_for(&self) -> Option<(BorrowedFd<'_>, PollFlags)> {
        None
    }
    /// Its turn: it is due, or what it waits for is ready. Gives what those who asked are told by
    /// [`Kind::Health`](crate::Kind::Health). It must not wait for anything.
    fn turn(&mut self) -> Option<Vec<u8>> {
        None
    }
    /// Readable when somebody in the container asks for a name, or somebody answers; none where nobody there can ask.
    fn names(&self) -> Option<BorrowedFd<'_>> {
        None
    }
    /// It is: whoever can be answered is. It must not wait for anything.
    fn serve_names(&mut self) {}
    /// Somebody asks for a probe of the container's health right now.
    fn asked(&mut self) {}
    /// A child of the monitor's has ended, which may be one of the keeper's.
    fn child_ended(&mut self) {}
    /// The command that started it has left: it lives on by itself.
    fn left_alone(&mut self) {}
    /// Its terminal has another size.
    fn resized(&mut self, rows: u16, columns: u16) {
        let _ = (rows, columns);
    }
    /// The user wants it ended, and not started again.
    fn halted(&mut self) {}
    /// After what time it is to be started again; asked after `ended`. None: it stays as it is.
    fn again(&mut self) -> Option<Duration> {
        None
    }
    /// Takes down what is left of the last start, and makes anew what the next one needs.
    fn renew(&mut self, trace: &mut Trace) -> Result<Plan, Failure> {
        let _ = trace;
        Err(Failure::because("monitor.again", "", "it is not started again"))
    }
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
    /// Code or signal; none where nobody saw it.
    pub exit: Option<Exit>,
    /// What the user should know.
    pub notes: Vec<Note>,
    /// It will be started again.
    pub again: bool,
}
