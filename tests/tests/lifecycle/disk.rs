//! A container's disk: its size holds, its kind is what was asked for, and nothing is left of it.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use minidocker_tests::{Output, World, until};

const SIZED: [&str; 3] = ["run", "--network", "none"];

/// Bytes that a directory takes on the host's disk, with all below it.
fn taken(path: &Path) -> u64 {
    let below =
        fs::read_dir(path).into_iter().flatten().flatten().map(|entry| taken(&entry.path())).sum::<u64>();
    fs::symlink_metadata(path).map_or(0, |found| found.blocks() * 512) + below
}

fn run(world: &World, options: &[&str], rootfs: &str, script: &str) -> Output {
    let words = SIZED.iter().chain(options).copied().chain(["--rootfs", rootfs, "sh", "-c", script]);
    world.minidocker(words.collect::<Vec<_>>())
}

#[test]
fn a_container_writes_to_its_size_and_no_further() {
    let world = World::new();
    let root = world.rootfs_busybox();
    let before = fs::read_dir(root.path()).unwrap().count();
    for kind in ["overlay", "loop"] {
        for more in [&["--rm"][..], &["--rm", "--userns", "private"], &["--name", "kept"]] {
            let options: Vec<&str> = ["--storage-opt", "size=48m", "--rootfs-kind", kind]
                .into_iter()
                .chain(more.iter().copied())
                .collect();
            let script = "df -k / | tail -1; dd if=/dev/zero of=/big bs=1M count=100; sync; df -k / | tail -1; \
                rm /big && echo again >/small && cat /small";
            let output = run(&world, &options, &root.overlay(), script);
            assert_eq!(output.code, 0, "{kind} {more:?}: {output:?}");
            assert!(output.err().contains("No space left on device"), "{output:?}");
            let told = format!("root file system: {kind} of at most 48 MiB");
            assert!(output.err().contains(&told), "{output:?}");
            let out = output.out();
            let lines: Vec<Vec<&str>> = out.lines().map(|line| line.split_whitespace().collect()).collect();
            let number = |line: usize, word: usize| lines[line][word].parse::<u64>().unwrap();
            assert!((42 << 10..=48 << 10).contains(&number(0, 1)), "{kind}: df says {out}");
            assert!(number(0, 2) < 16 << 10, "{kind}: df says {out}");
            assert!(number(1, 3) < 2 << 10, "{kind}: df says {out}");
            assert_eq!(lines[2], ["again"], "{kind}: {out}");
            assert!(taken(&world.root()) <= 50 << 20, "{kind}: {}", taken(&world.root()));
            if more.contains(&"kept") {
                assert!(taken(&world.root()) > 0);
                world.minidocker(["rm", "kept"]).ok();
            }
            world.expect_nothing_left();
        }
    }
    assert_eq!(fs::read_dir(root.path()).unwrap().count(), before, "the source is as it was");
}

#[test]
fn a_copy_is_the_containers_own() {
    let world = World::new();
    let root = world.rootfs_busybox();
    let file = root.file("file", "as it was\n");
    for (kind, rootfs) in [("copy", root.overlay()), ("copy", root.plain()), ("loop", root.plain())] {
        let script = "cat /file; echo changed >/file; cat /file";
        let output = run(&world, &["--rm", "--rootfs-kind", kind], &rootfs, script);
        assert_eq!(output.out(), "as it was\nchanged\n", "{output:?}");
        assert_eq!(fs::read_to_string(&file).unwrap(), "as it was\n");
        world.expect_nothing_left();
    }
}

#[test]
fn what_only_reads_reads_an_image_too() {
    let world = World::new();
    let root = world.rootfs_busybox().overlay();
    for kind in ["overlay", "loop"] {
        let options = ["--rm", "--read-only", "--storage-opt", "size=32m", "--rootfs-kind", kind];
        let output = run(&world, &options, &root, "echo x >/new");
        assert!(output.code == 1 && output.err().contains("Read-only file system"), "{kind}: {output:?}");
    }
    world.expect_nothing_left();
}

/// Asked for, it is an image wherever a quota could do, and the source is shared all the same.
#[test]
fn a_layer_lies_in_an_image_where_that_is_wanted() {
    let world = World::new();
    let root = world.rootfs_busybox();
    let words = SIZED.iter().chain(["-d", "--storage-opt", "image=true"].iter()).copied();
    let source = root.overlay();
    let words = words.chain(["--rootfs", &source, "sh", "-c", "echo x >/file; exec sleep 1000"]);
    let id = world.minidocker(words.collect::<Vec<_>>()).text();
    assert_eq!(devices(&world).len(), 1);
    let told = world.minidocker(["inspect", "--format", "{{json .HostConfig.StorageOpt}}", &id]).text();
    assert_eq!(told, "{\"image\":\"true\"}");
    let size = world.minidocker(["exec", &id, "df", "-P", "-m", "/"]).text();
    let size: u64 = size.split_whitespace().rev().nth(4).and_then(|word| word.parse().ok()).expect(&size);
    // 10 GiB where nobody says, and not what the host's disk has.
    assert!((9 << 10..=10 << 10).contains(&size), "{size} MiB");
    world.minidocker(["rm", "-f", &id]).ok();
    until("the device has no file", || devices(&world).is_empty());
    world.finish();
}

/// Loop devices have numbers that all processes choose from.
#[test]
fn many_at_once_have_a_disk_each() {
    let world = World::new();
    let root = world.rootfs_busybox().overlay();
    std::thread::scope(|scope| {
        for number in 0..16 {
            let (world, root) = (&world, &root);
            scope.spawn(move || {
                let script = format!("echo {number} >/number; cat /number; df -k / | tail -1 >/dev/null");
                let output = run(world, &["--rm", "--storage-opt", "size=16m"], root, &script);
                assert_eq!(output.out(), format!("{number}\n"), "{output:?}");
            });
        }
    });
    world.expect_nothing_left();
}

/// The whole container at once, as a machine that goes down takes it: the next command finds the file alone.
#[test]
fn a_kill_leaves_no_device() {
    let world = World::new();
    let root = world.rootfs_busybox().overlay();
    for options in
        [&["--storage-opt", "size=32m"][..], &["--rootfs-kind", "loop", "--storage-opt", "size=64m"]]
    {
        let words = SIZED.iter().chain(["-d", "--rm"].iter()).chain(options).copied();
        let words = words.chain(["--rootfs", &root, "sh", "-c", "echo x >/file; exec sleep 1000"]);
        let id = world.minidocker(words.collect::<Vec<_>>()).text();
        let (init, monitor) = (world.init(&id), world.monitor(&id));
        assert_eq!(devices(&world).len(), 1);
        for pid in [monitor, init] {
            rustix::process::kill_process(
                rustix::process::Pid::from_raw(pid).unwrap(),
                rustix::process::Signal::KILL,
            )
            .unwrap();
        }
        until("the device has no file", || devices(&world).is_empty());
        until("it ended", || world.group(&id).processes().is_empty());
        world.minidocker(["ps", "-a"]).ok();
        world.expect_nothing_left();
    }
}

/// The files of this world that loop devices are attached to.
fn devices(world: &World) -> Vec<String> {
    let entries = fs::read_dir("/sys/block").unwrap().flatten();
    let files = entries.filter_map(|entry| fs::read_to_string(entry.path().join("loop/backing_file")).ok());
    files.filter(|file| file.contains(world.name())).collect()
}

#[test]
fn what_cannot_be_is_refused_in_one_line() {
    let world = World::new();
    let root = world.rootfs_busybox();
    let cases: [(&[&str], String, &[&str]); 8] = [
        (
            &["--storage-opt", "size=1m"],
            root.overlay(),
            &["--storage-opt size: 1 MiB is not between 16 MiB and 16 TiB"],
        ),
        (&["--storage-opt", "size=1x"], root.overlay(), &["--storage-opt size=1x: unknown unit x"]),
        (&["--storage-opt", "size="], root.overlay(), &["--storage-opt size=: no size"]),
        (
            &["--storage-opt", "dm.basesize=1g"],
            root.overlay(),
            &["unknown, known are size=BYTES, volatile=true|false and image=true|false"],
        ),
        (&["--rootfs-kind", "zfs"], root.overlay(), &["--rootfs-kind zfs: neither overlay, loop nor copy"]),
        (&["--storage-opt", "size=32m"], root.plain(), &["is used as it is"]),
        (&["--storage-opt", "image=true"], root.plain(), &["is used as it is", "--storage-opt image"]),
        (
            &["--storage-opt", "size=16m", "--rootfs-kind", "loop"],
            root.overlay(),
            &["storage.copy", "no space left"],
        ),
    ];
    root.file("large", vec![1; 20 << 20]);
    for (options, rootfs, words) in cases {
        let all = ["run", "--rm", "--network", "none"].iter().chain(options).copied();
        let all: Vec<&str> = all.chain(["--rootfs", &rootfs, "true"]).collect();
        world.minidocker(all).refuses(125, words);
    }
    world.expect_nothing_left();
}
