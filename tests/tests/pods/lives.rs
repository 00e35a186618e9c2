//! How a pod lives: started, stopped, paused, killed, removed, by its states in Podman's words.

use std::time::{Duration, Instant};

use super::Ground;

#[test]
fn from_its_making_to_its_end() {
    let ground = Ground::new();
    let pod = ground.create(&["web"]);
    assert_eq!(ground.state("web"), "Created");
    let words = ground.words(&["--pod", "web", "--name", "one"], &["sleep", "1000"]);
    ground.world.minidocker(["create".to_owned()].into_iter().chain(words)).ok();
    assert_eq!(ground.state("web"), "Created");
    // A container that is started starts the pod.
    ground.world.minidocker(["start", "one"]).prints("one\n");
    assert_eq!(ground.state("web"), "Running");
    ground.idle("two");
    ground.world.minidocker(["stop", "-t", "0", "two"]).ok();
    assert_eq!(ground.state("web"), "Degraded");
    let said = |words: &[&str]| ground.pod(words).prints(&format!("{pod}\n"));
    said(&["start", "web"]);
    assert_eq!(ground.state("web"), "Running");
    said(&["pause", "web"]);
    assert_eq!(ground.state("web"), "Paused");
    ground.pod(&["pause", "web"]).refuses(125, &["pod web", "running"]);
    said(&["unpause", &pod[..12]]);
    ground.pod(&["unpause", "web"]).refuses(125, &["pod web", "paused"]);
    assert_eq!(ground.state("web"), "Running");
    // Containers that do not hear are killed after one time for all of them.
    let start = Instant::now();
    said(&["stop", "-t", "1", "web"]);
    assert!(start.elapsed() < Duration::from_secs(8), "they are asked at once");
    assert_eq!(ground.state("web"), "Exited");
    said(&["stop", "web"]);
    ground.pod(&["kill", "web"]).refuses(125, &["pod web", "running"]);
    ground.pod(&["top", "web"]).refuses(125, &["pod web", "not running"]).hints("pod start web");
    said(&["restart", "web"]);
    assert_eq!(ground.state("web"), "Running");
    let text = ground.pod(&["top", "web"]).ok().out();
    assert_eq!((text.lines().count(), text.matches("sleep 1000").count()), (4, 2), "{text}");
    let stats = ground.pod(&["stats", "--no-stream", "--format", "{{.Name}}", "web"]).text();
    assert_eq!(stats.lines().collect::<Vec<_>>(), ["web", "one", "two"]);
    said(&["kill", "web"]);
    ground.becomes("web", "Exited");
    said(&["rm", "web"]);
    ground.pod(&["exists", "web"]).exits(1);
    ground.world.minidocker(["inspect", "one"]).exits(1);
    ground.world.expect_nothing_left();
}

#[test]
fn a_pod_with_containers_that_run_stays_unless_it_is_forced() {
    let ground = Ground::new();
    let pod = ground.create(&["web"]);
    ground.idle("one");
    ground.idle("two");
    ground.pod(&["rm", "web"]).refuses(2, &["pod web", "one, two run"]).hints("pod rm -f web");
    ground.world.minidocker(["rm", "-f", "web"]).refuses(1, &["infra of pod web"]).hints("pod rm web");
    ground.world.minidocker(["container", "prune", "-f"]).ok();
    ground.pod(&["rm", "nobody"]).refuses(1, &["no such pod: nobody"]);
    ground.pod(&["rm", "-i", "nobody"]).prints("");
    ground.pod(&["rm", "one"]).refuses(1, &["no such pod: one"]).hints("is a container");
    assert_eq!(ground.state("web"), "Running");
    ground.pod(&["rm", "-f", "-t", "0", "web"]).prints(&format!("{pod}\n"));
    ground.pod(&["rm", "-f", "-a"]).prints("");
    ground.world.expect_nothing_left();
}

#[test]
fn what_has_ended_is_pruned_as_a_whole() {
    let ground = Ground::new();
    let ended = ground.create(&["-l", "tier=old", "web"]);
    ground.idle("one");
    ground.pod(&["stop", "-t", "0", "web"]).ok();
    let made = ground.create(&["made"]);
    let running = ground.create(&["running"]);
    ground.pod(&["start", "running"]).prints(&format!("{running}\n"));
    ground.pod(&["prune", "-f", "--filter", "label=tier=new"]).prints("");
    // Containers that ended go alone, infras never.
    ground.world.minidocker(["container", "prune", "-f"]).ok();
    assert_eq!(ground.pod(&["ls", "-q", "--no-trunc"]).text().lines().count(), 3);
    ground.pod(&["prune", "-f"]).prints(&format!("{ended}\n"));
    let left = ground.pod(&["ls", "-q", "--no-trunc"]).text();
    assert_eq!(left.lines().collect::<Vec<_>>(), [running.as_str(), made.as_str()]);
    ground.pod(&["stop", "running"]).ok();
    let said = ground.world.minidocker(["system", "prune", "-f"]).ok().out();
    assert!(said.starts_with(&format!("Deleted Pods:\n{running}\n\n")), "{said}");
    ground.pod(&["exists", "made"]).ok();
}

#[test]
fn the_last_container_ends_a_pod_whose_policy_is_to_stop() {
    let ground = Ground::new();
    ground.create(&["--exit-policy", "stop", "web"]);
    ground.idle("one");
    ground.member("short", &["true"]);
    assert_eq!(ground.inspect("web")["ExitPolicy"], "stop");
    ground.world.minidocker(["wait", "short"]).prints("0\n");
    ground.becomes("web", "Degraded");
    ground.world.minidocker(["stop", "-t", "0", "one"]).ok();
    ground.becomes("web", "Exited");
    // With the next one it is there again.
    let words = ground.words(&["--rm", "--pod", "web"], &["hostname"]);
    ground.world.minidocker(["run".to_owned()].into_iter().chain(words)).prints("web\n");
    ground.becomes("web", "Exited");
    // Who comes while the last one goes stays.
    for round in 0..10 {
        let name = format!("n{round}");
        ground.idle(&name);
        let words = ground.words(&["--rm", "--pod", "web"], &["hostname"]);
        let next = ground.world.spawn(["run".to_owned()].into_iter().chain(words));
        ground.world.minidocker(["rm", "-f", &name]).ok();
        assert_eq!(next.wait().text(), "web");
    }
    // The other policy keeps it.
    ground.create(&["kept"]);
    let words = ground.words(&["--rm", "--pod", "kept"], &["true"]);
    ground.world.minidocker(["run".to_owned()].into_iter().chain(words)).ok();
    std::thread::sleep(Duration::from_millis(300));
    assert_eq!(ground.state("kept"), "Running");
}

#[test]
fn a_pod_that_is_made_with_its_first_container() {
    let ground = Ground::new();
    let words = ["--pod", "new:web", "-p", "8080:80", "-h", "front", "--name", "one"];
    ground.world.detached(ground.words(&words, &["sleep", "1000"]));
    assert_eq!(ground.exec("one", &["hostname"]), "front");
    ground.world.minidocker(["port", "one", "80/tcp"]).prints("0.0.0.0:8080\n");
    assert_eq!(ground.state("web"), "Running");
    let run = |options: &[&str], command: &[&str]| {
        let words = ground.words(options, command);
        ground.world.minidocker(["run".to_owned()].into_iter().chain(words))
    };
    run(&["--pod", "new:web"], &["true"]).refuses(125, &["web", "in use by pod"]).hints("pod rm -f web");
    // Nothing of one stays whose container does not come.
    run(&["--pod", "new:gone"], &["/nothing"]).refuses(127, &["/nothing"]);
    ground.pod(&["exists", "gone"]).exits(1);
    run(&["--rm", "--pod", "new:short"], &["true"]).ok();
    assert_eq!(ground.state("short"), "Running");
    let words = ground.words(&["--pod", "new:made", "--name", "two"], &["true"]);
    ground.world.minidocker(["create".to_owned()].into_iter().chain(words)).ok();
    assert_eq!(ground.state("made"), "Created");
}
