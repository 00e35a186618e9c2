//! What the kernel says of this host: its links, addresses and routes, as far as they can be in a container's way.

use std::net::{Ipv4Addr, Ipv6Addr};

use netlink_packet_route::address::{AddressHeader, AddressMessage};
use netlink_packet_route::link::{LinkHeader, LinkMessage};
use netlink_packet_route::route::{RouteHeader, RouteMessage, RouteType};
use netlink_packet_route::{AddressFamily, RouteNetlinkMessage};
use step::Failure;

use crate::netlink::{Refusal, Route, attributes, text};
use crate::subnet::Subnet;
use crate::subnet6::Subnet6;

// linux/if_link.h, linux/if_addr.h, linux/rtnetlink.h
const IFLA_IFNAME: u16 = 3;
const IFLA_MASTER: u16 = 10;
const IFLA_IFALIAS: u16 = 20;
const IFLA_GROUP: u16 = 27;
const IFA_ADDRESS: u16 = 1;
const IFA_LOCAL: u16 = 2;
const RTA_DST: u16 = 1;
const RTA_OIF: u16 = 4;
const RTA_GATEWAY: u16 = 5;
const RTA_PREFSRC: u16 = 7;
/// Lengths of the headers before the attributes.
const LINK_HEADER: usize = 16;
const ADDRESS_HEADER: usize = 8;
const ROUTE_HEADER: usize = 12;

/// A link of this network namespace.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Link {
    pub(crate) index: u32,
    pub(crate) name: String,
    /// The bridge that it is a port of.
    pub(crate) master: Option<u32>,
    /// What somebody wrote on it.
    pub(crate) alias: Option<String>,
    /// The group of links that it is in (ip-link(8)): a mark that it is born with.
    pub(crate) group: u32,
}

/// An address of this network namespace.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Address {
    pub(crate) link: u32,
    pub(crate) address: Ipv4Addr,
    /// The network behind the link; the peer's where it is point to point.
    pub(crate) network: Subnet,
}

/// A route of this network namespace.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Entry {
    pub(crate) to: Subnet,
    pub(crate) kind: RouteType,
    /// The link it leads through; none where it leads through several, or nowhere.
    pub(crate) link: Option<u32>,
    pub(crate) gateway: Option<Ipv4Addr>,
    /// The host's own address on that way.
    pub(crate) source: Option<Ipv4Addr>,
}

/// All links.
pub(crate) fn links(route: Route<'_>) -> Result<Vec<Link>, Failure> {
    let question = RouteNetlinkMessage::GetLink(LinkMessage::default());
    route.dump(question, read_link).map_err(|refusal| failed("network.links", "the list of links", refusal))
}

/// All IPv4 addresses, or those of one link.
pub(crate) fn addresses(route: Route<'_>, link: Option<u32>) -> Result<Vec<Address>, Failure> {
    let mut question = AddressMessage::default();
    question.header.family = AddressFamily::Inet;
    question.header.index = link.unwrap_or(0);
    // A kernel before 4.20 ignores the filter.
    let take = |entry: &[u8]| read_address(entry).filter(|found| link.is_none_or(|link| found.link == link));
    route
        .dump(RouteNetlinkMessage::GetAddress(question), take)
        .map_err(|refusal| failed("network.addresses", "the list of addresses", refusal))
}

/// All IPv6 addresses: the link, the address, the bits of its network.
pub(crate) fn addresses6(route: Route<'_>) -> Result<Vec<(u32, Ipv6Addr, u8)>, Failure> {
    let mut question = AddressMessage::default();
    question.header.family = AddressFamily::Inet6;
    let take = |entry: &[u8]| {
        let header = AddressHeader::parse(entry).ok()?;
        let own = |kind| {
            attributes(entry.get(ADDRESS_HEADER..)?).find(|(found, _)| *found == kind).map(|(_, value)| value)
        };
        let value = own(IFA_LOCAL).or_else(|| own(IFA_ADDRESS))?;
        Some((header.index, Ipv6Addr::from(<[u8; 16]>::try_from(value).ok()?), header.prefix_len))
    };
    match route.dump(RouteNetlinkMessage::GetAddress(question), take) {
        // A host without IPv6 has none.
        Err(refusal) if refusal.errno == rustix::io::Errno::OPNOTSUPP => Ok(Vec::new()),
        found => found.map_err(|refusal| failed("network.addresses", "the list of IPv6 addresses", refusal)),
    }
}

/// All IPv4 routes of all tables that lead somewhere: no default route (VPNs write it as two of one bit each), no
/// broadcasts.
pub(crate) fn routes(route: Route<'_>) -> Result<Vec<Entry>, Failure> {
    let mut question = RouteMessage::default();
    question.header.address_family = AddressFamily::Inet;
    let counts = |entry: &Entry| {
        entry.to.prefix() > 1
            && !matches!(entry.kind, RouteType::Broadcast | RouteType::Multicast | RouteType::Throw)
    };
    route
        .dump(RouteNetlinkMessage::GetRoute(question), |entry| read_route(entry).filter(counts))
        .map_err(|refusal| failed("network.routes", "the routing tables", refusal))
}

/// Networks that this host reaches by IPv6 routes other than its default ones and those of the link `ours`, and the
/// routes in the words of ip(8). A host without IPv6 has none.
pub(crate) fn obstacles6(route: Route<'_>, ours: &str) -> Result<Vec<(Subnet6, String)>, Failure> {
    let mut question = RouteMessage::default();
    question.header.address_family = AddressFamily::Inet6;
    let found = route.dump(RouteNetlinkMessage::GetRoute(question), read_route6);
    let found = match found {
        Err(refusal) if refusal.errno == rustix::io::Errno::OPNOTSUPP => Vec::new(),
        found => found.map_err(|refusal| failed("network.routes", "the IPv6 routing tables", refusal))?,
    };
    let ours = route.index(ours).ok();
    let others = found.into_iter().filter(|(to, link)| {
        let special = crate::subnet6::unusable(*to).is_some();
        to.prefix() > 3 && !special && (ours.is_none() || *link != ours)
    });
    let words = |(to, link): (Subnet6, Option<u32>)| {
        let link = link.and_then(|link| route.name(link)).map(|link| format!(" dev {link}"));
        (to, format!("route {to}{}", link.unwrap_or_default()))
    };
    Ok(others.map(words).collect())
}

fn read_route6(entry: &[u8]) -> Option<(Subnet6, Option<u32>)> {
    let header = RouteHeader::parse(entry).ok()?;
    let (mut to, mut link) = (None, None);
    for (kind, value) in attributes(entry.get(ROUTE_HEADER..)?) {
        match kind {
            RTA_DST => to = <[u8; 16]>::try_from(value).ok().map(Ipv6Addr::from),
            RTA_OIF => link = number(value),
            _ => {}
        }
    }
    Some((Subnet6::of(to?, header.destination_prefix_length), link))
}

fn read_link(entry: &[u8]) -> Option<Link> {
    let header = LinkHeader::parse(entry).ok()?;
    let mut link = Link { index: header.index, name: String::new(), master: None, alias: None, group: 0 };
    for (kind, value) in attributes(entry.get(LINK_HEADER..)?) {
        match kind {
            IFLA_IFNAME => link.name = text(value)?,
            IFLA_MASTER => link.master = number(value),
            IFLA_IFALIAS => link.alias = text(value),
            IFLA_GROUP => link.group = number(value)?,
            _ => {}
        }
    }
    Some(link)
}

fn read_address(entry: &[u8]) -> Option<Address> {
    let header = AddressHeader::parse(entry).ok()?;
    let (mut behind, mut local) = (None, None);
    for (kind, value) in attributes(entry.get(ADDRESS_HEADER..)?) {
        match kind {
            IFA_ADDRESS => behind = ipv4(value),
            IFA_LOCAL => local = ipv4(value),
            _ => {}
        }
    }
    let network = Subnet::of(behind.or(local)?, header.prefix_len);
    Some(Address { link: header.index, address: local.or(behind)?, network })
}

/// Reads a route; also the answer to the question which route an address takes.
pub(crate) fn read_route(entry: &[u8]) -> Option<Entry> {
    let header = RouteHeader::parse(entry).ok()?;
    let to = Subnet::of(Ipv4Addr::UNSPECIFIED, header.destination_prefix_length);
    let mut route = Entry { to, kind: header.kind, link: None, gateway: None, source: None };
    for (kind, value) in attributes(entry.get(ROUTE_HEADER..)?) {
        match kind {
            RTA_DST => route.to = Subnet::of(ipv4(value)?, header.destination_prefix_length),
            RTA_OIF => route.link = number(value),
            RTA_GATEWAY => route.gateway = ipv4(value),
            RTA_PREFSRC => route.source = ipv4(value),
            _ => {}
        }
    }
    Some(route)
}

fn number(value: &[u8]) -> Option<u32> {
    Some(u32::from_ne_bytes(value.try_into().ok()?))
}

fn ipv4(value: &[u8]) -> Option<Ipv4Addr> {
    Some(Ipv4Addr::from(<[u8; 4]>::try_from(value).ok()?))
}

/// Something of this host that no network of ours may overlap.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Obstacle {
    /// A network that the host reaches by this route.
    Route(Entry),
    /// A network that a link lies in, up or down.
    Address(Address),
}

impl Obstacle {
    pub(crate) fn network(&self) -> Subnet {
        match self {
            Self::Route(entry) => entry.to,
            Self::Address(address) => address.network,
        }
    }

    fn link(&self) -> Option<u32> {
        match self {
            Self::Route(entry) => entry.link,
            Self::Address(address) => Some(address.link),
        }
    }

    /// In the words of ip(8).
    fn words(&self, route: Route<'_>) -> String {
        let mut words = match self {
            Self::Address(address) => format!("address {}/{}", address.address, address.network.prefix()),
            Self::Route(entry) => {
                let kind = match entry.kind {
                    RouteType::Unicast => "",
                    RouteType::BlackHole => "blackhole ",
                    RouteType::Unreachable => "unreachable ",
                    RouteType::Prohibit => "prohibit ",
                    RouteType::Local => "local ",
                    _ => "special ",
                };
                let via = entry.gateway.map(|gateway| format!(" via {gateway}")).unwrap_or_default();
                format!("route {kind}{}{via}", entry.to)
            }
        };
        if let Some(link) = self.link() {
            words += &format!(" dev {}", route.name(link).unwrap_or_else(|| format!("if{link}")));
        }
        words
    }
}

/// Every network that this host reaches other than through its default routes and the link `ours`, our own bridge.
pub(crate) fn obstacles(route: Route<'_>, ours: &str) -> Result<Vec<Obstacle>, Failure> {
    let (addresses, routes) = (addresses(route, None)?, routes(route)?);
    // Asked last: another process may have made the bridge since, and its route is no obstacle.
    let ours = route.index(ours).ok();
    let routes = routes.into_iter().map(Obstacle::Route);
    let all = routes.chain(addresses.into_iter().map(Obstacle::Address));
    Ok(all.filter(|obstacle| ours.is_none() || obstacle.link() != ours).collect())
}

/// What of this host is in the way of `wanted`, in the words of ip(8); a real route is named before the host's own
/// address behind it.
pub(crate) fn clash(route: Route<'_>, wanted: Subnet, ours: &str) -> Result<Option<String>, Failure> {
    Ok(first_of(&obstacles(route, ours)?, wanted, route))
}

/// The same of obstacles that are known.
pub(crate) fn first_of(obstacles: &[Obstacle], wanted: Subnet, route: Route<'_>) -> Option<String> {
    let overlapping = obstacles.iter().filter(|obstacle| obstacle.network().overlaps(wanted));
    // The widest of them, so that the same state of the host gives the same words.
    let first = overlapping.min_by_key(|obstacle| {
        let real = matches!(obstacle, Obstacle::Route(Entry { kind: RouteType::Unicast, .. }));
        (!real, obstacle.network().prefix(), obstacle.network().network())
    });
    first.map(|obstacle| obstacle.words(route))
}

/// A refusal as a failure of `step` on `target`, in the kernel's own words where it has any.
pub(crate) fn failed(step: &'static str, target: impl Into<String>, refusal: Refusal) -> Failure {
    let mut failure = Failure::new(step, target, refusal.errno);
    failure.reason = refusal.said;
    match refusal.errno {
        rustix::io::Errno::PERM => failure.hint("run as root: this needs the capability CAP_NET_ADMIN"),
        _ => failure,
    }
}
