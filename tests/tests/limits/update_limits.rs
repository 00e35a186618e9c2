//! `update`: other limits for a container, running or not, in the kernel's files and in the record.

use minidocker_tests::{Group, Version, World, may_raise, until};

use crate::beside;

fn memory(group: &Group) -> u64 {
    group.number("memory", Version::pick("memory.limit_in_bytes", "memory.max"))
}

/// The share of a processor in thousandths.
fn share(group: &Group) -> u64 {
    let (quota, period) = match Version::here() {
        Version::V1 => (group.number("cpu", "cpu.cfs_quota_us"), group.number("cpu", "cpu.cfs_period_us")),
        Version::V2 => {
            let text = group.read("cpu", "cpu.max");
            let (quota, period) = text.split_once(' ').expect("quota and period");
            (quota.parse().expect("a number"), period.parse().expect("a number"))
        }
    };
    quota * 1000 / period
}

#[test]
fn a_running_container_has_its_new_limits_at_once_and_after_a_restart() {
    let _beside = beside();
    let world = World::new();
    let root = world.rootfs_inside().overlay();
    let options = ["--name", "web", "-m", "64m", "--memory-swap", "64m", "--pids-limit", "50", "--cpus", "1"];
    let id = world.detached([&options[..], &["--rootfs", &root, "/inside", "pause"]].concat());
    let group = world.group(&id);
    assert_eq!((memory(&group), group.number("pids", "pids.max"), share(&group)), (64 << 20, 50, 1000));

    let change = ["update", "-m", "96m", "--memory-swap", "128m", "--cpus", "0.5", "--pids-limit", "20"];
    world.minidocker([&change[..], &["--cpuset-cpus", "0", "web"]].concat()).prints("web\n");
    let holds = || {
        assert_eq!((memory(&group), group.number("pids", "pids.max"), share(&group)), (96 << 20, 20, 500));
        assert_eq!(group.read("cpuset", "cpuset.cpus"), "0");
    };
    holds();
    world.minidocker(["restart", "-s", "KILL", "web"]).ok();
    holds();
    // What is not named stays.
    world.minidocker(["update", "--cpu-quota", "25000", "web"]).ok();
    assert_eq!((memory(&group), share(&group)), (96 << 20, 250));
    world.minidocker(["rm", "-f", "web"]).ok();
}

#[test]
fn less_memory_than_is_in_use_is_refused_with_how_much_that_is() {
    let _beside = beside();
    let world = World::new();
    let root = world.rootfs_inside().overlay();
    let options = ["--name", "hog", "-m", "64m", "--memory-swap", "64m", "--rootfs", &root];
    let id = world.detached([&options[..], &["/inside", "hog", "30m"]].concat());
    let group = world.group(&id);
    until("it has its memory", || {
        group.number("memory", Version::pick("memory.usage_in_bytes", "memory.current")) > 30 << 20
    });
    let refused =
        world.minidocker(["update", "-m", "16m", "--memory-swap", "16m", "--pids-limit", "9", "hog"]);
    let refused = refused.refuses(1, &["cannot update container hog", "usage"]);
    let message = refused.err();
    let used = message.split("usage").nth(1).and_then(|rest| {
        rest.trim_start_matches([':', ' ']).split(|c: char| !c.is_ascii_digit()).next()?.parse::<u64>().ok()
    });
    assert!(used.is_some_and(|used| (30 << 20..=64 << 20).contains(&used)), "{message}");
    assert_eq!(memory(&group), 64 << 20, "as it was");
    assert!(world.minidocker(["kill", "-s", "CHLD", "hog"]).code == 0, "it lives on");
    // All or nothing: the record has not changed either.
    world.minidocker(["restart", "-s", "KILL", "hog"]).ok();
    assert_eq!((memory(&group), group.read("pids", "pids.max")), (64 << 20, "max".to_owned()));
    world.minidocker(["rm", "-f", "hog"]).ok();
}

#[test]
fn one_that_does_not_run_has_them_when_it_is_started() {
    let _beside = beside();
    let world = World::new();
    let root = world.rootfs_inside().overlay();
    let create = ["create", "--name", "later", "-m", "64m", "--rootfs", &root, "/inside", "pause"];
    let id = world.minidocker(create).text();
    world.minidocker(["update", "-m", "32m", "--pids-limit", "7", "later"]).ok();
    world.minidocker(["start", "later"]).ok();
    let group = world.group(&id);
    assert_eq!((memory(&group), group.number("pids", "pids.max")), (32 << 20, 7));
    world.minidocker(["rm", "-f", "later"]).ok();
}

#[test]
fn two_that_write_at_once_do_not_lose_one_another() {
    let _beside = beside();
    let world = World::new();
    let root = world.rootfs_inside().overlay();
    let id = world.minidocker(["create", "--name", "both", "--rootfs", &root, "/inside", "pause"]).text();
    let changes: [&[&str]; 5] = [
        &["update", "-m", "48m"],
        &["update", "--pids-limit", "11"],
        &["update", "--cpus", "0.25"],
        &["update", "--cpuset-cpus", "0"],
        &["rename"],
    ];
    std::thread::scope(|scope| {
        for change in changes {
            let world = &world;
            scope.spawn(move || {
                let rename = change == ["rename"];
                let words =
                    if rename { vec!["rename", "both", "other"] } else { [change, &["both"]].concat() };
                let output = world.minidocker(&words);
                // Once it was renamed it is found by its new name alone.
                if output.code != 0 {
                    assert!(!rename && output.err().contains("no such container"), "{output:?}");
                    world.minidocker([change, &["other"]].concat()).ok();
                }
            });
        }
    });
    world.minidocker(["start", "other"]).ok();
    let group = world.group(&id);
    assert_eq!((memory(&group), group.number("pids", "pids.max"), share(&group)), (48 << 20, 11, 250));
    assert_eq!(group.read("cpuset", "cpuset.cpus"), "0");
    world.minidocker(["rm", "-f", "other"]).ok();
}

#[test]
fn a_new_restart_policy_holds_from_the_next_end_on() {
    let _beside = beside();
    let world = World::new();
    let root = world.rootfs_inside().overlay();
    let id = world.detached(["--name", "again", "--rootfs", &root, "/inside", "pause"]);
    world.minidocker(["update", "--restart", "always", "again"]).prints("again\n");
    let first = world.init(&id);
    rustix::process::kill_process(
        rustix::process::Pid::from_raw(first).expect("a process"),
        rustix::process::Signal::KILL,
    )
    .expect("our own container");
    until("it runs again", || world.group(&id).processes().iter().any(|pid| *pid != first));
    world.minidocker(["rm", "-f", "again"]).ok();
    let passing = world.detached(["--rm", "--rootfs", &root, "/inside", "pause"]);
    world.minidocker(["update", "--restart", "always", &passing]).refuses(1, &["cannot update", "--rm"]);
    world.minidocker(["rm", "-f", &passing]).ok();
}

#[test]
fn a_disk_grows_under_a_running_container() {
    let _beside = beside();
    let world = World::new();
    let root = world.rootfs_busybox().overlay();
    let disk = ["--storage-opt", "size=32m", "--rootfs-kind", "loop"];
    let name = ["--name", "disk", "--network", "none"];
    let id = world.detached([&name[..], &disk, &["--rootfs", &root, "/inside", "pause"]].concat());
    let size = || {
        let line = world.minidocker(["exec", "disk", "sh", "-c", "df -k / | tail -1"]).text();
        line.split_whitespace().nth(1).and_then(|word| word.parse::<u64>().ok()).expect("kilobytes")
    };
    let before = size();
    assert!(before <= 32 << 10, "{before}");
    let grow = world.minidocker(["update", "--storage-opt", "size=64m", "--pids-limit", "9", "disk"]);
    if may_raise() {
        grow.ok();
        assert!(size() > 50 << 10 && size() <= 64 << 10, "{before} {}", size());
    } else {
        grow.refuses(1, &["storage.grow", "not permitted"]).hints("CAP_SYS_RESOURCE");
        assert_eq!(size(), before, "as it was");
        assert_eq!(world.group(&id).read("pids", "pids.max"), "max", "all or nothing");
    }
    let after = size();
    world.minidocker(["update", "--storage-opt", "size=31m", "disk"]).refuses(1, &["does not shrink"]);
    world.minidocker(["restart", "-s", "KILL", "disk"]).ok();
    assert_eq!(size(), after);
    world.minidocker(["rm", "-f", "disk"]).ok();
    let free = world.detached(["--rm", "--network", "none", "--rootfs", &root, "/inside", "pause"]);
    let refused = world.minidocker(["update", "--storage-opt", "size=64m", &free]);
    refused.refuses(1, &["no limit"]).hints("--storage-opt size=");
    world.minidocker(["rm", "-f", &free]).ok();
}

#[test]
fn what_contradicts_itself_is_refused() {
    let _beside = beside();
    let world = World::new();
    let root = world.rootfs_inside().overlay();
    let options = ["create", "--name", "web", "-m", "64m", "--memory-swap", "96m", "--cpus", "1"];
    world.minidocker([&options[..], &["--rootfs", &root, "/inside", "true"]].concat()).ok();
    let refuses = |change: &[&str], words: &[&str]| {
        world.minidocker([&["update"], change, &["web"]].concat()).refuses(1, words);
    };
    refuses(&[], &["needs something to change"]);
    refuses(&["-m", "128m"], &["--memory-swap 100663296"]);
    refuses(&["--memory-reservation", "65m"], &["--memory-reservation"]);
    refuses(&["--cpu-period", "50000"], &["--cpu-period", "--cpus"]);
    refuses(&["--cpus", "1", "--cpu-quota", "1000"], &["--cpus contradicts"]);
    // What cannot be read as an option is 125, as in Docker.
    for (change, words) in [(&["--cpus", "x"][..], "--cpus x"), (&["--privileged"], "unknown option")] {
        world.minidocker([&["update"], change, &["web"]].concat()).refuses(125, &[words]);
    }
    world.minidocker(["update", "-m", "1g", "absent"]).refuses(1, &["no such container", "absent"]);
    world.minidocker(["rm", "web"]).ok();
}
