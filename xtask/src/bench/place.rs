//! Where engines are measured: namespaces for mounts, processes and the network, and a control group for each engine. It
//! all ends with the benchmark.

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::os::fd::AsFd as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};

use rustix::fs::{IFlags, ioctl_getflags, ioctl_setflags};
use rustix::thread::{LinkNameSpaceType, UnshareFlags, move_into_link_name_space};

use super::engines::owned;
use super::small;
use crate::process::{self, Temporary};

/// How long one run took.
#[derive(Debug, Clone, Copy)]
pub(super) struct Cost {
    pub(super) wall: Duration,
    /// Until all of it was on disk too, for those who do not see to it themselves.
    pub(super) durable: Duration,
    /// Of all its processes, a daemon's too; user and system.
    pub(super) cpu: Duration,
}

/// PID 1: ends with its input, that is with the benchmark. /etc, /var and /run are layers that forget. With version 1 of
/// control groups the hierarchies stand in a directory that nobody can write to, as systemd has it: Podman takes any
/// directory there for a hierarchy.
const INIT: &str = r#"
set -e
mount -t tmpfs -o mode=755 none "$1"
for directory in etc var; do
    mkdir "$1/$directory" "$1/$directory-work"
    mount -t overlay -o "lowerdir=/$directory,upperdir=$1/$directory,workdir=$1/$directory-work" none "/$directory"
done
mount -t proc none /proc
mount -t tmpfs -o mode=755 none /run
if [ "$(stat -f -c %T /sys/fs/cgroup)" = tmpfs ]; then
    hierarchies=$1/hierarchies
    mkdir "$hierarchies"
    mount -t tmpfs -o mode=755 none "$hierarchies"
    for path in /sys/fs/cgroup/*; do
        if [ -L "$path" ]; then
            cp -d "$path" "$hierarchies"
        elif mountpoint -q "$path"; then
            mkdir "$hierarchies/${path##*/}"
            mount --bind "$path" "$hierarchies/${path##*/}"
        fi
    done
    mount -o remount,bind,ro "$hierarchies"
    mount --move "$hierarchies" /sys/fs/cgroup
fi
rm -rf /etc/docker /etc/containers
mkdir /etc/containers
echo '{"default": [{"type": "insecureAcceptAnything"}]}' > /etc/containers/policy.json
ip link set lo up
exec 3<&0
read -r pid _ < /proc/self/stat
echo ready
cat <&3 >/dev/null &
wait $!
"#;

/// What the groups' names begin with, before the benchmark's process number.
const GROUPS: &str = "minidocker-bench-";

/// Namespaces, and what is in them.
pub(super) struct Place {
    init: Child,
    /// The shell in there, by its number out here.
    pid: u32,
    groups: Vec<Group>,
    temporary: Temporary,
}

/// The control group of an engine: what it and its containers took of the processors. It has processes in a group below
/// it, for version 2 has none in one with groups below it that have controllers.
#[derive(Debug, Clone)]
pub(super) struct Group {
    /// Below each hierarchy's top.
    name: String,
    /// In the hierarchy that counts.
    path: PathBuf,
}

/// Tells ext4 that what is below a directory does not belong together (`chattr +T`), so that each engine's files are in
/// inode groups of their own. For a minute or more ext4 does not take an inode again that was freed, and looks at each of
/// them whenever it makes a file: in one group everybody would pay for the images that the others have removed. Other file
/// systems know nothing of it, and need not.
fn spread(directory: &Path) {
    if let Ok(directory) = fs::File::open(directory) {
        let flags = ioctl_getflags(&directory).unwrap_or(IFlags::empty());
        let _ = ioctl_setflags(&directory, flags | IFlags::TOPDIR);
    }
}

impl Place {
    /// With the archive of the small image in it.
    pub(super) fn new(name: &str) -> Result<Self> {
        let temporary = Temporary::new(name)?;
        spread(temporary.path());
        fs::create_dir(temporary.path().join("layers"))?;
        remove_left()?;
        let mut command = Command::new("unshare");
        command.args(["--mount", "--net", "--pid", "--fork", "--kill-child", "sh", "-c", INIT, "init"]);
        command.arg(temporary.path().join("layers")).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut init = command.spawn().context("start unshare")?;
        let mut said = String::new();
        BufReader::new(init.stdout.take().context("a pipe")?).read_line(&mut said)?;
        if said != "ready\n" {
            bail!("the namespaces for the engines cannot be made");
        }
        let children = fs::read_to_string(format!("/proc/{0}/task/{0}/children", init.id()))?;
        let pid = children.trim().parse().context("the first process of the namespaces")?;
        let place = Self { init, pid, groups: Vec::new(), temporary };
        fs::create_dir(place.path("small"))?;
        small::write(Path::new(&place.small()))?;
        Ok(place)
    }

    /// A path of the benchmark's own, the same inside.
    pub(super) fn path(&self, name: &str) -> String {
        self.temporary.path().join(name).display().to_string()
    }

    /// The archive of the small image.
    pub(super) fn small(&self) -> String {
        self.path("small/image.tar")
    }

    /// A program in there.
    pub(super) fn command(&self, group: Option<&Group>, words: &[String]) -> Command {
        let pid = self.pid.to_string();
        let mut enter = owned(["nsenter", "--target", &pid, "--mount", "--net", "--pid", "--"]);
        if let Some(group) = group {
            let join = "echo 0 > \"$0/own/cgroup.procs\"; exec \"$@\"";
            enter.extend(owned(["sh", "-c", join, &group.path.display().to_string()]));
        }
        self.bare(&[&enter[..], words].concat())
    }

    /// A program that is started by [`Place::inside`].
    pub(super) fn bare(&self, words: &[String]) -> Command {
        let mut command = Command::new(&words[0]);
        command.args(&words[1..]).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
        command.env("HOME", "/run").env("TMPDIR", self.temporary.path());
        // Docker's own builder: BuildKit is a plug-in that is not everywhere.
        command.env("DOCKER_BUILDKIT", "0").current_dir(self.temporary.path());
        for name in ["DOCKER_HOST", "DOCKER_CONTEXT", "DOCKER_CONFIG", "CONTAINER_HOST", "XDG_RUNTIME_DIR"] {
            command.env_remove(name);
        }
        for name in ["http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY", "MINIDOCKER_REGISTRIES"] {
            command.env_remove(name);
        }
        command
    }

    /// Does `work` in a thread whose children are in there, so that nothing but their own time is measured.
    pub(super) fn inside<T: Send>(&self, work: impl FnOnce() -> Result<T> + Send) -> Result<T> {
        let enter = || {
            let open = |name| fs::File::open(format!("/proc/{}/ns/{name}", self.pid));
            let all = [
                (open("pid")?, LinkNameSpaceType::ProcessID),
                (open("net")?, LinkNameSpaceType::Network),
                (open("mnt")?, LinkNameSpaceType::Mount),
            ];
            // Deprecated for what CLONE_FILES would do to descriptors; this is CLONE_FS, which setns(2) wants for mounts.
            #[expect(deprecated, reason = "its successor is unsafe for a flag that is not used here")]
            rustix::thread::unshare(UnshareFlags::FS)?;
            for (namespace, kind) in all {
                move_into_link_name_space(namespace.as_fd(), Some(kind))?;
            }
            work()
        };
        // The thread dies there: none that has entered is used for anything else.
        std::thread::scope(|scope| match scope.spawn(enter).join() {
            Ok(result) => result,
            Err(panic) => std::panic::resume_unwind(panic),
        })
    }

    /// The processes in there, but not in containers, whose program is one of `names`; by their numbers out here.
    pub(super) fn processes(&self, names: &[&str]) -> Result<Vec<u32>> {
        let own = fs::read_link(format!("/proc/{}/ns/pid", self.pid))?;
        let is_one = |pid: &u32| {
            let link = |name| fs::read_link(format!("/proc/{pid}/{name}"));
            let program = link("exe").ok();
            let program = program.as_ref().and_then(|path| path.file_name()?.to_str());
            program.is_some_and(|name| names.contains(&name))
                && link("ns/pid").is_ok_and(|space| space == own)
        };
        let entries = fs::read_dir("/proc")?.flatten();
        Ok(entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).filter(is_one).collect())
    }

    /// Runs one in there.
    pub(super) fn run(&self, words: &[String]) -> Result<()> {
        process::output(&mut self.command(None, words)).map(drop)
    }

    /// Starts one that stays until the end, and waits until `ready` succeeds.
    pub(super) fn daemon(&self, group: Option<&Group>, words: &[String], ready: &[String]) -> Result<()> {
        let mut command = self.command(group, words);
        let log = self.temporary.path().join(format!("{}.log", words[0].replace('/', "-")));
        command.stdout(fs::File::create(&log)?).stderr(fs::File::create(&log)?);
        let mut child = command.spawn().with_context(|| format!("start {}", words[0]))?;
        let deadline = Instant::now() + Duration::from_secs(30);
        while !self.command(None, ready).stderr(Stdio::null()).status()?.success() {
            if Instant::now() > deadline || child.try_wait()?.is_some() {
                let said = fs::read_to_string(&log).unwrap_or_default();
                let last = said.lines().last().unwrap_or_default();
                bail!("{} does not start: {last}", words[0]);
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        // It ends with the namespace, and is reaped by whoever reaps our children.
        std::thread::spawn(move || child.wait());
        Ok(())
    }

    /// A control group for an engine.
    pub(super) fn group(&mut self, name: &str) -> Result<Group> {
        let top = ["/sys/fs/cgroup/cpuacct", "/sys/fs/cgroup"].map(Path::new);
        let top = top.into_iter().find(|path| path.is_dir()).context("there are no control groups")?;
        let name = format!("{GROUPS}{}-{name}", std::process::id());
        let path = top.join(&name);
        fs::create_dir_all(path.join("own")).with_context(|| format!("make {}", path.display()))?;
        let group = Group { name, path };
        self.groups.push(group.clone());
        Ok(group)
    }

    /// What a command costs. Whatever was written before is on disk by then.
    pub(super) fn cost(&self, group: &Group, words: &[String]) -> Result<Cost> {
        rustix::fs::sync();
        let before = group.used()?;
        let start = Instant::now();
        process::output(&mut self.command(Some(group), words))?;
        let wall = start.elapsed();
        let cpu = group.used()?.saturating_sub(before);
        rustix::fs::sync();
        Ok(Cost { wall, durable: start.elapsed(), cpu })
    }
}

impl Group {
    /// Below which containers have their groups.
    pub(super) fn containers(&self) -> String {
        format!("/{}/containers", self.name)
    }

    /// Another such group.
    pub(super) fn builds(&self) -> String {
        format!("/{}/builds", self.name)
    }

    fn used(&self) -> Result<Duration> {
        if let Ok(text) = fs::read_to_string(self.path.join("cpuacct.usage")) {
            return Ok(Duration::from_nanos(text.trim().parse()?));
        }
        let text = fs::read_to_string(self.path.join("cpu.stat"))?;
        let line = text.lines().find_map(|line| line.strip_prefix("usage_usec "));
        Ok(Duration::from_micros(line.context("no usage_usec in cpu.stat")?.parse()?))
    }

    /// Removes it in every hierarchy; what is left. Their processes may be on their way out.
    fn remove(&self) -> Vec<PathBuf> {
        let all = hierarchies().into_iter();
        all.map(|hierarchy| hierarchy.join(&self.name)).filter(|path| !remove_groups(path)).collect()
    }
}

/// Removes what a benchmark that was interrupted left: its processes have ended with it.
fn remove_left() -> Result<()> {
    for entry in hierarchies().iter().filter_map(|hierarchy| fs::read_dir(hierarchy).ok()).flatten() {
        let path = entry?.path();
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        let owner = name.strip_prefix(GROUPS).and_then(|rest| rest.split('-').next()?.parse::<u32>().ok());
        if owner.is_some_and(|pid| !Path::new(&format!("/proc/{pid}")).exists()) {
            remove_groups(&path);
        }
    }
    Ok(())
}

/// Where groups can be: version 2's top, and each hierarchy of version 1.
fn hierarchies() -> Vec<PathBuf> {
    let top = PathBuf::from("/sys/fs/cgroup");
    let below: Vec<PathBuf> =
        fs::read_dir(&top).into_iter().flatten().flatten().map(|entry| entry.path()).collect();
    [vec![top], below].concat()
}

/// Removes a group and those below it; whether it is gone.
fn remove_groups(path: &Path) -> bool {
    let below = fs::read_dir(path).into_iter().flatten().flatten();
    for entry in below.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir())) {
        remove_groups(&entry.path());
    }
    fs::remove_dir(path).is_ok() || !path.exists()
}

impl Drop for Place {
    fn drop(&mut self) {
        drop(self.init.stdin.take());
        // PID 1 ends last, everything in there with it.
        let _ = self.init.wait();
        for group in &self.groups {
            let deadline = Instant::now() + Duration::from_secs(5);
            while let Some(left) = group.remove().first() {
                if Instant::now() > deadline {
                    eprintln!("warning: the control group {} cannot be removed", left.display());
                    break;
                }
                std::thread::sleep(Duration::from_millis(20));
            }
        }
    }
}
