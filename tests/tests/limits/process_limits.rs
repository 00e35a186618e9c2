//! Limits of the process itself: rlimits, and whom the kernel kills first.

use minidocker_tests::{World, may_raise};
use serde_json::json;

use crate::beside;

#[test]
fn ulimits_are_what_is_asked_for() {
    let _beside = beside();
    let world = World::new();
    let options =
        ["nofile=1024:2048", "core=0", "nproc=77", "stack=1048576:-1", "fsize=-1", "memlock=4096:8192"];
    let options: Vec<&str> = options.iter().flat_map(|limit| ["--ulimit", *limit]).collect();
    let limits = world.facts(options)["rlimits"].take();
    for (name, soft, hard) in [
        ("nofile", json!(1024), json!(2048)),
        ("core", json!(0), json!(0)),
        ("nproc", json!(77), json!(77)),
        ("stack", json!(1_048_576), json!(null)),
        ("fsize", json!(null), json!(null)),
        ("memlock", json!(4096), json!(8192)),
    ] {
        assert_eq!(limits[name], json!({ "soft": soft, "hard": hard }), "{name}");
    }
}

/// Above one's own limits takes CAP_SYS_RESOURCE, which root of a virtual machine may lack.
#[test]
fn raised_limits_hold_or_are_refused() {
    let _beside = beside();
    let world = World::new();
    let root = world.rootfs_inside().overlay();
    let run = |option: &str, value: &str| {
        // Started with small limits, so that there is something to raise.
        let call = world.call(["run", "--rm", option, value, "--rootfs", &root, "/inside", "facts"]);
        call.through(&["prlimit", "--memlock=65536:65536"]).run()
    };
    let (memlock, score) = (run("--ulimit", "memlock=-1"), run("--oom-score-adj", "-500"));
    if may_raise() {
        assert_eq!(memlock.json()["rlimits"]["memlock"], json!({ "soft": null, "hard": null }));
        assert_eq!(score.json()["oom_score_adj"], -500);
    } else {
        memlock.refuses(125, &["memlock"]).hints("limit");
        score.refuses(125, &["oom"]).hints("CAP_SYS_RESOURCE");
        world.expect_nothing_left();
    }
}

#[test]
fn a_ulimit_holds() {
    let _beside = beside();
    let world = World::new();
    let root = world.rootfs_busybox().overlay();
    let script = "head -c 5000 /dev/zero > /file; echo $?; wc -c < /file";
    let output =
        world.minidocker(["run", "--rm", "--ulimit", "fsize=4096", "--rootfs", &root, "sh", "-c", script]);
    // SIGXFSZ.
    assert_eq!(output.ok().out(), "153\n4096\n");
}

#[test]
fn unknown_and_odd_ulimits_are_refused() {
    let _beside = beside();
    let world = World::new();
    let root = world.rootfs_inside().overlay();
    let run = |limit: &str| {
        world.minidocker(["run", "--rm", "--ulimit", limit, "--rootfs", &root, "/inside", "true"])
    };
    run("files=1024").refuses(125, &["--ulimit", "files", "nofile=1024:2048"]);
    run("nofile=2048:1024").refuses(125, &["--ulimit", "nofile"]);
    run("nofile=").refuses(125, &["--ulimit"]);
    run("nofile").refuses(125, &["--ulimit"]);
    run("nofile=1:2:3").refuses(125, &["--ulimit"]);
    // More than the kernel has (fs.nr_open).
    run("nofile=99999999999").refuses(125, &["nofile"]);
    world.expect_nothing_left();
}

#[test]
fn the_oom_score_is_what_is_asked_for() {
    let _beside = beside();
    let world = World::new();
    let root = world.rootfs_inside();
    for score in [0, 500, 1000] {
        assert_eq!(world.facts_in(&root, ["--oom-score-adj", &score.to_string()])["oom_score_adj"], score);
    }
    assert_eq!(world.facts_in(&root, ["--init", "--oom-score-adj", "300"])["oom_score_adj"], 300);
    let words = ["run", "--rm", "--oom-score-adj", "1001", "--rootfs", &root.overlay(), "/inside", "true"];
    world.minidocker(words).refuses(125, &["--oom-score-adj", "1001"]);
}
