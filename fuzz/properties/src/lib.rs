//! What must hold for any input: one function for each target of the fuzzer. It panics where it does not hold.
//!
//! The fuzzer's own programs (`fuzz/fuzz_targets`) call these, and `tests/corpus.rs` calls them with the inputs that are
//! kept in `fuzz/corpus`: so what was found once is tried by every `cargo test`, without the fuzzer.

#![forbid(unsafe_code)]

mod addresses;
mod bpf;
mod bus_message;
mod bytes;
mod cgroup_files;
mod config;
mod devices;
mod dockerfile;
mod hosts;
mod image_archives;
mod image_names;
pub mod json;
mod layer;
mod logs;
mod mount_options;
mod names;
mod policy;
mod registry_answers;
mod script;
mod seccomp_json;
mod seccomp_rules;
mod systemd_text;

pub use addresses::addresses;
pub use bus_message::bus_message;
pub use cgroup_files::cgroup_files;
pub use config::{GRAMMAR as CONFIG_GRAMMAR, config};
pub use devices::devices;
pub use dockerfile::dockerfile;
pub use image_archives::image_archives;
pub use image_names::image_names;
pub use layer::layer;
pub use logs::logs;
pub use mount_options::mount_options;
pub use names::names;
pub use registry_answers::registry_answers;
pub use seccomp_json::{GRAMMAR as SECCOMP_GRAMMAR, seccomp_json};
pub use seccomp_rules::seccomp_rules;
pub use systemd_text::systemd_text;

/// A target's name, and what it does with an input.
pub type Target = (&'static str, fn(&[u8]));

/// All targets, by name.
pub const TARGETS: [Target; 16] = [
    ("addresses", addresses),
    ("bus_message", bus_message),
    ("cgroup_files", cgroup_files),
    ("config", config),
    ("devices", devices),
    ("dockerfile", dockerfile),
    ("image_archives", image_archives),
    ("image_names", image_names),
    ("layer", layer),
    ("logs", logs),
    ("mount_options", mount_options),
    ("names", names),
    ("registry_answers", registry_answers),
    ("seccomp_json", seccomp_json),
    ("seccomp_rules", seccomp_rules),
    ("systemd_text", systemd_text),
];
