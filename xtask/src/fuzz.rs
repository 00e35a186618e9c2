//! `cargo xtask fuzz`: the targets in the folder `fuzz`, built by cargo-fuzz and run by libFuzzer, as many at a time as
//! there are processors.
//!
//! What must hold is in `fuzz/properties`; the tests there try the kept inputs without any of this. What is built, found
//! and logged is below `target/fuzz`; only `--keep` changes the repository.

mod keep;

use std::ffi::OsStr;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Mutex;
use std::thread;

use anyhow::{Context as _, Result, bail};

use crate::arguments::Arguments;
use crate::{process, repository, setup};

/// How long each target is tried unless said otherwise.
const SECONDS: u64 = 60;
/// The same with `--short`.
const SHORT: u64 = 20;
/// Longer inputs take longer and find nothing else.
const LONGEST: usize = 8192;
/// The inputs of a short run: few, and from one seed. Which they are depends on the build besides.
const RUNS: u32 = 4_000;
/// How much of a log is shown of a target that fails.
const SHOWN: usize = 60;

/// `cargo xtask fuzz [TARGET] [--seconds N] [--short] [--keep]`.
pub(crate) fn fuzz(mut arguments: Arguments) -> Result<()> {
    let short = arguments.flag("--short");
    let seconds = arguments.value_or("--seconds", if short { SHORT } else { SECONDS })?;
    let keep = arguments.flag("--keep");
    let wanted = arguments.positional();
    arguments.finish()?;
    let targets = Target::all(wanted.as_deref())?;
    setup::cargo_fuzz()?;
    build(wanted.as_deref())?;
    if keep {
        return targets.iter().try_for_each(keep::keep);
    }
    try_all(targets, seconds, short)
}

/// A target and its places.
struct Target {
    name: String,
    program: PathBuf,
    /// The inputs that the repository has.
    kept: PathBuf,
    /// Those that were found here.
    found: PathBuf,
    log: PathBuf,
    /// What the paths of inputs that make it fail begin with.
    failing: String,
}

impl Target {
    /// The one of that name, or all.
    fn all(wanted: Option<&str>) -> Result<Vec<Self>> {
        let top = repository()?;
        let folder = top.join("fuzz/fuzz_targets");
        let mut names = Vec::new();
        for entry in fs::read_dir(&folder).with_context(|| format!("read {}", folder.display()))? {
            let file = PathBuf::from(entry?.file_name());
            names.extend(file.file_stem().map(|name| name.to_string_lossy().into_owned()));
        }
        names.sort();
        if let Some(wanted) = wanted
            && !names.iter().any(|name| name == wanted)
        {
            bail!("there is no target `{wanted}`, only {}", names.join(", "));
        }
        names.retain(|name| wanted.is_none_or(|wanted| name == wanted));
        Ok(names.into_iter().map(|name| Self::new(name, &top)).collect())
    }

    fn new(name: String, top: &Path) -> Self {
        let built = top.join("target/fuzz");
        let release = format!("{}-unknown-linux-gnu/release", std::env::consts::ARCH);
        Self {
            program: built.join(release).join(&name),
            kept: top.join("fuzz/corpus").join(&name),
            found: built.join("corpus").join(&name),
            log: built.join("logs").join(format!("{name}.log")),
            failing: built.join("failing").join(format!("{name}-")).display().to_string(),
            name,
        }
    }

    /// Makes the folders that it writes to.
    fn make_places(&self) -> Result<()> {
        let folders = [Some(self.found.as_path()), self.log.parent(), Path::new(&self.failing).parent()];
        for folder in folders.into_iter().flatten() {
            fs::create_dir_all(folder).with_context(|| format!("make {}", folder.display()))?;
        }
        Ok(())
    }

    /// Tries it for so long, with the kept inputs and those in `found`, where new ones go to. `same`: a number of inputs
    /// that depends on nothing but the kept ones.
    fn run(&self, seconds: u64, found: &Path, same: bool) -> Result<Outcome> {
        let mut command = Command::new(&self.program);
        if same {
            command.args(["-seed=1", &format!("-runs={RUNS}")]);
        }
        command.arg(format!("-max_total_time={seconds}")).arg(format!("-max_len={LONGEST}"));
        command.arg(format!("-artifact_prefix={}", self.failing));
        command.args(["-timeout=20", "-rss_limit_mb=2048", "-print_final_stats=1"]);
        let succeeded = self.logged(command.arg(found).arg(&self.kept))?;
        let said = fs::read_to_string(&self.log).unwrap_or_default();
        Ok(Outcome { succeeded, executed: executed(&said), said })
    }

    /// Runs the command with what it says in the target's log; whether it succeeded.
    fn logged(&self, command: &mut Command) -> Result<bool> {
        let log = File::create(&self.log).with_context(|| format!("create {}", self.log.display()))?;
        command.stdout(log.try_clone()?).stderr(log);
        let program = self.program.display();
        Ok(command.status().with_context(|| format!("start {program}"))?.success())
    }
}

/// How a target ended.
struct Outcome {
    succeeded: bool,
    executed: Option<u64>,
    said: String,
}

/// How many inputs were tried, by libFuzzer's last words.
fn executed(said: &str) -> Option<u64> {
    let word = "stat::number_of_executed_units:";
    said.lines().find_map(|line| line.strip_prefix(word)?.trim().parse().ok())
}

/// Without a sanitizer: no target reaches unsafe code, and with one each is several times slower. So a stable compiler
/// suffices too.
fn build(wanted: Option<&str>) -> Result<()> {
    let mut command = process::cargo();
    command.args(["fuzz", "build", "--sanitizer", "none", "--codegen-units", "16"]);
    process::run(command.args(["--target-dir", "target/fuzz"]).args(wanted))
}

/// One after another in as many threads as there are processors. Told as they end.
fn try_all(targets: Vec<Target>, seconds: u64, short: bool) -> Result<()> {
    let at_a_time = thread::available_parallelism().map_or(1, usize::from);
    eprintln!("{} targets for {seconds} s each, {at_a_time} at a time", targets.len());
    let waiting = Mutex::new(targets.into_iter());
    let next = || waiting.lock().ok().and_then(|mut waiting| waiting.next());
    let failed = Mutex::new(Vec::new());
    thread::scope(|scope| {
        for _ in 0..at_a_time {
            scope.spawn(|| {
                while let Some(target) = next() {
                    let told = tell(&target, try_one(&target, seconds, short));
                    if let (Err(problem), Ok(mut failed)) = (told, failed.lock()) {
                        failed.push(problem);
                    }
                }
            });
        }
    });
    let failed = failed.into_inner().unwrap_or_default();
    match failed.is_empty() {
        true => Ok(()),
        false => bail!("{}", failed.join("\n")),
    }
}

fn try_one(target: &Target, seconds: u64, short: bool) -> Result<Outcome> {
    target.make_places()?;
    if !short {
        return target.run(seconds, &target.found, false);
    }
    // Begins with the kept inputs alone, however many were found here before.
    let found = process::Temporary::new(&format!("fuzz-{}", target.name))?;
    target.run(seconds, found.path(), true)
}

/// A line on a target that ended, or what is wrong with it.
fn tell(target: &Target, outcome: Result<Outcome>) -> Result<(), String> {
    let name = &target.name;
    let outcome = outcome.map_err(|error| format!("{name}: {error:#}"))?;
    if outcome.succeeded {
        let executed = outcome.executed.map_or("?".to_owned(), |count| count.to_string());
        eprintln!("{name:<16} {executed:>12} inputs tried");
        return Ok(());
    }
    let lines: Vec<&str> = outcome.said.lines().collect();
    eprintln!("{}", lines[lines.len().saturating_sub(SHOWN)..].join("\n"));
    Err(format!(
        "{name}: an input makes it fail: {}* (tried again by `{} FILE`); its log is {}",
        target.failing,
        target.program.display(),
        target.log.display()
    ))
}

/// The name that libFuzzer gives to an input that it found: the SHA-1 of its bytes. Others were given by people.
fn is_found_name(name: &OsStr) -> bool {
    name.to_str().is_some_and(|name| name.len() == 40 && name.bytes().all(|byte| byte.is_ascii_hexdigit()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_libfuzzer_says() {
        let said =
            "Done 5 runs in 1 second(s)\nstat::number_of_executed_units: 1234567\nstat::peak_rss_mb: 60\n";
        assert_eq!(executed(said), Some(1_234_567));
        assert_eq!(executed("==7== ERROR: libFuzzer: deadly signal\n"), None);
    }

    #[test]
    fn targets_are_the_folders_files() {
        let all: Vec<String> = Target::all(None).unwrap().into_iter().map(|target| target.name).collect();
        assert!(all.is_sorted() && all.iter().any(|name| name == "config"), "{all:?}");
        let one = Target::all(Some("config")).unwrap();
        assert_eq!(one.len(), 1);
        assert!(one[0].kept.ends_with("fuzz/corpus/config") && one[0].kept.is_dir());
        assert!(Target::all(Some("nonsense")).is_err());
    }

    #[test]
    fn people_give_other_names_than_libfuzzer() {
        assert!(is_found_name(OsStr::new("da39a3ee5e6b4b0d3255bfef95601890afd80709")));
        assert!(!is_found_name(OsStr::new("device-without-numbers")));
    }
}
