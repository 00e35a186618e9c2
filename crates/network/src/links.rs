//! What is done to links: the bridge, the pair, addresses, routes. Each is one request, acknowledged, or a failure
//! with the way out.

use std::net::{IpAddr, Ipv4Addr};

use netlink_packet_core::{NLM_F_CREATE, NLM_F_EXCL};
use netlink_packet_route::address::{AddressAttribute, AddressMessage, AddressScope};
use netlink_packet_route::link::{
    InfoData, InfoKind, InfoVeth, LinkAttribute, LinkFlags, LinkInfo, LinkMessage,
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

/// Makes the bridge, with an address, and up; what is there already is left as it is. Safe against others who do the
/// same at the same time: whoever comes second finds it made.
pub(crate) fn ensure_bridge(
    route: Route<'_>,
    step: &'static str,
    bridge: &str,
    subnet: Subnet,
    gateway: Ipv4Addr,
) -> Result<(), Failure> {
    let mut link = up();
    link.attributes = vec![
        LinkAttribute::IfName(bridge.to_owned()),
        // Without a MAC address of its own a bridge takes its ports' lowest, and changes with them.
        LinkAttribute::Address(mac_of(gateway).to_vec()),
        LinkAttribute::LinkInfo(vec![LinkInfo::Kind(InfoKind::Bridge)]),
    ];
    match route.request(RouteNetlinkMessage::NewLink(link), NLM_F_CREATE | NLM_F_EXCL) {
        Ok(()) => {}
        Err(Refusal { errno: Errno::EXIST, .. }) => raise_bridge(route, step, bridge)?,
        Err(refusal) if refusal.errno == Errno::OPNOTSUPP => {
            return Err(failed(step, bridge, refusal)
                .hint(format!("this kernel has no bridges: load the module (modprobe bridge), {WITHOUT}")));
        }
        Err(refusal) => return Err(failed(step, bridge, refusal)),
    }
    let address = format!("{gateway}/{}", subnet.prefix());
    match add_address(route, bridge, gateway, subnet) {
        Ok(()) | Err(Refusal { errno: Errno::EXIST, .. }) => Ok(()),
        Err(refusal) => Err(failed(step, format!("{bridge}, address {address}"), refusal)),
    }
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
}

/// Makes the pair: the host's end, up, a port of the bridge; the container's end in the network namespace of the
/// process `init`. One request: made here and moved there later it takes 19 ms instead of 0.55.
pub(crate) fn attach(route: Route<'_>, step: &'static str, pair: Pair<'_>, init: i32) -> Result<(), Failure> {
    let mut attempt = 0;
    loop {
        attempt += 1;
        let refusal = match route.index(pair.bridge) {
            Ok(bridge) => match route.request(new_pair(pair, bridge, init), NLM_F_CREATE | NLM_F_EXCL) {
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

fn new_pair(pair: Pair<'_>, bridge: u32, init: i32) -> RouteNetlinkMessage {
    // One queue each: a pair without XDP uses no more, and each costs files in sysfs (2 CPUs: 300 us against 430).
    let queues = [LinkAttribute::NumTxQueues(1), LinkAttribute::NumRxQueues(1)];
    let mut peer = LinkMessage::default();
    peer.attributes = vec![
        LinkAttribute::IfName(pair.link.to_owned()),
        LinkAttribute::Address(pair.mac.to_vec()),
        LinkAttribute::NetNsPid(init.unsigned_abs()),
    ];
    peer.attributes.extend_from_slice(&queues);
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
    RouteNetlinkMessage::NewLink(link)
}

fn attach_failed(step: &'static str, pair: Pair<'_>, refusal: Refusal) -> Failure {
    let errno = refusal.errno;
    let failure = failed(step, pair.host_link, refusal);
    match errno {
        Errno::XFULL => failure.hint(format!(
            "bridge {} is full: a bridge has 1,024 ports; stop containers, or give this one a network of its own \
             with --ip",
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

/// Adds the default route.
pub(crate) fn add_default_route(route: Route<'_>, gateway: Ipv4Addr) -> Result<(), Refusal> {
    let mut message = RouteMessage::default();
    message.header.address_family = AddressFamily::Inet;
    message.header.table = RouteHeader::RT_TABLE_MAIN;
    message.header.protocol = RouteProtocol::Boot;
    message.header.scope = RouteScope::Universe;
    message.header.kind = RouteType::Unicast;
    message.attributes = vec![RouteAttribute::Gateway(RouteAddress::Inet(gateway))];
    route.request(RouteNetlinkMessage::NewRoute(message), NLM_F_CREATE | NLM_F_EXCL)
}

/// A request that sets a link up.
fn up() -> LinkMessage {
    let mut message = LinkMessage::default();
    message.header.flags = LinkFlags::Up;
    message.header.change_mask = LinkFlags::Up;
    message
}
