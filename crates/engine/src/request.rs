//! What the user asked for, typed: the one value that carries a `run` from the command line to the plan.
//! Parsing fills it and touches nothing; names are Docker's options.

mod pod;

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::PathBuf;

/// How its health is looked after.
pub use oci::Healthcheck;
use serde::{Deserialize, Serialize};

/// Pods.
pub use pod::{Membership, Pod, Role, Share};

/// Who keeps what a container prints.
pub use logs::Settings as Log;
/// Ports of a container, and those of the host that lead there.
pub use network::{Ports, Protocol, Publish, Published, Rate, RateChange, Rates, Wanted};
/// How a container keeps what it writes.
pub use storage::Kind as RootfsKind;

/// One `run`; the default is `run host`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct RunRequest {
    /// What the container's root file system is made from.
    pub image: Image,
    /// `--platform`: which of several images the name stands for.
    #[serde(default)]
    pub platform: Option<String>,
    /// The words after the image; empty means the image's default command.
    pub command: Vec<String>,
    /// `--entrypoint`: goes before `command`; `Some(vec![])` after `--entrypoint ""`.
    pub entrypoint: Option<Vec<String>>,
    /// `--name`; generated where absent.
    pub name: Option<String>,
    /// `-i`: keep standard input open.
    pub interactive: bool,
    /// `-t`: give the container a terminal.
    pub tty: bool,
    /// `-d`: run on after the command has returned.
    pub detach: bool,
    /// `--rm`: remove the container when it has ended.
    pub remove: bool,
    /// `--label` and `--label-file`.
    pub labels: BTreeMap<String, String>,
    /// `--cidfile`: must not exist; gets the id.
    pub cidfile: Option<PathBuf>,
    /// `--stop-signal`, as a number.
    pub stop_signal: Option<i32>,
    /// `--stop-timeout`, seconds until a stop kills; -1 for never.
    #[serde(default)]
    pub stop_timeout: Option<i64>,
    /// `--restart`.
    #[serde(default)]
    pub restart: Restart,
    /// `--health-*` and `--no-healthcheck` over what the image says.
    #[serde(default)]
    pub healthcheck: Option<Healthcheck>,
    /// What runs a check that is a line: the image's SHELL; empty for `/bin/sh -c`.
    #[serde(default)]
    pub shell: Vec<String>,
    /// `--log-driver` and `--log-opt`.
    #[serde(default)]
    pub log: logs::Settings,
    /// Who and where the program is.
    pub process: Process,
    /// Which namespaces are its own.
    pub namespaces: Namespaces,
    /// The network.
    pub network: Network,
    /// What is mounted besides the root.
    pub storage: Storage,
    /// What it may do.
    pub security: Security,
    /// What it may use.
    pub resources: Resources,
    /// What it has to do with a pod.
    #[serde(default, skip_serializing_if = "Role::is_alone")]
    pub pod: Role,
}

/// `--restart`: what becomes of a container that has ended by itself.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Restart {
    /// `no`: nothing.
    #[default]
    No,
    /// `on-failure[:TIMES]`: started again if its exit code is not 0, at most so often.
    OnFailure(Option<u32>),
    /// `always`: started again, and at every boot.
    Always,
    /// `unless-stopped`: as `always`, but not at a boot if a user had stopped it.
    UnlessStopped,
}

/// What the root file system is made from.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Image {
    /// `host`: a copy-on-write view of the host's own root file system.
    #[default]
    Host,
    /// `--rootfs DIR`: the directory as it is; changes stay.
    Directory(PathBuf),
    /// `--rootfs DIR:overlay`: the directory stays untouched.
    DirectoryOverlay(PathBuf),
    /// An image of the store, as typed: a name, or an id.
    Named(String),
    /// Nothing at all: of a container whose first process waits and has no program. Nobody types it.
    Pause,
}

impl std::fmt::Display for Image {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Host => f.write_str("host"),
            Self::Directory(path) => write!(f, "{}", path.display()),
            Self::DirectoryOverlay(path) => write!(f, "{}:overlay", path.display()),
            Self::Named(name) => f.write_str(name),
            Self::Pause => f.write_str("pause"),
        }
    }
}

/// Who the program is and where it starts.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Process {
    /// `-u`: `user[:group]`, names or numbers, as typed; resolved in the container's own passwd and group files.
    pub user: Option<String>,
    /// `--group-add`, names or numbers.
    pub groups: Vec<String>,
    /// `-w`: absolute; made if missing.
    pub workdir: Option<PathBuf>,
    /// `-e` and `--env-file` in order, later ones win. `None` removes a variable that would be set by default.
    pub env: Vec<(String, Option<String>)>,
    /// `--init`: a small init as PID 1 that reaps zombies and forwards signals.
    pub init: bool,
    /// `--umask`, an octal number; 0o022 by default.
    pub umask: Option<u32>,
    /// `--ulimit`.
    pub ulimits: Vec<Ulimit>,
    /// `--oom-score-adj`, -1000 to 1000.
    pub oom_score_adj: Option<i32>,
}

/// `--ulimit name=soft[:hard]`; -1 became [`u64::MAX`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ulimit {
    /// `nofile`, `nproc`, …: getrlimit(2)'s name in lower case without `RLIMIT_`.
    pub name: String,
    /// The soft limit.
    pub soft: u64,
    /// The hard limit.
    pub hard: u64,
}

/// Whose namespace it is.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Namespace {
    /// Its own.
    #[default]
    Private,
    /// The host's.
    Host,
    /// Another container's, by name or id.
    Container(String),
}

/// The namespaces besides the network's; the mount namespace is always the container's own.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Namespaces {
    /// `--pid`.
    pub pid: Namespace,
    /// `--ipc` (`private`, `shareable`, `host`, `container:`).
    pub ipc: Namespace,
    /// `--ipc none`: its own namespace, and no /dev/shm.
    pub no_shm: bool,
    /// `--uts`.
    pub uts: Namespace,
    /// `-h`, `--hostname`; the short id where absent.
    pub hostname: Option<String>,
    /// `--domainname`.
    pub domainname: Option<String>,
    /// `--cgroupns`: true for `private`, the default.
    pub cgroup_host: bool,
    /// `--userns`.
    pub user: UserNamespace,
    /// `--time`: offsets of a time namespace of its own; none for the host's clocks.
    pub time: Option<TimeOffsets>,
}

/// `--userns host|private[:HOSTID[:SIZE]]`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum UserNamespace {
    /// The host's: root in the container is root.
    #[default]
    Host,
    /// Its own: ids 0..size of the container are host..host+size outside.
    Private {
        /// The first id outside; 0 lets the engine choose a range that no other container has.
        host: u32,
        /// How many ids.
        size: u32,
    },
}

/// `--time private[:monotonic=SECONDS][,boottime=SECONDS]`, time_namespaces(7).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TimeOffsets {
    /// Added to CLOCK_MONOTONIC, seconds.
    pub monotonic: i64,
    /// Added to CLOCK_BOOTTIME, seconds.
    pub boottime: i64,
}

/// The network.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Network {
    /// `--network`.
    pub mode: NetworkMode,
    /// The networks of [`NetworkMode::Bridge`], `eth0` first; none: the default network, with `ip` and `mac`. An empty
    /// list after it was disconnected from all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub endpoints: Option<Vec<Endpoint>>,
    /// `--ip ADDRESS[/PREFIX]`, on the default network.
    pub ip: Option<(Ipv4Addr, Option<u8>)>,
    /// `--mac-address`, on the default network.
    pub mac: Option<[u8; 6]>,
    /// `--add-host name:address`; `None` stands for `host-gateway`.
    pub add_hosts: Vec<(String, Option<IpAddr>)>,
    /// `--dns`.
    pub dns: Vec<IpAddr>,
    /// `--dns-search`.
    pub dns_search: Vec<String>,
    /// `--dns-option`.
    pub dns_options: Vec<String>,
    /// `--publish`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub publish: Vec<Publish>,
    /// `--publish-all`: exposed ports that are not published are, on any port of the host.
    #[serde(default)]
    pub publish_all: bool,
    /// `--expose`, and what the image exposes.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub expose: Vec<Ports>,
    /// `--network-rate`: what may go over its link.
    #[serde(default, skip_serializing_if = "Rates::is_none")]
    pub rates: Rates,
    /// `--network-share`: what is kept for it of what its network may carry.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub share: Option<Rate>,
}

impl Network {
    /// The networks that it is to be connected to, `eth0` first; none without a network of its own.
    pub fn links(&self) -> Vec<Endpoint> {
        match (&self.mode, &self.endpoints) {
            (NetworkMode::Bridge, Some(endpoints)) => endpoints.clone(),
            (NetworkMode::Bridge, None) => {
                let network = DEFAULT_NETWORK.to_owned();
                vec![Endpoint { network, ip: self.ip, mac: self.mac, ..Endpoint::default() }]
            }
            _ => Vec::new(),
        }
    }
}

/// The default network's name.
pub const DEFAULT_NETWORK: &str = "bridge";

/// One network of a container: `--network NAME`, or with more to say `--network name=NAME,alias=…`; `network connect`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Endpoint {
    /// The network's name, `bridge` for the default one; a name or an id as typed until the container is made.
    pub network: String,
    /// `--network-alias`, `alias=`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub aliases: Vec<String>,
    /// `--ip`, `ip=`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ip: Option<(Ipv4Addr, Option<u8>)>,
    /// `--ip6`, `ip6=`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ip6: Option<Ipv6Addr>,
    /// `--mac-address`, `mac-address=`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mac: Option<[u8; 6]>,
    /// `--link-local-ip`, `link-local-ip=`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub link_local: Vec<IpAddr>,
    /// `driver-opt=`, as typed.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub driver_options: BTreeMap<String, String>,
    /// `gw-priority=`: the network with the most is the way out.
    pub priority: i32,
    /// `--link NAME[:ALIAS]`: other containers, and what this one calls them.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub links: Vec<(String, String)>,
}

/// `--network`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum NetworkMode {
    /// A network namespace of its own, connected to networks: the default one where none is named.
    #[default]
    Bridge,
    /// The host's network.
    Host,
    /// A network namespace with loopback alone.
    None,
    /// Another container's network, by name or id.
    Container(String),
}

/// What is mounted besides the root.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Storage {
    /// `-v`, `--mount`, `--tmpfs`, in the order given.
    pub mounts: Vec<Mount>,
    /// `--volumes-from`; part of `mounts` from the container's record on.
    #[serde(default)]
    pub volumes_from: Vec<VolumesFrom>,
    /// `--read-only`.
    pub read_only: bool,
    /// `--shm-size`, bytes; 64 MiB where absent.
    pub shm_size: Option<u64>,
    /// `--rootfs-kind`; the cheapest that the host has where absent.
    pub kind: Option<RootfsKind>,
    /// `--storage-opt size=`, bytes; as much as the host's disk has where absent.
    pub size: Option<u64>,
    /// `--storage-opt volatile=`: what is written need not reach the disk. Where absent it need not with `--rm`.
    #[serde(default)]
    pub volatile: Option<bool>,
    /// `--storage-opt image=true`: what is written lies in an ext4 image on a loop device, where a quota could bound it too.
    #[serde(default)]
    pub image: bool,
}

/// One mount.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Mount {
    /// A directory or file of the host.
    Bind {
        /// On the host, absolute.
        source: PathBuf,
        /// In the container, absolute.
        target: PathBuf,
        /// `ro`: this mount, and with `rro` what is mounted below it.
        read_only: bool,
        /// `rro`.
        recursive_read_only: bool,
        /// mount(2)'s propagation: `rprivate` where absent.
        propagation: Option<String>,
        /// `-v` makes a missing source directory, `--mount` refuses it.
        create_source: bool,
        /// `nosuid`, `nodev`, `noexec`, … as typed.
        options: Vec<String>,
        /// `idmap`: its owner appears as the container's user, and the other way round.
        #[serde(default)]
        idmap: bool,
        /// `bind-recursive=disabled`: without what is mounted below it.
        #[serde(default)]
        shallow: bool,
    },
    /// Memory.
    Tmpfs {
        /// In the container, absolute.
        target: PathBuf,
        /// mount(8) options as typed: `size=64m`, `mode=1777`, `ro`, `exec`, …
        options: Vec<String>,
    },
    /// A volume.
    Volume(VolumeMount),
}

impl Mount {
    /// Where it goes in the container.
    pub fn target(&self) -> &std::path::Path {
        match self {
            Self::Bind { target, .. } | Self::Tmpfs { target, .. } => target,
            Self::Volume(volume) => &volume.target,
        }
    }
}

/// A volume in a container.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct VolumeMount {
    /// Its name; empty where the engine is to make one up: an anonymous volume.
    pub name: String,
    /// The engine made the name up: the volume goes with the last container that asks for that.
    pub anonymous: bool,
    /// In the container, absolute.
    pub target: PathBuf,
    /// `ro`.
    pub read_only: bool,
    /// `rro`: what is mounted below it too.
    pub recursive_read_only: bool,
    /// mount(2)'s propagation: `rprivate` where absent.
    pub propagation: Option<String>,
    /// `nocopy`: an empty volume stays empty.
    pub no_copy: bool,
    /// `volume-subpath`: a directory of the volume, relative.
    pub subpath: Option<PathBuf>,
    /// `volume-label`, for a volume that is not there yet.
    pub labels: BTreeMap<String, String>,
    /// `volume-opt`, likewise.
    pub driver_options: BTreeMap<String, String>,
    /// `nosuid`, `nodev`, `noexec`, … as typed.
    pub options: Vec<String>,
}

/// `--volumes-from CONTAINER[:ro]`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct VolumesFrom {
    /// Name or id.
    pub container: String,
    /// All of them for reading only.
    pub read_only: bool,
}

/// What it may do.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Security {
    /// `--privileged`.
    pub privileged: bool,
    /// `--cap-add`: `CAP_` and case were dropped on reading: `NET_ADMIN`, or `ALL`.
    pub cap_add: Vec<String>,
    /// `--cap-drop`, likewise.
    pub cap_drop: Vec<String>,
    /// `--security-opt no-new-privileges`.
    pub no_new_privileges: bool,
    /// `--security-opt seccomp=`.
    pub seccomp: Seccomp,
    /// `--security-opt systempaths=unconfined`: nothing masked, nothing read-only.
    pub unmasked: bool,
    /// `--security-opt apparmor=PROFILE`.
    pub apparmor: Option<String>,
    /// `--sysctl`.
    pub sysctls: BTreeMap<String, String>,
    /// `--device`.
    pub devices: Vec<Device>,
    /// `--device-cgroup-rule "c 1:3 rwm"`, as typed.
    pub device_rules: Vec<String>,
}

/// `--security-opt seccomp=`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Seccomp {
    /// Docker's default policy.
    #[default]
    Default,
    /// No filter.
    Unconfined,
    /// A profile in Docker's JSON; the file's path for messages, and its text.
    Profile(PathBuf, String),
}

/// `--device host[:container][:rwm]`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Device {
    /// On the host.
    pub host: PathBuf,
    /// In the container.
    pub container: PathBuf,
    /// Some of `r`, `w`, `m`.
    pub access: String,
}

/// What it may use. Bytes are bytes, CPUs are thousandths of a CPU's time.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Resources {
    /// `-m`.
    pub memory: Option<u64>,
    /// `--memory-reservation`.
    pub memory_reservation: Option<u64>,
    /// `--memory-swap`: memory and swap together; -1 for no limit. Absent with `memory` set: twice the memory, as
    /// in Docker.
    pub memory_swap: Option<i64>,
    /// `--memory-swappiness`, 0 to 100.
    pub memory_swappiness: Option<u64>,
    /// `--oom-kill-disable`.
    pub oom_kill_disable: bool,
    /// `--cpus`, in thousandths: 1.5 is 1500.
    pub milli_cpus: Option<u64>,
    /// `--cpu-period`, microseconds.
    pub cpu_period: Option<u64>,
    /// `--cpu-quota`, microseconds; -1 for no limit.
    pub cpu_quota: Option<i64>,
    /// `--cpu-shares`.
    pub cpu_shares: Option<u64>,
    /// `--cpuset-cpus`.
    pub cpuset_cpus: Option<String>,
    /// `--cpuset-mems`.
    pub cpuset_mems: Option<String>,
    /// `--pids-limit`; -1 for no limit.
    pub pids: Option<i64>,
    /// `--blkio-weight`, 10 to 1000.
    pub blkio_weight: Option<u16>,
    /// `--blkio-weight-device path:weight`.
    pub blkio_weight_devices: Vec<(PathBuf, u16)>,
    /// `--device-read-bps path:rate`.
    pub read_bps: Vec<(PathBuf, u64)>,
    /// `--device-write-bps`.
    pub write_bps: Vec<(PathBuf, u64)>,
    /// `--device-read-iops`.
    pub read_iops: Vec<(PathBuf, u64)>,
    /// `--device-write-iops`.
    pub write_iops: Vec<(PathBuf, u64)>,
    /// `--hugetlb 2MB=64m`: page size as the kernel names it, bytes.
    pub hugetlb: Vec<(String, u64)>,
    /// `--net-cls-classid`.
    pub net_cls: Option<u32>,
    /// `--net-prio interface=priority`.
    pub net_prio: Vec<(String, u32)>,
    /// `--cgroup-conf file=value`: written as it is.
    pub raw: BTreeMap<String, String>,
    /// `--cgroup-parent`; the engine's own where absent.
    pub cgroup_parent: Option<String>,
}
