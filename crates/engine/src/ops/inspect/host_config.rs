//! `HostConfig`: what was asked for of the host. What minidocker does not have is there with Docker's zero.

use std::path::PathBuf;

use serde_json::{Map, Value, json};

use super::mounts::bind_text;
use crate::Settings;
use crate::request::{
    DEFAULT_NETWORK, Mount, Namespace, Network, NetworkMode, Publish, Rates, Restart, RunRequest, Seccomp,
    Security, Ulimit, UserNamespace, Wanted,
};

pub(super) fn of(settings: &Settings, request: &RunRequest) -> Value {
    let (wide, security, limits) = (&request.namespaces, &request.security, &request.resources);
    let binds: Vec<String> = request.storage.mounts.iter().filter_map(bind_text).collect();
    let (policy, times) = match request.restart {
        Restart::No => ("no", 0),
        Restart::OnFailure(times) => ("on-failure", times.unwrap_or(0)),
        Restart::Always => ("always", 0),
        Restart::UnlessStopped => ("unless-stopped", 0),
    };
    let unmasked = security.privileged || security.unmasked;
    let paths = |paths: &[&str]| if unmasked { Value::Null } else { json!(paths) };
    let mut value = base();
    let mut set = |name: &str, set: Value| drop(value.insert(name.to_owned(), set));
    set("Binds", some(binds));
    set("LogConfig", json!({"Type": request.log.driver.name(), "Config": request.log.options}));
    set("ContainerIDFile", json!(request.cidfile.clone().unwrap_or_default()));
    set("NetworkMode", json!(network(&request.network)));
    set("PortBindings", bindings(&request.network.publish));
    set("PublishAllPorts", json!(request.network.publish_all));
    set("RestartPolicy", json!({"Name": policy, "MaximumRetryCount": times}));
    set("AutoRemove", json!(request.remove));
    set("CapAdd", some(security.cap_add.clone()));
    set("CapDrop", some(security.cap_drop.clone()));
    set("CgroupnsMode", json!(if wide.cgroup_host { "host" } else { "private" }));
    set("Dns", json!(request.network.dns));
    set("DnsOptions", json!(request.network.dns_options));
    set("DnsSearch", json!(request.network.dns_search));
    let host = |(name, address): &(String, Option<std::net::IpAddr>)| match address {
        Some(address) => format!("{name}:{address}"),
        None => format!("{name}:host-gateway"),
    };
    set("ExtraHosts", some(request.network.add_hosts.iter().map(host).collect()));
    let usual = request.network.links().into_iter().find(|endpoint| endpoint.network == DEFAULT_NETWORK);
    set("Links", usual.map_or(Value::Null, |usual| super::network::links(&usual)));
    set("GroupAdd", some(request.process.groups.clone()));
    set("IpcMode", json!(if wide.no_shm { "none".to_owned() } else { namespace(&wide.ipc, "private") }));
    set("PidMode", json!(namespace(&wide.pid, "")));
    set("UTSMode", json!(namespace(&wide.uts, "")));
    set("UsernsMode", json!(if wide.user == UserNamespace::Host { "" } else { "private" }));
    set("OomScoreAdj", json!(request.process.oom_score_adj.unwrap_or(0)));
    set("Privileged", json!(security.privileged));
    set("ReadonlyRootfs", json!(request.storage.read_only));
    set("SecurityOpt", some(options(security)));
    set("ShmSize", json!(request.storage.shm_size.unwrap_or(oci::defaults::SHM_SIZE)));
    set("CpuShares", json!(limits.cpu_shares.unwrap_or(0)));
    set("Memory", json!(limits.memory.unwrap_or(0)));
    set("NanoCpus", json!(limits.milli_cpus.unwrap_or(0) * 1_000_000));
    set("CgroupParent", json!(limits.cgroup_parent.as_deref().unwrap_or(&settings.cgroup_parent)));
    set("BlkioWeight", json!(limits.blkio_weight.unwrap_or(0)));
    let weights = limits.blkio_weight_devices.iter();
    set("BlkioWeightDevice", weights.map(|(path, weight)| json!({"Path": path, "Weight": weight})).collect());
    set("BlkioDeviceReadBps", rates(&limits.read_bps));
    set("BlkioDeviceWriteBps", rates(&limits.write_bps));
    set("BlkioDeviceReadIOps", rates(&limits.read_iops));
    set("BlkioDeviceWriteIOps", rates(&limits.write_iops));
    set("CpuPeriod", json!(limits.cpu_period.unwrap_or(0)));
    set("CpuQuota", json!(limits.cpu_quota.unwrap_or(0)));
    set("CpusetCpus", json!(limits.cpuset_cpus.clone().unwrap_or_default()));
    set("CpusetMems", json!(limits.cpuset_mems.clone().unwrap_or_default()));
    let device = |device: &crate::request::Device| {
        let (host, inside) = (&device.host, &device.container);
        json!({"PathOnHost": host, "PathInContainer": inside, "CgroupPermissions": device.access})
    };
    set("Devices", security.devices.iter().map(device).collect());
    set("DeviceCgroupRules", some(security.device_rules.clone()));
    set("MemoryReservation", json!(limits.memory_reservation.unwrap_or(0)));
    let twice = limits.memory.map_or(0, |memory| i64::try_from(memory.saturating_mul(2)).unwrap_or(i64::MAX));
    set("MemorySwap", json!(limits.memory_swap.unwrap_or(twice)));
    set("MemorySwappiness", json!(limits.memory_swappiness));
    set("OomKillDisable", json!(limits.oom_kill_disable));
    set("PidsLimit", json!(limits.pids));
    set("Ulimits", ulimits(&request.process.ulimits));
    set("MaskedPaths", paths(&oci::defaults::MASKED_PATHS));
    set("ReadonlyPaths", paths(&oci::defaults::READ_ONLY_PATHS));
    let shaped = &request.network;
    let rate = |rate: Option<crate::request::Rate>| rate.map(|rate| rate.to_string());
    if !shaped.rates.is_none() {
        let Rates { into, out_of, burst } = shaped.rates;
        set("NetworkRate", json!({"In": rate(into), "Out": rate(out_of), "Burst": burst}));
    }
    if shaped.share.is_some() {
        set("NetworkShare", json!(rate(shaped.share)));
    }
    if request.process.init {
        set("Init", json!(true));
    }
    if !security.sysctls.is_empty() {
        set("Sysctls", json!(security.sysctls));
    }
    let size = request.storage.size.map(|size| ("size", size.to_string()));
    let volatile = request.storage.volatile.map(|volatile| ("volatile", volatile.to_string()));
    let image = request.storage.image.then(|| ("image", "true".to_owned()));
    let options = size.into_iter().chain(volatile).chain(image);
    let options: Map<String, Value> = options.map(|(name, value)| (name.to_owned(), value.into())).collect();
    if !options.is_empty() {
        set("StorageOpt", options.into());
    }
    let memory: Map<String, Value> = request.storage.mounts.iter().filter_map(tmpfs).collect();
    if !memory.is_empty() {
        set("Tmpfs", memory.into());
    }
    Value::Object(value)
}

/// Docker's fields that minidocker has no option for.
fn base() -> Map<String, Value> {
    let value = json!({
        "VolumeDriver": "",
        "VolumesFrom": null,
        "Cgroup": "",
        "Runtime": "minidocker",
        "ConsoleSize": [0, 0],
        "Isolation": "",
        "CpuRealtimePeriod": 0,
        "CpuRealtimeRuntime": 0,
        "DeviceRequests": null,
        "KernelMemory": 0,
        "KernelMemoryTCP": 0,
        "CpuCount": 0,
        "CpuPercent": 0,
        "IOMaximumIOps": 0,
        "IOMaximumBandwidth": 0,
    });
    value.as_object().cloned().unwrap_or_default()
}

/// What was asked to be published, by the container's port.
pub(in crate::ops) fn bindings(all: &[Publish]) -> Value {
    let mut bindings: Map<String, Value> = Map::new();
    for publish in all {
        let ports = publish.container;
        for number in ports.first..=ports.last {
            let host = match publish.host {
                Wanted::Any => String::new(),
                Wanted::From(first) => (first + (number - ports.first)).to_string(),
                Wanted::Within(first, last) => format!("{first}-{last}"),
            };
            let address = publish.address.map(|address| address.to_string()).unwrap_or_default();
            let one = json!({"HostIp": address, "HostPort": host});
            let all = bindings.entry(format!("{number}/{}", ports.protocol)).or_insert(json!([]));
            if let Value::Array(all) = all {
                all.push(one);
            }
        }
    }
    bindings.into()
}

/// Go's list without members is null.
fn some(all: Vec<String>) -> Value {
    if all.is_empty() { Value::Null } else { json!(all) }
}

/// `NetworkMode`, as the first `--network` has it.
pub(super) fn network(asked: &Network) -> String {
    match &asked.mode {
        NetworkMode::Bridge => {
            let first = asked.endpoints.as_ref().and_then(|endpoints| endpoints.first());
            first.map_or(DEFAULT_NETWORK, |endpoint| endpoint.network.as_str()).to_owned()
        }
        NetworkMode::Host => "host".to_owned(),
        NetworkMode::None => "none".to_owned(),
        NetworkMode::Container(name) => format!("container:{name}"),
    }
}

/// All networks by their names.
pub(in crate::ops) fn networks(asked: &Network) -> Vec<String> {
    match asked.mode {
        NetworkMode::Bridge => asked.links().into_iter().map(|endpoint| endpoint.network).collect(),
        _ => vec![network(asked)],
    }
}

fn namespace(of: &Namespace, own: &str) -> String {
    match of {
        Namespace::Private => own.to_owned(),
        Namespace::Host => "host".to_owned(),
        Namespace::Container(name) => format!("container:{name}"),
    }
}

fn options(security: &Security) -> Vec<String> {
    let mut all = Vec::new();
    if security.no_new_privileges {
        all.push("no-new-privileges".to_owned());
    }
    match &security.seccomp {
        Seccomp::Default => {}
        Seccomp::Unconfined => all.push("seccomp=unconfined".to_owned()),
        // Docker keeps the profile's text.
        Seccomp::Profile(_, text) => all.push(format!("seccomp={text}")),
    }
    all.extend(security.apparmor.iter().map(|profile| format!("apparmor={profile}")));
    if security.unmasked {
        all.push("systempaths=unconfined".to_owned());
    }
    all
}

fn rates(all: &[(PathBuf, u64)]) -> Value {
    all.iter().map(|(path, rate)| json!({"Path": path, "Rate": rate})).collect()
}

fn ulimits(all: &[Ulimit]) -> Value {
    // -1 in Docker.
    let number = |limit: u64| i64::try_from(limit).unwrap_or(-1);
    let one = |one: &Ulimit| json!({"Name": one.name, "Hard": number(one.hard), "Soft": number(one.soft)});
    all.iter().map(one).collect()
}

fn tmpfs(mount: &Mount) -> Option<(String, Value)> {
    match mount {
        Mount::Tmpfs { target, options } => Some((target.display().to_string(), options.join(",").into())),
        _ => None,
    }
}
