//! What Docker's programs ask for besides, by Docker's names: constant here, or of no interest to people.

use std::fs;
use std::time::SystemTime;

use engine::ops::info::{Feature, Limits};
use engine::ops::list::{self, State};
use engine::ops::{images, info};
use engine::{Error, Settings};
use serde_json::{Map, Value, json};

use super::system;
use crate::ages;

pub(super) fn facts(settings: &Settings, features: &[Feature]) -> Result<Map<String, Value>, Error> {
    let uname = rustix::system::uname();
    let paused = list::list(settings)?.iter().filter(|one| matches!(one.state, State::Paused(..))).count();
    let Limits { version, memory, swap, oom_kill_disable, cpu, cpuset, pids } = info::limits()?;
    let seccomp = features.iter().any(|feature| feature.name == "seccomp" && feature.state.is_ok());
    let security =
        if seccomp { vec!["name=seccomp,profile=default", "name=cgroupns"] } else { vec!["name=cgroupns"] };
    let state = |feature: &Feature| feature.state.clone().unwrap_or_else(|reason| format!("no: {reason}"));
    let features: Map<String, Value> =
        features.iter().map(|feature| (feature.name.clone(), state(feature).into())).collect();
    let facts = json!({
        "BridgeNfIp6tables": is_on("net/bridge/bridge-nf-call-ip6tables"),
        "BridgeNfIptables": is_on("net/bridge/bridge-nf-call-iptables"),
        "CPUSet": cpuset,
        "CPUShares": cpu,
        "CgroupDriver": "cgroupfs",
        "CgroupVersion": version.to_string(),
        "ContainersPaused": paused,
        "CpuCfsPeriod": cpu,
        "CpuCfsQuota": cpu,
        "Debug": false,
        "DefaultRuntime": "minidocker",
        "Driver": "overlay2",
        "ExperimentalBuild": false,
        "Features": features,
        "HttpProxy": proxy("http_proxy"),
        "HttpsProxy": proxy("https_proxy"),
        "IPv4Forwarding": is_on("net/ipv4/ip_forward"),
        "Images": images::list(settings)?.len(),
        "IndexServerAddress": "https://index.docker.io/v1/",
        "Labels": [],
        // Containers need no daemon to live on.
        "LiveRestoreEnabled": true,
        "LoggingDriver": "local",
        "MemoryLimit": memory,
        "Name": uname.nodename().to_string_lossy(),
        "NoProxy": proxy("no_proxy"),
        "OSVersion": system("VERSION_ID").unwrap_or_default(),
        "OomKillDisable": oom_kill_disable,
        "PidsLimit": pids,
        "Plugins": {
            "Authorization": null,
            "Log": ["journald", "json-file", "local", "none"],
            "Network": ["bridge", "host", "ipvlan", "macvlan", "null"],
            "Volume": ["local"],
        },
        "Runtimes": {"minidocker": {"path": "minidocker"}},
        "SecurityOptions": security,
        "SwapLimit": swap,
        "Swarm": {"ControlAvailable": false, "LocalNodeState": "inactive", "NodeID": ""},
        "SystemTime": ages::rfc3339(SystemTime::now()),
        "Warnings": null,
    });
    let Value::Object(facts) = facts else { return Ok(Map::new()) };
    Ok(facts)
}

/// Whether a switch below /proc/sys is set.
fn is_on(name: &str) -> bool {
    fs::read_to_string(format!("/proc/sys/{name}")).is_ok_and(|text| text.trim() != "0")
}

/// What the environment says of a proxy, without a password.
fn proxy(name: &str) -> String {
    let value = std::env::var(name).or_else(|_| std::env::var(name.to_uppercase())).unwrap_or_default();
    match (value.find("://"), value.rfind('@')) {
        (Some(scheme), Some(at)) if at > scheme => {
            format!("{}://xxxxx:xxxxx{}", &value[..scheme], &value[at..])
        }
        _ => value,
    }
}
