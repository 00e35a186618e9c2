//! Names on networks that users made: on each its own, with aliases there, while containers come, go and are called anew.

use minidocker_tests::{World, until};
use serde_json::json;

use super::beyond::{A, AAAA, Beyond, Host, PTR, ask, ask_by_tcp};
use crate::remove;

fn network(world: &World, words: &[&str]) {
    world.minidocker([&["network"], words].concat()).ok();
}

/// A container that waits, on this network.
fn on(world: &World, root: &str, name: &str, options: &[&str]) -> String {
    world.detached([&["--name", name], options, &["--rootfs", root, "/inside", "pause"]].concat())
}

/// The addresses of a name, as the container with this id is told.
fn found(world: &World, id: &str, name: &str, kind: u16) -> Vec<String> {
    ask(world, id, name, kind).records
}

/// None: a name of nobody's.
const NOBODY: [&str; 0] = [];

#[test]
fn each_network_has_its_own_names() {
    let world = World::new();
    let root = world.rootfs_inside().overlay();
    // Who asks for no address gets one of the upper half: never one that is asked for here.
    network(&world, &["create", "--subnet", "10.61.0.0/24", "--ip-range", "10.61.0.128/25", "one"]);
    let four = ["create", "--subnet", "10.62.0.0/24", "--ip-range", "10.62.0.128/25"];
    network(&world, &[&four[..], &["--ipv6", "--subnet", "fd00:62::/64", "two"]].concat());
    let options = [
        "--network",
        "one",
        "--network-alias",
        "www",
        "--network-alias",
        "Site.Example",
        "--ip",
        "10.61.0.7",
    ];
    let web = on(&world, &root, "web", &options);
    let first = on(&world, &root, "first", &["--network", "one"]);
    let second = on(&world, &root, "second", &["--network", "two"]);
    for name in ["web", "www", "site.example", &web[..12], "web.one", "www.one"] {
        assert_eq!(found(&world, &first, name, A), ["10.61.0.7"], "{name}");
        assert_eq!(found(&world, &second, name, A), NOBODY, "{name}");
    }
    assert_eq!(ask(&world, &first, "www", AAAA).code, 0, "it is there, without such an address");
    // A network more, while it runs: with another alias there, and both families.
    network(&world, &["connect", "--alias", "api", "--ip", "10.62.0.7", "--ip6", "fd00:62::7", "two", "web"]);
    for name in ["web", "api", "web.two"] {
        assert_eq!(found(&world, &second, name, A), ["10.62.0.7"], "{name}");
        assert_eq!(found(&world, &second, name, AAAA), ["fd00:62::7"], "{name}");
    }
    assert_eq!(found(&world, &second, "www", A), NOBODY);
    assert_eq!(found(&world, &first, "api", A), NOBODY);
    assert_eq!(found(&world, &second, "7.0.62.10.in-addr.arpa", PTR), ["web.two"]);
    let reversed = format!("7.{}2.6.0.0.0.0.d.f.ip6.arpa", "0.".repeat(23));
    assert_eq!(found(&world, &second, &reversed, PTR), ["web.two"]);
    assert_eq!(ask(&world, &second, &reversed.replacen('7', "9", 1), PTR).code, 3);
    // Who shares both sees it on both.
    network(&world, &["connect", "two", "first"]);
    assert_eq!(found(&world, &first, "web", A), ["10.61.0.7", "10.62.0.7"]);
    assert_eq!(found(&world, &first, "web.two", A), ["10.62.0.7"]);
    // Another name, one network less.
    world.minidocker(["rename", "web", "shop"]).ok();
    assert_eq!(found(&world, &second, "web", A), NOBODY);
    assert_eq!(ask_by_tcp(&world, &second, "shop", AAAA).records, ["fd00:62::7"]);
    network(&world, &["disconnect", "two", "shop"]);
    assert_eq!(found(&world, &second, "shop", A), NOBODY);
    assert_eq!(found(&world, &first, "shop", A), ["10.61.0.7"]);
    // One alias for several: all are found.
    let twins = ["--network", "one", "--network-alias", "twin", "--ip"];
    on(&world, &root, "left", &[&twins[..], &["10.61.0.8"]].concat());
    on(&world, &root, "right", &[&twins[..], &["10.61.0.9"]].concat());
    assert_eq!(found(&world, &first, "twin", A), ["10.61.0.8", "10.61.0.9"]);
    remove(&world, &["left"]);
    assert_eq!(found(&world, &first, "twin", A), ["10.61.0.9"]);
    remove(&world, &["shop", "first", "second", "right"]);
    network(&world, &["rm", "one", "two"]);
}

#[test]
fn what_a_container_alone_calls_another_and_its_own_hostname() {
    let world = World::new();
    let root = world.rootfs_inside().overlay();
    network(&world, &["create", "--subnet", "10.64.0.0/24", "one"]);
    network(&world, &["create", "--subnet", "10.65.0.0/24", "two"]);
    let db = on(&world, &root, "db", &["--network", "one", "--ip", "10.64.0.7", "--hostname", "store"]);
    // Somebody is called so: what it calls others comes first.
    on(&world, &root, "base", &["--network", "one", "--ip", "10.64.0.8"]);
    let by_id = format!("{db}:numbered");
    let options = ["--network", "one", "--link", "db:Base", "--link", &by_id, "--ip", "10.64.0.9"];
    let web = on(&world, &root, "web", &options);
    assert_eq!(found(&world, &web, "base", A), ["10.64.0.7"]);
    assert_eq!(found(&world, &web, "numbered", A), ["10.64.0.7"]);
    assert_eq!(found(&world, &db, "base", A), ["10.64.0.8"]);
    // A hostname that was asked for is a name.
    for name in ["store", "store.one", "db"] {
        assert_eq!(found(&world, &web, name, A), ["10.64.0.7"], "{name}");
    }
    // On another network it is another's.
    on(&world, &root, "far", &["--network", "two", "--ip", "10.65.0.7"]);
    network(&world, &["connect", "--link", "far:near", "two", "web"]);
    assert_eq!(found(&world, &web, "near", A), ["10.65.0.7"]);
    assert_eq!(found(&world, &web, "base", A), ["10.64.0.7"]);
    let told = world.minidocker(["inspect", "web", "db"]).json();
    let of = |n: usize, network: &str| told[n]["NetworkSettings"]["Networks"][network].clone();
    assert_eq!(of(0, "one")["Links"], json!(["db:Base", by_id]));
    assert_eq!(of(0, "two")["Links"], json!(["far:near"]));
    assert_eq!(of(0, "one")["DNSNames"], json!(["web", &web[..12]]));
    assert_eq!(of(1, "one")["DNSNames"], json!(["db", &db[..12], "store"]));
    // It comes back with the next start, and goes with the network.
    world.minidocker(["restart", "-t", "0", "web"]).ok();
    until("it answers", || found(&world, &web, "base", A) == ["10.64.0.7"]);
    network(&world, &["disconnect", "two", "web"]);
    assert_eq!(found(&world, &web, "near", A), NOBODY);
    remove(&world, &["web", "db", "base", "far"]);
    network(&world, &["rm", "one", "two"]);
}

#[test]
fn an_internal_network_asks_nobody_beyond() {
    let world = World::new();
    let root = world.rootfs_inside().overlay();
    let beyond = Beyond::new(&world, "127.0.0.53", &[("far.example", "192.0.2.80")]);
    let host = Host::new(&world, "nameserver 127.0.0.53\n");
    network(&world, &["create", "--internal", "--subnet", "10.63.0.0/24", "inner"]);
    let web = on(&world, &root, "web", &["--network", "inner", "--ip", "10.63.0.7"]);
    let words = ["--name", "asks", "--network", "inner", "--rootfs", &root, "/inside", "pause"];
    let id = host.detached(&words);
    assert_eq!(found(&world, &id, "web", A), ["10.63.0.7"]);
    assert_eq!(ask(&world, &id, "far.example", A).code, 3, "at once, and for good");
    assert_eq!(ask_by_tcp(&world, &id, "far.example", A).code, 3);
    assert_eq!(beyond.heard(), []);
    // With a way out there is a world to ask.
    network(&world, &["connect", "bridge", "asks"]);
    until("it reaches out", || found(&world, &id, "far.example", A) == ["192.0.2.80"]);
    network(&world, &["disconnect", "bridge", "asks"]);
    assert_eq!(ask(&world, &id, "far.example", A).code, 3);
    assert_eq!(found(&world, &web, "asks", A).len(), 1);
    remove(&world, &["asks", "web"]);
    network(&world, &["rm", "inner"]);
}
