//! The OCI specification of a request: pure, from what was asked for and the facts.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use oci::spec::{
    Capability, Linux, LinuxBlockIo, LinuxCapabilities, LinuxCpu, LinuxDevice, LinuxDeviceCgroup,
    LinuxDeviceCgroupBuilder, LinuxDeviceType, LinuxHugepageLimit, LinuxIdMappingBuilder,
    LinuxInterfacePriority, LinuxMemory, LinuxNamespace, LinuxNamespaceType, LinuxNetwork, LinuxPids,
    LinuxResources, LinuxThrottleDevice, LinuxThrottleDeviceBuilder, LinuxTimeOffset, LinuxTimeOffsetBuilder,
    LinuxWeightDevice, LinuxWeightDeviceBuilder, Mount, PosixRlimitBuilder, PosixRlimitType, Process, Root,
    Spec, User,
};

use crate::facts::{DeviceFact, Facts};
use crate::request::{self, Image, Namespace, NetworkMode, Resources, RunRequest};
use crate::{Error, Kind};

/// A specification, and the capabilities that its filter must know.
#[derive(Debug)]
pub(crate) struct Specified {
    /// The specification.
    pub spec: Spec,
    /// The bounding set.
    pub capabilities: Vec<Capability>,
}

/// Makes it. `files` are the container's own hosts, hostname and resolv.conf, and where they go.
pub(crate) fn specify(
    request: &RunRequest,
    facts: &Facts,
    id: &str,
    group: &str,
    files: &[(PathBuf, &'static str)],
) -> Result<Specified, Error> {
    let capabilities = capabilities(request, facts.capabilities)?;
    let mut root = Root::default();
    root.set_path(PathBuf::from("rootfs")).set_readonly(Some(request.storage.read_only));
    let mut spec = Spec::default();
    spec.set_version("1.2.1".to_owned())
        .set_root(Some(root))
        .set_process(Some(process(request, facts, id, &capabilities)?))
        .set_hostname(own_hostname(request, facts, id))
        .set_domainname(request.namespaces.domainname.clone())
        .set_mounts(Some(mounts(request, facts, files)?))
        .set_linux(Some(linux(request, facts, group)?));
    Ok(Specified { spec, capabilities })
}

/// The host name of a container with a UTS namespace of its own: with another's network that other's, as in
/// Docker.
pub(crate) fn own_hostname(request: &RunRequest, facts: &Facts, id: &str) -> Option<String> {
    if request.namespaces.uts != Namespace::Private {
        return None;
    }
    Some(match &request.namespaces.hostname {
        Some(name) => name.clone(),
        None if matches!(request.network.mode, NetworkMode::Host | NetworkMode::Container(_)) => {
            facts.hostname.clone()
        }
        None => id[..12].to_owned(),
    })
}

fn process(
    request: &RunRequest,
    facts: &Facts,
    id: &str,
    capabilities: &[Capability],
) -> Result<Process, Error> {
    let mut user = User::default();
    user.set_uid(facts.user.uid)
        .set_gid(facts.user.gid)
        .set_umask(request.process.umask)
        .set_additional_gids(Some(facts.user.groups.clone()));
    let set = |set: &[Capability]| Some(set.iter().copied().collect());
    let mut caps = LinuxCapabilities::default();
    caps.set_bounding(set(capabilities))
        .set_effective(set(capabilities))
        .set_permitted(set(capabilities))
        .set_inheritable(set(&[]))
        .set_ambient(set(&[]));
    let mut process = Process::default();
    process
        .set_terminal(Some(request.tty))
        .set_user(user)
        .set_args(Some(command(request)?))
        .set_env(Some(environment(request, facts, id)))
        .set_cwd(request.process.workdir.clone().unwrap_or_else(|| "/".into()))
        .set_capabilities(Some(caps))
        .set_rlimits(Some(request.process.ulimits.iter().map(limit).collect::<Result<_, _>>()?))
        .set_no_new_privileges(Some(request.security.no_new_privileges))
        .set_apparmor_profile(request.security.apparmor.clone())
        .set_oom_score_adj(request.process.oom_score_adj);
    if let Some((rows, columns)) = facts.terminal {
        let size = oci::spec::BoxBuilder::default().height(rows).width(columns).build();
        process.set_console_size(size.ok());
    }
    Ok(process)
}

/// The words to execute: the entry point, then the command.
pub(crate) fn command(request: &RunRequest) -> Result<Vec<String>, Error> {
    let mut words = request.entrypoint.clone().unwrap_or_default();
    words.extend(request.command.iter().cloned());
    if words.is_empty() {
        words.push(match request.image {
            Image::Host => "bash".to_owned(),
            _ => "sh".to_owned(),
        });
    }
    if words[0].is_empty() {
        return Err(Error::new(Kind::NotFound, "the command is empty").hint("name a program after the image"));
    }
    Ok(words)
}

fn environment(request: &RunRequest, facts: &Facts, id: &str) -> Vec<String> {
    let hostname = own_hostname(request, facts, id).unwrap_or_else(|| facts.hostname.clone());
    let mut variables: Vec<(String, String)> =
        vec![("PATH".into(), oci::defaults::PATH.into()), ("HOSTNAME".into(), hostname)];
    if request.tty {
        variables.push(("TERM".into(), "xterm".into()));
    }
    variables.push(("HOME".into(), facts.user.home.clone()));
    for (name, value) in &request.process.env {
        variables.retain(|(known, _)| known != name);
        variables.extend(value.clone().map(|value| (name.clone(), value)));
    }
    variables.into_iter().map(|(name, value)| format!("{name}={value}")).collect()
}

fn limit(limit: &request::Ulimit) -> Result<oci::spec::PosixRlimit, Error> {
    let unknown = || {
        Error::new(Kind::Invalid, format!("--ulimit {}: no such limit", limit.name))
            .hint("known are core, cpu, data, fsize, locks, memlock, msgqueue, nice, nofile, nproc, rss, rtprio, rttime, sigpending, stack, as")
    };
    let name = format!("\"RLIMIT_{}\"", limit.name.to_uppercase());
    let kind: PosixRlimitType = serde_json::from_str(&name).map_err(|_| unknown())?;
    PosixRlimitBuilder::default().typ(kind).soft(limit.soft).hard(limit.hard).build().map_err(|_| unknown())
}

/// Docker's rules: `ALL` stands for every capability that minidocker has itself (`own`); what is dropped goes from the
/// default, what is added comes.
fn capabilities(request: &RunRequest, own: u64) -> Result<Vec<Capability>, Error> {
    let security = &request.security;
    let every = || {
        let had = oci::CAPABILITIES.iter().enumerate().filter(move |(number, _)| own >> number & 1 == 1);
        had.map(|(_, (capability, _))| *capability)
    };
    if security.privileged {
        return Ok(every().collect());
    }
    let read = |option: &str, names: &[String]| -> Result<(bool, Vec<Capability>), Error> {
        let mut read = (false, Vec::new());
        for name in names {
            match (name.as_str(), oci::capability_named(name)) {
                ("ALL", _) => read.0 = true,
                (_, Some(capability)) => read.1.push(capability),
                (_, None) => {
                    return Err(Error::new(Kind::Invalid, format!("{option} {name}: no such capability"))
                        .hint("see capabilities(7); names are written like NET_ADMIN, or ALL"));
                }
            }
        }
        Ok(read)
    };
    let (add_all, add) = read("--cap-add", &security.cap_add)?;
    let (drop_all, drop) = read("--cap-drop", &security.cap_drop)?;
    let base: Vec<Capability> = match (add_all, drop_all) {
        (true, _) => every().collect(),
        (false, true) => Vec::new(),
        (false, false) => oci::defaults::CAPABILITIES.to_vec(),
    };
    let kept = |capability: &Capability| {
        (base.contains(capability) && !drop.contains(capability)) || add.contains(capability)
    };
    let known = oci::CAPABILITIES.iter().map(|(capability, _)| *capability);
    Ok(known.filter(kept).collect())
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

fn mounts(
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
        mounts.push(user_mount(asked));
    }
    Ok(mounts)
}

fn destination(mount: &request::Mount) -> &Path {
    match mount {
        request::Mount::Bind { target, .. } | request::Mount::Tmpfs { target, .. } => target,
    }
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

fn user_mount(asked: &request::Mount) -> Mount {
    match asked {
        request::Mount::Bind {
            source, target, read_only, recursive_read_only, propagation, options, ..
        } => {
            let mut words = vec!["rbind", propagation.as_deref().unwrap_or("rprivate")];
            words.extend(read_only.then_some("ro"));
            words.extend(recursive_read_only.then_some("rro"));
            words.extend(options.iter().map(String::as_str));
            mount("bind", source, target, &words)
        }
        request::Mount::Tmpfs { target, options } => {
            let mut words = vec!["nosuid", "nodev", "noexec"];
            words.extend(options.iter().map(String::as_str));
            mount("tmpfs", "tmpfs", target, &words)
        }
    }
}

fn linux(request: &RunRequest, facts: &Facts, group: &str) -> Result<Linux, Error> {
    let mut linux = Linux::default();
    linux
        .set_namespaces(Some(namespaces(request, facts)))
        .set_cgroups_path(Some(PathBuf::from(group)))
        .set_resources(Some(resources(request, facts)?))
        .set_devices(Some(facts.devices.iter().map(device).collect()))
        .set_rootfs_propagation(Some("rprivate".to_owned()))
        .set_masked_paths(None)
        .set_readonly_paths(None);
    let sysctls: HashMap<String, String> =
        request.security.sysctls.iter().map(|(key, value)| (key.clone(), value.clone())).collect();
    linux.set_sysctl(Some(sysctls));
    if !request.security.privileged && !request.security.unmasked {
        let owned = |paths: &[&str]| Some(paths.iter().map(|path| (*path).to_owned()).collect());
        linux.set_masked_paths(owned(&oci::defaults::MASKED_PATHS));
        linux.set_readonly_paths(owned(&oci::defaults::READ_ONLY_PATHS));
    }
    if let Some((host, size)) = facts.ids {
        let map =
            || LinuxIdMappingBuilder::default().container_id(0_u32).host_id(host).size(size).build().ok();
        linux.set_uid_mappings(map().map(|map| vec![map])).set_gid_mappings(map().map(|map| vec![map]));
    }
    if let Some(offsets) = request.namespaces.time {
        let offset = |secs: i64| -> LinuxTimeOffset {
            LinuxTimeOffsetBuilder::default().secs(secs).nanosecs(0_u32).build().unwrap_or_default()
        };
        let clocks = [("monotonic", offsets.monotonic), ("boottime", offsets.boottime)];
        linux.set_time_offsets(Some(clocks.map(|(clock, secs)| (clock.to_owned(), offset(secs))).into()));
    }
    Ok(linux)
}

fn namespaces(request: &RunRequest, facts: &Facts) -> Vec<LinuxNamespace> {
    use LinuxNamespaceType as Type;
    let names = &request.namespaces;
    let mut list = Vec::new();
    let mut add = |kind: Type, join: Option<(i32, &str)>| {
        let mut namespace = LinuxNamespace::default();
        namespace
            .set_typ(kind)
            .set_path(join.map(|(pid, name)| PathBuf::from(format!("/proc/{pid}/ns/{name}"))));
        list.push(namespace);
    };
    add(Type::Mount, None);
    for (kind, namespace, pid, name) in [
        (Type::Pid, &names.pid, facts.pid, "pid"),
        (Type::Ipc, &names.ipc, facts.ipc, "ipc"),
        (Type::Uts, &names.uts, facts.uts, "uts"),
    ] {
        match namespace {
            Namespace::Private => add(kind, None),
            Namespace::Host => {}
            Namespace::Container(_) => add(kind, pid.map(|pid| (pid, name))),
        }
    }
    match request.network.mode {
        NetworkMode::Bridge | NetworkMode::None => add(Type::Network, None),
        NetworkMode::Host => {}
        NetworkMode::Container(_) => add(Type::Network, facts.network.map(|pid| (pid, "net"))),
    }
    if facts.ids.is_some() {
        add(Type::User, None);
    }
    if !names.cgroup_host && !request.security.privileged {
        add(Type::Cgroup, None);
    }
    if names.time.is_some() {
        add(Type::Time, None);
    }
    list
}

fn device(fact: &DeviceFact) -> LinuxDevice {
    let mut device = LinuxDevice::default();
    device
        .set_path(fact.path.clone())
        .set_typ(if fact.kind == 'b' { LinuxDeviceType::B } else { LinuxDeviceType::C })
        .set_major(i64::from(fact.number.0))
        .set_minor(i64::from(fact.number.1))
        .set_file_mode(Some(fact.mode))
        .set_uid(Some(fact.owner.0))
        .set_gid(Some(fact.owner.1));
    device
}

fn device_rules(request: &RunRequest, facts: &Facts) -> Result<Vec<LinuxDeviceCgroup>, Error> {
    if request.security.privileged {
        let all = LinuxDeviceCgroupBuilder::default()
            .allow(true)
            .access("rwm".to_owned())
            .build()
            .unwrap_or_default();
        return Ok(vec![all]);
    }
    let mut rules = oci::defaults::device_rules();
    for fact in &facts.devices {
        let kind = if fact.kind == 'b' { LinuxDeviceType::B } else { LinuxDeviceType::C };
        let rule = LinuxDeviceCgroupBuilder::default()
            .allow(true)
            .typ(kind)
            .major(i64::from(fact.number.0))
            .minor(i64::from(fact.number.1))
            .access(fact.access.clone());
        rules.push(rule.build().unwrap_or_default());
    }
    for text in &request.security.device_rules {
        rules.push(device_rule(text)?);
    }
    Ok(rules)
}

/// `c 1:3 rwm`, with `*` for any number.
fn device_rule(text: &str) -> Result<LinuxDeviceCgroup, Error> {
    let invalid = || {
        Error::new(Kind::Invalid, format!("--device-cgroup-rule '{text}' is no rule"))
            .hint("write it like 'c 10:229 rwm': kind a, b or c; major:minor, * for any; some of r, w, m")
    };
    let words: Vec<_> = text.split_ascii_whitespace().collect();
    let [kind, numbers, access] = words.as_slice() else { return Err(invalid()) };
    let kind = match *kind {
        "a" => LinuxDeviceType::A,
        "b" => LinuxDeviceType::B,
        "c" => LinuxDeviceType::C,
        _ => return Err(invalid()),
    };
    let number = |text: &str| match text {
        "*" => Ok(None),
        text => text.parse::<u32>().map(|n| Some(i64::from(n))).map_err(|_| invalid()),
    };
    let (major, minor) = numbers.split_once(':').ok_or_else(invalid)?;
    if access.is_empty() || !access.bytes().all(|byte| b"rwm".contains(&byte)) {
        return Err(invalid());
    }
    let mut rule = LinuxDeviceCgroup::default();
    rule.set_allow(true)
        .set_typ(Some(kind))
        .set_major(number(major)?)
        .set_minor(number(minor)?)
        .set_access(Some((*access).to_owned()));
    Ok(rule)
}

fn resources(request: &RunRequest, facts: &Facts) -> Result<LinuxResources, Error> {
    let asked = &request.resources;
    let mut resources = LinuxResources::default();
    resources
        .set_devices(Some(device_rules(request, facts)?))
        .set_memory(memory(asked)?)
        .set_cpu(Some(cpu(asked)?))
        .set_block_io(block_io(asked)?);
    if let Some(limit) = asked.pids {
        let mut pids = LinuxPids::default();
        pids.set_limit(if limit <= 0 { -1 } else { limit });
        resources.set_pids(Some(pids));
    }
    let pages = asked.hugetlb.iter().map(|(size, limit)| {
        let mut page = LinuxHugepageLimit::default();
        page.set_page_size(size.clone()).set_limit(*limit as i64);
        page
    });
    resources.set_hugepage_limits(Some(pages.collect()));
    if asked.net_cls.is_some() || !asked.net_prio.is_empty() {
        let priorities = asked.net_prio.iter().map(|(name, priority)| {
            let mut one = LinuxInterfacePriority::default();
            one.set_name(name.clone()).set_priority(*priority);
            one
        });
        let mut network = LinuxNetwork::default();
        network.set_class_id(asked.net_cls).set_priorities(Some(priorities.collect()));
        resources.set_network(Some(network));
    }
    Ok(resources)
}

fn memory(asked: &Resources) -> Result<Option<LinuxMemory>, Error> {
    let invalid = |message: String, hint: &str| Err(Error::new(Kind::Invalid, message).hint(hint));
    let swap = match (asked.memory, asked.memory_swap) {
        (None, Some(swap)) if swap > 0 => {
            return invalid(
                "--memory-swap needs --memory".into(),
                "it is the limit of memory and swap together",
            );
        }
        // 0 stands for unset, as in Docker.
        (Some(memory), None | Some(0)) => Some(memory.saturating_mul(2).min(i64::MAX as u64) as i64),
        (Some(memory), Some(swap)) if swap > 0 && (swap as u64) < memory => {
            return invalid(
                format!("--memory-swap {swap} is less than --memory {memory}"),
                "it is the limit of memory and swap together; -1 is no limit",
            );
        }
        (_, swap) => swap.filter(|swap| *swap != 0),
    };
    if let (Some(reservation), Some(memory)) = (asked.memory_reservation, asked.memory)
        && reservation > memory
    {
        return invalid(
            format!("--memory-reservation {reservation} is more than --memory {memory}"),
            "the soft limit must be below the hard one",
        );
    }
    if asked.memory.is_none()
        && asked.memory_reservation.is_none()
        && swap.is_none()
        && asked.memory_swappiness.is_none()
        && !asked.oom_kill_disable
    {
        return Ok(None);
    }
    let mut memory = LinuxMemory::default();
    memory
        .set_limit(asked.memory.map(|bytes| bytes as i64))
        .set_reservation(asked.memory_reservation.map(|bytes| bytes as i64))
        .set_swap(swap)
        .set_swappiness(asked.memory_swappiness)
        .set_disable_oom_killer(asked.oom_kill_disable.then_some(true));
    Ok(Some(memory))
}

/// The kernel's period where only a share of CPUs was asked for, microseconds.
const PERIOD: u64 = 100_000;

fn cpu(asked: &Resources) -> Result<LinuxCpu, Error> {
    let mut cpu = LinuxCpu::default();
    cpu.set_shares(asked.cpu_shares.filter(|shares| *shares > 0))
        .set_cpus(asked.cpuset_cpus.clone())
        .set_mems(asked.cpuset_mems.clone())
        .set_quota(asked.cpu_quota.filter(|quota| *quota != 0))
        .set_period(asked.cpu_period.filter(|period| *period > 0));
    if let Some(milli) = asked.milli_cpus.filter(|milli| *milli > 0) {
        let present = std::thread::available_parallelism().map_or(1, |n| n.get() as u64);
        if milli > present * 1000 {
            return Err(Error::new(
                Kind::Invalid,
                format!("--cpus {} is more than this machine has: {present}", milli as f64 / 1000.0),
            )
            .hint(format!("give 0.001 to {present}")));
        }
        cpu.set_quota(Some((milli * PERIOD / 1000) as i64)).set_period(Some(PERIOD));
    }
    Ok(cpu)
}

fn block_io(asked: &Resources) -> Result<Option<LinuxBlockIo>, Error> {
    let number = |option: &str, path: &Path| -> Result<(i64, i64), Error> {
        use std::os::unix::fs::{FileTypeExt, MetadataExt};
        let invalid = |reason: &str| {
            Error::new(Kind::Invalid, format!("{option} {}: {reason}", path.display()))
                .hint("give the path of a block device, like /dev/sda; `lsblk` lists them")
        };
        let meta = std::fs::metadata(path).map_err(|_| invalid("does not exist on the host"))?;
        if !meta.file_type().is_block_device() {
            return Err(invalid("is not a block device"));
        }
        Ok((i64::from(rustix::fs::major(meta.rdev())), i64::from(rustix::fs::minor(meta.rdev()))))
    };
    let rates = |option: &str, list: &[(PathBuf, u64)]| -> Result<Option<Vec<LinuxThrottleDevice>>, Error> {
        let rate = |(path, rate): &(PathBuf, u64)| -> Result<LinuxThrottleDevice, Error> {
            let (major, minor) = number(option, path)?;
            let rate = LinuxThrottleDeviceBuilder::default().major(major).minor(minor).rate(*rate).build();
            rate.map_err(|error| Error::new(Kind::Invalid, format!("{option}: {error}")))
        };
        if list.is_empty() { Ok(None) } else { list.iter().map(rate).collect::<Result<_, _>>().map(Some) }
    };
    let weight = |(path, weight): &(PathBuf, u16)| -> Result<LinuxWeightDevice, Error> {
        let (major, minor) = number("--blkio-weight-device", path)?;
        let weight = LinuxWeightDeviceBuilder::default().major(major).minor(minor).weight(*weight).build();
        weight.map_err(|error| Error::new(Kind::Invalid, format!("--blkio-weight-device: {error}")))
    };
    let mut io = LinuxBlockIo::default();
    let weights: Vec<_> = asked.blkio_weight_devices.iter().map(weight).collect::<Result<_, _>>()?;
    io.set_weight(asked.blkio_weight.filter(|weight| *weight > 0))
        .set_weight_device((!weights.is_empty()).then_some(weights))
        .set_throttle_read_bps_device(rates("--device-read-bps", &asked.read_bps)?)
        .set_throttle_write_bps_device(rates("--device-write-bps", &asked.write_bps)?)
        .set_throttle_read_iops_device(rates("--device-read-iops", &asked.read_iops)?)
        .set_throttle_write_iops_device(rates("--device-write-iops", &asked.write_iops)?);
    Ok((io != LinuxBlockIo::default()).then_some(io))
}
