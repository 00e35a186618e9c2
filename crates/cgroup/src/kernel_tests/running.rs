//! What is asked of a group that runs, as an OCI runtime's `events`, `update`, `pause`, `kill --all` and `create` do.

use std::io::Read as _;

use rustix::process::{Pid, PidfdFlags};

use super::*;
use crate::limits::{DeviceWeight, Io, merge};
use crate::{Woken, check_rdt, check_usable, plan_over};

use oci::spec::LinuxResources;

/// What `update --resources` is given.
fn resources(json: &str) -> LinuxResources {
    serde_json::from_str(json).unwrap()
}

impl World {
    /// Updates as a runtime does: from the OCI's words and the record, which changes with it.
    fn change(&self, record: &mut LinuxResources, json: &str) -> Result<(), Failure> {
        let asked = resources(json);
        update(&self.h, &self.path, &Limits::for_update(&asked, record)?)?;
        *record = merge(record, &asked);
        Ok(())
    }

    /// v1's words for quota and period, from either version.
    fn bandwidth(&self) -> String {
        let quota = self.read(Controller::Cpu, "cpu.cfs_quota_us", "cpu.max");
        match self.version(Controller::Cpu) {
            Version::V1 => format!("{quota} {}", self.read(Controller::Cpu, "cpu.cfs_period_us", "")),
            Version::V2 => quota.replace("max", "-1"),
        }
    }

    fn memory_limits(&self) -> [String; 3] {
        [
            self.read(Controller::Memory, "memory.limit_in_bytes", "memory.max"),
            self.read(Controller::Memory, "memory.soft_limit_in_bytes", "memory.low"),
            self.read(Controller::Memory, "memory.memsw.limit_in_bytes", "memory.swap.max"),
        ]
    }

    fn file(&self, controller: Controller, file: &str) -> PathBuf {
        self.h.find(controller).unwrap().group(&self.path).join(file)
    }
}

/// The values and the order are those of runc's `update.bats`, "update cgroup v1/v2 common limits".
#[test]
fn updates_follow_each_other_as_runcs_suite_has_them() {
    let _host = HandedOn::now();
    let mut world = World::new("common");
    let mut record = resources(
        r#"{"memory": {"limit": 33554432, "reservation": 25165824},
            "cpu": {"shares": 100, "quota": 500000, "period": 1000000}, "pids": {"limit": 20}}"#,
    );
    let plan = world.make(&Limits::from_oci(&record).unwrap());
    world.spawn(&plan, "exec sleep 600");
    let v2 = world.version(Controller::Memory) == Version::V2;
    let endless = if v2 {
        "max".to_owned()
    } else {
        let root = world.h.find(Controller::Memory).unwrap().dir.join("memory.limit_in_bytes");
        std::fs::read_to_string(root).unwrap().trim().to_owned()
    };
    let initial = record.clone();
    let check = |world: &World, expected: [&str; 3]| {
        assert_eq!(world.memory_limits(), expected.map(str::to_owned));
    };
    check(&world, ["33554432", "25165824", &endless]);

    world.change(&mut record, r#"{"memory": {"limit": 67108864}}"#).unwrap();
    world.change(&mut record, r#"{"memory": {"limit": 52428800}}"#).unwrap();
    world.change(&mut record, r#"{"memory": {"reservation": 33554432}}"#).unwrap();
    check(&world, ["52428800", "33554432", &endless]);
    world.change(&mut record, r#"{"memory": {"swap": -1}}"#).unwrap();
    check(&world, ["52428800", "33554432", &endless]);
    // The sum alone: in v2 what it leaves to swap.
    world.change(&mut record, r#"{"memory": {"swap": 96468992}}"#).unwrap();
    check(&world, ["52428800", "33554432", if v2 { "44040192" } else { "96468992" }]);
    world.change(&mut record, r#"{"memory": {"limit": -1}}"#).unwrap();
    check(&world, [&endless, "33554432", &endless]);

    let pids = |world: &World| world.read(Controller::Pids, "pids.max", "pids.max");
    for (asked, kept) in [(10, "10"), (-1, "max"), (0, "1"), (12345, "12345")] {
        world.change(&mut record, &format!(r#"{{"pids": {{"limit": {asked}}}}}"#)).unwrap();
        assert_eq!(pids(&world), kept);
    }
    record = initial.clone();
    world.change(&mut record, &serde_json::to_string(&initial).unwrap()).unwrap();
    check(&world, ["33554432", "25165824", &endless]);
    assert_eq!((world.bandwidth().as_str(), pids(&world).as_str()), ("500000 1000000", "20"));

    // New memory above the old sum, and back.
    for (limit, sum) in [(30u64, 50u64), (60, 80), (20, 40)] {
        let (limit, sum) = (limit << 20, sum << 20);
        world.change(&mut record, &format!(r#"{{"memory": {{"limit": {limit}, "swap": {sum}}}}}"#)).unwrap();
        let swap = if v2 { sum - limit } else { sum }.to_string();
        check(&world, [&limit.to_string(), "25165824", &swap]);
    }
    // A new limit of memory keeps the sum; one above it is refused.
    world.change(&mut record, r#"{"memory": {"limit": 31457280}}"#).unwrap();
    check(&world, ["31457280", "25165824", if v2 { "10485760" } else { "41943040" }]);
    assert!(world.change(&mut record, r#"{"memory": {"limit": 52428800}}"#).is_err());
    check(&world, ["31457280", "25165824", if v2 { "10485760" } else { "41943040" }]);
}

/// As "update cgroup cpu limits", "cpu burst" and "update cgroup cpu.idle" there.
#[test]
fn processor_time_changes_as_runcs_suite_has_it() {
    let _host = HandedOn::now();
    let mut world = World::new("cpu");
    let mut record = resources(r#"{"cpu": {"shares": 100, "quota": 500000, "period": 1000000}}"#);
    let plan = world.make(&Limits::from_oci(&record).unwrap());
    world.spawn(&plan, "exec sleep 600");
    for (asked, bandwidth) in [
        (r#""period": 900000"#, "500000 900000"),
        (r#""quota": 600000"#, "600000 900000"),
        (r#""quota": -1"#, "-1 900000"),
        (r#""quota": 500000, "period": 1000000, "shares": 100"#, "500000 1000000"),
        (r#""quota": 600000, "period": 900000, "shares": 200"#, "600000 900000"),
        (r#""quota": -1, "period": 100000"#, "-1 100000"),
        (r#""quota": 500000, "period": 1000000, "shares": 100"#, "500000 1000000"),
    ] {
        world.change(&mut record, &format!(r#"{{"cpu": {{{asked}}}}}"#)).unwrap();
        assert_eq!(world.bandwidth(), bandwidth, "{asked}");
    }
    assert_eq!(
        world.read(Controller::Cpu, "cpu.shares", "cpu.weight"),
        if world.version(Controller::Cpu) == Version::V1 { "100" } else { "17" }
    );

    let burst = |world: &World| world.read(Controller::Cpu, "cpu.cfs_burst_us", "cpu.max.burst");
    world.change(&mut record, r#"{"cpu": {"period": 900000, "burst": 500000}}"#).unwrap();
    assert_eq!(burst(&world), "500000");
    world.change(&mut record, r#"{"pids": {"limit": 30}}"#).unwrap();
    assert_eq!(burst(&world), "500000", "what is not spoken of stays");
    world.change(&mut record, r#"{"cpu": {"period": 900000, "burst": 0}}"#).unwrap();
    assert_eq!(burst(&world), "0");

    let idle = |world: &World| world.read(Controller::Cpu, "cpu.idle", "cpu.idle");
    for value in ["1", "0", "1"] {
        world.change(&mut record, &format!(r#"{{"cpu": {{"idle": {value}}}}}"#)).unwrap();
        assert_eq!(idle(&world), value);
    }
    for value in [-1, 2, 3] {
        assert!(world.change(&mut record, &format!(r#"{{"cpu": {{"idle": {value}}}}}"#)).is_err());
        assert_eq!(idle(&world), "1");
    }
    world.change(&mut record, r#"{"cpu": {"period": 10000, "quota": 5000}}"#).unwrap();
    assert_eq!((idle(&world).as_str(), world.bandwidth().as_str()), ("1", "5000 10000"));
}

/// As "update rt period and runtime" there: each step on the way must fit into the period and the group above.
#[test]
fn real_time_changes_in_an_order_that_the_kernel_takes() {
    let world = World::new("rt");
    let Some(mount) =
        world.h.find(Controller::Cpu).filter(|mount| mount.dir.join("cpu.rt_period_us").exists())
    else {
        return println!("skipped: this kernel has no groups of real-time processes");
    };
    // A new group has no time for them: the one above is given half of what the root has.
    std::fs::create_dir_all(mount.group(&world.path)).unwrap();
    let root: i64 =
        std::fs::read_to_string(mount.dir.join("cpu.rt_runtime_us")).unwrap().trim().parse().unwrap();
    assert!(root >= 900_000, "the root has {root}");
    std::fs::write(mount.group(world.top.path()).join("cpu.rt_runtime_us"), "700000").unwrap();
    let mut record = LinuxResources::default();
    world.change(&mut record, r#"{"cpu": {"realtimeRuntime": 500001}}"#).unwrap();
    let mut period = 1_000_000;
    for (new, runtime) in [(800_001, 500_001), (900_001, 600_001), (10_000, 3_000), (100_000, 20_000)] {
        let json = format!(r#"{{"cpu": {{"realtimePeriod": {new}, "realtimeRuntime": {runtime}}}}}"#);
        world.change(&mut record, &json).unwrap_or_else(|failure| panic!("{period} to {new}: {failure}"));
        period = new;
        let read = |file: &str| world.read(Controller::Cpu, file, "");
        assert_eq!(
            (read("cpu.rt_period_us"), read("cpu.rt_runtime_us")),
            (new.to_string(), runtime.to_string())
        );
    }
}

/// As "update cpu period in a pod cgroup with pod limit set" there, and what else was written is as it was.
#[test]
fn a_refused_limit_leaves_the_others_as_they_were() {
    let _host = HandedOn::now();
    let mut world = World::new("undo");
    let plan = world.make(&Limits {
        memory: memory(64 << 20, 100 << 20),
        cpu: Cpu {
            shares: Some(Shares(2000)),
            quota: Some(Amount::Of(40_000)),
            period: Some(100_000),
            ..Cpu::default()
        },
        cpus: Some("0".into()),
        pids: Some(Amount::Of(20)),
        ..Limits::default()
    });
    world.spawn(&plan, "exec sleep 600");
    let shares = world.read(Controller::Cpu, "cpu.shares", "cpu.weight");
    let before = (world.memory_limits(), world.bandwidth());
    let cpus = |world: &World| world.read(Controller::Cpuset, "cpuset.cpus", "cpuset.cpus");
    // No machine that this runs on has so many processors: the raw file comes last and is refused.
    let limits = Limits {
        memory: memory(200 << 20, 300 << 20),
        cpu: Cpu {
            idle: Some(true),
            quota: Some(Amount::Of(20_000)),
            period: Some(50_000),
            ..Cpu::default()
        },
        pids: Some(Amount::Of(77)),
        io: Io {
            rates: vec![Rate { device: block_device(), of: Throttle::ReadBytes, rate: Amount::Of(1 << 20) }],
            ..Io::default()
        },
        raw: vec![("cpuset.cpus".into(), "4000".into())],
        ..Limits::default()
    };
    let failure = update(&world.h, &world.path, &limits).unwrap_err();
    assert!(failure.target.ends_with("cpuset.cpus = 4000"), "{failure}");
    assert!(!failure.hint.unwrap().contains("could not be set back"));
    assert_eq!((world.memory_limits(), world.bandwidth()), before);
    assert_eq!(world.read(Controller::Cpu, "cpu.shares", "cpu.weight"), shares);
    assert_eq!(world.read(Controller::Cpu, "cpu.idle", "cpu.idle"), "0");
    assert_eq!(world.read(Controller::Pids, "pids.max", "pids.max"), "20");
    assert_eq!(world.read(Controller::Io, "blkio.throttle.read_bps_device", "io.max"), "");
    assert_eq!(cpus(&world), "0");

    if world.version(Controller::Cpu) == Version::V1 {
        let above = world.h.find(Controller::Cpu).unwrap().group(world.top.path());
        std::fs::write(above.join("cpu.cfs_quota_us"), "50000").unwrap();
        let cpu = |quota, period| Limits {
            cpu: Cpu { quota: Some(Amount::Of(quota)), period: Some(period), ..Cpu::default() },
            ..Limits::default()
        };
        let failure = update(&world.h, &world.path, &cpu(60_000, 100_000)).unwrap_err();
        assert_eq!(failure.errno, Errno::INVAL.raw_os_error());
        assert_eq!(world.bandwidth(), "40000 100000", "not without a quota");
        update(&world.h, &world.path, &cpu(3_000, 10_000)).unwrap();
        assert_eq!(world.bandwidth(), "3000 10000");
    }
}

/// As "update per-device iops/bps values" there.
#[test]
fn rates_of_a_device_change_one_by_one() {
    let _host = HandedOn::now();
    let mut world = World::new("rates");
    let (major, minor) = block_device();
    let rate = |rate: u64| format!(r#"[{{"major": {major}, "minor": {minor}, "rate": {rate}}}]"#);
    let two = format!(
        r#"{{"blockIO": {{"throttleReadBpsDevice": [{{"major": {major}, "minor": {minor}, "rate": 1}},
            {{"major": {major}, "minor": {minor}, "rate": 485760}}]}}}}"#
    );
    let mut record = resources(&two);
    let plan = world.make(&Limits::from_oci(&record).unwrap());
    plan.checks.iter().for_each(|check| check.verify().unwrap());
    world.spawn(&plan, "exec sleep 600");
    let json = format!(
        r#"{{"blockIO": {{"throttleReadBpsDevice": {}, "throttleWriteBpsDevice": {},
            "throttleReadIOPSDevice": {}, "throttleWriteIOPSDevice": {}}}}}"#,
        rate(10_485_760),
        rate(9_437_184),
        rate(1_000),
        rate(900)
    );
    world.change(&mut record, &json).unwrap();
    let read = |v1: &str| world.read(Controller::Io, &format!("blkio.throttle.{v1}_device"), "io.max");
    let device = format!("{major}:{minor}");
    if world.version(Controller::Io) == Version::V1 {
        for (file, rate) in
            [("read_bps", 10_485_760), ("write_bps", 9_437_184), ("read_iops", 1_000), ("write_iops", 900)]
        {
            assert_eq!(read(file), format!("{device} {rate}"));
        }
    } else {
        assert_eq!(read(""), format!("{device} rbps=10485760 wbps=9437184 riops=1000 wiops=900"));
    }
    // A weight that no scheduler keeps is refused, or kept; what was set stays either way.
    let weights = vec![DeviceWeight { device: (major, minor), weight: Some(300), leaf_weight: None }];
    let io = Io { devices: weights, ..Io::default() };
    let _ = update(&world.h, &world.path, &Limits { io, ..Limits::default() });
    assert!(read("read_bps").starts_with(&device));
}

#[test]
fn whole_resources_sent_again_change_what_can_be_changed() {
    let _host = HandedOn::now();
    let mut world = World::new("whole");
    let mut record = resources(r#"{"memory": {"limit": 67108864}}"#);
    let plan = world.make(&Limits { devices: vec![DENY, NULL], ..Limits::from_oci(&record).unwrap() });
    world.spawn(&plan, "exec sleep 600");
    // What containerd sends for a pod's resize: zeros for "no wish", devices, the kernel's memory.
    let json = r#"{"devices": [{"allow": false, "access": "rwm"}],
        "memory": {"limit": 83886080, "reservation": 0, "swap": 0, "kernel": 5, "kernelTCP": 5},
        "cpu": {"shares": 0, "quota": 0, "period": 0, "realtimeRuntime": 0, "realtimePeriod": 0, "cpus": ""},
        "blockIO": {"weight": 0}, "hugepageLimits": []}"#;
    world.change(&mut record, json).unwrap();
    assert_eq!(world.memory_limits()[0], "83886080");
    if world.version(Controller::Devices) == Version::V1 {
        let list = std::fs::read_to_string(world.file(Controller::Devices, "devices.list")).unwrap();
        assert_eq!(list, "c 1:3 rwm\n");
    }
    let failure = check_rdt(Some("L3:0=ffff"), None).unwrap_err();
    assert!(failure.to_string().contains("Intel RDT/CAT: l3 cache schema is not enabled"), "{failure}");
}

#[test]
fn a_stopped_group_takes_limits_and_stays_stopped() {
    let mut world = World::new("paused");
    let plan = world.make(&Limits::default());
    assert!(!world.group.is_frozen().unwrap());
    world.spawn(&plan, "exec sleep 600");
    world.group.freeze().unwrap();
    assert!(world.group.is_frozen().unwrap());
    update(&world.h, &world.path, &Limits { pids: Some(Amount::Of(30)), ..Limits::default() }).unwrap();
    assert!(world.group.is_frozen().unwrap());
    // Of the group below it was not said: it stands still because of the one above.
    world.group.thaw().unwrap();
    assert!(!world.group.is_frozen().unwrap());
    world.top.freeze().unwrap();
    assert!(!world.group.is_frozen().unwrap());
    assert!(world.top.is_frozen().unwrap());
    world.top.thaw().unwrap();
}

#[test]
fn a_group_that_forks_all_the_time_is_stopped() {
    let mut world = World::new("forks");
    let plan = world.make(&Limits { pids: Some(Amount::Of(100)), ..Limits::default() });
    world.spawn(&plan, "exec 2>/dev/null; while :; do (:) & (:) & wait; done");
    for _ in 0..20 {
        world.group.freeze().unwrap();
        assert!(world.group.is_frozen().unwrap());
        let first = world.group.processes();
        std::thread::sleep(Duration::from_millis(5));
        assert_eq!(world.group.processes(), first, "nobody comes and goes");
        world.group.thaw().unwrap();
    }
}

#[test]
fn a_signal_reaches_all() {
    let mut world = World::new("signal");
    let plan = world.make(&Limits::default());
    let script = "sleep 600 & trap 'echo told; exit 7' USR1; echo ready; wait";
    let mut output = BufReader::new(world.spawn(&plan, script).stdout.take().unwrap());
    let mut told = String::new();
    output.read_line(&mut told).unwrap();
    assert_eq!((told.as_str(), world.group.signal(10).unwrap()), ("ready\n", 2));
    let status = world.children[0].wait().unwrap();
    assert_eq!(status.code(), Some(7));
    output.read_to_string(&mut told).unwrap();
    assert_eq!(told, "ready\ntold\n");
    eventually("all gone", || world.group.processes().is_empty());
    assert!(!world.group.is_frozen().unwrap());
    // A stopped group dies all the same.
    let pid = world.spawn(&plan, "exec sleep 600").id() as i32;
    world.group.freeze().unwrap();
    assert_eq!(world.group.signal(15).unwrap(), 1);
    assert!(world.group.is_frozen().unwrap(), "as it was");
    assert_eq!(world.group.signal(9).unwrap(), 1);
    assert!([9, 15].contains(&world.children[1].wait().unwrap().signal().unwrap()), "{pid}");
    assert_eq!(world.group.signal(9).unwrap(), 0);
    assert!(rustix::process::pidfd_open(Pid::from_raw(pid).unwrap(), PidfdFlags::empty()).is_err());
}

#[test]
fn out_of_memory_is_told() {
    let mut world = World::new("watch");
    let plan = world.make(&Limits { memory: memory(32 << 20, 32 << 20), ..Limits::default() });
    world.spawn(&plan, "exec sleep 600");
    let mut watch = world.group.watch_oom().unwrap();
    assert_eq!(watch.next(Some(Duration::ZERO)).unwrap(), Woken::Nothing);
    let killed = world.spawn(&plan, "exec tail /dev/zero");
    assert_eq!(watch.next(Some(Duration::from_secs(60))).unwrap(), Woken::OutOfMemory);
    assert_eq!(killed.wait().unwrap().signal(), Some(9));
    // v1's kernel tells each time that a task asks in vain, also while the killed one still goes; v2 counts kills.
    let v2 = world.version(Controller::Memory) == Version::V2;
    if v2 {
        assert_eq!(watch.next(Some(Duration::ZERO)).unwrap(), Woken::Nothing, "once for each");
    }
    while watch.next(Some(Duration::ZERO)).unwrap() != Woken::Nothing {}
    let killed = world.spawn(&plan, "exec tail /dev/zero");
    assert_eq!(watch.next(None).unwrap(), Woken::OutOfMemory);
    assert_eq!(killed.wait().unwrap().signal(), Some(9));
    // The end of the group, without a limit of time.
    world.group.kill().unwrap();
    world.children[0].wait().unwrap();
    world.group.remove().unwrap();
    let mut told = Vec::new();
    while told.last() != Some(&Woken::Ended) {
        told.push(watch.next(None).unwrap());
    }
    assert!(told.len() == 1 || !v2, "{told:?}");
    assert_eq!(watch.next(None).unwrap(), Woken::Ended);
}

#[test]
fn a_watch_ends_with_the_group_and_not_with_its_name() {
    let world = World::new("watch-end");
    world.make(&Limits::default());
    let watch = world.group.watch_oom();
    let mut watch = watch.unwrap();
    world.group.remove().unwrap();
    // A new group of the same name is none of its business.
    let plan = plan(&world.h, &world.path, &Limits::default()).unwrap();
    perform(&plan.create).unwrap();
    assert_eq!(watch.next(Some(Duration::from_secs(60))).unwrap(), Woken::Ended);
}

#[test]
fn what_was_used_is_told_in_runcs_words() {
    let _host = HandedOn::now();
    let mut world = World::new("stats");
    let plan = world.make(&Limits {
        memory: memory(64 << 20, 100 << 20),
        cpu: Cpu { quota: Some(Amount::Of(10_000)), period: Some(100_000), ..Cpu::default() },
        cpus: Some("0".into()),
        pids: Some(Amount::Of(20)),
        hugetlb: vec![("2MB".into(), Amount::Of(4 << 20))],
        ..Limits::default()
    });
    world.spawn(&plan, "x=$(head -c 3000000 /dev/zero | tr '\\0' x); echo ready; while :; do :; done");
    let mut line = String::new();
    BufReader::new(world.children[0].stdout.as_mut().unwrap()).read_line(&mut line).unwrap();
    eventually("the quota is used up", || world.group.stats().unwrap().cpu.throttling.throttled_periods > 2);
    let stats = world.group.stats().unwrap();
    let v1 = |controller| world.version(controller) == Version::V1;
    let usage = &stats.cpu.usage;
    assert!(usage.total > 10_000_000 && usage.user <= usage.total * 2, "{usage:?}");
    assert!(stats.cpu.throttling.periods >= stats.cpu.throttling.throttled_periods);
    assert!(stats.cpu.throttling.throttled_time > 1_000_000);
    assert_eq!((stats.pids.current, stats.pids.limit), (1, 20));
    assert_eq!(stats.memory.usage.limit, 64 << 20);
    assert!(stats.memory.usage.usage > 3_000_000 && stats.memory.usage.usage < 64 << 20);
    assert_eq!(stats.memory.swap.limit, 100 << 20, "with memory, in both versions");
    assert!(stats.memory.raw.len() > 20);
    assert_eq!(stats.hugetlb["2MB"].usage, 0);
    if v1(Controller::Cpu) {
        assert_eq!(usage.percpu.len(), usage.percpu_user.len());
        assert_eq!(usage.percpu.iter().sum::<u64>() / 1_000_000_000, usage.total / 1_000_000_000);
        assert_eq!(
            (stats.cpuset.cpus.as_slice(), stats.cpuset.mems.as_slice()),
            ([0].as_slice(), [0].as_slice())
        );
        assert_eq!((stats.cpuset.sched_load_balance, stats.cpuset.sched_relax_domain_level), (1, -1));
        assert!(stats.memory.usage.max >= stats.memory.usage.usage);
    } else {
        assert!(usage.percpu.is_empty() && stats.cpuset == crate::stats::Cpuset::default());
    }
    // A kernel that was booted without PSI has the file and does not let it be read.
    let tells = plan.into.is_some() && std::fs::read_to_string("/proc/pressure/cpu").is_ok();
    let waited = stats.cpu.psi.map(|psi| psi.some.total > 1_000);
    assert_eq!(waited, tells.then_some(true), "{:?}", stats.cpu.psi);
    // As much as the smaller look sees.
    assert_eq!(world.group.usage().pids, Some(stats.pids.current));
    let json = serde_json::to_value(&stats).unwrap();
    assert_eq!(json["memory"]["usage"]["limit"], 64 << 20);
    assert_eq!(json["memory"]["usage"]["failcnt"].as_u64().map(|_| ()), Some(()));
    assert!(json["network_interfaces"].is_null() && json["intel_rdt"].is_object());
}

#[test]
fn a_group_that_is_somebodys_is_not_taken() {
    let mut world = World::new("usable");
    check_usable(&world.h, &world.path).unwrap();
    let plan = world.make(&Limits::default());
    check_usable(&world.h, &world.path).unwrap();
    let pid = world.spawn(&plan, "exec sleep 600").id();
    let failure = check_usable(&world.h, &world.path).unwrap_err();
    assert!(
        failure.to_string().ends_with("container's cgroup is not empty: 1 process(es) found"),
        "{failure}"
    );
    assert!(failure.hint.unwrap().contains(&pid.to_string()));
    assert!(check_usable(&world.h, world.top.path()).is_err(), "what is below counts");
    world.group.kill().unwrap();
    world.children[0].wait().unwrap();
    world.group.freeze().unwrap();
    let failure = check_usable(&world.h, &world.path).unwrap_err();
    assert!(failure.to_string().ends_with("container's cgroup unexpectedly frozen"), "{failure}");
    world.group.thaw().unwrap();
    world.top.freeze().unwrap();
    let failure = check_usable(&world.h, &format!("{}/new/one", world.top.path())).unwrap_err();
    assert!(failure.to_string().contains("unexpectedly frozen: by "), "{failure}");
    world.top.thaw().unwrap();
    check_usable(&world.h, &world.path).unwrap();
}

#[test]
fn an_empty_group_is_taken_with_what_it_has() {
    let mut world = World::new("over");
    let limits =
        |limit: u64, sum: u64| Limits { memory: memory(limit << 20, sum << 20), ..Limits::default() };
    let first = plan_over(&world.h, &world.path, &limits(32, 32)).unwrap();
    perform(&first.create).unwrap();
    std::fs::write(world.file(Controller::Pids, "pids.max"), "33").unwrap();
    // More than the old sum: in v1 the sum must be raised first.
    let second = plan_over(&world.h, &world.path, &limits(200, 300)).unwrap();
    perform(&second.create).unwrap();
    second.checks.iter().for_each(|check| check.verify().unwrap());
    assert_eq!(world.group.usage().pids_limit, Some(Amount::Of(33)));
    let pid = world.spawn(&second, "exec sleep 600").id();
    assert_eq!(world.group.processes(), [pid as i32]);
}

#[test]
fn below_a_threaded_group_no_container_starts() {
    let world = World::new("threaded");
    let Some(mount) = world.h.v2().cloned() else {
        return println!("skipped: this host has no v2 hierarchy");
    };
    let (top, group) = (mount.group(world.top.path()), mount.group(&world.path));
    std::fs::create_dir_all(&group).unwrap();
    check_usable(&world.h, &world.path).unwrap();
    std::fs::write(group.join("cgroup.type"), "threaded").unwrap();
    let failure = check_usable(&world.h, &world.path).unwrap_err();
    assert!(failure.to_string().contains("it is in threaded mode"), "{failure}");
    assert!(failure.to_string().contains("cannot enter cgroupv2"), "{failure}");
    // Its parent has become the domain of the threads: groups made there take no process.
    assert_eq!(std::fs::read_to_string(top.join("cgroup.type")).unwrap(), "domain threaded\n");
    check_usable(&world.h, world.top.path()).unwrap();
    assert!(check_usable(&world.h, &format!("{}/other", world.top.path())).is_err());
}

#[test]
fn runtimes_allow_the_usual_devices() {
    let mut world = World::new("usual");
    let limits = Limits { devices: devices::with_runtime_defaults(Vec::new()), ..Limits::default() };
    let plan = world.make(&limits);
    plan.checks.iter().for_each(|check| check.verify().unwrap());
    let mut opens = |file: &str| {
        let script = format!("exec head -c 1 {file} 2>/dev/null");
        world.spawn(&plan, &script).wait().unwrap().success()
    };
    assert!(opens("/dev/zero") && opens("/dev/urandom"));
    assert!(!opens("/dev/kmsg"));
}
