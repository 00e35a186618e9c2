//! Docker as the distribution packages it, in a machine of its own, with runc.

use std::path::Path;

use minidocker_tests::Output;
use minidocker_tests::engines::{Daemon, Host};
use serde_json::json;

use crate::Engine;
use crate::script::IMAGE;

/// The one that came with the daemon, and no other: what is compared depends on its version.
const CLIENT: &str = "/usr/bin/docker";
const SOCKET: &str = "unix:///run/docker.sock";

/// A daemon. Dropped, it ends with its machine and everything in there.
pub(crate) struct Docker {
    host: Host,
    daemon: Daemon,
}

impl Docker {
    #[track_caller]
    pub(crate) fn new() -> Self {
        let host = Host::new();
        let configuration = json!({
            "data-root": host.path("docker"),
            "exec-root": "/run/docker",
            "pidfile": "/run/docker.pid",
            "hosts": [SOCKET],
            "exec-opts": ["native.cgroupdriver=cgroupfs"],
            "cgroup-parent": host.world().cgroup_parent(),
        });
        let file = host.file("daemon.json", configuration.to_string());
        let daemon = host.daemon(["dockerd", "--config-file", &file], "API listen on");
        assert!(Path::new(CLIENT).is_file(), "there is no {CLIENT}, which the daemon's package has");
        let docker = Self { host, daemon };
        let root = docker.host.image().root;
        docker.run(&["import", "-c", "CMD [\"sh\"]", "-c", "ENV A=b", &root, IMAGE]).ok();
        docker
    }

    /// Writes an image to a file that the test sees too.
    #[track_caller]
    pub(crate) fn save(&self, image: &str, file: &str) {
        let own = self.host.path("saved.tar");
        self.run(&["save", "-o", &own, image]).ok();
        std::fs::copy(&own, file).unwrap_or_else(|error| panic!("copy {own} to {file}: {error}"));
    }
}

impl Engine for Docker {
    fn run(&self, words: &[&str]) -> Output {
        self.host.call([&[CLIENT, "--host", SOCKET], words].concat()).run()
    }

    fn directory(&self) -> String {
        self.host.path("tmp")
    }
}

impl Drop for Docker {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("what the Docker daemon complained about:\n{}", self.daemon.complaints());
            return;
        }
        let all = self.run(&["ps", "--all", "--quiet"]).text();
        let all: Vec<&str> = all.lines().collect();
        if !all.is_empty() {
            self.run(&[&["rm", "--force", "--volumes"], &all[..]].concat()).ok();
        }
        self.daemon.stop(&self.host);
    }
}
