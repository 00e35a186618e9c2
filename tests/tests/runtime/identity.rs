//! Who the program is and what it may do: user, groups, capabilities, limits, directory, variables.

use std::collections::BTreeSet;
use std::os::unix::fs::MetadataExt;

use minidocker_tests::bundle::{Bundle, Runtime};
use minidocker_tests::may_raise;
use serde_json::{Value, json};

use crate::{refused, words};

#[test]
fn user_groups_and_umask() {
    let runtime = Runtime::new();
    let root = runtime.world().rootfs_busybox();
    let user = json!({ "uid": 1000, "gid": 1001, "additionalGids": [5, 6, 1_000_000], "umask": 0o027 });
    let bundle = runtime.bundle(&root).with("/process/user", user);
    let ids = |facts: &Value| ["uid", "euid", "gid", "egid"].map(|name| facts[name].as_u64().unwrap());
    let facts = bundle.facts();
    assert_eq!(ids(&facts), [1000, 1000, 1001, 1001]);
    assert_eq!((&facts["groups"], &facts["umask"]), (&json!([5, 6, 1_000_000]), &json!("0027")));
    let facts = runtime.bundle(&root).facts();
    assert_eq!((ids(&facts), &facts["groups"], &facts["umask"]), ([0; 4], &json!([]), &json!("0022")));
    // A further program has the container's, or its own.
    let container = bundle.args(["/inside", "pause"]).detached();
    let facts = container.exec(["/inside", "facts"]).run().json();
    assert_eq!((ids(&facts), &facts["groups"]), ([1000, 1000, 1001, 1001], &json!([5, 6, 1_000_000])));
    assert_eq!(facts["umask"], "0027");
    let options = ["--user", "7:8", "--additional-gids", "9"];
    let facts = container.exec_with(&options, ["/inside", "facts"]).run().json();
    assert_eq!(ids(&facts), [7, 7, 8, 8]);
    assert!(facts["groups"].as_array().unwrap().contains(&json!(9)), "{}", facts["groups"]);
    container.remove();
}

/// The names of a set, sorted.
fn set<'v>(facts: &'v Value, name: &str) -> BTreeSet<&'v str> {
    words(&facts["capabilities"][name]).into_iter().collect()
}

fn names<const N: usize>(list: [&str; N]) -> BTreeSet<&str> {
    list.into()
}

#[test]
fn each_set_of_capabilities_is_the_one_asked_for() {
    let runtime = Runtime::new();
    let root = runtime.world().rootfs_inside();
    let sets = json!({
        "bounding": ["CAP_KILL", "CAP_CHOWN", "CAP_NET_RAW"],
        "effective": ["CAP_KILL"],
        "permitted": ["CAP_KILL", "CAP_CHOWN"],
        "inheritable": ["CAP_CHOWN", "CAP_KILL"],
        "ambient": ["CAP_CHOWN"],
    });
    // A user's program gets by execve(2) what is ambient; root's what is bounding: capabilities(7).
    let user =
        runtime.bundle(&root).with("/process/capabilities", sets.clone()).with("/process/user/uid", 1000);
    let facts = user.facts();
    assert_eq!(set(&facts, "bounding"), names(["KILL", "CHOWN", "NET_RAW"]));
    assert_eq!(set(&facts, "inheritable"), names(["CHOWN", "KILL"]));
    for name in ["ambient", "permitted", "effective"] {
        assert_eq!(set(&facts, name), names(["CHOWN"]), "{name}");
    }
    let roots =
        runtime.bundle(&root).with("/process/capabilities", sets).with("/process/noNewPrivileges", false);
    let facts = roots.facts();
    assert_eq!(set(&facts, "permitted"), names(["KILL", "CHOWN", "NET_RAW"]));
    assert_eq!(set(&facts, "effective"), names(["KILL", "CHOWN", "NET_RAW"]));
    for bundle in [
        runtime.bundle(&root).with("/process/capabilities", json!({})),
        runtime.bundle(&root).without("/process/capabilities"),
    ] {
        let facts = bundle.facts();
        for name in ["bounding", "effective", "permitted", "inheritable", "ambient"] {
            assert_eq!(set(&facts, name), names([]), "{name} of none");
        }
    }
}

#[test]
fn unknown_capabilities_are_warned_of_and_passed_over() {
    let runtime = Runtime::new();
    let root = runtime.world().rootfs_inside();
    let bundle = runtime.bundle(&root).capabilities(&["CAP_KILL", "CAP_NOSUCH"]);
    let output = bundle.run().ok();
    assert!(output.err().contains("warning") && output.err().contains("CAP_NOSUCH"), "{output:?}");
    let facts: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(set(&facts, "bounding"), names(["KILL"]));
    // What cannot be ambient is told too.
    let bundle = runtime.bundle(&root).with("/process/capabilities/ambient", json!(["CAP_KILL"]));
    let output = bundle.run().ok();
    assert!(output.err().contains("CAP_KILL"), "{output:?}");
}

#[test]
fn no_new_privs_is_on_or_off() {
    let runtime = Runtime::new();
    let root = runtime.world().rootfs_inside();
    for wanted in [true, false] {
        let bundle = runtime.bundle(&root).with("/process/noNewPrivileges", wanted);
        assert_eq!(bundle.facts()["no_new_privs"], wanted);
        let container = bundle.args(["/inside", "pause"]).detached();
        assert_eq!(container.exec(["/inside", "facts"]).run().json()["no_new_privs"], wanted);
        container.remove();
    }
}

#[test]
fn resource_limits_in_every_kind() {
    let runtime = Runtime::new();
    let root = runtime.world().rootfs_inside();
    // Below what everybody has: where root may not raise any, this still may be set.
    let limits = [
        ("RLIMIT_AS", "as", 8_000_000_000_u64, 9_000_000_000_u64),
        ("RLIMIT_CORE", "core", 0, 1000),
        ("RLIMIT_CPU", "cpu", 500, 600),
        ("RLIMIT_DATA", "data", 7_000_000_000, 8_000_000_000),
        ("RLIMIT_FSIZE", "fsize", 1_000_000, 2_000_000),
        ("RLIMIT_LOCKS", "locks", 10, 20),
        ("RLIMIT_MEMLOCK", "memlock", 4096, 8192),
        ("RLIMIT_MSGQUEUE", "msgqueue", 1000, 2000),
        ("RLIMIT_NICE", "nice", 0, 0),
        ("RLIMIT_NOFILE", "nofile", 100, 200),
        ("RLIMIT_NPROC", "nproc", 100, 200),
        ("RLIMIT_RSS", "rss", 1000, 2000),
        ("RLIMIT_RTPRIO", "rtprio", 0, 0),
        ("RLIMIT_RTTIME", "rttime", 1000, 2000),
        ("RLIMIT_SIGPENDING", "sigpending", 10, 20),
        ("RLIMIT_STACK", "stack", 1_000_000, 2_000_000),
    ];
    let list: Vec<Value> = limits
        .iter()
        .map(|(kind, _, soft, hard)| json!({ "type": kind, "soft": soft, "hard": hard }))
        .collect();
    let bundle = runtime.bundle(&root).with("/process/rlimits", list);
    let check = |facts: &Value| {
        for (_, name, soft, hard) in limits {
            assert_eq!(facts["rlimits"][name], json!({ "soft": soft, "hard": hard }), "{name}");
        }
    };
    check(&bundle.facts());
    let container = bundle.args(["/inside", "pause"]).detached();
    check(&container.exec(["/inside", "facts"]).run().json());
    container.remove();
    let wrong = json!([{ "type": "RLIMIT_NOFILE", "soft": 200, "hard": 100 }]);
    refused(runtime.bundle(&root).with("/process/rlimits", wrong).run(), 1, &["nofile"]);
    let wrong = json!([{ "type": "RLIMIT_NOSUCH", "soft": 1, "hard": 1 }]);
    refused(runtime.bundle(&root).with("/process/rlimits", wrong).run(), 1, &["RLIMIT_NOSUCH"]);
}

#[test]
fn the_oom_score() {
    let runtime = Runtime::new();
    let root = runtime.world().rootfs_inside();
    let own: i32 = std::fs::read_to_string("/proc/self/oom_score_adj").unwrap().trim().parse().unwrap();
    let bundle = runtime.bundle(&root).with("/process/oomScoreAdj", own + 300);
    assert_eq!(bundle.facts()["oom_score_adj"], own + 300);
    let container = bundle.args(["/inside", "pause"]).detached();
    assert_eq!(container.exec(["/inside", "facts"]).run().json()["oom_score_adj"], own + 300);
    container.remove();
    assert_eq!(runtime.bundle(&root).facts()["oom_score_adj"], own, "without one it is the caller's");
    let lower = runtime.bundle(&root).with("/process/oomScoreAdj", own - 500).run();
    match may_raise() {
        true => drop(lower.ok()),
        false => drop(refused(lower, 1, &["oom_score_adj"])),
    }
}

#[test]
fn the_working_directory_is_made() {
    let runtime = Runtime::new();
    let root = runtime.world().rootfs_busybox();
    root.link("way", "/srv");
    root.directory("srv");
    let user = json!({ "uid": 1000, "gid": 1001 });
    let bundle = runtime.bundle(&root).with("/process/user", user).with("/process/cwd", "/a/b/c");
    assert_eq!(bundle.facts()["cwd"], "/a/b/c");
    let made = std::fs::metadata(root.path().join("a/b/c")).unwrap();
    assert_eq!((made.uid(), made.gid()), (1000, 1001));
    assert_eq!(runtime.bundle(&root).with("/process/cwd", "/way/new").facts()["cwd"], "/srv/new");
    assert_eq!(runtime.bundle(&root).with("/process/cwd", "/home/../tmp/./x").facts()["cwd"], "/tmp/x");
    let container = bundle.args(["/inside", "pause"]).detached();
    assert_eq!(container.exec(["/inside", "facts"]).run().json()["cwd"], "/a/b/c");
    let facts = container.exec_with(&["--cwd", "/tmp"], ["/inside", "facts"]).run().json();
    assert_eq!(facts["cwd"], "/tmp");
    refused(container.exec_with(&["--cwd", "/no/such"], ["/inside", "facts"]).run(), 255, &["/no/such"]);
    container.remove();
    refused(
        runtime.bundle(&root).with("/process/cwd", "/etc/passwd").run(),
        1,
        &["/etc/passwd", "not a directory"],
    );
}

/// A directory that the program's user alone may enter, and one that root alone may.
#[test]
fn the_working_directory_is_entered_with_the_right_rights() {
    use std::os::unix::fs::PermissionsExt;
    let runtime = Runtime::new();
    let root = runtime.world().rootfs_inside();
    for (name, owner) in [("users", 1000), ("roots", 0)] {
        let path = root.directory(name);
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o700)).unwrap();
        std::os::unix::fs::chown(&path, Some(owner), Some(owner)).unwrap();
    }
    let as_user = |path: &str| {
        runtime
            .bundle(&root)
            .with("/process/user/uid", 1000)
            .with("/process/cwd", path)
            .without("/process/capabilities")
    };
    assert_eq!(as_user("/users").facts()["cwd"], "/users");
    // As other OCI runtimes: entered before the user is changed, where root may.
    assert_eq!(as_user("/roots").facts()["cwd"], "/roots");
}

fn env(bundle: &Bundle<'_>) -> Value {
    bundle.facts()["env"].clone()
}

#[test]
fn variables_are_those_of_config_json() {
    let runtime = Runtime::new();
    let root = runtime.world().rootfs_busybox();
    let list = json!(["PATH=/bin", "A=1", "EMPTY=", "A=2", "EQUALS=a=b", "HOME=/mine"]);
    let bundle = runtime.bundle(&root).with("/process/env", list);
    let wanted = json!({ "PATH": "/bin", "A": "2", "EMPTY": "", "EQUALS": "a=b", "HOME": "/mine" });
    assert_eq!(env(&bundle), wanted, "and none of the caller's");
    let container = bundle.args(["/inside", "pause"]).detached();
    let facts = container.exec_with(&["--env", "A=3", "--env", "B=4"], ["/inside", "facts"]).run().json();
    let mut wanted = wanted;
    (wanted["A"], wanted["B"]) = (json!("3"), json!("4"));
    assert_eq!(facts["env"], wanted);
    container.remove();
}

#[test]
fn home_is_the_users() {
    let runtime = Runtime::new();
    let root = runtime.world().rootfs_busybox();
    for (uid, home) in [(0, "/root"), (1000, "/home/user"), (4711, "/")] {
        let bundle = runtime.bundle(&root).with("/process/user/uid", uid);
        assert_eq!(env(&bundle)["HOME"], home, "of {uid}");
        let container = bundle.args(["/inside", "pause"]).detached();
        assert_eq!(container.exec(["/inside", "facts"]).run().json()["env"]["HOME"], home, "of {uid}, exec");
        container.remove();
    }
    // A file that is none keeps nobody waiting.
    let root = runtime.world().rootfs_busybox();
    std::fs::remove_file(root.path().join("etc/passwd")).unwrap();
    runtime.world().program(["mkfifo", &format!("{}/etc/passwd", root.plain())]).run().ok();
    assert_eq!(env(&runtime.bundle(&root))["HOME"], "/");
}

#[test]
fn words_come_as_they_are() {
    let runtime = Runtime::new();
    let root = runtime.world().rootfs_inside();
    root.link("other", "inside");
    let words = ["/other", "facts"];
    let facts = runtime.bundle(&root).args(words).run().json();
    assert_eq!(facts["argv"], json!(words));
    assert_eq!(facts["pid"], 1);
    assert_eq!(facts["session"], 1, "it leads a session");
}
