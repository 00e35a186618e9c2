//! `create`, `start`, `stop`, `restart`, `wait`, `attach`, `exec`, `pause`, `rename`, `logs`, `--restart`: containers that
//! live on their own, and what becomes of them when their monitor is killed.

use std::time::{Duration, Instant};

use minidocker_tests::{World, until};
use rustix::process::{Pid, Signal, kill_process};

/// The state of container `name` in a word, and its status.
fn state(world: &World, name: &str) -> (String, String) {
    let filter = format!("name=^{name}$");
    let text =
        world.minidocker(["ps", "-a", "--filter", &filter, "--format", "{{.State}} {{.Status}}"]).text();
    let (state, status) = text.split_once(' ').unwrap_or((text.as_str(), ""));
    (state.to_owned(), status.to_owned())
}

pub(crate) fn kill(pid: i32) {
    kill_process(Pid::from_raw(pid).expect("a process"), Signal::KILL).expect("it is ours and lives");
}

/// The process that has the container's lock open: its monitor, be it its first process's parent or not.
pub(crate) fn monitor(world: &World, id: &str) -> Option<i32> {
    let lock = world.run_root().join("containers").join(id).join("lock");
    let processes = std::fs::read_dir("/proc").expect("procfs").flatten();
    processes.filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok()).find(|pid| {
        let open = std::fs::read_dir(format!("/proc/{pid}/fd")).into_iter().flatten().flatten();
        open.filter_map(|fd| std::fs::read_link(fd.path()).ok()).any(|path| path == lock)
    })
}

#[test]
fn made_started_stopped_and_started_again() {
    let world = World::new();
    let root = world.rootfs_busybox().overlay();
    let script = "echo started >>/count; wc -l </count; exec sleep 1000";
    let id = world.minidocker(["create", "--name", "web", "--rootfs", &root, "sh", "-c", script]).text();
    assert_eq!(id.len(), 64, "{id}");
    assert_eq!(state(&world, "web"), ("created".into(), "Created".into()));
    world.minidocker(["ps", "-q"]).prints("");

    world.minidocker(["start", "web"]).prints("web\n");
    assert_eq!(state(&world, "web").0, "running");
    world.minidocker(["start", "web"]).prints("web\n");
    // PID 1 does not hear TERM: it is killed after the time it has.
    world.minidocker(["stop", "-t", "0", "web"]).prints("web\n");
    let (word, status) = state(&world, "web");
    assert!(word == "exited" && status.starts_with("Exited (137) "), "{status}");
    world.minidocker(["stop", "web"]).prints("web\n");

    // What it wrote is still there.
    world.minidocker(["restart", "-t", "0", "web"]).prints("web\n");
    until("it printed", || world.minidocker(["logs", "web"]).out() == "1\n2\n");
    world.minidocker(["rm", "-f", "web"]).prints("web\n");
    world.expect_nothing_left();
}

#[test]
fn a_stop_asks_by_the_signal_and_waits() {
    let world = World::new();
    let root = world.rootfs_busybox().overlay();
    let script = "trap 'echo asked; exit 5' USR1; echo ready; while :; do sleep 0.05; done";
    let options = ["--name", "kind", "--stop-signal", "USR1", "--rootfs", &root, "sh", "-c", script];
    world.detached(options);
    until("it is ready", || world.minidocker(["logs", "kind"]).out() == "ready\n");
    world.minidocker(["stop", "kind"]).ok();
    assert!(state(&world, "kind").1.starts_with("Exited (5) "), "{:?}", state(&world, "kind"));
    world.minidocker(["logs", "kind"]).prints("ready\nasked\n");
    world.minidocker(["wait", "kind"]).prints("5\n");
    world.minidocker(["rm", "kind"]).ok();
}

#[test]
fn who_waits_is_told_the_exit_code() {
    let world = World::new();
    let root = world.rootfs_busybox().overlay();
    world.detached(["-i", "--name", "job", "--rootfs", &root, "sh", "-c", "read line; exit 9"]);
    let waiting = world.spawn(["wait", "job"]);
    let mut attached = world.call(["attach", "job"]).stdin_open().spawn();
    attached.type_in(b"go\n");
    attached.wait().exits(9);
    waiting.wait().prints("9\n");
    world.minidocker(["wait", "nobody"]).refuses(1, &["no such container", "nobody"]);
    world.minidocker(["rm", "job"]).ok();
}

#[test]
fn start_attached_shows_what_it_prints_and_ends_with_its_code() {
    let world = World::new();
    let root = world.rootfs_busybox().overlay();
    world
        .minidocker([
            "create",
            "--name",
            "job",
            "--rootfs",
            &root,
            "sh",
            "-c",
            "echo out; echo err >&2; exit 3",
        ])
        .ok();
    for _ in 0..2 {
        let output = world.minidocker(["start", "-a", "job"]).exits(3);
        assert_eq!((output.out().as_str(), output.err().as_str()), ("out\n", "err\n"));
    }
    let output = world.minidocker(["logs", "job"]);
    assert_eq!((output.out().as_str(), output.err().as_str()), ("out\nout\n", "err\nerr\n"));
    world.minidocker(["start", "-a", "job", "other"]).refuses(1, &["one container"]);
    world.minidocker(["rm", "job"]).ok();
}

#[test]
fn a_start_that_fails_keeps_the_container_and_says_why() {
    let world = World::new();
    let root = world.rootfs_busybox().overlay();
    world.minidocker(["create", "--name", "bad", "--rootfs", &root, "/nothing/here"]).ok();
    world.minidocker(["start", "bad"]).refuses(1, &["/nothing/here", "no such file"]);
    let (word, status) = state(&world, "bad");
    assert!(word == "exited" && status.starts_with("Exited (127) "), "{status}");
    world.minidocker(["rm", "bad"]).ok();
    world.expect_nothing_left();
}

#[test]
fn exec_is_inside_with_the_containers_limits() {
    let world = World::new();
    let root = world.rootfs_busybox().overlay();
    let id =
        world.detached(["--name", "web", "-e", "A=1", "-h", "inner", "--rootfs", &root, "sleep", "1000"]);
    let script = "echo $$ $A $B $(hostname) $(pwd)";
    let output = world.minidocker(["exec", "-e", "B=2", "-w", "/tmp", "web", "sh", "-c", script]).text();
    let words: Vec<&str> = output.split(' ').collect();
    assert_eq!(words[1..], ["1", "2", "inner", "/tmp"], "{output}");
    assert_ne!(words[0], "1");
    world.minidocker(["exec", "web", "sh", "-c", "exit 7"]).exits(7);
    world.minidocker(["exec", "web", "/none"]).refuses(127, &["/none"]);
    world.minidocker(["exec", "-u", "1:2", "web", "sh", "-c", "id -u; id -g"]).prints("1\n2\n");
    let caps = |words: &[&str]| {
        let all = [&["exec"], words, &["web", "grep", "CapEff", "/proc/self/status"]].concat();
        world.minidocker(all).text()
    };
    let own = world.minidocker(["exec", "web", "grep", "CapEff", "/proc/1/status"]).text();
    assert_eq!(caps(&[]), own);
    assert_ne!(caps(&["--privileged"]), own);
    // It is in the container's groups, and goes with it.
    world.minidocker(["exec", "-d", "web", "sleep", "999"]).prints("");
    until("it is in the group", || world.group(&id).processes().len() == 2);
    world.minidocker(["pause", "web"]).ok();
    world.minidocker(["exec", "web", "true"]).refuses(1, &["web", "paused"]).hints("unpause");
    world.minidocker(["unpause", "web"]).ok();
    world.minidocker(["rm", "-f", "web"]).ok();
    world.minidocker(["exec", "web", "true"]).refuses(1, &["no such container"]);
    world.expect_nothing_left();
}

#[test]
fn a_command_of_exec_ends_with_its_client() {
    let world = World::new();
    let root = world.rootfs_busybox().overlay();
    let id = world.detached(["--name", "web", "--rootfs", &root, "sleep", "1000"]);
    let client = world.spawn(["exec", "web", "sh", "-c", "echo there; sleep 1000"]);
    client.until("there");
    kill(client.pid());
    until("it is gone", || world.group(&id).processes().len() == 1);
    let client = world.spawn([
        "exec",
        "web",
        "sh",
        "-c",
        "trap 'exit 4' TERM; echo there; while :; do sleep 0.05; done",
    ]);
    client.until("there");
    client.signal(15);
    assert!(client.wait().exits(4).time > Duration::ZERO);
    world.minidocker(["rm", "-f", "web"]).ok();
}

#[test]
fn paused_it_stands_still() {
    let world = World::new();
    let root = world.rootfs_busybox().overlay();
    let script = "while :; do echo x; sleep 0.01; done";
    world.detached(["--name", "busy", "--rootfs", &root, "sh", "-c", script]);
    let lines = || world.minidocker(["logs", "busy"]).out().lines().count();
    until("it prints", || lines() > 3);
    world.minidocker(["pause", "busy"]).prints("busy\n");
    let (word, status) = state(&world, "busy");
    assert!(word == "paused" && status.ends_with("(Paused)"), "{status}");
    world.minidocker(["pause", "busy"]).refuses(1, &["busy", "already paused"]);
    let (before, start) = (lines(), Instant::now());
    while start.elapsed() < Duration::from_millis(200) {
        assert_eq!(lines(), before);
    }
    world.minidocker(["unpause", "busy"]).prints("busy\n");
    until("it prints again", || lines() > before);
    // A paused one can be stopped.
    world.minidocker(["pause", "busy"]).ok();
    world.minidocker(["stop", "-t", "0", "busy"]).ok();
    // Killed, and removed by force.
    world.minidocker(["start", "busy"]).ok();
    world.minidocker(["pause", "busy"]).ok();
    world.minidocker(["kill", "busy"]).ok();
    world.minidocker(["wait", "busy"]).prints("137\n");
    world.minidocker(["start", "busy"]).ok();
    world.minidocker(["pause", "busy"]).ok();
    world.minidocker(["rm", "-f", "busy"]).prints("busy\n");
}

#[test]
fn another_name_for_it() {
    let world = World::new();
    let root = world.rootfs_busybox().overlay();
    world.detached(["--name", "old", "--rootfs", &root, "sleep", "1000"]);
    world.detached(["--name", "other", "--rootfs", &root, "sleep", "1000"]);
    world.minidocker(["rename", "old", "other"]).refuses(1, &["other", "already in use"]);
    world.minidocker(["rename", "old", "new"]).prints("");
    assert_eq!(state(&world, "new").0, "running");
    world.minidocker(["kill", "old"]).refuses(1, &["no such container", "old"]);
    world.minidocker(["rm", "-f", "new", "other"]).ok();
    world.expect_nothing_left();
}

#[test]
fn started_again_after_failures_so_often_and_no_more() {
    let world = World::new();
    let root = world.rootfs_busybox().overlay();
    let script = "echo run; exit 6";
    world.detached(["--name", "job", "--restart", "on-failure:2", "--rootfs", &root, "sh", "-c", script]);
    world.minidocker(["wait", "job"]).prints("6\n");
    world.minidocker(["logs", "job"]).prints("run\nrun\nrun\n");
    // It went well: nothing to be done again.
    world.detached(["--name", "fine", "--restart", "on-failure", "--rootfs", &root, "sh", "-c", "echo run"]);
    world.minidocker(["wait", "fine"]).prints("0\n");
    world.minidocker(["logs", "fine"]).prints("run\n");
    world
        .minidocker(["run", "--rm", "--restart", "always", "--rootfs", &root, "true"])
        .refuses(125, &["--rm", "--restart"]);
    world.minidocker(["rm", "job", "fine"]).ok();
}

#[test]
fn stopped_by_a_user_it_is_not_started_again() {
    let world = World::new();
    let root = world.rootfs_busybox().overlay();
    world.detached(["--name", "web", "--restart", "always", "--rootfs", &root, "sleep", "1000"]);
    world.minidocker(["kill", "web"]).ok();
    until("it stays ended", || state(&world, "web").0 == "exited");
    world.minidocker(["start", "web"]).ok();
    world.minidocker(["stop", "-t", "0", "web"]).ok();
    assert_eq!(state(&world, "web").0, "exited");
    // One that ends at once is stopped between two starts.
    world.detached(["--name", "short", "--restart", "always", "--rootfs", &root, "false"]);
    until("it waits", || state(&world, "short").0 == "restarting");
    world.minidocker(["rm", "short"]).refuses(1, &["short"]).hints("rm -f");
    world.minidocker(["stop", "short"]).ok();
    assert_eq!(state(&world, "short").0, "exited");
    world.minidocker(["rm", "web", "short"]).ok();
    world.expect_nothing_left();
}

#[test]
fn without_its_monitor_it_lives_on_and_gets_a_new_one() {
    let world = World::new();
    let root = world.rootfs_busybox().overlay();
    let script = "n=0; while :; do n=$((n+1)); echo $n; sleep 0.01; done";
    let id = world.detached(["--name", "web", "--rootfs", &root, "sh", "-c", script]);
    let lines = || world.minidocker(["logs", "web"]).out();
    let link = world.run_root().join("containers").join(&id).join("init");
    let init = || std::fs::read_link(&link).expect("its first process");
    until("it prints", || lines().lines().count() > 3);
    for _ in 0..3 {
        let (before, first) = (monitor(&world, &id), init());
        kill(before.expect("a monitor"));
        assert_eq!(state(&world, "web").0, "running");
        until("it has a new one", || {
            assert_eq!(state(&world, "web").0, "running");
            monitor(&world, &id).is_some_and(|new| Some(new) != before)
        });
        assert_eq!(init(), first, "the container is the same");
        let count = lines().lines().count();
        until("its output is heard", || lines().lines().count() > count);
    }
    // Nothing was lost, and nothing came twice.
    let all = lines();
    for (index, line) in all.lines().enumerate() {
        assert_eq!(line, (index + 1).to_string(), "{all}");
    }
    let waiting = world.spawn(["wait", "web"]);
    world.minidocker(["stop", "-t", "0", "web"]).ok();
    waiting.wait().ok();
    world.minidocker(["rm", "web"]).ok();
    world.expect_nothing_left();
}

#[test]
fn with_its_monitor_killed_too_its_end_is_lost_and_its_policy_holds() {
    let world = World::new();
    let root = world.rootfs_busybox().overlay();
    for (name, policy, word) in [("plain", "no", "exited"), ("kept", "always", "running")] {
        let id = world.detached(["--name", name, "--restart", policy, "--rootfs", &root, "sleep", "1000"]);
        let pid = world.init(&id);
        kill(monitor(&world, &id).expect("a monitor"));
        kill(pid);
        // A monitor that comes before its end would see it.
        let stat = || std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        until("it has ended", || {
            stat().rsplit(") ").next().is_none_or(|rest| rest.is_empty() || rest.starts_with('Z'))
        });
        until(name, || state(&world, name).0 == word);
    }
    assert_eq!(state(&world, "plain").1, "Exited (lost)");
    world.minidocker(["rm", "-f", "plain", "kept"]).ok();
    world.expect_nothing_left();
}

#[test]
fn logs_go_to_the_driver_that_was_asked_for() {
    let world = World::new();
    let root = world.rootfs_busybox().overlay();
    let run = |name: &str, options: &[&str]| {
        let words = [&["run", "--name", name], options, &["--rootfs", &root, "echo", "hello"]].concat();
        world.minidocker(words)
    };
    run("local", &[]).prints("hello\n");
    world.minidocker(["logs", "local"]).prints("hello\n");
    run("json", &["--log-driver", "json-file"]).ok();
    world.minidocker(["logs", "json"]).prints("hello\n");
    let id = world.minidocker(["ps", "-aq", "--no-trunc", "--filter", "name=json"]).text();
    let file = world.root().join("containers").join(&id).join("log").join(format!("{id}-json.log"));
    let text = std::fs::read_to_string(file).expect("Docker's file");
    assert!(text.starts_with(r#"{"log":"hello\n","stream":"stdout","time":""#), "{text}");
    run("none", &["--log-driver", "none"]).ok();
    world.minidocker(["logs", "none"]).refuses(1, &["does not support reading"]);
    run("odd", &["--log-driver", "paper"]).refuses(125, &["paper"]);
    let stamped = world.minidocker(["logs", "-t", "local"]).text();
    assert!(stamped.ends_with("Z hello") && stamped.starts_with("20"), "{stamped}");
    world.minidocker(["rm", "local", "json", "none"]).ok();
}

#[test]
fn logs_are_followed_to_the_end() {
    let world = World::new();
    let root = world.rootfs_busybox().overlay();
    let script = "for n in 1 2 3 4 5; do echo $n; sleep 0.05; done";
    world.detached(["--name", "job", "--rootfs", &root, "sh", "-c", script]);
    world.minidocker(["logs", "-f", "job"]).prints("1\n2\n3\n4\n5\n");
    world.minidocker(["logs", "--tail", "2", "job"]).prints("4\n5\n");
    world.minidocker(["logs", "nobody"]).refuses(1, &["no such container"]);
    world.minidocker(["rm", "job"]).ok();
}

#[test]
fn after_a_boot_runs_what_is_to_run() {
    let world = World::new();
    let root = world.rootfs_busybox().overlay();
    let all =
        [("none", "no"), ("always", "always"), ("unless", "unless-stopped"), ("stopped", "unless-stopped")];
    for (name, policy) in all {
        world.detached(["--name", name, "--restart", policy, "--rootfs", &root, "sleep", "1000"]);
    }
    world.minidocker(["stop", "-t", "0", "stopped"]).ok();
    assert_eq!(world.go_down(), 3);
    let output = world.minidocker(["system", "start"]).ok().out();
    let mut started: Vec<&str> = output.lines().collect();
    started.sort_unstable();
    assert_eq!(started, ["always", "unless"]);
    assert_eq!(state(&world, "none").1, "Exited (lost)");
    world.minidocker(["system", "start"]).prints("");
    world.minidocker(["rm", "-f", "none", "always", "unless", "stopped"]).ok();
}

#[test]
fn a_monitor_that_is_asked_to_end_asks_its_container() {
    let world = World::new();
    let root = world.rootfs_busybox().overlay();
    let script = "trap 'exit 8' TERM; echo ready; while :; do sleep 0.05; done";
    let id = world.detached(["--name", "web", "--restart", "always", "--rootfs", &root, "sh", "-c", script]);
    until("it is ready", || world.minidocker(["logs", "web"]).out() == "ready\n");
    let monitor = Pid::from_raw(monitor(&world, &id).expect("a monitor")).expect("a process");
    kill_process(monitor, Signal::TERM).expect("it lives");
    until("it has ended", || state(&world, "web").1.starts_with("Exited (8) "));
    world.minidocker(["system", "start"]).prints("web\n");
    world.minidocker(["rm", "-f", "web"]).ok();
    world.expect_nothing_left();
}
