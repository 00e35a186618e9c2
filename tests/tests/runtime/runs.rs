//! `run`: exit codes, in the foreground and the background, and what stays.

use std::fs;

use minidocker_tests::bundle::Runtime;
use minidocker_tests::until;

use crate::{refused, script};

#[test]
fn the_programs_exit_code_comes_back() {
    let runtime = Runtime::new();
    let root = runtime.world().rootfs_busybox();
    for code in [0, 1, 7, 125, 255] {
        runtime.bundle(&root).args(["/inside", "exit", &code.to_string()]).run().exits(code);
    }
    // 128 and the signal's number: a child's, and the program's own where PID 1 can be killed, from outside.
    runtime.bundle(&root).shell("sh -c 'kill -9 $$'; exit $?").run().exits(137);
    let bundle = runtime.bundle(&root).args(["/inside", "pause"]);
    let running = bundle.call("run", &[]).spawn();
    running.until("ready");
    runtime.call(["kill", bundle.id(), "KILL"]).run().prints("");
    running.wait().exits(137);
    assert!(runtime.states().is_empty());
}

#[test]
fn a_program_that_cannot_run_fails_the_run() {
    let runtime = Runtime::new();
    let root = runtime.world().rootfs_busybox();
    refused(runtime.bundle(&root).args(["nosuch"]).run(), 1, &["executable file not found in $PATH"]);
    // Where the kernel refuses a path, as a shell says it.
    root.file("plain", "text");
    refused(runtime.bundle(&root).args(["/plain"]).run(), 126, &["permission denied"]);
    refused(runtime.bundle(&root).args(["/no/such"]).run(), 127, &["no such file or directory"]);
    assert!(runtime.states().is_empty());
}

#[test]
fn streams_pass_through() {
    let runtime = Runtime::new();
    let root = runtime.world().rootfs_busybox();
    let bundle = runtime.bundle(&root).shell("cat; echo said >&2; exit 3");
    let output = bundle.call("run", &[]).stdin("typed\n").run().exits(3);
    assert_eq!((output.out().as_str(), output.err().as_str()), ("typed\n", "said\n"));
}

#[test]
fn a_signal_to_run_is_the_containers() {
    let runtime = Runtime::new();
    let root = runtime.world().rootfs_busybox();
    let catch =
        "trap 'echo TERM; exit 5' TERM; trap 'echo USR1' USR1; echo ready; while :; do sleep 0.02; done";
    let running = runtime.bundle(&root).shell(catch).call("run", &[]).spawn();
    running.until("ready");
    running.signal(10);
    running.until("USR1");
    running.signal(15);
    let output = running.wait().exits(5);
    assert!(output.out().ends_with("TERM\n"), "{output:?}");
}

#[test]
fn detached_it_returns_when_the_program_runs() {
    let runtime = Runtime::new();
    let root = runtime.world().rootfs_busybox();
    let bundle = runtime.bundle(&root).args(["/inside", "pause"]);
    let container = bundle.detached();
    assert_eq!(container.status(), "running");
    container.until("ready");
    container.kill("TERM");
    container.wait();
    assert_eq!(runtime.states(), [bundle.id()], "who detached it deletes it");
    container.call(&["delete"]).run().prints("");
    // What the kernel refuses to execute is told by then.
    root.script("garbage", "no program");
    let failed = runtime.bundle(&root).args(["/garbage"]).launch(&[], "run", &["--detach"]);
    refused(failed.unwrap_err(), 1, &["exec format error"]);
    assert!(runtime.states().is_empty());
}

#[test]
fn kept_it_is_there_after_its_end() {
    let runtime = Runtime::new();
    let root = runtime.world().rootfs_inside();
    let bundle = runtime.bundle(&root).args(["/inside", "exit", "4"]);
    bundle.call("run", &["--keep"]).run().exits(4);
    let state = runtime.call(["state", bundle.id()]).run().json();
    assert_eq!(state["status"], "stopped");
    refused(bundle.run(), 1, &["already exists"]);
    runtime.call(["delete", bundle.id()]).run().prints("");
    bundle.run().exits(4);
}

/// The number in the pid file is the one that engines wait for.
#[test]
fn the_pid_file_has_the_number_and_nothing_else() {
    let runtime = Runtime::new();
    let root = runtime.world().rootfs_inside();
    let file = runtime.path("pid");
    for command in ["create", "run"] {
        let options = ["--pid-file", &file, "--detach"];
        let bundle = runtime.bundle(&root).args(["/inside", "pause"]);
        let options = if command == "run" { &options[..] } else { &options[..2] };
        let container = bundle.launch(&[], command, options).unwrap();
        assert_eq!(fs::read_to_string(&file).unwrap(), container.pid().to_string(), "{command}");
        if command == "create" {
            container.start();
        }
        container.until("ready");
        let exec = runtime.path("exec-pid");
        let words = ["/inside", "sleep", "600"];
        container.exec_detached(&["--pid-file", &exec], words);
        let pid: i32 = fs::read_to_string(&exec).unwrap().parse().unwrap();
        let name = fs::read_to_string(format!("/proc/{pid}/cmdline")).unwrap();
        assert!(name.starts_with("/inside\0sleep"), "{name}");
        fs::remove_file(&file).unwrap();
        container.remove();
    }
    // One that cannot be written is an error, and no container is left.
    let failed = runtime.bundle(&root).launch(&[], "create", &["--pid-file", "/no/such/place"]);
    refused(failed.unwrap_err(), 1, &["/no/such/place"]);
    assert!(runtime.states().is_empty());
}

/// What the program leaves running in its pid namespace ends with it; the output is closed then.
#[test]
fn children_end_with_the_program() {
    let runtime = Runtime::new();
    let root = runtime.world().rootfs_busybox();
    let bundle = runtime.bundle(&root).shell("sleep 600 & sleep 601 & echo done");
    bundle.run().prints("done\n");
}

/// The container goes on without the one who waited for it, and can be taken down.
#[test]
fn kill_9_of_a_run_leaves_a_container_that_can_be_deleted() {
    let runtime = Runtime::new();
    let root = runtime.world().rootfs_inside();
    let bundle = runtime.bundle(&root).args(["/inside", "pause"]);
    let running = bundle.call("run", &[]).spawn();
    running.until("ready");
    running.signal(9);
    until("the runtime is gone", || !std::path::Path::new(&format!("/proc/{}/exe", running.pid())).exists());
    let state = runtime.call(["state", bundle.id()]).run().json();
    // Whoever made it may not have come to write that it is done.
    assert!(state["status"] == "running" || state["status"] == "creating", "{state}");
    runtime.call(["delete", "--force", bundle.id()]).run().prints("");
    drop(running.wait());
}

/// Of the relative paths in config.json and options, the bundle's are the bundle's and the caller's the caller's.
#[test]
fn paths_are_relative_to_the_bundle_or_the_caller() {
    let runtime = Runtime::new();
    let root = runtime.world().rootfs_inside();
    let bundle = runtime.bundle(&root).args(["/inside", "true"]);
    std::os::unix::fs::symlink(root.path(), bundle.directory().join("link")).unwrap();
    let bundle = bundle.with("/root/path", "link");
    bundle.write();
    let here = runtime.call(["run", "--pid-file", "pid", bundle.id()]).directory(bundle.directory());
    here.run().prints("");
    assert!(bundle.directory().join("pid").exists());
    let beside = bundle.directory().parent().unwrap().to_owned();
    let name = bundle.directory().file_name().unwrap().to_str().unwrap();
    runtime.call(["run", "-b", name, bundle.id()]).directory(&beside).run().prints("");
}

#[test]
fn a_bundle_that_is_none_is_refused_and_leaves_nothing() {
    let runtime = Runtime::new();
    let root = runtime.world().rootfs_inside();
    let bundle = runtime.bundle(&root);
    refused(runtime.call(["run", "-b", "/no/such", "x"]).run(), 1, &["/no/such"]);
    let empty = runtime.directory("empty");
    refused(runtime.call(["run", "-b", &empty, "x"]).run(), 1, &["config.json"]);
    let cases = [
        (bundle.clone().with("/root/path", "nowhere"), "rootfs"),
        (bundle.clone().without("/process"), "process"),
        (bundle.clone().with("/process/cwd", "relative"), "bsolute"),
        (bundle.clone().with("/process/args", serde_json::json!([])), "args"),
        (bundle.clone().with("/ociVersion", "2.0.0"), "2.0.0"),
        (bundle.clone().without_namespace("uts").with("/hostname", "x"), "UTS namespace"),
        (bundle.clone().with("/linux/namespaces/-", serde_json::json!({ "type": "pid" })), "duplicated ns"),
        (bundle.clone().namespace("user", ""), "no uid mappings"),
        (bundle.clone().with("/linux/sysctl/kernel.panic", "1"), "not in a separate kernel namespace"),
        (
            bundle.clone().without_namespace("network").with("/linux/sysctl/net.ipv4.ip_forward", "1"),
            "not allowed in the host",
        ),
    ];
    for (case, word) in cases {
        refused(case.run(), 1, &[word]);
    }
    std::fs::write(bundle.directory().join("config.json"), "{ no JSON").unwrap();
    let directory = bundle.directory().to_str().unwrap();
    refused(runtime.call(["run", "-b", directory, "x"]).run(), 1, &["config.json"]);
    assert!(runtime.states().is_empty());
}

/// The program's errors and the runtime's own are told apart: by `--log` as JSON, where engines look for them.
#[test]
fn errors_go_to_the_log_too() {
    let runtime = Runtime::new();
    let root = runtime.world().rootfs_busybox();
    let log = runtime.path("log.json");
    let bundle =
        runtime.bundle(&root).args([script(&root, "x", "exit 0").as_str()]).with("/process/cwd", "/x/y");
    bundle.write();
    let directory = bundle.directory().to_str().unwrap();
    let output = runtime.call(["--log", &log, "--log-format", "json", "create", "-b", directory, "x"]).run();
    assert_eq!(output.code, 1, "{output:?}");
    let lines = fs::read_to_string(&log).unwrap();
    let last: serde_json::Value = serde_json::from_str(lines.lines().last().unwrap()).unwrap();
    assert_eq!(last["level"], "error");
    assert!(last["msg"].as_str().unwrap().contains("not a directory"), "{last}");
    assert!(last["time"].as_str().unwrap().starts_with("20"), "{last}");
}
