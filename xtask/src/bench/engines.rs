//! Engines with a command line of Docker's kind, each with its own storage and control group in a place.

use std::ffi::OsStr;
use std::path::Path;

use anyhow::Result;

use super::place::{Group, Place};
use crate::process;

/// The one that is compared with the others.
pub(super) const OURS: &str = "minidocker";

/// One that is ready: its daemon runs, where it has one.
pub(super) struct Engine {
    pub(super) name: &'static str,
    pub(super) group: Group,
    /// Program and options before the command.
    pub(super) start: Vec<String>,
}

/// What Docker's daemon has for containers' networks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Bridge {
    /// No bridge.
    None,
    /// Its own, without rules of a firewall.
    Own,
    /// Its own, with published ports; with a process for each of them, or without.
    Published {
        /// `--userland-proxy`.
        proxy: bool,
    },
}

pub(super) fn owned<const N: usize>(words: [&str; N]) -> Vec<String> {
    words.map(str::to_owned).to_vec()
}

impl Engine {
    /// The programs of it that stay while containers run, by name.
    pub(super) fn programs(&self) -> Vec<&str> {
        match self.name {
            OURS => Path::new(&self.start[0]).file_name().and_then(OsStr::to_str).into_iter().collect(),
            "docker" => vec!["dockerd", "containerd", "containerd-shim-runc-v2", "docker-proxy"],
            _ => vec!["conmon"],
        }
    }

    /// A command of its.
    pub(super) fn command(&self, words: &[&[String]]) -> Vec<String> {
        [&self.start[..], &words.concat()].concat()
    }
}

/// minidocker.
pub(super) fn ours(place: &mut Place, program: &Path) -> Result<Engine> {
    let (root, run) = (place.path("minidocker"), place.path("minidocker-run"));
    let group = place.group(OURS)?;
    let program = program.display().to_string();
    let start =
        owned([&program, "--root", &root, "--run-root", &run, "--cgroup-parent", &group.containers()]);
    Ok(Engine { name: OURS, group, start })
}

/// Docker, if it is installed: its daemon is started.
pub(super) fn docker(place: &mut Place, bridge: Bridge) -> Result<Option<Engine>> {
    let (Some(_), Some(client)) = (process::find("dockerd"), docker_client()) else { return Ok(None) };
    // Two daemons at once each have a group.
    let group = match bridge {
        Bridge::Published { proxy: false } => place.group("docker-direct")?,
        _ => place.group("docker")?,
    };
    let socket = "unix:///run/docker.sock";
    let start = owned([&client, "-H", socket]);
    let words = "--exec-root /run/docker --pidfile /run/docker.pid --exec-opt native.cgroupdriver=cgroupfs";
    let mut daemon = owned(["dockerd", "-H", socket, "--data-root", &place.path("docker")]);
    daemon.extend(words.split(' ').map(str::to_owned));
    daemon.extend(owned(["--cgroup-parent", &group.containers()]));
    match bridge {
        Bridge::None => daemon.extend(owned(["--iptables=false", "--bridge", "none"])),
        Bridge::Own => {
            daemon.extend(owned(["--iptables=false", "--ip6tables=false", "--bip", "10.213.78.1/20"]));
        }
        Bridge::Published { proxy } => {
            let proxy = format!("--userland-proxy={proxy}");
            daemon.extend(owned(["--ip6tables=false", "--bip", "10.213.64.1/20", &proxy]));
        }
    }
    place.daemon(Some(&group), &daemon, &[&start[..], &owned(["version"])].concat())?;
    Ok(Some(Engine { name: "docker", group, start }))
}

/// Podman, if it is installed.
pub(super) fn podman(place: &mut Place) -> Result<Option<Engine>> {
    if process::find("podman").is_none() {
        return Ok(None);
    }
    let group = place.group("podman")?;
    let root = place.path("podman");
    let mut start =
        owned(["podman", "--root", &root, "--runroot", "/run/podman", "--storage-driver", "overlay"]);
    start.extend(owned(["--cgroup-manager", "cgroupfs", "--events-backend", "none"]));
    // As Docker's; crun refuses hybrid control groups.
    if let Some(runc) = process::find("runc") {
        start.extend(owned(["--runtime", &runc.display().to_string()]));
    }
    Ok(Some(Engine { name: "podman", group, start }))
}

/// The one that came with the daemon, where there are two.
fn docker_client() -> Option<String> {
    let own = Path::new("/usr/bin/docker");
    let found = own.exists().then(|| own.to_owned()).or_else(|| process::find("docker"));
    found.map(|path| path.display().to_string())
}
