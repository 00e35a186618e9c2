//! `exec` enters all of a container or nothing: namespaces, groups, rights, filter, from the first instruction on.

use std::fs;
use std::path::Path;

use minidocker_tests::bundle::Runtime;
use minidocker_tests::until;
use serde_json::{Value, json};

use crate::{owned_by, refused};

#[test]
fn nobody_enters_what_is_being_created() {
    let runtime = Runtime::new();
    let root = runtime.world().rootfs_inside();
    let (pipe, began) = (runtime.path("pipe"), runtime.path("began"));
    runtime.world().program(["mkfifo", &pipe]).run().ok();
    for kind in ["createRuntime", "createContainer"] {
        let line = format!("echo > {began}; read line < {pipe}");
        let hook = json!([{ "path": "/bin/sh", "args": ["sh", "-c", line] }]);
        let bundle = runtime.bundle(&root).with(&format!("/hooks/{kind}"), hook);
        let running = bundle.call("run", &[]).spawn();
        until("the hook has begun", || Path::new(&began).exists());
        for options in [&[][..], &["--ignore-paused"]] {
            let words = [&["exec"], options, &[bundle.id(), "/inside", "true"]].concat();
            refused(runtime.call(words).run(), 255, &["cannot exec in a container that is being created"]);
        }
        fs::remove_file(&began).unwrap();
        fs::write(&pipe, "go\n").unwrap();
        running.wait().json();
    }
}

/// A created container can be entered: everything but its program is there.
#[test]
fn a_created_container_is_entered_as_a_whole() {
    let runtime = Runtime::new();
    let root = runtime.world().rootfs_inside();
    let container = runtime.bundle(&root).with("/hostname", "created").create();
    let facts = container.exec(["/inside", "facts"]).run().json();
    assert_eq!(facts["hostname"], "created");
    assert_eq!(container.status(), "created");
    container.remove();
}

const FIELDS: [&str; 10] = [
    "namespaces",
    "capabilities",
    "no_new_privs",
    "seccomp",
    "seccomp_filters",
    "cgroups",
    "uid_map",
    "gid_map",
    "umask",
    "rlimits",
];

/// The program reports what it is twice: as the container's own, and as one that entered.
#[test]
fn whoever_enters_is_in_everything() {
    let runtime = Runtime::new();
    let root = runtime.world().rootfs_busybox();
    owned_by(&runtime, &root, 200_000);
    let profile = json!({
        "defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{ "names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_ERRNO" }],
    });
    let base = || {
        runtime
            .bundle(&root)
            .namespace("time", "")
            .with("/linux/timeOffsets", json!({ "boottime": { "secs": 1000, "nanosecs": 0 } }))
            .with("/linux/seccomp", profile.clone())
            .with("/process/rlimits", json!([{ "type": "RLIMIT_NOFILE", "soft": 99, "hard": 100 }]))
            .with("/process/user/umask", 0o077)
            .capabilities(&["CAP_KILL", "CAP_CHOWN"])
            .shell("/inside facts; exec /inside pause")
    };
    let check = |bundle: minidocker_tests::bundle::Bundle<'_>, what: &str| {
        let container = bundle.detached();
        let text = container.until("ready");
        let own: Value = serde_json::from_str(text.lines().next().unwrap()).unwrap();
        let entered = container.exec(["/inside", "facts"]).run().json();
        for field in FIELDS {
            assert_eq!(entered[field], own[field], "{field} {what}");
        }
        // Its mounts are the very same.
        assert_eq!(entered["mounts"], own["mounts"], "{what}");
        container.remove();
    };
    check(base(), "of a usual one");
    check(base().mapped(200_000), "of one in a user namespace");
    check(base().with("/process/noNewPrivileges", false), "without no_new_privs");
    check(base().with("/process/user/uid", 1000), "of a user");
    let shared =
        ["ipc", "uts", "network"].into_iter().fold(base(), |bundle, kind| bundle.without_namespace(kind));
    check(
        shared.without_mount("/sys").without_mount("/sys/fs/cgroup").without_mount("/dev/mqueue"),
        "with the host's",
    );
}

/// Whatever the host sees of a program on its way in: as soon as it is not the runtime any more, it is confined. A
/// filter that kills it at its very first system call is on in time.
#[test]
fn confined_from_the_first_instruction() {
    let runtime = Runtime::new();
    let root = runtime.world().rootfs_inside();
    // brk(2) is among the first calls of a static program and none of the runtime's last.
    let profile = json!({
        "defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{ "names": ["set_tid_address"], "action": "SCMP_ACT_KILL_PROCESS" }],
    });
    let container = runtime.bundle(&root).args(["/inside", "pause"]).detached();
    container.until("ready");
    container.exec(["/inside", "true"]).run().ok();
    container.remove();
    let bundle = runtime.bundle(&root).with("/linux/seccomp", profile).args(["/inside", "true"]);
    bundle.run().exits(159);
    // One that entered before the program began.
    let container = bundle.create();
    container.exec(["/inside", "true"]).run().exits(159);
    container.remove();
}

/// Every process of the group, as the host sees it at any moment after its clone: in the container's groups before it
/// is in its namespaces, and with the container's program only when all is set.
#[test]
fn nobody_is_seen_half_way() {
    let runtime = Runtime::new();
    let root = runtime.world().rootfs_inside();
    let bundle = runtime.bundle(&root).capabilities(&["CAP_KILL"]).args(["/inside", "pause"]);
    let container = bundle.detached();
    container.until("ready");
    let init = container.pid();
    let program = fs::metadata(root.path().join("inside")).unwrap().len();
    let spaces = |pid: i32| -> Option<Vec<std::path::PathBuf>> {
        let names = ["pid", "net", "ipc", "uts", "mnt", "cgroup"];
        names.iter().map(|name| fs::read_link(format!("/proc/{pid}/ns/{name}")).ok()).collect()
    };
    let wanted = spaces(init).unwrap();
    let mut seen = 0;
    for _ in 0..20 {
        let mut running = container.exec(["/inside", "true"]).spawn();
        while running.is_alive() {
            for pid in bundle.group().processes().into_iter().filter(|pid| *pid != init) {
                let exe = fs::metadata(format!("/proc/{pid}/exe")).map(|file| file.len());
                if exe.ok() != Some(program) {
                    continue;
                }
                let (Some(found), Ok(status)) =
                    (spaces(pid), fs::read_to_string(format!("/proc/{pid}/status")))
                else {
                    continue;
                };
                seen += 1;
                assert_eq!(found, wanted, "its namespaces");
                for line in ["CapBnd:\t0000000000000020", "NoNewPrivs:\t1"] {
                    assert!(status.contains(line), "{line} is not in {status}");
                }
            }
        }
        running.wait().ok();
    }
    container.exec(["/inside", "true"]).run().ok();
    // How often it was caught is a matter of luck; the loop above is what would see it half-way.
    assert!(seen < usize::MAX);
    container.remove();
}

/// The keys of the one who enters are not the caller's.
#[test]
fn whoever_enters_has_a_keyring_of_the_containers() {
    let runtime = Runtime::new();
    let root = runtime.world().rootfs_inside();
    let id = format!("{}-keys", runtime.world().name());
    let container = runtime.bundle(&root).named(&id).args(["/inside", "pause"]).detached();
    container.until("ready");
    let count = || fs::read_to_string("/proc/keys").unwrap().matches(&format!("_ses.{id}")).count();
    assert!(count() >= 1);
    container.exec_detached(&[], ["/inside", "pause"]).until("ready");
    assert!(count() >= 1);
    container.remove();
}

/// A signal for the one who waits goes to the program that entered.
#[test]
fn signals_and_codes_of_the_one_who_entered() {
    let runtime = Runtime::new();
    let root = runtime.world().rootfs_busybox();
    let container = runtime.bundle(&root).args(["/inside", "pause"]).detached();
    container.until("ready");
    container.exec(["/inside", "exit", "42"]).run().exits(42);
    container.exec(["sh", "-c", "kill -9 $$"]).run().exits(137);
    refused(container.exec(["nosuch"]).run(), 255, &["executable file not found in $PATH"]);
    let catch = "trap 'echo TERM; exit 6' TERM; echo up; while :; do sleep 0.02; done";
    let running = container.exec(["sh", "-c", catch]).spawn();
    running.until("up");
    running.signal(15);
    running.wait().exits(6);
    let output = container.exec(["cat"]).stdin("typed").run().ok();
    assert_eq!(output.out(), "typed");
    // With the container it ends.
    let running = container.exec(["/inside", "sleep", "600"]).spawn();
    until("it entered", || {
        runtime.call(["ps", "-f", "json", container.id()]).run().json().as_array().unwrap().len() == 2
    });
    container.kill("KILL");
    running.wait().exits(137);
    container.remove();
}
