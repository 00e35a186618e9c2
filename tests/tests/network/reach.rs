//! Who can reach a published port: what `port --reach` says, and what a machine that tries it finds.

use std::time::Duration;

use minidocker_tests::{World, until};

use super::ports::{FAR, HOST, Machine, serve};
use super::{ip, remove};

fn nft(world: &World, words: &[&str]) {
    world.program(["nft"].iter().chain(words)).run().ok();
}

#[test]
fn what_is_said_of_a_port_is_what_its_users_find() {
    let world = World::new();
    let root = world.rootfs_inside();
    let machine = Machine::new(&world);
    serve(&world, &root, "web", &["-p", "8080:80", "-p", "127.0.0.1:8081:80"]);
    // Docker's lines stay what they are, on a terminal too.
    let plain = "80/tcp -> 0.0.0.0:8080\n80/tcp -> 127.0.0.1:8081\n";
    assert_eq!(world.minidocker(["port", "web"]).ok().out(), plain);
    let reach = || {
        let told = world.minidocker(["port", "--reach", "web"]).ok().out();
        let words = |line: &str| line.split_once("  ").map(|(_, words)| words.to_owned()).expect("words");
        let told: Vec<String> = told.lines().map(words).collect();
        assert_eq!(told.len(), 2, "{told:?}");
        (told[0].clone(), told[1].clone())
    };
    let network = "this machine and its private networks (192.0.2.0/24)";
    assert_eq!(reach(), (network.to_owned(), "this machine alone".to_owned()));
    assert_eq!(machine.ask(8080), format!("web {FAR} far"));

    // Somebody drops what is forwarded.
    nft(&world, &["table ip own { chain fence { type filter hook forward priority 10; policy drop; }; }"]);
    let said = "this machine alone: chain fence of table ip own drops all that is forwarded";
    assert_eq!(reach(), (said.to_owned(), "this machine alone".to_owned()));
    let mut waits = machine.inside(&["connect", HOST, "8080", "x"]);
    std::thread::sleep(Duration::from_millis(500));
    assert!(waits.is_alive() && waits.out_so_far().is_empty());
    waits.signal(9);
    // And lets this port through: its rules are not read.
    nft(&world, &["add", "rule", "ip", "own", "fence", "ct", "state", "established,related", "accept"]);
    let port = ["meta", "l4proto", "tcp", "ct", "original", "proto-dst", "8080", "accept"];
    nft(&world, &[&["add", "rule", "ip", "own", "fence"], &port[..]].concat());
    assert_eq!(machine.ask(8080), format!("web {FAR} far"));
    let said = format!("{network}, as far as chain fence of table ip own accepts it, which drops the rest");
    assert_eq!(reach().0, said);
    // A chain for input has no part in it.
    nft(&world, &["table ip mine { chain inp { type filter hook input priority 10; policy drop; }; }"]);
    assert_eq!(reach().0, said);
    assert_eq!(machine.ask(8080), format!("web {FAR} far"));
    nft(&world, &["delete", "table", "ip", "mine"]);
    nft(&world, &["delete", "table", "ip", "own"]);

    // For programs.
    let format = world.minidocker(["port", "--format", "json", "web", "80/tcp"]).ok().out();
    let first: serde_json::Value =
        serde_json::from_str(format.lines().next().expect("a line")).expect("JSON");
    assert_eq!(
        (&first["Container"], &first["Host"], &first["Who"], &first["Networks"]),
        (&"80/tcp".into(), &"0.0.0.0:8080".into(), &"networks".into(), &"192.0.2.0/24".into())
    );

    // An address that everybody knows the way to.
    ip(&world, &["addr", "add", "8.8.4.4/32", "dev", "uplink"]);
    assert_eq!(reach().0, "everybody with a way to this machine");
    ip(&world, &["addr", "del", "8.8.4.4/32", "dev", "uplink"]);

    // Rules that are not there reach nobody, and that is said.
    nft(&world, &["flush", "ruleset"]);
    let (all, own) = reach();
    assert!(
        all.starts_with("nobody may be: containers run, and the table is not there") && all == own,
        "{all}"
    );
    world.minidocker(["system", "check", "--repair"]);
    assert_eq!(reach().0, network);
    until("it is reached", || machine.ask(8080) == format!("web {FAR} far"));
    remove(&world, &["web"]);
}
