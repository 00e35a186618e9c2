//! The container's terminal: a pair from its own devpts, so that its name and /dev/console are right inside.

use std::borrow::Cow;
use std::os::fd::OwnedFd;
use std::path::Path;

use rustix::fs::{Gid, Mode, OFlags, Uid};
use rustix::io::Errno;
use rustix::pty::OpenptFlags;
use rustix::termios::{OptionalActions, OutputModes, Winsize};
use step::{Context, Failure, Shell, Step, Terminal};

use super::mounts::{attach, clone};
use super::root;
use crate::path::{self, Kind};

/// Terminal steps.
#[derive(Debug)]
pub(crate) enum Console {
    /// Opens a pair; and puts its inner end on /dev/console where it is the container's first process's.
    Open { owner: u32, rows: u16, columns: u16, on_console: bool, plain: bool },
    /// The inner end becomes the controlling terminal and descriptors 0, 1, 2.
    Take,
}

impl Step for Console {
    fn id(&self) -> &'static str {
        match self {
            Self::Open { .. } => "terminal.open",
            Self::Take => "terminal.take",
        }
    }

    fn call(&self) -> String {
        match self {
            Self::Open { rows, columns, on_console, .. } => format!(
                "open(\"/dev/pts/ptmx\"), ioctl(TIOCSPTLCK, 0), ioctl(TIOCGPTPEER), ioctl(TIOCSWINSZ, {rows}x{columns}){}",
                if *on_console { ", move_mount(\"/dev/console\")" } else { "" }
            ),
            Self::Take => "ioctl(TIOCSCTTY), dup2 to 0, 1, 2".into(),
        }
    }

    fn why(&self) -> Cow<'static, str> {
        Cow::Borrowed(match self {
            Self::Open { .. } => "asked for: -t, a terminal whose other end the monitor keeps",
            Self::Take => "job control and Ctrl-C work inside",
        })
    }

    fn shell(&self) -> Shell {
        Shell::Nothing("the script's own terminal goes on to be used")
    }

    fn perform(&self, context: &mut Context) -> Result<(), Failure> {
        match self {
            Self::Open { owner, rows, columns, on_console, plain } => {
                self.open(*owner, (*rows, *columns), (*on_console, *plain), context)
            }
            Self::Take => self.take(context),
        }
    }
}

impl Console {
    fn open(
        &self,
        owner: u32,
        (rows, columns): (u16, u16),
        (on_console, plain): (bool, bool),
        context: &mut Context,
    ) -> Result<(), Failure> {
        let failed = |errno| self.failed("/dev/pts/ptmx", errno);
        let root = root(context, self.id())?;
        let flags = OFlags::RDWR | OFlags::NOCTTY;
        let master = path::open_with(root, Path::new("/dev/pts/ptmx"), flags).map_err(failed)?;
        rustix::pty::unlockpt(&master).map_err(failed)?;
        let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
        let slave = rustix::pty::ioctl_tiocgptpeer(&master, flags).map_err(failed)?;
        if rows > 0 && columns > 0 {
            let size = Winsize { ws_row: rows, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 };
            rustix::termios::tcsetwinsize(&slave, size).map_err(failed)?;
        }
        if plain {
            let mut modes = rustix::termios::tcgetattr(&slave).map_err(failed)?;
            modes.output_modes -= OutputModes::ONLCR;
            rustix::termios::tcsetattr(&slave, OptionalActions::Now, &modes).map_err(failed)?;
        }
        rustix::fs::fchown(&slave, Some(Uid::from_raw(owner)), None::<Gid>).map_err(failed)?;
        rustix::fs::fchmod(&slave, Mode::from_raw_mode(0o620)).map_err(failed)?;
        if !on_console {
            context.terminal = Some(Terminal { master, slave });
            return Ok(());
        }
        let console = self.console(root)?;
        // By its name in the container's devpts: the descriptor itself came from an ioctl and has the same mount.
        let mount = clone(&slave, Path::new(""), false)
            .or_else(|_| {
                let name = rustix::pty::ptsname(&master, Vec::new())?;
                let inside = path::open(root, Path::new(&*name.to_string_lossy()))?;
                clone(inside, Path::new(""), false)
            })
            .map_err(failed)?;
        attach(&mount, &console).map_err(failed)?;
        context.terminal = Some(Terminal { master, slave });
        Ok(())
    }

    /// Where the inner end is bound: an ordinary file or device, never what a link in the image leads to
    /// (CVE-2025-52565).
    fn console(&self, root: &OwnedFd) -> Result<OwnedFd, Failure> {
        path::ensure_plain(root, Path::new("/dev/console"), Kind::File).map_err(|errno| match errno {
            Errno::LOOP => Failure::because(self.id(), "/dev/console", "is a link in the image")
                .hint("remove it from the root file system"),
            _ => self.failed("/dev/console", errno),
        })
    }

    fn take(&self, context: &mut Context) -> Result<(), Failure> {
        let Some(terminal) = context.terminal.take() else {
            return Err(Failure::because(self.id(), "/dev/console", "no terminal was opened"));
        };
        let failed = |errno| self.failed("/dev/console", errno);
        rustix::process::ioctl_tiocsctty(&terminal.slave).map_err(failed)?;
        rustix::stdio::dup2_stdin(&terminal.slave).map_err(failed)?;
        rustix::stdio::dup2_stdout(&terminal.slave).map_err(failed)?;
        rustix::stdio::dup2_stderr(&terminal.slave).map_err(failed)
    }
}
