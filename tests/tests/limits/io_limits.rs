//! Disks and huge pages, and controllers that this machine may not have.

use minidocker_tests::{Group, Version, World};

use crate::{Disk, beside, with_group};

#[test]
fn throttles_are_in_the_kernels_files() {
    let _beside = beside();
    let world = World::new();
    let root = world.rootfs_inside();
    let disk = Disk::new(&world, 1 << 20);
    let number = &disk.number;
    let with = |value: &str| format!("{}:{value}", disk.path);
    let (read, write, reads, writes) = (with("1mb"), with("2m"), with("100"), with("200"));
    let bytes = ["--device-read-bps", &read, "--device-write-bps", &write];
    let operations = ["--device-read-iops", &reads, "--device-write-iops", &writes];
    with_group(&world, &root, &[bytes, operations].concat(), |group| match Version::here() {
        Version::V1 => {
            for (file, value) in [
                ("read_bps", "1048576"),
                ("write_bps", "2097152"),
                ("read_iops", "100"),
                ("write_iops", "200"),
            ] {
                let text = group.read("blkio", &format!("blkio.throttle.{file}_device"));
                assert_eq!(text, format!("{number} {value}"));
            }
        }
        Version::V2 => {
            let expected = format!("{number} rbps=1048576 wbps=2097152 riops=100 wiops=200");
            assert_eq!(group.read("io", "io.max"), expected);
        }
    });
}

#[test]
fn a_throttle_holds() {
    let _beside = beside();
    let world = World::new();
    let root = world.rootfs_busybox().overlay();
    let disk = Disk::new(&world, 8 << 20);
    let limit = format!("{}:2mb", disk.path);
    let device = format!("{}:/disk:r", disk.path);
    // Straight from the disk, past the page cache.
    let script = "dd if=/disk of=/dev/null bs=256k count=16 iflag=direct status=none";
    let run = |options: &[&str]| {
        let base = ["run", "--rm", "--device", &device, "--rootfs", &root];
        world.minidocker([&base[..], options, &["sh", "-c", script]].concat()).ok().time.as_secs_f64()
    };
    // 4 MB at 2 MB a second: a slow machine takes longer, and none takes less.
    let held = run(&["--device-read-bps", &limit]);
    assert!(held > 1.5, "{held} s for what takes 2 s at the limit's rate");
}

#[test]
fn weights_are_written_or_refused_as_the_kernel_has_them() {
    let _beside = beside();
    let world = World::new();
    let root = world.rootfs_inside();
    let file = {
        let mut found = None;
        with_group(&world, &root, &[], |group| {
            let directory = group.directory(Version::pick("blkio", "io"));
            let names = Version::pick(
                ["blkio.bfq.weight", "blkio.weight"].as_slice(),
                &["io.bfq.weight", "io.weight"],
            );
            found = names.iter().find(|name| directory.join(name).exists()).copied();
        });
        found
    };
    match file {
        Some(file) => with_group(&world, &root, &["--blkio-weight", "300"], |group| {
            let text = group.read(Version::pick("blkio", "io"), file);
            // io.weight has a scale of its own.
            let value = if file == "io.weight" { "2930" } else { "300" };
            assert!(text.split_whitespace().any(|word| word == value), "{file}: {text}");
        }),
        None => {
            let words =
                ["run", "--rm", "--blkio-weight", "300", "--rootfs", &root.overlay(), "/inside", "true"];
            world.minidocker(words).refuses(125, &["weight"]);
            world.expect_nothing_left();
        }
    }
    let run = |weight: &str| {
        world.minidocker([
            "run",
            "--rm",
            "--blkio-weight",
            weight,
            "--rootfs",
            &root.overlay(),
            "/inside",
            "true",
        ])
    };
    run("9").refuses(125, &["--blkio-weight"]);
    run("1001").refuses(125, &["--blkio-weight"]);
}

#[test]
fn disks_that_are_none_are_refused() {
    let _beside = beside();
    let world = World::new();
    let root = world.rootfs_inside().overlay();
    let run = |value: &str| {
        world.minidocker(["run", "--rm", "--device-read-bps", value, "--rootfs", &root, "/inside", "true"])
    };
    run("/dev/no-such-disk:1m").refuses(125, &["/dev/no-such-disk", "does not exist"]);
    run("/dev/null:1m").refuses(125, &["/dev/null", "not a block device"]);
    run("/dev/loop0:0x").refuses(125, &["--device-read-bps"]);
    run("/dev/loop0").refuses(125, &["--device-read-bps"]);
    world.expect_nothing_left();
}

#[test]
fn huge_pages_are_in_the_kernels_file() {
    let _beside = beside();
    let world = World::new();
    let root = world.rootfs_inside();
    if Group::has_controller("hugetlb") {
        with_group(&world, &root, &["--hugetlb", "2MB=4m"], |group| {
            let files = ["hugetlb.2MB.max", "hugetlb.2MB.limit_in_bytes"];
            let directory = group.directory("hugetlb");
            let file = files.iter().find(|file| directory.join(file).exists()).expect("the limit's file");
            assert_eq!(group.number("hugetlb", file), 4 << 20);
        });
    }
    let run = |value: &str| {
        world.minidocker(["run", "--rm", "--hugetlb", value, "--rootfs", &root.overlay(), "/inside", "true"])
    };
    run("3MB=4m").refuses(125, &["3MB"]);
    run("2MB").refuses(125, &["--hugetlb"]);
    world.expect_nothing_left();
}

#[test]
fn a_controller_that_is_absent_is_told() {
    let _beside = beside();
    let world = World::new();
    let root = world.rootfs_inside();
    for (controller, option, value, file) in [
        ("net_cls", "--net-cls-classid", "10:1", "net_cls.classid"),
        ("net_prio", "--net-prio", "lo=5", "net_prio.ifpriomap"),
    ] {
        if Group::has_controller(controller) {
            with_group(&world, &root, &[option, value], |group| {
                let text = group.read(controller, file);
                assert!(text.contains("1048577") || text.contains("lo 5"), "{file}: {text}");
            });
        } else {
            let words = ["run", "--rm", option, value, "--rootfs", &root.overlay(), "/inside", "true"];
            world.minidocker(words).refuses(125, &[controller]);
            world.expect_nothing_left();
        }
    }
}
