//! Where a test runs: here if CRIU works on this kernel, else in the QEMU machine, with Debian's kernel. Nothing is
//! skipped.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;

use criu::Criu;
use rustix::mount::MountPropagationFlags;
use rustix::thread::UnshareFlags;

use crate::world::need;

/// Set inside of the machine: from there it goes no further.
const INSIDE: &str = "MINIDOCKER_CRIU_IN_MACHINE";

/// Runs `test` with CRIU, in a thread with mounts and network of its own, or sees to it that it passes in the machine.
pub(crate) fn with_criu(test: impl FnOnce(Criu) + Send + 'static) {
    with_criu_if(Ok(()), test);
}

/// The same for a test that needs more than CRIU.
pub(crate) fn with_criu_if(more: Result<(), &str>, test: impl FnOnce(Criu) + Send + 'static) {
    assert!(rustix::process::geteuid().is_root(), "the tests with CRIU must run as root");
    // What the caller of the tests left open would be a file of the host in the containers.
    sys::process::close_on_exec_from(3).unwrap();
    let path = std::env::var_os("MINIDOCKER_CRIU").map(PathBuf::from);
    let criu = Criu::find(path.as_deref())
        .unwrap_or_else(|error| panic!("this test needs CRIU: {error}; `cargo xtask setup` installs it"));
    static WORKS: OnceLock<Result<(), String>> = OnceLock::new();
    let works = WORKS.get_or_init(|| criu.check().map_err(|error| error.to_string())).as_ref();
    match works.map_err(String::as_str).and(more.as_ref().map_err(|error| *error)) {
        Ok(()) => run(criu, test),
        Err(error) if std::env::var_os(INSIDE).is_some() => panic!("in the QEMU machine: {error}"),
        Err(error) => must_pass_in_machine(error),
    }
}

fn run(criu: Criu, test: impl FnOnce(Criu) + Send + 'static) {
    let thread = std::thread::spawn(|| {
        // Mounts and network of this thread alone; neither memory nor descriptors are concerned. A network of its own
        // also keeps CRIU 3.17 from meeting itself: all its restores bind sockets of the same names.
        #[allow(deprecated)]
        rustix::thread::unshare(UnshareFlags::NEWNS | UnshareFlags::NEWNET).unwrap();
        // CRIU finds out what the kernel can do by a connection to itself.
        let up = Command::new(need("busybox")).args(["ip", "link", "set", "lo", "up"]).status().unwrap();
        assert!(up.success());
        let private = MountPropagationFlags::PRIVATE | MountPropagationFlags::REC;
        rustix::mount::mount_change("/", private).unwrap();
        test(criu);
    });
    if let Err(panic) = thread.join() {
        std::panic::resume_unwind(panic);
    }
}

/// Booting takes seconds: all tests of this program run in one machine, and each looks for its own line.
fn must_pass_in_machine(why: &str) {
    static OUTPUT: OnceLock<String> = OnceLock::new();
    let output = OUTPUT.get_or_init(|| {
        eprintln!("{why}\nall tests of this program run in the QEMU machine instead");
        all_in_machine()
    });
    let this = std::thread::current();
    let line = match this.name() {
        // With one thread for all tests they have no names.
        None | Some("main") => "test result: ok.".to_owned(),
        Some(name) => format!("test {name} ... ok"),
    };
    assert!(output.contains(&line), "no `{line}` from the QEMU machine:\n{output}");
}

fn all_in_machine() -> String {
    let repository = Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(2).unwrap();
    let program = std::env::current_exe().unwrap();
    let line = format!("{INSIDE}=1 '{}' --test-threads=2 2>&1", program.display());
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(cargo);
    command.args(["run", "--quiet", "--locked", "--package", "xtask", "--", "vm", "--", &line]);
    let output = command.current_dir(repository).stdin(Stdio::null()).output().unwrap();
    // The exit code says less than the lines do: one test that fails there fails one here.
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}
