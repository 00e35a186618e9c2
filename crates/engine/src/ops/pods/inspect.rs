//! `pod inspect`: all that is known of a pod, in Podman's fields.

use network::mac_text;
use oci::time::Rfc3339;
use serde_json::{Value, json};

use super::super::inspect as containers;
use super::{Listed, find};
use crate::request::{NetworkMode, RunRequest, Share};
use crate::state::{Store, millis};
use crate::{Error, Settings};

/// The object that `podman pod inspect` prints.
pub fn inspect(settings: &Settings, name: &str) -> Result<Value, Error> {
    let listed = find(settings, name)?;
    let (_, record) = Store::new(settings).load(&listed.infra.id)?;
    let request = &record.request;
    let members: Vec<Value> = listed
        .containers()
        .map(|one| json!({"Id": one.id, "Name": one.name, "State": one.state.word()}))
        .collect();
    let shared: Vec<&str> = listed.pod.shares.iter().map(|share| share.name()).collect();
    let parent = request.resources.cgroup_parent.as_deref().unwrap_or(&settings.cgroup_parent);
    let created = millis(listed.infra.created) * 1_000_000;
    Ok(json!({
        "Id": listed.infra.id,
        "Name": listed.infra.name,
        "Created": Rfc3339::short(created as i64).to_string(),
        "ExitPolicy": if listed.pod.stops { "stop" } else { "continue" },
        "State": listed.state().name(),
        "Hostname": request.namespaces.hostname.clone().unwrap_or_default(),
        "Labels": listed.infra.labels,
        "CreateCgroup": false,
        "CgroupParent": parent,
        "CgroupPath": "",
        "CreateInfra": true,
        "InfraContainerID": listed.infra.id,
        "InfraConfig": config(&listed, request),
        "SharedNamespaces": shared,
        "NumContainers": members.len(),
        "Containers": members,
    }))
}

fn config(listed: &Listed, request: &RunRequest) -> Value {
    let network = &request.network;
    if !listed.pod.shares(Share::Net) {
        return Value::Null;
    }
    let links = network.links();
    let first = links.first();
    let hosts = network.add_hosts.iter().map(|(name, address)| match address {
        Some(address) => format!("{name}:{address}"),
        None => format!("{name}:host-gateway"),
    });
    json!({
        "PortBindings": containers::port_bindings(&network.publish),
        "HostNetwork": network.mode == NetworkMode::Host,
        "StaticIP": first.and_then(|link| link.ip).map_or_else(String::new, |(ip, _)| ip.to_string()),
        "StaticMAC": first.and_then(|link| link.mac).map_or_else(String::new, mac_text),
        "NoManageResolvConf": false,
        "DNSServer": network.dns,
        "DNSSearch": network.dns_search,
        "DNSOption": network.dns_options,
        "NoManageHosts": false,
        "HostAdd": hosts.collect::<Vec<_>>(),
        "Networks": containers::network_names(network),
        "NetworkOptions": null,
    })
}
