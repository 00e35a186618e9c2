//! What was reserved for one container: everything that planning, inspection and release need, as it stands in the
//! container's state file.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use serde::{Deserialize, Serialize};

use crate::network::Driver;
use crate::ports::Published;
use crate::small::Small;
use crate::subnet::Subnet;
use crate::subnet6::Subnet6;

/// The name of the default network.
pub(crate) const DEFAULT: &str = "default";

/// A container's place in a network. A container has one for each of its networks, in the order of its links.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attachment {
    /// The container's id, 64 hexadecimal digits.
    pub id: String,
    /// The network: `default`, a small one's subnet, `10.0.0.0/24`, or the name of one that a user made.
    pub network: String,
    /// The id of a network that a user made.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub network_id: Option<String>,
    /// The network's bridge on the host; also the directory of the reservations of a network that a user made.
    pub bridge: String,
    /// The network's addresses.
    pub subnet: Subnet,
    /// The host's address on the bridge, the container's way out.
    pub gateway: Ipv4Addr,
    /// The container's address.
    pub address: Ipv4Addr,
    /// The length of its prefix in bits, the subnet's.
    pub prefix: u8,
    /// The container's MAC address.
    pub mac: [u8; 6],
    /// The host's end of the pair: `md` and the first eleven digits of the id.
    pub host_link: String,
    /// The container's end: `eth0`.
    pub link: String,
    /// The host's ports that lead to it. Of several networks the one with the way out has them, those of IPv6 too.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub ports: Vec<Published>,
    /// Its place in the IPv6 side of the network, where that has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub v6: Option<Place6>,
    /// Further names of the container on this network.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub aliases: Vec<String>,
    /// `--link-local-ip`: further addresses of the link.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub link_local: Vec<IpAddr>,
    /// How much its gateway is wanted as the container's way out: the most wins.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub priority: i32,
    /// This network is the container's way out: its default route of IPv4, and the ports of the host that lead to it.
    #[serde(default = "yes", skip_serializing_if = "is_yes")]
    pub way_out: bool,
    /// Likewise for IPv6.
    #[serde(default, skip_serializing_if = "is_no")]
    pub way_out6: bool,
    /// What the network's record says, of one that a user made.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub manner: Option<Manner>,
}

/// A container's place in the IPv6 side of a network.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Place6 {
    /// The network's addresses.
    pub subnet: Subnet6,
    /// The host's address on the bridge, the container's way out.
    pub gateway: Ipv6Addr,
    /// The container's address.
    pub address: Ipv6Addr,
}

/// How the links of a network that a user made are.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Manner {
    /// Bridge, macvlan or ipvlan.
    pub driver: Driver,
    /// No way out, and none in.
    pub internal: bool,
    /// Other networks that say the same are reached.
    pub open: bool,
    /// What leaves keeps the container's address.
    pub routed: bool,
    /// Its containers do not reach each other.
    pub apart: bool,
    /// The largest packet.
    pub mtu: Option<u32>,
    /// The tag of the bridge's ports, or of the parent.
    pub vlan: Option<u16>,
    /// The host's link that it stands beside.
    pub parent: Option<String>,
    /// The mode of a link beside another.
    pub mode: Option<String>,
}

fn is_zero(number: &i32) -> bool {
    *number == 0
}

fn yes() -> bool {
    true
}

fn is_yes(yes: &bool) -> bool {
    *yes
}

fn is_no(yes: &bool) -> bool {
    !yes
}

impl Attachment {
    /// How its link is made.
    pub fn driver(&self) -> Driver {
        self.manner.as_ref().map_or(Driver::Bridge, |manner| manner.driver)
    }

    /// Whether the network has no way out.
    pub fn is_internal(&self) -> bool {
        self.manner.as_ref().is_some_and(|manner| manner.internal)
    }

    /// The name of the network as users know it: `bridge` for the default one.
    pub fn network_name(&self) -> &str {
        if self.network == DEFAULT || self.network_id.is_none() { "bridge" } else { &self.network }
    }

    /// The directory of the network's reservations, below `addresses`.
    pub fn directory(&self) -> String {
        if self.network == DEFAULT || self.network_id.is_some() {
            self.bridge.clone()
        } else {
            Small { subnet: self.subnet, gateway: self.gateway }.directory()
        }
    }
}

/// The host's end of a container's pair. Eleven of the id's digits are all that fits in a link's name (15 bytes).
pub fn host_link(id: &str) -> String {
    format!("md{}", id.get(..11).unwrap_or(id))
}

/// So many networks a container can be in.
pub(crate) const MOST: usize = 36;

/// The host's end of the container's nth pair: the first has no more than the id's digits.
pub(crate) fn nth_host_link(id: &str, n: usize) -> String {
    match n {
        0 => host_link(id),
        n => format!("{}-{}", host_link(id), char::from_digit((n % MOST) as u32, 36).unwrap_or('0')),
    }
}

/// The digits of the id that a host's end of a pair is named after.
pub(crate) fn id_of_host_link(name: &str) -> Option<&str> {
    let digits = name.strip_prefix("md")?;
    let (id, more) = digits.split_at_checked(11)?;
    let further = more.is_empty() || more.len() == 2 && more.starts_with('-');
    (further && id.bytes().all(|digit| digit.is_ascii_hexdigit())).then_some(id)
}

/// Says which network is the container's way out, for each family: Docker's rule. The highest priority first, then one
/// with both families, then the first by name; never one that is internal.
pub fn choose_way_out(places: &mut [Attachment]) {
    let best = |places: &[Attachment], v6: bool| {
        let candidates = places
            .iter()
            .enumerate()
            .filter(|(_, place)| !place.is_internal() && (!v6 || place.v6.is_some()));
        candidates
            .min_by_key(|(_, place)| {
                (-i64::from(place.priority), place.v6.is_none(), place.network_name().to_owned())
            })
            .map(|(n, _)| n)
    };
    let (four, six) = (best(places, false), best(places, true));
    for (n, place) in places.iter_mut().enumerate() {
        (place.way_out, place.way_out6) = (four == Some(n), six == Some(n));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn further_links_are_named_and_known() {
        let id = "0123456789abcdef".repeat(4);
        for n in [0, 1, 9, 10, 35] {
            let name = nth_host_link(&id, n);
            assert!(name.len() <= 15);
            assert_eq!(id_of_host_link(&name), Some("0123456789a"));
        }
        assert_eq!(nth_host_link(&id, 10), "md0123456789a-a");
        for other in ["md-0123456789ab", "mdn0a00000018", "md0123456789a-", "md0123456789a-10", "minidocker0"]
        {
            assert_eq!(id_of_host_link(other), None, "{other}");
        }
    }
}
