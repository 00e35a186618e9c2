//! From an OCI specification to a running process: a pure plan of steps, and one launch that performs it.
//!
//! - `container`: what is given.
//! - `plan`: the specification becomes two lists of steps, the monitor's and init's, with meeting points. Pure.
//! - `launch`: the two processes, top to bottom, with the sequence diagram.
//! - `steps`: what each step says and does, a file per kernel domain.
//! - `program`: finding what to execute, and saying why it cannot be.
//! - `script`: the same plan as a shell script.

#![forbid(unsafe_code)]

mod container;
mod copy_up;
mod launch;
mod message;
pub mod options;
pub mod path;
mod plan;
mod program;
mod script;
mod steps;
mod stub;

pub use container::{
    Container, First, GroupSteps, GroupView, Hooks, Manner, NetworkSteps, RootSteps, VolumeSource,
};
pub use launch::{Parent, Running, Stdio, launch, open_gate};
pub use plan::{Entry, Exec, Plan, Point, plan, plan_exec};
pub use script::script;
pub use steps::gate::is_waiting;
pub use steps::hooks::{run as run_hooks, state_at};
