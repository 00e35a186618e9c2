//! The clone of init: into its control group, its pid namespace, its user namespace.

use std::borrow::Cow;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::fs::{Mode, OFlags};
use step::{Context, Failure, Shell, Step};
use sys::process::{CloneFlags, Fork};

/// The clone of init.
#[derive(Debug)]
pub struct Clone {
    pub(super) flags: CloneFlags,
    pub(crate) into: Option<PathBuf>,
    pub(super) join_pid: Option<PathBuf>,
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
        let group = self.into.as_deref().map(open).transpose()?;
        let fork = sys::process::clone3(self.flags, group.as_ref());
        // The child is where it belongs.
        if let (Some(own), false) = (own, matches!(fork, Ok(Fork::Child))) {
            enter_pid(&own)?;
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
