//! What the engine does inside of the monitor, at the turns of a container's life.

use std::os::fd::{BorrowedFd, OwnedFd};
use std::time::{Duration, Instant, SystemTime};

use cgroup::{Check, Group, Hierarchies};
use monitor::{Exit, Note, Stream};
use runtime::{Plan, Running};
use rustix::event::PollFlags;
use rustix::fs::{CWD, FileType, Mode, OFlags};
use rustix::io::Errno;
use step::{Context, Failure, Steps, Trace};

use crate::health::Watch;
use crate::ops::{UNKNOWN, refusal};
use crate::prepare::{draft, finish};
use crate::request::Restart;
use crate::resolver::Resolver;
use crate::state::{End, Life, Record, Store, millis};
use crate::steps::{Remains, take_all, takedown};
use crate::{Settings, events};

/// Which start this is: it decides what becomes of one that fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Start {
    /// Of a container that `run` makes: nothing stays of it.
    New,
    /// Of one that was there before: it stays, and the record says why it did not start.
    Kept,
    /// By its restart policy: likewise, and the monitor goes on.
    Again,
}

/// The keeper of one container.
#[derive(Debug)]
pub(crate) struct Keeper {
    /// Where everything is.
    pub settings: Settings,
    /// The container.
    pub record: Record,
    /// What became of it so far.
    pub life: Life,
    /// What its root is made of.
    pub source: storage::Source,
    /// Which start this is.
    pub start: Start,
    /// Its limits, to be read back.
    pub checks: Vec<Check>,
    /// What is to be taken down at its end.
    pub remains: Remains,
    /// Its output has named pipes, and so outlives the monitor.
    pub apart: bool,
    /// Its health, while it runs and somebody asked for that.
    pub health: Option<Box<Watch>>,
    /// What answers for names, while it runs.
    pub resolver: Option<Box<Resolver>>,
    /// Where its output goes; made with the first of it.
    log: Option<logs::Writer>,
    /// What is left to take down when everybody was told.
    later: Steps,
    /// What is closed then.
    closing: Vec<OwnedFd>,
    /// The last pause before a start by the restart policy.
    pause: Duration,
    /// Held until this process ends: it says that somebody cares.
    _lock: OwnedFd,
}

/// The first pause before a container is started again, and the longest: each is twice the one before, as in Docker.
const PAUSES: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(60));

/// One that has run for so long begins with the first pause anew.
const STEADY: u64 = 10_000;

impl monitor::Keeper for Keeper {
    fn cloned(&mut self, pid: i32) -> Result<(), Failure> {
        self.store().write_init(&self.record.id, pid)
    }

    fn running(&mut self, running: &mut Running) -> Vec<Note> {
        let mut notes = Vec::new();
        if let Err(failure) = self.store().write_ready(&self.record.id) {
            notes.push((format!("nobody can join it: {failure}"), failure.hint));
        }
        self.resolver = running.resolver.take().and_then(|sockets| {
            let resolver = Resolver::on(sockets, &self.settings, &self.record);
            let told = |errno: &Errno| notes.push((format!("nobody answers for its names: {errno}"), None));
            resolver.inspect_err(told).ok()
        });
        events::volumes(&self.settings, &self.record, "mount");
        self.tell("start", &[]);
        self.health = Watch::begin(&self.store(), &self.record, self.health.take());
        let differs = |failure: Failure| (format!("a limit does not hold: {failure}"), failure.hint);
        let checks = std::mem::take(&mut self.checks);
        notes.extend(checks.iter().filter_map(|check| check.verify().err()).map(differs));
        notes
    }

    fn ended(&mut self, exit: Option<Exit>) -> Vec<Note> {
        if let Some(log) = &mut self.log {
            let now = SystemTime::now();
            [logs::Stream::Stdout, logs::Stream::Stderr].into_iter().for_each(|stream| log.end(stream, now));
        }
        if let Some(health) = &mut self.health {
            health.end(&Store::new(&self.settings), &self.record);
        }
        self.resolver = None;
        self.refresh();
        let memory = self.out_of_memory();
        let end = End { out_of_memory: memory.is_some(), ..End::now(exit.map(Exit::code)) };
        self.tell_end(&end);
        events::volumes(&self.settings, &self.record, "unmount");
        self.life.ended = Some(end);
        let mut notes: Vec<Note> = memory.into_iter().collect();
        let told = |failure: Failure| (failure.to_string(), failure.hint);
        notes.extend(self.store().write_life(&self.record, &self.life, true).err().map(told));
        notes
    }

    fn abandon(&mut self, failure: &Failure, trace: &mut Trace) {
        if self.start == Start::New {
            self.remains.remove = true;
        } else {
            let error = refusal(&self.record.name, failure.clone());
            let end = End { error: Some(error.message.clone()), ..End::now(Some(error.kind.start_code())) };
            self.life.ended = Some(end);
            // There is nobody left to be told that this failed too.
            let _ = self.store().write_life(&self.record, &self.life, true);
        }
        if self.start != Start::Again {
            monitor::Keeper::clean(self, trace);
            monitor::Keeper::finish(self, trace);
        }
    }

    fn clean(&mut self, trace: &mut Trace) {
        if self.store().has_other_networks(&self.record.id) {
            (self.remains.networks, self.remains.no_network) = (None, false);
        }
        let down = takedown(&self.settings, &self.remains);
        self.take(&down.now, trace);
        self.later = down.later;
        if self.remains.remove {
            self.tell("destroy", &[]);
        }
        // Whoever wants the trace wants it whole.
        if trace.is_on() {
            monitor::Keeper::finish(self, trace);
        }
    }

    fn finish(&mut self, trace: &mut Trace) {
        let later = std::mem::take(&mut self.later);
        self.take(&later, trace);
        self.closing.clear();
    }

    fn named_pipes(&mut self) -> Result<Option<[(OwnedFd, OwnedFd); 2]>, Failure> {
        if !self.apart {
            return Ok(None);
        }
        let dir = self.store().run_dir(&self.record.id);
        let pipe = |name: &str| {
            let path = dir.join(name);
            let failed = |errno: Errno| Failure::new("monitor.pipe", path.display().to_string(), errno);
            match rustix::fs::mknodat(CWD, &path, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0) {
                Ok(()) | Err(Errno::EXIST) => {}
                Err(errno) => return Err(failed(errno)),
            }
            let flags = OFlags::CLOEXEC | OFlags::NOFOLLOW;
            let ours = rustix::fs::open(&path, flags | OFlags::RDONLY | OFlags::NONBLOCK, Mode::empty());
            let ours = ours.map_err(failed)?;
            // Open for both, so that it always has a reader: a container is not hit by SIGPIPE between two monitors.
            let theirs = rustix::fs::open(&path, flags | OFlags::RDWR, Mode::empty()).map_err(failed)?;
            Ok((ours, theirs))
        };
        Ok(Some([pipe("stdout")?, pipe("stderr")?]))
    }

    fn printed(&mut self, stream: Stream, bytes: &[u8]) {
        let stream = match stream {
            Stream::Stdout => logs::Stream::Stdout,
            Stream::Stderr => logs::Stream::Stderr,
        };
        if let Some(log) = self.log() {
            log.write(stream, SystemTime::now(), bytes);
        }
    }

    fn child_ended(&mut self) {
        if let Some(log) = &mut self.log {
            log.tend();
        }
        if let Some(health) = &mut self.health {
            health.reap();
        }
    }

    fn due(&self) -> Option<Instant> {
        let health = self.health.as_ref().and_then(|health| health.due());
        let names = self.resolver.as_ref().and_then(|resolver| resolver.due());
        health.into_iter().chain(names).min()
    }

    fn waits_for(&self) -> Option<(BorrowedFd<'_>, PollFlags)> {
        self.health.as_ref()?.waits_for()
    }

    fn names(&self) -> Option<BorrowedFd<'_>> {
        self.resolver.as_ref().and_then(|resolver| resolver.as_fd())
    }

    fn serve_names(&mut self) {
        if let Some(resolver) = &mut self.resolver {
            resolver.serve();
        }
    }

    fn turn(&mut self) -> Option<Vec<u8>> {
        if self.resolver.as_ref().and_then(|resolver| resolver.due()).is_some_and(|due| due <= Instant::now())
        {
            self.serve_names();
        }
        let told = self.health.as_mut()?.turn(&self.settings, &self.record)?;
        if told.is_new {
            self.refresh();
            self.tell(&format!("health_status: {}", told.status.name()), &[]);
        }
        self.health.as_ref()?.write(&self.store(), &self.record);
        serde_json::to_vec(&told).ok()
    }

    fn asked(&mut self) {
        if let Some(health) = &mut self.health {
            health.ask_now();
        }
    }

    fn left_alone(&mut self) {
        // Without the note it ends with its monitor, as it did before.
        let _ = self.store().set_apart(&self.record.id);
    }

    fn resized(&mut self, rows: u16, columns: u16) {
        self.tell("resize", &[("height", &rows.to_string()), ("width", &columns.to_string())]);
    }

    fn halted(&mut self) {
        self.life.by_user = true;
        if self.life.again.take().is_some() {
            let _ = self.store().write_life(&self.record, &self.life, true);
        }
    }

    fn again(&mut self) -> Option<Duration> {
        let end = self.life.ended.as_ref()?;
        if !wants_again(self.record.request.restart, &self.life) {
            return None;
        }
        let (first, longest) = PAUSES;
        let steady = end.at.saturating_sub(self.life.started) >= STEADY;
        self.pause = if steady || self.pause.is_zero() { first } else { (self.pause * 2).min(longest) };
        self.life.again = Some(end.at + self.pause.as_millis() as u64);
        let _ = self.store().write_life(&self.record, &self.life, false);
        Some(self.pause)
    }

    fn renew(&mut self, trace: &mut Trace) -> Result<Plan, Failure> {
        self.start = Start::Again;
        self.life.restarts += 1;
        self.life.again = None;
        let store = self.store();
        if store.has_other_networks(&self.record.id) {
            (self.remains.networks, self.remains.no_network) = (None, false);
        }
        take_all(&self.remains.between_lives(), |step| trace.perform(step, &mut Context::default()))?;
        // A policy can change while the container runs.
        if let Ok(Some(record)) = store.record(&self.record.id) {
            self.record = record;
        }
        let (id, request) = (&self.record.id, &self.record.request);
        let because = |error: crate::Error| Failure::because("monitor.again", "", error.message);
        let draft = draft(&self.settings, &store, request, &self.source, id).map_err(because)?;
        let places = self.record.networks.clone();
        let prepared = finish(&store, request, id, draft, places).map_err(because)?;
        trace.perform_all(&prepared.prepare, &mut Context::default())?;
        self.checks = prepared.checks;
        self.life.started = millis(SystemTime::now());
        self.life.ended = None;
        store.write_life(&self.record, &self.life, false)?;
        Ok(prepared.plan)
    }
}

/// Whether a container that has ended is started again.
pub(crate) fn wants_again(restart: Restart, life: &Life) -> bool {
    let failed = life.ended.as_ref().is_some_and(|end| end.code != Some(0));
    !life.by_user
        && match restart {
            Restart::No => false,
            Restart::OnFailure(most) => failed && most.is_none_or(|most| life.restarts < most),
            Restart::Always | Restart::UnlessStopped => true,
        }
}

impl Keeper {
    /// The keeper of a container that is started next.
    pub(crate) fn new(
        settings: &Settings,
        record: Record,
        source: storage::Source,
        remains: Remains,
        lock: OwnedFd,
    ) -> Self {
        let life = Life { starts: 1, started: millis(SystemTime::now()), ..Life::default() };
        Self {
            settings: settings.clone(),
            record,
            life,
            source,
            start: Start::New,
            checks: Vec::new(),
            remains,
            apart: false,
            health: None,
            resolver: None,
            log: None,
            later: Steps::new(),
            closing: Vec::new(),
            pause: Duration::ZERO,
            _lock: lock,
        }
    }

    fn store(&self) -> Store {
        Store::new(&self.settings)
    }

    /// Its log, opened when there is something to write. One that cannot be opened is tried again with what comes next.
    fn log(&mut self) -> Option<&mut logs::Writer> {
        let settings = &self.record.request.log;
        if self.log.is_none() && settings.driver != logs::Driver::None {
            let dir = self.store().log_dir(&self.record.id);
            self.log = logs::Writer::open(&dir, settings, &origin(&self.record)).ok();
        }
        self.log.as_mut()
    }

    fn tell(&self, action: &str, more: &[(&str, &str)]) {
        events::container(&self.settings, &self.record, action, more);
    }

    fn tell_end(&self, end: &End) {
        if end.out_of_memory {
            self.tell("oom", &[]);
        }
        let code = end.code.unwrap_or(UNKNOWN).to_string();
        let seconds = end.at.saturating_sub(self.life.started) / 1000;
        self.tell("die", &[("execDuration", &seconds.to_string()), ("exitCode", &code)]);
    }

    /// Its name, its limits and its policy can change while it runs.
    fn refresh(&mut self) {
        // With --rm nothing but its name is asked for at the end, which one call tells.
        let store = self.store();
        if self.record.passing && store.has_name(&self.record.name, &self.record.id) {
            return;
        }
        if let Ok(Some(record)) = store.record(&self.record.id) {
            self.record = record;
        }
    }

    /// What stays behind is found by the next command, which will tell what is in the way.
    fn take(&mut self, steps: &Steps, trace: &mut Trace) {
        let mut context = Context::default();
        let _ = take_all(steps, |step| trace.perform(step, &mut context));
        self.closing.append(&mut context.closing);
    }

    /// The words for a container that ran out of memory: limit, peak, who was killed. One file is read where nothing
    /// of the kind happened, and none where there was no limit.
    fn out_of_memory(&self) -> Option<Note> {
        let limit = self.record.request.resources.memory?;
        let group = Group::open(&Hierarchies::probe().ok()?, &self.record.group).ok()?;
        let kills = group.oom_kills().filter(|kills| *kills > 0)?;
        let peak = group.usage().memory_peak;
        let victims = cgroup::oom::victims(&self.record.group, kills);
        let mut who: Vec<String> =
            victims.iter().map(|victim| format!("{} (pid {})", victim.name, victim.pid)).collect();
        who.dedup();
        let who = if who.is_empty() { "a process".to_owned() } else { who.join(", ") };
        let peak = peak.map_or(String::new(), |peak| format!(", peak {}", size(peak)));
        let suggestion = limit.saturating_mul(2);
        Some((
            format!("out of memory: limit {}{peak}, killed {who}", size(limit)),
            Some(format!("if it needs more, raise the limit: --memory {}", flag(suggestion))),
        ))
    }
}

/// Whose output it is.
fn origin(record: &Record) -> logs::Origin {
    let request = &record.request;
    let variable = |(name, value): &(String, Option<String>)| Some(format!("{name}={}", value.as_ref()?));
    logs::Origin {
        id: record.id.clone(),
        name: record.name.clone(),
        image: request.image.to_string(),
        image_id: record.origin.as_ref().map(|origin| origin.id.to_string()).unwrap_or_default(),
        labels: request.labels.clone(),
        env: request.process.env.iter().filter_map(variable).collect(),
    }
}

/// Bytes as people read them.
fn size(bytes: u64) -> String {
    const UNITS: [&str; 5] = ["B", "KiB", "MiB", "GiB", "TiB"];
    let mut value = bytes as f64;
    let mut unit = 0;
    while value >= 1024.0 && unit + 1 < UNITS.len() {
        value /= 1024.0;
        unit += 1;
    }
    if value.fract() < 0.05 {
        format!("{value:.0} {}", UNITS[unit])
    } else {
        format!("{value:.1} {}", UNITS[unit])
    }
}

/// Bytes as --memory takes them.
fn flag(bytes: u64) -> String {
    let units = [("g", 1_u64 << 30), ("m", 1 << 20), ("k", 1 << 10)];
    match units.iter().find(|(_, unit)| bytes >= *unit && bytes.is_multiple_of(*unit)) {
        Some((name, unit)) => format!("{}{name}", bytes / unit),
        None => bytes.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_readable() {
        assert_eq!((size(10 << 20), flag(10 << 20)), ("10 MiB".into(), "10m".into()));
        assert_eq!((size(1536), flag(1536)), ("1.5 KiB".into(), "1536".into()));
        assert_eq!(size(0), "0 B");
    }
}
