//! What a crash leaves: of the infra, of its monitor, of commands on their way, of the whole machine.

use std::time::Duration;

use minidocker_tests::until;

use super::{Ground, kill};

#[test]
fn an_infra_without_a_monitor_gets_another() {
    let ground = Ground::new();
    let pod = ground.create(&["-p", "8080:80", "web"]);
    ground.idle("one");
    ground.world.detached(ground.words(&["--name", "near"], &["sleep", "1000"]));
    let (first, network) = (ground.world.init(&pod), ground.namespace(&pod, "net"));
    kill(ground.world.monitor(&pod));
    // Any command sees it, and gives it another, which answers for names.
    assert_eq!(ground.state("web"), "Running");
    assert_eq!((ground.world.init(&pod), ground.namespace(&pod, "net")), (first, network));
    let asks = || ground.world.minidocker(["exec", "one", "nslookup", "near"]).out();
    until("names are answered", || asks().contains("Name:"));
    ground.idle("two");
    assert_eq!(ground.namespace(&pod, "net"), ground.namespace(&two(&ground), "net"));
    ground.pod(&["rm", "-f", "web"]).ok();
    ground.world.minidocker(["rm", "-f", "near"]).ok();
    ground.world.expect_nothing_left();
}

fn two(ground: &Ground) -> String {
    ground.world.minidocker(["ps", "-q", "--no-trunc", "--filter", "name=^two$"]).text()
}

#[test]
fn a_pod_that_lost_its_infra_says_so_and_is_mended_by_a_restart() {
    let ground = Ground::new();
    let pod = ground.create(&["-p", "8080:80", "web"]);
    ground.idle("one");
    for with_monitor in [false, true] {
        let (monitor, first) = (ground.world.monitor(&pod), ground.world.init(&pod));
        if with_monitor {
            kill(monitor);
        }
        kill(first);
        ground.becomes("web", "Degraded");
        // Its port is free, and nobody takes what is left for the pod.
        let words = ground.words(&["--pod", "web"], &["true"]);
        let said = ground.world.minidocker(["run".to_owned()].into_iter().chain(words));
        said.refuses(125, &["pod web has lost its infra while one ran"]).hints("pod restart web");
        ground.pod(&["start", "web"]).refuses(125, &["lost its infra"]);
        ground.pod(&["restart", "web"]).prints(&format!("{pod}\n"));
        assert_eq!(ground.state("web"), "Running");
        let one = ground.world.minidocker(["ps", "-q", "--no-trunc", "--filter", "name=^one$"]).text();
        assert_eq!(ground.namespace(&pod, "net"), ground.namespace(&one, "net"));
        ground.world.minidocker(["port", "web", "80/tcp"]).prints("0.0.0.0:8080\n");
    }
    ground.world.minidocker(["system", "check"]).ok();
}

#[test]
fn commands_that_are_killed_on_their_way_leave_nothing_that_is_not_found() {
    let ground = Ground::new();
    for round in 0..12_u64 {
        let created = ground.world.spawn(["pod", "create", "-p", "8080:80", "web"]);
        std::thread::sleep(Duration::from_micros(round * 700));
        created.signal(9);
        drop(created);
        let words = ground.words(&["-d", "--pod", "web", "--name", "one"], &["sleep", "1000"]);
        // It may be there whole or not at all.
        if ground.pod(&["exists", "web"]).code == 1 {
            ground.create(&["-p", "8080:80", "web"]);
        }
        let run = ground.world.spawn(["run".to_owned()].into_iter().chain(words.clone()));
        std::thread::sleep(Duration::from_micros(round * 2500));
        run.signal(9);
        drop(run);
        // Whatever stays of it, its name is free or its own, and the pod can be used. Its monitor may be on its way
        // still: the state is this moment's.
        let state = ground.inspect("web")["State"].clone();
        let all = ["Created", "Running", "Degraded", "Exited"];
        assert!(all.iter().any(|one| state == *one), "{state}");
        ground.world.minidocker(["rm", "-f", "one"]);
        ground.world.minidocker(["run".to_owned()].into_iter().chain(words)).ok();
        assert_eq!(ground.state("web"), "Running");
        let removed = ground.world.spawn(["pod", "rm", "-f", "web"]);
        std::thread::sleep(Duration::from_micros(round * 2500));
        removed.signal(9);
        drop(removed);
        ground.pod(&["rm", "-f", "-i", "web"]).ok();
        ground.world.minidocker(["system", "check"]).ok();
        ground.world.expect_nothing_left();
    }
}

#[test]
fn after_a_reboot_it_has_ended_and_starts_again() {
    let ground = Ground::new();
    let pod = ground.create(&["-p", "8080:80", "--exit-policy", "stop", "web"]);
    ground.idle("one");
    let words = ["--pod", "web", "--name", "two", "--restart", "always"];
    ground.world.detached(ground.words(&words, &["sleep", "1000"]));
    ground.create(&["made"]);
    ground.world.go_down();
    assert_eq!((ground.state("web").as_str(), ground.state("made").as_str()), ("Exited", "Created"));
    // At the boot one of them is to run, and the pod with it.
    ground.world.minidocker(["system", "start"]).ok();
    assert_eq!(ground.state("web"), "Degraded");
    ground.pod(&["start", "web"]).prints(&format!("{pod}\n"));
    assert_eq!(ground.state("web"), "Running");
    ground.pod(&["rm", "-f", "web", "made"]).ok();
    ground.world.expect_nothing_left();
}
