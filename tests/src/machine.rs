//! Another machine: a network namespace of the test's own, with a cable to the world's "host".

use std::fs;

use crate::{Call, Running, World, need, until};

/// The world's "host", as the other machine sees it.
pub const HOST: &str = "192.0.2.1";
/// The other machine.
pub const FAR: &str = "192.0.2.2";

/// Another machine: [`FAR`], and the host is [`HOST`] to it.
pub struct Machine<'w> {
    world: &'w World,
    holder: Running,
}

impl<'w> Machine<'w> {
    /// Brings it up.
    ///
    /// # Panics
    /// Where the host has one already, or lacks ip(8) and nsenter(1).
    #[track_caller]
    pub fn new(world: &'w World) -> Self {
        let holder = world.program(["unshare", "--net", "sleep", "1000"]).spawn();
        let namespace = |pid: i32| fs::read_link(format!("/proc/{pid}/ns/net")).ok();
        let own = world.inside_network(|| fs::read_link("/proc/thread-self/ns/net")).ok();
        let pid = holder.pid();
        until("it has a network of its own", || namespace(pid).is_some_and(|there| Some(there) != own));
        let text = pid.to_string();
        let near = |words: &[&str]| {
            let all = ["ip"].into_iter().chain(words.iter().copied());
            world.program(all).run().ok();
        };
        near(&["link", "add", "uplink", "type", "veth", "peer", "name", "eth0", "netns", &text]);
        near(&["addr", "add", "192.0.2.1/24", "dev", "uplink"]);
        near(&["link", "set", "uplink", "up"]);
        let machine = Self { world, holder };
        machine.ip(&["link", "set", "lo", "up"]);
        machine.ip(&["addr", "add", "192.0.2.2/24", "dev", "eth0"]);
        machine.ip(&["link", "set", "eth0", "up"]);
        machine
    }

    fn words(&self, words: &[&str]) -> Vec<String> {
        let pid = self.holder.pid().to_string();
        let mut all: Vec<String> =
            ["nsenter", "--net", "--target", &pid, "--"].iter().map(|word| (*word).to_owned()).collect();
        all.extend(words.iter().map(|word| (*word).to_owned()));
        all
    }

    /// Runs ip(8) there.
    #[track_caller]
    pub fn ip(&self, words: &[&str]) {
        let all: Vec<&str> = ["ip"].iter().chain(words).copied().collect();
        self.world.program(self.words(&all)).run().ok();
    }

    /// Runs the reporter there.
    #[track_caller]
    pub fn inside(&self, words: &[&str]) -> Running {
        let inside = self.world.inside_path();
        let all: Vec<&str> = [inside.to_str().expect("text")].iter().chain(words).copied().collect();
        self.world.program(self.words(&all)).spawn()
    }

    /// Any program there, yet to be started.
    #[track_caller]
    pub fn program(&self, words: &[&str]) -> Call<'w> {
        self.world.program(self.words(words))
    }

    /// A line to a port of the host by TCP, and the answer.
    #[track_caller]
    pub fn ask(&self, port: u16) -> String {
        self.inside(&["connect", HOST, &port.to_string(), "far"]).wait().text()
    }
}

impl Drop for Machine<'_> {
    /// The cable by hand: with the namespace alone it goes when the kernel's worker comes to it, which is behind
    /// everybody else's on a busy machine. Nothing panics here: the test may be on its way out already.
    fn drop(&mut self) {
        let ip = need("ip");
        // What is left of it is the leak check's to tell.
        let _ = self
            .world
            .inside_network(|| std::process::Command::new(ip).args(["link", "del", "uplink"]).output());
        self.holder.signal(9);
    }
}
