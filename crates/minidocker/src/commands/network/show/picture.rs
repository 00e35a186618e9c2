//! What is drawn, before anybody knows how: the host, its bridges as lanes, and a card for each further namespace with
//! the cables from it to the lanes. Pure.

use std::net::IpAddr;

use engine::ops::survey::{Gateway, Link, Port, Space, Survey};

/// The whole picture.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Picture {
    pub(super) host: Vec<Row>,
    /// Bridges, in the order of the host's links.
    pub(super) lanes: Vec<Lane>,
    /// Those on the first lane first; those without a cable last.
    pub(super) cards: Vec<Card>,
}

/// A bridge.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Lane {
    /// Its name and what is to be said of it.
    pub(super) row: Row,
    /// Some card hangs on it.
    pub(super) used: bool,
}

/// A namespace that is not the host's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Card {
    pub(super) title: String,
    pub(super) note: String,
    pub(super) rows: Vec<Row>,
}

/// A line of words; where there is no room for all of them it goes on in the next line.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Row {
    pub(super) words: Vec<String>,
    /// What the line is about comes first, and stands out.
    pub(super) named: bool,
    /// The cable that ends here.
    pub(super) cable: Option<Cable>,
    /// Nobody will be pleased.
    pub(super) bad: bool,
}

/// From a lane to a row of a card.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Cable {
    pub(super) lane: usize,
    /// The host's end.
    pub(super) label: String,
}

impl Row {
    fn named(words: Vec<String>) -> Self {
        Self { words, named: true, ..Self::default() }
    }

    fn of(text: String) -> Self {
        Self { words: vec![text], ..Self::default() }
    }

    fn bad(text: String) -> Self {
        Self { bad: true, ..Self::of(text) }
    }
}

impl Picture {
    pub(super) fn new(survey: &Survey) -> Self {
        let Some(host) = survey.namespaces.first() else {
            return Self { host: Vec::new(), lanes: Vec::new(), cards: Vec::new() };
        };
        let bridges = lanes(survey, host);
        let mut cards: Vec<Card> =
            (1..survey.namespaces.len()).map(|at| card(survey, at, &bridges)).collect();
        cards.sort_by_key(|card| card.lanes().min().unwrap_or(usize::MAX));
        let lanes = bridges.iter().enumerate().map(|(number, bridge)| Lane {
            row: bridge_row(bridge),
            used: cards.iter().any(|card| card.lanes().any(|lane| lane == number)),
        });
        Self { lanes: lanes.collect(), host: host_rows(survey, host, &bridges), cards }
    }
}

impl Card {
    /// The lanes that it hangs on.
    pub(super) fn lanes(&self) -> impl Iterator<Item = usize> {
        self.rows.iter().filter_map(|row| Some(row.cable.as_ref()?.lane))
    }
}

/// The bridges of our rules, and others that lead to a namespace that is drawn.
fn lanes<'s>(survey: &'s Survey, host: &'s Space) -> Vec<&'s Link> {
    let ours = survey.rules.iter().flat_map(|rules| &rules.bridges).collect::<Vec<_>>();
    let leads = |bridge: &Link| {
        let mut ports = host.links.iter().filter(|link| link.master == Some(bridge.index));
        ports.any(|port| survey.other_end(0, port).is_some_and(|(space, _)| space != 0))
    };
    let is_lane = |link: &&Link| is_bridge(link) && (ours.contains(&&link.name) || leads(link));
    host.links.iter().filter(is_lane).collect()
}

fn is_bridge(link: &Link) -> bool {
    link.kind.as_deref() == Some("bridge")
}

fn bridge_row(bridge: &Link) -> Row {
    let mut words = vec![bridge.name.clone(), "bridge".to_owned()];
    words.extend(addresses(bridge));
    words.extend(bridge.total.map(|total| format!("carries {total}")));
    words.extend((!bridge.up).then(|| "down".to_owned()));
    Row::named(words)
}

/// Without those that every link makes for itself.
fn addresses(link: &Link) -> impl Iterator<Item = String> + '_ {
    link.addresses.iter().filter(|address| !address.starts_with("fe80:")).cloned()
}

fn host_rows(survey: &Survey, host: &Space, bridges: &[&Link]) -> Vec<Row> {
    let mut rows = Vec::new();
    let mut quiet = Vec::new();
    for link in host.links.iter().filter(|link| link.name != "lo") {
        let on_lane = bridges.iter().any(|bridge| link.master == Some(bridge.index));
        let shaper = link.kind.as_deref() == Some("ifb") && link.total.is_some();
        if on_lane || shaper || bridges.iter().any(|bridge| bridge.index == link.index) {
            continue;
        }
        if !link.up && link.addresses.is_empty() {
            quiet.push(link.name.clone());
            continue;
        }
        rows.push(Row::named(link_words(link, &host.gateways, survey.other_end(0, link))));
    }
    if !quiet.is_empty() {
        rows.push(Row::of(format!("down: {}", quiet.join(", "))));
    }
    if !host.containers.is_empty() {
        rows.push(Row::of(format!("containers with --network host: {}", names(host))));
    }
    rows.push(match &survey.rules {
        Some(rules) => {
            let count: usize = rules.chains.iter().map(|(_, count)| count).sum();
            let ports = match survey.ports.len() {
                0 => "no published port".to_owned(),
                1 => "1 published port".to_owned(),
                many => format!("{many} published ports"),
            };
            let chains = format!("{count} rules in {} chains", rules.chains.len());
            Row::named(vec![format!("table {}", rules.table), chains, ports])
        }
        None if bridges.is_empty() => Row::of("no table of rules: no container has needed one".to_owned()),
        None => Row::bad("no table of rules: minidocker system check --repair puts it back".to_owned()),
    });
    let known = |port: &Port| {
        let spaces = survey.namespaces.iter();
        let mut all = spaces.flat_map(|space| &space.links).flat_map(|link| &link.addresses);
        let to = port.to.to_string();
        all.any(|address| address.split('/').next() == Some(&to))
    };
    let lost: Vec<&Port> = survey.ports.iter().filter(|port| !known(port)).collect();
    rows.extend(port_words(&lost, true).into_iter().map(Row::bad));
    rows
}

fn names(space: &Space) -> String {
    space.containers.iter().map(|one| one.name.clone()).collect::<Vec<_>>().join(", ")
}

/// A link in words: name, kind where it is no end of a cable, addresses, the way out.
fn link_words(link: &Link, gateways: &[Gateway], end: Option<(usize, &Link)>) -> Vec<String> {
    let mut words = vec![link.name.clone()];
    words.extend(link.kind.clone().filter(|kind| kind != "veth" || end.is_none()));
    words.extend(addresses(link));
    let via = |gateway: &Gateway| match gateway.via {
        Some(via) => format!("via {via}"),
        None => "default route".to_owned(),
    };
    words.extend(gateways.iter().filter(|gateway| gateway.link == link.index).map(via));
    words.extend((!link.up).then(|| "down".to_owned()));
    words.extend((link.up && !link.running).then(|| "no carrier".to_owned()));
    words
}

fn card(survey: &Survey, at: usize, bridges: &[&Link]) -> Card {
    let space = &survey.namespaces[at];
    let mut rows = Vec::new();
    for link in space.links.iter().filter(|link| link.name != "lo") {
        let end = survey.other_end(at, link).filter(|(space, _)| *space == 0).map(|(_, end)| end);
        let lane = end.and_then(|end| bridges.iter().position(|bridge| end.master == Some(bridge.index)));
        // Tunnels that the kernel puts into every namespace.
        if !link.up && link.addresses.is_empty() && end.is_none() {
            continue;
        }
        let mut words = link_words(link, &space.gateways, survey.other_end(at, link));
        words.extend(end.and_then(|end| end.rate).map(|rate| format!("in {rate}")));
        words.extend(link.rate.map(|rate| format!("out {rate}")));
        let share = lane.and_then(|lane| bridges[lane].shares.get(&minor(link)?));
        words.extend(share.map(|rate| format!("share {rate}")));
        words.extend((link.mtu != 1500 && link.up).then(|| format!("mtu {}", link.mtu)));
        if let (Some(end), None) = (end, lane) {
            words.push(format!("cable to {} of the host", end.name));
        }
        let cable = lane.zip(end).map(|(lane, end)| Cable { lane, label: end.name.clone() });
        rows.push(Row { cable, ..Row::named(words) });
        let ports = survey.ports_to(&link.addresses);
        rows.extend(port_words(&ports, false).into_iter().map(Row::of));
    }
    if rows.is_empty() {
        rows.push(Row::of("loopback alone".to_owned()));
    }
    let (title, note) = match (&space.other, space.containers.as_slice()) {
        (Some((pid, name)), _) => (format!("{name} (pid {pid})"), "somebody else's".to_owned()),
        (None, [one]) => (one.name.clone(), one.id.chars().take(12).collect()),
        (None, several) => (names(space), format!("{} containers share it", several.len())),
    };
    Card { title, note, rows }
}

/// The number of a link's class: the lower half of its address.
fn minor(link: &Link) -> Option<u16> {
    let text = link.addresses.iter().find(|address| address.contains('.'))?.split('/').next()?;
    let [.., c, d] = text.parse::<std::net::Ipv4Addr>().ok()?.octets();
    Some(u16::from_be_bytes([c, d]))
}

/// The most lines for the ports of a link.
const LINES: usize = 8;

/// Ports in words, those that follow each other together; `whole` with the address that they lead to.
fn port_words(ports: &[&Port], whole: bool) -> Vec<String> {
    let mut runs: Vec<(&Port, u16)> = Vec::new();
    for port in ports {
        match runs.last_mut() {
            Some((first, more)) if follows(first, *more, port) => *more += 1,
            _ => runs.push((port, 0)),
        }
    }
    let range = |first: u16, more: u16| match more {
        0 => first.to_string(),
        more => format!("{first}-{}", first.saturating_add(more)),
    };
    let line = |(port, more): &(&Port, u16)| {
        let at = match port.address {
            None if port.to.is_ipv6() => "[::]".to_owned(),
            None => "*".to_owned(),
            Some(IpAddr::V6(address)) => format!("[{address}]"),
            Some(address) => address.to_string(),
        };
        let to = if whole { format!("{}:", port.to) } else { String::new() };
        let tail = if whole { ", where nobody is" } else { "" };
        let (host, inner) = (range(port.host, *more), range(port.port, *more));
        format!("{at}:{host} → {to}{inner}/{}{tail}", port.protocol)
    };
    let mut words: Vec<String> = runs.iter().take(LINES).map(line).collect();
    if runs.len() > LINES {
        words.push(format!("and {} more", runs.len() - LINES));
    }
    words
}

fn follows(first: &Port, more: u16, next: &Port) -> bool {
    let step = |port: u16| port.checked_add(more + 1);
    (first.address, &first.protocol, first.to) == (next.address, &next.protocol, next.to)
        && (step(first.host), step(first.port)) == (Some(next.host), Some(next.port))
}

#[cfg(test)]
pub(super) mod tests {
    use engine::ops::survey::{Rate, Resident, Rules};

    use super::*;

    pub(in super::super) fn link(index: u32, name: &str, kind: &str, addresses: &[&str]) -> Link {
        Link {
            index,
            name: name.to_owned(),
            kind: (!kind.is_empty()).then(|| kind.to_owned()),
            up: true,
            running: true,
            mtu: 1500,
            addresses: addresses.iter().map(|address| (*address).to_owned()).collect(),
            ..Link::default()
        }
    }

    fn cable(index: u32, name: &str, lower: u32, addresses: &[&str]) -> Link {
        Link { lower: Some(lower), away: true, ..link(index, name, "veth", addresses) }
    }

    fn space(names: &[&str], links: Vec<Link>) -> Space {
        let member =
            |name: &&str| Resident { name: (*name).to_owned(), id: "0123456789abcdef".repeat(4), pid: 1 };
        let via = |link| Gateway { via: "172.30.0.1".parse().ok(), link };
        let gateways = links.first().map(|link| via(link.index)).into_iter().collect();
        Space {
            inode: 1,
            host: false,
            containers: names.iter().map(member).collect(),
            other: None,
            links,
            gateways,
        }
    }

    pub(in super::super) fn port(host: u16, to: &str, port: u16) -> Port {
        Port { address: None, protocol: "tcp".to_owned(), host, to: to.parse().unwrap(), port }
    }

    /// Two bridges; one container on the first, one on both, two that share a namespace without a cable.
    pub(in super::super) fn survey() -> Survey {
        let port_of = |bridge, link| Link { master: Some(bridge), ..link };
        let mut host = space(
            &[],
            vec![
                link(2, "eth0", "", &["192.0.2.7/24"]),
                Link {
                    total: Some(Rate(100_000_000)),
                    ..link(3, "minidocker0", "bridge", &["172.30.0.1/16"])
                },
                link(4, "front", "bridge", &["10.89.0.1/24", "fd00::1/64", "fe80::1/64"]),
                Link { rate: Some(Rate(10_000_000)), ..port_of(3, cable(5, "md0123456789a", 2, &[])) },
                port_of(3, cable(6, "md1111111111a", 2, &[])),
                port_of(4, cable(7, "md1111111111b", 3, &[])),
                Link { up: false, ..link(8, "ifb0", "ifb", &[]) },
            ],
        );
        host.links[1].shares.insert(2, Rate(20_000_000));
        host.host = true;
        let web = space(&["web"], vec![cable(2, "eth0", 5, &["172.30.0.2/16"])]);
        let both = vec![
            cable(2, "eth0", 6, &["172.30.0.3/16"]),
            cable(3, "eth1", 7, &["10.89.0.2/24", "fd00::2/64"]),
        ];
        let mut alone = space(&["one", "two"], vec![]);
        alone.gateways.clear();
        let ports = vec![
            port(8080, "172.30.0.2", 80),
            port(8081, "172.30.0.2", 81),
            port(9000, "172.30.0.9", 90),
            port(5432, "172.30.0.3", 5432),
        ];
        let rules = Rules {
            table: "inet minidocker".to_owned(),
            chains: vec![("forward".to_owned(), 5), ("out".to_owned(), 3)],
            bridges: vec!["front".to_owned(), "minidocker0".to_owned()],
        };
        Survey { namespaces: vec![host, web, space(&["db"], both), alone], rules: Some(rules), ports }
    }

    #[test]
    fn cards_hang_on_lanes_and_say_what_the_kernel_says() {
        let picture = Picture::new(&survey());
        let words = |rows: &[Row]| rows.iter().map(|row| row.words.join("  ")).collect::<Vec<_>>();
        assert_eq!(
            words(&picture.host),
            [
                "eth0  192.0.2.7/24  via 172.30.0.1",
                "down: ifb0",
                "table inet minidocker  8 rules in 2 chains  4 published ports",
                "*:9000 → 172.30.0.9:90/tcp, where nobody is",
            ]
        );
        assert!(picture.host.last().unwrap().bad);
        let lanes: Vec<String> = picture.lanes.iter().map(|lane| lane.row.words.join("  ")).collect();
        assert_eq!(
            lanes,
            [
                "minidocker0  bridge  172.30.0.1/16  carries 100mbit",
                "front  bridge  10.89.0.1/24  fd00::1/64"
            ]
        );
        let titles: Vec<&str> = picture.cards.iter().map(|card| card.title.as_str()).collect();
        assert_eq!(titles, ["web", "db", "one, two"]);
        assert_eq!(
            words(&picture.cards[0].rows),
            ["eth0  172.30.0.2/16  via 172.30.0.1  in 10mbit  share 20mbit", "*:8080-8081 → 80-81/tcp"]
        );
        assert_eq!(picture.cards[1].lanes().collect::<Vec<_>>(), [0, 1]);
        assert_eq!(words(&picture.cards[2].rows), ["loopback alone"]);
    }

    #[test]
    fn thousands_of_ports_are_told_in_a_few_lines() {
        let range: Vec<Port> = (0..1000).map(|n| port(8000 + n, "10.0.0.1", 8000 + n)).collect();
        assert_eq!(port_words(&range.iter().collect::<Vec<_>>(), false), ["*:8000-8999 → 8000-8999/tcp"]);
        let odd: Vec<Port> = (0..1000).map(|n| port(8000 + 2 * n, "10.0.0.1", 80)).collect();
        let words = port_words(&odd.iter().collect::<Vec<_>>(), false);
        assert_eq!((words.len(), words.last().unwrap().as_str()), (LINES + 1, "and 992 more"));
        let both = [port(80, "10.0.0.1", 80), port(80, "fd00::2", 80)];
        let words = port_words(&both.iter().collect::<Vec<_>>(), false);
        assert_eq!(words, ["*:80 → 80/tcp", "[::]:80 → 80/tcp"]);
        let last = port(65535, "10.0.0.1", 65535);
        assert!(!follows(&last, 0, &last));
    }
}
