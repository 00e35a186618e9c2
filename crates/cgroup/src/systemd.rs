//! Groups as units of systemd, on hosts where it is process 1 and keeps the control groups: what runc's
//! `--systemd-cgroup` does, and containerd, CRI-O, Docker and Podman ask for.
//!
//! The way through: [`Unit::parse`] (pure) reads the specification's `cgroupsPath`, [`annotations`] (pure) its
//! properties; [`Manager::connect`] reaches systemd and gives [`Facts`]; [`plan`] (pure) puts [`Step::Start`] before
//! the steps of [`crate::plan`], which write to the unit's files as to any group's. Later [`update`], and
//! [`Step::Stop`] when the processes are dead.
//!
//! ```text
//!   cgroupsPath ── Unit ──┐
//!   limits ── translate ──┼── plan ──▶ clone, Start (init's pid), make what is missing, write, join, …
//!   annotations ──────────┘
//! ```
//!
//! systemd removes a scope, its directory included, when its last process ends: what is to be read of the group
//! (`memory.events`) must be read before.
//!
//! D-Bus is spoken by this module itself (`bus.rs` and what it uses): a client of eight methods over one blocking
//! socket. Nothing here runs, and nothing is connected, where nobody asks for it.

mod annotations;
mod bus;
mod devices;
#[doc(hidden)]
pub mod fuzz;
mod manager;
mod message;
mod place;
mod properties;
mod steps;
mod text;
mod unit;
mod value;
mod wire;

#[cfg(test)]
mod kernel_tests;

pub use annotations::properties as annotations;
pub use manager::{Facts, Manager};
pub use properties::{Property, Translation, translate};
pub use steps::{Request, Step, plan, update};
pub use unit::{Unit, expand_slice};
pub use value::{Type, Value};
