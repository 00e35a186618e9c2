//! Pods: containers that share namespaces. A pod is the container that these namespaces belong to, its infra, and nothing
//! else: one record, one id, one name, one place in networks (docs/decisions/0028).
//!
//! ```text
//! joined     what is shared becomes `container:INFRA`, in the request      before anything is made
//! enter      the infra runs, and the pod's door is held open               until the member's record names the pod
//! announce   the members' names go into the books of addresses             as names of the pod's address
//! leave      a step of the way down: announce; the last one ends the infra where the pod's policy says so
//! ```

mod door;

use std::borrow::Cow;
use std::time::Duration;

use step::Failure;

pub(crate) use door::Door;

use crate::networks::told;
use crate::ops::{start, stop};
use crate::request::{
    DEFAULT_NETWORK, Membership, Namespace, Network, NetworkMode, Pod, Role, RunRequest, Share,
};
use crate::state::{Record, Store, is_id};
use crate::{Error, Kind, Settings, sweep};

/// A pod: its infra's record, and what is the pod's alone.
#[derive(Debug)]
pub(crate) struct Found {
    pub(crate) record: Record,
    pub(crate) pod: Pod,
}

impl Found {
    fn of(record: Record) -> Option<Self> {
        let pod = record.request.pod.infra()?.clone();
        Some(Self { record, pod })
    }
}

/// The pod that a user means: by its name, its id, or the unambiguous beginning of its id.
pub(crate) fn find(store: &Store, name: &str) -> Result<Found, Error> {
    let missing = |hint: String| Err(Error::new(Kind::NoSuchPod, format!("no such pod: {name}")).hint(hint));
    let listed = || missing("`minidocker pod ls` lists all pods".to_owned());
    if name.is_empty() || name.contains('/') {
        return listed();
    }
    if is_id(name)
        && let Some(found) = store.record(name)?.and_then(Found::of)
    {
        return Ok(found);
    }
    if let Some(id) = store.named(name) {
        return match store.record(&id)?.map(|record| (record.name.clone(), Found::of(record))) {
            Some((_, Some(found))) => Ok(found),
            Some((container, None)) => {
                missing(format!("{container} is a container and no pod; `minidocker pod ls` lists all pods"))
            }
            None => listed(),
        };
    }
    let records = store.all()?.into_iter().filter_map(|id| store.record(&id).ok().flatten());
    let mut called =
        records.filter(|record| record.name == name || record.id.starts_with(name)).filter_map(Found::of);
    match (called.next(), called.next()) {
        (Some(found), None) => Ok(found),
        (None, _) => listed(),
        (Some(_), Some(_)) => {
            let message = format!("id {name} is ambiguous: several pods begin with it");
            Err(Error::new(Kind::Invalid, message).hint("give more digits, or the name"))
        }
    }
}

/// The containers of a pod, its infra aside, the oldest first.
pub(crate) fn members(store: &Store, pod: &str) -> Result<Vec<Record>, Failure> {
    let records = store.all()?.into_iter().filter_map(|id| store.record(&id).ok().flatten());
    let mut all: Vec<Record> =
        records.filter(|record| record.request.pod.membership() == Some(pod)).collect();
    all.sort_by(|a, b| a.created.cmp(&b.created).then_with(|| a.id.cmp(&b.id)));
    Ok(all)
}

/// What a container in a pod asks for: namespaces of the infra's in the place of its own.
pub(crate) fn joined<'r>(store: &Store, request: &'r RunRequest) -> Result<Cow<'r, RunRequest>, Error> {
    let Role::Member(membership) = &request.pod else { return Ok(Cow::Borrowed(request)) };
    let found = find(store, &membership.pod)?;
    let shares = |what: Share| found.pod.shares(what) && !membership.apart.contains(&what);
    if let Some(option) = of_the_pod(request, &shares) {
        let (pod, way) = (&found.record.name, "minidocker pod create");
        let message = format!("{option} with --pod {pod}: it is the pod's to have, by `{way} {option}`");
        return Err(Error::new(Kind::Invalid, message));
    }
    let id = found.record.id.clone();
    let infra = || Namespace::Container(id.clone());
    let mut request = request.clone();
    let spaces = &mut request.namespaces;
    for (what, space) in
        [(Share::Ipc, &mut spaces.ipc), (Share::Pid, &mut spaces.pid), (Share::Uts, &mut spaces.uts)]
    {
        if shares(what) {
            *space = infra();
        }
    }
    if shares(Share::Net) {
        let expose = std::mem::take(&mut request.network.expose);
        request.network = Network { mode: NetworkMode::Container(id.clone()), expose, ..Network::default() };
    }
    request.pod = Role::Member(Membership { pod: id, apart: membership.apart.clone() });
    Ok(Cow::Owned(request))
}

/// An option of a container that speaks of what is the pod's.
fn of_the_pod(request: &RunRequest, shares: &dyn Fn(Share) -> bool) -> Option<&'static str> {
    let (network, spaces) = (&request.network, &request.namespaces);
    let links = network.links();
    let elsewhere = links.len() != 1 || links.iter().any(|link| link.network != DEFAULT_NETWORK);
    let of_network = [
        (network.mode != NetworkMode::Bridge || elsewhere, "--network"),
        (!network.publish.is_empty(), "--publish"),
        (network.publish_all, "--publish-all"),
        (links.iter().any(|link| link.ip.is_some()), "--ip"),
        (links.iter().any(|link| link.ip6.is_some()), "--ip6"),
        (links.iter().any(|link| link.mac.is_some()), "--mac-address"),
        (links.iter().any(|link| !link.aliases.is_empty()), "--network-alias"),
        (links.iter().any(|link| !link.link_local.is_empty()), "--link-local-ip"),
        (!network.add_hosts.is_empty(), "--add-host"),
        (!network.dns.is_empty(), "--dns"),
        (!network.dns_search.is_empty(), "--dns-search"),
        (!network.dns_options.is_empty(), "--dns-option"),
        (!network.rates.is_none(), "--network-rate"),
        (network.share.is_some(), "--network-share"),
    ];
    let others = [
        (shares(Share::Uts) || shares(Share::Net)) && spaces.hostname.is_some(),
        shares(Share::Uts) && spaces.domainname.is_some(),
        shares(Share::Ipc) && request.storage.shm_size.is_some(),
    ];
    let others = others.into_iter().zip(["--hostname", "--domainname", "--shm-size"]);
    let of_network = of_network.into_iter().filter(|_| shares(Share::Net));
    of_network.chain(others).find(|(asked, _)| *asked).map(|(_, option)| option)
}

/// How often a pod may be ended between its start and the look at it.
const TRIES: u32 = 20;

/// Comes into a pod: its infra runs from here on, and is not ended for want of members while the door is held.
///
/// Nothing that is not for an infra's monitor may be open: that is a fork of this process.
pub(crate) fn enter(settings: &Settings, store: &Store, request: &RunRequest) -> Result<Option<Door>, Error> {
    let Some(pod) = request.pod.membership() else { return Ok(None) };
    for _ in 0..TRIES {
        run_infra(settings, store, pod)?;
        let door = Door::hold_open(store, pod)?;
        if store.living_init(pod).is_some() {
            return Ok(Some(door));
        }
    }
    let message = format!("pod {} ends as soon as it is started", short(pod));
    Err(Error::new(Kind::Engine, message).hint(format!("`minidocker pod inspect {}` shows it", short(pod))))
}

/// The same for a container that is not started yet: the pod is there as long as the door is held.
pub(crate) fn stay(store: &Store, request: &RunRequest) -> Result<Option<Door>, Error> {
    let Some(pod) = request.pod.membership() else { return Ok(None) };
    let door = Door::hold_open(store, pod)?;
    find(store, pod).map(|_| Some(door))
}

/// Starts a pod's infra where it does not run.
pub(crate) fn run_infra(settings: &Settings, store: &Store, pod: &str) -> Result<(), Error> {
    let found = find(store, pod)?;
    if store.living_init(pod).is_some() {
        return Ok(());
    }
    sweep::sweep_one(settings, store, pod)?;
    check_whole(store, &found.record)?;
    start::start_swept(settings, store, pod).map_err(|error| Error {
        message: format!("pod {} cannot be started: {}", found.record.name, error.message),
        ..error
    })
}

/// An infra is not started beside containers that run in the namespaces of its life before.
pub(crate) fn check_whole(store: &Store, infra: &Record) -> Result<(), Error> {
    let (pod, name) = (&infra.id, &infra.name);
    let running = members(store, pod)?.into_iter().filter(|member| store.living_init(&member.id).is_some());
    let running: Vec<String> = running.map(|member| member.name).collect();
    // Somebody else may have started it meanwhile, and they with it.
    if running.is_empty() || store.living_init(pod).is_some() {
        return Ok(());
    }
    let message = format!(
        "pod {name} has lost its infra while {} ran: what they share has ended with it",
        running.join(", ")
    );
    Err(Error::new(Kind::Invalid, message).hint(format!("minidocker pod restart {name}")))
}

/// So long who writes names waits for those who come in; and who goes, for whom it is nothing that must be.
const PATIENCE: Duration = Duration::from_secs(5);
const BRIEF: Duration = Duration::from_millis(100);

/// The most that the names of a pod may take in a book of addresses: the text of a symbolic link has 4095 bytes.
const MOST: usize = 3500;

/// Lets the names of a pod's containers lead to the pod's addresses, as far as it has some and runs.
pub(crate) fn announce(settings: &Settings, store: &Store, pod: &str) -> Result<(), Error> {
    match Door::close(store, pod, PATIENCE)? {
        Some(_door) => announce_alone(settings, store, pod),
        None => Ok(()),
    }
}

/// The same by who has closed the door: of two that write, the later one has read later.
fn announce_alone(settings: &Settings, store: &Store, pod: &str) -> Result<(), Error> {
    let Some(record) = store.record(pod)?.filter(|_| store.is_cared_for(pod)) else { return Ok(()) };
    names(settings, store, &record)
}

/// Writes them for the places that a record has.
pub(crate) fn names(settings: &Settings, store: &Store, infra: &Record) -> Result<(), Error> {
    if infra.networks.is_empty() {
        return Ok(());
    }
    let members: Vec<String> = members(store, &infra.id)?.into_iter().map(|member| member.name).collect();
    let asked = infra.request.network.links();
    let mut places = infra.networks.clone();
    for place in &mut places {
        let own = asked.iter().find(|link| link.network == place.network_name());
        place.aliases = own.map(|link| link.aliases.clone()).unwrap_or_default();
        let mut room = MOST.saturating_sub(place.aliases.iter().map(|alias| alias.len() + 1).sum());
        for name in &members {
            let Some(rest) = room.checked_sub(name.len() + 1) else { break };
            room = rest;
            place.aliases.push(name.clone());
        }
    }
    network::rename(&settings.network(), &places, &infra.name).map_err(told)
}

/// What a container leaves behind in its pod when it has ended: its name, where it is removed; and the infra, where it was
/// the last one and the pod's policy is to end with it. Whoever comes in just then keeps it, and writes the names.
pub(crate) fn leave(settings: &Settings, pod: &str) -> Result<(), Failure> {
    let store = Store::new(settings);
    let because = |error: Error| Failure::because("pod.leave", short(pod), error.message);
    let Some(_door) = Door::close(&store, pod, BRIEF).map_err(because)? else { return Ok(()) };
    let Some(found) = store.record(pod)?.and_then(Found::of) else { return Ok(()) };
    announce_alone(settings, &store, pod).map_err(because)?;
    let is_wanted = || -> Result<bool, Failure> {
        Ok(members(&store, pod)?.iter().any(|member| store.is_cared_for(&member.id)))
    };
    if found.pod.stops && store.living_init(pod).is_some() && !is_wanted()? {
        // To its end: whoever comes in next would join what is dying.
        let asked = stop::ask(settings, &store, pod, stop::Options::default()).map_err(because)?;
        asked.map_or(Ok(()), |stopping| stopping.finish(settings)).map_err(because)?;
    }
    Ok(())
}

fn short(id: &str) -> &str {
    id.get(..12).unwrap_or(id)
}

#[cfg(test)]
mod tests;
