//! Where the engine keeps things, and the names it gives to what it makes on the host.

use std::path::PathBuf;

/// Below the root: records of networks, and what else of them survives a reboot.
pub(crate) const NETWORKS: &str = "networks";

/// The engine's settings: from global options, else from the environment, else these defaults.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// `--root`, `MINIDOCKER_ROOT`: what survives a reboot.
    pub root: PathBuf,
    /// `--run-root`, `MINIDOCKER_RUN_ROOT`: what does not.
    pub run_root: PathBuf,
    /// `--bridge`, `MINIDOCKER_BRIDGE`: the bridge of the default network.
    pub bridge: String,
    /// `--subnet`, `MINIDOCKER_SUBNET`: of the default network, `172.30.0.0/16`; chosen by the engine if absent.
    pub subnet: Option<String>,
    /// `--subnet6`, `MINIDOCKER_SUBNET6`: its IPv6 addresses, `fd00:7::/64` or `auto`; none where absent.
    pub subnet6: Option<String>,
    /// `--cgroup-parent` before the command, `MINIDOCKER_CGROUP_PARENT`: below which containers' groups are made.
    pub cgroup_parent: String,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            root: "/var/lib/minidocker".into(),
            run_root: "/run/minidocker".into(),
            bridge: "minidocker0".to_owned(),
            subnet: None,
            subnet6: None,
            cgroup_parent: "/minidocker".to_owned(),
        }
    }
}

impl Settings {
    /// For the network room.
    pub(crate) fn network(&self) -> network::Settings {
        network::Settings {
            run_dir: self.run_root.clone(),
            networks: self.root.join(NETWORKS),
            bridge: self.bridge.clone(),
            subnet: None,
            subnet6: None,
        }
    }

    /// For the storage room.
    pub(crate) fn places(&self) -> storage::Places {
        storage::Places { root: self.root.clone(), run_root: self.run_root.clone() }
    }

    /// The control group of a container: below the parent that its user chose, or ours.
    pub(crate) fn group(&self, parent: Option<&str>, id: &str) -> String {
        let parent = parent.unwrap_or(&self.cgroup_parent).trim_matches('/');
        if parent.is_empty() { format!("/{id}") } else { format!("/{parent}/{id}") }
    }
}
