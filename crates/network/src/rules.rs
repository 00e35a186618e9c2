//! Our table of nf_tables: one for each engine, named after its run state, `minidocker` for /run/minidocker. Other
//! tables are never touched: what they drop is dropped, whatever ours accepts.
//!
//! ```text
//! prerouting   -300  guard    what comes from a wire and names 127.0.0.0/8 is forged
//!              -100  in       ─┐ published ports: two maps, whose cost does not grow with them
//! output       -100  local    ─┘ of this host's own programs, 127.0.0.1 too
//! forward         0  forward  nothing from or to internal networks; to our bridges only what is answered, published, of
//!                             the same bridge if its containers are not apart, or between two that are open to each
//!                             other
//! postrouting   100  out      the host's address for what leaves it, and where an answer would miss it
//! ```

use std::net::{IpAddr, Ipv6Addr};

use crate::nft::{Element, Expression, Register, Set};
use crate::port_book::Target;
use crate::ports::Published;

// nft(8)'s types: ipv4_addr, inet_proto, inet_service, ifname; a concatenation has six bits for each.
const ADDRESS: u32 = 7;
const ADDRESS6: u32 = 8;
const PROTOCOL: u32 = 12;
const PORT: u32 = 13;
const LINK: u32 = 41;

/// Our bridges.
pub(crate) const BRIDGES: Set = Set { name: "bridges", key: (LINK, 16), host_order: true, data: None };
/// From a bridge to the same one. nf_tables cannot compare two names.
pub(crate) const WITHIN: Set =
    Set { name: "within", key: (LINK << 6 | LINK, 32), host_order: false, data: None };
/// Ports that are published on one address of the host.
pub(crate) const PORTS: Set = Set {
    name: "ports",
    key: (ADDRESS << 12 | PROTOCOL << 6 | PORT, 12),
    host_order: false,
    data: Some((ADDRESS << 6 | PORT, 8)),
};
/// Ports that are published on all addresses of the host.
pub(crate) const PORTS_ANY: Set = Set {
    name: "ports_any",
    key: (PROTOCOL << 6 | PORT, 8),
    host_order: false,
    data: Some((ADDRESS << 6 | PORT, 8)),
};
/// The same two of IPv6.
pub(crate) const PORTS6: Set = Set {
    name: "ports6",
    key: (ADDRESS6 << 12 | PROTOCOL << 6 | PORT, 24),
    host_order: false,
    data: Some((ADDRESS6 << 6 | PORT, 20)),
};
pub(crate) const PORTS6_ANY: Set = Set {
    name: "ports6_any",
    key: (PROTOCOL << 6 | PORT, 8),
    host_order: false,
    data: Some((ADDRESS6 << 6 | PORT, 20)),
};
/// Bridges of internal networks.
pub(crate) const INTERNAL: Set = Set { name: "internal", ..BRIDGES };
/// Bridges of networks that reach each other.
pub(crate) const OPEN: Set = Set { name: "open", ..BRIDGES };
/// Bridges whose containers keep their addresses outside.
pub(crate) const ROUTED: Set = Set { name: "routed", ..BRIDGES };
/// Bridges whose containers do not reach each other.
pub(crate) const APART: Set = Set { name: "apart", ..BRIDGES };
pub(crate) const SETS: [Set; 10] =
    [BRIDGES, WITHIN, INTERNAL, OPEN, ROUTED, APART, PORTS, PORTS_ANY, PORTS6, PORTS6_ANY];
/// The maps of ports.
pub(crate) const MAPS: [Set; 4] = [PORTS, PORTS_ANY, PORTS6, PORTS6_ANY];

/// A chain's hook: its type, the number of the hook, its name, the priority.
pub(crate) type Hook = (&'static str, u32, &'static str, i32);

pub(crate) const CHAINS: [(&str, Option<Hook>); 6] = [
    ("published", None),
    ("guard", Some(("filter", 0, "prerouting", -300))),
    ("in", Some(("nat", 0, "prerouting", -100))),
    ("local", Some(("nat", 3, "output", -100))),
    ("forward", Some(("filter", 2, "forward", 0))),
    ("out", Some(("nat", 4, "postrouting", 100))),
];

/// A rule: in nft(8)'s words, and what the kernel gets.
pub(crate) struct Rule {
    pub(crate) chain: &'static str,
    pub(crate) text: &'static str,
    pub(crate) expressions: Vec<Expression>,
}

// linux/netfilter/nf_tables.h: NFT_META_*, NFT_CT_*.
const IIF: u32 = 4;
const IIFNAME: u32 = 6;
const OIFNAME: u32 = 7;
const NFPROTO: u32 = 15;
const L4PROTO: u32 = 16;
const CT_STATE: u32 = 0;
const CT_STATUS: u32 = 2;
/// LOOPBACK_IFINDEX: it is the first link of every network namespace.
const LO: u32 = 1;
/// NF_DROP, NF_ACCEPT.
const DROP: Expression = Expression::Verdict { code: 0 };
const ACCEPT: Expression = Expression::Verdict { code: 1 };

fn meta(key: u32) -> Expression {
    Expression::Meta { key, into: Register::WHOLE }
}

fn compare(equal: bool, to: &[u8]) -> Expression {
    Expression::Compare { register: Register::WHOLE, equal, to: to.to_vec() }
}

fn lookup(set: &Set, absent: bool) -> Expression {
    Expression::Lookup { set: set.name, from: Register::WHOLE, into: None, absent }
}

/// NFPROTO_IPV4.
fn ipv4() -> [Expression; 2] {
    [meta(NFPROTO), compare(true, &[2])]
}

/// NFPROTO_IPV6.
fn ipv6() -> [Expression; 2] {
    [meta(NFPROTO), compare(true, &[10])]
}

/// The destination is of IPv6, and not ::1.
fn beyond_loopback6() -> [Expression; 4] {
    let [family, is] = ipv6();
    let load = Expression::Payload { base: 1, offset: 24, length: 16, into: Register::WHOLE };
    [family, is, load, compare(false, &Ipv6Addr::LOCALHOST.octets())]
}

/// An address is ::1. `offset` in the IPv6 header: 8 of the source, 24 of the destination.
fn loopback6(offset: u32) -> [Expression; 4] {
    let [family, is] = ipv6();
    let load = Expression::Payload { base: 1, offset, length: 16, into: Register::WHOLE };
    [family, is, load, compare(true, &Ipv6Addr::LOCALHOST.octets())]
}

/// The first byte of an address is 127. `offset` in the IPv4 header: 12 of the source, 16 of the destination.
fn loopback(offset: u32) -> [Expression; 4] {
    let [family, is] = ipv4();
    let load = Expression::Payload { base: 1, offset, length: 1, into: Register::WHOLE };
    [family, is, load, compare(true, &[127])]
}

/// Connection tracking's state or status has one of these bits, which are in the host's byte order.
fn ct(key: u32, bits: u32) -> [Expression; 3] {
    let mask = Expression::Mask { register: Register::WHOLE, mask: bits.to_ne_bytes().to_vec() };
    [Expression::Ct { key, into: Register::WHOLE }, mask, compare(false, &[0; 4])]
}

/// IPS_DST_NAT.
fn published() -> [Expression; 3] {
    ct(CT_STATUS, 1 << 5)
}

fn within(absent: bool) -> [Expression; 3] {
    let first = Expression::Meta { key: IIFNAME, into: Register::WHOLE };
    let second = Expression::Meta { key: OIFNAME, into: Register::part(4) };
    [first, second, lookup(&WITHIN, absent)]
}

/// It comes from, or goes to, a bridge of this set.
fn of(key: u32, set: &Set) -> [Expression; 2] {
    [meta(key), lookup(set, false)]
}

/// Protocol and destination port, from the nth register of four bytes on.
fn port(n: u32) -> [Expression; 2] {
    [
        Expression::Meta { key: L4PROTO, into: Register::part(n) },
        Expression::Payload { base: 2, offset: 2, length: 2, into: Register::part(n + 1) },
    ]
}

/// What the map has of the key goes in place of the destination.
fn translate(map: &Set) -> [Expression; 2] {
    let first = Register::part(0);
    // NFPROTO_IPV4 and NFPROTO_IPV6, whose addresses take one register and four.
    let (family, port) = if map.data == PORTS.data { (2, 1) } else { (10, 4) };
    [
        Expression::Lookup { set: map.name, from: first, into: Some(first), absent: false },
        Expression::Dnat { family, address: first, port: Register::part(port) },
    ]
}

/// For which families we have made this host a router, which it was not: it is one for us only.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Alone {
    pub(crate) v4: bool,
    pub(crate) v6: bool,
}

/// All rules, in order.
pub(crate) fn rules(alone: Alone) -> Vec<Rule> {
    let rule = |chain, text, parts: &[&[Expression]]| Rule { chain, text, expressions: parts.concat() };
    let not_lo = [meta(IIF), compare(false, &LO.to_ne_bytes())];
    let to_us = |absent| [meta(OIFNAME), lookup(&BRIDGES, absent)];
    let from_us = |absent| [meta(IIFNAME), lookup(&BRIDGES, absent)];
    let address = [Expression::Payload { base: 1, offset: 16, length: 4, into: Register::part(0) }];
    let address6 = [Expression::Payload { base: 1, offset: 24, length: 16, into: Register::part(0) }];
    let own = [Expression::DestinationType { into: Register::WHOLE }, compare(true, &2_u32.to_ne_bytes())];
    let mut all = vec![
        // A port that is published on 127.0.0.1, and route_localnet of our bridges, are nobody else's (CVE-2020-8558).
        rule(
            "guard",
            "iif != 1 ip daddr 127.0.0.0/8 counter drop",
            &[&not_lo, &loopback(16), &[Expression::Counter, DROP]],
        ),
        rule(
            "guard",
            "iif != 1 ip saddr 127.0.0.0/8 counter drop",
            &[&not_lo, &loopback(12), &[Expression::Counter, DROP]],
        ),
        rule(
            "published",
            "dnat ip to ip daddr . meta l4proto . th dport map @ports",
            &[&ipv4(), &address, &port(1), &translate(&PORTS)],
        ),
        rule(
            "published",
            "meta nfproto ipv4 fib daddr type local dnat ip to meta l4proto . th dport map @ports_any",
            &[&ipv4(), &own, &port(0), &translate(&PORTS_ANY)],
        ),
        rule(
            "published",
            "dnat ip6 to ip6 daddr . meta l4proto . th dport map @ports6",
            &[&ipv6(), &address6, &port(4), &translate(&PORTS6)],
        ),
        // ::1 is for those who ask for it. Where bridges are filtered an answer for it is dropped: who asks there is refused
        // at once and goes on to 127.0.0.1, in the place of waiting.
        rule(
            "published",
            "ip6 daddr != ::1 fib daddr type local dnat ip6 to meta l4proto . th dport map @ports6_any",
            &[&beyond_loopback6(), &own, &port(0), &translate(&PORTS6_ANY)],
        ),
        // What is published on ::1 is this host's own. The kernel drops such packets itself, but not while they are bridged.
        rule(
            "in",
            "iif != 1 ip6 daddr ::1 counter drop",
            &[&not_lo, &loopback6(24), &[Expression::Counter, DROP]],
        ),
        rule("in", "jump published", &[&[Expression::Jump { chain: "published" }]]),
        rule("local", "jump published", &[&[Expression::Jump { chain: "published" }]]),
        rule(
            "forward",
            "iifname @internal iifname . oifname != @within counter drop",
            &[&of(IIFNAME, &INTERNAL), &within(true), &[Expression::Counter, DROP]],
        ),
        rule(
            "forward",
            "oifname @internal iifname . oifname != @within counter drop",
            &[&of(OIFNAME, &INTERNAL), &within(true), &[Expression::Counter, DROP]],
        ),
        rule("forward", "oifname != @bridges accept", &[&to_us(true), &[ACCEPT]]),
        // Bits of the states: established, related.
        rule("forward", "ct state established,related accept", &[&ct(CT_STATE, 2 | 4), &[ACCEPT]]),
        rule("forward", "ct status dnat accept", &[&published(), &[ACCEPT]]),
        // From port to port the bridge itself keeps them apart; a container can send by way of the host as well.
        rule(
            "forward",
            "iifname @apart iifname . oifname @within counter drop",
            &[&of(IIFNAME, &APART), &within(false), &[Expression::Counter, DROP]],
        ),
        rule("forward", "iifname . oifname @within accept", &[&within(false), &[ACCEPT]]),
        rule(
            "forward",
            "iifname @open oifname @open accept",
            &[&of(IIFNAME, &OPEN), &of(OIFNAME, &OPEN), &[ACCEPT]],
        ),
        rule("forward", "counter drop", &[&[Expression::Counter, DROP]]),
        // The container's answer would go to 127.0.0.1, its own.
        rule(
            "out",
            "ip saddr 127.0.0.0/8 oifname @bridges masquerade",
            &[&loopback(12), &to_us(false), &[Expression::Masquerade]],
        ),
        rule(
            "out",
            "ip6 saddr ::1 oifname @bridges masquerade",
            &[&loopback6(8), &to_us(false), &[Expression::Masquerade]],
        ),
        // A neighbour's answer would go to the neighbour straight, who has asked somebody else.
        rule(
            "out",
            "ct status dnat iifname . oifname @within masquerade",
            &[&published(), &within(false), &[Expression::Masquerade]],
        ),
        rule("out", "iifname @routed accept", &[&of(IIFNAME, &ROUTED), &[ACCEPT]]),
        // Of both families: what is private there too (RFC 4193) would not be answered either.
        rule(
            "out",
            "iifname @bridges oifname != @bridges masquerade",
            &[&from_us(false), &to_us(true), &[Expression::Masquerade]],
        ),
    ];
    let first = all.iter().position(|rule| rule.chain == "forward").unwrap_or(all.len());
    if alone.v6 {
        let text = "meta nfproto ipv6 iifname != @bridges oifname != @bridges drop";
        all.insert(first, rule("forward", text, &[&ipv6(), &from_us(true), &to_us(true), &[DROP]]));
    }
    if alone.v4 {
        let text = "meta nfproto ipv4 iifname != @bridges oifname != @bridges drop";
        all.insert(first, rule("forward", text, &[&ipv4(), &from_us(true), &to_us(true), &[DROP]]));
    }
    all
}

pub(crate) fn link_key(name: &str) -> Vec<u8> {
    let mut key = name.as_bytes().to_vec();
    key.resize(16, 0);
    key
}

/// What the rules know of a network.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Bridge {
    pub(crate) name: String,
    pub(crate) internal: bool,
    pub(crate) open: bool,
    pub(crate) routed: bool,
    pub(crate) apart: bool,
    pub(crate) v6: bool,
}

impl Bridge {
    /// Reads what the book has of a network: the driver, and what is said of it. None of one without a bridge.
    pub(crate) fn read(name: &str, words: &str) -> Option<Self> {
        let has = |wanted: &str| words.split(' ').any(|word| word == wanted);
        has("bridge").then(|| Self {
            name: name.to_owned(),
            internal: has("internal"),
            open: has("open"),
            routed: has("routed"),
            apart: has("apart"),
            v6: has("v6"),
        })
    }

    /// A network of which nothing special is said.
    pub(crate) fn plain(name: &str) -> Self {
        Self { name: name.to_owned(), ..Self::default() }
    }

    /// The sets that have it.
    fn sets(&self) -> impl Iterator<Item = &'static str> {
        let special = [
            (self.internal, INTERNAL.name),
            (self.open, OPEN.name),
            (self.routed, ROUTED.name),
            (self.apart, APART.name),
        ];
        special.into_iter().filter_map(|(has, name)| has.then_some(name))
    }

    /// Its elements.
    pub(crate) fn elements(&self) -> Vec<(&'static str, Element)> {
        let one = link_key(&self.name);
        let two = [one.clone(), one.clone()].concat();
        let element = |key: &Vec<u8>| Element { key: key.clone(), data: None, comment: String::new() };
        let mut all = vec![(BRIDGES.name, element(&one)), (WITHIN.name, element(&two))];
        all.extend(self.sets().map(|name| (name, element(&one))));
        all
    }

    /// The same as nft(8) takes them.
    pub(crate) fn script(&self) -> Vec<(&'static str, String)> {
        let name = format!("\"{}\"", self.name);
        let mut all = vec![(BRIDGES.name, name.clone()), (WITHIN.name, format!("{name} . {name}"))];
        all.extend(self.sets().map(|set| (set, name.clone())));
        all
    }
}

/// The elements of a container's ports: those of one address of the host each, and those of all, of each family.
pub(crate) fn port_elements(id: &str, to: Target, ports: &[Published]) -> [(&'static str, Vec<Element>); 4] {
    let mut lists = MAPS.map(|map| (map.name, Vec::new()));
    let padded = |port: u16| [port.to_be_bytes(), [0; 2]].concat();
    let octets = |address: IpAddr| match address {
        IpAddr::V4(address) => address.octets().to_vec(),
        IpAddr::V6(address) => address.octets().to_vec(),
    };
    for published in ports {
        let Some(to) = to.of_family(published.address) else { continue };
        let protocol = [published.container.protocol.number(), 0, 0, 0];
        let (any, six) = (published.address.is_unspecified(), published.address.is_ipv6());
        for (host, container) in published.each() {
            let data = [octets(to), padded(container)].concat();
            let mut key = if any { Vec::new() } else { octets(published.address) };
            key.extend(protocol);
            key.extend(padded(host));
            let list = &mut lists[usize::from(any) + 2 * usize::from(six)].1;
            list.push(Element { key, data: Some(data), comment: id.get(..12).unwrap_or(id).to_owned() });
        }
    }
    lists
}
