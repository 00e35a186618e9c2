//! Devices: those that Docker gives, those that are asked for with the access that is asked for, no others.

use minidocker_tests::World;

use crate::{Disk, beside};

#[test]
fn only_the_standard_devices_open() {
    let _beside = beside();
    let world = World::new();
    let root = world.rootfs_busybox().overlay();
    // 1:11 is the kernel's log, 10:237 makes loop devices; a node of either can be made (CAP_MKNOD) and not opened.
    let script = "for d in null zero full random urandom tty; do /inside try open /dev/$d; done; \
                  mknod /log c 1 11 && /inside try open /log; \
                  mknod /loop c 10 237 && /inside try open-rw /loop";
    let output = world.minidocker(["run", "--rm", "--rootfs", &root, "sh", "-c", script]).ok();
    // Without a terminal /dev/tty is ENXIO, which comes after the permission.
    assert_eq!(output.out(), "ok\nok\nok\nok\nok\nENXIO\nEPERM\nEPERM\n");
}

#[test]
fn a_disk_opens_as_far_as_it_is_allowed() {
    let _beside = beside();
    let world = World::new();
    let root = world.rootfs_busybox().overlay();
    let disk = Disk::new(&world, 1 << 20);
    let (path, number) = (&disk.path, &disk.number);
    let (major, minor) = number.split_once(':').expect("a number");
    let try_both = "/inside try open /disk; /inside try open-rw /disk";
    let run = |options: &[&str], script: &str| {
        world.minidocker(
            [&["run", "--rm", "--rootfs", root.as_str()], options, &["sh", "-c", script]].concat(),
        )
    };
    let node = format!("mknod /disk b {major} {minor}; {try_both}");
    run(&[], &node).prints("EPERM\nEPERM\n");
    run(&["--device", &format!("{path}:/disk:r")], try_both).prints("ok\nEPERM\n");
    run(&["--device", &format!("{path}:/disk:w")], try_both).prints("EPERM\nEPERM\n");
    run(&["--device-cgroup-rule", &format!("b {number} r")], &node).prints("ok\nEPERM\n");
    // The node is the host's: kind, number, mode.
    let shown = run(&["--device", path], &format!("stat -c '%F %t %T' {path}")).text();
    let (major, minor): (u32, u32) = (major.parse().expect("major"), minor.parse().expect("minor"));
    assert_eq!(shown, format!("block special file {major:x} {minor:x}"));
}

#[test]
fn privileged_opens_all() {
    let _beside = beside();
    let world = World::new();
    let root = world.rootfs_busybox().overlay();
    let script = "mknod /log c 1 11 && /inside try open /log";
    world.minidocker(["run", "--rm", "--privileged", "--rootfs", &root, "sh", "-c", script]).prints("ok\n");
}

#[test]
fn odd_devices_are_refused() {
    let _beside = beside();
    let world = World::new();
    let root = world.rootfs_inside().overlay();
    let run = |option: &str, value: &str| {
        world.minidocker(["run", "--rm", option, value, "--rootfs", &root, "/inside", "true"])
    };
    run("--device", "/dev/no-such-device").refuses(125, &["--device", "/dev/no-such-device"]);
    run("--device", "/etc/passwd").refuses(125, &["--device", "/etc/passwd"]);
    run("--device", "/dev/null:/dev/x:q").refuses(125, &["--device"]);
    run("--device-cgroup-rule", "x 1:3 r").refuses(125, &["--device-cgroup-rule"]);
    run("--device-cgroup-rule", "c 1:3").refuses(125, &["--device-cgroup-rule"]);
    world.expect_nothing_left();
}
