//! Compression by a forked child: the writer goes on meanwhile, and the memory it takes goes with the child.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::panic::{AssertUnwindSafe, catch_unwind};

use rustix::process::{Signal, WaitId, WaitIdOptions};
use sys::process::Fork;

/// A child that works. Dropped, it is killed and waited for, which takes no longer than the kernel needs to kill.
#[derive(Debug)]
pub(crate) struct Packing {
    pidfd: Option<OwnedFd>,
}

impl Packing {
    /// Forks a child that does `work` with `input`, a file that nobody else reads. It has no other open descriptor but
    /// the standard ones: `work` opens what it needs.
    pub(crate) fn start(input: &File, work: impl FnOnce(File) -> io::Result<()>) -> io::Result<Self> {
        let parent = rustix::process::getpid();
        match sys::process::fork()? {
            Fork::Parent(_, pidfd) => Ok(Self { pidfd: Some(pidfd) }),
            Fork::Child => {
                // It dies with the writer: the next one begins anew.
                let _ = rustix::process::set_parent_process_death_signal(Some(Signal::KILL));
                if rustix::process::getppid() != Some(parent) {
                    sys::process::exit_now(1);
                }
                let _ = rustix::process::nice(10);
                if rustix::stdio::dup2_stdin(input).is_err() {
                    sys::process::exit_now(1);
                }
                // The container's streams must not stay open for as long as this takes.
                sys::process::close_inherited();
                let done = catch_unwind(AssertUnwindSafe(|| {
                    work(rustix::stdio::stdin().try_clone_to_owned()?.into())
                }));
                sys::process::exit_now(i32::from(!matches!(done, Ok(Ok(())))));
            }
        }
    }

    /// Whether it has done its work; none while it is at it.
    pub(crate) fn ended(&mut self) -> Option<bool> {
        let pidfd = self.pidfd.as_ref()?;
        match rustix::process::waitid(
            WaitId::PidFd(pidfd.as_fd()),
            WaitIdOptions::EXITED | WaitIdOptions::NOHANG,
        ) {
            Ok(None) => None,
            Ok(Some(status)) => {
                self.pidfd = None;
                Some(status.exit_status() == Some(0))
            }
            // Somebody else took it: how it ended is not known, so the work is done again.
            Err(_) => {
                self.pidfd = None;
                Some(false)
            }
        }
    }
}

impl Drop for Packing {
    fn drop(&mut self) {
        if let Some(pidfd) = &self.pidfd {
            let _ = rustix::process::pidfd_send_signal(pidfd, Signal::KILL);
            let _ = rustix::process::waitid(WaitId::PidFd(pidfd.as_fd()), WaitIdOptions::EXITED);
        }
    }
}
