//! Docker's networks reach what the runtime made: its hook, its namespaces.

use serde_json::Value;

use super::{Docker, IMAGE};
use crate::{has, wait_for};

#[track_caller]
fn links(facts: &Value) -> Vec<&str> {
    facts["interfaces"].as_object().expect("links").keys().map(String::as_str).collect()
}

#[test]
fn none_the_hosts_and_a_bridge() {
    let docker = Docker::bridged();
    assert_eq!(links(&docker.facts(&["--network", "none"])), ["lo"]);
    assert!(links(&docker.facts(&["--network", "host"])).contains(&"docker0"));
    let facts = docker.facts(&[]);
    assert_eq!(links(&facts), ["eth0", "lo"]);
    let gateway = facts["routes"][0]["gateway"].as_str().expect("a default route");
    docker.run(&[IMAGE, "ping", "-c", "1", "-w", "5", gateway]).ok();
    let hosts = facts["hosts"].as_str().expect("text");
    assert!(hosts.contains(facts["hostname"].as_str().expect("text")), "{hosts}");
    let facts = docker.facts(&["--dns", "192.0.2.7", "--add-host", "other:192.0.2.9"]);
    assert!(facts["resolv_conf"].as_str().expect("text").contains("192.0.2.7"), "{}", facts["resolv_conf"]);
    assert!(facts["hosts"].as_str().expect("text").contains("192.0.2.9\tother"), "{}", facts["hosts"]);
}

#[test]
fn containers_talk_and_a_port_is_published() {
    let docker = Docker::bridged();
    docker.docker(["network", "create", "mine"]).ok();
    let options = ["--network", "mine", "--name", "server", "-p", "127.0.0.1:8080:80"];
    let id = docker.detached(&[&options[..], &[IMAGE, "/inside", "listen", "80"]].concat());
    let inspected = docker.inspect(&id, ".NetworkSettings.Networks.mine.IPAddress");
    let address = inspected.as_str().expect("an address");
    let client = ["--network", "mine", IMAGE];
    let answer = docker.run(&[&client[..], &["/inside", "connect", address, "80", "words"]].concat()).text();
    assert!(answer.starts_with(&id[..12]) && answer.ends_with("words"), "{answer}");
    // By its name, from the name server in the container's network namespace.
    has(docker.run(&[&client[..], &["nslookup", "-type=a", "server"]].concat()).ok().out(), address).unwrap();
    let reporter = docker.host.path("root0/inside");
    let words = [reporter.as_str(), "connect", "127.0.0.1", "8080", "published"];
    let answer = docker.host.call(words).run().text();
    assert!(answer.ends_with("published"), "{answer}");
    // Attached and taken away while it runs.
    docker.docker(["network", "connect", "bridge", &id]).ok();
    let shown = || docker.docker(["exec", &id, "ls", "/sys/class/net"]).text();
    wait_for("a second link is there", || has(shown(), "eth1"));
    docker.docker(["network", "disconnect", "mine", &id]).ok();
    wait_for("the first link is gone", || if shown().contains("eth0") { Err(shown()) } else { Ok(()) });
    docker.remove(&[&id]);
    docker.docker(["network", "rm", "mine"]).ok();
}
