//! Virtual machines: QEMU, started directly with a kernel of the host, and this very program as its init.
//!
//! ```text
//!   host                                          guest
//!   Machine::start   kernel, initramfs in memory
//!     virtiofsd …    one for each shared tree
//!     qemu ────────────────────────────────────▶  kernel → /init → guest::main
//!     Machine::run                                  modules, root, mounts, network
//!       ◀── Mark … ── Output, Error ── Exit ──      the command, a child of init
//!       ─── Input, InputEnd, Signal, Size ────▶
//!     what it took ◀────────────────────────────  power off
//! ```
//!
//! Both sides speak in frames over one port (virtio-serial). Nothing of a machine has a name on the host: sockets, disks
//! and the initramfs are descriptors that QEMU and the daemons inherit, and all of these die with the command.

#![forbid(unsafe_code)]

pub mod accelerator;
pub mod cpio;
mod devices;
mod frame;
pub mod guest;
mod initramfs;
pub mod kernel;
mod machine;
mod session;
pub mod settings;
mod share;
pub mod timings;

pub use accelerator::Accelerator;
pub use devices::{Disk, Hardware, clock_word};
pub use kernel::Kernel;
pub use machine::{LEAST_MEMORY, Machine, Plan, Root, Tree, check_host};
pub use session::{Ended, terminal_size};
pub use settings::Settings;
pub use sys::ticks::Ticks;
pub use timings::Timings;
