//! Sockets within a container's network namespace.
//!
//! A socket belongs to the namespace that it was made in, whoever uses it: so a monitor, which has one thread, enters
//! the container's for the calls that make it, and comes back. That the way back fails, for want of memory, is met: the
//! monitor ends, and the next command gives the container another.

use std::os::fd::{AsFd, OwnedFd};

use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

/// Does `work`, a few short calls, in the network namespace of process `pid`. For a process with one thread.
pub(crate) fn in_network<T>(pid: i32, work: impl FnOnce() -> Result<T, Errno>) -> Result<T, Errno> {
    let open = |path: &str| rustix::fs::open(path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty());
    let enter = |space: &OwnedFd| move_into_link_name_space(space.as_fd(), Some(LinkNameSpaceType::Network));
    let own = open("/proc/thread-self/ns/net")?;
    let theirs = open(&format!("/proc/{pid}/ns/net"))?;
    enter(&theirs)?;
    let done = work();
    if enter(&own).is_err() {
        // Whoever went on here would make the links of a further start in the wrong namespace.
        sys::process::exit_now(1);
    }
    done
}
