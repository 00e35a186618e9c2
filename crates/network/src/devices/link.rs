//! A link on its way from one network namespace to another: what it is, what it had, and setting that again.

use std::os::fd::{AsRawFd, OwnedFd};

use netlink_packet_core::{DefaultNla, NLM_F_CREATE, NLM_F_EXCL};
use netlink_packet_route::address::{
    AddressAttribute, AddressFlags, AddressHeader, AddressHeaderFlags, AddressMessage, AddressScope,
};
use netlink_packet_route::link::{LinkAttribute, LinkFlags, LinkHeader, LinkMessage};
use netlink_packet_route::{AddressFamily, RouteNetlinkMessage};
use rustix::io::Errno;

use super::{LONGEST, Sides};
use crate::links;
use crate::netlink::{Refusal, Route, attributes, text};

// linux/if_link.h, linux/if_addr.h
const IFLA_ADDRESS: u16 = 1;
const IFLA_IFNAME: u16 = 3;
const IFLA_MTU: u16 = 4;
const IFA_LABEL: u16 = 3;
const IFA_FLAGS: u16 = 8;
/// Of an address, what is set again as it was: address, local, broadcast, lifetimes, metric, who set it.
const IFA_KEPT: [u16; 6] = [1, 2, 4, 6, 9, 11];
/// Lengths of the headers before the attributes.
const LINK_HEADER: usize = 16;
const ADDRESS_HEADER: usize = 8;

/// A link as it was on the host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Device {
    pub(super) index: u32,
    pub(super) name: String,
    up: bool,
    mtu: Option<u32>,
    hardware: Vec<u8>,
    /// All of them, as the kernel tells them.
    addresses: Vec<Address>,
}

impl Device {
    pub(super) fn read(route: Route<'_>, name: &str) -> Result<Self, Refusal> {
        let mut device = Self::ask(route, name)?;
        let mut question = AddressMessage::default();
        question.header.index = device.index;
        // A kernel before 4.20 ignores the filter.
        let take = |entry: &[u8]| Address::read(entry).filter(|found| found.header.index == device.index);
        device.addresses = route.dump(RouteNetlinkMessage::GetAddress(question), take)?;
        Ok(device)
    }

    /// Without its addresses.
    fn ask(route: Route<'_>, name: &str) -> Result<Self, Refusal> {
        let mut question = LinkMessage::default();
        question.attributes = vec![LinkAttribute::IfName(name.to_owned())];
        let answer = route.ask(RouteNetlinkMessage::GetLink(question), |entry| {
            let header = LinkHeader::parse(entry).ok()?;
            let mut device = Self {
                index: header.index,
                name: name.to_owned(),
                up: header.flags.contains(LinkFlags::Up),
                mtu: None,
                hardware: Vec::new(),
                addresses: Vec::new(),
            };
            for (kind, value) in attributes(entry.get(LINK_HEADER..)?) {
                match kind {
                    IFLA_IFNAME => device.name = text(value)?,
                    IFLA_MTU => device.mtu = Some(u32::from_ne_bytes(value.try_into().ok()?)),
                    IFLA_ADDRESS => device.hardware = value.to_vec(),
                    _ => {}
                }
            }
            Some(device)
        })?;
        answer.ok_or_else(|| Errno::BADMSG.into())
    }

    /// Gives the link `name` of the other side what this one had: MTU and hardware address where they did not come
    /// along, those of its addresses that `goes` picks, and sets it `up`. Says what was refused.
    pub(super) fn furnish(
        &self,
        route: Route<'_>,
        name: &str,
        goes: impl Fn(&Address) -> bool,
        up: bool,
    ) -> Result<(), (String, Refusal)> {
        let at = |refusal| (format!("{}, as {name} in its new place", self.name), refusal);
        let now = Self::ask(route, name).map_err(at)?;
        if let Some(message) = self.differences(&now) {
            route.request(message, 0).map_err(at)?;
        }
        for address in in_order(&self.addresses).filter(|address| goes(address)) {
            let message = address.request(now.index, &self.name, name);
            match route.request(message, NLM_F_CREATE | NLM_F_EXCL) {
                Ok(()) | Err(Refusal { errno: Errno::EXIST, .. }) => {}
                Err(refusal) => return Err((format!("{name}, address {}", address.words()), refusal)),
            }
        }
        if up { links::raise(route, name).map_err(at) } else { Ok(()) }
    }

    /// The kernel moves a link with its MTU and hardware address; a driver may begin anew all the same.
    fn differences(&self, now: &Self) -> Option<RouteNetlinkMessage> {
        let mut message = LinkMessage::default();
        message.header.index = now.index;
        if let Some(mtu) = self.mtu.filter(|mtu| now.mtu != Some(*mtu)) {
            message.attributes.push(LinkAttribute::Mtu(mtu));
        }
        if self.hardware != now.hardware {
            message.attributes.push(LinkAttribute::Address(self.hardware.clone()));
        }
        (!message.attributes.is_empty()).then_some(RouteNetlinkMessage::NewLink(message))
    }

    /// Whether a move that was refused has been done all the same. The kernel moves first and renames then: a name that
    /// somebody took in between leaves the link there under its old one (net/core/rtnetlink.c, do_setlink).
    pub(super) fn has_left(&self, host: Route<'_>) -> bool {
        host.name(self.index).as_ref() != Some(&self.name)
    }

    /// Back from its name in the container to its old one on the host, with all that can be set again; whether that was
    /// possible.
    pub(super) fn bring_back(&self, sides: Sides<'_>, there: &str) -> bool {
        let index = sides.container.index(there);
        let sent = index.is_ok_and(|index| send(sides.container, index, &self.name, sides.here).is_ok());
        sent && self.furnish(sides.host, &self.name, Address::was_given, self.up).is_ok()
    }
}

/// An address, as the kernel told it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Address {
    header: AddressHeader,
    flags: AddressFlags,
    label: Option<String>,
    /// Those of [`IFA_KEPT`], as they are.
    kept: Vec<(u16, Vec<u8>)>,
}

impl Address {
    fn read(entry: &[u8]) -> Option<Self> {
        let header = AddressHeader::parse(entry).ok()?;
        let flags = AddressFlags::from_bits_retain(u32::from(header.flags.bits()));
        let mut address = Self { header, flags, label: None, kept: Vec::new() };
        for (kind, value) in attributes(entry.get(ADDRESS_HEADER..)?) {
            match kind {
                IFA_LABEL => address.label = text(value),
                IFA_FLAGS => {
                    address.flags =
                        AddressFlags::from_bits_retain(u32::from_ne_bytes(value.try_into().ok()?));
                }
                _ if IFA_KEPT.contains(&kind) => address.kept.push((kind, value.to_vec())),
                _ => {}
            }
        }
        Some(address)
    }

    /// What the OCI runtime specification wants to come along: permanent ones of global scope. Others depend on the
    /// place where the link was.
    pub(super) fn goes_along(&self) -> bool {
        self.flags.contains(AddressFlags::Permanent) && self.header.scope == AddressScope::Universe
    }

    /// Whether it is not one that the kernel gives itself: temporary ones, and those of IPv6 that are the link's own.
    fn was_given(&self) -> bool {
        let ipv6 = self.header.family == AddressFamily::Inet6;
        !ipv6 || self.header.scope != AddressScope::Link && !self.flags.contains(AddressFlags::Secondary)
    }

    fn request(&self, index: u32, old: &str, new: &str) -> RouteNetlinkMessage {
        let mut message = AddressMessage::default();
        message.header = AddressHeader { index, flags: AddressHeaderFlags::default(), ..self.header.clone() };
        let kept = self.kept.iter().cloned();
        message.attributes =
            kept.map(|(kind, value)| AddressAttribute::Other(DefaultNla::new(kind, value))).collect();
        message.attributes.push(AddressAttribute::Flags(self.flags.intersection(
            AddressFlags::Nodad
                | AddressFlags::Homeaddress
                | AddressFlags::Managetempaddr
                | AddressFlags::Noprefixroute
                | AddressFlags::Mcautojoin,
        )));
        // A label begins with the link's name, by convention: netdevice(7).
        let rest = self.label.as_ref().and_then(|label| label.strip_prefix(old));
        let label = rest.filter(|rest| rest.starts_with(':')).map(|rest| format!("{new}{rest}"));
        message.attributes.extend(label.filter(|label| label.len() <= LONGEST).map(AddressAttribute::Label));
        RouteNetlinkMessage::NewAddress(message)
    }

    /// As users write it; of two ends the near one.
    fn words(&self) -> String {
        let value = |wanted: u16| self.kept.iter().find(|(kind, _)| *kind == wanted).map(|(_, value)| value);
        let bytes = value(2).or_else(|| value(1)).map(Vec::as_slice).unwrap_or_default();
        let address = <[u8; 4]>::try_from(bytes).map(std::net::IpAddr::from);
        let address = address.or_else(|_| <[u8; 16]>::try_from(bytes).map(std::net::IpAddr::from));
        let address = address.map_or_else(|_| "?".to_owned(), |address| address.to_string());
        format!("{address}/{}", self.header.prefix_len)
    }
}

/// The order in which adding gives the present order: the kernel puts a new IPv6 address before its like, and a new
/// IPv4 address behind.
fn in_order(addresses: &[Address]) -> impl Iterator<Item = &Address> {
    let is_ipv6 = |address: &&Address| address.header.family == AddressFamily::Inet6;
    addresses
        .iter()
        .filter(move |address| !is_ipv6(address))
        .chain(addresses.iter().rev().filter(move |address| is_ipv6(address)))
}

/// Moves a link and names it, in one request: its old name need not be free there. The kernel takes it down for that.
pub(super) fn send(from: Route<'_>, index: u32, name: &str, to: &OwnedFd) -> Result<(), Refusal> {
    let mut message = LinkMessage::default();
    message.header.index = index;
    message.attributes = vec![LinkAttribute::IfName(name.to_owned()), LinkAttribute::NetNsFd(to.as_raw_fd())];
    from.request(RouteNetlinkMessage::NewLink(message), 0)
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::devices::{open_inside, open_namespace};
    use crate::netlink;

    #[test]
    fn sets_again_only_what_did_not_come_along() {
        let hardware = vec![2, 0, 0, 0, 0, 1];
        let before = Device {
            index: 3,
            name: "wan".to_owned(),
            up: true,
            mtu: Some(1400),
            hardware: hardware.clone(),
            addresses: Vec::new(),
        };
        let moved = Device { index: 9, name: "eth0".to_owned(), up: false, ..before.clone() };
        assert_eq!(before.differences(&moved), None);
        let anew = Device { mtu: Some(1500), hardware: vec![2, 0, 0, 0, 0, 2], ..moved };
        let Some(RouteNetlinkMessage::NewLink(message)) = before.differences(&anew) else { panic!() };
        assert_eq!(message.header.index, 9);
        assert_eq!(message.attributes, [LinkAttribute::Mtu(1400), LinkAttribute::Address(hardware)]);
    }

    /// What a name that somebody takes at the wrong moment leaves: asked for past the look for a free one.
    #[test]
    fn a_move_that_is_refused_halfway_is_seen_and_undone() {
        let new_namespace = || {
            // Only a thread's own network: no memory or descriptors are concerned.
            #[allow(deprecated)]
            rustix::thread::unshare(rustix::thread::UnshareFlags::NEWNET).unwrap();
            open_namespace(Path::new("/proc/thread-self/ns/net")).unwrap()
        };
        let run = |line: &str| {
            let status = std::process::Command::new("sh").args(["-c", line]).status().unwrap();
            assert!(status.success(), "{line}");
        };
        let there = std::thread::spawn(new_namespace).join().unwrap();
        let namespace = format!("/proc/{}/fd/{}", std::process::id(), there.as_raw_fd());
        let test = move || {
            let here = new_namespace();
            run(
                "ip link add wan type veth peer name peer; ip address add 10.9.0.2/24 dev wan; ip link set wan up",
            );
            run(&format!("nsenter --net={namespace} ip link add taken type bridge"));
            let (host, inside) = (netlink::open().unwrap(), open_inside(&there).unwrap());
            let (host, container) = (Route::new(&host), Route::new(&inside));
            let sides = Sides { host, here: &here, container, there: &there };
            let device = Device::read(host, "wan").unwrap();
            assert_eq!(send(host, device.index, "taken", &there).unwrap_err().errno, Errno::EXIST);
            assert!(device.has_left(host) && container.index("wan").is_ok());
            assert!(device.bring_back(sides, "wan"));
            let again = Device::read(host, "wan").unwrap();
            assert!(!again.has_left(host) && again.up && container.index("wan") == Err(Errno::NODEV));
            assert_eq!(again.addresses.iter().map(Address::words).collect::<Vec<_>>()[0], "10.9.0.2/24");
        };
        std::thread::spawn(test).join().unwrap();
    }
}
