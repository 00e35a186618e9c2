//! Profiles as text: the OCI's section and Docker's files. What is read is compiled and compared as in
//! [`crate::seccomp_rules`].

use oci::spec::{Capability, LinuxSeccomp};
use seccomp::{Arch, Error};

use crate::bytes::Bytes;
use crate::json::Grammar;
use crate::seccomp_rules::{compare, compiled};

/// Longer ones make programs that take long to compare and nothing new.
const LONGEST: usize = 16 << 10;

/// The text for each architecture, in both forms.
pub fn seccomp_json(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    if text.len() > LONGEST {
        return;
    }
    if let Ok(profile) = serde_json::from_str::<LinuxSeccomp>(text) {
        for native in Arch::ALL {
            if let Some(program) = compiled(native, &profile) {
                compare(native, &profile, &program, &mut Bytes(&[]));
            }
        }
    }
    for native in [Arch::X86_64, Arch::Aarch64, Arch::X86] {
        for (capabilities, kernel) in
            [(&[][..], (4, 7)), (&[Capability::SysAdmin, Capability::SysPtrace, Capability::Bpf], (6, 18))]
        {
            let profile = match seccomp::from_docker_json(text, native, capabilities, kernel) {
                Ok(profile) => profile,
                Err(error) => {
                    assert!(!error.to_string().is_empty());
                    continue;
                }
            };
            let written = serde_json::to_string(&profile).expect("a profile can be written");
            let read: LinuxSeccomp = serde_json::from_str(&written).expect("and read");
            assert_eq!(read, profile);
            match seccomp::compile_for(native, &profile) {
                Err(Error::TooLong(_)) => {}
                Err(error) => panic!("what Docker's form allows compiles, or it is told there: {error}"),
                Ok(program) => {
                    assert_eq!(Some(&program), compiled(native, &profile).as_ref());
                    compare(native, &profile, &program, &mut Bytes(&[]));
                }
            }
        }
    }
}

/// What a profile is made of.
pub const GRAMMAR: Grammar = Grammar {
    fragments: &[
        ("/", "defaultAction", r#""SCMP_ACT_ERRNO""#),
        ("/", "defaultAction", r#""SCMP_ACT_ALLOW""#),
        ("/", "defaultErrnoRet", "38"),
        ("/", "architectures", r#"["SCMP_ARCH_X86_64","SCMP_ARCH_X86","SCMP_ARCH_X32"]"#),
        (
            "/",
            "archMap",
            r#"[{"architecture":"SCMP_ARCH_X86_64","subArchitectures":["SCMP_ARCH_X86","SCMP_ARCH_X32"]}]"#,
        ),
        ("/", "archMap", r#"[{"architecture":"SCMP_ARCH_AARCH64","subArchitectures":["SCMP_ARCH_ARM"]}]"#),
        ("/", "flags", r#"["SECCOMP_FILTER_FLAG_TSYNC","SECCOMP_FILTER_FLAG_SPEC_ALLOW"]"#),
        ("/", "listenerPath", r#""/run/x.sock""#),
        ("/", "listenerMetadata", r#""m""#),
        ("/", "syscalls", r#"[{"names":["clone","socket"],"action":"SCMP_ACT_ALLOW"}]"#),
        ("/", "syscalls", r#"[{"name":"mkdir","action":"SCMP_ACT_ERRNO","errnoRet":13}]"#),
        ("/", "syscalls", r#"[{"names":["semop","cacheflush"],"action":"SCMP_ACT_NOTIFY"}]"#),
        ("/syscalls/*", "args", r#"[{"index":0,"value":2114060288,"valueTwo":0,"op":"SCMP_CMP_MASKED_EQ"}]"#),
        ("/syscalls/*", "args", r#"[{"index":1,"value":4294967296,"op":"SCMP_CMP_GE"}]"#),
        ("/syscalls/*", "errnoRet", "1"),
        ("/syscalls/*", "action", r#""SCMP_ACT_TRACE""#),
        ("/syscalls/*", "names", r#"["read","no_such_call"]"#),
        ("/syscalls/*", "includes", r#"{"caps":["CAP_SYS_ADMIN"],"arches":["amd64"],"minKernel":"4.8"}"#),
        ("/syscalls/*", "excludes", r#"{"caps":["CAP_SYS_PTRACE"],"arches":["s390x"],"minKernel":"6.18"}"#),
        ("/syscalls/*", "comment", r#""c""#),
    ],
    words: &[
        "SCMP_ACT_KILL",
        "SCMP_ACT_KILL_PROCESS",
        "SCMP_ACT_KILL_THREAD",
        "SCMP_ACT_TRAP",
        "SCMP_ACT_ERRNO",
        "SCMP_ACT_TRACE",
        "SCMP_ACT_ALLOW",
        "SCMP_ACT_LOG",
        "SCMP_ACT_NOTIFY",
        "SCMP_ARCH_NATIVE",
        "SCMP_ARCH_ARM",
        "SCMP_ARCH_AARCH64",
        "SCMP_ARCH_MIPS",
        "SCMP_CMP_NE",
        "SCMP_CMP_LT",
        "SCMP_CMP_LE",
        "SCMP_CMP_EQ",
        "SCMP_CMP_GT",
        "SECCOMP_FILTER_FLAG_LOG",
        "SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV",
        "arm64",
        "x32",
        "CAP_BPF",
        "5.0",
        "0.0",
        "socketcall",
        "ipc",
        "write",
        "accept4",
        "shmget",
        "set_tls",
        "file_setattr",
        "personality",
    ],
};
