//! The life of a container: signals, stop, pause, health, restarts, the daemon's own restart.

use minidocker_tests::Version;
use serde_json::json;

use super::{Docker, IMAGE};
use crate::{CATCHER, lines, wait_for};

#[test]
fn signals_arrive_and_stop_is_patient() {
    let docker = Docker::new();
    let id = docker.detached(&[IMAGE, "sh", "-c", CATCHER]);
    docker.until_said(&id, "ready");
    docker.docker(["kill", "--signal", "USR1", &id]).ok();
    docker.until_said(&id, "USR1");
    assert_eq!(docker.inspect(&id, ".State.Running"), true);
    docker.docker(["stop", "--time", "60", &id]).ok();
    assert_eq!(docker.inspect(&id, ".State.ExitCode"), 4);
    // Without a handler of its own PID 1 does not hear SIGTERM (pid_namespaces(7)).
    let id = docker.detached(&[IMAGE, "sleep", "1000"]);
    docker.docker(["stop", "--time", "1", &id]).ok();
    assert_eq!(docker.inspect(&id, ".State.ExitCode"), 137);
    let id = docker.detached(&[IMAGE, "sleep", "1000"]);
    docker.docker(["kill", &id]).ok();
    assert_eq!(docker.docker(["wait", &id]).text(), "137");
    let output = docker.docker(["kill", &id]).exits(1);
    assert!(output.err().contains("is not running"), "{output:?}");
    let id = docker.detached(&[
        "--stop-signal",
        "USR1",
        IMAGE,
        "sh",
        "-c",
        "trap 'exit 3' USR1; echo ready; while :; do sleep 0.05; done",
    ]);
    docker.until_said(&id, "ready");
    docker.docker(["stop", "--time", "60", &id]).ok();
    assert_eq!(docker.inspect(&id, ".State.ExitCode"), 3);
}

#[test]
fn a_pause_stops_all_and_ends() {
    let docker = Docker::new();
    let script = "n=0; while :; do n=$((n+1)); echo $n > /tmp/n; sleep 0.02; done";
    let id = docker.detached(&[IMAGE, "sh", "-c", script]);
    let group = docker.group(&id);
    let frozen = || match Version::here() {
        Version::V1 => group.read("freezer", "freezer.state"),
        Version::V2 => group.read("freezer", "cgroup.events"),
    };
    docker.docker(["pause", &id]).ok();
    assert_eq!(docker.inspect(&id, ".State.Status"), "paused");
    assert!(frozen().contains(Version::pick("FROZEN", "frozen 1")), "{}", frozen());
    let count = || docker.host.shell(&format!("cat /proc/{}/root/tmp/n", docker.pid(&id)));
    let before = count();
    assert_eq!(docker.docker(["ps", "--filter", "status=paused", "--quiet", "--no-trunc"]).text(), id);
    assert_eq!(count(), before, "it went on");
    docker.docker(["unpause", &id]).ok();
    assert!(frozen().contains(Version::pick("THAWED", "frozen 0")), "{}", frozen());
    wait_for("it goes on", || if count() == before { Err(before.clone()) } else { Ok(()) });
    // One that is paused can be removed.
    docker.docker(["pause", &id]).ok();
    docker.remove(&[&id]);
    docker.expect_nothing_left();
}

#[test]
fn health_is_looked_after() {
    let docker = Docker::new();
    let options =
        ["--health-cmd", "test -e /tmp/well", "--health-interval", "200ms", "--health-retries", "2"];
    let id = docker
        .detached(&[&options[..], &[IMAGE, "sh", "-c", "touch /tmp/well; exec /inside pause"]].concat());
    docker.until(&id, ".State.Health.Status", &json!("healthy"));
    docker.docker(["exec", &id, "rm", "/tmp/well"]).ok();
    docker.until(&id, ".State.Health.Status", &json!("unhealthy"));
    docker.docker(["exec", &id, "touch", "/tmp/well"]).ok();
    docker.until(&id, ".State.Health.Status", &json!("healthy"));
}

#[test]
fn restarts_are_as_the_policy_says() {
    let docker = Docker::new();
    let id = docker.detached(&["--restart", "on-failure:2", IMAGE, "/inside", "exit", "3"]);
    docker.until(&id, ".RestartCount", &json!(2));
    docker.until(&id, ".State.Status", &json!("exited"));
    assert_eq!(docker.inspect(&id, ".State.ExitCode"), 3);
    let id = docker.detached(&["--restart", "always", IMAGE, "/inside", "pause"]);
    let first = docker.pid(&id);
    docker.host.shell(&format!("kill -9 {first}"));
    docker.until(&id, ".RestartCount", &json!(1));
    docker.until(&id, ".State.Running", &json!(true));
    let second = docker.pid(&id);
    assert_ne!(second, first);
    docker.docker(["restart", &id]).ok();
    let third = docker.pid(&id);
    assert!(third != second && third > 0, "{third} after {second}");
    docker.docker(["exec", &id, "true"]).ok();
    docker.docker(["stop", &id]).ok();
    assert_eq!(docker.inspect(&id, ".State.Status"), "exited");
    docker.docker(["start", &id]).ok();
    docker.docker(["exec", &id, "true"]).ok();
}

#[test]
fn containers_outlive_the_daemon() {
    let live = json!({"live-restore": true, "bridge": "none"});
    let mut docker = Docker::with(live.clone());
    let id = docker.detached(&[IMAGE, "sh", "-c", CATCHER]);
    docker.until_said(&id, "ready");
    let pid = docker.pid(&id);
    docker.restart(live);
    assert_eq!(docker.pid(&id), pid);
    docker.docker(["kill", "--signal", "USR1", &id]).ok();
    docker.until_said(&id, "USR1");
    docker.docker(["exec", &id, "true"]).ok();
    docker.docker(["stop", "--time", "60", &id]).ok();
    assert_eq!(docker.inspect(&id, ".State.ExitCode"), 4);
}

#[test]
fn events_tell_the_whole_life() {
    let docker = Docker::new();
    let id = docker.docker(["create", IMAGE, "sh", "-c", CATCHER]).text();
    for words in [&["start", &id][..], &["pause", &id], &["unpause", &id], &["kill", "-s", "KILL", &id]] {
        docker.docker(words).ok();
    }
    docker.docker(["wait", &id]).ok();
    docker.docker(["rm", &id]).ok();
    // A moment in the future: Docker reads what was and waits for the rest.
    let until = docker.host.shell("echo $(($(date +%s) + 1))");
    let words = ["events", "--since", "0", "--until", &until, "--filter", "type=container"];
    let events = docker.docker(words.into_iter().chain(["--format", "{{.Action}}"])).text();
    let wanted = ["create", "start", "pause", "unpause", "kill", "die", "destroy"];
    assert_eq!(lines(&events), wanted, "and nothing ran out of memory");
}
