//! The kernel steps of a control group: making its directories, writing its limits, joining it.
//! Each is data until performed; v1 and v2 share them.

use std::borrow::Cow;
use std::fs::File;
use std::io;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};

use ::step::{Context, Failure, Shell, quote};
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;

use crate::kernfs;
use crate::write::{Missing, Write};

/// One step.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// v2: hand controllers on, from the mount's root down to `parent`, which is made where it is missing. What is
    /// handed on already is left alone: that takes one read.
    EnsureParent {
        /// Where the hierarchy is mounted.
        mount: PathBuf,
        /// The directory that the group is made in.
        parent: PathBuf,
        /// Controllers that limits need.
        needed: Vec<String>,
        /// Controllers that only count; a host that does not hand them on counts less.
        welcome: Vec<String>,
    },
    /// Make the group's directory, which must be new; directories above it are made where they are missing.
    Make {
        /// Where the hierarchy is mounted.
        mount: PathBuf,
        /// The group's directory.
        dir: PathBuf,
        /// v1's cpuset: directories above, if made, pass their processors on of themselves.
        cpuset: bool,
    },
    /// The same where the group may be there already, made by whoever prepares it for a container.
    /// [`crate::check_usable`] says whether it can be taken.
    MakeOrTake {
        /// Where the hierarchy is mounted.
        mount: PathBuf,
        /// The group's directory.
        dir: PathBuf,
        /// As for [`Step::Make`].
        cpuset: bool,
    },
    /// v1's cpuset: a group without processors and memory nodes takes no process; take the parent's, unless the
    /// parent has passed them on already.
    Inherit {
        /// Where the hierarchy is mounted.
        mount: PathBuf,
        /// The group's directory.
        dir: PathBuf,
        /// Which of `cpuset.cpus`, `cpuset.mems`.
        files: Vec<&'static str>,
    },
    /// Write a limit.
    Write {
        /// The group's directory.
        dir: PathBuf,
        /// What.
        write: Write,
    },
    /// The calling process, which has one thread, joins the group.
    Join {
        /// v1: `tasks`. It takes 40 us where `cgroup.procs` takes 8 ms: one thread that moves itself needs no lock
        /// against forks and hence no RCU grace period (`cgroup_procs_write_start` in kernel/cgroup/cgroup.c).
        file: PathBuf,
        /// Through the next descriptor in `context.groups`, which [`Step::Open`] put there.
        opened: bool,
    },
    /// The monitor opens what init, in a user namespace of its own, may not: the kernel asks for the rights of
    /// whoever opened the file (CVE-2021-4197).
    Open {
        /// v1: `tasks`.
        file: PathBuf,
    },
    /// v2: attach the program that says which devices may be used.
    AttachDevices {
        /// The group's directory.
        dir: PathBuf,
        /// One `struct bpf_insn` each: [`crate::devices::program`].
        program: Vec<u64>,
    },
}

/// Descriptors are used in the order in which they were opened.
fn join(file: &Path, opened: bool, context: &mut Context) -> std::io::Result<()> {
    if opened && !context.groups.is_empty() {
        let fd = context.groups.remove(0);
        rustix::io::write(&fd, b"0")?;
        return Ok(());
    }
    kernfs::write(file, "0")
}

impl ::step::Step for Step {
    fn id(&self) -> &'static str {
        match self {
            Self::EnsureParent { .. } => "cgroup.parent",
            Self::Make { .. } | Self::MakeOrTake { .. } => "cgroup.make",
            Self::Inherit { .. } => "cgroup.inherit",
            Self::Write { .. } => "cgroup.limit",
            Self::Join { .. } => "cgroup.join",
            Self::Open { .. } => "cgroup.open",
            Self::AttachDevices { .. } => "cgroup.devices",
        }
    }

    fn call(&self) -> String {
        let write =
            |file: &Path, value: &str| format!("write(openat({:?}, O_WRONLY), {value:?})", file.display());
        match self {
            Self::EnsureParent { parent, needed, welcome, .. } => {
                write(&parent.join(SUBTREE), &enabling(needed.iter().chain(welcome)))
            }
            Self::Make { dir, .. } => format!("mkdir({:?}, 0755)", dir.display()),
            Self::MakeOrTake { dir, .. } => format!("unless it is there: mkdir({:?}, 0755)", dir.display()),
            Self::Inherit { dir, files, .. } => {
                let calls: Vec<String> =
                    files.iter().map(|file| write(&dir.join(file), "what the parent's reads")).collect();
                format!("unless the kernel has copied them: {}", calls.join("; "))
            }
            Self::Write { dir, write: asked } => write(&dir.join(&asked.file), &asked.value),
            Self::Join { file, opened: true } => {
                format!("write(<{}, opened by the monitor>, \"0\")", file.display())
            }
            Self::Join { file, .. } => write(file, "0"),
            Self::Open { file } => format!("openat({:?}, O_WRONLY)", file.display()),
            Self::AttachDevices { dir, program } => format!(
                "bpf(BPF_PROG_ATTACH, {{{:?}, bpf(BPF_PROG_LOAD, {{BPF_PROG_TYPE_CGROUP_DEVICE, {} instructions}}), \
                 BPF_CGROUP_DEVICE}})",
                dir.display(),
                program.len()
            ),
        }
    }

    fn why(&self) -> Cow<'static, str> {
        match self {
            Self::EnsureParent { .. } => "in v2 a group has the controllers that its parent hands on".into(),
            Self::Make { .. } | Self::MakeOrTake { .. } => {
                "a group of the container's own, to limit and count what it uses".into()
            }
            Self::Inherit { .. } => "a cpuset without processors and memory nodes takes no process".into(),
            Self::Write { write, .. } => write.why.clone(),
            Self::Open { .. } => {
                "root of a user namespace has no right to the host's groups, but may use what was opened for it".into()
            }
            Self::Join { .. } => "what the process starts from here on is in the group with it".into(),
            Self::AttachDevices { .. } => "in v2 a program says which devices may be used".into(),
        }
    }

    fn shell(&self) -> Shell {
        let file = |path: PathBuf| quote(&path.to_string_lossy()).into_owned();
        match self {
            Self::EnsureParent { mount, parent, needed, welcome } => {
                let mut lines = vec![format!("mkdir -p {}", file(parent.clone()))];
                let words = enabling(needed.iter().chain(welcome));
                lines.extend(
                    chain(mount, parent)
                        .map(|dir| format!("echo {} > {}", quote(&words), file(dir.join(SUBTREE)))),
                );
                Shell::Lines(lines)
            }
            Self::Make { dir, .. } | Self::MakeOrTake { dir, .. } => {
                Shell::line(format!("mkdir -p {}", file(dir.clone())))
            }
            Self::Inherit { mount, dir, files } => {
                let copies = chain(mount, dir).skip(1).flat_map(|dir| {
                    let above = dir.parent().unwrap_or(mount).to_owned();
                    files.iter().map(move |name| {
                        let (to, from) = (file(dir.join(name)), file(above.join(name)));
                        format!("[ -n \"$(cat {to})\" ] || cat {from} > {to}")
                    })
                });
                Shell::Lines(copies.collect())
            }
            Self::Write { dir, write } => Shell::Lines(
                write
                    .value
                    .lines()
                    .map(|line| format!("echo {} > {}", quote(line), file(dir.join(&write.file))))
                    .collect(),
            ),
            Self::Open { .. } => Shell::Within("the line that joins"),
            Self::Join { file: path, .. } => Shell::line(format!("echo $$ > {}", file(path.clone()))),
            Self::AttachDevices { .. } => {
                Shell::Nothing("no plain command builds the program of the device rules")
            }
        }
    }

    fn perform(&self, context: &mut Context) -> Result<(), Failure> {
        match self {
            Self::EnsureParent { mount, parent, needed, welcome } => self.hand_on(mount, parent, needed, welcome),
            Self::Make { mount, dir, cpuset } => self.make(mount, dir, *cpuset),
            Self::MakeOrTake { mount, dir, cpuset } => match self.make(mount, dir, *cpuset) {
                Err(failure) if failure.errno == Errno::EXIST.raw_os_error() => Ok(()),
                made => made,
            },
            Self::Inherit { mount, dir, files } => self.inherit_all(mount, dir, files),
            Self::Write { dir, write } => perform_write(dir, write),
            Self::Open { file } => {
                let fd = rustix::fs::open(file, OFlags::WRONLY | OFlags::CLOEXEC, Mode::empty())
                    .map_err(|errno| self.failure(file, errno))?;
                context.groups.push(fd);
                Ok(())
            }
            Self::Join { file, opened } => join(file, *opened, context).map_err(|cause| {
                let failure = self.failure(file, cause);
                match errno(&failure) {
                    Some(Errno::NOSPC) => failure.hint("the cpuset has no processors or no memory nodes: see cpuset.cpus"),
                    Some(Errno::INVAL) => failure.hint("a real-time process needs cpu.realtimeRuntime in its group"),
                    Some(Errno::NOENT) => failure.hint("the group was removed while the container started"),
                    _ => failure,
                }
            }),
            Self::AttachDevices { dir, program } => attach(dir, program).map_err(|cause| {
                let failure = self.failure(dir, cause);
                match errno(&failure) {
                    Some(Errno::PERM) => failure.hint(
                        "device programs need CAP_SYS_ADMIN (or CAP_BPF) in the first user namespace and, before \
                         Linux 5.11, a greater RLIMIT_MEMLOCK",
                    ),
                    Some(Errno::NOSYS | Errno::INVAL) => failure
                        .hint("this kernel lacks CONFIG_CGROUP_BPF: leave the device rules out, or use cgroup v1"),
                    _ => failure,
                }
            }),
        }
    }
}

const SUBTREE: &str = "cgroup.subtree_control";

/// `+cpu +memory`.
fn enabling<'a>(controllers: impl Iterator<Item = &'a String>) -> String {
    let words: Vec<String> = controllers.map(|name| format!("+{name}")).collect();
    words.join(" ")
}

/// The directories from `mount` down to `dir`, both included.
fn chain<'a>(mount: &Path, dir: &'a Path) -> impl Iterator<Item = PathBuf> + use<'a> {
    let below: Vec<&Path> = match dir.strip_prefix(mount) {
        Ok(path) => dir.ancestors().take(path.components().count() + 1).collect(),
        Err(_) => vec![dir],
    };
    below.into_iter().rev().map(Path::to_owned)
}

impl Step {
    fn failure(&self, target: impl AsRef<Path>, cause: impl Into<io::Error>) -> Failure {
        ::step::Step::failed(self, target.as_ref().to_string_lossy(), cause)
    }

    fn hand_on(
        &self,
        mount: &Path,
        parent: &Path,
        needed: &[String],
        welcome: &[String],
    ) -> Result<(), Failure> {
        let all = || needed.iter().chain(welcome);
        // A group hands on only what it was handed: the last one tells for all above it.
        match kernfs::read(&parent.join(SUBTREE)) {
            Ok(text) if missing(&text, all()).is_empty() => return Ok(()),
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(self.failure(parent.join(SUBTREE), error)),
        }
        for dir in chain(mount, parent) {
            make_if_missing(&dir).map_err(|cause| self.failure(&dir, cause))?;
            let file = dir.join(SUBTREE);
            let enabled = kernfs::read(&file).map_err(|cause| self.failure(&file, cause))?;
            let missing = missing(&enabled, all());
            if missing.is_empty() || kernfs::write(&file, &enabling(missing.iter().copied())).is_ok() {
                continue;
            }
            // The kernel takes all or none: one by one, to see which one it is.
            for name in missing {
                match kernfs::write(&file, &format!("+{name}")) {
                    Err(cause) if needed.contains(name) => return Err(handing_on_failed(&file, name, cause)),
                    _ => {}
                }
            }
        }
        Ok(())
    }

    fn inherit_all(&self, mount: &Path, dir: &Path, files: &[&'static str]) -> Result<(), Failure> {
        // A new group has got both from mkdir(2) or neither: one read tells.
        let Some(last) = files.last() else { return Ok(()) };
        let passed_on = kernfs::read(&dir.join(last)).is_ok_and(|text| !text.trim().is_empty());
        if passed_on {
            return Ok(());
        }
        files.iter().try_for_each(|file| {
            inherit(mount, dir, file).map(|_| ()).map_err(|cause| self.failure(dir.join(file), cause))
        })
    }

    fn make(&self, mount: &Path, dir: &Path, cpuset: bool) -> Result<(), Failure> {
        let made = match mkdir(dir) {
            Err(Errno::NOENT) => {
                make_parents(mount, dir, cpuset)?;
                mkdir(dir)
            }
            made => made,
        };
        made.map_err(|errno| {
            let failure = self.failure(dir, errno);
            match errno {
                Errno::EXIST => failure.hint(
                    "another container has this name, or one that was killed has left its group: remove that \
                     container, or the directory if its cgroup.procs is empty",
                ),
                Errno::ROFS => {
                    failure.hint("control groups are mounted read-only here: remount them read-write")
                }
                Errno::AGAIN => {
                    failure.hint("cgroup.max.descendants or cgroup.max.depth of a group above is reached")
                }
                Errno::PERM | Errno::ACCESS => {
                    failure.hint("run as root, or have the group above delegated to you")
                }
                _ => failure,
            }
        })
    }
}

fn mkdir(dir: &Path) -> Result<(), Errno> {
    rustix::fs::mkdir(dir, Mode::from_raw_mode(0o755))
}

fn make_if_missing(dir: &Path) -> io::Result<()> {
    match mkdir(dir) {
        Ok(()) | Err(Errno::EXIST) => Ok(()),
        Err(errno) => Err(errno.into()),
    }
}

/// Those of `wanted` that `enabled` does not list.
fn missing<'a>(enabled: &str, wanted: impl Iterator<Item = &'a String>) -> Vec<&'a String> {
    wanted.filter(|name| !enabled.split_ascii_whitespace().any(|word| word == name.as_str())).collect()
}

/// What the kernel refused it with, if it was the kernel.
fn errno(failure: &Failure) -> Option<Errno> {
    (failure.errno > 0).then(|| Errno::from_raw_os_error(failure.errno))
}

fn handing_on_failed(file: &Path, name: &str, cause: io::Error) -> Failure {
    let failure = Failure::new("cgroup.parent", format!("{} +{name}", file.display()), cause);
    match errno(&failure) {
        Some(Errno::BUSY) => failure.hint(
            "processes live in this group itself, and v2 hands controllers on only from groups without: move them \
             to a child group, or put containers below another group",
        ),
        Some(Errno::NOENT) => failure.hint("the group above does not hand this controller on: see cgroup.controllers"),
        Some(Errno::OPNOTSUPP) => failure.hint("the group is threaded: put containers below another group"),
        _ => failure,
    }
}

/// The directories between `mount` and `dir`. Those of a cpuset that are new get processors and pass them on.
fn make_parents(mount: &Path, dir: &Path, cpuset: bool) -> Result<(), Failure> {
    let Some(parent) = dir.parent() else { return Ok(()) };
    for above in chain(mount, parent).skip(1) {
        let failed =
            |target: &Path, cause: io::Error| Failure::new("cgroup.make", target.to_string_lossy(), cause);
        match mkdir(&above) {
            Err(Errno::EXIST) => continue,
            made => made.map_err(|errno| failed(&above, errno.into()))?,
        }
        if cpuset {
            for file in ["cpuset.cpus", "cpuset.mems"] {
                inherit(mount, &above, file).map_err(|cause| failed(&above.join(file), cause))?;
            }
            // From here on each new child has them from mkdir(2) on, without a write.
            let clone = above.join("cgroup.clone_children");
            kernfs::write(&clone, "1").map_err(|cause| failed(&clone, cause))?;
        }
    }
    Ok(())
}

/// What `file` of the cpuset `dir` reads, after taking the parent's if it read nothing. Two starts may make the same
/// parent at once: whoever comes first to an empty file fills it, and both write the same.
fn inherit(mount: &Path, dir: &Path, file: &str) -> io::Result<String> {
    let path = dir.join(file);
    let own = kernfs::read(&path)?;
    if !own.trim().is_empty() || dir == mount {
        return Ok(own);
    }
    let Some(parent) = dir.parent() else { return Ok(own) };
    let above = inherit(mount, parent, file)?;
    kernfs::write(&path, above.trim())?;
    Ok(above)
}

/// Writes one limit, or what stands in for it.
pub(crate) fn perform_write(dir: &Path, write: &Write) -> Result<(), Failure> {
    let path = dir.join(&write.file);
    let Err(cause) = kernfs::write(&path, &write.value) else { return Ok(()) };
    let absent = cause.kind() == io::ErrorKind::NotFound;
    let failure =
        || Failure::new("cgroup.limit", format!("{} = {}", path.display(), write.value.trim()), cause);
    match (&write.missing, absent) {
        (Missing::Skip, true) => Ok(()),
        (Missing::Instead(other), true) => perform_write(dir, other),
        (Missing::Fail(hint), true) => Err(failure().hint(*hint)),
        (_, false) => {
            let failure = failure();
            Err(match way_out(&write.file, failure.errno) {
                Some(hint) => failure.hint(hint),
                None => failure,
            })
        }
    }
}

/// What the kernel means by an error on a file.
fn way_out(file: &str, errno: i32) -> Option<&'static str> {
    let block = file.starts_with("blkio.") || file.starts_with("io.");
    Some(match Errno::from_raw_os_error(errno) {
        Errno::BUSY if file.starts_with("memory.") => {
            "the group uses more than that already, and it cannot be freed"
        }
        Errno::INVAL if file == "memory.limit_in_bytes" => {
            "memory may not be more than memory and swap together: give memory.swap too"
        }
        Errno::INVAL if file == "memory.memsw.limit_in_bytes" => {
            "it may not be less than memory.limit_in_bytes"
        }
        Errno::INVAL if file.starts_with("cpu.rt_") => {
            "a group has at most the real-time runtime of the group above: write cpu.rt_runtime_us there first"
        }
        Errno::INVAL if matches!(file, "cpu.shares" | "cpu.weight") => {
            "an idle group has none: set cpu.idle to 0 too"
        }
        Errno::INVAL if file.starts_with("cpu.") => {
            "the group above may use less than that, or the burst is more than the quota"
        }
        Errno::ACCESS | Errno::INVAL | Errno::RANGE | Errno::NOSPC if file.starts_with("cpuset.") => {
            "only processors and memory nodes that are there and that the group above has: see its cpuset.cpus"
        }
        Errno::NODEV | Errno::NXIO | Errno::INVAL if block => {
            "only whole block devices, no partitions: see lsblk(8)"
        }
        Errno::OPNOTSUPP if block => {
            "the device's scheduler is not BFQ: echo bfq > /sys/block/<device>/queue/scheduler"
        }
        Errno::NODEV if file == "net_prio.ifpriomap" => "there is no such interface on the host",
        Errno::PERM if file.starts_with("devices.") => "the group above allows less: see its devices.list",
        Errno::PERM | Errno::ACCESS => "run as root, or have the group above delegated to you",
        _ => return None,
    })
}

fn attach(dir: &Path, program: &[u64]) -> io::Result<()> {
    let program = sys::bpf::load_cgroup_device_program(program)?;
    // Beside a program of the host's on a group above: both must say yes.
    sys::bpf::attach_cgroup_device(File::open(dir)?.as_fd(), program.as_fd(), sys::bpf::ALLOW_MULTI)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::Expect;
    use ::step::Step as _;

    #[test]
    fn a_chain_goes_from_the_mount_down() {
        let all: Vec<PathBuf> = chain(Path::new("/sys/fs/cgroup"), Path::new("/sys/fs/cgroup/a/b")).collect();
        assert_eq!(all, ["/sys/fs/cgroup", "/sys/fs/cgroup/a", "/sys/fs/cgroup/a/b"].map(PathBuf::from));
        let one: Vec<PathBuf> = chain(Path::new("/x"), Path::new("/x")).collect();
        assert_eq!(one, [PathBuf::from("/x")]);
    }

    #[test]
    fn steps_tell_what_they_do() {
        let dir = PathBuf::from("/sys/fs/cgroup/devices/m/a b");
        let write = Write::new("devices.allow", "c 1:3 rwm\nc 1:5 rwm", "null", Expect::number(0));
        let step = Step::Write { dir: dir.clone(), write };
        assert_eq!(step.id(), "cgroup.limit");
        assert_eq!(
            step.call(),
            r#"write(openat("/sys/fs/cgroup/devices/m/a b/devices.allow", O_WRONLY), "c 1:3 rwm\nc 1:5 rwm")"#
        );
        assert_eq!(
            step.shell(),
            Shell::Lines(vec![
                "echo 'c 1:3 rwm' > '/sys/fs/cgroup/devices/m/a b/devices.allow'".into(),
                "echo 'c 1:5 rwm' > '/sys/fs/cgroup/devices/m/a b/devices.allow'".into(),
            ])
        );
        let join = Step::Join { file: "/sys/fs/cgroup/cpu/m/tasks".into(), opened: false };
        assert_eq!(join.shell(), Shell::line("echo $$ > /sys/fs/cgroup/cpu/m/tasks"));
        let parent = Step::EnsureParent {
            mount: "/sys/fs/cgroup".into(),
            parent: "/sys/fs/cgroup/m".into(),
            needed: vec!["pids".into()],
            welcome: vec!["cpu".into()],
        };
        assert_eq!(
            parent.shell(),
            Shell::Lines(vec![
                "mkdir -p /sys/fs/cgroup/m".into(),
                "echo '+pids +cpu' > /sys/fs/cgroup/cgroup.subtree_control".into(),
                "echo '+pids +cpu' > /sys/fs/cgroup/m/cgroup.subtree_control".into(),
            ])
        );
    }

    #[test]
    fn a_missing_file_is_told_with_the_way_out() {
        let dir = Path::new("/proc/self");
        let write = |file: &str| Write::new(file, "5", "test", Expect::number(5));
        let failure = perform_write(dir, &write("no.such").or_fail("do without")).unwrap_err();
        assert_eq!(failure.to_string(), "cgroup.limit on /proc/self/no.such = 5: no such file or directory");
        assert_eq!(failure.hint.as_deref(), Some("do without"));
        perform_write(dir, &write("no.such").or_skip()).unwrap();
        let failure = perform_write(dir, &write("no.such").or_else(write("nor.this"))).unwrap_err();
        assert!(failure.target.contains("nor.this"));
    }
}
