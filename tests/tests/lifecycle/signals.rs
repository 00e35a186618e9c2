//! Signals to the command reach the container; whoever is killed, nothing stays behind.

use std::time::Duration;

use minidocker_tests::{World, until};
use rustix::process::{Pid, Signal, kill_process};

const TRAPS: &str = "for s in HUP INT QUIT USR1 USR2 TERM WINCH ALRM; do trap \"echo got $s\" $s; done; \
                     trap 'exit 7' CONT; echo ready; while :; do sleep 0.02; done";

fn kill(pid: i32) {
    kill_process(Pid::from_raw(pid).expect("a process"), Signal::KILL).expect("our own process");
}

#[test]
fn the_commands_signals_go_to_the_program() {
    let world = World::new();
    let root = world.rootfs_busybox().overlay();
    let running = world.spawn(["run", "--rm", "--rootfs", &root, "sh", "-c", TRAPS]);
    running.until("ready");
    for (number, name) in
        [(1, "HUP"), (3, "QUIT"), (10, "USR1"), (12, "USR2"), (14, "ALRM"), (15, "TERM"), (2, "INT")]
    {
        running.signal(number);
        running.until(&format!("got {name}"));
    }
    running.signal(9);
    running.wait().exits(137);
    world.expect_nothing_left();
}

#[test]
fn sigterm_to_the_command_ends_a_program_that_listens() {
    let world = World::new();
    let root = world.rootfs_inside().overlay();
    let running = world.spawn(["run", "--rm", "--rootfs", &root, "/inside", "pause"]);
    running.until("ready");
    running.signal(15);
    running.wait().exits(0);
}

#[test]
fn three_sigterms_end_a_program_that_does_not_listen() {
    let world = World::new();
    let root = world.rootfs_busybox().overlay();
    // PID 1 without a handler: the kernel drops the signal.
    let words = ["run", "--rm", "--rootfs", &root, "sh", "-c", "echo ready; exec /inside sleep 1000"];
    let mut running = world.spawn(words);
    running.until("ready");
    for _ in 0..2 {
        running.signal(15);
        std::thread::sleep(Duration::from_millis(100));
        assert!(running.is_alive());
    }
    running.signal(15);
    let output = running.wait();
    assert_ne!(output.code, 0, "{output:?}");
    world.expect_nothing_left();
}

#[test]
fn without_sig_proxy_the_command_goes_and_the_container_with_it() {
    let world = World::new();
    let root = world.rootfs_inside().overlay();
    let running = world.spawn(["run", "--rm", "--sig-proxy=false", "--rootfs", &root, "/inside", "pause"]);
    running.until("ready");
    running.signal(15);
    let output = running.wait();
    assert_ne!(output.code, 0, "{output:?}");
    world.expect_nothing_left();
}

#[test]
fn kill_9_of_the_command_ends_its_container() {
    let world = World::new();
    let root = world.rootfs_inside().overlay();
    for options in [&["--rm"][..], &["--rm", "--init"], &["--rm", "--pid", "host"]] {
        let running = world.spawn([&["run"], options, &["--rootfs", &root, "/inside", "pause"]].concat());
        running.until("ready");
        running.signal(9);
        running.wait().exits(137);
        world.expect_nothing_left();
    }
}

#[test]
fn kill_9_of_a_foreground_monitor_is_told_and_leaves_nothing() {
    let world = World::new();
    let root = world.rootfs_inside().overlay();
    let id_file = world.directory().join("id");
    let words =
        ["run", "--rm", "--cidfile", id_file.to_str().expect("text"), "--rootfs", &root, "/inside", "pause"];
    let running = world.spawn(words);
    running.until("ready");
    until("the id is written", || id_file.exists());
    kill(world.monitor(&std::fs::read_to_string(&id_file).expect("the id")));
    running.wait().refuses(125, &["monitor"]);
    world.expect_nothing_left();
}

#[test]
fn kill_9_of_a_detached_monitor_leaves_the_container_running() {
    let world = World::new();
    let root = world.rootfs_inside().overlay();
    for (name, keep) in [("kept", true), ("removed", false)] {
        let options: &[&str] = if keep { &[] } else { &["--rm"] };
        let base = ["--name", name, "--rootfs", &root, "/inside", "sleep", "1000"];
        let id = world.detached([options, &base].concat());
        let (init, monitor) = (world.init(&id), world.monitor(&id));
        kill(monitor);
        until("the monitor has ended", || world.monitor(&id) != monitor);
        assert_eq!(
            world.minidocker(["ps", "--format", "{{.Names}} {{.State}}"]).text(),
            format!("{name} running")
        );
        assert_eq!(world.init(&id), init);
        world.minidocker(["kill", name]).ok();
        // The monitor that `ps` has given it sees its end.
        let listed = || world.minidocker(["ps", "-a", "--format", "{{.Names}} {{.State}}"]).text();
        until("it has ended", || listed() == if keep { "kept exited" } else { "" });
        if keep {
            world.minidocker(["rm", "kept"]).ok();
        }
        world.expect_nothing_left();
    }
}

#[test]
fn a_signal_to_the_monitor_means_the_container() {
    let world = World::new();
    let root = world.rootfs_inside().overlay();
    let id = world.detached(["--rm", "--rootfs", &root, "/inside", "pause"]);
    let monitor = Pid::from_raw(world.monitor(&id)).expect("a process");
    // As at a shutdown; again and again, since nobody tells when the program has come to wait for it.
    until("the container has ended", || {
        let _ = kill_process(monitor, Signal::TERM);
        world.minidocker(["ps", "-aq"]).text().is_empty()
    });
    world.expect_nothing_left();
}
