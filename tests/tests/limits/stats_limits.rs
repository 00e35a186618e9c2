//! `stats`: what containers use, by the kernel's own figures.

use minidocker_tests::{Version, World, until};
use serde_json::Value;

use crate::beside;

fn look(world: &World, name: &str) -> Value {
    world.minidocker(["stats", "--no-stream", "--format", "json", name]).json()
}

/// The amount at the beginning of `30.5MiB / 64MiB`, in MiB.
fn mebibytes(text: &str) -> f64 {
    let first = text.split(' ').next().unwrap_or_default();
    let number = first.strip_suffix("MiB").unwrap_or_else(|| panic!("no MiB: {text}"));
    number.parse().unwrap_or_else(|_| panic!("no number: {text}"))
}

#[test]
fn memory_processes_and_limits_are_the_kernels() {
    let _beside = beside();
    let world = World::new();
    let root = world.rootfs_inside().overlay();
    let options = ["--name", "hog", "-m", "64m", "--pids-limit", "30", "--rootfs", &root];
    let id = world.detached([&options[..], &["/inside", "hog", "30m"]].concat());
    let group = world.group(&id);
    until("it has its memory", || {
        group.number("memory", Version::pick("memory.usage_in_bytes", "memory.current")) > 30 << 20
    });
    let seen = look(&world, "hog");
    let text = |key: &str| seen[key].as_str().unwrap_or_else(|| panic!("no {key} in {seen}")).to_owned();
    assert!((30.0..64.0).contains(&mebibytes(&text("MemUsage"))), "{seen}");
    assert!(text("MemUsage").ends_with(" / 64MiB"), "{seen}");
    let percent: f64 = text("MemPerc").trim_end_matches('%').parse().expect("a number");
    assert!((46.0..100.0).contains(&percent), "{seen}");
    assert!(mebibytes(&text("MemPeak")) >= 30.0, "{seen}");
    assert_eq!((text("PIDs"), text("PIDsLimit"), text("OOMKills")), ("1".into(), "30".into(), "0".into()));
    assert_eq!((text("ID"), text("Container"), text("Name")), (id[..12].into(), "hog".into(), "hog".into()));
    world.minidocker(["rm", "-f", "hog"]).ok();
}

#[test]
fn processor_time_throttling_and_traffic_are_counted() {
    let _beside = beside();
    let world = World::new();
    let root = world.rootfs_busybox().overlay();
    let script = "while :; do :; done & exec /inside listen 7000";
    let options = ["--name", "busy", "--cpus", "0.2", "--rootfs", &root, "sh", "-c", script];
    let id = world.detached(options);
    let seen = look(&world, "busy");
    let percent: f64 =
        seen["CPUPerc"].as_str().and_then(|text| text.trim_end_matches('%').parse().ok()).expect("%");
    assert!(percent > 0.0, "{seen}");
    until("it was throttled", || {
        look(&world, "busy")["ThrottledPeriods"].as_str().and_then(|text| text.parse().ok()).unwrap_or(0_u64)
            > 0
    });
    assert_eq!(seen["PIDs"], "2");

    let address = world.minidocker(["ps", "--format", "{{.Addresses}}"]).text();
    let address = address.split('/').next().expect("an address").to_owned();
    let inside = world.inside_path();
    let connect = [inside.to_str().expect("text"), "connect", &address, "7000", "hello"];
    until("it answers", || world.program(connect).run().code == 0);
    let bytes = std::fs::read_to_string(format!("/proc/{}/net/dev", world.init(&id))).expect("its links");
    let line = bytes.lines().find(|line| line.trim_start().starts_with("eth0:")).expect("a link");
    assert!(!line.contains("eth0: 0 "), "{line}");
    let traffic = look(&world, "busy")["NetIO"].as_str().map(str::to_owned).expect("text");
    assert!(!traffic.starts_with("0B") && !traffic.ends_with(" 0B"), "{traffic}");
    world.minidocker(["rm", "-f", "busy"]).ok();
}

#[test]
fn those_that_run_are_shown_and_others_when_asked_for() {
    let _beside = beside();
    let world = World::new();
    let root = world.rootfs_inside().overlay();
    let id = world.detached(["--name", "up", "--rootfs", &root, "/inside", "pause"]);
    world.minidocker(["create", "--name", "down", "--rootfs", &root, "/inside", "pause"]).ok();
    let names = |words: &[&str]| {
        let all = [&["stats", "--no-stream", "--format", "{{.Name}}"], words].concat();
        let mut names: Vec<String> = world.minidocker(all).out().lines().map(str::to_owned).collect();
        names.sort();
        names
    };
    assert_eq!(names(&[]), ["up"]);
    assert_eq!(names(&["-a"]), ["down", "up"]);
    assert_eq!(names(&["down"]), ["down"]);
    let table = world.minidocker(["stats", "--no-stream", "--no-trunc", "-a"]).out();
    let head = "CONTAINER ID                                                       NAME      CPU %     \
                MEM USAGE / LIMIT";
    assert!(table.starts_with(head) && table.contains(&id), "{table}");
    let line = table.lines().find(|line| line.contains(" down ")).expect("a line");
    assert!(line.contains("0.00%     0B / 0B"), "{line}");
    world.minidocker(["stats", "--no-stream", "absent"]).refuses(1, &["no such container", "absent"]);
    world.minidocker(["rm", "-f", "up", "down"]).ok();
}

#[test]
fn on_a_terminal_it_lives() {
    let _beside = beside();
    let world = World::new();
    let root = world.rootfs_inside().overlay();
    world.detached(["--name", "first", "--rootfs", &root, "/inside", "pause"]);
    let mut screen = world.pty(["stats"]);
    screen.until("CONTAINER ID");
    screen.until("first");
    world.detached(["--name", "second", "--rootfs", &root, "/inside", "pause"]);
    screen.until("\x1b[HCONTAINER ID");
    screen.until("second");
    screen.type_in("\x03");
    assert_eq!(screen.wait().code, 130, "ended by its user's interrupt");
    world.minidocker(["rm", "-f", "first", "second"]).ok();
}
