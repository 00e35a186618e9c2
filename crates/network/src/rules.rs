//! Our table of nf_tables: one for each engine, named after its run state, `minidocker` for /run/minidocker. Other
//! tables are never touched: what they drop is dropped, whatever ours accepts.
//!
//! ```text
//! prerouting   -300  guard    what comes from a wire and names 127.0.0.0/8 is forged
//!              -100  in       ─┐ published ports: two maps, whose cost does not grow with them
//! output       -100  local    ─┘ of this host's own programs, 127.0.0.1 too
//! forward         0  forward  to our bridges only what is answered, published, or of the same bridge
//! postrouting   100  out      the host's address for what leaves it, and where an answer would miss it
//! ```

use std::net::{IpAddr, Ipv4Addr};

use crate::nft::{Element, Expression, Register, Set};
use crate::ports::Published;

// nft(8)'s types: ipv4_addr, inet_proto, inet_service, ifname; a concatenation has six bits for each.
const ADDRESS: u32 = 7;
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
pub(crate) const SETS: [Set; 4] = [BRIDGES, WITHIN, PORTS, PORTS_ANY];

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

fn within() -> [Expression; 3] {
    let first = Expression::Meta { key: IIFNAME, into: Register::WHOLE };
    let second = Expression::Meta { key: OIFNAME, into: Register::part(4) };
    [first, second, lookup(&WITHIN, false)]
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
    [
        Expression::Lookup { set: map.name, from: first, into: Some(first), absent: false },
        Expression::Dnat { address: first, port: Register::part(1) },
    ]
}

/// All rules, in order. `alone`: we have made this host a router, which it was not; it is one for us only.
pub(crate) fn rules(alone: bool) -> Vec<Rule> {
    let rule = |chain, text, parts: &[&[Expression]]| Rule { chain, text, expressions: parts.concat() };
    let not_lo = [meta(IIF), compare(false, &LO.to_ne_bytes())];
    let to_us = |absent| [meta(OIFNAME), lookup(&BRIDGES, absent)];
    let from_us = |absent| [meta(IIFNAME), lookup(&BRIDGES, absent)];
    let address = [Expression::Payload { base: 1, offset: 16, length: 4, into: Register::part(0) }];
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
        rule("in", "jump published", &[&[Expression::Jump { chain: "published" }]]),
        rule("local", "jump published", &[&[Expression::Jump { chain: "published" }]]),
        rule("forward", "oifname != @bridges accept", &[&to_us(true), &[ACCEPT]]),
        // Bits of the states: established, related.
        rule("forward", "ct state established,related accept", &[&ct(CT_STATE, 2 | 4), &[ACCEPT]]),
        rule("forward", "ct status dnat accept", &[&published(), &[ACCEPT]]),
        rule("forward", "iifname . oifname @within accept", &[&within(), &[ACCEPT]]),
        rule("forward", "counter drop", &[&[Expression::Counter, DROP]]),
        // The container's answer would go to 127.0.0.1, its own.
        rule(
            "out",
            "ip saddr 127.0.0.0/8 oifname @bridges masquerade",
            &[&loopback(12), &to_us(false), &[Expression::Masquerade]],
        ),
        // A neighbour's answer would go to the neighbour straight, who has asked somebody else.
        rule(
            "out",
            "ct status dnat iifname . oifname @within masquerade",
            &[&published(), &within(), &[Expression::Masquerade]],
        ),
        rule(
            "out",
            "meta nfproto ipv4 iifname @bridges oifname != @bridges masquerade",
            &[&ipv4(), &from_us(false), &to_us(true), &[Expression::Masquerade]],
        ),
    ];
    if alone {
        let text = "iifname != @bridges oifname != @bridges drop";
        all.insert(6, rule("forward", text, &[&from_us(true), &to_us(true), &[DROP]]));
    }
    all
}

pub(crate) fn link_key(name: &str) -> Vec<u8> {
    let mut key = name.as_bytes().to_vec();
    key.resize(16, 0);
    key
}

pub(crate) fn bridge_elements(bridge: &str) -> [(&'static str, Element); 2] {
    let one = link_key(bridge);
    let two = [one.clone(), one.clone()].concat();
    let element = |key| Element { key, data: None, comment: String::new() };
    [(BRIDGES.name, element(one)), (WITHIN.name, element(two))]
}

/// The elements of a container's ports: those of one address of the host each, and those of all.
pub(crate) fn port_elements(
    id: &str,
    to: Ipv4Addr,
    ports: &[Published],
) -> [(&'static str, Vec<Element>); 2] {
    let (mut one, mut any) = (Vec::new(), Vec::new());
    let padded = |port: u16| [port.to_be_bytes(), [0; 2]].concat();
    for published in ports {
        let IpAddr::V4(address) = published.address else { continue };
        let protocol = [published.container.protocol.number(), 0, 0, 0];
        for (host, container) in published.each() {
            let data = [to.octets().to_vec(), padded(container)].concat();
            let mut key = if address.is_unspecified() { Vec::new() } else { address.octets().to_vec() };
            key.extend(protocol);
            key.extend(padded(host));
            let list = if address.is_unspecified() { &mut any } else { &mut one };
            list.push(Element { key, data: Some(data), comment: id.get(..12).unwrap_or(id).to_owned() });
        }
    }
    [(PORTS.name, one), (PORTS_ANY.name, any)]
}
