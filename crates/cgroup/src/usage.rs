//! What a group uses and used, in the same units from v1 and v2. A number that the host does not count is `None`.
//! The parsers are pure; each file is read once.

use std::path::Path;

use crate::group::Group;
use crate::hierarchies::Version;
use crate::kernfs::{self, keyed};
use crate::limits::Amount;

/// What a group uses. Bytes, nanoseconds, counts.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Usage {
    /// Memory now, page cache included.
    pub memory: Option<u64>,
    /// The most that it was (v2: from Linux 5.19).
    pub memory_peak: Option<u64>,
    /// Its limit.
    pub memory_limit: Option<Amount>,
    /// Page cache that could go at once: `docker stats` takes it off `memory`.
    pub inactive_file: Option<u64>,
    /// Swap alone.
    pub swap: Option<u64>,
    /// Processes that the kernel killed for want of memory.
    pub oom_kills: Option<u64>,
    /// Processor time.
    pub cpu: Option<u64>,
    /// Of it in user space.
    pub cpu_user: Option<u64>,
    /// Of it in the kernel.
    pub cpu_system: Option<u64>,
    /// Periods of the quota.
    pub periods: Option<u64>,
    /// Of them those in which the quota was used up.
    pub throttled_periods: Option<u64>,
    /// Time that processes waited for the next period.
    pub throttled: Option<u64>,
    /// Processes and threads.
    pub pids: Option<u64>,
    /// Their limit.
    pub pids_limit: Option<Amount>,
    /// By block device, in the kernel's order.
    pub io: Vec<BlockUse>,
    /// Bytes of huge pages by size.
    pub hugetlb: Vec<(String, u64)>,
}

/// What went to and from a block device.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct BlockUse {
    /// Major and minor number.
    pub device: (u32, u32),
    /// Bytes.
    pub read_bytes: u64,
    /// Bytes.
    pub written_bytes: u64,
    /// Operations.
    pub reads: u64,
    /// Operations.
    pub writes: u64,
}

impl Group {
    /// What the group uses now. What cannot be read, a group that is gone included, is `None`.
    pub fn usage(&self) -> Usage {
        let mut usage = Usage { oom_kills: self.oom_kills(), ..Usage::default() };
        match self.with("memory", "memory") {
            Some((Version::V1, dir)) => {
                usage.memory = number(dir, "memory.usage_in_bytes");
                usage.memory_peak = number(dir, "memory.max_usage_in_bytes");
                usage.memory_limit = number(dir, "memory.limit_in_bytes").map(endless);
                let stat = text(dir, "memory.stat");
                usage.inactive_file = keyed(&stat, "total_inactive_file");
                usage.swap = keyed(&stat, "total_swap");
            }
            Some((Version::V2, dir)) => {
                usage.memory = number(dir, "memory.current");
                usage.memory_peak = number(dir, "memory.peak");
                usage.memory_limit = limit(dir, "memory.max");
                usage.inactive_file = keyed(&text(dir, "memory.stat"), "inactive_file");
                usage.swap = number(dir, "memory.swap.current");
            }
            None => {}
        }
        self.cpu_usage(&mut usage);
        if let Some((_, dir)) = self.with("pids", "pids") {
            usage.pids = number(dir, "pids.current");
            usage.pids_limit = limit(dir, "pids.max");
        }
        match self.with("blkio", "io") {
            Some((Version::V1, dir)) => {
                let bytes = text(dir, "blkio.throttle.io_service_bytes_recursive");
                usage.io = io_v1(&bytes, &text(dir, "blkio.throttle.io_serviced_recursive"));
            }
            Some((Version::V2, dir)) => usage.io = io_v2(&text(dir, "io.stat")),
            None => {}
        }
        if let Some((version, dir)) = self.with("hugetlb", "hugetlb") {
            let tail = if version == Version::V1 { ".usage_in_bytes" } else { ".current" };
            usage.hugetlb = hugetlb(dir, tail);
        }
        usage
    }

    fn cpu_usage(&self, usage: &mut Usage) {
        // v2 counts time in every group, with the controller or without.
        let (accounts, core) = (self.v1("cpuacct"), self.v2());
        if let Some(dir) = accounts {
            usage.cpu = number(dir, "cpuacct.usage");
            usage.cpu_user = number(dir, "cpuacct.usage_user");
            usage.cpu_system = number(dir, "cpuacct.usage_sys");
        }
        let stat = |dir: &Path| text(dir, "cpu.stat");
        let micro = |stat: &str, key: &str| keyed(stat, key).map(|us| us.saturating_mul(1_000));
        if let (None, Some(dir)) = (accounts, core) {
            let stat = stat(dir);
            usage.cpu = micro(&stat, "usage_usec");
            usage.cpu_user = micro(&stat, "user_usec");
            usage.cpu_system = micro(&stat, "system_usec");
        }
        if let Some((version, dir)) = self.with("cpu", "cpu") {
            let stat = stat(dir);
            usage.periods = keyed(&stat, "nr_periods");
            usage.throttled_periods = keyed(&stat, "nr_throttled");
            usage.throttled = match version {
                Version::V1 => keyed(&stat, "throttled_time"),
                Version::V2 => micro(&stat, "throttled_usec"),
            };
        }
    }

    /// How many processes the kernel killed in this group for want of memory; `None` where it does not count them.
    pub fn oom_kills(&self) -> Option<u64> {
        match self.with("memory", "memory")? {
            // v1 counts each group by itself (`memcg_memory_event` in mm/memcontrol.c).
            (Version::V1, dir) => {
                let counts = kernfs::subtree(dir).into_iter();
                let counts = counts.map(|dir| keyed(&text(&dir, "memory.oom_control"), "oom_kill"));
                counts.fold(None, |sum, count| sum.map_or(count, |sum| Some(sum + count.unwrap_or(0))))
            }
            (Version::V2, dir) => keyed(&text(dir, "memory.events"), "oom_kill"),
        }
    }
}

fn text(dir: &Path, file: &str) -> String {
    kernfs::read(&dir.join(file)).unwrap_or_default()
}

fn number(dir: &Path, file: &str) -> Option<u64> {
    text(dir, file).trim().parse().ok()
}

fn limit(dir: &Path, file: &str) -> Option<Amount> {
    match text(dir, file).trim() {
        "max" => Some(Amount::Max),
        number => number.parse().ok().map(Amount::Of),
    }
}

/// v1 says "no limit" by the largest number of pages.
fn endless(bytes: u64) -> Amount {
    if bytes >= i64::MAX as u64 - (1 << 20) { Amount::Max } else { Amount::Of(bytes) }
}

fn hugetlb(dir: &Path, tail: &str) -> Vec<(String, u64)> {
    let Ok(entries) = std::fs::read_dir(dir) else { return Vec::new() };
    let mut sizes: Vec<(String, u64)> = entries
        .flatten()
        .filter_map(|entry| {
            let file = entry.file_name().into_string().ok()?;
            let size = file.strip_prefix("hugetlb.")?.strip_suffix(tail)?;
            // `2MB.rsvd` is what was promised, not what is used.
            if size.contains('.') { None } else { Some((size.to_owned(), number(dir, &file)?)) }
        })
        .collect();
    sizes.sort();
    sizes
}

fn device(name: &str) -> Option<(u32, u32)> {
    let (major, minor) = name.split_once(':')?;
    Some((major.parse().ok()?, minor.parse().ok()?))
}

/// The entry of a device, made if there is none yet.
fn entry(uses: &mut Vec<BlockUse>, device: (u32, u32)) -> &mut BlockUse {
    let at = match uses.iter().position(|used| used.device == device) {
        Some(at) => at,
        None => {
            uses.push(BlockUse { device, ..BlockUse::default() });
            uses.len() - 1
        }
    };
    &mut uses[at]
}

/// Lines of `8:0 Read 4096`, once for bytes and once for operations.
pub(crate) fn io_v1(bytes: &str, operations: &str) -> Vec<BlockUse> {
    let mut uses = Vec::new();
    let mut add = |text: &str, field: fn(&mut BlockUse, bool) -> &mut u64| {
        for line in text.lines() {
            let mut words = line.split_ascii_whitespace();
            let (Some(name), Some(kind), Some(count)) = (words.next(), words.next(), words.next()) else {
                continue;
            };
            let (Some(device), Ok(count)) = (device(name), count.parse()) else { continue };
            if matches!(kind, "Read" | "Write") {
                *field(entry(&mut uses, device), kind == "Write") = count;
            }
        }
    };
    add(bytes, |used, write| if write { &mut used.written_bytes } else { &mut used.read_bytes });
    add(operations, |used, write| if write { &mut used.writes } else { &mut used.reads });
    uses
}

/// Lines of `8:0 rbytes=4096 wbytes=0 rios=1 wios=0 dbytes=0 dios=0`.
pub(crate) fn io_v2(text: &str) -> Vec<BlockUse> {
    let mut uses = Vec::new();
    for line in text.lines() {
        let mut words = line.split_ascii_whitespace();
        let Some(device) = words.next().and_then(device) else { continue };
        let used = entry(&mut uses, device);
        for (key, count) in words.filter_map(|word| word.split_once('=')) {
            let Ok(count) = count.parse() else { continue };
            match key {
                "rbytes" => used.read_bytes = count,
                "wbytes" => used.written_bytes = count,
                "rios" => used.reads = count,
                "wios" => used.writes = count,
                _ => {}
            }
        }
    }
    uses
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_versions_of_block_devices_say_the_same() {
        let bytes = "8:0 Read 4096\n8:0 Write 512\n8:0 Sync 4608\n8:0 Total 4608\n7:1 Read 1\nTotal 4609\n";
        let operations = "8:0 Read 2\n8:0 Write 1\n8:0 Total 3\nTotal 3\n";
        let v2 = "8:0 rbytes=4096 wbytes=512 rios=2 wios=1 dbytes=0 dios=0\n7:1 rbytes=1\n";
        let expected = [
            BlockUse { device: (8, 0), read_bytes: 4096, written_bytes: 512, reads: 2, writes: 1 },
            BlockUse { device: (7, 1), read_bytes: 1, ..BlockUse::default() },
        ];
        assert_eq!(io_v1(bytes, operations), expected);
        assert_eq!(io_v2(v2), expected);
        assert_eq!(io_v1("", ""), []);
        assert_eq!(io_v2("nonsense\n"), []);
    }

    #[test]
    fn v1s_largest_number_is_no_limit() {
        assert_eq!(endless(9_223_372_036_854_771_712), Amount::Max);
        assert_eq!(endless(1 << 40), Amount::Of(1 << 40));
    }
}
