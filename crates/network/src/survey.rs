//! What the kernel says of networks: namespaces, their links, addresses and routes, what limits them, our table of
//! rules and the ports that it leads. Nothing here is read of our own files.

use std::collections::BTreeMap;
use std::fs;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::os::fd::OwnedFd;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use netlink_packet_route::RouteNetlinkMessage as Message;
use netlink_packet_route::address::AddressMessage;
use netlink_packet_route::link::LinkMessage;
use netlink_packet_route::route::RouteMessage;
use rustix::fs::{Mode, OFlags};
use serde::Serialize;
use step::Failure;

use crate::devices::open_inside;
use crate::error::Error;
use crate::facts::failed;
use crate::netlink::{self, Route, attributes, text};
use crate::nft::{Element, Netfilter, Seen};
use crate::rate::Rate;
use crate::rules::{BRIDGES, MAPS};
use crate::settings::Settings;
use crate::subnet::mac_text;
use crate::table::Table;
use crate::traffic::{self, TOP};

/// The step that this is, in messages.
const STEP: &str = "network.survey";

/// A container to look at: what users call it, and one of its processes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Resident {
    /// Its name.
    pub name: String,
    /// 64 hexadecimal digits.
    pub id: String,
    /// Its init's pid.
    pub pid: i32,
}

/// All that was seen.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Survey {
    /// The network namespaces: the host's first, then those of containers in the order given, then others.
    pub namespaces: Vec<Space>,
    /// Our table of rules; none where the host has none.
    pub rules: Option<Rules>,
    /// The ports of the host that it leads elsewhere.
    pub ports: Vec<Port>,
}

/// A network namespace.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Space {
    /// Its number, as in /proc/PID/ns/net.
    pub inode: u64,
    /// It is the one that we are in.
    pub host: bool,
    /// The containers that live in it.
    pub containers: Vec<Resident>,
    /// Somebody else's: a process in it, and the program's name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub other: Option<(i32, String)>,
    /// Its links, as the kernel numbers them.
    pub links: Vec<Link>,
    /// Its default routes.
    pub gateways: Vec<Gateway>,
}

/// A link.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Link {
    /// Its number within its namespace.
    pub index: u32,
    /// Its name.
    pub name: String,
    /// `veth`, `bridge`, `macvlan`, …; none of a real one.
    pub kind: Option<String>,
    /// Somebody has set it up.
    pub up: bool,
    /// The other end is there: IF_OPER_UP, or a link that does not tell.
    pub running: bool,
    /// The largest packet.
    pub mtu: u32,
    /// Its hardware address.
    pub mac: Option<String>,
    /// The bridge that it is a port of.
    pub master: Option<u32>,
    /// The number of the link at its other end, or that it sits on.
    pub lower: Option<u32>,
    /// That one is in another namespace.
    pub away: bool,
    /// Its addresses with their prefixes.
    pub addresses: Vec<String>,
    /// What a bucket lets out by it at most.
    #[serde(serialize_with = "shown")]
    pub rate: Option<Rate>,
    /// How many packets found no room in it.
    pub dropped: u32,
    /// What all shares are of, where it has a hierarchical bucket.
    #[serde(serialize_with = "shown")]
    pub total: Option<Rate>,
    /// The shares: the lower half of whose address, and how much.
    #[serde(serialize_with = "all_shown")]
    pub shares: BTreeMap<u16, Rate>,
    /// Bytes received and sent.
    pub traffic: (u64, u64),
}

fn shown<S: serde::Serializer>(rate: &Option<Rate>, serializer: S) -> Result<S::Ok, S::Error> {
    rate.map(|rate| rate.to_string()).serialize(serializer)
}

fn all_shown<S: serde::Serializer>(rates: &BTreeMap<u16, Rate>, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_map(rates.iter().map(|(minor, rate)| (minor, rate.to_string())))
}

/// A default route.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Gateway {
    /// Where it leads; none straight to the link.
    pub via: Option<IpAddr>,
    /// The link.
    pub link: u32,
}

/// Our table.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Rules {
    /// `inet minidocker`.
    pub table: String,
    /// Its chains that have rules, and how many.
    pub chains: Vec<(String, usize)>,
    /// The bridges that it is for.
    pub bridges: Vec<String>,
}

/// A port that leads elsewhere.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Port {
    /// The host's address; none for all of them.
    pub address: Option<IpAddr>,
    /// `tcp`, `udp`, `sctp`.
    pub protocol: String,
    /// The host's port.
    pub host: u16,
    /// Where it leads.
    pub to: IpAddr,
    /// To which port.
    pub port: u16,
}

/// Looks at the host's namespace and those of `members`; with `all` at every other namespace that a process is in.
/// A container that ends meanwhile is left out.
pub fn survey(settings: &Settings, members: Vec<Resident>, all: bool) -> Result<Survey, Error> {
    let host = inode("self").map_err(|error| Failure::new(STEP, "/proc/self/ns/net", error))?;
    let mut namespaces = vec![Space {
        inode: host,
        host: true,
        containers: vec![],
        other: None,
        links: vec![],
        gateways: vec![],
    }];
    let mut pids = vec![None];
    for member in members {
        let Ok(inode) = inode(&member.pid.to_string()) else { continue };
        let at = place(&mut namespaces, inode);
        pids.resize(namespaces.len(), Some(member.pid));
        namespaces[at].containers.push(member);
    }
    if all {
        for (pid, inode) in others() {
            if !namespaces.iter().any(|space| space.inode == inode) {
                let at = place(&mut namespaces, inode);
                pids.push(Some(pid));
                let name = fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
                namespaces[at].other = Some((pid, name.trim().to_owned()));
            }
        }
    }
    let mut seen = Vec::new();
    for (mut space, pid) in namespaces.into_iter().zip(pids) {
        let Some(socket) = socket(pid)? else { continue };
        look(Route::new(&socket), &mut space)?;
        seen.push(space);
    }
    let (rules, ports) = rules(settings)?;
    Ok(Survey { namespaces: seen, rules, ports })
}

/// Where the namespace of this number is in the list; at its end if it was not there.
fn place(all: &mut Vec<Space>, inode: u64) -> usize {
    if let Some(at) = all.iter().position(|space| space.inode == inode) {
        return at;
    }
    all.push(Space { inode, host: false, containers: vec![], other: None, links: vec![], gateways: vec![] });
    all.len() - 1
}

fn inode(process: &str) -> std::io::Result<u64> {
    fs::metadata(format!("/proc/{process}/ns/net")).map(|found| found.ino())
}

/// A process of each namespace, in the order of processes.
fn others() -> Vec<(i32, u64)> {
    let mut pids: Vec<i32> = fs::read_dir("/proc")
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
        .collect();
    pids.sort_unstable();
    pids.into_iter().filter_map(|pid| Some((pid, inode(&pid.to_string()).ok()?))).collect()
}

/// A route socket in the namespace of a process, or our own; none where the process is gone.
fn socket(pid: Option<i32>) -> Result<Option<OwnedFd>, Failure> {
    let failed = |error| Failure::new(STEP, "the route socket", error);
    let Some(pid) = pid else { return netlink::open().map(Some).map_err(failed) };
    let path = format!("/proc/{pid}/ns/net");
    let Ok(namespace) = rustix::fs::open(Path::new(&path), OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())
    else {
        return Ok(None);
    };
    open_inside(&namespace).map(Some).map_err(|error| Failure::new(STEP, path, error))
}

fn look(route: Route<'_>, space: &mut Space) -> Result<(), Failure> {
    let list = |what| move |refusal| failed(STEP, format!("the list of {what}"), refusal);
    space.links = route.dump(Message::GetLink(LinkMessage::default()), read_link).map_err(list("links"))?;
    let addresses = route.dump(Message::GetAddress(AddressMessage::default()), read_address);
    for (index, address) in addresses.map_err(list("addresses"))? {
        let link = space.links.iter_mut().find(|link| link.index == index);
        link.into_iter().for_each(|link| link.addresses.push(address.clone()));
    }
    space.gateways =
        route.dump(Message::GetRoute(RouteMessage::default()), read_gateway).map_err(list("routes"))?;
    for discipline in traffic::disciplines(route).map_err(list("queueing disciplines"))? {
        let Some(link) = space.links.iter_mut().find(|link| link.index == discipline.link) else { continue };
        match discipline.kind.as_str() {
            "tbf" => (link.rate, link.dropped) = (discipline.rate, discipline.dropped),
            "htb" => {
                for class in traffic::classes(route, link.index).map_err(list("classes"))? {
                    match class.minor {
                        TOP => link.total = Some(class.rate),
                        minor => drop(link.shares.insert(minor, class.rate)),
                    }
                }
            }
            _ => {}
        }
    }
    Ok(())
}

fn number(bytes: &[u8]) -> Option<u32> {
    Some(u32::from_ne_bytes(bytes.get(..4)?.try_into().ok()?))
}

fn large(bytes: &[u8], at: usize) -> Option<u64> {
    Some(u64::from_ne_bytes(bytes.get(at * 8..at * 8 + 8)?.try_into().ok()?))
}

/// Of four bytes or of sixteen.
fn ip(bytes: &[u8]) -> Option<IpAddr> {
    let four = <[u8; 4]>::try_from(bytes).map(|four| IpAddr::V4(Ipv4Addr::from(four)));
    four.or_else(|_| <[u8; 16]>::try_from(bytes).map(|all| IpAddr::V6(Ipv6Addr::from(all)))).ok()
}

/// struct ifinfomsg, then IFLA_*: linux/if_link.h.
fn read_link(entry: &[u8]) -> Option<Link> {
    /// IFF_UP; IF_OPER_UNKNOWN and IF_OPER_UP.
    const UP: u32 = 1;
    const OPERATES: [u8; 2] = [0, 6];
    let mut link = Link { index: number(entry.get(4..)?)?, ..Link::default() };
    link.up = number(entry.get(8..)?)? & UP != 0;
    for (kind, value) in attributes(entry.get(16..)?) {
        match kind & 0x3fff {
            1 => link.mac = <[u8; 6]>::try_from(value).ok().filter(|mac| *mac != [0; 6]).map(mac_text),
            3 => link.name = text(value)?,
            4 => link.mtu = number(value)?,
            5 => link.lower = number(value).filter(|lower| *lower != 0 && *lower != link.index),
            10 => link.master = number(value),
            16 => link.running = OPERATES.contains(value.first()?),
            18 => link.kind = attributes(value).find(|(kind, _)| *kind == 1).and_then(|(_, name)| text(name)),
            23 => link.traffic = (large(value, 2)?, large(value, 3)?),
            37 => link.away = true,
            _ => {}
        }
    }
    Some(link)
}

/// struct ifaddrmsg, then IFA_*: the local one where there are two ends.
fn read_address(entry: &[u8]) -> Option<(u32, String)> {
    let value = |wanted| {
        attributes(entry.get(8..)?).find(|(kind, _)| *kind == wanted).and_then(|(_, value)| ip(value))
    };
    let address = value(2).or_else(|| value(1))?;
    Some((number(entry.get(4..)?)?, format!("{address}/{}", entry.get(1)?)))
}

/// struct rtmsg, then RTA_*: only the default routes of the main table.
fn read_gateway(entry: &[u8]) -> Option<Gateway> {
    /// RT_TABLE_MAIN, RTN_UNICAST.
    const WANTED: (u8, u8, u8) = (0, 254, 1);
    if (*entry.get(1)?, *entry.get(4)?, *entry.get(7)?) != WANTED {
        return None;
    }
    let value =
        |wanted| attributes(entry.get(12..)?).find(|(kind, _)| *kind == wanted).map(|(_, value)| value);
    Some(Gateway { via: value(5).and_then(ip), link: number(value(4)?)? })
}

/// Our table, as far as it is there.
fn rules(settings: &Settings) -> Result<(Option<Rules>, Vec<Port>), Failure> {
    let table = Table::of(&settings.run_dir);
    let Ok(netfilter) = Netfilter::open() else { return Ok((None, Vec::new())) };
    let refused = |refusal| failed(STEP, format!("table inet {}", table.name), refusal);
    if netfilter.has_table(&table.name).map_err(refused)? != Seen::There {
        return Ok((None, Vec::new()));
    }
    let mut ports = Vec::new();
    for map in MAPS {
        ports
            .extend(netfilter.elements(&table.name, map.name).map_err(refused)?.iter().filter_map(read_port));
    }
    ports.sort();
    let bridges = netfilter.elements(&table.name, BRIDGES.name).map_err(refused)?;
    let mut bridges: Vec<String> = bridges.iter().filter_map(|element| text(&element.key)).collect();
    bridges.sort();
    let chains = netfilter.rules(&table.name).map_err(refused)?;
    Ok((Some(Rules { table: format!("inet {}", table.name), chains, bridges }), ports))
}

/// An element of a map of ports. Its key is an address, or none, then protocol and port; what it leads to is an
/// address and a port. Each part is padded to four bytes.
fn read_port(element: &Element) -> Option<Port> {
    let port = |bytes: &[u8]| Some(u16::from_be_bytes(bytes.get(..2)?.try_into().ok()?));
    let (address, rest) = element.key.split_at_checked(element.key.len().checked_sub(8)?)?;
    let data = element.data.as_ref()?;
    let (to, data) = data.split_at_checked(data.len().checked_sub(4)?)?;
    let protocol = match rest.first()? {
        6 => "tcp".to_owned(),
        17 => "udp".to_owned(),
        132 => "sctp".to_owned(),
        other => other.to_string(),
    };
    Some(Port { address: ip(address), protocol, host: port(&rest[4..])?, to: ip(to)?, port: port(data)? })
}

impl Survey {
    /// The link at the other end of a cable, and the namespace that it is in. A link knows the other's number there, and
    /// the other one this one's: in two namespaces that are not the host's numbers may meet by chance, so the host's
    /// come first.
    pub fn other_end(&self, space: usize, link: &Link) -> Option<(usize, &Link)> {
        if link.kind.as_deref() != Some("veth") {
            return None;
        }
        let is_peer = |other: &&Link| {
            other.kind.as_deref() == Some("veth")
                && Some(other.index) == link.lower
                && other.lower == Some(link.index)
                && other.away == link.away
        };
        let near = |at: &usize| (*at == space) != link.away;
        (0..self.namespaces.len())
            .filter(near)
            .find_map(|at| Some((at, self.namespaces[at].links.iter().find(is_peer)?)))
    }

    /// The ports that lead to an address.
    pub fn ports_to(&self, addresses: &[String]) -> Vec<&Port> {
        let is_one = |to: &IpAddr| {
            let to = to.to_string();
            addresses.iter().any(|address| address.split('/').next() == Some(&to))
        };
        self.ports.iter().filter(|port| is_one(&port.to)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn element(key: &[u8], data: &[u8]) -> Element {
        Element { key: key.to_vec(), data: Some(data.to_vec()), comment: String::new() }
    }

    #[test]
    fn ports_are_read_of_every_map() {
        let any = read_port(&element(&[6, 0, 0, 0, 31, 144, 0, 0], &[10, 7, 0, 5, 0, 80, 0, 0])).unwrap();
        assert_eq!((any.address, any.protocol.as_str(), any.host), (None, "tcp", 8080));
        assert_eq!((any.to.to_string().as_str(), any.port), ("10.7.0.5", 80));
        let one = [10, 1, 1, 1, 17, 0, 0, 0, 0, 53, 0, 0];
        let one = read_port(&element(&one, &[10, 7, 0, 5, 0, 53, 0, 0])).unwrap();
        assert_eq!((one.address.unwrap().to_string().as_str(), one.protocol.as_str()), ("10.1.1.1", "udp"));
        let long = [&[0; 15][..], &[1, 132, 0, 0, 0, 0, 9, 0, 0]].concat();
        let long = read_port(&element(&long, &[&[0; 15][..], &[2, 0, 9, 0, 0]].concat())).unwrap();
        assert_eq!((long.address.unwrap().to_string().as_str(), long.protocol.as_str()), ("::1", "sctp"));
        for torn in [element(&[6, 0, 0], &[0; 8]), element(&[6, 0, 0, 0, 0, 0, 0, 0], &[0; 3])] {
            assert_eq!(read_port(&torn), None);
        }
    }

    #[test]
    fn the_other_end_is_the_hosts_before_anybody_elses() {
        let link = |index, lower, away| Link {
            index,
            name: format!("l{index}"),
            kind: Some("veth".to_owned()),
            lower: Some(lower),
            away,
            ..Link::default()
        };
        let space =
            |links| Space { inode: 0, host: false, containers: vec![], other: None, links, gateways: vec![] };
        let namespaces = vec![
            space(vec![link(5, 2, true), link(7, 2, true)]),
            space(vec![link(2, 5, true)]),
            space(vec![link(2, 7, true), link(8, 9, false), link(9, 8, false)]),
        ];
        let survey = Survey { namespaces, rules: None, ports: vec![] };
        let end = |space: usize, at: usize| {
            let (there, link) = survey.other_end(space, &survey.namespaces[space].links[at]).unwrap();
            (there, link.index)
        };
        assert_eq!((end(1, 0), end(2, 0)), ((0, 5), (0, 7)));
        assert_eq!((end(0, 0), end(0, 1)), ((1, 2), (2, 2)));
        assert_eq!(end(2, 1), (2, 9), "both ends in one namespace");
    }
}
