//! Where it is measured: namespaces for mounts, processes and the network, with a registry, and a control group for
//! each engine. It all ends with the benchmark.

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};

use super::Cost;
use super::content::Content;
use super::small;
use crate::process::{self, Temporary};

/// The port of the registry, in a network namespace of its own.
const ADDRESS: &str = "127.0.0.1:5000";

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

/// Namespaces with a registry in them.
pub(super) struct Place {
    init: Child,
    /// The shell in there, by its number out here.
    pid: u32,
    groups: Vec<Group>,
    temporary: Temporary,
    /// The folder of the large image's blobs, and those in it that a container unpacks.
    pub(super) blobs: PathBuf,
    pub(super) filling: Vec<PathBuf>,
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

/// How many of the large image's layers are written by the container that is committed.
pub(super) const FILLING: usize = 3;

impl Place {
    pub(super) fn new(content: &Content) -> Result<Self> {
        let temporary = Temporary::new("bench-images")?;
        fs::create_dir(temporary.path().join("layers"))?;
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
        let inside = |blob: &PathBuf| blob.strip_prefix(&content.folder).map(Path::to_owned);
        let filling = content.blobs.iter().take(FILLING).map(inside).collect::<Result<_, _>>()?;
        let blobs = content.folder.clone();
        let mut place = Self { init, pid, groups: Vec::new(), temporary, blobs, filling };
        fs::create_dir(place.path("small"))?;
        small::write(Path::new(&place.small()))?;
        small::context(Path::new(&place.context()))?;
        place.registry(content)?;
        Ok(place)
    }

    /// A path of the benchmark's own, the same inside.
    pub(super) fn path(&self, name: &str) -> String {
        self.temporary.path().join(name).display().to_string()
    }

    /// The image's name.
    pub(super) fn image(&self) -> String {
        format!("{ADDRESS}/{}", Content::NAME)
    }

    /// The archive of the small image.
    pub(super) fn small(&self) -> String {
        self.path("small/image.tar")
    }

    /// The directory of the Dockerfile.
    pub(super) fn context(&self) -> String {
        self.path("context")
    }

    /// A program in there.
    pub(super) fn command(&self, group: Option<&Group>, words: &[String]) -> Command {
        let mut command = Command::new("nsenter");
        command.args(["--target", &self.pid.to_string(), "--mount", "--net", "--pid", "--"]);
        if let Some(group) = group {
            command.args(["sh", "-c", "echo 0 > \"$0/own/cgroup.procs\"; exec \"$@\""]).arg(&group.path);
        }
        command.args(words).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
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

    fn registry(&mut self, content: &Content) -> Result<()> {
        let config = format!(
            "version: 0.1\nlog: {{level: error, accesslog: {{disabled: true}}}}\nstorage:\n  filesystem: \
             {{rootdirectory: {}}}\nhttp: {{addr: \"{ADDRESS}\", secret: bench}}\n",
            content.folder.display()
        );
        let file = self.path("registry.yml");
        fs::write(&file, config)?;
        let words = ["docker-registry", "serve", &file].map(str::to_owned);
        let name = format!("docker://{}", self.image());
        let ready = ["skopeo", "--insecure-policy", "inspect", "--raw", "--tls-verify=false", &name];
        self.daemon(None, &words, &ready.map(str::to_owned))
    }

    /// A control group for an engine.
    pub(super) fn group(&mut self, name: &str) -> Result<Group> {
        let top = ["/sys/fs/cgroup/cpuacct", "/sys/fs/cgroup"].map(Path::new);
        let top = top.into_iter().find(|path| path.is_dir()).context("there are no control groups")?;
        let name = format!("minidocker-bench-{}-{name}", std::process::id());
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
        let top = Path::new("/sys/fs/cgroup");
        let hierarchies = fs::read_dir(top).into_iter().flatten().flatten().map(|entry| entry.path());
        let all = std::iter::once(top.to_owned()).chain(hierarchies);
        all.map(|hierarchy| hierarchy.join(&self.name)).filter(|path| !remove_groups(path)).collect()
    }
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
