//! `--systemd-cgroup`: containers as units of a real systemd. What systemd thinks is asked of systemctl(1), what holds of
//! the kernel's files.

use std::fs;
use std::path::PathBuf;

use minidocker_tests::bundle::{Bundle, Runtime};
use minidocker_tests::{Rootfs, World};
use serde_json::json;

/// A container in a unit of its own.
struct Unit {
    name: String,
}

impl Unit {
    /// The bundle with its cgroupsPath, and the unit that it should become.
    fn of<'r>(runtime: &'r Runtime, root: &Rootfs) -> (Bundle<'r>, Self) {
        let bundle = runtime.bundle(root);
        let prefix = runtime.world().name().to_owned();
        let name = format!("{prefix}-{}.scope", bundle.id());
        let path = format!("system.slice:{prefix}:{}", bundle.id());
        (bundle.with("/linux/cgroupsPath", path), Self { name })
    }

    /// One of its properties, as systemd has it.
    fn property(&self, runtime: &Runtime, name: &str) -> String {
        let words = ["systemctl", "show", "--property", name, "--value", &self.name];
        runtime.world().program(words).run().text().trim().to_owned()
    }

    fn directory(&self) -> PathBuf {
        PathBuf::from("/sys/fs/cgroup/system.slice").join(&self.name)
    }

    /// What a file of its group has.
    fn file(&self, name: &str) -> String {
        let path = self.directory().join(name);
        fs::read_to_string(&path)
            .unwrap_or_else(|error| panic!("{}: {error}", path.display()))
            .trim()
            .to_owned()
    }

    #[track_caller]
    fn is_gone(&self, runtime: &Runtime) {
        assert!(!self.directory().exists(), "{} is there", self.directory().display());
        minidocker_tests::until("systemd has forgotten it", || {
            self.property(runtime, "LoadState") == "not-found"
                || self.property(runtime, "ActiveState") == "inactive"
        });
    }
}

fn limited(bundle: Bundle<'_>) -> Bundle<'_> {
    bundle.with(
        "/linux/resources",
        json!({
            "memory": { "limit": 100 << 20 }, "pids": { "limit": 50 },
            "cpu": { "shares": 512, "quota": 20_000, "period": 50_000, "cpus": "0" },
            "devices": [{ "allow": false, "access": "rwm" }],
        }),
    )
}

#[test]
fn a_life_in_a_unit() {
    let runtime = Runtime::new().with_options(&["--systemd-cgroup"]);
    let root = runtime.world().rootfs_inside();
    let (bundle, unit) = Unit::of(&runtime, &root);
    let container = limited(bundle).args(["/inside", "pause"]).create();
    let group = format!("/system.slice/{}", unit.name);
    assert_eq!(unit.property(&runtime, "ActiveState"), "active");
    assert_eq!(unit.property(&runtime, "ControlGroup"), group);
    assert_eq!(unit.property(&runtime, "Delegate"), "yes");
    // Both know the limits, in their own words.
    for (property, file, wanted, holds) in [
        ("MemoryMax", "memory.max", "104857600", "104857600"),
        ("TasksMax", "pids.max", "50", "50"),
        ("CPUQuotaPerSecUSec", "cpu.max", "400ms", "20000 50000"),
        ("AllowedCPUs", "cpuset.cpus", "0", "0"),
    ] {
        assert_eq!(unit.property(&runtime, property), wanted, "{property}");
        assert_eq!(unit.file(file), holds, "{file}");
    }
    let first = container.pid();
    assert_eq!(fs::read_to_string(format!("/proc/{first}/cgroup")).unwrap(), format!("0::{group}\n"));
    container.start();
    container.until("ready");
    // Whoever enters is in it too, by his own view and by systemd's.
    container.exec(["/inside", "true"]).run().ok();
    let entered = container.exec_detached(&[], ["/inside", "pause"]);
    entered.until("ready");
    assert_eq!(unit.file("cgroup.procs").lines().count(), 2);
    assert_eq!(unit.property(&runtime, "TasksCurrent"), "2");
    // Other limits: for systemd, which writes them anew whenever it is reloaded, and in the files.
    container.call(&["update", "--memory", "64M", "--pids-limit", "40", "--cpu-share", "2048"]).run().ok();
    runtime.world().program(["systemctl", "daemon-reload"]).run().ok();
    assert_eq!(
        (unit.property(&runtime, "MemoryMax"), unit.file("memory.max")),
        ("67108864".into(), "67108864".into())
    );
    assert_eq!((unit.property(&runtime, "TasksMax"), unit.file("pids.max")), ("40".into(), "40".into()));
    assert_eq!(unit.file("cpu.max"), "20000 50000", "what was not spoken of stays");
    container.call(&["pause"]).run().ok();
    assert_eq!(container.status(), "paused");
    assert_eq!(unit.file("cgroup.freeze"), "1");
    container.call(&["resume"]).run().ok();
    container.exec(["/inside", "true"]).run().ok();
    container.kill("KILL");
    container.wait();
    container.remove();
    unit.is_gone(&runtime);
}

#[test]
fn in_the_foreground_and_by_default() {
    let runtime = Runtime::new().with_options(&["--systemd-cgroup"]);
    let root = runtime.world().rootfs_inside();
    let (bundle, unit) = Unit::of(&runtime, &root);
    limited(bundle).args(["/inside", "exit", "9"]).run().exits(9);
    unit.is_gone(&runtime);
    // Without a cgroupsPath it is a unit of the system's slice, named by the container.
    let bundle = runtime.bundle(&root).named(&format!("{}-plain", runtime.world().name()));
    let container = bundle.without("/linux/cgroupsPath").args(["/inside", "pause"]).detached();
    let place = fs::read_to_string(format!("/proc/{}/cgroup", container.pid())).unwrap();
    let name = format!("/system.slice/minidocker-{}.scope", container.id());
    assert_eq!(place.trim(), format!("0::{name}"));
    container.remove();
    assert!(!PathBuf::from("/sys/fs/cgroup").join(&name[1..]).exists());
}

#[test]
fn what_cannot_be_leaves_no_unit() {
    let runtime = Runtime::new().with_options(&["--systemd-cgroup"]);
    let root = runtime.world().rootfs_inside();
    // Late: the program is not there.
    let (bundle, unit) = Unit::of(&runtime, &root);
    let output = bundle.args(["/nosuch"]).run();
    assert_ne!(output.code, 0, "{output:?}");
    unit.is_gone(&runtime);
    // Early: systemd has no such property.
    let (bundle, unit) = Unit::of(&runtime, &root);
    let bundle = bundle.with("/annotations/org.systemd.property.NoSuchProperty", "'x'");
    let output = bundle.run().exits(1);
    assert!(output.err().contains("NoSuchProperty"), "{output:?}");
    unit.is_gone(&runtime);
    // A plain path is none of systemd's.
    let output = runtime.bundle(&root).run().exits(1);
    assert!(output.err().contains("slice:prefix:name"), "{output:?}");
    // One that is killed by systemd is a stopped container.
    let (bundle, unit) = Unit::of(&runtime, &root);
    let container = bundle.args(["/inside", "pause"]).detached();
    container.until("ready");
    runtime.world().program(["systemctl", "stop", &unit.name]).run().ok();
    container.wait();
    assert_eq!(container.status(), "stopped");
    container.remove();
    unit.is_gone(&runtime);
}

/// share/systemd/minidocker.service as it is shipped, but for the program's path and its options.
#[test]
fn the_shipped_unit_brings_containers_up_and_down() {
    let world = World::new();
    let root = world.rootfs_busybox().overlay();
    let script = "trap 'exit 8' TERM; while :; do sleep 0.1; done";
    let words = ["--name", "web", "--restart", "always", "--network", "none", "--rootfs", &root];
    let id = world.detached(words.into_iter().chain(["sh", "-c", script]));
    assert_eq!(world.go_down(), 1);

    let shipped = concat!(env!("CARGO_MANIFEST_DIR"), "/../share/systemd/minidocker.service");
    let shipped = fs::read_to_string(shipped).expect("the unit that is shipped");
    let own = world.call(["system", "start"]).quoted();
    let unit = shipped.replace("/usr/local/bin/minidocker system start", &own);
    assert!(unit.contains(&own), "{unit}");
    let name = format!("{}.service", world.name());
    let path = PathBuf::from("/run/systemd/system").join(&name);
    fs::create_dir_all("/run/systemd/system").expect("systemd's own directory");
    fs::write(&path, unit).expect("a unit");
    let systemctl = |words: &[&str]| {
        let mut all = vec!["systemctl"];
        all.extend(words);
        world.program(all).run().ok().out().trim().to_owned()
    };
    let state = || world.minidocker(["inspect", "-f", "{{.State.Status}} {{.State.ExitCode}}", "web"]).text();

    systemctl(&["daemon-reload"]);
    assert_eq!(state().trim(), "exited 255", "it was lost");
    systemctl(&["start", &name]);
    assert_eq!(state().trim(), "running 0");
    assert_eq!(systemctl(&["show", "--property", "ActiveState", "--value", &name]), "active");
    // Its monitor is the unit's, it is not: nobody ends it but its monitor.
    let group = |pid: i32| fs::read_to_string(format!("/proc/{pid}/cgroup")).expect("a process");
    assert!(group(world.monitor(&id)).contains(&name), "{}", group(world.monitor(&id)));
    assert!(!group(world.init(&id)).contains(&name), "{}", group(world.init(&id)));
    systemctl(&["stop", &name]);
    minidocker_tests::until("it has ended", || state().trim() == "exited 8");
    systemctl(&["start", &name]);
    assert_eq!(state().trim(), "running 0", "the next boot");
    systemctl(&["stop", &name]);
    fs::remove_file(&path).expect("our own");
    systemctl(&["daemon-reload"]);
    world.minidocker(["rm", "-f", "web"]).ok();
}
