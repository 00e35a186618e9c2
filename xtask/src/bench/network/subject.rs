//! Who is measured: an engine, or links without any, each in namespaces of its own with another machine at its uplink.

use std::path::Path;

use anyhow::{Context as _, Result};
use serde_json::Value;

use super::super::engines::{self, Bridge, Engine, owned};
use super::super::place::Place;
use super::super::small;
use crate::process;

/// The ports of the servers, in their container and published: the small program's and iperf3's.
const PORT: &str = "7000";
const IPERF3_PORT: &str = "7001";
/// What iperf3 and its libraries are in, the same in containers.
const IPERF3_NEEDS: [&str; 3] = ["/usr", "/lib", "/lib64"];
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
    /// The small program of both ends.
    inside: String,
    /// Whether iperf3 serves too.
    iperf3: bool,
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

/// What is asked of a server over a way.
#[derive(Debug, Clone, Copy)]
pub(super) enum Question {
    /// A stream for so many seconds, by the small program: Mbit/s at its receiver.
    Stream(f64),
    /// The same by iperf3, which counts whole seconds.
    Iperf3(f64),
    /// A byte there and back so often: the median in microseconds.
    PingPong(usize),
}

impl Question {
    /// The client, by the small program's name on its side.
    fn client(self, inside: &str, address: &str) -> Vec<String> {
        match self {
            Self::Stream(seconds) => owned([inside, "pour", address, PORT, &seconds.to_string()]),
            Self::PingPong(times) => owned([inside, "ping-pong", address, PORT, &times.to_string()]),
            Self::Iperf3(seconds) => {
                let seconds = seconds.ceil().to_string();
                owned(["/usr/bin/iperf3", "-J", "-c", address, "-p", IPERF3_PORT, "-t", &seconds])
            }
        }
    }

    fn answer(self, said: &Value) -> Option<f64> {
        match self {
            Self::Stream(_) => said["mbit"].as_f64(),
            Self::Iperf3(_) => said["end"]["sum_received"]["bits_per_second"].as_f64().map(|bits| bits / 1e6),
            Self::PingPong(_) => said["median_us"].as_f64(),
        }
    }
}

impl Subject {
    /// All that are installed, the bare links first and ours behind them. What an engine needs runs; the servers do not yet.
    pub(super) fn all(minidocker: &Path, inside: &Path, iperf3: bool) -> Result<Vec<Self>> {
        let mut all = Vec::new();
        for name in [PAIRS, BRIDGED] {
            all.push(Self::new(name, inside, iperf3, |_| Ok(None))?.context(name)?);
        }
        let ours = |place: &mut Place| engines::ours(place, minidocker).map(Some);
        all.extend(Self::new(engines::OURS, inside, iperf3, ours)?);
        type Make = fn(&mut Place) -> Result<Option<Engine>>;
        let others: [(&'static str, Make); 3] = [
            ("docker", |place| engines::docker(place, Bridge::Published { proxy: true })),
            ("docker, no proxy", |place| engines::docker(place, Bridge::Published { proxy: false })),
            ("podman", engines::podman),
        ];
        for (name, make) in others {
            match Self::new(name, inside, iperf3, make) {
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
        iperf3: bool,
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
        let subject = Self { name, place, engine, inside: copy, iperf3, address: BARE.to_owned() };
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

    /// Starts the servers and the neighbour; they end with the place.
    pub(super) fn serve(&mut self) -> Result<()> {
        let Some(engine) = &self.engine else {
            let (inside, namespace) = (&self.inside, "ip netns exec server");
            if self.iperf3 {
                self.shell(&format!(
                    "{namespace} /usr/bin/iperf3 -s -p {IPERF3_PORT} >/dev/null 2>&1 </dev/null &"
                ))?;
            }
            return self.shell(&format!(
                "{namespace} {inside} flow {PORT} >/dev/null 2>&1 </dev/null &
                 {}",
                answers(&format!("{namespace} {inside} ping-pong 127.0.0.1 {PORT} 1"))
            ));
        };
        let mut options = owned(["-d", "-v", &format!("{}:/inside:ro", self.inside)]);
        let mut ports = owned(["-p", &format!("{PORT}:{PORT}")]);
        if self.iperf3 {
            let there = IPERF3_NEEDS.into_iter().filter(|path| Path::new(path).exists());
            options.extend(there.flat_map(|path| owned(["-v", &format!("{path}:{path}:ro")])));
            ports.extend(owned(["-p", &format!("{IPERF3_PORT}:{IPERF3_PORT}")]));
        }
        let run = |name, more: &[String], command: &[String]| {
            let named = owned(["run", "--name", name]);
            self.place.run(&engine.command(&[&named, &options, more, &owned([small::NAME]), command]))
        };
        run("bench-server", &ports, &owned(["/inside", "flow", PORT]))?;
        run("bench-client", &[], &owned(["sleep", "100000"]))?;
        if self.iperf3 {
            let server = ["exec", "-d", "bench-server", "/usr/bin/iperf3", "-s", "-p", IPERF3_PORT];
            self.place.run(&engine.command(&[&owned(server)]))?;
        }
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

    /// The answer to a client at the beginning of a way.
    pub(super) fn ask(&self, way: Way, question: Question) -> Result<f64> {
        let own = |address: &str| question.client(&self.inside, address);
        let from = |namespace: &str, address: &str| {
            [owned(["nsenter", &format!("--net=/run/netns/{namespace}")]), own(address)].concat()
        };
        let words = match (&self.engine, way) {
            (_, Way::Host) => own(&self.address),
            (None, Way::Loopback) => own(BARE),
            (None, Way::Published) => from("far", BARE),
            (None, Way::Neighbour) => from("client", NEIGHBOUR),
            (Some(engine), Way::Neighbour) => {
                let client = question.client("/inside", &self.address);
                engine.command(&[&owned(["exec", "bench-client"]), &client])
            }
            (Some(_), Way::Published) => from("far", HOST),
            (Some(_), Way::Loopback) => own("127.0.0.1"),
        };
        let said = self.output(&words)?;
        let value = serde_json::from_str(&said).ok();
        let answer = value.as_ref().and_then(|value| question.answer(value));
        answer.with_context(|| format!("{}, {}: `{}`", self.name, way.name(), said.trim()))
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
