//! What a run of a suite leaves on disk.
//!
//! ```text
//! DIR/run.json                    Run: what was asked, of which suite, on which host; the whole order of measurements
//! DIR/parity/vm-2g-1cpu.json      Parity: what an environment of a size really had; one for each that was measured
//! DIR/measurements/00007.json     Measurement: one case, once; written when it has ended, by rename
//! DIR/measurements/00007.txt      what the command printed, both streams
//! DIR/series/00007.json           Series: what the host saw meanwhile
//! ```
//!
//! A run that was stopped is one whose order has numbers without a file: they are what is left to be done. Every number
//! is in the base unit of its name: seconds, bytes. Unknown keys are left alone, an unknown format is refused.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// The format that this program writes.
pub const FORMAT: u32 = 1;

/// A run: `run.json`. It is written before the first measurement and not changed after.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Run {
    /// [`FORMAT`].
    pub format: u32,
    /// When it began, in seconds since 1970.
    pub started: u64,
    /// minidocker's version.
    pub version: String,
    /// The command, as typed.
    pub command: Vec<String>,
    /// The suite's name.
    pub suite: String,
    /// The suite's file, whole: who reads the report can run it again.
    pub suite_text: String,
    /// In the order in which they were asked for.
    pub environments: Vec<Environment>,
    /// In the order in which they were asked for.
    pub sizes: Vec<Size>,
    /// The suite's cases, in its order.
    pub cases: Vec<Case>,
    /// Measurements of each case in each environment of each size.
    pub repeat: u32,
    /// What the suite's times were multiplied by; 1 unless asked.
    pub time_scale: f64,
    /// What the order was drawn from.
    pub seed: u64,
    /// Which measurement is which, in the order in which they are made.
    pub order: Vec<Slot>,
    /// The machine below all of it.
    pub host: Host,
    /// What could spoil it, as found before the first measurement.
    pub findings: Vec<Finding>,
    /// What the sampler itself costs.
    pub sampler: SamplerCost,
}

/// Where a case is run: `native`, `container`, `vm`, …
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Environment {
    /// As in `--env`: `native`, `container`, `container:loop`, `vm`, `docker`, `podman`, `lxc`.
    pub name: String,
    /// `native`, `container` or `vm`: what it is measured as.
    pub kind: Kind,
    /// In words, for the report: "QEMU 7.2 by TCG, Linux 6.1, ext4 on virtio-blk".
    pub description: String,
    /// Further facts, for a table: version, kernel, storage driver, accelerator, …
    pub facts: BTreeMap<String, String>,
}

/// What an environment is measured as.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// A process in a control group.
    Native,
    /// Namespaces, and a control group.
    Container,
    /// Another kernel.
    Vm,
}

impl Kind {
    /// For what is divided by it.
    pub fn words(self) -> &'static str {
        match self {
            Self::Native => "the bare host",
            Self::Container => "a container",
            Self::Vm => "a virtual machine",
        }
    }
}

/// How much an environment is given.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Size {
    /// As typed: `2g/1cpu`.
    pub name: String,
    /// Memory, in bytes.
    pub memory: u64,
    /// Processors.
    pub cpus: u32,
}

/// One workload of a suite.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Case {
    /// `cpu-20000`: a word, one of its kind in the suite.
    pub name: String,
    /// For headings: "CPU, primes up to 20,000".
    pub title: String,
    /// What it does and what is to be learned of it, in a sentence or two.
    pub about: String,
    /// Cases of one group are drawn in one chart and told in one table.
    pub group: String,
    /// The metric that the case is compared by; the first of `metrics`.
    pub headline: String,
    /// Every metric that a measurement of the case may have, in the order of the table.
    pub metrics: Vec<Metric>,
    /// What others have published of the same experiment.
    pub published: Vec<Published>,
}

/// A quantity that a case measures.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Metric {
    /// The key in [`Measurement::metrics`]: `events_per_second`.
    pub name: String,
    /// For headings: "events per second".
    pub title: String,
    /// `1/s`, `s`, `B/s`, `B`, or nothing for a plain number.
    pub unit: String,
    /// Which of two values is the better one.
    pub better: Better,
}

/// Which of two values is the better one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Better {
    /// A throughput.
    Higher,
    /// A time.
    Lower,
    /// Neither: it describes.
    Neither,
}

/// A figure that somebody has published of the same experiment.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Published {
    /// Where: "System against OS virtualisation, table 2".
    pub source: String,
    /// As its author names it: "QEMU", "Docker".
    pub environment: String,
    /// What it is measured as, to stand beside ours.
    pub kind: Kind,
    /// The size, as its author names it.
    pub size: String,
    /// One of the case's metrics.
    pub metric: String,
    /// In the metric's unit; none where only a ratio was published.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value: Option<f64>,
    /// A ratio, where that is what was published.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ratio: Option<PublishedRatio>,
}

/// "2 to 3 times fewer than on the host".
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct PublishedRatio {
    /// The lower end; both are the same for one number.
    pub low: f64,
    /// The upper end.
    pub high: f64,
    /// What was divided by.
    pub to: Kind,
}

/// One measurement that is to be made.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Slot {
    /// Its place in the order, from 1; the name of its files.
    pub number: u32,
    /// An [`Environment::name`].
    pub environment: String,
    /// A [`Size::name`].
    pub size: String,
    /// A [`Case::name`].
    pub case: String,
    /// From 1 to [`Run::repeat`].
    pub repetition: u32,
}

/// The machine below.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Host {
    /// "Intel(R) Xeon(R) …".
    pub processor: String,
    /// Processors that are online.
    pub cpus: u32,
    /// Bytes of memory.
    pub memory: u64,
    /// Release and version.
    pub kernel: String,
    /// "Debian GNU/Linux 12 (bookworm)".
    pub system: String,
    /// `1 (hybrid)`, `2`.
    pub cgroup: String,
    /// File system and device below the files of the measurements: "ext4 on vda".
    pub disk: String,
    /// Whether the host is a virtual machine itself, and whose: "KVM"; empty where it is none or cannot be told.
    pub hypervisor: String,
    /// Further facts, for a table: governor, turbo, mitigations, swap, …
    pub facts: BTreeMap<String, String>,
}

/// What could spoil a run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Finding {
    /// One line: "3.1 % of the processors' time was stolen by the hypervisor in the last 2 s".
    pub what: String,
    /// What to do about it; empty where nothing can be.
    pub remedy: String,
}

/// What the sampler costs, measured before the first measurement.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct SamplerCost {
    /// Samples in a second.
    pub rate: f64,
    /// Seconds of processor time that one sample takes.
    pub seconds_per_sample: f64,
}

/// What an environment of a size really had: `parity/*.json`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Parity {
    /// An [`Environment::name`].
    pub environment: String,
    /// A [`Size::name`].
    pub size: String,
    /// What was tested.
    pub checks: Vec<Check>,
}

impl Parity {
    /// Whether it had what was asked, as far as can be told.
    pub fn holds(&self) -> bool {
        self.checks.iter().all(|check| check.verdict != Verdict::Differs)
    }
}

/// One thing that was tested.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Check {
    /// `processors`, `memory`, `disk`, …
    pub what: String,
    /// What was asked for, in words and units: "1 processor".
    pub asked: String,
    /// What was found: "2.00 processors busy while 2 threads span for 1.0 s".
    pub found: String,
    /// How it was tested, in a sentence.
    pub how: String,
    /// Whether both are the same.
    pub verdict: Verdict,
}

/// What a check says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    /// The environment has what was asked.
    Held,
    /// It has something else: the figures compare what must not be compared.
    Differs,
    /// It could not be told; `found` says why.
    Unknown,
}

/// One case, measured once: `measurements/*.json`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Measurement {
    /// Which one.
    pub slot: Slot,
    /// When it began, in seconds since 1970.
    pub started: u64,
    /// What was run on the host, word by word, to have the case run in the environment.
    pub command: Vec<String>,
    /// 0, or what went wrong; then there are no metrics.
    pub exit_code: i32,
    /// Why there are no metrics, in one line; empty where all is well.
    pub problem: String,
    /// By [`Metric::name`], in its unit.
    pub metrics: BTreeMap<String, f64>,
    /// What was done when, in the order of time. The one called `run` is what the metrics tell of.
    pub phases: Vec<Phase>,
    /// Parts of the way to the first command, in the order of time, where the case measures starts.
    pub steps: Vec<Phase>,
    /// What the host's accounting says of the phase `run`.
    pub cost: Cost,
}

/// A piece of time.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Phase {
    /// `prepare`, `cold` (caches dropped), `warm-up`, `run`, `clean`; for a start: `kernel`, `init`, …
    pub name: String,
    /// Seconds since the measurement began.
    pub start: f64,
    /// Seconds since the measurement began.
    pub end: f64,
}

/// What the host's accounting says of a phase. What could not be read is missing.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Cost {
    /// Seconds that it took.
    pub wall: f64,
    /// Seconds of user time of the environment's processes: for a virtual machine its emulator's, guest and all.
    pub user: Option<f64>,
    /// Seconds of kernel time of the same.
    pub system: Option<f64>,
    /// Seconds of a virtual machine's guest time by hardware, which is not in `user`.
    pub guest: Option<f64>,
    /// Bytes of memory at its most, of the environment's processes or its control group.
    pub memory_peak: Option<u64>,
    /// Seconds in which the environment's group was throttled.
    pub throttled: Option<f64>,
    /// Bytes that the device below was made to read.
    pub disk_read: Option<u64>,
    /// Bytes that the device below was made to write.
    pub disk_written: Option<u64>,
    /// Seconds of the host's processors that others have stolen.
    pub steal: Option<f64>,
}

/// What the host saw during a measurement: `series/*.json`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Series {
    /// Seconds since the measurement began, one for each sample: the end of what the sample tells of.
    pub at: Vec<f64>,
    /// The curves.
    pub curves: Vec<Curve>,
}

/// One quantity over time.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Curve {
    /// `cpu.user`, `cpu.kernel`, `cpu.iowait`, `cpu.steal` (processors); `disk.read`, `disk.write` (B/s),
    /// `disk.reads`, `disk.writes` (1/s), `disk.latency` (s, the mean of what ended), `disk.busy` (share of time),
    /// `disk.queue` (mean length); `net.in`, `net.out` (B/s); `memory.used`, `memory.cached`, `memory.dirty` (B);
    /// `group.user`, `group.kernel` (processors), `group.memory` (B); `psi.cpu`, `psi.memory`, `psi.io` (share of time).
    pub name: String,
    /// `processors`, `B/s`, `1/s`, `s`, `B`, or nothing for a share.
    pub unit: String,
    /// One for each of [`Series::at`]; null where it could not be read.
    pub values: Vec<Option<f64>>,
}
