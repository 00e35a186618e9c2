//! Why a container gets no place in a network, and the way out.

use std::io;
use std::net::{IpAddr, Ipv4Addr};
use std::path::PathBuf;

use step::Failure;

use crate::ports::Protocol;
use crate::subnet::Subnet;

/// A reservation that failed. Nothing was made.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The address belongs to a container or to the host's side.
    #[error("address {address} is taken by {owner}")]
    Taken {
        /// The address asked for.
        address: IpAddr,
        /// Whose it is, by name.
        owner: String,
    },
    /// The address is the network's own or its broadcast address.
    #[error("address {address} cannot be a container's: it is the {what} address of {subnet}")]
    Reserved {
        /// The address asked for.
        address: Ipv4Addr,
        /// `network` or `broadcast`.
        what: &'static str,
        /// The network it lies in.
        subnet: Subnet,
    },
    /// The network, or some of it, is somebody else's.
    #[error("network {wanted} overlaps {owner}")]
    Overlap {
        /// The network asked for.
        wanted: Subnet,
        /// Whose it is: `route 10.0.0.0/8 dev tun0`, `network 10.0.0.0/24 of container web`.
        owner: String,
        /// The way out, if there is a better one than another address.
        hint: Option<String>,
    },
    /// The network cannot be a container's at all.
    #[error("network {subnet} cannot be used: {why}")]
    Unusable {
        /// The network asked for.
        subnet: Subnet,
        /// What is in the way.
        why: String,
    },
    /// The user chose another subnet than the bridge has.
    #[error("bridge {bridge} has {has}, not the chosen subnet {wanted}")]
    BridgeDiffers {
        /// The bridge of the default network.
        bridge: String,
        /// Its addresses.
        has: String,
        /// The user's choice.
        wanted: Subnet,
    },
    /// No network of the list is free on this host.
    #[error(
        "no private network is free for bridge {bridge}: every candidate overlaps a route or address of the host"
    )]
    NoCandidate {
        /// The bridge of the default network.
        bridge: String,
    },
    /// Every address is a container's.
    #[error("network {subnet} on {bridge} is full: its {usable} addresses are taken")]
    Full {
        /// The default network.
        subnet: Subnet,
        /// Its bridge.
        bridge: String,
        /// How many containers it has room for.
        usable: u32,
    },
    /// No interface can have this name.
    #[error("'{}' cannot be a bridge's name", name.escape_default())]
    BridgeName {
        /// The name.
        name: String,
    },
    /// No container can have this id.
    #[error("'{}' is no container's id", id.escape_default())]
    Id {
        /// The id.
        id: String,
    },
    /// A port of the host belongs to a container or to a program.
    #[error("port {port}/{protocol} of {} is taken by {owner}", host_words(address))]
    PortTaken {
        /// The host's address.
        address: IpAddr,
        /// The port.
        port: u16,
        /// Its protocol.
        protocol: Protocol,
        /// Whose it is: a container, or a program with its pid.
        owner: String,
    },
    /// All ports that would do are taken.
    #[error("no {protocol} port from {first} to {last} is free on this host")]
    NoPort {
        /// The first.
        first: u16,
        /// The last.
        last: u16,
        /// Their protocol.
        protocol: Protocol,
    },
    /// Ports cannot be published on an address that the host does not have.
    #[error("cannot publish on {address}: this host has no such address")]
    PortAddress {
        /// The address.
        address: IpAddr,
    },
    /// What reaches the host by IPv6 cannot go on to a container that has none.
    #[error("cannot publish {what}: the container has no IPv6 address")]
    PortFamily {
        /// What was asked for.
        what: String,
    },
    /// Nobody would be answered there.
    #[error(
        "cannot publish {what}: this host filters its bridges, and takes no answer of a container for ::1 then"
    )]
    PortLoopback6 {
        /// What was asked for.
        what: String,
    },
    /// No network has this name or id.
    #[error("network {name} not found")]
    NoNetwork {
        /// What was asked for.
        name: String,
    },
    /// A network has this name.
    #[error("network with name {name} already exists")]
    NetworkExists {
        /// The name.
        name: String,
    },
    /// No network can have this name.
    #[error("'{}' cannot be a network's name", name.escape_default())]
    NetworkName {
        /// The name.
        name: String,
    },
    /// The ids of several networks begin so.
    #[error("network id {id} is ambiguous: several networks begin with it")]
    NetworkAmbiguous {
        /// The beginning.
        id: String,
    },
    /// A network that is there without being made stays.
    #[error("{name} is a pre-defined network and cannot be removed")]
    BuiltIn {
        /// Its name.
        name: String,
    },
    /// A network with containers stays.
    #[error("error while removing network: network {name} has active endpoints: {}", who.join(", "))]
    InUse {
        /// The network.
        name: String,
        /// Its containers by name and id.
        who: Vec<String>,
    },
    /// A bridge belongs to somebody else.
    #[error("bridge {bridge} is taken by {owner}")]
    BridgeTaken {
        /// The bridge's name.
        bridge: String,
        /// Whose it is.
        owner: String,
    },
    /// A new network that contradicts itself or the host.
    #[error("{what}")]
    Design {
        /// What is wrong with what.
        what: String,
        /// The way out.
        hint: String,
    },
    /// The host has got a route of its own to a network of ours that nobody is in: it is chosen anew.
    #[error("network {} overlaps {owner}", network.name)]
    Clash {
        /// The network.
        network: Box<crate::network::Network>,
        /// The route, in words.
        owner: String,
    },
    /// An address that is not of the network that it was asked for.
    #[error("address {address} is not of network {network}")]
    Outside {
        /// The address.
        address: IpAddr,
        /// The network's name.
        network: String,
        /// The network's addresses of that family; empty for none.
        subnet: String,
    },
    /// Every address of a network is somebody's.
    #[error("network {network} is full: none of its {count} addresses from {range} is free")]
    NetworkFull {
        /// The network's name.
        network: String,
        /// Where addresses come from.
        range: String,
        /// How many there are.
        count: u32,
    },
    /// A container can have so many links.
    #[error("a container can be in {most} networks at most")]
    TooMany {
        /// That many.
        most: usize,
    },
    /// A share of a network that may carry anything is no share.
    #[error("network {network} has no rate that a share could be of")]
    NoTotal {
        /// The network.
        network: String,
    },
    /// A record that cannot be read.
    #[error("{} {why}", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
    },
    /// A reservation's file could not be read or written.
    #[error("cannot {action} {}: {}", path.display(), step::words(source))]
    File {
        /// `create`, `read`.
        action: &'static str,
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The kernel refused to tell or to do something.
    #[error(transparent)]
    Kernel(#[from] Failure),
}

/// The host's address, or all of them.
fn host_words(address: &IpAddr) -> String {
    if address.is_unspecified() { "this host".to_owned() } else { address.to_string() }
}

impl Error {
    /// What the user can do about it.
    pub fn hint(&self) -> Option<String> {
        Some(match self {
            Self::Taken { .. } => "choose another address, or leave --ip off and get a free one".into(),
            Self::Reserved { subnet, .. } => {
                format!("choose an address from {} to {}", subnet.first(), subnet.last())
            }
            Self::Overlap { hint: Some(hint), .. } => hint.clone(),
            Self::Overlap { .. } => {
                "choose an address in a network that this host does not reach otherwise".into()
            }
            Self::Unusable { .. } => "choose a private network, such as 10.7.0.0/24, prefix 8 to 30".into(),
            Self::BridgeDiffers { bridge, .. } => format!(
                "leave the subnet off, or stop all containers, remove the bridge (ip link delete {bridge}) and start \
                 again"
            ),
            Self::NoCandidate { .. } => {
                "choose the default network's subnet yourself: --subnet, MINIDOCKER_SUBNET".into()
            }
            Self::Full { .. } => {
                "stop containers, or give this one another network: minidocker network create, --network".into()
            }
            Self::BridgeName { .. } => {
                "use at most 15 letters, digits, '-', '_', '.', such as minidocker0".into()
            }
            Self::Id { .. } => "an id is made of 64 hexadecimal digits in lower case".into(),
            Self::PortTaken { port, .. } => format!(
                "choose another port of the host, or leave it to minidocker: -p PORT in the place of -p {port}:PORT"
            ),
            Self::NoPort { .. } => "stop containers, or choose a port of the host: -p HOSTPORT:PORT".into(),
            Self::PortAddress { .. } => "`ip -br address` lists the addresses of this host".into(),
            Self::PortLoopback6 { .. } => {
                "publish on 127.0.0.1, which programs of this host try for localhost too; or turn that off: sysctl \
                 net.bridge.bridge-nf-call-ip6tables=0"
                    .into()
            }
            Self::NoNetwork { .. } => {
                "`minidocker network ls` lists them, `minidocker network create` makes one".into()
            }
            Self::NetworkExists { name } => {
                format!("choose another name, or remove that one: minidocker network rm {name}")
            }
            Self::NetworkName { .. } => {
                "a name starts with a letter or digit, then a-z A-Z 0-9 _ . - follow, 200 at most".into()
            }
            Self::NetworkAmbiguous { .. } => "give more digits, or the name".into(),
            Self::BuiltIn { .. } => "bridge, host and none are always there".into(),
            Self::InUse { name, .. } => {
                format!("stop the containers, or take them out: minidocker network disconnect {name} CONTAINER")
            }
            Self::BridgeTaken { .. } => {
                "choose another name: --opt com.docker.network.bridge.name=NAME, or leave it out".into()
            }
            Self::Design { hint, .. } => hint.clone(),
            Self::Clash { network, .. } => {
                format!("remove the network and make it anew: minidocker network rm {}", network.name)
            }
            Self::Outside { subnet, .. } if subnet.is_empty() => {
                "the network has no IPv6 addresses: make one with --ipv6".into()
            }
            Self::Outside { subnet, .. } => format!("choose one in {subnet}, or leave it off and get a free one"),
            Self::NetworkFull { .. } => {
                "stop containers, or make a network with a larger subnet: minidocker network create --subnet".into()
            }
            Self::NoTotal { network } => {
                format!("say what it may carry: minidocker network update --rate 100mbit {network}")
            }
            Self::TooMany { .. } => "leave some out".into(),
            Self::Damaged { path, .. } => format!("mend the file, or remove it: rm {}", path.display()),
            Self::PortFamily { .. } => {
                "publish on an IPv4 address, or run it on a network with IPv6: minidocker network create --ipv6".into()
            }
            Self::File { source, .. } => match source.kind() {
                io::ErrorKind::PermissionDenied => "run as root".into(),
                io::ErrorKind::StorageFull => "free some space on the file system of the run state".into(),
                _ => return None,
            },
            Self::Kernel(failure) => return failure.hint.clone(),
        })
    }
}
