//! What was typed becomes what it means, once: options into the engine's request, a part of it at a time.

use std::collections::BTreeMap;
use std::io::{self, Read as _};
use std::path::PathBuf;

use engine::request::{
    DEFAULT_NETWORK, Endpoint, Healthcheck, Image, Log, Membership, Mount, Namespaces, Network, NetworkMode,
    Process, Rates, Resources, Role, RunRequest, Seccomp, Security, Share, Storage,
};

use crate::global;
use crate::options::{Typed, bad_value};
use crate::problem::Problem;
use crate::terminal::io_reason;
use crate::values::networks::Asked;
use crate::values::{
    addresses, capabilities, cpus, devices, disks, env, health, mounts, names, namespaces, networks, numbers,
    ports, rates, restarts, security, signals, sizes, sysctls, ulimits, volumes,
};

/// What is read of the process that calls.
pub(crate) struct Caller<'a> {
    /// The value of an environment variable.
    pub(crate) variable: &'a dyn Fn(&str) -> Option<String>,
    /// The directory that relative paths count from.
    pub(crate) directory: &'a dyn Fn() -> io::Result<PathBuf>,
}

impl Caller<'static> {
    /// This process.
    pub(crate) fn own() -> Self {
        Self { variable: &|name| std::env::var(name).ok(), directory: &std::env::current_dir }
    }
}

impl Caller<'_> {
    fn absolute(&self, text: &str) -> Result<PathBuf, Problem> {
        Ok(mounts::absolute(text, &self.here()?))
    }

    fn here(&self) -> Result<PathBuf, Problem> {
        (self.directory)().map_err(|error| {
            Problem::new(format!("cannot tell the current directory: {}", io_reason(&error)))
        })
    }
}

/// The request.
pub(crate) fn read(typed: &Typed, caller: &Caller<'_>) -> Result<RunRequest, Problem> {
    let on = |long| typed.flag(long).map(|on| on.unwrap_or(false));
    let (image, command) = image(typed, caller)?;
    Ok(RunRequest {
        image,
        // Known when the image was brought.
        platform: None,
        command,
        entrypoint: typed.one("entrypoint").map(|text| match text {
            "" => Vec::new(),
            text => vec![text.to_owned()],
        }),
        name: typed.read("name", names::container)?,
        interactive: on("interactive")?,
        tty: on("tty")?,
        detach: typed.knows("detach") && on("detach")?,
        remove: on("rm")?,
        labels: labels(typed)?,
        cidfile: typed.read("cidfile", not_empty)?.map(|path| caller.absolute(&path)).transpose()?,
        stop_signal: typed.read("stop-signal", signals::parse)?,
        stop_timeout: typed.read("stop-timeout", |text| numbers::within(text, -1..=i64::from(i32::MAX)))?,
        restart: typed.read("restart", restarts::policy)?.unwrap_or_default(),
        healthcheck: healthcheck(typed)?,
        shell: Vec::new(),
        log: log(typed)?,
        process: process(typed, caller)?,
        namespaces: spaces(typed)?,
        network: network(typed)?,
        storage: storage(typed, caller)?,
        security: protection(typed)?,
        resources: resources(typed)?,
        pod: role(typed),
    })
}

fn image(typed: &Typed, caller: &Caller<'_>) -> Result<(Image, Vec<String>), Problem> {
    if let Some(text) = typed.one("rootfs") {
        let (path, overlay) = text.strip_suffix(":overlay").map_or((text, false), |path| (path, true));
        if path.is_empty() {
            return Err(bad_value("rootfs", text, "no directory; write it as ./new_root"));
        }
        let path = caller.absolute(path)?;
        let image = if overlay { Image::DirectoryOverlay(path) } else { Image::Directory(path) };
        return Ok((image, typed.words.clone()));
    }
    match typed.words.split_first() {
        Some((image, command)) if image == "host" => Ok((Image::Host, command.to_vec())),
        Some((image, command)) => Ok((Image::Named(image.clone()), command.to_vec())),
        None => {
            Err(Problem::new("run needs an image or --rootfs")
                .hint("for example: minidocker run -it host bash"))
        }
    }
}

/// `--label` and `--label-file`.
pub(crate) fn labels(typed: &Typed) -> Result<BTreeMap<String, String>, Problem> {
    let mut labels = BTreeMap::new();
    for path in typed.many("label-file") {
        let text = read_file("label-file", path, path)?;
        labels.extend(env::labels(&text).map_err(|why| bad_value("label-file", path, &why))?);
    }
    labels.extend(typed.read_many("label", env::label)?);
    Ok(labels)
}

/// `-e` and `--env-file`. As in Docker, -e wins over --env-file wherever it stands.
pub(crate) fn environment(
    typed: &Typed,
    caller: &Caller<'_>,
) -> Result<Vec<(String, Option<String>)>, Problem> {
    let mut variables = Vec::new();
    for path in typed.many("env-file") {
        let text = read_file("env-file", path, path)?;
        let read = env::variables(&text, caller.variable).map_err(|why| bad_value("env-file", path, &why))?;
        variables.extend(read.into_iter().map(|(name, value)| (name, Some(value))));
    }
    variables.extend(typed.read_many("env", |text| env::variable(text, caller.variable))?);
    Ok(variables)
}

/// `--health-*` and `--no-healthcheck`, contradictions as Docker tells them.
fn healthcheck(typed: &Typed) -> Result<Option<Healthcheck>, Problem> {
    let time = |long| typed.read(long, health::time).map(Option::unwrap_or_default);
    let line = typed.one("health-cmd").filter(|line| !line.is_empty());
    let tests = [
        line.map(|line| vec!["CMD-SHELL".to_owned(), line.to_owned()]),
        typed.read("health-tcp", health::tcp)?,
        typed.read("health-http", health::http)?,
    ];
    if tests.iter().flatten().count() > 1 {
        return Err(Problem::new("--health-cmd, --health-tcp and --health-http: a container has one check")
            .hint("leave out all but one; a command can ask several questions"));
    }
    let check = Healthcheck {
        test: tests.into_iter().flatten().next().unwrap_or_default(),
        interval: time("health-interval")?,
        timeout: time("health-timeout")?,
        start_period: time("health-start-period")?,
        start_interval: time("health-start-interval")?,
        retries: typed.read("health-retries", health::retries)?.unwrap_or_default(),
    };
    let is_asked = check != Healthcheck::default();
    match typed.flag("no-healthcheck")?.unwrap_or(false) {
        true if is_asked => Err(Problem::new("--no-healthcheck conflicts with --health-* options")),
        true => Ok(Some(Healthcheck::none())),
        false => Ok(is_asked.then_some(check)),
    }
}

/// `--log-driver` and `--log-opt`.
fn log(typed: &Typed) -> Result<Log, Problem> {
    let options = typed.read_many("log-opt", |text| {
        let (key, value) = text.split_once('=').ok_or("no value; write it as max-size=10m")?;
        Ok((key.to_owned(), value.to_owned()))
    })?;
    Log::parse(typed.one("log-driver"), &options).map_err(|failure| engine::Error::from(failure).into())
}

/// `-w`.
pub(crate) fn workdir(text: &str) -> Result<PathBuf, String> {
    match text {
        text if text.starts_with('/') => Ok(PathBuf::from(text)),
        _ => Err("not absolute; write it as /work".to_owned()),
    }
}

fn process(typed: &Typed, caller: &Caller<'_>) -> Result<Process, Problem> {
    let variables = environment(typed, caller)?;
    Ok(Process {
        user: typed.read("user", names::user)?.flatten(),
        groups: typed.read_many("group-add", names::group)?,
        workdir: typed.read("workdir", workdir)?,
        env: variables,
        init: typed.flag("init")?.unwrap_or(false),
        umask: typed.read("umask", |text| numbers::octal(text, 0o777))?,
        ulimits: typed.read_many("ulimit", ulimits::parse)?,
        oom_score_adj: typed.read("oom-score-adj", |text| numbers::within(text, -1000..=1000))?,
    })
}

fn spaces(typed: &Typed) -> Result<Namespaces, Problem> {
    let (ipc, no_shm) = typed.read("ipc", namespaces::ipc)?.unwrap_or_default();
    Ok(Namespaces {
        pid: typed.read("pid", namespaces::plain)?.unwrap_or_default(),
        ipc,
        no_shm,
        uts: typed.read("uts", namespaces::plain)?.unwrap_or_default(),
        hostname: typed.read("hostname", names::host)?,
        domainname: typed.read("domainname", names::host)?,
        cgroup_host: typed.read("cgroupns", namespaces::cgroup)?.unwrap_or(false),
        user: typed.read("userns", namespaces::user)?.unwrap_or_default(),
        time: typed.read("time", namespaces::time)?.flatten(),
    })
}

/// What a container's network is to be, or a pod's.
pub(crate) fn network(typed: &Typed) -> Result<Network, Problem> {
    let mut mode = None;
    let mut endpoints: Vec<Endpoint> = Vec::new();
    let asked = typed.read_many("network", networks::network)?;
    let several = asked.len() > 1;
    for one in asked {
        match one {
            Asked::Endpoint(endpoint) => endpoints.push(*endpoint),
            Asked::Mode(other) => mode = Some(other),
        }
    }
    if mode.is_some() && several {
        return Err(Problem::new(
            "--network host, none and container:NAME take no other network beside them",
        )
        .hint("leave out one or the other"));
    }
    let (ip, mac) = (typed.read("ip", addresses::ip)?, typed.read("mac-address", addresses::mac)?);
    let of_first = of_first(typed)?;
    if mode.is_some() && of_first != Endpoint::default() {
        return Err(Problem::new(
            "--ip6, --network-alias, --link and --link-local-ip need a network of the container's own",
        )
        .hint("make one: minidocker network create NAME, and name it: --network NAME"));
    }
    let mut network = Network {
        mode: mode.unwrap_or(NetworkMode::Bridge),
        endpoints: None,
        ip,
        mac,
        add_hosts: typed.read_many("add-host", addresses::host)?,
        dns: typed.read_many("dns", addresses::server)?,
        dns_search: typed.read_many("dns-search", addresses::search)?,
        dns_options: typed.read_many("dns-option", addresses::option)?,
        publish: typed.read_many("publish", ports::publish)?,
        publish_all: typed.flag("publish-all")?.unwrap_or(false),
        expose: typed.read_many("expose", ports::expose)?,
        rates: typed.read("network-rate", rates::rates)?.unwrap_or_default().of(Rates::default()),
        share: typed.read("network-share", rates::rate_or_none)?.flatten(),
    };
    if network.mode == NetworkMode::Bridge {
        if endpoints.is_empty() {
            endpoints.push(Endpoint { network: DEFAULT_NETWORK.to_owned(), ..Endpoint::default() });
        }
        // As in Docker these are the first network's.
        endpoints[0] = joined(&endpoints[0], of_first, &network)?;
        let usual = Endpoint { ip, mac, network: DEFAULT_NETWORK.to_owned(), ..Endpoint::default() };
        if endpoints != [usual] {
            (network.ip, network.mac) = (None, None);
            network.endpoints = Some(endpoints);
        }
    }
    Ok(network)
}

/// `--pod`, and what the container has apart from it by an option of its own.
fn role(typed: &Typed) -> Role {
    let Some(pod) = typed.one("pod").filter(|pod| !pod.is_empty()) else { return Role::Alone };
    let apart = [("ipc", Share::Ipc), ("pid", Share::Pid), ("uts", Share::Uts)];
    let apart = apart.into_iter().filter(|(long, _)| typed.one(long).is_some()).map(|(_, what)| what);
    Role::Member(Membership { pod: pod.to_owned(), apart: apart.collect() })
}

/// What `--ip6`, `--network-alias`, `--link` and `--link-local-ip` say.
fn of_first(typed: &Typed) -> Result<Endpoint, Problem> {
    Ok(Endpoint {
        ip6: typed.read("ip6", networks::ip6)?,
        aliases: typed.read_many("network-alias", networks::alias)?,
        link_local: typed.read_many("link-local-ip", networks::link_local)?,
        links: typed.read_many("link", networks::link)?,
        ..Endpoint::default()
    })
}

/// The first network with what further options say of it; nothing may be said twice.
fn joined(endpoint: &Endpoint, more: Endpoint, network: &Network) -> Result<Endpoint, Problem> {
    for (twice, option, key) in [
        (network.ip.is_some() && endpoint.ip.is_some(), "--ip", "ip="),
        (more.ip6.is_some() && endpoint.ip6.is_some(), "--ip6", "ip6="),
        (network.mac.is_some() && endpoint.mac.is_some(), "--mac-address", "mac-address="),
        (!more.aliases.is_empty() && !endpoint.aliases.is_empty(), "--network-alias", "alias="),
        (!more.link_local.is_empty() && !endpoint.link_local.is_empty(), "--link-local-ip", "link-local-ip="),
    ] {
        if twice {
            let message = format!("conflicting options: {option} and {key} of the same --network");
            return Err(Problem::new(message).hint("say it once"));
        }
    }
    let mut all = endpoint.clone();
    all.ip = all.ip.or(network.ip);
    all.ip6 = all.ip6.or(more.ip6);
    all.mac = all.mac.or(network.mac);
    all.aliases.extend(more.aliases);
    all.link_local.extend(more.link_local);
    all.links.extend(more.links);
    Ok(all)
}

fn storage(typed: &Typed, caller: &Caller<'_>) -> Result<Storage, Problem> {
    let mut all: Vec<Mount> = Vec::new();
    for (long, text) in typed.in_order(&["volume", "mount", "tmpfs"]) {
        let mount = match long {
            "volume" => mounts::volume(text, &caller.here()?),
            "mount" => mounts::mount(text, &caller.here()?),
            _ => mounts::tmpfs(text),
        };
        let mount = mount.map_err(|why| bad_value(long, text, &why))?;
        let target = mount.target();
        if all.iter().any(|other| other.target() == target) {
            let why = format!("something is mounted on {} already", step::quote(&target.to_string_lossy()));
            return Err(bad_value(long, text, &why));
        }
        all.push(mount);
    }
    typed.read("volume-driver", volumes::driver)?;
    let disk = disks::last(&typed.read_many("storage-opt", disks::option)?);
    Ok(Storage {
        mounts: all,
        volumes_from: typed.read_many("volumes-from", volumes::volumes_from)?,
        read_only: typed.flag("read-only")?.unwrap_or(false),
        kind: typed.read("rootfs-kind", disks::kind)?,
        size: disk.size,
        volatile: disk.volatile,
        image: disk.image.unwrap_or(false),
        shm_size: typed.read("shm-size", sizes::parse)?.filter(|bytes| *bytes > 0),
    })
}

fn protection(typed: &Typed) -> Result<Security, Problem> {
    let mut all = Security {
        privileged: typed.flag("privileged")?.unwrap_or(false),
        cap_add: typed.read_many("cap-add", capabilities::parse)?,
        cap_drop: typed.read_many("cap-drop", capabilities::parse)?,
        sysctls: typed.read_many("sysctl", sysctls::parse)?.into_iter().collect(),
        devices: typed.read_many("device", devices::device)?,
        device_rules: typed.read_many("device-cgroup-rule", devices::rule)?,
        ..Security::default()
    };
    for text in typed.many("security-opt") {
        match security::parse(text).map_err(|why| bad_value("security-opt", text, &why))? {
            security::Security::NoNewPrivileges(on) => all.no_new_privileges = on,
            security::Security::DefaultFilter => all.seccomp = Seccomp::Default,
            security::Security::NoFilter => all.seccomp = Seccomp::Unconfined,
            security::Security::Filter(path) => all.seccomp = profile(text, path)?,
            security::Security::AppArmor(name) => all.apparmor = Some(name),
            security::Security::NoLabel => {}
            security::Security::Unmasked => all.unmasked = true,
        }
    }
    Ok(all)
}

fn profile(option: &str, path: String) -> Result<Seccomp, Problem> {
    let text = read_file("security-opt", option, &path)?;
    match serde_json::from_str::<serde::de::IgnoredAny>(&text) {
        Ok(_) => Ok(Seccomp::Profile(path.into(), text)),
        Err(error) => Err(bad_value("security-opt", option, &format!("not JSON: {error}"))),
    }
}

fn resources(typed: &Typed) -> Result<Resources, Problem> {
    Ok(Resources {
        oom_kill_disable: typed.flag("oom-kill-disable")?.unwrap_or(false),
        cgroup_parent: typed.read("cgroup-parent", global::cgroup)?,
        ..limits(typed)?
    })
}

/// Those that can change while a container runs.
pub(crate) fn limits(typed: &Typed) -> Result<Resources, Problem> {
    let bytes = |long| typed.read(long, sizes::parse).map(|bytes| bytes.filter(|bytes| *bytes > 0));
    Ok(Resources {
        memory: bytes("memory")?,
        memory_reservation: bytes("memory-reservation")?,
        memory_swap: typed.read("memory-swap", sizes::parse_or_unlimited)?.filter(|bytes| *bytes != 0),
        // -1 is Docker's default, "as the host does".
        memory_swappiness: typed
            .read("memory-swappiness", |text| match text {
                "-1" => Ok(None),
                text => numbers::within(text, 0..=100).map(Some),
            })?
            .flatten(),
        milli_cpus: typed.read("cpus", cpus::time)?.flatten(),
        // Bounds of kernel/sched/core.c: a period of 1 ms to 1 s, a quota of 1 ms at least.
        cpu_period: typed
            .read("cpu-period", |text| numbers::within_or_unset(text, 1000..=1_000_000))?
            .flatten(),
        cpu_quota: typed
            .read("cpu-quota", |text| match text {
                "-1" => Ok(Some(-1)),
                text => numbers::within_or_unset(text, 1000..=i64::MAX / 1000),
            })?
            .flatten(),
        cpu_shares: typed.read("cpu-shares", |text| numbers::within_or_unset(text, 2..=262_144))?.flatten(),
        cpuset_cpus: typed.read("cpuset-cpus", cpus::set)?,
        cpuset_mems: typed.read("cpuset-mems", cpus::set)?,
        pids: typed.read("pids-limit", numbers::limit)?.flatten(),
        blkio_weight: typed.read("blkio-weight", |text| numbers::within_or_unset(text, 10..=1000))?.flatten(),
        blkio_weight_devices: typed.read_many("blkio-weight-device", devices::weight)?,
        read_bps: typed.read_many("device-read-bps", devices::bytes)?,
        write_bps: typed.read_many("device-write-bps", devices::bytes)?,
        read_iops: typed.read_many("device-read-iops", devices::operations)?,
        write_iops: typed.read_many("device-write-iops", devices::operations)?,
        hugetlb: typed.read_many("hugetlb", devices::hugetlb)?,
        net_cls: typed.read("net-cls-classid", devices::class)?,
        net_prio: typed.read_many("net-prio", devices::priority)?,
        raw: typed.read_many("cgroup-conf", devices::file)?.into_iter().collect(),
        ..Resources::default()
    })
}

fn not_empty(text: &str) -> Result<String, String> {
    if text.is_empty() { Err("empty".to_owned()) } else { Ok(text.to_owned()) }
}

/// Larger files are no settings: `--env-file /dev/zero` would fill the memory.
const MOST: u64 = 4 << 20;

/// The text of a file that an option names.
fn read_file(long: &str, value: &str, path: &str) -> Result<String, Problem> {
    let read = || -> io::Result<String> {
        let mut text = String::new();
        std::fs::File::open(path)?.take(MOST + 1).read_to_string(&mut text)?;
        Ok(text)
    };
    match read() {
        Ok(text) if text.len() as u64 > MOST => Err(bad_value(long, value, "more than 4 MiB")),
        Ok(text) => Ok(text),
        Err(error) if error.kind() == io::ErrorKind::InvalidData => Err(bad_value(long, value, "not UTF-8")),
        Err(error) => Err(bad_value(long, value, &io_reason(&error))),
    }
}

#[cfg(test)]
#[path = "request_tests.rs"]
mod tests;
