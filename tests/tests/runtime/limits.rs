//! Control groups: limits from config.json and by `update`, on both versions. Names have `limits` in them for the
//! machine with version 2.

use minidocker_tests::bundle::{Bundle, Container, Runtime};
use minidocker_tests::{Group, Version, until};
use serde_json::{Value, json};

use crate::refused;

fn running<'r>(bundle: &Bundle<'r>) -> Container<'r> {
    let container = bundle.clone().args(["/inside", "pause"]).detached();
    container.until("ready");
    container
}

/// A file of version 1 with its controller, and of version 2.
fn read(group: &Group, v1: (&str, &str), v2: (&str, &str)) -> String {
    let (controller, file) = Version::pick(v1, v2);
    group.read(controller, file)
}

#[test]
fn each_limit_is_in_force() {
    let runtime = Runtime::new();
    let root = runtime.world().rootfs_inside();
    let resources = json!({
        "memory": { "limit": 67_108_864, "reservation": 33_554_432 },
        "cpu": { "shares": 512, "quota": 50_000, "period": 100_000, "cpus": "0", "mems": "0" },
        "pids": { "limit": 77 },
    });
    let bundle = runtime.bundle(&root).with("/linux/resources", resources);
    let container = running(&bundle);
    let group = bundle.group();
    assert_eq!(read(&group, ("memory", "memory.limit_in_bytes"), ("memory", "memory.max")), "67108864");
    assert_eq!(read(&group, ("memory", "memory.soft_limit_in_bytes"), ("memory", "memory.low")), "33554432");
    assert_eq!(read(&group, ("pids", "pids.max"), ("pids", "pids.max")), "77");
    assert_eq!(read(&group, ("cpuset", "cpuset.cpus"), ("cpuset", "cpuset.cpus")), "0");
    assert_eq!(read(&group, ("cpuset", "cpuset.mems"), ("cpuset", "cpuset.mems")), "0");
    match Version::here() {
        Version::V1 => {
            assert_eq!(group.read("cpu", "cpu.shares"), "512");
            assert_eq!(group.read("cpu", "cpu.cfs_quota_us"), "50000");
            assert_eq!(group.read("cpu", "cpu.cfs_period_us"), "100000");
        }
        Version::V2 => {
            assert_eq!(group.read("cpu", "cpu.max"), "50000 100000");
            assert_ne!(group.read("cpu", "cpu.weight"), "100", "512 shares are less than usual");
        }
    }
    // Seen from inside, by its own and by further programs.
    let facts = container.exec(["/inside", "facts"]).run().json();
    assert_eq!(facts["cpus"], json!([0]));
    assert_eq!(group.processes(), [container.pid()]);
    container.remove();
}

#[test]
fn unified_limits_are_written_as_they_are() {
    let runtime = Runtime::new();
    let root = runtime.world().rootfs_inside();
    let unified = json!({ "memory.high": "50331648", "pids.max": "42", "memory.oom.group": "1" });
    let bundle = runtime.bundle(&root).with("/linux/resources/unified", unified);
    match Version::here() {
        Version::V1 => {
            let output = bundle.args(["/inside", "true"]).run();
            refused(output, 1, &["unified"]);
        }
        Version::V2 => {
            let container = running(&bundle);
            let group = bundle.group();
            assert_eq!(group.read("memory", "memory.high"), "50331648");
            assert_eq!(group.read("memory", "memory.oom.group"), "1");
            assert_eq!(group.read("pids", "pids.max"), "42");
            container.remove();
            let wrong =
                runtime.bundle(&root).with("/linux/resources/unified", json!({ "no.such": "1" })).run();
            refused(wrong, 1, &["no.such"]);
            let wrong = runtime.bundle(&root).with("/linux/resources/unified", json!({ "../x": "1" })).run();
            assert_eq!(wrong.code, 1, "{wrong:?}");
        }
    }
}

#[test]
fn a_limit_that_cannot_be_set_is_told_and_leaves_nothing() {
    let runtime = Runtime::new();
    let root = runtime.world().rootfs_inside();
    for resources in [
        json!({ "cpu": { "cpus": "4000" } }),
        json!({ "cpu": { "cpus": "none" } }),
        json!({ "cpu": { "quota": 1 } }),
        json!({ "memory": { "limit": 1_000_000, "swap": 500_000 } }),
    ] {
        let bundle = runtime.bundle(&root).with("/linux/resources", resources.clone());
        for command in ["create", "run"] {
            let output = bundle.launch(&[], command, &[]).unwrap_err();
            assert_eq!(output.code, 1, "{resources}: {output:?}");
            assert!(runtime.states().is_empty() && bundle.group().directories().is_empty(), "{resources}");
        }
    }
}

#[test]
fn limits_of_memory_and_processes_hold() {
    let runtime = Runtime::new();
    let root = runtime.world().rootfs_inside();
    let memory = json!({ "memory": { "limit": 16_777_216, "swap": 16_777_216 } });
    let bundle = runtime.bundle(&root).with("/linux/resources", memory);
    bundle.args(["/inside", "hog", "100m", "--exit"]).run().exits(137);
    let bundle = runtime.bundle(&root).with("/linux/resources/pids/limit", 5);
    let told = bundle.args(["/inside", "fork-bomb", "20"]).run().json();
    assert_eq!(told, json!({ "started": 4, "errno": "EAGAIN" }));
}

#[test]
fn update_changes_the_limits() {
    let runtime = Runtime::new();
    let root = runtime.world().rootfs_inside();
    let resources = json!({ "memory": { "limit": 67_108_864 }, "pids": { "limit": 77 } });
    let bundle = runtime.bundle(&root).with("/linux/resources", resources);
    let container = running(&bundle);
    let group = bundle.group();
    let memory = || read(&group, ("memory", "memory.limit_in_bytes"), ("memory", "memory.max"));
    let pids = || group.read("pids", "pids.max");
    container.call(&["update", "--memory", "32m"]).run().prints("");
    assert_eq!((memory().as_str(), pids().as_str()), ("33554432", "77"), "what is not named stays");
    container.call(&["update", "--pids-limit", "10"]).run().prints("");
    assert_eq!((memory().as_str(), pids().as_str()), ("33554432", "10"));
    let resources = json!({ "pids": { "limit": -1 }, "memory": { "limit": 50_331_648 } }).to_string();
    runtime.call(["update", "--resources", "-", container.id()]).stdin(resources).run().prints("");
    assert_eq!((memory().as_str(), pids().as_str()), ("50331648", "max"));
    // One that is refused changes nothing.
    let wrong = json!({ "pids": { "limit": 20 }, "cpu": { "cpus": "4000" } }).to_string();
    let output = runtime.call(["update", "--resources", "-", container.id()]).stdin(wrong).run();
    assert_eq!(output.code, 1, "{output:?}");
    assert_eq!(pids(), "max");
    container.kill("KILL");
    container.wait();
    refused(container.call(&["update", "--pids-limit", "3"]).run(), 1, &["not running"]);
    container.remove();
}

#[test]
fn pause_stops_every_process_and_resume_lets_them_go_on() {
    let runtime = Runtime::new();
    let root = runtime.world().rootfs_busybox();
    let bundle = runtime.bundle(&root).shell("i=0; while :; do i=$((i+1)); echo $i > /count; done");
    let container = bundle.detached();
    let count = || std::fs::read_to_string(root.path().join("count")).unwrap_or_default();
    until("it counts", || !count().trim().is_empty());
    container.call(&["pause"]).run().prints("");
    assert_eq!(container.status(), "paused");
    // A program that enters waits for the thaw.
    let before = count();
    let entered = container.exec_with(&["--ignore-paused"], ["/inside", "true"]).spawn();
    until("it entered", || bundle.group().processes().len() == 2);
    assert_eq!(count(), before, "nothing ran meanwhile");
    container.call(&["resume"]).run().prints("");
    entered.wait().ok();
    until("it counts again", || count() != before && !count().trim().is_empty());
    // SIGKILL is the end of a paused one too.
    container.call(&["pause"]).run().prints("");
    container.kill("KILL");
    container.wait();
    container.call(&["delete"]).run().prints("");
}

/// What matters of a container's life to its group, on both versions.
#[test]
fn a_life_under_limits() {
    let runtime = Runtime::new();
    let root = runtime.world().rootfs_inside();
    let bundle = runtime.bundle(&root).with("/linux/resources/pids/limit", 20).args(["/inside", "pause"]);
    for state in ["created", "running", "paused"] {
        let container = bundle.create();
        assert_eq!(bundle.group().processes(), [container.pid()], "created in its group");
        if state != "created" {
            container.start();
            container.until("ready");
        }
        if state == "paused" {
            container.call(&["pause"]).run().prints("");
        }
        assert_eq!(container.status(), state);
        container.remove();
        assert!(bundle.group().directories().is_empty(), "{state}");
    }
    let container = running(&bundle);
    let streams = container.exec_detached(&[], ["/inside", "pause"]);
    streams.until("ready");
    assert_eq!(bundle.group().processes().len(), 2);
    let pids = runtime.call(["ps", "--format", "json", container.id()]).run().json();
    assert_eq!(pids.as_array().unwrap().len(), 2);
    let stats = container.call(&["events", "--stats"]).run().json();
    assert_eq!((&stats["type"], &stats["data"]["pids"]["current"]), (&json!("stats"), &json!(2)));
    container.remove();
}

/// The view from inside: its own group is the top, to be read and not written.
#[test]
fn the_group_seen_from_inside_the_limits() {
    let runtime = Runtime::new();
    let root = runtime.world().rootfs_inside();
    let bundle = runtime.bundle(&root).with("/linux/resources/pids/limit", 33);
    let file = Version::pick("/sys/fs/cgroup/pids/pids.max", "/sys/fs/cgroup/pids.max");
    bundle.clone().args(["/inside", "read", file]).run().prints("33\n");
    assert_eq!(bundle.attempt(["write", file, "max"]), "EROFS");
    let groups = |facts: &Value| -> Vec<String> {
        facts["cgroups"].as_object().unwrap().values().map(|path| path.as_str().unwrap().to_owned()).collect()
    };
    assert!(groups(&bundle.facts()).iter().all(|path| path == "/"));
    // Without a cgroup namespace the truth, and still nobody else's files.
    let bare = bundle.without_namespace("cgroup");
    assert!(groups(&bare.facts()).iter().any(|path| path.contains(&runtime.world().cgroup_parent())));
    bare.args(["/inside", "read", file]).run().prints("33\n");
}

#[test]
fn a_path_of_ones_own_choice_for_the_limits() {
    let runtime = Runtime::new();
    let root = runtime.world().rootfs_inside();
    let parent = runtime.world().cgroup_parent();
    let below = runtime.bundle(&root).with("/linux/cgroupsPath", format!("{parent}/a/b/c"));
    let container = running(&below);
    assert_eq!(Group::at(&format!("{parent}/a/b/c")).processes(), [container.pid()]);
    container.remove();
    until("its group is gone", || Group::at(&format!("{parent}/a/b/c")).directories().is_empty());
    for directory in Group::at(&format!("{parent}/a/b"))
        .directories()
        .into_iter()
        .chain(Group::at(&format!("{parent}/a")).directories())
    {
        std::fs::remove_dir(directory).unwrap();
    }
    // Up leads no higher than the top.
    let up = runtime.bundle(&root).with("/linux/cgroupsPath", format!("/../..{parent}/up"));
    let container = running(&up);
    assert_eq!(Group::at(&format!("{parent}/up")).processes(), [container.pid()]);
    container.remove();
}

/// `exec --cgroup`: a group below the container's own.
#[test]
fn a_further_program_in_a_group_below_for_its_own_limits() {
    let runtime = Runtime::new();
    let root = runtime.world().rootfs_inside();
    let bundle = runtime.bundle(&root);
    let container = running(&bundle);
    refused(container.exec_with(&["--cgroup", "nosuch"], ["/inside", "true"]).run(), 255, &["nosuch"]);
    refused(
        container.exec_with(&["--cgroup", "../x"], ["/inside", "true"]).run(),
        255,
        &["bad sub cgroup path"],
    );
    if Version::here() == Version::V1 {
        let below = bundle.group().directory("pids").join("below");
        std::fs::create_dir(&below).unwrap();
        let file = runtime.path("pid");
        container
            .exec_detached(&["--cgroup", "pids:below", "--pid-file", &file], ["/inside", "pause"])
            .until("ready");
        let procs = std::fs::read_to_string(below.join("cgroup.procs")).unwrap();
        assert_eq!(procs.trim(), std::fs::read_to_string(&file).unwrap());
    }
    container.remove();
}
