//! The same cases in two runs: before and after a change, on one machine and on another.

use std::fmt::Write as _;

use serde_json::{Value, json};

use crate::analysis::{Against, Analysis, Cell, seed};
use crate::quantity::{Scale, probability, ratio};
use crate::read::Results;
use crate::record::Host;
use crate::report::{Table, against_json, differs, plain};

/// In which form.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// Columns for a terminal.
    Text,
    /// A table.
    Markdown,
    /// For programs.
    Json,
}

/// Two runs beside each other.
#[derive(Debug)]
pub struct Comparison {
    /// What makes them differ apart from what is compared.
    pub warnings: Vec<String>,
    /// One for each headline that both have, in the order of the first.
    pub changes: Vec<Change>,
    before: String,
    after: String,
}

/// A headline in both.
#[derive(Debug)]
pub struct Change {
    /// The case's title and name.
    pub case: (String, String),
    /// Environment and size.
    pub environment: String,
    /// The size's name.
    pub size: String,
    /// The metric's title and unit.
    pub metric: (String, String),
    /// Medians before and after.
    pub medians: (f64, f64),
    /// How many repetitions of each.
    pub n: (usize, usize),
    /// After against before.
    pub against: Against,
}

/// Compares two runs. Cases, environments and sizes are the same where their names are.
pub fn compare(before: &Results, after: &Results) -> Comparison {
    let (old, new) = (Analysis::of(before), Analysis::of(after));
    let mut changes = Vec::new();
    let mut only = 0;
    for cell in old.headlines() {
        match new.cell(&cell.case.name, &cell.metric.name, &cell.environment.name, &cell.size.name) {
            Some(other) => changes.extend(change(before, cell, other)),
            None => only += 1,
        }
    }
    let new_only = new
        .headlines()
        .filter(|cell| {
            old.cell(&cell.case.name, &cell.metric.name, &cell.environment.name, &cell.size.name).is_none()
        })
        .count();
    let mut warnings = warnings(before, after);
    let mut left = |count: usize, which: &str| {
        if count > 0 {
            warnings.push(format!("{count} of the figures are in the {which} run alone and are left out"));
        }
    };
    left(only, "first");
    left(new_only, "second");
    Comparison { warnings, changes, before: before.name.clone(), after: after.name.clone() }
}

fn change(before: &Results, cell: &Cell, other: &Cell) -> Option<Change> {
    let names =
        [&cell.case.name, &cell.metric.name, &cell.environment.name, &cell.size.name].map(String::as_str);
    let seed = seed(before.run.seed, &names);
    Some(Change {
        case: (cell.case.title.clone(), cell.case.name.clone()),
        environment: cell.environment.name.clone(),
        size: cell.size.name.clone(),
        metric: (cell.metric.title.clone(), cell.metric.unit.clone()),
        medians: (cell.summary.median, other.summary.median),
        n: (cell.summary.n, other.summary.n),
        against: Against::compare(&other.numbers(), &cell.numbers(), cell.metric.better, seed)?,
    })
}

/// What else is not the same.
fn warnings(before: &Results, after: &Results) -> Vec<String> {
    let (old, new) = (&before.run, &after.run);
    let mut all = Vec::new();
    let mut differ = |what: &str, left: &str, right: &str| {
        if left != right {
            all.push(format!("{what} differs: {left:?} in the first run, {right:?} in the second"));
        }
    };
    for (what, read) in HOST {
        differ(what, &read(&old.host), &read(&new.host));
    }
    differ("the suite", &old.suite, &new.suite);
    differ("the factor of the suite's times", &old.time_scale.to_string(), &new.time_scale.to_string());
    differ("minidocker's version", &old.version, &new.version);
    for environment in &old.environments {
        if let Some(other) = new.environments.iter().find(|other| other.name == environment.name) {
            differ(
                &format!("environment {}", environment.name),
                &environment.description,
                &other.description,
            );
        }
    }
    for size in &old.sizes {
        if let Some(other) = new.sizes.iter().find(|other| other.name == size.name) {
            let words =
                |size: &crate::record::Size| format!("{} bytes, processors: {}", size.memory, size.cpus);
            differ(&format!("size {}", size.name), &words(size), &words(other));
        }
    }
    if old.suite == new.suite && old.suite_text != new.suite_text {
        all.push("the suite has the same name in both runs and another text".to_owned());
    }
    for (which, results) in [("first", before), ("second", after)] {
        for one in &results.parity {
            if differs(results, &one.environment, &one.size) {
                all.push(format!(
                    "in the {which} run {} at {} did not have what was asked",
                    one.environment, one.size
                ));
            }
        }
        let missing = results.missing().len();
        if missing > 0 {
            all.push(format!(
                "the {which} run was stopped: {missing} of {} measurements are missing",
                results.run.order.len()
            ));
        }
    }
    all
}

/// What of a host makes figures differ.
type Fact = (&'static str, fn(&Host) -> String);
const HOST: [Fact; 7] = [
    ("the processor", |host| host.processor.clone()),
    ("the number of processors", |host| host.cpus.to_string()),
    ("the memory", |host| crate::quantity::binary(host.memory)),
    ("the kernel", |host| host.kernel.clone()),
    ("the system", |host| host.system.clone()),
    ("the disk", |host| host.disk.clone()),
    ("the hypervisor", |host| host.hypervisor.clone()),
];

/// Shows a comparison. Warnings are part of Markdown and JSON; of text they are left to the caller.
pub fn render(comparison: &Comparison, format: Format) -> String {
    match format {
        Format::Text if comparison.changes.is_empty() => String::new(),
        Format::Text => table(comparison).columns(),
        Format::Markdown => markdown(comparison),
        Format::Json => json(comparison),
    }
}

fn table(comparison: &Comparison) -> Table {
    let mut table = Table::new(&[
        "case",
        "size",
        "environment",
        "<before",
        "<after",
        "<change",
        "<95 %",
        "<n",
        "<p",
        "difference",
    ]);
    for one in &comparison.changes {
        let scale = Scale::of([one.medians.0, one.medians.1], &one.metric.1);
        let change = |ratio: f64| {
            let percent = (ratio - 1.0) * 100.0;
            let decimals = usize::from(percent.abs() < 99.95);
            let text = format!("{percent:+.decimals$}");
            if text == "-0.0" { "+0.0".to_owned() } else { text }
        };
        let interval = one.against.interval;
        table.row(vec![
            one.case.0.clone(),
            one.size.clone(),
            one.environment.clone(),
            scale.words(one.medians.0),
            scale.words(one.medians.1),
            format!("{} %", change(one.against.ratio)),
            interval.map_or("\u{2013}".to_owned(), |interval| {
                format!("[{}, {}] %", change(interval.low), change(interval.high))
            }),
            format!("{}, {}", one.n.0, one.n.1),
            probability(one.against.test.p),
            one.against.verdict().words().to_owned(),
        ]);
    }
    table
}

fn markdown(comparison: &Comparison) -> String {
    let mut text = format!("# {} against {}\n\n", plain(&comparison.after), plain(&comparison.before));
    for warning in &comparison.warnings {
        let _ = writeln!(text, "- **Read with care:** {}.", plain(warning));
    }
    if !comparison.warnings.is_empty() {
        text.push('\n');
    }
    let table = table(comparison);
    text.push_str(&if table.is_empty() {
        "Both runs have no figure in common.\n".to_owned()
    } else {
        table.text()
    });
    let _ = writeln!(
        text,
        "\nChange of the median with its 95 % bootstrap interval; p by the two-sided Mann-Whitney U test, not corrected for the number of \
         comparisons ({}); real where p < 0.05.",
        comparison.changes.len()
    );
    text
}

fn json(comparison: &Comparison) -> String {
    let changes: Vec<Value> = comparison
        .changes
        .iter()
        .map(|one| {
            json!({
                "case": one.case.1,
                "environment": one.environment,
                "size": one.size,
                "metric": one.metric.0,
                "unit": one.metric.1,
                "before": { "median": one.medians.0, "n": one.n.0 },
                "after": { "median": one.medians.1, "n": one.n.1 },
                "ratio_text": ratio(one.against.ratio),
                "against": against_json(&one.against),
            })
        })
        .collect();
    let value = json!({ "format": 1, "before": comparison.before, "after": comparison.after, "warnings": comparison.warnings, "changes": changes });
    // A value of strings, numbers and lists can always be written.
    serde_json::to_string_pretty(&value).unwrap_or_default() + "\n"
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::analysis::Verdict;
    use crate::fixture;

    #[test]
    fn a_change_is_found_and_the_rest_is_alike() {
        let before = fixture::course();
        let mut after = before.clone();
        for one in after
            .measurements
            .iter_mut()
            .filter(|one| one.slot.case == "start" && one.slot.environment == "container")
        {
            *one.metrics.get_mut("start").unwrap() *= 1.5;
        }
        let comparison = compare(&before, &after);
        assert_eq!(comparison.warnings, [""; 0]);
        assert_eq!(comparison.changes.len(), 18);
        for one in &comparison.changes {
            let is_changed = one.case.1 == "start" && one.environment == "container";
            let verdict = if is_changed { Verdict::Worse } else { Verdict::Alike };
            assert_eq!(one.against.verdict(), verdict, "{one:?}");
            assert!((one.against.ratio - if is_changed { 1.5 } else { 1.0 }).abs() < 1e-9);
        }
        let text = render(&comparison, Format::Text);
        assert_eq!(
            text.lines().filter(|line| line.contains("+50.0 %") && line.ends_with("worse")).count(),
            2
        );
        assert!(render(&comparison, Format::Markdown).contains("| +50.0 %"));
        let value: Value = serde_json::from_str(&render(&comparison, Format::Json)).unwrap();
        assert_eq!(value["changes"].as_array().unwrap().len(), 18);
    }

    #[test]
    fn what_else_differs_is_told() {
        let before = fixture::course();
        let mut after = before.clone();
        after.run.host.processor = "AMD EPYC".to_owned();
        after.run.sizes[0].cpus = 4;
        after.run.suite_text.push('#');
        after.run.environments[2].description = "QEMU 9".to_owned();
        after.measurements.truncate(45);
        after.parity[0].checks[0].verdict = crate::record::Verdict::Differs;
        let all = compare(&before, &after).warnings.join("\n");
        for words in [
            "the processor differs: \"Intel(R) Xeon(R) Processor @ 2.80GHz\" in the first run, \"AMD EPYC\" in the second",
            "size 2g/1cpu differs",
            "another text",
            "environment vm differs",
            "the second run was stopped: 45 of 90 measurements are missing",
            "in the second run native at 2g/1cpu did not have what was asked",
        ] {
            assert!(all.contains(words), "{words} is not in {all}");
        }
        let none = compare(&before, &fixture::empty());
        assert!(
            none.changes.is_empty()
                && none
                    .warnings
                    .iter()
                    .any(|one| one.contains("18 of the figures are in the first run alone"))
        );
        assert!(render(&none, Format::Markdown).contains("no figure in common"));
    }
}
