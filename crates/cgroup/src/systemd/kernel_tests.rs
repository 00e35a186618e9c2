//! The module against a real systemd, in the QEMU machine: `cargo xtask e2e --systemd`. Ignored elsewhere, and failing
//! where systemd is not process 1.
//!
//! What systemd has is asked of systemctl, what the kernel has of the files. Each test has a unit of its own, named by
//! this process, and takes it away.

use std::io::{BufRead, BufReader};
use std::os::unix::process::{CommandExt as _, ExitStatusExt as _};
use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use ::step::{Context, Failure, Shell, Step as _, Steps};

use super::bus::{Address, Bus, PATIENCE, bus_method};
use super::message::{Kind as MessageKind, Message};
use super::place::Place;
use super::wire::tests::all;
use super::*;
use crate::devices::{Access, Kind, Rule};
use crate::hierarchies::Controller;
use crate::limits::{Amount, Cpu, Memory, Shares, Swap};
use crate::{Group, Hierarchies, Limits, Plan, Version};

const DENY: Rule = Rule { allow: false, kind: Kind::All, major: None, minor: None, access: Access::ALL };
const NULL: Rule =
    Rule { allow: true, kind: Kind::Char, major: Some(1), minor: Some(3), access: Access::ALL };

/// A unit in a slice of the test's own, and the processes that are put into it.
struct World {
    h: Hierarchies,
    manager: Manager,
    unit: Unit,
    slice: Unit,
    children: Vec<Child>,
}

impl World {
    fn new(name: &str) -> Self {
        let slice = format!("minidockertest{}{name}.slice", std::process::id());
        let unit = Unit::parse(&format!("{slice}:test:{name}"), "none", false).unwrap();
        let slice = Unit::parse(&format!("::{slice}"), "none", false).unwrap();
        let manager = Manager::connect(false).unwrap();
        Self { h: Hierarchies::probe().unwrap(), manager, unit, slice, children: Vec::new() }
    }

    fn path(&self) -> String {
        self.manager.facts().path(&self.unit)
    }

    fn group(&self) -> Group {
        Group::open(&self.h, &self.path()).unwrap()
    }

    fn plan(&self, limits: &Limits, extra: Vec<Property>) -> Plan {
        let request = Request { unit: &self.unit, limits, extra, confined: true };
        plan(&self.h, self.manager.facts(), request).unwrap()
    }

    /// A shell that waits for a line, and then runs `script`.
    fn wait(&mut self, script: &str) -> i32 {
        let text = format!("read line && {script}");
        let mut command = Command::new("sh");
        command.args(["-c", &text]).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
        // A group of its own: systemd's signals are not for the test.
        let child = command.process_group(0).spawn().unwrap();
        let pid = child.id().cast_signed();
        self.children.push(child);
        pid
    }

    /// Lets the last one go on; what it says.
    fn go(&mut self) -> String {
        let mut child = self.children.pop().unwrap();
        drop(std::io::Write::write_all(&mut child.stdin.take().unwrap(), b"\n"));
        let mut said = String::new();
        std::io::Read::read_to_string(&mut child.stdout.take().unwrap(), &mut said).unwrap();
        child.wait().unwrap();
        said
    }

    /// Starts the unit around a waiting shell, with all that a container gets.
    fn start(&mut self, limits: &Limits, extra: Vec<Property>, script: &str) -> (i32, Plan) {
        let pid = self.wait(script);
        let plan = self.plan(limits, extra);
        perform(&plan.create, pid).unwrap();
        (pid, plan)
    }

    /// A property of the unit, as systemctl shows it.
    fn shown(&self, name: &str) -> String {
        let output = run(Command::new("systemctl").args(["show", "--value", "-p", name, &self.unit.name]));
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    }

    fn file(&self, controller: Controller, v1: &str, v2: &str) -> String {
        let mount = self.h.find(controller).unwrap();
        let file = if mount.version == Version::V1 { v1 } else { v2 };
        let path = mount.group(&self.path()).join(file);
        std::fs::read_to_string(&path)
            .unwrap_or_else(|error| panic!("{}: {error}", path.display()))
            .trim()
            .to_owned()
    }

    fn v1(&self) -> bool {
        self.h.find(Controller::Memory).unwrap().version == Version::V1
    }

    /// Kills, stops and removes as the end of a container does.
    fn end(&mut self) -> Result<(), Failure> {
        self.group().kill()?;
        for mut child in self.children.drain(..) {
            // Killed already, unless it never came into the group.
            let _ = child.kill();
            let _ = child.wait();
        }
        self.manager.stop(&self.unit)?;
        self.group().remove()?;
        self.manager.stop(&self.slice)?;
        Group::open(&self.h, &self.manager.facts().path(&self.slice))?.remove()
    }
}

impl Drop for World {
    fn drop(&mut self) {
        let ended = self.end();
        if !std::thread::panicking() {
            ended.unwrap();
            assert!(!self.group().exists());
            assert_eq!(self.manager.state(&self.unit).unwrap(), "inactive");
            let listed =
                run(Command::new("systemctl").args(["list-units", "--all", "--plain", "--no-legend"]));
            let listed = String::from_utf8_lossy(&listed.stdout).into_owned();
            assert!(!listed.contains(&self.unit.name), "{listed}");
        }
    }
}

fn perform(steps: &Steps, init: i32) -> Result<(), Failure> {
    let mut context = Context { init: Some(init), ..Context::default() };
    steps.iter().try_for_each(|step| step.perform(&mut context))
}

fn run(command: &mut Command) -> Output {
    let output = command.stdin(Stdio::null()).output().unwrap();
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    output
}

fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let end = Instant::now() + Duration::from_secs(60);
    while !holds() {
        assert!(Instant::now() < end, "not within 60 s: {what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

fn text(key: &str, value: &str) -> Vec<Property> {
    let (key, value) = (format!("org.systemd.property.{key}"), value.to_owned());
    annotations([(&key, &value)]).unwrap()
}

fn limits() -> Limits {
    let swap = Swap { with_memory: Amount::Of(96 << 20), alone: Amount::Of(32 << 20), implied: false };
    Limits {
        memory: Memory {
            limit: Some(Amount::Of(64 << 20)),
            reservation: Some(Amount::Of(16 << 20)),
            swap: Some(swap),
            ..Memory::default()
        },
        cpu: Cpu {
            shares: Some(Shares(512)),
            quota: Some(Amount::Of(50_001)),
            period: Some(100_000),
            ..Cpu::default()
        },
        cpus: Some("0".into()),
        mems: Some("0".into()),
        pids: Some(Amount::Of(64)),
        devices: vec![DENY, NULL],
        ..Limits::default()
    }
}

const WHY: &str = "needs systemd as process 1: cargo xtask e2e --systemd";

/// Every process 1 that is not systemd makes every test here fail rather than pass.
#[test]
#[ignore = "needs systemd: cargo xtask e2e --systemd"]
fn systemd_is_process_1_and_says_who_it_is() {
    let name = std::fs::read_to_string("/proc/1/comm").unwrap();
    assert_eq!(name, "systemd\n", "{WHY}");
    let manager = Manager::connect(false).unwrap();
    let told = run(Command::new("systemctl").arg("--version"));
    let told = String::from_utf8(told.stdout).unwrap();
    let version = told.split(' ').nth(1).unwrap();
    assert_eq!(manager.facts().version.to_string(), version);
    assert_eq!((manager.facts().root.as_str(), manager.facts().rootless), ("", false));
}

#[test]
#[ignore = "needs systemd: cargo xtask e2e --systemd"]
fn a_bus_takes_every_type_and_gives_it_back() {
    // The bus checks every byte of a message and hangs up on who sends a wrong one.
    let mut bus = Bus::connect(&Address::Path("/run/dbus/system_bus_socket".into()), true).unwrap();
    let rule = "type='signal',interface='org.example.Minidocker'";
    bus.call(bus_method("AddMatch"), vec![rule.into()]).unwrap();
    let mut signal = Message::call(bus_method("Everything"), all());
    signal.kind = MessageKind::Signal;
    signal.destination = None;
    signal.interface = Some("org.example.Minidocker".into());
    bus.send(&signal).unwrap();
    let ours =
        |message: &Message| (message.member.as_deref() == Some("Everything")).then(|| message.body.clone());
    assert_eq!(bus.signal(Instant::now() + PATIENCE, ours).unwrap(), all());
}

#[test]
#[ignore = "needs systemd: cargo xtask e2e --systemd"]
fn a_unit_has_its_process_and_its_limits_with_systemd_and_in_the_files() {
    let mut world = World::new("limits");
    let (pid, plan) = world.start(&limits(), text("TimeoutStopSec", "uint64 7"), "true");
    // In every hierarchy that is used.
    let places = std::fs::read_to_string(format!("/proc/{pid}/cgroup")).unwrap();
    for line in places.lines() {
        let used = line.ends_with(&format!(":{}", world.path()));
        let unused = ["misc", "perf_event", "rdma"].iter().any(|name| line.contains(name));
        assert!(used || (unused && world.v1()), "{places}");
    }
    let inside = plan.join.iter().map(|step| step.call()).collect::<Vec<_>>().join(" ");
    assert!(inside.contains(&world.path()), "{inside}");

    let check = |world: &World| {
        plan.checks.iter().for_each(|check| check.verify().unwrap());
        for (name, value) in [
            ("ActiveState", "active"),
            ("Delegate", "yes"),
            ("Slice", world.slice.name.as_str()),
            ("ControlGroup", &world.path()),
            ("TasksMax", "64"),
            ("CPUQuotaPerSecUSec", "510ms"),
            ("CPUQuotaPeriodUSec", "100ms"),
            ("AllowedCPUs", "0"),
            ("DevicePolicy", "strict"),
            ("DeviceAllow", "/dev/char/1:3 rwm"),
            ("TimeoutStopUSec", "7s"),
            ("DefaultDependencies", "no"),
        ] {
            assert_eq!(world.shown(name), value, "{name}");
        }
        let own: &[(&str, &str)] = match world.v1() {
            true => &[("MemoryLimit", "67108864"), ("CPUShares", "512")],
            false => &[
                ("MemoryMax", "67108864"),
                ("MemoryLow", "16777216"),
                ("MemorySwapMax", "33554432"),
                ("CPUWeight", "59"),
            ],
        };
        own.iter().for_each(|(name, value)| assert_eq!(world.shown(name), *value, "{name}"));
        assert_eq!(world.file(Controller::Pids, "pids.max", "pids.max"), "64");
        let quota = world.file(Controller::Cpu, "cpu.cfs_quota_us", "cpu.max");
        assert_eq!(quota.split(' ').next(), Some("51000"), "rounded up to a percent in both");
    };
    check(&world);
    // The reason why systemd must know them.
    run(Command::new("systemctl").arg("daemon-reload"));
    check(&world);
}

#[test]
#[ignore = "needs systemd: cargo xtask e2e --systemd"]
fn idle_stays_idle() {
    let mut world = World::new("idle");
    let cpu = Cpu { idle: Some(true), ..Cpu::default() };
    world.start(&Limits { cpu, ..Limits::default() }, vec![], "true");
    assert_eq!(world.file(Controller::Cpu, "cpu.idle", "cpu.idle"), "1");
    run(Command::new("systemctl").arg("daemon-reload"));
    assert_eq!(world.file(Controller::Cpu, "cpu.idle", "cpu.idle"), "1");
}

#[test]
#[ignore = "needs systemd: cargo xtask e2e --systemd"]
fn an_update_reaches_both() {
    let mut world = World::new("update");
    world.start(&limits(), vec![], "true");
    let new = Limits {
        memory: Memory { limit: Some(Amount::Of(80 << 20)), ..Memory::default() },
        // Half of a bandwidth: the other half is what runs.
        cpu: Cpu { period: Some(50_000), ..Cpu::default() },
        pids: Some(Amount::Max),
        ..Limits::default()
    };
    let (h, unit) = (world.h.clone(), world.unit.clone());
    update(&mut world.manager, &h, &unit, &new).unwrap();
    let check = |world: &World| {
        let memory = if world.v1() { "MemoryLimit" } else { "MemoryMax" };
        for (name, value) in [
            (memory, "83886080"),
            ("TasksMax", "infinity"),
            ("CPUQuotaPerSecUSec", "1.020000s"),
            ("CPUQuotaPeriodUSec", "50ms"),
        ] {
            assert_eq!(world.shown(name), value, "{name}");
        }
        assert_eq!(world.file(Controller::Memory, "memory.limit_in_bytes", "memory.max"), "83886080");
        assert_eq!(world.file(Controller::Pids, "pids.max", "pids.max"), "max");
        let quota = world.file(Controller::Cpu, "cpu.cfs_quota_us", "cpu.max");
        assert_eq!(quota.split(' ').next(), Some("51000"));
    };
    check(&world);
    run(Command::new("systemctl").arg("daemon-reload"));
    check(&world);
    // What the kernel would refuse reaches neither.
    let devices = Limits { devices: vec![DENY], pids: Some(Amount::Of(5)), ..Limits::default() };
    assert!(update(&mut world.manager, &h, &unit, &devices).is_err());
    let cpus = Limits { cpus: Some("4000".into()), pids: Some(Amount::Of(5)), ..Limits::default() };
    assert!(update(&mut world.manager, &h, &unit, &cpus).is_err());
    check(&world);
}

#[test]
#[ignore = "needs systemd: cargo xtask e2e --systemd"]
fn devices_are_what_the_rules_allow_and_stay_so() {
    let script = "for d in null zero full; do (: <> /dev/$d) 2>/dev/null && echo $d; done";
    // As systemd can say it, and as only our own program or table can.
    let full = Rule { allow: true, kind: Kind::Char, major: None, minor: Some(7), access: Access::ALL };
    for (name, rules, allowed) in
        [("devices", vec![DENY, NULL], "null\n"), ("minors", vec![DENY, NULL, full], "null\nfull\n")]
    {
        let mut world = World::new(name);
        let limits = Limits { devices: rules, ..Limits::default() };
        // Another process, which joins later: the first waits with its devices open already.
        world.start(&limits, vec![], "true");
        for reload in [false, true] {
            if reload {
                run(Command::new("systemctl").arg("daemon-reload"));
            }
            let pid = world.wait(script);
            let unit = world.unit.clone();
            world.manager.attach(&unit, "", &[pid]).unwrap();
            if let Some(mount) = world.h.find(Controller::Devices).filter(|_| world.v1()) {
                // Only hierarchies that systemd uses are attached to by it.
                std::fs::write(mount.group(&world.path()).join("tasks"), pid.to_string()).unwrap();
            }
            // There is one table in version 1, and a reload makes it what systemd can say: less, never more.
            let narrowed = reload && world.v1() && name == "minors";
            let expected = if narrowed { "null\n" } else { allowed };
            assert_eq!(world.go(), expected, "{name}, reloaded: {reload}");
        }
    }
}

#[test]
#[ignore = "needs systemd: cargo xtask e2e --systemd"]
fn a_failed_unit_that_was_left_behind_is_cleared() {
    let mut world = World::new("failed");
    world.start(&Limits::default(), text("RuntimeMaxSec", "1"), "true");
    let mut child = world.children.pop().unwrap();
    let _open = child.stdin.take();
    // systemd ends it after a second and remembers the unit as failed.
    assert_eq!(child.wait().unwrap().signal(), Some(15));
    let unit = world.unit.clone();
    eventually("the unit has failed", || world.manager.state(&unit).unwrap() == "failed");
    let pid = world.wait("true");
    world.manager.start(&unit, Some(pid), &[]).unwrap();
    assert_eq!(world.manager.state(&unit).unwrap(), "active");
    assert_eq!(world.manager.control_group(&unit).unwrap(), Some(world.path()));
}

#[test]
#[ignore = "needs systemd: cargo xtask e2e --systemd"]
fn a_unit_that_runs_is_left_alone() {
    let mut world = World::new("running");
    let (first, _) = world.start(&Limits::default(), vec![], "true");
    let second = world.wait("true");
    let unit = world.unit.clone();
    let failure = world.manager.start(&unit, Some(second), &[]).unwrap_err();
    assert!(failure.hint.as_deref().unwrap_or_default().contains("another container"), "{failure}");
    assert_eq!(world.group().processes(), [first]);
}

#[test]
#[ignore = "needs systemd: cargo xtask e2e --systemd"]
fn what_systemd_does_not_take_is_told_in_its_words() {
    let mut world = World::new("refused");
    let unit = world.unit.clone();
    let pid = world.wait("true");
    let failure = world.manager.start(&unit, Some(pid), &text("NoSuchProperty", "true")).unwrap_err();
    assert!(failure.to_string().contains("Cannot set property NoSuchProperty"), "{failure}");
    let failure = world.manager.start(&unit, Some(pid), &text("TasksMax", "'many'")).unwrap_err();
    assert!(failure.hint.as_deref().unwrap_or_default().contains("exact type"), "{failure:?}");
    let failure = world.manager.start(&unit, None, &[]).unwrap_err();
    assert_eq!(failure.step, "systemd.start", "a scope without a process: {failure}");
    // Nobody is there to be put into it: pid_max is less.
    let failure = world.manager.start(&unit, Some(i32::MAX), &[]).unwrap_err();
    assert_eq!(failure.step, "systemd.start", "{failure}");
    assert_eq!(world.manager.state(&unit).unwrap(), "inactive");
    let failure = world.manager.set(&unit, &[Property::new("TasksMax", 5)]).unwrap_err();
    assert_eq!(failure.step, "systemd.set", "a unit that is not there: {failure}");
    world.manager.stop(&unit).unwrap();
}

#[test]
#[ignore = "needs systemd: cargo xtask e2e --systemd"]
fn systemds_own_socket_does_without_a_bus() {
    let mut world = World::new("private");
    let place = Place { address: Address::Path("/run/systemd/private".into()), bus: false };
    world.manager = Manager::connect_to(&place, false).unwrap();
    let pid = world.wait("true");
    let unit = world.unit.clone();
    world.manager.start(&unit, Some(pid), &[Property::new("TasksMax", 64)]).unwrap();
    assert_eq!(world.shown("TasksMax"), "64");
    assert_eq!(world.group().processes(), [pid]);
}

#[test]
#[ignore = "needs systemd: cargo xtask e2e --systemd"]
fn slices_without_processes() {
    let mut manager = Manager::connect(false).unwrap();
    let name = format!("minidockertest{}pods", std::process::id());
    let unit = Unit::parse(&format!("{name}.slice::{name}-burstable.slice"), "none", false).unwrap();
    let limits = Limits { pids: Some(Amount::Of(99)), ..Limits::default() };
    let h = Hierarchies::probe().unwrap();
    let properties = translate(&h, &limits, manager.facts().version).unwrap().properties;
    manager.start(&unit, None, &properties).unwrap();
    manager.start(&unit, None, &properties).unwrap();
    let max = h.find(Controller::Pids).unwrap().group(&unit.path).join("pids.max");
    assert_eq!(std::fs::read_to_string(max).unwrap(), "99\n");
    for slice in [format!("{name}-burstable.slice"), format!("{name}.slice")] {
        let unit = Unit::parse(&format!("::{slice}"), "none", false).unwrap();
        manager.stop(&unit).unwrap();
        assert_eq!(manager.state(&unit).unwrap(), "inactive");
    }
}

#[test]
#[ignore = "needs systemd: cargo xtask e2e --systemd"]
fn a_scope_goes_with_its_last_process() {
    let mut world = World::new("gone");
    world.start(&limits(), vec![], "true");
    let unit = world.unit.clone();
    world.go();
    eventually("systemd has removed the scope", || world.manager.state(&unit).unwrap() == "inactive");
    assert_eq!(world.manager.control_group(&unit).unwrap(), None);
    if !world.v1() {
        assert!(!world.group().exists());
    }
}

#[test]
#[ignore = "needs systemd: cargo xtask e2e --systemd"]
fn the_script_of_a_start_does_it() {
    let mut world = World::new("script");
    let start = Step::Start {
        unit: world.unit.clone(),
        properties: vec![
            Property::new("TasksMax", 64),
            Property::new("DeviceAllow", Value::pairs([("/dev/null", "rw")])),
        ],
        rootless: false,
    };
    let Shell::Lines(lines) = start.shell() else { panic!() };
    let script = format!("set -e\n{}\necho $$\nread line\n", lines.join("\n"));
    let mut command = Command::new("sh");
    command.args(["-c", &script]).stdin(Stdio::piped()).stdout(Stdio::piped()).process_group(0);
    let mut child = command.spawn().unwrap();
    let mut out = BufReader::new(child.stdout.take().unwrap());
    let (mut job, mut pid) = (String::new(), String::new());
    out.read_line(&mut job).unwrap();
    out.read_line(&mut pid).unwrap();
    world.children.push(child);
    assert!(job.starts_with("o \"/org/freedesktop/systemd1/job/"), "{job}");
    let pid: i32 = pid.trim().parse().unwrap();
    let group = world.group();
    eventually("the shell is in the unit", || group.processes() == [pid]);
    assert_eq!((world.shown("TasksMax"), world.shown("DeviceAllow")), ("64".into(), "/dev/null rw".into()));
    let Shell::Lines(lines) = (Step::Stop { unit: world.unit.clone(), rootless: false }).shell() else {
        panic!()
    };
    run(Command::new("sh").args(["-c", &lines[0]]));
    assert_eq!(world.manager.state(&world.unit.clone()).unwrap(), "inactive");
}

#[test]
#[ignore = "needs systemd: cargo xtask e2e --systemd"]
fn many_starts_at_once_hear_of_their_own_jobs() {
    let threads: Vec<_> = (0..12)
        .map(|number| {
            std::thread::spawn(move || {
                let mut world = World::new(&format!("many{number}"));
                let (pid, plan) = world.start(&limits(), vec![], "true");
                plan.checks.iter().for_each(|check| check.verify().unwrap());
                assert_eq!(world.group().processes(), [pid]);
            })
        })
        .collect();
    threads.into_iter().for_each(|thread| thread.join().unwrap());
}

/// The user's systemd of `nobody`, from the inside of this program run again as that user.
#[test]
#[ignore = "needs systemd: cargo xtask e2e --systemd"]
fn a_users_own_systemd_keeps_the_users_units() {
    const NOBODY: &str = "65534";
    run(Command::new("systemctl").args(["start", &format!("user@{NOBODY}.service")]));
    let runtime = PathBuf::from(format!("/run/user/{NOBODY}"));
    // By the user's bus if there is one, else by the socket of the user's systemd; and once more from inside a user
    // namespace, where the user has another number.
    for namespace in [&[][..], &["unshare", "--user", "--map-root-user"]] {
        let mut command = Command::new("setpriv");
        command.args(["--reuid", NOBODY, "--regid", NOBODY, "--clear-groups", "env", "-i"]);
        command.arg(format!("XDG_RUNTIME_DIR={}", runtime.display())).arg("PATH=/usr/bin:/bin");
        command.args(namespace).arg(std::env::current_exe().unwrap());
        let output =
            run(command.args(["--exact", "--ignored", "--nocapture", "systemd::kernel_tests::as_a_user"]));
        let said = String::from_utf8_lossy(&output.stdout);
        assert!(said.contains("1 passed"), "{said}");
    }
    run(Command::new("systemctl").args(["stop", &format!("user@{NOBODY}.service")]));
}

/// Run by the test before this one, as a user with a systemd of its own; run by root there is none to be found.
#[test]
#[ignore = "part of a_users_own_systemd_keeps_the_users_units"]
fn as_a_user() {
    if std::env::var_os("XDG_RUNTIME_DIR").is_none() {
        let failure = Manager::connect(true).unwrap_err();
        assert!(failure.hint.unwrap().contains("enable-linger"));
        return;
    }
    let mut manager = Manager::connect(true).unwrap();
    assert_eq!(manager.facts().root, "/user.slice/user-65534.slice/user@65534.service");
    let unit = Unit::parse("", &format!("test-{}", std::process::id()), true).unwrap();
    let mut child = Command::new("sleep").arg("600").stdin(Stdio::null()).process_group(0).spawn().unwrap();
    let pid = child.id().cast_signed();
    let started = manager.start(&unit, Some(pid), &[Property::new("TasksMax", 64)]);
    let places = std::fs::read_to_string(format!("/proc/{pid}/cgroup")).unwrap();
    let path = manager.facts().path(&unit);
    child.kill().unwrap();
    child.wait().unwrap();
    started.unwrap();
    let own = format!("/user.slice/user-65534.slice/user@65534.service/user.slice/{}", unit.name);
    assert_eq!(path, own);
    assert!(places.lines().any(|line| line == format!("0::{own}")), "{places}");
    manager.stop(&unit).unwrap();
    assert_eq!(manager.state(&unit).unwrap(), "inactive");
}
