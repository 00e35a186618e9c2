//! What CRIU is to do: the options of `criu dump` and `criu restore` that a container runtime sets.
//!
//! Plain values; nothing is opened or checked before [`Criu::dump`](crate::Criu::dump) or
//! [`Criu::restore`](crate::Criu::restore) takes them. The words in quotes are those of criu(8).

use std::os::fd::BorrowedFd;
use std::path::PathBuf;

use rustix::process::Pid;

use crate::external::External;

/// What dump and restore have in common. Where both take an option, a restore needs what its dump had.
#[derive(Debug, Clone)]
pub struct Common {
    /// Where the images are. A dump makes it (mode 0700) if it is not there.
    pub images_dir: PathBuf,
    /// Where the log and statistics go; the images' directory if none. Made if it is not there.
    pub work_dir: Option<PathBuf>,
    /// "log_level": 1 errors, 2 warnings, 3 information, 4 everything. Errors are told from the log.
    pub log_level: u8,
    /// A configuration file of CRIU that overrides everything here; ignored by CRIU if it does not exist. runc gives
    /// `/etc/criu/runc.conf`, or what the annotation `org.criu.config` names.
    pub config_file: Option<PathBuf>,
    /// "root". Restore: the container's root file system; see the crate's documentation for what CRIU wants of it.
    pub root: Option<PathBuf>,
    /// "external": what is not in the images and is put together again by whoever restores.
    pub external: Vec<External>,
    /// "enable-external-masters": slave mounts whose master is outside are allowed.
    pub external_masters: bool,
    /// "enable-external-sharing": mounts that are shared with the outside are allowed.
    pub external_sharing: bool,
    /// "skip-mnt": mount points that are neither dumped nor restored.
    pub skip_mounts: Vec<PathBuf>,
    /// "manage-cgroups".
    pub cgroup_mode: CgroupMode,
    /// "tcp-established".
    pub tcp_established: bool,
    /// "tcp-close": established connections come back closed.
    pub tcp_close: bool,
    /// "skip-in-flight": connections that are being made are left out.
    pub tcp_skip_in_flight: bool,
    /// "ext-unix-sk": unix sockets whose other end is outside.
    pub ext_unix_sk: bool,
    /// "shell-job": a session or terminal of the outside. The restored processes get the session and process group of
    /// CRIU, so of the caller.
    pub shell_job: bool,
    /// "file-locks".
    pub file_locks: bool,
    /// "link-remap": a deleted file that is still linked elsewhere gets a name for the time being.
    pub link_remap: bool,
    /// "evasive-devices": any path to a device will do if its own cannot be reached.
    pub evasive_devices: bool,
    /// "empty-ns net": the network namespace comes back without links, addresses and rules, for the runtime to fill at
    /// [`Script::SetupNamespaces`](crate::Script::SetupNamespaces).
    pub empty_network: bool,
    /// "network-lock".
    pub network_lock: NetworkLock,
    /// "auto-dedup". Dump: what this dump has anew is punched out of its parents. Restore: pages are punched out of the
    /// images as they are restored, which uses the images up.
    pub auto_dedup: bool,
    /// "lazy-pages". Dump: memory stays and is served from `page_server` until it has all been fetched; the call
    /// returns then. Restore: memory comes from a `criu lazy-pages` that runs in the same work directory.
    pub lazy_pages: bool,
}

impl Common {
    /// CRIU's defaults, with a full log, for these images.
    pub fn new(images_dir: impl Into<PathBuf>) -> Self {
        Self {
            images_dir: images_dir.into(),
            work_dir: None,
            log_level: 4,
            config_file: None,
            root: None,
            external: Vec::new(),
            external_masters: false,
            external_sharing: false,
            skip_mounts: Vec::new(),
            cgroup_mode: CgroupMode::Default,
            tcp_established: false,
            tcp_close: false,
            tcp_skip_in_flight: false,
            ext_unix_sk: false,
            shell_job: false,
            file_locks: false,
            link_remap: false,
            evasive_devices: false,
            empty_network: false,
            network_lock: NetworkLock::Default,
            auto_dedup: false,
            lazy_pages: false,
        }
    }
}

/// What is to be dumped, and how.
#[derive(Debug, Clone)]
pub struct DumpOptions {
    /// The root of the process tree, as the caller's pid namespace numbers it.
    pub pid: Pid,
    /// What a restore takes too.
    pub common: Common,
    /// "pre-dump": memory only, and the processes go on. A later dump names this one's images as `parent_path`.
    pub pre_dump: bool,
    /// The images of the pre-dump before, relative to this one's: `../first`.
    pub parent_path: Option<PathBuf>,
    /// "track-mem" also without a parent. A pre-dump and a dump with a parent always track.
    pub track_mem: bool,
    /// "leave-running": the processes go on after the dump.
    pub leave_running: bool,
    /// Where pages are sent to or, with lazy pages, served from.
    pub page_server: Option<PageServer>,
    /// "freeze-cgroup": the absolute path of the container's control group, that of the freezer with version 1. CRIU
    /// seizes one process after the other if none, and may miss those that fork meanwhile.
    pub freeze_cgroup: Option<PathBuf>,
    /// "ghost-limit": the size in bytes up to which deleted files that are still open are taken along. CRIU: 1 MiB.
    pub ghost_limit: Option<u32>,
    /// "timeout": how many seconds the processes may take to stop. CRIU: 10.
    pub timeout: Option<u32>,
    /// "pre-dump-mode read": memory is read by process_vm_readv(2), which stops the processes for less time.
    pub pre_dump_by_reading: bool,
}

impl DumpOptions {
    /// A dump after which the processes are gone, with CRIU's defaults.
    pub fn new(pid: Pid, images_dir: impl Into<PathBuf>) -> Self {
        Self {
            pid,
            common: Common::new(images_dir),
            pre_dump: false,
            parent_path: None,
            track_mem: false,
            leave_running: false,
            page_server: None,
            freeze_cgroup: None,
            ghost_limit: None,
            timeout: None,
            pre_dump_by_reading: false,
        }
    }
}

/// What is to be restored, and how.
#[derive(Debug, Clone)]
pub struct RestoreOptions<'a> {
    /// What its dump took too.
    pub common: Common,
    /// "restore-sibling": the restored root process becomes a child of the caller, who hears of its end by SIGCHLD and
    /// waits for it. Else it belongs to whoever takes CRIU's orphans: the next subreaper, or process 1.
    pub sibling: bool,
    /// "inherit-fd": what the caller gives in place of descriptors that lead outside.
    pub inherit: Vec<Inherit<'a>>,
    /// The terminal in place of that of the shell job.
    pub terminal: Option<BorrowedFd<'a>>,
    /// "join-ns": existing namespaces that take the place of the dumped ones.
    pub join_namespaces: Vec<JoinNamespace>,
    /// "cgroup-root": where below the hierarchies' roots the dumped control groups come to lie.
    pub cgroup_roots: Vec<CgroupRoot>,
    /// "lsm-profile": `apparmor:NAME` or `selinux:LABEL`.
    pub lsm_profile: Option<String>,
    /// "lsm-mount-context".
    pub lsm_mount_context: Option<String>,
    /// "mntns-compat-mode": mounts by the older of CRIU's two ways, which needs no MOVE_MOUNT_SET_GROUP (Linux 5.15).
    pub compatible_mounts: bool,
}

impl RestoreOptions<'_> {
    /// A restore to a child of the caller, with CRIU's defaults.
    pub fn new(images_dir: impl Into<PathBuf>) -> Self {
        Self {
            common: Common::new(images_dir),
            sibling: true,
            inherit: Vec::new(),
            terminal: None,
            join_namespaces: Vec::new(),
            cgroup_roots: Vec::new(),
            lsm_profile: None,
            lsm_mount_context: None,
            compatible_mounts: false,
        }
    }
}

/// A descriptor in place of a dumped one.
#[derive(Debug, Clone)]
pub struct Inherit<'a> {
    /// What it is in the images: `pipe:[123]` ([`Descriptors`](crate::Descriptors)), `socket:[123]`, `tty[8803:1a]`, a
    /// file's path without its first slash, or the key of an [`External`].
    pub key: String,
    /// What takes its place.
    pub descriptor: BorrowedFd<'a>,
}

/// A namespace that exists already, to be joined. A network or pid namespace is rather an [`External`] with an
/// [`Inherit`], for the dump must know of it too.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JoinNamespace {
    /// `ipc`, `uts`, `time`, `user`, `mnt`, `net`. CRIU joins no pid and no cgroup namespace.
    pub kind: &'static str,
    /// `/proc/PID/ns/ipc` or a file on which one is mounted.
    pub path: PathBuf,
}

/// Where dumped control groups come to lie.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CgroupRoot {
    /// As the second field of /proc/PID/cgroup has it, one at a time: `memory`, `name=systemd`, and empty for version
    /// 2. None for all that are not named.
    pub controller: Option<String>,
    /// From the hierarchy's root: `/minidocker/web`.
    pub path: PathBuf,
}

impl CgroupRoot {
    /// The places of a process, from the text of its /proc/PID/cgroup: what a restore needs whose CRIU was put into
    /// the container's groups ([`Notify::started`](crate::Notify::started)). Lines that are none are passed over.
    pub fn of(proc_cgroup: &str) -> Vec<Self> {
        let line = |line: &str| {
            let (_, rest) = line.split_once(':')?;
            let (controllers, path) = rest.split_once(':')?;
            let root = |controller: &str| Self { controller: Some(controller.into()), path: path.into() };
            Some(controllers.split(',').map(root).collect::<Vec<_>>())
        };
        proc_cgroup.lines().filter_map(line).flatten().collect()
    }
}

/// Where pages go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PageServer {
    /// The name or address of a `criu page-server`. With lazy pages the IP address to listen at, `0.0.0.0` for all:
    /// memory goes out unencrypted to whoever connects first.
    pub address: String,
    /// Its TCP port.
    pub port: u16,
}

/// What is done about control groups: `criu_cg_mode`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum CgroupMode {
    /// Groups are neither dumped nor restored: restored processes stay in the groups, and in the control group
    /// namespace, of CRIU, which [`Notify::started`](crate::Notify::started) can put anywhere.
    Ignore,
    /// Groups must be there, and keep their properties.
    None,
    /// Groups must be there, and get the dumped properties.
    Props,
    /// Groups are made where they are missing, and only those get the dumped properties.
    Soft,
    /// Groups are made where they are missing, and all get the dumped properties.
    Full,
    /// Groups must not be there: all are made, with the dumped properties.
    Strict,
    /// CRIU's own: soft.
    #[default]
    Default,
}

impl CgroupMode {
    /// As runc names them: `soft`, `full`, `strict`, `ignore`; empty is the default. None for anything else.
    pub fn parse(text: &str) -> Option<Self> {
        Some(match text {
            "" => Self::Default,
            "ignore" => Self::Ignore,
            "soft" => Self::Soft,
            "full" => Self::Full,
            "strict" => Self::Strict,
            _ => return None,
        })
    }

    pub(crate) fn number(self) -> i32 {
        match self {
            Self::Ignore => 0,
            Self::None => 1,
            Self::Props => 2,
            Self::Soft => 3,
            Self::Full => 4,
            Self::Strict => 5,
            Self::Default => 6,
        }
    }
}

/// How connections are kept from being reset while nobody answers them: `criu_network_lock_method`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum NetworkLock {
    /// CRIU's own: iptables, unless it was built otherwise.
    #[default]
    Default,
    /// By iptables-restore(8), which CRIU looks for in PATH.
    Iptables,
    /// By libnftables, if CRIU was built with it.
    Nftables,
    /// Not at all (CRIU 3.18): for a network without connections, or one that the runtime locks itself.
    Skip,
}

impl NetworkLock {
    pub(crate) fn number(self) -> Option<i32> {
        match self {
            Self::Default => None,
            Self::Iptables => Some(1),
            Self::Nftables => Some(2),
            Self::Skip => Some(3),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_controller_of_a_process_has_its_root() {
        let text = "12:cpu,cpuacct:/a\n5:name=systemd:/b:c\n0::/d\nno line\n";
        let roots: Vec<_> = CgroupRoot::of(text)
            .into_iter()
            .map(|root| (root.controller.unwrap(), root.path.to_str().unwrap().to_owned()))
            .collect();
        let expected = [("cpu", "/a"), ("cpuacct", "/a"), ("name=systemd", "/b:c"), ("", "/d")];
        assert_eq!(roots, expected.map(|(controller, path)| (controller.into(), path.into())));
    }

    #[test]
    fn modes_are_those_of_runc_and_no_others() {
        let parsed = ["", "ignore", "soft", "full", "strict", "Soft", "none"].map(CgroupMode::parse);
        let numbers = parsed.map(|mode| mode.map(CgroupMode::number));
        assert_eq!(numbers, [Some(6), Some(0), Some(3), Some(4), Some(5), None, None]);
    }
}
