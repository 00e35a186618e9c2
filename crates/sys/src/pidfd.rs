//! What a pidfd tells of a process that is not a child: ioctl_pidfd(2), PIDFD_GET_INFO, Linux 6.13.

use std::os::fd::{AsRawFd, OwnedFd};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};

/// `struct pidfd_info` in its first size.
#[repr(C)]
#[derive(Default)]
struct Info {
    mask: u64,
    cgroup: u64,
    /// pid, tgid, ppid, and eight user and group ids.
    ids: [u32; 11],
    exit_code: i32,
}

/// PIDFD_INFO_EXIT, Linux 6.15: the exit status, once the process was reaped.
const EXIT: u64 = 1 << 3;

/// PIDFD_GET_INFO: `_IOWR(0xFF, 11, struct pidfd_info)`.
const GET_INFO: u64 = 0xC000_0000 | (size_of::<Info>() as u64) << 16 | 0xFF << 8 | 11;

/// How the process ended, as wait(2) tells it; waits so long for its parent to take note of it. None where the kernel
/// does not tell, or nobody took note.
pub fn exit_status(pidfd: &OwnedFd, patience: Duration) -> Option<i32> {
    let timeout = Timespec { tv_sec: patience.as_secs() as i64, tv_nsec: patience.subsec_nanos().into() };
    // POLLHUP alone: a process that has ended is readable, one that was reaped has hung up too.
    let mut fds = [PollFd::new(pidfd, PollFlags::empty())];
    let _ = poll(&mut fds, Some(&timeout));
    let mut info = Info { mask: EXIT, ..Info::default() };
    // SAFETY: the kernel fills in no more than the size that the request's number tells.
    let result = unsafe { libc::ioctl(pidfd.as_raw_fd(), GET_INFO as _, &raw mut info) };
    (result == 0 && info.mask & EXIT != 0).then_some(info.exit_code)
}

#[cfg(test)]
mod tests {
    use rustix::process::{Pid, PidfdFlags, pidfd_open};

    use super::*;

    #[test]
    fn the_end_of_somebody_elses_child_is_told() {
        let mut child = std::process::Command::new("sh").args(["-c", "exit 7"]).spawn().unwrap();
        let pid = Pid::from_raw(child.id() as i32).unwrap();
        let pidfd = pidfd_open(pid, PidfdFlags::empty()).unwrap();
        assert_eq!(child.wait().unwrap().code(), Some(7));
        let release = rustix::system::uname().release().to_string_lossy().into_owned();
        let mut numbers = release.split(['.', '-']).map(|part| part.parse::<u32>().unwrap_or(0));
        let tells = (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0)) >= (6, 15);
        assert_eq!(exit_status(&pidfd, Duration::from_secs(5)), tells.then_some(7 << 8));
    }
}
