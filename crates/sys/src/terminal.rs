//! The user's terminal in raw mode: what is typed goes on as it is typed.

use std::os::fd::{BorrowedFd, OwnedFd};

use rustix::io::Errno;
use rustix::termios::{OptionalActions, Termios};

/// A terminal in raw mode, put right again when this goes.
#[derive(Debug)]
pub struct Raw {
    terminal: OwnedFd,
    before: Termios,
}

impl Raw {
    /// From now on it is raw.
    ///
    /// # Errors
    /// It is no terminal; the kernel's.
    pub fn enter(terminal: BorrowedFd<'_>) -> Result<Self, Errno> {
        let before = rustix::termios::tcgetattr(terminal)?;
        let mut raw = before.clone();
        raw.make_raw();
        rustix::termios::tcsetattr(terminal, OptionalActions::Now, &raw)?;
        Ok(Self { terminal: rustix::io::fcntl_dupfd_cloexec(terminal, 3)?, before })
    }
}

impl Drop for Raw {
    fn drop(&mut self) {
        let _ = rustix::termios::tcsetattr(&self.terminal, OptionalActions::Now, &self.before);
    }
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsFd;

    use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
    use rustix::termios::{LocalModes, tcgetattr};

    use super::*;

    #[test]
    fn a_terminal_is_raw_as_long_as_it_is_held() {
        let leader = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
        grantpt(&leader).unwrap();
        unlockpt(&leader).unwrap();
        let name = ptsname(&leader, Vec::new()).unwrap();
        let flags = rustix::fs::OFlags::RDWR | rustix::fs::OFlags::NOCTTY;
        let terminal = rustix::fs::open(&name, flags, rustix::fs::Mode::empty()).unwrap();
        let echoes = || tcgetattr(&terminal).unwrap().local_modes.contains(LocalModes::ECHO);
        assert!(echoes());
        let raw = Raw::enter(terminal.as_fd()).unwrap();
        assert!(!echoes());
        drop(raw);
        assert!(echoes());
        let file = std::fs::File::open("/proc/self/stat").unwrap();
        assert_eq!(Raw::enter(file.as_fd()).unwrap_err(), Errno::NOTTY);
    }
}
