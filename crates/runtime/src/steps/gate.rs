//! The gate between `create` and `start`: two named pipes in the container's directory.
//!
//! ```text
//!  create: mkfifo, open both      init (inherits both)                   start, at any later time
//!                                 …, ready; read(go) ◀──── one byte ───   write(go)
//!                                 hooks, filter, execve
//!                                 told: a failure, or its end ─────────▶   read(told) until its end
//! ```
//!
//! Plain read(2) and write(2): what the strictest system call filter leaves open. Whether a created container still
//! waits is asked of the kernel: `go` has a reader as long as it does.

use std::borrow::Cow;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, Mode, OFlags};
use rustix::io::Errno;
use step::{Context, Failure, Gate, Shell, Step};

/// The files of `go` and `told`. Both have the name by which people and tools know what a created container waits at,
/// from runc.
pub(crate) const NAMES: [&str; 2] = ["exec.fifo", "told/exec.fifo"];

/// Makes the gate: by the monitor before the clone, so that init inherits it whatever it may open itself.
#[derive(Debug)]
pub(crate) struct Make {
    /// The container's directory.
    pub(crate) dir: PathBuf,
}

impl Step for Make {
    fn id(&self) -> &'static str {
        "launch.gate"
    }

    fn call(&self) -> String {
        let dir = self.dir.display();
        let [go, told] = NAMES;
        format!(
            "mkdirat(\"{dir}/told\"), mknodat(\"{dir}/{go}\", S_IFIFO), mknodat(\"{dir}/{told}\", S_IFIFO)"
        )
    }

    fn why(&self) -> Cow<'static, str> {
        Cow::Borrowed("the container is created now and started later, by whoever comes")
    }

    fn shell(&self) -> Shell {
        Shell::Nothing("a script starts what it creates")
    }

    fn perform(&self, context: &mut Context) -> Result<(), Failure> {
        let told = self.dir.join("told");
        match rustix::fs::mkdir(&told, Mode::from_raw_mode(0o700)) {
            Err(Errno::EXIST) => {}
            made => made.map_err(|errno| self.failed(told.display().to_string(), errno))?,
        }
        let make = |name: &str, flags: OFlags| -> Result<OwnedFd, Failure> {
            let path = self.dir.join(name);
            let failed = |errno| self.failed(path.display().to_string(), errno);
            let mode = Mode::from_raw_mode(0o600);
            match rustix::fs::mknodat(CWD, &path, rustix::fs::FileType::Fifo, mode, 0) {
                Err(Errno::EXIST) => {}
                made => made.map_err(failed)?,
            }
            // For reading and writing the open does not wait (fifo(7)).
            let both = rustix::fs::open(&path, OFlags::RDWR | OFlags::CLOEXEC, Mode::empty());
            let both = both.map_err(failed)?;
            if flags == OFlags::RDWR {
                return Ok(both);
            }
            rustix::fs::open(&path, flags | OFlags::CLOEXEC, Mode::empty()).map_err(failed)
        };
        // `go` both ways: with no writer a read would end at once. `told` one way: its end must show.
        context.gate =
            Some(Gate { go: make(NAMES[0], OFlags::RDWR)?, told: make(NAMES[1], OFlags::WRONLY)? });
        Ok(())
    }
}

/// Whether a created container waits behind the gate in `dir`.
pub fn is_waiting(dir: &Path) -> bool {
    open_go(dir).is_ok()
}

/// ENXIO: nobody reads. The container runs, or is gone.
pub(crate) fn open_go(dir: &Path) -> Result<OwnedFd, Errno> {
    let flags = OFlags::WRONLY | OFlags::NONBLOCK | OFlags::CLOEXEC;
    rustix::fs::open(dir.join(NAMES[0]), flags, Mode::empty())
}
