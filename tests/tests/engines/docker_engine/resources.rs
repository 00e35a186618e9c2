//! Shares of the machine: asked for, held, changed, told.

use minidocker_tests::{Group, Version};
use serde_json::json;

use super::{Docker, IMAGE};
use crate::lines;

const MEBIBYTE: u64 = 1 << 20;

/// What the kernel holds for a group: memory, CPU time per second in microseconds, processes.
#[track_caller]
fn held(group: &Group) -> (u64, u64, u64) {
    let memory = group.number("memory", Version::pick("memory.limit_in_bytes", "memory.max"));
    let cpu = match Version::here() {
        Version::V1 => {
            group.number("cpu", "cpu.cfs_quota_us") * 1_000_000 / group.number("cpu", "cpu.cfs_period_us")
        }
        Version::V2 => {
            let text = group.read("cpu", "cpu.max");
            let (quota, period) = text.split_once(' ').expect("two numbers");
            let number = |text: &str| text.parse::<u64>().unwrap_or_else(|_| panic!("`{text}` in cpu.max"));
            number(quota) * 1_000_000 / number(period)
        }
    };
    (memory, cpu, group.number("pids", "pids.max"))
}

#[test]
fn what_is_asked_is_what_the_kernel_holds_before_and_after_a_change() {
    let docker = Docker::new();
    let memory = ["--memory", "64m", "--memory-swap", "64m", "--memory-reservation", "32m"];
    let others = ["--cpus", "0.5", "--cpu-shares", "512", "--cpuset-cpus", "0", "--pids-limit", "50"];
    let id = docker.detached(&[&memory[..], &others[..], &[IMAGE, "/inside", "pause"]].concat());
    let group = docker.group(&id);
    assert_eq!(held(&group), (64 * MEBIBYTE, 500_000, 50));
    assert_eq!(group.read("cpuset", "cpuset.cpus"), "0");
    // Half of the usual share: 20 by runc's first way to count in weights, 59 by its second (opencontainers/cgroups).
    let (file, values) = Version::pick(("cpu.shares", [512, 512]), ("cpu.weight", [20, 59]));
    assert!(values.contains(&group.number("cpu", file)), "{file} is {}", group.number("cpu", file));
    let file = Version::pick("memory.soft_limit_in_bytes", "memory.low");
    assert_eq!(group.number("memory", file), 32 * MEBIBYTE);
    let facts = docker.docker(["exec", &id, "/inside", "facts"]).json();
    assert_eq!(facts["cpus"], json!([0]));

    let change = ["update", "--memory", "96m", "--memory-swap", "96m", "--cpus", "1.5", "--pids-limit", "77"];
    docker.docker(change.into_iter().chain([id.as_str()])).ok();
    assert_eq!(held(&group), (96 * MEBIBYTE, 1_500_000, 77));
    // What was not named stays.
    assert_eq!(group.read("cpuset", "cpuset.cpus"), "0");
    docker.docker(["exec", &id, "true"]).ok();
}

#[test]
fn who_takes_too_much_memory_is_killed_and_docker_knows() {
    let docker = Docker::new();
    let options = ["--memory", "24m", "--memory-swap", "24m", IMAGE, "/inside", "hog", "64m"];
    let id = docker.detached(&options);
    assert_eq!(docker.docker(["wait", &id]).text(), "137");
    docker.until(&id, ".State.OOMKilled", &json!(true));
    assert_eq!(docker.inspect(&id, ".State.Status"), "exited");
    let id = docker.detached(&["--memory", "64m", IMAGE, "/inside", "hog", "8m", "--exit"]);
    assert_eq!(docker.docker(["wait", &id]).text(), "0");
    assert_eq!(docker.inspect(&id, ".State.OOMKilled"), false);
}

#[test]
fn who_forks_too_much_is_refused() {
    let docker = Docker::new();
    let answer = docker.run(&["--pids-limit", "20", IMAGE, "/inside", "fork-bomb", "100"]).json();
    assert_eq!(answer, json!({"started": 19, "errno": "EAGAIN"}));
    let facts = docker.facts(&["--ulimit", "nofile=100:200", "--oom-score-adj", "500"]);
    assert_eq!(facts["rlimits"]["nofile"], json!({"soft": 100, "hard": 200}));
    assert_eq!(facts["oom_score_adj"], 500);
}

#[test]
fn numbers_and_processes_are_told() {
    let docker = Docker::new();
    let id = docker.detached(&["--memory", "64m", IMAGE, "/inside", "hog", "8m"]);
    docker.until_said(&id, "8388608 touched");
    docker.docker(["exec", "-d", &id, "sleep", "1000"]).ok();
    let format = "{{.MemUsage}}|{{.PIDs}}|{{.CPUPerc}}";
    let text = docker.docker(["stats", "--no-stream", "--format", format, &id]).text();
    let fields: Vec<&str> = text.split(['|', '/']).map(str::trim).collect();
    let mebibytes: f64 = fields[0].trim_end_matches("MiB").parse().unwrap_or(0.0);
    assert!((8.0..16.0).contains(&mebibytes), "8 MiB are in use, not {text}");
    assert_eq!((fields[1], fields[2]), ("64MiB", "2"), "{text}");
    let top = docker.docker(["top", &id]).text();
    assert_eq!(lines(&top).len(), 3, "{top}");
    assert!(top.contains("/inside hog 8m") && top.contains("sleep 1000"), "{top}");
}
