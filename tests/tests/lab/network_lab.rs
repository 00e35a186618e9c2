//! What the lab's containers have of a network goes with the run.

use std::fs;

use minidocker_tests::World;

use crate::{Results, alone, fine};

const SUITE: &str = r#"
name = "own"
title = "Own"
[[case]]
name = "answers"
title = "Answers of the host"
reader = "ping"
network = "bridge"
run = ["ping", "-q", "-i", "0.05", "-c", "5", "{host}"]
"#;

const FORWARD: &str = "/proc/sys/net/ipv4/ip_forward";

#[test]
fn the_host_has_no_network_of_the_lab_afterwards() {
    let _alone = alone();
    let world = World::new();
    let results = Results(world.directory().join("results"));
    let suite = world.directory().join("own.toml");
    fs::write(&suite, SUITE).expect("our own file");
    let shell = |line: &str| world.program(["sh", "-c", line]).run().text();
    // A host that is no router, as most are.
    shell(&format!("echo 0 > {FORWARD}"));
    let words = [suite.to_str().expect("text"), "--env", "container", "--size", "256m/1cpu", "--repeat", "1"];
    fine(results.bench(&world, &words).run());
    let all = results.measurements();
    let [(measurement, text)] = all.as_slice() else { panic!("not one measurement") };
    assert_eq!(measurement["problem"], "", "{text}");
    assert!(text.contains("5 received") && text.contains("PING 10.213.77.1"), "{text}");
    assert_eq!(shell("nft list tables"), "");
    assert_eq!(shell("ip -o link | grep -c mdlab0 || true"), "0");
    assert_eq!(shell(&format!("cat {FORWARD}")), "0");
    results.expect_nothing_else(&world);
}
