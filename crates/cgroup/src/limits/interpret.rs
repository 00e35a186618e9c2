//! The OCI's numbers as limits: what 0, -1 and the sum of memory and swap stand for, and which numbers are none.
//! Source: runtime-spec, config-linux.md, "Control groups"; where it is silent, what runc and crun do.

use ::step::Failure;
use oci::spec::{LinuxBlockIo, LinuxCpu, LinuxMemory, LinuxNetwork, LinuxResources, LinuxThrottleDevice};

use super::*;

impl Limits {
    /// Interprets the OCI's numbers. Errors name the field and what it may hold.
    pub fn from_oci(resources: &LinuxResources) -> Result<Self, Failure> {
        let mut limits = Self::default();
        if let Some(memory) = resources.memory() {
            limits.memory = self::memory(memory)?;
        }
        if let Some(cpu) = resources.cpu() {
            limits.cpu = self::cpu(cpu)?;
            limits.cpus = list("cpu.cpus", cpu.cpus().as_deref())?;
            limits.mems = list("cpu.mems", cpu.mems().as_deref())?;
        }
        if let Some(pids) = resources.pids() {
            limits.pids = Some(self::pids(pids.limit())?);
        }
        if let Some(io) = resources.block_io() {
            limits.io = self::io(io)?;
        }
        for page in resources.hugepage_limits().iter().flatten() {
            let limit = match page.limit() {
                -1 => Amount::Max,
                bytes => Amount::Of(not_negative("hugepageLimits.limit", bytes)?),
            };
            limits.hugetlb.push((page_size(page.page_size())?, limit));
        }
        if let Some(network) = resources.network() {
            (limits.net_class, limits.net_priorities) = self::network(network)?;
        }
        for (device, rdma) in resources.rdma().iter().flatten() {
            let device = one_word("rdma", device)?;
            limits.rdma.push(Rdma { device, handles: rdma.hca_handles(), objects: rdma.hca_objects() });
        }
        limits.rdma.sort_by(|a, b| a.device.cmp(&b.device));
        for rule in resources.devices().iter().flatten() {
            limits.devices.push(Rule::from_oci(rule)?);
        }
        limits.unified =
            resources.unified().iter().flatten().map(|(file, value)| (file.clone(), value.clone())).collect();
        // A map has no order; the same specification must give the same plan.
        limits.unified.sort();
        limits.unified.iter().try_for_each(|(file, _)| file_name("unified", file).map(|_| ()))?;
        Ok(limits)
    }
}

fn memory(memory: &LinuxMemory) -> Result<Memory, Failure> {
    let limit = amount("memory.limit", memory.limit())?;
    let reservation = amount("memory.reservation", memory.reservation())?;
    if let (Some(Amount::Of(limit)), Some(Amount::Of(reserved))) = (limit, reservation)
        && reserved > limit
    {
        let reason = format!("{reserved} is more than memory.limit, {limit}");
        return Err(invalid("memory.reservation", reason).hint("reserve at most what the limit allows"));
    }
    let swappiness = memory.swappiness();
    if let Some(more @ 101..) = swappiness {
        return Err(invalid("memory.swappiness", format!("{more} is not between 0 and 100")));
    }
    if memory.use_hierarchy() == Some(false) {
        let reason = "memory is always accounted to the groups above, since Linux 5.11 and in cgroup v2";
        return Err(invalid("memory.useHierarchy", reason).hint("leave it out, or true"));
    }
    // memory.kernel is not read: no kernel since 5.16 has that limit, and the specification tells runtimes so.
    Ok(Memory {
        limit,
        reservation,
        swap: swap(limit, amount("memory.swap", memory.swap())?)?,
        swappiness,
        kernel_tcp: amount("memory.kernelTCP", memory.kernel_tcp())?,
        oom_kill_disable: memory.disable_oom_killer(),
        check_before_update: memory.check_before_update().unwrap_or(false),
    })
}

/// The OCI's number is memory and swap together, as in v1.
fn swap(limit: Option<Amount>, together: Option<Amount>) -> Result<Option<Swap>, Failure> {
    let without = Swap { with_memory: Amount::Max, alone: Amount::Max, implied: false };
    Ok(Some(match (limit, together) {
        // In v1, memory without a limit is only possible with swap without one.
        (Some(Amount::Max), None) => Swap { implied: true, ..without },
        (_, None) => return Ok(None),
        (_, Some(Amount::Max)) => without,
        (Some(Amount::Of(limit)), Some(Amount::Of(together))) if together >= limit => {
            Swap { with_memory: Amount::Of(together), alone: Amount::Of(together - limit), implied: false }
        }
        (Some(Amount::Of(limit)), Some(Amount::Of(together))) => {
            let reason =
                format!("{together} is memory and swap together and less than memory.limit, {limit}");
            return Err(
                invalid("memory.swap", reason).hint("give the sum of both, or -1 for swap without a limit")
            );
        }
        (_, Some(Amount::Of(_))) => {
            let reason = "swap has a limit and memory has none";
            return Err(invalid("memory.swap", reason).hint("give memory.limit too"));
        }
    }))
}

fn cpu(cpu: &LinuxCpu) -> Result<Cpu, Failure> {
    let shares = match cpu.shares() {
        None | Some(0) => None,
        // The kernel would take other numbers and keep the nearest of these without a word.
        Some(shares @ 2..=262_144) => Some(Shares(shares)),
        Some(shares) => return Err(invalid("cpu.shares", format!("{shares} is not between 2 and 262144"))),
    };
    let period = match cpu.period() {
        None | Some(0) => None,
        Some(period @ 1_000..=1_000_000) => Some(period),
        Some(period) => {
            return Err(invalid("cpu.period", format!("{period} us is not between 1000 and 1000000")));
        }
    };
    let quota = match cpu.quota() {
        None | Some(0) => None,
        Some(..0) => Some(Amount::Max),
        Some(quota @ 1_000..) => Some(Amount::Of(quota.unsigned_abs())),
        Some(quota) => {
            let reason = format!("{quota} us is less than 1000, the least that the kernel takes");
            return Err(invalid("cpu.quota", reason).hint("raise quota and period by the same factor"));
        }
    };
    if let (Some(Amount::Of(quota)), Some(burst)) = (quota, cpu.burst())
        && burst > quota
    {
        return Err(invalid("cpu.burst", format!("{burst} us is more than cpu.quota, {quota} us")));
    }
    let idle = match cpu.idle() {
        None => None,
        Some(0) => Some(false),
        Some(1) => Some(true),
        Some(other) => return Err(invalid("cpu.idle", format!("{other} is neither 0 nor 1"))),
    };
    if idle == Some(true) && shares.is_some() {
        let reason = "an idle group has no shares: the kernel takes one or the other";
        return Err(invalid("cpu.idle", reason).hint("leave out cpu.shares or cpu.idle"));
    }
    Ok(Cpu {
        shares,
        quota,
        period,
        burst: cpu.burst(),
        idle,
        realtime_period: cpu.realtime_period().filter(|period| *period != 0),
        realtime_runtime: cpu.realtime_runtime().filter(|runtime| *runtime != 0),
    })
}

/// Since runtime-spec 1.3 zero is a limit, -1 none, and "no wish" is the absence of `pids`; runc 1.4 does the same.
/// Zero is one: a group needs its first process, and Docker's 0 for "none" is the front's to translate.
fn pids(limit: i64) -> Result<Amount, Failure> {
    match limit {
        -1 => Ok(Amount::Max),
        // PID_MAX_LIMIT, include/linux/threads.h: the kernel refuses more.
        0..=4_194_304 => Ok(Amount::Of(limit.max(1).unsigned_abs())),
        _ => Err(invalid("pids.limit", format!("{limit} is not between 0 and 4194304"))
            .hint("-1 stands for no limit")),
    }
}

fn io(io: &LinuxBlockIo) -> Result<Io, Failure> {
    let mut devices = Vec::new();
    for device in io.weight_device().iter().flatten() {
        let weight = weight("blockIO.weightDevice.weight", device.weight())?;
        let leaf_weight = self::weight("blockIO.weightDevice.leafWeight", device.leaf_weight())?;
        let device = number("blockIO.weightDevice", device.major(), device.minor())?;
        if weight.is_none() && leaf_weight.is_none() {
            let reason = format!("no weight is given for the device {}:{}", device.0, device.1);
            return Err(invalid("blockIO.weightDevice", reason));
        }
        match devices.iter_mut().find(|known: &&mut DeviceWeight| known.device == device) {
            // Named twice: the last word counts.
            Some(known) => {
                known.weight = weight.or(known.weight);
                known.leaf_weight = leaf_weight.or(known.leaf_weight);
            }
            None => devices.push(DeviceWeight { device, weight, leaf_weight }),
        }
    }
    let mut rates: Vec<Rate> = Vec::new();
    let mut add = |of, name, list: &Option<Vec<LinuxThrottleDevice>>| -> Result<(), Failure> {
        for device in list.iter().flatten() {
            // The kernel's word for "no limit" in v1 is 0.
            let rate = if device.rate() == 0 { Amount::Max } else { Amount::Of(device.rate()) };
            let device = number(name, device.major(), device.minor())?;
            match rates.iter_mut().find(|known| known.device == device && known.of == of) {
                Some(known) => known.rate = rate,
                None => rates.push(Rate { device, of, rate }),
            }
        }
        Ok(())
    };
    add(Throttle::ReadBytes, "blockIO.throttleReadBpsDevice", io.throttle_read_bps_device())?;
    add(Throttle::WriteBytes, "blockIO.throttleWriteBpsDevice", io.throttle_write_bps_device())?;
    add(Throttle::ReadOperations, "blockIO.throttleReadIOPSDevice", io.throttle_read_iops_device())?;
    add(Throttle::WriteOperations, "blockIO.throttleWriteIOPSDevice", io.throttle_write_iops_device())?;
    Ok(Io {
        weight: weight("blockIO.weight", io.weight())?,
        leaf_weight: weight("blockIO.leafWeight", io.leaf_weight())?,
        devices,
        rates,
    })
}

type Priorities = Vec<(String, u32)>;

fn network(network: &LinuxNetwork) -> Result<(Option<u32>, Priorities), Failure> {
    let mut priorities = Vec::new();
    for wish in network.priorities().iter().flatten() {
        priorities.push((one_word("network.priorities", wish.name())?, wish.priority()));
    }
    Ok((network.class_id(), priorities))
}

/// Zero is "no wish", as every runtime takes it; -1 is "no limit".
fn amount(field: &'static str, number: Option<i64>) -> Result<Option<Amount>, Failure> {
    match number {
        None | Some(0) => Ok(None),
        Some(-1) => Ok(Some(Amount::Max)),
        Some(number) => not_negative(field, number).map(|number| Some(Amount::Of(number))),
    }
}

fn not_negative(field: &'static str, number: i64) -> Result<u64, Failure> {
    u64::try_from(number)
        .map_err(|_| invalid(field, format!("{number} is negative")).hint("-1 stands for no limit"))
}

fn weight(field: &'static str, weight: Option<u16>) -> Result<Option<u64>, Failure> {
    match weight {
        None | Some(0) => Ok(None),
        Some(weight @ 10..=1_000) => Ok(Some(u64::from(weight))),
        Some(weight) => Err(invalid(field, format!("{weight} is not between 10 and 1000"))),
    }
}

fn number(field: &'static str, major: i64, minor: i64) -> Result<(u64, u64), Failure> {
    Ok((not_negative(field, major)?, not_negative(field, minor)?))
}

fn list(field: &'static str, list: Option<&str>) -> Result<Option<String>, Failure> {
    match list.map(str::trim) {
        None | Some("") => Ok(None),
        Some(list) if parse_list(list).is_some() => Ok(Some(list.to_owned())),
        Some(list) => Err(invalid(field, format!("{list:?} is no list of numbers")).hint("such as 0-2,5")),
    }
}

/// `2MB`, `1GB`, `64KB`: as the kernel names its files.
fn page_size(text: &str) -> Result<String, Failure> {
    let digits = text.trim_end_matches(|c: char| c.is_ascii_uppercase());
    let known = matches!(&text[digits.len()..], "KB" | "MB" | "GB");
    if known && !digits.is_empty() && digits.chars().all(|c| c.is_ascii_digit()) {
        return Ok(text.to_owned());
    }
    let reason = format!("{text:?} is no size of a page");
    Err(invalid("hugepageLimits.pageSize", reason).hint("such as 2MB or 1GB: see /sys/kernel/mm/hugepages"))
}

fn one_word(field: &'static str, text: &str) -> Result<String, Failure> {
    if text.is_empty() || text.chars().any(|c| c.is_whitespace() || c.is_control()) {
        return Err(invalid(field, format!("{text:?} is no name")));
    }
    Ok(text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use oci::spec::{LinuxCpuBuilder, LinuxMemoryBuilder, LinuxPidsBuilder, LinuxResourcesBuilder};

    fn with_memory(memory: LinuxMemoryBuilder) -> Result<Limits, Failure> {
        let resources = LinuxResourcesBuilder::default().memory(memory.build().unwrap()).build().unwrap();
        Limits::from_oci(&resources)
    }

    fn with_cpu(cpu: LinuxCpuBuilder) -> Result<Limits, Failure> {
        Limits::from_oci(&LinuxResourcesBuilder::default().cpu(cpu.build().unwrap()).build().unwrap())
    }

    #[test]
    fn zero_is_no_wish_and_minus_one_no_limit() {
        assert_eq!(
            with_memory(LinuxMemoryBuilder::default().limit(0i64).swap(0i64)).unwrap(),
            Limits::default()
        );
        let limits = with_memory(LinuxMemoryBuilder::default().limit(-1i64)).unwrap();
        assert_eq!(limits.memory.limit, Some(Amount::Max));
        let swap = Swap { with_memory: Amount::Max, alone: Amount::Max, implied: true };
        assert_eq!(limits.memory.swap, Some(swap));
        let failure = with_memory(LinuxMemoryBuilder::default().limit(-2i64)).unwrap_err();
        assert_eq!(failure.to_string(), "cgroup.limits on memory.limit: -2 is negative");
    }

    #[test]
    fn swap_is_given_together_with_memory() {
        let limits =
            with_memory(LinuxMemoryBuilder::default().limit(100i64 << 20).swap(150i64 << 20)).unwrap();
        let swap = Swap { with_memory: Amount::Of(150 << 20), alone: Amount::Of(50 << 20), implied: false };
        assert_eq!(limits.memory.swap, Some(swap));
        let limits = with_memory(LinuxMemoryBuilder::default().limit(5000i64).swap(-1i64)).unwrap();
        assert_eq!(limits.memory.swap.unwrap().alone, Amount::Max);
        assert!(with_memory(LinuxMemoryBuilder::default().limit(5000i64).swap(4999i64)).is_err());
        assert!(with_memory(LinuxMemoryBuilder::default().swap(4999i64)).is_err());
        assert!(with_memory(LinuxMemoryBuilder::default().limit(-1i64).swap(4999i64)).is_err());
    }

    #[test]
    fn memory_that_contradicts_itself_is_refused() {
        assert!(with_memory(LinuxMemoryBuilder::default().limit(5000i64).reservation(5001i64)).is_err());
        assert!(with_memory(LinuxMemoryBuilder::default().swappiness(101u64)).is_err());
        assert!(with_memory(LinuxMemoryBuilder::default().use_hierarchy(false)).is_err());
        let limits =
            with_memory(LinuxMemoryBuilder::default().use_hierarchy(true).disable_oom_killer(false)).unwrap();
        assert_eq!(limits.asks(Controller::Memory), None, "the defaults ask for nothing");
    }

    #[test]
    fn processor_time_within_the_kernels_bounds() {
        let limits = with_cpu(LinuxCpuBuilder::default().quota(-5i64).period(0u64).shares(0u64)).unwrap();
        assert_eq!((limits.cpu.quota, limits.cpu.period, limits.cpu.shares), (Some(Amount::Max), None, None));
        for bad in [
            LinuxCpuBuilder::default().quota(999i64),
            LinuxCpuBuilder::default().period(999u64),
            LinuxCpuBuilder::default().period(1_000_001u64),
            LinuxCpuBuilder::default().shares(1u64),
            LinuxCpuBuilder::default().shares(262_145u64),
            LinuxCpuBuilder::default().quota(2_000i64).burst(2_001u64),
            LinuxCpuBuilder::default().idle(2i64),
            LinuxCpuBuilder::default().idle(1i64).shares(5u64),
            LinuxCpuBuilder::default().cpus("0-"),
        ] {
            let bad = bad.build().unwrap();
            assert!(self::cpu(&bad).is_err() || list("cpu.cpus", bad.cpus().as_deref()).is_err(), "{bad:?}");
        }
        assert_eq!(with_cpu(LinuxCpuBuilder::default().cpus("")).unwrap().cpus, None);
    }

    #[test]
    fn of_a_device_named_twice_the_last_word_counts() {
        use oci::spec::{LinuxBlockIoBuilder, LinuxThrottleDeviceBuilder, LinuxWeightDeviceBuilder};
        let rate =
            |rate: u64| LinuxThrottleDeviceBuilder::default().major(8).minor(0).rate(rate).build().unwrap();
        let weight = |weight: u16| LinuxWeightDeviceBuilder::default().major(8).minor(0).weight(weight);
        let io = LinuxBlockIoBuilder::default()
            .throttle_read_bps_device(vec![rate(5), rate(6)])
            .throttle_write_bps_device(vec![rate(7)])
            .weight_device(vec![weight(20).leaf_weight(30u16).build().unwrap(), weight(40).build().unwrap()])
            .build()
            .unwrap();
        let io = self::io(&io).unwrap();
        let rate = |of, rate| Rate { device: (8, 0), of, rate: Amount::Of(rate) };
        assert_eq!(io.rates, [rate(Throttle::ReadBytes, 6), rate(Throttle::WriteBytes, 7)]);
        assert_eq!(io.devices, [DeviceWeight { device: (8, 0), weight: Some(40), leaf_weight: Some(30) }]);
    }

    #[test]
    fn zero_tasks_are_one() {
        for (limit, expected) in
            [(-1, Amount::Max), (0, Amount::Of(1)), (1, Amount::Of(1)), (64, Amount::Of(64))]
        {
            let pids = LinuxPidsBuilder::default().limit(limit).build().unwrap();
            let resources = LinuxResourcesBuilder::default().pids(pids).build().unwrap();
            assert_eq!(Limits::from_oci(&resources).unwrap().pids, Some(expected));
        }
        assert!(pids(-2).is_err() && pids(4_194_305).is_err());
        assert_eq!(Limits::from_oci(&LinuxResources::default()).unwrap(), Limits::default());
    }

    #[test]
    fn sizes_of_pages_are_those_of_the_kernels_files() {
        assert!(page_size("2MB").is_ok() && page_size("64KB").is_ok());
        for bad in ["2M", "MB", "2MB/..", "2mb", "", "-2MB"] {
            assert!(page_size(bad).is_err(), "{bad}");
        }
    }
}
