//! The layout of cgroup v1: which file takes which value, in which order, and why. Pure.
//! Source: Documentation/admin-guide/cgroup-v1/ and, where it is silent, the kernel's code.

use ::step::Failure;

use crate::check::Expect;
use crate::devices;
use crate::hierarchies::Controller;
use crate::limits::{Amount, Limits, Throttle};
use crate::write::{Missing, Purpose, Write};

/// The writes for one controller.
pub(crate) fn writes(
    controller: Controller,
    limits: &Limits,
    purpose: &Purpose,
) -> Result<Vec<Write>, Failure> {
    Ok(match controller {
        Controller::Memory => memory(limits, purpose),
        Controller::Cpu => cpu(limits, purpose),
        Controller::Cpuset => cpuset(limits),
        Controller::Pids => limits.pids.map(pids).into_iter().collect(),
        Controller::Io => io(limits),
        Controller::Hugetlb => {
            limits.hugetlb.iter().flat_map(|(size, limit)| hugetlb(size, *limit)).collect()
        }
        Controller::NetCls => limits.net_class.map(net_class).into_iter().collect(),
        Controller::NetPrio => net_priorities(limits),
        Controller::Rdma => crate::v2::rdma(limits),
        Controller::Devices => devices(limits)?,
    })
}

/// A limit in bytes; -1 is the word for none.
fn amount(amount: Amount) -> String {
    match amount {
        Amount::Max => "-1".to_owned(),
        Amount::Of(number) => number.to_string(),
    }
}

fn memory(limits: &Limits, purpose: &Purpose) -> Vec<Write> {
    let asked = &limits.memory;
    let limit = asked.limit.map(|limit| {
        Write::new("memory.limit_in_bytes", amount(limit), "hard limit of memory", Expect::bytes(limit))
    });
    let swap = asked.swap.map(|swap| {
        let expect = Expect::bytes(swap.with_memory);
        let why = "hard limit of memory and swap together";
        let write = Write::new("memory.memsw.limit_in_bytes", amount(swap.with_memory), why, expect);
        if swap.implied || swap.with_memory == Amount::Max {
            // A kernel that does not count swap has no limit to lift.
            write.or_skip()
        } else {
            write
                .or_fail("this kernel does not count swap: boot with swapaccount=1, or leave memory.swap out")
        }
    });
    let mut writes = Vec::new();
    // The kernel refuses (EINVAL) whatever makes memory more than memory and swap together, at any moment. A new
    // group has no limit of either: memory first. Raised above the present sum: the sum first.
    let sum_first = match (purpose, asked.limit) {
        (Purpose::Update(now), Some(Amount::Of(limit))) => now.memsw.is_some_and(|sum| limit > sum),
        (Purpose::Update(_), Some(Amount::Max)) => true,
        _ => false,
    };
    if sum_first {
        writes.extend(swap);
        writes.extend(limit);
    } else {
        writes.extend(limit);
        writes.extend(swap);
    }
    if let Some(reservation) = asked.reservation {
        let why = "what the group is pushed back to when memory is short";
        let expect = Expect::bytes(reservation);
        writes.push(Write::new("memory.soft_limit_in_bytes", amount(reservation), why, expect));
    }
    if let Some(tcp) = asked.kernel_tcp {
        let why = "hard limit of TCP buffers";
        writes.push(Write::new("memory.kmem.tcp.limit_in_bytes", amount(tcp), why, Expect::bytes(tcp)));
    }
    if let Some(swappiness) = asked.swappiness {
        let why = "how readily this group's memory is swapped";
        writes.push(Write::new("memory.swappiness", swappiness.to_string(), why, Expect::number(swappiness)));
    }
    // "No" is what a new group has.
    if let Some(disable) = asked.oom_kill_disable.filter(|disable| *disable || *purpose != Purpose::Create) {
        let (value, why) = (u64::from(disable), "whether processes wait for memory instead of being killed");
        let expect = Expect::Entry("oom_kill_disable".to_owned(), Amount::Of(value));
        writes.push(Write::new("memory.oom_control", value.to_string(), why, expect));
    }
    writes
}

fn cpu(limits: &Limits, purpose: &Purpose) -> Vec<Write> {
    let asked = &limits.cpu;
    let mut writes = Vec::new();
    let number = |file: &'static str, value: u64, why: &'static str| {
        Write::new(file, value.to_string(), why, Expect::number(value))
    };
    // An idle group takes no shares (EINVAL): what ends idleness comes before them.
    if let Some(idle) = asked.idle {
        let why = "whether the group runs only when nobody else wants to";
        writes.push(number("cpu.idle", u64::from(idle), why).or_fail("cpu.idle needs Linux 5.15 or newer"));
    }
    if let Some(shares) = asked.shares {
        writes.push(number("cpu.shares", shares.0, "share of the processors when they are short"));
    }
    let unset = |file: &'static str, value: &str, why: &'static str| Write {
        expect: None,
        ..Write::new(file, value, why, Expect::Words(Vec::new()))
    };
    if *purpose != Purpose::Create && asked.quota.is_some() {
        // Each step between old and new must be valid by itself: a burst is at most the quota, a period with the
        // old quota at most the parent's share.
        if asked.burst.is_some() {
            writes.push(unset("cpu.cfs_burst_us", "0", "no burst while the quota changes"));
        }
        if asked.period.is_some() {
            writes.push(unset("cpu.cfs_quota_us", "-1", "no quota while the period changes"));
        }
    }
    if let Some(period) = asked.period {
        writes.push(number("cpu.cfs_period_us", period, "the period that the quota is for"));
    }
    if let Some(quota) = asked.quota {
        let why = "processor time a period";
        writes.push(Write::new("cpu.cfs_quota_us", amount(quota), why, Expect::Words(vec![quota])));
    }
    if let Some(burst) = asked.burst {
        let write = number("cpu.cfs_burst_us", burst, "processor time that may be saved up");
        writes.push(write.or_fail("a burst needs Linux 5.14 or newer"));
    }
    const REALTIME: &str = "this kernel has no real-time groups (CONFIG_RT_GROUP_SCHED): leave the limit out";
    let period = asked.realtime_period.map(|period| {
        number("cpu.rt_period_us", period, "the period of real-time processes").or_fail(REALTIME)
    });
    // The kernel refuses (EINVAL) a runtime above the period and a share above the parent's, at any moment: whatever
    // lowers the share comes first.
    let longer = match (purpose, asked.realtime_period) {
        (Purpose::Update(now), Some(period)) => now.realtime_period.is_none_or(|now| period >= now),
        _ => true,
    };
    let (first, last) = if longer { (period, None) } else { (None, period) };
    writes.extend(first);
    if let Some(runtime) = asked.realtime_runtime {
        let expect = Expect::Words(vec![u64::try_from(runtime).map_or(Amount::Max, Amount::Of)]);
        let why = "time a period for real-time processes";
        writes.push(Write::new("cpu.rt_runtime_us", runtime.to_string(), why, expect).or_fail(REALTIME));
    }
    writes.extend(last);
    writes
}

/// Both versions name these files alike.
pub(crate) fn cpuset(limits: &Limits) -> Vec<Write> {
    let write = |file: &'static str, list: &Option<String>, why: &'static str| {
        list.as_ref().map(|list| Write::new(file, list.clone(), why, Expect::List(list.clone())))
    };
    let cpus = write("cpuset.cpus", &limits.cpus, "the processors that may be used");
    cpus.into_iter().chain(write("cpuset.mems", &limits.mems, "the memory nodes that may be used")).collect()
}

fn pids(limit: Amount) -> Write {
    crate::v2::pids(limit)
}

fn io(limits: &Limits) -> Vec<Write> {
    let asked = &limits.io;
    let mut writes = Vec::new();
    const NO_WEIGHTS: &str = "block devices have weights only under the scheduler BFQ (Linux 5.0 and newer): \
                              `modprobe bfq`, or leave the weight out";
    const NO_LEAVES: &str = "weights against one's own children left Linux with 5.0: leave the weight out";
    if let Some(weight) = asked.weight {
        let (why, expect) = ("share of the block devices when they are busy", Expect::number(weight));
        let cfq = Write::new("blkio.weight", weight.to_string(), why, expect.clone()).or_fail(NO_WEIGHTS);
        writes.push(Write::new("blkio.bfq.weight", weight.to_string(), why, expect).or_else(cfq));
    }
    if let Some(weight) = asked.leaf_weight {
        let why = "share of the block devices against the group's children";
        let write = Write::new("blkio.leaf_weight", weight.to_string(), why, Expect::number(weight));
        writes.push(write.or_fail(NO_LEAVES));
    }
    for device in &asked.devices {
        let name = format!("{}:{}", device.device.0, device.device.1);
        let entry = |file: &'static str, weight: u64, why: &'static str| {
            let expect = Expect::Entry(name.clone(), Amount::Of(weight));
            Write::new(file, format!("{name} {weight}"), why, expect)
        };
        if let Some(weight) = device.weight {
            let why = "share of this device when it is busy";
            let cfq = entry("blkio.weight_device", weight, why).or_fail(NO_WEIGHTS);
            writes.push(entry("blkio.bfq.weight_device", weight, why).or_else(cfq));
        }
        if let Some(weight) = device.leaf_weight {
            let why = "share of this device against the group's children";
            writes.push(entry("blkio.leaf_weight_device", weight, why).or_fail(NO_LEAVES));
        }
    }
    for rate in &asked.rates {
        let (file, why) = match rate.of {
            Throttle::ReadBytes => ("blkio.throttle.read_bps_device", "bytes read a second"),
            Throttle::WriteBytes => ("blkio.throttle.write_bps_device", "bytes written a second"),
            Throttle::ReadOperations => ("blkio.throttle.read_iops_device", "reads a second"),
            Throttle::WriteOperations => ("blkio.throttle.write_iops_device", "writes a second"),
        };
        let name = format!("{}:{}", rate.device.0, rate.device.1);
        // No limit is 0 here, and then the file has no line of the device.
        let number = if let Amount::Of(number) = rate.rate { number } else { 0 };
        let write = Write::new(file, format!("{name} {number}"), why, Expect::Entry(name, rate.rate));
        writes.push(write.or_fail("this kernel cannot throttle block devices (CONFIG_BLK_DEV_THROTTLING)"));
    }
    writes
}

fn hugetlb(size: &str, limit: Amount) -> [Write; 2] {
    let write = |file: String, why: &'static str| {
        let expect = Expect::Bytes { amount: limit, page: page_bytes(size) };
        Write::new(file, amount(limit), why, expect)
    };
    [
        write(format!("hugetlb.{size}.limit_in_bytes"), "huge pages in use")
            .or_fail("this machine has no huge pages of that size: see /sys/kernel/mm/hugepages"),
        // Older kernels (before 5.7) count no reservations.
        write(format!("hugetlb.{size}.rsvd.limit_in_bytes"), "huge pages reserved by mmap(2)").or_skip(),
    ]
}

/// The bytes of `2MB`.
pub(crate) fn page_bytes(size: &str) -> u64 {
    let digits = size.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let unit = match &size[digits.len()..] {
        "KB" => 1 << 10,
        "MB" => 1 << 20,
        "GB" => 1 << 30,
        _ => 1,
    };
    digits.parse::<u64>().unwrap_or(1).saturating_mul(unit)
}

fn net_class(class: u32) -> Write {
    let why = "the class that traffic control and nftables know its packets by";
    Write::new("net_cls.classid", class.to_string(), why, Expect::number(u64::from(class)))
}

fn net_priorities(limits: &Limits) -> Vec<Write> {
    let entry = |(interface, priority): &(String, u32)| {
        let expect = Expect::Entry(interface.clone(), Amount::Of(u64::from(*priority)));
        Write::new("net_prio.ifpriomap", format!("{interface} {priority}"), "priority of its packets", expect)
    };
    limits.net_priorities.iter().map(entry).collect()
}

fn devices(limits: &Limits) -> Result<Vec<Write>, Failure> {
    if !devices::restricts(&limits.devices) {
        return Ok(Vec::new());
    }
    let table = devices::table(&limits.devices)?;
    let list = |file: &str, value: String, why: &'static str, expect: Option<Expect>| Write {
        file: file.to_owned(),
        value,
        why: why.into(),
        missing: Missing::Fail("the devices controller of this kernel lacks its files: see /proc/cgroups"),
        expect,
    };
    if table.allow {
        // What a new group has by default is the parent's; the kernel prints no exceptions of this kind.
        return Ok(vec![list("devices.deny", table.exceptions.join("\n"), "refuse these devices", None)]);
    }
    let mut writes = vec![list("devices.deny", "a".to_owned(), "refuse all devices", None)];
    if !table.exceptions.is_empty() {
        let (value, why) = (table.exceptions.join("\n"), "allow these devices");
        writes.push(list("devices.allow", value, why, Some(Expect::Lines(table.exceptions))));
    }
    Ok(writes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits::{Cpu, DeviceWeight, Io, Memory, Rate, Shares, Swap};
    use crate::write::Now;

    pub(crate) fn lines(writes: &[Write]) -> Vec<String> {
        writes.iter().map(|write| format!("{} {}", write.file, write.value)).collect()
    }

    fn of(controller: Controller, limits: &Limits, purpose: &Purpose) -> Vec<String> {
        lines(&writes(controller, limits, purpose).unwrap())
    }

    fn memory_of(limit: Amount, sum: Amount) -> Limits {
        let swap = Swap { with_memory: sum, alone: Amount::Max, implied: false };
        Limits {
            memory: Memory { limit: Some(limit), swap: Some(swap), ..Memory::default() },
            ..Limits::default()
        }
    }

    #[test]
    fn memory_and_the_sum_in_the_order_that_the_kernel_allows() {
        let limits = memory_of(Amount::Of(200), Amount::Of(300));
        let memory_first = ["memory.limit_in_bytes 200", "memory.memsw.limit_in_bytes 300"];
        let sum_first = ["memory.memsw.limit_in_bytes 300", "memory.limit_in_bytes 200"];
        assert_eq!(of(Controller::Memory, &limits, &Purpose::Create), memory_first);
        let now = |memsw| Purpose::Update(Now { memsw: Some(memsw), ..Now::default() });
        assert_eq!(of(Controller::Memory, &limits, &now(150)), sum_first, "raising");
        assert_eq!(of(Controller::Memory, &limits, &now(400)), memory_first, "lowering");
        let endless = memory_of(Amount::Max, Amount::Max);
        assert_eq!(
            of(Controller::Memory, &endless, &now(400)),
            ["memory.memsw.limit_in_bytes -1", "memory.limit_in_bytes -1"]
        );
    }

    #[test]
    fn all_of_memory() {
        let memory = Memory {
            reservation: Some(Amount::Of(100)),
            swappiness: Some(0),
            kernel_tcp: Some(Amount::Of(50)),
            oom_kill_disable: Some(true),
            ..Memory::default()
        };
        let mut limits = Limits { memory, ..Limits::default() };
        assert_eq!(
            of(Controller::Memory, &limits, &Purpose::Create),
            [
                "memory.soft_limit_in_bytes 100",
                "memory.kmem.tcp.limit_in_bytes 50",
                "memory.swappiness 0",
                "memory.oom_control 1"
            ]
        );
        limits.memory = Memory { oom_kill_disable: Some(false), ..Memory::default() };
        assert_eq!(of(Controller::Memory, &limits, &Purpose::Create), [""; 0]);
        assert_eq!(
            of(Controller::Memory, &limits, &Purpose::Update(Now::default())),
            ["memory.oom_control 0"]
        );
    }

    #[test]
    fn processor_time() {
        let cpu = Cpu {
            shares: Some(Shares(512)),
            quota: Some(Amount::Of(50_000)),
            period: Some(100_000),
            burst: Some(1_000),
            idle: Some(false),
            realtime_period: Some(1_000_000),
            realtime_runtime: Some(950_000),
        };
        let limits = Limits { cpu, ..Limits::default() };
        let plain = [
            "cpu.idle 0",
            "cpu.shares 512",
            "cpu.cfs_period_us 100000",
            "cpu.cfs_quota_us 50000",
            "cpu.cfs_burst_us 1000",
            "cpu.rt_period_us 1000000",
            "cpu.rt_runtime_us 950000",
        ];
        assert_eq!(of(Controller::Cpu, &limits, &Purpose::Create), plain);
        let mut update = of(Controller::Cpu, &limits, &Purpose::Update(Now::default()));
        assert_eq!(update.drain(2..4).collect::<Vec<_>>(), ["cpu.cfs_burst_us 0", "cpu.cfs_quota_us -1"]);
        assert_eq!(update, plain);
    }

    #[test]
    fn the_share_of_real_time_is_lowered_first() {
        let cpu = Cpu { realtime_period: Some(10_000), realtime_runtime: Some(3_000), ..Cpu::default() };
        let limits = Limits { cpu, ..Limits::default() };
        let (period, runtime) = ("cpu.rt_period_us 10000", "cpu.rt_runtime_us 3000");
        let now = |period| Purpose::Update(Now { realtime_period: period, ..Now::default() });
        assert_eq!(of(Controller::Cpu, &limits, &Purpose::Create), [period, runtime]);
        assert_eq!(of(Controller::Cpu, &limits, &now(Some(5_000))), [period, runtime]);
        assert_eq!(of(Controller::Cpu, &limits, &now(Some(900_001))), [runtime, period]);
    }

    #[test]
    fn block_devices() {
        let io = Io {
            weight: Some(200),
            leaf_weight: Some(10),
            devices: vec![DeviceWeight { device: (8, 0), weight: Some(300), leaf_weight: Some(20) }],
            rates: vec![
                Rate { device: (8, 0), of: Throttle::ReadBytes, rate: Amount::Of(5) },
                Rate { device: (8, 16), of: Throttle::WriteOperations, rate: Amount::Max },
            ],
        };
        let limits = Limits { io, ..Limits::default() };
        let writes = writes(Controller::Io, &limits, &Purpose::Create).unwrap();
        assert_eq!(
            lines(&writes),
            [
                "blkio.bfq.weight 200",
                "blkio.leaf_weight 10",
                "blkio.bfq.weight_device 8:0 300",
                "blkio.leaf_weight_device 8:0 20",
                "blkio.throttle.read_bps_device 8:0 5",
                "blkio.throttle.write_iops_device 8:16 0",
            ]
        );
        let Missing::Instead(cfq) = &writes[0].missing else { panic!("{:?}", writes[0]) };
        assert_eq!((cfq.file.as_str(), cfq.value.as_str()), ("blkio.weight", "200"));
    }

    #[test]
    fn the_rest() {
        let limits = Limits {
            cpus: Some("0-1".into()),
            mems: Some("0".into()),
            pids: Some(Amount::Max),
            hugetlb: vec![("2MB".into(), Amount::Of(4 << 20))],
            net_class: Some(0x10_0001),
            net_priorities: vec![("eth0".into(), 5)],
            ..Limits::default()
        };
        let create = Purpose::Create;
        assert_eq!(of(Controller::Cpuset, &limits, &create), ["cpuset.cpus 0-1", "cpuset.mems 0"]);
        assert_eq!(of(Controller::Pids, &limits, &create), ["pids.max max"]);
        assert_eq!(
            of(Controller::Hugetlb, &limits, &create),
            ["hugetlb.2MB.limit_in_bytes 4194304", "hugetlb.2MB.rsvd.limit_in_bytes 4194304"]
        );
        assert_eq!(of(Controller::NetCls, &limits, &create), ["net_cls.classid 1048577"]);
        assert_eq!(of(Controller::NetPrio, &limits, &create), ["net_prio.ifpriomap eth0 5"]);
    }

    #[test]
    fn devices_are_refused_first() {
        use crate::devices::{Access, Kind, Rule};
        let deny = Rule { allow: false, kind: Kind::All, major: None, minor: None, access: Access::ALL };
        let null =
            Rule { allow: true, kind: Kind::Char, major: Some(1), minor: Some(3), access: Access::ALL };
        let zero = Rule { minor: Some(5), ..null };
        let with = |devices: Vec<Rule>| Limits { devices, ..Limits::default() };
        assert_eq!(
            of(Controller::Devices, &with(vec![deny, null, zero]), &Purpose::Create),
            ["devices.deny a", "devices.allow c 1:3 rwm\nc 1:5 rwm"]
        );
        assert_eq!(of(Controller::Devices, &with(vec![deny]), &Purpose::Create), ["devices.deny a"]);
        let all = Rule { allow: true, ..deny };
        assert_eq!(of(Controller::Devices, &with(vec![deny, all]), &Purpose::Create), [""; 0]);
        let but = Rule { allow: false, ..null };
        assert_eq!(
            of(Controller::Devices, &with(vec![all, but]), &Purpose::Create),
            ["devices.deny c 1:3 rwm"]
        );
    }
}
