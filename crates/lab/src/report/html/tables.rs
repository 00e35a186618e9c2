//! The tables of the report: parity, all figures of a case, each repetition, what it cost the host, what others have
//! published.

use std::fmt::Write as _;

use super::bars::upper;
use super::differs;
use super::text::escape;
use crate::analysis::{Analysis, Cell};
use crate::quantity::{Scale, ratio, words};
use crate::read::Results;
use crate::record::{Case, Measurement, Size, Verdict};
use crate::report::{csv, published};
use crate::statistics::median;

pub(super) fn parity(results: &Results) -> String {
    if results.parity.is_empty() {
        return "<p class=\"soft\">Not tested.</p>".to_owned();
    }
    let mut html = "<div class=\"box\"><table><thead><tr><th>Environment</th><th>Size</th><th>What</th><th>Asked</th><th>Found</th><th></th></tr></thead><tbody>".to_owned();
    let mut ways: Vec<(&str, &str)> = Vec::new();
    for one in &results.parity {
        for (number, check) in one.checks.iter().enumerate() {
            if !ways.contains(&(check.what.as_str(), check.how.as_str())) {
                ways.push((&check.what, &check.how));
            }
            let _ = write!(html, "<tr{}>", if number == 0 { " class=\"first\"" } else { "" });
            if number == 0 {
                let span = one.checks.len();
                let _ = write!(
                    html,
                    "<th rowspan=\"{span}\">{}</th><td rowspan=\"{span}\" class=\"w\">{}</td>",
                    escape(&one.environment),
                    escape(&one.size)
                );
            }
            let verdict = match check.verdict {
                Verdict::Held => "held".to_owned(),
                Verdict::Differs => "<b class=\"bad\">differs</b>".to_owned(),
                Verdict::Unknown => "<b>cannot be told</b>".to_owned(),
            };
            let _ = write!(
                html,
                "<td>{}</td><td class=\"t\">{}</td><td class=\"tt\">{}</td><td class=\"w\">{verdict}</td></tr>",
                escape(&check.what),
                escape(&check.asked),
                escape(&check.found)
            );
        }
    }
    html.push_str("</tbody></table></div><details><summary>How it was tested</summary><dl>");
    for (what, how) in ways {
        let _ = write!(html, "<dt>{}</dt><dd>{}</dd>", escape(what), escape(how));
    }
    html + "</dl></details>"
}

/// All metrics of a case at a size: mean and deviation, and below them the ratio to the baseline.
pub(super) fn figures(analysis: &Analysis, case: &Case, size: &Size) -> String {
    let environments: Vec<&str> = analysis
        .results
        .run
        .environments
        .iter()
        .map(|environment| environment.name.as_str())
        .filter(|name| {
            case.metrics
                .iter()
                .any(|metric| analysis.cell(&case.name, &metric.name, name, &size.name).is_some())
        })
        .collect();
    if environments.is_empty() {
        return "<p class=\"soft\">No figures.</p>".to_owned();
    }
    let base = analysis.results.baseline().map_or("", |base| &base.name);
    let mut html = "<div class=\"box\"><table><thead><tr><th>Mean \u{b1} standard deviation</th>".to_owned();
    for name in &environments {
        let n = analysis
            .cell(&case.name, &case.headline, name, &size.name)
            .map_or(String::new(), |cell| format!("n = {}", cell.summary.n));
        let _ = write!(html, "<th class=\"n\">{}<small>{n}</small></th>", escape(name));
    }
    html.push_str("</tr></thead><tbody>");
    for metric in &case.metrics {
        let cells: Vec<Option<&Cell>> = environments
            .iter()
            .map(|name| analysis.cell(&case.name, &metric.name, name, &size.name))
            .collect();
        if cells.iter().all(Option::is_none) {
            continue;
        }
        let scales = scales(&cells, &metric.unit);
        let headline = if metric.name == case.headline { ("<b>", "</b>") } else { ("", "") };
        let _ = write!(
            html,
            "<tr><th>{}{}{}<small>{}</small></th>",
            headline.0,
            escape(&upper(&metric.title)),
            headline.1,
            super::super::better(metric.better)
        );
        for (cell, scale) in cells.into_iter().zip(scales) {
            let Some(cell) = cell else {
                html.push_str("<td class=\"n\">\u{2013}</td>");
                continue;
            };
            let mark =
                if differs(analysis.results, cell) { " <span class=\"bad\">\u{2020}</span>" } else { "" };
            let deviation = cell
                .summary
                .deviation
                .map_or(String::new(), |deviation| format!(" \u{b1} {}", short(deviation, &scale)));
            let _ = write!(
                html,
                "<td class=\"n\">{}{deviation}{}{mark}",
                scale.number(cell.summary.mean),
                unit(&scale)
            );
            let _ = match cell.against {
                Some(against) => {
                    let interval = against
                        .interval
                        .map_or(String::new(), |one| format!(" [{}, {}]", ratio(one.low), ratio(one.high)));
                    write!(
                        html,
                        "<small>{} \u{d7} {}{interval}</small></td>",
                        ratio(against.ratio),
                        escape(base)
                    )
                }
                None => write!(html, "</td>"),
            };
        }
        html.push_str("</tr>");
    }
    html + "</tbody></table></div>"
}

/// How the means of a row are written: in one unit with the same digits, or where they are far apart each in its own;
/// with digits enough for the deviations.
fn scales(cells: &[Option<&Cell>], unit: &str) -> Vec<Scale> {
    let means: Vec<f64> = cells.iter().flatten().map(|cell| cell.summary.mean).collect();
    let least = means.iter().copied().filter(|mean| *mean > 0.0).fold(f64::INFINITY, f64::min);
    let apart = means.iter().any(|mean| *mean > 100.0 * least);
    let deviations = |cell: &&Cell| cell.summary.deviation;
    let common = Scale::of(means, unit).finer(cells.iter().flatten().filter_map(deviations));
    let own = |cell: &Option<&Cell>| match cell {
        Some(cell) if apart => Scale::of([cell.summary.mean], unit).finer(cell.summary.deviation),
        _ => common.clone(),
    };
    cells.iter().map(own).collect()
}

/// A deviation with the digits of its mean, for HTML; one that would be 0 in them is said to be less.
fn short(deviation: f64, scale: &Scale) -> String {
    let text = scale.number(deviation);
    if deviation > 0.0 && text.bytes().all(|byte| byte == b'0' || byte == b'.') {
        format!("&lt; {}1", &text[..text.len() - 1])
    } else {
        text
    }
}

fn unit(scale: &Scale) -> String {
    if scale.unit.is_empty() { String::new() } else { format!(" {}", escape(&scale.unit)) }
}

/// What all tables of repetitions may take, in bytes.
const BUDGET: usize = 500_000;
/// Bytes that a row takes beside its values, and one that each value takes, about.
const ROW: usize = 100;
const VALUE: usize = 32;

/// How many repetitions of a case in an environment may be listed, so that the whole report stays small.
pub(super) fn listed(analysis: &Analysis) -> usize {
    let run = &analysis.results.run;
    let once: usize = run.cases.iter().map(|case| ROW + VALUE * case.metrics.len()).sum();
    (BUDGET / (once * run.sizes.len() * run.environments.len()).max(1)).max(3)
}

/// Those that are listed, in their order: all that failed or are outliers of the headline, then the first ones.
fn chosen<'a>(all: &[&'a Measurement], headline: Option<&Cell>, most: usize) -> Vec<&'a Measurement> {
    let odd = |one: &Measurement| {
        let value = headline.and_then(|cell| one.metrics.get(&cell.metric.name).map(|value| (cell, *value)));
        one.metrics.is_empty() || value.is_some_and(|(cell, value)| cell.summary.is_outlier(value))
    };
    let mut order: Vec<&Measurement> = all.to_vec();
    order.sort_by_key(|one| !odd(one));
    order.truncate(most);
    order.sort_by_key(|one| one.slot.repetition);
    order
}

/// Every repetition of every metric, with the statistics below; of very many `most` in each environment.
pub(super) fn repetitions(analysis: &Analysis, case: &Case, size: &Size, most: usize) -> String {
    let results = analysis.results;
    let metrics: Vec<_> = case
        .metrics
        .iter()
        .filter(|metric| {
            results
                .run
                .environments
                .iter()
                .any(|one| analysis.cell(&case.name, &metric.name, &one.name, &size.name).is_some())
        })
        .collect();
    if metrics.is_empty() {
        return String::new();
    }
    let mut html = "<details><summary>Each repetition</summary><div class=\"box\"><table><thead><tr><th>Environment</th><th class=\"n\">Repetition</th><th class=\"n\">No</th>".to_owned();
    let scales: Vec<Scale> = metrics
        .iter()
        .map(|metric| {
            let all = analysis.cells.iter().filter(|cell| {
                cell.case.name == case.name && cell.size.name == size.name && cell.metric.name == metric.name
            });
            Scale::of(all.flat_map(Cell::numbers), &metric.unit)
        })
        .collect();
    for (metric, scale) in metrics.iter().zip(&scales) {
        let _ = write!(
            html,
            "<th class=\"n\">{}<small>{}</small></th>",
            escape(&upper(&metric.title)),
            escape(&scale.unit)
        );
    }
    html.push_str("</tr></thead><tbody>");
    for environment in &results.run.environments {
        let cells: Vec<Option<&Cell>> = metrics
            .iter()
            .map(|metric| analysis.cell(&case.name, &metric.name, &environment.name, &size.name))
            .collect();
        let all = results.of(&case.name, &environment.name, &size.name);
        let headline = analysis.cell(&case.name, &case.headline, &environment.name, &size.name);
        let shown = chosen(&all, headline, most);
        for (number, one) in shown.iter().enumerate() {
            let first = if number == 0 { " class=\"first\"" } else { "" };
            let _ = write!(
                html,
                "<tr{first}><th>{}</th><td class=\"n\">{}</td><td class=\"n\">{:05}</td>",
                escape(&environment.name),
                one.slot.repetition,
                one.slot.number
            );
            if one.metrics.is_empty() {
                let why = if one.problem.is_empty() {
                    format!("exit code {}", one.exit_code)
                } else {
                    one.problem.clone()
                };
                let _ = write!(
                    html,
                    "<td colspan=\"{}\" class=\"bad\">failed: {}</td></tr>",
                    metrics.len(),
                    escape(&why)
                );
                continue;
            }
            for ((metric, scale), cell) in metrics.iter().zip(&scales).zip(&cells) {
                let text = one.metrics.get(&metric.name).map_or("\u{2013}".to_owned(), |value| {
                    let odd = cell.is_some_and(|cell| cell.summary.is_outlier(*value));
                    format!(
                        "{}{}",
                        if odd { "<span class=\"bad\" title=\"outlier\">\u{25cb}</span> " } else { "" },
                        scale.number(*value)
                    )
                });
                let _ = write!(html, "<td class=\"n\">{text}</td>");
            }
            html.push_str("</tr>");
        }
        if shown.len() < all.len() {
            let _ = write!(
                html,
                "<tr class=\"sum\"><td></td><td colspan=\"{}\">{} of {} are listed: those that failed, outliers, then the \
                 first; <code>bench report --format csv</code> has every one</td></tr>",
                metrics.len() + 2,
                shown.len(),
                all.len()
            );
        }
        sums(&mut html, &cells, &scales);
    }
    html + "</tbody></table></div><p class=\"soft\"><small>\u{25cb} marks an outlier; it counts in every figure.</small></p></details>"
}

fn sums(html: &mut String, cells: &[Option<&Cell>], scales: &[Scale]) {
    if cells.iter().flatten().all(|cell| cell.summary.n < 2) {
        return;
    }
    let mut line = |name: &str, figure: &dyn Fn(&Cell) -> Option<String>, scale: bool| {
        let _ = write!(html, "<tr class=\"sum\"><td></td><td class=\"n\" colspan=\"2\">{name}</td>");
        for (cell, _) in cells.iter().zip(scales).filter(|_| scale) {
            let text = cell.and_then(figure).unwrap_or_else(|| "\u{2013}".to_owned());
            let _ = write!(html, "<td class=\"n\">{text}</td>");
        }
        html.push_str("</tr>");
    };
    let scale = |cell: &Cell| {
        let place = cells.iter().position(|other| other.is_some_and(|other| std::ptr::eq(other, cell)));
        place.map(|place| &scales[place])
    };
    line("mean", &|cell| Some(scale(cell)?.number(cell.summary.mean)), true);
    line("deviation", &|cell| Some(short(cell.summary.deviation?, scale(cell)?)), true);
    line("median", &|cell| Some(scale(cell)?.number(cell.summary.median)), true);
    line(
        "95 % interval",
        &|cell| {
            let (interval, scale) = (cell.summary.interval?, scale(cell)?);
            Some(format!("[{}, {}]", scale.number(interval.low), scale.number(interval.high)))
        },
        true,
    );
}

/// What the host's accounting says: medians of the repetitions.
pub(super) fn costs(analysis: &Analysis, case: &Case, size: &Size) -> String {
    const COLUMNS: [(&str, &str); 9] = [
        ("wall", "Time"),
        ("user", "User"),
        ("system", "Kernel"),
        ("guest", "Guest"),
        ("throttled", "Throttled"),
        ("steal", "Stolen from the host"),
        ("memory_peak", "Memory at its most"),
        ("disk_read", "Device read"),
        ("disk_written", "Device wrote"),
    ];
    let results = analysis.results;
    let of = |environment: &str, name: &str| {
        let all = results.of(&case.name, environment, &size.name);
        let values: Vec<(f64, &str)> = all
            .iter()
            .filter(|one| !one.metrics.is_empty())
            .flat_map(|one| csv::costs(one))
            .filter(|cost| cost.0 == name)
            .map(|cost| (cost.2, cost.1))
            .collect();
        let unit = values.first().map_or("", |value| value.1);
        median(&values.iter().map(|value| value.0).collect::<Vec<_>>()).map(|value| (value, unit))
    };
    let environments = &results.run.environments;
    let columns: Vec<_> = COLUMNS
        .iter()
        .filter(|(name, _)| environments.iter().any(|one| of(&one.name, name).is_some()))
        .collect();
    if columns.is_empty() {
        return String::new();
    }
    let mut html =
        "<div class=\"box\"><table><thead><tr><th>By the host\u{2019}s accounting, medians</th>".to_owned();
    for (_, title) in &columns {
        let _ = write!(html, "<th class=\"n\">{title}</th>");
    }
    html.push_str("</tr></thead><tbody>");
    for environment in environments.iter().filter(|one| of(&one.name, "wall").is_some()) {
        let _ = write!(html, "<tr><th>{}</th>", escape(&environment.name));
        for (name, _) in &columns {
            let text =
                of(&environment.name, name).map_or("\u{2013}".to_owned(), |(value, unit)| words(value, unit));
            let _ = write!(html, "<td class=\"n\">{text}</td>");
        }
        html.push_str("</tr>");
    }
    html + "</tbody></table></div>"
}

/// Figures of others beside ours, where a case repeats their experiment.
pub(super) fn published(analysis: &Analysis, case: &Case) -> String {
    let rows = published::rows(analysis, case);
    if rows.is_empty() {
        return String::new();
    }
    let mut html = "<div class=\"box\"><table><thead><tr><th>Published</th><th>By</th><th>Size</th><th class=\"n\">Theirs</th><th class=\"n\">Ratio</th><th>Ours</th><th class=\"n\">Median</th><th class=\"n\">Ratio</th></tr></thead><tbody>".to_owned();
    for row in &rows {
        let span = row.ours.len().max(1);
        let base = row.base.map_or(String::new(), |base| format!("<small>\u{d7} {}</small>", escape(base)));
        let theirs = format!("{}{base}", escape(&row.ratio()));
        let _ = write!(
            html,
            "<tr class=\"first\"><th rowspan=\"{span}\">{}: {}</th><td rowspan=\"{span}\">{}</td><td rowspan=\"{span}\">{}</td><td rowspan=\"{span}\" class=\"n\">{}</td><td rowspan=\"{span}\" class=\"n\">{theirs}</td>",
            escape(&row.published.environment),
            escape(row.title),
            escape(&row.published.source),
            escape(&row.published.size),
            escape(&row.theirs())
        );
        for (number, ours) in row.ours.iter().enumerate() {
            if number > 0 {
                html.push_str("<tr>");
            }
            let own = ours.ratio.map_or("\u{2013}".to_owned(), ratio);
            let _ = write!(
                html,
                "<td>{} at {}</td><td class=\"n\">{}</td><td class=\"n\">{own}</td></tr>",
                escape(ours.environment),
                escape(ours.size),
                escape(&words(ours.median, row.unit))
            );
        }
        if row.ours.is_empty() {
            html.push_str("<td colspan=\"3\">not measured</td></tr>");
        }
    }
    html + "</tbody></table></div><p class=\"soft\"><small>Machines differ: compare the ratios.</small></p>"
}
