//! Hooks of all six kinds: their order, what they are told, where they run, and what their failure does.

use std::fs;

use minidocker_tests::bundle::{Bundle, Runtime};
use minidocker_tests::until;
use serde_json::{Value, json};

use crate::{refused, script};

/// In the order in which they run.
const KINDS: [&str; 6] =
    ["prestart", "createRuntime", "createContainer", "startContainer", "poststart", "poststop"];

/// A hook by the shell: the host's, or for `startContainer` the container's.
fn hook(line: &str) -> Value {
    json!({ "path": "/bin/sh", "args": ["sh", "-c", line], "env": ["PATH=/usr/bin:/bin"] })
}

/// Each hook and the program write a line: a word, the state, the numbers of their network and mount namespaces.
fn recorded<'r>(bundle: Bundle<'r>, log: &str) -> Bundle<'r> {
    let line = |kind: &str, log: &str| {
        let spaces = "$(readlink /proc/self/ns/net) $(readlink /proc/self/ns/mnt) $(pwd)";
        hook(&format!("state=$(cat); echo \"{kind} {spaces} $state\" >> {log}"))
    };
    let bundle = KINDS.into_iter().fold(bundle, |bundle, kind| {
        let log = if kind == "startContainer" { "/log" } else { log };
        bundle.with(&format!("/hooks/{kind}/-"), line(kind, log))
    });
    bundle.bind(log, "/log", &[]).shell("echo program >> /log; exec /inside pause")
}

#[test]
fn each_runs_at_its_turn_and_is_told_the_state() {
    let runtime = Runtime::new();
    let root = runtime.world().rootfs_busybox();
    let log = runtime.file("log", "");
    let bundle = recorded(runtime.bundle(&root).with("/annotations/colour", "blue"), &log);
    let lines = || -> Vec<Vec<String>> {
        let text = fs::read_to_string(&log).unwrap();
        text.lines().map(|line| line.splitn(5, ' ').map(str::to_owned).collect()).collect()
    };
    let words = || lines().iter().map(|line| line[0].clone()).collect::<Vec<_>>();

    let container = bundle.create();
    let pid = container.pid();
    assert_eq!(words(), KINDS[..3]);
    container.start();
    container.until("ready");
    // The program runs when poststart does, and may be faster or slower.
    let mut now = words();
    now.retain(|word| word != "program");
    assert_eq!(now, KINDS[..5]);
    container.kill("KILL");
    container.wait();
    assert_eq!(words().len(), 6);
    container.call(&["delete"]).run().prints("");
    assert_eq!(words().last().unwrap(), "poststop");

    let all = lines();
    let of = |kind: &str| all.iter().find(|line| line[0] == kind).unwrap();
    let host =
        |name: &str| fs::read_link(format!("/proc/thread-self/ns/{name}")).unwrap().display().to_string();
    let (network, mounts) = (runtime.world().inside_network(|| host("net")), host("mnt"));
    for kind in KINDS {
        let [_, net, mnt, directory, state] = of(kind).as_slice() else { panic!("{:?}", of(kind)) };
        let inside = matches!(kind, "createContainer" | "startContainer");
        assert_eq!((*net != network, *mnt != mounts), (inside, inside), "{kind}: its namespaces");
        let state: Value = serde_json::from_str(state).unwrap_or_else(|error| panic!("{state}: {error}"));
        assert_eq!((&state["id"], &state["annotations"]["colour"]), (&json!(bundle.id()), &json!("blue")));
        assert_eq!(state["bundle"].as_str(), bundle.directory().to_str(), "{kind}");
        assert!(state["ociVersion"].as_str().unwrap().starts_with("1."));
        let status = match kind {
            "prestart" | "createRuntime" | "createContainer" => "creating",
            "startContainer" => "created",
            "poststart" => "running",
            _ => "stopped",
        };
        assert_eq!(state["status"], status, "{kind}");
        match kind {
            "prestart" | "createRuntime" | "poststart" => assert_eq!(state["pid"], pid, "{kind}"),
            "poststop" => assert!(matches!(state["pid"].as_i64(), None | Some(0)), "{state}"),
            _ => assert!(state["pid"].as_i64() > Some(0), "{kind}: {state}"),
        }
        if kind == "startContainer" {
            assert_eq!(directory, "/", "in the container's working directory");
        }
    }
}

#[test]
fn several_of_a_kind_run_in_order_with_their_words_and_variables() {
    let runtime = Runtime::new();
    let root = runtime.world().rootfs_busybox();
    let log = runtime.file("log", "");
    let line = format!("echo \"$0 $1 $COLOUR ${{HOME-none}}\" >> {log}");
    let named = |name: &str| {
        json!({
            "path": "/bin/sh", "args": ["sh", "-c", line, name, "a b"], "env": ["COLOUR=blue", "PATH=/usr/bin:/bin"],
        })
    };
    let bundle = runtime.bundle(&root).args(["/inside", "true"]);
    let bundle = bundle.with("/hooks/createRuntime", json!([named("one"), named("two"), named("three")]));
    bundle.run().prints("");
    assert_eq!(
        fs::read_to_string(&log).unwrap(),
        "one a b blue none\ntwo a b blue none\nthree a b blue none\n"
    );
}

#[test]
fn one_that_fails_before_the_start_ends_it_all() {
    let runtime = Runtime::new();
    let root = runtime.world().rootfs_busybox();
    let (log, gone) = (runtime.file("log", ""), runtime.path("gone"));
    for kind in &KINDS[..3] {
        let bundle = runtime
            .bundle(&root)
            .shell("echo ran")
            .with(
                &format!("/hooks/{kind}"),
                json!([hook("echo sorry >&2; exit 9"), hook(&format!("echo >> {log}"))]),
            )
            .with("/hooks/poststop", json!([hook(&format!("echo {kind} >> {gone}"))]));
        for command in ["create", "run"] {
            let output =
                refused(bundle.launch(&[], command, &[]).unwrap_err(), 1, &[kind, "hook #0", "sorry"]);
            assert_eq!(output.out(), "", "the program did not run");
            assert!(
                runtime.states().is_empty() && bundle.group().directories().is_empty(),
                "{kind} {command}"
            );
        }
    }
    assert_eq!(fs::read_to_string(&log).unwrap(), "", "the hook after the one that failed");
}

#[test]
fn one_that_fails_at_the_start_ends_the_container() {
    let runtime = Runtime::new();
    let root = runtime.world().rootfs_busybox();
    for kind in ["startContainer", "poststart"] {
        let bundle = runtime
            .bundle(&root)
            .shell("exec /inside pause")
            .with(&format!("/hooks/{kind}"), json!([hook("echo sorry >&2; exit 9")]));
        let container = bundle.create();
        refused(container.call(&["start"]).run(), 1, &[kind, "hook #0", "sorry"]);
        container.wait();
        container.call(&["delete"]).run().prints("");
        refused(bundle.run(), 1, &[kind, "sorry"]);
        refused(bundle.launch(&[], "run", &["--detach"]).unwrap_err(), 1, &[kind, "sorry"]);
        assert!(runtime.states().is_empty(), "{kind}");
    }
}

/// The specification: the container is gone all the same, the next hook runs, and somebody is told.
#[test]
fn one_that_fails_at_the_end_is_told_and_stops_nothing() {
    let runtime = Runtime::new();
    let root = runtime.world().rootfs_inside();
    let log = runtime.file("log", "");
    let hooks = json!([hook("echo sorry >&2; exit 9"), hook(&format!("echo second >> {log}"))]);
    let bundle = runtime.bundle(&root).with("/hooks/poststop", hooks);
    let container = bundle.create();
    let output = container.call(&["delete"]).run().ok();
    assert!(output.err().contains("sorry") && output.err().contains("warning"), "{output:?}");
    assert_eq!(fs::read_to_string(&log).unwrap(), "second\n");
}

#[test]
fn one_that_takes_too_long_is_ended() {
    let runtime = Runtime::new();
    let root = runtime.world().rootfs_inside();
    let file = runtime.path("pid");
    let mut slow = hook(&format!("echo $$ > {file}; exec sleep 600"));
    slow["timeout"] = json!(1);
    let bundle = runtime.bundle(&root).with("/hooks/createRuntime", json!([slow]));
    refused(bundle.launch(&[], "create", &[]).unwrap_err(), 1, &["createRuntime"]);
    let pid = fs::read_to_string(&file).unwrap();
    assert!(!std::path::Path::new("/proc").join(pid.trim()).exists(), "the hook is gone");
}

#[test]
fn a_hook_that_is_not_there_is_told() {
    let runtime = Runtime::new();
    let root = runtime.world().rootfs_inside();
    for kind in &KINDS[..3] {
        let hooks = json!([{ "path": "/no/such/hook" }]);
        let bundle = runtime.bundle(&root).with(&format!("/hooks/{kind}"), hooks);
        refused(bundle.launch(&[], "create", &[]).unwrap_err(), 1, &[kind, "/no/such/hook"]);
    }
}

/// What a hook sees of the container: in createContainer the mounts are there, and the host's files still too; in
/// startContainer the container is as its program will see it.
#[test]
fn hooks_find_the_container_as_far_as_it_is() {
    let runtime = Runtime::new();
    let root = runtime.world().rootfs_busybox();
    let log = runtime.file("log", "");
    let rootfs = root.plain();
    let create =
        format!("test -e {log} && test -c {rootfs}/dev/null && test -d {rootfs}/proc/1 && hostname > {log}");
    script(&root, "inner", "test ! -e /etc/debian_version && test -c /dev/null && echo $$ > /inner.log");
    let bundle = runtime
        .bundle(&root)
        .with("/hostname", "hooked")
        .args(["/inside", "read", "/inner.log"])
        .with("/hooks/createContainer", json!([hook(&create)]))
        .with("/hooks/startContainer", json!([{ "path": "/inner" }]));
    let output = bundle.run().ok();
    assert_eq!(fs::read_to_string(&log).unwrap(), "hooked\n");
    let number: u32 = output.out().trim().parse().unwrap();
    assert!((2..100).contains(&number), "its number in the container's pid namespace: {number}");
}

/// A hook that hangs holds nobody but its own container's creator.
#[test]
fn other_commands_go_on_while_a_hook_runs() {
    let runtime = Runtime::new();
    let root = runtime.world().rootfs_inside();
    let (pipe, began) = (runtime.path("pipe"), runtime.path("began"));
    runtime.world().program(["mkfifo", &pipe]).run().ok();
    let line = format!("echo > {began}; read line < {pipe}");
    let bundle = runtime.bundle(&root).with("/hooks/createRuntime", json!([hook(&line)]));
    let running = bundle.call("run", &[]).spawn();
    until("the hook has begun", || std::path::Path::new(&began).exists());
    let state = runtime.call(["state", bundle.id()]).run().json();
    assert_eq!(state["status"], "creating");
    assert_eq!(runtime.call(["list", "-q"]).run().text(), bundle.id());
    refused(runtime.call(["start", bundle.id()]).run(), 1, &["cannot start"]);
    refused(runtime.call(["delete", bundle.id()]).run(), 1, &["not stopped"]);
    fs::write(&pipe, "go\n").unwrap();
    running.wait().json();
}
