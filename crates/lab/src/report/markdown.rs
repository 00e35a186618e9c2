//! The report as Markdown: tables whose columns line up, so that a terminal shows them as well as a browser.

use std::fmt::Write as _;

use super::notes::{self, notes};
use super::table::{Table, plain};
use super::{csv, method, shell};
use crate::analysis::{Analysis, Cell};
use crate::explain::{explain, steps};
use crate::quantity::{Scale, binary, moment, percent, probability, ratio, words};
use crate::record::{Case, Size, Verdict};
use crate::statistics::median;

pub(super) fn render(analysis: &Analysis) -> String {
    let results = analysis.results;
    let run = &results.run;
    let names: Vec<&str> = run.environments.iter().map(|one| one.name.as_str()).collect();
    let mut text = format!("# {}: {}\n\n", plain(&run.suite), plain(&names.join(", ")));
    for note in notes(analysis) {
        let _ = writeln!(text, "- **{}:** {}", note.weight.word(), plain(&note.text));
    }
    let _ = writeln!(
        text,
        "\nSuite {}, {}, minidocker {}, on {} with {}.",
        plain(&run.suite),
        moment(run.started),
        plain(&run.version),
        plain(&run.host.processor),
        plain(&run.host.kernel)
    );
    text.push_str("\n## Summary\n\n");
    text.push_str(&summary(analysis));
    let all = explain(analysis);
    if !all.is_empty() {
        text.push_str("\n### What the figures say\n\n");
        for one in &all {
            let _ = writeln!(text, "- {}", plain(&one.text));
        }
    }
    text.push_str("\n## What each environment really had\n\n");
    text.push_str(&parity(analysis));
    for group in analysis.groups() {
        let _ = writeln!(text, "\n## {}", plain(group));
        for one in run.cases.iter().filter(|case| case.group == group) {
            case(&mut text, analysis, one);
        }
    }
    text.push_str("\n## Setup\n\n");
    setup(&mut text, analysis);
    text.push_str("\n## Method\n");
    for paragraph in method(analysis) {
        let _ = writeln!(text, "\n{paragraph}");
    }
    let _ = writeln!(text, "\n## To repeat it\n\n{}", block(&shell(&run.command)));
    let _ = writeln!(text, "The suite, whole:\n\n{}", block(&run.suite_text));
    text
}

fn summary(analysis: &Analysis) -> String {
    let results = analysis.results;
    let base = results.baseline().map_or("", |base| base.name.as_str());
    let mut table = Table::new(&[
        "case",
        "size",
        "environment",
        &format!("<{base}"),
        "<median",
        "<ratio",
        "<95 %",
        "<p",
        "difference",
    ]);
    for cell in analysis.headlines() {
        let (Some(against), Some(base)) =
            (cell.against, analysis.cell(&cell.case.name, &cell.metric.name, base, &cell.size.name))
        else {
            continue;
        };
        let interval = against
            .interval
            .map_or("\u{2013}".to_owned(), |one| format!("[{}, {}]", ratio(one.low), ratio(one.high)));
        table.row(vec![
            cell.case.title.clone(),
            cell.size.name.clone(),
            marked(analysis, cell),
            words(base.summary.median, &cell.metric.unit),
            words(cell.summary.median, &cell.metric.unit),
            ratio(against.ratio),
            interval,
            probability(against.test.p),
            against.verdict().words().to_owned(),
        ]);
    }
    if table.is_empty() {
        "Nothing was measured in two environments alike, so there is nothing to compare.\n".to_owned()
    } else {
        table.text()
    }
}

fn marked(analysis: &Analysis, cell: &Cell) -> String {
    let mark = if notes::differs(analysis.results, &cell.environment.name, &cell.size.name) {
        " \u{2020}"
    } else {
        ""
    };
    format!("{}{mark}", cell.environment.name)
}

fn parity(analysis: &Analysis) -> String {
    let mut table = Table::new(&["environment", "size", "what", "asked", "found", "verdict"]);
    for one in &analysis.results.parity {
        for check in &one.checks {
            let verdict = match check.verdict {
                Verdict::Held => "held",
                Verdict::Differs => "DIFFERS",
                Verdict::Unknown => "cannot be told",
            };
            table.row(
                [&one.environment, &one.size, &check.what, &check.asked, &check.found]
                    .map(String::clone)
                    .into_iter()
                    .chain([verdict.to_owned()])
                    .collect(),
            );
        }
    }
    if table.is_empty() { "Not tested.\n".to_owned() } else { table.text() }
}

fn case(text: &mut String, analysis: &Analysis, case: &Case) {
    let results = analysis.results;
    let _ = writeln!(text, "\n### {}\n\n{}", plain(&case.title), plain(&case.about));
    for size in &results.run.sizes {
        let figures = figures(analysis, case, size);
        let _ = write!(text, "\n#### {}\n\n", plain(&size.name));
        if figures.is_empty() {
            text.push_str("Not measured.\n");
            continue;
        }
        text.push_str(&figures.text());
        costs(text, analysis, case, &size.name);
        let ways = ways(analysis, case, size);
        if !ways.is_empty() {
            let _ = write!(text, "\nSteps on the way to the first command, medians:\n\n{}", ways.text());
        }
    }
    let others = published(analysis, case);
    if !others.is_empty() {
        let heading = "Published by others; machines differ, so compare the ratios:";
        let _ = write!(text, "\n{heading}\n\n{}", others.text());
    }
}

/// All figures of a case at a size.
fn figures(analysis: &Analysis, case: &Case, size: &Size) -> Table {
    let results = analysis.results;
    let mut table = Table::new(&[
        "metric",
        "environment",
        "<n",
        "<mean",
        "<deviation",
        "<median",
        "<95 %",
        "<min",
        "<max",
        "<ratio",
        "outliers",
    ]);
    for metric in &case.metrics {
        let cells: Vec<&Cell> = results
            .run
            .environments
            .iter()
            .filter_map(|one| analysis.cell(&case.name, &metric.name, &one.name, &size.name))
            .collect();
        let scale = Scale::of(cells.iter().map(|cell| cell.summary.median), &metric.unit)
            .finer(cells.iter().filter_map(|cell| cell.summary.deviation));
        for cell in cells {
            let summary = &cell.summary;
            let none = || "\u{2013}".to_owned();
            let outliers: Vec<String> =
                cell.outliers().iter().map(|one| format!("{:05}", one.number)).collect();
            table.row(vec![
                if scale.unit.is_empty() {
                    metric.title.clone()
                } else {
                    format!("{} ({})", metric.title, scale.unit)
                },
                marked(analysis, cell),
                summary.n.to_string(),
                scale.number(summary.mean),
                summary.deviation.map_or_else(none, |one| scale.number(one)),
                scale.number(summary.median),
                summary.interval.map_or_else(none, |one| {
                    format!("[{}, {}]", scale.number(one.low), scale.number(one.high))
                }),
                scale.number(summary.min),
                scale.number(summary.max),
                cell.against.map_or_else(none, |one| ratio(one.ratio)),
                outliers.join(" "),
            ]);
        }
    }
    table
}

/// The steps of starts.
fn ways(analysis: &Analysis, case: &Case, size: &Size) -> Table {
    let results = analysis.results;
    let mut ways = Table::new(&["environment", "step", "<time", "<share"]);
    for environment in &results.run.environments {
        let steps = steps(results, case, environment, size);
        let total: f64 = steps.iter().map(|(_, time)| time).sum();
        for (name, time) in steps {
            ways.row(vec![
                environment.name.clone(),
                name,
                words(time, "s"),
                percent(if total > 0.0 { time / total } else { 0.0 }),
            ]);
        }
    }
    ways
}

/// Figures of others beside ours.
fn published(analysis: &Analysis, case: &Case) -> Table {
    let mut others =
        Table::new(&["published", "by", "size", "<theirs", "<ratio", "ours", "<median", "<ratio"]);
    for row in super::published::rows(analysis, case) {
        let base = row.base.map_or(String::new(), |base| format!(" \u{d7} {base}"));
        let theirs = format!("{}{base}", row.ratio());
        let start = [
            format!("{}: {}", row.published.environment, row.title),
            row.published.source.clone(),
            row.published.size.clone(),
            row.theirs(),
            theirs,
        ];
        if row.ours.is_empty() {
            others.row(
                start
                    .iter()
                    .cloned()
                    .chain(["not measured".to_owned(), String::new(), String::new()])
                    .collect(),
            );
        }
        for ours in &row.ours {
            let own = [
                format!("{} at {}", ours.environment, ours.size),
                words(ours.median, row.unit),
                ours.ratio.map_or("\u{2013}".to_owned(), ratio),
            ];
            others.row(start.iter().cloned().chain(own).collect());
        }
    }
    others
}

fn costs(text: &mut String, analysis: &Analysis, case: &Case, size: &str) {
    let results = analysis.results;
    let mut table = Table::new(&[
        "environment",
        "<wall",
        "<user",
        "<kernel",
        "<guest",
        "<throttled",
        "<stolen",
        "<memory",
        "<device read",
        "<device wrote",
    ]);
    for environment in &results.run.environments {
        let all: Vec<_> = results
            .of(&case.name, &environment.name, size)
            .into_iter()
            .filter(|one| !one.metrics.is_empty())
            .flat_map(csv::costs)
            .collect();
        let of = |name: &str| {
            let values: Vec<f64> = all.iter().filter(|cost| cost.0 == name).map(|cost| cost.2).collect();
            let unit = if name.contains('_') { "B" } else { "s" };
            median(&values).map_or("\u{2013}".to_owned(), |value| words(value, unit))
        };
        if !all.is_empty() {
            let names = [
                "wall",
                "user",
                "system",
                "guest",
                "throttled",
                "steal",
                "memory_peak",
                "disk_read",
                "disk_written",
            ];
            table.row(std::iter::once(environment.name.clone()).chain(names.map(of)).collect());
        }
    }
    if !table.is_empty() {
        let _ = write!(text, "\nBy the host's accounting, medians:\n\n{}", table.text());
    }
    let commands: Vec<String> = results
        .run
        .environments
        .iter()
        .filter_map(|one| {
            Some(format!(
                "# {}\n{}\n",
                one.name,
                shell(&results.of(&case.name, &one.name, size).first()?.command)
            ))
        })
        .collect();
    let _ = write!(text, "\n{}", block(&commands.concat()));
}

fn setup(text: &mut String, analysis: &Analysis) {
    let run = &analysis.results.run;
    let host = &run.host;
    let mut line = |key: &str, value: &str| {
        let _ = writeln!(text, "- {}: {}", plain(key), plain(value));
    };
    line("processors", &format!("{}, {} online", host.processor, host.cpus));
    line("memory", &binary(host.memory));
    line("kernel", &host.kernel);
    line("system", &host.system);
    line("control groups", &host.cgroup);
    line("disk", &host.disk);
    if !host.hypervisor.is_empty() {
        line("hypervisor below", &host.hypervisor);
    }
    for (key, value) in &host.facts {
        line(key, value);
    }
    for one in &run.environments {
        let facts: Vec<String> = one.facts.iter().map(|(key, value)| format!("; {key}: {value}")).collect();
        line(&format!("environment {}", one.name), &format!("{}{}", one.description, facts.concat()));
    }
    for size in &run.sizes {
        line(&format!("size {}", size.name), &format!("{}, processors: {}", binary(size.memory), size.cpus));
    }
}

/// A fenced block that its content cannot end.
fn block(content: &str) -> String {
    let longest = content.split(|c| c != '`').map(str::len).max().unwrap_or(0);
    let fence = "`".repeat(longest.max(2) + 1);
    let content: String =
        content.chars().map(|c| if c.is_control() && !matches!(c, '\n' | '\t') { ' ' } else { c }).collect();
    format!("{fence}\n{}\n{fence}\n", content.trim_end())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixture;

    #[test]
    fn tables_line_up_and_hold_their_columns() {
        let results = fixture::course();
        let text = render(&Analysis::of(&results));
        let mut block: Vec<&str> = Vec::new();
        let mut tables = 0;
        for line in text.lines() {
            if line.starts_with('|') {
                block.push(line);
                continue;
            }
            if let Some(first) = block.first() {
                tables += 1;
                for row in &block {
                    assert_eq!(row.chars().count(), first.chars().count(), "{row}");
                    assert_eq!(row.matches(" | ").count(), first.matches(" | ").count(), "{row}");
                }
            }
            block.clear();
        }
        assert!(tables >= 12, "{tables}");
        assert!(text.contains("each guest instruction is translated") && text.contains("| QEMU: total time"));
    }

    #[test]
    fn what_differs_stands_first_and_a_stopped_run_says_so() {
        let mut results = fixture::course();
        results.parity[4].checks[0].verdict = Verdict::Differs;
        results.measurements.truncate(37);
        let text = render(&Analysis::of(&results));
        assert!(text.lines().nth(2).unwrap().starts_with("- **Not comparable:** vm at 2g/1cpu"), "{text}");
        assert!(
            text.contains("37 of 90 measurements are there")
                && text.contains("DIFFERS")
                && text.contains("vm \u{2020}")
        );
        assert!(render(&Analysis::of(&fixture::empty())).contains("Nothing was measured"));
        assert!(render(&Analysis::of(&fixture::repeated(1))).contains("it has no interval"));
    }

    #[test]
    fn no_content_ends_a_block() {
        assert_eq!(block("a\n```\nb"), "````\na\n```\nb\n````\n");
    }
}
