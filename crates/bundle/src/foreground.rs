//! A program in the foreground: signals are passed on, a terminal's bytes copied, its exit code becomes ours.

use std::os::fd::{AsFd, OwnedFd};

use runtime::Running;
use rustix::event::{PollFd, PollFlags};
use rustix::io::Errno;
use rustix::process::{WaitId, WaitIdOptions};
use rustix::termios::{OptionalActions, OutputModes, Termios};
use sys::signal::{SignalFd, Signals};

use crate::error::Error;

const SIGWINCH: i32 = 28;
/// Told for our own sake: SIGCHLD, SIGURG (which other runtimes use for themselves), SIGTTIN and SIGTTOU.
const OWN: [i32; 4] = [17, 23, 21, 22];

/// The signals that are waited for from here on; before there is a child that could end.
pub(crate) struct Watch {
    signals: SignalFd,
}

impl Watch {
    /// Begins to keep signals.
    pub(crate) fn begin() -> Result<Self, Error> {
        let all = Signals::all();
        let made = all.block().and_then(|()| SignalFd::new(&all));
        made.map(|signals| Self { signals })
            .map_err(|error| Error::new(format!("signals: {}", step::words(&error))))
    }

    /// Waits for the program's end and gives its exit code: its own, or 128 and the signal that ended it.
    pub(crate) fn until_end(&self, running: &Running) -> Result<u8, Error> {
        let failed =
            |errno: Errno| Error::new(format!("wait for the container: {}", step::words(&errno.into())));
        let mut terminal = running.terminal.as_ref().map(Terminal::new);
        if let Some(terminal) = &terminal {
            terminal.resize();
        }
        loop {
            let mut wanted = vec![
                PollFd::new(&running.pidfd, PollFlags::IN),
                PollFd::from_borrowed_fd(self.signals.as_fd(), PollFlags::IN),
            ];
            if let Some(terminal) = &terminal {
                wanted.push(PollFd::from_borrowed_fd(terminal.master.as_fd(), PollFlags::IN));
                if terminal.reads {
                    wanted.push(PollFd::from_borrowed_fd(terminal.input(), PollFlags::IN));
                }
            }
            match rustix::event::poll(&mut wanted, None) {
                Err(Errno::INTR) => continue,
                polled => polled.map_err(failed)?,
            };
            let ready: Vec<bool> = wanted.iter().map(|fd| !fd.revents().is_empty()).collect();
            if ready[1] {
                while let Ok(Some(signal)) = self.signals.next() {
                    match (signal, &terminal) {
                        (SIGWINCH, Some(terminal)) => terminal.resize(),
                        (signal, _) if OWN.contains(&signal) => {}
                        (signal, _) => drop(sys::signal::send(&running.pidfd, signal)),
                    }
                }
            }
            if let Some(terminal) = &mut terminal {
                if ready[2] {
                    terminal.copy_out();
                }
                if ready.get(3) == Some(&true) {
                    terminal.copy_in();
                }
            }
            if ready[0] {
                break;
            }
        }
        if let Some(terminal) = &mut terminal {
            terminal.drain();
        }
        let status = loop {
            match rustix::process::waitid(WaitId::PidFd(running.pidfd.as_fd()), WaitIdOptions::EXITED) {
                Err(Errno::INTR) => {}
                status => break status.map_err(failed)?,
            }
        };
        let Some(status) = status else { return Err(Error::new("the container's end was not told")) };
        Ok(match (status.exit_status(), status.terminating_signal()) {
            (Some(code), _) => code as u8,
            (_, Some(signal)) => 128 + signal as u8,
            _ => 255,
        })
    }
}

/// The caller's terminal, raw as long as this lives, and the container's.
struct Terminal<'a> {
    master: &'a OwnedFd,
    before: Option<Termios>,
    reads: bool,
}

impl<'a> Terminal<'a> {
    fn new(master: &'a OwnedFd) -> Self {
        let stdin = std::io::stdin();
        let before = rustix::termios::tcgetattr(&stdin).ok();
        if let Some(before) = &before {
            let mut raw = before.clone();
            raw.make_raw();
            // The caller's terminal goes on to turn line feeds into new lines; the container's must not do it too, or
            // what is written to a file would have carriage returns.
            raw.output_modes |= OutputModes::OPOST;
            let _ = rustix::termios::tcsetattr(&stdin, OptionalActions::Now, &raw);
        }
        Self { master, before, reads: true }
    }

    fn input(&self) -> rustix::fd::BorrowedFd<'_> {
        // SAFETY is not at stake: descriptor 0 is the process's own for its whole life.
        rustix::stdio::stdin()
    }

    fn resize(&self) {
        if let Ok(size) = rustix::termios::tcgetwinsize(std::io::stdin()) {
            let _ = rustix::termios::tcsetwinsize(self.master, size);
        }
    }

    /// False at the end.
    fn copy_out(&mut self) -> bool {
        let mut bytes = [0; 8192];
        match rustix::io::read(self.master, &mut bytes) {
            Ok(0) | Err(Errno::IO) => false,
            Ok(count) => write_all(rustix::stdio::stdout(), &bytes[..count]),
            Err(errno) => errno == Errno::INTR,
        }
    }

    fn copy_in(&mut self) {
        let mut bytes = [0; 8192];
        match rustix::io::read(self.input(), &mut bytes) {
            Ok(0) | Err(Errno::IO) => self.reads = false,
            Ok(count) => self.reads = write_all(self.master.as_fd(), &bytes[..count]),
            Err(_) => {}
        }
    }

    /// What the program wrote before it ended.
    fn drain(&mut self) {
        let _ = rustix::fs::fcntl_setfl(self.master, rustix::fs::OFlags::NONBLOCK);
        while self.copy_out() {}
    }
}

impl Drop for Terminal<'_> {
    fn drop(&mut self) {
        if let Some(before) = &self.before {
            let _ = rustix::termios::tcsetattr(std::io::stdin(), OptionalActions::Now, before);
        }
    }
}

fn write_all(to: rustix::fd::BorrowedFd<'_>, mut bytes: &[u8]) -> bool {
    while !bytes.is_empty() {
        match rustix::io::write(to, bytes) {
            Ok(count) => bytes = &bytes[count..],
            Err(Errno::INTR | Errno::AGAIN) => {}
            Err(_) => return false,
        }
    }
    true
}
