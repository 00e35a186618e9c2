//! `NetworkSettings`: where the container is reached.

use serde_json::{Map, Value, json};

use super::super::port;
use super::host_config;
use crate::request::NetworkMode;
use crate::state::Record;

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
    let place = record.network.as_ref().filter(|_| runs);
    let address = place.map_or_else(String::new, |place| place.address.to_string());
    let gateway = place.map_or_else(String::new, |place| place.gateway.to_string());
    let prefix = place.map_or(0, |place| place.prefix);
    let mac = place.map_or_else(String::new, |place| ::network::mac_text(place.mac));
    let endpoint = place.map_or("", |place| place.id.as_str());
    let sandbox = if runs { record.id.as_str() } else { "" };
    let asked = record.request.network.ip.map(|(ip, _)| json!({"IPv4Address": ip}));
    let mut networks = Map::new();
    if !matches!(record.request.network.mode, NetworkMode::Container(_)) {
        let one = json!({
            "IPAMConfig": asked,
            "Links": null,
            "Aliases": null,
            "NetworkID": place.map_or("", |place| place.bridge.as_str()),
            "EndpointID": endpoint,
            "Gateway": gateway,
            "IPAddress": address,
            "IPPrefixLen": prefix,
            "IPv6Gateway": "",
            "GlobalIPv6Address": "",
            "GlobalIPv6PrefixLen": 0,
            "MacAddress": mac,
            "DriverOpts": null,
        });
        networks.insert(host_config::network(&record.request.network.mode), one);
    }
    json!({
        "Bridge": "",
        "SandboxID": sandbox,
        "HairpinMode": false,
        "LinkLocalIPv6Address": "",
        "LinkLocalIPv6PrefixLen": 0,
        "Ports": if runs { ports(record) } else { json!({}) },
        "SandboxKey": "",
        "SecondaryIPAddresses": null,
        "SecondaryIPv6Addresses": null,
        "EndpointID": endpoint,
        "Gateway": gateway,
        "GlobalIPv6Address": "",
        "GlobalIPv6PrefixLen": 0,
        "IPAddress": address,
        "IPPrefixLen": prefix,
        "IPv6Gateway": "",
        "MacAddress": mac,
        "Networks": networks,
    })
}
