//! Memory: nobody gets more, and the user is told.

use std::time::{Duration, Instant};

use minidocker_tests::{Group, Version, World, emulated};

use crate::{beside, with_group};

const TEN: u64 = 10 << 20;

fn peak(group: &Group) -> u64 {
    group.number("memory", Version::pick("memory.max_usage_in_bytes", "memory.peak"))
}

fn usage(group: &Group) -> u64 {
    group.number("memory", Version::pick("memory.usage_in_bytes", "memory.current"))
}

/// Asserts the words for a container that ran out of its 10 MiB.
#[track_caller]
fn told(words: &str) {
    let lines: Vec<&str> = words.lines().collect();
    let [line, hint] = lines.as_slice() else { panic!("not a line and a hint: {words}") };
    assert!(line.starts_with("minidocker: out of memory: limit 10 MiB, peak "), "{words}");
    assert!(line.contains(", killed inside (pid "), "{words}");
    assert_eq!(*hint, "hint: if it needs more, raise the limit: --memory 20m");
    let peak = line.split_once("peak ").and_then(|(_, rest)| rest.split_once(" MiB")).map(|(peak, _)| peak);
    let peak: f64 = peak.and_then(|peak| peak.parse().ok()).unwrap_or_else(|| panic!("no peak: {words}"));
    assert!((9.0..=10.0).contains(&peak), "{words}");
}

#[test]
fn a_hog_is_killed_and_the_user_is_told() {
    let _beside = beside();
    let world = World::new();
    let root = world.rootfs_inside().overlay();
    for options in [&[][..], &["--init"]] {
        let base = ["run", "--rm", "-m", "10m", "--memory-swap", "10m", "--rootfs", &root];
        let output = world.minidocker([&base[..], options, &["/inside", "hog", "100m"]].concat()).exits(137);
        assert!(output.out().contains("touched"), "{output:?}");
        assert!(!output.out().contains(&format!("{} touched", TEN)), "{output:?}");
        told(&output.err());
    }
}

#[test]
fn a_hog_never_gets_more_than_the_limit() {
    let _beside = beside();
    let world = World::new();
    let root = world.rootfs_busybox().overlay();
    let file = world.directory().join("id");
    let options = ["--rm", "-m", "10m", "--memory-swap", "10m", "--cidfile", file.to_str().expect("text")];
    let script = "for i in 1 2 3; do /inside hog 100m --step 100k --exit > /dev/null; echo code $?; done; \
                  exec /inside pause";
    let words = [&["run"], &options[..], &["--rootfs", &root, "sh", "-c", script]].concat();
    let mut running = world.spawn(words);
    let patience = Instant::now() + Duration::from_secs(if emulated() { 400 } else { 20 });
    let mut samples = 0;
    while !running.out_so_far().contains("ready") && running.is_alive() && Instant::now() < patience {
        let id = std::fs::read_to_string(&file).unwrap_or_default();
        if id.len() == 64 {
            let used = usage(&world.group(&id));
            assert!(used <= TEN, "{used} bytes are in use");
            samples += 1;
        }
        std::thread::sleep(Duration::from_millis(1));
    }
    running.until("ready");
    let group = world.group(&std::fs::read_to_string(&file).expect("the id"));
    // The kernel's own mark of the highest: it has seen every moment.
    assert!(samples > 0 && peak(&group) <= TEN, "peak {} after {samples} samples", peak(&group));
    assert!(peak(&group) > TEN * 9 / 10, "the hog came to the limit: {}", peak(&group));
    running.signal(15);
    let output = running.wait().exits(0);
    assert_eq!(output.out(), "code 137\ncode 137\ncode 137\nready\n");
    assert!(output.err().contains("minidocker: out of memory: limit 10 MiB"), "{output:?}");
}

#[test]
fn what_fits_is_left_alone() {
    let _beside = beside();
    let world = World::new();
    let root = world.rootfs_busybox().overlay();
    let run = ["run", "--rm", "-m", "12m", "--memory-swap", "12m", "--rootfs", &root];
    let output = world.minidocker([&run[..], &["/inside", "hog", "4m", "--exit"]].concat()).ok();
    assert_eq!(output.err(), "");
    // Files in the page cache count and are given back.
    let copy = ["dd", "if=/dev/zero", "of=/file", "bs=1M", "count=60", "status=none"];
    world.minidocker([&run[..], &copy].concat()).prints("");
}

#[test]
fn sizes_are_in_the_kernels_files() {
    let _beside = beside();
    let world = World::new();
    let root = world.rootfs_inside();
    let options = ["-m", "50m", "--memory-swap", "80m", "--memory-reservation", "20m"];
    with_group(&world, &root, &options, |group| match Version::here() {
        Version::V1 => {
            assert_eq!(group.number("memory", "memory.limit_in_bytes"), 50 << 20);
            assert_eq!(group.number("memory", "memory.memsw.limit_in_bytes"), 80 << 20);
            assert_eq!(group.number("memory", "memory.soft_limit_in_bytes"), 20 << 20);
        }
        Version::V2 => {
            assert_eq!(group.number("memory", "memory.max"), 50 << 20);
            assert_eq!(group.number("memory", "memory.swap.max"), 30 << 20, "swap alone");
            assert_eq!(group.number("memory", "memory.low"), 20 << 20);
        }
    });
    // Docker's rule: as much swap as memory where nothing is said.
    with_group(&world, &root, &["-m", "50m"], |group| match Version::here() {
        Version::V1 => assert_eq!(group.number("memory", "memory.memsw.limit_in_bytes"), 100 << 20),
        Version::V2 => assert_eq!(group.number("memory", "memory.swap.max"), 50 << 20),
    });
    with_group(&world, &root, &["-m", "50m", "--memory-swap", "-1"], |group| match Version::here() {
        Version::V1 => assert!(group.number("memory", "memory.memsw.limit_in_bytes") > 1 << 60),
        Version::V2 => assert_eq!(group.read("memory", "memory.swap.max"), "max"),
    });
    with_group(&world, &root, &[], |group| match Version::here() {
        Version::V1 => assert!(group.number("memory", "memory.limit_in_bytes") > 1 << 60),
        Version::V2 => assert_eq!(group.read("memory", "memory.max"), "max"),
    });
}

#[test]
fn what_version_2_does_not_have_is_refused_there() {
    let _beside = beside();
    let world = World::new();
    let root = world.rootfs_inside();
    for (options, controller_file, value, word) in [
        (["-m", "50m", "--memory-swappiness", "30"].as_slice(), "memory.swappiness", "30", "swappiness"),
        (&["-m", "50m", "--oom-kill-disable"], "memory.oom_control", "oom_kill_disable 1", "OOM"),
    ] {
        match Version::here() {
            Version::V1 => with_group(&world, &root, options, |group| {
                let text = group.read("memory", controller_file);
                assert!(text.contains(value), "{text}");
            }),
            Version::V2 => {
                let base = ["run", "--rm", "--rootfs", &root.overlay()];
                let words = [&base[..], options, &["/inside", "true"]].concat();
                world.minidocker(words).refuses(125, &[word, "v2"]);
                world.expect_nothing_left();
            }
        }
    }
}

#[test]
fn oom_kill_disable_waits_instead_of_killing() {
    if Version::here() == Version::V2 {
        // Refused there, see above.
        return;
    }
    let _beside = beside();
    let world = World::new();
    let root = world.rootfs_inside().overlay();
    let options = ["--name", "waits", "-m", "10m", "--memory-swap", "10m", "--oom-kill-disable"];
    let words = [&["run", "--rm"], &options[..], &["--rootfs", &root, "/inside", "hog", "100m"]].concat();
    let mut running = world.spawn(words);
    running.until("5242880 touched");
    std::thread::sleep(Duration::from_millis(500));
    assert!(running.is_alive());
    world.minidocker(["kill", "waits"]).ok();
    running.wait().exits(137);
}

#[test]
fn the_size_of_shm_is_a_limit() {
    let _beside = beside();
    let world = World::new();
    let root = world.rootfs_busybox().overlay();
    let script = "head -c 3000000 /dev/zero > /dev/shm/x; wc -c < /dev/shm/x";
    let run = |size: &str| {
        world.minidocker(["run", "--rm", "--shm-size", size, "--rootfs", &root, "sh", "-c", script])
    };
    assert_eq!(run("2m").ok().out(), "2097152\n");
    assert_eq!(run("4m").ok().out(), "3000000\n");
}
