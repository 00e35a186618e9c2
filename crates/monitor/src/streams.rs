//! The ends of a container's streams that stay with its monitor.

use std::os::fd::OwnedFd;

use runtime::Stdio;
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use rustix::pty::OpenptFlags;
use rustix::termios::Winsize;

use crate::channel::Kind;

/// The streams.
#[derive(Debug, Default)]
pub(crate) struct Streams {
    pub(crate) stdin: Option<OwnedFd>,
    pub(crate) stdout: Option<OwnedFd>,
    pub(crate) stderr: Option<OwnedFd>,
    /// One descriptor for both directions, in `stdin` and `stdout`.
    pub(crate) terminal: bool,
    /// The terminal's inner end.
    inner: Option<OwnedFd>,
    /// Typed and not yet taken.
    pub(crate) pending: Vec<u8>,
    /// No more will be typed.
    pub(crate) ended: bool,
}

/// What was read from one of them.
pub(crate) enum Carried {
    /// So many bytes; there may be more.
    Bytes(usize),
    /// Nothing, for now or for ever.
    Nothing,
}

impl Streams {
    /// None yet.
    pub(crate) fn new(terminal: bool) -> Self {
        Self { terminal, ..Self::default() }
    }

    /// The container's standard streams: pipes, since a descriptor of the caller's own could be opened again by
    /// /proc/self/fd with more rights than meant. `named` are the output's where the container outlives a monitor:
    /// ours and the container's end, for standard output and standard error.
    pub(crate) fn pipes(
        &mut self,
        interactive: bool,
        named: Option<[(OwnedFd, OwnedFd); 2]>,
    ) -> Result<Stdio, Errno> {
        let pipe = || rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC);
        let stdin = if interactive {
            let (theirs, ours) = pipe()?;
            set_nonblocking(&ours)?;
            self.stdin = Some(ours);
            theirs
        } else {
            null()?
        };
        let [(out, stdout), (err, stderr)] = match named {
            Some(named) => named,
            None => [pipe()?, pipe()?],
        };
        set_nonblocking(&out)?;
        set_nonblocking(&err)?;
        (self.stdout, self.stderr) = (Some(out), Some(err));
        Ok(Stdio { stdin, stdout, stderr })
    }

    /// The outer end of its terminal.
    pub(crate) fn take_terminal(&mut self, master: OwnedFd) -> Result<(), Errno> {
        set_nonblocking(&master)?;
        // Held open, so that a program that closes its terminal for a while is no end of it.
        let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
        self.inner = Some(rustix::pty::ioctl_tiocgptpeer(&master, flags)?);
        self.stdin = Some(rustix::io::fcntl_dupfd_cloexec(&master, 3)?);
        self.stdout = Some(master);
        Ok(())
    }

    /// Gives the terminal a size, rows and columns, 16 bits each: which, where it has one and took it.
    pub(crate) fn resize(&self, payload: &[u8]) -> Option<(u16, u16)> {
        let (Some(master), [a, b, c, d]) = (self.stdout.as_ref().filter(|_| self.terminal), payload) else {
            return None;
        };
        let (rows, columns) = (u16::from_ne_bytes([*a, *b]), u16::from_ne_bytes([*c, *d]));
        let size = Winsize { ws_row: rows, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 };
        rustix::termios::tcsetwinsize(master, size).ok()?;
        Some((rows, columns))
    }

    /// Gives the container what was typed, as far as it takes it.
    pub(crate) fn feed(&mut self) {
        let Some(stdin) = &self.stdin else { return self.pending.clear() };
        while !self.pending.is_empty() {
            match rustix::io::write(stdin, &self.pending) {
                Ok(n) => drop(self.pending.drain(..n)),
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => return,
                // It has closed its standard input: what is typed from here on is for nobody.
                Err(_) => {
                    self.stdin = None;
                    return self.pending.clear();
                }
            }
        }
        if self.ended {
            // A terminal's end of input is a key, which was typed; a pipe's is its close.
            if !self.terminal {
                self.stdin = None;
            }
            self.ended = false;
        }
    }

    /// Reads what one of its streams has.
    pub(crate) fn read(&mut self, kind: Kind, buffer: &mut [u8]) -> Carried {
        let stream = if kind == Kind::Stderr { &mut self.stderr } else { &mut self.stdout };
        let Some(fd) = stream else { return Carried::Nothing };
        match rustix::io::read(&*fd, buffer) {
            Ok(n) if n > 0 => return Carried::Bytes(n),
            Err(Errno::AGAIN | Errno::INTR) => {}
            Ok(_) | Err(_) => *stream = None,
        }
        Carried::Nothing
    }
}

/// The descriptor for nothing.
pub(crate) fn null() -> Result<OwnedFd, Errno> {
    rustix::fs::open("/dev/null", OFlags::RDWR | OFlags::CLOEXEC, Mode::empty())
}

fn set_nonblocking(fd: &OwnedFd) -> Result<(), Errno> {
    let flags = rustix::fs::fcntl_getfl(fd)?;
    rustix::fs::fcntl_setfl(fd, flags | OFlags::NONBLOCK)
}
