//! Parsers of the kernel's text files: pure, text in, JSON out.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;

use serde_json::{Map, Value, json};

/// The capabilities by number, capabilities(7).
const CAPABILITIES: [&str; 41] = [
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

/// The `Name:\tvalue` lines of /proc/PID/status.
pub(crate) fn status(text: &str) -> BTreeMap<&str, &str> {
    text.lines().filter_map(|line| line.split_once(':')).map(|(name, value)| (name, value.trim())).collect()
}

/// A hexadecimal capability set as names without `CAP_`; unknown bits as their number.
pub(crate) fn capabilities(hex: &str) -> Option<Vec<String>> {
    let bits = u64::from_str_radix(hex.trim(), 16).ok()?;
    let set = (0..64).filter(|bit| bits & (1 << bit) != 0);
    Some(set.map(|bit| CAPABILITIES.get(bit).map_or_else(|| bit.to_string(), ToString::to_string)).collect())
}

/// /proc/PID/mountinfo, proc_pid_mountinfo(5): one object a mount, in the kernel's order.
pub(crate) fn mountinfo(text: &str) -> Vec<Value> {
    text.lines().filter_map(mount).collect()
}

fn mount(line: &str) -> Option<Value> {
    let (left, right) = line.split_once(" - ")?;
    let left: Vec<&str> = left.split(' ').collect();
    let mut right = right.split(' ');
    let [id, parent, device, root, target, options, tags @ ..] = left.as_slice() else { return None };
    Some(json!({
        "id": id.parse::<u64>().ok()?,
        "parent": parent.parse::<u64>().ok()?,
        "device": device,
        "root": unescape(root),
        "target": unescape(target),
        "options": options.split(',').collect::<Vec<_>>(),
        "propagation": tags,
        "fstype": right.next()?,
        "source": unescape(right.next()?),
        "super": right.next().unwrap_or("").split(',').collect::<Vec<_>>(),
    }))
}

/// Undoes the octal escapes (`\040`) that the kernel writes for blanks in paths.
fn unescape(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&first, tail)) = rest.split_first() {
        let octal = (first == b'\\').then(|| tail.get(..3)).flatten();
        let code = octal.and_then(|digits| std::str::from_utf8(digits).ok());
        match code.and_then(|digits| u8::from_str_radix(digits, 8).ok()) {
            Some(byte) => {
                bytes.push(byte);
                rest = &tail[3..];
            }
            None => {
                bytes.push(first);
                rest = tail;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// /proc/net/route: the IPv4 routes. Addresses there are hexadecimal in the machine's own byte order.
pub(crate) fn routes(text: &str) -> Vec<Value> {
    text.lines().skip(1).filter_map(route).collect()
}

fn route(line: &str) -> Option<Value> {
    let fields: Vec<&str> = line.split_whitespace().collect();
    let address = |hex: &str| u32::from_str_radix(hex, 16).ok().map(|n| Ipv4Addr::from(n.to_ne_bytes()));
    let mask = u32::from(address(fields.get(7)?)?);
    Some(json!({
        "interface": fields.first()?,
        "destination": format!("{}/{}", address(fields.get(1)?)?, mask.count_ones()),
        "gateway": address(fields.get(2)?).filter(|gateway| !gateway.is_unspecified()).map(|g| g.to_string()),
        "metric": fields.get(6)?.parse::<u32>().ok()?,
    }))
}

/// /proc/PID/cgroup: hierarchy (its controllers, `name=systemd`, or empty for version 2) to path.
pub(crate) fn cgroups(text: &str) -> Map<String, Value> {
    let lines = text.lines().filter_map(|line| line.split_once(':')?.1.split_once(':'));
    lines.map(|(hierarchy, path)| (hierarchy.to_owned(), Value::from(path))).collect()
}

/// The name and the state letter of /proc/PID/stat; the name may itself hold blanks and parentheses.
pub(crate) fn stat(text: &str) -> Option<(&str, char, i32)> {
    let (before, after) = text.rsplit_once(')')?;
    let name = before.split_once('(')?.1;
    let mut fields = after.split_whitespace();
    let state = fields.next()?.chars().next()?;
    Some((name, state, fields.next()?.parse().ok()?))
}

/// /proc/sysvipc/shm: key, id and size of each segment.
pub(crate) fn shared_memory(text: &str) -> Vec<Value> {
    let segment = |line: &str| {
        let fields: Vec<&str> = line.split_whitespace().collect();
        let number = |at: usize| fields.get(at)?.parse::<i64>().ok();
        Some(json!({ "key": number(0)?, "id": number(1)?, "bytes": number(3)? }))
    };
    text.lines().skip(1).filter_map(segment).collect()
}

/// A size: bytes, or with k, m, g for binary multiples.
pub(crate) fn size(text: &str) -> Option<usize> {
    let shift = match text.to_ascii_lowercase().chars().last()? {
        'k' => 10,
        'm' => 20,
        'g' => 30,
        _ => return text.parse().ok(),
    };
    text[..text.len() - 1].parse::<usize>().ok()?.checked_mul(1 << shift)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_status_and_capabilities() {
        let status = status("Name:\tinside\nCapEff:\t00000000a80425fb\nSeccomp:\t2\n");
        assert_eq!(status["Seccomp"], "2");
        let names = capabilities(status["CapEff"]).unwrap();
        assert_eq!(names.len(), 14, "Docker's default set has 14: {names:?}");
        assert!(names.contains(&"MKNOD".to_owned()) && !names.contains(&"SYS_ADMIN".to_owned()));
        assert_eq!(capabilities("8000000000000000").unwrap(), ["63"]);
        assert_eq!(capabilities("none"), None);
    }

    #[test]
    fn reads_mounts() {
        let text = "36 35 98:0 /mnt1 /mnt\\0402 rw,noatime master:1 shared:7 - ext3 /dev/root rw,errors=continue\n\
                    37 35 0:5 / /dev rw - tmpfs tmpfs rw\nnonsense\n";
        let mounts = mountinfo(text);
        assert_eq!(mounts.len(), 2);
        assert_eq!(mounts[0]["target"], "/mnt 2");
        assert_eq!(mounts[0]["propagation"], json!(["master:1", "shared:7"]));
        assert_eq!(mounts[0]["super"], json!(["rw", "errors=continue"]));
        assert_eq!(mounts[1]["propagation"], json!([]));
        assert_eq!(mounts[1]["fstype"], "tmpfs");
    }

    #[test]
    #[cfg(target_endian = "little")]
    fn reads_routes() {
        let text = "Iface\tDestination\tGateway\tFlags\tRefCnt\tUse\tMetric\tMask\tMTU\tWindow\tIRTT\n\
                    eth0\t00000000\t010011AC\t0003\t0\t0\t0\t00000000\t0\t0\t0\n\
                    eth0\t000011AC\t00000000\t0001\t0\t0\t5\t0000FFFF\t0\t0\t0\n";
        let routes = routes(text);
        assert_eq!(routes[0]["destination"], "0.0.0.0/0");
        assert_eq!(routes[0]["gateway"], "172.17.0.1");
        assert_eq!(routes[1]["destination"], "172.17.0.0/16");
        assert_eq!(routes[1]["gateway"], Value::Null);
        assert_eq!(routes[1]["metric"], 5);
    }

    #[test]
    fn reads_cgroups_of_both_versions() {
        let groups = cgroups("4:memory:/a\n2:cpu,cpuacct:/b:c\n0::/user\n");
        assert_eq!(groups["memory"], "/a");
        assert_eq!(groups["cpu,cpuacct"], "/b:c");
        assert_eq!(groups[""], "/user");
    }

    #[test]
    fn reads_a_name_with_parentheses() {
        assert_eq!(stat("7 (a) b) (c) Z 1 7 7 0"), Some(("a) b) (c", 'Z', 1)));
        assert_eq!(stat("broken"), None);
    }

    #[test]
    fn reads_shared_memory() {
        let text = "       key      shmid perms                  size  cpid\n      1234          0   600                  4096    12\n";
        assert_eq!(shared_memory(text), [json!({ "key": 1234, "id": 0, "bytes": 4096 })]);
    }

    #[test]
    fn reads_sizes() {
        assert_eq!(size("4096"), Some(4096));
        assert_eq!(size("20m"), Some(20 << 20));
        assert_eq!(size("1G"), Some(1 << 30));
        assert_eq!(size("x"), None);
        assert_eq!(size(""), None);
        assert_eq!(size("99999999999999999999g"), None);
    }
}
