//! No descriptor and no directory of the host gets into a container (CVE-2024-21626), at no moment of its start.

use std::fs;
use std::os::unix::fs::MetadataExt;

use minidocker_tests::bundle::Runtime;
use serde_json::{Value, json};

use crate::inner::{MARKER, hostile};

/// A caller with directories and files of the host open, most numbers up to 32 among them.
const LEAKY: [&str; 4] = [
    "bash",
    "-c",
    "for n in {3..32}; do eval \"exec $n</\"; done; exec 7</etc 8</etc/passwd 100</ 101</tmp; exec \"$@\"",
    "bash",
];

/// A file of the host as it is reached from a directory of the host's root, however deep.
fn outside(runtime: &Runtime) -> String {
    format!("../../../../../../../..{}", runtime.file("outside", "of the host\n"))
}

#[test]
fn no_descriptor_of_the_caller_gets_in() {
    let runtime = Runtime::new();
    let root = runtime.world().rootfs_inside();
    let bundle = runtime.bundle(&root);
    let check = |facts: &Value, what: &str| {
        let fds = facts["fds"].as_object().unwrap();
        assert_eq!(fds.keys().collect::<Vec<_>>(), ["0", "1", "2"], "{what}: {fds:?}");
    };
    check(&bundle.call("run", &[]).through(&LEAKY).run().json(), "run");
    let container = bundle.launch(&LEAKY, "create", &[]).unwrap();
    // While it waits: nothing but its streams and what it waits with, and no directory but its own root.
    let pid = container.pid();
    let own_root = fs::metadata(root.path()).unwrap();
    for entry in fs::read_dir(format!("/proc/{pid}/fd")).unwrap().flatten() {
        let target = fs::metadata(entry.path()).unwrap();
        let is_root = (target.dev(), target.ino()) == (own_root.dev(), own_root.ino());
        assert!(!target.is_dir() || is_root, "{entry:?} is {:?}", fs::read_link(entry.path()));
    }
    for name in ["cwd", "root"] {
        let place = fs::metadata(format!("/proc/{pid}/{name}")).unwrap();
        assert_eq!((place.dev(), place.ino()), (own_root.dev(), own_root.ino()), "{name} is its own root");
    }
    container.start();
    check(&serde_json::from_str(&container.all_out()).unwrap(), "create");
    container.remove();
    let container = bundle.args(["/inside", "pause"]).detached();
    check(&container.exec(["/inside", "facts"]).through(&LEAKY).run().json(), "exec");
    container.remove();
}

#[test]
fn no_working_directory_is_the_hosts() {
    let runtime = Runtime::new();
    let root = runtime.world().rootfs_inside();
    let outside = outside(&runtime);
    root.link("link", "/proc/self/fd/9");
    let mut places: Vec<String> = (3..=32).map(|number| format!("/proc/self/fd/{number}")).collect();
    places.extend(
        ["/link", "/link/etc", "/proc/1/cwd", "/proc/1/root", "/proc/self/root", "/proc/self/cwd"]
            .map(str::to_owned),
    );
    places.extend(["/proc/thread-self/fd/9", "/dev/fd/9", "/proc/self/../self/fd/9"].map(str::to_owned));
    let read = runtime.bundle(&root).args(["/inside", "read", &outside]);
    let paused = runtime.bundle(&root).args(["/inside", "pause"]).detached();
    paused.until("ready");
    for place in &places {
        let output = read.clone().with("/process/cwd", place.as_str()).call("run", &[]).through(&LEAKY).run();
        assert!(output.code != 0 && !output.out().contains("of the host"), "out by {place}: {output:?}");
        let words = ["/inside", "read", &outside];
        let output = paused.exec_with(&["--cwd", place], words).through(&LEAKY).run();
        assert!(output.code != 0 && !output.out().contains("of the host"), "exec --cwd {place}: {output:?}");
    }
    for number in [3, 7, 9, 32] {
        let place = format!("/proc/self/fd/{number}");
        // Created first: what is looked up must not be looked up again when it starts.
        let bundle = read.clone().with("/process/cwd", place.as_str());
        if let Ok(container) = bundle.launch(&LEAKY, "create", &[]) {
            drop(container.call(&["start"]).run());
            assert!(!container.all_out().contains("of the host"), "created in {place}");
            container.remove();
        }
        let process = json!({
            "user": { "uid": 0, "gid": 0 }, "args": ["/inside", "read", outside], "cwd": place, "env": [],
        });
        let file = runtime.file("process.json", process.to_string());
        let output = runtime.call(["exec", "--process", &file, paused.id()]).through(&LEAKY).run();
        assert!(
            output.code != 0 && !output.out().contains("of the host"),
            "--process in {place}: {output:?}"
        );
    }
    paused.remove();
}

/// A further program's file by a descriptor, as shells write `<(…)`, is read; and nothing else of the caller is seen.
#[test]
fn a_process_file_by_a_descriptor() {
    let runtime = Runtime::new();
    let root = runtime.world().rootfs_inside();
    let container = runtime.bundle(&root).args(["/inside", "pause"]).detached();
    container.until("ready");
    let process =
        json!({ "user": { "uid": 0, "gid": 0 }, "args": ["/inside", "facts"], "cwd": "/", "env": [] });
    let file = runtime.file("process.json", process.to_string());
    let script = format!("exec 5</ 6<{file}; exec \"$@\"");
    let wrapper = ["bash", "-c", &script, "bash"];
    let facts =
        runtime.call(["exec", "--process", "/dev/fd/6", container.id()]).through(&wrapper).run().json();
    assert_eq!(facts["fds"].as_object().unwrap().keys().collect::<Vec<_>>(), ["0", "1", "2"]);
    container.remove();
}

/// What a process of the container sees of an arriving program until it is the container's: nothing, not even its
/// working directory. (Who has CAP_SYS_PTRACE without a user namespace may look into any process that it sees, and who
/// has CAP_SYS_ADMIN read its memory: kernel/fork.c, may_access_mm.)
#[test]
fn nobody_arrives_with_anything_of_the_hosts() {
    let runtime = Runtime::new();
    let root = runtime.world().rootfs_inside();
    root.file(MARKER, "");
    for rights in [&["CAP_DAC_OVERRIDE", "CAP_DAC_READ_SEARCH"][..], &[]] {
        let container = hostile(runtime.bundle(&root), "look").capabilities(rights).detached();
        container.until("ready");
        for _ in 0..60 {
            container.exec(["/inside", "true"]).through(&LEAKY).run().ok();
        }
        assert!(!container.out().contains("saw"), "{rights:?}: {container:?}");
        container.remove();
    }
}

/// The init of a container that joins a pid namespace still has the host's root while it is made: those in the
/// namespace, who have no right to look into it, do not get there.
#[test]
fn nobody_is_looked_into_while_a_container_is_made() {
    let runtime = Runtime::new();
    let root = runtime.world().rootfs_inside();
    root.file(MARKER, "");
    let first = hostile(runtime.bundle(&root), "look").capabilities(&["CAP_DAC_OVERRIDE"]).detached();
    first.until("ready");
    let path = format!("/proc/{}/ns/pid", first.pid());
    let bundle = runtime.bundle(&root).namespace("pid", &path).args(["/inside", "true"]);
    for _ in 0..20 {
        bundle.run().ok();
    }
    let waiting = bundle.create();
    std::thread::yield_now();
    for _ in 0..10 {
        first.exec(["/inside", "true"]).run().ok();
    }
    assert!(!first.out().contains("saw"), "{first:?}");
    waiting.remove();
    first.remove();
}
