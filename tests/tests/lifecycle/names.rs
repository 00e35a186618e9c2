//! Names have one owner; ids go where they are asked for.

use std::fs;

use minidocker_tests::World;

#[test]
fn a_taken_name_is_refused_with_its_owner() {
    let world = World::new();
    let root = world.rootfs_inside().overlay();
    let id = world.detached(["--name", "web", "--rootfs", &root, "/inside", "sleep", "1000"]);
    let again = ["run", "--rm", "--name", "web", "--rootfs", &root, "/inside", "true"];
    world.minidocker(again).refuses(125, &["web", "already in use", &id[..12]]).hints("rm -f web");
    world.minidocker(["ps", "-aq", "--no-trunc"]).prints(&format!("{id}\n"));
    world.minidocker(["rm", "-f", "web"]).ok();
    world.minidocker(again).ok();
}

#[test]
fn a_name_is_free_right_after_a_run_with_rm() {
    let world = World::new();
    let root = world.rootfs_inside().overlay();
    for _ in 0..10 {
        world.minidocker(["run", "--rm", "--name", "web", "--rootfs", &root, "/inside", "true"]).prints("");
    }
}

#[test]
fn a_name_stays_taken_until_rm() {
    let world = World::new();
    let root = world.rootfs_inside().overlay();
    let run = ["run", "--name", "web", "--rootfs", &root, "/inside", "true"];
    world.minidocker(run).ok();
    world.minidocker(run).refuses(125, &["web", "already in use"]);
    world.minidocker(["rm", "web"]).ok();
    world.minidocker(run).ok();
    world.minidocker(["rm", "web"]).ok();
}

#[test]
fn a_start_that_fails_gives_the_name_back() {
    let world = World::new();
    let root = world.rootfs_inside().overlay();
    for _ in 0..2 {
        // Before the monitor, and in the container.
        world.minidocker(["run", "--name", "web", "--rootfs", "/no/such", "/x"]).refuses(125, &["/no/such"]);
        world.minidocker(["run", "--name", "web", "--rootfs", &root, "/no-such"]).refuses(127, &["/no-such"]);
    }
    world.expect_nothing_left();
}

#[test]
fn odd_names_are_refused() {
    let world = World::new();
    let root = world.rootfs_inside().overlay();
    for name in ["", "a", "-x", ".x", "a/b", "../x", "a b", "ä1", "x\n"] {
        let words = ["run", "--rm", "--name", name, "--rootfs", &root, "/inside", "true"];
        world.minidocker(words).refuses(125, &["--name"]);
    }
}

#[test]
fn a_made_up_name_is_told_by_ps_and_works() {
    let world = World::new();
    let root = world.rootfs_inside().overlay();
    for _ in 0..3 {
        world.detached(["--rootfs", &root, "/inside", "sleep", "1000"]);
    }
    let names = world.minidocker(["ps", "--format", "{{.Names}}"]).text();
    let mut names: Vec<&str> = names.lines().collect();
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), 3, "{names:?}");
    let words: Vec<&str> = ["rm", "-f"].into_iter().chain(names).collect();
    world.minidocker(words).ok();
}

#[test]
fn the_id_goes_to_a_new_file() {
    let world = World::new();
    let root = world.rootfs_inside().overlay();
    let file = world.directory().join("id");
    let path = file.to_str().expect("text");
    let run = ["run", "--rm", "--cidfile", path, "--rootfs", &root, "/inside", "facts"];
    let facts = world.minidocker(run).json();
    let id = fs::read_to_string(&file).expect("the id's file");
    assert!(id.len() == 64 && id.bytes().all(|byte| byte.is_ascii_hexdigit()), "{id:?}");
    assert_eq!(facts["hostname"], id[..12]);
    world.minidocker(run).refuses(125, &["--cidfile", path, "exists"]);
    fs::remove_file(&file).expect("our own file");
    let bad = world.directory().join("no/such/directory/id");
    let words =
        ["run", "--rm", "--cidfile", bad.to_str().expect("text"), "--rootfs", &root, "/inside", "true"];
    world.minidocker(words).refuses(125, &["no/such/directory"]);
}
