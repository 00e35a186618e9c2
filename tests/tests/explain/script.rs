//! `--explain=shell`: the script of plain commands builds the same container as minidocker itself.
//!
//! Differences left on purpose, each because no plain command does it: the system call filter; the session of its own
//! and its keyring; SHLVL, which bash gives to whatever it becomes; the layers of an overlay mount, which are
//! descriptors in one and paths in the other; and that a read-only tmpfs or sysfs is read-only as a mount in one, as a
//! file system in the other.

use std::fs;
use std::path::Path;
use std::process::Command;

use minidocker_tests::{Rootfs, World, need};
use serde_json::{Value, json};

/// What both must agree on.
fn essence(facts: &Value) -> Value {
    let namespaces = ["cgroup", "ipc", "mnt", "net", "pid", "time", "user", "uts"];
    let own = |name: &str| {
        let link = fs::read_link(format!("/proc/self/ns/{name}")).expect("our own namespace");
        let inode = format!("[{}]", facts["namespaces"][name]);
        !link.to_string_lossy().ends_with(&inode)
    };
    let interfaces: Vec<Value> = facts["interfaces"]
        .as_object()
        .expect("interfaces")
        .iter()
        .map(|(name, link)| {
            let addresses = link["addresses"].as_array().expect("addresses");
            let ours: Vec<&Value> = addresses
                .iter()
                .filter(|text| !text.as_str().is_some_and(|t| t.starts_with("fe80")))
                .collect();
            // That its carrier is seen is a worker's work, a moment later.
            let flags = link["flags"].as_array().expect("flags").iter();
            let flags: Vec<&Value> = flags.filter(|flag| *flag != "running").collect();
            json!({ "name": name, "addresses": ours, "mac": link["mac"], "flags": flags, "mtu": link["mtu"] })
        })
        .collect();
    let mut env = facts["env"].clone();
    env.as_object_mut().expect("an environment").remove("SHLVL");
    json!({
        "hostname": facts["hostname"], "domainname": facts["domainname"], "pid": facts["pid"],
        "uid": facts["uid"], "gid": facts["gid"], "groups": facts["groups"],
        "capabilities": facts["capabilities"], "no_new_privs": facts["no_new_privs"],
        "own": namespaces.map(own), "dev": facts["dev"], "interfaces": interfaces, "routes": facts["routes"],
        "env": env, "cwd": facts["cwd"], "umask": facts["umask"], "hosts": facts["hosts"],
        "etc_hostname": facts["etc_hostname"], "resolv_conf": facts["resolv_conf"], "root": facts["root"],
        "cgroups": facts["cgroups"], "cpus": facts["cpus"], "mounts": mounts(facts),
        "processes": facts["processes"].as_array().map(Vec::len),
    })
}

/// Place, kind and options of each mount, by place.
fn mounts(facts: &Value) -> Vec<Value> {
    let mounts = facts["mounts"].as_array().expect("mounts").iter();
    let mut all: Vec<Value> = mounts
        .map(|mount| {
            let read_only =
                mount["options"][0] == "ro" && matches!(mount["fstype"].as_str(), Some("tmpfs" | "sysfs"));
            let differs = mount["fstype"] == "overlay" || read_only;
            let supers = if differs { Value::Null } else { mount["super"].clone() };
            json!({ "target": mount["target"], "fstype": mount["fstype"], "options": mount["options"],
                "super": supers, "propagation": mount["propagation"] })
        })
        .collect();
    all.sort_by_key(|mount| mount["target"].to_string());
    all
}

/// The differences of two values, a line each.
fn differences(at: &str, real: &Value, script: &Value, into: &mut Vec<String>) {
    match (real, script) {
        (Value::Object(a), Value::Object(b)) => {
            for key in a.keys().chain(b.keys().filter(|key| !a.contains_key(*key))) {
                let of = |map: &serde_json::Map<String, Value>| map.get(key).cloned().unwrap_or(Value::Null);
                differences(&format!("{at}.{key}"), &of(a), &of(b), into);
            }
        }
        (Value::Array(a), Value::Array(b)) if a.len() == b.len() => {
            for (index, (a, b)) in a.iter().zip(b).enumerate() {
                differences(&format!("{at}[{index}]"), a, b, into);
            }
        }
        _ if real != script => into.push(format!("{at}: minidocker {real}, the script {script}")),
        _ => {}
    }
}

/// Runs both and compares; the limits are compared by the files of the control groups, which both show.
#[track_caller]
fn compare(world: &World, options: &[&str]) {
    let real = world.minidocker(["run", "--rm"].into_iter().chain(options.iter().copied())).json();
    world.expect_nothing_left();
    let words = ["run", "--rm", "--explain=shell"].into_iter().chain(options.iter().copied());
    let script = world.minidocker(words).ok();
    world.expect_nothing_left();
    let path = world.directory().join("script");
    fs::write(&path, &script.stdout).expect("our own file");
    let output = world.program(["bash", path.to_str().expect("text")]).run();
    assert_eq!(output.code, 0, "{output:?}");
    let built: Value =
        serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {output:?}"));
    let mut found = Vec::new();
    differences("", &essence(&real), &essence(&built), &mut found);
    assert!(found.is_empty(), "differs for {options:?}:\n  {}", found.join("\n  "));
    world.expect_nothing_left();
    let text = script.out();
    let name = text.lines().find_map(|line| line.strip_prefix("ip netns add ")).expect("a named namespace");
    let left = world.program(["ip", "netns", "list"]).run().text();
    assert!(!left.contains(name), "{name} is left: {left}");
}

/// Busybox's knows nothing of the bounding set: gives a root that of util-linux, with its libraries.
fn with_setpriv(root: &Rootfs) {
    let setpriv = need("setpriv");
    let output = Command::new("ldd").arg(&setpriv).output().expect("ldd");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    for path in text.split_whitespace().filter(|word| word.starts_with('/')) {
        root.program(path.trim_start_matches('/'), Path::new(path));
    }
    fs::remove_file(root.path().join("bin/setpriv")).expect("busybox's link");
    root.program("bin/setpriv", &setpriv);
}

const LIMITS: [&str; 8] = ["--memory", "64m", "--cpus", "0.5", "--pids-limit", "50", "--cpuset-cpus", "0"];

#[test]
fn of_a_directory() {
    let world = World::new();
    let root = world.rootfs_busybox();
    with_setpriv(&root);
    let volume = format!("{}:/data", root.path().join("home").display());
    let overlay = root.overlay();
    let mut options = LIMITS.to_vec();
    options.extend([
        "--hostname",
        "administrator",
        "--domainname",
        "example",
        "--ip",
        "10.0.0.1",
        "-v",
        &volume,
    ]);
    options.extend([
        "--tmpfs",
        "/cache:size=1m",
        "-w",
        "/var",
        "-e",
        "A=b c",
        "--umask",
        "077",
        "--add-host",
        "x:10.1.1.1",
    ]);
    options.extend(["--rootfs", &overlay, "/inside", "facts"]);
    compare(&world, &options);
}

#[test]
fn of_the_host() {
    let world = World::new();
    let inside = format!("{}:/inside:ro", world.inside_path().display());
    let mut options = LIMITS.to_vec();
    options.extend(["--hostname", "administrator", "-v", &inside, "--tmpfs", "/cache", "-w", "/usr"]);
    options.extend(["--network", "none", "host", "/inside", "facts"]);
    compare(&world, &options);
    let options = [
        "-v",
        &inside,
        "--hostname",
        "h",
        "--ip",
        "10.0.0.1/8",
        "--read-only",
        "-u",
        "1000:1000",
        "--cap-drop",
        "ALL",
    ];
    let tail = ["--cap-add", "CHOWN", "host", "/inside", "facts"];
    compare(&world, &options.into_iter().chain(tail).collect::<Vec<_>>());
}

#[test]
fn of_a_disk() {
    let world = World::new();
    let root = world.rootfs_busybox();
    with_setpriv(&root);
    let overlay = root.overlay();
    for disk in [&["--storage-opt", "size=32m"][..], &["--rootfs-kind", "loop"], &["--rootfs-kind", "copy"]] {
        let tail = ["--hostname", "h", "--ip", "10.0.0.1", "--rootfs", &overlay, "/inside", "facts"];
        compare(&world, &disk.iter().copied().chain(tail).collect::<Vec<_>>());
    }
}

/// The limits are in force inside of what the script built, and read as those of minidocker's container do.
#[test]
fn the_limits_hold() {
    let world = World::new();
    let root = world.rootfs_busybox();
    let overlay = root.overlay();
    let read = "cd /sys/fs/cgroup; for f in memory.max cpu.max pids.max cpuset.cpus memory/memory.limit_in_bytes \
        memory/memory.memsw.limit_in_bytes cpu/cpu.cfs_quota_us cpu/cpu.cfs_period_us pids/pids.max cpuset/cpuset.cpus \
        devices/devices.list; do [ ! -e $f ] || { echo $f; cat $f; }; done";
    let mut options = LIMITS.to_vec();
    options.extend(["--hostname", "h", "--network", "none", "--rootfs", &overlay, "sh", "-c", read]);
    let real = world.minidocker(["run", "--rm"].into_iter().chain(options.iter().copied())).ok().out();
    assert!(real.contains("67108864"), "{real}");
    let words = ["run", "--rm", "--explain=shell"].into_iter().chain(options.iter().copied());
    let path = world.directory().join("script");
    fs::write(&path, world.minidocker(words).ok().stdout).unwrap();
    let output = world.program(["bash", path.to_str().unwrap()]).run();
    assert_eq!(output.code, 0, "{output:?}");
    assert_eq!(output.out(), real);
    world.expect_nothing_left();
}

/// A script that fails half-way takes down what it made, and so does one that is told to stop.
#[test]
fn a_script_that_fails_leaves_nothing() {
    let world = World::new();
    let root = world.rootfs_busybox();
    let overlay = root.overlay();
    let words =
        ["run", "--rm", "--explain=shell", "-m", "64m", "--ip", "10.0.0.1", "--rootfs", &overlay, "false"];
    let script = world.minidocker(words).ok().out();
    let path = world.directory().join("script");
    fs::write(&path, &script).unwrap();
    let run = || world.program(["bash", path.to_str().unwrap()]).run();
    assert_eq!(run().code, 1, "its exit code is the command's");
    world.expect_nothing_left();
    fs::write(&path, script.replace("pivot_root . .", "pivot_root /no/such /place")).unwrap();
    assert_ne!(run().code, 0);
    world.expect_nothing_left();
}
