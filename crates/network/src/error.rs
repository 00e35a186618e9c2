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
        address: Ipv4Addr,
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
            Self::Full { .. } => "stop containers, or give this one a network of its own with --ip".into(),
            Self::BridgeName { .. } => {
                "use at most 15 letters, digits, '-', '_', '.', such as minidocker0".into()
            }
            Self::Id { .. } => "an id is made of 64 hexadecimal digits in lower case".into(),
            Self::PortTaken { port, .. } => format!(
                "choose another port of the host, or leave it to minidocker: -p PORT in the place of -p {port}:PORT"
            ),
            Self::NoPort { .. } => "stop containers, or choose a port of the host: -p HOSTPORT:PORT".into(),
            Self::PortAddress { .. } => "`ip -br address` lists the addresses of this host".into(),
            Self::PortFamily { .. } => "publish on an IPv4 address, or leave the address off".into(),
            Self::File { source, .. } => match source.kind() {
                io::ErrorKind::PermissionDenied => "run as root".into(),
                io::ErrorKind::StorageFull => "free some space on the file system of the run state".into(),
                _ => return None,
            },
            Self::Kernel(failure) => return failure.hint.clone(),
        })
    }
}
