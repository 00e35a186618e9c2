//! A run as it could have been, for tests: made in code, the same each time.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

use crate::read::Results;
use crate::record::*;

/// Three cases in three environments at two sizes, five times each.
pub(crate) fn course() -> Results {
    repeated(5)
}

/// The same with another number of repetitions.
pub(crate) fn repeated(repeat: u32) -> Results {
    let run = run(repeat);
    let mut measurements = Vec::new();
    let mut series = BTreeMap::new();
    for slot in &run.order {
        let measurement = measurement(slot);
        series.insert(slot.number, curves(slot, &measurement));
        measurements.push(measurement);
    }
    let parity = run
        .environments
        .iter()
        .flat_map(|environment| run.sizes.iter().map(|size| parity(&environment.name, size)))
        .collect();
    Results { name: "results".to_owned(), run, parity, measurements, series }
}

/// A run of which nothing was measured.
pub(crate) fn empty() -> Results {
    let mut results = course();
    results.measurements.clear();
    results.series.clear();
    results.parity.clear();
    results
}

fn metric(name: &str, title: &str, unit: &str, better: Better) -> Metric {
    Metric { name: name.to_owned(), title: title.to_owned(), unit: unit.to_owned(), better }
}

fn facts(all: &[(&str, &str)]) -> BTreeMap<String, String> {
    all.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
}

fn cases() -> Vec<Case> {
    let published = |environment: &str, kind, value| Published {
        source: "System against OS virtualisation, table 2".to_owned(),
        environment: environment.to_owned(),
        kind,
        size: "2 GB, 1 CPU".to_owned(),
        metric: "total_time".to_owned(),
        value: Some(value),
        ratio: None,
    };
    let ratio = |environment: &str, kind, metric: &str, (low, high)| Published {
        metric: metric.to_owned(),
        value: None,
        ratio: Some(PublishedRatio { low, high, to: Kind::Native }),
        size: String::new(),
        ..published(environment, kind, 0.0)
    };
    vec![
        Case {
            name: "cpu".to_owned(),
            title: "CPU, primes up to 20,000".to_owned(),
            about: "Divides numbers until primes are found: no memory, no kernel.".to_owned(),
            group: "Processor".to_owned(),
            headline: "events_per_second".to_owned(),
            metrics: vec![
                metric("events_per_second", "events per second", "1/s", Better::Higher),
                metric("total_time", "total time", "s", Better::Lower),
                metric("latency_avg", "latency, mean", "s", Better::Lower),
                metric("latency_p95", "latency, 95th percentile", "s", Better::Lower),
                metric("events", "events", "", Better::Neither),
            ],
            published: vec![published("QEMU", Kind::Vm, 31.34), published("Docker", Kind::Container, 15.52)],
        },
        Case {
            name: "fileio".to_owned(),
            title: "Files, random reads and writes in 2 GB".to_owned(),
            about: "128 files, 16 threads, page cache dropped before.".to_owned(),
            group: "Disk".to_owned(),
            headline: "throughput".to_owned(),
            metrics: vec![
                metric("throughput", "read and written", "B/s", Better::Higher),
                metric("reads", "reads", "1/s", Better::Higher),
                metric("latency_avg", "latency, mean", "s", Better::Lower),
                metric("latency_max", "latency, worst", "s", Better::Lower),
            ],
            published: vec![
                ratio("loop device", Kind::Container, "latency_avg", (4.0, 4.0)),
                ratio("loop device", Kind::Container, "reads", (0.33, 0.5)),
            ],
        },
        Case {
            name: "start".to_owned(),
            title: "Start to the first command".to_owned(),
            about: "From the command typed to the first line printed.".to_owned(),
            group: "Start".to_owned(),
            headline: "start".to_owned(),
            metrics: vec![metric("start", "start", "s", Better::Lower)],
            published: Vec::new(),
        },
    ]
}

fn run(repeat: u32) -> Run {
    let environment = |name: &str, kind, description: &str, more: &[(&str, &str)]| Environment {
        name: name.to_owned(),
        kind,
        description: description.to_owned(),
        facts: facts(more),
    };
    let environments = vec![
        environment("native", Kind::Native, "a process in a control group", &[]),
        environment("container", Kind::Container, "minidocker 0.1.0, overlay", &[("storage", "overlay")]),
        environment(
            "vm",
            Kind::Vm,
            "QEMU 7.2 by TCG, Linux 6.1, ext4 on virtio-blk",
            &[("accelerator", "tcg")],
        ),
    ];
    let size = |name: &str, cpus| Size { name: name.to_owned(), memory: 2 << 30, cpus };
    let sizes = vec![size("2g/1cpu", 1), size("2g/2cpu", 2)];
    let cases = cases();
    let mut order = Vec::new();
    for repetition in 1..=repeat {
        for case in &cases {
            for size in &sizes {
                for environment in &environments {
                    order.push(Slot {
                        number: order.len() as u32 + 1,
                        environment: environment.name.clone(),
                        size: size.name.clone(),
                        case: case.name.clone(),
                        repetition,
                    });
                }
            }
        }
    }
    Run {
        format: FORMAT,
        started: 1_795_320_000,
        version: "0.1.0".to_owned(),
        command: ["minidocker", "bench", "run", "course", "--env", "native,container,vm", "-o", "results"]
            .map(str::to_owned)
            .into(),
        suite: "course".to_owned(),
        suite_text: "# The course's measurements.\n[[case]]\nname = \"cpu\"\n".to_owned(),
        environments,
        sizes,
        cases,
        repeat,
        time_scale: 1.0,
        seed: 42,
        order,
        host: Host {
            processor: "Intel(R) Xeon(R) Processor @ 2.80GHz".to_owned(),
            cpus: 2,
            memory: 8 << 30,
            kernel: "Linux 6.18.0".to_owned(),
            system: "Debian GNU/Linux 12 (bookworm)".to_owned(),
            cgroup: "1 (hybrid)".to_owned(),
            disk: "ext4 on vda".to_owned(),
            hypervisor: "KVM".to_owned(),
            facts: facts(&[("swap", "none"), ("governor", "not to be seen")]),
        },
        findings: vec![Finding {
            what: "/dev/kvm is not there: the virtual machine's processor is emulated (TCG)".to_owned(),
            remedy: "allow nested virtualisation in the hypervisor".to_owned(),
        }],
        sampler: SamplerCost { rate: 5.0, seconds_per_sample: 0.0004 },
    }
}

fn parity(environment: &str, size: &Size) -> Parity {
    let check = |what: &str, asked: String, found: String, how: &str| Check {
        what: what.to_owned(),
        asked,
        found,
        how: how.to_owned(),
        verdict: Verdict::Held,
    };
    Parity {
        environment: environment.to_owned(),
        size: size.name.clone(),
        checks: vec![
            check(
                "processors",
                format!("{} processors", size.cpus),
                format!("{}.00 processors busy", size.cpus),
                "Threads spin; the host's accounting says how many processors they had.",
            ),
            check(
                "memory",
                "2 GiB".to_owned(),
                "stopped at 2.00 GiB".to_owned(),
                "Pages are touched until none is given.",
            ),
        ],
    }
}

/// A share between -1 and 1 that looks like noise and is the same each time.
fn noise(slot: &Slot, what: u64) -> f64 {
    let names = [slot.environment.as_str(), &slot.size, &slot.case];
    let mixed = crate::analysis::seed(u64::from(slot.repetition) * 77 + what, &names);
    ((mixed >> 20) % 2001) as f64 / 1000.0 - 1.0
}

fn rounded(value: f64) -> f64 {
    format!("{value:.6}").parse().unwrap()
}

fn measurement(slot: &Slot) -> Measurement {
    let cpus = if slot.size.ends_with("2cpu") { 2.0 } else { 1.0 };
    let is_vm = slot.environment == "vm";
    let shake = 1.0 + 0.01 * noise(slot, 1);
    let wall = if slot.case == "start" { 0.03 } else { 30.0 };
    let mut metrics = BTreeMap::new();
    let mut put = |name: &str, value: f64| metrics.insert(name.to_owned(), value);
    let mut steps = Vec::new();
    let mut cost = Cost { wall, ..Cost::default() };
    match slot.case.as_str() {
        "cpu" => {
            let rate = 420.0 * cpus * shake * if is_vm { 0.19 } else { 1.0 };
            put("events_per_second", rate);
            put("total_time", 10_000.0 / rate);
            put("latency_avg", cpus / rate);
            put("latency_p95", 1.1 * cpus / rate);
            put("events", (rate * 30.0).round());
            cost.user = Some(29.6 * cpus);
            cost.system = Some(if is_vm { 0.3 } else { 0.1 });
        }
        "fileio" => {
            let spoiled = slot.environment == "container" && slot.size == "2g/1cpu" && slot.repetition == 2;
            let share = if is_vm { 0.4 } else { 0.97 } * if spoiled { 0.6 } else { 1.0 };
            let rate = 180e6 * shake * share;
            put("throughput", rate);
            put("reads", rate / 27_000.0);
            put("latency_avg", 16_384.0 * 16.0 / rate);
            put("latency_max", 0.08 + 0.03 * noise(slot, 2));
            cost.user = Some(if is_vm { 14.0 } else { 1.2 });
            cost.system = Some(9.0);
            cost.disk_read = Some((rate * 20.0) as u64);
            cost.disk_written = Some((rate * 12.0) as u64);
        }
        _ => {
            let total = if is_vm { 3.1 } else { 0.04 } * shake;
            put("start", total);
            let parts: &[(&str, f64)] = if is_vm {
                &[("machine", 0.2), ("kernel", 0.6), ("init", 0.15), ("command", 0.05)]
            } else {
                &[("namespaces", 0.3), ("root", 0.4), ("command", 0.3)]
            };
            let mut at = 0.5;
            for (name, share) in parts {
                steps.push(Phase { name: (*name).to_owned(), start: at, end: at + share * total });
                at += share * total;
            }
            cost.wall = total;
            cost.user = Some(0.6 * total);
            cost.system = Some(0.2 * total);
        }
    }
    // As sysbench prints them: few digits, which JSON keeps.
    metrics.values_mut().for_each(|value| *value = rounded(*value));
    cost.wall = rounded(cost.wall);
    [&mut cost.user, &mut cost.system].into_iter().flatten().for_each(|value| *value = rounded(*value));
    for step in &mut steps {
        (step.start, step.end) = (rounded(step.start), rounded(step.end));
    }
    cost.memory_peak = Some(if is_vm { 620 << 20 } else { 52 << 20 });
    cost.throttled = Some(0.0);
    cost.steal = Some(rounded(0.0005 * cost.wall));
    let phase = |name: &str, start: f64, end: f64| Phase { name: name.to_owned(), start, end };
    Measurement {
        slot: slot.clone(),
        started: 1_795_320_000 + u64::from(slot.number) * 40,
        command: vec!["sysbench".to_owned(), slot.case.clone(), "--time=30".to_owned(), "run".to_owned()],
        exit_code: 0,
        problem: String::new(),
        metrics,
        phases: vec![
            phase("prepare", 0.0, 0.3),
            phase("cold", 0.3, 0.5),
            phase("run", 0.5, rounded(0.5 + cost.wall)),
        ],
        steps,
        cost,
    }
}

fn curves(slot: &Slot, measurement: &Measurement) -> Series {
    let count = ((measurement.cost.wall + 1.0) * 5.0) as usize;
    let at: Vec<f64> = (1..=count).map(|sample| sample as f64 / 5.0).collect();
    let wave = |sample: usize, what: u64| {
        1.0 + 0.1 * ((sample as u64 * 37 + what * 11 + u64::from(slot.number)) % 17) as f64 / 17.0
    };
    let curve = |name: &str, unit: &str, level: f64, what: u64| Curve {
        name: name.to_owned(),
        unit: unit.to_owned(),
        values: (0..count).map(|sample| (sample != 3).then(|| rounded(level * wave(sample, what)))).collect(),
    };
    let disk = if slot.case == "fileio" { 1.0 } else { 0.0 };
    Series {
        at,
        curves: vec![
            curve("cpu.user", "processors", 0.9, 1),
            curve("cpu.kernel", "processors", 0.05 + 0.3 * disk, 2),
            curve("cpu.iowait", "processors", 0.4 * disk, 3),
            curve("cpu.steal", "processors", 0.01, 4),
            curve("disk.read", "B/s", 100e6 * disk, 5),
            curve("disk.write", "B/s", 60e6 * disk, 6),
            curve("disk.latency", "s", 0.002 * disk, 7),
            curve("disk.busy", "", 0.9 * disk, 8),
            curve("net.in", "B/s", 0.0, 9),
            curve("memory.used", "B", 700e6, 10),
            curve("memory.cached", "B", 2e9, 11),
        ],
    }
}

/// A directory of a test's own, removed with it.
pub(crate) struct Directory(PathBuf);

impl Directory {
    pub(crate) fn empty() -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let name = format!("lab-{}-{}", std::process::id(), NUMBER.fetch_add(1, Ordering::Relaxed));
        let path = std::env::temp_dir().join(name);
        fs::create_dir(&path).unwrap();
        Self(path)
    }

    /// The files of a run, as whoever measures writes them.
    pub(crate) fn of(results: &Results) -> Self {
        fn put<T: serde::Serialize>(path: PathBuf, value: &T) {
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, serde_json::to_string_pretty(value).unwrap()).unwrap();
        }
        let directory = Self::empty();
        let path = directory.path();
        put(path.join("run.json"), &results.run);
        for one in &results.parity {
            let name = format!("{}-{}.json", one.environment, one.size.replace('/', "-"));
            put(path.join("parity").join(name), one);
        }
        for one in &results.measurements {
            put(path.join(format!("measurements/{:05}.json", one.slot.number)), one);
            fs::write(path.join(format!("measurements/{:05}.txt", one.slot.number)), "output\n").unwrap();
        }
        for (number, one) in &results.series {
            put(path.join(format!("series/{number:05}.json")), one);
        }
        directory
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}
