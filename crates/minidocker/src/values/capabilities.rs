//! Capabilities by name: capabilities(7).

/// The kernel's, in the order of their numbers.
const NAMES: [&str; 41] = [
    "CHOWN",
    "DAC_OVERRIDE",
    "DAC_READ_SEARCH",
    "FOWNER",
    "FSETID",
    "KILL",
    "SETGID",
    "SETUID",
    "SETPCAP",
    "LINUX_IMMUTABLE",
    "NET_BIND_SERVICE",
    "NET_BROADCAST",
    "NET_ADMIN",
    "NET_RAW",
    "IPC_LOCK",
    "IPC_OWNER",
    "SYS_MODULE",
    "SYS_RAWIO",
    "SYS_CHROOT",
    "SYS_PTRACE",
    "SYS_PACCT",
    "SYS_ADMIN",
    "SYS_BOOT",
    "SYS_NICE",
    "SYS_RESOURCE",
    "SYS_TIME",
    "SYS_TTY_CONFIG",
    "MKNOD",
    "LEASE",
    "AUDIT_WRITE",
    "AUDIT_CONTROL",
    "SETFCAP",
    "MAC_OVERRIDE",
    "MAC_ADMIN",
    "SYSLOG",
    "WAKE_ALARM",
    "BLOCK_SUSPEND",
    "AUDIT_READ",
    "PERFMON",
    "BPF",
    "CHECKPOINT_RESTORE",
];

/// All of them, without `CAP_`.
pub(crate) fn names() -> impl Iterator<Item = &'static str> {
    NAMES.into_iter()
}

/// The name in capitals without `CAP_`, or `ALL`.
pub(crate) fn parse(text: &str) -> Result<String, String> {
    let name = text.to_ascii_uppercase();
    let name = name.strip_prefix("CAP_").unwrap_or(&name);
    if name == "ALL" || NAMES.contains(&name) {
        Ok(name.to_owned())
    } else {
        Err("no such capability; write it as NET_ADMIN or ALL".to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn knows_the_kernels_capabilities() {
        for text in ["NET_ADMIN", "net_admin", "CAP_NET_ADMIN", "cap_net_admin"] {
            assert_eq!(parse(text), Ok("NET_ADMIN".to_owned()));
        }
        assert_eq!(parse("all"), Ok("ALL".to_owned()));
        assert_eq!((NAMES[0], NAMES[21], NAMES[40]), ("CHOWN", "SYS_ADMIN", "CHECKPOINT_RESTORE"));
        for text in ["", "CAP_", "NET-ADMIN", "CAP_CAP_KILL", "ROOT", "NET_ADMIN,KILL"] {
            assert_eq!(
                parse(text),
                Err("no such capability; write it as NET_ADMIN or ALL".to_owned()),
                "{text}"
            );
        }
    }
}
