//! Small networks: one comes into being when a container asks for an address outside of the default network, with a
//! bridge of its own, and goes with its last container.
//!
//! All that is to be known of one stands in its directory's name, `mdn0a00000018@10.0.0.254`: the bridge, which is
//! `mdn`, the network in hexadecimal, its prefix; and the host's address on it.

use std::net::Ipv4Addr;

use step::Failure;

use crate::error::Error;
use crate::facts::{self, failed};
use crate::links;
use crate::netlink::Route;
use crate::reservation::{Book, NETWORKS};
use crate::settings::Settings;
use crate::share;
use crate::subnet::{IpRequest, Subnet, unusable, usable_prefix};

/// The prefix of a small network for which the user gave none.
const PREFIX: u8 = 24;
/// The step that this is, in messages.
const STEP: &str = "network.small";

/// A small network.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Small {
    pub(crate) subnet: Subnet,
    /// The host's address.
    pub(crate) gateway: Ipv4Addr,
}

impl Small {
    /// The network that a container at the address asked for lives in: the host's side is the last address, or the
    /// one before if the container wants that.
    pub(crate) fn wanted(ip: IpRequest) -> Result<Self, Error> {
        let subnet = Subnet::of(ip.addr, ip.prefix.unwrap_or(PREFIX));
        let why = if usable_prefix(subnet.prefix()) {
            unusable(subnet).map(str::to_owned)
        } else {
            Some(format!("a prefix of {} bits is not between 8 and 30", subnet.prefix()))
        };
        if let Some(why) = why {
            return Err(Error::Unusable { subnet, why });
        }
        let last = subnet.last();
        let gateway = if ip.addr == last { Ipv4Addr::from_bits(last.to_bits() - 1) } else { last };
        Ok(Self { subnet, gateway })
    }

    pub(crate) fn bridge(self) -> String {
        format!("mdn{:08x}{:02x}", self.subnet.network().to_bits(), self.subnet.prefix())
    }

    pub(crate) fn directory(self) -> String {
        format!("{}@{}", self.bridge(), self.gateway)
    }

    /// Reads a directory's name.
    pub(crate) fn read(directory: &str) -> Option<Self> {
        let (bridge, gateway) = directory.split_once('@')?;
        let (subnet, gateway) = (bridge_subnet(bridge)?, gateway.parse().ok()?);
        Some(Self { subnet, gateway })
    }
}

/// The subnet that a small network's bridge is named after.
pub(crate) fn bridge_subnet(bridge: &str) -> Option<Subnet> {
    let digits = bridge.strip_prefix("mdn").filter(|digits| digits.len() == 10)?;
    let network = Ipv4Addr::from_bits(u32::from_str_radix(digits.get(..8)?, 16).ok()?);
    let subnet = Subnet::of(network, u8::from_str_radix(digits.get(8..)?, 16).ok()?);
    (subnet.network() == network && usable_prefix(subnet.prefix())).then_some(subnet)
}

/// All small networks.
pub(crate) fn all(book: &Book) -> Result<Vec<Small>, Error> {
    Ok(book.networks()?.iter().filter_map(|directory| Small::read(directory)).collect())
}

/// The words for a small network: its subnet and its members.
pub(crate) fn words(book: &Book, small: Small) -> Result<String, Error> {
    let members = book.members(&small.directory())?;
    let named: Vec<String> = members.iter().take(3).map(|(_, owner)| owner.to_string()).collect();
    let more = if members.len() > named.len() { ", …" } else { "" };
    Ok(match named.as_slice() {
        [] => format!("network {} (bridge {})", small.subnet, small.bridge()),
        named => format!("network {} of {}{more}", small.subnet, named.join(", ")),
    })
}

/// Makes the directory of `wanted`, if nothing is in its way. What the dead left there is removed.
pub(crate) fn make(
    settings: &Settings,
    book: &Book,
    route: Route<'_>,
    wanted: Small,
    is_alive: &dyn Fn(&str) -> bool,
) -> Result<(), Error> {
    let _lock = book.lock(NETWORKS)?;
    for other in all(book)?.into_iter().filter(|other| other.subnet.overlaps(wanted.subnet)) {
        let dead = book.members(&other.directory())?.iter().all(|(_, owner)| !is_alive(&owner.id));
        if other.subnet == wanted.subnet && !dead {
            // Somebody was faster.
            return Ok(());
        }
        let owner = words(book, other)?;
        if !dead || !bury(settings, book, route, other, is_alive)? {
            let hint = format!(
                "join it with an address from {} to {} and no prefix, or choose another network",
                other.subnet.first(),
                other.subnet.last()
            );
            return Err(Error::Overlap { wanted: wanted.subnet, owner, hint: Some(hint) });
        }
    }
    let bridge = wanted.bridge();
    if let Some(owner) = facts::clash(route, wanted.subnet, &bridge)? {
        return Err(Error::Overlap { wanted: wanted.subnet, owner, hint: None });
    }
    clear_bridge(route, wanted)?;
    book.make(&wanted.directory())
}

/// A bridge of the name, though no network of ours: what an engine left that died, or another engine's.
fn clear_bridge(route: Route<'_>, wanted: Small) -> Result<(), Error> {
    let bridge = wanted.bridge();
    let Ok(index) = route.index(&bridge) else { return Ok(()) };
    if let Some(port) = facts::links(route)?.into_iter().find(|link| link.master == Some(index)) {
        let owner = format!("bridge {bridge}, which {} is a port of and this engine did not make", port.name);
        let hint = Some(format!("if nobody uses it, remove it: ip link delete {bridge}"));
        return Err(Error::Overlap { wanted: wanted.subnet, owner, hint });
    }
    links::delete(route, &bridge).map_err(|refusal| Error::Kernel(failed(STEP, bridge, refusal)))
}

/// Removes a network whose members are all dead; false where somebody has just joined. Under the lock [`NETWORKS`].
fn bury(
    settings: &Settings,
    book: &Book,
    route: Route<'_>,
    small: Small,
    is_alive: &dyn Fn(&str) -> bool,
) -> Result<bool, Error> {
    for (address, owner) in book.members(&small.directory())? {
        if !is_alive(&owner.id) {
            book.give_back(&small.directory(), address, &owner.id)?;
        }
    }
    remove_if_empty(settings, book, route, small)
}

/// Removes a network without a reservation, bridge and all; false where there is one. Under the lock [`NETWORKS`].
///
/// The directory goes first: from then on nobody can join, and whoever wants the network makes it anew, which waits
/// for the lock.
fn remove_if_empty(settings: &Settings, book: &Book, route: Route<'_>, small: Small) -> Result<bool, Error> {
    book.note_going(&small.directory())?;
    let removed = book.remove_empty(&small.directory())?;
    if removed {
        share::leave(settings, route, &small.bridge())
            .map_err(|refusal| Error::Kernel(failed(STEP, small.bridge(), refusal)))?;
        links::delete(route, &small.bridge())
            .map_err(|refusal| Error::Kernel(failed(STEP, small.bridge(), refusal)))?;
        book.table().forget_bridge(&small.bridge());
    }
    book.has_gone(&small.directory())?;
    Ok(removed)
}

/// Finishes what somebody who was killed had begun: bridges whose networks are gone go.
pub(crate) fn finish_going(settings: &Settings, book: &Book) -> Result<(), Error> {
    let all = book.going()?;
    if all.is_empty() {
        return Ok(());
    }
    let socket = crate::netlink::open().map_err(|error| Failure::new(STEP, "the route socket", error))?;
    let _lock = book.lock(NETWORKS)?;
    for small in all.iter().filter_map(|name| Small::read(name)) {
        // It may have been made anew meanwhile; with a container it stays, without one it goes after its last.
        if book.directory(&small.directory()).is_dir() {
            book.has_gone(&small.directory())?;
        } else {
            remove_if_empty(settings, book, Route::new(&socket), small)?;
        }
    }
    Ok(())
}

/// Removes a network after its last container. Takes about 22 ms where it is the last, and next to nothing else.
pub(crate) fn leave(settings: &Settings, book: &Book, small: Small) -> Result<(), Error> {
    if !book.members(&small.directory())?.is_empty() || !book.directory(&small.directory()).is_dir() {
        return Ok(());
    }
    let socket = crate::netlink::open().map_err(|error| Failure::new(STEP, "the route socket", error))?;
    let _lock = book.lock(NETWORKS)?;
    remove_if_empty(settings, book, Route::new(&socket), small).map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_directory_says_all() {
        let small = Small::wanted("10.0.0.7".parse().unwrap()).unwrap();
        assert_eq!(small.directory(), "mdn0a00000018@10.0.0.254");
        assert_eq!(Small::read(&small.directory()), Some(small));
        assert!(small.bridge().len() <= 15);
        for other in
            ["minidocker0", "mdn0a00000018", "mdn0a00000118@10.0.0.254", "mdn0a0000001f@10.0.0.1", "lock"]
        {
            assert_eq!(Small::read(other), None, "{other}");
        }
        assert_eq!(bridge_subnet("md0123456789a"), None);
    }

    #[test]
    fn the_host_makes_way_for_the_container() {
        let gateway = |text: &str| Small::wanted(text.parse().unwrap()).unwrap().gateway.to_string();
        assert_eq!(gateway("10.0.0.254"), "10.0.0.253");
        assert_eq!(gateway("10.0.0.5/30"), "10.0.0.6");
        assert_eq!(gateway("10.0.0.6/30"), "10.0.0.5");
        assert_eq!(gateway("10.1.2.3/8"), "10.255.255.254");
        let odd =
            |prefix| Small::wanted(IpRequest { addr: Ipv4Addr::new(10, 0, 0, 1), prefix: Some(prefix) });
        assert!(
            matches!(odd(31), Err(Error::Unusable { .. })) && matches!(odd(7), Err(Error::Unusable { .. }))
        );
        // 126.0.0.1/7 would hold 127.0.0.0/8; 120.0.0.1/8 would not.
        assert!(Small::wanted(IpRequest { addr: Ipv4Addr::new(120, 0, 0, 1), prefix: Some(8) }).is_ok());
    }
}
