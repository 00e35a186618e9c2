//! Binds, volumes and working directories that do not fit.

use std::fs;

use minidocker_tests::World;

use crate::run;

#[test]
fn a_missing_source_is_refused_by_mount_and_made_by_volume() {
    let world = World::new();
    let root = world.rootfs_inside();
    let missing = world.directory().join("missing");
    let missing = missing.to_str().expect("text");
    let mount = format!("type=bind,src={missing},dst=/data");
    run(&world, &root, &["--mount", &mount])
        .refuses(125, &["--mount", missing, "does not exist"])
        .hints("-v");
    assert!(!fs::exists(missing).expect("a look"));
    world.expect_nothing_left();
    run(&world, &root, &["-v", &format!("{missing}:/data")]).ok();
    assert!(fs::metadata(missing).expect("made").is_dir());
}

#[test]
fn a_file_and_a_directory_do_not_cover_each_other() {
    let world = World::new();
    let root = world.rootfs_inside();
    root.directory("directory");
    root.file("file", "");
    let file = root.path().join("file").display().to_string();
    let directory = root.path().join("directory").display().to_string();
    run(&world, &root, &["-v", &format!("{file}:/directory")]).refuses(125, &["/directory", "directory"]);
    run(&world, &root, &["-v", &format!("{directory}:/file")]).refuses(125, &["/file", "directory"]);
    run(&world, &root, &["--tmpfs", "/file"]).refuses(125, &["/file", "directory"]);
    world.expect_nothing_left();
    run(&world, &root, &["-v", &format!("{file}:/file"), "-v", &format!("{directory}:/directory")]).ok();
}

#[test]
fn odd_volumes_are_refused() {
    let world = World::new();
    let root = world.rootfs_inside();
    for (option, value, word) in [
        ("-v", "", "--volume"),
        ("-v", "tmp", "--volume"),
        ("-v", "/tmp/../", "/"),
        ("-v", "a/b:/x", "a/b"),
        ("-v", "ab:/x:rshared", "rshared"),
        ("-v", "/tmp:relative", "relative"),
        ("-v", "/tmp:/", "/"),
        ("-v", "/tmp:/x:odd", "odd"),
        ("-v", "/tmp:/x:ro:ro", "--volume"),
        ("--mount", "type=bind,src=/tmp", "--mount"),
        ("--mount", "type=odd,dst=/x", "odd"),
        ("--mount", "type=bind,src=/tmp,dst=/x,colour=red", "colour"),
        ("--tmpfs", "relative", "relative"),
        ("--tmpfs", "/x:size=many", "/x"),
        ("--shm-size", "0x", "--shm-size"),
    ] {
        run(&world, &root, &[option, value]).refuses(125, &[word]);
        world.expect_nothing_left();
    }
}

#[test]
fn a_target_through_a_link_stays_inside() {
    let world = World::new();
    let root = world.rootfs_inside();
    let outside = world.directory().join("outside");
    fs::create_dir(&outside).expect("our own directory");
    root.link("up", "../../../../../../../../../../../..");
    root.link("away", outside.to_str().expect("text"));
    let source = world.directory().join("source");
    fs::create_dir(&source).expect("our own directory");
    fs::write(source.join("mark"), "bound").expect("our own file");
    let source = source.display();
    // `up` is the root itself: what is mounted at /up/data is /data.
    let words = ["run", "--rm", "-v", &format!("{source}:/up/data"), "--rootfs", &root.overlay(), "/inside"];
    world.minidocker([&words[..], &["read", "/data/mark"]].concat()).prints("bound");
    // `away` is absolute: it means a place below the root, which is made there.
    run(&world, &root, &["-v", &format!("{source}:/away")]).ok();
    assert_eq!(fs::read_dir(&outside).expect("our own directory").count(), 0);
}
