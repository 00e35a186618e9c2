//! What the caller says: where reservations live, which bridge, which network a container wants.

use std::net::{IpAddr, Ipv6Addr};
use std::path::PathBuf;

use crate::error::Error;
use crate::network::Network;
use crate::ports::Publish;
use crate::rate::{Rate, Rates};
use crate::subnet::{IpRequest, Subnet};
use crate::subnet6::Subnet6;

/// Where things are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// The engine's run state, `/run/minidocker`; reservations are files in `addresses` below it. On a file system
    /// that a reboot empties, as the links are.
    pub run_dir: PathBuf,
    /// Where the records of the networks are that users made, `/var/lib/minidocker/networks`: what a reboot keeps.
    pub networks: PathBuf,
    /// The bridge of the default network, `minidocker0`. Two engines on one host each need a bridge of their own.
    pub bridge: String,
    /// The user's choice of the default network's subnet; none takes the bridge's, or a free one.
    pub subnet: Option<Subnet>,
    /// The user's choice of its IPv6 addresses; none takes those that it has, if it has any.
    pub subnet6: Option<Wanted6>,
}

/// Which IPv6 addresses the default network is to have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wanted6 {
    /// These.
    This(Subnet6),
    /// A unique local network, the same for this machine and bridge at every choice.
    Any,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            run_dir: PathBuf::from("/run/minidocker"),
            networks: PathBuf::from("/var/lib/minidocker/networks"),
            bridge: "minidocker0".to_owned(),
            subnet: None,
            subnet6: None,
        }
    }
}

impl Settings {
    /// Where the reservations are: one directory for each network.
    pub(crate) fn addresses(&self) -> PathBuf {
        self.run_dir.join("addresses")
    }

    /// The bridge's name becomes a file's name too.
    pub(crate) fn check(&self) -> Result<(), Error> {
        let fits = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
        let name = &self.bridge;
        if name.is_empty() || name.len() > 15 || name.starts_with('.') || !name.chars().all(fits) {
            return Err(Error::BridgeName { name: name.clone() });
        }
        Ok(())
    }
}

/// What a container's network is to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Mode {
    /// A network namespace with loopback alone.
    None,
    /// The host's network namespace: nothing to do.
    Host,
    /// Another container's network namespace: nothing to do.
    Join,
    /// A link into a bridge.
    Bridge(BridgeRequest),
}

/// What of a connected container's networks the user chose.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct BridgeRequest {
    /// Its links, `eth0` first; none for one in the default network.
    pub links: Vec<LinkRequest>,
    /// `--publish`, and what `--publish-all` makes of exposed ports.
    pub publish: Vec<Publish>,
    /// `--network-rate`: what may go over its link.
    pub rates: Rates,
    /// `--network-share`: what is kept for it of what its network may carry.
    pub share: Option<Rate>,
}

/// One link of a container.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LinkRequest {
    /// The network, of those that users made; none for the default network.
    pub network: Option<Box<Network>>,
    /// `--ip`: the address; in the place of the default network it may bring a small network of its own.
    pub ip: Option<IpRequest>,
    /// `--ip6`.
    pub ip6: Option<Ipv6Addr>,
    /// `--mac-address`; none derives it from the address.
    pub mac: Option<[u8; 6]>,
    /// `--network-alias`.
    pub aliases: Vec<String>,
    /// `--link-local-ip`.
    pub link_local: Vec<IpAddr>,
    /// `gw-priority=`.
    pub priority: i32,
}
