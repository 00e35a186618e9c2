//! The clone of init: into its control group, its pid namespace, its user namespace.

use std::borrow::Cow;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::fs::{Mode, OFlags};
use rustix::process::DumpableBehavior;
use step::{Context, Failure, Shell, Step};
use sys::process::{CloneFlags, Fork};

/// The clone of init.
#[derive(Debug)]
pub struct Clone {
    pub(super) flags: CloneFlags,
    pub(crate) into: Option<PathBuf>,
    pub(super) join_pid: Option<PathBuf>,
    /// The user namespace that the new pid namespace is to belong to: a process in between enters it.
    pub(super) join_user: Option<PathBuf>,
    /// Namespaces that may not belong to that user namespace: the process in between enters them first.
    pub(super) join_before: Vec<PathBuf>,
}

impl Clone {
    /// Clones, once; in the child too it returns.
    pub(crate) fn perform(&self, _: &mut Context) -> Result<Fork, Failure> {
        let open = |path: &Path| {
            let flags = OFlags::RDONLY | OFlags::CLOEXEC;
            rustix::fs::open(path, flags, Mode::empty())
                .map_err(|errno| Failure::new("clone", path.display().to_string(), errno))
        };
        let own = match &self.join_pid {
            Some(path) => {
                let own = open(Path::new("/proc/self/ns/pid"))?;
                enter_pid(&open(path)?)?;
                Some(own)
            }
            None => None,
        };
        // Those who are in that namespace see the child from its first moment on: it is born undumpable, so that they
        // may not look into it (CVE-2016-9962).
        let hide = |hidden| {
            match (&own, hidden) {
                (None, _) => Ok(()),
                (_, true) => rustix::process::set_dumpable_behavior(DumpableBehavior::NotDumpable),
                (_, false) => rustix::process::set_dumpable_behavior(DumpableBehavior::Dumpable),
            }
            .map_err(|errno| Failure::new("clone", "prctl(PR_SET_DUMPABLE)", errno))
        };
        let group = self.into.as_deref().map(open).transpose()?;
        hide(true)?;
        let fork = match &self.join_user {
            Some(path) => {
                let before = self.join_before.iter().map(|path| open(path)).collect::<Result<Vec<_>, _>>()?;
                clone_within(self.flags, group.as_ref(), &open(path)?, &before)
            }
            None => sys::process::clone3(self.flags, group.as_ref()),
        };
        // The child is where it belongs.
        if let (Some(own), false) = (&own, matches!(fork, Ok(Fork::Child))) {
            hide(false)?;
            enter_pid(own)?;
        }
        fork.map_err(|error| {
            let failure = Failure::new("clone", self.flags.to_string(), error);
            match failure.errno {
                1 => failure.hint("minidocker must run as root"),
                22 | 38 => failure.hint("the kernel must be 5.5 or newer and have these namespaces"),
                28 => failure.hint("raise the limit in /proc/sys/user/max_*_namespaces"),
                _ => failure,
            }
        })
    }
}

/// Clones from within another user namespace, so that the new pid namespace belongs to that one: a process in between
/// enters it and clones a sibling of its own (CLONE_PARENT).
fn clone_within(
    flags: CloneFlags,
    group: Option<&OwnedFd>,
    user: &OwnedFd,
    before: &[OwnedFd],
) -> std::io::Result<Fork> {
    use rustix::process::{Pid, PidfdFlags, WaitId, WaitIdOptions};
    let (read, write) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC)?;
    let between = match sys::process::fork()? {
        Fork::Parent(_, pidfd) => pidfd,
        Fork::Child => {
            let enter = || -> std::io::Result<Fork> {
                // What belongs to the user namespace is entered by init, with the rights that it has there.
                for namespace in before {
                    let _ = rustix::thread::move_into_link_name_space(namespace.as_fd(), None);
                }
                let kind = rustix::thread::LinkNameSpaceType::User;
                rustix::thread::move_into_link_name_space(user.as_fd(), Some(kind))?;
                sys::process::clone3(CloneFlags(flags.0 | CloneFlags::PARENT), group)
            };
            let answer = match enter() {
                Ok(Fork::Child) => return Ok(Fork::Child),
                Ok(Fork::Parent(pid, _)) => pid,
                Err(error) => -error.raw_os_error().unwrap_or(rustix::io::Errno::IO.raw_os_error()),
            };
            let _ = rustix::io::write(&write, &answer.to_ne_bytes());
            sys::process::exit_now(0)
        }
    };
    drop(write);
    rustix::process::waitid(WaitId::PidFd(between.as_fd()), WaitIdOptions::EXITED)?;
    let mut answer = [0; 4];
    rustix::io::read(&read, &mut answer)?;
    match i32::from_ne_bytes(answer) {
        pid if pid > 0 => {
            let known = Pid::from_raw(pid).ok_or(rustix::io::Errno::SRCH)?;
            Ok(Fork::Parent(pid, rustix::process::pidfd_open(known, PidfdFlags::empty())?))
        }
        errno => Err(std::io::Error::from_raw_os_error(-errno)),
    }
}

/// A process cannot change its own pid namespace, only that of its children: no second process is needed to join one.
fn enter_pid(namespace: &OwnedFd) -> Result<(), Failure> {
    let kind = rustix::thread::LinkNameSpaceType::ProcessID;
    rustix::thread::move_into_link_name_space(namespace.as_fd(), Some(kind))
        .map_err(|errno| Failure::new("clone", "the pid namespace to join", errno))
}

impl Step for Clone {
    fn id(&self) -> &'static str {
        "clone"
    }

    fn call(&self) -> String {
        let into = self
            .into
            .as_ref()
            .map_or(String::new(), |dir| format!("|CLONE_INTO_CGROUP, \"{}\"", dir.display()));
        let join =
            self.join_pid.as_ref().map_or(String::new(), |path| format!("setns(\"{}\"), ", path.display()));
        format!("{join}clone3(CLONE_PIDFD|{}{into})", self.flags)
    }

    fn why(&self) -> Cow<'static, str> {
        Cow::Borrowed("the container's first process; the pidfd means it and no later process of its number")
    }

    fn shell(&self) -> Shell {
        Shell::Within("unshare --fork")
    }

    fn perform(&self, _: &mut Context) -> Result<(), Failure> {
        Err(Failure::because(self.id(), "init", "is not performed from a list"))
    }
}
