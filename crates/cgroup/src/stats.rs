//! What a group used, in the words that the users of OCI runtimes read: the `data` of an `events --stats` line.
//! [`crate::Usage`] is the same for ourselves: smaller, and with `None` where the host counts nothing.
//!
//! Names, units and what is left out when it is zero are those of runc's `types/events.go`, from where containerd,
//! CRI-O, Podman and node agents have them. Zero stands for "not counted" too, as it does there.

pub(crate) mod blkio;
pub(crate) mod read;

use std::collections::BTreeMap;

use serde::Serialize;

/// The whole of it. Serialised, it is the `data` of the event.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Stats {
    /// Processor time.
    pub cpu: Cpu,
    /// Processors and memory nodes; v1 only, all zero in v2.
    pub cpuset: Cpuset,
    /// Memory.
    pub memory: Memory,
    /// Processes and threads.
    pub pids: Pids,
    /// Block devices.
    pub blkio: Blkio,
    /// Huge pages by size, `2MB`; an empty object where there is none.
    pub hugetlb: BTreeMap<String, Hugetlb>,
    /// RDMA devices. runc counts them and does not print them: here only where there are any.
    #[serde(skip_serializing_if = "is_default")]
    pub rdma: Rdma,
    /// Cache and memory bandwidth that Intel RDT divides: always an empty object, see [`crate::check_rdt`].
    pub intel_rdt: IntelRdt,
    /// Network interfaces: always `null`, as in runc for every container that an OCI bundle describes.
    pub network_interfaces: NotCounted,
}

/// An empty object.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct IntelRdt {}

/// `null`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct NotCounted;

/// Processor time.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Cpu {
    /// What was used.
    #[serde(skip_serializing_if = "is_default")]
    pub usage: CpuUsage,
    /// What the quota held back.
    #[serde(skip_serializing_if = "is_default")]
    pub throttling: Throttling,
    /// How long processes waited for a processor; none where the kernel does not tell (PSI is off, or v1 alone).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub psi: Option<Pressure>,
}

/// Nanoseconds.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct CpuUsage {
    /// In user space and in the kernel.
    #[serde(skip_serializing_if = "is_default")]
    pub total: u64,
    /// The same by processor; v1 only.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub percpu: Vec<u64>,
    /// Of it in the kernel; v1 only.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub percpu_kernel: Vec<u64>,
    /// Of it in user space; v1 only.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub percpu_user: Vec<u64>,
    /// In the kernel; in v1 with a grain of 10 ms.
    pub kernel: u64,
    /// In user space; in v1 with a grain of 10 ms.
    pub user: u64,
}

/// What the quota held back.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Throttling {
    /// Periods in which the group ran.
    #[serde(skip_serializing_if = "is_default")]
    pub periods: u64,
    /// Of them those in which the quota was used up.
    #[serde(skip_serializing_if = "is_default")]
    pub throttled_periods: u64,
    /// Nanoseconds that processes waited for the next period.
    #[serde(skip_serializing_if = "is_default")]
    pub throttled_time: u64,
}

/// Pressure stall information: Documentation/accounting/psi.rst.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize)]
pub struct Pressure {
    /// Some process waited.
    #[serde(skip_serializing_if = "is_default")]
    pub some: Stall,
    /// All processes waited.
    #[serde(skip_serializing_if = "is_default")]
    pub full: Stall,
}

/// One line of a pressure file.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize)]
pub struct Stall {
    /// Percent of the last 10 seconds.
    pub avg10: f64,
    /// Percent of the last minute.
    pub avg60: f64,
    /// Percent of the last 5 minutes.
    pub avg300: f64,
    /// Microseconds altogether.
    pub total: u64,
}

/// The files of v1's cpuset, by the kernel's names.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Cpuset {
    /// Processors, each by its number.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub cpus: Vec<u16>,
    /// 0 or 1, as the flags below.
    pub cpu_exclusive: u64,
    /// Memory nodes, each by its number.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub mems: Vec<u16>,
    /// A flag.
    pub mem_hardwall: u64,
    /// A flag.
    pub mem_exclusive: u64,
    /// A flag.
    pub memory_migrate: u64,
    /// A flag.
    pub memory_spread_page: u64,
    /// A flag.
    pub memory_spread_slab: u64,
    /// Attempts to free memory, 1,000 times their rate a second.
    pub memory_pressure: u64,
    /// A flag.
    pub sched_load_balance: u64,
    /// -1 to 5.
    pub sched_relax_domain_level: i64,
}

/// Memory, in bytes.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Memory {
    /// Page cache.
    #[serde(skip_serializing_if = "is_default")]
    pub cache: u64,
    /// Memory.
    #[serde(skip_serializing_if = "is_default")]
    pub usage: MemoryEntry,
    /// Memory and swap together, also in v2, where it is the sum of both (and no most is known).
    #[serde(skip_serializing_if = "is_default")]
    pub swap: MemoryEntry,
    /// The kernel's memory; v1 only.
    #[serde(skip_serializing_if = "is_default")]
    pub kernel: MemoryEntry,
    /// TCP buffers; v1 only.
    #[serde(rename = "kernelTCP", skip_serializing_if = "is_default")]
    pub kernel_tcp: MemoryEntry,
    /// `memory.stat` as it is.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub raw: BTreeMap<String, u64>,
    /// How long processes waited for memory.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub psi: Option<Pressure>,
}

/// A count of memory with its limit, in bytes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct MemoryEntry {
    /// The limit; v2's `max` is the greatest number of 64 bits, v1's greatest is what its file says.
    pub limit: u64,
    /// Now.
    #[serde(skip_serializing_if = "is_default")]
    pub usage: u64,
    /// The most that it was.
    #[serde(skip_serializing_if = "is_default")]
    pub max: u64,
    /// How often the limit was met; v1 only.
    pub failcnt: u64,
}

/// Processes and threads.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Pids {
    /// Now.
    #[serde(skip_serializing_if = "is_default")]
    pub current: u64,
    /// The limit; 0 for none.
    #[serde(skip_serializing_if = "is_default")]
    pub limit: u64,
}

/// Block devices. The names end in `Recursive` as they have since v1 counted groups without their children too.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Blkio {
    /// Bytes.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub io_service_bytes_recursive: Vec<BlkioEntry>,
    /// Operations.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub io_serviced_recursive: Vec<BlkioEntry>,
    /// Operations that wait; this and what follows only where the scheduler counts it (CFQ, BFQ with debugging).
    #[serde(rename = "ioQueueRecursive", skip_serializing_if = "Vec::is_empty")]
    pub io_queued_recursive: Vec<BlkioEntry>,
    /// Nanoseconds from dispatch to completion.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub io_service_time_recursive: Vec<BlkioEntry>,
    /// Nanoseconds in the scheduler's queue.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub io_wait_time_recursive: Vec<BlkioEntry>,
    /// Requests merged into others.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub io_merged_recursive: Vec<BlkioEntry>,
    /// Milliseconds of the device's time.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub io_time_recursive: Vec<BlkioEntry>,
    /// Sectors of 512 bytes.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub sectors_recursive: Vec<BlkioEntry>,
    /// How long processes waited for block devices.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub psi: Option<Pressure>,
}

/// A count of one device.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct BlkioEntry {
    /// Major number.
    #[serde(skip_serializing_if = "is_default")]
    pub major: u64,
    /// Minor number.
    #[serde(skip_serializing_if = "is_default")]
    pub minor: u64,
    /// `Read`, `Write`, `Sync`, `Async`, `Discard`, `Total`; in v2 only the first two; empty where there is one count.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub op: String,
    /// The count.
    #[serde(skip_serializing_if = "is_default")]
    pub value: u64,
}

/// Huge pages of one size, in bytes. Where the kernel counts reservations (Linux 5.7), those.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Hugetlb {
    /// Now.
    #[serde(skip_serializing_if = "is_default")]
    pub usage: u64,
    /// The most that it was; v1 only.
    #[serde(skip_serializing_if = "is_default")]
    pub max: u64,
    /// How often the limit was met.
    pub failcnt: u64,
}

/// RDMA devices.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Rdma {
    /// Limits.
    #[serde(rename = "rdma_limit", skip_serializing_if = "Vec::is_empty")]
    pub limit: Vec<RdmaEntry>,
    /// What is used.
    #[serde(rename = "rdma_current", skip_serializing_if = "Vec::is_empty")]
    pub current: Vec<RdmaEntry>,
}

/// One RDMA device.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct RdmaEntry {
    /// `mlx5_0`.
    pub device: String,
    /// Handles; the greatest number of 32 bits for no limit.
    #[serde(skip_serializing_if = "is_default")]
    pub hca_handles: u32,
    /// Objects; the same.
    #[serde(skip_serializing_if = "is_default")]
    pub hca_objects: u32,
}

fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_counted_is_what_runc_prints_then() {
        let flags = r#""cpu_exclusive":0,"mem_hardwall":0,"mem_exclusive":0,"memory_migrate":0,"memory_spread_page":0,"memory_spread_slab":0,"memory_pressure":0,"sched_load_balance":0,"sched_relax_domain_level":0"#;
        assert_eq!(
            serde_json::to_string(&Stats::default()).unwrap(),
            format!(
                r#"{{"cpu":{{}},"cpuset":{{{flags}}},"memory":{{}},"pids":{{}},"blkio":{{}},"hugetlb":{{}},"intel_rdt":{{}},"network_interfaces":null}}"#
            )
        );
    }

    #[test]
    fn the_names_are_runcs() {
        let entry = MemoryEntry { limit: 4, usage: 3, max: 2, failcnt: 1 };
        let count = |op: &str| vec![BlkioEntry { major: 8, minor: 0, op: op.into(), value: 7 }];
        let stats = Stats {
            cpu: Cpu {
                usage: CpuUsage {
                    total: 9,
                    percpu: vec![5, 4],
                    percpu_kernel: vec![1, 0],
                    percpu_user: vec![4, 4],
                    kernel: 1,
                    user: 8,
                },
                throttling: Throttling { periods: 3, throttled_periods: 2, throttled_time: 1 },
                psi: Some(Pressure {
                    some: Stall { avg10: 1.5, avg60: 0.25, avg300: 0.0, total: 12 },
                    full: Stall::default(),
                }),
            },
            memory: Memory {
                cache: 1,
                usage: entry,
                swap: entry,
                kernel: MemoryEntry { limit: 5, ..MemoryEntry::default() },
                kernel_tcp: entry,
                raw: [("rss".to_owned(), 6), ("cache".to_owned(), 1)].into(),
                psi: None,
            },
            pids: Pids { current: 2, limit: 20 },
            blkio: Blkio {
                io_queued_recursive: count("Read"),
                io_time_recursive: count(""),
                ..Blkio::default()
            },
            hugetlb: [("2MB".to_owned(), Hugetlb { usage: 2, max: 1, failcnt: 0 })].into(),
            rdma: Rdma {
                limit: Vec::new(),
                current: vec![RdmaEntry { device: "mlx5_0".into(), hca_handles: 3, hca_objects: 0 }],
            },
            ..Stats::default()
        };
        let json = serde_json::to_value(&stats).unwrap();
        let part = |name: &str| json[name].to_string();
        assert_eq!(
            part("cpu"),
            r#"{"psi":{"some":{"avg10":1.5,"avg300":0.0,"avg60":0.25,"total":12}},"throttling":{"periods":3,"throttledPeriods":2,"throttledTime":1},"usage":{"kernel":1,"percpu":[5,4],"percpu_kernel":[1,0],"percpu_user":[4,4],"total":9,"user":8}}"#
        );
        let four = r#"{"failcnt":1,"limit":4,"max":2,"usage":3}"#;
        assert_eq!(
            part("memory"),
            format!(
                r#"{{"cache":1,"kernel":{{"failcnt":0,"limit":5}},"kernelTCP":{four},"raw":{{"cache":1,"rss":6}},"swap":{four},"usage":{four}}}"#
            )
        );
        assert_eq!(part("pids"), r#"{"current":2,"limit":20}"#);
        assert_eq!(
            part("blkio"),
            r#"{"ioQueueRecursive":[{"major":8,"op":"Read","value":7}],"ioTimeRecursive":[{"major":8,"value":7}]}"#
        );
        assert_eq!(part("hugetlb"), r#"{"2MB":{"failcnt":0,"max":1,"usage":2}}"#);
        assert_eq!(part("rdma"), r#"{"rdma_current":[{"device":"mlx5_0","hca_handles":3}]}"#);
    }
}
