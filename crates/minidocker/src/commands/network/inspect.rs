//! `network inspect`: all that is known of networks, as JSON.

use engine::Settings;
use engine::ops::networks::{self, Listed, Network};
use serde_json::{Map, Value, json};

use crate::ages;
use crate::commands::{Command, inspect};
use crate::options::{Group, Words, flag, one};

pub(crate) const COMMAND: Command = Command {
    name: "network inspect",
    long_names: &[],
    summary: "Show all that is known of networks",
    usage: &["network inspect [OPTIONS] NETWORK [NETWORK...]"],
    about: "Show all that is known of networks, in Docker's fields: their addresses, and the containers that run there.",
    examples: &[(
        "minidocker network inspect -f '{{range .IPAM.Config}}{{.Subnet}} {{end}}' web",
        "its addresses",
    )],
    groups: &[Group {
        title: "Options",
        options: &[
            one("format", "FORMAT", "json, or a template such as '{{.Id}} {{json .Containers}}'").short('f'),
            flag("verbose", "The same: there is no more to be told").short('v'),
        ],
    }],
    words: Words::Between,
    failed: 1,
    exec: |typed, settings| {
        typed.flag("verbose")?;
        inspect::show(&typed, &COMMAND, |name| find(settings, name))
    },
};

/// The network of a name or an id, as Docker's object.
pub(in crate::commands) fn find(settings: &Settings, name: &str) -> Result<Value, engine::Error> {
    networks::inspect(settings, name).map(|listed| value(&listed))
}

/// Docker's name of a network's driver.
pub(super) fn driver(network: &Network) -> &'static str {
    match network.driver.name() {
        "none" => "null",
        name => name,
    }
}

fn value(listed: &Listed) -> Value {
    let network = &listed.network;
    let mut pools = Vec::new();
    let mut pool = |subnet: String, gateway: String, range: Option<String>, six: bool| {
        let mut one = Map::new();
        one.insert("Subnet".into(), subnet.into());
        one.extend(range.map(|range| ("IPRange".to_owned(), range.into())));
        one.insert("Gateway".into(), gateway.into());
        let others: Map<String, Value> = network
            .auxiliary
            .iter()
            .filter(|(_, address)| address.is_ipv6() == six)
            .map(|(name, address)| (name.clone(), json!(address)))
            .collect();
        if !others.is_empty() {
            one.insert("AuxiliaryAddresses".into(), others.into());
        }
        pools.push(Value::Object(one));
    };
    if let Some(four) = network.v4 {
        pool(
            four.subnet.to_string(),
            four.gateway.to_string(),
            four.range.map(|range| range.to_string()),
            false,
        );
    }
    if let Some(six) = network.v6 {
        pool(six.subnet.to_string(), six.gateway.to_string(), six.range.map(|range| range.to_string()), true);
    }
    let members: Map<String, Value> = listed
        .members
        .iter()
        .map(|(id, member)| {
            let one = json!({
                "Name": member.name,
                "EndpointID": member.endpoint,
                "MacAddress": member.mac,
                "IPv4Address": member.v4,
                "IPv6Address": member.v6,
            });
            (id.clone(), one)
        })
        .collect();
    let mut value = json!({
        "Name": network.name,
        "Id": network.id,
        "Created": ages::rfc3339(networks::created(network)),
        "Scope": "local",
        "Driver": driver(network),
        "EnableIPv4": true,
        "EnableIPv6": network.v6.is_some(),
        "IPAM": {"Driver": "default", "Options": {}, "Config": pools},
        "Internal": network.internal,
        "Attachable": network.attachable,
        "Ingress": false,
        "ConfigFrom": {"Network": ""},
        "ConfigOnly": false,
        "Containers": members,
        "Options": network.options,
        "Labels": network.labels,
    });
    if let Some(rate) = listed.rate {
        value["Rate"] = rate.to_string().into();
    }
    value
}
