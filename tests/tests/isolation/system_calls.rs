//! The system call filter: Docker's default policy, none, and a profile of the user's own.

use minidocker_tests::World;

use crate::{attempt, shell};

#[test]
fn refused_by_default() {
    let world = World::new();
    let root = world.rootfs_inside();
    let refused: [&[&str]; 14] = [
        &["mount"],
        &["umount", "/proc"],
        &["unshare-user"],
        &["unshare", "0x20000"],
        &["setns", "/proc/self/ns/net"],
        &["keyctl"],
        &["add-key"],
        &["bpf"],
        &["reboot"],
        &["settime"],
        &["sethostname", "other"],
        // acct, kexec_load and perf_event_open of x86_64: 163, 246, 298.
        &["syscall", "163"],
        &["syscall", "246"],
        &["syscall", "298"],
    ];
    for operation in refused {
        if operation[0] == "syscall" && cfg!(not(target_arch = "x86_64")) {
            continue;
        }
        assert_eq!(attempt(&world, &root, &[], operation), "EPERM", "{operation:?}");
    }
    // A number that no kernel has, and clone3, whose arguments a filter cannot see: programs fall back.
    assert_eq!(attempt(&world, &root, &[], &["syscall", "9999"]), "ENOSYS");
    assert_eq!(attempt(&world, &root, &[], &["syscall", "435"]), "ENOSYS");
    // What programs need is there.
    for operation in [&["ptrace"][..], &["chroot", "/"], &["mknod"], &["raw-socket"], &["mkdir", "/new"]] {
        assert_eq!(attempt(&world, &root, &[], operation), "ok", "{operation:?}");
    }
}

#[test]
fn without_a_filter_the_kernel_answers_itself() {
    let world = World::new();
    let root = world.rootfs_inside();
    let options = ["--security-opt", "seccomp=unconfined"];
    assert_eq!(world.facts(options)["seccomp"], 0);
    assert_eq!(attempt(&world, &root, &options, &["unshare-user"]), "ok");
    // The kernel looks at the arguments: invalid ones, not a permission that is missing.
    let answer = attempt(&world, &root, &options, &["add-key"]);
    assert!(matches!(answer.as_str(), "EFAULT" | "EINVAL"), "{answer}");
    // The capabilities still hold.
    assert_eq!(attempt(&world, &root, &options, &["mount"]), "EPERM");
    assert_eq!(attempt(&world, &root, &options, &["reboot"]), "EPERM");
}

#[test]
fn a_capability_opens_its_calls() {
    let world = World::new();
    let root = world.rootfs_busybox();
    assert_eq!(attempt(&world, &root, &["--cap-add", "SYS_ADMIN"], &["mount", "/tmp"]), "ok");
    assert_eq!(attempt(&world, &root, &["--cap-add", "SYS_TIME"], &["settime"]), "ok");
    assert_eq!(attempt(&world, &root, &["--cap-add", "SYS_BOOT"], &["reboot"]), "EINVAL");
    assert_eq!(attempt(&world, &root, &["--cap-drop", "MKNOD"], &["mknod"]), "EPERM");
    assert_eq!(attempt(&world, &root, &["--cap-drop", "NET_RAW"], &["raw-socket"]), "EPERM");
    // A device that was not asked for: the control group refuses it to the strongest of capabilities.
    assert_eq!(attempt(&world, &root, &["--cap-add", "ALL"], &["mknod", "/dev/mem2", "1", "1"]), "ok");
    let open = "mknod /memory c 1 1; /inside try open /memory; mknod /zero c 1 5; /inside try open-rw /zero";
    assert_eq!(shell(&world, &root, &["--cap-add", "ALL"], open), "EPERM\nok");
}

#[test]
fn a_profile_of_ones_own() {
    let world = World::new();
    let root = world.rootfs_inside();
    let profile = world.directory().join("profile.json");
    let text = r#"{"defaultAction": "SCMP_ACT_ALLOW",
        "syscalls": [{"names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_ERRNO", "errnoRet": 28}]}"#;
    std::fs::write(&profile, text).unwrap();
    let option = format!("seccomp={}", profile.display());
    let options = ["--security-opt", option.as_str()];
    assert_eq!(world.facts(options)["seccomp"], 2);
    assert_eq!(attempt(&world, &root, &options, &["mkdir", "/new"]), "ENOSPC");
    assert_eq!(attempt(&world, &root, &options, &["create", "/new"]), "ok");
    assert_eq!(attempt(&world, &root, &options, &["unshare-user"]), "ok");
    std::fs::write(&profile, "{\"defaultAction\": 3}").unwrap();
    let words = ["run", "--rm", "--security-opt", &option, "--rootfs", &root.overlay(), "/inside", "true"];
    world.minidocker(words).refuses(125, &["profile.json"]);
}
