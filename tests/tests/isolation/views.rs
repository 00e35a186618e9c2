//! What a container sees: its mounts, /proc, /sys, /dev, kernel parameters.

use std::collections::BTreeSet;
use std::path::Path;

use minidocker_tests::World;
use serde_json::{Value, json};

use crate::{attempt, shell, words};

fn targets(facts: &Value) -> Vec<&str> {
    let mounts = facts["mounts"].as_array().expect("mounts");
    mounts.iter().map(|mount| mount["target"].as_str().expect("a target")).collect()
}

/// The one mount at a place.
#[track_caller]
fn mount<'a>(facts: &'a Value, target: &str) -> &'a Value {
    let mounts = facts["mounts"].as_array().expect("mounts");
    let mut found = mounts.iter().filter(|mount| mount["target"] == target);
    let first = found.next().unwrap_or_else(|| panic!("no mount at {target}"));
    assert!(found.next().is_none(), "two mounts at {target}");
    first
}

#[track_caller]
fn has(facts: &Value, target: &str, kind: &str, options: &[&str], super_options: &[&str]) {
    let mount = mount(facts, target);
    assert_eq!(mount["fstype"], kind, "{mount}");
    for (list, expected) in [("options", options), ("super", super_options)] {
        for option in expected {
            assert!(words(&mount[list]).contains(option), "no {option} at {target}: {mount}");
        }
    }
}

#[test]
fn the_mounts_are_the_containers_own_and_no_others() {
    let world = World::new();
    let facts = world.facts([""; 0]);
    let mut expected: BTreeSet<&str> = BTreeSet::from([
        "/",
        "/proc",
        "/dev",
        "/dev/pts",
        "/dev/mqueue",
        "/dev/shm",
        "/sys",
        "/etc/hosts",
        "/etc/hostname",
        "/etc/resolv.conf",
    ]);
    let covered = [
        "/proc/bus",
        "/proc/fs",
        "/proc/irq",
        "/proc/sys",
        "/proc/sysrq-trigger",
        "/proc/acpi",
        "/proc/asound",
        "/proc/interrupts",
        "/proc/kcore",
        "/proc/keys",
        "/proc/latency_stats",
        "/proc/timer_list",
        "/proc/timer_stats",
        "/proc/sched_debug",
        "/proc/scsi",
        "/sys/firmware",
        "/sys/devices/virtual/powercap",
    ];
    // Where this kernel has them.
    expected.extend(covered.into_iter().filter(|path| Path::new(path).exists()));
    let (groups, others): (Vec<_>, Vec<_>) =
        targets(&facts).into_iter().partition(|target| target.starts_with("/sys/fs/cgroup"));
    assert!(!groups.is_empty(), "programs can read their limits");
    assert_eq!(others.iter().copied().collect::<BTreeSet<_>>(), expected);
    assert_eq!(others.len(), expected.len(), "one mount each: {others:?}");
    // Nothing that is mounted here or on the host later goes the other way.
    for mount in facts["mounts"].as_array().unwrap() {
        assert!(words(&mount["propagation"]).is_empty(), "{mount}");
    }
    let own: BTreeSet<_> = words(&facts["root"]).into_iter().collect();
    assert_eq!(own, BTreeSet::from(["dev", "etc", "inside", "proc", "sys"]));
}

#[test]
fn file_systems_have_the_options_that_they_should() {
    let world = World::new();
    let facts = world.facts([""; 0]);
    has(&facts, "/proc", "proc", &["rw", "nosuid", "nodev", "noexec"], &[]);
    has(&facts, "/sys", "sysfs", &["ro", "nosuid", "nodev", "noexec"], &[]);
    has(&facts, "/dev", "tmpfs", &["rw", "nosuid"], &["mode=755"]);
    has(&facts, "/dev/pts", "devpts", &["nosuid", "noexec"], &["gid=5", "mode=620", "ptmxmode=666"]);
    has(&facts, "/dev/mqueue", "mqueue", &["nosuid", "nodev", "noexec"], &[]);
    has(&facts, "/dev/shm", "tmpfs", &["nosuid", "nodev", "noexec"], &["size=65536k"]);
    has(&facts, "/", "overlay", &["rw"], &[]);
    for mount in facts["mounts"].as_array().unwrap() {
        let target = mount["target"].as_str().unwrap();
        if target.starts_with("/sys/fs/cgroup") || ["/proc/bus", "/proc/sys"].contains(&target) {
            assert!(words(&mount["options"]).contains(&"ro"), "{mount}");
        }
    }
    let facts = world.facts(["--shm-size", "8m", "--read-only"]);
    has(&facts, "/dev/shm", "tmpfs", &["rw"], &["size=8192k"]);
    assert!(words(&mount(&facts, "/")["options"]).contains(&"ro"));
}

#[test]
fn dev_has_the_standard_devices_alone() {
    let world = World::new();
    let facts = world.facts([""; 0]);
    let char = |minor: u32, major: u32| json!({ "type": "char", "major": major, "minor": minor, "mode": "0666", "uid": 0, "gid": 0, "target": null });
    let link = |target: &str| {
        json!({ "type": "link", "major": null, "minor": null, "mode": "0777", "uid": 0, "gid": 0,
            "target": target })
    };
    let directory = |mode: &str| {
        json!({ "type": "directory", "major": null, "minor": null, "mode": mode, "uid": 0, "gid": 0,
            "target": null })
    };
    let expected = json!({
        "null": char(3, 1), "zero": char(5, 1), "full": char(7, 1), "random": char(8, 1),
        "urandom": char(9, 1), "tty": char(0, 5),
        "fd": link("/proc/self/fd"), "stdin": link("/proc/self/fd/0"), "stdout": link("/proc/self/fd/1"),
        "stderr": link("/proc/self/fd/2"), "core": link("/proc/kcore"), "ptmx": link("pts/ptmx"),
        "pts": directory("0755"), "mqueue": directory("1777"), "shm": directory("1777"),
    });
    let (found, expected) = (facts["dev"].as_object().unwrap(), expected.as_object().unwrap());
    assert_eq!(found.keys().collect::<Vec<_>>(), expected.keys().collect::<Vec<_>>());
    for (name, entry) in expected {
        assert_eq!(&found[name], entry, "/dev/{name}");
    }
    let root = world.rootfs_busybox();
    let script = "head -c 3 /dev/zero | wc -c; echo x > /dev/full || echo full; head -c 5 /dev/urandom | wc -c; \
        ls -A /dev/pts";
    assert_eq!(shell(&world, &root, &[], &format!("exec 2>/dev/null; {script}")), "3\nfull\n5\nptmx");
}

#[test]
fn a_device_that_was_asked_for() {
    let world = World::new();
    let root = world.rootfs_busybox();
    // A harmless one of the host under another name: 1:5, zero.
    let options = ["--device", "/dev/zero:/dev/nought:r"];
    let facts = world.facts_in(&root, options);
    assert_eq!(facts["dev"]["nought"]["major"], 1);
    assert_eq!(facts["dev"]["nought"]["minor"], 5);
    assert_eq!(attempt(&world, &root, &options, &["open", "/dev/nought"]), "ok");
    // Another one that the control group knows by its number alone; the capability is for the kernel's own question.
    if Path::new("/dev/kmsg").exists() {
        let open = |rights: &str| {
            let device = format!("/dev/kmsg:/dev/kmsg:{rights}");
            attempt(&world, &root, &["--cap-add", "SYSLOG", "--device", &device], &["open", "/dev/kmsg"])
        };
        assert_eq!(open("rwm"), "ok");
        assert_eq!(open("w"), "EPERM");
        assert_eq!(world.facts_in(&root, ["--device", "/dev/kmsg"])["dev"]["kmsg"]["minor"], 11);
    }
    let words = ["run", "--rm", "--device", "/dev/no-such", "--rootfs", &root.overlay(), "true"];
    world.minidocker(words).refuses(125, &["/dev/no-such"]);
}

#[test]
fn the_hosts_kernel_is_out_of_reach() {
    let world = World::new();
    let root = world.rootfs_busybox();
    for file in ["/proc/sys/kernel/panic", "/proc/sys/vm/swappiness", "/proc/sys/kernel/core_pattern"] {
        assert_eq!(attempt(&world, &root, &[], &["write", file, "1"]), "EROFS", "{file}");
    }
    for directory in ["/sys/new", "/sys/fs/cgroup/new", "/proc/new"] {
        assert_ne!(attempt(&world, &root, &[], &["mkdir", directory]), "ok", "{directory}");
    }
    if Path::new("/proc/sysrq-trigger").exists() {
        // Empty: were it writable, nothing would happen.
        assert_eq!(attempt(&world, &root, &[], &["write", "/proc/sysrq-trigger", ""]), "EROFS");
    }
    // Covered: they read as empty, and hold nothing.
    let files = ["/proc/kcore", "/proc/keys", "/proc/timer_list", "/proc/interrupts", "/proc/sched_debug"];
    let script: String =
        files.map(|file| format!("[ ! -e {file} ] || head -c 64 {file} | wc -c | grep -v '^0$';")).concat();
    assert_eq!(shell(&world, &root, &[], &format!("{script} true")), "");
    let directories = ["/proc/acpi", "/proc/scsi", "/proc/asound", "/sys/firmware"];
    let script: String = directories.map(|directory| format!("ls -A {directory} 2>/dev/null;")).concat();
    assert_eq!(shell(&world, &root, &[], &format!("{script} true")), "");
    let facts = world.facts(["--security-opt", "systempaths=unconfined"]);
    for path in ["/proc/keys", "/proc/sys", "/sys/firmware"] {
        assert!(!targets(&facts).contains(&path), "{path} is covered with systempaths=unconfined");
    }
}

#[test]
fn kernel_parameters_of_its_namespaces() {
    let world = World::new();
    let before = std::fs::read_to_string("/proc/sys/kernel/msgmax").unwrap();
    let root = world.rootfs_inside();
    let options = ["--sysctl", "net.ipv4.ip_forward=1", "--sysctl", "kernel.msgmax=100"];
    let overlay = root.overlay();
    let words = ["run", "--rm", "--rootfs", &overlay].into_iter().chain(options);
    let tail = ["/inside", "facts", "--sysctl", "net.ipv4.ip_forward", "--sysctl", "kernel.msgmax"];
    let facts = world.minidocker(words.chain(tail)).json();
    assert_eq!(facts["sysctls"], json!({ "net.ipv4.ip_forward": "1", "kernel.msgmax": "100" }));
    assert_eq!(std::fs::read_to_string("/proc/sys/kernel/msgmax").unwrap(), before);
    // It would be the host's.
    for options in [
        &["--sysctl", "kernel.panic=1"][..],
        &["--sysctl", "vm.swappiness=1"],
        &["--network", "host", "--sysctl", "net.ipv4.ip_forward=1"],
        &["--ipc", "host", "--sysctl", "kernel.msgmax=100"],
    ] {
        let overlay = root.overlay();
        let words = ["run", "--rm", "--rootfs", &overlay].into_iter().chain(options.iter().copied());
        world.minidocker(words.chain(["/inside", "true"])).refuses(125, &["--sysctl"]);
    }
}

#[test]
fn control_groups_start_at_its_own() {
    let world = World::new();
    let facts = world.facts([""; 0]);
    for (name, path) in facts["cgroups"].as_object().unwrap() {
        assert_eq!(path, "/", "hierarchy {name}");
    }
    let facts = world.facts(["--cgroupns", "host"]);
    let parent = world.cgroup_parent();
    let all = facts["cgroups"].as_object().unwrap();
    assert!(all.values().any(|path| path.as_str().unwrap().starts_with(&parent)), "{all:?}");
}
