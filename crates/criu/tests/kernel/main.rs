//! Dumps and restores by the real CRIU, each of a small container that the test makes itself (see `world`).
//!
//! Needs root, criu(8), unshare(1) and busybox: `cargo xtask setup`. The CRIU is that of PATH or of MINIDOCKER_CRIU.
//! Where it does not work on this kernel, which is what a distribution's CRIU comes to when only the kernel is renewed,
//! the tests run in the QEMU machine instead and must pass there (see `machine`).

mod failures;
mod machine;
mod memory;
mod outside;
mod plain;
mod world;
