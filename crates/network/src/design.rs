//! What a new network is made of: what was typed, checked against itself, against the other networks, and against the
//! routes of the host; and a subnet where none was asked for.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};

use crate::error::Error;
use crate::facts::{self, Obstacle};
use crate::netlink::Route;
use crate::network::{Driver, MASQUERADE, NEIGHBOURS, Network, Pool, Pool6};
use crate::subnet::Subnet;
use crate::subnet6::Subnet6;

/// `network create`, as typed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct NewNetwork {
    /// Its name.
    pub name: String,
    /// `--driver`.
    pub driver: Driver,
    /// `--subnet`: one of each family.
    pub subnets: Vec<String>,
    /// `--gateway`.
    pub gateways: Vec<IpAddr>,
    /// `--ip-range`.
    pub ranges: Vec<String>,
    /// `--aux-address`.
    pub auxiliary: BTreeMap<String, IpAddr>,
    /// `--ipv6`.
    pub ipv6: bool,
    /// `--internal`.
    pub internal: bool,
    /// `--attachable`.
    pub attachable: bool,
    /// `--label`.
    pub labels: BTreeMap<String, String>,
    /// `--opt`.
    pub options: BTreeMap<String, String>,
}

/// Where networks of users lie whose subnet was left to us: pieces of these with room for as many containers as a bridge
/// has ports (1,023), some seventeen thousand of them. Those that others seldom use come first.
const FIELDS: [Subnet; 4] = [
    Subnet::of(Ipv4Addr::new(10, 192, 0, 0), 10),
    Subnet::of(Ipv4Addr::new(172, 16, 0, 0), 12),
    Subnet::of(Ipv4Addr::new(10, 0, 0, 0), 8),
    Subnet::of(Ipv4Addr::new(192, 168, 0, 0), 16),
];
/// What Docker calls the way from outside to a container. Ours is one: by published ports alone.
const GATEWAY_MODES: [&str; 2] =
    ["com.docker.network.bridge.gateway_mode_ipv4", "com.docker.network.bridge.gateway_mode_ipv6"];
/// The prefix of each piece.
const PIECE: u8 = 22;

/// All pieces, in order.
pub(crate) fn pieces() -> impl Iterator<Item = Subnet> {
    FIELDS.iter().flat_map(|field| {
        let count = 1_u32 << (PIECE - field.prefix());
        let first = field.network().to_bits();
        (0..count).map(move |n| Subnet::of(Ipv4Addr::from_bits(first + (n << (32 - PIECE))), PIECE))
    })
}

/// What is in a new network's way.
pub(crate) struct Surroundings<'a> {
    /// The host's routes and addresses.
    pub(crate) obstacles: &'a [Obstacle],
    /// Those of IPv6, in the words of ip(8).
    pub(crate) obstacles6: &'a [(Subnet6, String)],
    /// Other networks of ours and who they are, whether their bridge is there or not.
    pub(crate) others: &'a [(Subnet, String)],
    /// Their IPv6 sides.
    pub(crate) others6: &'a [(Subnet6, String)],
    pub(crate) route: Route<'a>,
}

impl Surroundings<'_> {
    /// The first piece that nothing is in the way of.
    pub(crate) fn free(&self) -> Option<Subnet> {
        pieces().find(|piece| {
            !self.obstacles.iter().any(|obstacle| obstacle.network().overlaps(*piece))
                && !self.others.iter().any(|(other, _)| other.overlaps(*piece))
        })
    }

    /// Who has some of a subnet. `hosts`: the host's routes count, as they do not for links beside one of the host's.
    fn owner(&self, wanted: Subnet, hosts: bool) -> Option<String> {
        let other = self.others.iter().find(|(other, _)| other.overlaps(wanted));
        let found = other.map(|(_, words)| words.clone());
        found.or_else(|| if hosts { facts::first_of(self.obstacles, wanted, self.route) } else { None })
    }

    fn owner6(&self, wanted: Subnet6, hosts: bool) -> Option<String> {
        let hosts = if hosts { self.obstacles6 } else { &[] };
        let found = self.others6.iter().chain(hosts).find(|(other, _)| other.overlaps(wanted));
        found.map(|(_, words)| words.clone())
    }
}

fn bad(what: impl Into<String>, hint: impl Into<String>) -> Error {
    Error::Design { what: what.into(), hint: hint.into() }
}

/// The sides of a new network.
pub(crate) fn sides(
    new: &NewNetwork,
    id: &str,
    around: &Surroundings<'_>,
) -> Result<(Option<Pool>, Option<Pool6>), Error> {
    options(new)?;
    if !new.driver.has_links() {
        if !new.subnets.is_empty() || !new.gateways.is_empty() || !new.ranges.is_empty() || new.ipv6 {
            let what = format!("a network of the driver {} has no addresses", new.driver.name());
            return Err(bad(what, "leave out --subnet, --gateway, --ip-range and --ipv6"));
        }
        return Ok((None, None));
    }
    let (mut four, mut six) = (None, None);
    for text in &new.subnets {
        let twice = |family: &str| {
            bad(
                format!("--subnet {text}: the network has an {family} subnet already"),
                "give one of each family: --subnet 10.7.0.0/24 --subnet fd00:7::/64",
            )
        };
        if text.contains(':') {
            let subnet = text.parse::<Subnet6>().map_err(typed("--subnet"))?;
            if six.replace(subnet).is_some() {
                return Err(twice("IPv6"));
            }
        } else {
            let subnet = text.parse::<Subnet>().map_err(typed("--subnet"))?;
            if four.replace(subnet).is_some() {
                return Err(twice("IPv4"));
            }
        }
    }
    if six.is_some() && !new.ipv6 {
        return Err(bad("--subnet of IPv6 without --ipv6", "add --ipv6, or leave that subnet out"));
    }
    let four = side4(new, four, around)?;
    let six = if new.ipv6 { Some(side6(new, six, id, around)?) } else { None };
    belongs(new, four.subnet, six.map(|six| six.subnet))?;
    Ok((Some(four), six))
}

fn typed(option: &'static str) -> impl Fn(crate::subnet::ParseError) -> Error {
    move |error| {
        bad(
            format!("{option}: {error}"),
            "a network of its own is made of a private one, RFC 1918 or RFC 4193",
        )
    }
}

fn side4(new: &NewNetwork, asked: Option<Subnet>, around: &Surroundings<'_>) -> Result<Pool, Error> {
    let hosts = new.driver == Driver::Bridge;
    let subnet = match asked {
        Some(subnet) => {
            if let Some(owner) = around.owner(subnet, hosts) {
                let hint = "choose another subnet, or leave --subnet off and get a free one".to_owned();
                return Err(Error::Overlap { wanted: subnet, owner, hint: Some(hint) });
            }
            subnet
        }
        None => around.free().ok_or_else(|| {
            bad(
                "no private network is free: every candidate overlaps a route of the host or a network",
                "choose one yourself: --subnet",
            )
        })?,
    };
    let gateway = new.gateways.iter().find_map(|gateway| match gateway {
        IpAddr::V4(address) => Some(*address),
        IpAddr::V6(_) => None,
    });
    let gateway = gateway.unwrap_or(subnet.first());
    let ends = gateway == subnet.network() || gateway == subnet.broadcast();
    if subnet.contains(gateway) && ends {
        return Err(bad(
            format!("--gateway {gateway} is the network's own or its broadcast address"),
            format!("choose one from {} to {}", subnet.first(), subnet.last()),
        ));
    }
    let mut range = None;
    for text in new.ranges.iter().filter(|text| !text.contains(':')) {
        let (address, prefix) = text.split_once('/').unwrap_or((text, "32"));
        let read = address.parse::<Ipv4Addr>().ok().zip(prefix.parse::<u8>().ok().filter(|bits| *bits <= 32));
        let Some((address, prefix)) = read else {
            return Err(bad(format!("--ip-range {text}: it is no network"), "write it as 10.7.0.128/25"));
        };
        let one = Subnet::of(address, prefix);
        if !subnet.contains(one.network()) || one.prefix() < subnet.prefix() {
            return Err(bad(
                format!("--ip-range {text} is not within --subnet {subnet}"),
                format!("choose a part of {subnet}"),
            ));
        }
        if range.replace(one).is_some() {
            return Err(bad("--ip-range was given twice for IPv4", "leave one out"));
        }
    }
    Ok(Pool { subnet, gateway, range, chosen: asked.is_none() })
}

fn side6(
    new: &NewNetwork,
    asked: Option<Subnet6>,
    id: &str,
    around: &Surroundings<'_>,
) -> Result<Pool6, Error> {
    let subnet = match asked {
        Some(subnet) => {
            if let Some(owner) = around.owner6(subnet, new.driver == Driver::Bridge) {
                return Err(bad(
                    format!("network {subnet} overlaps {owner}"),
                    "choose another subnet, or leave the one of IPv6 off and get a free one",
                ));
            }
            subnet
        }
        None => (0..100)
            .map(|n| Subnet6::unique_local(&format!("{id}{n}")))
            .find(|subnet| around.owner6(*subnet, true).is_none())
            .ok_or_else(|| bad("found no free IPv6 network", "choose one yourself: --subnet fd00:7::/64"))?,
    };
    let gateway = new.gateways.iter().find_map(|gateway| match gateway {
        IpAddr::V6(address) => Some(*address),
        IpAddr::V4(_) => None,
    });
    let mut range = None;
    for text in new.ranges.iter().filter(|text| text.contains(':')) {
        let one = text.split_once('/').and_then(|(address, prefix)| {
            Some(Subnet6::of(address.parse().ok()?, prefix.parse().ok().filter(|bits| *bits <= 128)?))
        });
        let one = one.ok_or_else(|| {
            bad(format!("--ip-range {text}: it is no network"), "write it as fd00:7::100/120")
        })?;
        if !subnet.contains(one.network()) || one.prefix() < subnet.prefix() {
            return Err(bad(
                format!("--ip-range {text} is not within --subnet {subnet}"),
                format!("choose a part of {subnet}"),
            ));
        }
        if range.replace(one).is_some() {
            return Err(bad("--ip-range was given twice for IPv6", "leave one out"));
        }
    }
    Ok(Pool6 { subnet, gateway: gateway.unwrap_or(subnet.first()), range })
}

/// Whether each gateway, range and further address lies in a subnet of its family.
fn belongs(new: &NewNetwork, four: Subnet, six: Option<Subnet6>) -> Result<(), Error> {
    let within = |address: IpAddr| match address {
        IpAddr::V4(address) => four.contains(address),
        IpAddr::V6(address) => six.is_some_and(|six| six.contains(address)),
    };
    let place = |address: IpAddr| match (address, six) {
        (IpAddr::V6(_), None) => "it is of IPv6, which the network does not have: add --ipv6".to_owned(),
        (IpAddr::V6(_), Some(six)) => format!("choose one in {six}"),
        (IpAddr::V4(_), _) => format!("choose one in {four}"),
    };
    let mut seen = [false; 2];
    for gateway in &new.gateways {
        if !within(*gateway) {
            return Err(bad(format!("--gateway {gateway} is not within the network"), place(*gateway)));
        }
        if std::mem::replace(&mut seen[usize::from(gateway.is_ipv6())], true) {
            return Err(bad("--gateway was given twice for one family", "leave one out"));
        }
    }
    for (name, address) in &new.auxiliary {
        if !within(*address) {
            return Err(bad(
                format!("--aux-address {name}={address} is not within the network"),
                place(*address),
            ));
        }
    }
    if new.ranges.iter().any(|text| text.contains(':')) && six.is_none() {
        return Err(bad(
            "--ip-range of IPv6, which the network does not have",
            "add --ipv6, or leave it out",
        ));
    }
    Ok(())
}

/// Options that we know must make sense; others are kept for who reads them, as in Docker.
fn options(new: &NewNetwork) -> Result<(), Error> {
    let network = shape(new);
    let typed = |key: &str| new.options.get(key);
    for key in ["mtu", "com.docker.network.driver.mtu"] {
        if let Some(text) = typed(key)
            && !text.parse::<u32>().is_ok_and(|mtu| (68..=65535).contains(&mtu))
        {
            return Err(bad(
                format!("--opt {key}={text}: no size of a packet"),
                "choose one from 68 to 65535",
            ));
        }
        if let (Some(text), true) = (typed(key), new.ipv6)
            && network.mtu().is_some_and(|mtu| mtu < 1280)
        {
            return Err(bad(format!("--opt {key}={text} with --ipv6"), "IPv6 needs 1280 at least"));
        }
    }
    if let Some(text) = typed("vlan")
        && !text.parse::<u16>().is_ok_and(|tag| (1..=4094).contains(&tag))
    {
        return Err(bad(format!("--opt vlan={text}: no tag"), "choose one from 1 to 4094"));
    }
    for key in ["isolate", "com.docker.network.bridge.isolate"] {
        if let Some(text) = typed(key)
            && !["true", "false", "strict"].contains(&text.as_str())
        {
            return Err(bad(format!("--opt {key}={text}"), "write it as isolate=true or isolate=false"));
        }
    }
    for key in [MASQUERADE, NEIGHBOURS] {
        if let Some(text) = typed(key)
            && !["true", "false"].contains(&text.as_str())
        {
            return Err(bad(format!("--opt {key}={text}"), format!("write it as {key}=true or {key}=false")));
        }
    }
    apart(new, &network)?;
    let bridge = network.bridge();
    let fits = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    if bridge.is_empty() || bridge.len() > 15 || bridge.starts_with('.') || !bridge.chars().all(fits) {
        return Err(Error::BridgeName { name: bridge });
    }
    let beside = matches!(new.driver, Driver::Macvlan | Driver::Ipvlan);
    match network.parent() {
        None if beside => Err(bad(
            format!("a network of the driver {} needs a link of the host's", new.driver.name()),
            "name it: --opt parent=eth0; `ip -br link` lists them",
        )),
        Some(parent) if beside && (parent.len() > 15 || !parent.chars().all(fits)) => {
            Err(bad(format!("--opt parent={parent}: no link has such a name"), "`ip -br link` lists them"))
        }
        Some(_) if !beside => Err(bad(
            format!("--opt parent= with the driver {}", new.driver.name()),
            "it is for macvlan and ipvlan: --driver macvlan",
        )),
        _ => mode(&network),
    }
}

/// Containers that do not reach each other, and what contradicts that; and Docker's other ways to keep them.
fn apart(new: &NewNetwork, network: &Network) -> Result<(), Error> {
    if network.is_apart() && new.driver != Driver::Bridge {
        return Err(bad(
            format!("--opt {NEIGHBOURS}=false with the driver {}", new.driver.name()),
            "it is for bridges; links beside one of the host's are apart by --opt mode=private",
        ));
    }
    if network.is_apart() && network.is_open() {
        return Err(bad(
            format!("--opt {NEIGHBOURS}=false with isolate=false: open to other networks, and not to itself"),
            "leave out one or the other",
        ));
    }
    for key in GATEWAY_MODES {
        if let Some(text) = new.options.get(key).filter(|text| !["", "nat"].contains(&text.as_str())) {
            return Err(bad(
                format!("--opt {key}={text}: there is only nat"),
                format!(
                    "{MASQUERADE}=false keeps the containers' addresses outside; published ports are reached as ever"
                ),
            ));
        }
    }
    Ok(())
}

fn mode(network: &Network) -> Result<(), Error> {
    let known: &[&str] = match network.driver {
        Driver::Macvlan => &["bridge", "private", "vepa", "passthru"],
        Driver::Ipvlan => &["l2", "l3", "l3s"],
        _ => return Ok(()),
    };
    match network.mode() {
        Some(mode) if !known.contains(&mode) => Err(bad(
            format!("a link of the driver {} has no mode {}", network.driver.name(), step::quote(mode)),
            format!("choose one of {}", known.join(", ")),
        )),
        _ => Ok(()),
    }
}

/// The network without what is decided on.
pub(crate) fn shape(new: &NewNetwork) -> Network {
    Network {
        id: String::new(),
        name: new.name.clone(),
        created: 0,
        driver: new.driver,
        v4: None,
        v6: None,
        internal: new.internal,
        attachable: new.attachable,
        auxiliary: new.auxiliary.clone(),
        labels: new.labels.clone(),
        options: new.options.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::netlink;

    fn ask(words: &[(&str, &str)]) -> Result<(Option<Pool>, Option<Pool6>), String> {
        let mut new = NewNetwork { name: "web".into(), ..NewNetwork::default() };
        for (key, value) in words {
            match *key {
                "subnet" => new.subnets.push((*value).to_owned()),
                "gateway" => new.gateways.push(value.parse().unwrap()),
                "range" => new.ranges.push((*value).to_owned()),
                "aux" => drop(new.auxiliary.insert("a".into(), value.parse().unwrap())),
                "ipv6" => new.ipv6 = true,
                "macvlan" => new.driver = Driver::Macvlan,
                "none" => new.driver = Driver::None,
                option => drop(new.options.insert(option.to_owned(), (*value).to_owned())),
            }
        }
        let socket = netlink::open().unwrap();
        let others = [("10.192.0.0/22".parse().unwrap(), "network db".to_owned())];
        let others6 = [("fd00:1::/64".parse().unwrap(), "network db".to_owned())];
        let around = Surroundings {
            obstacles: &[],
            obstacles6: &[],
            others: &others,
            others6: &others6,
            route: Route::new(&socket),
        };
        sides(&new, "id", &around).map_err(|error| {
            let hint = error.hint().unwrap_or_default();
            assert!(!hint.is_empty(), "{error}");
            let line = format!("{error}; {hint}");
            assert!(!line.contains('\n'));
            line
        })
    }

    #[test]
    fn there_are_thousands_of_pieces() {
        assert_eq!(pieces().next().unwrap().to_string(), "10.192.0.0/22");
        assert!(pieces().count() > 15_000 && pieces().all(|piece| piece.usable() == 1022));
    }

    #[test]
    fn sides_are_chosen_or_as_asked() {
        let (four, six) = ask(&[]).unwrap();
        assert_eq!((four.unwrap().subnet.to_string(), six), ("10.192.4.0/22".into(), None));
        assert!(four.unwrap().chosen);
        let (four, six) =
            ask(&[("subnet", "10.7.0.0/24"), ("ipv6", ""), ("range", "10.7.0.128/25")]).unwrap();
        assert_eq!(four.unwrap().gateway.to_string(), "10.7.0.1");
        assert_eq!(four.unwrap().range.unwrap().to_string(), "10.7.0.128/25");
        assert!(!four.unwrap().chosen && six.unwrap().subnet.to_string().starts_with("fd"));
        let both =
            [("subnet", "fd00:7::/64"), ("subnet", "10.7.0.0/24"), ("ipv6", ""), ("gateway", "fd00:7::9")];
        assert_eq!(ask(&both).unwrap().1.unwrap().gateway.to_string(), "fd00:7::9");
        assert_eq!(ask(&[("none", "")]).unwrap(), (None, None));
        assert!(ask(&[("macvlan", ""), ("parent", "eth0"), ("subnet", "10.7.0.0/24")]).is_ok());
        assert!(ask(&[(NEIGHBOURS, "false"), (GATEWAY_MODES[1], "nat")]).is_ok());
    }

    #[test]
    fn what_cannot_be_is_refused_in_a_line_with_the_way_out() {
        for (words, expected) in [
            (&[("subnet", "10.192.1.0/24")][..], "overlaps network db"),
            (&[("subnet", "fd00:1::/80"), ("ipv6", "")], "overlaps network db"),
            (&[("subnet", "10.7.0.0/24"), ("gateway", "10.8.0.1")], "--gateway 10.8.0.1 is not within"),
            (&[("subnet", "10.7.0.0/24"), ("gateway", "10.7.0.0")], "its broadcast address"),
            (&[("subnet", "10.7.0.0/24"), ("gateway", "fd00::1")], "add --ipv6"),
            (&[("subnet", "10.7.0.0/24"), ("range", "10.7.1.0/24")], "is not within --subnet"),
            (&[("subnet", "10.7.0.0/24"), ("range", "10.0.0.0/8")], "is not within --subnet"),
            (&[("subnet", "10.7.0.0/24"), ("aux", "10.8.0.1")], "--aux-address a=10.8.0.1"),
            (&[("subnet", "10.7.0.0/24"), ("subnet", "10.8.0.0/24")], "IPv4 subnet already"),
            (&[("subnet", "10.7.0.0/31")], "prefix"),
            (&[("subnet", "fd00::/64")], "without --ipv6"),
            (&[("subnet", "10.7.0.1/24")], "bits are set"),
            (&[("mtu", "12")], "no size of a packet"),
            (&[("mtu", "1000"), ("ipv6", "")], "1280"),
            (&[("vlan", "4095")], "no tag"),
            (&[("isolate", "maybe")], "isolate"),
            (&[(NEIGHBOURS, "no")], "write it as com.docker.network.bridge.enable_icc=true"),
            (&[(NEIGHBOURS, "false"), ("isolate", "false")], "not to itself"),
            (&[(NEIGHBOURS, "false"), ("macvlan", ""), ("parent", "eth0")], "mode=private"),
            (&[(GATEWAY_MODES[0], "routed")], "there is only nat"),
            (&[("macvlan", "")], "needs a link of the host's"),
            (&[("parent", "eth0")], "--driver macvlan"),
            (&[("macvlan", ""), ("parent", "eth0"), ("mode", "fast")], "has no mode fast"),
            (&[("none", ""), ("ipv6", "")], "has no addresses"),
            (&[("com.docker.network.bridge.name", "sixteen-letters-")], "cannot be a bridge's name"),
        ] {
            let said = ask(words).unwrap_err();
            assert!(said.contains(expected), "{words:?}: {said}");
        }
    }
}
