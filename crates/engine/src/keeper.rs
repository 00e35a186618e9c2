//! What the engine does inside of the monitor, at the turns of a container's life.

use std::os::fd::OwnedFd;

use cgroup::{Check, Group, Hierarchies};
use monitor::{Exit, Note};
use runtime::Running;
use step::{Context, Failure, Steps, Trace};

use crate::Settings;
use crate::state::{ExitRecord, Record, Store};
use crate::steps::{Remains, take_all, takedown};

/// The keeper of one container.
#[derive(Debug)]
pub(crate) struct Keeper {
    /// Where everything is.
    pub settings: Settings,
    /// The container.
    pub record: Record,
    /// Its limits, to be read back.
    pub checks: Vec<Check>,
    /// What is to be taken down at its end.
    pub remains: Remains,
    /// What is left to take down when everybody was told.
    pub(crate) later: Steps,
    /// Held until this process ends: it says that somebody cares.
    pub _lock: OwnedFd,
}

impl monitor::Keeper for Keeper {
    fn cloned(&mut self, pid: i32) -> Result<(), Failure> {
        Store::new(&self.settings).write_init(&self.record.id, pid)
    }

    fn running(&mut self, _: &Running) -> Vec<Note> {
        let differs = |failure: Failure| (format!("a limit does not hold: {failure}"), failure.hint);
        let checks = std::mem::take(&mut self.checks);
        checks.iter().filter_map(|check| check.verify().err()).map(differs).collect()
    }

    fn ended(&mut self, exit: Exit) -> Vec<Note> {
        let store = Store::new(&self.settings);
        let mut notes: Vec<Note> = self.out_of_memory().into_iter().collect();
        let told = |failure: Failure| (failure.to_string(), failure.hint);
        notes.extend(store.write_exit(&self.record, ExitRecord::now(Some(exit.code()))).err().map(told));
        notes
    }

    fn abandon(&mut self, trace: &mut Trace) {
        self.remains.remove = true;
        self.clean(trace);
        self.finish(trace);
    }

    fn clean(&mut self, trace: &mut Trace) {
        let down = takedown(&self.settings, &self.remains);
        self.take(&down.now, trace);
        self.later = down.later;
        // Whoever wants the trace wants it whole.
        if trace.is_on() {
            self.finish(trace);
        }
    }

    fn finish(&mut self, trace: &mut Trace) {
        let later = std::mem::take(&mut self.later);
        self.take(&later, trace);
    }
}

impl Keeper {
    /// What stays behind is found by the next command, which will tell what is in the way.
    fn take(&self, steps: &Steps, trace: &mut Trace) {
        let mut context = Context::default();
        let _ = take_all(steps, |step| trace.perform(step, &mut context));
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
