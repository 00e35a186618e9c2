//! Isolation: what a container may see and do, and that nothing of it reaches the host or its neighbours.

mod capabilities;
mod escape;
mod host_image;
mod namespaces;
mod neighbours;
mod system_calls;
mod users;
mod views;
mod volumes;

use minidocker_tests::{Rootfs, World};
use serde_json::Value;

/// Runs a script by busybox's shell in a new container with these options; its standard output without the white
/// space around it.
#[track_caller]
fn shell(world: &World, root: &Rootfs, options: &[&str], script: &str) -> String {
    let overlay = root.overlay();
    let mut words = vec!["run", "--rm", "--rootfs", &overlay];
    words.extend(options);
    words.extend(["sh", "-c", script]);
    world.minidocker(words).text()
}

/// What the kernel answers to one attempt in a new container with these options.
#[track_caller]
fn attempt(world: &World, root: &Rootfs, options: &[&str], operation: &[&str]) -> String {
    let overlay = root.overlay();
    let mut words = vec!["run", "--rm", "--rootfs", &overlay];
    words.extend(options);
    words.extend(["/inside", "try"]);
    words.extend(operation);
    world.minidocker(words).text()
}

/// The facts of a process of the world outside of any container: in its "host" network namespace.
#[track_caller]
fn host_facts(world: &World) -> Value {
    let inside = world.inside_path();
    world.program([inside.to_str().expect("our own path is text"), "facts"]).run().json()
}

/// The words of a JSON list.
#[track_caller]
fn words(list: &Value) -> Vec<&str> {
    let list = list.as_array().unwrap_or_else(|| panic!("{list} is no list"));
    list.iter().map(|word| word.as_str().unwrap_or_else(|| panic!("{word} is no text"))).collect()
}
