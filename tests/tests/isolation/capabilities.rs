//! Capabilities, no_new_privs, the identity of the program, its mask and descriptors.

use minidocker_tests::World;
use serde_json::Value;

use crate::{host_facts, words};

/// Docker's, in the order of capabilities(7)'s numbers.
const DOCKER: [&str; 14] = [
    "CHOWN",
    "DAC_OVERRIDE",
    "FOWNER",
    "FSETID",
    "KILL",
    "SETGID",
    "SETUID",
    "SETPCAP",
    "NET_BIND_SERVICE",
    "NET_RAW",
    "SYS_CHROOT",
    "MKNOD",
    "AUDIT_WRITE",
    "SETFCAP",
];

fn set<'a>(facts: &'a Value, name: &str) -> Vec<&'a str> {
    words(&facts["capabilities"][name])
}

#[test]
fn dockers_fourteen_by_default() {
    let world = World::new();
    let facts = world.facts([""; 0]);
    for name in ["bounding", "permitted", "effective"] {
        assert_eq!(set(&facts, name), DOCKER, "{name}");
    }
    // CVE-2022-24769: an inheritable set would give rights to files that ask for them.
    for name in ["inheritable", "ambient"] {
        assert!(set(&facts, name).is_empty(), "{name}");
    }
    assert_eq!(facts["no_new_privs"], false);
    assert_eq!((facts["seccomp"].as_u64(), facts["seccomp_filters"].as_u64()), (Some(2), Some(1)));
}

#[test]
fn added_and_dropped() {
    let world = World::new();
    let facts = world.facts(["--cap-add", "NET_ADMIN", "--cap-drop", "cap_mknod"]);
    let mut expected: Vec<_> = DOCKER.into_iter().filter(|name| *name != "MKNOD").collect();
    expected.insert(9, "NET_ADMIN");
    for name in ["bounding", "permitted", "effective"] {
        assert_eq!(set(&facts, name), expected, "{name}");
    }
    let facts = world.facts(["--cap-drop", "ALL"]);
    for name in ["bounding", "permitted", "effective", "inheritable", "ambient"] {
        assert!(set(&facts, name).is_empty(), "{name}");
    }
    let facts = world.facts(["--cap-drop", "all", "--cap-add", "chown"]);
    assert_eq!(set(&facts, "bounding"), ["CHOWN"]);
    assert_eq!(set(&facts, "effective"), ["CHOWN"]);
    let root = world.rootfs_inside();
    let words = ["run", "--rm", "--cap-add", "FLY", "--rootfs", &root.overlay(), "/inside", "true"];
    world.minidocker(words).refuses(125, &["FLY"]);
}

/// All means all that minidocker has itself: a root of a machine that is a container already may lack some.
#[test]
fn all_and_privileged() {
    let world = World::new();
    let host = host_facts(&world);
    let own = set(&host, "permitted");
    let facts = world.facts(["--cap-add", "ALL", "--cap-drop", "SYS_TIME"]);
    let expected: Vec<_> = own.iter().copied().filter(|name| *name != "SYS_TIME").collect();
    assert_eq!(set(&facts, "bounding"), expected);
    assert_eq!(set(&facts, "effective"), expected);
    assert_eq!(facts["seccomp"], 2);
    let facts = world.facts(["--privileged"]);
    assert_eq!(set(&facts, "bounding"), own);
    assert_eq!(set(&facts, "effective"), own);
    assert_eq!(facts["seccomp"], 0);
    let mounts = facts["mounts"].as_array().unwrap();
    let of = |target: &str| mounts.iter().filter(|mount| mount["target"] == target).collect::<Vec<_>>();
    assert!(words(&of("/sys")[0]["options"]).contains(&"rw"));
    for masked in ["/proc/sys", "/proc/sysrq-trigger", "/proc/kcore", "/proc/acpi", "/sys/firmware"] {
        assert!(of(masked).is_empty(), "{masked} is masked with --privileged");
    }
    // Every device of the host is there, and usable; the terminals and the like stay the container's own.
    let devices = facts["dev"].as_object().unwrap();
    assert!(devices.contains_key("kmsg") || !std::path::Path::new("/dev/kmsg").exists());
    assert!(devices.len() > 20, "{:?}", devices.keys());
}

#[test]
fn another_user_has_none_effective() {
    let world = World::new();
    let root = world.rootfs_busybox();
    for user in ["1000", "user", "1000:1000"] {
        let facts = world.facts_in(&root, ["-u", user]);
        assert_eq!(facts["uid"], 1000, "-u {user}");
        assert_eq!(facts["euid"], 1000);
        assert_eq!(facts["gid"], 1000, "-u {user}");
        for name in ["permitted", "effective", "inheritable", "ambient"] {
            assert!(set(&facts, name).is_empty(), "-u {user}: {name}");
        }
        assert_eq!(set(&facts, "bounding"), DOCKER);
    }
    let facts = world.facts_in(&root, ["-u", "user:audio", "--group-add", "wheel", "--group-add", "77"]);
    assert_eq!(facts["gid"], 29);
    let mut groups: Vec<u64> = facts["groups"].as_array().unwrap().iter().filter_map(Value::as_u64).collect();
    groups.sort_unstable();
    groups.dedup();
    for group in [10, 77] {
        assert!(groups.contains(&group), "{groups:?}");
    }
    // Supplementary groups of whoever started minidocker are no business of the container.
    let facts = world.facts_in(&root, ["-u", "4242:4243"]);
    assert_eq!((facts["uid"].as_u64(), facts["gid"].as_u64()), (Some(4242), Some(4243)));
    let none: [u64; 0] = [];
    let groups: Vec<u64> = facts["groups"].as_array().unwrap().iter().filter_map(Value::as_u64).collect();
    assert!(groups == none || groups == [4243], "{groups:?}");
    for user in ["nobody-of-that-name", "user:nogroup-of-that-name"] {
        let words = ["run", "--rm", "-u", user, "--rootfs", &root.overlay(), "/inside", "true"];
        world.minidocker(words).refuses(125, &["of-that-name"]);
    }
}

#[test]
fn no_new_privileges_when_asked() {
    let world = World::new();
    let facts = world.facts(["--security-opt", "no-new-privileges"]);
    assert_eq!((&facts["no_new_privs"], facts["seccomp"].as_u64()), (&Value::Bool(true), Some(2)));
    assert_eq!(set(&facts, "effective"), DOCKER);
    let facts = world.facts(["--security-opt", "no-new-privileges", "-u", "1000"]);
    assert_eq!((&facts["no_new_privs"], facts["seccomp"].as_u64()), (&Value::Bool(true), Some(2)));
}

#[test]
fn mask_and_working_directory() {
    let world = World::new();
    let facts = world.facts([""; 0]);
    assert_eq!((&facts["umask"], &facts["cwd"]), (&Value::from("0022"), &Value::from("/")));
    // Whatever the caller's is.
    let root = world.rootfs_inside();
    let words = ["run", "--rm", "--rootfs", &root.overlay(), "/inside", "facts"];
    let call = world.call(words).through(&["sh", "-c", "umask 0; exec \"$@\"", "sh"]);
    assert_eq!(call.run().json()["umask"], "0022");
    let facts = world.facts(["--umask", "077", "-w", "/a/new/place"]);
    assert_eq!((&facts["umask"], &facts["cwd"]), (&Value::from("0077"), &Value::from("/a/new/place")));
    // What runs has its own session and is not stopped with the caller's group.
    assert_eq!((facts["session"].as_u64(), facts["pgrp"].as_u64()), (Some(1), Some(1)));
}
