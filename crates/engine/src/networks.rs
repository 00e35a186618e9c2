//! Networks of a request: the names that were typed become networks that are there, before anything is made.

use std::collections::HashSet;

use network::{Driver, LinkRequest};

use crate::request::{DEFAULT_NETWORK, Endpoint, NetworkMode, RunRequest};
use crate::{Error, Kind, Settings};

/// An error of the network room in the engine's words.
pub(crate) fn told(error: network::Error) -> Error {
    let hint = error.hint();
    let error = Error::new(Kind::Invalid, error.to_string());
    match hint {
        Some(hint) => error.hint(hint),
        None => error,
    }
}

/// Completes what was asked for: each network by its name, once; one that has no links in the place of links. A request
/// for the default network alone is complete.
pub(crate) fn complete(settings: &Settings, request: &mut RunRequest) -> Result<(), Error> {
    let Some(endpoints) = &mut request.network.endpoints else { return Ok(()) };
    let place = settings.network();
    let mut names = HashSet::new();
    let mut without = None;
    for endpoint in endpoints.iter_mut() {
        let found = network::find(&place, &endpoint.network).map_err(told)?;
        endpoint.network.clone_from(&found.name);
        if !names.insert(found.name.clone()) {
            let message = format!("network {} is specified multiple times", found.name);
            return Err(Error::new(Kind::Invalid, message).hint("name each network once"));
        }
        if !found.driver.has_links() {
            without = Some((found.driver, found.name));
        }
    }
    let Some((driver, name)) = without else { return Ok(()) };
    if endpoints.len() > 1 {
        let message = format!(
            "conflicting options: network {name} of the driver {} takes no other network beside it",
            driver.name()
        );
        return Err(Error::new(Kind::Invalid, message).hint("leave out one or the other"));
    }
    request.network.mode = if driver == Driver::Host { NetworkMode::Host } else { NetworkMode::None };
    request.network.endpoints = None;
    Ok(())
}

/// One link, with the network as it is now. The hostname that was asked for is a name of the container there, as in Docker.
pub(crate) fn link(
    settings: &Settings,
    endpoint: &Endpoint,
    hostname: Option<&str>,
) -> Result<LinkRequest, Error> {
    let found = match endpoint.network.as_str() {
        DEFAULT_NETWORK => None,
        name => Some(Box::new(network::find(&settings.network(), name).map_err(told)?)),
    };
    Ok(LinkRequest {
        network: found,
        ip: endpoint.ip.map(|(addr, prefix)| network::IpRequest { addr, prefix }),
        ip6: endpoint.ip6,
        mac: endpoint.mac,
        aliases: endpoint.aliases.iter().map(String::as_str).chain(hostname).map(str::to_owned).collect(),
        link_local: endpoint.link_local.clone(),
        priority: endpoint.priority,
    })
}
