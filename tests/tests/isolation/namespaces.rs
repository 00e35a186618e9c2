//! Each of the eight namespaces: private or shared as asked, one by one.

use std::fs;

use minidocker_tests::World;
use serde_json::Value;

use crate::{host_facts, shell};

/// The namespaces that a container has for itself unless it is asked to share them.
const PRIVATE: [&str; 6] = ["cgroup", "ipc", "mnt", "net", "pid", "uts"];

/// Those that it shares with the host unless it is asked for its own, as with Docker.
const SHARED: [&str; 2] = ["time", "user"];

/// The namespaces that are the host's in these facts.
fn hosts(facts: &Value, host: &Value) -> Vec<&'static str> {
    let all = PRIVATE.into_iter().chain(SHARED);
    let same = |name: &&str| {
        let (inside, outside) = (&facts["namespaces"][*name], &host["namespaces"][*name]);
        assert!(inside.is_u64() && outside.is_u64(), "no {name} namespace: {inside} and {outside}");
        inside == outside
    };
    all.filter(same).collect()
}

#[test]
fn private_by_default() {
    let world = World::new();
    assert_eq!(hosts(&world.facts([""; 0]), &host_facts(&world)), SHARED);
}

#[test]
fn each_is_shared_with_the_host_when_asked_and_no_other_with_it() {
    let world = World::new();
    let host = host_facts(&world);
    let options = [
        ("--pid", "pid"),
        ("--ipc", "ipc"),
        ("--uts", "uts"),
        ("--network", "net"),
        ("--cgroupns", "cgroup"),
    ];
    for (option, name) in options {
        let facts = world.facts([option, "host"]);
        assert_eq!(hosts(&facts, &host), [name, "time", "user"], "{option} host");
    }
}

#[test]
fn own_user_and_time_namespaces_when_asked() {
    let world = World::new();
    let host = host_facts(&world);
    assert_eq!(hosts(&world.facts(["--userns", "private"]), &host), ["time"]);
    assert_eq!(hosts(&world.facts(["--time", "private"]), &host), ["user"]);
    assert!(hosts(&world.facts(["--time", "private", "--userns", "private"]), &host).is_empty());
}

#[test]
fn shared_with_another_container() {
    let world = World::new();
    let root = world.rootfs_inside();
    let id = world.detached(["--name", "first", "--rootfs", &root.overlay(), "/inside", "pause"]);
    let init = world.init(&id);
    let inode = |name: &str| {
        let link =
            fs::read_link(format!("/proc/{init}/ns/{name}")).expect("a namespace of its first process");
        let text = link.to_string_lossy().into_owned();
        text.trim_end_matches(']').rsplit('[').next().and_then(|n| n.parse::<u64>().ok()).expect("an inode")
    };
    for (option, name) in [("--pid", "pid"), ("--ipc", "ipc"), ("--network", "net")] {
        let facts = world.facts([option, "container:first"]);
        for other in PRIVATE {
            let same = facts["namespaces"][other] == inode(other);
            assert_eq!(same, other == name, "{option} container:first: the {other} namespace");
        }
    }
    let facts = world.facts(["--pid", &format!("container:{}", &id[..12])]);
    let all = facts["processes"].as_array().expect("processes");
    assert_eq!(all.len(), 2, "its own process and that of the other: {all:?}");
    assert_ne!(facts["pid"], 1, "PID 1 is the other's");
    // A container that joined a pid namespace ends alone: the one that owns it lives on.
    assert_eq!(world.init(&id), init);
    world.minidocker(["rm", "-f", "first"]).ok();
}

/// POSIX shared memory is a file system: it is shared with the System V objects, in both directions, and with nobody
/// who did not ask.
#[test]
fn shared_memory_goes_with_the_ipc_namespace() {
    let world = World::new();
    let root = world.rootfs_busybox();
    let overlay = root.overlay();
    let id = world.detached([
        "--name",
        "first",
        "--rootfs",
        &overlay,
        "sh",
        "-c",
        "echo one >/dev/shm/x; sleep 1000",
    ]);
    let first = format!("/proc/{}/root/dev/shm", world.init(&id));
    minidocker_tests::until("the first has written", || {
        fs::read(format!("{first}/x")).is_ok_and(|text| text == b"one\n")
    });
    let text = shell(&world, &root, &["--ipc", "container:first"], "cat /dev/shm/x; echo two >/dev/shm/y");
    assert_eq!(text, "one");
    assert_eq!(fs::read_to_string(format!("{first}/y")).expect("what the second wrote"), "two\n");
    assert_eq!(shell(&world, &root, &[], "ls /dev/shm"), "");
    world.minidocker(["rm", "-f", "first"]).ok();
}

#[test]
fn a_namespace_of_no_container_is_refused() {
    let world = World::new();
    let root = world.rootfs_inside();
    for option in ["--pid", "--ipc", "--network"] {
        let words =
            ["run", "--rm", option, "container:nobody", "--rootfs", &root.overlay(), "/inside", "true"];
        world.minidocker(words).refuses(125, &["nobody"]);
        world.expect_nothing_left();
    }
}

#[test]
fn the_program_is_pid_one_and_ps_lists_two() {
    let world = World::new();
    let root = world.rootfs_busybox();
    let text = shell(&world, &root, &[], "echo $$; ps; true");
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines[0], "1");
    assert_eq!(lines.len(), 4, "the number, a heading and two processes: {text}");
    let text = world.minidocker(["run", "--rm", "host", "bash", "-c", "echo $$; ps -ef; true"]).text();
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines[0], "1");
    assert_eq!(lines.len(), 4, "the number, a heading and two processes: {text}");
    assert!(lines[2].contains("bash -c") && lines[3].contains("ps -ef"), "{text}");
}

#[test]
fn clocks_of_its_own() {
    let world = World::new();
    let host = host_facts(&world);
    let facts = world.facts(["--time", "private:boottime=1000,monotonic=5000"]);
    for (clock, offset) in [("boottime", 1000.0), ("monotonic", 5000.0)] {
        let ahead = facts[clock].as_f64().unwrap() - host[clock].as_f64().unwrap();
        // The rest is the time that the container took to start.
        assert!((offset..offset + 30.0).contains(&ahead), "{clock} is {ahead} s ahead");
    }
    let offsets = facts["time_offsets"].as_str().unwrap();
    let offsets: Vec<Vec<&str>> =
        offsets.lines().map(|line| line.split_ascii_whitespace().collect()).collect();
    assert_eq!(offsets, [["monotonic", "5000", "0"], ["boottime", "1000", "0"]]);
    let root = world.rootfs_busybox();
    let uptime = shell(&world, &root, &["--time", "private:boottime=100000000"], "cat /proc/uptime");
    assert!(uptime.parse::<f64>().is_err() && uptime.starts_with("100"), "/proc/uptime: {uptime}");
}

#[test]
fn the_host_name_is_the_containers_own() {
    let world = World::new();
    let root = world.rootfs_busybox();
    let before = rustix::system::uname().nodename().to_owned();
    let options = ["--hostname", "administrator", "--domainname", "example", "--cap-add", "SYS_ADMIN"];
    let text =
        shell(&world, &root, &options, "hostname; cat /proc/sys/kernel/domainname; hostname other; hostname");
    assert_eq!(text, "administrator\nexample\nother");
    assert_eq!(rustix::system::uname().nodename(), before.as_c_str(), "the host's name");
    let facts = world.facts(["--uts", "host"]);
    assert_eq!(facts["hostname"].as_str().unwrap().as_bytes(), before.to_bytes());
    let facts = world.facts([""; 0]);
    let name = facts["hostname"].as_str().unwrap();
    assert!(name.len() == 12 && name.bytes().all(|b| b.is_ascii_hexdigit()), "{name} is no short id");
}
