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
use crate::process::{self, Temporary};

/// The port of the registry, in a network namespace of its own.
const ADDRESS: &str = "127.0.0.1:5000";

/// PID 1: ends with its input, that is with the benchmark. /etc, /var and /run are layers that forget.
const INIT: &str = r#"
set -e
mount -t tmpfs -o mode=755 none "$1"
for directory in etc var; do
    mkdir "$1/$directory" "$1/$directory-work"
    mount -t overlay -o "lowerdir=/$directory,upperdir=$1/$directory,workdir=$1/$directory-work" none "/$directory"
done
mount -t proc none /proc
mount -t tmpfs -o mode=755 none /run
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
    groups: Vec<PathBuf>,
    temporary: Temporary,
}

/// The control group of an engine: what it and its children took of the processors.
#[derive(Debug, Clone)]
pub(super) struct Group(PathBuf);

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
        let mut place = Self { init, pid, groups: Vec::new(), temporary };
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

    /// A program in there.
    pub(super) fn command(&self, group: Option<&Group>, words: &[String]) -> Command {
        let mut command = Command::new("nsenter");
        command.args(["--target", &self.pid.to_string(), "--mount", "--net", "--pid", "--"]);
        if let Some(Group(path)) = group {
            command.args(["sh", "-c", "echo 0 > \"$0/cgroup.procs\"; exec \"$@\""]).arg(path);
        }
        command.args(words).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
        command.env("HOME", "/run").env("TMPDIR", self.temporary.path());
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
        let path = top.join(format!("minidocker-bench-{}-{name}", std::process::id()));
        fs::create_dir(&path).with_context(|| format!("make {}", path.display()))?;
        self.groups.push(path.clone());
        Ok(Group(path))
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
    fn used(&self) -> Result<Duration> {
        if let Ok(text) = fs::read_to_string(self.0.join("cpuacct.usage")) {
            return Ok(Duration::from_nanos(text.trim().parse()?));
        }
        let text = fs::read_to_string(self.0.join("cpu.stat"))?;
        let line = text.lines().find_map(|line| line.strip_prefix("usage_usec "));
        Ok(Duration::from_micros(line.context("no usage_usec in cpu.stat")?.parse()?))
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        drop(self.init.stdin.take());
        // PID 1 ends last, everything in there with it.
        let _ = self.init.wait();
        for group in &self.groups {
            let deadline = Instant::now() + Duration::from_secs(5);
            while let Err(error) = fs::remove_dir(group) {
                if Instant::now() > deadline {
                    eprintln!("warning: remove {}: {error}", group.display());
                    break;
                }
                std::thread::sleep(Duration::from_millis(20));
            }
        }
    }
}
