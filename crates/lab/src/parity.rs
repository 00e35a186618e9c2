//! Whether an environment has what was asked: it is tested before it is measured, and the host's accounting is believed,
//! not what the environment says of itself.
//!
//! - processors: one thread more than were asked for spins, and the host says how many processors were busy;
//! - memory: pages are touched up to the limit and past it, and it is seen where that ends;
//! - disk: a known amount is written past the caches, and the host says on which device it landed, and how fast.

use std::fs;
use std::sync::Arc;

use crate::environment::Environment;
use crate::group::Nest;
use crate::inside::Written;
use crate::measure::{Bench, Snapshot};
use crate::record::{Check, Kind, Parity, Size, Verdict};
use crate::session::{Session, Trouble};
use crate::suite::Network;

/// Seconds that threads spin.
const SPIN: f64 = 1.0;
/// Neighbours of the machine can take processors away from one try.
const TRIES: usize = 3;
/// Bytes that are written, and seconds after which a slow disk has told enough.
const WRITE: u64 = 64 << 20;
const WRITE_SECONDS: f64 = 4.0;
/// Seconds that one of the tests may take: an emulated machine touches its memory slowly.
const LIMIT: f64 = 600.0;

/// Tests an environment of a size. `rate` is how fast the bare host writes, in bytes a second, and is set by the first
/// test of `native`.
pub(crate) fn test(
    bench: &Bench,
    environment: &Environment,
    size: &Size,
    rate: f64,
) -> Result<Parity, Trouble> {
    let name = format!("parity-{}-{}", plain(&environment.name), plain(&size.name));
    let checks = tested(bench, environment, size, rate, &name).or_else(|trouble| match trouble {
        Trouble::Case(_, why) => Ok(["processors", "memory", "disk"]
            .map(|what| Check {
                what: what.to_owned(),
                asked: String::new(),
                found: format!("the test could not be made: {why}"),
                how: String::new(),
                verdict: Verdict::Unknown,
            })
            .into()),
        trouble => Err(trouble),
    });
    let _ = fs::remove_dir_all(bench.places.shared.join(&name));
    let _ = fs::remove_dir_all(&bench.places.scratch);
    Ok(Parity { environment: environment.name.clone(), size: size.name.clone(), checks: checks? })
}

/// A name that is one of a file.
pub(crate) fn plain(name: &str) -> String {
    name.chars().map(|c| if c.is_ascii_alphanumeric() || c == '.' { c } else { '-' }).collect()
}

fn tested(
    bench: &Bench,
    environment: &Environment,
    size: &Size,
    rate: f64,
    name: &str,
) -> Result<Vec<Check>, Trouble> {
    let nest = bench.nest(environment, size, name)?;
    let (mut session, _) = bench.session(environment, size, Network::None, name, &nest)?;
    let exchange = format!("{}/{name}", environment.shared(&bench.places));
    let mut probe = Probe { bench, environment, size, nest, session: &mut session, exchange };
    let processors = probe.processors()?;
    let disk = probe.disk(rate)?;
    // Last: what runs out of memory may take more with it.
    let memory = probe.memory()?;
    let _ = session.end();
    Ok(vec![processors, memory, disk])
}

/// How fast the bare host writes where its files lie, at its best of some tries.
pub(crate) fn write_rate(bench: &Bench, native: &Environment, size: &Size) -> Result<f64, Trouble> {
    let name = "parity-rate";
    let nest = bench.nest(native, size, name)?;
    let (mut session, _) = bench.session(native, size, Network::None, name, &nest)?;
    let exchange = format!("{}/{name}", native.shared(&bench.places));
    let mut probe = Probe { bench, environment: native, size, nest, session: &mut session, exchange };
    let mut best: f64 = 0.0;
    for _ in 0..TRIES {
        let (written, ..) = probe.write()?;
        best = best.max(written.bytes as f64 / written.seconds.max(1e-6));
    }
    let _ = session.end();
    let _ = fs::remove_dir_all(bench.places.shared.join(name));
    Ok(best)
}

/// An environment with its agent, about to be tested.
struct Probe<'a, 'b> {
    bench: &'a Bench,
    environment: &'a Environment,
    size: &'a Size,
    nest: Arc<Nest>,
    session: &'a mut Session<'b>,
    exchange: String,
}

/// What the host saw while threads span.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Spun {
    /// Processors that the environment kept busy.
    busy: f64,
    /// Processors that nobody used.
    idle: f64,
    /// Seconds in which a quota stopped it.
    throttled: f64,
    /// Processors that the host's kernel lets it have, by set and quota; none where its threads are not the host's.
    allowed: Option<f64>,
}

/// What the host counted at the two marks, and the processors that it let the spinning threads have.
type Marks = [Option<(Snapshot, Option<f64>)>; 2];

/// What a command line has that spins.
const SPIN_WORDS: &str = "__lab\0spin\0";

impl Probe<'_, '_> {
    fn processors(&mut self) -> Result<Check, Trouble> {
        let asked = self.size.cpus;
        let kind = self.environment.kind();
        let mut best: Option<Spun> = None;
        for _ in 0..TRIES {
            let spun = self.spin(asked + 1)?;
            let better = |spun: &Spun| best.is_none_or(|best| spun.busy > best.busy);
            if let Some(spun) = spun.filter(better) {
                best = Some(spun);
            }
            if best.is_some_and(|best| judge_processors(kind, asked, &best).0 != Verdict::Unknown) {
                break;
            }
        }
        let how = format!(
            "{} threads span in it for {SPIN} s while the host's control group counted the processor time",
            asked + 1
        );
        let (verdict, found) = match best {
            Some(spun) => judge_processors(kind, asked, &spun),
            None => (Verdict::Unknown, "the host's accounting saw nothing of it".to_owned()),
        };
        let plural = if asked == 1 { "" } else { "s" };
        let asked = format!("{asked} processor{plural}");
        Ok(Check { what: "processors".to_owned(), asked, found, how, verdict })
    }

    fn spin(&mut self, threads: u32) -> Result<Option<Spun>, Trouble> {
        let (threads, seconds) = (threads.to_string(), SPIN.to_string());
        let argv = self.bench.inside(self.environment, &["spin", &threads, &seconds, &self.exchange]);
        let (ran, marks) = self.marked(&argv)?;
        if ran.code != 0 {
            return Err(Trouble::Case(
                ran.code,
                format!("spinning ended with {}{}", ran.code, ran.last_words()),
            ));
        }
        let [Some((begin, allowed)), Some((end, _))] = &marks else { return Ok(None) };
        let allowed = *allowed;
        let cost = end.since(begin);
        let idle = end.cpu.zip(begin.cpu).map_or(0.0, |(now, then)| now.idle - then.idle);
        let used =
            cost.user.zip(cost.system).map(|(user, system)| user + system + cost.guest.unwrap_or_default());
        Ok(used.map(|used| Spun {
            busy: used / cost.wall,
            idle: idle / cost.wall,
            throttled: cost.throttled.unwrap_or_default(),
            allowed,
        }))
    }

    /// Runs a command of ours, and looks at the counters at both of its marks.
    fn marked(&mut self, argv: &[String]) -> Result<(crate::session::Ran, Marks), Trouble> {
        let mut marks = [None, None];
        let (nest, device) = (Arc::clone(&self.nest), self.bench.disk.device);
        let directory = self.environment.directory(&self.bench.places);
        let ran = self.session.run(argv, &directory, LIMIT, &mut |mark| {
            let place = usize::from(mark == "mark-end");
            marks[place] = Some((Snapshot::take(&nest, device), nest.allowed(SPIN_WORDS)));
        })?;
        Ok((ran, marks))
    }

    fn memory(&mut self) -> Result<Check, Trouble> {
        let asked = self.size.memory;
        let most = asked + asked / 8 + (32 << 20);
        let argv = self.bench.inside(self.environment, &["touch", &most.to_string(), &self.exchange]);
        let name = std::path::Path::new(&self.exchange).file_name().unwrap_or_default().to_owned();
        let touched = || {
            let path = self.bench.places.shared.join(&name).join("touched");
            fs::read_to_string(path).ok().and_then(|text| text.trim().parse::<u64>().ok()).unwrap_or_default()
        };
        let directory = self.environment.directory(&self.bench.places);
        let end = match self.session.run(&argv, &directory, LIMIT, &mut |_| {}) {
            Ok(ran) if ran.code == 0 => Touch::Never,
            Ok(ran) if ran.code == 3 => Touch::Refused(touched()),
            // The agent or the whole environment went with it: it ended there all the same.
            Ok(_) | Err(Trouble::Case(..)) => Touch::Killed(touched()),
            Err(trouble) => return Err(trouble),
        };
        let (verdict, found) = judge_memory(asked, self.environment.kind(), end, most);
        let how = format!("memory was touched page by page in it, up to {}", mib(most));
        Ok(Check { what: "memory".to_owned(), asked: mib(asked), found, how, verdict })
    }

    /// Writes; with the bytes that landed on the device meanwhile.
    fn write(&mut self) -> Result<(Written, Option<u64>), Trouble> {
        let directory = self.environment.directory(&self.bench.places);
        let (bytes, seconds) = (WRITE.to_string(), WRITE_SECONDS.to_string());
        let words = ["write", &directory, &bytes, &seconds, &self.exchange];
        let argv = self.bench.inside(self.environment, &words);
        let (ran, marks) = self.marked(&argv)?;
        let written = serde_json::from_str(ran.out.trim());
        let written = written.map_err(|_| {
            let words = ran.last_words();
            Trouble::Case(ran.code, format!("writing ended with {}{words}", ran.code))
        })?;
        let [Some((begin, _)), Some((end, _))] = &marks else { return Ok((written, None)) };
        Ok((written, end.since(begin).disk_written))
    }

    fn disk(&mut self, rate: f64) -> Result<Check, Trouble> {
        let mut best: Option<(Written, Option<u64>)> = None;
        for _ in 0..TRIES {
            let tried = self.write()?;
            let speed = |tried: &(Written, Option<u64>)| tried.0.bytes as f64 / tried.0.seconds.max(1e-6);
            if best.as_ref().is_none_or(|best| speed(&tried) > speed(best)) {
                best = Some(tried);
            }
            if best.as_ref().is_some_and(|best| {
                judge_disk(&best.0, best.1, self.least(rate), self.name()).0 == Verdict::Held
            }) {
                break;
            }
        }
        let (verdict, found) = match &best {
            Some((written, landed)) => judge_disk(written, *landed, self.least(rate), self.name()),
            None => (Verdict::Unknown, "nothing was written".to_owned()),
        };
        let how = format!(
            "up to {} were written past the caches in it while the host's {} counted what it wrote",
            mib(WRITE),
            self.name()
        );
        let asked = format!("the disk {}, unthrottled", self.name());
        Ok(Check { what: "disk".to_owned(), asked, found, how, verdict })
    }

    /// How fast the environment must write at least, and how fast the bare host does: an emulated machine's driver is
    /// slow, but not as slow as what is throttled on purpose.
    fn least(&self, rate: f64) -> (f64, f64) {
        (rate / if self.environment.kind() == Kind::Vm { 40.0 } else { 8.0 }, rate)
    }

    fn name(&self) -> &str {
        &self.bench.disk.name
    }
}

fn judge_processors(kind: Kind, asked: u32, spun: &Spun) -> (Verdict, String) {
    let asked = f64::from(asked);
    // An emulator has threads of its own beside the processors; and a guest's marks are slow to reach the host, so what is
    // counted begins before its threads spin and ends after.
    let (more, less) = if kind == Kind::Vm { (0.4, 0.3) } else { (0.15, 0.08) };
    let mut found = format!("{:.2} processors busy", spun.busy);
    // Whatever its neighbours did meanwhile.
    if let Some(allowed) = spun.allowed.filter(|allowed| (allowed - asked).abs() > 0.01) {
        return (Verdict::Differs, format!("{found}, and the host's kernel lets it have {allowed:.2}"));
    }
    if spun.busy > asked + more {
        return (Verdict::Differs, found);
    }
    if spun.busy >= asked - less * asked {
        return (Verdict::Held, found);
    }
    if spun.throttled > 0.01 {
        found.push_str(&format!(", stopped by a quota for {:.2} s", spun.throttled));
        return (Verdict::Differs, found);
    }
    // It wanted more, more was there, and it did not get it.
    if spun.idle >= (asked - spun.busy) * 0.6 {
        found.push_str(&format!(" while {:.2} were idle", spun.idle));
        return (Verdict::Differs, found);
    }
    found.push_str(", and others of the host took the rest");
    if spun.allowed.is_some() {
        found.push_str(&format!("; the host's kernel lets it have {asked:.2}"));
        return (Verdict::Held, found);
    }
    (Verdict::Unknown, found)
}

/// Where touching memory ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Touch {
    Killed(u64),
    Refused(u64),
    Never,
}

fn judge_memory(asked: u64, kind: Kind, end: Touch, most: u64) -> (Verdict, String) {
    let (at, found) = match end {
        Touch::Never => {
            return (Verdict::Differs, format!("{} could be touched: there is no limit", mib(most)));
        }
        Touch::Killed(at) => (at, format!("killed at {}", mib(at))),
        Touch::Refused(at) => (at, format!("refused at {}", mib(at))),
    };
    // What the environment needs for itself: a few processes and their page tables, or a kernel with what it keeps of
    // each page, its boot files in memory, and its reserves.
    let own = match kind {
        Kind::Vm => (160 << 20) + asked / 8,
        _ => (16 << 20) + asked / 50,
    };
    let fits = at <= asked && at + own >= asked;
    (if fits { Verdict::Held } else { Verdict::Differs }, found)
}

fn judge_disk(
    written: &Written,
    landed: Option<u64>,
    (least, rate): (f64, f64),
    disk: &str,
) -> (Verdict, String) {
    let speed = written.bytes as f64 / written.seconds.max(1e-6);
    let way = if written.direct { "O_DIRECT and fdatasync" } else { "fdatasync" };
    let speeds = |speed: f64| format!("{:.1} MB/s", speed / 1e6);
    let mut found = format!("{} at {} by {way}", mib(written.bytes), speeds(speed));
    let Some(landed) = landed else {
        return (Verdict::Unknown, format!("{found}; the host does not say where they landed"));
    };
    found.push_str(&format!(", {} of them landed on {disk}", mib(landed.min(written.bytes))));
    // Metadata comes on top, and a little may have been on its way at both marks.
    if landed < written.bytes - written.bytes / 10 {
        return (Verdict::Differs, found);
    }
    if speed < least {
        return (Verdict::Differs, format!("{found}; the bare host writes {}", speeds(rate)));
    }
    (Verdict::Held, found)
}

fn mib(bytes: u64) -> String {
    format!("{} MiB", bytes >> 20)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn processors_are_judged_by_what_was_busy_and_what_was_idle() {
        let spun = |busy, idle, throttled| Spun { busy, idle, throttled, allowed: None };
        let cases = [
            (2, spun(1.98, 0.0, 0.0), Verdict::Held),
            (1, spun(1.99, 0.0, 0.0), Verdict::Differs),
            (1, spun(1.01, 0.9, 0.0), Verdict::Held),
            (2, spun(1.0, 0.98, 0.0), Verdict::Differs),
            (2, spun(1.0, 0.1, 0.98), Verdict::Differs),
            (2, spun(1.2, 0.1, 0.0), Verdict::Unknown),
        ];
        for (asked, spun, verdict) in cases {
            assert_eq!(judge_processors(Kind::Container, asked, &spun).0, verdict, "{asked} {spun:?}");
        }
        let machine = |asked, busy, idle| judge_processors(Kind::Vm, asked, &spun(busy, idle, 0.0)).0;
        assert_eq!([machine(1, 1.3, 0.6), machine(1, 0.8, 1.1)], [Verdict::Held; 2]);
        assert_eq!([machine(1, 1.9, 0.0), machine(2, 1.1, 0.9)], [Verdict::Differs; 2]);
        let told = |allowed| {
            judge_processors(Kind::Container, 2, &Spun { allowed: Some(allowed), ..spun(0.9, 0.0, 0.0) }).0
        };
        assert_eq!([1.0, 2.0, 20.0].map(told), [Verdict::Differs, Verdict::Held, Verdict::Differs]);
        let found = judge_processors(Kind::Container, 2, &spun(1.0, 0.98, 0.0)).1;
        assert_eq!(found, "1.00 processors busy while 0.98 were idle");
    }

    #[test]
    fn memory_is_judged_by_where_it_ended() {
        let (asked, most) = (1 << 30, 1200 << 20);
        let cases = [
            (Kind::Native, Touch::Killed(1020 << 20), Verdict::Held),
            (Kind::Container, Touch::Refused(1000 << 20), Verdict::Held),
            (Kind::Container, Touch::Killed(512 << 20), Verdict::Differs),
            (Kind::Container, Touch::Killed(1100 << 20), Verdict::Differs),
            (Kind::Container, Touch::Never, Verdict::Differs),
            (Kind::Vm, Touch::Killed(900 << 20), Verdict::Held),
            (Kind::Vm, Touch::Killed(500 << 20), Verdict::Differs),
        ];
        for (kind, end, verdict) in cases {
            assert_eq!(judge_memory(asked, kind, end, most).0, verdict, "{kind:?} {end:?}");
        }
    }

    #[test]
    fn a_disk_is_judged_by_where_bytes_land_and_how_fast() {
        let written = |bytes, seconds| Written { bytes, seconds, direct: true };
        let cases = [
            (written(64 << 20, 0.5), Some(64 << 20), Verdict::Held),
            (written(64 << 20, 0.5), Some(1 << 20), Verdict::Differs),
            (written(4 << 20, 4.0), Some(4 << 20), Verdict::Differs),
            (written(64 << 20, 0.5), None, Verdict::Unknown),
        ];
        for (written, landed, verdict) in cases {
            assert_eq!(
                judge_disk(&written, landed, (20e6, 150e6), "vda").0,
                verdict,
                "{written:?} {landed:?}"
            );
        }
        let found = judge_disk(&written(4 << 20, 4.0), Some(4 << 20), (20e6, 150e6), "vda").1;
        assert_eq!(
            found,
            "4 MiB at 1.0 MB/s by O_DIRECT and fdatasync, 4 MiB of them landed on vda; the bare host writes 150.0 MB/s"
        );
    }
}
