//! containerd on the runtime under test, by its own client ctr(8) and the shim of runc.

use minidocker_tests::engines::{Daemon, Host, Image, Traces};
use minidocker_tests::{Call, Group, Output, Version};
use serde_json::{Value, json};

use crate::{CATCHER, has, lines, wait_for};

const SOCKET: &str = "/run/containerd/containerd.sock";

/// A daemon in a machine of its own. Dropped, it proves that deleted containers leave nothing, and ends.
struct Containerd {
    host: Host,
    daemon: Option<Daemon>,
    before: Traces,
}

impl Containerd {
    #[track_caller]
    fn new() -> Self {
        let host = Host::new();
        // The last tables are what docs/guide/oci-runtime.md tells for Kubernetes.
        let configuration = format!(
            r#"version = 2
root = "{root}"
state = "/run/containerd"
[grpc]
  address = "{SOCKET}"
[plugins."io.containerd.internal.v1.opt"]
  path = "/run/opt"
[plugins."io.containerd.grpc.v1.cri".containerd]
  default_runtime_name = "minidocker"
[plugins."io.containerd.grpc.v1.cri".containerd.runtimes.minidocker]
  runtime_type = "io.containerd.runc.v2"
  [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.minidocker.options]
    BinaryName = "{runtime}"
"#,
            root = host.path("containerd"),
            runtime = host.runtime(),
        );
        let file = host.file("config.toml", configuration);
        let daemon = Some(host.daemon(["containerd", "--config", &file], "containerd successfully booted"));
        let mut containerd = Self { before: host.traces(), host, daemon };
        let archive = containerd.host.image().oci(&containerd.host);
        containerd.ctr(&["images", "import", "--snapshotter", "native", &archive]).ok();
        containerd.before = containerd.host.traces();
        containerd
    }

    /// `ctr WORDS`, yet to be started. Containers' control groups lie below the world's: containerd takes its
    /// namespace's name for them.
    #[track_caller]
    fn call(&self, words: &[&str]) -> Call<'_> {
        let start = ["ctr", "--address", SOCKET, "--namespace", self.host.world().name()];
        self.host.call([&start[..], words].concat())
    }

    #[track_caller]
    fn ctr(&self, words: &[&str]) -> Output {
        self.call(words).run()
    }

    /// `ctr run OPTIONS`, yet to be started.
    #[track_caller]
    fn run(&self, options: &[&str], id: &str, words: &[&str]) -> Call<'_> {
        let runtime = self.host.runtime();
        let start = ["run", "--snapshotter", "native", "--runc-binary", &runtime];
        self.call(&[&start[..], options, &[Image::NAME, id], words].concat())
    }

    /// Starts one in the background.
    #[track_caller]
    fn detached(&self, options: &[&str], id: &str, words: &[&str]) {
        self.run(&[&["--detach"], options].concat(), id, words).run().ok();
    }

    /// What `/inside facts` reports from a container with these options of `ctr run`.
    #[track_caller]
    fn facts(&self, options: &[&str]) -> Value {
        self.run(&[&["--rm"], options].concat(), "c-facts", &["/inside", "facts"]).run().json()
    }

    /// The state of a task, in ctr's words.
    #[track_caller]
    fn status(&self, id: &str) -> String {
        let list = self.ctr(&["tasks", "list"]).text();
        let line = lines(&list).into_iter().find(|line| line.split_whitespace().next() == Some(id));
        line.and_then(|line| line.split_whitespace().nth(2)).unwrap_or("none").to_owned()
    }

    #[track_caller]
    fn until(&self, id: &str, status: &str) {
        wait_for(&format!("{id} is {status}"), || has(self.status(id), status));
    }

    fn group(&self, id: &str) -> Group {
        Group::at(&format!("{}/{id}", self.host.world().cgroup_parent()))
    }

    /// Kills the task and deletes it and its container.
    #[track_caller]
    fn remove(&self, id: &str) {
        self.ctr(&["tasks", "delete", "--force", id]).ok();
        self.ctr(&["containers", "delete", id]).ok();
    }
}

impl Drop for Containerd {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let complaints = self.daemon.as_ref().map(Daemon::complaints).unwrap_or_default();
            eprintln!("what containerd complained about:\n{complaints}");
        } else {
            self.host.expect_only(&self.before);
            self.daemon.take().expect("it runs").stop(&self.host);
        }
    }
}

#[test]
fn a_task_runs_with_streams_and_code() {
    let containerd = Containerd::new();
    let words = ["sh", "-c", "echo out; echo err >&2; exit 7"];
    let output = containerd.run(&["--rm"], "c-one", &words).run().exits(7);
    assert_eq!((output.out().as_str(), output.err().as_str()), ("out\n", "err\n"), "{output:?}");
    let bytes: Vec<u8> = (0..200_000_u32).map(|number| number as u8).collect();
    let output = containerd.run(&["--rm"], "c-two", &["/inside", "cat"]).stdin(bytes.clone()).run().ok();
    assert!(output.stdout == bytes, "{} bytes came back, {}", output.stdout.len(), output.err());
    let output = containerd.run(&["--rm"], "c-three", &["/no/such/program"]).run().exits(1);
    assert!(output.err().contains("/no/such/program"), "{output:?}");
    let facts = containerd.facts(&["--env", "A=b", "--cwd", "/tmp", "--read-only", "--seccomp"]);
    assert_eq!((&facts["env"]["A"], &facts["cwd"]), (&json!("b"), &json!("/tmp")));
    assert_eq!(
        (&facts["pid"], &facts["seccomp"], &facts["no_new_privs"]),
        (&json!(1), &json!(2), &json!(true))
    );
    let root = facts["mounts"].as_array().expect("a list").iter().find(|mount| mount["target"] == "/");
    assert_eq!(root.expect("a root")["options"][0], "ro");
    let plugins = containerd.ctr(&["plugins", "list"]).text();
    let cri = lines(&plugins)
        .into_iter()
        .find(|line| line.contains("io.containerd.grpc.v1") && line.contains("cri"));
    assert!(
        cri.is_some_and(|line| line.ends_with("ok")),
        "the table for Kubernetes is not understood: {plugins}"
    );
}

#[test]
fn a_terminal_is_typed_on_and_resized() {
    let containerd = Containerd::new();
    let mut terminal = containerd.run(&["--rm", "--tty"], "c-terminal", &["sh"]).pty(24, 80);
    terminal.until("# ");
    wait_for("the first size is there", || {
        terminal.type_in("stty size\r");
        terminal.until("# ");
        has(terminal.screen(), "24 80")
    });
    // ctr listens for changes after it has told the first size: what changes in between it does not hear of.
    wait_for("the new size is there", || {
        terminal.resize(41, 100);
        terminal.resize(40, 100);
        terminal.type_in("stty size\r");
        terminal.until("# ");
        has(terminal.screen(), "40 100")
    });
    terminal.type_in("exit 5\r");
    terminal.wait().exits(5);
}

#[test]
fn a_task_is_entered_paused_measured_killed_and_deleted() {
    let containerd = Containerd::new();
    let id = "c-task";
    let mut watched = containerd.run(&["--memory-limit", "67108864"], id, &["sh", "-c", CATCHER]).spawn();
    watched.until("ready");
    // ctr gives up its pipes as soon as it hears of the end, whatever is in them (Process.Delete cancels before it waits).
    let said = "echo in; sleep 1; exit 3";
    let output = containerd.ctr(&["tasks", "exec", "--exec-id", "e1", id, "sh", "-c", said]);
    assert_eq!(output.exits(3).out(), "in\n");
    let exec =
        ["tasks", "exec", "--exec-id", "e2", "--user", "1000", "--cwd", "/tmp", id, "/inside", "facts"];
    let facts = containerd.ctr(&exec).json();
    assert_eq!((&facts["uid"], &facts["cwd"]), (&json!(1000), &json!("/tmp")));

    containerd.ctr(&["tasks", "pause", id]).ok();
    assert_eq!(containerd.status(id), "PAUSED");
    let group = containerd.group(id);
    let state = Version::pick(("freezer.state", "FROZEN"), ("cgroup.events", "frozen 1"));
    assert!(group.read("freezer", state.0).contains(state.1), "{}", group.read("freezer", state.0));
    containerd.ctr(&["tasks", "resume", id]).ok();
    assert_eq!(containerd.status(id), "RUNNING");

    let metrics = containerd.ctr(&["tasks", "metrics", "--format", "json", id]).json();
    let memory = Version::pick("/memory/usage/usage", "/memory/usage");
    let value = |pointer: &str| metrics.pointer(pointer).and_then(Value::as_u64);
    assert!(value(memory) > Some(100_000), "{memory} in {metrics}");
    assert!(value("/pids/current") > Some(0), "{metrics}");
    assert_eq!(
        value(Version::pick("/memory/usage/limit", "/memory/usage_limit")),
        Some(64 << 20),
        "{metrics}"
    );
    let listed = containerd.ctr(&["tasks", "ps", id]).text();
    assert!(lines(&listed).len() > 1, "{listed}");

    containerd.ctr(&["tasks", "kill", "--signal", "SIGUSR1", id]).ok();
    watched.until("USR1");
    containerd.ctr(&["tasks", "kill", "--signal", "SIGTERM", id]).ok();
    watched.until("TERM");
    assert!(watched.is_alive() || containerd.status(id) != "RUNNING", "the client ended before the task");
    watched.wait().exits(4);
    containerd.ctr(&["containers", "delete", id]).ok();
}

#[test]
fn what_runs_in_the_background_is_deleted_when_it_has_ended() {
    let containerd = Containerd::new();
    containerd.detached(&[], "c-back", &["/inside", "pause"]);
    assert_eq!(containerd.status("c-back"), "RUNNING");
    let output = containerd.ctr(&["tasks", "delete", "c-back"]).exits(1);
    assert!(output.err().contains("must be stopped"), "{output:?}");
    containerd.ctr(&["tasks", "kill", "c-back"]).ok();
    containerd.until("c-back", "STOPPED");
    containerd.ctr(&["tasks", "delete", "c-back"]).ok();
    assert_eq!(containerd.status("c-back"), "none");
    // Its container is started again as a new task.
    containerd.ctr(&["tasks", "start", "--detach", "c-back"]).ok();
    assert_eq!(containerd.status("c-back"), "RUNNING");
    containerd.remove("c-back");
    let all: Vec<String> = (0..6).map(|number| format!("c-many-{number}")).collect();
    let started: Vec<_> =
        all.iter().map(|id| containerd.run(&["--detach"], id, &["/inside", "pause"]).spawn()).collect();
    for running in started {
        running.wait().ok();
    }
    all.iter().for_each(|id| containerd.remove(id));
}

#[test]
fn mounts_namespaces_and_limits_are_as_asked() {
    let containerd = Containerd::new();
    let directory = containerd.host.path("shared");
    std::fs::create_dir(&directory).expect("our own directory");
    let mount = format!("type=bind,src={directory},dst=/data,options=rbind:ro");
    let words = ["/inside", "try", "create", "/data/new"];
    containerd.run(&["--rm", "--mount", &mount], "c-mount", &words).run().prints("EROFS\n");
    let facts = containerd.facts(&["--net-host"]);
    assert_eq!(facts["interfaces"].as_object().expect("links").len(), 1);
    let own = containerd.facts(&[]);
    assert_ne!(own["namespaces"]["net"], facts["namespaces"]["net"]);
    containerd.detached(&["--cpus", "0.5", "--memory-limit", "33554432"], "c-small", &["/inside", "pause"]);
    let group = containerd.group("c-small");
    let file = Version::pick("memory.limit_in_bytes", "memory.max");
    assert_eq!(group.number("memory", file), 32 << 20);
    let (file, value) = Version::pick(("cpu.cfs_quota_us", "50000"), ("cpu.max", "50000 100000"));
    assert_eq!(group.read("cpu", file), value);
    let pid = containerd.ctr(&["tasks", "list"]).text();
    let pid = lines(&pid)[1].split_whitespace().nth(1).expect("a process number").to_owned();
    let join = format!("network:/proc/{pid}/ns/net");
    let joined = containerd.facts(&["--with-ns", &join]);
    let exec = ["tasks", "exec", "--exec-id", "e", "c-small", "/inside", "facts"];
    let small = containerd.ctr(&exec).json();
    assert_eq!(joined["namespaces"]["net"], small["namespaces"]["net"]);
    assert_ne!(joined["namespaces"]["ipc"], small["namespaces"]["ipc"]);
    containerd.remove("c-small");
}

#[test]
fn a_checkpoint_is_made_or_the_task_goes_on() {
    let containerd = Containerd::new();
    containerd.detached(&[], "c-point", &["/inside", "pause"]);
    let able = containerd.host.shell("criu check >&2 && echo yes || echo no") == "yes";
    let output = containerd.ctr(&["tasks", "checkpoint", "--image-path", "/run/point", "c-point"]);
    if able {
        output.ok();
        let files = containerd.host.shell("ls /run/point");
        assert!(files.contains("inventory.img"), "{files}");
    } else {
        // CRIU does not know this kernel: nothing can be saved, and nothing may be lost.
        assert_ne!(output.code, 0, "{output:?}");
        assert!(output.err().to_lowercase().contains("criu"), "{output:?}");
    }
    assert_eq!(containerd.status("c-point"), "RUNNING");
    let exec = ["tasks", "exec", "--exec-id", "e", "c-point", "echo", "alive"];
    containerd.ctr(&exec).prints("alive\n");
    containerd.remove("c-point");
}
