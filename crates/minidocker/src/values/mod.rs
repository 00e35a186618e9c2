//! The values of options, each kind in a file of its own: pure readers of text, whose refusal is a reason with an
//! example, to stand behind the option and the value in one line.

pub(crate) mod addresses;
pub(crate) mod booleans;
pub(crate) mod capabilities;
pub(crate) mod cpus;
pub(crate) mod csv;
pub(crate) mod devices;
pub(crate) mod disks;
pub(crate) mod durations;
pub(crate) mod env;
pub(crate) mod health;
pub(crate) mod mounts;
pub(crate) mod names;
pub(crate) mod namespaces;
pub(crate) mod networks;
pub(crate) mod numbers;
pub(crate) mod pods;
pub(crate) mod ports;
pub(crate) mod rates;
pub(crate) mod restarts;
pub(crate) mod security;
pub(crate) use engine::signals;
pub(crate) mod sizes;
pub(crate) mod streams;
pub(crate) mod sysctls;
pub(crate) mod ulimits;
pub(crate) mod volumes;
