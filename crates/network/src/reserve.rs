//! Deciding on a container's network and address, and reserving it: before anything is made.

use std::net::Ipv4Addr;

use step::Failure;

use crate::attachment::{Attachment, DEFAULT, host_link};
use crate::error::Error;
use crate::facts;
use crate::netlink::{self, Route};
use crate::owner::Owner;
use crate::publish;
use crate::reservation::{Book, Claim, Claimant, NETWORKS};
use crate::settings::{Mode, Settings};
use crate::small::{self, Small};
use crate::subnet::{IpRequest, Subnet, mac_of, usable_prefix};

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

/// Decides on network and address for the container `id` (64 hexadecimal digits, called `name` in messages) and
/// reserves it; none for a mode that needs no address. Nothing but files is made.
///
/// `is_alive` says whether the container of an id lives: a dead one's address may be taken over. A container that
/// is being created must count as alive before it comes here. An id that has a reservation gets it again. Where a port cannot
/// be had the address stays reserved: [`release`](crate::release) gives back all that an id has.
pub fn reserve(
    settings: &Settings,
    id: &str,
    name: &str,
    mode: &Mode,
    is_alive: &dyn Fn(&str) -> bool,
) -> Result<Option<Attachment>, Error> {
    let Mode::Bridge(request) = mode else { return Ok(None) };
    settings.check()?;
    let owner = Owner::new(id, name).ok_or_else(|| Error::Id { id: id.to_owned() })?;
    let socket =
        netlink::open().map_err(|error| Failure::new("network.reserve", "the route socket", error))?;
    let desk = Desk {
        settings,
        book: Book::new(settings.addresses()),
        route: Route::new(&socket),
        claimant: Claimant { owner: &owner, is_alive },
    };
    let (place, address) = match request.ip {
        None => desk.any()?,
        Some(ip) => desk.chosen(ip)?,
    };
    let ports = publish::claim(settings, desk.claimant, address, &request.publish)?;
    Ok(Some(Attachment {
        id: owner.id.clone(),
        network: place.network,
        bridge: place.bridge,
        subnet: place.subnet,
        gateway: place.gateway,
        address,
        prefix: place.subnet.prefix(),
        mac: request.mac.unwrap_or_else(|| mac_of(address)),
        host_link: host_link(id),
        link: "eth0".to_owned(),
        ports,
    }))
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
                address,
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

impl Desk<'_> {
    /// Any address of the default network.
    fn any(&self) -> Result<(Place, Ipv4Addr), Error> {
        let place = self.default_network()?;
        let address = self.book.claim_any(&place.directory, place.subnet, place.gateway, self.claimant)?;
        match address {
            Some(address) => Ok((place, address)),
            None => Err(Error::Full {
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
                Claim::Theirs(owner) => return Err(Error::Taken { address, owner: owner.to_string() }),
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
                            return Err(Error::Taken { address, owner: owner.to_string() });
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
            small::make(&self.book, self.route, wanted, self.claimant.is_alive)?;
        }
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
        let free = |candidate: &Subnet| {
            !obstacles.iter().any(|obstacle| obstacle.network().overlaps(*candidate))
                && !small.iter().any(|small| small.subnet.overlaps(*candidate))
        };
        let chosen = remembered.into_iter().chain(CANDIDATES).find(free);
        let chosen = chosen.ok_or_else(|| Error::NoCandidate { bridge: bridge.clone() })?;
        if remembered != Some(chosen) {
            self.book.remember(bridge, chosen)?;
        }
        Ok(chosen)
    }
}
