//! Root directories that are none, and those that set traps.

use std::fs;
use std::os::unix::fs::symlink;

use minidocker_tests::World;

use crate::run;

#[test]
fn a_root_that_is_missing_or_a_file() {
    let world = World::new();
    let file = world.directory().join("file");
    fs::write(&file, "x").expect("our own file");
    let file = file.to_str().expect("text");
    let dangling = world.directory().join("dangling");
    symlink("/no/such/place", &dangling).expect("our own link");
    for suffix in ["", ":overlay"] {
        let run = |path: &str| {
            world.minidocker(["run", "--rm", "--rootfs", &format!("{path}{suffix}"), "/inside", "true"])
        };
        run("/no/such/directory").refuses(125, &["/no/such/directory"]);
        run(file).refuses(125, &[file, "not a directory"]);
        run(dangling.to_str().expect("text")).refuses(125, &["dangling"]);
        world.expect_nothing_left();
    }
    world.minidocker(["run", "--rm", "--rootfs", "", "true"]).refuses(125, &["--rootfs"]);
    world.minidocker(["run", "--rm", "--rootfs"]).refuses(125, &["--rootfs"]);
    world.minidocker(["run", "--rm"]).refuses(125, &["image", "--rootfs"]);
    world
        .minidocker(["run", "--rm", "--pull", "never", "no-such-image", "true"])
        .refuses(125, &["no such image: no-such-image"]);
}

#[test]
fn a_root_that_is_empty_or_has_no_shell() {
    let world = World::new();
    for suffix in ["", ":overlay"] {
        let value = format!("{}{suffix}", world.rootfs_empty().plain());
        let words = ["run", "--rm", "--rootfs", &value, "sh"];
        world.minidocker(words).refuses(125, &["is empty"]).hints("fill it");
        let value = format!("{}{suffix}", world.rootfs_inside().plain());
        world.minidocker(["run", "--rm", "--rootfs", &value, "sh"]).refuses(127, &["sh", "not found"]);
        world.minidocker(["run", "--rm", "--rootfs", &value]).refuses(127, &["sh", "not found"]);
        world.expect_nothing_left();
    }
}

#[test]
fn a_plain_root_keeps_changes_and_an_overlay_does_not() {
    let world = World::new();
    let root = world.rootfs_inside();
    world.minidocker(["run", "--rm", "--rootfs", &root.overlay(), "/inside", "write", "/new", "x"]).ok();
    assert!(!root.path().join("new").exists());
    let names = |root: &minidocker_tests::Rootfs| {
        let entries = fs::read_dir(root.path()).expect("our own directory").flatten();
        let mut names: Vec<_> = entries.map(|entry| entry.file_name()).collect();
        names.sort();
        names
    };
    assert_eq!(names(&root), ["inside"], "an overlay makes nothing in the directory");
    world.minidocker(["run", "--rm", "--rootfs", &root.plain(), "/inside", "write", "/new", "x"]).ok();
    assert_eq!(fs::read_to_string(root.path().join("new")).expect("the new file"), "x");
    // Nothing of the container's own is written through: what it mounts on is empty.
    for file in ["etc/hosts", "etc/hostname", "etc/resolv.conf"] {
        assert_eq!(fs::read(root.path().join(file)).unwrap_or_default(), b"", "{file}");
    }
}

#[test]
fn a_root_by_a_relative_or_odd_path() {
    let world = World::new();
    let root = world.rootfs_inside();
    let name = root.path().file_name().and_then(|name| name.to_str()).expect("text");
    for value in [format!("./{name}"), format!("{name}:overlay"), format!("../{}/{name}", world.name())] {
        let call = world.call(["run", "--rm", "--rootfs", &value, "/inside", "exit", "4"]);
        call.directory(world.directory()).run().exits(4);
    }
    let odd = world.directory().join("a, \"b\" \\c: d");
    fs::rename(root.path(), &odd).expect("our own directory");
    for suffix in ["", ":overlay"] {
        let value = format!("{}{suffix}", odd.display());
        world.minidocker(["run", "--rm", "--rootfs", &value, "/inside", "exit", "5"]).exits(5);
    }
    // A link to a root is followed by the user's own wish.
    let link = world.directory().join("link");
    symlink(&odd, &link).expect("our own link");
    world
        .minidocker(["run", "--rm", "--rootfs", &link.display().to_string(), "/inside", "exit", "6"])
        .exits(6);
}

#[test]
fn links_in_the_place_of_proc_sys_and_dev_are_refused() {
    let world = World::new();
    for (place, target) in [
        ("proc", "/etc"),
        ("proc", "etc"),
        ("dev", "../.."),
        ("dev", "/dev"),
        ("sys", "/"),
        ("proc", "proc"),
        ("sys", "/no/such/place"),
    ] {
        let root = world.rootfs_inside();
        root.file("etc/mark", "mine");
        root.link(place, target);
        for value in [root.plain(), root.overlay()] {
            let words = ["run", "--rm", "--rootfs", &value, "/inside", "true"];
            world.minidocker(words).refuses(125, &[&format!("/{place}"), "link"]);
            world.expect_nothing_left();
        }
        assert_eq!(fs::read_to_string(root.path().join("etc/mark")).expect("the mark"), "mine");
    }
}

#[test]
fn files_in_the_place_of_directories_are_refused() {
    let world = World::new();
    for place in ["proc", "sys", "dev"] {
        let root = world.rootfs_inside();
        root.file(place, "x");
        run(&world, &root, &[]).refuses(125, &[&format!("/{place}"), "directory"]);
        world.expect_nothing_left();
    }
    let root = world.rootfs_inside();
    root.directory("etc/hosts");
    run(&world, &root, &[]).refuses(125, &["/etc/hosts"]);
}

#[test]
fn links_to_the_hosts_files_lead_nowhere() {
    let world = World::new();
    // The target is looked up inside of the root: there it exists, or it does not.
    let outside = world.directory().join("outside");
    fs::write(&outside, "the host's").expect("our own file");
    let target = outside.to_str().expect("text");
    let root = world.rootfs_inside();
    root.directory("etc");
    root.link("etc/hosts", target);
    // The same path, its directory at least, in the image: what is missing of it is made there.
    root.directory(world.directory().strip_prefix("/").expect("absolute").to_str().expect("text"));
    let facts = world.facts_in(&root, ["-h", "administrator"]);
    let hosts = facts["hosts"].as_str().unwrap_or_default();
    assert!(hosts.contains("administrator") && !hosts.contains("the host's"), "{hosts}");
    assert_eq!(fs::read_to_string(&outside).expect("our own file"), "the host's");

    let root = world.rootfs_inside();
    root.file("somewhere", "the image's");
    root.directory("etc");
    root.link("etc/hosts", "/somewhere");
    let facts = world.facts_in(&root, ["-h", "administrator"]);
    assert!(
        facts["hosts"].as_str().is_some_and(|hosts| hosts.contains("administrator")),
        "{}",
        facts["hosts"]
    );
    assert_eq!(fs::read_to_string(root.path().join("somewhere")).expect("our own file"), "the image's");
}

#[test]
fn the_images_own_dev_does_not_count() {
    let world = World::new();
    let root = world.rootfs_inside();
    root.file("dev/null", "no device");
    root.file("dev/trap", "x");
    root.link("dev/shm", "/etc");
    root.link("dev/pts", "/etc");
    for value in [root.plain(), root.overlay()] {
        let facts = world.minidocker(["run", "--rm", "--rootfs", &value, "/inside", "facts"]).json();
        assert_eq!(facts["dev"]["null"]["type"], "char");
        assert_eq!((&facts["dev"]["null"]["major"], &facts["dev"]["null"]["minor"]), (&1.into(), &3.into()));
        assert_eq!(facts["dev"]["shm"]["type"], "directory");
        assert_eq!(facts["dev"]["trap"], serde_json::Value::Null);
    }
    assert_eq!(fs::read_to_string(root.path().join("dev/null")).expect("our own file"), "no device");
}
