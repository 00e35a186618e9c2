//! What a pidfd tells of a process that is not a child: ioctl_pidfd(2), PIDFD_GET_INFO, Linux 6.13.

use std::os::fd::{AsRawFd, OwnedFd};

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

/// How the process behind `pidfd` ended, as wait(2) tells it. `pid` is its number, as the caller's pid namespace has it;
/// it must have ended. None where the kernel does not tell: before Linux 6.15 of one that was reaped.
///
/// One that nobody has reaped is asked in proc(5): whoever its parent is now may take its time.
pub fn exit_status(pidfd: &OwnedFd, pid: i32) -> Option<i32> {
    let ended = ended(pid);
    // POLLHUP: it was reaped, and the number may mean another by now.
    let mut fds = [PollFd::new(pidfd, PollFlags::empty())];
    let reaped = poll(&mut fds, Some(&Timespec { tv_sec: 0, tv_nsec: 0 })) != Ok(0);
    if reaped { told(pidfd) } else { ended }
}

/// The last field of proc_pid_stat(5), for a process that has ended.
fn ended(pid: i32) -> Option<i32> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let mut fields = stat.rsplit_once(") ")?.1.split_ascii_whitespace();
    fields.next().filter(|state| matches!(*state, "Z" | "X"))?;
    fields.last()?.parse().ok()
}

fn told(pidfd: &OwnedFd) -> Option<i32> {
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
        let number = child.id() as i32;
        let pid = Pid::from_raw(number).unwrap();
        let pidfd = pidfd_open(pid, PidfdFlags::empty()).unwrap();
        poll(&mut [PollFd::new(&pidfd, PollFlags::IN)], None).unwrap();
        assert_eq!(exit_status(&pidfd, number), Some(7 << 8), "nobody has reaped it");
        assert_eq!(child.wait().unwrap().code(), Some(7));
        let release = rustix::system::uname().release().to_string_lossy().into_owned();
        let mut numbers = release.split(['.', '-']).map(|part| part.parse::<u32>().unwrap_or(0));
        let tells = (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0)) >= (6, 15);
        assert_eq!(exit_status(&pidfd, number), tells.then_some(7 << 8));
    }

    #[test]
    fn a_signal_is_told_too() {
        let mut child = std::process::Command::new("sleep").arg("60").spawn().unwrap();
        let number = child.id() as i32;
        let pidfd = pidfd_open(Pid::from_raw(number).unwrap(), PidfdFlags::empty()).unwrap();
        child.kill().unwrap();
        poll(&mut [PollFd::new(&pidfd, PollFlags::IN)], None).unwrap();
        assert_eq!(exit_status(&pidfd, number), Some(9));
        child.wait().unwrap();
    }
}
