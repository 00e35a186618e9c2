//! The layout of cgroup v2: which file takes which value, in which order, and why. Pure.
//! Source: Documentation/admin-guide/cgroup-v2.rst. Limits that v2 has no word for are errors.

use ::step::Failure;

use crate::check::Expect;
use crate::hierarchies::Controller;
use crate::limits::{Amount, Limits, Rate, Throttle, io_weight};
use crate::v1;
use crate::write::{Purpose, Write};

/// The writes for one controller. Devices have none: they are a program.
pub(crate) fn writes(
    controller: Controller,
    limits: &Limits,
    purpose: &Purpose,
) -> Result<Vec<Write>, Failure> {
    Ok(match controller {
        Controller::Memory => memory(limits)?,
        Controller::Cpu => cpu(limits, purpose)?,
        Controller::Cpuset => v1::cpuset(limits),
        Controller::Pids => limits.pids.map(pids).into_iter().collect(),
        Controller::Io => io(limits)?,
        Controller::Hugetlb => {
            limits.hugetlb.iter().flat_map(|(size, limit)| hugetlb(size, *limit)).collect()
        }
        Controller::Rdma => rdma(limits),
        Controller::NetCls | Controller::NetPrio | Controller::Devices => Vec::new(),
    })
}

fn amount(amount: Amount) -> String {
    match amount {
        Amount::Max => "max".to_owned(),
        Amount::Of(number) => number.to_string(),
    }
}

fn no_counterpart(limit: &'static str, hint: &'static str) -> Failure {
    Failure::because("cgroup.plan", limit, "cgroup v2, which this host uses, has no such limit").hint(hint)
}

fn memory(limits: &Limits) -> Result<Vec<Write>, Failure> {
    let asked = &limits.memory;
    if asked.swappiness.is_some() {
        let hint = "leave it out: vm.swappiness of the host holds for all; memory.swap limits swap";
        return Err(no_counterpart("memory.swappiness", hint));
    }
    if asked.kernel_tcp.is_some() {
        return Err(no_counterpart("memory.kernelTCP", "leave it out: TCP buffers count as memory"));
    }
    if asked.oom_kill_disable == Some(true) {
        let hint = "leave it out: memory.high, set as a raw file, slows a group down instead of killing";
        return Err(no_counterpart("memory.disableOOMKiller", hint));
    }
    let mut writes = Vec::new();
    // Swap first: what a lowered memory limit pushes out must not go where it may not stay.
    if let Some(swap) = asked.swap {
        let why = "hard limit of swap alone";
        let write = Write::new("memory.swap.max", amount(swap.alone), why, Expect::bytes(swap.alone));
        // A kernel that does not count swap lets nobody use any that would count: no limit and none at all hold.
        let holds_anyway = matches!(swap.alone, Amount::Max | Amount::Of(0));
        writes.push(if swap.implied || holds_anyway {
            write.or_skip()
        } else {
            write.or_fail("this kernel does not count swap (CONFIG_SWAP): leave memory.swap out")
        });
    }
    if let Some(limit) = asked.limit {
        writes.push(Write::new("memory.max", amount(limit), "hard limit of memory", Expect::bytes(limit)));
    }
    if let Some(reservation) = asked.reservation {
        // v1's endless soft limit protects nothing, v2's `max` everything: no reservation is 0 here.
        let low = if let Amount::Of(bytes) = reservation { Amount::Of(bytes) } else { Amount::Of(0) };
        let why = "what is left to the group when memory is short";
        writes.push(Write::new("memory.low", amount(low), why, Expect::bytes(low)));
    }
    Ok(writes)
}

fn cpu(limits: &Limits, purpose: &Purpose) -> Result<Vec<Write>, Failure> {
    let asked = &limits.cpu;
    if asked.realtime_period.is_some() || asked.realtime_runtime.is_some() {
        let field =
            if asked.realtime_period.is_some() { "cpu.realtimePeriod" } else { "cpu.realtimeRuntime" };
        return Err(no_counterpart(field, "leave it out: real-time processes have no groups in v2"));
    }
    let mut writes = Vec::new();
    // An idle group takes no weight (EINVAL): what ends idleness comes before it.
    if let Some(idle) = asked.idle {
        let (value, why) = (u64::from(idle), "whether the group runs only when nobody else wants to");
        let write = Write::new("cpu.idle", value.to_string(), why, Expect::number(value));
        writes.push(write.or_fail("cpu.idle needs Linux 5.15 or newer"));
    }
    if let Some(shares) = asked.shares {
        let why = format!("share of the processors when they are short: {} shares of v1", shares.0);
        let weight = shares.weight();
        writes.push(Write::new("cpu.weight", weight.to_string(), why, Expect::number(weight)));
    }
    const BURST: &str = "a burst needs Linux 5.14 or newer";
    if *purpose != Purpose::Create && asked.burst.is_some() && asked.quota.is_some() {
        // A burst is at most the quota, also between the writes.
        let why = "no burst while the quota changes";
        let write = Write::new("cpu.max.burst", "0", why, Expect::Words(Vec::new())).or_fail(BURST);
        writes.push(Write { expect: None, ..write });
    }
    if let Some((value, words)) = bandwidth(limits, purpose) {
        writes.push(Write::new("cpu.max", value, "processor time a period", Expect::Words(words)));
    }
    if let Some(burst) = asked.burst {
        let why = "processor time that may be saved up";
        let write = Write::new("cpu.max.burst", burst.to_string(), why, Expect::number(burst));
        writes.push(write.or_fail(BURST));
    }
    Ok(writes)
}

/// `cpu.max` is `quota period`. A quota alone keeps the period; a period alone must repeat the quota.
fn bandwidth(limits: &Limits, purpose: &Purpose) -> Option<(String, Vec<Amount>)> {
    let (quota, period) = (limits.cpu.quota, limits.cpu.period);
    match (quota, period) {
        (None, None) => None,
        (Some(quota), None) => Some((amount(quota), vec![quota])),
        (Some(quota), Some(period)) => {
            Some((format!("{} {period}", amount(quota)), vec![quota, Amount::Of(period)]))
        }
        (None, Some(period)) => {
            let now = match purpose {
                Purpose::Update(now) => now.quota.as_deref(),
                Purpose::Create => None,
            };
            let quota = now.and_then(|quota| quota.parse().ok()).map_or(Amount::Max, Amount::Of);
            Some((format!("{} {period}", amount(quota)), vec![quota, Amount::Of(period)]))
        }
    }
}

/// Both versions name this file alike.
pub(crate) fn pids(limit: Amount) -> Write {
    Write::new("pids.max", amount(limit), "how many processes and threads", Expect::Words(vec![limit]))
}

fn io(limits: &Limits) -> Result<Vec<Write>, Failure> {
    let asked = &limits.io;
    if asked.leaf_weight.is_some() || asked.devices.iter().any(|device| device.leaf_weight.is_some()) {
        return Err(no_counterpart(
            "blockIO.leafWeight",
            "leave it out: give the children weights of their own",
        ));
    }
    const NO_WEIGHTS: &str = "block devices have weights under BFQ (`modprobe bfq`) or by CONFIG_BLK_CGROUP_IOCOST: \
                              leave the weight out without either";
    let mut writes = Vec::new();
    let mut weigh = |key: &str, weight: u64, why: &'static str| {
        let entry = |file: &'static str, weight: u64| {
            let value = if key == "default" { weight.to_string() } else { format!("{key} {weight}") };
            Write::new(file, value, why, Expect::Entry(key.to_owned(), Amount::Of(weight)))
        };
        let cost = entry("io.weight", io_weight(weight)).or_fail(NO_WEIGHTS);
        writes.push(entry("io.bfq.weight", weight).or_else(cost));
    };
    if let Some(weight) = asked.weight {
        weigh("default", weight, "share of the block devices when they are busy");
    }
    for device in &asked.devices {
        if let Some(weight) = device.weight {
            weigh(
                &format!("{}:{}", device.device.0, device.device.1),
                weight,
                "share of this device when it is busy",
            );
        }
    }
    let field = |rate: &Rate| match rate.of {
        Throttle::ReadBytes => ("rbps", rate.rate),
        Throttle::WriteBytes => ("wbps", rate.rate),
        Throttle::ReadOperations => ("riops", rate.rate),
        Throttle::WriteOperations => ("wiops", rate.rate),
    };
    // One write a device, in the order in which devices are named first.
    let mut devices: Vec<(u64, u64)> = asked.rates.iter().map(|rate| rate.device).collect();
    let mut seen = Vec::new();
    devices.retain(|device| {
        !seen.contains(device) && {
            seen.push(*device);
            true
        }
    });
    for (major, minor) in devices {
        let own = asked.rates.iter().filter(|rate| rate.device == (major, minor));
        let fields: Vec<(&'static str, Amount)> = own.map(field).collect();
        let device = format!("{major}:{minor}");
        let mut value = device.clone();
        for (name, rate) in &fields {
            value.push_str(&format!(" {name}={}", amount(*rate)));
        }
        let write =
            Write::new("io.max", value, "bytes and operations a second", Expect::Fields(device, fields));
        writes.push(write.or_fail("this kernel cannot throttle block devices (CONFIG_BLK_DEV_THROTTLING)"));
    }
    Ok(writes)
}

fn hugetlb(size: &str, limit: Amount) -> [Write; 2] {
    let write = |file: String, why: &'static str| {
        let expect = Expect::Bytes { amount: limit, page: v1::page_bytes(size) };
        Write::new(file, amount(limit), why, expect)
    };
    [
        write(format!("hugetlb.{size}.max"), "huge pages in use")
            .or_fail("this machine has no huge pages of that size: see /sys/kernel/mm/hugepages"),
        write(format!("hugetlb.{size}.rsvd.max"), "huge pages reserved by mmap(2)").or_skip(),
    ]
}

/// Both versions name this file alike.
pub(crate) fn rdma(limits: &Limits) -> Vec<Write> {
    let entry = |rdma: &crate::limits::Rdma| {
        let number = |number: Option<u32>| number.map(|number| Amount::Of(u64::from(number)));
        let fields: Vec<(&'static str, Amount)> =
            [("hca_handle", number(rdma.handles)), ("hca_object", number(rdma.objects))]
                .into_iter()
                .filter_map(|(name, number)| Some((name, number?)))
                .collect();
        let mut value = rdma.device.clone();
        for (name, number) in &fields {
            value.push_str(&format!(" {name}={}", amount(*number)));
        }
        Write::new(
            "rdma.max",
            value,
            "handles and objects of the device",
            Expect::Fields(rdma.device.clone(), fields),
        )
    };
    limits.rdma.iter().map(entry).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits::{Cpu, DeviceWeight, Io, Memory, Rdma, Shares, Swap};
    use crate::write::{Missing, Now};

    fn of(controller: Controller, limits: &Limits, purpose: &Purpose) -> Vec<String> {
        let writes = writes(controller, limits, purpose).unwrap();
        writes.iter().map(|write| format!("{} {}", write.file, write.value)).collect()
    }

    #[test]
    fn memory_and_swap_are_apart() {
        let swap = Swap { with_memory: Amount::Of(300), alone: Amount::Of(100), implied: false };
        let memory = Memory {
            limit: Some(Amount::Of(200)),
            swap: Some(swap),
            reservation: Some(Amount::Of(50)),
            ..Memory::default()
        };
        let mut limits = Limits { memory, ..Limits::default() };
        assert_eq!(
            of(Controller::Memory, &limits, &Purpose::Create),
            ["memory.swap.max 100", "memory.max 200", "memory.low 50"]
        );
        limits.memory.reservation = Some(Amount::Max);
        assert_eq!(of(Controller::Memory, &limits, &Purpose::Create)[2], "memory.low 0");
    }

    #[test]
    fn what_v2_cannot_say_is_told() {
        let refused = |memory: Memory| {
            let limits = Limits { memory, ..Limits::default() };
            writes(Controller::Memory, &limits, &Purpose::Create).unwrap_err()
        };
        let failure = refused(Memory { swappiness: Some(5), ..Memory::default() });
        assert_eq!(
            failure.to_string(),
            "cgroup.plan on memory.swappiness: cgroup v2, which this host uses, has no such limit"
        );
        assert!(failure.hint.is_some());
        refused(Memory { oom_kill_disable: Some(true), ..Memory::default() });
        refused(Memory { kernel_tcp: Some(Amount::Of(5)), ..Memory::default() });
        let cpu = Cpu { realtime_runtime: Some(5), ..Cpu::default() };
        assert!(writes(Controller::Cpu, &Limits { cpu, ..Limits::default() }, &Purpose::Create).is_err());
        let io = Io { leaf_weight: Some(50), ..Io::default() };
        assert!(writes(Controller::Io, &Limits { io, ..Limits::default() }, &Purpose::Create).is_err());
        let allowed = Memory { oom_kill_disable: Some(false), ..Memory::default() };
        let limits = Limits { memory: allowed, ..Limits::default() };
        assert_eq!(of(Controller::Memory, &limits, &Purpose::Create), [""; 0]);
    }

    #[test]
    fn processor_time() {
        let cpu = Cpu {
            shares: Some(Shares(2000)),
            quota: Some(Amount::Of(50_000)),
            period: Some(100_000),
            burst: Some(1_000),
            idle: Some(false),
            ..Cpu::default()
        };
        let limits = Limits { cpu, ..Limits::default() };
        let update = Purpose::Update(Now { quota: Some("30000".into()), ..Now::default() });
        let plain = ["cpu.idle 0", "cpu.weight 170", "cpu.max 50000 100000", "cpu.max.burst 1000"];
        assert_eq!(of(Controller::Cpu, &limits, &Purpose::Create), plain);
        assert_eq!(of(Controller::Cpu, &limits, &update)[2], "cpu.max.burst 0");
        let cpu_max = |quota, period, purpose: &Purpose| {
            let cpu = Cpu { quota, period, ..Cpu::default() };
            of(Controller::Cpu, &Limits { cpu, ..Limits::default() }, purpose).join(";")
        };
        assert_eq!(cpu_max(Some(Amount::Max), None, &Purpose::Create), "cpu.max max");
        assert_eq!(cpu_max(None, Some(5_000), &Purpose::Create), "cpu.max max 5000");
        assert_eq!(cpu_max(None, Some(5_000), &update), "cpu.max 30000 5000");
    }

    #[test]
    fn block_devices_have_one_line_each() {
        let rate = |device, of, rate| Rate { device, of, rate };
        let io = Io {
            weight: Some(500),
            leaf_weight: None,
            devices: vec![DeviceWeight { device: (8, 0), weight: Some(10), leaf_weight: None }],
            rates: vec![
                rate((8, 0), Throttle::ReadBytes, Amount::Of(5)),
                rate((8, 16), Throttle::WriteBytes, Amount::Of(6)),
                rate((8, 0), Throttle::ReadOperations, Amount::Max),
                rate((8, 0), Throttle::WriteOperations, Amount::Of(8)),
            ],
        };
        let limits = Limits { io, ..Limits::default() };
        assert_eq!(
            of(Controller::Io, &limits, &Purpose::Create),
            [
                "io.bfq.weight 500",
                "io.bfq.weight 8:0 10",
                "io.max 8:0 rbps=5 riops=max wiops=8",
                "io.max 8:16 wbps=6"
            ]
        );
        let writes = writes(Controller::Io, &limits, &Purpose::Create).unwrap();
        let Missing::Instead(cost) = &writes[1].missing else { panic!("{:?}", writes[1]) };
        assert_eq!((cost.file.as_str(), cost.value.as_str()), ("io.weight", "8:0 1"));
    }

    #[test]
    fn the_rest() {
        let limits = Limits {
            cpus: Some("1".into()),
            pids: Some(Amount::Of(64)),
            hugetlb: vec![("1GB".into(), Amount::Max)],
            rdma: vec![Rdma { device: "mlx5_0".into(), handles: Some(2), objects: None }],
            ..Limits::default()
        };
        let create = Purpose::Create;
        assert_eq!(of(Controller::Cpuset, &limits, &create), ["cpuset.cpus 1"]);
        assert_eq!(of(Controller::Pids, &limits, &create), ["pids.max 64"]);
        assert_eq!(
            of(Controller::Hugetlb, &limits, &create),
            ["hugetlb.1GB.max max", "hugetlb.1GB.rsvd.max max"]
        );
        assert_eq!(of(Controller::Rdma, &limits, &create), ["rdma.max mlx5_0 hca_handle=2"]);
    }
}
