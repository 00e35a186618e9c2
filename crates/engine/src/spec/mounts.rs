//! What is mounted in a container: Docker's own mounts, then those that were asked for.

use std::path::{Path, PathBuf};

use oci::spec::{LinuxIdMapping, LinuxIdMappingBuilder, Mount};

use crate::facts::Facts;
use crate::request::{self, Namespace, NetworkMode, RunRequest};
use crate::{Error, Kind, volumes};

pub(super) fn mounts(
    request: &RunRequest,
    facts: &Facts,
    files: &[(PathBuf, &'static str)],
) -> Result<Vec<Mount>, Error> {
    let own_user = facts.ids.is_some();
    let privileged = request.security.privileged;
    let foreign = |namespace: &Namespace| *namespace != Namespace::Private;
    let access = if privileged { "rw" } else { "ro" };
    let mut mounts = Vec::new();
    // A user namespace may mount /proc and /sys only of namespaces that it owns; else the host's are bound in.
    mounts.push(if own_user && foreign(&request.namespaces.pid) {
        mount("bind", "/proc", "/proc", &["rbind", "nosuid", "noexec", "nodev"])
    } else {
        mount("proc", "proc", "/proc", &["nosuid", "noexec", "nodev"])
    });
    mounts.push(mount("tmpfs", "tmpfs", "/dev", &["nosuid", "strictatime", "mode=755", "size=65536k"]));
    let terminals = ["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5"];
    mounts.push(mount("devpts", "devpts", "/dev/pts", &terminals));
    let shares_network = matches!(request.network.mode, NetworkMode::Host | NetworkMode::Container(_));
    mounts.push(if own_user && shares_network {
        mount("bind", "/sys", "/sys", &["rbind", "nosuid", "noexec", "nodev", "rro"])
    } else {
        mount("sysfs", "sysfs", "/sys", &["nosuid", "noexec", "nodev", access])
    });
    mounts.push(mount("cgroup", "cgroup", "/sys/fs/cgroup", &["nosuid", "noexec", "nodev", access]));
    match request.namespaces.ipc {
        Namespace::Host => {
            mounts.push(mount("bind", "/dev/mqueue", "/dev/mqueue", &["bind", "nosuid", "noexec", "nodev"]));
            mounts.push(mount("bind", "/dev/shm", "/dev/shm", &["bind", "nosuid", "noexec", "nodev"]));
            mounts.retain(|mount| {
                mount.typ().as_deref() != Some("bind") || mount.source().as_ref().is_some_and(|s| s.exists())
            });
        }
        _ => {
            mounts.push(mount("mqueue", "mqueue", "/dev/mqueue", &["nosuid", "noexec", "nodev"]));
            // Shared memory goes with the IPC namespace: POSIX's is a file system.
            if let Some(pid) = facts.ipc {
                let source = format!("/proc/{pid}/root/dev/shm");
                mounts.push(mount("bind", source, "/dev/shm", &["bind", "nosuid", "noexec", "nodev"]));
            } else if !request.namespaces.no_shm {
                let size = format!("size={}", request.storage.shm_size.unwrap_or(oci::defaults::SHM_SIZE));
                let options = ["nosuid", "noexec", "nodev", "mode=1777", size.as_str()];
                mounts.push(mount("tmpfs", "shm", "/dev/shm", &options));
            }
        }
    }
    let asked =
        |target: &str| request.storage.mounts.iter().any(|mount| destination(mount) == Path::new(target));
    for (source, target) in files.iter().filter(|(_, target)| !asked(target)) {
        mounts.push(mount("bind", source, *target, &["bind", "rprivate"]));
    }
    for asked in &request.storage.mounts {
        check_destination(destination(asked))?;
    }
    // Parents before children, however they were typed.
    let mut asked: Vec<_> = request.storage.mounts.iter().collect();
    asked.sort_by_key(|mount| destination(mount).components().count());
    for asked in asked {
        mounts.retain(|mount| mount.destination() != destination(asked));
        mounts.push(user_mount(asked, facts));
    }
    Ok(mounts)
}

fn mount(kind: &str, source: impl Into<PathBuf>, target: impl Into<PathBuf>, options: &[&str]) -> Mount {
    let mut mount = Mount::default();
    mount
        .set_typ(Some(kind.to_owned()))
        .set_source(Some(source.into()))
        .set_destination(target.into())
        .set_options(Some(options.iter().map(|option| (*option).to_owned()).collect()));
    mount
}

fn destination(mount: &request::Mount) -> &Path {
    mount.target()
}

/// Nothing may lie on /proc or in it: what reads and writes there must meet the kernel (CVE-2019-16884). But for the
/// files that tell of the machine, which tools like lxcfs replace.
fn check_destination(target: &Path) -> Result<(), Error> {
    const TELLING: [&str; 9] = [
        "cpuinfo",
        "diskstats",
        "loadavg",
        "meminfo",
        "slabinfo",
        "stat",
        "swaps",
        "uptime",
        "sys/kernel/ns_last_pid",
    ];
    let Ok(below) = target.strip_prefix("/proc") else { return Ok(()) };
    if TELLING.iter().any(|name| below == Path::new(name)) {
        return Ok(());
    }
    Err(Error::new(
        Kind::Invalid,
        format!("nothing can be mounted on {}: /proc is the kernel's", target.display()),
    )
    .hint("choose another place in the container"))
}

fn user_mount(asked: &request::Mount, facts: &Facts) -> Mount {
    match asked {
        request::Mount::Bind {
            source,
            target,
            read_only,
            recursive_read_only,
            propagation,
            options,
            idmap,
            shallow,
            ..
        } => {
            let bind = if *shallow { "bind" } else { "rbind" };
            let mut words = vec![bind, propagation.as_deref().unwrap_or("rprivate")];
            words.extend(read_only.then_some("ro"));
            words.extend(recursive_read_only.then_some("rro"));
            words.extend(options.iter().map(String::as_str));
            let mut mount = mount("bind", source, target, &words);
            if *idmap {
                let owner = facts.owners.get(source).copied().unwrap_or_default();
                let user = (facts.user.uid, facts.user.gid);
                // A map that changes nothing asks the file system for nothing.
                if facts.ids.is_some() || owner != user {
                    mount
                        .set_uid_mappings(Some(mappings(owner.0, user.0, facts.ids)))
                        .set_gid_mappings(Some(mappings(owner.1, user.1, facts.ids)));
                }
            }
            mount
        }
        request::Mount::Tmpfs { target, options } => {
            let mut words = vec!["nosuid", "nodev", "noexec"];
            words.extend(options.iter().map(String::as_str));
            mount("tmpfs", "tmpfs", target, &words)
        }
        request::Mount::Volume(volume) => {
            let place = facts.volumes.get(&volume.name).cloned().unwrap_or_default();
            let (kind, source, words) = volumes::place(volume, &place, facts.ids.is_some());
            let words: Vec<&str> = words.iter().map(String::as_str).collect();
            mount(&kind, source, &volume.target, &words)
        }
    }
}

fn mappings(owner: u32, user: u32, ids: Option<(u32, u32)>) -> Vec<LinuxIdMapping> {
    let one = |(disk, seen, size): volumes::Range| {
        LinuxIdMappingBuilder::default().container_id(disk).host_id(seen).size(size).build().ok()
    };
    volumes::ranges(owner, user, ids).into_iter().filter_map(one).collect()
}
