//! `NetworkSettings`: where the container is reached.

use ::network::{Attachment, mac_text};
use serde_json::{Map, Value, json};

use super::super::port;
use super::host_config;
use crate::request::{DEFAULT_NETWORK, Endpoint, NetworkMode};
use crate::state::Record;

/// How many digits of an id are a name.
const SHORT: usize = 12;

/// Every port that is exposed, and where it is published: null for nowhere.
fn ports(record: &Record) -> Value {
    let mut all = Map::new();
    for ports in port::exposed(record) {
        for number in ports.first..=ports.last {
            all.insert(format!("{number}/{}", ports.protocol), Value::Null);
        }
    }
    for published in port::published(record) {
        for (host, container) in published.each() {
            let place = json!({"HostIp": published.address, "HostPort": host.to_string()});
            let name = format!("{container}/{}", published.container.protocol);
            match all.entry(name).or_insert(Value::Null) {
                Value::Array(places) => places.push(place),
                none => *none = json!([place]),
            }
        }
    }
    all.into()
}

/// One that does not run has no addresses.
pub(super) fn of(record: &Record, runs: bool) -> Value {
    let places: &[Attachment] = if runs { &record.networks } else { &[] };
    let asked = &record.request.network;
    let mut networks = Map::new();
    for endpoint in asked.links() {
        let place = places.iter().find(|place| place.network_name() == endpoint.network);
        networks.insert(endpoint.network.clone(), one(record, &endpoint, place));
    }
    if matches!(asked.mode, NetworkMode::Host | NetworkMode::None) {
        let mut none = one(record, &Endpoint::default(), None);
        // Nobody asks for anybody there.
        none["DNSNames"] = Value::Null;
        networks.insert(host_config::network(asked), none);
    }
    // As Docker has it these fields are the default network's.
    let place = places.iter().find(|place| place.network_name() == DEFAULT_NETWORK);
    let six = place.and_then(|place| place.v6);
    json!({
        "Bridge": "",
        "SandboxID": if runs { record.id.as_str() } else { "" },
        "HairpinMode": false,
        "LinkLocalIPv6Address": "",
        "LinkLocalIPv6PrefixLen": 0,
        "Ports": if runs { ports(record) } else { json!({}) },
        "SandboxKey": "",
        "SecondaryIPAddresses": null,
        "SecondaryIPv6Addresses": null,
        "EndpointID": place.map_or_else(String::new, |place| endpoint_id(&record.id, place)),
        "Gateway": place.map_or_else(String::new, |place| place.gateway.to_string()),
        "GlobalIPv6Address": six.map_or_else(String::new, |six| six.address.to_string()),
        "GlobalIPv6PrefixLen": six.map_or(0, |six| six.subnet.prefix()),
        "IPAddress": place.map_or_else(String::new, |place| place.address.to_string()),
        "IPPrefixLen": place.map_or(0, |place| place.prefix),
        "IPv6Gateway": six.map_or_else(String::new, |six| six.gateway.to_string()),
        "MacAddress": place.map_or_else(String::new, |place| mac_text(place.mac)),
        "Networks": networks,
    })
}

/// The container's id on the default network; on another the same with digits of the network's.
pub(in crate::ops) fn endpoint_id(id: &str, place: &Attachment) -> String {
    match &place.network_id {
        Some(network) => format!("{}{}", network.get(..16).unwrap_or(network), id.get(..48).unwrap_or(id)),
        None => id.to_owned(),
    }
}

/// What a container is called by those who ask for names, in Docker's order, each once.
fn dns_names(record: &Record, endpoint: &Endpoint) -> Vec<String> {
    let short = record.id.get(..SHORT).unwrap_or(&record.id);
    let hostname = record.request.namespaces.hostname.as_deref();
    let all = [record.name.as_str()].into_iter().chain(endpoint.aliases.iter().map(String::as_str));
    let mut names: Vec<String> = Vec::new();
    for name in all.chain([short]).chain(hostname) {
        if !names.iter().any(|known| known == name) {
            names.push(name.to_owned());
        }
    }
    names
}

/// What a container alone calls others of a network.
pub(super) fn links(endpoint: &Endpoint) -> Value {
    let link = |(target, alias): &(String, String)| format!("{target}:{alias}");
    if endpoint.links.is_empty() { Value::Null } else { endpoint.links.iter().map(link).collect() }
}

/// One network of a container.
fn one(record: &Record, endpoint: &Endpoint, place: Option<&Attachment>) -> Value {
    let id = record.id.as_str();
    let text = |value: Option<String>| value.unwrap_or_default();
    let mut asked = Map::new();
    asked.extend(endpoint.ip.map(|(ip, _)| ("IPv4Address".to_owned(), json!(ip))));
    asked.extend(endpoint.ip6.map(|ip| ("IPv6Address".to_owned(), json!(ip))));
    if !endpoint.link_local.is_empty() {
        asked.insert("LinkLocalIPs".to_owned(), json!(endpoint.link_local));
    }
    let aliases = if endpoint.aliases.is_empty() { Value::Null } else { json!(endpoint.aliases) };
    let options =
        if endpoint.driver_options.is_empty() { Value::Null } else { json!(endpoint.driver_options) };
    let six = place.and_then(|place| place.v6);
    let way_out = place.filter(|place| !place.is_internal());
    json!({
        "IPAMConfig": if asked.is_empty() { Value::Null } else { asked.into() },
        "Links": links(endpoint),
        "Aliases": aliases,
        "DriverOpts": options,
        "GwPriority": endpoint.priority,
        "NetworkID": text(place.map(|place| place.network_id.clone().unwrap_or_else(|| place.bridge.clone()))),
        "EndpointID": text(place.map(|place| endpoint_id(id, place))),
        "Gateway": text(way_out.map(|place| place.gateway.to_string())),
        "IPAddress": text(place.map(|place| place.address.to_string())),
        "IPPrefixLen": place.map_or(0, |place| place.prefix),
        "IPv6Gateway": text(way_out.and(six).map(|six| six.gateway.to_string())),
        "GlobalIPv6Address": text(six.map(|six| six.address.to_string())),
        "GlobalIPv6PrefixLen": six.map_or(0, |six| six.subnet.prefix()),
        "MacAddress": text(place.map(|place| mac_text(place.mac))),
        "DNSNames": dns_names(record, endpoint),
    })
}
