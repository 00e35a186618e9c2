//! What was reserved for one container: everything that planning, inspection and release need, as it stands in the
//! container's state file.

use std::net::Ipv4Addr;

use serde::{Deserialize, Serialize};

use crate::ports::Published;
use crate::small::Small;
use crate::subnet::Subnet;

/// The name of the default network.
pub(crate) const DEFAULT: &str = "default";

/// A container's place in a bridged network.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attachment {
    /// The container's id, 64 hexadecimal digits.
    pub id: String,
    /// The network: `default`, or a small one's subnet, `10.0.0.0/24`.
    pub network: String,
    /// The network's bridge on the host.
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
    /// The host's ports that lead to it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub ports: Vec<Published>,
}

impl Attachment {
    /// The directory of the network's reservations, below `addresses`.
    pub(crate) fn directory(&self) -> String {
        if self.network == DEFAULT {
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
