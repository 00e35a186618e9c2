//! Podman on the runtime under test, by way of conmon.

use std::fs;
use std::time::Duration;

use minidocker_tests::engines::{Host, Image, Traces};
use minidocker_tests::{Call, Group, Output, Version};
use serde_json::{Value, json};

use crate::{CATCHER, has, lines, wait_for};

/// Podman with state of its own. Dropped, it proves that removed containers leave nothing.
struct Podman {
    host: Host,
    before: Traces,
}

impl Podman {
    #[track_caller]
    fn new() -> Self {
        let host = Host::new();
        // What docs/guide/oci-runtime.md tells, and this machine's places.
        let configuration = format!(
            r#"[engine]
runtime = "minidocker"
runtime_supports_json = ["minidocker"]
cgroup_manager = "cgroupfs"
events_logger = "file"
infra_image = "{image}"
[engine.runtimes]
minidocker = ["{runtime}"]
[network]
network_backend = "netavark"
"#,
            image = Image::NAME,
            runtime = host.runtime(),
        );
        host.file("containers.conf", configuration);
        host.file("policy.json", json!({"default": [{"type": "insecureAcceptAnything"}]}).to_string());
        let (directory, archive) = (host.path(""), host.image().oci(&host));
        host.shell(&format!(
            "mkdir /etc/containers && cp {directory}/containers.conf {directory}/policy.json /etc/containers"
        ));
        let mut podman = Self { before: host.traces(), host };
        podman.podman(&["load", "--input", &archive]).ok();
        podman.before = podman.host.traces();
        // The place of its handles for networks, from the first one on.
        podman.before.allow("mount /run/netns");
        podman
    }

    /// `podman WORDS`, yet to be started.
    #[track_caller]
    fn call(&self, words: &[&str]) -> Call<'_> {
        let root = self.host.path("podman");
        let start = ["podman", "--root", &root, "--runroot", "/run/podman", "--storage-driver", "vfs"];
        self.host.call([&start[..], words].concat())
    }

    #[track_caller]
    fn podman(&self, words: &[&str]) -> Output {
        self.call(words).run()
    }

    /// `podman run OPTIONS`, yet to be started, without a network unless the options name one.
    #[track_caller]
    fn run(&self, options: &[&str], words: &[&str]) -> Call<'_> {
        let parent = self.host.world().cgroup_parent();
        let mut start = vec!["run", "--cgroup-parent", &parent];
        if !options.iter().any(|option| ["--network", "--pod"].contains(option)) {
            start.extend(["--network", "none"]);
        }
        self.call(&[&start[..], options, &[Image::NAME], words].concat())
    }

    /// Starts one in the background and gives its id.
    #[track_caller]
    fn detached(&self, options: &[&str], words: &[&str]) -> String {
        let id = self.run(&[&["-d"], options].concat(), words).run().text();
        assert!(id.len() == 64 && id.bytes().all(|b| b.is_ascii_hexdigit()), "`{id}` is no id");
        id
    }

    /// What `/inside facts` reports from a container with these options of `podman run`.
    #[track_caller]
    fn facts(&self, options: &[&str]) -> Value {
        self.run(&[&["--rm"], options].concat(), &["/inside", "facts"]).run().json()
    }

    /// What `podman inspect` says of `.FIELD`, as JSON.
    #[track_caller]
    fn inspect(&self, container: &str, field: &str) -> Value {
        self.podman(&["inspect", "--format", &format!("{{{{json {field}}}}}"), container]).json()
    }

    #[track_caller]
    fn until_said(&self, container: &str, text: &str) {
        let said = || has(self.podman(&["logs", container]).ok().out(), text);
        wait_for(&format!("{container} has said `{text}`"), said);
    }

    fn group(&self, id: &str) -> Group {
        Group::at(&format!("{}/libpod-{id}", self.host.world().cgroup_parent()))
    }
}

impl Drop for Podman {
    fn drop(&mut self) {
        if std::thread::panicking() {
            return;
        }
        self.podman(&["pod", "rm", "--all", "--force", "--time", "0"]).ok();
        // Podman's own clean-up after a container's end may be at work on the same mounts.
        wait_for("all containers are removed", || {
            let output = self.podman(&["rm", "--all", "--force", "--time", "0"]);
            if output.code == 0 { Ok(()) } else { Err(format!("{output:?}")) }
        });
        // conmon's own group stays for the next container.
        for directory in Group::at(&format!("{}/conmon", self.host.world().cgroup_parent())).directories() {
            wait_for("conmon's group is empty", || {
                fs::remove_dir(&directory).map_err(|error| error.to_string())
            });
        }
        self.host.expect_only(&self.before);
    }
}

#[test]
fn a_program_runs_with_streams_and_code() {
    let podman = Podman::new();
    let output = podman.run(&["--rm"], &["sh", "-c", "echo out; echo err >&2; exit 7"]).run().exits(7);
    assert_eq!((output.out().as_str(), output.err().as_str()), ("out\n", "err\n"), "{output:?}");
    let bytes: Vec<u8> = (0..200_000_u32).map(|number| number as u8).collect();
    let output = podman.run(&["--rm", "-i"], &["/inside", "cat"]).stdin(bytes.clone()).run().ok();
    assert!(output.stdout == bytes, "{} bytes came back, {}", output.stdout.len(), output.err());
    for (program, code) in [("/no/such/program", 127), ("no-such-program", 127), ("/etc/not-executable", 126)]
    {
        let output = podman.run(&["--rm"], &[program]).run().exits(code);
        assert!(output.err().contains(program), "{output:?}");
    }
    let id = podman.detached(&[], &["/inside", "pause"]);
    assert_eq!(podman.inspect(&id, ".OCIRuntime"), "minidocker");
    // The runtime by its path, as on the command line.
    let runtime = podman.host.runtime();
    let parent = podman.host.world().cgroup_parent();
    let start = ["--runtime", &runtime, "run", "--rm", "--network", "none", "--cgroup-parent", &parent];
    podman.podman(&[&start[..], &[Image::NAME, "echo", "by its path"]].concat()).prints("by its path\n");
}

#[test]
fn a_program_is_what_it_is_told_to_be() {
    let podman = Podman::new();
    let options =
        ["-e", "A=b c", "-w", "/tmp", "-h", "name", "-u", "user", "--read-only", "--cap-drop", "all"];
    let facts = podman.facts(&options);
    assert_eq!((&facts["env"]["A"], &facts["cwd"]), (&json!("b c"), &json!("/tmp")));
    assert_eq!((&facts["hostname"], &facts["uid"], &facts["pid"]), (&json!("name"), &json!(1000), &json!(1)));
    assert_eq!(facts["capabilities"]["bounding"], json!([]));
    assert_eq!(facts["seccomp"], 2);
    podman.run(&["--rm", "--read-only"], &["/inside", "try", "create", "/new"]).run().prints("EROFS\n");
    let directory = podman.host.path("shared");
    fs::create_dir(&directory).expect("our own directory");
    let volume = format!("{directory}:/data");
    podman.run(&["--rm", "-v", &volume], &["/inside", "write", "/data/file", "words"]).run().prints("");
    assert_eq!(fs::read_to_string(podman.host.path("shared/file")).expect("its file"), "words");
    let facts =
        podman.facts(&["--tmpfs", "/t:size=1m", "--ulimit", "nofile=100:200", "--ulimit", "nproc=90:90"]);
    assert_eq!(facts["rlimits"]["nofile"], json!({"soft": 100, "hard": 200}));
    let mounts = facts["mounts"].as_array().expect("a list");
    assert!(mounts.iter().any(|mount| mount["target"] == "/t" && mount["fstype"] == "tmpfs"), "{mounts:#?}");
}

#[test]
fn users_are_mapped() {
    let podman = Podman::new();
    let options = ["--uidmap", "0:200000:65536", "--gidmap", "0:300000:65536"];
    let facts = podman.facts(&options);
    let words =
        |name: &str| -> Vec<&str> { facts[name].as_str().expect("text").split_whitespace().collect() };
    assert_eq!(
        (words("uid_map"), words("gid_map")),
        (vec!["0", "200000", "65536"], vec!["0", "300000", "65536"])
    );
    assert_eq!(facts["uid"], 0);
    let id = podman.detached(&options, &["/inside", "pause"]);
    let pid = podman.inspect(&id, ".State.Pid");
    assert_eq!(podman.host.shell(&format!("stat -c %u:%g /proc/{pid}")), "200000:300000");
    podman.podman(&["exec", &id, "/inside", "try", "create", "/root/new"]).prints("ok\n");
}

#[test]
fn terminals_are_typed_on() {
    let podman = Podman::new();
    let mut terminal = podman.run(&["--rm", "-it"], &["sh"]).pty(24, 80);
    terminal.until("# ");
    terminal.type_in("tty; stty size\r");
    terminal.until("/dev/pts/0\r\n24 80\r\n");
    terminal.type_in("exit 5\r");
    terminal.wait().exits(5);
    assert_eq!(terminal.settings(), terminal.settings_before());
    let id = podman.detached(&[], &["/inside", "pause"]);
    let mut terminal = podman.call(&["exec", "-it", &id, "sh"]).pty(33, 99);
    terminal.until("# ");
    terminal.type_in("tty; exit 6\r");
    terminal.until("/dev/pts/0");
    terminal.wait().exits(6);
}

#[test]
fn more_programs_join() {
    let podman = Podman::new();
    let id = podman.detached(&["-e", "A=container"], &["/inside", "pause"]);
    let output = podman.podman(&["exec", &id, "sh", "-c", "echo out; echo err >&2; exit 7"]).exits(7);
    assert_eq!((output.out().as_str(), output.err().as_str()), ("out\n", "err\n"), "{output:?}");
    podman.call(&["exec", "-i", &id, "/inside", "cat"]).stdin("words").run().prints("words");
    let facts =
        podman.podman(&["exec", "-u", "user", "-w", "/tmp", "-e", "B=exec", &id, "/inside", "facts"]).json();
    assert_eq!((&facts["uid"], &facts["cwd"]), (&json!(1000), &json!("/tmp")));
    assert_eq!((&facts["env"]["A"], &facts["env"]["B"]), (&json!("container"), &json!("exec")));
    for (program, code) in [("/no/such/program", 127), ("no-such-program", 127), ("/etc/not-executable", 126)]
    {
        let output = podman.podman(&["exec", &id, program]).exits(code);
        assert!(output.err().contains(program), "{output:?}");
    }
}

#[test]
fn signals_pauses_and_ends_are_told() {
    let podman = Podman::new();
    let id = podman.detached(&[], &["sh", "-c", CATCHER]);
    podman.until_said(&id, "ready");
    podman.podman(&["kill", "--signal", "USR1", &id]).ok();
    podman.until_said(&id, "USR1");
    podman.podman(&["pause", &id]).ok();
    assert_eq!(podman.inspect(&id, ".State.Status"), "paused");
    let state = Version::pick(("freezer.state", "FROZEN"), ("cgroup.events", "frozen 1"));
    let text = podman.group(&id).read("freezer", state.0);
    assert!(text.contains(state.1), "{text}");
    podman.podman(&["unpause", &id]).ok();
    let top = podman.podman(&["top", &id, "pid", "args"]).text();
    assert!(lines(&top)[1].starts_with("1 "), "{top}");
    podman.podman(&["stop", "--time", "60", &id]).ok();
    assert_eq!(podman.podman(&["wait", &id]).text(), "4");
    assert_eq!(podman.inspect(&id, ".State.ExitCode"), 4);
    podman.podman(&["start", &id]).ok();
    let again = || {
        let logs = podman.podman(&["logs", &id]).ok().out();
        if logs.matches("ready").count() == 2 { Ok(()) } else { Err(logs) }
    };
    wait_for("it is ready again", again);
    podman.podman(&["rm", "--force", "--time", "0", &id]).ok();
    let restarted = podman.detached(&["--restart", "on-failure:2"], &["/inside", "exit", "3"]);
    wait_for("it was started twice more", || {
        let count = podman.inspect(&restarted, ".RestartCount");
        if count == 2 { Ok(()) } else { Err(count.to_string()) }
    });
}

#[test]
fn shares_of_the_machine_are_held_changed_and_told() {
    let podman = Podman::new();
    let options = ["--memory", "64m", "--memory-swap", "64m", "--cpus", "0.5", "--pids-limit", "50"];
    let id = podman.detached(&options, &["/inside", "hog", "8m"]);
    podman.until_said(&id, "8388608 touched");
    let group = podman.group(&id);
    let memory = || group.number("memory", Version::pick("memory.limit_in_bytes", "memory.max"));
    assert_eq!((memory(), group.number("pids", "pids.max")), (64 << 20, 50));
    let (file, half, whole) =
        Version::pick(("cpu.cfs_quota_us", "50000", "100000"), ("cpu.max", "50000 100000", "100000 100000"));
    assert_eq!(group.read("cpu", file), half);
    let stats =
        podman.podman(&["stats", "--no-stream", "--format", "{{.MemUsageBytes}}|{{.PIDS}}", &id]).text();
    let mebibytes: f64 = stats.split("MiB").next().and_then(|text| text.parse().ok()).unwrap_or(0.0);
    assert!((8.0..16.0).contains(&mebibytes) && stats.ends_with("|1"), "8 MiB are in use, not {stats}");
    podman.podman(&["update", "--memory", "96m", "--memory-swap", "96m", "--cpus", "1", &id]).ok();
    assert_eq!((memory(), group.read("cpu", file).as_str()), (96 << 20, whole));
    // No more than its code: conmon 2.1.6 tells `OOMKilled` by a file that Podman looks for elsewhere.
    let greedy = podman.detached(&["--memory", "24m", "--memory-swap", "24m"], &["/inside", "hog", "64m"]);
    assert_eq!(podman.podman(&["wait", &greedy]).text(), "137");
}

#[test]
fn health_is_asked_for() {
    let podman = Podman::new();
    // Without an interval: that would be a timer of systemd's.
    let options =
        ["--health-cmd", "test -e /tmp/well", "--health-interval", "disable", "--health-retries", "1"];
    let id = podman.detached(&options, &["sh", "-c", "touch /tmp/well; echo ready; exec /inside pause"]);
    podman.until_said(&id, "ready");
    podman.podman(&["healthcheck", "run", &id]).ok();
    assert_eq!(podman.inspect(&id, ".State.Health.Status"), "healthy");
    podman.podman(&["exec", &id, "rm", "/tmp/well"]).ok();
    podman.podman(&["healthcheck", "run", &id]).exits(1);
    assert_eq!(podman.inspect(&id, ".State.Health.Status"), "unhealthy");
}

#[test]
fn a_pod_shares_its_namespaces() {
    let podman = Podman::new();
    let parent = podman.host.world().cgroup_parent();
    let create = ["pod", "create", "--name", "pod", "--network", "none", "--share", "net,ipc,uts"];
    // With version 2 Podman 4.3 makes a group for the pod in which no device opens, so there is none.
    let infra = ["--infra-command", "/inside pause", Version::pick("--share-parent", "--share-parent=false")];
    podman.podman(&[&create[..], &infra, &["--hostname", "pod", "--cgroup-parent", &parent]].concat()).ok();
    let run = ["run", "-d", "--pod", "pod", "--cgroup-parent", &parent, Image::NAME];
    let one = podman.podman(&[&run[..], &["/inside", "listen", "80"]].concat()).text();
    let two = podman.podman(&[&run[..], &["/inside", "pause"]].concat()).text();
    let facts = |id: &str| podman.podman(&["exec", id, "/inside", "facts"]).json();
    let (first, second) = (facts(&one), facts(&two));
    for name in ["net", "ipc", "uts"] {
        assert_eq!(first["namespaces"][name], second["namespaces"][name], "{name}");
    }
    for name in ["mnt", "pid"] {
        assert_ne!(first["namespaces"][name], second["namespaces"][name], "{name}");
    }
    assert_eq!(first["hostname"], "pod");
    let answer = podman.podman(&["exec", &two, "/inside", "connect", "127.0.0.1", "80", "words"]).text();
    assert!(answer.ends_with("words"), "{answer}");
    podman.podman(&["pod", "pause", "pod"]).ok();
    assert_eq!(podman.inspect(&one, ".State.Status"), "paused");
    podman.podman(&["pod", "unpause", "pod"]).ok();
    podman.podman(&["pod", "stop", "--time", "1", "pod"]).ok();
    podman.podman(&["pod", "start", "pod"]).ok();
    assert_eq!(podman.podman(&["exec", &two, "echo", "again"]).text(), "again");
    let id = podman.podman(&["pod", "inspect", "--format", "{{.ID}}", "pod"]).text();
    podman.podman(&["pod", "rm", "--force", "--time", "0", "pod"]).ok();
    // The pod's own group is Podman's, which knows only some of the hierarchies of version 1.
    for directory in Group::at(&format!("{parent}/{id}")).directories() {
        fs::remove_dir(&directory).unwrap_or_else(|error| panic!("{}: {error}", directory.display()));
    }
}

#[test]
fn networks_reach_in() {
    let podman = Podman::new();
    let links = |network: &str| -> Vec<String> {
        let facts = podman.facts(&["--network", network]);
        facts["interfaces"].as_object().expect("links").keys().cloned().collect()
    };
    assert_eq!(links("none"), ["lo"]);
    assert_eq!(links("host"), ["lo"]);
    podman.podman(&["network", "create", "--disable-dns", "mine"]).ok();
    assert_eq!(links("mine"), ["eth0", "lo"]);
    let id = podman.detached(&["--network", "mine", "-p", "127.0.0.1:8080:80"], &["/inside", "listen", "80"]);
    let address = podman.inspect(&id, ".NetworkSettings.Networks.mine.IPAddress");
    let address = address.as_str().expect("an address");
    let answer = podman.run(&["--rm", "--network", "mine"], &["/inside", "connect", address, "80", "words"]);
    assert!(answer.run().text().ends_with("words"));
    podman.podman(&["rm", "--force", "--time", "0", &id]).ok();
    podman.podman(&["network", "rm", "mine"]).ok();
}

#[test]
fn many_start_at_the_same_moment() {
    let podman = Podman::new();
    let start = |_| podman.run(&["-d"], &["/inside", "pause"]).patience(Duration::from_secs(120)).spawn();
    let all: Vec<_> = (0..8).map(start).collect();
    let ids: Vec<String> = all.into_iter().map(|running| running.wait().text()).collect();
    assert_eq!(lines(&podman.podman(&["ps", "--quiet"]).text()).len(), ids.len());
    for id in &ids {
        assert_eq!(podman.group(id).processes().len(), 1, "{id}");
    }
    podman.podman(&["rm", "--all", "--force", "--time", "0"]).ok();
    assert!(ids.iter().all(|id| podman.group(id).directories().is_empty()));
}
