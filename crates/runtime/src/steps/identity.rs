//! What the program may do: limits, capabilities, user, no_new_privs, the system call filter.

use std::borrow::Cow;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, CWD, Mode, OFlags};
use rustix::io::Errno;
use rustix::process::{Gid, Resource, Rlimit, Uid};
use rustix::thread::{CapabilitySet, CapabilitySets};
use step::{Context, Failure, Shell, Step, quote};
use sys::seccomp::{Flags, Instruction};

use super::{root, write_file, write_proc};
use crate::path;

/// Capability sets, capabilities(7).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Capabilities {
    /// What can ever be had.
    pub bounding: u64,
    /// What counts now.
    pub effective: u64,
    /// What can be made effective.
    pub permitted: u64,
    /// What goes over execve(2) with file capabilities.
    pub inheritable: u64,
    /// What goes over execve(2) without.
    pub ambient: u64,
}

/// Identity steps.
#[derive(Debug)]
pub(crate) enum Identity {
    /// /proc/self/oom_score_adj.
    OomScore(i32),
    /// prlimit(2).
    Limit { resource: Resource, name: String, soft: u64, hard: u64 },
    /// The working directory, made where it is missing: before the root may become read-only.
    MakeWorkDirectory { path: PathBuf, owner: (u32, u32) },
    /// Enters it, in one or two attempts.
    WorkDirectory { path: PathBuf, again: Option<Again> },
    /// prctl(PR_CAPBSET_DROP) of everything else.
    Bounding(u64),
    /// User, group, supplementary groups.
    User { uid: u32, gid: u32, groups: Vec<u32> },
    /// capset(2) and the ambient set.
    Capabilities(Capabilities),
    /// capset(2) without what was kept for the filter.
    GiveBack(Capabilities),
    /// prctl(PR_SET_NO_NEW_PRIVS).
    NoNewPrivileges,
    /// seccomp(2).
    Filter { program: Vec<Instruction>, flags: Flags },
    /// umask(2).
    Umask(u32),
    /// /proc/self/attr/…/exec: the AppArmor profile or SELinux label from execve(2) on.
    Label { file: &'static str, value: String },
}

/// Attempts at the working directory: root has no say on some network file systems, a user none in root's own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Again {
    /// The first: a refusal is passed over.
    Later,
    /// The second, as the program's user, if the first was refused.
    Now,
}

fn names(set: u64) -> Vec<String> {
    let held = oci::CAPABILITIES.iter().enumerate().filter(|(bit, _)| set >> bit & 1 == 1);
    held.map(|(_, (_, name))| name.to_lowercase()).collect()
}

fn names_or_none(set: u64) -> String {
    if set == 0 { "none".to_owned() } else { names(set).join(",") }
}

impl Step for Identity {
    fn id(&self) -> &'static str {
        match self {
            Self::OomScore(_) => "process.oom-score",
            Self::Limit { .. } => "process.limit",
            Self::MakeWorkDirectory { .. } => "process.make-directory",
            Self::WorkDirectory { .. } => "process.directory",
            Self::Bounding(_) => "capabilities.bounding",
            Self::User { .. } => "process.user",
            Self::Capabilities(_) => "capabilities.set",
            Self::GiveBack(_) => "capabilities.give-back",
            Self::NoNewPrivileges => "process.no-new-privileges",
            Self::Filter { .. } => "seccomp.filter",
            Self::Umask(_) => "process.umask",
            Self::Label { .. } => "security.label",
        }
    }

    fn call(&self) -> String {
        match self {
            Self::OomScore(score) => format!("write(\"/proc/self/oom_score_adj\", \"{score}\")"),
            Self::Limit { name, soft, hard, .. } => {
                format!("prlimit(RLIMIT_{}, {{{}, {}}})", name.to_uppercase(), amount(*soft), amount(*hard))
            }
            Self::MakeWorkDirectory { path, .. } => {
                format!("unless it exists: mkdirat(\"{}\")", path.display())
            }
            Self::WorkDirectory { path, .. } => {
                format!("fchdir(openat2(\"{}\", RESOLVE_IN_ROOT|RESOLVE_NO_MAGICLINKS))", path.display())
            }
            Self::Bounding(keep) => format!("prctl(PR_CAPBSET_DROP) of all but {}", names_or_none(*keep)),
            Self::User { uid, gid, groups } => {
                format!(
                    "setgroups({groups:?}), setresgid({gid}, {gid}, {gid}), setresuid({uid}, {uid}, {uid})"
                )
            }
            Self::Capabilities(caps) => format!(
                "capset(effective={}, permitted={}, inheritable={}), ambient={}",
                names_or_none(caps.effective),
                if caps.permitted == caps.effective {
                    "the same".to_owned()
                } else {
                    names_or_none(caps.permitted)
                },
                names_or_none(caps.inheritable),
                names_or_none(caps.ambient)
            ),
            Self::GiveBack(caps) => format!("capset(effective={})", names_or_none(caps.effective)),
            Self::NoNewPrivileges => "prctl(PR_SET_NO_NEW_PRIVS, 1)".into(),
            Self::Filter { program, flags } => {
                format!(
                    "seccomp(SECCOMP_SET_MODE_FILTER, {:#x}, <{} instructions>)",
                    flags.bits(),
                    program.len()
                )
            }
            Self::Umask(mask) => format!("umask({mask:#o})"),
            Self::Label { file, value } => format!("write(\"/proc/self/{file}\", {value:?})"),
        }
    }

    fn why(&self) -> Cow<'static, str> {
        Cow::Borrowed(match self {
            Self::OomScore(_) => {
                "asked for: --oom-score-adj, who is killed first when the host runs out of memory"
            }
            Self::Limit { .. } => "asked for: --ulimit",
            Self::MakeWorkDirectory { .. } => "as Docker does: a missing working directory is made",
            Self::WorkDirectory { .. } => "where the program starts",
            Self::Bounding(_) => "not even a set-user-ID program in the image gets more than these",
            Self::User { .. } => "who the program is",
            Self::Capabilities(_) => "what the program may do beyond its user's rights",
            Self::GiveBack(_) => "SYS_ADMIN was kept for the filter alone",
            Self::NoNewPrivileges => "asked for: no program gains privileges by execve(2)",
            Self::Filter { .. } => {
                "system calls that containers do not need are refused: less kernel to attack"
            }
            Self::Umask(_) => "the permissions that new files do not get",
            Self::Label { .. } => "asked for: the security module confines the program too",
        })
    }

    fn shell(&self) -> Shell {
        match self {
            Self::OomScore(score) => Shell::line(format!("echo {score} > /proc/self/oom_score_adj")),
            Self::Limit { name, soft, hard, .. } => {
                Shell::line(format!("prlimit --pid $$ --{name}={}:{}", amount(*soft), amount(*hard)))
            }
            Self::MakeWorkDirectory { path, .. } => {
                Shell::line(format!("mkdir -p \"$ROOT\"{}", quote(&path.to_string_lossy())))
            }
            Self::WorkDirectory { path, .. } => Shell::line(format!("cd {}", quote(&path.to_string_lossy()))),
            Self::Bounding(_)
            | Self::User { .. }
            | Self::Capabilities(_)
            | Self::GiveBack(_)
            | Self::NoNewPrivileges => Shell::Within("setpriv"),
            Self::Filter { .. } => Shell::Nothing("no plain command of this age loads a system call filter"),
            Self::Umask(mask) => Shell::line(format!("umask {mask:04o}")),
            Self::Label { .. } => Shell::Nothing("aa-exec or runcon, where they are installed"),
        }
    }

    fn perform(&self, context: &mut Context) -> Result<(), Failure> {
        match self {
            Self::OomScore(score) => self.write("/proc/self/oom_score_adj", &score.to_string()).map_err(|failure| {
                failure.hint("a value below the present one needs CAP_SYS_RESOURCE, which minidocker itself lacks here")
            }),
            Self::Limit { resource, name, soft, hard } => self.limit(*resource, name, *soft, *hard),
            Self::MakeWorkDirectory { path, owner } => self.make_directories(path, *owner, context),
            Self::WorkDirectory { path, again: Some(Again::Later) } => match self.work_directory(path) {
                Err(failure) if failure.errno == Errno::ACCESS.raw_os_error() => {
                    context.directory_refused = true;
                    Ok(())
                }
                entered => entered,
            },
            Self::WorkDirectory { again: Some(Again::Now), .. } if !context.directory_refused => Ok(()),
            Self::WorkDirectory { path, .. } => self.work_directory(path),
            Self::Bounding(keep) => self.bounding(*keep),
            Self::User { uid, gid, groups } => self.user(*uid, *gid, groups),
            Self::Capabilities(caps) => {
                self.capset(*caps)?;
                self.ambient(*caps)
            }
            Self::GiveBack(caps) => self.capset(*caps),
            Self::NoNewPrivileges => {
                rustix::thread::set_no_new_privs(true).map_err(|errno| self.failed("the program", errno))
            }
            Self::Filter { program, flags } => {
                context.listener = self.filter(program, *flags)?;
                Ok(())
            }
            Self::Umask(mask) => {
                rustix::process::umask(Mode::from_raw_mode(*mask));
                Ok(())
            }
            Self::Label { file, value } => self.label(file, value),
        }
    }
}

fn amount(value: u64) -> String {
    if value == u64::MAX { "unlimited".to_owned() } else { value.to_string() }
}

impl Identity {
    fn write(&self, path: &str, value: &str) -> Result<(), Failure> {
        write_file(CWD, Path::new(path), value.as_bytes()).map_err(|errno| self.failed(path, errno))
    }

    fn label(&self, file: &str, value: &str) -> Result<(), Failure> {
        let root = rustix::fs::open("/", OFlags::PATH | OFlags::CLOEXEC, Mode::empty());
        root.and_then(|root| write_proc(&root, Path::new("self").join(file), value)).map_err(|errno| {
            self.failed(format!("/proc/self/{file}"), errno).hint(match errno {
                Errno::XDEV => "the container's /proc is none, or something is mounted over this file",
                _ => "the host's kernel has no such security module, or does not know this profile",
            })
        })
    }

    fn limit(&self, resource: Resource, name: &str, soft: u64, hard: u64) -> Result<(), Failure> {
        let known = |value| if value == u64::MAX { None } else { Some(value) };
        let limit = Rlimit { current: known(soft), maximum: known(hard) };
        rustix::process::setrlimit(resource, limit).map_err(|errno| {
            let failure = self.failed(name, errno);
            match errno {
                Errno::PERM => {
                    failure.hint("above the host's own limit (for nofile see /proc/sys/fs/nr_open)")
                }
                Errno::INVAL => failure.hint("the soft limit may not be above the hard one"),
                _ => failure,
            }
        })
    }

    /// No magic link is followed on the way: /proc/self/fd leads to whatever init has open, the host's directories too
    /// (CVE-2024-21626).
    fn work_directory(&self, path: &Path) -> Result<(), Failure> {
        let failed = |errno| self.directory_failed(path, errno);
        let root = rustix::fs::open("/", OFlags::PATH | OFlags::CLOEXEC, Mode::empty()).map_err(failed)?;
        let found = path::open_with(&root, path, OFlags::PATH | OFlags::DIRECTORY).map_err(failed)?;
        rustix::process::fchdir(&found).map_err(failed)?;
        // The kernel says so of a directory that is not below this root.
        let now = rustix::process::getcwd(Vec::new()).map_err(failed)?;
        if !now.to_bytes().starts_with(b"/") {
            return Err(Failure::because(
                self.id(),
                path.display().to_string(),
                "is outside of the container",
            ));
        }
        Ok(())
    }

    fn directory_failed(&self, path: &Path, errno: Errno) -> Failure {
        let failure = self.failed(path.display().to_string(), errno);
        match errno {
            Errno::NOTDIR => failure.hint("give a directory with -w"),
            Errno::LOOP => failure.hint("a working directory cannot be reached by the links of /proc"),
            Errno::ROFS => failure.hint("the directory is missing and the root is read-only"),
            _ => failure,
        }
    }

    /// What is made belongs to the program's user.
    fn make_directories(&self, path: &Path, owner: (u32, u32), context: &Context) -> Result<(), Failure> {
        let failed = |errno| self.directory_failed(path, errno);
        let root = root(context, self.id())?;
        match path::open_with(root, path, OFlags::PATH | OFlags::DIRECTORY) {
            Err(Errno::NOENT) => {}
            found => return found.map(drop).map_err(failed),
        }
        let mut below = PathBuf::from("/");
        for part in path.components().skip(1) {
            let parent = path::open(root, &below).map_err(failed)?;
            below.push(part);
            match rustix::fs::mkdirat(&parent, part.as_os_str(), Mode::from_raw_mode(0o755)) {
                Err(Errno::EXIST) => {}
                made => {
                    made.map_err(failed)?;
                    let (uid, gid) = (Uid::from_raw(owner.0), Gid::from_raw(owner.1));
                    let flags = AtFlags::SYMLINK_NOFOLLOW;
                    rustix::fs::chownat(&parent, part.as_os_str(), Some(uid), Some(gid), flags)
                        .map_err(failed)?;
                }
            }
        }
        Ok(())
    }

    /// EINVAL means that this kernel has no capability of that number: nothing to drop.
    fn bounding(&self, keep: u64) -> Result<(), Failure> {
        for (bit, (_, name)) in oci::CAPABILITIES.iter().enumerate().filter(|(bit, _)| keep >> bit & 1 == 0) {
            let capability = CapabilitySet::from_bits_retain(1 << bit);
            match rustix::thread::remove_capability_from_bounding_set(capability) {
                Err(Errno::INVAL) => break,
                dropped => dropped.map_err(|errno| self.failed(*name, errno))?,
            }
        }
        Ok(())
    }

    /// Capabilities are kept over the change of user, so that the next step decides what stays.
    fn user(&self, uid: u32, gid: u32, groups: &[u32]) -> Result<(), Failure> {
        let failed = |call: &'static str| {
            move |errno: Errno| {
                let failure = self.failed(call, errno);
                if errno == Errno::INVAL {
                    failure.hint("this id is not mapped in the container's user namespace")
                } else {
                    failure
                }
            }
        };
        let groups: Vec<_> = groups.iter().map(|gid| Gid::from_raw(*gid)).collect();
        rustix::thread::set_thread_groups(&groups).map_err(failed("setgroups"))?;
        let gid = Gid::from_raw(gid);
        rustix::thread::set_thread_res_gid(gid, gid, gid).map_err(failed("setresgid"))?;
        if uid != 0 {
            rustix::thread::set_keep_capabilities(true).map_err(failed("prctl"))?;
        }
        let user = Uid::from_raw(uid);
        rustix::thread::set_thread_res_uid(user, user, user).map_err(failed("setresuid"))?;
        if uid != 0 {
            rustix::thread::set_keep_capabilities(false).map_err(failed("prctl"))?;
        }
        Ok(())
    }

    fn capset(&self, caps: Capabilities) -> Result<(), Failure> {
        let set = CapabilitySet::from_bits_retain;
        let sets = CapabilitySets {
            effective: set(caps.effective),
            permitted: set(caps.permitted),
            inheritable: set(caps.inheritable),
        };
        rustix::thread::set_capabilities(None, sets).map_err(|errno| {
            self.failed("capset", errno).hint("more was asked for than minidocker itself has; run it as root")
        })
    }

    fn ambient(&self, caps: Capabilities) -> Result<(), Failure> {
        rustix::thread::clear_ambient_capability_set().map_err(|errno| self.failed("ambient", errno))?;
        for bit in (0..oci::CAPABILITIES.len()).filter(|bit| caps.ambient >> bit & 1 == 1) {
            let one = CapabilitySet::from_bits_retain(1 << bit);
            rustix::thread::configure_capability_in_ambient_set(one, true)
                .map_err(|errno| self.failed(oci::CAPABILITIES[bit].1, errno))?;
        }
        Ok(())
    }

    fn filter(&self, program: &[Instruction], flags: Flags) -> Result<Option<OwnedFd>, Failure> {
        sys::seccomp::install(program, flags).map_err(|error| {
            self.failed("the program", error)
                .hint("the kernel has no system call filters, or refused this one; --security-opt seccomp=unconfined runs without")
        })
    }
}

/// The options of setpriv(1) that do what the identity steps of a plan do.
pub(crate) fn setpriv(
    uid: u32,
    gid: u32,
    groups: &[u32],
    caps: Capabilities,
    no_new_privileges: bool,
) -> String {
    let mut words = vec![format!("--reuid={uid} --regid={gid}")];
    if groups.is_empty() {
        words.push("--clear-groups".to_owned());
    } else {
        let list: Vec<_> = groups.iter().map(ToString::to_string).collect();
        words.push(format!("--groups={}", list.join(",")));
    }
    for (option, set) in
        [("bounding-set", caps.bounding), ("inh-caps", caps.inheritable), ("ambient-caps", caps.ambient)]
    {
        let plus: String = names(set).iter().map(|name| format!(",+{name}")).collect();
        words.push(format!("--{option}=-all{plus}"));
    }
    if no_new_privileges {
        words.push("--no-new-privs".to_owned());
    }
    words.join(" ")
}
