//! The lab: the same work on the bare host, in a container and in a virtual machine, measured so that it can be
//! published.
//!
//! ```text
//! suite (TOML) ─▶ plan ─▶ measure ─▶ record (a directory of JSON) ─▶ statistics ─▶ report (HTML, Markdown, CSV, JSON)
//!                 random   environment: native, container, vm, …
//!                 order    parity: does it have what was asked?
//!                          sampler: what the host sees meanwhile
//! ```
//!
//! - `record`: what a run leaves on disk. The one thing that measuring and reporting share: whoever measures writes
//!   it, whoever reports reads it, and neither knows the other.
//! - `read`, `analysis`, `statistics`, `quantity`: a run in memory, its figures, what they can and cannot say, and how
//!   they are written.
//! - `explain`: sentences that the figures of a run carry; `report`, `compare`: what is shown of one run, and of two.
//! - `suite`, `reader`: what is to be measured, and what programs print of it.
//! - `run`: a whole run. `preflight` looks at the machine, `environment` has the command lines, `parity` tests what they
//!   give, `plan` draws the order, `measure` makes one measurement by a `session`, `sampler` looks on from outside.
//! - `inside`: the part of it that runs inside of an environment; `exchange`: how the two speak.

#![forbid(unsafe_code)]

pub mod analysis;
pub mod compare;
mod environment;
mod exchange;
pub mod explain;
#[cfg(test)]
mod fixture;
mod group;
mod host;
pub mod inside;
mod measure;
mod parity;
mod plan;
mod preflight;
pub mod progress;
pub mod quantity;
pub mod read;
pub mod reader;
pub mod record;
pub mod report;
pub mod run;
mod sampler;
mod session;
pub mod statistics;
pub mod suite;

pub use environment::NAMES as ENVIRONMENTS;
