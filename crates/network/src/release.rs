//! Giving back what a container had, and finding what nobody gave back.

use std::net::IpAddr;
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use step::Failure;

use crate::attachment::{Attachment, MOST, id_of_host_link, nth_host_link};
use crate::error::Error;
use crate::facts::{self, failed};
use crate::links;
use crate::made;
use crate::netlink::{self, Route};
use crate::network::Driver;
use crate::owner::Owner;
use crate::port_book;
use crate::publish;
use crate::reservation::Book;
use crate::settings::Settings;
use crate::share;
use crate::small::{self, Small, bridge_subnet};

/// Takes the ports of `id` from the rules and gives them back; one that has none costs a look at a file. What is given
/// has to be closed when there is time, for that takes some milliseconds. Before [`release`]: nobody else may have the
/// address while rules lead there.
pub fn unpublish(settings: &Settings, id: &str) -> Result<Option<OwnedFd>, Error> {
    publish::give_back(settings, id)
}

/// Removes the reservations of `id`: those of its places, or without them whatever is found. A small network goes with
/// its last container; that takes some 22 ms, so this is for the time after the container. Again is nothing.
///
/// The container's links are not touched: see [`unplug`].
pub fn release(settings: &Settings, id: &str, places: Option<&[Attachment]>) -> Result<(), Error> {
    let book = Book::new(settings.addresses());
    for place in places.unwrap_or_default() {
        let network = place.directory();
        share::forget(settings, &place.bridge, place.address)?;
        book.give_back(&network, place.address, id)?;
        if let Some(six) = &place.v6 {
            book.give_back(&network, six.address, id)?;
        }
        leave_small(settings, &book, &network)?;
    }
    if places.is_some() {
        return Ok(());
    }
    for network in book.networks()? {
        let bridge = Small::read(&network).map_or_else(|| network.clone(), Small::bridge);
        for (address, owner) in book.members(&network)? {
            if owner.id == id {
                if let IpAddr::V4(address) = address {
                    share::forget(settings, &bridge, address)?;
                }
                book.give_back(&network, address, id)?;
            }
        }
        leave_small(settings, &book, &network)?;
    }
    // After a crash alone is there something that nobody has in hand.
    finish_going(settings)
}

fn leave_small(settings: &Settings, book: &Book, network: &str) -> Result<(), Error> {
    Small::read(network).map_or(Ok(()), |small| small::leave(settings, book, small))
}

/// Finishes removals of networks that somebody who was killed had begun.
pub(crate) fn finish_going(settings: &Settings) -> Result<(), Error> {
    let book = Book::new(settings.addresses());
    small::finish_going(settings, &book)?;
    made::finish_going(settings, &book)
}

/// Gives a container another name in the books: whoever asks its networks for names finds it by the new one.
pub fn rename(settings: &Settings, places: &[Attachment], name: &str) -> Result<(), Error> {
    let book = Book::new(settings.addresses());
    for place in places {
        let Some(owner) = Owner::new(&place.id, name) else { continue };
        let owner = owner.called(&place.aliases);
        let six = place.v6.map(|six| IpAddr::V6(six.address));
        for address in [IpAddr::V4(place.address)].into_iter().chain(six) {
            book.rewrite(&place.directory(), address, &owner)?;
        }
    }
    Ok(())
}

/// Something of ours on this host. Whether it is left over, the caller knows: it is where its owner is dead.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Leftover {
    /// An address.
    Reservation {
        /// The owner's id.
        id: String,
        /// The owner's name.
        name: String,
        /// The network's directory below `addresses`.
        network: String,
        /// Which.
        address: IpAddr,
    },
    /// The host's end of a pair, a port of one of our bridges.
    Link {
        /// The first eleven digits of the owner's id.
        id_prefix: String,
        /// Its name.
        name: String,
    },
    /// Published ports.
    Ports {
        /// The owner's id.
        id: String,
        /// The owner's name.
        name: String,
    },
    /// A small network without a container; nobody owns it.
    Network {
        /// The network's directory below `addresses`.
        network: String,
        /// Its bridge, there or not.
        bridge: String,
    },
    /// A bridge named like a small network's, with no port and of no network of ours, or the device that shaped what
    /// came in by a bridge that is gone; nobody owns it.
    Bridge {
        /// Its name.
        name: String,
    },
}

/// All reservations, and all links of ours in this network namespace: the engine compares their ids with the living.
pub fn leftovers(settings: &Settings) -> Result<Vec<Leftover>, Error> {
    let book = Book::new(settings.addresses());
    let mut found = Vec::new();
    let mut bridges = vec![settings.bridge.clone()];
    for network in book.networks()? {
        let members = book.members(&network)?;
        if book.rules_of(&network)?.is_some() {
            bridges.push(network.clone());
        }
        if let Some(small) = Small::read(&network) {
            bridges.push(small.bridge());
            if members.is_empty() {
                found.push(Leftover::Network { network: network.clone(), bridge: small.bridge() });
            }
        }
        found.extend(members.into_iter().map(|(address, owner)| Leftover::Reservation {
            id: owner.id,
            name: owner.name,
            network: network.clone(),
            address,
        }));
    }
    let owners = port_book::owners(&settings.run_dir)?.into_iter();
    found.extend(owners.map(|owner| Leftover::Ports { id: owner.id, name: owner.name }));
    let socket = open()?;
    let links = facts::links(Route::new(&socket))?;
    let name_of = |index: u32| links.iter().find(|link| link.index == index).map(|link| link.name.as_str());
    for link in &links {
        let id = id_of_host_link(&link.name);
        let master = link.master.and_then(name_of);
        let ours = master.is_some_and(|master| bridges.iter().any(|bridge| bridge == master));
        let name = link.name.clone();
        match id {
            // Another engine's containers are ports of another bridge.
            Some(id) if ours => found.push(Leftover::Link { id_prefix: id.to_owned(), name }),
            _ => {
                // The bridge that it served is gone.
                let alone = share::is_intermediate(&name)
                    && !links.iter().any(|link| share::intermediate(&link.name) == name);
                if alone {
                    found.push(Leftover::Bridge { name: name.clone() });
                }
                let unused = !links.iter().any(|port| port.master == Some(link.index));
                if bridge_subnet(&name).is_some() && unused && !bridges.contains(&name) {
                    found.push(Leftover::Bridge { name });
                }
            }
        }
    }
    Ok(found)
}

/// Removes something that is left over. Again is nothing.
pub fn remove(settings: &Settings, leftover: &Leftover) -> Result<(), Error> {
    let book = Book::new(settings.addresses());
    let left = match leftover {
        Leftover::Link { name, .. } | Leftover::Bridge { name } => return remove_link(name),
        Leftover::Reservation { id, network, address, .. } => {
            book.give_back(network, *address, id)?;
            network
        }
        Leftover::Ports { id, .. } => return unpublish(settings, id).map(drop),
        Leftover::Network { network, .. } => network,
    };
    leave_small(settings, &book, left)
}

/// How long a network namespace may take to go by itself once its last process has: some 20 ms where nothing else
/// happens.
const DYING: Duration = Duration::from_millis(100);

/// Sees to it that the host's ends of the container's pairs are gone: those of its places, or without them all that it
/// can have. They go with the container's network namespace, as a rule: but a connection whose other side no longer
/// answers keeps a network namespace for minutes after the last process (tcp(7), tcp_orphan_retries), and with it an
/// interface that still answers for the address.
pub fn unplug(id: &str, places: Option<&[Attachment]>) -> Result<(), Error> {
    let socket = open()?;
    let names: Vec<String> = match places {
        Some(places) => {
            let paired = places.iter().filter(|place| place.driver() == Driver::Bridge);
            paired.map(|place| place.host_link.clone()).collect()
        }
        None => (0..MOST).map(|n| nth_host_link(id, n)).collect(),
    };
    let start = Instant::now();
    for name in names {
        while rustix::net::netdevice::name_to_index(&socket, &name).is_ok() {
            if start.elapsed() > DYING {
                remove_link(&name)?;
                break;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
    }
    Ok(())
}

/// Removes a link of this network namespace, in some 22 ms; one that is not there is removed already. For repairs
/// only: a container's links go with its network namespace.
pub fn remove_link(name: &str) -> Result<(), Error> {
    let socket = open()?;
    links::delete(Route::new(&socket), name)
        .map_err(|refusal| Error::Kernel(failed("network.remove", name, refusal)))
}

fn open() -> Result<std::os::fd::OwnedFd, Error> {
    netlink::open().map_err(|error| Failure::new("network.release", "the route socket", error).into())
}
