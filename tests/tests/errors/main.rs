//! Bad input: one `error:` line with the cause, the right exit code, nothing left behind.

mod every_command;
mod files;
mod programs;
mod rootfs;
mod state;
mod values;

use minidocker_tests::{Output, Rootfs, World};

/// `run --rm OPTIONS` of `/inside true` on a root directory.
#[track_caller]
fn run(world: &World, root: &Rootfs, options: &[&str]) -> Output {
    world.minidocker([&["run", "--rm", "--rootfs", &root.overlay()], options, &["/inside", "true"]].concat())
}
