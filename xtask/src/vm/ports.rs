//! The machine's three ways out: stdout, stderr, and the exit code, each a serial port on a unix socket.

use std::io::{self, Read};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::thread::JoinHandle;

use anyhow::{Context as _, Result};

use crate::failures::Heard;

/// The ports by the names that guest/machine.sh looks for.
pub(crate) const NAMES: [&str; 3] = ["out", "err", "exit"];

/// Where QEMU connects a port.
pub(crate) fn socket(directory: &Path, name: &str) -> PathBuf {
    directory.join(format!("port-{name}.sock"))
}

/// The ports, each read by a thread until the machine is gone.
pub(crate) struct Ports {
    out: JoinHandle<()>,
    err: JoinHandle<()>,
    exit: JoinHandle<String>,
}

impl Ports {
    /// Listens; before QEMU starts.
    pub(crate) fn open(directory: &Path) -> Result<Self> {
        let listen = |name| {
            let path = socket(directory, name);
            UnixListener::bind(&path).with_context(|| format!("listen on {}", path.display()))
        };
        let (out, err, exit) = (listen("out")?, listen("err")?, listen("exit")?);
        Ok(Self {
            out: std::thread::spawn(move || copy(&out, Heard::new(io::stdout()))),
            err: std::thread::spawn(move || copy(&err, io::stderr())),
            exit: std::thread::spawn(move || {
                let mut text = String::new();
                if let Ok((mut stream, _)) = exit.accept() {
                    // What came before an error counts.
                    let _ = stream.read_to_string(&mut text);
                }
                text
            }),
        })
    }

    /// After QEMU has ended: waits for the rest of the output and gives the exit code, if one came.
    pub(crate) fn finish(self, directory: &Path) -> Option<u8> {
        for name in NAMES {
            // Wakes a thread that QEMU never connected to; for the others it changes nothing.
            let _ = UnixStream::connect(socket(directory, name));
        }
        // A thread that panicked has printed why.
        let _ = self.out.join();
        let _ = self.err.join();
        self.exit.join().ok()?.trim().parse().ok()
    }
}

fn copy(listener: &UnixListener, mut to: impl io::Write) {
    let Ok((mut stream, _)) = listener.accept() else { return };
    let mut buffer = [0; 1 << 16];
    while let Ok(length @ 1..) = stream.read(&mut buffer) {
        if to.write_all(&buffer[..length]).and_then(|()| to.flush()).is_err() {
            return;
        }
    }
}
