//! The default filter on a real process: this test runs itself as a child, which installs the filter, and tries what
//! it denies and what it allows.

use std::io::ErrorKind;
use std::process::Command;

use minidocker_seccomp::{Arch, default_program};
use rustix::io::Errno;
use rustix::mount::MountFlags;

const CHILD: &str = "MINIDOCKER_SECCOMP_TEST_CHILD";
const NOWHERE: &str = "/nowhere-minidocker-seccomp";

#[test]
fn the_default_filter_denies_and_allows() {
    if std::env::var_os(CHILD).is_some() {
        return child();
    }
    let output = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "the_default_filter_denies_and_allows", "--nocapture"])
        .env(CHILD, "1")
        .output()
        .unwrap();
    let (stdout, stderr) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{stdout}{stderr}");
    assert!(stdout.contains("filter held"), "{stdout}{stderr}");
}

fn mount() -> Result<(), Errno> {
    rustix::mount::mount("none", NOWHERE, "tmpfs", MountFlags::empty(), None)
}

fn unshare() -> (bool, String) {
    let output = Command::new("unshare").args(["--uts", "echo", "unshared"]).output().unwrap();
    (output.status.success(), String::from_utf8(output.stderr).unwrap())
}

fn child() {
    // Without the filter the calls fail for another reason, or not at all: this test needs root.
    assert_eq!(mount(), Err(Errno::NOENT));
    assert_eq!(rustix::process::chroot(NOWHERE), Err(Errno::NOENT));
    assert_eq!(unshare(), (true, String::new()));

    let program = default_program(Arch::NATIVE, &[], (6, 1)).unwrap();
    assert!(sys::seccomp::install(program.instructions(), program.flags()).unwrap().is_none());

    assert_eq!(mount(), Err(Errno::PERM));
    assert_eq!(rustix::process::chroot(NOWHERE), Err(Errno::PERM));
    // What is executed inherits the filter, and runs.
    let (unshared, words) = unshare();
    assert!(!unshared && words.contains("Operation not permitted"), "{words}");
    let echo = Command::new("sh").args(["-c", "echo allowed | cat"]).output().unwrap();
    assert_eq!((echo.status.success(), &echo.stdout[..]), (true, &b"allowed\n"[..]));
    // The C library tries clone3 first, gets ENOSYS, and takes clone.
    assert_eq!(std::thread::spawn(|| 42).join().unwrap(), 42);
    assert_eq!(std::fs::read(NOWHERE).unwrap_err().kind(), ErrorKind::NotFound);
    // AF_VSOCK is 40, AF_UNIX is not.
    let socket = |family| {
        rustix::net::socket(
            rustix::net::AddressFamily::from_raw(family),
            rustix::net::SocketType::STREAM,
            None,
        )
    };
    assert_eq!(socket(40).unwrap_err(), Errno::PERM);
    assert!(socket(1).is_ok());
    println!("filter held");
}
