//! A program on a terminal: typed to, read, resized, and its terminal's settings compared before and after.

use std::fs::File;
use std::os::fd::OwnedFd;
use std::sync::Arc;

use rustix::pty::{OpenptFlags, grantpt, ioctl_tiocgptpeer, openpt, unlockpt};
use rustix::termios::{Winsize, tcgetattr, tcsetwinsize};

use crate::output::{Output, shown};
use crate::running::{Heard, Running};

/// Both ends of a terminal, and the program on its inner one.
pub struct Pty {
    outer: OwnedFd,
    inner: OwnedFd,
    heard: Arc<Heard>,
    running: Running,
    /// How much of the output `until` has passed.
    read: usize,
    before: String,
}

impl Pty {
    pub(crate) fn new(rows: u16, columns: u16, start: impl FnOnce(&OwnedFd) -> Running) -> Self {
        let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
        let outer = openpt(flags).expect("a terminal");
        grantpt(&outer).and_then(|()| unlockpt(&outer)).expect("a terminal of our own");
        let inner = ioctl_tiocgptpeer(&outer, flags).expect("its inner end");
        tcsetwinsize(&outer, size(rows, columns)).expect("its size");
        let before = settings(&inner);
        let reader = File::from(outer.try_clone().expect("another descriptor"));
        let running = start(&inner);
        Self { outer, inner, heard: Heard::listen(reader), running, read: 0, before }
    }

    /// Types these bytes: `"\r"` is the enter key, `"\x03"` ctrl-c.
    #[track_caller]
    pub fn type_in(&self, text: &str) {
        let mut rest = text.as_bytes();
        while !rest.is_empty() {
            let written = rustix::io::write(&self.outer, rest).expect("type on the terminal");
            rest = &rest[written..];
        }
    }

    /// Waits until `text` is on the terminal after what an earlier call has found; gives what came before its end.
    ///
    /// # Panics
    /// Where it does not come, with what came.
    #[track_caller]
    pub fn until(&mut self, text: &str) -> String {
        let (from, patience) = (self.read, self.running.patience());
        let find = |bytes: &[u8]| {
            bytes[from..].windows(text.len()).position(|part| part == text.as_bytes()).map(|at| from + at)
        };
        self.heard.wait(patience, |bytes, _| find(bytes).is_some());
        let bytes = self.heard.bytes();
        let Some(at) = find(&bytes) else {
            panic!("{text:?} did not come on the terminal of {self:?}");
        };
        self.read = at + text.len();
        String::from_utf8_lossy(&bytes[from..self.read]).into_owned()
    }

    /// Everything that came on the terminal so far.
    pub fn screen(&self) -> String {
        String::from_utf8_lossy(&self.heard.bytes()).into_owned()
    }

    /// Changes the terminal's size; the kernel tells the program by SIGWINCH.
    pub fn resize(&self, rows: u16, columns: u16) {
        tcsetwinsize(&self.outer, size(rows, columns)).expect("resize the terminal");
    }

    /// The terminal's settings now (modes and special characters), to be compared.
    pub fn settings(&self) -> String {
        settings(&self.inner)
    }

    /// The settings before the program was started.
    pub fn settings_before(&self) -> &str {
        &self.before
    }

    /// The program on it.
    pub fn running(&mut self) -> &mut Running {
        &mut self.running
    }

    /// Waits for the program's end; its output is what came on the terminal. `self` stays: ask for the settings.
    #[track_caller]
    pub fn wait(&mut self) -> Output {
        let status = self.running.wait_for_end();
        let time = self.running.started().elapsed();
        // We hold the inner end: there is no end of file. What the program wrote is there once it has ended, but
        // may still be on its way through our reader.
        let marker = "\u{1}end of the program\u{1}";
        let write = rustix::io::write(&self.inner, marker.as_bytes());
        write.expect("write to the terminal");
        let has = |bytes: &[u8], _| bytes.ends_with(marker.as_bytes());
        self.heard.wait(self.running.patience(), has);
        let mut bytes = self.heard.bytes();
        bytes.truncate(bytes.len() - marker.len().min(bytes.len()));
        Output::new(self.running.command(), status, bytes, Vec::new(), time)
    }
}

impl std::fmt::Debug for Pty {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let text = shown(&self.heard.bytes());
        write!(f, "`{}`\n--- terminal so far\n{text}\n---", self.running.command())
    }
}

fn size(rows: u16, columns: u16) -> Winsize {
    Winsize { ws_row: rows, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 }
}

fn settings(terminal: &OwnedFd) -> String {
    format!("{:?}", tcgetattr(terminal).expect("the settings of a terminal"))
}
