//! Who is measured: an engine, or links without any, each in namespaces of its own with another machine at its uplink.

use std::path::Path;

use anyhow::{Context as _, Result};
use serde_json::Value;

use super::super::engines::{self, Bridge, Engine, owned};
use super::super::place::Place;
use crate::process;

/// The port of the server, in its container and published.
const PORT: &str = "7000";
/// The host's side and the other machine's of the cable between them.
const HOST: &str = "10.213.81.1";
/// Links without any engine: a pair for each way, or pairs on a bridge, as engines have them.
const PAIRS: &str = "bare links";
const BRIDGED: &str = "bare links on a bridge";
/// The bare links' server, seen from the host and from a neighbour.
const BARE: &str = "10.213.80.2";
const NEIGHBOUR: &str = "10.213.82.2";

/// A line that waits until a program succeeds, some ten seconds at most.
fn answers(program: &str) -> String {
    format!("n=0; until {program} >/dev/null 2>&1; do n=$((n + 1)); [ $n -lt 200 ]; sleep 0.05; done")
}

/// One of them.
pub(super) struct Subject {
    pub(super) name: &'static str,
    pub(super) place: Place,
    /// None: bare links.
    pub(super) engine: Option<Engine>,
    /// The program of both ends.
    inside: String,
    /// The container's address.
    address: String,
}

/// From where to where.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Way {
    /// From the host to a container.
    Host,
    /// From a container to another.
    Neighbour,
    /// From another machine by a published port.
    Published,
    /// From the host by a published port of its 127.0.0.1.
    Loopback,
}

impl Way {
    pub(super) const ALL: [Self; 4] = [Self::Host, Self::Neighbour, Self::Published, Self::Loopback];

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Host => "host to container",
            Self::Neighbour => "container to container",
            Self::Published => "published port, from another machine",
            Self::Loopback => "published port, from 127.0.0.1",
        }
    }
}

impl Subject {
    /// All that are installed, the bare links first and ours behind them. What an engine needs runs; the servers do not yet.
    pub(super) fn all(minidocker: &Path, inside: &Path) -> Result<Vec<Self>> {
        let mut all = Vec::new();
        for name in [PAIRS, BRIDGED] {
            all.push(Self::new(name, inside, |_| Ok(None))?.context(name)?);
        }
        all.extend(Self::new(engines::OURS, inside, |place| engines::ours(place, minidocker).map(Some))?);
        type Make = fn(&mut Place) -> Result<Option<Engine>>;
        let others: [(&'static str, Make); 3] = [
            ("docker", |place| engines::docker(place, Bridge::Published { proxy: true })),
            ("docker, no proxy", |place| engines::docker(place, Bridge::Published { proxy: false })),
            ("podman", engines::podman),
        ];
        for (name, make) in others {
            match Self::new(name, inside, make) {
                Ok(Some(subject)) => all.push(subject),
                Ok(None) => println!("{name} is left out: it is not installed"),
                Err(error) => println!("{name} is left out: {error:#}"),
            }
        }
        Ok(all)
    }

    fn new(
        name: &'static str,
        inside: &Path,
        make: impl FnOnce(&mut Place) -> Result<Option<Engine>>,
    ) -> Result<Option<Self>> {
        let mut place = Place::new(&format!("bench-network-{}", name.replace([' ', ','], "")))?;
        let is_bare = [PAIRS, BRIDGED].contains(&name);
        let engine = make(&mut place)?;
        if engine.is_none() && !is_bare {
            return Ok(None);
        }
        let copy = place.path("inside");
        std::fs::copy(inside, &copy).with_context(|| format!("copy {}", inside.display()))?;
        let subject = Self { name, place, engine, inside: copy, address: BARE.to_owned() };
        subject.shell(&format!(
            "ip netns add far
             ip link add uplink type veth peer name eth0 netns far
             ip addr add {HOST}/24 dev uplink
             ip link set uplink up
             ip -n far link set lo up
             ip -n far addr add 10.213.81.2/24 dev eth0
             ip -n far link set eth0 up
             ip -n far route add default via {HOST}"
        ))?;
        match &subject.engine {
            Some(engine) => {
                subject.place.run(&engine.command(&[&owned(["load", "-q", "-i", &subject.place.small()])]))?
            }
            None if name == BRIDGED => subject.shell(&format!(
                "ip link add br0 up type bridge
                 ip addr add 10.213.80.1/24 dev br0
                 for n in server client; do
                     ip netns add $n
                     ip link add link-$n up master br0 type veth peer name eth0 netns $n
                     ip -n $n link set lo up
                 done
                 ip -n server addr add {BARE}/24 dev eth0
                 ip -n server addr add {NEIGHBOUR}/24 dev eth0
                 ip -n client addr add 10.213.82.1/24 dev eth0
                 ip -n server link set eth0 up
                 ip -n client link set eth0 up
                 ip -n server route add default via 10.213.80.1
                 echo 1 > /proc/sys/net/ipv4/ip_forward"
            ))?,
            None => subject.shell(&format!(
                "ip netns add server
                 ip netns add client
                 ip link add link0 type veth peer name eth0 netns server
                 ip addr add 10.213.80.1/24 dev link0
                 ip link set link0 up
                 ip -n server link set lo up
                 ip -n server addr add {BARE}/24 dev eth0
                 ip -n server link set eth0 up
                 ip -n server route add default via 10.213.80.1
                 ip -n client link add eth0 type veth peer name eth1 netns server
                 ip -n client addr add 10.213.82.1/24 dev eth0
                 ip -n client link set eth0 up
                 ip -n server addr add {NEIGHBOUR}/24 dev eth1
                 ip -n server link set eth1 up
                 echo 1 > /proc/sys/net/ipv4/ip_forward"
            ))?,
        }
        Ok(Some(subject))
    }

    fn shell(&self, script: &str) -> Result<()> {
        self.place.run(&owned(["sh", "-ec", script]))
    }

    /// Starts the server and the neighbour; they end with the place.
    pub(super) fn serve(&mut self) -> Result<()> {
        let Some(engine) = &self.engine else {
            let inside = &self.inside;
            return self.shell(&format!(
                "ip netns exec server {inside} flow {PORT} >/dev/null 2>&1 </dev/null &
                 {}",
                answers(&format!("ip netns exec server {inside} ping-pong 127.0.0.1 {PORT} 1"))
            ));
        };
        let volume = format!("{}:/inside:ro", self.inside);
        let published = format!("{PORT}:{PORT}");
        let server = [
            "run",
            "-d",
            "--name",
            "bench-server",
            "-p",
            &published,
            "-v",
            &volume,
            super::super::small::NAME,
        ];
        let server = [&owned(server)[..], &owned(["/inside", "flow", PORT])].concat();
        let client = [
            "run",
            "-d",
            "--name",
            "bench-client",
            "-v",
            &volume,
            super::super::small::NAME,
            "sleep",
            "100000",
        ];
        self.place.run(&engine.command(&[&server]))?;
        self.place.run(&engine.command(&[&owned(client)]))?;
        let words =
            engine.command(&[&owned(["inspect", "-f", "{{.NetworkSettings.IPAddress}}", "bench-server"])]);
        let said = self.output(&words)?;
        self.address = said.trim().to_owned();
        let inside = &self.inside;
        self.shell(&answers(&format!("{inside} ping-pong {} {PORT} 1", self.address)))
    }

    fn output(&self, words: &[String]) -> Result<String> {
        let mut command = self.place.command(None, words);
        command.stdout(std::process::Stdio::piped());
        Ok(String::from_utf8_lossy(&process::output(&mut command)?.stdout).into_owned())
    }

    /// What a client at the beginning of a way says of its end: `pour` or `ping-pong`, and how long or how often.
    pub(super) fn ask(&self, way: Way, what: &str, how_much: &str) -> Result<Value> {
        let far = owned(["nsenter", "--net=/run/netns/far"]);
        let target = |address: &str| owned([what, address, PORT, how_much]);
        let own = owned([&self.inside]);
        let words = match (&self.engine, way) {
            (_, Way::Host) => [&own[..], &target(&self.address)].concat(),
            (None, Way::Loopback) => [&own[..], &target(BARE)].concat(),
            (None, Way::Published) => [&far[..], &own, &target(BARE)].concat(),
            (None, Way::Neighbour) => {
                [&owned(["nsenter", "--net=/run/netns/client"])[..], &own, &target(NEIGHBOUR)].concat()
            }
            (Some(engine), Way::Neighbour) => {
                engine.command(&[&owned(["exec", "bench-client", "/inside"]), &target(&self.address)])
            }
            (Some(_), Way::Published) => [&far[..], &own, &target(HOST)].concat(),
            (Some(_), Way::Loopback) => [&own[..], &target("127.0.0.1")].concat(),
        };
        let said = self.output(&words)?;
        serde_json::from_str(&said).with_context(|| format!("{}: `{}`", self.name, said.trim()))
    }

    /// Takes server and neighbour away.
    pub(super) fn rest(&self) -> Result<()> {
        match &self.engine {
            Some(engine) => {
                self.place.run(&engine.command(&[&owned(["rm", "-f", "bench-server", "bench-client"])]))
            }
            None => Ok(()),
        }
    }
}
