//! `inside try`: one thing that a container may or may not do, and the kernel's answer as a word.
//!
//! Each attempt is chosen so that it changes as little as possible where it is allowed: an invalid argument after
//! the permission check, an undo, or an object of this process alone.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};

use rustix::fs::{CWD, FileType, Mode, makedev, mknodat};
use rustix::mount::{MountFlags, UnmountFlags, mount, unmount};

use crate::{Outcome, errno, number, raw};

const OPERATIONS: &str = "\
mount [DIRECTORY]     a tmpfs on it (/proc), removed again
umount PATH
unshare FLAGS         namespaces by CLONE_* number: 0x10000000 user, 0x20000 mount
unshare-user
setns PATH            join the namespace of that file
keyctl                ask for the session keyring
add-key               add a key with invalid arguments
reboot                with invalid magic numbers: EPERM without the capability, EINVAL with it
settime               set the clock to nothing: permission check only
mknod [PATH] [MAJOR MINOR]  a character device (/inside-node, 1 3), removed again
open PATH             read only
open-rw PATH          read and write
write PATH TEXT       append to an existing file
create PATH           a new file, removed again
mkdir PATH            a new directory, removed again
sethostname NAME
ptrace                let the parent trace this process
bpf                   make a map of one element
raw-socket            ICMP
socket FAMILY TYPE PROTOCOL   by number
chroot DIRECTORY
setuid UID
chown PATH UID
kill PID SIGNAL
syscall NUMBER [ARGUMENT]...  plain numbers, hexadecimal with 0x
";

/// Prints the operations; the exit code of a usage message.
pub(crate) fn list() -> u8 {
    print!("{OPERATIONS}");
    2
}

/// Tries, prints `ok` or the error's name, and exits 0 either way.
pub(crate) fn attempt(operation: &str, arguments: &[&str]) -> Outcome {
    match perform(operation, arguments)? {
        Ok(()) => println!("ok"),
        Err(error) => match error.raw_os_error() {
            Some(number) => println!("{}", errno::name(number)),
            None => return Err(format!("{operation}: {error}")),
        },
    }
    Ok(0)
}

/// The outer error is a wrong usage, the inner one the kernel's answer.
fn perform(operation: &str, arguments: &[&str]) -> Result<io::Result<()>, String> {
    Ok(match (operation, arguments) {
        ("mount", []) => tmpfs("/proc"),
        ("mount", [directory]) => tmpfs(directory),
        ("umount", [path]) => unmount(*path, UnmountFlags::DETACH).map_err(Into::into),
        ("unshare", [flags]) => call(libc::SYS_unshare, &[integer(flags)?]),
        ("unshare-user", []) => call(libc::SYS_unshare, &[i64::from(libc::CLONE_NEWUSER)]),
        ("setns", [path]) => setns(path),
        // KEYCTL_GET_KEYRING_ID of KEY_SPEC_SESSION_KEYRING, without making one.
        ("keyctl", []) => call(libc::SYS_keyctl, &[0, -3, 0]),
        ("add-key", []) => call(libc::SYS_add_key, &[]),
        // reboot(2) looks at the capability before it looks at the magic numbers.
        ("reboot", []) => call(libc::SYS_reboot, &[]),
        // Neither a time nor a zone: the kernel checks the permission and has nothing to set.
        ("settime", []) => call(libc::SYS_settimeofday, &[]),
        ("mknod", []) => device("/inside-node", 1, 3),
        ("mknod", [path]) => device(path, 1, 3),
        ("mknod", [path, major, minor]) => device(path, number(major)?, number(minor)?),
        ("open", [path]) => File::open(path).map(drop),
        ("open-rw", [path]) => OpenOptions::new().read(true).write(true).open(path).map(drop),
        ("write", [path, text]) => append(path, text),
        ("create", [path]) => File::create_new(path).and_then(|_| fs::remove_file(path)),
        ("mkdir", [path]) => fs::create_dir(path).and_then(|()| fs::remove_dir(path)),
        ("sethostname", [name]) => rustix::system::sethostname(name.as_bytes()).map_err(Into::into),
        ("ptrace", []) => call(libc::SYS_ptrace, &[i64::from(libc::PTRACE_TRACEME)]),
        ("bpf", []) => raw::bpf_map(),
        ("raw-socket", []) => socket(libc::AF_INET.into(), libc::SOCK_RAW.into(), libc::IPPROTO_ICMP.into()),
        ("socket", [family, kind, protocol]) => socket(integer(family)?, integer(kind)?, integer(protocol)?),
        ("chroot", [directory]) => rustix::process::chroot(*directory).map_err(Into::into),
        ("setuid", [user]) => call(libc::SYS_setuid, &[integer(user)?]),
        ("chown", [path, user]) => std::os::unix::fs::chown(path, Some(number(user)?), None),
        ("kill", [pid, signal]) => call(libc::SYS_kill, &[integer(pid)?, integer(signal)?]),
        ("syscall", [number, arguments @ ..]) if arguments.len() <= 6 => {
            let arguments: Vec<i64> = arguments.iter().map(|text| integer(text)).collect::<Result<_, _>>()?;
            call(integer(number)?, &arguments)
        }
        _ => return Err(format!("try knows no `{operation}` with these arguments; `inside try` lists them")),
    })
}

fn call(number: i64, arguments: &[i64]) -> io::Result<()> {
    let mut all = [0; 6];
    all[..arguments.len()].copy_from_slice(arguments);
    raw::syscall(number, all).map(drop)
}

fn tmpfs(directory: &str) -> io::Result<()> {
    mount("inside", directory, "tmpfs", MountFlags::empty(), None)?;
    // Undone at once: nothing of it may stay, wherever this program is started.
    Ok(unmount(directory, UnmountFlags::DETACH)?)
}

fn setns(path: &str) -> io::Result<()> {
    Ok(rustix::thread::move_into_link_name_space(std::os::fd::AsFd::as_fd(&File::open(path)?), None)?)
}

fn device(path: &str, major: u32, minor: u32) -> io::Result<()> {
    mknodat(CWD, path, FileType::CharacterDevice, Mode::from_raw_mode(0o600), makedev(major, minor))?;
    fs::remove_file(path)
}

fn append(path: &str, text: &str) -> io::Result<()> {
    OpenOptions::new().append(true).open(path)?.write_all(text.as_bytes())
}

/// Left open: the process ends right after.
fn socket(family: i64, kind: i64, protocol: i64) -> io::Result<()> {
    call(libc::SYS_socket, &[family, kind, protocol])
}

/// A number in decimal or with 0x.
fn integer(text: &str) -> Result<i64, String> {
    match text.strip_prefix("0x") {
        Some(hex) => i64::from_str_radix(hex, 16).map_err(|_| format!("`{text}` is not a number")),
        None => number(text),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(operation: &str, arguments: &[&str]) -> String {
        match perform(operation, arguments).unwrap() {
            Ok(()) => "ok".to_owned(),
            Err(error) => errno::name(error.raw_os_error().unwrap()).into_owned(),
        }
    }

    #[test]
    fn answers_with_the_kernels_word() {
        assert_eq!(answer("open", &["/dev/null"]), "ok");
        assert_eq!(answer("open", &["/no/such/file"]), "ENOENT");
        assert_eq!(answer("write", &["/dev/full", "x"]), "ENOSPC");
        assert_eq!(answer("syscall", &["9999"]), "ENOSYS");
        assert_eq!(answer("kill", &["0x7ffffffe", "0"]), "ESRCH");
        assert_eq!(answer("socket", &["1", "1", "0"]), "ok");
    }

    #[test]
    fn wrong_usage_is_no_answer() {
        assert!(perform("open", &[]).is_err());
        assert!(perform("fly", &[]).is_err());
        assert!(perform("setuid", &["x"]).is_err());
    }
}
