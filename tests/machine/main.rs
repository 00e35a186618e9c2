//! What needs another machine than the one that builds: a real systemd, a kernel that CRIU knows. Run in the QEMU
//! machine by `cargo xtask e2e --cgroup all`, or alone by `cargo xtask e2e --systemd`.

mod checkpoint;
mod systemd;
