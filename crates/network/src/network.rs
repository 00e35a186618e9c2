//! A network that a user made: what is kept of it, and what its options mean. The record is the engine's to write; this
//! room reads it with every request.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use serde::{Deserialize, Serialize};

use crate::subnet::Subnet;
use crate::subnet6::Subnet6;

/// How the containers of a network are connected.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Driver {
    /// A bridge of the host, which has an address on it.
    #[default]
    Bridge,
    /// Links beside one of the host's, each with a hardware address of its own.
    Macvlan,
    /// Links beside one of the host's, with its hardware address.
    Ipvlan,
    /// Nothing: loopback alone.
    None,
    /// The host's own network.
    Host,
}

impl Driver {
    /// `bridge`, `macvlan`, …
    pub const fn name(self) -> &'static str {
        match self {
            Self::Bridge => "bridge",
            Self::Macvlan => "macvlan",
            Self::Ipvlan => "ipvlan",
            Self::None => "none",
            Self::Host => "host",
        }
    }

    /// Whether its containers get links with addresses.
    pub const fn has_links(self) -> bool {
        matches!(self, Self::Bridge | Self::Macvlan | Self::Ipvlan)
    }
}

/// The IPv4 side of a network.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pool {
    /// Its addresses.
    pub subnet: Subnet,
    /// The way out: the host's address on a bridge.
    pub gateway: Ipv4Addr,
    /// `--ip-range`: only these are given to containers that ask for none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub range: Option<Subnet>,
    /// We chose it: it may be chosen anew when the host gets a route that it overlaps.
    #[serde(default)]
    pub chosen: bool,
}

/// The IPv6 side.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pool6 {
    /// Its addresses.
    pub subnet: Subnet6,
    /// The way out: the host's address on a bridge.
    pub gateway: Ipv6Addr,
    /// `--ip-range`: only these are given to containers that ask for none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub range: Option<Subnet6>,
}

impl Pool6 {
    /// All of a network, whose first address is the host's.
    pub(crate) const fn of(subnet: Subnet6) -> Self {
        Self { subnet, gateway: subnet.first(), range: None }
    }
}

/// A network that a user made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Network {
    /// 64 hexadecimal digits.
    pub id: String,
    /// Its name.
    pub name: String,
    /// Nanoseconds since 1970.
    pub created: u64,
    /// How it is made.
    pub driver: Driver,
    /// IPv4; none of a network without links.
    pub v4: Option<Pool>,
    /// IPv6, where it was asked for.
    #[serde(default)]
    pub v6: Option<Pool6>,
    /// `--internal`: no way out, and none in.
    #[serde(default)]
    pub internal: bool,
    /// `--attachable`: kept for who asks; containers may attach to every network here.
    #[serde(default)]
    pub attachable: bool,
    /// `--aux-address`: names of addresses that other machines of the network have.
    #[serde(default)]
    pub auxiliary: BTreeMap<String, IpAddr>,
    /// `--label`.
    #[serde(default)]
    pub labels: BTreeMap<String, String>,
    /// `--opt`, as typed.
    #[serde(default)]
    pub options: BTreeMap<String, String>,
}

/// Docker's names of options, and Podman's short ones.
const MTU: [&str; 2] = ["com.docker.network.driver.mtu", "mtu"];
const BRIDGE_NAME: &str = "com.docker.network.bridge.name";
pub(crate) const MASQUERADE: &str = "com.docker.network.bridge.enable_ip_masquerade";
pub(crate) const NEIGHBOURS: &str = "com.docker.network.bridge.enable_icc";

impl Network {
    fn option(&self, names: &[&str]) -> Option<&str> {
        names.iter().find_map(|name| self.options.get(*name)).map(String::as_str)
    }

    /// The bridge of the host: the one that was asked for, or `md-` and the first digits of the id. It is the name of
    /// the directory of reservations too, of networks without a bridge as well.
    pub fn bridge(&self) -> String {
        match self.option(&[BRIDGE_NAME]) {
            Some(name) if self.driver == Driver::Bridge => name.to_owned(),
            _ => format!("md-{}", self.id.get(..12).unwrap_or(&self.id)),
        }
    }

    /// Whether the bridge's name was asked for: a bridge of that name may be somebody else's.
    pub fn is_bridge_named(&self) -> bool {
        self.option(&[BRIDGE_NAME]).is_some()
    }

    /// The largest packet, where it was asked for.
    pub fn mtu(&self) -> Option<u32> {
        self.option(&MTU)?.parse().ok()
    }

    /// The tag of IEEE 802.1Q: of the ports of a bridge, or of the parent's link.
    pub fn vlan(&self) -> Option<u16> {
        self.option(&["vlan"])?.parse().ok()
    }

    /// The host's link that those of containers stand beside: with a tag the tagged one.
    pub fn parent(&self) -> Option<String> {
        let parent = self.option(&["parent"])?;
        Some(match self.vlan() {
            Some(vlan) => format!("{parent}.{vlan}"),
            None => parent.to_owned(),
        })
    }

    /// The mode of a macvlan or ipvlan link, where it was asked for: `bridge`, `private`, `vepa`, `passthru`; `l2`, `l3`.
    pub fn mode(&self) -> Option<&str> {
        self.option(&["macvlan_mode", "ipvlan_mode", "mode"])
    }

    /// Whether other networks may be reached, where those say the same: `isolate=false`.
    pub fn is_open(&self) -> bool {
        self.option(&["isolate", "com.docker.network.bridge.isolate"]) == Some("false")
    }

    /// Whether what leaves the network gets the host's address.
    pub fn masquerades(&self) -> bool {
        self.option(&[MASQUERADE]) != Some("false")
    }

    /// Whether its containers do not reach each other, but by published ports: `enable_icc=false`.
    pub fn is_apart(&self) -> bool {
        self.option(&[NEIGHBOURS]) == Some("false")
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    pub(crate) fn network(name: &str, subnet: &str) -> Network {
        let subnet: Subnet = subnet.parse().unwrap();
        Network {
            id: "ab".repeat(32),
            name: name.to_owned(),
            created: 0,
            driver: Driver::Bridge,
            v4: Some(Pool { subnet, gateway: subnet.first(), range: None, chosen: false }),
            v6: None,
            internal: false,
            attachable: false,
            auxiliary: BTreeMap::new(),
            labels: BTreeMap::new(),
            options: BTreeMap::new(),
        }
    }

    #[test]
    fn options_have_dockers_names_and_podmans() {
        let with = |key: &str, value: &str| {
            let mut network = network("web", "10.7.0.0/24");
            network.options.insert(key.to_owned(), value.to_owned());
            network
        };
        assert_eq!(network("web", "10.7.0.0/24").bridge(), "md-abababababab");
        assert_eq!(with("com.docker.network.bridge.name", "br7").bridge(), "br7");
        assert_eq!(with("com.docker.network.driver.mtu", "1400").mtu(), Some(1400));
        assert_eq!(with("mtu", "9000").mtu(), Some(9000));
        let mut tagged = with("parent", "eth0");
        tagged.options.insert("vlan".to_owned(), "7".to_owned());
        assert_eq!(tagged.parent().as_deref(), Some("eth0.7"));
        assert!(with("isolate", "false").is_open() && !with("isolate", "true").is_open());
        assert!(!with(MASQUERADE, "false").masquerades() && with("x", "y").masquerades());
        assert!(with(NEIGHBOURS, "false").is_apart() && !with(NEIGHBOURS, "true").is_apart());
    }
}
