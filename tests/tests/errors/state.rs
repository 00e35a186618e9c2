//! Places that cannot be written: no root, no space, read only, damaged.

use std::fs;

use minidocker_tests::{Output, World, need};

/// Runs `run OPTIONS /inside true` after `script` in a mount namespace of its own.
fn after(world: &World, script: &str, options: &[&str]) -> Output {
    need("mount");
    let root = world.rootfs_inside().overlay();
    let words = [&["run"], options, &["--rootfs", &root, "/inside", "true"]].concat();
    let script = format!("set -e; {script}; exec \"$@\"");
    world.call(words).through(&["unshare", "--mount", "sh", "-c", &script, "sh"]).run()
}

#[test]
fn a_user_without_rights_is_told_to_be_root() {
    let world = World::new();
    let root = world.rootfs_inside();
    let nobody = ["setpriv", "--reuid", "65534", "--regid", "65534", "--clear-groups"];
    let run = || {
        let call = world.call(["run", "--rm", "--rootfs", &root.overlay(), "/inside", "true"]);
        call.through(&nobody).run()
    };
    run().refuses(125, &["permission denied"]).hints("root");
    assert!(!world.run_root().exists());
    // And where root has been before.
    world.minidocker(["run", "--rm", "--rootfs", &root.overlay(), "/inside", "true"]).ok();
    run().refuses(125, &["permission denied"]).hints("root");
    world.call(["ps"]).through(&nobody).run().refuses(1, &["permission denied"]).hints("root");
}

#[test]
fn a_state_root_that_is_read_only() {
    let world = World::new();
    for (directory, option) in [(world.root(), "--root"), (world.run_root(), "--run-root")] {
        fs::create_dir(&directory).expect("our own directory");
        let script = format!("mount -t tmpfs -o ro none {}", directory.display());
        after(&world, &script, &["--rm"]).refuses(125, &["read-only", "containers"]).hints(option);
        world.expect_nothing_left();
        fs::remove_dir_all(&directory).expect("our own directory");
    }
}

#[test]
fn a_state_root_that_is_full() {
    let world = World::new();
    fs::create_dir(world.root()).expect("our own directory");
    let root = world.root().display().to_string();
    // Room for the directories (an inode each) and no byte more.
    let script = format!(
        "mount -t tmpfs -o size=64k,nr_inodes=100 none {root}; head -c 65536 /dev/zero > {root}/full || true"
    );
    after(&world, &script, &[]).refuses(125, &["no space left"]).hints("space");
    world.expect_nothing_left();
    // Room for no directory either.
    let script = format!("mount -t tmpfs -o nr_inodes=2 none {root}; > {root}/full");
    after(&world, &script, &["--rm"]).refuses(125, &["no space left"]).hints("space");
    world.expect_nothing_left();
}

#[test]
fn a_run_root_that_is_full() {
    let world = World::new();
    fs::create_dir(world.run_root()).expect("our own directory");
    let run_root = world.run_root().display().to_string();
    for size in ["nr_inodes=2", "nr_inodes=9", "nr_inodes=13", "size=64k"] {
        let script = format!(
            "mount -t tmpfs -o {size} none {run_root}; head -c 65536 /dev/zero > {run_root}/full || true"
        );
        after(&world, &script, &["--rm"]).refuses(125, &["no space left"]).hints("space");
        world.expect_nothing_left();
    }
}

#[test]
fn a_state_root_that_is_a_file() {
    let world = World::new();
    let root = world.rootfs_inside().overlay();
    fs::write(world.root(), "x").expect("our own file");
    let words = ["run", "--rm", "--rootfs", &root, "/inside", "true"];
    world.minidocker(words).refuses(125, &[world.root().to_str().expect("text"), "not a directory"]);
    fs::remove_file(world.root()).expect("our own file");
    world.minidocker(words).ok();
}

#[test]
fn records_of_another_time_or_damaged_are_told_and_removable() {
    let world = World::new();
    let root = world.rootfs_inside().overlay();
    world.minidocker(["run", "--name", "whole", "--rootfs", &root, "/inside", "true"]).ok();
    for (text, word) in [("{\"format\":99", "damaged"), ("", "damaged"), ("\u{0}\u{0}\u{0}", "damaged")] {
        let file = world.directory().join("id");
        let options = ["--name", "web", "--cidfile", file.to_str().expect("text")];
        let words = [&["run"], &options[..], &["--rootfs", &root, "/inside", "true"]].concat();
        world.minidocker(words).ok();
        let id = fs::read_to_string(&file).expect("the id");
        fs::remove_file(&file).expect("our own file");
        let record = world.root().join("containers").join(&id).join("container.json");
        fs::write(&record, text).expect("its record");
        // It hides no other, says what it is, and goes when that is insisted on.
        let listed = world.minidocker(["ps", "-a"]).text();
        assert!(
            listed.contains("whole") && listed.contains(&id[..12]) && listed.contains("Damaged"),
            "{listed}"
        );
        world.minidocker(["rm", "web"]).refuses(1, &[&id[..12], word]).hints("rm -f");
        world.minidocker(["rm", "-f", "web"]).ok();
        assert_eq!(world.minidocker(["ps", "-aq"]).text().lines().count(), 1);
    }
    world.minidocker(["rm", "whole"]).ok();
}

#[test]
fn a_damaged_container_does_not_keep_others_from_starting() {
    let world = World::new();
    let root = world.rootfs_inside();
    let directory = world.root().join("containers").join("ab".repeat(32));
    fs::create_dir_all(&directory).expect("our own directory");
    fs::write(directory.join("container.json"), "no record").expect("our own file");
    world.minidocker(["run", "--rm", "--rootfs", &root.overlay(), "/inside", "true"]).ok();
    fs::remove_dir_all(&directory).expect("our own directory");
}

#[test]
fn what_a_crash_left_and_cannot_go_yet_keeps_nobody_from_working() {
    let world = World::new();
    let root = world.rootfs_inside().overlay();
    let words = ["run", "--rm", "--rootfs", &root, "/inside", "true"];
    world.minidocker(words).ok();
    // A container that crashed, with something mounted in its layer.
    let id = "ab".repeat(32);
    let layer = world.root().join("containers").join(&id).join("upper");
    fs::create_dir_all(&layer).expect("our own directory");
    fs::create_dir(world.run_root().join("containers").join(&id)).expect("our own directory");
    let layer = layer.to_str().expect("text");
    world.program(["mount", "-t", "tmpfs", "tmpfs", layer]).run().ok();
    let output = world.minidocker(words).ok();
    assert!(
        output.err().contains("cannot be taken down yet") && output.err().contains("hint: "),
        "{output:?}"
    );
    world.minidocker(["ps", "-a"]).ok();
    // It went on its way out with the mount in it.
    let removed = layer.replace("/containers/", "/removed/");
    world.program(["umount", &removed]).run().ok();
    assert_eq!(world.minidocker(words).ok().err(), "");
    assert!(!world.run_root().join("containers").join(&id).exists());
}
