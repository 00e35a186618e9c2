//! PID 1: the program itself, or with `--init` a small one that reaps and forwards.

use minidocker_tests::World;

#[test]
fn without_init_the_program_is_pid_1_and_nobody_reaps() {
    let world = World::new();
    let root = world.rootfs_inside();
    let facts = world.facts_in(&root, [""; 0]);
    assert_eq!((&facts["pid"], &facts["ppid"]), (&1.into(), &0.into()));
    assert_eq!(facts["processes"].as_array().map(Vec::len), Some(1), "{}", facts["processes"]);
    let words = ["run", "--rm", "--rootfs", &root.overlay(), "/inside", "zombies", "4"];
    assert_eq!(world.minidocker(words).json()["zombies"], 4);
}

#[test]
fn init_reaps_orphans() {
    let world = World::new();
    let root = world.rootfs_inside();
    let facts = world.facts_in(&root, ["--init"]);
    assert_eq!((&facts["pid"], &facts["ppid"]), (&2.into(), &1.into()));
    let words = ["run", "--rm", "--init", "--rootfs", &root.overlay(), "/inside", "zombies", "4"];
    assert_eq!(world.minidocker(words).json()["zombies"], 0);
}

#[test]
fn init_forwards_signals_and_returns_what_comes() {
    let world = World::new();
    let root = world.rootfs_busybox().overlay();
    let run = ["run", "--rm", "--init", "--rootfs", &root];
    // With a handler: its own code.
    let running = world.spawn([&run[..], &["/inside", "pause"]].concat());
    running.until("ready");
    running.signal(15);
    running.wait().exits(0);
    let script = "trap 'exit 5' TERM; echo ready; while :; do sleep 0.05; done";
    let running = world.spawn([&run[..], &["sh", "-c", script]].concat());
    running.until("ready");
    running.signal(15);
    running.wait().exits(5);
    // Without one: 128 and the signal.
    let running = world.spawn([&run[..], &["sh", "-c", "echo ready; exec /inside sleep 1000"]].concat());
    running.until("ready");
    running.signal(15);
    running.wait().exits(143);
}

#[test]
fn the_end_of_the_program_is_the_end_of_all() {
    let world = World::new();
    let root = world.rootfs_busybox().overlay();
    for options in [&[][..], &["--init"]] {
        let words = ["sh", "-c", "sleep 1000 & (setsid sleep 1000 &) ; exit 6"];
        world.minidocker([&["run", "--rm", "--rootfs", &root], options, &words].concat()).exits(6);
        world.expect_nothing_left();
    }
}

#[test]
fn init_tells_of_a_program_that_cannot_start() {
    let world = World::new();
    let root = world.rootfs_busybox();
    root.file("plain", "x");
    let run = |word: &str| world.minidocker(["run", "--rm", "--init", "--rootfs", &root.overlay(), word]);
    run("no-such-program").refuses(127, &["no-such-program"]);
    run("/plain").refuses(126, &["/plain"]);
    run("/etc").refuses(126, &["/etc"]);
}
