//! `bench dns`: how fast a container gets an answer for a name: a neighbour's, and one that a server beyond knows. The floor
//! is that server, asked directly; Docker's embedded server stands beside, where Docker is installed.

use std::net::{SocketAddr, UdpSocket};
use std::os::fd::AsFd as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};
use serde_json::{Value, json};

use super::engines::{self, Bridge, Engine, OURS, owned};
use super::place::Place;
use super::statistics::Series;
use super::{Ready, small, world};
use crate::arguments::Arguments;

/// The server beyond: an address of the place that no container has, and that is not on loopback's network, for some of
/// Docker's versions leave such servers out.
const BEYOND: &str = "192.0.2.53:53";
/// Where programs in containers ask.
const INSIDE: &str = "127.0.0.11:53";
/// So many questions are on their way at once, where it is counted how many are answered in a second.
const WINDOW: u16 = 32;
/// The neighbour.
const NEIGHBOUR: &str = "neighbour";
const FAR: &str = "far.example";

/// What to measure.
#[derive(Debug, Clone)]
pub(crate) struct Plan {
    /// Questions, each with its own time.
    questions: usize,
    /// Rounds of which the median counts, in turn.
    rounds: usize,
}

impl Plan {
    /// Takes its options.
    pub(crate) fn read(arguments: &mut Arguments) -> Result<Self> {
        let plan = Self {
            questions: arguments.value_or("--questions", 2000)?,
            rounds: arguments.value_or("--rounds", 9)?,
        };
        if plan.questions == 0 || plan.rounds == 0 {
            bail!("--questions and --rounds are numbers from 1");
        }
        Ok(plan)
    }
}

/// Makes what is needed.
pub(crate) fn prepare(plan: Plan, program: Option<PathBuf>) -> Result<Ready> {
    let minidocker = world::program(program)?;
    Ok(Box::new(move || measure(&plan, &minidocker)))
}

/// Who is asked, and what for.
struct Row {
    name: String,
    /// In the network namespace of this process of the place; none: of the place itself.
    pid: Option<u32>,
    server: SocketAddr,
    question: &'static str,
    latencies: Vec<Duration>,
    rates: Vec<f64>,
}

fn measure(plan: &Plan, minidocker: &Path) -> Result<Value> {
    let mut place = Place::new("bench-dns")?;
    let script = "ip address add 192.0.2.53/32 dev lo && echo nameserver 192.0.2.53 > /etc/resolv.conf";
    place.run(&owned(["sh", "-c", script]))?;
    let beyond = place.inside(|| Ok(UdpSocket::bind(BEYOND)?))?;
    // It ends with the program.
    std::thread::spawn(move || answer(&beyond));
    let mut rows = vec![row("the server itself", None, BEYOND, FAR)?];
    let ours = engines::ours(&mut place, minidocker)?;
    add(&place, &ours, &[], &mut rows)?;
    match engines::docker(&mut place, Bridge::Own)? {
        Some(docker) => {
            place.run(&docker.command(&[&owned(["network", "create", "bench"])]))?;
            add(&place, &docker, &["--network", "bench"], &mut rows)?;
        }
        None => println!("docker is left out: it is not installed"),
    }
    for _ in 0..plan.rounds {
        for row in &mut rows {
            let (latencies, rate) = place.inside(|| ask(plan, row))?;
            row.latencies.extend(latencies);
            row.rates.push(rate);
        }
    }
    // While its place is there.
    for name in ["asks", NEIGHBOUR] {
        place.run(&ours.command(&[&owned(["rm", "-f", name])]))?;
    }
    report(rows)
}

fn row(name: &str, pid: Option<u32>, server: &str, question: &'static str) -> Result<Row> {
    let (latencies, rates) = (Vec::new(), Vec::new());
    Ok(Row { name: name.to_owned(), pid, server: server.parse()?, question, latencies, rates })
}

/// Two containers of an engine, one of which asks.
fn add(place: &Place, engine: &Engine, network: &[&str], rows: &mut Vec<Row>) -> Result<()> {
    place.run(&engine.command(&[&owned(["load", "-q", "-i", &place.small()])]))?;
    for name in [NEIGHBOUR, "asks"] {
        let words = [&["run", "-d", "--name", name], network, &[small::NAME, "sleep", "1000"]].concat();
        let words: Vec<String> = words.into_iter().map(str::to_owned).collect();
        place.run(&engine.command(&[&words]))?;
    }
    let words = engine.command(&[&owned(["inspect", "-f", "{{.State.Pid}}", "asks"])]);
    let mut command = place.command(None, &words);
    let said = command.stdout(std::process::Stdio::piped()).output()?;
    let pid = String::from_utf8_lossy(&said.stdout).trim().parse().context("the container's process")?;
    rows.push(row(&format!("{}, a neighbour", engine.name), Some(pid), INSIDE, NEIGHBOUR)?);
    rows.push(row(&format!("{}, beyond", engine.name), Some(pid), INSIDE, FAR)?);
    Ok(())
}

/// Answers everything with one address.
fn answer(socket: &UdpSocket) {
    let mut room = [0; 512];
    while let Ok((count, from)) = socket.recv_from(&mut room) {
        let question = room[12..count].iter().position(|byte| *byte == 0).map_or(count, |end| 12 + end + 5);
        let mut bytes = room[..question.min(count)].to_vec();
        bytes[2..12].copy_from_slice(&[0x81, 0x80, 0, 1, 0, 1, 0, 0, 0, 0]);
        bytes.extend([0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4, 198, 51, 100, 7]);
        let _ = socket.send_to(&bytes, from);
    }
}

/// One question after the other, and many at once: how long each took, and how many there were in a second.
fn ask(plan: &Plan, row: &Row) -> Result<(Vec<Duration>, f64)> {
    if let Some(pid) = row.pid {
        let space = std::fs::File::open(format!("/proc/{pid}/ns/net")).context("the container's network")?;
        move_into_link_name_space(space.as_fd(), Some(LinkNameSpaceType::Network))?;
    }
    let socket = UdpSocket::bind("0.0.0.0:0")?;
    socket.connect(row.server)?;
    socket.set_read_timeout(Some(Duration::from_secs(2)))?;
    let hear = || -> Result<u16> {
        let mut room = [0; 512];
        let count = socket.recv(&mut room).with_context(|| format!("no answer: {}", row.name))?;
        if count < 12 || room[3] & 15 != 0 || room[7] == 0 {
            bail!("{}: no address for {}", row.name, row.question);
        }
        Ok(u16::from_be_bytes([room[0], room[1]]))
    };
    let mut latencies = Vec::with_capacity(plan.questions);
    for number in 0..plan.questions {
        let start = Instant::now();
        socket.send(&question(number as u16, row.question))?;
        hear()?;
        latencies.push(start.elapsed());
    }
    let all = plan.questions as u16;
    let start = Instant::now();
    (0..WINDOW.min(all)).try_for_each(|id| socket.send(&question(id, row.question)).map(drop))?;
    for id in WINDOW..all.max(WINDOW) {
        hear()?;
        socket.send(&question(id, row.question))?;
    }
    (0..WINDOW.min(all)).try_for_each(|_| hear().map(drop))?;
    Ok((latencies, f64::from(all) / start.elapsed().as_secs_f64()))
}

/// A question for an IPv4 address.
fn question(id: u16, name: &str) -> Vec<u8> {
    let mut bytes = id.to_be_bytes().to_vec();
    bytes.extend([1, 0, 0, 1, 0, 0, 0, 0, 0, 0]);
    for label in name.split('.') {
        bytes.push(label.len() as u8);
        bytes.extend(label.as_bytes());
    }
    bytes.extend([0, 0, 1, 0, 1]);
    bytes
}

fn report(rows: Vec<Row>) -> Result<Value> {
    println!("{:<26} {:>12} {:>12} {:>14}", "", "median, us", "p95, us", "questions/s");
    let mut values = serde_json::Map::new();
    let mut medians = Vec::new();
    for mut row in rows {
        let series = Series::new(row.latencies).context("no questions")?;
        row.rates.sort_by(f64::total_cmp);
        let rate = row.rates[row.rates.len() / 2];
        let [median, p95] = [series.median(), series.p95()].map(|time| time.as_nanos() as f64 / 1000.0);
        println!("{:<26} {median:>12.1} {p95:>12.1} {rate:>14.0}", row.name);
        values.insert(
            row.name.clone(),
            json!({"questions": series.runs(), "median_us": median, "p95_us": p95, "per_second": row.rates}),
        );
        medians.push((row.name, median));
    }
    for what in ["a neighbour", "beyond"] {
        let of = |engine: &str| {
            medians.iter().find(|(name, _)| *name == format!("{engine}, {what}")).map(|(_, median)| *median)
        };
        if let (Some(ours), Some(docker)) = (of(OURS), of("docker")) {
            let met = if ours <= docker { "met" } else { "not met" };
            println!("{what}: {:.2} of docker's time, target 1.00 is {met}", ours / docker);
        }
    }
    Ok(Value::Object(values))
}
