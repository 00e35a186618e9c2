//! Many at once, and many in a row.

use std::time::Duration;

use minidocker_tests::{World, emulated};

#[test]
fn a_hundred_starts_in_parallel_all_succeed() {
    let world = World::new();
    let root = world.rootfs_inside().overlay();
    let count = if emulated() { 10 } else { 100 };
    let start = |number: i32| {
        let code = (number % 100).to_string();
        let call = world.call(["run", "--rm", "--rootfs", &root, "/inside", "exit", &code]);
        (number % 100, call.patience(Duration::from_secs(60)).spawn())
    };
    let all: Vec<_> = (0..count).map(start).collect();
    for (code, running) in all {
        let output = running.wait().exits(code);
        assert_eq!(output.err(), "", "{output:?}");
    }
    world.expect_nothing_left();
}

#[test]
fn fifty_run_at_the_same_time() {
    let world = World::new();
    let root = world.rootfs_inside().overlay();
    let count = if emulated() { 5 } else { 50 };
    let start = |_| world.spawn(["run", "--rm", "--rootfs", &root, "/inside", "pause"]);
    let all: Vec<_> = (0..count).map(start).collect();
    all.iter().for_each(|running| drop(running.until("ready")));
    let addresses = world.minidocker(["ps", "--format", "{{.Addresses}}"]).text();
    let mut addresses: Vec<&str> = addresses.lines().collect();
    addresses.sort_unstable();
    addresses.dedup();
    assert_eq!(addresses.len(), count, "an address each: {addresses:?}");
    for running in all {
        running.signal(15);
        running.wait().exits(0);
    }
    world.expect_nothing_left();
}

#[test]
fn many_in_a_row_leave_nothing() {
    let world = World::new();
    let root = world.rootfs_inside().overlay();
    let count = match () {
        () if std::env::var_os("MINIDOCKER_LONG").is_some() => 1000,
        () if emulated() => 5,
        () => 60,
    };
    for number in 0..count {
        let name = format!("row-{number}");
        world.minidocker(["run", "--rm", "--name", &name, "--rootfs", &root, "/inside", "true"]).prints("");
    }
    world.expect_nothing_left();
}

#[test]
fn removal_and_the_end_do_not_collide() {
    let world = World::new();
    let root = world.rootfs_inside().overlay();
    let count = if emulated() { 5 } else { 40 };
    for _ in 0..count {
        // Its monitor and `rm` take it down at the same time.
        let id = world.detached(["--rm", "--rootfs", &root, "/inside", "pause"]);
        let output = world.minidocker(["rm", "-f", &id]);
        assert_eq!((output.code, output.err().as_str()), (0, ""), "{output:?}");
    }
    world.expect_nothing_left();
}

#[test]
fn looking_on_does_not_disturb_and_is_not_disturbed() {
    let world = World::new();
    let root = world.rootfs_inside().overlay();
    let count = if emulated() { 3 } else { 50 };
    std::thread::scope(|scope| {
        let busy: Vec<_> = (0..3)
            .map(|_| {
                scope.spawn(|| {
                    for _ in 0..count {
                        world.minidocker(["run", "--rm", "--rootfs", &root, "/inside", "true"]).prints("");
                    }
                })
            })
            .collect();
        // Each look sweeps what a crash has left: nothing of those that start and end meanwhile.
        while busy.iter().any(|thread| !thread.is_finished()) {
            let output = world.minidocker(["ps", "-a"]);
            assert_eq!((output.code, output.err().as_str()), (0, ""), "{output:?}");
        }
    });
    world.expect_nothing_left();
}
