//! What a container may use, typed: from the OCI's resources (`limits/interpret.rs`) or from literals of our own.
//! This file, that one and `limits/change.rs`, for a container that runs, are the only places where 0, -1, shares and
//! swap are interpreted.

mod change;
mod interpret;

use ::step::Failure;

use crate::devices::{self, Rule};
use crate::hierarchies::Controller;

pub use change::merge;

/// A limit, or the word that there is none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Amount {
    /// No limit.
    Max,
    /// This many, in the unit of the field.
    Of(u64),
}

/// All limits of a group. What is `None` or empty is not touched.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Limits {
    /// Memory and swap.
    pub memory: Memory,
    /// Processor time.
    pub cpu: Cpu,
    /// Processors as lists, `0-1,4`; none: the parent's.
    pub cpus: Option<String>,
    /// Memory nodes as a list; none: the parent's.
    pub mems: Option<String>,
    /// Tasks, that is processes and threads.
    pub pids: Option<Amount>,
    /// Block devices.
    pub io: Io,
    /// Bytes of huge pages, by size: `("2MB", …)`.
    pub hugetlb: Vec<(String, Amount)>,
    /// `net_cls.classid`, v1 only.
    pub net_class: Option<u32>,
    /// `net_prio.ifpriomap`: interface and priority, v1 only.
    pub net_priorities: Vec<(String, u32)>,
    /// RDMA devices.
    pub rdma: Vec<Rdma>,
    /// Which devices may be used: empty, all that the parent may; else none but what the rules allow, the last rule
    /// that speaks of a device decides.
    pub devices: Vec<Rule>,
    /// Files of v2 and what is written to them, as they are.
    pub unified: Vec<(String, String)>,
    /// The same for whichever version the file's controller lives in: `memory.high`, `cpu.shares`.
    pub raw: Vec<(String, String)>,
}

/// Memory, in bytes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Memory {
    /// Hard limit.
    pub limit: Option<Amount>,
    /// What is left to the group when memory is short. [`Amount::Max`]: no reservation (v1's word for it).
    pub reservation: Option<Amount>,
    /// Swap.
    pub swap: Option<Swap>,
    /// 0 to 100, v1 only.
    pub swappiness: Option<u64>,
    /// TCP buffers, v1 only.
    pub kernel_tcp: Option<Amount>,
    /// Processes wait instead of being killed, v1 only.
    pub oom_kill_disable: Option<bool>,
    /// An update is refused if more than the new limit is in use. (v1 refuses of itself.)
    pub check_before_update: bool,
}

/// A limit of swap, in the words of both versions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Swap {
    /// v1: memory and swap together.
    pub with_memory: Amount,
    /// v2: swap alone.
    pub alone: Amount,
    /// Nobody asked: it follows from memory without a limit.
    pub implied: bool,
}

/// Processor time. Times in microseconds.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Cpu {
    /// Share of the time when processors are short.
    pub shares: Option<Shares>,
    /// Time a period; [`Amount::Max`] lifts the limit.
    pub quota: Option<Amount>,
    /// The period, 1,000 to 1,000,000.
    pub period: Option<u64>,
    /// Time that may be saved up.
    pub burst: Option<u64>,
    /// Run only when nobody else wants to.
    pub idle: Option<bool>,
    /// Real-time scheduling, v1 only.
    pub realtime_period: Option<u64>,
    /// Real-time scheduling, v1 only.
    pub realtime_runtime: Option<i64>,
}

/// `cpu.shares`, 2 to 262,144, of 1,024 that a group has by default.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shares(pub u64);

impl Shares {
    /// The same as `cpu.weight` of v2, 1 to 10,000, of 100 that a group has by default.
    ///
    /// `10^((l² + 125 l)/612 - 7/34)` with `l = log2(shares)`, rounded up: the curve through (2, 1), (1024, 100) and
    /// (262144, 10000). This is what runc does from 1.3.2 (opencontainers/cgroups pull request 20) and crun from
    /// 1.23 (containers/crun pull request 1767); the straight line before made 39 of the default.
    pub fn weight(self) -> u64 {
        match self.0 {
            0..=2 => 1,
            262_144.. => 10_000,
            shares => {
                let l = (shares as f64).log2();
                let weight = 10f64.powf((l * l + 125.0 * l) / 612.0 - 7.0 / 34.0);
                // 1024 must give 100 and not 101, whatever the last bit of powf.
                (weight - 1e-9).ceil() as u64
            }
        }
    }
}

/// Block devices.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Io {
    /// 10 to 1,000, of 500 (CFQ) or 100 (BFQ) that a group has by default.
    pub weight: Option<u64>,
    /// Against the group's own children; kernels before 5.0 only.
    pub leaf_weight: Option<u64>,
    /// The same by device.
    pub devices: Vec<DeviceWeight>,
    /// Bytes or operations a second by device.
    pub rates: Vec<Rate>,
}

/// The weight of one device.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DeviceWeight {
    /// Major and minor number.
    pub device: (u64, u64),
    /// As [`Io::weight`].
    pub weight: Option<u64>,
    /// As [`Io::leaf_weight`].
    pub leaf_weight: Option<u64>,
}

/// The weight of BFQ (and of CFQ), 10 to 1,000, as `io.weight`, 1 to 10,000: the line through both ends, as runc and
/// crun draw it.
pub fn io_weight(weight: u64) -> u64 {
    1 + weight.saturating_sub(10) * 9_999 / 990
}

/// A rate on one device.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rate {
    /// Major and minor number.
    pub device: (u64, u64),
    /// Of what.
    pub of: Throttle,
    /// A second.
    pub rate: Amount,
}

/// What a rate counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Throttle {
    ReadBytes,
    WriteBytes,
    ReadOperations,
    WriteOperations,
}

/// An RDMA device.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rdma {
    /// `mlx5_0`.
    pub device: String,
    /// `hca_handle`.
    pub handles: Option<u32>,
    /// `hca_object`.
    pub objects: Option<u32>,
}

impl Limits {
    /// The first limit that needs this controller; none where none does.
    pub fn asks(&self, controller: Controller) -> Option<&'static str> {
        let (memory, cpu) = (&self.memory, &self.cpu);
        let first =
            |fields: &[(bool, &'static str)]| fields.iter().find(|(set, _)| *set).map(|(_, name)| *name);
        match controller {
            Controller::Memory => first(&[
                (memory.limit.is_some(), "memory.limit"),
                (memory.swap.is_some(), "memory.swap"),
                (memory.reservation.is_some(), "memory.reservation"),
                (memory.swappiness.is_some(), "memory.swappiness"),
                (memory.kernel_tcp.is_some(), "memory.kernelTCP"),
                (memory.oom_kill_disable == Some(true), "memory.disableOOMKiller"),
            ]),
            Controller::Cpu => first(&[
                (cpu.shares.is_some(), "cpu.shares"),
                (cpu.quota.is_some(), "cpu.quota"),
                (cpu.period.is_some(), "cpu.period"),
                (cpu.burst.is_some(), "cpu.burst"),
                (cpu.idle.is_some(), "cpu.idle"),
                (cpu.realtime_period.is_some(), "cpu.realtimePeriod"),
                (cpu.realtime_runtime.is_some(), "cpu.realtimeRuntime"),
            ]),
            Controller::Cpuset => {
                first(&[(self.cpus.is_some(), "cpu.cpus"), (self.mems.is_some(), "cpu.mems")])
            }
            Controller::Pids => self.pids.map(|_| "pids.limit"),
            Controller::Io => first(&[
                (self.io.weight.is_some(), "blockIO.weight"),
                (self.io.leaf_weight.is_some(), "blockIO.leafWeight"),
                (!self.io.devices.is_empty(), "blockIO.weightDevice"),
                (!self.io.rates.is_empty(), "blockIO.throttle"),
            ]),
            Controller::Hugetlb => first(&[(!self.hugetlb.is_empty(), "hugepageLimits")]),
            Controller::NetCls => self.net_class.map(|_| "network.classID"),
            Controller::NetPrio => first(&[(!self.net_priorities.is_empty(), "network.priorities")]),
            Controller::Rdma => first(&[(!self.rdma.is_empty(), "rdma")]),
            Controller::Devices => first(&[(devices::restricts(&self.devices), "devices")]),
        }
    }
}

/// A list such as `0-1,4` as sorted ranges that neither touch nor overlap; none where it is no list. An empty one is
/// an empty list.
pub fn parse_list(text: &str) -> Option<Vec<(u32, u32)>> {
    let mut ranges = Vec::new();
    for part in text.split(',').map(str::trim).filter(|_| !text.is_empty()) {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        // Digits alone: parse takes a sign too.
        let number =
            |text: &str| text.starts_with(|c: char| c.is_ascii_digit()).then(|| text.parse::<u32>().ok())?;
        let (first, last) = (number(first)?, number(last)?);
        if first > last {
            return None;
        }
        ranges.push((first, last));
    }
    ranges.sort_unstable();
    let mut merged: Vec<(u32, u32)> = Vec::with_capacity(ranges.len());
    for (first, last) in ranges {
        match merged.last_mut() {
            Some(before) if first <= before.1.saturating_add(1) => before.1 = before.1.max(last),
            _ => merged.push((first, last)),
        }
    }
    Some(merged)
}

/// The controller's part of a file's name: `memory` of `memory.high`. Refuses what is no file of a group, and the
/// files that move processes.
pub(crate) fn file_name<'a>(field: &'static str, file: &'a str) -> Result<&'a str, Failure> {
    let controller = file.split_once('.').map(|(controller, _)| controller).filter(|name| !name.is_empty());
    let plain = file.chars().all(|c| c.is_ascii_alphanumeric() || "._-".contains(c));
    let moves = matches!(file, "cgroup.procs" | "cgroup.threads" | "cgroup.kill");
    match controller {
        Some(controller) if plain && !moves => Ok(controller),
        _ if moves => Err(invalid(field, format!("{file:?} sets no limit"))),
        _ => Err(invalid(field, format!("{file:?} is no file of a group")).hint("such as memory.high")),
    }
}

pub(super) fn invalid(field: &'static str, reason: impl Into<String>) -> Failure {
    Failure::because("cgroup.limits", field, reason)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_become_weight_on_the_new_curve() {
        // The table of opencontainers/cgroups' own tests and runc issue 4896.
        for (shares, weight) in
            [(2, 1), (1024, 100), (2000, 170), (262_144, 10_000), (262_143, 10_000), (3, 2)]
        {
            assert_eq!(Shares(shares).weight(), weight, "{shares}");
        }
        let mut last = 0;
        for shares in (2..=262_144).step_by(7) {
            let weight = Shares(shares).weight();
            assert!(weight >= last && (1..=10_000).contains(&weight), "{shares}");
            last = weight;
        }
    }

    #[test]
    fn io_weights_meet_at_both_ends() {
        assert_eq!((io_weight(10), io_weight(500), io_weight(1000)), (1, 4950, 10_000));
    }

    #[test]
    fn lists_are_compared_by_meaning() {
        assert_eq!(parse_list("0,1,2"), parse_list("0-2"));
        assert_eq!(parse_list("5, 0-1"), Some(vec![(0, 1), (5, 5)]));
        assert_eq!(parse_list(""), Some(vec![]));
        assert_eq!([parse_list("+1"), parse_list("1-+2"), parse_list("1,,2")], [None, None, None]);
        for bad in ["2-1", "a", "0,,1", "-1", "0-", "0-1-2"] {
            assert_eq!(parse_list(bad), None, "{bad}");
        }
    }

    #[test]
    fn names_that_leave_the_group_are_refused() {
        assert_eq!(file_name("unified", "memory.high").unwrap(), "memory");
        for bad in ["../memory.high", "memory/high.x", "memory", ".high", "cgroup.procs", "cgroup.kill", ""] {
            assert!(file_name("unified", bad).is_err(), "{bad}");
        }
    }
}
