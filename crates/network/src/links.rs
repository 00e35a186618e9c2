//! What is done to links: the bridge, the pair, addresses, routes. Each is one request, acknowledged, or a failure
//! with the way out.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::os::fd::{AsRawFd, BorrowedFd};
use std::time::{Duration, Instant};

use netlink_packet_core::{NLM_F_APPEND, NLM_F_CREATE, NLM_F_EXCL, NLM_F_REPLACE};
use netlink_packet_route::address::{AddressAttribute, AddressFlags, AddressMessage, AddressScope};
use netlink_packet_route::link::{
    InfoBridge, InfoBridgePort, InfoData, InfoIpVlan, InfoKind, InfoMacVlan, InfoPortData, InfoPortKind,
    InfoVeth, InfoVlan, IpVlanMode, LinkAttribute, LinkFlags, LinkInfo, LinkMessage, MacVlanMode,
};
use netlink_packet_route::route::{
    RouteAddress, RouteAttribute, RouteFlags, RouteHeader, RouteMessage, RouteProtocol, RouteScope, RouteType,
};
use netlink_packet_route::{AddressFamily, RouteNetlinkMessage};
use rustix::io::Errno;
use step::Failure;

use crate::facts::{failed, read_route};
use crate::netlink::{Refusal, Route};
use crate::subnet::{Subnet, mac_of};
use crate::subnet6::Subnet6;

/// The way out where no link can be made at all.
const WITHOUT: &str = "or run the container with --network none or --network host";
/// How often a pair is made anew when the last run's is in its place.
const TRIES: usize = 3;

/// Whether the bridge is up and has its address: asked as "which route does a neighbour take, and by which entry of
/// the table" (RTM_F_FIB_MATCH, Linux 4.13). The connected route is there exactly while both hold, and the answer
/// takes no routing lock, unlike RTM_GETLINK: a hundred starts at once do not wait for each other here.
///
/// No only means not known: policy routing may answer otherwise.
pub(crate) fn bridge_is_ready(route: Route<'_>, bridge: &str, subnet: Subnet, gateway: Ipv4Addr) -> bool {
    let Ok(index) = route.index(bridge) else { return false };
    let neighbour = if gateway == subnet.first() { subnet.last() } else { subnet.first() };
    let mut question = RouteMessage::default();
    question.header.address_family = AddressFamily::Inet;
    question.header.destination_prefix_length = 32;
    question.header.flags = RouteFlags::FibMatch;
    question.attributes = vec![RouteAttribute::Destination(RouteAddress::Inet(neighbour))];
    let answer = route.ask(RouteNetlinkMessage::GetRoute(question), read_route);
    answer.is_ok_and(|entry| {
        entry.is_some_and(|entry| {
            entry.to == subnet && entry.link == Some(index) && entry.source == Some(gateway)
        })
    })
}

/// A network's bridge.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Bridge {
    /// Its name.
    pub(crate) name: String,
    pub(crate) subnet: Subnet,
    /// Its address.
    pub(crate) gateway: Ipv4Addr,
    /// Its IPv6 address.
    pub(crate) v6: Option<(Ipv6Addr, Subnet6)>,
    /// The largest packet.
    pub(crate) mtu: Option<u32>,
    /// What its ports are tagged with.
    pub(crate) vlan: Option<u16>,
    /// What is written on it.
    pub(crate) alias: Option<String>,
}

/// Makes the bridge, with its addresses, and up; what is there already is left as it is. Safe against others who do the
/// same at the same time: whoever comes second finds it made.
pub(crate) fn ensure_bridge(route: Route<'_>, step: &'static str, to: &Bridge) -> Result<(), Failure> {
    let (bridge, gateway, subnet) = (to.name.as_str(), to.gateway, to.subnet);
    let mut link = up();
    link.attributes = vec![
        LinkAttribute::IfName(bridge.to_owned()),
        // Without a MAC address of its own a bridge takes its ports' lowest, and changes with them.
        LinkAttribute::Address(mac_of(gateway).to_vec()),
    ];
    link.attributes.extend(to.mtu.map(LinkAttribute::Mtu));
    let mut info = vec![LinkInfo::Kind(InfoKind::Bridge)];
    if let Some(tag) = to.vlan {
        // Every port gets the tag, and so does the host's side.
        let data = vec![InfoBridge::VlanDefaultPvid(tag), InfoBridge::VlanFiltering(true)];
        info.push(LinkInfo::Data(InfoData::Bridge(data)));
    }
    link.attributes.push(LinkAttribute::LinkInfo(info));
    match route.request(RouteNetlinkMessage::NewLink(link), NLM_F_CREATE | NLM_F_EXCL) {
        Ok(()) => {
            // A container must not tell the host its routes (CVE-2020-13401). Where the file is not there IPv6 is off.
            let _ = std::fs::write(format!("/proc/sys/net/ipv6/conf/{bridge}/accept_ra"), "0");
            name_ours(route, step, to)?;
        }
        Err(Refusal { errno: Errno::EXIST, .. }) => raise_bridge(route, step, bridge)?,
        Err(refusal) if refusal.errno == Errno::OPNOTSUPP && to.vlan.is_some() => {
            return Err(failed(step, bridge, refusal).hint(
                "this kernel has no tags on bridges (CONFIG_BRIDGE_VLAN_FILTERING): leave out --opt vlan=",
            ));
        }
        Err(refusal) if refusal.errno == Errno::OPNOTSUPP => {
            return Err(failed(step, bridge, refusal)
                .hint(format!("this kernel has no bridges: load the module (modprobe bridge), {WITHOUT}")));
        }
        Err(refusal) => return Err(failed(step, bridge, refusal)),
    }
    let address = format!("{gateway}/{}", subnet.prefix());
    match add_address(route, bridge, gateway, subnet) {
        Ok(()) | Err(Refusal { errno: Errno::EXIST, .. }) => {}
        Err(refusal) => return Err(failed(step, format!("{bridge}, address {address}"), refusal)),
    }
    match to.v6 {
        Some((address, subnet)) => ensure_ipv6(route, step, bridge, address, subnet),
        None => Ok(()),
    }
}

/// Writes on a new bridge whose it is: the kernel takes no alias (IFLA_IFALIAS) with the request that makes a link.
fn name_ours(route: Route<'_>, step: &'static str, to: &Bridge) -> Result<(), Failure> {
    let Some(alias) = &to.alias else { return Ok(()) };
    let mut link = LinkMessage::default();
    link.attributes = vec![LinkAttribute::IfName(to.name.clone()), LinkAttribute::IfAlias(alias.clone())];
    route
        .request(RouteNetlinkMessage::NewLink(link), 0)
        .map_err(|refusal| failed(step, to.name.clone(), refusal))
}

/// Gives a bridge its IPv6 address, if it has not got it; where the host keeps IPv6 from new links it is let in.
pub(crate) fn ensure_ipv6(
    route: Route<'_>,
    step: &'static str,
    bridge: &str,
    address: Ipv6Addr,
    subnet: Subnet6,
) -> Result<(), Failure> {
    let mut added = add_address6(route, bridge, address, subnet.prefix());
    if matches!(added, Err(Refusal { errno: Errno::ACCESS, .. })) {
        // A file system that is read-only keeps what its owner wants.
        let _ = std::fs::write(format!("/proc/sys/net/ipv6/conf/{bridge}/disable_ipv6"), "0");
        added = add_address6(route, bridge, address, subnet.prefix());
    }
    match added {
        Ok(()) | Err(Refusal { errno: Errno::EXIST, .. }) => {}
        Err(refusal) => {
            let failure = failed(step, format!("{bridge}, address {address}/{}", subnet.prefix()), refusal);
            return Err(failure.hint("is IPv6 off on this host? then make the network without --ipv6"));
        }
    }
    Ok(())
}

/// Sets a bridge up that somebody else made.
fn raise_bridge(route: Route<'_>, step: &'static str, bridge: &str) -> Result<(), Failure> {
    let mut link = up();
    link.attributes = vec![
        LinkAttribute::IfName(bridge.to_owned()),
        // With data, though empty, the kernel compares the kind and refuses if this is no bridge.
        LinkAttribute::LinkInfo(vec![
            LinkInfo::Kind(InfoKind::Bridge),
            LinkInfo::Data(InfoData::Bridge(Vec::new())),
        ]),
    ];
    route.request(RouteNetlinkMessage::NewLink(link), 0).map_err(|refusal| match refusal.errno {
        Errno::OPNOTSUPP => Failure::because(step, bridge, "a link of this name exists and is no bridge")
            .hint("choose another name for the bridge: --bridge, MINIDOCKER_BRIDGE"),
        _ => failed(step, bridge, refusal),
    })
}

/// One end of a pair, and where the other goes.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Pair<'a> {
    pub(crate) host_link: &'a str,
    pub(crate) bridge: &'a str,
    pub(crate) link: &'a str,
    pub(crate) mac: [u8; 6],
    /// The largest packet.
    pub(crate) mtu: Option<u32>,
    /// The bridge keeps it from its other ports.
    pub(crate) apart: bool,
}

/// Whose network namespace a link goes into.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Inside<'fd> {
    /// That of this process.
    Init(i32),
    /// This one.
    Namespace(BorrowedFd<'fd>),
}

impl Inside<'_> {
    fn attribute(self) -> LinkAttribute {
        match self {
            Self::Init(pid) => LinkAttribute::NetNsPid(pid.unsigned_abs()),
            Self::Namespace(fd) => LinkAttribute::NetNsFd(fd.as_raw_fd()),
        }
    }
}

/// Makes the pair: the host's end, up, a port of the bridge; the container's end in its network namespace. One request: made here and moved there later it takes 19 ms instead of 0.55.
pub(crate) fn attach(
    route: Route<'_>,
    step: &'static str,
    pair: Pair<'_>,
    into: Inside<'_>,
) -> Result<(), Failure> {
    let mut attempt = 0;
    loop {
        attempt += 1;
        let refusal = match route.index(pair.bridge) {
            Ok(bridge) => match route.request(new_pair(pair, bridge, into), NLM_F_CREATE | NLM_F_EXCL) {
                Ok(()) if pair.apart => return keep_apart(route, step, pair.host_link),
                Ok(()) => return Ok(()),
                Err(refusal) => refusal,
            },
            Err(errno) => {
                return Err(Failure::new(step, pair.bridge, errno)
                    .hint("the bridge was removed while the container started: start it again"));
            }
        };
        if refusal.errno == Errno::EXIST && attempt < TRIES {
            // The last run's pair: its namespace is dying, which takes the kernel some milliseconds.
            delete(route, pair.host_link).map_err(|refusal| failed(step, pair.host_link, refusal))?;
            continue;
        }
        return Err(attach_failed(step, pair, refusal));
    }
}

/// Lets a port of a bridge reach the host alone, and nobody else's port that is kept so too. The request that makes a link
/// takes nothing about its port; until the container sets its end up nothing goes over it.
fn keep_apart(route: Route<'_>, step: &'static str, host_link: &str) -> Result<(), Failure> {
    let mut link = LinkMessage::default();
    link.attributes = vec![
        LinkAttribute::IfName(host_link.to_owned()),
        LinkAttribute::LinkInfo(vec![
            LinkInfo::PortKind(InfoPortKind::Bridge),
            LinkInfo::PortData(InfoPortData::BridgePort(vec![InfoBridgePort::Isolated(true)])),
        ]),
    ];
    route
        .request(RouteNetlinkMessage::NewLink(link), 0)
        .map_err(|refusal| failed(step, format!("{host_link}, kept from other ports"), refusal))
}

fn new_pair(pair: Pair<'_>, bridge: u32, into: Inside<'_>) -> RouteNetlinkMessage {
    // One queue each: a pair without XDP uses no more, and each costs files in sysfs (2 CPUs: 300 us against 430).
    let queues = [LinkAttribute::NumTxQueues(1), LinkAttribute::NumRxQueues(1)];
    let mut peer = LinkMessage::default();
    peer.attributes = vec![
        LinkAttribute::IfName(pair.link.to_owned()),
        LinkAttribute::Address(pair.mac.to_vec()),
        into.attribute(),
    ];
    peer.attributes.extend_from_slice(&queues);
    peer.attributes.extend(pair.mtu.map(LinkAttribute::Mtu));
    let mut link = up();
    link.attributes = vec![
        LinkAttribute::IfName(pair.host_link.to_owned()),
        LinkAttribute::Controller(bridge),
        LinkAttribute::LinkInfo(vec![
            LinkInfo::Kind(InfoKind::Veth),
            LinkInfo::Data(InfoData::Veth(InfoVeth::Peer(peer))),
        ]),
    ];
    link.attributes.extend(queues);
    link.attributes.extend(pair.mtu.map(LinkAttribute::Mtu));
    RouteNetlinkMessage::NewLink(link)
}

/// A link beside one of the host's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Beside {
    /// The host's.
    pub(crate) parent: String,
    /// The container's.
    pub(crate) link: String,
    pub(crate) mac: [u8; 6],
    pub(crate) mtu: Option<u32>,
    /// Of the parent's hardware address: ipvlan.
    pub(crate) shared: bool,
    pub(crate) mode: Option<String>,
}

/// The group of the links that [`stand_beside`] makes: they have no end on the host by which one that is left is found.
pub(crate) const BESIDE: u32 = u32::from_be_bytes(*b"mdkr");

/// Makes a link beside one of the host's, in a container's network namespace. A tagged parent, `eth0.7`, is made where
/// it is missing.
pub(crate) fn stand_beside(
    route: Route<'_>,
    step: &'static str,
    beside: &Beside,
    into: Inside<'_>,
) -> Result<(), Failure> {
    let parent = match route.index(&beside.parent) {
        Ok(index) => index,
        Err(_) => make_tagged(route, step, &beside.parent)?,
    };
    let (kind, data) = if beside.shared {
        let mode = match beside.mode.as_deref() {
            Some("l3") => IpVlanMode::L3,
            Some("l3s") => IpVlanMode::L3S,
            _ => IpVlanMode::L2,
        };
        (InfoKind::IpVlan, InfoData::IpVlan(vec![InfoIpVlan::Mode(mode)]))
    } else {
        let mode = match beside.mode.as_deref() {
            Some("private") => MacVlanMode::Private,
            Some("vepa") => MacVlanMode::Vepa,
            Some("passthru") => MacVlanMode::Passthrough,
            _ => MacVlanMode::Bridge,
        };
        (InfoKind::MacVlan, InfoData::MacVlan(vec![InfoMacVlan::Mode(mode)]))
    };
    let mut link = LinkMessage::default();
    link.attributes = vec![
        LinkAttribute::IfName(beside.link.clone()),
        LinkAttribute::Link(parent),
        into.attribute(),
        LinkAttribute::Group(BESIDE),
        LinkAttribute::LinkInfo(vec![LinkInfo::Kind(kind), LinkInfo::Data(data)]),
    ];
    if !beside.shared {
        link.attributes.push(LinkAttribute::Address(beside.mac.to_vec()));
    }
    link.attributes.extend(beside.mtu.map(LinkAttribute::Mtu));
    let refused = |refusal: Refusal| {
        let errno = refusal.errno;
        let failure = failed(step, format!("{} beside {}", beside.link, beside.parent), refusal);
        let module = if beside.shared { "ipvlan" } else { "macvlan" };
        match errno {
            Errno::OPNOTSUPP => {
                failure.hint(format!("this kernel has no {module}: load the module (modprobe {module})"))
            }
            Errno::BUSY => failure.hint(format!(
                "{} is in use in another way: as a port of a bridge, or beside links of another kind",
                beside.parent
            )),
            _ => failure,
        }
    };
    route.request(RouteNetlinkMessage::NewLink(link), NLM_F_CREATE | NLM_F_EXCL).map_err(refused)
}

/// Makes the tagged link `eth0.7` of `eth0`, and sets it up. It stays for the next container, as one made by hand.
fn make_tagged(route: Route<'_>, step: &'static str, name: &str) -> Result<u32, Failure> {
    let missing =
        || Failure::because(step, name, "this host has no such link").hint("`ip -br link` lists them");
    let (below, tag) = name.rsplit_once('.').ok_or_else(missing)?;
    let tag: u16 = tag.parse().map_err(|_| missing())?;
    let index = route.index(below).map_err(|_| missing())?;
    let mut link = up();
    link.attributes = vec![
        LinkAttribute::IfName(name.to_owned()),
        LinkAttribute::Link(index),
        LinkAttribute::LinkInfo(vec![
            LinkInfo::Kind(InfoKind::Vlan),
            LinkInfo::Data(InfoData::Vlan(vec![InfoVlan::Id(tag)])),
        ]),
    ];
    match route.request(RouteNetlinkMessage::NewLink(link), NLM_F_CREATE | NLM_F_EXCL) {
        Ok(()) | Err(Refusal { errno: Errno::EXIST, .. }) => {}
        Err(refusal) if refusal.errno == Errno::OPNOTSUPP => {
            return Err(failed(step, name, refusal)
                .hint("this kernel has no tagged links (IEEE 802.1Q): load the module (modprobe 8021q)"));
        }
        Err(refusal) => return Err(failed(step, name, refusal)),
    }
    route.index(name).map_err(|errno| Failure::new(step, name, errno))
}

fn attach_failed(step: &'static str, pair: Pair<'_>, refusal: Refusal) -> Failure {
    let errno = refusal.errno;
    let failure = failed(step, pair.host_link, refusal);
    match errno {
        Errno::XFULL => failure.hint(format!(
            "bridge {} is full: a bridge has 1,023 ports; stop containers, or give this one another network: \
             minidocker network create, --network",
            pair.bridge
        )),
        Errno::OPNOTSUPP => failure.hint(format!(
            "this kernel makes no pairs of links, or {} is no bridge: load the module (modprobe veth), {WITHOUT}",
            pair.bridge
        )),
        Errno::SRCH => failure.hint("the container's init has died"),
        Errno::EXIST => failure.hint(format!("remove what is in the way: ip link delete {}", pair.host_link)),
        _ => failure,
    }
}

/// Removes a link; one that is not there is removed already.
///
/// Takes about 22 ms: the kernel waits for every processor to have let go of it.
pub(crate) fn delete(route: Route<'_>, link: &str) -> Result<(), Refusal> {
    let mut message = LinkMessage::default();
    message.attributes = vec![LinkAttribute::IfName(link.to_owned())];
    match route.request(RouteNetlinkMessage::DelLink(message), 0) {
        Err(Refusal { errno: Errno::NODEV, .. }) => Ok(()),
        result => result,
    }
}

/// Asks for a link's state, which makes the kernel bring it up to date.
///
/// A link learns from a worker (net/core/link_watch.c) that its other end is up; until then a bridge's port does not
/// forward. The worker waits for the routing lock, with many others where many containers start. Since Linux 6.8
/// RTM_GETLINK does the worker's task for the link asked for (linkwatch_sync_dev).
pub(crate) fn settle(route: Route<'_>, link: &str) -> Result<(), Refusal> {
    let mut message = LinkMessage::default();
    message.attributes = vec![LinkAttribute::IfName(link.to_owned())];
    route.ask(RouteNetlinkMessage::GetLink(message), |_| Some(())).map(drop)
}

/// How long the kernel's worker may take. On a machine with time it is there at once.
const HEARING: Duration = Duration::from_millis(200);

/// The group in which neighbours ask for an address: RFC 4291, 2.7.1, "Solicited-Node Address".
pub(crate) fn group_of(address: Ipv6Addr) -> Ipv6Addr {
    let [.., a, b, c] = address.octets();
    Ipv6Addr::new(0xff02, 0, 0, 0, 0, 1, 0xff00 | u16::from(a), u16::from_be_bytes([b, c]))
}

/// Waits until a link of this thread's network namespace hears neighbours who ask for its address.
///
/// An address without duplicate detection counts at once, but the group in which others ask for it is joined by a worker
/// (net/ipv6/addrconf.c, addrconf_dad_work), which begins when the link has its carrier and waits for the routing lock. What is
/// asked before is lost, and asked again after a second. No event tells of it; where it cannot be seen, or takes too long, nothing is lost but that second.
pub(crate) fn hears(route: Route<'_>, link: &str, address: Ipv6Addr) -> Result<(), Refusal> {
    // Its carrier first, as for the bridge's port.
    settle(route, link)?;
    let group: String = group_of(address).octets().iter().map(|byte| format!("{byte:02x}")).collect();
    let start = Instant::now();
    while let Ok(groups) = std::fs::read_to_string("/proc/thread-self/net/igmp6")
        && start.elapsed() < HEARING
    {
        let joined = |line: &str| {
            let mut words = line.split_ascii_whitespace().skip(1);
            words.next() == Some(link) && words.next() == Some(&group)
        };
        if groups.lines().any(joined) {
            break;
        }
        std::thread::sleep(Duration::from_micros(200));
    }
    Ok(())
}

/// Sets a link up.
pub(crate) fn raise(route: Route<'_>, link: &str) -> Result<(), Refusal> {
    let mut message = up();
    message.attributes = vec![LinkAttribute::IfName(link.to_owned())];
    route.request(RouteNetlinkMessage::NewLink(message), 0)
}

/// Gives a link an address; EEXIST where it has it.
pub(crate) fn add_address(
    route: Route<'_>,
    link: &str,
    address: Ipv4Addr,
    subnet: Subnet,
) -> Result<(), Refusal> {
    let mut message = AddressMessage::default();
    message.header.family = AddressFamily::Inet;
    message.header.prefix_len = subnet.prefix();
    message.header.scope = AddressScope::Universe;
    message.header.index = route.index(link)?;
    message.attributes = vec![
        AddressAttribute::Local(IpAddr::V4(address)),
        AddressAttribute::Address(IpAddr::V4(address)),
        AddressAttribute::Broadcast(subnet.broadcast()),
    ];
    route.request(RouteNetlinkMessage::NewAddress(message), NLM_F_CREATE | NLM_F_EXCL)
}

/// Gives a link an IPv6 address, which counts at once: nobody else can have it, so nobody is asked (IFA_F_NODAD).
pub(crate) fn add_address6(
    route: Route<'_>,
    link: &str,
    address: Ipv6Addr,
    prefix: u8,
) -> Result<(), Refusal> {
    let mut message = AddressMessage::default();
    message.header.family = AddressFamily::Inet6;
    message.header.prefix_len = prefix;
    message.header.scope =
        if address.is_unicast_link_local() { AddressScope::Link } else { AddressScope::Universe };
    message.header.index = route.index(link)?;
    message.attributes =
        vec![AddressAttribute::Local(IpAddr::V6(address)), AddressAttribute::Flags(AddressFlags::Nodad)];
    route.request(RouteNetlinkMessage::NewAddress(message), NLM_F_CREATE | NLM_F_EXCL)
}

/// Adds the default route of the gateway's family, by this link; with `replace` in the place of the one that is there.
pub(crate) fn add_default_route(
    route: Route<'_>,
    link: &str,
    gateway: IpAddr,
    replace: bool,
) -> Result<(), Refusal> {
    let mut message = RouteMessage::default();
    message.header.address_family = match gateway {
        IpAddr::V4(_) => AddressFamily::Inet,
        IpAddr::V6(_) => AddressFamily::Inet6,
    };
    message.header.table = RouteHeader::RT_TABLE_MAIN;
    message.header.protocol = RouteProtocol::Boot;
    message.header.scope = RouteScope::Universe;
    message.header.kind = RouteType::Unicast;
    let way = match gateway {
        IpAddr::V4(gateway) => RouteAddress::Inet(gateway),
        IpAddr::V6(gateway) => RouteAddress::Inet6(gateway),
    };
    message.attributes = vec![RouteAttribute::Gateway(way)];
    // The addresses tell the link, but for what is on every link.
    if gateway.is_ipv6() {
        message.attributes.push(RouteAttribute::Oif(route.index(link)?));
    }
    let flags = if replace { NLM_F_CREATE | NLM_F_REPLACE } else { NLM_F_CREATE | NLM_F_EXCL };
    route.request(RouteNetlinkMessage::NewRoute(message), flags)
}

/// RT_TABLE_LOCAL of linux/rtnetlink.h.
const LOCAL: u8 = 255;
/// The metric of ::1 on a bridge: behind loopback's own, which has 0.
const BEHIND: u32 = 4096;

/// Lets answers for ::1 come in by a bridge, as route_localnet does for 127.0.0.0/8: a route of the local table for this
/// link, without which the kernel takes them from loopback alone (net/ipv6/route.c, rt6_need_strict). What names ::1 on a
/// wire is dropped before any route is looked for (net/ipv6/ip6_input.c, ip6_rcv_core): this is for what was translated.
pub(crate) fn let_loopback6_in(route: Route<'_>, bridge: &str) -> Result<(), Refusal> {
    let mut message = RouteMessage::default();
    message.header.address_family = AddressFamily::Inet6;
    message.header.destination_prefix_length = 128;
    message.header.table = LOCAL;
    message.header.protocol = RouteProtocol::Boot;
    message.header.scope = RouteScope::Universe;
    message.header.kind = RouteType::Local;
    message.attributes = vec![
        RouteAttribute::Destination(RouteAddress::Inet6(Ipv6Addr::LOCALHOST)),
        RouteAttribute::Oif(route.index(bridge)?),
        RouteAttribute::Priority(BEHIND),
    ];
    match route.request(RouteNetlinkMessage::NewRoute(message), NLM_F_CREATE | NLM_F_APPEND) {
        Err(Refusal { errno: Errno::EXIST, .. }) => Ok(()),
        result => result,
    }
}

/// Removes the default routes of a family; none is content.
pub(crate) fn remove_default_routes(route: Route<'_>, v6: bool) -> Result<(), Refusal> {
    let mut message = RouteMessage::default();
    message.header.address_family = if v6 { AddressFamily::Inet6 } else { AddressFamily::Inet };
    message.header.table = RouteHeader::RT_TABLE_MAIN;
    message.header.scope = RouteScope::NoWhere;
    // One request takes one of them.
    for _ in 0..8 {
        match route.request(RouteNetlinkMessage::DelRoute(message.clone()), 0) {
            Ok(()) => {}
            Err(Refusal { errno: Errno::SRCH | Errno::NODEV | Errno::NOENT, .. }) => return Ok(()),
            Err(refusal) => return Err(refusal),
        }
    }
    Ok(())
}

/// A request that sets a link up.
fn up() -> LinkMessage {
    let mut message = LinkMessage::default();
    message.header.flags = LinkFlags::Up;
    message.header.change_mask = LinkFlags::Up;
    message
}
