//! The command's streams to the port and back, signals to it, its end and that of every orphan.

use std::fs;
use std::io::{self, Read, Write};
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, WaitOptions, WaitStatus};
use step::Failure;
use sys::signal::{SignalFd, Signals};

use super::command::{Started, Streams, size};
use super::put;
use crate::devices::PORT;
use crate::frame::{Frame, Kind, Received, WINDOW};

const STEP: &str = "vm.carry";
const SIGCHLD: i32 = 17;

/// Where the kernel lists ports.
const PORTS: &str = "/sys/class/virtio-ports";
/// How long a port may take to be there. The driver is loaded before it has one: the host is asked, answers in turn, and a
/// worker of the kernel makes the port and later its name (virtio_console.c, handle_control_message). On a host that has no
/// time for its emulator, and on a second processor, that takes longer than all that init does meanwhile.
const ANNOUNCED: Duration = Duration::from_secs(60);
const LOOK: Duration = Duration::from_millis(1);

/// The port to the host.
pub(super) struct Port {
    file: fs::File,
    out: Vec<u8>,
    received: Received,
}

impl Port {
    /// The one with our name.
    pub(super) fn open() -> Result<Self, Failure> {
        let failed = |cause: io::Error| Failure::new("vm.port", PORT, cause);
        let deadline = Instant::now() + ANNOUNCED;
        loop {
            if let Some(path) = Self::find().map_err(failed)? {
                let file = fs::OpenOptions::new().read(true).write(true).open(path).map_err(failed)?;
                return Ok(Self { file, out: Vec::new(), received: Received::default() });
            }
            if Instant::now() >= deadline {
                let reason = format!("is no port of this machine after {} s", ANNOUNCED.as_secs());
                return Err(Failure::because("vm.port", PORT, reason));
            }
            std::thread::sleep(LOOK);
        }
    }

    /// Its device: a port that has its name has its file too.
    fn find() -> io::Result<Option<PathBuf>> {
        for entry in fs::read_dir(PORTS)?.flatten() {
            let name = fs::read_to_string(entry.path().join("name")).unwrap_or_default();
            if name.trim() == PORT {
                return Ok(Some(PathBuf::from("/dev").join(entry.file_name())));
            }
        }
        Ok(None)
    }

    /// Sends what waits, and this, before anything else happens.
    pub(super) fn send_now(&mut self, kind: Kind, body: &[u8]) {
        put(&mut self.out, kind, body);
        let _ = rustix::io::ioctl_fionbio(&self.file, false);
        // There is nobody to tell of a host that does not listen.
        let _ = self.file.write_all(&self.out);
        self.out.clear();
    }

    /// The last frame: when this returns QEMU has it.
    pub(super) fn finish(&mut self, kind: Kind, body: &[u8]) {
        self.send_now(kind, body);
    }
}

/// Everything that is open for the command.
struct Carry<'p> {
    port: &'p mut Port,
    pid: Pid,
    pidfd: OwnedFd,
    terminal: bool,
    input: Option<OwnedFd>,
    output: Option<OwnedFd>,
    error: Option<OwnedFd>,
    /// For the command, from the host.
    typed: Vec<u8>,
    /// The host sends no more.
    closing: bool,
    status: Option<WaitStatus>,
}

/// Carries until the command has ended; its exit code.
pub(super) fn carry(port: &mut Port, started: Started) -> Result<u8, Failure> {
    let failed = |cause: io::Error| Failure::new(STEP, "signals", cause);
    let signals = Signals::all();
    signals.block().map_err(failed)?;
    let signals = SignalFd::new(&signals).map_err(failed)?;
    let clone = |fd: &OwnedFd| fd.try_clone().map_err(|cause| Failure::new(STEP, "the terminal", cause));
    let (terminal, input, output, error) = match started.streams {
        Streams::Pipes { input, output, error } => (false, input, Some(output), Some(error)),
        Streams::Terminal(terminal) => (true, Some(clone(&terminal)?), Some(terminal), None),
    };
    rustix::io::ioctl_fionbio(&port.file, true).map_err(|errno| failed(errno.into()))?;
    let pid = started.pid;
    let pidfd =
        rustix::process::pidfd_open(pid, PidfdFlags::empty()).map_err(|errno| failed(errno.into()))?;
    let (typed, closing, status) = (Vec::new(), false, None);
    let mut all = Carry { port, pid, pidfd, terminal, input, output, error, typed, closing, status };
    // It may have ended before its signal was watched.
    all.reap().and_then(|()| all.carry(&signals)).map_err(|errno| Failure::new(STEP, PORT, errno))?;
    Ok(code(all.status))
}

/// 128 and the signal's number where one ended it.
fn code(status: Option<WaitStatus>) -> u8 {
    let signal = status.and_then(WaitStatus::terminating_signal).map(|signal| 128 + signal);
    let code = signal.or_else(|| status.and_then(WaitStatus::exit_status));
    code.and_then(|code| u8::try_from(code).ok()).unwrap_or(125)
}

impl Carry<'_> {
    fn carry(&mut self, signals: &SignalFd) -> Result<(), Errno> {
        while self.status.is_none() {
            let full = self.port.out.len() >= WINDOW;
            let on = |wanted: bool, flags: PollFlags| if wanted { flags } else { PollFlags::empty() };
            let port = PollFlags::IN | on(!self.port.out.is_empty(), PollFlags::OUT);
            let mut fds = vec![PollFd::new(signals, PollFlags::IN), PollFd::new(&self.port.file, port)];
            let mut kinds = Vec::new();
            for (kind, stream) in [(Kind::Output, &self.output), (Kind::Error, &self.error)] {
                if let (false, Some(stream)) = (full, stream) {
                    fds.push(PollFd::new(stream, PollFlags::IN));
                    kinds.push(kind);
                }
            }
            if let (false, Some(input)) = (self.typed.is_empty(), &self.input) {
                fds.push(PollFd::new(input, PollFlags::OUT));
                kinds.push(Kind::Input);
            }
            match poll(&mut fds, None) {
                Ok(_) | Err(Errno::INTR) => {}
                Err(errno) => return Err(errno),
            }
            let ready: Vec<bool> = fds.iter().map(|fd| !fd.revents().is_empty()).collect();
            drop(fds);
            for (kind, _) in kinds.iter().zip(&ready[2..]).filter(|(_, ready)| **ready) {
                match kind {
                    Kind::Input => self.feed(),
                    kind => drop(self.read(*kind)),
                }
            }
            if ready[1] {
                self.hear()?;
            }
            if ready[0] {
                self.signalled(signals)?;
            }
            self.flush();
        }
        // What it has written before its end.
        for kind in [Kind::Output, Kind::Error] {
            while self.read(kind) {
                if self.port.out.len() >= WINDOW {
                    self.port.send_now(kind, &[]);
                }
            }
        }
        Ok(())
    }

    /// Reads a piece of what the command writes; false where nothing is there.
    fn read(&mut self, kind: Kind) -> bool {
        let stream = if kind == Kind::Output { &mut self.output } else { &mut self.error };
        let Some(open) = stream else { return false };
        let mut buffer = [0; 16 << 10];
        match rustix::io::read(&*open, &mut buffer) {
            Ok(length @ 1..) => {
                put(&mut self.port.out, kind, &buffer[..length]);
                true
            }
            Err(Errno::AGAIN | Errno::INTR) => false,
            // Nobody can write any more; of a terminal that is EIO.
            _ => {
                *stream = None;
                false
            }
        }
    }

    /// Sends what goes without waiting.
    fn flush(&mut self) {
        while !self.port.out.is_empty() {
            match self.port.file.write(&self.port.out) {
                Ok(length @ 1..) => drop(self.port.out.drain(..length)),
                _ => return,
            }
        }
    }

    fn hear(&mut self) -> Result<(), Errno> {
        let mut buffer = [0; 16 << 10];
        match self.port.file.read(&mut buffer) {
            Ok(length) => self.port.received.add(&buffer[..length]),
            Err(_) => return Ok(()),
        }
        while let Ok(Some(frame)) = self.port.received.next() {
            self.obey(&frame);
        }
        Ok(())
    }

    fn obey(&mut self, frame: &Frame) {
        match frame.kind {
            Kind::Input => {
                self.typed.extend_from_slice(&frame.body);
                self.feed();
            }
            Kind::InputEnd => {
                self.closing = true;
                self.feed();
            }
            Kind::Signal => {
                let signal = frame.number().and_then(|number| i32::try_from(number).ok());
                if let (Some(signal), None) = (signal, self.status) {
                    // It may have ended at this moment; a number that is no signal is refused.
                    let _ = sys::signal::send(&self.pidfd, signal);
                }
            }
            Kind::Size => {
                if let ([a, b, c, d], true, Some(terminal)) =
                    (frame.body.as_slice(), self.terminal, &self.output)
                {
                    let size = size(u16::from_le_bytes([*a, *b]), u16::from_le_bytes([*c, *d]));
                    let _ = rustix::termios::tcsetwinsize(terminal, size);
                }
            }
            _ => {}
        }
    }

    /// Gives the command what was typed, and tells the host what it has taken.
    fn feed(&mut self) {
        while let (Some(input), false) = (&self.input, self.typed.is_empty()) {
            match rustix::io::write(input, &self.typed) {
                Ok(length) => {
                    self.typed.drain(..length);
                    put(&mut self.port.out, Kind::Taken, &(length as u32).to_le_bytes());
                }
                Err(Errno::AGAIN | Errno::INTR) => return,
                // Nobody reads it any more.
                Err(_) => {
                    let length = self.typed.len();
                    self.typed.clear();
                    self.input = None;
                    put(&mut self.port.out, Kind::Taken, &(length as u32).to_le_bytes());
                }
            }
        }
        if self.input.is_none() && !self.typed.is_empty() {
            let length = self.typed.len() as u32;
            self.typed.clear();
            put(&mut self.port.out, Kind::Taken, &length.to_le_bytes());
        }
        // A terminal has no end of its own: the user types it.
        if self.closing && !self.terminal && self.typed.is_empty() {
            self.input = None;
        }
    }

    fn signalled(&mut self, signals: &SignalFd) -> Result<(), Errno> {
        let failed = |error: io::Error| Errno::from_io_error(&error).unwrap_or(Errno::IO);
        while let Some(signal) = signals.next().map_err(failed)? {
            if signal == SIGCHLD {
                self.reap()?;
            }
        }
        Ok(())
    }

    /// Takes note of everybody who has ended: orphans come to the first process.
    fn reap(&mut self) -> Result<(), Errno> {
        loop {
            match rustix::process::wait(WaitOptions::NOHANG) {
                Ok(Some((pid, status))) if pid == self.pid => self.status = Some(status),
                Ok(Some(_)) | Err(Errno::INTR) => {}
                Ok(None) | Err(Errno::CHILD) => return Ok(()),
                Err(errno) => return Err(errno),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_that_nobody_saw_end_is_not_a_success() {
        assert_eq!(code(None), 125);
    }
}
