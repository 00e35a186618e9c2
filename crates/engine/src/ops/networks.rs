//! Networks that users make: make them, look at them, let them go; connect containers and disconnect them, running or
//! not.
//!
//! A container's record is written after a link was made, and before one is taken away: a crash leaves the old state or
//! the new one, and beside it at most a link or an address that `system check` finds.

use std::collections::{BTreeMap, HashSet};
use std::net::IpAddr;
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant, SystemTime};

use network::{Attachment, Driver, mac_text};
use rustix::fs::{Mode, OFlags};
use rustix::process::{Pid, PidfdFlags, pidfd_open};
use step::Failure;

pub use network::{Network, NewNetwork, is_built_in};

use crate::networks::{link, told};
use crate::prepare::network_settings;
use crate::request::{DEFAULT_NETWORK, Endpoint, NetworkMode, Rate, Rates};
use crate::state::{Record, Store};
use crate::sweep::sweep;
use crate::{Error, Kind, Note, Settings, events, files, names, pods};

/// A network, and who is there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listed {
    /// The network.
    pub network: Network,
    /// The containers that run in it, by their ids.
    pub members: BTreeMap<String, Member>,
    /// Whether a container's record names it, running or not.
    pub used: bool,
    /// What its containers together may send and get: `network update --rate`.
    pub rate: Option<Rate>,
}

/// A container in a network.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Member {
    /// Its name.
    pub name: String,
    /// Its place there has this id.
    pub endpoint: String,
    /// Its hardware address.
    pub mac: String,
    /// Its address, with the length of the prefix; empty where it has none.
    pub v4: String,
    /// Likewise of IPv6.
    pub v6: String,
}

/// When a network was made.
pub fn created(network: &Network) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_nanos(network.created)
}

/// Makes a network; its id.
pub fn create(settings: &Settings, new: &NewNetwork) -> Result<String, Error> {
    let store = Store::new(settings);
    store.prepare()?;
    sweep(settings, &store)?;
    let made = network::create(&network_settings(settings)?, new, &names::id()).map_err(told)?;
    events::network(&settings.run_root, "create", &made, None);
    Ok(made.id)
}

/// Every network by its name, and what could not be read.
pub fn list(settings: &Settings) -> Result<(Vec<Listed>, Vec<Error>), Error> {
    let store = Store::new(settings);
    let place = network_settings(settings)?;
    let (networks, damaged) = network::list(&place).map_err(told)?;
    let records = records(&store)?;
    let listed = networks.into_iter().map(|network| listed(&store, &place, &records, network));
    Ok((listed.collect(), damaged.into_iter().map(told).collect()))
}

/// One network, by its name or its id.
pub fn inspect(settings: &Settings, name: &str) -> Result<Listed, Error> {
    let store = Store::new(settings);
    let place = network_settings(settings)?;
    let network = network::find(&place, name).map_err(told)?;
    Ok(listed(&store, &place, &records(&store)?, network))
}

/// The records of all containers; one that cannot be read tells nothing.
fn records(store: &Store) -> Result<Vec<Record>, Error> {
    Ok(store.all()?.iter().filter_map(|id| store.record(id).ok().flatten()).collect())
}

/// The networks that a container asks for, by their names.
fn names_of(record: &Record) -> Vec<String> {
    super::inspect::network_names(&record.request.network)
}

fn listed(store: &Store, place: &network::Settings, records: &[Record], network: Network) -> Listed {
    let mut members = BTreeMap::new();
    let mut used = false;
    for record in records.iter().filter(|record| names_of(record).contains(&network.name)) {
        used = true;
        if store.living_init(&record.id).is_some() {
            let place = record.networks.iter().find(|place| place.network_name() == network.name);
            members.insert(record.id.clone(), member(record, place));
        }
    }
    // One that cannot be read is told where it is asked for.
    let rate = network::total(place, &network.bridge()).ok().flatten();
    Listed { network, members, used, rate }
}

fn member(record: &Record, place: Option<&Attachment>) -> Member {
    let Some(place) = place else { return Member { name: record.name.clone(), ..Member::default() } };
    Member {
        name: record.name.clone(),
        endpoint: super::inspect::endpoint_id(&record.id, place),
        mac: mac_text(place.mac),
        v4: format!("{}/{}", place.address, place.prefix),
        v6: place.v6.map_or_else(String::new, |six| format!("{}/{}", six.address, six.subnet.prefix())),
    }
}

/// Removes a network that no running container is in; its id.
pub fn remove(settings: &Settings, name: &str) -> Result<String, Error> {
    let store = Store::new(settings);
    store.prepare()?;
    sweep(settings, &store)?;
    let is_alive = |id: &str| store.run_dir(id).exists();
    let gone = network::remove_network(&network_settings(settings)?, name, &is_alive).map_err(told)?;
    events::network(&settings.run_root, "destroy", &gone, None);
    Ok(gone.id)
}

/// Whether an error says that there is no such network.
pub fn is_missing(settings: &Settings, name: &str) -> bool {
    matches!(network::find(&settings.network(), name), Err(network::Error::NoNetwork { .. }))
}

/// Removes the networks that no container's record names; `keep` spares some. Their names.
pub fn prune(settings: &Settings, keep: &dyn Fn(&Network) -> bool) -> Result<Vec<String>, Error> {
    let mut gone = Vec::new();
    for one in list(settings)?.0 {
        if one.used || is_built_in(&one.network.name) || keep(&one.network) {
            continue;
        }
        // Somebody may have come in since, or removed it.
        if remove(settings, &one.network.name).is_ok() {
            gone.push(one.network.name);
        }
    }
    Ok(gone)
}

fn invalid(message: String, hint: &str) -> Error {
    Error::new(Kind::Invalid, message).hint(hint)
}

/// A container that runs, by descriptors: its number may be another's by the time that something is done.
pub(crate) struct Living {
    pub(crate) namespace: OwnedFd,
    _pidfd: OwnedFd,
}

/// So long a container that is being started may take.
const SOON: Duration = Duration::from_secs(5);

/// The container as it runs; none where it does not.
pub(crate) fn living(store: &Store, id: &str) -> Result<Option<Living>, Error> {
    let start = Instant::now();
    loop {
        if let Some(pid) = store.joinable_init(id) {
            let failed = |errno| Failure::new("network.connect", id.get(..12).unwrap_or(id), errno);
            let Some(number) = Pid::from_raw(pid) else { return Ok(None) };
            let Ok(pidfd) = pidfd_open(number, PidfdFlags::empty()) else { return Ok(None) };
            let path = format!("/proc/{pid}/ns/net");
            let namespace = rustix::fs::open(path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty());
            // The process is the one of the descriptor if it is still ours now.
            if store.living_init(id) != Some(pid) {
                return Ok(None);
            }
            return Ok(Some(Living { namespace: namespace.map_err(failed)?, _pidfd: pidfd }));
        }
        let again = store.life(id)?.is_some_and(|life| life.again.is_some());
        if again || !store.is_cared_for(id) || store.abandoned(id)?.is_some() || start.elapsed() > SOON {
            return Ok(None);
        }
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// The number of the next link.
fn free_link(places: &[Attachment]) -> usize {
    let taken: HashSet<&str> = places.iter().map(|place| place.link.as_str()).collect();
    (0..).find(|n: &usize| !taken.contains(format!("eth{n}").as_str())).unwrap_or(0)
}

/// Connects a container to one more network: at once if it runs, else when it is started.
pub fn connect(settings: &Settings, container: &str, asked: &Endpoint) -> Result<Vec<Note>, Error> {
    let store = Store::new(settings);
    let notes = sweep(settings, &store)?;
    let place = network_settings(settings)?;
    let network = network::find(&place, &asked.network).map_err(told)?;
    let (id, record) = store.load(container)?;
    let writing = store.lock_record(&record)?;
    let (_, mut record) = store.load(&id)?;
    let mut endpoints = check_connect(&record, &network)?;
    let endpoint = Endpoint { network: network.name.clone(), ..asked.clone() };
    let before = record.clone();
    endpoints.push(endpoint.clone());
    (record.request.network.ip, record.request.network.mac) = (None, None);
    record.request.network.endpoints = Some(endpoints);
    let living = living(&store, &id)?;
    // Between two starts by its policy it keeps what it has.
    let held = living.is_some() || store.is_cared_for(&id);
    if held {
        store.note_other_networks(&id)?;
        let is_alive = |id: &str| store.run_dir(id).exists();
        let n = free_link(&record.networks);
        let hostname = record.request.namespaces.hostname.as_deref();
        let asked = link(settings, &endpoint, hostname)?;
        let new = network::reserve_link(&place, &id, &record.name, &asked, n, &is_alive);
        let new = new.map_err(told)?;
        let made = match &living {
            Some(living) => network::connect(&place, &living.namespace, &record.networks, new.clone())
                .and_then(|places| limited(&place, &record, living, &new, places)),
            None => {
                let mut places = record.networks.clone();
                places.push(new.clone());
                network::choose_way_out(&mut places);
                Ok(places)
            }
        };
        record.networks = match made {
            Ok(places) => places,
            Err(error) => {
                network::release(&place, &id, Some(&[new])).map_err(told)?;
                return Err(told(error));
            }
        };
    }
    if let Err(failure) = writing.write(&record) {
        if let Some(living) = &living {
            network::disconnect(&place, &living.namespace, &record.networks, &before.networks)
                .map_err(told)?;
        }
        return Err(failure.into());
    }
    rewrite_hosts(&store, &before, &record)?;
    drop(writing);
    if record.request.pod.infra().is_some() {
        pods::announce(settings, &store, &id)?;
    }
    events::network(&settings.run_root, "connect", &network, Some(&id));
    Ok(notes)
}

/// A further link has the limits of the others; where it cannot, it goes again.
fn limited(
    settings: &network::Settings,
    record: &Record,
    living: &Living,
    new: &Attachment,
    places: Vec<Attachment>,
) -> Result<Vec<Attachment>, network::Error> {
    let rates = record.request.network.rates;
    if rates.is_none() {
        return Ok(places);
    }
    match network::change_rates(new, &living.namespace, Rates::default(), rates) {
        Ok(()) => Ok(places),
        Err(failure) => {
            // The first failure is told.
            let _ = network::disconnect(settings, &living.namespace, &places, &record.networks);
            Err(failure.into())
        }
    }
}

/// Whether a container can be in this network too; the networks that it has.
fn check_connect(record: &Record, network: &Network) -> Result<Vec<Endpoint>, Error> {
    let name = &record.name;
    match record.request.network.mode {
        NetworkMode::Bridge => {}
        NetworkMode::None => {
            return Err(invalid(
                format!(
                    "container {name} cannot be connected to multiple networks with one of the networks in private \
                     (none) mode"
                ),
                "make the container with a network: minidocker run --network NAME",
            ));
        }
        NetworkMode::Host | NetworkMode::Container(_) => {
            return Err(invalid(
                format!(
                    "container {name} shares a network namespace with the host or another container: it cannot be \
                     connected to any other network"
                ),
                "make the container with a network of its own: minidocker run --network NAME",
            ));
        }
    }
    if !network.driver.has_links() {
        return Err(invalid(
            format!("cannot connect container {name} to the network {}: it gives no links", network.name),
            "a container is made with it: minidocker run --network host, --network none",
        ));
    }
    let endpoints = record.request.network.links();
    if endpoints.iter().any(|endpoint| endpoint.network == network.name) {
        return Err(invalid(
            format!("endpoint with name {name} already exists in network {}", network.name),
            "it is connected already",
        ));
    }
    Ok(endpoints)
}

/// Takes a container out of a network: at once if it runs. `force`: one that is not in it is content.
pub fn disconnect(settings: &Settings, container: &str, name: &str, force: bool) -> Result<(), Error> {
    let store = Store::new(settings);
    sweep(settings, &store)?;
    let place = network_settings(settings)?;
    let (id, record) = store.load(container)?;
    let writing = store.lock_record(&record)?;
    let (_, mut record) = store.load(&id)?;
    let network = match network::find(&place, name) {
        Err(network::Error::NoNetwork { .. }) if force => None,
        found => Some(found.map_err(told)?),
    };
    let wanted = network.as_ref().map_or(name, |network| network.name.as_str()).to_owned();
    if record.request.network.mode == NetworkMode::Host && wanted == "host" {
        return Err(invalid(
            format!("cannot disconnect container {} from the host's network", record.name),
            "a container has the network that it was made with: make another",
        ));
    }
    let mut endpoints = record.request.network.links();
    let many = endpoints.len();
    endpoints.retain(|endpoint| endpoint.network != wanted);
    if endpoints.len() == many {
        return if force {
            Ok(())
        } else {
            Err(invalid(
                format!("container {} is not connected to network {wanted}", record.name),
                "`minidocker inspect` shows its networks",
            ))
        };
    }
    let before = record.clone();
    (record.request.network.ip, record.request.network.mac) = (None, None);
    record.request.network.endpoints = Some(endpoints);
    let directory =
        record.networks.iter().find(|place| place.network_name() == wanted).map(Attachment::directory);
    if let Some(directory) = &directory {
        record.networks = network::without(&place, &record.networks, directory).map_err(told)?;
    }
    let living = living(&store, &id)?;
    if living.is_some() || store.is_cared_for(&id) {
        store.note_other_networks(&id)?;
    }
    writing.write(&record)?;
    if let Some(living) = &living {
        network::disconnect(&place, &living.namespace, &before.networks, &record.networks).map_err(told)?;
        rewrite_hosts(&store, &before, &record)?;
    }
    if let Some(network) = network {
        events::network(&settings.run_root, "disconnect", &network, Some(&id));
    }
    Ok(())
}

/// The container's /etc/hosts with the addresses that it has now. It is bound into the container: written where it is.
fn rewrite_hosts(store: &Store, before: &Record, after: &Record) -> Result<(), Error> {
    let path = store.run_dir(&after.id).join("hosts");
    let Ok(text) = std::fs::read_to_string(&path) else { return Ok(()) };
    let hostname = std::fs::read_to_string(store.run_dir(&after.id).join("hostname")).unwrap_or_default();
    let own = files::own_name(hostname.trim_end(), after.request.namespaces.domainname.as_deref());
    let (old, new): (Vec<IpAddr>, Vec<IpAddr>) =
        (files::addresses(&before.networks), files::addresses(&after.networks));
    std::fs::write(&path, files::hosts_after(&text, &own, &old, &new))
        .map_err(|error| Failure::new("network.hosts", path.display().to_string(), error))?;
    Ok(())
}

/// The names of the networks that this host could offer, for completion.
pub fn names(settings: &Settings) -> Vec<String> {
    let all = network::list(&settings.network()).map(|(networks, _)| networks).unwrap_or_default();
    all.into_iter().map(|network| network.name).collect()
}

/// The driver of a name that was typed.
pub fn driver(text: &str) -> Option<Driver> {
    [Driver::Bridge, Driver::Macvlan, Driver::Ipvlan, Driver::None, Driver::Host]
        .into_iter()
        .find(|driver| driver.name() == text || text == "null" && *driver == Driver::None)
}

/// Takes away what an engine that was for a while only has made of the host's network: its bridge and its rules, and where
/// it turned forwarding on, that. No container of it runs; its run state is still there.
pub fn take_down(settings: &Settings) -> Result<(), Error> {
    network::take_down(&settings.network()).map_err(told)
}

/// Whether a name means the default network.
pub fn is_default(name: &str) -> bool {
    name == DEFAULT_NETWORK || name == "default"
}
