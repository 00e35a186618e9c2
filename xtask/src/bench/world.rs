//! What a benchmark runs in: programs, a root file system, bridges and state directories of its own, all gone
//! afterwards.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};

use crate::process::{self, Temporary};
use crate::{artifacts, repository};

/// The limits of both sides, in minidocker's words and in the floor's.
const LIMITS: [&str; 12] = [
    "--memory",
    "64m",
    "--memory-swap",
    "64m",
    "--cpus",
    "1",
    "--cpuset-cpus",
    "0",
    "--pids-limit",
    "64",
    "--cpu-shares",
    "512",
];
const FLOOR_LIMITS: [&str; 12] = [
    "--memory",
    "67108864",
    "--memory-swap",
    "67108864",
    "--cpu-quota",
    "100000",
    "--cpuset",
    "0",
    "--pids",
    "64",
    "--shares",
    "512",
];

/// The floor's own little network; minidocker chooses its own.
const GATEWAY: &str = "10.213.77.1";
const BRIDGE_ADDRESS: &str = "10.213.77.1/24";
const ADDRESS: &str = "10.213.77.2/24";

pub(crate) struct World {
    /// The program that is measured.
    pub(crate) minidocker: PathBuf,
    /// A directory with `true`, `inside` and nothing else: both sides' root file system.
    pub(crate) rootfs: PathBuf,
    floor: PathBuf,
    bridges: Bridges,
    run_root: RunRoot,
    // Last: what is below it must be gone first.
    temporary: Temporary,
}

impl World {
    /// Builds the programs, the root file system and the bridges. Measures `minidocker` if one is given, else
    /// builds it for release.
    pub(crate) fn new(minidocker: Option<PathBuf>) -> Result<Self> {
        let mut arguments = vec!["build", "--release", "--locked", "-p", "inside"];
        if minidocker.is_none() {
            arguments.extend(["-p", "minidocker"]);
        }
        let built = artifacts::build(&arguments)?;
        let minidocker = match minidocker {
            Some(path) => path,
            None => artifacts::named(&built, "minidocker")?,
        };
        let temporary = Temporary::new("bench")?;
        let directory = temporary.path();
        let rootfs = directory.join("rootfs");
        for name in ["dev", "etc", "proc", "sys", "tmp", "../scratch", "../state"] {
            fs::create_dir_all(rootfs.join(name))?;
        }
        compile("floor.c", &directory.join("floor"))?;
        compile("true.c", &rootfs.join("true"))?;
        fs::copy(artifacts::named(&built, "inside")?, rootfs.join("inside")).context("copy inside")?;
        Ok(Self {
            minidocker: fs::canonicalize(&minidocker)
                .with_context(|| format!("find {}", minidocker.display()))?,
            floor: directory.join("floor"),
            rootfs,
            bridges: Bridges::new()?,
            run_root: RunRoot::new()?,
            temporary,
        })
    }

    /// A place for whatever else a benchmark makes.
    pub(crate) fn directory(&self) -> &Path {
        self.temporary.path()
    }

    /// One start of the floor.
    pub(crate) fn floor(&self) -> Command {
        let mut command = quiet(&self.floor);
        command.arg("--rootfs").arg(&self.rootfs).arg("--scratch").arg(self.directory().join("scratch"));
        // The name is the link's too.
        let name = format!("mdfloor{}", std::process::id());
        command.args(["--name", &name, "--bridge", &self.bridges.floor]);
        command.args(["--address", ADDRESS, "--gateway", GATEWAY]).args(FLOOR_LIMITS).args(["--", "/true"]);
        command
    }

    /// `minidocker` with a state of its own.
    pub(crate) fn minidocker(&self) -> Command {
        let mut command = quiet(&self.minidocker);
        command.arg("--root").arg(self.directory().join("state"));
        command.arg("--run-root").arg(&self.run_root.0);
        command.env("MINIDOCKER_BRIDGE", &self.bridges.minidocker);
        command
    }

    /// `minidocker run OPTIONS` with the same limits as the floor, up to and without the command.
    pub(crate) fn run(&self, options: &[&str]) -> Command {
        let mut command = self.minidocker();
        command.arg("run").args(options).arg("--rootfs");
        command.arg(format!("{}:overlay", self.rootfs.display())).args(LIMITS);
        command
    }
}

/// The program that is measured: the given one, else this tree's release build.
pub(super) fn program(given: Option<PathBuf>) -> Result<PathBuf> {
    let path = match given {
        Some(path) => path,
        None => {
            let built = artifacts::build(&["build", "--release", "--locked", "-p", "minidocker"])?;
            artifacts::named(&built, "minidocker")?
        }
    };
    fs::canonicalize(&path).with_context(|| format!("find {}", path.display()))
}

/// The run root lies in memory, as /run does where minidocker is used.
pub(super) struct RunRoot(pub(super) PathBuf);

impl RunRoot {
    pub(super) fn new() -> Result<Self> {
        let path = PathBuf::from(format!("/dev/shm/minidocker-bench-{}", std::process::id()));
        fs::create_dir_all(&path).with_context(|| format!("create {}", path.display()))?;
        Ok(Self(path))
    }
}

impl Drop for RunRoot {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn quiet(program: &Path) -> Command {
    let mut command = Command::new(program);
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
    command
}

/// Compiles a program of the folder bench.
pub(super) fn compile(source: &str, target: &Path) -> Result<()> {
    let source = repository()?.join("bench").join(source);
    let mut command = Command::new("cc");
    process::output(command.args(["-O2", "-static", "-o"]).arg(target).arg(source)).map(drop)
}

/// Runs a command from fork to its end, and fails with its words if it fails. The clock is CLOCK_MONOTONIC.
pub(crate) fn time(command: &mut Command) -> Result<Duration> {
    let start = Instant::now();
    let mut child =
        command.spawn().with_context(|| format!("start {}", command.get_program().to_string_lossy()))?;
    let status = child.wait()?;
    let time = start.elapsed();
    if !status.success() {
        // The pipe holds what it said; a message fits into it.
        let said = child.wait_with_output()?;
        bail!("{} ended with {status}: {}", command.get_program().to_string_lossy(), words(&said));
    }
    Ok(time)
}

/// What a program said on stderr.
pub(crate) fn words(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).trim().to_owned()
}

/// A bridge for each side, so that neither finds the other's links on its own. minidocker makes its bridge itself,
/// at its first start, which is not measured.
struct Bridges {
    floor: String,
    minidocker: String,
}

impl Bridges {
    fn new() -> Result<Self> {
        let pid = std::process::id();
        let bridges = Self { floor: format!("mdf{pid}"), minidocker: format!("mdm{pid}") };
        let name = &bridges.floor;
        for arguments in [
            vec!["link", "add", name, "type", "bridge"],
            vec!["address", "add", BRIDGE_ADDRESS, "dev", name],
            vec!["link", "set", name, "up"],
        ] {
            ip(&arguments)?;
        }
        Ok(bridges)
    }
}

impl Drop for Bridges {
    fn drop(&mut self) {
        for name in [&self.floor, &self.minidocker] {
            if Path::new("/sys/class/net").join(name).exists()
                && let Err(error) = ip(&["link", "delete", name])
            {
                eprintln!("warning: {error:#}");
            }
        }
    }
}

fn ip(arguments: &[&str]) -> Result<()> {
    process::output(Command::new("ip").args(arguments)).map(drop)
}
