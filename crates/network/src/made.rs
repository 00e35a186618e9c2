//! Networks that users made: made, found, removed. The record says that one is there; its bridge is made with it and
//! whenever it is missing; its directory of reservations, and beside it what its rules are to be, with its first
//! container.
//!
//! A removal notes what goes, takes the directory, which nobody can then join, the record, and last the bridge. Who is
//! killed on the way leaves the note, and the next removal goes on by it.

use std::net::{IpAddr, Ipv4Addr};
use std::os::fd::OwnedFd;
use std::time::{SystemTime, UNIX_EPOCH};

use step::{Context, Failure, Step};

use crate::attachment::{DEFAULT, Manner};
use crate::design::{NewNetwork, Surroundings, shape, sides};
use crate::error::Error;
use crate::facts::{self, failed};
use crate::links;
use crate::netlink::{self, Route};
use crate::network::{Driver, Network, Pool, Pool6};
use crate::plan;
use crate::records::{Records, is_name};
use crate::reservation::{Book, NETWORKS, hash};
use crate::settings::Settings;
use crate::share;
use crate::small;
use crate::subnet::usable_prefix;

const STEP: &str = "network.made";

/// The names of the networks that are there without being made.
pub(crate) const BUILT_IN: [&str; 3] = ["bridge", "host", "none"];

fn open() -> Result<OwnedFd, Error> {
    netlink::open().map_err(|error| Failure::new(STEP, "the route socket", error).into())
}

/// Makes a network: checks it, chooses what was left to us, writes its record, makes its bridge. `id` has 64 hexadecimal
/// digits.
pub fn create(settings: &Settings, new: &NewNetwork, id: &str) -> Result<Network, Error> {
    if !is_name(&new.name) || new.name == DEFAULT {
        return Err(Error::NetworkName { name: new.name.clone() });
    }
    let records = Records::of(settings);
    let locked = records.lock()?;
    crate::release::finish_going(settings)?;
    if BUILT_IN.contains(&new.name.as_str()) || records.find(&new.name)?.is_some() {
        return Err(Error::NetworkExists { name: new.name.clone() });
    }
    let socket = open()?;
    let (v4, v6) = with_surroundings(settings, Route::new(&socket), "", |around| sides(new, id, around))?;
    let created = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |past| past.as_nanos() as u64);
    let network = Network { id: id.to_owned(), created, v4, v6, ..shape(new) };
    check_bridge(settings, &records, &network, Route::new(&socket))?;
    check_parent(&network, Route::new(&socket))?;
    records.write(&locked, &network)?;
    if let Err(error) = raise(&network, socket) {
        records.remove(&locked, &network.name)?;
        return Err(error);
    }
    Ok(network)
}

/// A bridge whose name was asked for must be no other network's.
fn check_bridge(
    settings: &Settings,
    records: &Records,
    network: &Network,
    route: Route<'_>,
) -> Result<(), Error> {
    if network.driver != Driver::Bridge || !network.is_bridge_named() {
        return Ok(());
    }
    let bridge = network.bridge();
    let taken = |owner: String| Err(Error::BridgeTaken { bridge: bridge.clone(), owner });
    if bridge == settings.bridge {
        return taken("the default network".to_owned());
    }
    if let Some(other) = records.list()?.0.into_iter().find(|other| other.bridge() == bridge) {
        return taken(format!("network {}", other.name));
    }
    // One that somebody else made keeps its own address: that must be ours.
    let Ok(index) = route.index(&bridge) else { return Ok(()) };
    let has = facts::addresses(route, Some(index))?;
    match (has.as_slice(), network.v4) {
        ([], _) => Ok(()),
        (has, Some(pool))
            if has.iter().any(|one| one.address == pool.gateway && one.network == pool.subnet) =>
        {
            Ok(())
        }
        ([first, ..], _) => taken(format!("address {}/{}", first.address, first.network.prefix())),
    }
}

/// What links stand beside must be there, or can be made: `eth0.7` of `eth0`.
fn check_parent(network: &Network, route: Route<'_>) -> Result<(), Error> {
    let Some(parent) = network.parent() else { return Ok(()) };
    let below = parent.rsplit_once('.').filter(|(_, tag)| tag.parse::<u16>().is_ok()).map(|(link, _)| link);
    if route.index(&parent).is_ok() || below.is_some_and(|link| route.index(link).is_ok()) {
        return Ok(());
    }
    Err(Error::Design {
        what: format!("--opt parent={parent}: this host has no such link"),
        hint: "`ip -br link` lists them".to_owned(),
    })
}

/// Makes the network's bridge, with its addresses.
fn raise(network: &Network, socket: OwnedFd) -> Result<(), Error> {
    let Some(step) = plan::bridge_of(network) else { return Ok(()) };
    let mut context = Context { netlink: Some(socket), ..Context::default() };
    step.perform(&mut context).map_err(Error::Kernel)
}

/// Looks at what is around: routes and addresses but for those of the link `ours`, and the other networks but for the
/// one whose bridge that is.
fn with_surroundings<T>(
    settings: &Settings,
    route: Route<'_>,
    ours: &str,
    work: impl FnOnce(&Surroundings<'_>) -> Result<T, Error>,
) -> Result<T, Error> {
    let obstacles = facts::obstacles(route, ours)?;
    let obstacles6 = facts::obstacles6(route, ours)?;
    let book = Book::new(settings.addresses());
    let (mut others, mut others6) = (Vec::new(), Vec::new());
    for other in Records::of(settings).list()?.0.iter().filter(|other| other.bridge() != ours) {
        let words = format!("network {}", other.name);
        others.extend(other.v4.map(|pool| (pool.subnet, words.clone())));
        others6.extend(other.v6.map(|pool| (pool.subnet, words)));
    }
    for small in small::all(&book)? {
        others.push((small.subnet, small::words(&book, small)?));
    }
    let default = || format!("the default network (bridge {})", settings.bridge);
    if let Some(subnet) = book.remembered(&settings.bridge)?.or(settings.subnet) {
        others.push((subnet, default()));
    }
    others6.extend(book.remembered6(&settings.bridge)?.map(|subnet| (subnet, default())));
    work(&Surroundings {
        obstacles: &obstacles,
        obstacles6: &obstacles6,
        others: &others,
        others6: &others6,
        route,
    })
}

/// Chooses another subnet for a network whose own is the host's by now, and where no container lives: its record is
/// written anew, its bridge goes. What it was, what it is, and whose the old one is.
pub fn choose_anew(settings: &Settings, asked: &Network, owner: &str) -> Result<(Network, String), Error> {
    let records = Records::of(settings);
    let locked = records.lock()?;
    let mut network = records.find(&asked.name)?.ok_or_else(|| gone(&asked.name))?;
    let Some(old) = network.v4 else { return Err(gone(&network.name)) };
    if asked.v4 != network.v4 {
        // Somebody was faster.
        let said = format!("network {} is {} now", network.name, old.subnet);
        return Ok((network, said));
    }
    let (socket, bridge) = (open()?, network.bridge());
    let route = Route::new(&socket);
    let subnet = with_surroundings(settings, route, &bridge, |around| {
        around.free().ok_or_else(|| Error::NoCandidate { bridge: bridge.clone() })
    })?;
    network.v4 = Some(Pool { subnet, gateway: subnet.first(), range: None, chosen: true });
    records.write(&locked, &network)?;
    if is_ours(route, &bridge)? {
        links::delete(route, &bridge).map_err(|refusal| failed(STEP, bridge.clone(), refusal))?;
    }
    raise(&network, socket)?;
    let said = format!("network {} is {subnet} now: its old {} overlaps {owner}", network.name, old.subnet);
    Ok((network, said))
}

fn gone(name: &str) -> Error {
    Error::NoNetwork { name: name.to_owned() }
}

/// The network that a user means: a name, an id, or the unambiguous beginning of an id.
pub fn find(settings: &Settings, name: &str) -> Result<Network, Error> {
    let name = if name == DEFAULT { "bridge" } else { name };
    if BUILT_IN.contains(&name) {
        return built_in(settings, name);
    }
    let records = Records::of(settings);
    if let Some(network) = records.find(name)? {
        return Ok(network);
    }
    let mut all = records.list()?.0;
    for name in BUILT_IN {
        all.push(built_in(settings, name)?);
    }
    let digits = !name.is_empty() && name.bytes().all(|digit| digit.is_ascii_hexdigit());
    all.retain(|network| digits && network.id.starts_with(name));
    match (all.pop(), all.is_empty()) {
        (Some(network), true) => Ok(network),
        (Some(_), false) => Err(Error::NetworkAmbiguous { id: name.to_owned() }),
        (None, _) => Err(gone(name)),
    }
}

/// Every network by its name, those that nobody made among them; and the records that cannot be read.
pub fn list(settings: &Settings) -> Result<(Vec<Network>, Vec<Error>), Error> {
    let (mut all, damaged) = Records::of(settings).list()?;
    for name in BUILT_IN {
        all.push(built_in(settings, name)?);
    }
    all.sort_by(|a, b| a.name.cmp(&b.name));
    Ok((all, damaged))
}

/// Whether nobody made it.
pub fn is_built_in(name: &str) -> bool {
    BUILT_IN.contains(&name) || name == DEFAULT
}

/// A network that is there without being made. Its id is made of the engine's run state and its name, so that it is the
/// same at every look.
fn built_in(settings: &Settings, name: &str) -> Result<Network, Error> {
    let driver = match name {
        "host" => Driver::Host,
        "none" => Driver::None,
        _ => Driver::Bridge,
    };
    let seed = |n: usize| hash(&format!("{n}{name}{}", settings.run_dir.display()));
    let id = (0..8).map(|n| format!("{:08x}", seed(n))).collect();
    let mut network =
        Network { id, ..shape(&NewNetwork { name: name.to_owned(), driver, ..NewNetwork::default() }) };
    if driver == Driver::Bridge {
        network.v4 = default_pool(settings)?;
        network.v6 = Book::new(settings.addresses()).remembered6(&settings.bridge)?.map(Pool6::of);
        network.options.insert("com.docker.network.bridge.name".to_owned(), settings.bridge.clone());
        network.options.insert("com.docker.network.bridge.default_bridge".to_owned(), "true".to_owned());
    }
    Ok(network)
}

/// What the default network has now: its bridge's address, else what it had before.
fn default_pool(settings: &Settings) -> Result<Option<Pool>, Error> {
    let socket = open()?;
    let route = Route::new(&socket);
    let there = match route.index(&settings.bridge) {
        Ok(index) => facts::addresses(route, Some(index))?,
        Err(_) => Vec::new(),
    };
    let mut usable = there.iter().filter(|address| usable_prefix(address.network.prefix()));
    let pool = |subnet, gateway| Pool { subnet, gateway, range: None, chosen: false };
    if let Some(address) = usable.next() {
        return Ok(Some(pool(address.network, address.address)));
    }
    let remembered = settings.subnet.or(Book::new(settings.addresses()).remembered(&settings.bridge)?);
    Ok(remembered.map(|subnet| pool(subnet, subnet.first())))
}

/// The manner of a network's links, as each place in it says.
pub(crate) fn manner(network: &Network) -> Manner {
    Manner {
        driver: network.driver,
        internal: network.internal,
        open: network.is_open(),
        routed: !network.masquerades(),
        apart: network.is_apart(),
        mtu: network.mtu(),
        vlan: network.vlan(),
        parent: network.parent(),
        mode: network.mode().map(str::to_owned),
    }
}

/// What the rules of a network are to be, in words.
pub(crate) fn rules_words(network: &Network) -> String {
    let mut words = vec![network.driver.name()];
    words.extend(network.internal.then_some("internal"));
    words.extend(network.is_open().then_some("open"));
    words.extend((!network.masquerades()).then_some("routed"));
    words.extend(network.is_apart().then_some("apart"));
    words.extend(network.v6.is_some().then_some("v6"));
    words.join(" ")
}

/// Removes a network: none of its containers lives. Who is there is named otherwise.
pub fn remove_network(
    settings: &Settings,
    name: &str,
    is_alive: &dyn Fn(&str) -> bool,
) -> Result<Network, Error> {
    if is_built_in(name) {
        return Err(Error::BuiltIn { name: name.to_owned() });
    }
    let network = find(settings, name)?;
    if is_built_in(&network.name) {
        return Err(Error::BuiltIn { name: network.name });
    }
    let records = Records::of(settings);
    let locked = records.lock()?;
    let Some(network) = records.find(&network.name)? else { return Err(gone(name)) };
    let book = Book::new(settings.addresses());
    let directory = network.bridge();
    let _lock = book.lock(NETWORKS)?;
    book.note_going(&directory)?;
    let mut living: Vec<String> = Vec::new();
    for (address, owner) in book.members(&directory)? {
        if is_alive(&owner.id) {
            living.push(owner.to_string());
        } else {
            book.give_back(&directory, address, &owner.id)?;
        }
    }
    // Of both families each.
    living.sort();
    living.dedup();
    if !living.is_empty() || !book.remove_empty(&directory)? {
        book.has_gone(&directory)?;
        return Err(Error::InUse { name: network.name, who: living });
    }
    records.remove(&locked, &network.name)?;
    finish(settings, &book, &directory)?;
    Ok(network)
}

/// The last part of a removal: the bridge, its place in the rules, the note. Under the lock [`NETWORKS`].
fn finish(settings: &Settings, book: &Book, directory: &str) -> Result<(), Error> {
    let socket = open()?;
    let route = Route::new(&socket);
    if is_ours(route, directory)? {
        links::delete(route, directory).map_err(|refusal| failed(STEP, directory, refusal))?;
    }
    share::leave(settings, route, directory).map_err(|refusal| failed(STEP, directory, refusal))?;
    book.table().forget_bridge(directory);
    book.forget_rules(directory)?;
    book.has_gone(directory)
}

/// Goes on with removals of who was killed.
pub(crate) fn finish_going(settings: &Settings, book: &Book) -> Result<(), Error> {
    let going = book.going()?;
    if going.is_empty() {
        return Ok(());
    }
    let records = Records::of(settings).list()?.0;
    let _lock = book.lock(NETWORKS)?;
    for directory in going.iter().filter(|name| small::Small::read(name).is_none()) {
        let is_there = records.iter().any(|network| network.bridge() == *directory);
        if is_there || !book.remove_empty(directory)? {
            // It was not removed after all.
            book.has_gone(directory)?;
        } else {
            finish(settings, book, directory)?;
        }
    }
    Ok(())
}

/// What we write on a bridge that we made for a network: another's of the same name is left alone.
pub(crate) fn alias(network: &str) -> String {
    format!("minidocker network {network}")
}

/// Whether we made a bridge: its name is made of a network's id, or it bears the alias.
fn is_ours(route: Route<'_>, name: &str) -> Result<bool, Error> {
    let digits = name.strip_prefix("md-").unwrap_or_default();
    if digits.len() == 12 && digits.bytes().all(|digit| digit.is_ascii_hexdigit()) {
        return Ok(true);
    }
    let is_alias = |alias: &str| alias.starts_with("minidocker network ");
    let mut links = facts::links(route)?.into_iter();
    Ok(links.any(|link| link.name == name && link.alias.as_deref().is_some_and(is_alias)))
}

/// Networks whose subnet the host reaches by a route of its own by now, and that route in words: what their containers
/// send there does not arrive.
pub fn clashes(settings: &Settings) -> Result<Vec<(Network, String)>, Error> {
    let socket = open()?;
    let route = Route::new(&socket);
    let mut found = Vec::new();
    let mut all = Records::of(settings).list()?.0;
    all.push(built_in(settings, "bridge")?);
    for network in all.into_iter().filter(|network| network.driver == Driver::Bridge) {
        let Some(pool) = network.v4.filter(|_| route.index(&network.bridge()).is_ok()) else { continue };
        if let Some(owner) = facts::clash(route, pool.subnet, &network.bridge())? {
            found.push((network, owner));
        }
    }
    Ok(found)
}

/// The addresses of a network that nobody gets who asks for none: the host's side and those of other machines.
pub(crate) fn kept(network: &Network, pool: Pool) -> Vec<Ipv4Addr> {
    let others = network.auxiliary.values().filter_map(|address| match address {
        IpAddr::V4(address) => Some(*address),
        IpAddr::V6(_) => None,
    });
    std::iter::once(pool.gateway).chain(others).collect()
}
