//! Pods: what containers share in one, what is the pod's to say, how it lives and goes, and what a crash leaves of it.

mod crashes;
mod lives;
mod names;
mod said;
mod shared;

use std::fs;

use minidocker_tests::{Output, Rootfs, World};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

/// A world with a root directory for its containers.
struct Ground {
    world: World,
    root: Rootfs,
}

/// The pods and containers go; the world looks for what else is left.
impl Drop for Ground {
    fn drop(&mut self) {
        if std::thread::panicking() {
            return;
        }
        self.world.minidocker(["pod", "rm", "-f", "-a"]).ok();
        let all = self.world.minidocker(["ps", "-aq"]).text();
        let all: Vec<&str> = all.lines().collect();
        if !all.is_empty() {
            self.world.minidocker([&["rm", "-f"], all.as_slice()].concat()).ok();
        }
    }
}

impl Ground {
    fn new() -> Self {
        let world = World::new();
        let root = world.rootfs_busybox();
        Self { world, root }
    }

    /// `pod WORDS`.
    #[track_caller]
    fn pod(&self, words: &[&str]) -> Output {
        self.world.minidocker([&["pod"], words].concat())
    }

    /// `pod create WORDS`; its id.
    #[track_caller]
    fn create(&self, words: &[&str]) -> String {
        let id = self.pod(&[&["create"], words].concat()).text();
        assert!(id.len() == 64 && id.bytes().all(|b| b.is_ascii_hexdigit()), "`{id}` is no id");
        id
    }

    /// The words of a container in a pod.
    fn words(&self, options: &[&str], command: &[&str]) -> Vec<String> {
        let overlay = self.root.overlay();
        let all = [options, &["--rootfs", &overlay], command].concat();
        all.into_iter().map(str::to_owned).collect()
    }

    /// A container in the pod `web` that runs this in the background; its id.
    #[track_caller]
    fn member(&self, name: &str, command: &[&str]) -> String {
        // A first process does not hear TERM unless it asked for it.
        let options = ["--pod", "web", "--name", name, "--stop-timeout", "0"];
        self.world.detached(self.words(&options, command))
    }

    /// One that does nothing but run.
    #[track_caller]
    fn idle(&self, name: &str) -> String {
        self.member(name, &["sleep", "1000"])
    }

    #[track_caller]
    fn inspect(&self, pod: &str) -> Value {
        self.pod(&["inspect", pod]).json()[0].clone()
    }

    /// What the pod is doing.
    #[track_caller]
    fn state(&self, pod: &str) -> String {
        let state = self.inspect(pod)["State"].as_str().expect("a word").to_owned();
        let filter = format!("name={pod}");
        let listed = self.pod(&["ls", "--filter", &filter, "--format", "{{.Status}}"]).text();
        assert_eq!(listed, state, "ls and inspect agree");
        state
    }

    /// Waits until the pod is doing that.
    #[track_caller]
    fn becomes(&self, pod: &str, state: &str) {
        minidocker_tests::until(state, || self.inspect(pod)["State"] == state);
    }

    /// A file or link of the first process of the container with this id.
    #[track_caller]
    fn namespace(&self, id: &str, kind: &str) -> String {
        let path = format!("/proc/{}/ns/{kind}", self.world.init(id));
        fs::read_link(path).expect("it lives").display().to_string()
    }

    #[track_caller]
    fn exec(&self, name: &str, command: &[&str]) -> String {
        self.world.minidocker([&["exec", name], command].concat()).text()
    }

    /// The pod's address on the default network, which its `hosts` file has.
    #[track_caller]
    fn address(&self, pod: &str) -> String {
        let text = self.world.minidocker(["inspect", "-f", "{{.NetworkSettings.IPAddress}}", pod]).text();
        assert!(text.contains('.'), "`{text}` is no address");
        text
    }
}

fn kill(pid: i32) {
    kill_process(Pid::from_raw(pid).expect("a process"), Signal::KILL).expect("it is ours and lives");
}
