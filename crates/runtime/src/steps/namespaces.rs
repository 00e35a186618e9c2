//! Namespaces: unshare(2) for its own, setns(2) for another's; names, offsets and id maps that belong to them.

use std::borrow::Cow;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use rustix::fs::{Mode, OFlags};
use rustix::process::{DumpableBehavior, Signal};
use rustix::thread::LinkNameSpaceType;
use step::{Context, Failure, Shell, Step, quote};
use sys::process::CloneFlags;

use super::write_file;

/// One of the kernel's eight kinds, namespaces(7).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// pid_namespaces(7).
    Pid,
    /// mount_namespaces(7).
    Mount,
    /// network_namespaces(7).
    Network,
    /// uts_namespaces(7).
    Uts,
    /// ipc_namespaces(7).
    Ipc,
    /// user_namespaces(7).
    User,
    /// cgroup_namespaces(7).
    Cgroup,
    /// time_namespaces(7).
    Time,
}

impl Kind {
    /// Every kind, with its file below /proc/<pid>/ns.
    pub(crate) const FILES: [(Self, &str); 8] = [
        (Self::User, "user"),
        (Self::Pid, "pid"),
        (Self::Mount, "mnt"),
        (Self::Network, "net"),
        (Self::Uts, "uts"),
        (Self::Ipc, "ipc"),
        (Self::Cgroup, "cgroup"),
        (Self::Time, "time"),
    ];

    /// CLONE_NEW*.
    pub(crate) fn flag(self) -> u64 {
        match self {
            Self::Pid => CloneFlags::NEWPID,
            Self::Mount => CloneFlags::NEWNS,
            Self::Network => CloneFlags::NEWNET,
            Self::Uts => CloneFlags::NEWUTS,
            Self::Ipc => CloneFlags::NEWIPC,
            Self::User => CloneFlags::NEWUSER,
            Self::Cgroup => CloneFlags::NEWCGROUP,
            Self::Time => CloneFlags::NEWTIME,
        }
    }

    fn constant(self) -> &'static str {
        match self {
            Self::Pid => "CLONE_NEWPID",
            Self::Mount => "CLONE_NEWNS",
            Self::Network => "CLONE_NEWNET",
            Self::Uts => "CLONE_NEWUTS",
            Self::Ipc => "CLONE_NEWIPC",
            Self::User => "CLONE_NEWUSER",
            Self::Cgroup => "CLONE_NEWCGROUP",
            Self::Time => "CLONE_NEWTIME",
        }
    }

    /// The option of unshare(1), and of nsenter(1) for joining.
    pub(crate) fn option(self) -> &'static str {
        match self {
            Self::Pid => "--pid",
            Self::Mount => "--mount",
            Self::Network => "--net",
            Self::Uts => "--uts",
            Self::Ipc => "--ipc",
            Self::User => "--user",
            Self::Cgroup => "--cgroup",
            Self::Time => "--time",
        }
    }

    fn why(self) -> &'static str {
        match self {
            Self::Pid => "the program is PID 1 and sees no process of the host",
            Self::Mount => "mounts made from here on exist for the container alone, and go when it goes",
            Self::Network => "an own network stack: interfaces, addresses, routes, ports",
            Self::Uts => "an own host name",
            Self::Ipc => "own System V IPC objects and POSIX message queues",
            Self::User => "root inside is an unprivileged user outside",
            Self::Cgroup => "its own control group looks like the top of the tree",
            Self::Time => "own boot and monotonic clocks",
        }
    }
}

/// Namespace steps.
#[derive(Debug)]
pub(crate) enum Namespaces {
    /// If the monitor dies before the program runs, init dies with it.
    DieWithMonitor,
    /// And once it runs, it lives on.
    OutliveMonitor,
    /// Whoever is in the pid namespace already may not look into init while it still has the host's descriptors
    /// (CVE-2016-9962).
    Undumpable,
    /// An own namespace.
    Unshare(Kind),
    /// Another's namespace.
    Join(Kind, PathBuf),
    /// Clock offsets of an own time namespace: seconds and nanoseconds by clock name.
    Offsets(Vec<(&'static str, i64, u32)>),
    /// /proc/<init>/uid_map and gid_map, by the monitor.
    Maps { uids: Vec<IdRange>, gids: Vec<IdRange> },
    /// Becomes root of a user namespace; `hidden` from whoever is in the pid namespace already.
    BecomeRoot { hidden: bool },
    /// All of another process's namespaces at once.
    Enter { pid: i32, pidfd: OwnedFd, kinds: Vec<Kind> },
    /// The user namespace that init joins, for idmapped mounts that follow it.
    UserAt(PathBuf),
    /// The root of the mount namespace that was entered.
    FindRoot,
    /// The host name.
    Hostname(String),
    /// The NIS domain name.
    Domainname(String),
    /// A new session without a terminal.
    Session,
    /// A session keyring of its own.
    Keyring(String),
}

/// A line of uid_map, user_namespaces(7).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct IdRange {
    /// The first id inside.
    pub inside: u32,
    /// The first id outside.
    pub outside: u32,
    /// How many.
    pub size: u32,
}

/// The text of a uid_map or gid_map.
pub(super) fn map_text(ranges: &[IdRange]) -> String {
    ranges.iter().map(|r| format!("{} {} {}\n", r.inside, r.outside, r.size)).collect()
}

fn offsets_text(offsets: &[(&'static str, i64, u32)]) -> String {
    offsets.iter().map(|(clock, secs, nanos)| format!("{clock} {secs} {nanos}\n")).collect()
}

impl Step for Namespaces {
    fn id(&self) -> &'static str {
        match self {
            Self::DieWithMonitor | Self::OutliveMonitor => "process.death-signal",
            Self::Undumpable => "process.dumpable",
            Self::Unshare(Kind::Pid) => "namespace.pid",
            Self::Unshare(Kind::Mount) => "namespace.mount",
            Self::Unshare(Kind::Network) => "namespace.network",
            Self::Unshare(Kind::Uts) => "namespace.uts",
            Self::Unshare(Kind::Ipc) => "namespace.ipc",
            Self::Unshare(Kind::User) => "namespace.user",
            Self::Unshare(Kind::Cgroup) => "namespace.cgroup",
            Self::Unshare(Kind::Time) => "namespace.time",
            Self::Join(..) => "namespace.join",
            Self::Offsets(_) => "namespace.time-offsets",
            Self::Maps { .. } => "namespace.user-maps",
            Self::BecomeRoot { .. } => "namespace.user-root",
            Self::Enter { .. } => "namespace.enter",
            Self::FindRoot => "namespace.root",
            Self::UserAt(_) => "namespace.user-maps",
            Self::Hostname(_) => "hostname.set",
            Self::Domainname(_) => "domainname.set",
            Self::Session => "process.session",
            Self::Keyring(_) => "process.keyring",
        }
    }

    fn call(&self) -> String {
        match self {
            Self::DieWithMonitor => "prctl(PR_SET_PDEATHSIG, SIGKILL)".into(),
            Self::OutliveMonitor => "prctl(PR_SET_PDEATHSIG, 0)".into(),
            Self::Undumpable => "prctl(PR_SET_DUMPABLE, 0)".into(),
            Self::Unshare(kind) => format!("unshare({})", kind.constant()),
            Self::Join(kind, path) => format!("setns(open(\"{}\"), {})", path.display(), kind.constant()),
            Self::Offsets(offsets) => {
                format!(
                    "write(\"/proc/self/timens_offsets\", {:?}), setns(time_for_children)",
                    offsets_text(offsets)
                )
            }
            Self::Maps { uids, gids } => format!(
                "write(\"/proc/<init>/uid_map\", {:?}), write(\"/proc/<init>/gid_map\", {:?})",
                map_text(uids),
                map_text(gids)
            ),
            Self::BecomeRoot { hidden } => format!(
                "setresgid(0, 0, 0), setresuid(0, 0, 0), prctl(PR_SET_DUMPABLE, {})",
                u8::from(!hidden)
            ),
            Self::Enter { pid, kinds, .. } => {
                let names: Vec<_> = kinds.iter().map(|kind| kind.constant()).collect();
                format!("setns(<pidfd of {pid}>, {})", names.join("|"))
            }
            Self::FindRoot => "openat(\"/\", O_PATH)".into(),
            Self::UserAt(path) => format!("openat(\"{}\")", path.display()),
            Self::Hostname(name) => format!("sethostname(\"{name}\")"),
            Self::Domainname(name) => format!("setdomainname(\"{name}\")"),
            Self::Session => "setsid()".into(),
            Self::Keyring(name) => format!("keyctl(KEYCTL_JOIN_SESSION_KEYRING, \"{name}\")"),
        }
    }

    fn why(&self) -> Cow<'static, str> {
        Cow::Borrowed(match self {
            Self::DieWithMonitor => "no half-made container outlives its maker",
            Self::OutliveMonitor => "from here on the container lives on its own",
            Self::Undumpable => {
                "who is in the pid namespace already may not look into init's descriptors (CVE-2016-9962)"
            }
            Self::Unshare(kind) => kind.why(),
            Self::Join(..) => "shares this namespace with whoever made it",
            Self::Offsets(_) => "what the container's clocks are ahead of the host's",
            Self::Maps { .. } => "which ids outside the container's ids stand for",
            Self::BecomeRoot { .. } => "an unmapped id may do nothing in its own namespace",
            Self::Enter { .. } => "where the container's processes are",
            Self::UserAt(_) => "which ids outside the container's ids stand for",
            Self::FindRoot => "the container's files are found from here",
            Self::Hostname(_) => "the name that the container calls itself by",
            Self::Domainname(_) => "the NIS domain that the container belongs to",
            Self::Session => "signals of the caller's terminal do not reach the container",
            Self::Keyring(_) => "the container does not share the keys of whoever started it",
        })
    }

    fn shell(&self) -> Shell {
        match self {
            Self::DieWithMonitor => Shell::Within("unshare --kill-child"),
            Self::OutliveMonitor => Shell::Nothing("a script has no monitor that could die"),
            Self::Undumpable => Shell::Nothing("a script has no descriptors of the host's to guard"),
            Self::Unshare(_) => Shell::Within("unshare"),
            Self::Join(..) => Shell::Within("nsenter"),
            Self::Offsets(_) => Shell::Within("unshare --boottime --monotonic"),
            Self::Maps { .. } => Shell::Within("unshare --map-users --map-groups"),
            Self::BecomeRoot { .. } => Shell::Within("unshare --map-root-user"),
            Self::Enter { .. } | Self::FindRoot | Self::UserAt(_) => Shell::Within("nsenter"),
            Self::Hostname(name) => Shell::line(format!("hostname {}", quote(name))),
            Self::Domainname(name) => Shell::line(format!("domainname {}", quote(name))),
            Self::Session => Shell::Nothing("setsid would take the terminal away from an interactive script"),
            Self::Keyring(_) => Shell::Nothing("no plain command starts a program in a new session keyring"),
        }
    }

    fn perform(&self, context: &mut Context) -> Result<(), Failure> {
        match self {
            Self::DieWithMonitor => rustix::process::set_parent_process_death_signal(Some(Signal::KILL)),
            Self::OutliveMonitor => rustix::process::set_parent_process_death_signal(None),
            Self::Undumpable => rustix::process::set_dumpable_behavior(DumpableBehavior::NotDumpable),
            Self::Unshare(kind) => return self.unshare(*kind),
            Self::Join(kind, path) => return self.join(*kind, path),
            Self::Offsets(offsets) => return self.offsets(offsets),
            Self::Maps { uids, gids } => return self.map(context, uids, gids),
            Self::BecomeRoot { hidden } => become_root(*hidden),
            Self::Enter { pid, pidfd, kinds } => return self.enter(*pid, pidfd, kinds),
            Self::UserAt(path) => {
                let flags = OFlags::RDONLY | OFlags::CLOEXEC;
                rustix::fs::open(path, flags, Mode::empty()).map(|userns| context.userns = Some(userns))
            }
            Self::FindRoot => {
                let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
                rustix::fs::open("/", flags, Mode::empty()).map(|root| context.root = Some(root))
            }
            Self::Hostname(name) => rustix::system::sethostname(name.as_bytes()),
            Self::Domainname(name) => rustix::system::setdomainname(name.as_bytes()),
            Self::Session => rustix::process::setsid().map(drop),
            Self::Keyring(name) => return self.keyring(name),
        }
        .map_err(|errno| self.failed(self.call(), errno))
    }
}

impl Namespaces {
    fn unshare(&self, kind: Kind) -> Result<(), Failure> {
        sys::process::unshare(CloneFlags(kind.flag())).map_err(|error| {
            let failure = self.failed(kind.constant(), error);
            match failure.errno {
                // EINVAL and ENOSYS: the kernel was built without it; ENOSPC: /proc/sys/user/max_*_namespaces.
                22 | 38 => failure.hint(format!(
                    "this kernel has no {} namespaces; check the kernel's configuration, or share the host's",
                    &kind.option()[2..]
                )),
                28 => failure.hint("raise the limit in /proc/sys/user/max_*_namespaces"),
                1 => failure.hint("minidocker must run as root"),
                _ => failure,
            }
        })
    }

    fn join(&self, kind: Kind, path: &Path) -> Result<(), Failure> {
        let failed = |errno| self.failed(path.display().to_string(), errno);
        let flags = OFlags::RDONLY | OFlags::CLOEXEC;
        let namespace = rustix::fs::open(path, flags, Mode::empty()).map_err(failed)?;
        let file = Kind::FILES.iter().find(|(known, _)| *known == kind).map_or("", |(_, file)| file);
        let kind = match kind {
            Kind::Pid => LinkNameSpaceType::ProcessID,
            Kind::Mount => LinkNameSpaceType::Mount,
            Kind::Network => LinkNameSpaceType::Network,
            Kind::Uts => LinkNameSpaceType::HostNameAndNISDomainName,
            Kind::Ipc => LinkNameSpaceType::InterProcessCommunication,
            Kind::User => LinkNameSpaceType::User,
            Kind::Cgroup => LinkNameSpaceType::ControlGroup,
            Kind::Time => LinkNameSpaceType::Time,
        };
        let moved =
            rustix::thread::move_into_link_name_space(std::os::fd::AsFd::as_fd(&namespace), Some(kind));
        match moved {
            // Entered before the user namespace, from which nobody may enter it again.
            Err(rustix::io::Errno::PERM) if is_own(&namespace, file) => Ok(()),
            moved => moved.map_err(failed),
        }
    }

    fn enter(&self, pid: i32, pidfd: &OwnedFd, kinds: &[Kind]) -> Result<(), Failure> {
        let flags = kinds.iter().fold(0, |flags, kind| flags | kind.flag());
        sys::process::setns_all(pidfd, CloneFlags(flags)).map_err(|error| {
            let failure = self.failed(format!("process {pid}"), error);
            if failure.errno == 3 { failure.hint("the container has ended") } else { failure }
        })
    }

    /// The offsets can be written only until the first process enters the namespace, and unshare(2) moves children
    /// alone: so write first, then enter by setns(2).
    fn offsets(&self, offsets: &[(&'static str, i64, u32)]) -> Result<(), Failure> {
        let path = Path::new("/proc/self/timens_offsets");
        let written = match offsets.is_empty() {
            true => Ok(()),
            false => write_file(rustix::fs::CWD, path, offsets_text(offsets).as_bytes()),
        };
        written.map_err(|errno| {
            self.failed(path.display().to_string(), errno).hint(
                "the clocks may not go below zero: an offset must be larger than minus the host's uptime",
            )
        })?;
        self.join(Kind::Time, Path::new("/proc/self/ns/time_for_children"))
    }

    fn map(&self, context: &mut Context, uids: &[IdRange], gids: &[IdRange]) -> Result<(), Failure> {
        let pid = context.init.unwrap_or(0);
        for (name, ranges) in [("uid_map", uids), ("gid_map", gids)] {
            let path = PathBuf::from(format!("/proc/{pid}/{name}"));
            write_file(rustix::fs::CWD, &path, map_text(ranges).as_bytes())
                .map_err(|errno| self.failed(path.display().to_string(), errno))?;
        }
        let path = format!("/proc/{pid}/ns/user");
        let flags = OFlags::RDONLY | OFlags::CLOEXEC;
        let userns =
            rustix::fs::open(&path, flags, Mode::empty()).map_err(|errno| self.failed(path, errno))?;
        context.userns = Some(userns);
        Ok(())
    }

    /// A kernel without keys has nothing that could leak.
    fn keyring(&self, name: &str) -> Result<(), Failure> {
        let c_name = std::ffi::CString::new(name).unwrap_or_default();
        match sys::process::join_session_keyring(&c_name) {
            Err(error) if error.raw_os_error() != Some(rustix::io::Errno::NOSYS.raw_os_error()) => {
                Err(self.failed(name, error))
            }
            _ => Ok(()),
        }
    }
}

/// Whether this process is in that namespace.
fn is_own(namespace: &OwnedFd, file: &str) -> bool {
    let own = rustix::fs::stat(format!("/proc/thread-self/ns/{file}"));
    let theirs = rustix::fs::fstat(namespace);
    matches!((own, theirs), (Ok(own), Ok(theirs)) if own.st_ino == theirs.st_ino)
}

fn become_root(hidden: bool) -> rustix::io::Result<()> {
    use rustix::process::{Gid, Uid};
    use rustix::thread::{set_thread_groups, set_thread_res_gid, set_thread_res_uid};
    set_thread_groups(&[])?;
    set_thread_res_gid(Gid::ROOT, Gid::ROOT, Gid::ROOT)?;
    set_thread_res_uid(Uid::ROOT, Uid::ROOT, Uid::ROOT)?;
    // A change of user makes a process undumpable, and the files of /proc/self then belong to the host's root.
    rustix::process::set_dumpable_behavior(match hidden {
        true => DumpableBehavior::NotDumpable,
        false => DumpableBehavior::Dumpable,
    })
}
