//! kill -9 of `create`: what it leaves can be deleted, and what is half-made ends by itself.

use std::collections::BTreeMap;
use std::path::Path;

use minidocker_tests::bundle::{Bundle, Runtime};
use minidocker_tests::{Output, emulated, until};
use serde_json::json;

use crate::owned_by;

/// Runs `create` under strace, which sees the creator alone.
fn traced(bundle: &Bundle<'_>, options: &[&str]) -> Output {
    // The container's own streams stay open as long as it lives.
    let quiet = ["sh", "-c", "exec \"$@\" > /dev/null 2>&1", "sh", "strace", "-qq"];
    bundle.call("create", &[]).through(&[&quiet[..], options].concat()).run()
}

/// Every system call of a whole `create`, each by its name and how often it was made so far.
fn calls(runtime: &Runtime, bundle: &Bundle<'_>) -> Vec<(String, usize)> {
    let log = runtime.path("strace");
    traced(bundle, &["-o", &log]).ok();
    runtime.call(["delete", bundle.id()]).run().prints("");
    let mut counts: BTreeMap<String, usize> = BTreeMap::new();
    let text = std::fs::read_to_string(&log).unwrap();
    let names = text.lines().filter_map(|line| line.split_once('(')).map(|(name, _)| name.to_owned());
    let names = names.filter(|name| name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_'));
    let counted = names.map(|name| {
        let count = counts.entry(name.clone()).or_default();
        *count += 1;
        (name, *count)
    });
    counted.collect()
}

/// Kills `create` right after every so many of its system calls; each time what is left can be asked for, and goes by
/// `delete --force`.
fn at_every(runtime: &Runtime, bundle: &Bundle<'_>, stride: usize) {
    let all = calls(runtime, bundle);
    assert!(all.len() > 100, "{all:?}");
    let stride = match std::env::var_os("MINIDOCKER_LONG") {
        Some(_) => 1,
        None if emulated() => stride * 10,
        None => stride,
    };
    let mut killed = 0;
    for (name, nth) in all.iter().step_by(stride) {
        let inject = format!("--inject={name}:signal=SIGKILL:when={nth}");
        let output = traced(bundle, &["-o", "/dev/null", &inject]);
        // Some calls are made once more or less each time.
        assert!(matches!(output.code, 0 | 137), "{output:?}");
        killed += usize::from(output.code == 137);
        let place = format!("after {name} {nth}");
        let told = runtime.call(["state", bundle.id()]).run();
        assert!(told.code == 0 || told.err().contains("does not exist"), "{place}: {told:?}");
        let listed = runtime.call(["list"]).run();
        assert_eq!(listed.code, 0, "{place}: {listed:?}");
        let deleted = runtime.call(["delete", "--force", bundle.id()]).run();
        assert_eq!((deleted.code, deleted.err().as_str()), (0, ""), "{place}: {deleted:?}");
        assert!(runtime.states().is_empty(), "{place}: {:?}", runtime.states());
        until(&format!("its groups are gone {place}"), || bundle.group().directories().is_empty());
    }
    assert!(killed * stride * 2 > all.len(), "{killed} were killed, of {} calls every {stride}th", all.len());
}

#[test]
fn kill_9_of_create_leaves_what_can_be_deleted() {
    let runtime = Runtime::new();
    let root = runtime.world().rootfs_inside();
    at_every(&runtime, &runtime.bundle(&root), 9);
}

#[test]
fn kill_9_of_create_in_a_user_namespace_too() {
    let runtime = Runtime::new();
    let root = runtime.world().rootfs_inside();
    owned_by(&runtime, &root, 200_000);
    at_every(&runtime, &runtime.bundle(&root).mapped(200_000), 17);
}

/// Of a creator that dies while a hook runs nothing goes on: not in its own hooks, not in those of init.
#[test]
fn init_dies_with_its_creator() {
    let runtime = Runtime::new();
    let root = runtime.world().rootfs_inside();
    owned_by(&runtime, &root, 200_000);
    let began = format!("{}/began", root.plain());
    let hook =
        json!([{ "path": "/bin/sh", "args": ["sh", "-c", format!("echo > {began}; exec sleep 600")] }]);
    for mapped in [false, true] {
        let bundle = runtime.bundle(&root);
        let bundle = if mapped { bundle.mapped(200_000) } else { bundle };
        for kind in ["createContainer", "createRuntime"] {
            let bundle = bundle.clone().with(&format!("/hooks/{kind}"), hook.clone());
            let creator = bundle.call("create", &[]).spawn();
            until("the hook has begun", || Path::new(&began).exists());
            let state = runtime.call(["state", bundle.id()]).run().json();
            let pid = state["pid"].as_i64().unwrap();
            creator.signal(9);
            let stat = || std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
            let what = format!("init is gone, {kind} in a user namespace: {mapped}");
            until(&what, || stat().rsplit_once(") ").is_none_or(|(_, rest)| rest.starts_with(['Z', 'X'])));
            runtime.call(["delete", "--force", bundle.id()]).run().prints("");
            std::fs::remove_file(&began).unwrap();
            // A hook on the host is no part of the container: it goes on, as an engine's may have to.
            for sleeper in sleepers(runtime.world().directory()) {
                let pid = rustix::process::Pid::from_raw(sleeper).unwrap();
                let _ = rustix::process::kill_process(pid, rustix::process::Signal::KILL);
            }
            drop(creator);
        }
    }
}

/// The processes whose working directory is one of this world: hooks of ours that go on.
fn sleepers(world: &Path) -> Vec<i32> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir("/proc").unwrap().flatten() {
        let Ok(pid) = entry.file_name().to_string_lossy().parse() else { continue };
        let cwd = std::fs::read_link(entry.path().join("cwd")).unwrap_or_default();
        if cwd.starts_with(world) {
            found.push(pid);
        }
    }
    found
}
