//! The harness of the kernel tests: each test has a world of its own, and proves at its end that nothing of it is left.
//!
//! ```text
//! World::new()            state roots, a bridge's name, a control group and a "host" network namespace of its own
//!   .minidocker(["run", …]) -> Output       run to the end; killed and failed when it hangs
//!   .call(["run", …])       -> Call         the same with stdin, variables, a wrapper; .run(), .spawn(), .pty()
//!   .rootfs_inside()        -> Rootfs       a root directory with the reporter `inside` alone
//!   .rootfs_busybox()       -> Rootfs       one with busybox and its links
//!   .facts(["--memory", …]) -> Value        what `/inside facts` reports from such a container
//!   .group(id)              -> Group        a container's control group: its files, its processes
//!   .images(["pull", …])    -> Call         `minidocker` where registries are asked; registry::Registry is one
//! drop                      the leak check: every process, mount, link, control group, name and address that is left
//! ```
//!
//! A need that the machine does not meet is a panic: a test that was skipped has proved nothing. What depends on the
//! version of the control groups chooses what it expects by [`Version`].

#![forbid(unsafe_code)]

pub mod bundle;
mod call;
mod cgroups;
pub mod engines;
mod leaks;
mod machine;
mod output;
mod programs;
mod pty;
pub mod registry;
mod rootfs;
mod running;
mod world;

pub use call::Call;
pub use cgroups::{Group, Version};
pub use machine::{FAR, HOST, Machine};
pub use output::Output;
pub use programs::{emulated, may_raise, need, scaled};
pub use pty::Pty;
pub use rootfs::Rootfs;
pub use running::Running;
pub use world::{World, until};
