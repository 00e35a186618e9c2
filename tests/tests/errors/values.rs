//! Values of options: refused before anything is made, in exact words.

use minidocker_tests::World;

use crate::run;

/// The whole error line.
#[track_caller]
fn exactly(world: &World, options: &[&str], line: &str) {
    let root = world.rootfs_empty().overlay();
    let words = [&["run", "--rm", "--rootfs", &root], options, &["true"]].concat();
    let output = world.minidocker(words).refuses(125, &[]);
    assert_eq!(output.err().lines().next(), Some(line), "{output:?}");
    assert!(!world.run_root().exists() && !world.root().exists(), "nothing is made for a bad value");
}

#[test]
fn sizes() {
    let world = World::new();
    let negative = "a size is not negative; write it as 512k, 10m or 1.5g";
    let units = "known are b, k, m, g, t and p; write it as 512k, 10m or 1.5g";
    exactly(&world, &["--memory", "-1"], &format!("error: --memory -1: {negative}"));
    exactly(&world, &["-m", "-1"], &format!("error: --memory -1: {negative}"));
    exactly(&world, &["--memory=10x"], &format!("error: --memory 10x: unknown unit x, {units}"));
    exactly(&world, &["-m", "1e30"], &format!("error: --memory 1e30: unknown unit e30, {units}"));
    let count = "more than the kernel can count; write it as 512k, 10m or 1.5g";
    let huge = "1000000000000000000000000000000";
    exactly(&world, &["-m", huge], &format!("error: --memory {huge}: {count}"));
    exactly(&world, &["-m", ""], "error: --memory '': no size; write it as 512k, 10m or 1.5g");
    let swap = "neither a size nor -1 for no limit; write it as 20m";
    exactly(&world, &["-m", "10m", "--memory-swap", "-2"], &format!("error: --memory-swap -2: {swap}"));
    exactly(&world, &["--shm-size", "10x"], &format!("error: --shm-size 10x: unknown unit x, {units}"));
}

#[test]
fn limits_that_contradict_each_other() {
    let world = World::new();
    let root = world.rootfs_inside();
    for (options, word) in [
        (&["-m", "10m", "--memory-swap", "5m"][..], "--memory-swap"),
        (&["--memory-swap", "5m"], "--memory-swap"),
        (&["-m", "10m", "--memory-reservation", "20m"], "--memory-reservation"),
        (&["--cpus", "1", "--cpu-quota", "5000"], "--cpus"),
        (&["--network", "none", "--ip", "10.0.0.1"], "--ip"),
        (&["--privileged", "--userns", "private"], "--privileged"),
    ] {
        run(&world, &root, options).refuses(125, &[word]);
    }
    world.expect_nothing_left();
}

#[test]
fn numbers_and_words() {
    let world = World::new();
    let root = world.rootfs_inside();
    for (option, value) in [
        ("--cpus", "-1"),
        ("--cpus", "many"),
        ("--cpus", "1e30"),
        ("--cpu-shares", "-5"),
        ("--cpuset-cpus", "a"),
        ("--pids-limit", "x"),
        ("--memory-swappiness", "101"),
        ("--umask", "9"),
        ("--network", "non/sense"),
        ("--ip", "10.0.0"),
        ("--ip", "10.0.0.256"),
        ("--ip", "10.0.0.1/33"),
        ("--mac-address", "zz:00:00:00:00:00"),
        ("--hostname", "a_b/c"),
        ("--hostname", ""),
        ("--env", ""),
        ("--env", "=x"),
        ("--env-file", "/no/such/file"),
        ("--label-file", "/no/such/file"),
        ("--detach-keys", "ctrl-"),
        ("--stop-signal", "NOSUCH"),
        ("--attach", "nonsense"),
        ("--pid", "nonsense"),
        ("--ipc", "nonsense"),
        ("--uts", "nonsense"),
        ("--cgroupns", "nonsense"),
        ("--userns", "nonsense"),
        ("--time", "nonsense"),
        ("--security-opt", "nonsense"),
        ("--sysctl", "kernel.panic=1"),
        ("--sysctl", "nonsense"),
        ("--add-host", "nonsense"),
        ("--dns", "nonsense"),
        ("--explain=nonsense", ""),
    ] {
        let options = if option.contains('=') { vec![option] } else { vec![option, value] };
        let name = option.split('=').next().unwrap_or(option);
        run(&world, &root, &options).refuses(125, &[name]);
    }
    world.expect_nothing_left();
}

#[test]
fn users_groups_and_capabilities_that_are_unknown() {
    let world = World::new();
    let root = world.rootfs_busybox();
    for (option, value) in [
        ("-u", "nobody-here"),
        ("-u", "user:no-such-group"),
        ("-u", "-1"),
        ("-u", "4294967296"),
        ("--group-add", "no-such-group"),
        ("--cap-add", "NO_SUCH_CAP"),
        ("--cap-drop", "NO_SUCH_CAP"),
    ] {
        let word = value.rsplit(':').next().unwrap_or(value);
        run(&world, &root, &[option, value]).refuses(125, &[word]);
        world.expect_nothing_left();
    }
}

#[test]
fn containers_to_share_with_that_are_not_there() {
    let world = World::new();
    let root = world.rootfs_inside();
    for option in ["--pid", "--ipc", "--uts", "--network"] {
        run(&world, &root, &[option, "container:nobody"]).refuses(125, &["nobody"]);
        world.expect_nothing_left();
    }
}

#[test]
fn unknown_options_and_commands_name_the_nearest() {
    let world = World::new();
    let root = world.rootfs_inside();
    run(&world, &root, &["--memroy", "10m"]).refuses(125, &["--memroy"]).hints("--memory");
    world.minidocker(["rnu"]).refuses(1, &["rnu"]).hints("run");
    world.minidocker(["ps", "--al"]).refuses(125, &["--al"]);
    world.minidocker(["ps", "word"]).refuses(1, &["word"]);
    world.minidocker(["kill"]).refuses(1, &["a container's name or id"]);
    world.minidocker(["rm"]).refuses(1, &["a container's name or id"]);
    world.minidocker(["kill", "-s", "NOSUCH", "x"]).refuses(1, &["NOSUCH"]);
    for name in ["nobody", "", ".", "..", "../..", "a/b"] {
        world.minidocker(["rm", name]).refuses(1, &["no such container"]);
        world.minidocker(["kill", name]).refuses(1, &["no such container"]);
    }
}
