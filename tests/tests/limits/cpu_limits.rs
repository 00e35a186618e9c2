//! Processors: time, shares, which ones.

use minidocker_tests::{Version, World};
use serde_json::{Value, json};

use crate::{alone, beside, with_group};

/// The CPU time of each `inside spin`, as a part of the time that passed.
fn parts(output: &str) -> Vec<f64> {
    let part = |line: &str| {
        let spun: Value = serde_json::from_str(line).unwrap_or_else(|error| panic!("{line}: {error}"));
        spun["cpu"].as_f64().expect("seconds") / spun["wall"].as_f64().expect("seconds")
    };
    output.lines().map(part).collect()
}

/// Measures up to three times: other work of the machine may be in the way, but it never helps.
#[track_caller]
fn measure(what: &str, mut take: impl FnMut() -> Vec<f64>, holds: impl Fn(&[f64]) -> bool) {
    let _alone = alone();
    let mut seen = Vec::new();
    for _ in 0..3 {
        let parts = take();
        if holds(&parts) {
            return;
        }
        seen.push(parts);
    }
    panic!("{what}: {seen:.3?}");
}

#[test]
fn two_busy_loops_on_one_processor_take_half_each() {
    let world = World::new();
    let root = world.rootfs_busybox().overlay();
    let script = "/inside spin 3 & /inside spin 3 & wait";
    let run = || {
        let words = ["run", "--rm", "--cpuset-cpus", "0", "--rootfs", &root, "sh", "-c", script];
        parts(&world.minidocker(words).ok().out())
    };
    // Of the processor's time that they got: other work of the machine takes its part of the wall's.
    measure("50 % ± 5 each", run, |parts| {
        let sum: f64 = parts.iter().sum();
        parts.len() == 2 && sum <= 1.06 && parts.iter().all(|part| (part / sum - 0.5).abs() <= 0.05)
    });
}

#[test]
fn one_processor_is_all_that_one_gets() {
    let world = World::new();
    let root = world.rootfs_busybox().overlay();
    let script = "/inside spin 2 & /inside spin 2 & wait";
    let run = || {
        let words = ["run", "--rm", "--cpus", "1", "--rootfs", &root, "sh", "-c", script];
        parts(&world.minidocker(words).ok().out())
    };
    // Other work of the machine takes its part; more than one it must never be.
    measure("100 % together", run, |parts| (0.1..=1.06).contains(&parts.iter().sum::<f64>()));
}

#[test]
fn half_a_processor_is_half_the_time() {
    let world = World::new();
    let root = world.rootfs_inside().overlay();
    let run = || {
        let words = ["run", "--rm", "--cpus", "0.5", "--rootfs", &root, "/inside", "spin", "3"];
        parts(&world.minidocker(words).ok().out())
    };
    // Other work of the machine takes its part; more than half it must never be.
    measure("50 % and no more", run, |parts| (0.05..=0.58).contains(&parts[0]));
}

#[test]
fn shares_weigh_containers_against_each_other() {
    let world = World::new();
    let root = world.rootfs_inside().overlay();
    let run = || {
        let start = |shares: &str| {
            let options = ["run", "--rm", "--cpuset-cpus", "0", "--cpu-shares", shares];
            world.spawn([&options[..], &["--rootfs", &root, "/inside", "spin", "3"]].concat())
        };
        let (heavy, light) = (start("3072"), start("1024"));
        [heavy, light].into_iter().flat_map(|running| parts(&running.wait().ok().out())).collect()
    };
    // Of version 2's weights the curve makes 249 and 100.
    let ratio = Version::pick(3.0, 2.49);
    measure("3 : 1", run, |parts| (ratio * 0.7..ratio * 1.4).contains(&(parts[0] / parts[1])));
}

#[test]
fn times_and_shares_are_in_the_kernels_files() {
    let _beside = beside();
    let world = World::new();
    let root = world.rootfs_inside();
    let bandwidth = |options: &[&str], quota: &str, period: &str| {
        with_group(&world, &root, options, |group| match Version::here() {
            Version::V1 => {
                assert_eq!(group.read("cpu", "cpu.cfs_quota_us"), quota.replace("max", "-1"));
                assert_eq!(group.read("cpu", "cpu.cfs_period_us"), period);
            }
            Version::V2 => assert_eq!(group.read("cpu", "cpu.max"), format!("{quota} {period}")),
        });
    };
    bandwidth(&["--cpus", "1.5"], "150000", "100000");
    bandwidth(&["--cpus", "0.05"], "5000", "100000");
    bandwidth(&["--cpu-quota", "25000", "--cpu-period", "50000"], "25000", "50000");
    bandwidth(&["--cpu-quota", "25000"], "25000", "100000");
    bandwidth(&["--cpu-quota", "-1"], "max", "100000");
    for (shares, v1, v2) in [("1024", "1024", "100"), ("2000", "2000", "170"), ("2", "2", "1")] {
        with_group(&world, &root, &["-c", shares], |group| match Version::here() {
            Version::V1 => assert_eq!(group.read("cpu", "cpu.shares"), v1),
            Version::V2 => assert_eq!(group.read("cpu", "cpu.weight"), v2),
        });
    }
}

#[test]
fn a_cpuset_is_seen_inside_and_in_the_kernels_files() {
    let _beside = beside();
    let world = World::new();
    let root = world.rootfs_inside();
    let facts = world.facts_in(&root, ["--cpuset-cpus", "1", "--cpuset-mems", "0"]);
    assert_eq!((&facts["nproc"], &facts["cpus"]), (&json!(1), &json!([1])));
    let all = std::thread::available_parallelism().expect("processors").get();
    assert_eq!(world.facts_in(&root, [""; 0])["nproc"], all);
    with_group(&world, &root, &["--cpuset-cpus", "0", "--cpuset-mems", "0"], |group| {
        assert_eq!(group.read("cpuset", "cpuset.cpus"), "0");
        assert_eq!(group.read("cpuset", "cpuset.mems"), "0");
    });
}

#[test]
fn processors_that_are_not_there_are_refused() {
    let _beside = beside();
    let world = World::new();
    let root = world.rootfs_inside().overlay();
    let run = |options: &[&str]| {
        world
            .minidocker([&["run", "--rm", "--rootfs", root.as_str()], options, &["/inside", "true"]].concat())
    };
    run(&["--cpus", "1000"]).refuses(125, &["--cpus", "1000", "more than this machine has"]);
    run(&["--cpuset-cpus", "4000"]).refuses(125, &["4000"]);
    run(&["--cpuset-cpus", "1-0"]).refuses(125, &["--cpuset-cpus", "1-0"]);
    run(&["--cpuset-mems", "77"]).refuses(125, &["77"]);
    run(&["--cpu-period", "10", "--cpu-quota", "5"]).refuses(125, &["--cpu-period"]);
    run(&["--cpu-quota", "10"]).refuses(125, &["quota"]);
    world.expect_nothing_left();
}
