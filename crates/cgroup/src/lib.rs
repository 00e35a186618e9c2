//! Control groups v1 (legacy, hybrid) and v2 behind one small interface: what the host offers, what is asked for,
//! the plan of file writes that follows from both, and the group that comes of it.
//!
//! The way through: [`Hierarchies::probe`] (two reads) and [`Limits::from_oci`] (pure) give [`plan`] (pure), whose
//! steps the monitor and the container's init take; afterwards [`Group`] is the handle on the running group.
//! Where v1 and v2 differ is told in two files only, `v1.rs` and `v2.rs`: which file takes which value, in which
//! order, and why.

#![forbid(unsafe_code)]

mod check;
pub mod devices;
mod entry;
#[doc(hidden)]
pub mod fuzz;
mod group;
mod hierarchies;
mod kernfs;
pub mod limits;
pub mod oom;
mod plan;
mod rdt;
pub mod stats;
mod step;
pub mod systemd;
mod update;
mod usable;
mod usage;
mod v1;
mod v2;
mod watch;
mod write;

#[cfg(test)]
mod kernel_tests;

pub use check::{Check, Expect};
pub use entry::entry;
pub use group::{Group, below};
pub use hierarchies::{Controller, Hierarchies, Mount, Version};
pub use limits::Limits;
pub use plan::{Plan, View, plan, plan_over};
pub use rdt::check_rdt;
pub use stats::Stats;
pub use step::Step;
pub use update::update;
pub use usable::check_usable;
pub use usage::{BlockUse, Usage};
pub use watch::{OomWatch, Woken};
pub use write::{Missing, Now, Purpose, Write};
