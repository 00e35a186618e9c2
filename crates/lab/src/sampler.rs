//! What the host sees while something runs: one thread that reads the kernel's counters a few times a second, from
//! outside of every environment.

use std::fs;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crate::group::Nest;
use crate::host::{CpuTime, DiskTime, meminfo, net_bytes, pressure};
use crate::record::{Curve, SamplerCost, Series};

/// Name and unit of each curve, in their order.
const CURVES: [(&str, &str); 22] = [
    ("cpu.user", "processors"),
    ("cpu.kernel", "processors"),
    ("cpu.iowait", "processors"),
    ("cpu.steal", "processors"),
    ("disk.read", "B/s"),
    ("disk.write", "B/s"),
    ("disk.reads", "1/s"),
    ("disk.writes", "1/s"),
    ("disk.latency", "s"),
    ("disk.busy", ""),
    ("disk.queue", ""),
    ("net.in", "B/s"),
    ("net.out", "B/s"),
    ("memory.used", "B"),
    ("memory.cached", "B"),
    ("memory.dirty", "B"),
    ("group.user", "processors"),
    ("group.kernel", "processors"),
    ("group.memory", "B"),
    ("psi.cpu", ""),
    ("psi.memory", ""),
    ("psi.io", ""),
];

/// All counters at one moment.
#[derive(Debug, Clone, Default)]
pub(crate) struct Counters {
    cpu: Option<CpuTime>,
    disk: Option<DiskTime>,
    net: Option<(f64, f64)>,
    used: Option<f64>,
    cached: Option<f64>,
    dirty: Option<f64>,
    group_user: Option<f64>,
    group_kernel: Option<f64>,
    group_memory: Option<f64>,
    stalled: [Option<f64>; 3],
}

impl Counters {
    fn read(device: (u32, u32), nest: Option<&Nest>) -> Self {
        let text = |path: &str| fs::read_to_string(path).ok();
        let memory = text("/proc/meminfo").unwrap_or_default();
        let free = meminfo(&memory, "MemFree");
        let cached = meminfo(&memory, "Cached");
        let buffers = meminfo(&memory, "Buffers").unwrap_or_default();
        let used = meminfo(&memory, "MemTotal").zip(free).zip(cached);
        let group = nest.map(Nest::counted);
        Self {
            cpu: CpuTime::now(),
            disk: DiskTime::now(device),
            net: text("/proc/net/dev").map(|text| net_bytes(&text)),
            used: used.map(|((total, free), cached)| total - free - cached - buffers),
            cached: cached.map(|cached| cached + buffers),
            dirty: meminfo(&memory, "Dirty"),
            group_user: group.and_then(|group| group.0),
            group_kernel: group.and_then(|group| group.1),
            group_memory: group.and_then(|group| group.2),
            stalled: ["cpu", "memory", "io"]
                .map(|what| text(&format!("/proc/pressure/{what}")).and_then(|text| pressure(&text))),
        }
    }

    /// The curves' values between two moments that lie `seconds` apart.
    fn since(&self, before: &Self, seconds: f64) -> [Option<f64>; CURVES.len()] {
        let rate = |now: Option<f64>, then: Option<f64>| Some((now? - then?).max(0.0) / seconds);
        let cpu =
            |part: fn(&CpuTime) -> f64| rate(self.cpu.as_ref().map(part), before.cpu.as_ref().map(part));
        let disk =
            |part: fn(&DiskTime) -> f64| rate(self.disk.as_ref().map(part), before.disk.as_ref().map(part));
        let ended = disk(|disk| disk.reads + disk.writes);
        let latency = disk(|disk| disk.waited).zip(ended);
        // Nothing ended: there is no latency to tell of.
        let latency = latency.and_then(|(waited, ended)| (ended > 0.0).then(|| waited / ended));
        let net =
            |part: fn(&(f64, f64)) -> f64| rate(self.net.as_ref().map(part), before.net.as_ref().map(part));
        let stalled =
            |place: usize| rate(self.stalled[place], before.stalled[place]).map(|share| share.min(1.0));
        [
            cpu(|cpu| cpu.user),
            cpu(|cpu| cpu.kernel),
            cpu(|cpu| cpu.iowait),
            cpu(|cpu| cpu.steal),
            disk(|disk| disk.read_bytes),
            disk(|disk| disk.written_bytes),
            disk(|disk| disk.reads),
            disk(|disk| disk.writes),
            latency,
            disk(|disk| disk.busy).map(|share| share.min(1.0)),
            disk(|disk| disk.queued),
            net(|net| net.0),
            net(|net| net.1),
            self.used,
            self.cached,
            self.dirty,
            rate(self.group_user, before.group_user),
            rate(self.group_kernel, before.group_kernel),
            self.group_memory,
            stalled(0),
            stalled(1),
            stalled(2),
        ]
    }
}

/// A thread that samples until it is stopped.
#[derive(Debug)]
pub(crate) struct Sampler {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<Series>,
}

impl Sampler {
    /// Samples `rate` times a second, counted from `begun`.
    pub(crate) fn start(rate: f64, device: (u32, u32), nest: Arc<Nest>, begun: Instant) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let thread = std::thread::spawn(move || sample(rate, device, &nest, begun, &stopped));
        Self { stop, thread }
    }

    /// What it saw.
    pub(crate) fn stop(self) -> Series {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.thread().unpark();
        self.thread.join().unwrap_or_else(|_| Series { at: Vec::new(), curves: Vec::new() })
    }
}

fn sample(rate: f64, device: (u32, u32), nest: &Nest, begun: Instant, stop: &AtomicBool) -> Series {
    let step = Duration::from_secs_f64(1.0 / rate);
    let mut at = Vec::new();
    let mut rows = Vec::new();
    let (mut before, mut then) = (Counters::read(device, Some(nest)), Instant::now());
    let mut next = then + step;
    while !stop.load(Ordering::Relaxed) {
        let now = Instant::now();
        if now < next {
            std::thread::park_timeout(next - now);
            continue;
        }
        // Of beats that were missed, none is made up for: each sample tells of the time since the one before.
        next = (next + step).max(now);
        let counters = Counters::read(device, Some(nest));
        let now = Instant::now();
        rows.push(counters.since(&before, now.duration_since(then).as_secs_f64().max(1e-6)));
        at.push(now.duration_since(begun).as_secs_f64());
        (before, then) = (counters, now);
    }
    series(at, &rows)
}

/// Curves that never had a value are left out.
fn series(at: Vec<f64>, rows: &[[Option<f64>; CURVES.len()]]) -> Series {
    let curve = |(place, (name, unit)): (usize, &(&str, &str))| {
        let values: Vec<Option<f64>> = rows.iter().map(|row| row[place]).collect();
        let there = values.iter().any(Option::is_some);
        there.then(|| Curve { name: (*name).to_owned(), unit: (*unit).to_owned(), values })
    };
    let curves = CURVES.iter().enumerate().filter_map(curve).collect();
    Series { at, curves }
}

/// What one sample costs: the processor time of this thread for a hundred of them.
pub(crate) fn cost(rate: f64, device: (u32, u32), nest: &Nest) -> SamplerCost {
    const SAMPLES: u32 = 100;
    let used = || {
        let time = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
        time.tv_sec as f64 + time.tv_nsec as f64 / 1e9
    };
    let mut before = Counters::read(device, Some(nest));
    let begun = used();
    for _ in 0..SAMPLES {
        let now = Counters::read(device, Some(nest));
        std::hint::black_box(now.since(&before, 1.0));
        before = now;
    }
    SamplerCost { rate, seconds_per_sample: (used() - begun) / f64::from(SAMPLES) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_moments_make_rates() {
        let then = Counters {
            cpu: Some(CpuTime { user: 1.0, ..CpuTime::default() }),
            disk: Some(DiskTime { reads: 10.0, waited: 1.0, ..DiskTime::default() }),
            group_user: Some(1.0),
            ..Counters::default()
        };
        let now = Counters {
            cpu: Some(CpuTime { user: 2.0, steal: 0.5, ..CpuTime::default() }),
            disk: Some(DiskTime { reads: 30.0, waited: 3.0, busy: 9.0, ..DiskTime::default() }),
            group_user: Some(1.25),
            used: Some(7.0),
            ..Counters::default()
        };
        let row = now.since(&then, 0.5);
        let value = |name: &str| row[CURVES.iter().position(|curve| curve.0 == name).unwrap()];
        assert_eq!(
            (value("cpu.user"), value("cpu.steal"), value("cpu.kernel")),
            (Some(2.0), Some(1.0), Some(0.0))
        );
        assert_eq!(
            (value("disk.reads"), value("disk.latency"), value("disk.busy")),
            (Some(40.0), Some(0.1), Some(1.0))
        );
        assert_eq!((value("group.user"), value("memory.used")), (Some(0.5), Some(7.0)));
        assert_eq!((value("net.in"), value("psi.io"), value("group.kernel")), (None, None, None));
        assert_eq!(then.since(&then, 0.5)[8], None, "nothing ended");
        let series = series(vec![0.5], &[row]);
        assert!(series.curves.iter().all(|curve| curve.values.len() == 1 && curve.name != "net.in"));
    }
}
