//! What the container sees of its own control group: itself at the root, to be read and not written.

use minidocker_tests::{Version, World};
use serde_json::Value;

use crate::beside;

/// A file of the container's own group, as seen inside.
fn pids(file: &str) -> String {
    Version::pick(format!("/sys/fs/cgroup/pids/{file}"), format!("/sys/fs/cgroup/{file}"))
}

#[test]
fn the_containers_own_group_is_its_root() {
    let _beside = beside();
    let world = World::new();
    let root = world.rootfs_inside();
    let facts = world.facts_in(&root, [""; 0]);
    let groups = facts["cgroups"].as_object().expect("its groups");
    assert!(!groups.is_empty() && groups.values().all(|path| path == "/"), "{groups:?}");
    let run = |words: &[&str]| {
        let base = ["run", "--rm", "--pids-limit", "31", "--rootfs", &root.overlay()];
        world.minidocker([&base[..], words].concat())
    };
    run(&["/inside", "read", &pids("pids.max")]).prints("31\n");
    // The whole truth with the host's view: a path below our parent.
    let facts = world.facts_in(&root, ["--cgroupns", "host"]);
    let groups = facts["cgroups"].as_object().expect("its groups");
    let ours = |path: &Value| path.as_str().is_some_and(|path| path.contains(&world.cgroup_parent()));
    assert!(groups.values().any(ours), "{groups:?}");
}

#[test]
fn the_group_cannot_be_written_from_inside() {
    let _beside = beside();
    let world = World::new();
    let root = world.rootfs_inside();
    let run = |words: &[&str]| {
        world.minidocker(
            [&["run", "--rm", "--rootfs", root.overlay().as_str(), "/inside", "try"], words].concat(),
        )
    };
    run(&["write", &pids("pids.max"), "max"]).prints("EROFS\n");
    run(&["write", &pids("cgroup.procs"), "0"]).prints("EROFS\n");
    run(&["mkdir", &pids("mine")]).prints("EROFS\n");
    run(&["umount", "/sys/fs/cgroup"]).prints("EPERM\n");
}

#[test]
fn a_parent_of_ones_own_choice() {
    let _beside = beside();
    let world = World::new();
    let root = world.rootfs_inside();
    let parent = format!("{}/below", world.cgroup_parent());
    let options = ["--rm", "--cgroup-parent", &parent, "--pids-limit", "32"];
    let id = world.detached([&options[..], &["--rootfs", &root.overlay(), "/inside", "pause"]].concat());
    let group = minidocker_tests::Group::at(&format!("{parent}/{id}"));
    assert_eq!(group.read("pids", "pids.max"), "32");
    assert_eq!(group.processes().len(), 1);
    world.minidocker(["rm", "-f", &id]).ok();
    // The parent is its user's.
    for directory in minidocker_tests::Group::at(&parent).directories() {
        std::fs::remove_dir(&directory).unwrap_or_else(|error| panic!("{}: {error}", directory.display()));
    }
    for bad in ["..", "a/../b", "/", ""] {
        let words = ["run", "--rm", "--cgroup-parent", bad, "--rootfs", &root.overlay(), "/inside", "true"];
        world.minidocker(words).refuses(125, &["--cgroup-parent"]);
    }
}
