//! Capabilities by number and by name, capabilities(7).

use oci_spec::runtime::Capability;
use oci_spec::runtime::Capability as C;

/// Every capability in the order of the kernel's numbers.
pub const CAPABILITIES: [(Capability, &str); 41] = [
    (C::Chown, "CHOWN"),
    (C::DacOverride, "DAC_OVERRIDE"),
    (C::DacReadSearch, "DAC_READ_SEARCH"),
    (C::Fowner, "FOWNER"),
    (C::Fsetid, "FSETID"),
    (C::Kill, "KILL"),
    (C::Setgid, "SETGID"),
    (C::Setuid, "SETUID"),
    (C::Setpcap, "SETPCAP"),
    (C::LinuxImmutable, "LINUX_IMMUTABLE"),
    (C::NetBindService, "NET_BIND_SERVICE"),
    (C::NetBroadcast, "NET_BROADCAST"),
    (C::NetAdmin, "NET_ADMIN"),
    (C::NetRaw, "NET_RAW"),
    (C::IpcLock, "IPC_LOCK"),
    (C::IpcOwner, "IPC_OWNER"),
    (C::SysModule, "SYS_MODULE"),
    (C::SysRawio, "SYS_RAWIO"),
    (C::SysChroot, "SYS_CHROOT"),
    (C::SysPtrace, "SYS_PTRACE"),
    (C::SysPacct, "SYS_PACCT"),
    (C::SysAdmin, "SYS_ADMIN"),
    (C::SysBoot, "SYS_BOOT"),
    (C::SysNice, "SYS_NICE"),
    (C::SysResource, "SYS_RESOURCE"),
    (C::SysTime, "SYS_TIME"),
    (C::SysTtyConfig, "SYS_TTY_CONFIG"),
    (C::Mknod, "MKNOD"),
    (C::Lease, "LEASE"),
    (C::AuditWrite, "AUDIT_WRITE"),
    (C::AuditControl, "AUDIT_CONTROL"),
    (C::Setfcap, "SETFCAP"),
    (C::MacOverride, "MAC_OVERRIDE"),
    (C::MacAdmin, "MAC_ADMIN"),
    (C::Syslog, "SYSLOG"),
    (C::WakeAlarm, "WAKE_ALARM"),
    (C::BlockSuspend, "BLOCK_SUSPEND"),
    (C::AuditRead, "AUDIT_READ"),
    (C::Perfmon, "PERFMON"),
    (C::Bpf, "BPF"),
    (C::CheckpointRestore, "CHECKPOINT_RESTORE"),
];

/// The kernel's number of a capability.
pub fn capability_number(capability: Capability) -> u32 {
    // The enumeration is in alphabetical order, the kernel's is not; every value stands in the table (tested).
    CAPABILITIES.iter().position(|(known, _)| *known == capability).unwrap_or(0) as u32
}

/// The capability of a name without `CAP_`, in capitals.
pub fn capability_named(name: &str) -> Option<Capability> {
    CAPABILITIES.iter().find(|(_, known)| *known == name).map(|(capability, _)| *capability)
}

/// Whether this is the name of a capability, as configurations write it: `CAP_CHOWN`, or `CHOWN`.
pub fn is_capability(name: &str) -> bool {
    capability_named(name.strip_prefix("CAP_").unwrap_or(name)).is_some()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_numbers_are_the_kernels() {
        for (number, (capability, name)) in CAPABILITIES.iter().enumerate() {
            assert_eq!(capability_number(*capability), number as u32);
            assert_eq!(capability.to_string(), *name);
        }
        // include/uapi/linux/capability.h
        assert_eq!(capability_number(Capability::NetAdmin), 12);
        assert_eq!(capability_number(Capability::SysAdmin), 21);
        assert_eq!(capability_number(Capability::CheckpointRestore), 40);
    }
}
