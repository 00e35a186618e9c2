//! create, start, kill, delete, and what is refused at the wrong time.

use std::fs;
use std::path::Path;

use minidocker_tests::bundle::Runtime;
use serde_json::json;

use crate::refused;

/// Says `began`, then `ready`, and ends with 0 on SIGTERM.
const PROGRAM: &str = "echo began; touch /began; exec /inside pause";

fn is_alive(pid: i32) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit_once(") ").is_some_and(|(_, rest)| !rest.starts_with(['Z', 'X']))
}

#[test]
fn a_container_is_created_started_killed_and_deleted() {
    let runtime = Runtime::new();
    let root = runtime.world().rootfs_busybox();
    let bundle = runtime.bundle(&root).shell(PROGRAM);
    let container = bundle.create();

    let state = container.state();
    let pid = container.pid();
    assert_eq!((&state["status"], &state["id"]), (&json!("created"), &json!(bundle.id())));
    assert_eq!(state["bundle"].as_str().map(Path::new), Some(bundle.directory()));
    assert_eq!(state["rootfs"].as_str().map(Path::new), Some(root.path()));
    assert!(state["ociVersion"].as_str().unwrap().starts_with("1."), "{state}");
    // RFC 3339, in UTC.
    let created = state["created"].as_str().unwrap();
    assert!(created.starts_with("20") && created.contains('T') && created.ends_with('Z'), "{created}");
    assert!(is_alive(pid));
    assert_eq!(bundle.group().processes(), [pid], "it waits in its own group");
    assert!(!root.path().join("began").exists() && container.out().is_empty(), "the program has not begun");

    container.start();
    container.until("ready");
    assert_eq!((container.status().as_str(), container.pid()), ("running", pid));
    assert!(root.path().join("began").exists());

    container.kill("TERM");
    container.wait();
    let state = container.state();
    assert_eq!((&state["status"], &state["pid"]), (&json!("stopped"), &json!(0)));
    assert!(!is_alive(pid));

    container.call(&["delete"]).run().prints("");
    assert!(runtime.states().is_empty() && bundle.group().directories().is_empty());
    refused(container.call(&["state"]).run(), 1, &["does not exist"]);
}

#[test]
fn what_comes_at_the_wrong_time_is_refused() {
    let runtime = Runtime::new();
    let root = runtime.world().rootfs_busybox();
    let bundle = runtime.bundle(&root).shell(PROGRAM);
    let container = bundle.create();
    let run = |words: &[&str]| container.call(words).run();
    // Created.
    refused(run(&["resume"]), 1, &["not paused"]);
    let again = bundle.launch(&[], "create", &[]).unwrap_err();
    refused(again, 1, &["already exists"]);
    assert_eq!(container.status(), "created", "the first one is as it was");
    // Running.
    container.start();
    container.until("ready");
    refused(run(&["start"]), 1, &["cannot start an already running container"]);
    refused(run(&["delete"]), 1, &["is not stopped", "running"]);
    assert_eq!(container.status(), "running");
    // Paused.
    run(&["pause"]).prints("");
    assert_eq!(container.status(), "paused");
    refused(run(&["delete"]), 1, &["is not stopped"]);
    refused(run(&["pause"]), 1, &["not running"]);
    refused(run(&["start"]), 1, &["cannot start"]);
    refused(container.exec(["/inside", "true"]).run(), 255, &["cannot exec in a paused container"]);
    run(&["resume"]).prints("");
    container.exec(["/inside", "true"]).run().prints("");
    // Stopped.
    container.kill("KILL");
    container.wait();
    refused(runtime.call(["kill", bundle.id(), "TERM"]).run(), 1, &["container not running"]);
    refused(run(&["start"]), 1, &["cannot start a container that has stopped"]);
    refused(container.exec(["/inside", "true"]).run(), 255, &["cannot exec in a stopped container"]);
    refused(run(&["pause"]), 1, &["not running"]);
    run(&["delete"]).prints("");
}

#[test]
fn who_is_not_there_is_told_so() {
    let runtime = Runtime::new();
    for words in [&["state"][..], &["start"], &["delete"], &["pause"], &["resume"], &["ps"], &["kill"]] {
        refused(runtime.call(words.iter().chain(&["nobody"])).run(), 1, &["does not exist"]);
    }
    refused(runtime.call(["exec", "nobody", "true"]).run(), 255, &["does not exist"]);
    runtime.call(["delete", "--force", "nobody"]).run().prints("");
    runtime.call(["list", "--quiet"]).run().prints("");
}

#[test]
fn ids_are_checked() {
    let runtime = Runtime::new();
    let root = runtime.world().rootfs_inside();
    let bundle = runtime.bundle(&root).args(["/inside", "true"]);
    bundle.write();
    let directory = bundle.directory().to_str().unwrap();
    for id in ["", ".", "..", "a/b", "../a", "a b", "a\nb", "ä"] {
        let output = runtime.call(["run", "--bundle", directory, id]).run();
        assert_eq!(output.code, 1, "{id:?}: {output:?}");
    }
    runtime.call(["run", "--bundle", directory, "a+b_c-D.9"]).run().prints("");
}

#[test]
fn delete_with_force_ends_what_runs() {
    let runtime = Runtime::new();
    let root = runtime.world().rootfs_busybox();
    for state in ["created", "running", "paused", "stopped"] {
        let bundle = runtime.bundle(&root).shell(PROGRAM);
        let container = bundle.create();
        let pid = container.pid();
        if state != "created" {
            container.start();
            container.until("ready");
        }
        match state {
            "paused" => drop(container.call(&["pause"]).run().ok()),
            "stopped" => {
                container.kill("KILL");
                container.wait();
            }
            _ => {}
        }
        assert_eq!(container.status(), state);
        container.remove();
        assert!(!is_alive(pid) && bundle.group().directories().is_empty(), "{state}");
    }
}

#[test]
fn a_created_container_is_deleted_without_force() {
    let runtime = Runtime::new();
    let root = runtime.world().rootfs_inside();
    let container = runtime.bundle(&root).create();
    let pid = container.pid();
    container.call(&["delete"]).run().prints("");
    assert!(!is_alive(pid));
}

/// PID 1 of a namespace ignores signals that it has no handler for; one that waits for its start is to end all the same.
#[test]
fn a_signal_ends_a_container_that_waits_for_its_start() {
    let runtime = Runtime::new();
    let root = runtime.world().rootfs_busybox();
    for signal in ["TERM", "INT", "HUP", "QUIT", "KILL"] {
        let container = runtime.bundle(&root).shell(PROGRAM).create();
        container.kill(signal);
        container.wait();
        assert_eq!(container.all_out(), "", "SIG{signal}: the program never ran");
        container.call(&["delete"]).run().prints("");
    }
}

#[test]
fn signals_have_names_and_numbers() {
    let runtime = Runtime::new();
    let root = runtime.world().rootfs_busybox();
    let catch = "for s in HUP INT QUIT USR1 USR2 WINCH CONT TERM; do trap \"echo got $s\" $s; done; \
        echo ready; while :; do sleep 0.02; done";
    let container = runtime.bundle(&root).shell(catch).detached();
    container.until("ready");
    for (typed, name) in [
        ("HUP", "HUP"),
        ("SIGUSR1", "USR1"),
        ("sigusr2", "USR2"),
        ("2", "INT"),
        ("SIGWINCH", "WINCH"),
        ("15", "TERM"),
    ] {
        container.kill(typed);
        container.until(&format!("got {name}\n"));
    }
    // Without one it is SIGTERM.
    let before = container.out().matches("got TERM").count();
    container.call(&["kill"]).run().prints("");
    minidocker_tests::until("a second SIGTERM came", || container.out().matches("got TERM").count() > before);
    for wrong in ["NOSUCH", "SIGNOSUCH", "99"] {
        let output = runtime.call(["kill", container.id(), wrong]).run();
        assert_eq!(output.code, 1, "{wrong}: {output:?}");
    }
    container.remove();
}

#[test]
fn kill_with_all_reaches_every_process() {
    let runtime = Runtime::new();
    let root = runtime.world().rootfs_busybox();
    let child = "(trap 'echo child; exit' USR1; echo up; while :; do sleep 0.02; done) & \
        trap 'echo first' USR1; echo ready; while :; do sleep 0.02; done";
    let container = runtime.bundle(&root).shell(child).detached();
    container.until("ready");
    container.until("up");
    runtime.call(["kill", "--all", container.id(), "USR1"]).run().prints("");
    container.until("child");
    container.until("first");
    container.remove();
}

/// Without a pid namespace of its own the first process's end does not end the others.
#[test]
fn without_a_pid_namespace_sigkill_and_delete_reach_all() {
    let runtime = Runtime::new();
    let root = runtime.world().rootfs_busybox();
    let bundle = runtime
        .bundle(&root)
        .without_namespace("pid")
        .shell("sleep 600 & sleep 601 & echo ready; wait")
        .without_mount("/proc")
        .without("/linux/maskedPaths")
        .without("/linux/readonlyPaths");
    for kill in [true, false] {
        let container = bundle.detached();
        container.until("ready");
        assert_eq!(bundle.group().processes().len(), 3);
        if kill {
            container.kill("KILL");
            container.wait();
            minidocker_tests::until("all are gone", || bundle.group().processes().is_empty());
        }
        container.remove();
    }
}

#[test]
fn a_program_that_cannot_run_is_told_by_create_or_start() {
    let runtime = Runtime::new();
    let root = runtime.world().rootfs_busybox();
    let create = |program: &str| runtime.bundle(&root).args([program]).launch(&[], "create", &[]);
    refused(create("nosuch").unwrap_err(), 1, &["executable file not found in $PATH"]);
    refused(create("/no/such").unwrap_err(), 1, &["no such file or directory"]);
    root.file("plain", "text");
    refused(create("/plain").unwrap_err(), 1, &["permission denied"]);
    refused(create("/etc").unwrap_err(), 1, &["directory"]);
    assert!(runtime.states().is_empty());
    // The kernel alone knows what it can run.
    root.script("garbage", "no program");
    let container = create("/garbage").unwrap();
    refused(container.call(&["start"]).run(), 1, &["exec format error"]);
    container.wait();
    container.call(&["delete"]).run().prints("");
}

#[test]
fn list_tells_of_all() {
    let runtime = Runtime::new();
    let root = runtime.world().rootfs_inside();
    runtime.call(["list", "--format", "json"]).run().prints("null\n");
    let one = runtime.bundle(&root).create();
    let two = runtime.bundle(&root).args(["/inside", "pause"]).detached();
    let list = runtime.call(["list", "--format", "json"]).run().json();
    assert_eq!(list, json!([one.state(), two.state()]));
    runtime.call(["list", "-q"]).run().prints(&format!("{}\n{}\n", one.id(), two.id()));
    let table = runtime.call(["list"]).run().text();
    let rows: Vec<Vec<&str>> = table.lines().map(|line| line.split_whitespace().collect()).collect();
    assert_eq!(rows[0], ["ID", "PID", "STATUS", "BUNDLE", "CREATED", "OWNER"]);
    assert_eq!((rows[1][0], rows[1][2], rows[2][2]), (one.id(), "created", "running"));
    assert_eq!(rows[2][5], "root");
    let pids = runtime.call(["ps", "--format", "json", two.id()]).run().json();
    assert_eq!(pids, json!([two.pid()]));
    one.remove();
    two.remove();
}

/// Whoever deletes may be a later boot's clean-up, which finds the bundle gone.
#[test]
fn the_bundle_is_not_needed_after_create() {
    let runtime = Runtime::new();
    let root = runtime.world().rootfs_busybox();
    let bundle = runtime.bundle(&root).shell(PROGRAM);
    let container = bundle.create();
    fs::remove_dir_all(bundle.directory()).unwrap();
    container.start();
    container.until("ready");
    container.exec(["/inside", "true"]).run().prints("");
    assert_eq!(container.status(), "running");
    container.kill("KILL");
    container.wait();
    container.call(&["delete"]).run().prints("");
}

/// Changes of config.json after `create` mean nothing (runtime.md of the specification, "Lifecycle").
#[test]
fn what_counts_is_config_json_at_create() {
    let runtime = Runtime::new();
    let root = runtime.world().rootfs_busybox();
    let bundle = runtime.bundle(&root).shell("echo first").with("/annotations/a", "1");
    let container = bundle.create();
    bundle.clone().shell("echo second").with("/annotations/a", "2").write();
    assert_eq!(container.state()["annotations"], json!({ "a": "1" }));
    container.start();
    assert_eq!(container.all_out(), "first\n");
    container.remove();
}
