//! Single facts, spelled out: what the default policy answers to calls that matter, and what rules mean.

mod bpf;

use minidocker_seccomp::{
    Arch, Error, Flags, Problem, Program, compile, compile_for, default_program, syscall_number,
};
use oci::spec::{Capability, LinuxSeccomp};

const ALLOW: u32 = 0x7fff_0000;
const EPERM: u32 = 0x0005_0001;
const ENOSYS: u32 = 0x0005_0026;
const KILL_THREAD: u32 = 0;

/// What `program` answers to the call `name`, or to the number in it.
fn answer(program: &Program, arch: Arch, name: &str, args: &[u64]) -> u32 {
    let nr = name.parse().ok().or_else(|| syscall_number(arch, name)).unwrap();
    let mut data = bpf::Data { nr, arch: arch.audit(), args: [0; 6] };
    data.args[..args.len()].copy_from_slice(args);
    bpf::run(program.instructions(), &data)
}

fn oci(text: &str) -> LinuxSeccomp {
    serde_json::from_str(text).unwrap()
}

#[test]
fn the_default_policy_without_capabilities() {
    let program = default_program(Arch::X86_64, &[], (6, 18)).unwrap();
    for arch in [Arch::X86_64, Arch::X86, Arch::X32] {
        for (expected, name, args) in [
            (ALLOW, "read", &[][..]),
            (ALLOW, "ptrace", &[]),
            (ALLOW, "mseal", &[]),
            (ALLOW, "landlock_restrict_self", &[]),
            (EPERM, "mount", &[]),
            (EPERM, "unshare", &[]),
            (EPERM, "setns", &[]),
            (EPERM, "keyctl", &[]),
            (EPERM, "io_uring_setup", &[]),
            (EPERM, "userfaultfd", &[]),
            (EPERM, "chroot", &[]),
            (ALLOW, "clone", &[0x11]),
            (EPERM, "clone", &[0x1000_0011]),
            (EPERM, "clone", &[0x0200_0000]),
            (ENOSYS, "clone3", &[]),
            (ALLOW, "socket", &[1]),
            (ALLOW, "socket", &[39]),
            (ALLOW, "socket", &[41]),
            (EPERM, "socket", &[38]),
            (EPERM, "socket", &[40]),
            (ALLOW, "personality", &[0xffff_ffff]),
            (ALLOW, "personality", &[0x20008]),
            (EPERM, "personality", &[0x40000]),
            // Known to us, and newer than the policy's newest.
            (ENOSYS, "open_tree_attr", &[]),
            (if arch == Arch::X32 { EPERM } else { ENOSYS }, "file_setattr", &[]),
        ] {
            // x32's own numbers reach up to 547: nothing of Linux is above the policy's highest there.
            let expected = if arch == Arch::X32 && name == "open_tree_attr" { EPERM } else { expected };
            assert_eq!(answer(&program, arch, name, args), expected, "{arch:?} {name} {args:x?}");
        }
    }
    assert_eq!(answer(&program, Arch::X86_64, "personality", &[0x1_0000_0000]), EPERM);
    assert_eq!(answer(&program, Arch::X86_64, "900", &[]), ENOSYS);
    assert_eq!(answer(&program, Arch::Aarch64, "read", &[]), KILL_THREAD);
}

#[test]
fn the_default_policy_follows_capabilities_and_kernel() {
    let admin = default_program(Arch::X86_64, &[Capability::SysAdmin], (6, 18)).unwrap();
    for name in ["mount", "unshare", "clone3", "setns", "bpf"] {
        assert_eq!(answer(&admin, Arch::X86_64, name, &[]), ALLOW, "{name}");
    }
    assert_eq!(answer(&admin, Arch::X86_64, "clone", &[0x7e02_0000]), ALLOW);
    assert_eq!(answer(&admin, Arch::X86_64, "reboot", &[]), EPERM);
    let old = default_program(Arch::X86_64, &[], (4, 7)).unwrap();
    assert_eq!(answer(&old, Arch::X86_64, "ptrace", &[]), EPERM);
    let arm = default_program(Arch::Aarch64, &[], (6, 18)).unwrap();
    assert_eq!(answer(&arm, Arch::Arm, "set_tls", &[]), ALLOW);
    assert_eq!(answer(&arm, Arch::Arm, "get_tls", &[]), EPERM);
    assert_eq!(answer(&arm, Arch::Arm, "467", &[]), ENOSYS);
}

#[test]
fn the_same_argument_twice_means_or() {
    let profile = oci(r#"{"defaultAction":"SCMP_ACT_ALLOW","syscalls":[{"names":["close"],
        "action":"SCMP_ACT_ERRNO","args":[{"index":0,"value":3,"op":"SCMP_CMP_EQ"},
        {"index":1,"value":9,"op":"SCMP_CMP_EQ"},{"index":0,"value":5,"op":"SCMP_CMP_EQ"}]}]}"#);
    let program = compile_for(Arch::X86_64, &profile).unwrap();
    for (args, expected) in [([3, 0], EPERM), ([5, 0], EPERM), ([4, 9], EPERM), ([4, 0], ALLOW)] {
        assert_eq!(answer(&program, Arch::X86_64, "close", &args), expected, "{args:?}");
    }
    // A default that allows knows no "newer than the profile".
    assert_eq!(answer(&program, Arch::X86_64, "900", &[]), ALLOW);
}

#[test]
fn each_action_becomes_its_return_value() {
    for (action, value) in [
        (r#""SCMP_ACT_KILL""#, 0),
        (r#""SCMP_ACT_KILL_THREAD""#, 0),
        (r#""SCMP_ACT_KILL_PROCESS""#, 0x8000_0000),
        (r#""SCMP_ACT_TRAP""#, 0x0003_0000),
        (r#""SCMP_ACT_ERRNO""#, EPERM),
        (r#""SCMP_ACT_ERRNO","errnoRet":13"#, 0x0005_000d),
        (r#""SCMP_ACT_TRACE""#, 0x7ff0_0001),
        (r#""SCMP_ACT_TRACE","errnoRet":7"#, 0x7ff0_0007),
        (r#""SCMP_ACT_LOG""#, 0x7ffc_0000),
        (r#""SCMP_ACT_NOTIFY""#, 0x7fc0_0000),
    ] {
        let entry = format!(r#"{{"names":["no_such_call","kcmp"],"action":{action}}}"#);
        let profile = oci(&format!(r#"{{"defaultAction":"SCMP_ACT_ALLOW","syscalls":[{entry}]}}"#));
        let program = compile_for(Arch::X86_64, &profile).unwrap();
        assert_eq!(answer(&program, Arch::X86_64, "kcmp", &[]), value, "{action}");
        assert_eq!(program.notifies(), action.contains("NOTIFY"));
        assert_eq!(Program::from_bytes(&program.to_bytes()).unwrap(), program);
    }
}

#[test]
fn flags_are_the_profiles_or_runcs() {
    let flags = |text: &str| {
        compile(&oci(&format!(r#"{{"defaultAction":"SCMP_ACT_ALLOW"{text}}}"#))).unwrap().flags()
    };
    assert_eq!(flags(""), Flags::SPEC_ALLOW);
    assert_eq!(flags(r#","flags":[]"#), Flags::NONE);
    assert_eq!(flags(r#","flags":["SECCOMP_FILTER_FLAG_LOG"]"#), Flags::LOG);
    // The kernel refuses this one without a listener.
    let killable = r#","flags":["SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV"]"#;
    assert_eq!(flags(killable), Flags::NONE);
    let notify = r#","syscalls":[{"names":["mkdir"],"action":"SCMP_ACT_NOTIFY"}]"#;
    assert_eq!(flags(notify), Flags::SPEC_ALLOW | Flags::NEW_LISTENER);
    assert_eq!(flags(&format!("{killable}{notify}")), Flags::WAIT_KILLABLE_RECV | Flags::NEW_LISTENER);
}

#[test]
fn what_is_wrong_is_told() {
    let error = |text: &str| compile(&oci(text)).unwrap_err();
    assert!(matches!(
        error(r#"{"defaultAction":"SCMP_ACT_NOTIFY"}"#),
        Error::Default(Problem::NotifyDefault)
    ));
    let mips = error(r#"{"defaultAction":"SCMP_ACT_ERRNO","architectures":["SCMP_ARCH_MIPS"]}"#);
    assert!(mips.to_string().contains("SCMP_ARCH_MIPS"), "{mips}");
    let argument = error(
        r#"{"defaultAction":"SCMP_ACT_ERRNO","syscalls":[{"names":["read"],"action":"SCMP_ACT_ALLOW",
            "args":[{"index":6,"value":0,"op":"SCMP_CMP_EQ"}]}]}"#,
    );
    assert_eq!(
        argument.to_string(),
        "entry 1 of the seccomp profile's syscalls (read): argument index 6, system calls have the arguments 0 to 5"
    );
}
