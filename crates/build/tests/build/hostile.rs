//! Images, contexts and archives that mean ill: nothing is read or written outside of the root.

use crate::world::World;
use std::fs;
use std::os::unix::fs::symlink;

#[test]
fn links_of_an_image_stay_inside() {
    let world = World::new("links");
    let tree = world.path.join("hostile");
    fs::create_dir_all(tree.join("etc")).unwrap();
    fs::write(tree.join("etc/passwd"), "root:x:0:0::/:/\n").unwrap();
    let outside = world.path.join("outside");
    fs::create_dir(&outside).unwrap();
    fs::write(outside.join("secret"), "host").unwrap();
    for (name, target) in [
        ("up", "../../../../../../../.."),
        ("root", "/"),
        ("abs", outside.to_str().unwrap()),
        ("deep", "up/up/root/etc"),
        ("proc", "/proc/self/root"),
        ("loop", "loop"),
        ("f", "/etc/new"),
    ] {
        symlink(target, tree.join(name)).unwrap();
    }
    world.add_image("hostile", &[tree], "{}");
    world.file("x", "X");
    let relative = outside.strip_prefix("/").unwrap().display().to_string();
    for (destination, lands) in [
        ("/up/", "x".to_owned()),
        ("/root/", "x".to_owned()),
        ("/root/root/up/n/", "n/x".to_owned()),
        ("/deep/", "etc/x".to_owned()),
        ("/abs/", format!("{relative}/x")),
        ("/up/../../y", "y".to_owned()),
        ("/f", "etc/new".to_owned()),
    ] {
        let built = world.build(&format!("FROM hostile\nCOPY x {destination}\n"));
        assert_eq!(world.tree(&built).get(&lands).map(String::as_str), Some("644 0:0 = X"), "{destination}");
    }
    assert_eq!(fs::read_dir(&outside).unwrap().count(), 1);
    // `/proc` is the image's own, and leads to itself.
    assert!(world.try_build("FROM hostile\nCOPY x /proc/etc/\n").is_err());
    assert!(world.try_build("FROM hostile\nCOPY x /loop/\n").is_err());
    assert!(world.try_build("FROM hostile\nWORKDIR /loop/x\n").is_err());
    let built = world.build("FROM hostile\nWORKDIR /root/up/made\n");
    assert!(world.tree(&built).contains_key("made"));
    // Nor does reading lead out: of a stage, of its users, as a mount.
    for from in ["abs/secret", "up/etc/shadow", "proc/etc/shadow"] {
        assert!(world.try_build(&format!("FROM base\nCOPY --from=hostile {from} /n\n")).is_err(), "{from}");
    }
    let built = world.build("FROM base\nCOPY --from=hostile up/etc/passwd /n\n");
    assert_eq!(world.tree(&built)["n"], "644 0:0 = root:x:0:0::/:/");
    world.is_tidy();
}

#[test]
fn links_of_a_context_stay_inside() {
    let world = World::new("context-links");
    fs::write(world.path.join("secret"), "host").unwrap();
    symlink("../secret", world.context().join("up")).unwrap();
    symlink(world.path.join("secret"), world.context().join("abs")).unwrap();
    symlink("..", world.context().join("parent")).unwrap();
    fs::create_dir(world.context().join("d")).unwrap();
    symlink("../../secret", world.context().join("d/l")).unwrap();
    for source in ["up", "abs", "parent/secret", "../secret"] {
        assert!(world.try_build(&format!("FROM base\nCOPY {source} /n\n")).is_err(), "{source}");
    }
    // Within a directory a link is copied as what it is.
    let built = world.build("FROM base\nCOPY d /n\nCOPY u* /m/\n");
    assert!(world.tree(&built)["n/l"].ends_with("-> ../../secret"));
    assert!(world.tree(&built)["m/up"].ends_with("-> ../secret"));
    assert!(world.try_build("FROM base\nRUN --mount=target=/c,source=parent/secret cat /c\n").is_err());
}

#[test]
fn what_a_stage_wrote_over_is_not_followed() {
    let world = World::new("swap");
    world.file("x", "X");
    let outside = world.path.join("outside");
    fs::create_dir(&outside).unwrap();
    // The link is the build's own, in a layer of its own, over a directory and under a later COPY.
    let built = world.build(&format!(
        "FROM base\nRUN rm -r /srv && ln -s {0} /srv && ln -s /bin/../../.. /away\nCOPY x /srv/data/\nCOPY x /away/n/\n",
        outside.display()
    ));
    let tree = world.tree(&built);
    let inside = outside.strip_prefix("/").unwrap().join("data/x").display().to_string();
    assert_eq!((tree[&inside].as_str(), tree["n/x"].as_str()), ("644 0:0 = X", "644 0:0 = X"));
    assert_eq!(fs::read_dir(&outside).unwrap().count(), 0);
}

#[test]
fn an_archive_that_leads_out_is_refused() {
    let world = World::new("archive");
    let mut block = [0_u8; 1024];
    block[..12].copy_from_slice(b"../../secret");
    block[100..107].copy_from_slice(b"0000644");
    block[124..135].copy_from_slice(b"00000000000");
    block[156] = b'0';
    block[148..156].copy_from_slice(b"        ");
    let sum: u32 = block[..512].iter().map(|byte| u32::from(*byte)).sum();
    block[148..155].copy_from_slice(format!("{sum:06o}\0").as_bytes());
    fs::write(world.context().join("a.tar"), block).unwrap();
    let error = world.try_build("FROM base\nADD a.tar /n/\n").unwrap_err();
    assert!(error.message.contains("leads upwards"), "{error}");
    assert!(!world.path.join("secret").exists());
    world.is_tidy();
}
