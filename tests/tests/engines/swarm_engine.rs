//! Docker's Swarm mode on one node, whose tasks are containers of the default runtime.

use minidocker_tests::engines::Image;
use serde_json::json;

use crate::docker_engine::{Docker, IMAGE};
use crate::{is, lines, wait_for};

/// A node that manages itself. Tasks need no virtual address (that would be IPVS, which not every kernel has).
struct Swarm {
    docker: Docker,
}

impl Swarm {
    #[track_caller]
    fn new() -> Self {
        let mut docker = Docker::with(json!({"iptables": true}));
        docker.docker(["tag", IMAGE, "test:2"]).ok();
        docker.docker(["swarm", "init", "--advertise-addr", "127.0.0.1"]).ok();
        // Swarm's own networks stay on the node when it leaves.
        docker.allow("link docker_gwbridge");
        Self { docker }
    }

    /// Creates a service of three; no registry is asked.
    #[track_caller]
    fn create(&self, name: &str, options: &[&str], words: &[&str]) {
        let start = ["service", "create", "--detach", "--quiet", "--no-resolve-image", "--name", name];
        self.docker.docker([&start[..], &["--replicas", "3"], options, &[IMAGE], words].concat()).ok();
        self.until_running(name, 3);
    }

    /// The names of the tasks' containers that run.
    #[track_caller]
    fn running(&self, service: &str) -> Vec<String> {
        let filter = format!("label=com.docker.swarm.service.name={service}");
        let list = self.docker.docker(["ps", "--filter", &filter, "--format", "{{.Names}}"]).text();
        lines(&list).into_iter().map(str::to_owned).collect()
    }

    #[track_caller]
    fn until_running(&self, service: &str, count: usize) {
        let all = || {
            let replicas =
                self.docker.docker(["service", "ls", "--format", "{{.Name}} {{.Replicas}}"]).text();
            is(replicas, &format!("{service} {count}/{count}"))?;
            is(self.running(service).len(), &count)
        };
        wait_for(&format!("{count} tasks of {service} run"), || {
            all().map_err(|instead| format!("{instead}\n{}", self.told(service)))
        });
    }

    /// What Docker tells of the tasks.
    #[track_caller]
    fn told(&self, service: &str) -> String {
        self.docker.docker(["service", "ps", "--no-trunc", service]).out()
    }

    #[track_caller]
    fn end(self, service: &str) {
        self.docker.docker(["service", "rm", service]).ok();
        wait_for("the tasks are gone", || is(self.running(service), &Vec::new()));
        self.docker.docker(["swarm", "leave", "--force"]).ok();
    }
}

#[test]
fn a_service_of_three_is_updated_one_by_one_scaled_and_removed() {
    let swarm = Swarm::new();
    let options = ["--network", "host", "--env", "VERSION=1", "--restart-delay", "0s"];
    swarm.create("web", &options, &["/inside", "pause"]);
    let before = swarm.running("web");
    for name in &before {
        assert_eq!(swarm.docker.inspect(name, ".Config.Image"), IMAGE);
        assert_eq!(swarm.docker.inspect(name, ".HostConfig.Runtime"), "minidocker");
        let facts = swarm.docker.docker(["exec", name, "/inside", "facts"]).json();
        assert_eq!(facts["env"]["VERSION"], "1");
    }
    let update = ["service", "update", "--detach", "--no-resolve-image", "--image", "test:2"];
    let one_by_one =
        ["--update-parallelism", "1", "--update-order", "stop-first", "--update-monitor", "100ms"];
    swarm.docker.docker([&update[..], &one_by_one, &["--env-add", "VERSION=2", "web"]].concat()).ok();
    let state = || swarm.docker.inspect("web", ".UpdateStatus");
    wait_for("the update is complete", || {
        if state()["State"] == "completed" { Ok(()) } else { Err(state().to_string()) }
    });
    swarm.until_running("web", 3);
    let after = swarm.running("web");
    assert!(after.iter().all(|name| !before.contains(name)), "{before:?} became {after:?}");
    let mut starts = Vec::new();
    for name in &after {
        assert_eq!(swarm.docker.inspect(name, ".Config.Image"), "test:2");
        let facts = swarm.docker.docker(["exec", name, "/inside", "facts"]).json();
        assert_eq!(facts["env"]["VERSION"], "2");
        starts.push(swarm.docker.inspect(name, ".State.StartedAt").as_str().expect("a time").to_owned());
    }
    // One at a time: each new one started before the next old one ended.
    let mut ends: Vec<String> = Vec::new();
    for name in &before {
        ends.push(swarm.docker.inspect(name, ".State.FinishedAt").as_str().expect("a time").to_owned());
        assert_eq!(swarm.docker.inspect(name, ".State.ExitCode"), 0, "{name} was asked to end");
    }
    starts.sort();
    ends.sort();
    for (start, end) in starts.iter().zip(&ends[1..]) {
        assert!(start < end, "started {starts:?}, ended {ends:?}");
    }

    swarm.docker.docker(["service", "scale", "--detach", "web=5"]).ok();
    swarm.until_running("web", 5);
    swarm.docker.docker(["service", "scale", "--detach", "web=1"]).ok();
    swarm.until_running("web", 1);
    // A task that dies is replaced.
    let survivor = swarm.running("web").remove(0);
    swarm.docker.host.shell(&format!("kill -9 {}", swarm.docker.pid(&survivor)));
    wait_for("another has taken its place", || {
        let now = swarm.running("web");
        if now.len() == 1 && now[0] != survivor { Ok(()) } else { Err(swarm.told("web")) }
    });
    swarm.end("web");
}

#[test]
fn tasks_meet_on_an_overlay_network() {
    let swarm = Swarm::new();
    swarm.docker.docker(["network", "create", "--driver", "overlay", "meet"]).ok();
    let options = ["--network", "meet", "--endpoint-mode", "dnsrr"];
    swarm.create("peer", &options, &["/inside", "listen", "80"]);
    let names = swarm.running("peer");
    let address = |name: &String| {
        let networks = swarm.docker.inspect(name, ".NetworkSettings.Networks.meet.IPAddress");
        networks.as_str().expect("an address").to_owned()
    };
    let mut addresses: Vec<String> = names.iter().map(address).collect();
    for target in &addresses {
        let words = ["exec", &names[0], "/inside", "connect", target, "80", "words"];
        assert!(swarm.docker.docker(words).text().ends_with("words"));
    }
    let found = swarm.docker.docker(["exec", &names[1], "nslookup", "-type=a", "peer"]).ok().out();
    let mut named: Vec<String> =
        found.lines().skip(2).filter_map(|line| line.strip_prefix("Address: ")).map(str::to_owned).collect();
    addresses.sort();
    named.sort();
    assert_eq!(named, addresses, "{found}");
    assert_eq!(Image::NAME.rsplit('/').next(), Some(IMAGE));
    swarm.end("peer");
}
