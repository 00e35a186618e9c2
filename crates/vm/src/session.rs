//! The host's side of a machine that runs: the user's streams, terminal and signals to the guest and back, until the
//! command has ended and QEMU with it.

use std::collections::VecDeque;
use std::io::{self, IsTerminal, Read, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::process::ExitStatus;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;
use step::Failure;
use sys::signal::{SignalFd, Signals};
use sys::terminal::Raw;

use crate::frame::{self, Frame, Kind, Received};
use crate::machine::Machine;
use crate::settings::Refusal;
use crate::timings::{Notes, Point};

const STEP: &str = "vm.run";

/// Signals that are not for the guest: those that stop and continue the command itself, and those that tell it of its
/// own children and pipes.
const OWN_SIGNALS: [i32; 5] = [SIGPIPE, 19, 20, 21, 22];
const SIGPIPE: i32 = 13;
const SIGCHLD: i32 = 17;
const SIGCONT: i32 = 18;
const SIGURG: i32 = 23;
const SIGWINCH: i32 = 28;
/// HUP, INT, QUIT, TERM.
const ENDING: [i32; 4] = [1, 2, 3, 15];
/// So many of them mean that the guest does not listen.
const IMPATIENT: u32 = 3;

/// How long a guest may take to power off once it has said that its command has ended.
const PATIENCE: Duration = Duration::from_secs(10);

/// What is kept of the console and of QEMU's errors.
const KEPT: usize = 16 << 10;

/// What a pipe takes at least when poll(2) says that it takes something: PIPE_BUF, pipe(7).
const PIECE: usize = 4096;

/// How it ended.
#[derive(Debug)]
pub struct Ended {
    /// The command's exit code: its own, 128 and the signal's number, 127, 126, or 125 for what is not its fault.
    pub code: u8,
    /// Why there was no command.
    pub failure: Option<Failure>,
    /// What happened when.
    pub notes: Notes,
}

/// The terminal's rows and columns, where one of the standard streams is one.
#[must_use]
pub fn terminal_size() -> Option<(u16, u16)> {
    let (stdin, stdout) = (io::stdin(), io::stdout());
    let size = |fd: BorrowedFd<'_>| rustix::termios::tcgetwinsize(fd).ok();
    let size = size(stdout.as_fd()).or_else(|| size(stdin.as_fd()))?;
    (size.ws_row > 0 && size.ws_col > 0).then_some((size.ws_row, size.ws_col))
}

/// The user's three streams, and what is on its way.
struct Session {
    machine: Machine,
    terminal: bool,
    received: Received,
    /// To the guest.
    sending: VecDeque<u8>,
    /// To the user.
    out: VecDeque<u8>,
    err: VecDeque<u8>,
    /// Input that the guest has not acknowledged.
    untaken: usize,
    typing: bool,
    port_open: bool,
    console_open: bool,
    errors_open: bool,
    monitor_open: bool,
    console: Vec<u8>,
    errors: Vec<u8>,
    interrupts: u32,
    /// The user's own signal ended it.
    killed: Option<i32>,
    /// The command's end, and when it was told.
    result: Option<(u8, Option<Failure>, Instant)>,
    status: Option<ExitStatus>,
}

impl Machine {
    /// Carries everything until the end.
    ///
    /// # Errors
    /// The host's side failed. The machine is gone then.
    pub fn run(self, interactive: bool, terminal: bool) -> Result<Ended, Failure> {
        let failed = |cause: io::Error| Failure::new(STEP, "signals", cause);
        let signals = Signals::all_but(&OWN_SIGNALS);
        signals.block().map_err(failed)?;
        let signal_fd = SignalFd::new(&signals).map_err(failed)?;
        let stdin = io::stdin();
        let raw = if terminal && interactive && stdin.is_terminal() {
            Some(Raw::enter(stdin.as_fd()).map_err(|errno| Failure::new(STEP, "the terminal", errno))?)
        } else {
            None
        };
        let mut session = Session {
            machine: self,
            terminal,
            received: Received::default(),
            sending: VecDeque::new(),
            out: VecDeque::new(),
            err: VecDeque::new(),
            untaken: 0,
            typing: interactive,
            port_open: true,
            console_open: true,
            errors_open: true,
            monitor_open: true,
            console: Vec::new(),
            errors: Vec::new(),
            interrupts: 0,
            killed: None,
            result: None,
            status: None,
        };
        if !interactive {
            frame::put_to(&mut session.sending, Kind::InputEnd, &[]);
        }
        let done = session.carry(&signal_fd);
        drop(raw);
        Signals::none().block().map_err(failed)?;
        done.map_err(|cause| Failure::new(STEP, "the machine's port", cause))?;
        Ok(session.ended())
    }
}

impl Session {
    fn carry(&mut self, signals: &SignalFd) -> io::Result<()> {
        let (stdin, stdout, stderr) = (io::stdin(), io::stdout(), io::stderr());
        while !self.is_over() {
            let reading = self.out.len() + self.err.len() < frame::WINDOW;
            let flags = |read: bool, write: bool| {
                let read = if read { PollFlags::IN } else { PollFlags::empty() };
                if write { read | PollFlags::OUT } else { read }
            };
            let watched = [
                (true, signals.as_fd(), PollFlags::IN),
                (self.port_open, self.machine.port.as_fd(), flags(reading, !self.sending.is_empty())),
                (self.console_open, self.machine.console.as_fd(), PollFlags::IN),
                (self.errors_open, self.machine.errors.as_fd(), PollFlags::IN),
                (self.monitor_open, self.machine.monitor.as_fd(), PollFlags::IN),
                (self.typing && self.untaken < frame::WINDOW, stdin.as_fd(), PollFlags::IN),
                (!self.out.is_empty(), stdout.as_fd(), PollFlags::OUT),
                (!self.err.is_empty(), stderr.as_fd(), PollFlags::OUT),
            ];
            let ready = wait(&watched, self.patience())?;
            if ready[0] {
                self.signalled(signals)?;
            }
            if ready[1] {
                self.port(reading)?;
            }
            if ready[2] {
                self.console_open = keep(&mut self.machine.console, &mut self.console);
            }
            if ready[3] {
                let mut errors = std::fs::File::from(self.machine.errors.try_clone()?);
                self.errors_open = keep(&mut errors, &mut self.errors);
            }
            if ready[4] {
                self.monitor();
            }
            if ready[5] {
                self.typed(stdin.as_fd());
            }
            if ready[6] {
                write_piece(&mut self.out, stdout.as_fd());
            }
            if ready[7] {
                write_piece(&mut self.err, stderr.as_fd());
            }
            self.reap()?;
        }
        Ok(())
    }

    /// QEMU has ended, all that it sent was read and shown.
    fn is_over(&self) -> bool {
        let read = !self.port_open && !self.errors_open && !self.console_open;
        self.status.is_some() && self.out.is_empty() && self.err.is_empty() && read
    }

    /// How long nothing needs to happen.
    fn patience(&self) -> Option<Duration> {
        let (_, _, since) = self.result.as_ref()?;
        (self.status.is_none()).then(|| PATIENCE.saturating_sub(since.elapsed()))
    }

    fn now(&self) -> f64 {
        self.machine.began.elapsed().as_secs_f64()
    }

    /// Takes note of QEMU's end; ends it where a guest does not power off.
    fn reap(&mut self) -> io::Result<()> {
        if self.status.is_some() {
            return Ok(());
        }
        if self.result.as_ref().is_some_and(|(_, _, since)| since.elapsed() > PATIENCE) {
            self.machine.qemu.0.kill()?;
        }
        self.status = self.machine.qemu.0.try_wait()?;
        if self.status.is_some() {
            self.machine.notes.ended = Some(self.now());
        }
        Ok(())
    }

    fn signalled(&mut self, signals: &SignalFd) -> io::Result<()> {
        while let Some(signal) = signals.next()? {
            match signal {
                // It may be QEMU: looked at after every turn.
                SIGCHLD | SIGCONT | SIGURG => {}
                SIGWINCH => {
                    if let Some((rows, columns)) = terminal_size().filter(|_| self.terminal) {
                        let body = [rows.to_le_bytes(), columns.to_le_bytes()].concat();
                        frame::put_to(&mut self.sending, Kind::Size, &body);
                    }
                }
                signal => {
                    let ending = ENDING.contains(&signal);
                    self.interrupts += u32::from(ending);
                    let begun = self.machine.notes.marks.iter().any(|(mark, _)| mark.point == Point::Command);
                    if ending && (!begun || self.interrupts >= IMPATIENT) && self.result.is_none() {
                        self.killed = Some(signal);
                        self.machine.qemu.0.kill()?;
                    } else {
                        frame::put_to(&mut self.sending, Kind::Signal, &(signal as u32).to_le_bytes());
                    }
                }
            }
        }
        Ok(())
    }

    fn port(&mut self, reading: bool) -> io::Result<()> {
        if !self.sending.is_empty() {
            let (piece, _) = self.sending.as_slices();
            match self.machine.port.write(piece) {
                Ok(length) => drop(self.sending.drain(..length)),
                Err(error) if passes(&error) => {}
                // QEMU has gone: what it has sent is still to be read.
                Err(_) => self.sending.clear(),
            }
        }
        if !reading {
            return Ok(());
        }
        let mut buffer = [0; 32 << 10];
        match self.machine.port.read(&mut buffer) {
            Ok(0) => self.port_open = false,
            Ok(length) => {
                self.received.add(&buffer[..length]);
                while let Some(frame) = self.received.next()? {
                    self.heard(frame);
                }
            }
            Err(error) if passes(&error) => {}
            Err(_) => self.port_open = false,
        }
        Ok(())
    }

    fn heard(&mut self, frame: Frame) {
        let now = self.now();
        let number = frame.number();
        match frame.kind {
            Kind::Mark => {
                if let Ok(mark) = serde_json::from_slice(&frame.body) {
                    self.machine.notes.marks.push((mark, now));
                }
            }
            Kind::Output | Kind::Error => {
                self.machine.notes.output.get_or_insert(now);
                let to = if frame.kind == Kind::Output { &mut self.out } else { &mut self.err };
                to.extend(frame.body);
            }
            Kind::Taken => {
                self.untaken = self.untaken.saturating_sub(number.unwrap_or(0) as usize);
            }
            Kind::Exit => {
                let code = number.and_then(|code| u8::try_from(code).ok()).unwrap_or(125);
                self.result.get_or_insert((code, None, Instant::now()));
            }
            Kind::Failed => {
                let refusal: Option<Refusal> = serde_json::from_slice(&frame.body).ok();
                let (code, failure) = refusal.map_or((125, None), |told| (told.code, Some(told.failure)));
                self.result.get_or_insert((code, failure, Instant::now()));
            }
            // The host's own.
            Kind::Input | Kind::InputEnd | Kind::Signal | Kind::Size => {}
        }
    }

    fn monitor(&mut self) {
        let mut buffer = [0; 4096];
        match self.machine.monitor.read(&mut buffer) {
            Ok(1..) => {
                let now = self.now();
                self.machine.notes.greeted.get_or_insert(now);
            }
            Err(error) if passes(&error) => {}
            _ => self.monitor_open = false,
        }
    }

    fn typed(&mut self, stdin: BorrowedFd<'_>) {
        let mut buffer = [0; 16 << 10];
        let room = (frame::WINDOW - self.untaken).min(buffer.len());
        match rustix::io::read(stdin, &mut buffer[..room]) {
            Ok(0) | Err(Errno::IO) => {
                self.typing = false;
                frame::put_to(&mut self.sending, Kind::InputEnd, &[]);
            }
            Ok(length) => {
                self.untaken += length;
                frame::put_to(&mut self.sending, Kind::Input, &buffer[..length]);
            }
            Err(Errno::INTR | Errno::AGAIN) => {}
            Err(_) => self.typing = false,
        }
    }

    fn ended(self) -> Ended {
        let notes = self.machine.notes.clone();
        if let Some((code, failure, _)) = self.result {
            return Ended { code, failure, notes };
        }
        if let Some(signal) = self.killed {
            return Ended { code: 128 + signal as u8, failure: None, notes };
        }
        let daemons = self.machine.daemons.iter().flat_map(|daemon| daemon.errors());
        let errors: Vec<u8> = self.errors.iter().copied().chain(daemons).collect();
        let failure = lost(&self.console, &errors, self.status);
        Ended { code: 125, failure: Some(failure), notes }
    }
}

/// A machine that ended without its command's end: the last words of QEMU or of the kernel.
fn lost(console: &[u8], errors: &[u8], status: Option<ExitStatus>) -> Failure {
    let last = |bytes: &[u8]| {
        let text = String::from_utf8_lossy(bytes).into_owned();
        let line = text.lines().map(str::trim).rfind(|line| !line.is_empty())?;
        Some(line.to_owned())
    };
    let panic = String::from_utf8_lossy(console)
        .lines()
        .find_map(|line| line.find("Kernel panic").map(|at| line[at..].trim().to_owned()));
    if let Some(panic) = panic {
        let failure = Failure::because(STEP, "the guest", panic.clone());
        let memory = ["memory", "rootfs", "init"].iter().any(|word| panic.to_lowercase().contains(word));
        return if memory {
            failure.hint("it may have too little memory: give it more with --memory")
        } else {
            failure
        };
    }
    let ended = status.map_or_else(String::new, |status| format!(" ({status})"));
    match (last(errors), last(console)) {
        (Some(line), _) => {
            let line = line.strip_prefix("qemu-system-x86_64: ").unwrap_or(&line).to_owned();
            let failure = Failure::because(STEP, "QEMU", format!("{line}{ended}"));
            if line.contains("memory") {
                failure.hint("the host has too little memory free")
            } else {
                failure
            }
        }
        (None, Some(line)) => {
            Failure::because(STEP, "the machine", format!("ended before its command; its last words: {line}"))
        }
        (None, None) => Failure::because(STEP, "the machine", format!("ended before its command{ended}"))
            .hint("a kernel without a serial console says nothing; is it one for this processor?"),
    }
}

/// Waits until one of the wanted is ready; which are.
fn wait(watched: &[(bool, BorrowedFd<'_>, PollFlags)], patience: Option<Duration>) -> io::Result<Vec<bool>> {
    let wanted: Vec<usize> = (0..watched.len()).filter(|index| watched[*index].0).collect();
    let mut fds: Vec<PollFd<'_>> =
        wanted.iter().map(|index| PollFd::from_borrowed_fd(watched[*index].1, watched[*index].2)).collect();
    let timeout = patience.map(|time| rustix::event::Timespec {
        tv_sec: time.as_secs() as i64,
        tv_nsec: i64::from(time.subsec_nanos()),
    });
    match poll(&mut fds, timeout.as_ref()) {
        Ok(_) | Err(Errno::INTR) => {}
        Err(errno) => return Err(errno.into()),
    }
    let mut ready = vec![false; watched.len()];
    for (index, fd) in wanted.into_iter().zip(&fds) {
        ready[index] = !fd.revents().is_empty();
    }
    Ok(ready)
}

fn passes(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted)
}

/// Reads what is there and keeps the end of it; false where there will be no more.
fn keep(from: &mut impl Read, kept: &mut Vec<u8>) -> bool {
    let mut buffer = [0; 4096];
    match from.read(&mut buffer) {
        Ok(0) => false,
        Ok(length) => {
            kept.extend_from_slice(&buffer[..length]);
            let excess = kept.len().saturating_sub(KEPT);
            drop(kept.drain(..excess));
            true
        }
        Err(error) => passes(&error),
    }
}

/// Writes no more than a pipe that is ready takes without waiting. Who reads no more wants no more.
fn write_piece(from: &mut VecDeque<u8>, to: BorrowedFd<'_>) {
    let (piece, _) = from.as_slices();
    let piece = &piece[..piece.len().min(PIECE)];
    match rustix::io::write(to, piece) {
        Ok(length) => drop(from.drain(..length)),
        Err(Errno::INTR | Errno::AGAIN) => {}
        Err(_) => from.clear(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lost_machine_is_told_by_its_last_words() {
        let told = |console: &[u8], errors: &[u8]| lost(console, errors, None);
        let panic =
            told(b"[ 1.0] Kernel panic - not syncing: System is deadlocked on memory\n[ 1.1] more", b"");
        assert!(panic.cause().starts_with("Kernel panic") && panic.hint.is_some(), "{panic}");
        let qemu =
            told(b"", b"qemu-system-x86_64: cannot set up guest memory 'ram': Cannot allocate memory\n");
        assert_eq!(qemu.cause(), "cannot set up guest memory 'ram': Cannot allocate memory");
        assert!(qemu.hint.is_some());
        assert!(told(b"early\nlast\r\n\n", b"").cause().ends_with("last words: last"));
        assert!(told(b"", b"").hint.is_some());
    }
}
