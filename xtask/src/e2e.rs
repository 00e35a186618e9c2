//! `cargo xtask test` and `e2e`: the unit tests, and the kernel tests on every version of control groups.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context as _, Result, bail};

use crate::arguments::Arguments;
use crate::{artifacts, failures, process, vm};

/// What of the kernel tests runs in the emulated machine unless a filter is given: everything there takes some 20
/// times as long, and only the limits differ between the versions.
const MACHINE_FILTER: &str = "limits";
/// Everything but the kernel tests.
const UNITS: [&str; 3] = ["--workspace", "--exclude", "minidocker-tests"];

/// A version of control groups.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Version {
    V1,
    V2,
}

impl Version {
    pub(crate) fn parse(text: &str) -> Result<Self> {
        match text {
            "v1" => Ok(Self::V1),
            "v2" => Ok(Self::V2),
            _ => bail!("--cgroup takes v1 or v2, not `{text}`"),
        }
    }

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::V1 => "v1",
            Self::V2 => "v2",
        }
    }

    /// The version whose controllers this machine uses.
    fn here() -> Result<Self> {
        let mounts = fs::read_to_string("/proc/self/mounts").context("read /proc/self/mounts")?;
        let kinds: Vec<&str> = mounts.lines().filter_map(|line| line.split(' ').nth(2)).collect();
        if kinds.contains(&"cgroup") {
            Ok(Self::V1)
        } else if kinds.contains(&"cgroup2") {
            Ok(Self::V2)
        } else {
            bail!("this machine mounts no control groups: mount -t cgroup2 none /sys/fs/cgroup")
        }
    }
}

/// `cargo xtask test [--cgroup ...] [--release]`: unit tests, then the kernel tests. All of them, whatever fails: a run
/// takes long enough to be told everything by one, and what failed is told once more at its end.
pub(crate) fn test(arguments: Arguments) -> Result<()> {
    let words = [&["test", "--locked", "--quiet", "--no-fail-fast"], &UNITS[..]].concat();
    let units =
        failures::run(process::cargo().args(words)).inspect_err(|error| eprintln!("error: {error:#}"));
    let all = kernel_tests(arguments).and(units);
    failures::tell();
    all
}

/// `cargo xtask e2e [--cgroup v1|v2|all] [--systemd] [--release] [FILTER]`.
pub(crate) fn e2e(arguments: Arguments) -> Result<()> {
    let all = kernel_tests(arguments);
    failures::tell();
    all
}

fn kernel_tests(mut arguments: Arguments) -> Result<()> {
    let here = Version::here()?;
    let alone = arguments.flag("--systemd");
    let versions = match arguments.value("--cgroup")?.as_deref() {
        None if alone => Vec::new(),
        None => vec![here],
        Some("all") => vec![Version::V1, Version::V2],
        Some(text) => vec![Version::parse(text)?],
    };
    let release = arguments.flag("--release");
    let filter = arguments.positional();
    arguments.finish()?;
    process::need_root("the kernel tests")?;

    let tests = Tests::build(release)?;
    let beside = match versions.len() {
        // What waits here and what is slow there take no longer together than the slower one.
        2 => Some(Beside::start(
            versions.iter().find(|version| **version != here),
            release,
            filter.as_deref(),
        )?),
        _ => None,
    };
    let mut ended = Ok(());
    for version in &versions {
        if *version == here {
            ended = ended.and(tests.run_here(filter.as_deref()));
        } else if beside.is_none() {
            let filter = filter.as_deref().unwrap_or(MACHINE_FILTER);
            ended = ended.and(tests.run_in_machine(*version, filter));
        }
    }
    // Beside, they follow those of the version.
    if alone && beside.is_none() {
        ended = ended.and(tests.run_with_systemd(filter.as_deref()));
    }
    // What was told beside is told whatever failed here.
    beside.map_or(Ok(()), Beside::finish).and(ended)
}

/// The tests in the QEMU machine, by this program once more while others run here; what it says is kept for the end.
struct Beside {
    child: std::process::Child,
    log: process::Temporary,
}

impl Beside {
    fn start(version: Option<&Version>, release: bool, filter: Option<&str>) -> Result<Self> {
        let version = version.context("there are two versions, and one of them is here")?;
        let log = process::Temporary::new("beside")?;
        let file = fs::File::create(log.path().join("log"))?;
        // By cargo: the build may have put another file in this program's place.
        let mut command = process::cargo();
        command.args(["xtask", "e2e", "--cgroup", version.name()]);
        command.args(release.then_some("--release"));
        command.args(filter.map_or(["--systemd"], |filter| [filter]));
        let what = filter.unwrap_or("--systemd");
        eprintln!("+ beside what follows: cargo xtask e2e --cgroup {} {what}", version.name());
        command.stdin(std::process::Stdio::null()).stdout(file.try_clone()?).stderr(file);
        let child = command.spawn().context("start cargo xtask e2e")?;
        Ok(Self { child, log })
    }

    fn finish(mut self) -> Result<()> {
        let status = self.child.wait().context("wait for the tests in the QEMU machine")?;
        let log = fs::read(self.log.path().join("log")).unwrap_or_default();
        let log = String::from_utf8_lossy(&log);
        eprint!("{log}");
        failures::hear(&log);
        if !status.success() {
            bail!("the tests in the QEMU machine ended with {status}");
        }
        Ok(())
    }
}

impl Drop for Beside {
    /// Others have failed: it takes down its machine itself, at its end.
    fn drop(&mut self) {
        let _ = self.child.wait();
    }
}

/// `cargo xtask crash [--rounds N] [--seed N] [--release]`: the rounds of the kernel tests, as many as are wanted.
pub(crate) fn crash(mut arguments: Arguments) -> Result<()> {
    let rounds: u64 = arguments.value_or("--rounds", 1000)?;
    let seed: u64 = arguments.value_or("--seed", std::process::id().into())?;
    let release = arguments.flag("--release");
    arguments.finish()?;
    process::need_root("the kernel tests")?;
    let tests = Tests::build(release)?;
    let program = tests.programs.iter().find(|program| program.name == "crash");
    let mut command = tests.command(program.context("the kernel tests have no `crash`")?);
    command.env("MINIDOCKER_ROUNDS", rounds.to_string()).env("MINIDOCKER_SEED", seed.to_string());
    let result = process::run(command.arg("rounds_of_eight"));
    result.with_context(|| format!("again with: cargo xtask crash --rounds {rounds} --seed {seed}"))
}

/// The compiled kernel tests and the two programs that they use.
struct Tests {
    minidocker: PathBuf,
    inside: PathBuf,
    programs: Vec<artifacts::Program>,
    /// Those that need systemd, and a kernel that CRIU knows.
    machine: PathBuf,
    /// The control groups' own, some of which need systemd.
    cgroup: PathBuf,
    directory: PathBuf,
}

impl Tests {
    fn build(release: bool) -> Result<Self> {
        // With all that the unit tests were built with, their crates' features among it, so that nothing is built twice.
        let units = [&["build", "--locked", "--bin", "minidocker", "--bin", "inside", "--tests"], &UNITS[..]];
        let units = artifacts::build(&units.concat())?;
        let test = |more: &[&str]| {
            artifacts::build(&[&["test", "--locked", "-p", "minidocker-tests", "--no-run"], more].concat())
        };
        let built = match release {
            true => {
                &artifacts::build(&["build", "--locked", "--release", "-p", "minidocker", "-p", "inside"])?
            }
            false => &units,
        };
        Ok(Self {
            minidocker: artifacts::named(built, "minidocker")?,
            inside: artifacts::named(built, "inside")?,
            programs: test(&[])?,
            machine: artifacts::tests_of(&test(&["--test", "machine"])?, "machine")?,
            cgroup: artifacts::tests_of(&units, "minidocker_cgroup")?,
            directory: crate::repository()?.join("tests"),
        })
    }

    fn run_here(&self, filter: Option<&str>) -> Result<()> {
        self.need_match(filter.unwrap_or_default())?;
        let mut failed = Vec::new();
        for program in &self.programs {
            if let Err(error) = failures::run(self.command(program).args(filter)) {
                eprintln!("error: {error:#}");
                failed.push(program.name.as_str());
            }
        }
        if !failed.is_empty() {
            bail!("kernel tests failed: {}", failed.join(", "));
        }
        Ok(())
    }

    /// One of them, on this machine.
    fn command(&self, program: &artifacts::Program) -> Command {
        let mut command = Command::new(&program.path);
        command.current_dir(&self.directory);
        command.env("MINIDOCKER_BIN", &self.minidocker).env("MINIDOCKER_INSIDE", &self.inside);
        command
    }

    /// All programs in one machine: booting takes seconds.
    fn run_in_machine(&self, version: Version, filter: &str) -> Result<()> {
        self.need_match(filter)?;
        let mut script = self.script();
        for program in self.matching(filter)? {
            let words = format!("{} {}", quoted(&program.path), process::quote(filter));
            script.push_str(&whatever_fails(&words));
        }
        script.push_str(END);
        let machine = vm::Machine { version, share: crate::repository()?, ..vm::Machine::new()? };
        eprintln!("+ the tests named `{filter}` with control groups {} in the QEMU machine", version.name());
        passes(&machine, &script)
    }

    /// One after the other: what they wait for is slow enough there.
    fn run_with_systemd(&self, filter: Option<&str>) -> Result<()> {
        let words = filter.map(process::quote).unwrap_or_default();
        let mut script = self.script();
        script.push_str(&whatever_fails(&format!("{} --test-threads=1 {words}", quoted(&self.machine))));
        if filter.is_none() {
            let own = format!("{} --test-threads=1 --ignored systemd", quoted(&self.cgroup));
            script.push_str(&whatever_fails(&own));
        }
        script.push_str(END);
        let machine = vm::Machine { systemd: true, share: crate::repository()?, ..vm::Machine::new()? };
        eprintln!("+ the tests that need systemd, in the QEMU machine");
        passes(&machine, &script)
    }

    fn script(&self) -> String {
        format!(
            "set -e\ncode=0\ncd {}\nexport MINIDOCKER_BIN={} MINIDOCKER_INSIDE={} MINIDOCKER_EMULATED=1 {}={}\n",
            quoted(&self.directory),
            quoted(&self.minidocker),
            quoted(&self.inside),
            failures::BACKTRACE,
            failures::backtrace(),
        )
    }

    /// A filter that names nothing would pass everything.
    fn need_match(&self, filter: &str) -> Result<()> {
        if self.matching(filter)?.is_empty() {
            bail!("no kernel test has `{filter}` in its name: nothing would be tested");
        }
        Ok(())
    }

    fn matching(&self, filter: &str) -> Result<Vec<&artifacts::Program>> {
        let mut found = Vec::new();
        for program in &self.programs {
            let mut command = Command::new(&program.path);
            let list = process::output(command.args([filter, "--list", "--format", "terse"]))?;
            if !list.stdout.is_empty() {
                found.push(program);
            }
        }
        Ok(found)
    }
}

/// The end of a script of tests: it failed if one of them did.
const END: &str = "exit $code\n";

/// A line of such a script: those behind it are run too.
fn whatever_fails(words: &str) -> String {
    format!("{words} || code=$?\n")
}

fn passes(machine: &vm::Machine, script: &str) -> Result<()> {
    match machine.run(script)? {
        0 => Ok(()),
        code => bail!("the tests in the QEMU machine ended with {code}"),
    }
}

fn quoted(path: &std::path::Path) -> String {
    process::quote(&path.to_string_lossy())
}
