//! Descriptors for a child that std's `Command` starts: std itself passes 0, 1 and 2 only.

use std::io;
use std::os::fd::{AsRawFd as _, OwnedFd};
use std::os::unix::process::CommandExt as _;
use std::process::Command;

use rustix::io::{FdFlags, fcntl_setfd};

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
        command.args(["-c", &format!("echo there >&{number}")]);
        inherit(&mut command, vec![writer]).unwrap();
        assert!(command.status().unwrap().success());
        assert!(fcntl_getfd(&watched).unwrap().contains(FdFlags::CLOEXEC));

        // The same number is closed in a child that it was not meant for.
        let mut other = Command::new("/bin/sh");
        other.args(["-c", &format!("echo not >&{}", watched.as_raw_fd())]).stderr(Stdio::null());
        assert!(!other.status().unwrap().success());
        drop((command, watched));
        let mut said = String::new();
        reader.read_to_string(&mut said).unwrap();
        assert_eq!(said, "there\n");
    }
}
