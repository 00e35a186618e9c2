//! `cargo xtask fuzz`: the targets of `fuzz` built by cargo-fuzz and run by libFuzzer, as many at a time as there are
//! processors.
//!
//! What must hold is in `fuzz/properties`; the tests there replay the kept inputs without any of this. Built, found and
//! logged things are below `target/fuzz`; only `--keep` changes the repository.

mod keep;

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use anyhow::{Context as _, Result, bail};

use crate::arguments::Arguments;
use crate::{process, repository};

/// How long a target is tried unless said otherwise.
const SECONDS: u64 = 60;
/// With `--short`.
const SHORT: u64 = 5;
/// Longer inputs find nothing new, and take long.
const LONGEST: usize = 8192;

/// `cargo xtask fuzz [TARGET] [--seconds N] [--short] [--keep]`.
pub(crate) fn fuzz(mut arguments: Arguments) -> Result<()> {
    let short = arguments.flag("--short");
    let seconds = arguments.value_or("--seconds", if short { SHORT } else { SECONDS })?;
    let keep = arguments.flag("--keep");
    let wanted = arguments.positional();
    arguments.finish()?;
    let targets = Target::all(wanted.as_deref())?;
    crate::setup::cargo_fuzz()?;
    build(&targets)?;
    if keep {
        return targets.iter().try_for_each(keep::keep);
    }
    run(&targets, seconds, short)
}

/// A target and its places.
struct Target {
    name: String,
    /// The program.
    program: PathBuf,
    /// The inputs that the repository keeps.
    kept: PathBuf,
    /// Those that were found here.
    found: PathBuf,
    log: PathBuf,
    /// What the names of inputs that make it fail begin with.
    failing: PathBuf,
}

impl Target {
    /// The one of that name, or all.
    fn all(wanted: Option<&str>) -> Result<Vec<Self>> {
        let (top, folder) = (repository()?, repository()?.join("fuzz/fuzz_targets"));
        let mut names = Vec::new();
        for entry in fs::read_dir(&folder).with_context(|| format!("read {}", folder.display()))? {
            let file = PathBuf::from(entry?.file_name());
            names.extend(file.file_stem().map(|name| name.to_string_lossy().into_owned()));
        }
        names.sort();
        if let Some(wanted) = wanted {
            if !names.iter().any(|name| name == wanted) {
                bail!("there is no target `{wanted}`; there are {}", names.join(", "));
            }
            names.retain(|name| name == wanted);
        }
        let built = top.join("target/fuzz");
        let programs = built.join(format!("{}-unknown-linux-gnu/release", std::env::consts::ARCH));
        Ok(names.into_iter().map(|name| Self::new(name, &top, &built, &programs)).collect())
    }

    fn new(name: String, top: &Path, built: &Path, programs: &Path) -> Self {
        Self {
            program: programs.join(&name),
            kept: top.join("fuzz/corpus").join(&name),
            found: built.join("corpus").join(&name),
            log: built.join("logs").join(format!("{name}.log")),
            failing: built.join(format!("failing/{name}-")),
            name,
        }
    }

    /// Tries it; what it said at its end.
    fn run(&self, seconds: u64, short: bool) -> Result<Outcome> {
        let log = File::create(&self.log).with_context(|| format!("create {}", self.log.display()))?;
        let mut command = Command::new(&self.program);
        command.arg(format!("-max_total_time={seconds}")).arg(format!("-max_len={LONGEST}"));
        command.arg(format!("-artifact_prefix={}", self.failing.display()));
        command.args(["-timeout=20", "-rss_limit_mb=2048", "-print_final_stats=1"]);
        if !short {
            // What is found goes into the first.
            fs::create_dir_all(&self.found).with_context(|| format!("make {}", self.found.display()))?;
            command.arg(&self.found);
        }
        command.arg(&self.kept);
        let status = if short { self.run_on_a_copy(command, log)? } else { Self::finish(command, log)? };
        let said = fs::read_to_string(&self.log).unwrap_or_default();
        Ok(Outcome { succeeded: status, executed: number_behind(&said, "stat::number_of_executed_units:"), said })
    }

    /// With a folder of its own for what is found, which then goes.
    fn run_on_a_copy(&self, mut command: Command, log: File) -> Result<bool> {
        let found = process::Temporary::new(&format!("fuzz-{}", self.name))?;
        let kept: Vec<_> = command.get_args().map(ToOwned::to_owned).collect();
        let (kept, options) = kept.split_last().context("a folder of inputs")?;
        let mut with = Command::new(command.get_program());
        with.args(options).arg(found.path()).arg(kept);
        command = with;
        Self::finish(command, log)
    }

    fn finish(mut command: Command, log: File) -> Result<bool> {
        command.stdout(log.try_clone()?).stderr(log);
        let program = command.get_program().to_owned();
        let status = command.status().with_context(|| format!("start {}", program.display()))?;
        Ok(status.success())
    }
}

/// How a target ended.
struct Outcome {
    succeeded: bool,
    executed: Option<u64>,
    said: String,
}

/// The number behind `word` in what libFuzzer says.
fn number_behind(said: &str, word: &str) -> Option<u64> {
    said.lines().find_map(|line| line.strip_prefix(word)?.trim().parse().ok())
}
