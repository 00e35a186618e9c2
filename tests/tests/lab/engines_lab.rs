//! Other engines as environments: each is started, tested for what it was given, and measured. Their daemons and their
//! state are in a machine of the test's own.

use std::fs;

use minidocker_tests::engines::Host;
use minidocker_tests::{Call, need};
use serde_json::{Value, json};

use crate::alone;

/// A suite that every small image can run: what it prints is its own, its time is measured.
const SUITE: &str = r#"
name = "tiny"
title = "Tiny"
[[case]]
name = "count"
title = "Counts"
reader = "time"
run = ["sh", "-c", "i=0; while [ $i -lt 200000 ]; do i=$((i+1)); done"]
[[case]]
name = "memory"
title = "Holds 40 MB for a moment"
reader = "time"
run = ["sh", "-c", "head -c 50000000 /dev/zero | tail -c 40000000 | { sleep 2; cat >/dev/null; }"]
[[case]]
name = "start"
title = "Starts"
start = { count = 2 }
run = ["/bin/true"]
[[case]]
name = "two"
title = "Two at once"
density = 2
run = ["/bin/sleep", "3600"]
"#;

/// Results of a bench in a machine with an engine.
struct Bench<'h> {
    host: &'h Host,
    results: String,
}

impl<'h> Bench<'h> {
    fn new(host: &'h Host) -> Self {
        Self { host, results: host.path("results") }
    }

    /// `minidocker WORDS` in there.
    fn minidocker(&self, words: &[&str]) -> Call<'_> {
        let world = self.host.world();
        let text = |path: &std::path::Path| path.to_str().expect("text").to_owned();
        let mut all = vec![text(world.minidocker_path()), "--root".to_owned(), text(&world.root())];
        all.extend(["--run-root".to_owned(), text(&world.run_root()), "--cgroup-parent".to_owned()]);
        all.push(world.cgroup_parent());
        all.extend(words.iter().map(|word| (*word).to_owned()));
        self.host.call(all)
    }

    /// Measures the small suite in these environments.
    #[track_caller]
    fn run(&self, environments: &str, more: &[&str], variables: &[(&str, &str)]) {
        let suite = self.host.file("tiny.toml", SUITE);
        let words = ["bench", "run", &suite, "--env", environments, "--size", "128m/1cpu", "--repeat", "1"];
        let words = [&words[..], &["-o", &self.results], more].concat();
        let call = self.minidocker(&words).patience(crate::PATIENCE);
        variables.iter().fold(call, |call, (name, value)| call.env(name, value)).run().ok();
    }

    fn read(&self, name: &str) -> Value {
        let text =
            fs::read_to_string(format!("{}/{name}", self.results)).unwrap_or_else(|e| panic!("{name}: {e}"));
        serde_json::from_str(&text).expect("JSON")
    }

    /// Every case was measured in every environment, and the tests of what it has held.
    #[track_caller]
    fn expect_all(&self, environments: &[&str]) {
        let count = environments.len() * 4;
        for number in 1..=count {
            let measurement = self.read(&format!("measurements/{number:05}.json"));
            let which = measurement["slot"].to_string();
            assert_eq!(measurement["problem"], "", "{which}");
            let cost = &measurement["cost"];
            match measurement["slot"]["case"].as_str().expect("text") {
                "count" => {
                    // What ran in a container is counted by the host's group, whatever groups its engine made.
                    let used =
                        cost["user"].as_f64().expect("user") + cost["system"].as_f64().expect("system");
                    assert!(used > 0.02, "{which}: {used} s of processor time");
                }
                // Held and counted in the lab's own group, and not in one that the engine has made elsewhere.
                "memory" => {
                    let peak = cost["memory_peak"].as_f64().expect("memory");
                    assert!(peak >= 40e6, "{which}: {peak} bytes at most");
                }
                "start" => assert_eq!(measurement["metrics"]["starts"], 2.0, "{which}"),
                _ => assert_eq!(measurement["metrics"]["instances"], 2.0, "{which}"),
            }
        }
        for environment in environments {
            let parity = self.read(&format!("parity/{environment}-128m-1cpu.json"));
            for check in parity["checks"].as_array().expect("checks") {
                // Others may have taken processors meanwhile; what the kernel lets it have is what was asked.
                let found = check["found"].as_str().expect("text");
                let busy = check["what"] == "processors"
                    && found.contains("busy")
                    && !found.contains("lets it have");
                assert!(busy || check["verdict"] == "held", "{environment}: {check}");
            }
        }
        // The groups of the measurements are gone, and what ran in them.
        let left = self.host.traces();
        let left = format!("{left:?}");
        assert!(!left.contains("lab-"), "{left}");
        assert_eq!(self.host.world().stray_groups(), [""; 0].map(std::path::PathBuf::from));
    }
}

/// The image of the tests, as ours: the same files as theirs.
#[track_caller]
fn import(bench: &Bench<'_>) {
    bench.minidocker(&["import", &bench.host.image().root, "test:1"]).run().ok();
}

#[test]
fn docker_is_measured_beside_ours() {
    let _alone = alone();
    need("dockerd");
    let host = Host::new();
    let bench = Bench::new(&host);
    import(&bench);
    const SOCKET: &str = "unix:///run/docker.sock";
    let configuration = json!({
        "hosts": [SOCKET], "data-root": host.path("docker"), "exec-root": "/run/docker", "pidfile": "/run/docker.pid",
        "bridge": "none", "iptables": false, "exec-opts": ["native.cgroupdriver=cgroupfs"],
    });
    let configuration = host.file("daemon.json", configuration.to_string());
    let mut daemon = host.daemon(["dockerd", "--config-file", &configuration], "API listen on");
    let client = if std::path::Path::new("/usr/bin/docker").exists() { "/usr/bin/docker" } else { "docker" };
    host.call([client, "--host", SOCKET, "import", &host.image().root, "test:1"]).run().ok();
    let variables = [("DOCKER_HOST", SOCKET), ("PATH", "/usr/sbin:/usr/bin:/sbin:/bin:/usr/local/bin")];
    bench.run("container,docker", &["--image", "test:1"], &variables);
    bench.expect_all(&["container", "docker"]);
    let told = bench.read("run.json")["environments"].to_string();
    assert!(told.contains("a container of Docker version "), "{told}");
    // Nothing of it is left in the engine either.
    assert_eq!(host.call([client, "--host", SOCKET, "ps", "-aq"]).run().text(), "");
    daemon.stop(&host);
}

#[test]
fn podman_is_measured_beside_ours_with_the_hosts_files() {
    let _alone = alone();
    need("podman");
    need("runc");
    let host = Host::new();
    let bench = Bench::new(&host);
    let storage = format!(
        "[storage]\ndriver = \"overlay\"\ngraphroot = \"{}\"\nrunroot = \"/run/podman\"\n",
        host.path("podman")
    );
    let storage = host.file("storage.conf", storage);
    // crun refuses hybrid control groups.
    let engine = "[engine]\nruntime = \"runc\"\ncgroup_manager = \"cgroupfs\"\nevents_logger = \"none\"\n";
    let engine = host.file("containers.conf", engine);
    let policy =
        host.file("policy.json", json!({"default": [{"type": "insecureAcceptAnything"}]}).to_string());
    host.shell(&format!("mkdir /etc/containers && cp {storage} {engine} {policy} /etc/containers"));
    bench.run("native,podman", &[], &[]);
    bench.expect_all(&["native", "podman"]);
    let told = bench.read("run.json")["environments"].to_string();
    assert!(told.contains("a container of podman version "), "{told}");
    assert_eq!(host.call(["podman", "ps", "-aq"]).run().text(), "");
}

#[test]
fn lxc_is_measured_beside_ours_with_the_hosts_files() {
    let _alone = alone();
    need("lxc-execute");
    let host = Host::new();
    let bench = Bench::new(&host);
    bench.run("native,lxc", &[], &[]);
    bench.expect_all(&["native", "lxc"]);
    let told = bench.read("run.json")["environments"].to_string();
    assert!(told.contains("a container of 5.") || told.contains("a container of LXC"), "{told}");
}
