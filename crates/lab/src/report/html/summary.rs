//! The table that most readers come for: each case against the baseline, with the ratios drawn on one scale.

use std::fmt::Write as _;

use super::text::{anchor, escape, place};
use super::{Hues, differs};
use crate::analysis::{Analysis, Cell, Verdict};
use crate::quantity::{probability, ratio, words};
use crate::record::Kind;

/// Where a cost lies on the common logarithmic axis.
struct Axis {
    low: f64,
    high: f64,
}

impl Axis {
    fn over(cells: &[&Cell]) -> Self {
        let costs = cells.iter().filter_map(|cell| cell.against?.cost());
        let (mut low, mut high) = (0.9f64, 1.15f64);
        for (cost, interval) in costs {
            low = low.min(interval.map_or(cost, |interval| interval.low.min(cost)));
            high = high.max(interval.map_or(cost, |interval| interval.high.max(cost)));
        }
        let room = (high / low).powf(0.04);
        Self { low: low / room, high: high * room }
    }

    fn share(&self, cost: f64) -> f64 {
        (cost / self.low).ln() / (self.high / self.low).ln()
    }

    /// Round costs that are far enough from each other, 1 among them.
    fn ticks(&self) -> Vec<f64> {
        let mut candidates = vec![
            1.0, 10.0, 100.0, 1000.0, 0.1, 0.01, 2.0, 0.5, 5.0, 0.2, 50.0, 20.0, 1.5, 3.0, 1.2, 0.8, 1.1,
            0.9, 1.05, 0.95,
        ];
        candidates.retain(|tick| *tick >= self.low && *tick <= self.high);
        let mut ticks: Vec<f64> = Vec::new();
        for tick in candidates {
            if ticks.iter().all(|other| (self.share(*other) - self.share(tick)).abs() > 0.17) {
                ticks.push(tick);
            }
        }
        ticks.sort_by(f64::total_cmp);
        ticks
    }
}

/// The table. Nothing where nothing was compared.
pub(super) fn table(analysis: &Analysis, hues: &Hues) -> String {
    let results = analysis.results;
    let Some(base) = results.baseline() else { return String::new() };
    let compared: Vec<&Cell> = analysis.headlines().filter(|cell| cell.against.is_some()).collect();
    if compared.is_empty() {
        return format!(
            "<p class=\"soft\">Nothing was measured in {} and elsewhere alike, so there is nothing to compare.</p>",
            escape(&base.name)
        );
    }
    let axis = Axis::over(&compared);
    let mut html = format!(
        "<div class=\"box\"><table><thead><tr><th>Case</th><th>Environment</th>\
         <th class=\"n\">Ratio to {0}<small>medians [95 %]</small></th>\
         <th>Cost against {0}<small>times slower; right is worse</small></th>\
         <th class=\"n\">{0}<small>median</small></th><th class=\"n\">Its own<small>median</small></th><th>Difference</th></tr></thead><tbody>",
        escape(&base.name)
    );
    for case in &results.run.cases {
        let rows: Vec<&&Cell> = compared.iter().filter(|cell| cell.case.name == case.name).collect();
        for (number, cell) in rows.iter().enumerate() {
            let first = number == 0 || rows[number - 1].size.name != cell.size.name;
            let _ = write!(html, "<tr{}>", if first { " class=\"first\"" } else { "" });
            if number == 0 {
                let _ = write!(
                    html,
                    "<th rowspan=\"{}\">{}<small>{}, {}</small></th>",
                    rows.len(),
                    escape(&case.title),
                    escape(&cell.metric.title),
                    super::super::better(cell.metric.better)
                );
            }
            row(&mut html, analysis, cell, &axis, hues);
        }
    }
    html.push_str("</tbody><tfoot><tr><td colspan=\"3\"></td><td class=\"plot\"><svg width=\"100%\" height=\"20\" aria-hidden=\"true\">");
    for tick in axis.ticks() {
        let share = axis.share(tick);
        let text = super::bars::tidy(&ratio(tick));
        let _ = write!(
            html,
            "<text x=\"{}\" y=\"12\" text-anchor=\"{}\">{text}\u{d7}</text>",
            place(share),
            anchor(share)
        );
    }
    html.push_str("</svg></td><td colspan=\"3\"></td></tr></tfoot></table></div>");
    html
}

fn row(html: &mut String, analysis: &Analysis, cell: &Cell, axis: &Axis, hues: &Hues) {
    let results = analysis.results;
    let base = results
        .baseline()
        .and_then(|base| analysis.cell(&cell.case.name, &cell.metric.name, &base.name, &cell.size.name));
    let (Some(base), Some(against)) = (base, cell.against) else { return };
    let shown = |value: f64| words(value, &cell.metric.unit);
    let mark = |cell: &Cell, words: &str| {
        if differs(results, cell) {
            format!(" <span class=\"bad\">\u{2020}{words}</span>")
        } else {
            String::new()
        }
    };
    let interval = against.interval.map_or_else(
        || "no interval: n = 1".to_owned(),
        |interval| format!("[{}, {}]", ratio(interval.low), ratio(interval.high)),
    );
    let verdict = match against.verdict() {
        Verdict::TooFew => format!(
            "too few to tell<small>p = {}, the smallest is {}</small>",
            probability(against.test.p),
            probability(against.smallest)
        ),
        verdict => format!(
            "{}<small>p {}, n = {}, {}</small>",
            verdict.words(),
            equals(against.test.p),
            cell.summary.n,
            base.summary.n
        ),
    };
    let _ = write!(
        html,
        "<td class=\"w\">{}{}<small>{}</small></td><td class=\"n\">{}<small>{interval}</small></td><td class=\"plot\">{}</td>\
         <td class=\"n\">{}{}</td><td class=\"n\">{}</td><td class=\"w\">{verdict}</td></tr>",
        escape(&cell.environment.name),
        mark(cell, " not comparable"),
        escape(&cell.size.name),
        ratio(against.ratio),
        point(cell, axis, hues),
        escape(&shown(base.summary.median)),
        mark(base, ""),
        escape(&shown(cell.summary.median)),
    );
}

fn equals(p: f64) -> String {
    let text = probability(p);
    if text.starts_with('<') { text.replace('<', "&lt;") } else { format!("= {text}") }
}

fn point(cell: &Cell, axis: &Axis, hues: &Hues) -> String {
    let Some((cost, interval)) = cell.against.and_then(|against| against.cost()) else {
        return String::new();
    };
    let hue = hues.of(&cell.environment.name);
    let at = |cost: f64| place(axis.share(cost));
    let mut svg =
        format!("<svg width=\"100%\" height=\"30\" role=\"img\"><title>{} times</title>", ratio(cost));
    for tick in axis.ticks() {
        let class = if tick == 1.0 { "one" } else { "grid" };
        let _ = write!(svg, "<line class=\"{class}\" x1=\"{0}\" x2=\"{0}\" y1=\"-60\" y2=\"90\"/>", at(tick));
    }
    if let Some(interval) = interval {
        let _ = write!(
            svg,
            "<line class=\"whisker s{hue}\" x1=\"{}\" x2=\"{}\" y1=\"15\" y2=\"15\"/>",
            at(interval.low),
            at(interval.high)
        );
    }
    // The form tells the kind where colours do not.
    let x = at(cost);
    let _ = match cell.environment.kind {
        Kind::Vm => write!(
            svg,
            "<svg x=\"{x}\" y=\"15\" overflow=\"visible\"><rect class=\"f{hue}\" x=\"-4\" y=\"-4\" width=\"8\" height=\"8\"/></svg>"
        ),
        _ => write!(svg, "<circle class=\"f{hue}\" cx=\"{x}\" cy=\"15\" r=\"4.5\"/>"),
    };
    svg + "</svg>"
}
