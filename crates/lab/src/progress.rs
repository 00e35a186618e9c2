//! How far a run is: one line that is drawn anew on a terminal, a line for each event elsewhere. The estimate is made of
//! what was measured so far.

use std::collections::BTreeMap;
use std::io::{IsTerminal as _, Write as _};

use crate::record::{Parity, Slot, Verdict};

/// Tells of a run on standard error.
#[derive(Debug)]
pub struct Progress {
    terminal: bool,
    total: usize,
    /// Seconds that measurements took, by case and environment: sum and number.
    took: BTreeMap<(String, String), (f64, u32)>,
    /// What each case is expected to take where nothing is known yet.
    guess: BTreeMap<String, f64>,
}

impl Progress {
    /// For standard error as it is.
    pub fn new() -> Self {
        Self {
            terminal: std::io::stderr().is_terminal(),
            total: 0,
            took: BTreeMap::new(),
            guess: BTreeMap::new(),
        }
    }

    pub(crate) fn begin(&mut self, total: usize, guess: BTreeMap<String, f64>) {
        self.total = total;
        self.guess = guess;
    }

    /// Something is being done before the first measurement.
    pub(crate) fn doing(&self, what: &str) {
        if self.terminal {
            self.draw(what);
        } else {
            self.line(what);
        }
    }

    /// An environment was tested.
    pub(crate) fn parity(&self, parity: &Parity) {
        let words = parity.checks.iter().map(|check| {
            let verdict = match check.verdict {
                Verdict::Held => "held",
                Verdict::Differs => "DIFFERS",
                Verdict::Unknown => "unknown",
            };
            format!("{} {verdict}", check.what)
        });
        let words: Vec<String> = words.collect();
        self.line(&format!("{} {}: {}", parity.environment, parity.size, words.join(", ")));
        for check in parity.checks.iter().filter(|check| check.verdict != Verdict::Held) {
            self.line(&format!("  {}: asked for {}, found {}", check.what, check.asked, check.found));
        }
    }

    /// A measurement begins; `rest` are those that are not made yet, this one first.
    pub(crate) fn measuring(&self, slot: &Slot, rest: &[&Slot]) {
        let done = self.total - rest.len();
        let left: f64 = rest.iter().map(|slot| self.expected(slot)).sum();
        let what = format!(
            "{} of {}  {} {}  {}  about {} left",
            done + 1,
            self.total,
            slot.environment,
            slot.size,
            slot.case,
            duration(left)
        );
        if self.terminal {
            self.draw(&what);
        } else {
            self.line(&what);
        }
    }

    /// It has ended.
    pub(crate) fn measured(&mut self, slot: &Slot, seconds: f64, problem: &str) {
        let entry = self.took.entry((slot.case.clone(), slot.environment.clone())).or_default();
        *entry = (entry.0 + seconds, entry.1 + 1);
        if !problem.is_empty() {
            self.line(&format!("{} {} {} failed: {problem}", slot.environment, slot.size, slot.case));
        }
    }

    /// The line is done with.
    pub(crate) fn end(&self) {
        if self.terminal {
            self.write("\r\x1b[2K");
        }
    }

    /// Seconds that a measurement will take: as the same did before, as the case did elsewhere, as its suite says.
    fn expected(&self, slot: &Slot) -> f64 {
        let mean = |(sum, number): (f64, u32)| sum / f64::from(number.max(1));
        if let Some(known) = self.took.get(&(slot.case.clone(), slot.environment.clone())) {
            return mean(*known);
        }
        let elsewhere = self.took.iter().filter(|((case, _), _)| *case == slot.case).map(|(_, took)| *took);
        let all = elsewhere.reduce(|one, other| (one.0 + other.0, one.1 + other.1));
        all.map(mean).unwrap_or_else(|| self.guess.get(&slot.case).copied().unwrap_or(10.0))
    }

    fn line(&self, text: &str) {
        let clean: String = text.chars().filter(|c| !c.is_control()).collect();
        self.write(&if self.terminal { format!("\r\x1b[2K{clean}\n") } else { format!("{clean}\n") });
    }

    /// One line, cut to the terminal: a line that wraps cannot be drawn over.
    fn draw(&self, text: &str) {
        let width =
            rustix::termios::tcgetwinsize(std::io::stderr()).map_or(80, |size| usize::from(size.ws_col));
        let clean: String = text.chars().filter(|c| !c.is_control()).take(width.max(20) - 1).collect();
        self.write(&format!("\r\x1b[2K{clean}"));
    }

    fn write(&self, text: &str) {
        // Whoever reads it no longer wants no more.
        let _ = std::io::stderr().lock().write_all(text.as_bytes());
    }
}

impl Default for Progress {
    fn default() -> Self {
        Self::new()
    }
}

/// `1 h 5 min`, `12 min`, `40 s`.
fn duration(seconds: f64) -> String {
    let whole = seconds.max(0.0).round() as u64;
    match whole {
        0..=99 => format!("{whole} s"),
        100..=5999 => format!("{} min", whole.div_ceil(60)),
        _ => format!("{} h {} min", whole / 3600, whole % 3600 / 60),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn slot(environment: &str, case: &str) -> Slot {
        Slot {
            number: 1,
            environment: environment.to_owned(),
            size: "1g/1cpu".to_owned(),
            case: case.to_owned(),
            repetition: 1,
        }
    }

    #[test]
    fn time_left_is_learned() {
        let mut progress =
            Progress { terminal: false, total: 4, took: BTreeMap::new(), guess: BTreeMap::new() };
        progress.begin(4, [("a".to_owned(), 40.0)].into());
        assert_eq!(progress.expected(&slot("vm", "a")), 40.0);
        progress.measured(&slot("native", "a"), 30.0, "");
        assert_eq!(progress.expected(&slot("vm", "a")), 30.0);
        progress.measured(&slot("vm", "a"), 60.0, "");
        progress.measured(&slot("vm", "a"), 70.0, "");
        assert_eq!(progress.expected(&slot("vm", "a")), 65.0);
        assert_eq!(progress.expected(&slot("vm", "b")), 10.0);
        assert_eq!(
            ["99", "120", "7260"].map(|text| duration(text.parse().unwrap())),
            ["99 s", "2 min", "2 h 1 min"]
        );
    }
}
