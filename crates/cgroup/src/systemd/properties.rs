//! Limits as properties of a unit: what systemd must know, so that it does not undo them at the next daemon-reload.
//! Pure. Source: systemd.resource-control(5), org.freedesktop.systemd1(5); the choices are runc's.
//!
//! Not every limit has a property, and every limit is written to its file as well (`crate::plan`): a property that an
//! older systemd lacks is left out here.

use std::fmt;

use ::step::Failure;

use super::devices;
use super::value::Value;
use crate::hierarchies::{Controller, Hierarchies, Version};
use crate::limits::{Amount, Limits, Shares, io_weight, parse_list};

/// A property of a unit.
#[derive(Debug, Clone, PartialEq)]
pub struct Property {
    /// Its name on the bus: `MemoryMax`.
    pub name: String,
    /// Its value, of the type that systemd has for it.
    pub value: Value,
}

impl Property {
    /// A property by name and value.
    pub fn new(name: impl Into<String>, value: impl Into<Value>) -> Self {
        Self { name: name.into(), value: value.into() }
    }

    /// `(sv)`.
    pub(super) fn pair(&self) -> Value {
        Value::Struct(vec![self.name.as_str().into(), Value::Variant(Box::new(self.value.clone()))])
    }
}

impl fmt::Display for Property {
    /// `TasksMax=64`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut words = Vec::new();
        self.value.words(&mut words);
        write!(f, "{}={}", self.name, words.join(" "))
    }
}

/// Limits in systemd's words.
#[derive(Debug, Clone, PartialEq)]
pub struct Translation {
    /// The unit's properties.
    pub properties: Vec<Property>,
    /// The limits to be written to files: those that were asked for, but for a quota that systemd rounds up.
    pub limits: Limits,
}

// Since which version systemd has what.
const QUOTA_PERIOD: u32 = 242;
const CPUSET: u32 = 244;
const IDLE: u32 = 252;
const OOM_POLICY: u32 = 253;

/// The period of a quota that has none, in microseconds: the kernel's.
const PERIOD: u64 = 100_000;
/// A hundredth of a second of every second: systemd keeps quotas in whole percents of a processor.
const PERCENT: u64 = 10_000;

/// Puts limits into the words of systemd of that version, for the version of control groups that each controller is
/// in. Errors name a `unified` file and the value that is none for it.
pub fn translate(h: &Hierarchies, limits: &Limits, version: u32) -> Result<Translation, Failure> {
    let mut limits = limits.clone();
    let mut words = Words { list: devices::properties(h, &limits.devices, version), version };
    words.memory(h, &limits);
    words.cpu(h, &mut limits);
    words.cpuset("AllowedCPUs", limits.cpus.as_deref());
    words.cpuset("AllowedMemoryNodes", limits.mems.as_deref());
    if let Some(weight) = limits.io.weight {
        match in_v1(h, Controller::Io) {
            true => words.push("BlockIOWeight", weight),
            false => words.push("IOWeight", io_weight(weight)),
        }
    }
    if let Some(pids) = limits.pids {
        words.push("TasksMax", number(pids));
    }
    // Files that are named as they are mean the same, where version 2 has their controller.
    let raw =
        limits.raw.iter().filter(|(file, _)| h.v2().is_some_and(|mount| mount.has(controller_of(file))));
    words.unified(&limits.unified.iter().chain(raw).cloned().collect::<Vec<_>>())?;
    Ok(Translation { properties: words.list, limits })
}

fn controller_of(file: &str) -> &str {
    file.split('.').next().unwrap_or_default()
}

fn in_v1(h: &Hierarchies, controller: Controller) -> bool {
    h.find(controller).is_some_and(|mount| mount.version == Version::V1)
}

/// systemd's word for "no limit" is the largest number.
fn number(amount: Amount) -> u64 {
    match amount {
        Amount::Max => u64::MAX,
        Amount::Of(number) => number,
    }
}

/// The properties so far, for a systemd of that version.
struct Words {
    list: Vec<Property>,
    version: u32,
}

impl Words {
    fn push(&mut self, name: &str, value: impl Into<Value>) {
        self.list.push(Property::new(name, value));
    }

    fn memory(&mut self, h: &Hierarchies, limits: &Limits) {
        let memory = &limits.memory;
        if in_v1(h, Controller::Memory) {
            if let Some(limit) = memory.limit {
                self.push("MemoryLimit", number(limit));
            }
            return;
        }
        if let Some(limit) = memory.limit {
            self.push("MemoryMax", number(limit));
        }
        if let Some(reservation) = memory.reservation {
            // As in the file: no reservation is 0, while `max` would protect everything.
            let low = if let Amount::Of(bytes) = reservation { bytes } else { 0 };
            self.push("MemoryLow", low);
        }
        if let Some(swap) = memory.swap {
            self.push("MemorySwapMax", number(swap.alone));
        }
    }

    fn cpu(&mut self, h: &Hierarchies, limits: &mut Limits) {
        let v1 = in_v1(h, Controller::Cpu);
        if let Some(Shares(shares)) = limits.cpu.shares {
            match v1 {
                true => self.push("CPUShares", shares),
                false => self.push("CPUWeight", Shares(shares).weight()),
            }
        }
        if limits.cpu.idle == Some(true) && !v1 && self.version >= IDLE {
            self.push("CPUWeight", 0);
        }
        let (quota, period) = (limits.cpu.quota, limits.cpu.period);
        limits.cpu.quota = self.quota(quota, period);
    }

    /// The quota as it is kept: rounded up to a percent, so that what children may ask of it is there.
    fn quota(&mut self, quota: Option<Amount>, period: Option<u64>) -> Option<Amount> {
        if quota.is_none() && period.is_none() {
            return None;
        }
        if let Some(period) = period
            && self.version >= QUOTA_PERIOD
        {
            self.push("CPUQuotaPeriodUSec", period);
        }
        let Some(Amount::Of(asked)) = quota else {
            self.push("CPUQuotaPerSecUSec", u64::MAX);
            return quota;
        };
        let period = u128::from(period.unwrap_or(PERIOD).max(1));
        let exact = u128::from(asked) * 1_000_000 / period;
        let rounded = exact.next_multiple_of(u128::from(PERCENT));
        self.push("CPUQuotaPerSecUSec", u64::try_from(rounded).unwrap_or(u64::MAX));
        if rounded == exact {
            return quota;
        }
        Some(u64::try_from(rounded * period / 1_000_000).map_or(quota.unwrap_or(Amount::Max), Amount::Of))
    }

    fn cpuset(&mut self, name: &str, list: Option<&str>) {
        let Some(bits) = list.and_then(bitmask).filter(|bits| !bits.is_empty()) else { return };
        if self.version >= CPUSET {
            self.list.push(Property { name: name.to_owned(), value: Value::bytes(&bits) });
        }
    }

    /// Files of version 2 that have a property; the rest are files alone.
    fn unified(&mut self, files: &[(String, String)]) -> Result<(), Failure> {
        let idle = self.version >= IDLE
            && files.iter().any(|(file, value)| file == "cpu.idle" && value.trim() == "1");
        for (file, value) in files {
            // The kernel takes blanks around it.
            let value = value.trim();
            let bad = |what: &str| {
                Failure::because(
                    "cgroup.limits",
                    format!("unified: {file}"),
                    format!("{value:?} is no {what}"),
                )
            };
            let amount = |value: &str| match value {
                "max" => Ok(u64::MAX),
                _ => value.parse().map_err(|_| bad("number and not max")),
            };
            match file.as_str() {
                // systemd's way to say idle is a weight of nothing; there is none to say that it is not.
                "cpu.idle" if idle => self.push("CPUWeight", 0),
                "cpu.weight" if !idle => {
                    let weight: u64 = value.parse().map_err(|_| bad("number"))?;
                    self.push("CPUWeight", weight);
                }
                "cpu.max" => {
                    let mut parts = value.split_ascii_whitespace();
                    let quota = match parts.next() {
                        Some("max") => Amount::Max,
                        Some(quota) => Amount::Of(quota.parse().map_err(|_| bad("quota and period"))?),
                        None => return Err(bad("quota and period")),
                    };
                    let period = parts.next().unwrap_or("100000");
                    let period = period.parse().ok().filter(|period| *period > 0 && parts.next().is_none());
                    self.quota(Some(quota), Some(period.ok_or_else(|| bad("quota and period"))?));
                }
                "cpuset.cpus" | "cpuset.mems" => {
                    let name = if file == "cpuset.cpus" { "AllowedCPUs" } else { "AllowedMemoryNodes" };
                    if bitmask(value).is_none() {
                        return Err(bad("list of numbers").hint("such as 0-2,5"));
                    }
                    self.cpuset(name, Some(value));
                }
                "memory.max" => self.push("MemoryMax", amount(value)?),
                "memory.low" => self.push("MemoryLow", amount(value)?),
                "memory.min" => self.push("MemoryMin", amount(value)?),
                "memory.high" => self.push("MemoryHigh", amount(value)?),
                "memory.swap.max" => self.push("MemorySwapMax", amount(value)?),
                // A unit without any task cannot be: systemd takes no zero.
                "pids.max" => self.push("TasksMax", amount(value)?.max(1)),
                "memory.oom.group" if self.version >= OOM_POLICY => match value {
                    "0" => self.push("OOMPolicy", "continue"),
                    "1" => self.push("OOMPolicy", "kill"),
                    _ => {}
                },
                _ => {}
            }
        }
        Ok(())
    }
}

/// The most processors that any kernel is built for, and memory nodes are fewer: what names more is refused by its
/// file, and no mask is made of it.
const MOST: u32 = 1 << 16;

/// `1,3-5` as systemd wants sets of processors and of memory nodes: bit 0 of byte 0 is number 0. None where it is no
/// list.
fn bitmask(list: &str) -> Option<Vec<u8>> {
    let ranges = parse_list(list.trim())?;
    let count = ranges.last().map_or(0, |(_, last)| last.saturating_add(1));
    if count > MOST {
        return None;
    }
    let mut bytes = vec![0; count.div_ceil(8) as usize];
    for number in ranges.into_iter().flat_map(|(first, last)| first..=last) {
        bytes[number as usize / 8] |= 1 << (number % 8);
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hierarchies::tests::{hybrid, unified};
    use crate::limits::{Cpu, Io, Memory, Swap};

    fn told(h: &Hierarchies, limits: &Limits, version: u32) -> Vec<String> {
        shown(&translate(h, limits, version).unwrap().properties)
    }

    /// `MemoryMax t 5`.
    fn shown(properties: &[Property]) -> Vec<String> {
        let one = |property: &Property| {
            let mut words = vec![property.name.clone(), property.value.kind().to_string()];
            property.value.words(&mut words);
            words.join(" ")
        };
        properties.iter().map(one).collect()
    }

    fn usual() -> Limits {
        let swap = Swap { with_memory: Amount::Of(300), alone: Amount::Of(100), implied: false };
        Limits {
            memory: Memory {
                limit: Some(Amount::Of(200)),
                reservation: Some(Amount::Of(50)),
                swap: Some(swap),
                ..Memory::default()
            },
            cpu: Cpu {
                shares: Some(Shares(1024)),
                quota: Some(Amount::Of(50_000)),
                period: Some(200_000),
                ..Cpu::default()
            },
            cpus: Some("0-1,9".into()),
            mems: Some("0".into()),
            pids: Some(Amount::Of(64)),
            io: Io { weight: Some(1000), ..Io::default() },
            ..Limits::default()
        }
    }

    #[test]
    fn words_of_version_2() {
        assert_eq!(
            told(&unified(), &usual(), 252),
            [
                "MemoryMax t 200",
                "MemoryLow t 50",
                "MemorySwapMax t 100",
                "CPUWeight t 100",
                "CPUQuotaPeriodUSec t 200000",
                "CPUQuotaPerSecUSec t 250000",
                "AllowedCPUs ay 2 3 2",
                "AllowedMemoryNodes ay 1 1",
                "IOWeight t 10000",
                "TasksMax t 64",
            ]
        );
    }

    #[test]
    fn words_of_version_1() {
        assert_eq!(
            told(&hybrid(), &usual(), 252),
            [
                "MemoryLimit t 200",
                "CPUShares t 1024",
                "CPUQuotaPeriodUSec t 200000",
                "CPUQuotaPerSecUSec t 250000",
                "AllowedCPUs ay 2 3 2",
                "AllowedMemoryNodes ay 1 1",
                "BlockIOWeight t 1000",
                "TasksMax t 64",
            ]
        );
    }

    #[test]
    fn no_limit_is_the_largest_number() {
        let swap = Swap { with_memory: Amount::Max, alone: Amount::Max, implied: true };
        let memory = Memory {
            limit: Some(Amount::Max),
            reservation: Some(Amount::Max),
            swap: Some(swap),
            ..Memory::default()
        };
        let limits = Limits {
            memory,
            cpu: Cpu { quota: Some(Amount::Max), ..Cpu::default() },
            pids: Some(Amount::Max),
            ..Limits::default()
        };
        let max = u64::MAX;
        assert_eq!(
            told(&unified(), &limits, 252),
            [
                format!("MemoryMax t {max}"),
                "MemoryLow t 0".into(),
                format!("MemorySwapMax t {max}"),
                format!("CPUQuotaPerSecUSec t {max}"),
                format!("TasksMax t {max}"),
            ]
        );
        assert_eq!(told(&unified(), &Limits::default(), 252), [""; 0]);
    }

    #[test]
    fn quotas_are_rounded_up_to_a_percent_here_and_in_the_files() {
        for (quota, period, told, kept) in [
            (50_000, Some(100_000), 500_000, 50_000),
            (50_001, Some(100_000), 510_000, 51_000),
            (33_333, None, 340_000, 34_000),
            (1_000, Some(1_000_000), 10_000, 10_000),
            (1_000, Some(33_333), 30_000, 1_000),
        ] {
            let cpu = Cpu { quota: Some(Amount::Of(quota)), period, ..Cpu::default() };
            let translation = translate(&unified(), &Limits { cpu, ..Limits::default() }, 252).unwrap();
            let last = shown(&translation.properties).pop().unwrap();
            assert_eq!(last, format!("CPUQuotaPerSecUSec t {told}"), "{quota} of {period:?}");
            assert_eq!(translation.limits.cpu.quota, Some(Amount::Of(kept)), "{quota} of {period:?}");
        }
        let cpu = Cpu { quota: Some(Amount::Of(u64::MAX)), ..Cpu::default() };
        let limits = Limits { cpu, ..Limits::default() };
        assert_eq!(told(&unified(), &limits, 252), [format!("CPUQuotaPerSecUSec t {}", u64::MAX)]);
        let cpu = Cpu { period: Some(50_000), ..Cpu::default() };
        let only_period = ["CPUQuotaPeriodUSec t 50000".into(), format!("CPUQuotaPerSecUSec t {}", u64::MAX)];
        assert_eq!(told(&unified(), &Limits { cpu, ..Limits::default() }, 252), only_period);
    }

    #[test]
    fn an_older_systemd_is_told_what_it_knows() {
        let mut limits = usual();
        limits.cpu =
            Cpu { idle: Some(true), period: Some(200_000), quota: Some(Amount::Of(1)), ..Cpu::default() };
        let names = |version: u32| -> Vec<String> {
            let properties = translate(&unified(), &limits, version).unwrap().properties;
            properties.into_iter().map(|property| property.name).filter(|name| name.contains("CPU")).collect()
        };
        assert_eq!(names(252), ["CPUWeight", "CPUQuotaPeriodUSec", "CPUQuotaPerSecUSec", "AllowedCPUs"]);
        assert_eq!(names(251), ["CPUQuotaPeriodUSec", "CPUQuotaPerSecUSec", "AllowedCPUs"]);
        assert_eq!(names(243), ["CPUQuotaPeriodUSec", "CPUQuotaPerSecUSec"]);
        assert_eq!(names(241), ["CPUQuotaPerSecUSec"]);
    }

    fn files(files: &[(&str, &str)]) -> Limits {
        let unified = files.iter().map(|(file, value)| ((*file).to_owned(), (*value).to_owned())).collect();
        Limits { unified, ..Limits::default() }
    }

    #[test]
    fn files_that_have_a_property() {
        let max = u64::MAX;
        for (file, value, property) in [
            ("cpu.idle", "1", "CPUWeight t 0".to_owned()),
            ("cpu.weight", " 50\n", "CPUWeight t 50".into()),
            ("cpuset.cpus", "0-3,32-33", "AllowedCPUs ay 5 15 0 0 0 3".into()),
            ("cpuset.mems", "1", "AllowedMemoryNodes ay 1 2".into()),
            ("memory.max", "max", format!("MemoryMax t {max}")),
            ("memory.low", "5", "MemoryLow t 5".into()),
            ("memory.min", "6", "MemoryMin t 6".into()),
            ("memory.high", "7", "MemoryHigh t 7".into()),
            ("memory.swap.max", "0", "MemorySwapMax t 0".into()),
            ("pids.max", "0", "TasksMax t 1".into()),
            ("pids.max", "max", format!("TasksMax t {max}")),
            ("memory.oom.group", "1", "OOMPolicy s kill".into()),
        ] {
            assert_eq!(told(&unified(), &files(&[(file, value)]), 253), [property], "{file}");
        }
        let period = "CPUQuotaPeriodUSec t 100000".to_owned();
        for (value, quota) in [("max", max), ("50000", 500_000), ("12345 100000", 130_000)] {
            let expected = [period.clone(), format!("CPUQuotaPerSecUSec t {quota}")];
            assert_eq!(told(&unified(), &files(&[("cpu.max", value)]), 252), expected);
        }
        for (file, value) in
            [("cpu.idle", "0"), ("hugetlb.2MB.max", "0"), ("io.max", "8:0 rbps=1"), ("cpuset.cpus", "")]
        {
            assert_eq!(told(&unified(), &files(&[(file, value)]), 252), [""; 0], "{file}");
        }
        assert_eq!(told(&unified(), &files(&[("memory.oom.group", "1")]), 252), [""; 0]);
        let both = files(&[("cpu.idle", "1"), ("cpu.weight", "50")]);
        assert_eq!(told(&unified(), &both, 252), ["CPUWeight t 0"], "an idle group has no weight");
        let raw = Limits { raw: vec![("pids.max".into(), "7".into())], ..Limits::default() };
        assert_eq!(told(&unified(), &raw, 252), ["TasksMax t 7"]);
        assert_eq!(told(&hybrid(), &raw, 252), [""; 0]);
    }

    #[test]
    fn values_that_are_none_are_named() {
        for (file, value) in [
            ("cpu.weight", "x"),
            ("cpu.max", ""),
            ("cpu.max", "1 2 3"),
            ("cpu.max", "5 0"),
            ("cpu.max", "-1"),
            ("cpuset.cpus", "3-1"),
            ("cpuset.cpus", "0-4294967295"),
            ("memory.max", "5M"),
            ("pids.max", "-1"),
        ] {
            let failure = translate(&unified(), &files(&[(file, value)]), 252).unwrap_err();
            assert_eq!(failure.target, format!("unified: {file}"));
            assert!(failure.to_string().contains(&format!("{value:?}")), "{failure}");
        }
    }

    #[test]
    fn sets_as_bits() {
        // The table of opencontainers/cgroups' own tests.
        for (list, bytes) in [
            ("0", &[1][..]),
            ("1", &[2]),
            ("0,1", &[3]),
            ("0-15", &[0xff, 0xff]),
            ("16", &[0, 0, 1]),
            ("0-3,32-33", &[0x0f, 0, 0, 0, 3]),
            ("1, 2, 1-2", &[6]),
            ("128-130,1", &[2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 7]),
            ("", &[]),
        ] {
            assert_eq!(bitmask(list).as_deref(), Some(bytes), "{list}");
        }
        for bad in ["-", "1-", "54-53", "1 - 2", "70000", "4294967295"] {
            assert_eq!(bitmask(bad), None, "{bad}");
        }
    }
}
