//! Reading the files that [`Stats`] is made of. A controller that is absent, a file that this kernel has not, and a
//! group that goes meanwhile leave their part as it is; a file that cannot be read or understood is an error.

use std::collections::BTreeMap;
use std::io;
use std::path::Path;

use ::step::Failure;
use rustix::io::Errno;

use super::{
    CpuUsage, Cpuset, Hugetlb, Memory, MemoryEntry, Pids, Pressure, Rdma, RdmaEntry, Stall, Stats,
    Throttling, blkio,
};
use crate::group::Group;
use crate::hierarchies::Version;
use crate::kernfs::{self, keyed};
use crate::limits::parse_list;

/// One tick of `cpuacct.stat` in nanoseconds: USER_HZ is 100 on every architecture that we run on.
const TICK: u64 = 10_000_000;

impl Group {
    /// What the group used until now. Errors: `ENOENT` where no hierarchy has it, and what the kernel refuses to
    /// tell (`EACCES`).
    pub fn stats(&self) -> Result<Stats, Failure> {
        if !self.exists() {
            return Err(
                Failure::new("cgroup.stats", self.path(), Errno::NOENT).hint("the container is not running")
            );
        }
        let mut stats = Stats::default();
        self.cpu_stats(&mut stats)?;
        if let Some(dir) = self.v1("cpuset") {
            stats.cpuset = cpuset(&Files(dir))?;
        }
        match self.with("memory", "memory") {
            Some((Version::V1, dir)) => stats.memory = memory_v1(&Files(dir))?,
            Some((Version::V2, dir)) => stats.memory = memory_v2(&Files(dir))?,
            None => {}
        }
        stats.pids = match (self.with("pids", "pids"), self.v2()) {
            (Some((_, dir)), _) | (None, Some(dir)) => pids(&Files(dir))?,
            (None, None) => Pids::default(),
        };
        match self.with("blkio", "io") {
            Some((Version::V1, dir)) => stats.blkio = blkio::v1(&Files(dir))?,
            Some((Version::V2, dir)) => {
                stats.blkio = Files(dir).parsed("io.stat", blkio::v2)?.unwrap_or_default();
            }
            None => {}
        }
        if let Some((version, dir)) = self.with("hugetlb", "hugetlb") {
            stats.hugetlb = hugetlb(&Files(dir), version)?;
        }
        if let Some((_, dir)) = self.with("rdma", "rdma") {
            stats.rdma = rdma(&Files(dir))?;
        }
        // Pressure is told by v2 alone; on a hybrid host too, where the group is in both.
        if let Some(dir) = self.v2() {
            stats.cpu.psi = Files(dir).pressure("cpu.pressure")?;
            stats.memory.psi = Files(dir).pressure("memory.pressure")?;
            stats.blkio.psi = Files(dir).pressure("io.pressure")?;
        }
        Ok(stats)
    }

    /// How much its processes wait for processors, memory and disks; none where the kernel does not tell.
    pub fn pressures(&self) -> [Option<Pressure>; 3] {
        ["cpu.pressure", "memory.pressure", "io.pressure"]
            .map(|file| Files(self.v2()?).pressure(file).ok().flatten())
    }

    fn cpu_stats(&self, stats: &mut Stats) -> Result<(), Failure> {
        match (self.v1("cpuacct"), self.v2()) {
            (Some(dir), _) => stats.cpu.usage = cpu_v1(&Files(dir))?,
            // v2 counts time in every group, with the controller or without.
            (None, Some(dir)) => stats.cpu.usage = cpu_v2(&Files(dir))?,
            (None, None) => {}
        }
        if let Some((version, dir)) = self.with("cpu", "cpu") {
            stats.cpu.throttling = throttling(&Files(dir), version)?;
        }
        Ok(())
    }
}

/// The files of one directory.
pub(super) struct Files<'d>(pub(super) &'d Path);

impl Files<'_> {
    /// The text of a file; none where there is none.
    fn text(&self, file: &str) -> Result<Option<String>, Failure> {
        match kernfs::read(&self.0.join(file)) {
            Ok(text) => Ok(Some(text)),
            Err(error) if is_absence(&error) => Ok(None),
            Err(error) => Err(Failure::new("cgroup.stats", self.name(file), error)),
        }
    }

    /// The text of a file, understood; none where there is none.
    pub(super) fn parsed<T>(
        &self,
        file: &str,
        parse: impl FnOnce(&str) -> Result<T, String>,
    ) -> Result<Option<T>, Failure> {
        let Some(text) = self.text(file)? else { return Ok(None) };
        parse(&text).map(Some).map_err(|reason| Failure::because("cgroup.stats", self.name(file), reason))
    }

    /// The one number in a file.
    fn number(&self, file: &str) -> Result<Option<u64>, Failure> {
        self.parsed(file, |text| number(text.trim()))
    }

    /// A file of PSI; none where the kernel does not tell, in one of the ways in which it does not: no such file
    /// (before Linux 4.20, or `cgroup.pressure` is 0), or no reading of it (PSI is off until `psi=1` boots it).
    fn pressure(&self, file: &str) -> Result<Option<Pressure>, Failure> {
        match self.parsed(file, pressure) {
            Err(failure) if failure.errno == Errno::OPNOTSUPP.raw_os_error() => Ok(None),
            other => other,
        }
    }

    fn name(&self, file: &str) -> String {
        self.0.join(file).to_string_lossy().into_owned()
    }
}

/// No such file, or no such group any more.
fn is_absence(error: &io::Error) -> bool {
    matches!(
        error.raw_os_error().map(Errno::from_raw_os_error),
        Some(Errno::NOENT | Errno::NODEV | Errno::NOTDIR)
    )
}

/// A number of the kernel's. `max` is the greatest; below zero, where some kernels' counters fell, is zero.
fn number(word: &str) -> Result<u64, String> {
    match (word, word.parse()) {
        ("max", _) => Ok(u64::MAX),
        (_, Ok(number)) => Ok(number),
        (_, Err(_)) if word.parse::<i64>().is_ok_and(|number| number < 0) => Ok(0),
        _ => Err(format!("{word:?} is no number")),
    }
}

/// Lines of `key number`.
pub(crate) fn table(text: &str) -> Result<BTreeMap<String, u64>, String> {
    let pair = |line: &str| {
        let (key, value) = line.split_once(' ').ok_or_else(|| format!("{line:?} is no key and number"))?;
        Ok((key.to_owned(), number(value.trim())?))
    };
    text.lines().filter(|line| !line.is_empty()).map(pair).collect()
}

fn cpu_v1(files: &Files) -> Result<CpuUsage, Failure> {
    let ticks = files.parsed("cpuacct.stat", table)?.unwrap_or_default();
    let time = |key: &str| ticks.get(key).copied().unwrap_or(0).saturating_mul(TICK);
    let list = |text: &str| text.split_ascii_whitespace().map(number).collect::<Result<Vec<_>, _>>();
    let (percpu_user, percpu_kernel) = files.parsed("cpuacct.usage_all", by_mode)?.unwrap_or_default();
    Ok(CpuUsage {
        total: files.number("cpuacct.usage")?.unwrap_or(0),
        percpu: files.parsed("cpuacct.usage_percpu", list)?.unwrap_or_default(),
        percpu_kernel,
        percpu_user,
        kernel: time("system"),
        user: time("user"),
    })
}

/// `cpu user system`, then a line with the three for each processor: the last two of them.
pub(crate) fn by_mode(text: &str) -> Result<(Vec<u64>, Vec<u64>), String> {
    let (mut user, mut system) = (Vec::new(), Vec::new());
    for line in text.lines().skip(1) {
        let mut words = line.split_ascii_whitespace().skip(1);
        let (Some(in_user), Some(in_system)) = (words.next(), words.next()) else { continue };
        user.push(number(in_user)?);
        system.push(number(in_system)?);
    }
    Ok((user, system))
}

fn cpu_v2(files: &Files) -> Result<CpuUsage, Failure> {
    let times = files.parsed("cpu.stat", table)?.unwrap_or_default();
    let time = |key: &str| times.get(key).copied().unwrap_or(0).saturating_mul(1_000);
    Ok(CpuUsage {
        total: time("usage_usec"),
        kernel: time("system_usec"),
        user: time("user_usec"),
        ..CpuUsage::default()
    })
}

fn throttling(files: &Files, version: Version) -> Result<Throttling, Failure> {
    let counts = files.parsed("cpu.stat", table)?.unwrap_or_default();
    let count = |key: &str| counts.get(key).copied().unwrap_or(0);
    Ok(Throttling {
        periods: count("nr_periods"),
        throttled_periods: count("nr_throttled"),
        throttled_time: match version {
            Version::V1 => count("throttled_time"),
            Version::V2 => count("throttled_usec").saturating_mul(1_000),
        },
    })
}

fn cpuset(files: &Files) -> Result<Cpuset, Failure> {
    let number = |file: &str| Ok::<_, Failure>(files.number(file)?.unwrap_or(0));
    let list = |file: &str| Ok::<_, Failure>(files.parsed(file, members)?.unwrap_or_default());
    let signed =
        |text: &str| text.trim().parse::<i64>().map_err(|_| format!("{:?} is no number", text.trim()));
    Ok(Cpuset {
        cpus: list("cpuset.cpus")?,
        cpu_exclusive: number("cpuset.cpu_exclusive")?,
        mems: list("cpuset.mems")?,
        mem_hardwall: number("cpuset.mem_hardwall")?,
        mem_exclusive: number("cpuset.mem_exclusive")?,
        memory_migrate: number("cpuset.memory_migrate")?,
        memory_spread_page: number("cpuset.memory_spread_page")?,
        memory_spread_slab: number("cpuset.memory_spread_slab")?,
        memory_pressure: number("cpuset.memory_pressure")?,
        sched_load_balance: number("cpuset.sched_load_balance")?,
        sched_relax_domain_level: files.parsed("cpuset.sched_relax_domain_level", signed)?.unwrap_or(0),
    })
}

/// Each number of a list such as `0-2,5`.
pub(crate) fn members(text: &str) -> Result<Vec<u16>, String> {
    let wrong = || format!("{:?} is no list of numbers", text.trim());
    let mut all = Vec::new();
    for (first, last) in parse_list(text.trim()).ok_or_else(wrong)? {
        let (Ok(first), Ok(last)) = (u16::try_from(first), u16::try_from(last)) else { return Err(wrong()) };
        all.extend(first..=last);
    }
    Ok(all)
}

fn memory_v1(files: &Files) -> Result<Memory, Failure> {
    let Some(raw) = files.parsed("memory.stat", table)? else { return Ok(Memory::default()) };
    let entry = |name: &str| {
        let part = |what: &str| files.number(&format!("memory{name}.{what}"));
        // A kernel that does not count this has none of the four.
        let Some(usage) = part("usage_in_bytes")? else { return Ok::<_, Failure>(MemoryEntry::default()) };
        Ok(MemoryEntry {
            usage,
            max: part("max_usage_in_bytes")?.unwrap_or(0),
            failcnt: part("failcnt")?.unwrap_or(0),
            limit: part("limit_in_bytes")?.unwrap_or(0),
        })
    };
    Ok(Memory {
        cache: raw.get("cache").copied().unwrap_or(0),
        usage: entry("")?,
        swap: entry(".memsw")?,
        kernel: entry(".kmem")?,
        kernel_tcp: entry(".kmem.tcp")?,
        raw,
        psi: None,
    })
}

fn memory_v2(files: &Files) -> Result<Memory, Failure> {
    let Some(raw) = files.parsed("memory.stat", table)? else { return Ok(Memory::default()) };
    let usage = MemoryEntry {
        usage: files.number("memory.current")?.unwrap_or(0),
        max: files.number("memory.peak")?.unwrap_or(0),
        limit: files.number("memory.max")?.unwrap_or(0),
        failcnt: 0,
    };
    // Readers know v1, whose number is memory and swap together. Of the most of each no sum can be made.
    let swap = |file: &str| Ok::<_, Failure>(files.number(file)?.unwrap_or(0));
    let swap = MemoryEntry {
        usage: usage.usage.saturating_add(swap("memory.swap.current")?),
        limit: usage.limit.saturating_add(swap("memory.swap.max")?),
        ..MemoryEntry::default()
    };
    let cache = raw.get("file").copied().unwrap_or(0);
    Ok(Memory { cache, usage, swap, raw, ..Memory::default() })
}

fn pids(files: &Files) -> Result<Pids, Failure> {
    let Some(current) = files.number("pids.current")? else {
        // v2 without the controller: the members of this group itself; a threaded one lists threads only.
        let lines = |text: &str| Ok(text.lines().count() as u64);
        let current = match files.parsed("cgroup.procs", lines) {
            Err(failure) if failure.errno == Errno::OPNOTSUPP.raw_os_error() => {
                files.parsed("cgroup.threads", lines)
            }
            other => other,
        };
        return Ok(Pids { current: current?.unwrap_or(0), limit: 0 });
    };
    let limit = files.number("pids.max")?.filter(|limit| *limit != u64::MAX);
    Ok(Pids { current, limit: limit.unwrap_or(0) })
}

fn hugetlb(files: &Files, version: Version) -> Result<BTreeMap<String, Hugetlb>, Failure> {
    let tail = if version == Version::V1 { ".usage_in_bytes" } else { ".current" };
    let mut all = BTreeMap::new();
    for size in sizes(files.0, tail) {
        let part = |what: &str| {
            let reserved = files.number(&format!("hugetlb.{size}.rsvd{what}"))?;
            reserved.map_or_else(|| files.number(&format!("hugetlb.{size}{what}")), |count| Ok(Some(count)))
        };
        let Some(usage) = part(tail)? else { continue };
        let (max, failcnt) = match version {
            Version::V1 => (part(".max_usage_in_bytes")?, part(".failcnt")?),
            Version::V2 => {
                let events = files.text(&format!("hugetlb.{size}.events"))?.unwrap_or_default();
                (None, keyed(&events, "max"))
            }
        };
        let used = Hugetlb { usage, max: max.unwrap_or(0), failcnt: failcnt.unwrap_or(0) };
        all.insert(size, used);
    }
    Ok(all)
}

/// The sizes of huge pages that the group has files for.
fn sizes(dir: &Path, tail: &str) -> Vec<String> {
    let Ok(entries) = std::fs::read_dir(dir) else { return Vec::new() };
    let size = |name: String| {
        let size = name.strip_prefix("hugetlb.")?.strip_suffix(tail)?;
        (!size.contains('.')).then(|| size.to_owned())
    };
    entries.flatten().filter_map(|entry| size(entry.file_name().into_string().ok()?)).collect()
}

fn rdma(files: &Files) -> Result<Rdma, Failure> {
    let rdma = Rdma {
        limit: files.parsed("rdma.max", rdma_entries)?.unwrap_or_default(),
        current: files.parsed("rdma.current", rdma_entries)?.unwrap_or_default(),
    };
    // A device that left between both reads would pair wrongly.
    Ok(if rdma.limit.len() == rdma.current.len() { rdma } else { Rdma::default() })
}

/// Lines of `mlx4_0 hca_handle=2 hca_object=max`.
pub(crate) fn rdma_entries(text: &str) -> Result<Vec<RdmaEntry>, String> {
    let entry = |line: &str| {
        let mut words = line.split_ascii_whitespace();
        let mut entry = RdmaEntry { device: words.next()?.to_owned(), ..RdmaEntry::default() };
        for (key, value) in words.filter_map(|word| word.split_once('=')) {
            let value = if value == "max" { u32::MAX } else { value.parse().ok()? };
            match key {
                "hca_handle" => entry.hca_handles = value,
                "hca_object" => entry.hca_objects = value,
                _ => {}
            }
        }
        Some(entry)
    };
    text.lines().map(|line| entry(line).ok_or_else(|| format!("{line:?} is no RDMA device"))).collect()
}

/// `some avg10=0.00 avg60=0.00 avg300=0.00 total=0`, and the same after `full`.
pub(crate) fn pressure(text: &str) -> Result<Pressure, String> {
    let mut pressure = Pressure::default();
    for line in text.lines() {
        let mut words = line.split_ascii_whitespace();
        let stall = match words.next() {
            Some("some") => &mut pressure.some,
            Some("full") => &mut pressure.full,
            _ => continue,
        };
        *stall = self::stall(words).ok_or_else(|| format!("{line:?} tells no pressure"))?;
    }
    Ok(pressure)
}

fn stall<'w>(words: impl Iterator<Item = &'w str>) -> Option<Stall> {
    let mut stall = Stall::default();
    for word in words {
        let (key, value) = word.split_once('=')?;
        match key {
            "avg10" => stall.avg10 = value.parse().ok()?,
            "avg60" => stall.avg60 = value.parse().ok()?,
            "avg300" => stall.avg300 = value.parse().ok()?,
            "total" => stall.total = value.parse().ok()?,
            _ => {}
        }
    }
    Some(stall)
}

#[cfg(test)]
pub(super) mod tests;
