//! Real engines start the runtime: Docker, its Swarm mode, containerd, Podman, as the distribution packages them. What
//! they ask of a runtime is told by nothing else as well.
//!
//! Each test has a machine of its own with its own daemon (`minidocker_tests::engines`), and at its end nothing of its
//! containers may be left there. `MINIDOCKER_TEST_RUNTIME=/usr/sbin/runc` runs the same on another runtime.

mod containerd_engine;
mod docker_engine;
mod podman_engine;
mod swarm_engine;

use std::time::{Duration, Instant};

use minidocker_tests::scaled;

/// A shell script that catches signals: it says `ready`, `USR1` for that signal, and ends with 4 on SIGTERM.
const CATCHER: &str =
    "trap 'echo USR1' USR1; trap 'echo TERM; exit 4' TERM; echo ready; while :; do sleep 0.05; done";

/// Asks until the answer is there.
///
/// # Panics
/// Where it does not come, with what was there instead.
#[track_caller]
fn wait_for<T>(what: &str, mut ask: impl FnMut() -> Result<T, String>) -> T {
    let deadline = Instant::now() + scaled(Duration::from_secs(30));
    loop {
        match ask() {
            Ok(answer) => return answer,
            Err(instead) => {
                assert!(Instant::now() < deadline, "waited in vain until {what}; instead: {instead}")
            }
        }
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// `Ok` where `value` is the wanted one, else what it is.
fn is<T: PartialEq + std::fmt::Debug>(value: T, wanted: &T) -> Result<(), String> {
    if value == *wanted { Ok(()) } else { Err(format!("{value:?}")) }
}

/// `Ok` where `text` contains `part`, else the text.
fn has(text: String, part: &str) -> Result<(), String> {
    if text.contains(part) { Ok(()) } else { Err(text) }
}

/// The lines of an engine's answer that are not empty.
fn lines(text: &str) -> Vec<&str> {
    text.lines().map(str::trim).filter(|line| !line.is_empty()).collect()
}
