//! `features`: what this runtime can do, whatever the host can (OCI runtime specification, features.md and
//! features-linux.md). Engines ask it before they use an option that older runtimes would pass over.

use oci::spec::{
    LinuxNamespaceType as Kind, LinuxSeccompAction as Action, LinuxSeccompFilterFlag as Filter,
    LinuxSeccompOperator as Operator, MemoryPolicyFlagType as PolicyFlag, MemoryPolicyModeType as PolicyMode,
};
use seccomp::{Arch, Flags};
use serde::Serialize;
use serde_json::{Value, json};

use super::spec::SPEC_VERSION;

/// The oldest version of the specification that is understood.
const OLDEST_VERSION: &str = "1.0.0";

const HOOKS: [&str; 6] =
    ["prestart", "createRuntime", "createContainer", "startContainer", "poststart", "poststop"];

/// What `runtime::options` reads itself, and what the kernel takes for every file system (vfs_parse_sb_flag of
/// fs/fs_context.c): all else is a file system's own, and does not belong here.
const MOUNT_OPTIONS: &[&str] = &[
    "async",
    "atime",
    "bind",
    "defaults",
    "dev",
    "diratime",
    "dirsync",
    "exec",
    "idmap",
    "lazytime",
    "loud",
    "mand",
    "noatime",
    "nodev",
    "nodiratime",
    "noexec",
    "noiversion",
    "nolazytime",
    "nomand",
    "norelatime",
    "nostrictatime",
    "nosuid",
    "nosymfollow",
    "private",
    "ratime",
    "rbind",
    "rdev",
    "rdiratime",
    "relatime",
    "remount",
    "rexec",
    "ridmap",
    "rnoatime",
    "rnodev",
    "rnodiratime",
    "rnoexec",
    "rnorelatime",
    "rnostrictatime",
    "rnosuid",
    "rnosymfollow",
    "ro",
    "rprivate",
    "rrelatime",
    "rro",
    "rrw",
    "rshared",
    "rslave",
    "rstrictatime",
    "rsuid",
    "rsymfollow",
    "runbindable",
    "rw",
    "shared",
    "silent",
    "slave",
    "strictatime",
    "suid",
    "symfollow",
    "sync",
    "tmpcopyup",
    "unbindable",
];

/// What this runtime can do, as the specification's Features structure.
pub fn features() -> Value {
    json!({
        "ociVersionMin": OLDEST_VERSION,
        "ociVersionMax": SPEC_VERSION,
        "hooks": HOOKS,
        "mountOptions": MOUNT_OPTIONS,
        "linux": {
            "namespaces": words(&[
                Kind::Cgroup, Kind::Ipc, Kind::Mount, Kind::Network, Kind::Pid, Kind::Time, Kind::User, Kind::Uts,
            ]),
            "capabilities": oci::CAPABILITIES.map(|(_, name)| format!("CAP_{name}")).to_vec(),
            "cgroup": { "v1": true, "v2": true, "systemd": SYSTEMD, "systemdUser": false, "rdma": false },
            "seccomp": seccomp(),
            "apparmor": { "enabled": true },
            "selinux": { "enabled": true },
            "intelRdt": { "enabled": false },
            "memoryPolicy": {
                "modes": words(&[
                    PolicyMode::MpolBind, PolicyMode::MpolDefault, PolicyMode::MpolInterleave, PolicyMode::MpolLocal,
                    PolicyMode::MpolPreferred, PolicyMode::MpolPreferredMany, PolicyMode::MpolWeightedInterleave,
                ]),
                "flags": words(&[
                    PolicyFlag::MpolFNumaBalancing, PolicyFlag::MpolFRelativeNodes, PolicyFlag::MpolFStaticNodes,
                ]),
            },
            "mountExtensions": { "idmap": { "enabled": true } },
            "netDevices": { "enabled": true },
        },
        "annotations": { "io.github.minidocker.version": env!("CARGO_PKG_VERSION") },
    })
}

/// Whether systemd makes control groups where `--systemd-cgroup` wants it.
const SYSTEMD: bool = true;

fn seccomp() -> Value {
    let known = [
        (Filter::SeccompFilterFlagTsync, Flags::TSYNC),
        (Filter::SeccompFilterFlagSpecAllow, Flags::SPEC_ALLOW),
        (Filter::SeccompFilterFlagLog, Flags::LOG),
        (Filter::SeccompFilterFlagWaitKillableRecv, Flags::WAIT_KILLABLE_RECV),
    ];
    // What any filter may have: the kernel takes the last one beside a listener alone.
    let supported = known.iter().filter(|(_, flag)| sys::seccomp::flags_available(*flag));
    json!({
        "enabled": true,
        "actions": words(&[
            Action::ScmpActAllow, Action::ScmpActErrno, Action::ScmpActKill, Action::ScmpActKillProcess,
            Action::ScmpActKillThread, Action::ScmpActLog, Action::ScmpActNotify, Action::ScmpActTrace,
            Action::ScmpActTrap,
        ]),
        "operators": words(&[
            Operator::ScmpCmpEq, Operator::ScmpCmpGe, Operator::ScmpCmpGt, Operator::ScmpCmpLe, Operator::ScmpCmpLt,
            Operator::ScmpCmpMaskedEq, Operator::ScmpCmpNe,
        ]),
        "archs": words(&Arch::ALL.map(Arch::to_oci)),
        "knownFlags": words(&known.map(|(name, _)| name)),
        "supportedFlags": words(&supported.map(|(name, _)| *name).collect::<Vec<_>>()),
    })
}

/// The specification's words for the values of one of its types.
fn words<T: Serialize>(values: &[T]) -> Value {
    json!(values)
}

#[cfg(test)]
mod tests {
    use runtime::options::Options;

    use super::*;

    /// Flags that are handed to the file system's context, where the kernel reads them for all of them.
    const SUPER_BLOCK: [&str; 5] = ["dirsync", "lazytime", "mand", "nolazytime", "sync"];

    #[test]
    fn every_mount_option_is_read_as_such() {
        for option in MOUNT_OPTIONS.iter().copied() {
            let own = Options::parse(&[option]).data.is_empty();
            assert_eq!(own, !SUPER_BLOCK.contains(&option), "{option}");
        }
    }

    #[test]
    fn words_are_the_specifications() {
        let all = features();
        let has = |place: &str, word: &str| {
            let list = all.pointer(place).and_then(Value::as_array).unwrap();
            assert!(list.iter().any(|one| one == word), "{place} {word}");
        };
        has("/linux/namespaces", "mount");
        has("/linux/namespaces", "cgroup");
        has("/linux/capabilities", "CAP_CHECKPOINT_RESTORE");
        has("/linux/seccomp/actions", "SCMP_ACT_KILL_PROCESS");
        has("/linux/seccomp/operators", "SCMP_CMP_MASKED_EQ");
        has("/linux/seccomp/archs", "SCMP_ARCH_X86_64");
        has("/linux/seccomp/knownFlags", "SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV");
        has("/linux/seccomp/supportedFlags", "SECCOMP_FILTER_FLAG_LOG");
        has("/linux/memoryPolicy/modes", "MPOL_WEIGHTED_INTERLEAVE");
        has("/linux/memoryPolicy/flags", "MPOL_F_STATIC_NODES");
        assert_eq!(all["linux"]["capabilities"].as_array().unwrap().len(), oci::CAPABILITIES.len());
        let read: oci::spec::Features = serde_json::from_value(all).unwrap();
        assert_eq!(read.oci_version_max(), SPEC_VERSION);
    }
}
