//! Kills at moments that nobody chose, of many at once; and of a container that runs for long.

use std::time::Duration;

use minidocker_tests::{World, scaled, until};

use crate::killer::kill_others;
use crate::numbers::Numbers;

#[test]
fn eight_at_once_with_kills_at_random() {
    let world = World::new();
    let root = world.rootfs_inside();
    let overlay = root.overlay();
    let mut numbers = Numbers::new(0x9E37_79B9_7F4A_7C15);
    world.facts([""; 0]);
    for _ in 0..12 {
        let start = || world.spawn(["run", "--rm", "--rootfs", &overlay, "/inside", "sleep", "0.01"]);
        let all: Vec<_> = (0..8).map(|_| start()).collect();
        std::thread::sleep(Duration::from_micros(numbers.next(40_000)));
        // The commands, or the monitors, or the containers: whoever of them is there.
        match numbers.next(3) {
            0 => all.iter().for_each(|running| running.signal(9)),
            1 => kill_others(&world, &all.iter().map(|running| running.pid()).collect::<Vec<_>>()),
            _ => {
                all.iter().for_each(|running| running.signal(9));
                kill_others(&world, &[]);
            }
        }
        for running in all {
            // Whatever becomes of the others: none of them hangs, and none panics.
            let output = running.wait();
            assert!(!output.err().contains("panicked"), "{output:?}");
        }
        // Monitors of killed commands end their containers on their own; the next command does the rest.
        until("nothing is left", || {
            world.minidocker(["ps", "-a"]).ok();
            world.leaks().is_empty()
        });
    }
    world.facts([""; 0]);
}

/// Nobody is attached to it any more: it ends, as with its terminal.
#[test]
fn a_foreground_container_ends_with_its_command() {
    let world = World::new();
    let root = world.rootfs_inside();
    let running = world.spawn(["run", "--rm", "--rootfs", &root.overlay(), "/inside", "pause"]);
    running.until("ready");
    running.signal(9);
    drop(running.wait());
    until("it ended with its command", || world.leaks().is_empty());
}

#[test]
fn a_monitor_that_is_killed_takes_its_foreground_container_along() {
    let world = World::new();
    let root = world.rootfs_inside();
    let running = world.spawn(["run", "--rm", "--rootfs", &root.overlay(), "/inside", "pause"]);
    running.until("ready");
    kill_others(&world, &[running.pid()]);
    let output = running.wait();
    assert_eq!(output.code, 125, "{output:?}");
    assert!(output.err().contains("monitor"), "{output:?}");
    assert!(output.time < scaled(Duration::from_secs(5)), "{output:?}");
    world.expect_nothing_left();
}

/// A detached container outlives its monitor; it can still be listed, killed and removed.
#[test]
fn a_detached_container_outlives_its_monitor() {
    let world = World::new();
    let root = world.rootfs_inside();
    let id = world.detached(["--name", "orphan", "--rootfs", &root.overlay(), "/inside", "pause"]);
    let init = world.init(&id);
    kill_others(&world, &[]);
    let listed = world.minidocker(["ps", "-q", "--no-trunc"]).text();
    assert_eq!(listed, id);
    assert_eq!(world.init(&id), init, "the same process");
    world.minidocker(["kill", "orphan"]).ok();
    until("it is gone", || world.group(&id).processes().is_empty());
    let listed = world.minidocker(["ps", "-q", "--no-trunc"]).text();
    assert_eq!(listed, "");
    world.minidocker(["rm", "orphan"]).ok();
}
