//! A whole run: what was asked is checked, the machine looked at, each environment tested, each slot of the order
//! measured. Whatever is there of an earlier run in the same directory is kept, and only what is missing is done.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rustix::fs::FlockOperation;
use rustix::mount::UnmountFlags;
use step::Failure;

use crate::environment::{self, Ask, BRIDGE, Environment, Places};
use crate::exchange::{get, put, put_bytes};
use crate::group::{Groups, Seat};
use crate::host::{self, Disk};
use crate::inside;
use crate::measure::Bench;
use crate::parity;
use crate::plan;
use crate::preflight;
use crate::progress::Progress;
use crate::record::{self, FORMAT, Kind, Parity, Run, Size, Slot};
use crate::sampler;
use crate::session::{self, Stops, Trouble};
use crate::suite::{self, Network, Suite, Way};

/// Held while a bench runs: two at a time would measure each other.
const LOCK: &str = "/run/minidocker-lab.lock";
/// Where the lab's containers have their run state, one directory for each directory of results.
const RUN_ROOT: &str = "/run/minidocker-lab";

/// In these directories, where other engines keep theirs: mounted there, for Podman takes no long path.
const ENGINES: &str = "e";

/// What is asked for.
#[derive(Debug, Clone)]
pub struct Request {
    /// A suite's name, or the path of its file.
    pub suite: String,
    /// Cases to keep; all where it is empty.
    pub cases: Vec<String>,
    /// Names of environments.
    pub environments: Vec<String>,
    /// What each gets.
    pub sizes: Vec<Size>,
    /// Measurements of each.
    pub repeat: u32,
    /// What times and amounts are multiplied by.
    pub time_scale: f64,
    /// What the order is drawn from; none: drawn anew.
    pub seed: Option<u64>,
    /// Samples in a second.
    pub rate: f64,
    /// `host`, or an image.
    pub image: String,
    /// Further words for an environment's command line: its name and a word, in their order.
    pub options: Vec<(String, String)>,
    /// Where the results go.
    pub directory: PathBuf,
    /// The command, as typed.
    pub command: Vec<String>,
    /// The user's own roots and bridge, for images other than `host`.
    pub globals: Vec<String>,
    /// The control group that ours are made below.
    pub cgroup_parent: String,
    /// What takes away the network of the lab's own engine, by its run state and its bridge. The lab knows no networks:
    /// who calls it does.
    pub take_down: fn(&Path, &str),
}

/// How a run ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outcome {
    /// Measurements that are there now, of so many.
    pub made: usize,
    /// All that there are to be.
    pub total: usize,
    /// Those among them that failed.
    pub failed: usize,
    /// Environments and sizes that do not have what was asked.
    pub differing: Vec<String>,
    /// The signal that stopped it.
    pub stopped: Option<i32>,
}

/// Reads `2g/1cpu`.
///
/// # Errors
/// What it is not, in words.
pub fn parse_size(text: &str) -> Result<Size, String> {
    let wrong = || "write it as MEMORY/CPUS: 2g/1cpu, 512m/2cpu".to_owned();
    let (memory, cpus) = text.split_once('/').ok_or_else(wrong)?;
    let cpus = cpus.strip_suffix("cpus").or_else(|| cpus.strip_suffix("cpu")).unwrap_or(cpus);
    let cpus: u32 = cpus.parse().ok().filter(|cpus| *cpus > 0).ok_or_else(wrong)?;
    let memory = suite::number(memory).map_err(|_| wrong())?;
    if memory < 64 << 20 {
        return Err("less than 64m of memory holds no workload".to_owned());
    }
    Ok(Size { name: text.to_owned(), memory, cpus })
}

/// Does it, or what is left of it.
///
/// # Errors
/// What cannot be done at all, before anything is written; a directory with another run; the lab's own failures.
pub fn run(request: &Request, progress: &mut Progress) -> Result<Outcome, Failure> {
    let suite = chosen(request)?;
    let environments = environments(request)?;
    let cpus = host::processors();
    preflight::check(&suite, &environments, &request.sizes, &request.image, &cpus)?;
    let _alone = lock()?;
    let directory = Directory::open(request)?;
    let known: Option<Run> = get(&directory.path.join("run.json")).map_err(|cause| {
        Failure::new("bench.resume", directory.path.join("run.json").to_string_lossy(), cause)
    })?;
    if let Some(known) = &known {
        same(request, &suite, known, &directory.path)?;
    }
    preflight::check_space(&suite, request.time_scale, &directory.path)?;
    let disk = Disk::below(&directory.path)?;
    let bench = directory.bench(request, disk, cpus)?;
    let result = (|| {
        let run = match known {
            Some(run) => run,
            None => begin(request, &suite, &environments, &bench, &directory, progress)?,
        };
        measure_all(&run, &suite, &environments, &bench, &directory.path, progress)
    })();
    progress.end();
    let outcome = match result {
        Ok(()) => None,
        Err(Trouble::Stopped(signal)) => Some(signal),
        Err(Trouble::Lab(failure)) => {
            directory.end(&bench);
            return Err(failure);
        }
        Err(Trouble::Case(_, why)) => {
            directory.end(&bench);
            return Err(Failure::because("bench.try", "", why));
        }
    };
    directory.end(&bench);
    outcome_of(&directory.path, outcome)
}

/// The suite, with the cases that were asked for.
fn chosen(request: &Request) -> Result<Suite, Failure> {
    let mut suite = suite::load(&request.suite)?;
    for name in &request.cases {
        if !suite.cases.iter().any(|case| case.record.name == *name) {
            let names: Vec<&str> = suite.cases.iter().map(|case| case.record.name.as_str()).collect();
            let failure =
                Failure::because("bench.case", name.as_str(), format!("{} has no such case", suite.name));
            return Err(failure.hint(format!("there are {}", names.join(", "))));
        }
    }
    if !request.cases.is_empty() {
        suite.cases.retain(|case| request.cases.contains(&case.record.name));
    }
    Ok(suite)
}

fn environments(request: &Request) -> Result<Vec<Environment>, Failure> {
    for (name, word) in &request.options {
        if !request.environments.contains(name) {
            return Err(Failure::because(
                "bench.environment",
                name.as_str(),
                format!("{word} is for an environment that is not asked for"),
            )
            .hint(format!("--env has {}", request.environments.join(","))));
        }
    }
    let options = |name: &str| {
        let own = request.options.iter().filter(|(of, _)| of == name);
        own.map(|(_, word)| word.clone()).collect()
    };
    request.environments.iter().map(|name| Environment::named(name, options(name))).collect()
}

/// One bench at a time on a machine.
fn lock() -> Result<fs::File, Failure> {
    let failed = |cause: std::io::Error| Failure::new("bench.lock", LOCK, cause);
    let file = fs::File::create(LOCK).map_err(failed)?;
    rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive).map_err(|errno| match errno {
        rustix::io::Errno::AGAIN => {
            Failure::because("bench.lock", LOCK, "another bench runs on this machine")
                .hint("wait for it: two at a time measure each other")
        }
        errno => failed(errno.into()),
    })?;
    Ok(file)
}

/// The directory of results. Made if it is missing, and taken away again where nothing came of it.
struct Directory {
    path: PathBuf,
    made: bool,
    take_down: fn(&Path, &str),
}

impl Directory {
    fn open(request: &Request) -> Result<Self, Failure> {
        let path = request.directory.as_path();
        let failed = |cause: std::io::Error| Failure::new("bench.directory", path.to_string_lossy(), cause);
        let made = !path.exists();
        fs::create_dir_all(path).map_err(failed)?;
        let path = fs::canonicalize(path).map_err(failed)?;
        let this = Self { path: path.clone(), made, take_down: request.take_down };
        let is_run = path.join("run.json").exists();
        let mut entries = fs::read_dir(&path).map_err(failed)?.filter_map(Result::ok);
        if !is_run && entries.any(|entry| entry.file_name() != "work") {
            let failure = Failure::because(
                "bench.directory",
                path.to_string_lossy(),
                "it has files that are of no run",
            );
            return Err(failure.hint("name a new directory by -o, or that of a run that was stopped"));
        }
        Ok(this)
    }

    fn work(&self) -> PathBuf {
        self.path.join("work")
    }

    /// Short, as sockets lie below it: the directory's name in eight bytes (FNV-1a).
    fn run_root(&self) -> PathBuf {
        let hash =
            self.path.as_os_str().as_encoded_bytes().iter().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
                (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
            });
        Path::new(RUN_ROOT).join(format!("{hash:016x}"))
    }

    /// What measurements are made with. What a killed run left goes first.
    fn bench(&self, request: &Request, disk: Disk, cpus: Vec<u32>) -> Result<Bench, Failure> {
        // Before any directory: what runs in these groups uses them.
        let groups = Groups::below(&request.cgroup_parent)?;
        let (work, run_root) = (self.work(), self.run_root());
        let failed = |path: &Path, cause| Failure::new("bench.directory", path.to_string_lossy(), cause);
        self.let_go();
        for path in [&work, &run_root] {
            if path.exists() {
                fs::remove_dir_all(path).map_err(|cause| failed(path, cause))?;
            }
        }
        let own = request.image == "host";
        let places = Places {
            // A file that no update replaces meanwhile, and that is on the shared directory's file system.
            program: work.join("shared/minidocker"),
            image: request.image.clone(),
            globals: if own {
                environment::globals(&work.join("root"), &run_root)
            } else {
                request.globals.clone()
            },
            shared: work.join("shared"),
            scratch: work.join("scratch"),
            engines: run_root.join(ENGINES),
            unified: groups.version() == "2",
        };
        fs::create_dir_all(&places.shared).map_err(|cause| failed(&places.shared, cause))?;
        if own && request.environments.iter().any(|name| name == "podman") {
            // A short name for a directory on the results' disk; runc takes no link for it.
            let engines = work.join("engines");
            for path in [&engines, &places.engines] {
                fs::create_dir_all(path).map_err(|cause| failed(path, cause))?;
            }
            rustix::mount::mount_bind(&engines, &places.engines)
                .map_err(|errno| failed(&places.engines, errno.into()))?;
        }
        let program = Path::new("/proc/self/exe");
        fs::copy(program, &places.program).map_err(|cause| failed(&places.program, cause))?;
        let mode = fs::Permissions::from_mode(0o755);
        fs::set_permissions(&places.program, mode).map_err(|cause| failed(&places.program, cause))?;
        let stops = Stops::new()?;
        Ok(Bench { places, groups, stops, disk, cpus, rate: request.rate, scale: request.time_scale })
    }

    /// What the run state holds of the host is let go before it is removed: another engine's directory has its short name
    /// no more, our own engine's bridge and rules are gone.
    fn let_go(&self) {
        let run_root = self.run_root();
        let _ = rustix::mount::unmount(run_root.join(ENGINES), UnmountFlags::DETACH);
        if run_root.exists() {
            (self.take_down)(&run_root, BRIDGE);
        }
    }

    /// Takes away all but the results.
    fn end(&self, bench: &Bench) {
        // What cannot go now goes when the next run begins.
        let _ = bench.groups.end();
        // Containers that were ended by force with their monitors: with the user's own roots they are taken down by the
        // next command, which is this one.
        let places = &bench.places;
        if places.image != "host" {
            let mut command = Command::new(&places.program);
            command.args(&places.globals).args(["ps", "-q"]);
            let _ = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).status();
        }
        self.let_go();
        let _ = fs::remove_dir_all(self.work());
        let _ = fs::remove_dir_all(self.run_root());
        let _ = fs::remove_dir(RUN_ROOT);
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        // Nothing came of it: nothing stays. What has other files is not removed.
        if !self.path.join("run.json").exists() {
            self.let_go();
            let _ = fs::remove_dir_all(self.work());
            let _ = fs::remove_dir_all(self.run_root());
            let _ = fs::remove_dir(RUN_ROOT);
            if self.made {
                let _ = fs::remove_dir(&self.path);
            }
        }
    }
}

/// Refuses to go on with a run that is another one.
fn same(request: &Request, suite: &Suite, known: &Run, path: &Path) -> Result<(), Failure> {
    let mut differs = Vec::new();
    let mut compare = |what: &str, is_same: bool| {
        if !is_same {
            differs.push(what.to_owned());
        }
    };
    let names = |run: &Run| run.environments.iter().map(|one| one.name.clone()).collect::<Vec<_>>();
    compare("the format of its files", known.format == FORMAT);
    compare("the suite", known.suite == suite.name && known.suite_text == suite.text);
    compare("--case", known.cases.iter().eq(suite.cases.iter().map(|case| &case.record)));
    compare("--env", names(known) == request.environments);
    compare("--size", known.sizes == request.sizes);
    compare("--repeat", known.repeat == request.repeat);
    compare("--time-scale", known.time_scale == request.time_scale);
    compare("--seed", request.seed.is_none_or(|seed| seed == known.seed));
    compare("--rate", known.sampler.rate == request.rate);
    let fact = |name: &str| known.host.facts.get(name).cloned().unwrap_or_default();
    compare("--image", fact(IMAGE) == request.image);
    compare("--option", fact(OPTIONS) == told_options(request));
    if differs.is_empty() {
        return Ok(());
    }
    let reason = format!("it has another run: {} differ", differs.join(", "));
    Err(Failure::because("bench.resume", path.to_string_lossy(), reason)
        .hint(format!("name a new directory by -o, or go on with: {}", known.command.join(" "))))
}

/// Facts that a run is recognised by, among those of the host.
const IMAGE: &str = "image of the run";
const OPTIONS: &str = "further options of the run";

fn told_options(request: &Request) -> String {
    let words = request.options.iter().map(|(name, word)| format!("{name}={word}"));
    words.collect::<Vec<_>>().join(" ")
}

/// The first time: each environment is tried, the machine looked at, the order drawn, and all of it written down.
fn begin(
    request: &Request,
    suite: &Suite,
    environments: &[Environment],
    bench: &Bench,
    directory: &Directory,
    progress: &Progress,
) -> Result<Run, Trouble> {
    let mut described = Vec::with_capacity(environments.len());
    for environment in environments {
        progress.doing(&format!("trying {}", environment.name));
        let facts = try_it(bench, environment, &request.sizes[0])?;
        described.push(environment.describe(&bench.places, &bench.disk, facts));
    }
    progress.doing("looking at the machine");
    let emulated = described.iter().any(|one| one.facts.get("accelerator").is_some_and(|by| by == "tcg"));
    let findings = preflight::findings(emulated, &bench.disk, &directory.path);
    let nest = bench.groups.make("cost", &cgroup::Limits::default(), Seat::Inner)?;
    let cost = sampler::cost(request.rate, bench.disk.device, &nest);
    drop(nest);
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let seed = request.seed.unwrap_or(now.as_nanos() as u64 & 0xffff_ffff);
    let cases: Vec<_> = suite.cases.iter().map(|case| case.record.clone()).collect();
    let mut host = host::describe(&bench.disk, bench.groups.version());
    host.facts.insert(IMAGE.to_owned(), request.image.clone());
    if !request.options.is_empty() {
        host.facts.insert(OPTIONS.to_owned(), told_options(request));
    }
    let run = Run {
        format: FORMAT,
        started: now.as_secs(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        command: request.command.clone(),
        suite: suite.name.clone(),
        suite_text: suite.text.clone(),
        order: plan::order(&described, &request.sizes, &cases, request.repeat, seed),
        environments: described,
        sizes: request.sizes.clone(),
        cases,
        repeat: request.repeat,
        time_scale: request.time_scale,
        seed,
        host,
        findings,
        sampler: cost,
    };
    for name in ["parity", "measurements", "series"] {
        let path = directory.path.join(name);
        fs::create_dir_all(&path).map_err(|cause| written(&path, cause))?;
    }
    let path = directory.path.join("run.json");
    put(&path, &run).map_err(|cause| written(&path, cause))?;
    Ok(run)
}

fn written(path: &Path, cause: std::io::Error) -> Failure {
    Failure::new("bench.write", path.to_string_lossy(), cause)
}

/// Starts `true` in an environment: an engine that does not answer, a kernel that cannot be read, a program that an
/// image does not have are told before anything is written. Gives what a machine tells of itself.
fn try_it(
    bench: &Bench,
    environment: &Environment,
    size: &Size,
) -> Result<BTreeMap<String, String>, Trouble> {
    let name = format!("try-{}", parity::plain(&environment.name));
    let nest = bench.nest(environment, size, &name)?;
    let timings = bench.places.shared.join(format!("{name}.json"));
    let explain = (environment.kind() == Kind::Vm).then(|| timings.clone());
    fs::create_dir_all(&bench.places.scratch).map_err(|cause| written(&bench.places.scratch, cause))?;
    let ask = Ask {
        size,
        cpus: bench.set(size),
        network: Network::None,
        group: nest.path(),
        name: &name,
        explain: explain.as_deref(),
    };
    let command = environment.command(&bench.places, &ask, &["/bin/true".to_owned()]);
    environment.make(&bench.places, &name)?;
    let [out, err] = ["out", "err"].map(|kind| bench.places.shared.join(format!("{name}.{kind}")));
    let mut child = session::start(&bench.places.program, &nest, &command, &out, &err)?;
    let mut status = None;
    let waited = bench.stops.wait(Duration::from_secs(600), || {
        status = child.try_wait().ok().flatten();
        Ok(status.is_some())
    });
    if !matches!(waited, Ok(true)) {
        let _ = child.kill();
        let _ = child.wait();
    }
    waited?;
    let code = status.map_or(124, inside::code);
    if code == 0 {
        let told: Option<serde_json::Value> = get(&timings).ok().flatten();
        let fact = |name: &str| Some((name.to_owned(), told.as_ref()?[name].as_str()?.to_owned()));
        return Ok(["accelerator", "kernel"].into_iter().filter_map(fact).collect());
    }
    let said = fs::read(&err).map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).unwrap_or_default();
    let line =
        |head: &str| said.lines().find_map(|line| line.strip_prefix(head)).map(str::trim).map(str::to_owned);
    let last =
        || said.lines().map(str::trim).rfind(|line| !line.is_empty()).unwrap_or("it said nothing").to_owned();
    let reason = line("error: ").unwrap_or_else(last);
    let failure = Failure::because(
        "bench.try",
        environment.name.as_str(),
        format!("it does not start ({code}): {reason}"),
    );
    Err(Trouble::Lab(match line("hint: ") {
        Some(hint) => failure.hint(hint),
        None => failure.hint(format!("it was started by: {}", command.join(" "))),
    }))
}

/// Tests and measures what is not there yet.
fn measure_all(
    run: &Run,
    suite: &Suite,
    environments: &[Environment],
    bench: &Bench,
    directory: &Path,
    progress: &mut Progress,
) -> Result<(), Trouble> {
    let guess = suite.cases.iter().map(|case| {
        let own = if case.time > 0.0 { case.time } else { 10.0 };
        let starts = matches!(case.way, Way::Start(_) | Way::Density(_));
        (case.record.name.clone(), if starts { 5.0 } else { own * run.time_scale + 3.0 })
    });
    progress.begin(run.order.len(), guess.collect::<BTreeMap<_, _>>());
    test_all(run, environments, bench, directory, progress)?;
    let file = |slot: &Slot| directory.join(format!("measurements/{:05}.json", slot.number));
    let rest: Vec<&Slot> = run.order.iter().filter(|slot| !file(slot).exists()).collect();
    for (done, slot) in rest.iter().enumerate() {
        bench.stops.check()?;
        let environment = environments.iter().find(|one| one.name == slot.environment);
        let size = run.sizes.iter().find(|size| size.name == slot.size);
        let case = suite.cases.iter().find(|case| case.record.name == slot.case);
        let (Some(environment), Some(size), Some(case)) = (environment, size, case) else {
            let reason = format!("measurement {} is of nothing that the run has", slot.number);
            return Err(Failure::because("bench.resume", directory.to_string_lossy(), reason).into());
        };
        progress.measuring(slot, &rest[done..]);
        let begun = std::time::Instant::now();
        let notes = bench.measure(environment, size, case, slot)?;
        let number = format!("{:05}", slot.number);
        let text = directory.join(format!("measurements/{number}.txt"));
        put_bytes(&text, notes.text.as_bytes()).map_err(|cause| written(&text, cause))?;
        let series = directory.join(format!("series/{number}.json"));
        put(&series, &notes.series).map_err(|cause| written(&series, cause))?;
        // Last: what has this file is done.
        let path = file(slot);
        put(&path, &notes.measurement).map_err(|cause| written(&path, cause))?;
        progress.measured(slot, begun.elapsed().as_secs_f64(), &notes.measurement.problem);
    }
    Ok(())
}

/// Tests every environment of every size that is not tested yet.
fn test_all(
    run: &Run,
    environments: &[Environment],
    bench: &Bench,
    directory: &Path,
    progress: &Progress,
) -> Result<(), Trouble> {
    let native = Environment::named("native", Vec::new())?;
    for size in &run.sizes {
        let file = |environment: &Environment| {
            let name = format!("{}-{}.json", parity::plain(&environment.name), parity::plain(&size.name));
            directory.join("parity").join(name)
        };
        let left: Vec<&Environment> = environments.iter().filter(|one| !file(one).exists()).collect();
        if left.is_empty() {
            continue;
        }
        progress.doing(&format!("testing how fast the bare host writes, {}", size.name));
        let rate = parity::write_rate(bench, &native, size).map_err(|trouble| match trouble {
            Trouble::Case(_, why) => Failure::because("bench.parity", "native", why).into(),
            trouble => trouble,
        })?;
        for environment in left {
            progress.doing(&format!("testing {} {}", environment.name, size.name));
            let parity = parity::test(bench, environment, size, rate)?;
            let path = file(environment);
            put(&path, &parity).map_err(|cause| written(&path, cause))?;
            progress.parity(&parity);
        }
    }
    Ok(())
}

/// What is there now.
fn outcome_of(directory: &Path, stopped: Option<i32>) -> Result<Outcome, Failure> {
    let read =
        |path: PathBuf| Failure::because("bench.read", path.to_string_lossy(), "it cannot be read back");
    let path = directory.join("run.json");
    let run: Option<Run> =
        get(&path).map_err(|cause| Failure::new("bench.read", path.to_string_lossy(), cause))?;
    let Some(run) = run else {
        return Ok(Outcome { made: 0, total: 0, failed: 0, differing: Vec::new(), stopped });
    };
    let mut outcome = Outcome { made: 0, total: run.order.len(), failed: 0, differing: Vec::new(), stopped };
    for slot in &run.order {
        let path = directory.join(format!("measurements/{:05}.json", slot.number));
        let found: Option<record::Measurement> = get(&path).map_err(|_| read(path))?;
        outcome.made += usize::from(found.is_some());
        outcome.failed += usize::from(found.is_some_and(|one| !one.problem.is_empty()));
    }
    for environment in &run.environments {
        for size in &run.sizes {
            let name = format!("{}-{}.json", parity::plain(&environment.name), parity::plain(&size.name));
            let path = directory.join("parity").join(name);
            let found: Option<Parity> = get(&path).map_err(|_| read(path))?;
            if found.is_some_and(|parity| !parity.holds()) {
                outcome.differing.push(format!("{} {}", environment.name, size.name));
            }
        }
    }
    Ok(outcome)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_read() {
        let size = parse_size("2g/1cpu").unwrap();
        assert_eq!((size.name.as_str(), size.memory, size.cpus), ("2g/1cpu", 2 << 30, 1));
        assert_eq!(parse_size("512m/2cpus").unwrap().cpus, 2);
        for wrong in ["2g", "2g/0cpu", "/1cpu", "2x/1cpu", "1m/1cpu", "2g/cpu"] {
            assert!(parse_size(wrong).is_err(), "{wrong}");
        }
    }
}
