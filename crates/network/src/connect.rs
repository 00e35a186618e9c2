//! A network more, or one less, for a container that runs: its link is made in its namespace, by a descriptor of that
//! and not by a number that may be another process's by now; then its way out, and where its ports lead.
//!
//! The caller keeps the container's record: it is written after a link was made, and before one is taken away. So who is
//! killed on the way leaves a link or an address that no record names, and no record that names what is not there.

use std::net::IpAddr;
use std::os::fd::{AsFd, OwnedFd};

use step::{Context, Failure, Step};

use crate::attachment::{Attachment, choose_way_out};
use crate::devices::open_inside;
use crate::error::Error;
use crate::facts::{self, failed};
use crate::links::{self, Inside};
use crate::netlink::{self, Route};
use crate::network::Driver;
use crate::plan::steps_of;
use crate::port_book;
use crate::ports::Published;
use crate::publish;
use crate::reserve::{place_ports, target};
use crate::settings::Settings;
use crate::table::Table;

const STEP: &str = "network.connect";

/// Makes one more link of a container that has `places`, in its network namespace. All its places afterwards.
pub fn connect(
    settings: &Settings,
    namespace: &OwnedFd,
    places: &[Attachment],
    new: Attachment,
) -> Result<Vec<Attachment>, Error> {
    let mut after = places.to_vec();
    after.push(Attachment { way_out: false, way_out6: false, ..new });
    choose_way_out(&mut after);
    let (Some(link), inside) = (after.last(), inside_of(namespace)?) else { return Ok(after) };
    let steps = steps_of(
        &Table::of(&settings.run_dir),
        // Its route takes another's place, below.
        &Attachment { way_out: false, way_out6: false, ..link.clone() },
    );
    let mut host = Context::default();
    let mut cabled = false;
    let made = (|| {
        steps.host.iter().try_for_each(|step| step.perform(&mut host))?;
        let socket = match host.netlink.take() {
            Some(socket) => socket,
            None => open()?,
        };
        for step in &steps.beside {
            // Half a cable is removed as a whole one is.
            cabled = true;
            step.cable(Route::new(&socket), Inside::Namespace(namespace.as_fd()))?;
        }
        let mut within = Context { netlink: Some(inside), ..Context::default() };
        steps.inside.iter().try_for_each(|step| step.perform(&mut within))?;
        host.netlink = Some(socket);
        steps.settled.iter().try_for_each(|step| step.perform(&mut host))
    })();
    let done = made.map_err(Error::from).and_then(|()| {
        set_way_out(namespace, places, &after)?;
        move_ports(settings, places, &mut after)
    });
    if let Err(error) = done {
        // What was made goes again; the first failure is told.
        if let Some(link) = after.last().filter(|_| cabled) {
            let _ = remove(namespace, link);
            let _ = set_way_out(namespace, &after, places);
            let _ = move_ports(settings, &after, &mut places.to_vec());
        }
        return Err(error);
    }
    Ok(after)
}

/// The places that are left where the network with this directory is left out.
pub fn without(
    settings: &Settings,
    places: &[Attachment],
    directory: &str,
) -> Result<Vec<Attachment>, Error> {
    let mut after: Vec<Attachment> =
        places.iter().filter(|place| place.directory() != directory).cloned().collect();
    choose_way_out(&mut after);
    let ports = if target(&after).is_some() { ports_of(settings, places)? } else { Vec::new() };
    place_ports(&mut after, ports);
    Ok(after)
}

/// A container's published ports: those of its places, or those that lead nowhere for now.
fn ports_of(settings: &Settings, places: &[Attachment]) -> Result<Vec<Published>, Error> {
    let placed: Vec<Published> = places.iter().flat_map(|place| place.ports.iter().copied()).collect();
    match places.first() {
        Some(first) if placed.is_empty() => port_book::ports_of(&settings.run_dir, &first.id),
        _ => Ok(placed),
    }
}

/// Takes the links away that a container has by `places` and not by `after`, which is in its record by now, and gives
/// their addresses back.
pub fn disconnect(
    settings: &Settings,
    namespace: &OwnedFd,
    places: &[Attachment],
    after: &[Attachment],
) -> Result<(), Error> {
    let mut ends = after.to_vec();
    move_ports(settings, places, &mut ends)?;
    // With a link goes the default route that leads over it: another is there before.
    set_way_out(namespace, places, after)?;
    let gone = places.iter().filter(|place| after.iter().all(|other| other.link != place.link));
    let mut kept = Vec::new();
    for place in gone {
        remove(namespace, place)?;
        kept.push(place.clone());
    }
    match kept.first() {
        Some(first) => crate::release::release(settings, &first.id, Some(&kept)),
        None => Ok(()),
    }
}

fn open() -> Result<OwnedFd, Failure> {
    netlink::open().map_err(|error| Failure::new(STEP, "the route socket", error))
}

fn inside_of(namespace: &OwnedFd) -> Result<OwnedFd, Error> {
    open_inside(namespace)
        .map_err(|error| Failure::new(STEP, "the container's network namespace", error).into())
}

/// Removes a link: of a pair by the host's end, whose name nobody in the container has changed; the other end goes with it.
fn remove(namespace: &OwnedFd, place: &Attachment) -> Result<(), Error> {
    let (socket, link) = match place.driver() {
        Driver::Bridge => (open()?, &place.host_link),
        _ => (inside_of(namespace)?, &place.link),
    };
    links::delete(Route::new(&socket), link).map_err(|refusal| failed(STEP, link.clone(), refusal).into())
}

/// Over which link, and by which gateway, everything beyond the neighbours goes.
fn way(places: &[Attachment], v6: bool) -> Option<(&str, IpAddr)> {
    places.iter().find_map(|place| match v6 {
        false if place.way_out => Some((place.link.as_str(), IpAddr::V4(place.gateway))),
        true if place.way_out6 => Some((place.link.as_str(), IpAddr::V6(place.v6?.gateway))),
        _ => None,
    })
}

/// Sets the default routes, where they change.
fn set_way_out(namespace: &OwnedFd, before: &[Attachment], after: &[Attachment]) -> Result<(), Error> {
    let inside = inside_of(namespace)?;
    for v6 in [false, true] {
        let new = way(after, v6);
        if way(before, v6) != new {
            lead_out(Route::new(&inside), new, v6)?;
        }
    }
    Ok(())
}

/// One request puts a route in the old one's place: there is no moment without a way out.
fn lead_out(route: Route<'_>, way: Option<(&str, IpAddr)>, v6: bool) -> Result<(), Error> {
    let done = match way {
        Some((link, gateway)) => links::add_default_route(route, link, gateway, true)
            .map_err(|refusal| failed(STEP, format!("default via {gateway}"), refusal)),
        None => links::remove_default_routes(route, v6)
            .map_err(|refusal| failed(STEP, "the default route", refusal)),
    };
    done.map_err(Error::from)
}

/// Puts right what a connect or a disconnect that was cut short may have left of a container that runs: the way out and
/// the published ports lead where its places say, and a link beside one of the host's that no place names goes. Before the
/// host's ends of other such links are removed.
pub fn mend(settings: &Settings, namespace: &OwnedFd, id: &str, places: &[Attachment]) -> Result<(), Error> {
    let inside = inside_of(namespace)?;
    for v6 in [false, true] {
        lead_out(Route::new(&inside), way(places, v6), v6)?;
    }
    let published = places.iter().any(|place| !place.ports.is_empty());
    publish::lead_to(settings, id, target(places).filter(|_| published))?;
    let route = Route::new(&inside);
    let stray = |link: &facts::Link| {
        link.group == links::BESIDE && places.iter().all(|place| place.link != link.name)
    };
    for link in facts::links(route)?.into_iter().filter(stray) {
        links::delete(route, &link.name).map_err(|refusal| failed(STEP, link.name.as_str(), refusal))?;
    }
    Ok(())
}

/// Leads the ports of a container where the way out is now.
fn move_ports(settings: &Settings, before: &[Attachment], after: &mut [Attachment]) -> Result<(), Error> {
    let ports = ports_of(settings, before)?;
    let Some(first) = before.first().filter(|_| !ports.is_empty()) else { return Ok(()) };
    let (old, new) = (target(before), target(after));
    if old != new {
        publish::lead_to(settings, &first.id, new)?;
    }
    place_ports(after, if new.is_some() { ports } else { Vec::new() });
    let localnet = after.iter().find(|place| place.ports.iter().any(Published::is_on_loopback));
    if let Some(place) = localnet.filter(|place| place.driver() == Driver::Bridge) {
        let path = crate::table::localnet(&place.bridge);
        crate::table::let_loopback_out(&place.bridge)
            .map_err(|error| Error::from(Failure::new(STEP, path, error)))?;
    }
    let on_loopback6 = after.iter().any(|place| place.ports.iter().any(Published::is_on_loopback6));
    if let Some(six) = after.iter().find(|place| place.way_out6 && on_loopback6) {
        links::let_loopback6_in(Route::new(&open()?), &six.bridge)
            .map_err(|refusal| failed(STEP, format!("::1 by {}", six.bridge), refusal))?;
    }
    Ok(())
}
