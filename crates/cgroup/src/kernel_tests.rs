//! The room against the real kernel, whichever version of control groups it has: the same tests pass on both.
//! Each makes groups of its own, named by this process, and takes them away.

mod running;

use std::io::{BufRead, BufReader};
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use ::step::{Context, Failure, Shell, Step as _, Steps};
use rustix::io::Errno;

use crate::devices::{self, Access, Kind, Rule};
use crate::limits::{Amount, Cpu, Io, Memory, Rate, Shares, Swap, Throttle};
use crate::{Controller, Group, Hierarchies, Limits, Plan, Step, Version, oom, plan, update};

const DENY: Rule = Rule { allow: false, kind: Kind::All, major: None, minor: None, access: Access::ALL };
const NULL: Rule =
    Rule { allow: true, kind: Kind::Char, major: Some(1), minor: Some(3), access: Access::ALL };

/// A group two levels below the root, gone at the end of the test with all that is in it.
struct World {
    h: Hierarchies,
    path: String,
    group: Group,
    top: Group,
    children: Vec<Child>,
}

impl World {
    fn new(name: &str) -> Self {
        let h = Hierarchies::probe().unwrap();
        let top = format!("/minidocker-test-{}-{name}", std::process::id());
        let path = format!("{top}/x");
        let (group, top) = (Group::open(&h, &path).unwrap(), Group::open(&h, &top).unwrap());
        Self { h, path, group, top, children: Vec::new() }
    }

    fn make(&self, limits: &Limits) -> Plan {
        let plan = plan(&self.h, &self.path, limits).unwrap();
        perform(&plan.create).unwrap();
        plan
    }

    /// A shell that has joined the group and then runs `script`; joined when this returns.
    fn spawn(&mut self, plan: &Plan, script: &str) -> &mut Child {
        let mut text = String::from("set -e\n");
        for step in &plan.join {
            let Shell::Lines(lines) = step.shell() else { panic!("{step:?}") };
            lines.iter().for_each(|line| text += &format!("{line}\n"));
        }
        if let Some(dir) = &plan.into {
            text += &format!("echo $$ > {}/cgroup.procs\n", dir.display());
        }
        text += &format!("set +e\necho joined\n{script}");
        let child =
            Command::new("sh").arg("-c").arg(text).stdin(Stdio::null()).stdout(Stdio::piped()).spawn();
        self.children.push(child.unwrap());
        let child = self.children.last_mut().unwrap();
        let mut line = String::new();
        BufReader::with_capacity(1, child.stdout.as_mut().unwrap()).read_line(&mut line).unwrap();
        assert_eq!(line, "joined\n");
        child
    }

    fn version(&self, controller: Controller) -> Version {
        self.h.find(controller).unwrap().version
    }

    /// The file of the group in the hierarchy of `controller`.
    fn read(&self, controller: Controller, v1: &str, v2: &str) -> String {
        let mount = self.h.find(controller).unwrap();
        let file = if mount.version == Version::V1 { v1 } else { v2 };
        std::fs::read_to_string(mount.group(&self.path).join(file)).unwrap().trim().to_owned()
    }
}

impl Drop for World {
    fn drop(&mut self) {
        let killed = self.top.kill();
        for child in &mut self.children {
            let _ = child.kill();
            let _ = child.wait();
        }
        let removed = self.top.remove();
        if !std::thread::panicking() {
            killed.unwrap();
            removed.unwrap();
            assert!(!self.top.exists());
        }
    }
}

fn perform(steps: &Steps) -> Result<(), Failure> {
    steps.iter().try_for_each(|step| step.perform(&mut Context::default()))
}

fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let end = Instant::now() + Duration::from_secs(20);
    while !holds() {
        assert!(Instant::now() < end, "not within 20 s: {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

fn memory(limit: u64, together: u64) -> Memory {
    let swap =
        Swap { with_memory: Amount::Of(together), alone: Amount::Of(together - limit), implied: false };
    Memory { limit: Some(Amount::Of(limit)), swap: Some(swap), ..Memory::default() }
}

/// A whole block device of this machine that is no loop device.
fn block_device() -> (u64, u64) {
    let disks = std::fs::read_dir("/sys/block").unwrap().flatten();
    let disk = disks.map(|entry| entry.path()).find(|path| path.to_string_lossy().contains("/vd")).unwrap();
    let text = std::fs::read_to_string(disk.join("dev")).unwrap();
    let (major, minor) = text.trim().split_once(':').unwrap();
    (major.parse().unwrap(), minor.parse().unwrap())
}

/// What the v2 mount's root hands on is the host's: put back as it was.
struct HandedOn(Option<(PathBuf, String)>);

impl HandedOn {
    fn now() -> Self {
        let h = Hierarchies::probe().unwrap();
        Self(h.v2().map(|mount| {
            let file = mount.dir.join("cgroup.subtree_control");
            (file.clone(), std::fs::read_to_string(file).unwrap())
        }))
    }
}

impl Drop for HandedOn {
    fn drop(&mut self) {
        let Some((file, before)) = &self.0 else { return };
        let now = std::fs::read_to_string(file).unwrap();
        let before: Vec<&str> = before.split_ascii_whitespace().collect();
        for name in now.split_ascii_whitespace().filter(|name| !before.contains(name)) {
            // Another test's group may need it by now; then that one is the owner.
            let _ = std::fs::write(file, format!("-{name}"));
        }
    }
}

#[test]
fn every_limit_is_in_force_after_the_write() {
    let _host = HandedOn::now();
    let world = World::new("limits");
    let device = block_device();
    let rate = |of, rate| Rate { device, of, rate: Amount::Of(rate) };
    let limits = Limits {
        memory: Memory { reservation: Some(Amount::Of(10_000_000)), ..memory(50_000_000, 80_000_000) },
        cpu: Cpu {
            shares: Some(Shares(2000)),
            quota: Some(Amount::Of(50_000)),
            period: Some(200_000),
            burst: Some(10_000),
            ..Cpu::default()
        },
        cpus: Some("0".into()),
        mems: Some("0".into()),
        pids: Some(Amount::Of(77)),
        io: Io {
            weight: Some(300),
            rates: vec![rate(Throttle::ReadBytes, 1 << 20), rate(Throttle::WriteOperations, 500)],
            ..Io::default()
        },
        hugetlb: vec![("2MB".into(), Amount::Of(5 << 20))],
        devices: vec![DENY, NULL],
        raw: vec![("pids.max".into(), "78".into())],
        ..Limits::default()
    };
    let plan = world.make(&limits);
    let mut checks = plan.checks.iter();
    checks
        .by_ref()
        .filter(|check| !check.file.ends_with("pids.max"))
        .for_each(|check| check.verify().unwrap());
    // v2 says quota and period in one file, both rates of the device in another, and devices in none.
    assert_eq!(plan.checks.len(), if world.version(Controller::Memory) == Version::V1 { 16 } else { 13 });
    // The raw file was written after the typed limit: the check of that one must see it.
    let pids = plan.checks.iter().find(|check| check.file.ends_with("pids.max")).unwrap();
    assert!(pids.verify().unwrap_err().to_string().ends_with(r#"reads "78" after "77" was written"#));

    // Not only by our own checks.
    assert_eq!(world.read(Controller::Memory, "memory.limit_in_bytes", "memory.max"), "49999872");
    assert_eq!(
        world.read(Controller::Cpu, "cpu.shares", "cpu.weight"),
        match world.version(Controller::Cpu) {
            Version::V1 => "2000",
            Version::V2 => "170",
        }
    );
    let bandwidth = world.read(Controller::Cpu, "cpu.cfs_quota_us", "cpu.max");
    assert!(["50000", "50000 200000"].contains(&bandwidth.as_str()), "{bandwidth}");
    assert_eq!(world.group.usage().memory_limit, Some(Amount::Of(49_999_872)));
    assert_eq!(world.group.usage().pids_limit, Some(Amount::Of(78)));
    assert!(world.group.usage().hugetlb.contains(&("2MB".into(), 0)));
}

#[test]
fn a_second_group_of_the_same_name_is_refused() {
    let world = World::new("twice");
    let plan = world.make(&Limits::default());
    let failure = perform(&plan.create).unwrap_err();
    assert_eq!((failure.step.as_ref(), failure.errno), ("cgroup.make", Errno::EXIST.raw_os_error()));
    assert!(failure.hint.unwrap().contains("another container"));
}

#[test]
fn a_process_joins_every_hierarchy() {
    let mut world = World::new("join");
    let plan = world.make(&Limits::default());
    let pid = world.spawn(&plan, "exec sleep 600").id();
    assert_eq!(world.group.processes(), [pid as i32]);
    let text = std::fs::read_to_string(format!("/proc/{pid}/cgroup")).unwrap();
    let joined = text.lines().filter(|line| line.ends_with(&format!(":{}", world.path))).count();
    assert_eq!(joined, plan.view.len(), "{text}");
    assert_eq!(world.group.usage().pids, Some(1));
    assert!(world.group.remove().unwrap_err().hint.unwrap().contains(&format!("process {pid}")));
}

#[test]
fn one_thread_joins_v1_by_itself() {
    let world = World::new("thread");
    world.make(&Limits::default());
    // A thread that joins is what init is: one that moves itself. On v2 alone there is nothing to join.
    let joins = || {
        let plan = plan(&world.h, &world.path, &Limits::default()).unwrap();
        perform(&plan.join).unwrap();
        let text = std::fs::read_to_string("/proc/thread-self/cgroup").unwrap();
        assert_eq!(
            text.lines().filter(|line| line.ends_with(&world.path)).count(),
            plan.join.len(),
            "{text}"
        );
    };
    std::thread::scope(|scope| scope.spawn(joins).join()).unwrap();
}

#[test]
fn frozen_processes_use_no_time() {
    let mut world = World::new("freeze");
    let plan = world.make(&Limits::default());
    world.spawn(&plan, "while :; do :; done");
    world.group.freeze().unwrap();
    let before = world.group.usage().cpu.unwrap();
    std::thread::sleep(Duration::from_millis(150));
    assert_eq!(world.group.usage().cpu.unwrap(), before);
    world.group.thaw().unwrap();
    let failure = world.group.not_frozen(true, Duration::ZERO).to_string();
    assert!(failure.contains(&format!("process {} is in", world.children[0].id())), "{failure}");
    eventually("runs again", || world.group.usage().cpu.unwrap() > before + 10_000_000);
    world.group.freeze().unwrap();
    world.group.kill().unwrap();
    let status = world.children[0].wait().unwrap();
    assert_eq!(status.signal(), Some(9));
    assert!(world.group.processes().is_empty());
}

fn kill_a_crowd(mut world: World) {
    let plan = world.make(&Limits { pids: Some(Amount::Of(200)), ..Limits::default() });
    // Forks faster than one could kill one by one.
    let crowd = "while :; do sh -c 'while :; do sleep 0.01; done' & sleep 0.005; done";
    world.spawn(&plan, &format!("trap '' TERM INT; exec 2>/dev/null; {crowd}"));
    eventually("a crowd", || world.group.processes().len() > 15);
    world.group.kill().unwrap();
    assert!(world.group.processes().is_empty());
    assert_eq!(world.children[0].wait().unwrap().signal(), Some(9));
    world.group.remove().unwrap();
    assert!(!world.group.exists());
}

#[test]
fn a_stubborn_crowd_is_killed() {
    kill_a_crowd(World::new("kill"));
}

#[test]
fn a_stubborn_crowd_is_killed_by_hand_where_v2_cannot_help() {
    let mut world = World::new("kill-v1");
    world.h.mounts.retain(|mount| mount.version == Version::V1);
    if world.h.mounts.is_empty() {
        return println!("skipped: this host has no v1 hierarchy");
    }
    world.group = Group::open(&world.h, &world.path).unwrap();
    world.top = Group::open(&world.h, world.top.path()).unwrap();
    kill_a_crowd(world);
}

#[test]
fn groups_below_go_with_it() {
    let mut world = World::new("below");
    let plan = world.make(&Limits::default());
    let pid = world.spawn(&plan, "exec sleep 600").id();
    for mount in &world.h.mounts {
        let below = mount.group(&world.path).join("inner/most");
        std::fs::create_dir_all(&below).unwrap();
        if mount.has("memory") || mount.has("pids") {
            std::fs::write(below.join("cgroup.procs"), pid.to_string()).unwrap();
        }
    }
    assert_eq!(world.group.processes(), [pid as i32]);
    world.group.kill().unwrap();
    world.children[0].wait().unwrap();
    world.group.remove().unwrap();
    assert!(!world.group.exists());
}

#[test]
fn the_kernel_kills_for_want_of_memory_and_tells_whom() {
    let mut world = World::new("oom");
    let plan = world.make(&Limits { memory: memory(16 << 20, 16 << 20), ..Limits::default() });
    assert_eq!(world.group.oom_kills(), Some(0));
    assert!(oom::victims(&world.path, 1).is_empty());
    let child = world.spawn(&plan, "exec tail /dev/zero");
    let pid = child.id() as i32;
    assert_eq!(child.wait().unwrap().signal(), Some(9));
    assert_eq!(world.group.oom_kills(), Some(1));
    // The log may be closed to us, and then it is empty; as root here it is open.
    assert_eq!(oom::victims(&world.path, 1), [oom::Victim { name: "tail".into(), pid }]);
    let usage = world.group.usage();
    if world.version(Controller::Memory) == Version::V1 || usage.memory_peak.is_some() {
        assert!(usage.memory_peak.unwrap() > 12 << 20, "{usage:?}");
    }
}

#[test]
fn a_group_of_few_tasks_forks_no_more() {
    let mut world = World::new("pids");
    let plan = world.make(&Limits { pids: Some(Amount::Of(1)), ..Limits::default() });
    let status = world.spawn(&plan, "(:) 2>/dev/null").wait().unwrap();
    assert!(!status.success(), "one task could fork");
}

#[test]
fn only_allowed_devices_open() {
    let mut world = World::new("devices");
    let plan = world.make(&Limits { devices: vec![DENY, NULL], ..Limits::default() });
    let status = world.spawn(&plan, "exec head -c 0 /dev/null").wait().unwrap();
    assert!(status.success());
    let status = world.spawn(&plan, "exec head -c 1 /dev/zero 2>/dev/null").wait().unwrap();
    assert!(!status.success(), "/dev/zero opened");
}

#[test]
fn the_device_program_loads_and_decides() {
    let mut world = World::new("bpf");
    let Some(mount) = world.h.v2().cloned() else {
        return println!("skipped: this host has no v2 hierarchy");
    };
    let dir = mount.group(&world.path);
    // Every kind of block that the encoder has: the verifier must take them all.
    let part = |allow, kind, major, minor, access| Rule {
        allow,
        kind,
        major,
        minor,
        access: Access::parse(access).unwrap(),
    };
    let rules = [
        DENY,
        part(true, Kind::All, None, None, "m"),
        part(true, Kind::Block, Some(7), None, "r"),
        part(true, Kind::Char, Some(1), None, "rw"),
        part(false, Kind::Char, Some(1), Some(5), "rw"),
        part(false, Kind::All, Some(1), Some(7), "w"),
    ];
    let step = |program| Step::AttachDevices { dir: dir.clone(), program };
    Step::Make { mount: mount.dir.clone(), dir: dir.clone(), cpuset: false }
        .perform(&mut Context::default())
        .unwrap();
    step(devices::program(&rules)).perform(&mut Context::default()).unwrap();
    let plan = Plan { into: Some(dir.clone()), ..Plan::default() };
    let mut opens = |script: &str| world.spawn(&plan, script).wait().unwrap().success();
    assert!(opens("exec head -c 0 /dev/null"));
    assert!(opens("exec head -c 0 /dev/full"));
    assert!(!opens("exec 2>/dev/null; exec head -c 1 /dev/zero"));
    assert!(!opens("exec 2>/dev/null; : > /dev/full"));
    // Programs of one group must all say yes.
    step(devices::program(&[DENY])).perform(&mut Context::default()).unwrap();
    assert!(!opens("exec head -c 0 /dev/null"));
}

#[test]
fn limits_of_a_running_group_change_both_ways() {
    let mut world = World::new("update");
    let mib = |limit: u64, together: u64| Limits {
        memory: memory(limit << 20, together << 20),
        ..Limits::default()
    };
    let failure = update(&world.h, &world.path, &mib(64, 64)).unwrap_err();
    assert_eq!(failure.hint.as_deref(), Some("the container is not running"));
    let plan = world.make(&mib(64, 64));
    world.spawn(&plan, "exec sleep 600");
    for limits in [mib(200, 300), mib(32, 32), mib(400, 400), mib(64, 500), mib(100, 100)] {
        update(&world.h, &world.path, &limits).unwrap();
    }
    let now = |file| world.read(Controller::Memory, file, "memory.max");
    assert_eq!(now("memory.limit_in_bytes"), "104857600");

    let cpu = |quota, period, burst| Limits {
        cpu: Cpu { quota, period, burst, ..Cpu::default() },
        ..Limits::default()
    };
    update(&world.h, &world.path, &cpu(Some(Amount::Of(80_000)), Some(100_000), Some(70_000))).unwrap();
    update(&world.h, &world.path, &cpu(Some(Amount::Of(20_000)), Some(50_000), Some(5_000))).unwrap();
    update(&world.h, &world.path, &cpu(None, Some(40_000), None)).unwrap();
    assert!(
        world.read(Controller::Cpu, "cpu.cfs_quota_us", "cpu.max").starts_with("20000"),
        "the quota stays"
    );
    update(&world.h, &world.path, &cpu(Some(Amount::Max), None, None)).unwrap();
    let limits = Limits { cpus: Some("0".into()), pids: Some(Amount::Of(9)), ..Limits::default() };
    update(&world.h, &world.path, &limits).unwrap();
    assert_eq!(world.read(Controller::Cpuset, "cpuset.cpus", "cpuset.cpus"), "0");

    let endless = Limits {
        memory: Memory {
            limit: Some(Amount::Max),
            swap: Some(Swap { with_memory: Amount::Max, alone: Amount::Max, implied: true }),
            ..Memory::default()
        },
        ..Limits::default()
    };
    update(&world.h, &world.path, &endless).unwrap();
    assert_eq!(world.group.usage().memory_limit, Some(Amount::Max));
    let failure =
        update(&world.h, &world.path, &Limits { devices: vec![DENY], ..Limits::default() }).unwrap_err();
    assert_eq!(failure.target, "devices");
}

#[test]
fn a_limit_below_use_is_refused_with_the_use() {
    let mut world = World::new("below-use");
    let plan = world.make(&Limits { memory: memory(200 << 20, 200 << 20), ..Limits::default() });
    world.spawn(&plan, "exec python3 -c 'import time; x = bytearray(b\"x\" * (50 << 20)); time.sleep(600)'");
    eventually("50 MiB in use", || world.group.usage().memory.unwrap() > 50 << 20);
    let mut limits = Limits { memory: memory(8 << 20, 8 << 20), ..Limits::default() };
    limits.memory.check_before_update = true;
    let failure = update(&world.h, &world.path, &limits).unwrap_err();
    if world.version(Controller::Memory) == Version::V1 {
        // The kernel refuses of itself, when it has freed what it could.
        assert_eq!(failure.errno, Errno::BUSY.raw_os_error());
        let words = "unable to set memory limit to 8388608 (current usage: ";
        assert!(failure.to_string().contains(words), "{failure}");
        assert!(failure.to_string().contains(", peak usage: "), "{failure}");
        assert!(failure.hint.unwrap().starts_with("the group uses "));
    } else {
        assert!(failure.to_string().contains("rejecting memory+swap limit 8388608 <= usage "), "{failure}");
        limits.memory.swap = None;
        let failure = update(&world.h, &world.path, &limits).unwrap_err();
        assert!(failure.to_string().contains("rejecting memory limit 8388608 <= usage "), "{failure}");
    }
    assert_eq!(world.group.usage().memory_limit, Some(Amount::Of(200 << 20)));
}

#[test]
fn a_parent_without_processors_gets_them() {
    let world = World::new("cpuset");
    let Some(mount) = world.h.find(Controller::Cpuset).filter(|mount| mount.version == Version::V1).cloned()
    else {
        return println!("skipped: this host's cpuset is not v1");
    };
    // Someone else made the parent and left it as mkdir(2) makes it.
    let top = mount.group(world.top.path());
    std::fs::create_dir(&top).unwrap();
    world.make(&Limits::default());
    let read = |dir: &Path, file: &str| std::fs::read_to_string(dir.join(file)).unwrap();
    for file in ["cpuset.cpus", "cpuset.mems"] {
        assert_eq!(read(&top.join("x"), file), read(&mount.dir, file));
        assert_eq!(read(&top, file), read(&mount.dir, file));
    }
    assert_eq!(read(&top, "cgroup.clone_children"), "0\n", "what is not ours keeps its flag");
}

#[test]
fn many_start_at_once_below_a_new_parent() {
    for round in 0..5 {
        let world = World::new(&format!("crowd-{round}"));
        std::thread::scope(|scope| {
            for n in 0..6 {
                let (h, path) = (&world.h, format!("{}/{n}", world.top.path()));
                scope.spawn(move || {
                    let plan =
                        plan(h, &path, &Limits { pids: Some(Amount::Of(5)), ..Limits::default() }).unwrap();
                    perform(&plan.create).unwrap();
                    plan.checks.iter().for_each(|check| check.verify().unwrap());
                    perform(&plan.join).unwrap();
                });
            }
        });
    }
}
