//! Bars with the interval as a whisker and each repetition as a dot. Names and values are text beside the drawing,
//! which is as wide as there is room: nothing shrinks on a narrow screen.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use super::text::{anchor, escape, place, ticks};
use super::{Hues, differs};
use crate::analysis::{Analysis, Cell};
use crate::quantity::{Scale, words};
use crate::record::Case;

/// From that ratio on between the largest values of two cases, each has an axis of its own.
const TOGETHER: f64 = 20.0;

/// So many repetitions are told one by one in a drawing's words; of more, dots that nobody could tell apart are one.
const NAMED: usize = 40;
/// Places of dots along an axis then.
const DOTS: f64 = 250.0;

/// The chart of a group: its cases' headlines. Nothing where nothing was measured.
pub(super) fn chart(analysis: &Analysis, cases: &[&Case], hues: &Hues) -> String {
    let of = |case: &Case| -> Vec<&Cell> {
        analysis.headlines().filter(|cell| cell.case.name == case.name).collect()
    };
    let drawn: Vec<(&Case, Vec<&Cell>)> =
        cases.iter().map(|case| (*case, of(case))).filter(|(_, cells)| !cells.is_empty()).collect();
    let Some((first, cells)) = drawn.first() else { return String::new() };
    let metric = cells[0].metric;
    let mosts: Vec<f64> = drawn.iter().map(|(_, cells)| most(cells)).collect();
    let (low, high) =
        mosts.iter().fold((f64::INFINITY, 0.0f64), |(low, high), one| (low.min(*one), high.max(*one)));
    let alike = drawn
        .iter()
        .all(|(_, cells)| cells[0].metric.unit == metric.unit && cells[0].metric.title == metric.title);
    let shared = alike && high <= low * TOGETHER && drawn.len() > 1;
    let counts: Vec<usize> =
        drawn.iter().flat_map(|(_, cells)| cells.iter().map(|cell| cell.summary.n)).collect();
    let (least, greatest) =
        (counts.iter().min().copied().unwrap_or(0), counts.iter().max().copied().unwrap_or(0));
    let n = if least == greatest { format!("n = {least}") } else { format!("n = {least} to {greatest}") };
    let what = if alike {
        format!("{}, {}", metric.title, super::super::better(metric.better))
    } else {
        first.group.clone()
    };
    let mut html = format!(
        "<figure><figcaption><b>{}</b> ({n}). Bars: median; whiskers: its 95 % interval; dots: each repetition, outliers ringed.</figcaption><div class=\"bars\">",
        escape(&upper(&what))
    );
    for (place, (case, cells)) in drawn.iter().enumerate() {
        let end = if shared { high } else { mosts[place] };
        let last = place + 1 == drawn.len();
        rows(&mut html, case, cells, end * 1.03, !shared || last, analysis, hues);
    }
    html + "</div></figure>"
}

/// The first letter as a capital; a word that is an abbreviation in capitals.
pub(super) fn upper(text: &str) -> String {
    if ["cpu", "vm", "io"].contains(&text) {
        return text.to_uppercase();
    }
    let mut letters = text.chars();
    letters.next().map_or(String::new(), |first| first.to_uppercase().chain(letters).collect())
}

/// The largest thing that is drawn.
fn most(cells: &[&Cell]) -> f64 {
    let ends = |cell: &&Cell| {
        cell.summary.interval.map_or(cell.summary.max, |interval| interval.high.max(cell.summary.max))
    };
    cells.iter().map(ends).fold(0.0, f64::max)
}

fn rows(
    html: &mut String,
    case: &Case,
    cells: &[&Cell],
    end: f64,
    axis: bool,
    analysis: &Analysis,
    hues: &Hues,
) {
    let metric = cells[0].metric;
    let sizes = &analysis.results.run.sizes;
    let heading = |html: &mut String, name: &str, more: &str| {
        let _ = write!(html, "<div class=\"head\">{} <small>{}</small></div>", escape(name), escape(more));
    };
    let named = format!("{}, {}", metric.title, super::super::better(metric.better));
    heading(html, &case.title, &named);
    for size in sizes {
        let of: Vec<&&Cell> = cells.iter().filter(|cell| cell.size.name == size.name).collect();
        if of.is_empty() {
            continue;
        }
        if sizes.len() > 1 {
            let _ = write!(html, "<div class=\"head\"><small>{}</small></div>", escape(&size.name));
        }
        for cell in of {
            let mark =
                if differs(analysis.results, cell) { " <span class=\"bad\">\u{2020}</span>" } else { "" };
            let _ = write!(
                html,
                "<div class=\"name\">{}{mark}</div>{}<div class=\"value\">{}</div>",
                escape(&cell.environment.name),
                bar(cell, end, hues.of(&cell.environment.name)),
                escape(&words(cell.summary.median, &metric.unit))
            );
        }
    }
    if axis {
        let _ = write!(html, "<div></div>{}<div></div>", self::axis(end, &metric.unit));
    }
}

/// The axis below bars.
pub(super) fn axis(end: f64, unit: &str) -> String {
    let ticks = ticks(end, 4);
    let scale = Scale::of(ticks.iter().copied().filter(|tick| *tick > 0.0).take(1).chain([end]), unit);
    let mut svg = "<svg width=\"100%\" height=\"22\" aria-hidden=\"true\"><line class=\"axis\" x1=\"0\" x2=\"100%\" y1=\".5\" y2=\".5\"/>".to_owned();
    let last = ticks.len().saturating_sub(1);
    for (number, tick) in ticks.iter().enumerate() {
        let (share, text) = (tick / end, tidy(&scale.number(*tick)));
        // The unit once, at the last tick.
        let text =
            if number == last && !scale.unit.is_empty() { format!("{text} {}", scale.unit) } else { text };
        let _ = write!(
            svg,
            "<text x=\"{}\" y=\"15\" text-anchor=\"{}\">{}</text>",
            place(share),
            if number == 0 { "start" } else { anchor(share) },
            escape(&text)
        );
    }
    svg + "</svg>"
}

/// `2.50` as `2.5`, `10.0` as `10`: digits that say nothing at a tick.
pub(super) fn tidy(number: &str) -> String {
    if number.contains('.') {
        number.trim_end_matches('0').trim_end_matches('.').to_owned()
    } else {
        number.to_owned()
    }
}

fn bar(cell: &Cell, end: f64, hue: usize) -> String {
    let share = |value: f64| place((value / end).max(0.0));
    let scale = Scale::of(cell.numbers(), &cell.metric.unit);
    let mut repetitions: Vec<String> =
        cell.values.iter().take(NAMED).map(|value| scale.words(value.value)).collect();
    if let Some(more) = cell.values.len().checked_sub(NAMED).filter(|more| *more > 0) {
        repetitions.push(format!("and {more} more"));
    }
    let mut svg = format!(
        "<svg width=\"100%\" height=\"24\" role=\"img\"><title>{}: {}</title>",
        escape(&cell.environment.name),
        escape(&repetitions.join(", "))
    );
    for tick in ticks(end, 4) {
        let x = share(tick);
        let _ = write!(svg, "<line class=\"grid\" x1=\"{x}\" x2=\"{x}\" y1=\"0\" y2=\"24\"/>");
    }
    let _ = write!(
        svg,
        "<rect class=\"f{hue}\" x=\"0\" y=\"5\" width=\"{}\" height=\"14\"/>",
        share(cell.summary.median)
    );
    if let Some(interval) = cell.summary.interval {
        let (low, high) = (share(interval.low), share(interval.high));
        let _ = write!(
            svg,
            "<line class=\"whisker\" x1=\"{low}\" x2=\"{high}\" y1=\"12\" y2=\"12\"/>\
             <line class=\"whisker\" x1=\"{low}\" x2=\"{low}\" y1=\"8\" y2=\"16\"/>\
             <line class=\"whisker\" x1=\"{high}\" x2=\"{high}\" y1=\"8\" y2=\"16\"/>"
        );
    }
    let mut places = BTreeSet::new();
    for value in &cell.values {
        // Those of the same value are seen side by side; of very many the later ones lie on earlier ones.
        let y = 12 + (value.repetition as i32 % 3 - 1) * 3;
        let odd = if cell.summary.is_outlier(value.value) { "odd\" r=\"4" } else { "dot\" r=\"2.5" };
        let x = if cell.values.len() > NAMED {
            share((value.value / end * DOTS).round() / DOTS * end)
        } else {
            share(value.value)
        };
        if cell.values.len() <= NAMED || places.insert((x.clone(), y, odd)) {
            let _ = write!(svg, "<circle class=\"{odd}\" cx=\"{x}\" cy=\"{y}\"/>");
        }
    }
    svg + "</svg>"
}
