//! What an OCI runtime does: containers made from bundles, for engines that start one command per operation (Docker,
//! containerd, CRI-O, Podman). The operations, their order and their words are those of the OCI runtime
//! specification and, where that is silent, of runc, whose command line these engines were written against.
//!
//! - `ops`: one file per operation.
//! - `store`: what is on disk between two commands; whether a container runs is asked of the kernel.
//! - `config`: config.json, read and checked.
//! - `prepare`: config.json becomes a container that the runtime room can plan.
//! - `status`: created, running, paused, stopped.
//! - `guard`: this program cannot be written to from inside of a container.
//! - `foreground`: a program whose end is waited for.
//! - `outside`: what of a container is not in the images that CRIU makes of it.
//! - `console`, `notify`: descriptors handed to the engine over its sockets.

#![forbid(unsafe_code)]

mod clock;
mod config;
mod console;
mod debug;
mod error;
mod foreground;
mod guard;
mod keys;
mod notify;
pub mod ops;
mod outside;
mod prepare;
mod status;
mod store;

use std::path::PathBuf;

pub use config::parse_resources;
pub use error::Error;
pub use guard::read_only_self;
pub use status::Status;

/// What holds for every operation: runc's global options.
#[derive(Debug, Clone)]
pub struct Settings {
    /// `--root`: where the containers' directories are.
    pub root: PathBuf,
    /// `--systemd-cgroup`: systemd makes the control groups.
    pub systemd_cgroup: bool,
    /// `--criu`: another name or place of the program.
    pub criu: Option<PathBuf>,
    /// `--rootless`: whether control groups that may not be made are done without; none: where this is not root.
    pub rootless: Option<bool>,
    /// `--debug`: takes what is done, step by step.
    pub debug: Option<fn(&str)>,
    /// Takes a warning: something was passed over, and the operation goes on.
    pub warn: fn(&str),
}

/// Where containers are kept unless `--root` says otherwise: /run, which a reboot empties with them.
pub const DEFAULT_ROOT: &str = "/run/minidocker-runtime";

/// What `create` plans for the text of a config.json on a host with these control groups, in a bundle that is nowhere:
/// all of it that touches nothing. For the fuzz targets alone (`fuzz/properties`).
///
/// # Errors
/// Those of `create` up to there.
#[doc(hidden)]
pub fn plan_config(text: &[u8], hierarchies: &cgroup::Hierarchies) -> Result<runtime::Plan, Error> {
    let (spec, warnings) = config::parse(text)?;
    config::check(&spec)?;
    let path = PathBuf::from("/proc/no-such-host/bundle");
    let Some(root) = spec.root().as_ref() else { return Err(Error::new("config.json has no root.path")) };
    let rootfs = path.join(root.path());
    let bundle = config::Bundle { path, rootfs, spec, warnings };
    let (spec, id) = (&bundle.spec, "0123456789ab");
    let group = prepare::group_path(spec, id)?;
    let limits = prepare::limits(spec)?;
    let confined = prepare::has(spec, oci::spec::LinuxNamespaceType::User);
    let groups = prepare::own_groups(hierarchies, &group, &limits, confined)?;
    let asked = prepare::Asked {
        id,
        gate: Some("/proc/no-such-host/state".into()),
        no_pivot: false,
        no_new_keyring: false,
        preserve_fds: 0,
        plain_newlines: false,
        listen_fds: 1,
    };
    Ok(runtime::plan(prepare::container(&bundle, asked, groups, |_| ())?)?)
}
