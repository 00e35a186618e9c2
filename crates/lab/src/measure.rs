//! One measurement: the environment is started, the case prepared, the caches dropped, the run sampled from outside,
//! everything taken away. What fails is a measurement with a problem, and the next one begins.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use step::Failure;

use crate::environment::{Ask, Environment, Places};
use crate::group::{Groups, Nest};
use crate::host::{CpuTime, Disk, DiskTime, TICKS, meminfo};
use crate::inside::{self, Started};
use crate::reader;
use crate::record::{Cost, Kind, Measurement, Phase, Series, Size, Slot};
use crate::sampler::Sampler;
use crate::session::{self, Session, Stops, Trouble};
use crate::suite::{Case, Filling, Network, Starts, Way, fill};

/// How long a server on the host may take until it listens.
const SERVER: Duration = Duration::from_millis(500);
/// How long memory may take to settle once all are up.
const SETTLE: Duration = Duration::from_secs(1);

/// What measurements are made with.
#[derive(Debug)]
pub(crate) struct Bench {
    pub(crate) places: Places,
    pub(crate) groups: Groups,
    pub(crate) stops: Stops,
    pub(crate) disk: Disk,
    pub(crate) cpus: Vec<u32>,
    pub(crate) rate: f64,
    pub(crate) scale: f64,
}

/// What is measured: a case in an environment of a size, by a name of its own, in groups of its own.
#[derive(Debug, Clone, Copy)]
struct Trial<'a> {
    environment: &'a Environment,
    size: &'a Size,
    case: &'a Case,
    name: &'a str,
    nest: &'a Arc<Nest>,
}

/// A measurement as it is made: what is known of it so far.
#[derive(Debug)]
pub(crate) struct Notes {
    begun: Instant,
    pub(crate) measurement: Measurement,
    /// What was printed, for the file beside.
    pub(crate) text: String,
    pub(crate) series: Series,
}

impl Notes {
    fn new(slot: &Slot) -> Self {
        let started = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        let measurement = Measurement {
            slot: slot.clone(),
            started,
            command: Vec::new(),
            exit_code: 0,
            problem: String::new(),
            metrics: BTreeMap::new(),
            phases: Vec::new(),
            steps: Vec::new(),
            cost: Cost::default(),
        };
        let series = Series { at: Vec::new(), curves: Vec::new() };
        Self { begun: Instant::now(), measurement, text: String::new(), series }
    }

    /// Does a piece of it and notes when.
    fn phase<T>(
        &mut self,
        name: &str,
        work: impl FnOnce(&mut Self) -> Result<T, Trouble>,
    ) -> Result<T, Trouble> {
        let start = self.begun.elapsed().as_secs_f64();
        let result = work(self);
        let end = self.begun.elapsed().as_secs_f64();
        self.measurement.phases.push(Phase { name: name.to_owned(), start, end });
        result
    }

    fn told(&mut self, argv: &[String], ran: &session::Ran) {
        self.text.push_str(&format!("$ {}\n{}", argv.join(" "), ran.out));
        if !ran.err.is_empty() {
            self.text.push_str(&format!("--- standard error\n{}", ran.err));
        }
    }
}

/// Counters at one moment.
#[derive(Debug)]
pub(crate) struct Snapshot {
    at: Instant,
    usage: cgroup::Usage,
    guest: Option<f64>,
    disk: Option<DiskTime>,
    pub(crate) cpu: Option<CpuTime>,
}

impl Snapshot {
    pub(crate) fn take(nest: &Nest, device: (u32, u32)) -> Self {
        Self {
            at: Instant::now(),
            usage: nest.usage(),
            guest: guest_time(nest),
            disk: DiskTime::now(device),
            cpu: CpuTime::now(),
        }
    }

    /// What was used since another one.
    pub(crate) fn since(&self, before: &Self) -> Cost {
        let seconds = |now: Option<u64>, then: Option<u64>| Some(now?.saturating_sub(then?) as f64 / 1e9);
        let bytes = |part: fn(&DiskTime) -> f64| {
            Some((part(self.disk.as_ref()?) - part(before.disk.as_ref()?)).max(0.0) as u64)
        };
        let guest =
            self.guest.zip(before.guest).map(|(now, then)| (now - then).max(0.0)).filter(|time| *time > 0.0);
        let user = seconds(self.usage.cpu_user, before.usage.cpu_user);
        Cost {
            wall: self.at.duration_since(before.at).as_secs_f64(),
            // The kernel counts a guest's time as its emulator's too (account_guest_time in kernel/sched/cputime.c).
            user: user.map(|user| (user - guest.unwrap_or_default()).max(0.0)),
            system: seconds(self.usage.cpu_system, before.usage.cpu_system),
            guest,
            memory_peak: self.usage.memory.max(before.usage.memory),
            throttled: seconds(self.usage.throttled, before.usage.throttled.or(Some(0))),
            disk_read: bytes(|disk| disk.read_bytes),
            disk_written: bytes(|disk| disk.written_bytes),
            steal: self.cpu.zip(before.cpu).map(|(now, then)| (now.steal - then.steal).max(0.0)),
        }
    }
}

/// Guest time of the processes: field 43 of proc_pid_stat(5).
fn guest_time(nest: &Nest) -> Option<f64> {
    let of = |pid: &i32| {
        let text = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        let after = text.rsplit_once(") ")?.1;
        after.split(' ').nth(40)?.parse::<f64>().ok().map(|ticks| ticks / TICKS)
    };
    nest.processes().iter().filter_map(of).reduce(|sum, one| sum + one)
}

/// A process that is killed when it is no longer needed.
#[derive(Debug)]
struct Server(Child);

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Bench {
    pub(crate) fn filling(
        &self,
        environment: &Environment,
        size: &Size,
        case: &Case,
        name: &str,
    ) -> Result<Filling, String> {
        Ok(Filling {
            cpus: size.cpus,
            memory: size.memory,
            time: case.time,
            scale: self.scale,
            directory: environment.directory(&self.places),
            exchange: format!("{}/{name}", environment.shared(&self.places)),
            host: environment.host(case.network)?,
        })
    }

    /// The processors of a size.
    pub(crate) fn set(&self, size: &Size) -> &[u32] {
        &self.cpus[..self.cpus.len().min(size.cpus as usize)]
    }

    /// A directory of the exchange, new and empty.
    fn exchange(&self, name: &str) -> Result<PathBuf, Failure> {
        let path = self.places.shared.join(name);
        let _ = fs::remove_dir_all(&path);
        let failed = |cause| Failure::new("bench.exchange", path.to_string_lossy(), cause);
        fs::create_dir_all(&path).map_err(failed)?;
        fs::create_dir_all(&self.places.scratch).map_err(failed)?;
        Ok(path)
    }

    /// Our own program as it is to be called inside.
    pub(crate) fn inside(&self, environment: &Environment, words: &[&str]) -> Vec<String> {
        let program = format!("{}/minidocker", environment.shared(&self.places));
        [program.as_str(), inside::NAME].into_iter().chain(words.iter().copied()).map(str::to_owned).collect()
    }

    /// The groups for an environment.
    pub(crate) fn nest(
        &self,
        environment: &Environment,
        size: &Size,
        name: &str,
    ) -> Result<Arc<Nest>, Failure> {
        let limits = environment.limits(size, self.set(size));
        Ok(Arc::new(self.groups.make(name, &limits, environment.seat(&self.places))?))
    }

    /// An environment with its agent in it, and the command that it was started by.
    pub(crate) fn session(
        &self,
        environment: &Environment,
        size: &Size,
        network: Network,
        name: &str,
        nest: &Arc<Nest>,
    ) -> Result<(Session<'_>, Vec<String>), Trouble> {
        let exchange = self.exchange(name)?;
        let agent = format!("{}/{name}", environment.shared(&self.places));
        let argv = self.inside(environment, &["agent", &agent]);
        let ask = Ask { size, cpus: self.set(size), network, group: nest.path(), name, explain: None };
        let command = environment.command(&self.places, &ask, &argv);
        environment.make(&self.places, name)?;
        let ender = environment.ender(&self.places, name);
        let session = Session::start(&self.places.program, &self.stops, nest, &command, &exchange, ender)?;
        Ok((session, command))
    }

    /// Makes one measurement. An error is the lab's own, or the wish to stop; what the case does wrong is in the notes.
    pub(crate) fn measure(
        &self,
        environment: &Environment,
        size: &Size,
        case: &Case,
        slot: &Slot,
    ) -> Result<Notes, Trouble> {
        let mut notes = Notes::new(slot);
        let name = format!("{:05}", slot.number);
        let result = self.nest(environment, size, &name).map_err(Trouble::from).and_then(|nest| {
            let sampler = Sampler::start(self.rate, self.disk.device, Arc::clone(&nest), notes.begun);
            let trial = Trial { environment, size, case, name: &name, nest: &nest };
            let result = match case.way {
                Way::Inside => self.inside_case(trial, &mut notes),
                Way::Start(starts) => self.starts(trial, starts, &mut notes),
                Way::Density(count) => self.density(trial, count, &mut notes),
            };
            notes.series = sampler.stop();
            result
        });
        let _ = fs::remove_dir_all(self.places.shared.join(&name));
        let _ = fs::remove_dir_all(&self.places.scratch);
        notes.peak();
        match result {
            Ok(()) => Ok(notes),
            Err(Trouble::Case(code, problem)) => {
                notes.measurement.exit_code = if code == 0 { 1 } else { code };
                notes.measurement.problem = problem;
                notes.measurement.metrics.clear();
                Ok(notes)
            }
            Err(trouble) => Err(trouble),
        }
    }

    fn inside_case(&self, trial: Trial<'_>, notes: &mut Notes) -> Result<(), Trouble> {
        let Trial { environment, size, case, name, nest } = trial;
        let filling = self.filling(environment, size, case, name).map_err(|why| Trouble::Case(1, why))?;
        let filled = |words: &[String]| words.iter().map(|word| fill(word, &filling)).collect::<Vec<_>>();
        let _server = self.server(&filled(&case.host))?;
        let (mut session, command) =
            notes.phase("start", |_| self.session(environment, size, case.network, name, nest))?;
        let run = filled(&case.run);
        // What stands behind the agent's place is what it is told to run.
        let agent = self.inside(environment, &[]).len() + 2;
        notes.measurement.command = command[..command.len() - agent].iter().chain(&run).cloned().collect();
        let directory = filling.directory.clone();
        let job = |session: &mut Session<'_>, notes: &mut Notes, argv: &[String]| {
            let ran = session.run(argv, &directory, case.limit, &mut |_| {})?;
            notes.told(argv, &ran);
            if ran.code == 0 {
                return Ok(ran);
            }
            let words = ran.last_words();
            Err(Trouble::Case(ran.code, format!("{} ended with {}{words}", argv[0], ran.code)))
        };
        if !case.prepare.is_empty() {
            notes.phase("prepare", |notes| {
                case.prepare.iter().try_for_each(|argv| job(&mut session, notes, &filled(argv)).map(drop))
            })?;
        }
        if !case.warm_up.is_empty() {
            notes.phase("warm-up", |notes| job(&mut session, notes, &filled(&case.warm_up)).map(drop))?;
        }
        if case.cold {
            notes.phase("cold", |notes| {
                if environment.kind() == Kind::Vm {
                    job(&mut session, notes, &self.inside(environment, &["cold"]))?;
                }
                cold()
            })?;
        }
        let before = Snapshot::take(nest, self.disk.device);
        let ran = notes.phase("run", |notes| job(&mut session, notes, &run));
        notes.measurement.cost = Snapshot::take(nest, self.disk.device).since(&before);
        let ran = ran?;
        if let Some(wrong) = wrong_clock(ran.seconds, notes.measurement.cost.wall) {
            return Err(Trouble::Case(1, wrong));
        }
        notes.measurement.metrics =
            case.reader.read(&ran.out, ran.seconds).map_err(|why| Trouble::Case(1, why))?;
        notes.phase("clean", |notes| {
            case.clean.iter().try_for_each(|argv| job(&mut session, notes, &filled(argv)).map(drop))?;
            session.end()
        })
    }

    /// The server on the host that a case speaks with.
    fn server(&self, argv: &[String]) -> Result<Option<Server>, Trouble> {
        if argv.is_empty() {
            return Ok(None);
        }
        let mut command = Command::new(&self.places.program);
        command.args([inside::NAME, "join", "--"]).args(argv);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let child = command.spawn().map_err(|cause| Failure::new("bench.server", argv[0].as_str(), cause))?;
        let mut server = Server(child);
        let ended = self.stops.wait(SERVER, || Ok(matches!(server.0.try_wait(), Ok(Some(_)))))?;
        if ended {
            return Err(Trouble::Case(
                1,
                format!("the server on the host ended at once: {}", argv.join(" ")),
            ));
        }
        Ok(Some(server))
    }

    fn starts(&self, trial: Trial<'_>, starts: Starts, notes: &mut Notes) -> Result<(), Trouble> {
        let Trial { environment, size, case, name, nest } = trial;
        let exchange = self.exchange(name)?;
        let filling = self.filling(environment, size, case, name).map_err(|why| Trouble::Case(1, why))?;
        let argv: Vec<String> = case.run.iter().map(|word| fill(word, &filling)).collect();
        let each = format!("{name}-{}", inside::NUMBER);
        let ask = Ask {
            size,
            cpus: self.set(size),
            network: case.network,
            group: nest.path(),
            name: &each,
            explain: None,
        };
        let command = environment.command(&self.places, &ask, &argv);
        notes.measurement.command.clone_from(&command);
        let count = ((f64::from(starts.count) * self.scale).round() as u32).max(starts.parallel);
        (0..count).try_for_each(|number| environment.make(&self.places, &format!("{name}-{number}")))?;
        let program = self.places.program.to_string_lossy().into_owned();
        let numbers = [count.to_string(), starts.parallel.to_string(), starts.pause.to_string()];
        let head = [program, inside::NAME.to_owned(), "starts".to_owned()].into_iter().chain(numbers);
        let words: Vec<String> = head.chain(["--".to_owned()]).chain(command).collect();
        let before = Snapshot::take(nest, self.disk.device);
        let out = notes.phase("run", |notes| self.to_the_end(nest, &words, &exchange, case.limit, notes));
        notes.measurement.cost = Snapshot::take(nest, self.disk.device).since(&before);
        let started: Started = serde_json::from_str(&out?.0)
            .map_err(|cause| Trouble::Case(1, format!("the starts were not told: {cause}")))?;
        notes.measurement.metrics = reader::starts(&started.seconds, started.total);
        // One more, that explains itself: its own costs are in no figure.
        if environment.kind() != Kind::Native {
            let file = exchange.join("timings.json");
            environment.make(&self.places, name)?;
            let ask = Ask { explain: Some(&file), name, ..ask };
            let command = environment.command(&self.places, &ask, &argv);
            let told = notes.phase("explain", |notes| {
                let mut silent = Notes::new(&notes.measurement.slot);
                self.to_the_end(nest, &command, &exchange, case.limit, &mut silent)
            });
            if let Ok((_, err)) = told {
                let timings = fs::read_to_string(&file).unwrap_or_default();
                notes.measurement.steps = if timings.is_empty() { explained(&err) } else { timed(&timings) };
            }
        }
        Ok(())
    }

    /// Runs a command in the nest to its end; what it printed.
    fn to_the_end(
        &self,
        nest: &Nest,
        words: &[String],
        exchange: &Path,
        limit: f64,
        notes: &mut Notes,
    ) -> Result<(String, String), Trouble> {
        let [out, err] = ["stdout", "stderr"].map(|name| exchange.join(name));
        let mut child = Server(session::start(&self.places.program, nest, words, &out, &err)?);
        let time = Duration::try_from_secs_f64(limit).unwrap_or(Duration::MAX / 4);
        let mut status = None;
        self.stops.wait(time, || {
            status = child.0.try_wait().ok().flatten();
            Ok(status.is_some())
        })?;
        let [out, err] = [out, err].map(|path| {
            fs::read(path).map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).unwrap_or_default()
        });
        let ran = session::Ran { code: status.map_or(124, inside::code), seconds: 0.0, out, err };
        notes.told(words, &ran);
        if ran.code == 0 {
            return Ok((ran.out, ran.err));
        }
        Err(Trouble::Case(ran.code, format!("it ended with {}{}", ran.code, ran.last_words())))
    }

    fn density(&self, trial: Trial<'_>, count: u32, notes: &mut Notes) -> Result<(), Trouble> {
        let Trial { environment, size, case, name, nest } = trial;
        let exchange = self.exchange(name)?;
        let filling = self.filling(environment, size, case, name).map_err(|why| Trouble::Case(1, why))?;
        let argv: Vec<String> = case.run.iter().map(|word| fill(word, &filling)).collect();
        notes.phase("cold", |_| cold())?;
        let before = Snapshot::take(nest, self.disk.device);
        let free = taken()?;
        let mut children = Vec::new();
        notes.phase("run", |notes| {
            for number in 0..count {
                let one = format!("{name}-{number}");
                let mark = format!("{}/up-{number}", filling.exchange);
                let head = ["/bin/sh", "-c", "touch \"$1\"; shift; exec \"$@\"", "sh", &mark];
                let words: Vec<String> = head.map(str::to_owned).into_iter().chain(argv.clone()).collect();
                let ask = Ask {
                    size,
                    cpus: self.set(size),
                    network: case.network,
                    group: nest.path(),
                    name: &one,
                    explain: None,
                };
                let command = environment.command(&self.places, &ask, &words);
                environment.make(&self.places, &one)?;
                let [out, err] = ["out", "err"].map(|kind| exchange.join(format!("{kind}-{number}")));
                notes.measurement.command.clone_from(&command);
                let child = session::start(&self.places.program, nest, &command, &out, &err)?;
                children.push((Server(child), environment.ender(&self.places, &one)));
            }
            let marks: Vec<PathBuf> =
                (0..count).map(|number| exchange.join(format!("up-{number}"))).collect();
            let limit = Duration::try_from_secs_f64(case.limit).unwrap_or(Duration::MAX / 4);
            let up = self.stops.wait(limit, || {
                if let Some(code) =
                    children.iter_mut().find_map(|(child, _)| child.0.try_wait().ok().flatten())
                {
                    return Err(Trouble::Case(inside::code(code), "one of them ended at once".to_owned()));
                }
                Ok(marks.iter().all(|mark| mark.exists()))
            })?;
            if !up {
                return Err(Trouble::Case(124, format!("not all were up after {} s", case.limit)));
            }
            self.stops.wait(SETTLE, || Ok(false)).map(drop)
        })?;
        let each = |bytes: f64| bytes / f64::from(count);
        let usage = nest.usage();
        // As `docker stats` has it: page cache that could go at once is nobody's need.
        let own = usage.memory.unwrap_or_default().saturating_sub(usage.inactive_file.unwrap_or_default());
        notes.measurement.metrics = [
            ("memory_each", each(own as f64)),
            ("resident_each", each(resident(nest))),
            ("host_memory_each", each(taken()? - free)),
            ("instances", f64::from(count)),
        ]
        .map(|(name, value)| (name.to_owned(), value))
        .into();
        notes.measurement.cost = Snapshot::take(nest, self.disk.device).since(&before);
        notes.phase("clean", |_| {
            for words in children.iter().filter_map(|(_, ender)| ender.as_ref()) {
                let _ = Command::new(&words[0]).args(&words[1..]).stdout(Stdio::null()).status();
            }
            drop(children);
            nest.end().map_err(Trouble::Lab)
        })
    }
}

impl Notes {
    /// The most memory of the phase `run`, by the samples that fall into it.
    fn peak(&mut self) {
        let Some(run) = self.measurement.phases.iter().find(|phase| phase.name == "run") else { return };
        let Some(curve) = self.series.curves.iter().find(|curve| curve.name == "group.memory") else {
            return;
        };
        let samples = self.series.at.iter().zip(&curve.values);
        let within = samples.filter(|(at, _)| (run.start..=run.end).contains(*at));
        let most = within.filter_map(|(_, value)| *value).fold(0.0, f64::max) as u64;
        let known = &mut self.measurement.cost.memory_peak;
        *known = known.map(|peak| peak.max(most)).or((most > 0).then_some(most));
    }
}

/// The host's caches, written out and dropped: what is measured is the disk and not what was left of before.
fn cold() -> Result<(), Trouble> {
    inside::cold().map(drop).map_err(|cause| {
        Failure::new("bench.cold", "/proc/sys/vm/drop_caches", cause).hint("run it as root").into()
    })
}

/// The processes' memory, what several have counted in parts: Pss of proc_pid_smaps(5).
fn resident(nest: &Nest) -> f64 {
    let of = |pid: &i32| {
        let text = fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).ok()?;
        meminfo(&text, "Pss")
    };
    nest.processes().iter().filter_map(of).sum()
}

/// Memory of the host that is taken and could not be given back at once.
fn taken() -> Result<f64, Trouble> {
    let text = fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let both = meminfo(&text, "MemTotal").zip(meminfo(&text, "MemAvailable"));
    let failure = || Failure::because("bench.memory", "/proc/meminfo", "it has no MemAvailable");
    both.map(|(total, available)| total - available).ok_or_else(|| failure().into())
}

/// The steps of `--explain=json`, added up by who takes them and of what kind they are, in the order of the first. The
/// two processes of a start work at the same time: the parts lie one after another here, and their sum is more than the
/// start takes.
fn explained(text: &str) -> Vec<Phase> {
    let mut parts: Vec<(String, f64)> = Vec::new();
    for line in text.lines() {
        let Ok(step) = serde_json::from_str::<serde_json::Value>(line) else { continue };
        let (Some(process), Some(id), Some(took)) =
            (step["process"].as_str(), step["step"].as_str(), step["took_us"].as_f64())
        else {
            continue;
        };
        let name = format!("{process}: {}", id.split('.').next().unwrap_or(id));
        match parts.iter_mut().find(|part| part.0 == name) {
            Some(part) => part.1 += took / 1e6,
            None => parts.push((name, took / 1e6)),
        }
    }
    in_a_row(parts)
}

/// What is wrong with the clock inside, which nearly all figures are by: it counted `inside` seconds of what took `wall`
/// on the host. More is impossible, but for what rounding does; less is the way of the order and of the answer, which a
/// guest without a processor can make long.
fn wrong_clock(inside: f64, wall: f64) -> Option<String> {
    let fits = inside <= wall * 1.01 + 0.05 && inside >= wall * 0.9 - 5.0;
    (!fits).then(|| {
        let times = inside / wall.max(1e-9);
        format!("its clock went {times:.2} times as fast as the host's: {inside:.2} s in it were {wall:.2} s outside")
    })
}

/// The file of `vm run --timings`: an array of names and seconds, or an object with one.
fn timed(text: &str) -> Vec<Phase> {
    let value: serde_json::Value = serde_json::from_str(text).unwrap_or_default();
    let list = value.as_array().or_else(|| value["steps"].as_array()).or_else(|| value["phases"].as_array());
    let phases = list.map(Vec::as_slice).unwrap_or_default().iter().filter_map(|entry| {
        let name = entry["name"].as_str()?.to_owned();
        Some(Phase { name, start: entry["start"].as_f64()?, end: entry["end"].as_f64()? })
    });
    phases.collect()
}

fn in_a_row(parts: Vec<(String, f64)>) -> Vec<Phase> {
    let mut at = 0.0;
    let mut phases = Vec::with_capacity(parts.len());
    for (name, seconds) in parts {
        phases.push(Phase { name, start: at, end: at + seconds });
        at += seconds;
    }
    phases
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_of_its_own_pace_is_wrong() {
        assert_eq!(
            wrong_clock(29.5, 10.6).unwrap(),
            "its clock went 2.78 times as fast as the host's: 29.50 s in it were 10.60 s outside"
        );
        assert!(wrong_clock(10.0, 20.0).is_some());
        // As it is: what it takes to tell the guest and to hear of it.
        for (inside, wall) in [(0.0, 0.02), (1.0, 1.3), (60.0, 60.01), (600.0, 603.0), (2.0, 6.0)] {
            assert_eq!(wrong_clock(inside, wall), None);
        }
    }

    #[test]
    fn steps_that_explain_themselves_become_parts() {
        let text = "noise\n{\"process\":\"monitor\",\"step\":\"cgroup.make\",\"took_us\":100.0}\n\
                    {\"process\":\"init\",\"step\":\"mount.proc\",\"took_us\":50.0}\n\
                    {\"process\":\"monitor\",\"step\":\"cgroup.limit\",\"took_us\":200.0}\n";
        let told: Vec<String> =
            explained(text).iter().map(|p| format!("{} {:.6} {:.6}", p.name, p.start, p.end)).collect();
        assert_eq!(told, ["monitor: cgroup 0.000000 0.000300", "init: mount 0.000300 0.000350"]);
        let timings = r#"{"steps":[{"name":"kernel","start":0.5,"end":1.5}]}"#;
        assert_eq!(timed(timings), [Phase { name: "kernel".to_owned(), start: 0.5, end: 1.5 }]);
        assert_eq!(timed("?"), []);
    }
}
