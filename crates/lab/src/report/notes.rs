//! The first lines of a report: what a reader must know before any figure. What spoils the run comes first.

use crate::analysis::Analysis;
use crate::quantity::probability;
use crate::read::{Results, is_emulated};
use crate::record::Verdict;
use crate::statistics::{SIGNIFICANT, smallest_p};

/// How much it matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Weight {
    /// The figures, or some of them, must not be used.
    Spoils,
    /// They are to be read with care.
    Care,
    /// As it should be.
    Good,
}

impl Weight {
    /// The word before the line.
    pub(crate) fn word(self) -> &'static str {
        match self {
            Weight::Spoils => "Not comparable",
            Weight::Care => "Read with care",
            Weight::Good => "Checked",
        }
    }
}

/// One line.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Note {
    pub(crate) weight: Weight,
    pub(crate) text: String,
}

/// All lines, the heaviest first.
pub(crate) fn notes(analysis: &Analysis) -> Vec<Note> {
    let results = analysis.results;
    let mut all = Vec::new();
    differing(results, &mut all);
    complete(results, &mut all);
    emulated(results, &mut all);
    repetitions(analysis, &mut all);
    let mut care = |text: String| all.push(Note { weight: Weight::Care, text });
    if results.run.time_scale != 1.0 {
        let scale = results.run.time_scale;
        care(format!(
            "The suite\u{2019}s times were multiplied by {scale}: runs this long need not settle as those of full length do."
        ));
    }
    for finding in &results.run.findings {
        let remedy =
            if finding.remedy.is_empty() { String::new() } else { format!(" (remedy: {})", finding.remedy) };
        care(format!("Found before the run: {}{remedy}.", finding.what.trim_end_matches('.')));
    }
    unknown(results, &mut all);
    all.sort_by_key(|note| match note.weight {
        Weight::Spoils => 0,
        Weight::Care => 1,
        Weight::Good => 2,
    });
    all
}

/// What could not be told, one line for each thing that was tested.
fn unknown(results: &Results, all: &mut Vec<Note>) {
    let mut places: Vec<(&str, Vec<String>)> = Vec::new();
    for parity in &results.parity {
        for check in parity.checks.iter().filter(|check| check.verdict == Verdict::Unknown) {
            let place =
                format!("{} at {} ({})", parity.environment, parity.size, check.found.trim_end_matches('.'));
            match places.iter_mut().find(|(what, _)| *what == check.what) {
                Some((_, known)) => known.push(place),
                None => places.push((&check.what, vec![place])),
            }
        }
    }
    for (what, places) in places {
        let text = format!("Whether this is as asked could not be told, {what}: {}.", places.join("; "));
        all.push(Note { weight: Weight::Care, text });
    }
}

/// Whether an environment of a size was found to have something else than was asked.
pub(crate) fn differs(results: &Results, environment: &str, size: &str) -> bool {
    let mut all = results.parity.iter().filter(|one| one.environment == environment && one.size == size);
    all.any(|one| !one.holds())
}

fn differing(results: &Results, all: &mut Vec<Note>) {
    for parity in results.parity.iter().filter(|parity| !parity.holds()) {
        for check in parity.checks.iter().filter(|check| check.verdict == Verdict::Differs) {
            all.push(Note {
                weight: Weight::Spoils,
                text: format!(
                    "{} at {} does not have what was asked: {}: asked for {}, found {}. Its figures are marked \u{2020} and must not be \
                     compared.",
                    parity.environment, parity.size, check.what, check.asked, check.found.trim_end_matches('.')
                ),
            });
        }
    }
    let checks: Vec<Verdict> =
        results.parity.iter().flat_map(|one| &one.checks).map(|check| check.verdict).collect();
    let held = checks.iter().filter(|verdict| **verdict == Verdict::Held).count();
    let measured = |parity: &str, size: &str| {
        results
            .parity
            .iter()
            .any(|one| one.environment == parity && one.size == size && !one.checks.is_empty())
    };
    let mut untested: Vec<String> = Vec::new();
    for one in &results.measurements {
        let place = format!("{} at {}", one.slot.environment, one.slot.size);
        if !measured(&one.slot.environment, &one.slot.size) && !untested.contains(&place) {
            untested.push(place);
        }
    }
    if !untested.is_empty() {
        let text = format!("Whether these have what was asked was not tested: {}.", untested.join(", "));
        all.push(Note { weight: Weight::Care, text });
    }
    if !checks.is_empty() && held == checks.len() {
        let text = format!(
            "Every environment had what was asked: all {held} checks of {} environments and sizes held.",
            results.parity.len()
        );
        all.push(Note { weight: Weight::Good, text });
    }
}

fn complete(results: &Results, all: &mut Vec<Note>) {
    let (asked, missing) = (results.run.order.len(), results.missing().len());
    let failed: Vec<String> = results
        .failed()
        .map(|one| {
            let slot = &one.slot;
            let why = if one.problem.is_empty() {
                format!("exit code {}", one.exit_code)
            } else {
                one.problem.clone()
            };
            format!("{:05} ({} in {} at {}: {why})", slot.number, slot.case, slot.environment, slot.size)
        })
        .collect();
    if missing > 0 {
        let text = format!("The run was stopped: {} of {asked} measurements are there.", asked - missing);
        all.push(Note { weight: Weight::Care, text });
    }
    if !failed.is_empty() {
        let shown = failed.iter().take(3).cloned().collect::<Vec<_>>().join("; ");
        let more = if failed.len() > 3 { "; \u{2026}" } else { "" };
        let text = format!(
            "{} of {} measurements failed and have no figures: {shown}{more}.",
            failed.len(),
            asked - missing
        );
        all.push(Note { weight: Weight::Care, text });
    }
    if missing == 0 && failed.is_empty() && asked > 0 {
        all.push(Note {
            weight: Weight::Good,
            text: format!("All {asked} measurements are there, and none failed."),
        });
    }
}

fn emulated(results: &Results, all: &mut Vec<Note>) {
    let measured = |name: &str| results.measurements.iter().any(|one| one.slot.environment == name);
    for environment in results.run.environments.iter().filter(|one| is_emulated(one) && measured(&one.name)) {
        all.push(Note {
            weight: Weight::Care,
            text: format!(
                "{} ran without KVM: its processor was emulated (TCG). Its figures tell of emulation, not of virtual machines as they \
                 are used.",
                environment.name
            ),
        });
    }
}

fn repetitions(analysis: &Analysis, all: &mut Vec<Note>) {
    let Some((least, _)) = analysis.repetitions() else {
        let text = "Nothing was measured: there are no figures.".to_owned();
        all.push(Note { weight: Weight::Care, text });
        return;
    };
    let p = smallest_p(least, least);
    let text = match least {
        1 => "Some figures stand on one measurement: it has no interval, and no difference can be shown."
            .to_owned(),
        _ if p >= SIGNIFICANT => format!(
            "Some figures stand on {least} repetitions: the smallest p that they can give is {}, so no difference can be shown.",
            probability(p)
        ),
        _ => return,
    };
    all.push(Note { weight: Weight::Care, text });
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixture;

    fn texts(results: &Results) -> Vec<(Weight, String)> {
        notes(&Analysis::of(results)).into_iter().map(|note| (note.weight, note.text)).collect()
    }

    #[test]
    fn what_differs_comes_first() {
        let mut results = fixture::course();
        let check = &mut results.parity[4].checks[0];
        (check.verdict, check.found) = (Verdict::Differs, "2.00 processors busy".to_owned());
        let all = texts(&results);
        assert_eq!(all[0].0, Weight::Spoils);
        assert!(
            all[0].1.contains(
                "vm at 2g/1cpu does not have what was asked: processors: asked for 1 processors, found 2.00"
            ),
            "{}",
            all[0].1
        );
        assert!(!all.iter().any(|(_, text)| text.contains("Every environment had")));
        assert!(differs(&results, "vm", "2g/1cpu") && !differs(&results, "vm", "2g/2cpu"));
    }

    #[test]
    fn a_whole_run_says_so_and_a_stopped_one_too() {
        let mut results = fixture::course();
        let all = texts(&results);
        assert!(all.contains(&(Weight::Good, "All 90 measurements are there, and none failed.".to_owned())));
        assert!(all.iter().any(|(_, text)| text.contains("all 12 checks of 6 environments and sizes held")));
        assert!(all.iter().any(|(_, text)| text.contains("emulated (TCG)")));
        results.measurements.truncate(37);
        results.measurements[3].exit_code = 1;
        results.measurements[3].problem = "no space left".to_owned();
        let all = texts(&results);
        assert!(
            all.contains(&(Weight::Care, "The run was stopped: 37 of 90 measurements are there.".to_owned()))
        );
        assert!(all.iter().any(
            |(_, text)| text.starts_with("1 of 37 measurements failed") && text.contains("no space left")
        ));
    }

    #[test]
    fn what_could_not_be_told_is_one_line_for_each_thing() {
        let mut results = fixture::course();
        for parity in &mut results.parity[..2] {
            parity.checks[1].verdict = Verdict::Unknown;
        }
        let all = texts(&results);
        let line = "Whether this is as asked could not be told, memory: native at 2g/1cpu (stopped at 2.00 GiB); native at \
                    2g/2cpu (stopped at 2.00 GiB).";
        assert!(all.contains(&(Weight::Care, line.to_owned())), "{all:?}");
    }

    #[test]
    fn few_repetitions_are_told() {
        assert!(
            texts(&fixture::repeated(1))
                .iter()
                .any(|(_, text)| text.contains("one measurement: it has no interval"))
        );
        assert!(
            texts(&fixture::repeated(3))
                .iter()
                .any(|(_, text)| text.contains("3 repetitions: the smallest p that they can give is 0.10"))
        );
        assert!(!texts(&fixture::course()).iter().any(|(_, text)| text.contains("repetitions:")));
        assert!(texts(&fixture::empty()).iter().any(|(_, text)| text.contains("Nothing was measured")));
    }
}
