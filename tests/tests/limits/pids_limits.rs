//! Processes: a fork bomb ends at the limit.

use minidocker_tests::World;

use crate::{beside, with_group};

#[test]
fn a_fork_bomb_ends_at_the_limit() {
    let _beside = beside();
    let world = World::new();
    let root = world.rootfs_inside().overlay();
    for (options, own) in [(&[][..], 1), (&["--init"], 2)] {
        let base = ["run", "--rm", "--pids-limit", "20", "--rootfs", &root];
        let bomb = world.minidocker([&base[..], options, &["/inside", "fork-bomb", "200"]].concat()).json();
        assert_eq!((&bomb["started"], &bomb["errno"]), (&(20 - own).into(), &"EAGAIN".into()), "{options:?}");
    }
    let words = ["run", "--rm", "--rootfs", &root, "/inside", "fork-bomb", "200"];
    assert_eq!(world.minidocker(words).json()["started"], 200);
}

#[test]
fn the_limit_is_in_the_kernels_file() {
    let _beside = beside();
    let world = World::new();
    let root = world.rootfs_inside();
    for (options, value) in
        [(&["--pids-limit", "33"][..], "33"), (&["--pids-limit", "-1"], "max"), (&[], "max")]
    {
        with_group(&world, &root, options, |group| assert_eq!(group.read("pids", "pids.max"), value));
    }
}

#[test]
fn any_file_of_the_group_can_be_written() {
    let _beside = beside();
    let world = World::new();
    let root = world.rootfs_inside();
    with_group(&world, &root, &["--cgroup-conf", "pids.max=44"], |group| {
        assert_eq!(group.read("pids", "pids.max"), "44");
    });
    let run = |setting: &str| {
        let words = ["run", "--rm", "--cgroup-conf", setting, "--rootfs", &root.overlay(), "/inside", "true"];
        world.minidocker(words)
    };
    run("pids.nonsense=1").refuses(125, &["pids.nonsense"]);
    run("pids.max=many").refuses(125, &["pids.max"]);
    run("nonsense.max=1").refuses(125, &["nonsense"]);
    run("cgroup.procs=1").refuses(125, &["cgroup.procs"]);
    run("../pids.max=1").refuses(125, &["../pids.max"]);
    run("pids.max").refuses(125, &["--cgroup-conf"]);
    world.expect_nothing_left();
}

#[test]
fn a_limit_that_does_not_hold_is_told() {
    let _beside = beside();
    let world = World::new();
    let root = world.rootfs_inside().overlay();
    // Written last, the file of the user's own choice wins; what was asked for by name is not there any more.
    let options = ["--pids-limit", "20", "--cgroup-conf", "pids.max=21"];
    let words = [&["run", "--rm"], &options[..], &["--rootfs", &root, "/inside", "true"]].concat();
    let output = world.minidocker(words).ok();
    assert!(output.err().starts_with("minidocker: a limit does not hold: "), "{output:?}");
    assert!(output.err().contains("pids.max") && output.err().contains("21"), "{output:?}");
}
