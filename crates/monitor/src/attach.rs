//! The command's side: the user's terminal (or pipes) to the container and back, until it ends or the user leaves.

use std::io::IsTerminal;
use std::os::fd::{AsFd, BorrowedFd};

use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;
use step::Failure;
use sys::signal::{SignalFd, Signals};
use sys::terminal::Raw;

use crate::channel::{Channel, Kind};
use crate::keeper::Ended;
use crate::keyboard::DetachKeys;

/// How an attachment ended.
#[derive(Debug)]
pub enum Attached {
    /// The container ended.
    Ended(Ended),
    /// The user typed the detach keys.
    Detached,
    /// The monitor is gone without a word: it was killed.
    Lost,
}

/// What is attached.
#[derive(Debug, Clone)]
pub struct Options {
    /// The container has a terminal.
    pub terminal: bool,
    /// The user's standard input goes to it.
    pub interactive: bool,
    /// Signals to the command go to it.
    pub forward_signals: bool,
    /// How to leave; with a terminal only.
    pub detach: DetachKeys,
    /// Its output is shown.
    pub stdout: bool,
    /// Its errors are shown.
    pub stderr: bool,
    /// The container does not depend on this attachment: without readers it ends, and the container goes on.
    pub guest: bool,
}

/// Signals that are not for the container: those that stop and continue the command itself, and those that tell the
/// command of its own children and pipes.
const OWN_SIGNALS: [i32; 6] = [SIGCHLD, SIGPIPE, 19, 20, 21, 22];
const SIGHUP: i32 = 1;
const SIGINT: i32 = 2;
const SIGPIPE: i32 = 13;
const SIGTERM: i32 = 15;
const SIGCHLD: i32 = 17;
const SIGWINCH: i32 = 28;
const SIGCONT: i32 = 18;
const SIGURG: i32 = 23;

/// So many interrupts mean that the container does not listen: the command ends, and a foreground container with it.
const IMPATIENT: u32 = 3;

/// Carries everything until the end.
pub fn attach(channel: &mut Channel, options: &Options) -> Result<Attached, Failure> {
    let failed = |errno: Errno| Failure::new("attach", "the terminal", errno);
    let signals = Signals::all_but(&OWN_SIGNALS);
    signals.block().map_err(|error| Failure::new("attach", "signals", error))?;
    let signal_fd = SignalFd::new(&signals).map_err(|error| Failure::new("attach", "signals", error))?;
    let stdin = std::io::stdin();
    let raw = if options.terminal && options.interactive && stdin.is_terminal() {
        Some(Raw::enter(stdin.as_fd()).map_err(failed)?)
    } else {
        None
    };
    let mut session = Session {
        channel,
        options,
        keys: options.detach.clone(),
        typing: options.interactive,
        stdout: options.stdout || options.terminal,
        stderr: options.stderr,
        unread: false,
        interrupts: 0,
    };
    if options.terminal {
        session.send_size();
    }
    let attached = session.run(&signal_fd).map_err(failed);
    drop(raw);
    Signals::none().block().map_err(|error| Failure::new("attach", "signals", error))?;
    attached
}

struct Session<'a> {
    channel: &'a mut Channel,
    options: &'a Options,
    keys: DetachKeys,
    typing: bool,
    stdout: bool,
    stderr: bool,
    /// A reader has gone.
    unread: bool,
    interrupts: u32,
}

impl Session<'_> {
    fn run(&mut self, signals: &SignalFd) -> Result<Attached, Errno> {
        let stdin = std::io::stdin();
        loop {
            // What was received first: at the end it may all be there already.
            if let Some(attached) = self.receive() {
                return Ok(attached);
            }
            let unread = !self.stdout && !self.stderr && !self.typing;
            if self.channel.is_closed() || self.options.guest && self.unread && unread {
                return Ok(Attached::Lost);
            }
            let typing = self.typing && !self.channel.is_full();
            let out = if self.channel.has_output() { PollFlags::OUT } else { PollFlags::empty() };
            let (typed, signalled, spoken) = {
                let mut fds = vec![
                    PollFd::new(signals, PollFlags::IN),
                    PollFd::from_borrowed_fd(self.channel.as_fd(), PollFlags::IN | out),
                ];
                if typing {
                    fds.push(PollFd::new(&stdin, PollFlags::IN));
                }
                match poll(&mut fds, None) {
                    Err(Errno::INTR) => continue,
                    result => drop(result?),
                }
                let ready = |index: usize| fds.get(index).is_some_and(|fd| !fd.revents().is_empty());
                (ready(2), ready(0), ready(1))
            };
            if signalled && self.forward(signals)? {
                return Ok(Attached::Lost);
            }
            if typed && let Some(attached) = self.read(stdin.as_fd())? {
                return Ok(attached);
            }
            self.channel.flush();
            if spoken {
                self.channel.fill();
            }
        }
    }

    fn receive(&mut self) -> Option<Attached> {
        while let Some((kind, payload)) = self.channel.take() {
            match kind {
                Kind::Stdout if self.stdout => {
                    self.stdout = write_all(std::io::stdout().as_fd(), &payload);
                    if !self.stdout {
                        self.unread = true;
                        self.channel.push(Kind::Unread, &[1]);
                    }
                }
                Kind::Stderr if self.stderr => {
                    self.stderr = write_all(std::io::stderr().as_fd(), &payload);
                    if !self.stderr {
                        self.unread = true;
                        self.channel.push(Kind::Unread, &[2]);
                    }
                }
                Kind::Ended => return serde_json::from_slice(&payload).ok().map(Attached::Ended),
                _ => {}
            }
        }
        None
    }

    /// Takes what was typed; says so when that ends the attachment.
    fn read(&mut self, stdin: BorrowedFd<'_>) -> Result<Option<Attached>, Errno> {
        let mut buffer = [0_u8; 16 * 1024];
        let read = match rustix::io::read(stdin, &mut buffer) {
            Err(Errno::INTR | Errno::AGAIN) => return Ok(None),
            // EIO: the terminal is gone, or this is a background process of it.
            Err(Errno::IO) => 0,
            result => result?,
        };
        if !self.options.terminal {
            if read == 0 {
                self.typing = false;
                self.channel.push(Kind::StdinEnd, &[]);
            } else {
                self.channel.push(Kind::Stdin, &buffer[..read]);
            }
            return Ok(None);
        }
        // A raw terminal has no end of input but its own: the window was closed.
        if read == 0 {
            return Ok(Some(Attached::Lost));
        }
        let mut typed = Vec::with_capacity(read);
        let detached = self.keys.filter(&buffer[..read], &mut typed);
        if !typed.is_empty() {
            self.channel.push(Kind::Stdin, &typed);
        }
        if detached {
            self.channel.push(Kind::Detach, &[]);
        }
        Ok(detached.then_some(Attached::Detached))
    }

    /// True when the user has lost patience, or is gone.
    fn forward(&mut self, signals: &SignalFd) -> Result<bool, Errno> {
        while let Some(signal) = signals.next().map_err(|_| Errno::IO)? {
            match signal {
                SIGWINCH if self.options.terminal => self.send_size(),
                SIGCONT | SIGURG => {}
                _ if self.options.forward_signals => self.channel.push(Kind::Signal, &signal.to_ne_bytes()),
                _ => {}
            }
            // A hang-up because the user's terminal is gone; else it was sent, and is the container's alone.
            if signal == SIGHUP
                && self.options.terminal
                && rustix::termios::tcgetattr(std::io::stdin()).is_err()
            {
                return Ok(true);
            }
            if signal == SIGINT || signal == SIGTERM {
                self.interrupts += 1;
                if self.interrupts >= IMPATIENT || !self.options.forward_signals {
                    return Ok(true);
                }
            }
        }
        Ok(false)
    }

    fn send_size(&mut self) {
        if let Ok(size) = rustix::termios::tcgetwinsize(std::io::stdout())
            .or_else(|_| rustix::termios::tcgetwinsize(std::io::stdin()))
        {
            let mut payload = [0_u8; 4];
            payload[..2].copy_from_slice(&size.ws_row.to_ne_bytes());
            payload[2..].copy_from_slice(&size.ws_col.to_ne_bytes());
            self.channel.push(Kind::Size, &payload);
        }
    }
}

/// Writes it all, waiting where the reader is slow. False once nobody reads.
fn write_all(fd: BorrowedFd<'_>, mut bytes: &[u8]) -> bool {
    while !bytes.is_empty() {
        match rustix::io::write(fd, bytes) {
            Ok(n) => bytes = &bytes[n..],
            Err(Errno::INTR) => {}
            Err(Errno::AGAIN) => {
                let mut fds = [PollFd::from_borrowed_fd(fd, PollFlags::OUT)];
                if poll(&mut fds, None).is_err_and(|errno| errno != Errno::INTR) {
                    return false;
                }
            }
            Err(_) => return false,
        }
    }
    true
}
