//! What connection tracking remembers of UDP. Rules are asked for the first packet of a flow alone, and a flow of UDP ends
//! only when nobody has sent anything for half a minute: a client that goes on sending would be led to where the port led
//! before, or to the host itself where it was not published yet. So these entries are removed with every change.
//!
//! Formats: linux/netfilter/nfnetlink_conntrack.h. A connection of TCP ends with who served it, and a new one is a new flow.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};

use netlink_packet_core::NLM_F_ACK;

use crate::netlink::{Refusal, attributes};
use crate::nft::{Message, Netfilter, Writer};
use crate::port_book::Target;
use crate::ports::{Protocol, Published};

/// NFNL_SUBSYS_CTNETLINK, and of its messages IPCTNL_MSG_CT_GET and _DELETE.
const SUBSYSTEM: u16 = 1;
const GET: u16 = 1;
const DELETE: u16 = 2;
// CTA_*
const ORIGINAL: u16 = 1;
const REPLY: u16 = 2;
const ID: u16 = 12;
const ZONE: u16 = 18;
/// NLA_F_NESTED.
const NESTED: u16 = 1 << 15;

/// One direction of a flow.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Way {
    protocol: u8,
    source: SocketAddr,
    destination: SocketAddr,
}

/// An entry.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Flow {
    family: u8,
    original: Way,
    reply: Way,
    /// What names it to the kernel: the first three attributes that it has of these, as they came.
    name: Vec<(u16, Vec<u8>)>,
}

impl Flow {
    fn read(family: u8, entry: &[u8]) -> Option<Self> {
        let of = |kind| attributes(entry).find(|(found, _)| *found == kind).map(|(_, value)| value);
        let name = [ORIGINAL | NESTED, ID, ZONE];
        let name = name.into_iter().filter_map(|kind| Some((kind, of(kind & !NESTED)?.to_vec()))).collect();
        Some(Self { family, original: Way::read(of(ORIGINAL)?)?, reply: Way::read(of(REPLY)?)?, name })
    }

    /// Whether it was for one of these ports of the host, as it was sent.
    fn is_for(&self, published: &Published) -> bool {
        let Way { protocol, destination, .. } = self.original;
        let here = match published.address.is_unspecified() {
            // Who asks another machine's port 53 has nothing to do with ours.
            true => published.address.is_ipv4() == destination.is_ipv4() && is_ours(destination.ip()),
            false => published.address == destination.ip(),
        };
        protocol == published.container.protocol.number()
            && (published.host..=published.last()).contains(&destination.port())
            && here
    }

    /// Whether it leads elsewhere than where the ports lead now.
    fn is_led_astray(&self, to: Target, ports: &[Published]) -> bool {
        ports.iter().filter(|published| self.is_for(published)).any(|published| {
            let port = published.container.first + (self.original.destination.port() - published.host);
            to.of_family(published.address).is_some_and(|to| self.reply.source != SocketAddr::new(to, port))
        })
    }

    /// Whether it leads to where the ports led.
    fn led(&self, to: Target, ports: &[Published]) -> bool {
        let published = |port: &Published| {
            let (source, ports) = (self.reply.source, port.container);
            self.original.protocol == ports.protocol.number()
                && (ports.first..=ports.last).contains(&source.port())
                && self.original.destination != source
        };
        let own = [Some(IpAddr::V4(to.v4)), to.v6.map(IpAddr::V6)];
        own.contains(&Some(self.reply.source.ip())) && ports.iter().any(published)
    }
}

impl Way {
    /// CTA_TUPLE_IP and CTA_TUPLE_PROTO.
    fn read(tuple: &[u8]) -> Option<Self> {
        let of = |bytes, kind| attributes(bytes).find(|(found, _)| *found == kind).map(|(_, value)| value);
        let (addresses, rest) = (of(tuple, 1)?, of(tuple, 2)?);
        let address = |four, six| match (of(addresses, four), of(addresses, six)) {
            (Some(value), _) => Some(IpAddr::V4(Ipv4Addr::from(<[u8; 4]>::try_from(value).ok()?))),
            (_, Some(value)) => Some(IpAddr::V6(Ipv6Addr::from(<[u8; 16]>::try_from(value).ok()?))),
            _ => None,
        };
        // What has no ports is none of ours.
        let port = |kind| Some(u16::from_be_bytes(of(rest, kind)?.try_into().ok()?));
        Some(Self {
            protocol: *of(rest, 1)?.first()?,
            source: SocketAddr::new(address(1, 3)?, port(2)?),
            destination: SocketAddr::new(address(2, 4)?, port(3)?),
        })
    }
}

/// Whether the address is this host's: the kernel lets nobody bind another.
fn is_ours(address: IpAddr) -> bool {
    UdpSocket::bind((address, 0)).is_ok()
}

/// Removes what leads elsewhere than `ports` lead, which have just been published; gives how many entries.
pub(crate) fn forget_before(
    netfilter: &Netfilter,
    to: Target,
    ports: &[Published],
) -> Result<usize, Refusal> {
    forget(netfilter, ports, |flow| flow.is_led_astray(to, ports))
}

/// Removes what leads to where `ports` led, which are published no more; gives how many entries.
pub(crate) fn forget_after(netfilter: &Netfilter, to: Target, ports: &[Published]) -> Result<usize, Refusal> {
    forget(netfilter, ports, |flow| flow.led(to, ports))
}

/// Looks at all entries once; not at all where no port is UDP's.
fn forget(
    netfilter: &Netfilter,
    ports: &[Published],
    is_stale: impl Fn(&Flow) -> bool,
) -> Result<usize, Refusal> {
    if !ports.iter().any(|one| one.container.protocol == Protocol::Udp) {
        return Ok(0);
    }
    let mut forgotten = 0;
    let mut families: Vec<u8> = ports.iter().map(|one| family(one.address)).collect();
    families.sort_unstable();
    families.dedup();
    for family in families {
        let question = Message { kind: SUBSYSTEM << 8 | GET, family };
        let stale = netfilter.dump(
            question,
            |_| {},
            |family, entry, all: &mut Vec<Flow>| {
                let flow = Flow::read(family, entry);
                all.extend(
                    flow.filter(|flow| flow.original.protocol == Protocol::Udp.number() && is_stale(flow)),
                );
            },
        )?;
        for flow in stale {
            let order = Message { kind: SUBSYSTEM << 8 | DELETE, family: flow.family };
            let named = |writer: &mut Writer| {
                flow.name.iter().for_each(|(kind, value)| writer.attribute(*kind, value));
            };
            // One that is gone by now is gone.
            forgotten += usize::from(netfilter.order(order, NLM_F_ACK, named).is_ok());
        }
    }
    Ok(forgotten)
}

/// AF_INET, AF_INET6.
fn family(address: IpAddr) -> u8 {
    if address.is_ipv4() { 2 } else { 10 }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn flow(protocol: u8, destination: &str, replies: &str) -> Flow {
        let way = |source: &str, destination: &str| Way {
            protocol,
            source: source.parse().unwrap(),
            destination: destination.parse().unwrap(),
        };
        let client = "192.0.2.2:4000";
        let (original, reply) = (way(client, destination), way(replies, client));
        Flow { family: 2, original, reply, name: Vec::new() }
    }

    #[test]
    fn only_flows_that_go_wrong_are_forgotten() {
        let ports: Vec<Published> = ["127.0.0.9:53-54->5353-5354/udp", "0.0.0.0:9000->80/udp"]
            .map(|text| text.parse().unwrap())
            .into();
        let to = Target::from(Ipv4Addr::new(10, 0, 0, 2));
        let astray = |flow: &Flow| flow.is_led_astray(to, &ports);
        // To the host itself, to another container, to another port of ours.
        assert!(astray(&flow(17, "127.0.0.9:54", "127.0.0.9:54")));
        assert!(astray(&flow(17, "127.0.0.1:9000", "10.0.0.3:80")));
        assert!(astray(&flow(17, "127.0.0.9:54", "10.0.0.2:5353")));
        // Right; another protocol; another port; another address; another machine's.
        assert!(!astray(&flow(17, "127.0.0.9:54", "10.0.0.2:5354")));
        assert!(!astray(&flow(6, "127.0.0.9:54", "127.0.0.9:54")));
        assert!(!astray(&flow(17, "127.0.0.9:55", "127.0.0.9:55")));
        assert!(!astray(&flow(17, "127.0.0.8:54", "127.0.0.8:54")));
        assert!(!astray(&flow(17, "198.51.100.7:9000", "198.51.100.7:9000")));

        let led = |flow: &Flow| flow.led(to, &ports);
        assert!(
            led(&flow(17, "127.0.0.9:53", "10.0.0.2:5353"))
                && led(&flow(17, "127.0.0.1:9000", "10.0.0.2:80"))
        );
        // Straight to the container, which needs no port; another container.
        assert!(
            !led(&flow(17, "10.0.0.2:80", "10.0.0.2:80")) && !led(&flow(17, "127.0.0.1:9000", "10.0.0.3:80"))
        );
    }

    #[test]
    fn a_tuple_is_read() {
        let mut writer = Writer::default();
        writer.nested(1, |writer| {
            writer.nested(1, |writer| {
                writer.attribute(1, &[192, 0, 2, 2]);
                writer.attribute(2, &[192, 0, 2, 1]);
            });
            writer.nested(2, |writer| {
                writer.attribute(1, &[17]);
                writer.attribute(2, &4000_u16.to_be_bytes());
                writer.attribute(3, &53_u16.to_be_bytes());
            });
        });
        let original = writer.bytes.clone();
        let mut both = original.clone();
        both.extend(&original);
        // The second is the reply's.
        both[original.len() + 2] = 2;
        let flow = Flow::read(2, &both).unwrap();
        assert_eq!(flow.original.source, "192.0.2.2:4000".parse().unwrap());
        assert_eq!(flow.reply.destination, "192.0.2.1:53".parse().unwrap());
        assert_eq!(flow.name.len(), 1);
        assert_eq!(Flow::read(2, &original), None);
    }
}
