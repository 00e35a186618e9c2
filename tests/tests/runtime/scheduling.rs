//! What the kernel's schedulers and memory are told of the program.

use std::fs;

use minidocker_tests::bundle::{Bundle, Container, Runtime};
use serde_json::{Value, json};

use crate::refused;

fn running<'r>(bundle: Bundle<'r>) -> Container<'r> {
    let container = bundle.args(["/inside", "pause"]).detached();
    container.until("ready");
    container
}

/// A field of proc_pid_stat(5) by its number there.
fn stat(pid: i32, field: usize) -> i64 {
    let text = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    text.rsplit_once(") ").unwrap().1.split(' ').nth(field - 3).unwrap().trim().parse().unwrap()
}

const NICE: usize = 19;
const POLICY: usize = 41;

/// A further program of `exec` that goes on, with the container's own settings.
fn further(runtime: &Runtime, container: &Container<'_>) -> i32 {
    let file = runtime.path("further");
    container.exec_detached(&["--pid-file", &file], ["/inside", "pause"]).until("ready");
    fs::read_to_string(file).unwrap().parse().unwrap()
}

#[test]
fn the_scheduler() {
    let runtime = Runtime::new();
    let root = runtime.world().rootfs_inside();
    let cases = [
        (json!({ "policy": "SCHED_OTHER", "nice": 7 }), 0, 7),
        (json!({ "policy": "SCHED_BATCH", "nice": 11, "flags": ["SCHED_FLAG_RESET_ON_FORK"] }), 3, 11),
        (json!({ "policy": "SCHED_IDLE" }), 5, 0),
    ];
    for (scheduler, policy, nice) in cases {
        let container = running(runtime.bundle(&root).with("/process/scheduler", scheduler.clone()));
        let pid = container.pid();
        // The flag shows in the policy as SCHED_RESET_ON_FORK, 0x40000000.
        assert_eq!((stat(pid, POLICY) & 0xff, stat(pid, NICE)), (policy, nice), "{scheduler}");
        let pid = further(&runtime, &container);
        assert_eq!((stat(pid, POLICY) & 0xff, stat(pid, NICE)), (policy, nice), "{scheduler}, exec");
        container.remove();
    }
    for wrong in [
        json!({ "policy": "SCHED_OTHER", "nice": 30 }),
        json!({ "policy": "SCHED_FIFO" }),
        json!({ "policy": "SCHED_OTHER", "priority": 5 }),
        json!({ "policy": "SCHED_DEADLINE", "runtime": 5, "deadline": 1, "period": 1 }),
        json!({ "policy": "SCHED_NOSUCH" }),
    ] {
        let output = runtime.bundle(&root).with("/process/scheduler", wrong.clone()).run();
        assert_eq!(output.code, 1, "{wrong}: {output:?}");
    }
}

#[test]
fn the_io_priority() {
    let runtime = Runtime::new();
    let root = runtime.world().rootfs_inside();
    let ask = |pid: i32| runtime.world().program(["ionice", "-p", &pid.to_string()]).run().text();
    for (class, level, told) in [
        ("IOPRIO_CLASS_BE", 6, "best-effort: prio 6"),
        ("IOPRIO_CLASS_IDLE", 0, "idle"),
        ("IOPRIO_CLASS_RT", 3, "realtime: prio 3"),
    ] {
        let priority = json!({ "class": class, "priority": level });
        let container = running(runtime.bundle(&root).with("/process/ioPriority", priority));
        assert_eq!(ask(container.pid()), told);
        assert_eq!(ask(further(&runtime, &container)), told, "exec");
        container.remove();
    }
    for wrong in [
        json!({ "class": "IOPRIO_CLASS_BE", "priority": 8 }),
        json!({ "class": "IOPRIO_CLASS_NOSUCH", "priority": 1 }),
    ] {
        assert_eq!(runtime.bundle(&root).with("/process/ioPriority", wrong).run().code, 1);
    }
}

/// A further program begins on some processors and goes on with others; the container's own has all.
#[test]
fn the_affinity_of_further_programs() {
    let runtime = Runtime::new();
    let root = runtime.world().rootfs_inside();
    let affinity = json!({ "initial": "0", "final": "1" });
    let bundle = runtime.bundle(&root).with("/process/execCPUAffinity", affinity);
    let all = runtime.bundle(&root).facts()["cpus"].clone();
    assert!(all.as_array().unwrap().len() > 1, "this test needs two processors");
    assert_eq!(bundle.facts()["cpus"], all);
    let container = running(bundle);
    assert_eq!(container.exec(["/inside", "facts"]).run().json()["cpus"], json!([1]));
    container.remove();
    // The caller's own binding means nothing.
    let bound = runtime.bundle(&root).call("run", &[]).through(&["taskset", "-c", "0"]).run().json();
    assert_eq!(bound["cpus"], all);
    let container = running(runtime.bundle(&root));
    let bound = container.exec(["/inside", "facts"]).through(&["taskset", "-c", "0"]).run().json();
    assert_eq!(bound["cpus"], all);
    container.remove();
    let wrong = runtime.bundle(&root).with("/process/execCPUAffinity", json!({ "final": "none" }));
    let container = wrong.args(["/inside", "pause"]).launch(&[], "run", &["--detach"]);
    if let Ok(container) = container {
        assert_eq!(container.exec(["/inside", "true"]).run().code, 255);
        container.remove();
    }
}

#[test]
fn the_personality() {
    let runtime = Runtime::new();
    let root = runtime.world().rootfs_busybox();
    for (domain, number) in [("LINUX", "00000000"), ("LINUX32", "00000008")] {
        let container =
            running(runtime.bundle(&root).with("/linux/personality", json!({ "domain": domain })));
        let of = |pid: i32| fs::read_to_string(format!("/proc/{pid}/personality")).unwrap().trim().to_owned();
        assert_eq!(of(container.pid()), number);
        assert_eq!(of(further(&runtime, &container)), number, "exec");
        container.remove();
    }
    if cfg!(target_arch = "x86_64") {
        let bundle = runtime.bundle(&root).with("/linux/personality", json!({ "domain": "LINUX32" }));
        bundle.shell("uname -m").run().prints("i686\n");
    }
    let wrong = json!({ "domain": "LINUX", "flags": ["READ_IMPLIES_EXEC"] });
    refused(runtime.bundle(&root).with("/linux/personality", wrong).run(), 1, &["READ_IMPLIES_EXEC"]);
}

/// The policies of a process's memory, proc_pid_numa_maps(5).
fn policies(pid: i32) -> Vec<String> {
    let text = fs::read_to_string(format!("/proc/{pid}/numa_maps")).unwrap();
    let mut found: Vec<_> =
        text.lines().filter_map(|line| line.split(' ').nth(1)).map(str::to_owned).collect();
    found.sort();
    found.dedup();
    found
}

#[test]
fn the_memory_policy() {
    let runtime = Runtime::new();
    let root = runtime.world().rootfs_inside();
    assert!(std::path::Path::new("/proc/self/numa_maps").exists(), "this test needs a kernel with NUMA");
    let cases = [
        (json!({ "mode": "MPOL_BIND", "nodes": "0" }), "bind:0"),
        (json!({ "mode": "MPOL_BIND", "nodes": "0", "flags": ["MPOL_F_STATIC_NODES"] }), "bind=static:0"),
        (json!({ "mode": "MPOL_PREFERRED", "nodes": "0" }), "prefer:0"),
        (json!({ "mode": "MPOL_INTERLEAVE", "nodes": "0" }), "interleave:0"),
        (json!({ "mode": "MPOL_LOCAL" }), "local"),
        (json!({ "mode": "MPOL_DEFAULT" }), "default"),
    ];
    for (policy, wanted) in cases {
        let container = running(runtime.bundle(&root).with("/linux/memoryPolicy", policy.clone()));
        let found = policies(container.pid());
        assert!(found.contains(&wanted.to_owned()), "{policy}: {found:?}");
        let found = policies(further(&runtime, &container));
        assert!(found.contains(&wanted.to_owned()), "{policy}, exec: {found:?}");
        container.remove();
    }
    let wrong = |policy: Value, words: &[&str]| {
        refused(runtime.bundle(&root).with("/linux/memoryPolicy", policy).run(), 1, words);
    };
    wrong(json!({ "mode": "MPOL_NOSUCH", "nodes": "0" }), &["MPOL_NOSUCH"]);
    wrong(json!({ "mode": "MPOL_LOCAL", "nodes": "0" }), &["MPOL_LOCAL"]);
    wrong(json!({ "mode": "MPOL_BIND" }), &["MPOL_BIND"]);
    wrong(json!({ "mode": "MPOL_BIND", "nodes": "0", "flags": ["MPOL_F_NOSUCH"] }), &["MPOL_F_NOSUCH"]);
}
