//! Deciding on a container's network and address, and reserving it: before anything is made.

use std::collections::BTreeMap;
use std::fs;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use step::Failure;

use crate::attachment::{Attachment, DEFAULT, MOST, Place6, choose_way_out, nth_host_link};
use crate::design;
use crate::error::Error;
use crate::facts;
use crate::links;
use crate::made;
use crate::netlink::{self, Route};
use crate::network::{Driver, Network, Pool6};
use crate::owner::Owner;
use crate::port_book::Target;
use crate::publish;
use crate::records::Records;
use crate::reservation::{Any, Book, Choice, Claim, Claimant, NETWORKS, hash};
use crate::settings::{LinkRequest, Mode, Settings, Wanted6};
use crate::share;
use crate::small::{self, Small};
use crate::subnet::{IpRequest, Subnet, mac_of, usable_prefix};
use crate::subnet6::Subnet6;

/// Which machine this is, machine-id(5): of it the IPv6 addresses of the default network are made.
const MACHINE: &str = "/etc/machine-id";

/// What the default network is made of where the user chose nothing: private networks (RFC 1918) that routers,
/// clouds and other engines seldom use.
const CANDIDATES: [Subnet; 10] = [
    Subnet::of(Ipv4Addr::new(172, 30, 0, 0), 16),
    Subnet::of(Ipv4Addr::new(172, 31, 0, 0), 16),
    Subnet::of(Ipv4Addr::new(10, 210, 0, 0), 16),
    Subnet::of(Ipv4Addr::new(192, 168, 208, 0), 20),
    Subnet::of(Ipv4Addr::new(172, 29, 0, 0), 16),
    Subnet::of(Ipv4Addr::new(10, 211, 0, 0), 16),
    Subnet::of(Ipv4Addr::new(10, 212, 0, 0), 16),
    Subnet::of(Ipv4Addr::new(192, 168, 224, 0), 20),
    Subnet::of(Ipv4Addr::new(172, 28, 0, 0), 16),
    Subnet::of(Ipv4Addr::new(10, 213, 0, 0), 16),
];

/// Decides on networks and addresses for the container `id` (64 hexadecimal digits, called `name` in messages) and
/// reserves them; none for a mode that needs no address. Nothing but files is made.
///
/// `is_alive` says whether the container of an id lives: a dead one's address may be taken over. A container that
/// is being created must count as alive before it comes here. An id that has a reservation gets it again. Where an address
/// or a port cannot be had others stay reserved: [`release`](crate::release) gives back all that an id has.
pub fn reserve(
    settings: &Settings,
    id: &str,
    name: &str,
    mode: &Mode,
    is_alive: &dyn Fn(&str) -> bool,
) -> Result<Vec<Attachment>, Error> {
    let Mode::Bridge(request) = mode else { return Ok(Vec::new()) };
    let usual = [LinkRequest::default()];
    let asked = if request.links.is_empty() { &usual[..] } else { &request.links };
    let mut places = Vec::with_capacity(asked.len());
    for (n, link) in asked.iter().enumerate() {
        places.push(reserve_link(settings, id, name, link, n, is_alive)?);
    }
    choose_way_out(&mut places);
    if request.share.is_some() {
        share::needed_total(settings, &places)?;
    }
    let owner = Owner::new(id, name).ok_or_else(|| Error::Id { id: id.to_owned() })?;
    claim_ports(settings, Claimant { owner: &owner, is_alive }, &mut places, &request.publish)?;
    Ok(places)
}

/// The same for one more link of a container that has some, `eth<n>`; who asks says afterwards which network is the way
/// out, and to which the ports lead.
pub fn reserve_link(
    settings: &Settings,
    id: &str,
    name: &str,
    link: &LinkRequest,
    n: usize,
    is_alive: &dyn Fn(&str) -> bool,
) -> Result<Attachment, Error> {
    settings.check()?;
    if n >= MOST {
        return Err(Error::TooMany { most: MOST });
    }
    let owner = Owner::new(id, name).ok_or_else(|| Error::Id { id: id.to_owned() })?.called(&link.aliases);
    let socket =
        netlink::open().map_err(|error| Failure::new("network.reserve", "the route socket", error))?;
    let desk = Desk {
        settings,
        book: Book::new(settings.addresses()),
        route: Route::new(&socket),
        claimant: Claimant { owner: &owner, is_alive },
    };
    let (place, address, v6) = match &link.network {
        Some(network) => desk.in_made(network, link)?,
        None => desk.in_usual(link)?,
    };
    Ok(Attachment {
        id: id.to_owned(),
        network: place.network,
        network_id: link.network.as_ref().map(|network| network.id.clone()),
        bridge: place.bridge,
        subnet: place.subnet,
        gateway: place.gateway,
        address,
        prefix: place.subnet.prefix(),
        mac: link.mac.unwrap_or_else(|| mac_of(address)),
        host_link: nth_host_link(id, n),
        link: format!("eth{n}"),
        ports: Vec::new(),
        v6,
        aliases: link.aliases.clone(),
        link_local: link.link_local.clone(),
        priority: link.priority,
        way_out: true,
        way_out6: false,
        manner: link.network.as_ref().map(|network| made::manner(network)),
    })
}

/// Reserves the ports of the host that lead to the place with the way out. Those of a container whose way out has no
/// bridge lead nowhere and are kept for it: it may be connected to a bridge later.
fn claim_ports(
    settings: &Settings,
    by: Claimant<'_>,
    places: &mut [Attachment],
    wanted: &[crate::ports::Publish],
) -> Result<(), Error> {
    let to = target(places);
    let ports = publish::claim(settings, by, to, wanted)?;
    if to.is_some() {
        place_ports(places, ports);
    }
    Ok(())
}

/// Where published ports lead: the address with the way out of each family, of a bridge.
pub(crate) fn target(places: &[Attachment]) -> Option<Target> {
    let bridged = || places.iter().filter(|place| place.driver() == Driver::Bridge);
    let four = bridged().find(|place| place.way_out)?;
    let six = bridged().find(|place| place.way_out6).and_then(|place| place.v6);
    Some(Target { v4: four.address, v6: six.map(|six| six.address) })
}

/// Whether a container with these places may have ports of the host: they lead to one of its places, or are kept for it
/// because its way out has no bridge.
pub fn may_have_ports(places: &[Attachment]) -> bool {
    target(places).is_none() || places.iter().any(|place| !place.ports.is_empty())
}

/// Writes the ports where the way out is.
pub(crate) fn place_ports(places: &mut [Attachment], ports: Vec<crate::ports::Published>) {
    places.iter_mut().for_each(|place| place.ports.clear());
    if let Some(place) = places.iter_mut().find(|place| place.way_out) {
        place.ports = ports;
    }
}

/// A network that has been decided on.
#[derive(Debug, Clone)]
struct Place {
    network: String,
    bridge: String,
    subnet: Subnet,
    gateway: Ipv4Addr,
    /// Its reservations.
    directory: String,
}

impl Place {
    fn small(small: Small) -> Self {
        Self {
            network: small.subnet.to_string(),
            bridge: small.bridge(),
            subnet: small.subnet,
            gateway: small.gateway,
            directory: small.directory(),
        }
    }

    /// Refuses a network for the default one's sake.
    fn in_the_way_of(&self, wanted: Subnet, hint: String) -> Error {
        let owner = format!("the default network {} (bridge {})", self.subnet, self.bridge);
        Error::Overlap { wanted, owner, hint: Some(hint) }
    }

    /// Whether a container can have this address at all.
    fn check(&self, address: Ipv4Addr) -> Result<(), Error> {
        let subnet = self.subnet;
        if address == self.gateway {
            return Err(Error::Taken {
                address: address.into(),
                owner: format!("the host's side of {subnet} (bridge {})", self.bridge),
            });
        }
        let what = match address {
            _ if address == subnet.network() => "network",
            _ if address == subnet.broadcast() => "broadcast",
            _ => return Ok(()),
        };
        Err(Error::Reserved { address, what, subnet })
    }
}

/// One reservation being made.
struct Desk<'a> {
    settings: &'a Settings,
    book: Book,
    route: Route<'a>,
    claimant: Claimant<'a>,
}

/// The IPv6 side of a network.
struct Side6<'a> {
    pool: Pool6,
    /// The network, as users call it.
    network: &'a str,
    /// Its reservations: the bridge's name.
    directory: &'a str,
    /// Addresses of other machines.
    auxiliary: &'a BTreeMap<String, IpAddr>,
}

impl Desk<'_> {
    /// An address of each family that the default network has, or one in a small network.
    fn in_usual(&self, link: &LinkRequest) -> Result<(Place, Ipv4Addr, Option<Place6>), Error> {
        let (place, address) = match link.ip {
            None => self.any()?,
            Some(ip) => self.chosen(ip)?,
        };
        let pool = if place.network == DEFAULT { self.default_side6()? } else { None };
        let (network, directory, auxiliary) = ("bridge", place.bridge.as_str(), &BTreeMap::new());
        let side = pool.map(|pool| Side6 { pool, network, directory, auxiliary });
        let nth = address.to_bits() - place.subnet.network().to_bits();
        let v6 = self.place6(side, network, link.ip6, nth)?;
        Ok((place, address, v6))
    }

    /// Any address of the default network.
    fn any(&self) -> Result<(Place, Ipv4Addr), Error> {
        let place = self.default_network()?;
        let choice = Choice::of(place.subnet, None, std::slice::from_ref(&place.gateway));
        match self.book.claim_any(&place.directory, choice, true, self.claimant)? {
            Any::Ours(address) => Ok((place, address)),
            Any::Full | Any::NoNetwork => Err(Error::Full {
                subnet: place.subnet,
                bridge: place.bridge,
                // One is the host's.
                usable: place.subnet.usable().saturating_sub(1),
            }),
        }
    }

    /// The address that the user chose.
    fn chosen(&self, ip: IpRequest) -> Result<(Place, Ipv4Addr), Error> {
        let default = match self.default_network() {
            Ok(place) => Some(place),
            // Where no default network can be, a small one still can.
            Err(Error::NoCandidate { .. }) => None,
            Err(error) => return Err(error),
        };
        match default {
            Some(place) if place.subnet.contains(ip.addr) => {
                if ip.prefix.is_none_or(|prefix| prefix == place.subnet.prefix()) {
                    return self.in_default(place, ip.addr);
                }
                let hint = format!("leave the prefix off to get an address of {}", place.subnet);
                Err(place.in_the_way_of(Small::wanted(ip)?.subnet, hint))
            }
            default => self.in_small(ip, default.as_ref()),
        }
    }

    fn in_default(&self, place: Place, address: Ipv4Addr) -> Result<(Place, Ipv4Addr), Error> {
        place.check(address)?;
        loop {
            match self.book.claim(&place.directory, address, self.claimant)? {
                Claim::Ours => return Ok((place, address)),
                Claim::Theirs(owner) => {
                    return Err(Error::Taken { address: address.into(), owner: owner.to_string() });
                }
                Claim::NoNetwork => self.book.make(&place.directory)?,
            }
        }
    }

    /// The small network that the address lies in, or a new one.
    fn in_small(&self, ip: IpRequest, default: Option<&Place>) -> Result<(Place, Ipv4Addr), Error> {
        let address = ip.addr;
        loop {
            let there = small::all(&self.book)?.into_iter().find(|small| {
                small.subnet.contains(address)
                    && ip.prefix.is_none_or(|prefix| prefix == small.subnet.prefix())
            });
            if let Some(small) = there {
                let place = Place::small(small);
                // What the dead left does not decide where the host's side is.
                let living = self.book.members(&place.directory)?;
                let living = living.iter().any(|(_, owner)| (self.claimant.is_alive)(&owner.id));
                match place.check(address) {
                    Ok(()) => match self.book.claim(&place.directory, address, self.claimant)? {
                        Claim::Ours => return Ok((place, address)),
                        Claim::Theirs(owner) => {
                            return Err(Error::Taken { address: address.into(), owner: owner.to_string() });
                        }
                        // Its last container has just left.
                        Claim::NoNetwork => continue,
                    },
                    Err(error) if living => return Err(error),
                    Err(_) => {}
                }
            }
            let wanted = Small::wanted(ip)?;
            Place::small(wanted).check(address)?;
            if let Some(place) = default.filter(|place| place.subnet.overlaps(wanted.subnet)) {
                return Err(place.in_the_way_of(wanted.subnet, "choose a longer prefix".into()));
            }
            small::make(self.settings, &self.book, self.route, wanted, self.claimant.is_alive)?;
        }
    }

    /// An address of each family in a network that a user made.
    fn in_made(
        &self,
        network: &Network,
        link: &LinkRequest,
    ) -> Result<(Place, Ipv4Addr, Option<Place6>), Error> {
        let Some(pool) = network.v4 else { return Err(Error::NoNetwork { name: network.name.clone() }) };
        let directory = network.bridge();
        let place = Place {
            network: network.name.clone(),
            bridge: directory.clone(),
            subnet: pool.subnet,
            gateway: pool.gateway,
            directory,
        };
        self.check_routes(network, &place)?;
        let kept = made::kept(network, pool);
        let outside = |address: IpAddr, subnet: String| Error::Outside {
            address,
            network: network.name.clone(),
            subnet,
        };
        let address = loop {
            let claim = match link.ip {
                Some(ip)
                    if !pool.subnet.contains(ip.addr)
                        || ip.prefix.is_some_and(|bits| bits != pool.subnet.prefix()) =>
                {
                    return Err(outside(ip.addr.into(), pool.subnet.to_string()));
                }
                Some(ip) => {
                    place.check(ip.addr)?;
                    if let Some((name, _)) =
                        network.auxiliary.iter().find(|(_, other)| **other == IpAddr::V4(ip.addr))
                    {
                        let owner = format!("--aux-address {name} of network {}", network.name);
                        return Err(Error::Taken { address: ip.addr.into(), owner });
                    }
                    match self.book.claim(&place.directory, ip.addr, self.claimant)? {
                        Claim::Ours => Any::Ours(ip.addr),
                        Claim::Theirs(owner) => {
                            return Err(Error::Taken { address: ip.addr.into(), owner: owner.to_string() });
                        }
                        Claim::NoNetwork => Any::NoNetwork,
                    }
                }
                None => {
                    let choice = Choice::of(pool.subnet, pool.range, &kept);
                    self.book.claim_any(&place.directory, choice, false, self.claimant)?
                }
            };
            match claim {
                Any::Ours(address) => break address,
                Any::NoNetwork => self.open_made(network)?,
                Any::Full => {
                    let within = pool.range.unwrap_or(pool.subnet);
                    let count = Choice::of(pool.subnet, pool.range, &kept).count.saturating_sub(1);
                    let network = network.name.clone();
                    return Err(Error::NetworkFull { network, range: within.to_string(), count });
                }
            }
        };
        let (name, directory, auxiliary) = (network.name.as_str(), place.bridge.as_str(), &network.auxiliary);
        let side = network.v6.map(|pool| Side6 { pool, network: name, directory, auxiliary });
        let nth = address.to_bits() - pool.subnet.network().to_bits();
        let v6 = self.place6(side, name, link.ip6, nth)?;
        Ok((place, address, v6))
    }

    /// A place in the IPv6 side of a network, where it has one: at the address asked for, or at the nth.
    fn place6(
        &self,
        side: Option<Side6<'_>>,
        network: &str,
        asked: Option<Ipv6Addr>,
        nth: u32,
    ) -> Result<Option<Place6>, Error> {
        let outside = |address: Ipv6Addr, subnet: String| Error::Outside {
            address: address.into(),
            network: network.to_owned(),
            subnet,
        };
        let (pool, address) = match (side, asked) {
            (None, None) => return Ok(None),
            (None, Some(asked)) => return Err(outside(asked, String::new())),
            (Some(side), Some(asked)) if !side.pool.subnet.contains(asked) => {
                return Err(outside(asked, side.pool.subnet.to_string()));
            }
            (Some(side), Some(asked)) => (side.pool, self.chosen6(&side, asked)?),
            (Some(side), None) => (side.pool, self.any6(&side, nth)?),
        };
        Ok(Some(Place6 { subnet: pool.subnet, gateway: pool.gateway, address }))
    }

    /// What is the host's by a route that came after the network: nothing of it would be reached there. Looked for when
    /// nobody is in the network, or its bridge is not there.
    fn check_routes(&self, network: &Network, place: &Place) -> Result<(), Error> {
        let bridged = network.driver == Driver::Bridge;
        if !bridged
            || links::bridge_is_ready(self.route, &place.bridge, place.subnet, place.gateway)
                && self.is_lived_in(place)?
        {
            return Ok(());
        }
        let Some(owner) = facts::clash(self.route, place.subnet, &place.bridge)? else { return Ok(()) };
        if network.v4.is_some_and(|pool| pool.chosen) && !self.is_lived_in(place)? {
            return Err(Error::Clash { network: Box::new(network.clone()), owner });
        }
        let hint = format!("remove the network and make it anew: minidocker network rm {}", network.name);
        Err(Error::Overlap { wanted: place.subnet, owner, hint: Some(hint) })
    }

    fn is_lived_in(&self, place: &Place) -> Result<bool, Error> {
        let members = self.book.members(&place.directory)?;
        let ours = |id: &str| id == self.claimant.owner.id;
        Ok(members.iter().any(|(_, owner)| !ours(&owner.id) && (self.claimant.is_alive)(&owner.id)))
    }

    /// Makes the directory of a network's reservations, if the network is still there.
    fn open_made(&self, network: &Network) -> Result<(), Error> {
        let _lock = self.book.lock(NETWORKS)?;
        let there = Records::of(self.settings).find(&network.name)?;
        if there.is_none_or(|there| there.id != network.id) {
            return Err(Error::NoNetwork { name: network.name.clone() });
        }
        self.book.open_network(&network.bridge(), &made::rules_words(network))
    }

    fn chosen6(&self, side: &Side6<'_>, asked: Ipv6Addr) -> Result<Ipv6Addr, Error> {
        let taken = |owner: String| Err(Error::Taken { address: asked.into(), owner });
        let six = side.pool;
        if asked == six.gateway {
            return taken(format!("the host's side of {} (bridge {})", six.subnet, side.directory));
        }
        if asked == six.subnet.network() {
            return taken(format!("all routers of {}", six.subnet));
        }
        if let Some((name, _)) = side.auxiliary.iter().find(|(_, other)| **other == IpAddr::V6(asked)) {
            return taken(format!("--aux-address {name} of network {}", side.network));
        }
        match self.book.claim(side.directory, asked, self.claimant)? {
            Claim::Ours => Ok(asked),
            Claim::Theirs(owner) => taken(owner.to_string()),
            Claim::NoNetwork => Err(Error::NoNetwork { name: side.network.to_owned() }),
        }
    }

    /// Any IPv6 address: the one whose place in its network is that of the IPv4 address, which nobody else has as a rule.
    fn any6(&self, side: &Side6<'_>, offset: u32) -> Result<Ipv6Addr, Error> {
        let six = side.pool;
        let within = six.range.unwrap_or(six.subnet);
        let size = 1_u128.checked_shl(128 - u32::from(within.prefix())).unwrap_or(u128::MAX);
        let tries = size.min(65_536);
        for n in 0..tries {
            let start =
                if n == 0 { u128::from(offset) } else { u128::from(hash(&self.claimant.owner.id)) + n };
            let address = Ipv6Addr::from_bits(within.network().to_bits() + start % size);
            let kept = address == six.gateway
                || address == six.subnet.network()
                || side.auxiliary.values().any(|other| *other == IpAddr::V6(address));
            if kept {
                continue;
            }
            match self.book.claim(side.directory, address, self.claimant)? {
                Claim::Ours => return Ok(address),
                Claim::Theirs(_) => {}
                Claim::NoNetwork => return Err(Error::NoNetwork { name: side.network.to_owned() }),
            }
        }
        let count = u32::try_from(size.saturating_sub(2)).unwrap_or(u32::MAX);
        Err(Error::NetworkFull { network: side.network.to_owned(), range: within.to_string(), count })
    }

    /// The default network: the bridge's, for the kernel's state is the truth; without a bridge the user's choice,
    /// or ours.
    fn default_network(&self) -> Result<Place, Error> {
        let bridge = &self.settings.bridge;
        let place = |subnet: Subnet, gateway: Ipv4Addr| Place {
            network: DEFAULT.to_owned(),
            bridge: bridge.clone(),
            subnet,
            gateway,
            directory: bridge.clone(),
        };
        let mut there = match self.route.index(bridge) {
            Ok(index) => facts::addresses(self.route, Some(index))?,
            Err(_) => Vec::new(),
        };
        there.retain(|address| usable_prefix(address.network.prefix()));
        match (self.settings.subnet, there.as_slice()) {
            (None, [address, ..]) => Ok(place(address.network, address.address)),
            (None, []) => self.own_choice().map(|subnet| place(subnet, subnet.first())),
            (Some(wanted), []) => self.users_choice(wanted).map(|()| place(wanted, wanted.first())),
            (Some(wanted), there) => match there.iter().find(|address| address.network == wanted) {
                Some(address) => Ok(place(wanted, address.address)),
                None => Err(Error::BridgeDiffers {
                    bridge: bridge.clone(),
                    has: there
                        .iter()
                        .map(|address| format!("{}/{}", address.address, address.network.prefix()))
                        .collect::<Vec<_>>()
                        .join(", "),
                    wanted,
                }),
            },
        }
    }

    /// The IPv6 side of the default network: what it has, else what the user wants; none where nobody has wanted any.
    fn default_side6(&self) -> Result<Option<Pool6>, Error> {
        let has = self.book.remembered6(&self.settings.bridge)?;
        let subnet = match (self.settings.subnet6, has) {
            (None, has) => has,
            (Some(Wanted6::Any), Some(has)) => Some(has),
            (Some(Wanted6::This(wanted)), Some(has)) if wanted == has => Some(has),
            (Some(wanted), _) => Some(self.choose6(wanted)?),
        };
        Ok(subnet.map(Pool6::of))
    }

    /// Gives the default network IPv6 addresses, and remembers them: a hundred starts at once agree.
    fn choose6(&self, wanted: Wanted6) -> Result<Subnet6, Error> {
        let bridge = &self.settings.bridge;
        let _lock = self.book.lock(NETWORKS)?;
        let has = self.book.remembered6(bridge)?;
        let refused = |what: String, hint: &str| Error::Design { what, hint: hint.to_owned() };
        if let (Some(has), Ok(_)) = (has, self.route.index(bridge)) {
            return match wanted {
                Wanted6::This(wanted) if wanted != has => Err(refused(
                    format!("--subnet6 {wanted}: the default network has {has} already"),
                    "leave it off, or stop all containers, remove the bridge (ip link delete) and start again",
                )),
                _ => Ok(has),
            };
        }
        let hosts = facts::obstacles6(self.route, bridge)?;
        let made = Records::of(self.settings).list()?.0;
        let others = made.iter().filter_map(|made| Some((made.v6?.subnet, format!("network {}", made.name))));
        let all: Vec<(Subnet6, String)> = hosts.into_iter().chain(others).collect();
        let owner = |subnet: Subnet6| all.iter().find(|(other, _)| other.overlaps(subnet));
        let chosen = match wanted {
            Wanted6::This(wanted) => match owner(wanted) {
                Some((_, owner)) => {
                    let what = format!("--subnet6 {wanted}: it overlaps {owner}");
                    return Err(refused(what, "choose another one, or auto"));
                }
                None => wanted,
            },
            Wanted6::Any => {
                let machine = fs::read_to_string(MACHINE).unwrap_or_else(|_| self.claimant.owner.id.clone());
                let mut each = (0..100).map(|n| Subnet6::unique_local(&format!("{machine}{bridge}{n}")));
                each.find(|subnet| owner(*subnet).is_none()).ok_or_else(|| {
                    refused(
                        "found no free IPv6 network".to_owned(),
                        "choose one yourself: --subnet6 fd00:7::/64",
                    )
                })?
            }
        };
        self.book.remember6(bridge, chosen)?;
        Ok(chosen)
    }

    /// The user's choice, if nothing is in its way.
    fn users_choice(&self, wanted: Subnet) -> Result<(), Error> {
        if !usable_prefix(wanted.prefix()) {
            let why = format!("a prefix of {} bits is not between 8 and 30", wanted.prefix());
            return Err(Error::Unusable { subnet: wanted, why });
        }
        let owner = match small::all(&self.book)?.into_iter().find(|small| small.subnet.overlaps(wanted)) {
            Some(small) => Some(small::words(&self.book, small)?),
            None => facts::clash(self.route, wanted, &self.settings.bridge)?,
        };
        match owner {
            Some(owner) => {
                let hint =
                    Some("choose another subnet for the default network: --subnet, MINIDOCKER_SUBNET".into());
                Err(Error::Overlap { wanted, owner, hint })
            }
            None => Ok(()),
        }
    }

    /// The first candidate that nothing is in the way of; remembered, so that a hundred first starts at once agree.
    fn own_choice(&self) -> Result<Subnet, Error> {
        let bridge = &self.settings.bridge;
        let _lock = self.book.lock(NETWORKS)?;
        let remembered = self.book.remembered(bridge)?;
        let obstacles = facts::obstacles(self.route, bridge)?;
        let small = small::all(&self.book)?;
        let made = Records::of(self.settings).list()?.0;
        let free = |candidate: &Subnet| {
            !obstacles.iter().any(|obstacle| obstacle.network().overlaps(*candidate))
                && !small.iter().any(|small| small.subnet.overlaps(*candidate))
                && !made.iter().any(|made| made.v4.is_some_and(|pool| pool.subnet.overlaps(*candidate)))
        };
        let chosen = remembered.into_iter().chain(CANDIDATES).chain(design::pieces()).find(free);
        let chosen = chosen.ok_or_else(|| Error::NoCandidate { bridge: bridge.clone() })?;
        if remembered != Some(chosen) {
            self.book.remember(bridge, chosen)?;
        }
        Ok(chosen)
    }
}
