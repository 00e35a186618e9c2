//! The way to the first command, broken into steps: stacked bars, on one scale and each on its own.

use std::fmt::Write as _;

use super::bars::axis;
use super::text::{escape, place, ticks};
use crate::analysis::Analysis;
use crate::explain::steps;
use crate::quantity::{Scale, percent};
use crate::record::Case;

/// From that ratio on between the longest and the shortest way each is drawn on its own scale too.
const APART: f64 = 4.0;

struct Way {
    place: String,
    steps: Vec<(String, f64)>,
    total: f64,
    /// Than the start is: processes work at the same time.
    longer: bool,
}

/// The charts of a case; nothing where it has no steps.
pub(super) fn chart(analysis: &Analysis, case: &Case) -> String {
    let run = &analysis.results.run;
    let mut ways: Vec<Way> = Vec::new();
    for size in &run.sizes {
        for environment in &run.environments {
            let steps = steps(analysis.results, case, environment, size);
            let total: f64 = steps.iter().map(|(_, time)| time).sum();
            let place = if run.sizes.len() > 1 {
                format!("{} {}", environment.name, size.name)
            } else {
                environment.name.clone()
            };
            let start = analysis.cell(&case.name, &case.headline, &environment.name, &size.name);
            let longer =
                start.is_some_and(|cell| cell.metric.unit == "s" && total > 1.02 * cell.summary.median);
            if total > 0.0 {
                ways.push(Way { place, steps, total, longer });
            }
        }
    }
    let names = names(&ways);
    let most = ways.iter().map(|way| way.total).fold(0.0, f64::max);
    let least = ways.iter().map(|way| way.total).fold(f64::INFINITY, f64::min);
    if ways.is_empty() {
        return String::new();
    }
    let overlap = if ways.iter().any(|way| way.longer) {
        "; processes work at the same time, so that the steps together are longer than the start is"
    } else {
        ""
    };
    let mut html = format!(
        "<figure><figcaption><b>{}: steps on the way to the first command</b>, medians of the repetitions, on one scale{overlap}.</figcaption><div class=\"bars\">",
        escape(&case.title)
    );
    for way in &ways {
        let scale = Scale::of([way.total], "s");
        let _ = write!(
            html,
            "<div class=\"name\">{}</div>{}<div class=\"value\">{}</div>",
            escape(&way.place),
            stack(way, &names, most * 1.03, true),
            scale.words(way.total)
        );
        if most / least <= APART {
            keys(&mut html, way, &names);
        }
    }
    let _ = write!(html, "<div></div>{}<div></div></div></figure>", axis(most * 1.03, "s"));
    if most / least > APART {
        let _ = write!(
            html,
            "<figure><figcaption><b>The same, each on a scale of its own</b>: shares of its time.</figcaption><div class=\"bars\">"
        );
        for way in &ways {
            let total = Scale::of([way.total], "s").words(way.total);
            let _ = write!(
                html,
                "<div class=\"name\">{}</div>{}<div class=\"value\">{total}</div>",
                escape(&way.place),
                stack(way, &names, way.total, false)
            );
            keys(&mut html, way, &names);
        }
        html.push_str("</div></figure>");
    }
    html
}

fn stack(way: &Way, names: &[String], end: f64, grid: bool) -> String {
    let mut svg =
        format!("<svg width=\"100%\" height=\"24\" role=\"img\"><title>{}</title>", escape(&way.place));
    if grid {
        for tick in ticks(end, 4) {
            let _ = write!(
                svg,
                "<line class=\"grid\" x1=\"{0}\" x2=\"{0}\" y1=\"0\" y2=\"24\"/>",
                place(tick / end)
            );
        }
    }
    let mut at = 0.0;
    for (name, time) in &way.steps {
        let _ = write!(
            svg,
            "<rect class=\"f{}\" x=\"{}\" y=\"4\" width=\"{}\" height=\"16\"/>",
            hue(names, name),
            place(at / end),
            place(time.max(0.0) / end)
        );
        at += time.max(0.0);
    }
    svg + "</svg>"
}

fn keys(html: &mut String, way: &Way, names: &[String]) {
    html.push_str("<div class=\"keys\">");
    for (name, time) in &way.steps {
        let _ = write!(
            html,
            "<span><i class=\"f{}\"></i>{} {} ({})</span>",
            hue(names, name),
            escape(name),
            crate::quantity::words(*time, "s"),
            percent(time / way.total)
        );
    }
    html.push_str("</div>");
}

/// The steps of all ways: those of one name have one hue.
fn names(ways: &[Way]) -> Vec<String> {
    let mut names: Vec<String> = Vec::new();
    for (name, _) in ways.iter().flat_map(|way| &way.steps) {
        if !names.contains(name) {
            names.push(name.clone());
        }
    }
    names
}

/// Neighbours differ in hue and in lightness.
fn hue(names: &[String], name: &str) -> usize {
    let place = names.iter().position(|known| known == name).unwrap_or(0);
    [1, 5, 3, 2, 6, 4, 7, 0][place % 8]
}
