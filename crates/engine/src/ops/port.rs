//! `port`: which ports of the host lead into a container.

pub use network::{Chain, Reach, Who};

use crate::request::{NetworkMode, Ports, Published};
use crate::state::{Record, Store};
use crate::sweep::sweep;
use crate::{Error, Settings};

/// The published ports of a container; none of one that does not run.
pub fn ports(settings: &Settings, name: &str) -> Result<Vec<Published>, Error> {
    let store = Store::new(settings);
    sweep(settings, &store)?;
    let (id, record) = store.load(name)?;
    // Of one in a pod: the ports are the pod's.
    let (id, record) = match (&record.request.network.mode, record.request.pod.membership()) {
        (NetworkMode::Container(owner), Some(pod)) if owner == pod => store.load(pod)?,
        _ => (id, record),
    };
    Ok(if store.living_init(&id).is_some() { published(&record) } else { Vec::new() })
}

/// The same, each with who can reach it as far as the kernel tells.
pub fn reach(settings: &Settings, name: &str) -> Result<Vec<(Published, Reach)>, Error> {
    let published = ports(settings, name)?;
    let reach = network::reach(&settings.network(), &published)?;
    Ok(published.into_iter().zip(reach).collect())
}

/// What leads into a container while it runs.
pub(crate) fn published(record: &Record) -> Vec<Published> {
    record.networks.iter().flat_map(|place| place.ports.iter().copied()).collect()
}

/// All ports of a container that somebody is meant to know of: exposed or asked to be published, in order.
pub(crate) fn exposed(record: &Record) -> Vec<Ports> {
    let network = &record.request.network;
    let mut all: Vec<Ports> = network.expose.clone();
    all.extend(network.publish.iter().map(|publish| publish.container));
    all.sort();
    all.dedup();
    all
}
