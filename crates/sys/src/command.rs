//! What std's `Command` cannot do to a child: further descriptors (std itself passes 0, 1 and 2 only), an end with its
//! parent, a session, a terminal, groups.

use std::io;
use std::os::fd::{AsRawFd as _, OwnedFd};
use std::os::unix::process::CommandExt as _;
use std::process::Command;

use rustix::io::{FdFlags, fcntl_setfd};
use rustix::process::{Gid, Pid, Signal, Uid};

/// Lets the next program of `command` inherit `descriptors` under the numbers that they have here, 3 or above
/// (`InvalidInput` else: std puts its own there). They stay close-on-exec in this process, so that no other child gets
/// them, and belong to `command` until that is dropped.
///
/// Keeping the numbers, rather than choosing them as dup2(2) could, leaves alone whatever descriptors std itself has
/// open between fork and exec.
pub fn inherit(command: &mut Command, descriptors: Vec<OwnedFd>) -> io::Result<()> {
    if let Some(low) = descriptors.iter().find(|descriptor| descriptor.as_raw_fd() < 3) {
        let words = format!("descriptor {} would be replaced by a standard stream", low.as_raw_fd());
        return Err(io::Error::new(io::ErrorKind::InvalidInput, words));
    }
    let clear =
        move || descriptors.iter().try_for_each(|descriptor| Ok(fcntl_setfd(descriptor, FdFlags::empty())?));
    // SAFETY: between fork and exec the closure may only do what is async-signal-safe; it calls fcntl(2) on
    // descriptors that it owns, allocates nothing and takes no lock.
    unsafe { command.pre_exec(clear) };
    Ok(())
}

/// Lets the kernel kill the child when the thread that starts it has ended, however it ended (PR_SET_PDEATHSIG).
pub fn die_with_parent(command: &mut Command) {
    let parent = rustix::process::getpid();
    let arm = move || {
        rustix::process::set_parent_process_death_signal(Some(Signal::KILL))?;
        // It may have ended before.
        match rustix::process::getppid() {
            Some(now) if now == parent => Ok(()),
            _ => Err(io::Error::from_raw_os_error(libc::ESRCH)),
        }
    };
    // SAFETY: between fork and exec the closure may only do what is async-signal-safe; these are plain system calls.
    unsafe { command.pre_exec(arm) };
}

/// Who a child is, from before its program's first instruction on.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Identity {
    /// User.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Supplementary groups; no other is kept.
    pub groups: Vec<u32>,
    /// Its standard input is a terminal that it is to control.
    pub terminal: bool,
}

/// Gives the child a session of its own and this identity; no signal is blocked or ignored any more.
pub fn identify(command: &mut Command, identity: &Identity) {
    let groups: Vec<Gid> = identity.groups.iter().map(|gid| Gid::from_raw(*gid)).collect();
    let (uid, gid) = (Uid::from_raw(identity.uid), Gid::from_raw(identity.gid));
    let terminal = identity.terminal;
    let change = move || {
        let _: Pid = rustix::process::setsid()?;
        if terminal {
            rustix::process::ioctl_tiocsctty(rustix::stdio::stdin())?;
        }
        rustix::thread::set_thread_groups(&groups)?;
        rustix::thread::set_thread_res_gid(gid, gid, gid)?;
        rustix::thread::set_thread_res_uid(uid, uid, uid)?;
        crate::signal::reset_dispositions();
        crate::signal::Signals::none().block()
    };
    // SAFETY: between fork and exec the closure may only do what is async-signal-safe; it makes plain system calls,
    // signal(2) and sigprocmask(2) among them, reads what it owns, and allocates nothing. The child has one thread,
    // so that the identity of the thread is the process's.
    unsafe { command.pre_exec(change) };
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Read as _;
    use std::process::Stdio;

    use rustix::io::fcntl_getfd;

    #[test]
    fn the_child_has_it_under_its_number_and_this_process_keeps_it_close_on_exec() {
        let (mut reader, writer) = io::pipe().unwrap();
        let writer = OwnedFd::from(writer);
        let number = writer.as_raw_fd();
        let watched = rustix::io::fcntl_dupfd_cloexec(&writer, 3).unwrap();
        let mut command = Command::new("/bin/sh");
        command.args(["-c", &format!("echo there >/proc/self/fd/{number}")]);
        inherit(&mut command, vec![writer]).unwrap();
        assert!(command.status().unwrap().success());
        assert!(fcntl_getfd(&watched).unwrap().contains(FdFlags::CLOEXEC));

        // The same number is closed in a child that it was not meant for.
        let mut other = Command::new("/bin/sh");
        other.args(["-c", &format!("echo not >/proc/self/fd/{}", watched.as_raw_fd())]).stderr(Stdio::null());
        assert!(!other.status().unwrap().success());
        drop((command, watched));
        let mut said = String::new();
        reader.read_to_string(&mut said).unwrap();
        assert_eq!(said, "there\n");
    }

    #[test]
    fn a_child_is_who_it_is_told_to_be_and_ends_with_the_thread_that_started_it() {
        let mut command = Command::new("/bin/sh");
        command.args(["-c", "id -u; id -g; id -G; ps -o sid= -p $$ | tr -d ' '; echo $$"]);
        identify(&mut command, &Identity { uid: 7, gid: 8, groups: vec![8, 9], terminal: false });
        let said = String::from_utf8(command.output().unwrap().stdout).unwrap();
        let lines: Vec<&str> = said.lines().collect();
        assert_eq!(lines[..3], ["7", "8", "8 9"], "{said}");
        assert_eq!(lines[3], lines[4], "a session of its own");

        let start = || {
            let mut command = Command::new("sleep");
            command.arg("60");
            die_with_parent(&mut command);
            command.spawn().unwrap()
        };
        let mut orphan = std::thread::spawn(start).join().unwrap();
        let ended = orphan.wait().unwrap();
        assert_eq!(std::os::unix::process::ExitStatusExt::signal(&ended), Some(9));
    }
}
