//! `inside facts`: what this process sees of itself and of the world, as one JSON object.
//!
//! A fact that cannot be had is null: a container without /proc is a container that a test may want to look at.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};

use rustix::fs::{major, minor};
use rustix::process::{Resource, getrlimit};
use rustix::time::{ClockId, clock_gettime};
use serde_json::{Map, Value, json};

use crate::{Outcome, parse, processes, raw};

/// Prints the facts; `--sysctl NAME` adds the value of one to `sysctls`.
pub(crate) fn print(options: &[&str]) -> Outcome {
    // Before anything else opens a file.
    let descriptors = descriptors();
    let mut sysctls = Map::new();
    let mut options = options.iter();
    while let Some(option) = options.next() {
        match (*option, options.next()) {
            ("--sysctl", Some(name)) => {
                let path = format!("/proc/sys/{}", name.replace('.', "/"));
                sysctls
                    .insert((*name).to_owned(), json!(text(&path).map(|value| value.trim_end().to_owned())));
            }
            (other, _) => return Err(format!("facts takes --sysctl NAME, not `{other}`")),
        }
    }
    let mut facts = identity();
    facts.append(&mut security());
    facts.append(&mut world());
    facts.insert("fds".to_owned(), descriptors);
    facts.insert("sysctls".to_owned(), Value::Object(sysctls));
    println!("{}", Value::Object(facts));
    Ok(0)
}

/// Who this process is.
fn identity() -> Map<String, Value> {
    let name = rustix::system::uname();
    let groups = rustix::process::getgroups().unwrap_or_default();
    let environment: BTreeMap<String, String> =
        std::env::vars_os().map(|(k, v)| (k.to_string_lossy().into(), v.to_string_lossy().into())).collect();
    let status = text("/proc/self/status").unwrap_or_default();
    let umask = parse::status(&status).get("Umask").map(ToString::to_string);
    object(json!({
        "pid": std::process::id(),
        "ppid": rustix::process::getppid().map_or(0, rustix::process::Pid::as_raw_pid),
        // Both are 0 where the leader lives in an outer pid namespace; the library takes that for impossible.
        "pgrp": raw::syscall(libc::SYS_getpgid, [0; 6]).ok(),
        "session": raw::syscall(libc::SYS_getsid, [0; 6]).ok(),
        "hostname": name.nodename().to_string_lossy(),
        "domainname": name.domainname().to_string_lossy(),
        "uid": rustix::process::getuid().as_raw(),
        "euid": rustix::process::geteuid().as_raw(),
        "gid": rustix::process::getgid().as_raw(),
        "egid": rustix::process::getegid().as_raw(),
        "groups": groups.iter().map(|group| group.as_raw()).collect::<Vec<_>>(),
        "cwd": std::env::current_dir().ok(),
        "umask": umask,
        "env": environment,
        "argv": std::env::args_os().map(|word| word.to_string_lossy().into_owned()).collect::<Vec<_>>(),
        "tty": tty(),
    }))
}

/// What this process may do.
fn security() -> Map<String, Value> {
    let status = text("/proc/self/status").unwrap_or_default();
    let status = parse::status(&status);
    let number = |name: &str| status.get(name).and_then(|value| value.parse::<u32>().ok());
    let set = |name: &str| status.get(name).and_then(|hex| parse::capabilities(hex));
    object(json!({
        "namespaces": namespaces(),
        "capabilities": {
            "inheritable": set("CapInh"), "permitted": set("CapPrm"), "effective": set("CapEff"),
            "bounding": set("CapBnd"), "ambient": set("CapAmb"),
        },
        "no_new_privs": number("NoNewPrivs").map(|flag| flag == 1),
        "seccomp": number("Seccomp"),
        "seccomp_filters": number("Seccomp_filters"),
        "rlimits": rlimits(),
        "oom_score_adj": text("/proc/self/oom_score_adj").and_then(|value| value.trim().parse::<i32>().ok()),
        "apparmor": text("/proc/self/attr/current").map(|label| label.trim_end_matches(['\0', '\n']).to_owned()),
        "uid_map": text("/proc/self/uid_map"),
        "gid_map": text("/proc/self/gid_map"),
    }))
}

/// What is around this process.
fn world() -> Map<String, Value> {
    let seconds = |clock| {
        let time = clock_gettime(clock);
        time.tv_sec as f64 + time.tv_nsec as f64 / 1e9
    };
    let process = |process: processes::Process| {
        json!({ "pid": process.pid, "ppid": process.parent, "name": process.name,
            "state": process.state.to_string() })
    };
    let cpus = rustix::thread::sched_getaffinity(None).ok();
    object(json!({
        "mounts": text("/proc/self/mountinfo").map(|text| parse::mountinfo(&text)),
        "dev": devices(),
        "interfaces": interfaces(),
        "routes": text("/proc/net/route").map(|text| parse::routes(&text)),
        "processes": processes::visible().into_iter().map(process).collect::<Vec<_>>(),
        "cgroups": text("/proc/self/cgroup").map(|text| parse::cgroups(&text)),
        "nproc": cpus.as_ref().map(rustix::thread::CpuSet::count),
        "cpus": cpus.map(|set| (0..rustix::thread::CpuSet::MAX_CPU).filter(|cpu| set.is_set(*cpu)).collect::<Vec<_>>()),
        "boottime": seconds(ClockId::Boottime),
        "monotonic": seconds(ClockId::Monotonic),
        "time_offsets": text("/proc/self/timens_offsets"),
        "resolv_conf": text("/etc/resolv.conf"),
        "hosts": text("/etc/hosts"),
        "etc_hostname": text("/etc/hostname"),
        "root": fs::read_dir("/").map(names).ok(),
    }))
}

fn object(value: Value) -> Map<String, Value> {
    match value {
        Value::Object(map) => map,
        _ => Map::new(),
    }
}

fn text(path: &str) -> Option<String> {
    fs::read(path).ok().map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
}

fn names(entries: fs::ReadDir) -> Vec<String> {
    let mut names: Vec<_> =
        entries.flatten().map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    names
}

/// Namespace name to inode number, from links such as `pid:[4026531836]`.
fn namespaces() -> Option<BTreeMap<String, u64>> {
    let number = |name: String| {
        let link = fs::read_link(format!("/proc/self/ns/{name}")).ok()?;
        let inode = link.to_str()?.split_once('[')?.1.trim_end_matches(']').parse().ok()?;
        Some((name, inode))
    };
    Some(names(fs::read_dir("/proc/self/ns").ok()?).into_iter().filter_map(number).collect())
}

/// Descriptor to what it is, without the one that reads the directory.
fn descriptors() -> Value {
    let Ok(entries) = fs::read_dir("/proc/self/fd") else { return Value::Null };
    let own = format!("/proc/{}/fd", std::process::id());
    let mut found = BTreeMap::new();
    for entry in entries.flatten() {
        let Ok(target) = fs::read_link(entry.path()) else { continue };
        let target = target.to_string_lossy().into_owned();
        if target != own {
            found.insert(entry.file_name().to_string_lossy().into_owned(), target);
        }
    }
    json!(found)
}

/// Name to soft and hard limit, null where there is none; names as in `prlimit`.
fn rlimits() -> Value {
    let all = [
        ("as", Resource::As),
        ("core", Resource::Core),
        ("cpu", Resource::Cpu),
        ("data", Resource::Data),
        ("fsize", Resource::Fsize),
        ("locks", Resource::Locks),
        ("memlock", Resource::Memlock),
        ("msgqueue", Resource::Msgqueue),
        ("nice", Resource::Nice),
        ("nofile", Resource::Nofile),
        ("nproc", Resource::Nproc),
        ("rss", Resource::Rss),
        ("rtprio", Resource::Rtprio),
        ("rttime", Resource::Rttime),
        ("sigpending", Resource::Sigpending),
        ("stack", Resource::Stack),
    ];
    let pairs = all.into_iter().map(|(name, resource)| {
        let limit = getrlimit(resource);
        (name.to_owned(), json!({ "soft": limit.current, "hard": limit.maximum }))
    });
    Value::Object(pairs.collect())
}

/// The entries of /dev by name.
fn devices() -> Value {
    let Ok(entries) = fs::read_dir("/dev") else { return Value::Null };
    let mut found = BTreeMap::new();
    for name in names(entries) {
        let path = format!("/dev/{name}");
        let Ok(metadata) = fs::symlink_metadata(&path) else { continue };
        let kind = metadata.file_type();
        let node = kind.is_char_device() || kind.is_block_device();
        let word = match () {
            () if kind.is_symlink() => "link",
            () if kind.is_dir() => "directory",
            () if kind.is_char_device() => "char",
            () if kind.is_block_device() => "block",
            () if kind.is_fifo() => "fifo",
            () if kind.is_socket() => "socket",
            () => "file",
        };
        found.insert(
            name,
            json!({
                "type": word,
                "major": node.then(|| major(metadata.rdev())),
                "minor": node.then(|| minor(metadata.rdev())),
                "mode": format!("{:04o}", metadata.permissions().mode() & 0o7777),
                "uid": metadata.uid(),
                "gid": metadata.gid(),
                "target": fs::read_link(&path).ok(),
            }),
        );
    }
    json!(found)
}

/// Interface name to index, mac, flags, mtu and addresses.
fn interfaces() -> Value {
    let Ok(found) = raw::interface_addresses() else { return Value::Null };
    let mut interfaces: BTreeMap<String, Map<String, Value>> = BTreeMap::new();
    for entry in found {
        let mtu = text(&format!("/sys/class/net/{}/mtu", entry.interface));
        let interface = interfaces.entry(entry.interface).or_insert_with(|| {
            object(json!({
                "flags": flags(entry.flags),
                "mtu": mtu.and_then(|mtu| mtu.trim().parse::<u32>().ok()),
                "addresses": [],
            }))
        });
        match entry.address {
            raw::Address::Link { index, mac } => {
                let mac: Vec<String> = mac.iter().map(|byte| format!("{byte:02x}")).collect();
                interface.insert("index".to_owned(), json!(index));
                interface.insert("mac".to_owned(), json!(mac.join(":")));
            }
            raw::Address::Ip(ip, prefix) => {
                if let Some(Value::Array(list)) = interface.get_mut("addresses") {
                    list.push(json!(format!("{ip}/{prefix}")));
                }
            }
            raw::Address::Other => {}
        }
    }
    json!(interfaces)
}

/// The interface flags that tests ask about, by name.
fn flags(bits: u32) -> Vec<&'static str> {
    let known = [
        (libc::IFF_UP, "up"),
        (libc::IFF_BROADCAST, "broadcast"),
        (libc::IFF_LOOPBACK, "loopback"),
        (libc::IFF_POINTOPOINT, "point-to-point"),
        (libc::IFF_RUNNING, "running"),
        (libc::IFF_NOARP, "noarp"),
        (libc::IFF_PROMISC, "promiscuous"),
        (libc::IFF_MULTICAST, "multicast"),
    ];
    known.into_iter().filter(|(bit, _)| bits & (*bit as u32) != 0).map(|(_, name)| name).collect()
}

/// For stdin, stdout and stderr: the terminal's name and size, null where it is none. And the controlling terminal.
fn tty() -> Value {
    let describe = |fd: BorrowedFd<'_>| {
        let size = rustix::termios::tcgetwinsize(fd).ok();
        rustix::termios::isatty(fd).then(|| {
            json!({
                "name": rustix::termios::ttyname(fd, Vec::new()).ok().map(|name| name.to_string_lossy().into_owned()),
                "rows": size.map(|size| size.ws_row),
                "columns": size.map(|size| size.ws_col),
                "foreground": rustix::termios::tcgetpgrp(fd).ok().map(|group| group.as_raw_pid()),
            })
        })
    };
    json!({
        "0": describe(io::stdin().as_fd()),
        "1": describe(io::stdout().as_fd()),
        "2": describe(io::stderr().as_fd()),
        "controlling": fs::File::open("/dev/tty").is_ok(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn facts_are_those_of_this_process() {
        assert_eq!(identity()["pid"], std::process::id());
        let security = security();
        assert!(security["namespaces"]["pid"].as_u64().unwrap() > 0);
        assert!(security["rlimits"]["nofile"]["soft"].as_u64().unwrap() > 2);
        let world = world();
        assert_eq!(world["dev"]["null"]["major"], 1);
        assert_eq!(world["dev"]["null"]["minor"], 3);
        assert_eq!(world["interfaces"]["lo"]["index"], 1);
        assert!(world["mounts"].as_array().unwrap().iter().any(|mount| mount["target"] == "/proc"));
        assert!(world["processes"].as_array().unwrap().iter().any(|p| p["pid"] == std::process::id()));
    }
}
