//! Docker on the runtime under test, named in daemon.json as its default one.

mod builds;
mod execs;
mod files;
mod fleet;
mod lives;
mod networks;
mod resources;
mod rights;
mod runs;

use std::path::Path;

use minidocker_tests::engines::{Daemon, Host, Traces};
use minidocker_tests::{Call, Group, Output};
use serde_json::{Value, json};

use crate::{has, is, lines, wait_for};

const SOCKET: &str = "unix:///run/docker.sock";

/// The image, in a daemon.
pub(crate) const IMAGE: &str = "test:1";

/// A daemon in a machine of its own. Dropped, it proves that removed containers leave nothing, and ends.
pub(crate) struct Docker {
    pub(crate) host: Host,
    daemon: Option<Daemon>,
    before: Traces,
    /// The one that came with the daemon: the client's version is the daemon's.
    client: &'static str,
}

impl Docker {
    /// With the runtime as the default one, and without a bridge: containers have no network unless they ask for one.
    #[track_caller]
    pub(crate) fn new() -> Self {
        Self::with(json!({"bridge": "none"}))
    }

    /// With a bridge as the default network.
    #[track_caller]
    pub(crate) fn bridged() -> Self {
        Self::with(json!({}))
    }

    /// With more in daemon.json.
    #[track_caller]
    pub(crate) fn with(more: Value) -> Self {
        let host = Host::new();
        let daemon = Some(start(&host, more));
        let client = if Path::new("/usr/bin/docker").exists() { "/usr/bin/docker" } else { "docker" };
        let mut docker = Self { before: host.traces(), host, daemon, client };
        docker.docker(["import", &docker.host.image().root, IMAGE]).ok();
        docker.before = docker.host.traces();
        // Docker's handle for the host's network, from its first use on.
        docker.allow("mount /run/docker/netns/default");
        docker
    }

    /// `docker WORDS`, yet to be started.
    #[track_caller]
    pub(crate) fn call<W: AsRef<str>>(&self, words: impl IntoIterator<Item = W>) -> Call<'_> {
        let words: Vec<String> = words.into_iter().map(|word| word.as_ref().to_owned()).collect();
        let start = [self.client, "--host", SOCKET].map(str::to_owned);
        self.host.call(start.into_iter().chain(words))
    }

    /// Runs `docker WORDS` to its end.
    #[track_caller]
    pub(crate) fn docker<W: AsRef<str>>(&self, words: impl IntoIterator<Item = W>) -> Output {
        self.call(words).run()
    }

    /// `docker run --rm WORDS` to its end.
    #[track_caller]
    pub(crate) fn run(&self, words: &[&str]) -> Output {
        self.docker([&["run", "--rm"], words].concat())
    }

    /// `docker run -d WORDS`; gives the id.
    #[track_caller]
    pub(crate) fn detached(&self, words: &[&str]) -> String {
        let id = self.docker([&["run", "-d"], words].concat()).text();
        assert!(id.len() == 64 && id.bytes().all(|b| b.is_ascii_hexdigit()), "`{id}` is no id");
        id
    }

    /// What `/inside facts` reports from a container with these options of `docker run`.
    #[track_caller]
    pub(crate) fn facts(&self, options: &[&str]) -> Value {
        self.run(&[options, &[IMAGE, "/inside", "facts"]].concat()).json()
    }

    /// What `docker inspect` says of `.FIELD`, as JSON.
    #[track_caller]
    pub(crate) fn inspect(&self, container: &str, field: &str) -> Value {
        self.docker(["inspect", "--format", &format!("{{{{json {field}}}}}"), container]).json()
    }

    /// Waits until `.FIELD` of a container is this.
    #[track_caller]
    pub(crate) fn until(&self, container: &str, field: &str, value: &Value) {
        wait_for(&format!("{field} of {container} is {value}"), || is(self.inspect(container, field), value));
    }

    /// Waits until a container has said `text`.
    #[track_caller]
    pub(crate) fn until_said(&self, container: &str, text: &str) {
        let said = || has(self.docker(["logs", container]).ok().out(), text);
        wait_for(&format!("{container} has said `{text}`"), said);
    }

    /// The first process of a container, by its number in the host.
    #[track_caller]
    pub(crate) fn pid(&self, container: &str) -> i64 {
        self.inspect(container, ".State.Pid").as_i64().expect("a number")
    }

    /// The control group of the container with this full id.
    pub(crate) fn group(&self, id: &str) -> Group {
        Group::at(&format!("{}/{id}", self.host.world().cgroup_parent()))
    }

    /// Removes containers at once.
    #[track_caller]
    pub(crate) fn remove(&self, containers: &[&str]) {
        self.docker([&["rm", "--force", "--volumes"], containers].concat()).ok();
    }

    /// Waits until nothing of any container is left.
    #[track_caller]
    pub(crate) fn expect_nothing_left(&self) {
        self.host.expect_only(&self.before);
    }

    /// From now on this line of the traces does not count as left.
    pub(crate) fn allow(&mut self, line: &str) {
        self.before.allow(line);
    }

    /// Ends the daemon and starts it again on the same files, with more in daemon.json.
    #[track_caller]
    fn restart(&mut self, more: Value) {
        self.daemon.as_mut().expect("it runs").stop(&self.host);
        self.daemon = Some(start(&self.host, more));
    }

    #[track_caller]
    fn end(&mut self) {
        let all = self.docker(["ps", "--all", "--quiet"]).text();
        let all = lines(&all);
        if !all.is_empty() {
            self.remove(&all);
        }
        self.expect_nothing_left();
        self.daemon.take().expect("it runs").stop(&self.host);
    }
}

impl Drop for Docker {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let complaints = self.daemon.as_ref().map(Daemon::complaints).unwrap_or_default();
            eprintln!("what the Docker daemon complained about:\n{complaints}");
        } else {
            self.end();
        }
    }
}

/// Starts a daemon whose daemon.json is what docs/guide/oci-runtime.md tells, its own places, and `more`.
#[track_caller]
fn start(host: &Host, more: Value) -> Daemon {
    let mut configuration = json!({
        "runtimes": {"minidocker": {"path": host.runtime()}},
        "default-runtime": "minidocker",
        "data-root": host.path("docker"),
        "exec-root": "/run/docker",
        "pidfile": "/run/docker.pid",
        "hosts": [SOCKET],
        "exec-opts": ["native.cgroupdriver=cgroupfs"],
        "cgroup-parent": host.world().cgroup_parent(),
    });
    let known = configuration.as_object_mut().expect("an object");
    known.extend(more.as_object().expect("an object").clone());
    let file = host.file("daemon.json", configuration.to_string());
    host.daemon(["dockerd", "--config-file", &file], "API listen on")
}
