//! Typed kernel calls that rustix does not have: the only room with `unsafe`.
//!
//! Everything else is safe Rust over rustix. Descriptors are owned and close-on-exec; each `unsafe` block names the
//! precondition and who keeps it.

pub mod attributes;
pub mod bpf;
pub mod clock;
pub mod command;
pub mod disk;
pub mod inherited;
pub mod interface;
pub mod kvm;
pub mod mount;
pub mod names;
pub mod pidfd;
pub mod process;
pub mod seccomp;
pub mod signal;
pub mod terminal;
pub mod ticks;
