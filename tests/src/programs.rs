//! The programs that the tests start, and what they need of the machine. What is missing is a panic with the way out.

use std::path::{Path, PathBuf};
use std::time::Duration;

/// Whether this is an emulated machine, some 20 times slower: counts are smaller there, patience longer.
pub fn emulated() -> bool {
    std::env::var_os("MINIDOCKER_EMULATED").is_some_and(|value| !value.is_empty())
}

/// `time`, as long as this machine needs for it.
pub fn scaled(time: Duration) -> Duration {
    if emulated() { time * 20 } else { time }
}

/// The minidocker under test: `MINIDOCKER_BIN`, else the debug build beside the tests.
pub(crate) fn minidocker() -> PathBuf {
    find("MINIDOCKER_BIN", "minidocker", "minidocker")
}

/// The reporter: `MINIDOCKER_INSIDE`, else the debug build beside the tests.
pub(crate) fn inside() -> PathBuf {
    find("MINIDOCKER_INSIDE", "inside", "inside")
}

fn find(variable: &str, name: &str, package: &str) -> PathBuf {
    let path = match std::env::var_os(variable).filter(|value| !value.is_empty()) {
        Some(path) => PathBuf::from(path),
        // target/<tuple>/debug/deps/<test>-<hash>: the programs are one up.
        None => {
            let test = std::env::current_exe().expect("the path of this test");
            test.parent().and_then(Path::parent).map_or_else(PathBuf::new, |dir| dir.join(name))
        }
    };
    assert!(
        path.is_file(),
        "there is no {name} at {}: build it with `cargo build -p {package}`, or set {variable}",
        path.display()
    );
    path
}

/// A program of the machine by its name.
///
/// # Panics
/// Where it is missing.
pub fn need(name: &str) -> PathBuf {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let found = std::env::split_paths(&path).map(|dir| dir.join(name)).find(|path| path.is_file());
    found.unwrap_or_else(|| {
        panic!("this test needs `{name}`, which is not in PATH: `cargo xtask setup` installs it")
    })
}

/// Asserts that the tests run as root.
pub(crate) fn need_root() {
    assert!(rustix::process::geteuid().is_root(), "the kernel tests must run as root: sudo -E cargo test …");
}

/// Whether root has CAP_SYS_RESOURCE here: without it, as in some virtual machines, no limit can be raised.
pub fn may_raise() -> bool {
    let sets = rustix::thread::capabilities(None).expect("the capabilities of this process");
    sets.effective.contains(rustix::thread::CapabilitySet::SYS_RESOURCE)
}
