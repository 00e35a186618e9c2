//! `stats`: what containers use, asked of the kernel's files. Two looks make a rate.

use std::time::Instant;

use cgroup::limits::Amount;
use cgroup::stats::Pressure;
use cgroup::{Group, Hierarchies};

use super::list::{State, Summary, look, state, summary};
use crate::request::{NetworkMode, Rates};
use crate::state::{Record, Store};
use crate::sweep::sweep;
use crate::{Error, Settings};

/// One container, and what it uses.
#[derive(Debug, Clone)]
pub struct Seen {
    /// What `ps` tells.
    pub summary: Summary,
    /// What it uses; none where it does not run.
    pub usage: Option<Usage>,
}

impl Seen {
    /// The host's end of its link, where it has one.
    pub fn link(&self) -> Option<String> {
        (!self.summary.addresses.is_empty()).then(|| network::host_link(&self.summary.id))
    }
}

impl AsRef<Summary> for Seen {
    fn as_ref(&self) -> &Summary {
        &self.summary
    }
}

impl From<Summary> for Seen {
    fn from(summary: Summary) -> Self {
        Self { summary, usage: None }
    }
}

/// What a running container uses, and has used since it was started. Bytes, nanoseconds, counts; none where the host
/// does not count it.
#[derive(Debug, Clone)]
pub struct Usage {
    /// When that was.
    pub at: Instant,
    /// Processor time of all its processes.
    pub cpu: u64,
    /// Memory without page cache that could go at once, as Docker counts it.
    pub memory: u64,
    /// The most that it may use: its limit, or what the machine has.
    pub memory_limit: u64,
    /// The most that it has used, page cache included.
    pub memory_peak: Option<u64>,
    /// Swap.
    pub swap: Option<u64>,
    /// Periods of its CPU limit.
    pub periods: Option<u64>,
    /// Those of them in which it was used up.
    pub throttled_periods: Option<u64>,
    /// How long its processes waited for the next one.
    pub throttled: Option<u64>,
    /// Processes that the kernel killed for want of memory.
    pub oom_kills: Option<u64>,
    /// Processes and threads.
    pub pids: u64,
    /// The most of them.
    pub pids_limit: Option<u64>,
    /// Read from and written to disks.
    pub disk: (u64, u64),
    /// Received from and sent to others, loopback aside. Zero with the host's network.
    pub network: (u64, u64),
    /// Percent of the last ten seconds in which some process waited for a processor, memory, disks.
    pub pressure: [Option<f64>; 3],
    /// What may go over its link.
    pub rates: Rates,
}

impl Usage {
    /// Percent of one processor since the look `before`: of two fully used ones it is 200.
    pub fn cpu_percent(&self, before: &Self) -> f64 {
        let wall = self.at.saturating_duration_since(before.at).as_nanos() as f64;
        if wall == 0.0 { 0.0 } else { self.cpu.saturating_sub(before.cpu) as f64 * 100.0 / wall }
    }

    /// Percent of the memory that it may use.
    pub fn memory_percent(&self) -> f64 {
        if self.memory_limit == 0 { 0.0 } else { self.memory as f64 * 100.0 / self.memory_limit as f64 }
    }
}

/// Looks at containers again and again.
#[derive(Debug)]
pub struct Looker {
    store: Store,
    hierarchies: Hierarchies,
    /// The machine's memory.
    memory: u64,
}

impl Looker {
    /// What a crash left is swept first, once.
    pub fn new(settings: &Settings) -> Result<Self, Error> {
        let store = Store::new(settings);
        sweep(settings, &store)?;
        let system = rustix::system::sysinfo();
        // Words of the machine's own size: wider than u64 nowhere.
        let memory = (system.totalram as u64).saturating_mul(u64::from(system.mem_unit));
        Ok(Self { store, hierarchies: Hierarchies::probe()?, memory })
    }

    /// Every container, newest first.
    pub fn all(&self) -> Result<Vec<Seen>, Error> {
        look(&self.store, |record, state| Ok(self.see(record, state)))
    }

    /// The container that a user means by `name`.
    pub fn one(&self, name: &str) -> Result<Seen, Error> {
        let (_, record) = self.store.load(name)?;
        let state = state(&self.store, &record)?;
        Ok(self.see(record, state))
    }

    fn see(&self, record: Record, state: State) -> Seen {
        let (group, mode) = (record.group.clone(), record.request.network.mode.clone());
        let rates = record.request.network.rates;
        let summary = summary(&self.store, record, state);
        let usage = match summary.state {
            State::Running(_, pid) | State::Paused(_, pid) => {
                let network = if mode == NetworkMode::Host { (0, 0) } else { traffic(pid) };
                Group::open(&self.hierarchies, &group).ok().map(|group| self.usage(&group, network, rates))
            }
            _ => None,
        };
        Seen { summary, usage }
    }

    fn usage(&self, group: &Group, network: (u64, u64), rates: Rates) -> Usage {
        let at = Instant::now();
        let used = group.usage();
        let amount = |limit: Option<Amount>| match limit {
            Some(Amount::Of(most)) => Some(most),
            Some(Amount::Max) | None => None,
        };
        let stall = |pressure: Option<Pressure>| pressure.map(|pressure| pressure.some.avg10);
        Usage {
            at,
            cpu: used.cpu.unwrap_or(0),
            memory: used.memory.unwrap_or(0).saturating_sub(used.inactive_file.unwrap_or(0)),
            memory_limit: amount(used.memory_limit).map_or(self.memory, |limit| limit.min(self.memory)),
            memory_peak: used.memory_peak,
            swap: used.swap,
            periods: used.periods,
            throttled_periods: used.throttled_periods,
            throttled: used.throttled,
            oom_kills: used.oom_kills,
            pids: used.pids.unwrap_or(0),
            pids_limit: amount(used.pids_limit),
            disk: used.io.iter().fold((0, 0), |(read, written), device| {
                (read + device.read_bytes, written + device.written_bytes)
            }),
            network,
            pressure: group.pressures().map(stall),
            rates,
        }
    }
}

/// What the links of a process's network namespace have received and sent, loopback aside.
fn traffic(pid: i32) -> (u64, u64) {
    links(&std::fs::read_to_string(format!("/proc/{pid}/net/dev")).unwrap_or_default())
}

/// The sums of a /proc/net/dev: after the link's name sixteen numbers, of which the first are bytes received and the
/// ninth bytes sent (`dev_seq_printf_stats` in net/core/net-procfs.c).
fn links(text: &str) -> (u64, u64) {
    let counts = text.lines().filter_map(|line| {
        let (name, numbers) = line.split_once(':')?;
        let numbers: Vec<u64> =
            numbers.split_ascii_whitespace().map_while(|word| word.parse().ok()).collect();
        (name.trim() != "lo").then_some((*numbers.first()?, *numbers.get(8)?))
    });
    counts.fold((0, 0), |(received, sent), (more, others)| (received + more, sent + others))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_are_summed_without_loopback() {
        let text = "Inter-|   Receive                                                |  Transmit\n \
                    face |bytes    packets errs drop fifo frame compressed multicast|bytes    packets errs\n    \
                    lo: 99 1 0 0 0 0 0 0 99 1 0 0 0 0 0 0\n  \
                    eth0: 1296 16 0 0 0 0 0 0 816 10 0 0 0 0 0 0\n  \
                    eth1:4 1 0 0 0 0 0 0 5 1 0 0 0 0 0 0\n";
        assert_eq!(links(text), (1300, 821));
        assert_eq!(links(""), (0, 0));
        assert_eq!(links("eth0: nonsense\n"), (0, 0));
    }
}
