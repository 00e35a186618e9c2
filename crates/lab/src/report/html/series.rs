//! What the host saw during a measurement: small panels on one time scale and one scale of values, so that the
//! environments can be compared by eye. Long series are averaged over intervals that the caption names.

use std::fmt::Write as _;

use super::bars::tidy;
use super::text::{anchor, escape, place, ticks};
use crate::analysis::Analysis;
use crate::quantity::Scale;
use crate::record::{Case, Measurement, Series, Size};

/// What all panels of a report may take, in bytes.
const BUDGET: usize = 1_000_000;

/// Bytes that a point takes, about.
const POINT: usize = 8;

/// The height of a panel's drawing in pixels, and of its coordinates.
const HEIGHT: f64 = 84.0;

/// One panel.
struct Panel {
    title: &'static str,
    unit: &'static str,
    /// Drawn one on the other, as areas.
    stacked: bool,
    /// Curve, its name in the legend, its hue. Of a panel all that are there are drawn.
    curves: &'static [(&'static str, &'static str, usize)],
    /// The largest value, where it is known beforehand.
    most: Option<f64>,
}

const PANELS: &[Panel] = &[
    Panel {
        title: "Processors",
        unit: "",
        stacked: true,
        curves: &[
            ("cpu.user", "user", 1),
            ("cpu.kernel", "kernel", 2),
            ("cpu.iowait", "iowait", 5),
            ("cpu.steal", "steal", 4),
        ],
        most: None,
    },
    Panel {
        title: "Disk throughput",
        unit: "B/s",
        stacked: false,
        curves: &[("disk.read", "read", 1), ("disk.write", "write", 2)],
        most: None,
    },
    Panel {
        title: "Disk operations",
        unit: "1/s",
        stacked: false,
        curves: &[("disk.reads", "reads", 1), ("disk.writes", "writes", 2)],
        most: None,
    },
    Panel {
        title: "Disk latency",
        unit: "s",
        stacked: false,
        curves: &[("disk.latency", "mean", 3)],
        most: None,
    },
    Panel {
        title: "Disk utilisation",
        unit: "%",
        stacked: false,
        curves: &[("disk.busy", "busy", 3)],
        most: Some(1.0),
    },
    Panel {
        title: "Disk queue",
        unit: "",
        stacked: false,
        curves: &[("disk.queue", "mean length", 4)],
        most: None,
    },
    Panel {
        title: "Memory",
        unit: "B",
        stacked: false,
        curves: &[
            ("group.memory", "the environment\u{2019}s", 2),
            ("memory.used", "host, used", 1),
            ("memory.cached", "host, cached", 3),
        ],
        most: None,
    },
    Panel {
        title: "Network",
        unit: "B/s",
        stacked: false,
        curves: &[("net.in", "in", 1), ("net.out", "out", 2)],
        most: None,
    },
    Panel {
        title: "Pressure",
        unit: "%",
        stacked: false,
        curves: &[("psi.cpu", "processors", 1), ("psi.memory", "memory", 3), ("psi.io", "disk", 2)],
        most: None,
    },
];

/// How many points a curve may have, so that the whole report stays small.
pub(super) fn points(analysis: &Analysis) -> usize {
    let run = &analysis.results.run;
    let places = run.cases.len() * run.sizes.len() * run.environments.len();
    // Of the nine panels some six are drawn, with two curves each.
    (BUDGET / POINT / 12 / places.max(1)).clamp(24, 160)
}

/// The panels of a case at a size: of each environment the repetition nearest to its median.
pub(super) fn panels(analysis: &Analysis, case: &Case, size: &Size, points: usize) -> String {
    let chosen: Vec<(&Measurement, &Series)> = analysis
        .results
        .run
        .environments
        .iter()
        .filter_map(|environment| typical(analysis, case, size, &environment.name))
        .collect();
    let end = chosen
        .iter()
        .filter_map(|(one, series)| {
            Some(series.at.last()?.max(one.phases.last().map_or(0.0, |phase| phase.end)))
        })
        .fold(0.0, f64::max);
    if end <= 0.0 {
        return String::new();
    }
    let bin = (chosen.iter().map(|(_, series)| series.at.len()).max().unwrap_or(0) as f64 / points as f64)
        .ceil()
        .max(1.0) as usize;
    let step =
        chosen.iter().find_map(|(_, series)| Some(series.at.get(1)? - series.at.first()?)).unwrap_or(0.0);
    let averaged = if bin > 1 {
        format!(", means over {}", crate::quantity::words(step * bin as f64, "s"))
    } else {
        String::new()
    };
    let mut html = String::new();
    for panel in PANELS {
        let most = panel
            .most
            .unwrap_or_else(|| chosen.iter().map(|(_, series)| most(panel, series, bin)).fold(0.0, f64::max));
        if chosen.iter().all(|(_, series)| self::most(panel, series, bin) <= 0.0) {
            continue;
        }
        let most = match panel.title {
            "Processors" => most.max(f64::from(analysis.results.run.host.cpus)),
            _ => most * 1.05,
        };
        legend(&mut html, panel, &chosen, &averaged);
        html.push_str("<div class=\"strips\">");
        for (one, series) in &chosen {
            draw(&mut html, panel, one, series, most, end, bin);
        }
        html.push_str("</div>");
    }
    html
}

/// The repetition whose headline is nearest to the median, and what was seen meanwhile.
fn typical<'a>(
    analysis: &Analysis<'a>,
    case: &Case,
    size: &Size,
    environment: &str,
) -> Option<(&'a Measurement, &'a Series)> {
    let results = analysis.results;
    let median =
        analysis.cell(&case.name, &case.headline, environment, &size.name).map(|cell| cell.summary.median);
    let far = |one: &&Measurement| match (median, one.metrics.get(&case.headline)) {
        (Some(median), Some(value)) => (value - median).abs(),
        _ => f64::INFINITY,
    };
    let all = results
        .of(&case.name, environment, &size.name)
        .into_iter()
        .filter(|one| results.series.contains_key(&one.slot.number));
    let one = all.min_by(|left, right| far(left).total_cmp(&far(right)))?;
    Some((one, results.series.get(&one.slot.number)?))
}

fn values<'a>(series: &'a Series, name: &str) -> Option<&'a [Option<f64>]> {
    series.curves.iter().find(|curve| curve.name == name).map(|curve| curve.values.as_slice())
}

/// The means of `bin` values each; what could not be read is left out of them.
fn averaged(values: &[Option<f64>], bin: usize) -> Vec<Option<f64>> {
    let mean = |chunk: &[Option<f64>]| {
        let there: Vec<f64> = chunk.iter().copied().flatten().collect();
        (!there.is_empty()).then(|| crate::statistics::mean(&there))
    };
    values.chunks(bin).map(mean).collect()
}

/// The curves of a panel as they are drawn: those of a stack one on the other.
fn drawn(panel: &Panel, series: &Series, bin: usize) -> Vec<(usize, Vec<Option<f64>>)> {
    let mut below: Vec<f64> = Vec::new();
    let mut all = Vec::new();
    for (name, _, hue) in panel.curves {
        let Some(values) = values(series, name) else { continue };
        let mut values = averaged(values, bin);
        if panel.stacked {
            below.resize(values.len().max(below.len()), 0.0);
            for (value, below) in values.iter_mut().zip(&mut below) {
                *below += value.unwrap_or(0.0);
                *value = value.map(|_| *below);
            }
        }
        all.push((*hue, values));
    }
    all
}

fn most(panel: &Panel, series: &Series, bin: usize) -> f64 {
    drawn(panel, series, bin)
        .iter()
        .flat_map(|(_, values)| values.iter().flatten())
        .copied()
        .fold(0.0, f64::max)
}

fn legend(html: &mut String, panel: &Panel, chosen: &[(&Measurement, &Series)], averaged: &str) {
    let unit = match (panel.title, panel.unit) {
        ("Processors", _) => ", busy on the host".to_owned(),
        (_, "%") => ", share of time".to_owned(),
        _ => String::new(),
    };
    let _ = write!(html, "<div class=\"legend\"><b>{}{unit}</b>{averaged}:", panel.title);
    for (name, word, hue) in panel.curves {
        let there = chosen.iter().any(|(_, series)| {
            values(series, name).is_some_and(|all| all.iter().flatten().any(|value| *value > 0.0))
        });
        if there {
            let _ = write!(html, "<span><i class=\"f{hue}\"></i>{word}</span>");
        }
    }
    html.push_str("</div>");
}

fn draw(
    html: &mut String,
    panel: &Panel,
    one: &Measurement,
    series: &Series,
    most: f64,
    end: f64,
    bin: usize,
) {
    let shown = |value: f64| match panel.unit {
        "%" => crate::quantity::percent(value),
        unit => {
            let scale = Scale::of([most], unit);
            let number = tidy(&scale.number(value));
            if value == 0.0 || scale.unit.is_empty() { number } else { format!("{number} {}", scale.unit) }
        }
    };
    let levels = ticks(most, 2);
    let y = |value: f64| HEIGHT - value / most * HEIGHT;
    let _ = write!(
        html,
        "<div class=\"panel\"><small>{}, no {:05}</small><div class=\"plane\"><svg height=\"{:.0}\" aria-hidden=\"true\">",
        escape(&one.slot.environment),
        one.slot.number,
        HEIGHT + 18.0
    );
    for level in &levels {
        let _ = write!(
            html,
            "<text x=\"92%\" y=\"{:.1}\" text-anchor=\"end\">{}</text>",
            y(*level).max(6.0) + 3.5,
            escape(&shown(*level))
        );
    }
    let _ = write!(
        html,
        "</svg><svg height=\"{:.0}\" role=\"img\"><title>{} over time in {}</title>",
        HEIGHT + 18.0,
        panel.title,
        escape(&one.slot.environment)
    );
    if let Some(run) = one.phases.iter().find(|phase| phase.name == "run") {
        let _ = write!(
            html,
            "<rect class=\"phase\" x=\"{}\" y=\"0\" width=\"{}\" height=\"{HEIGHT}\"/>",
            place(run.start / end),
            place((run.end - run.start) / end)
        );
    }
    for level in &levels {
        let _ = write!(
            html,
            "<line class=\"{}\" x1=\"0\" x2=\"100%\" y1=\"{1:.1}\" y2=\"{1:.1}\"/>",
            if *level == 0.0 { "axis" } else { "grid" },
            y(*level)
        );
    }
    html.push_str("<svg width=\"100%\" height=\"84\" viewBox=\"0 0 1000 84\" preserveAspectRatio=\"none\">");
    let curves = drawn(panel, series, bin);
    let times: Vec<f64> = series.at.chunks(bin).map(crate::statistics::mean).collect();
    // The upper ones of a stack first: the lower ones are drawn over them.
    for (hue, values) in curves.iter().rev() {
        let path = path(&times, values, end, most, panel.stacked);
        let class = if panel.stacked { format!("f{hue}") } else { format!("curve s{hue}") };
        if !path.is_empty() {
            let _ = write!(html, "<path class=\"{class}\" d=\"{path}\"/>");
        }
    }
    html.push_str("</svg>");
    phases(html, one, end);
    let ticks = ticks(end, 4);
    let last = ticks.len() - 1;
    for (number, tick) in ticks.iter().enumerate() {
        let (share, second) = (tick / end, tidy(&Scale::of([end], "s").number(*tick)));
        let unit = if number == last { format!(" {}", Scale::of([end], "s").unit) } else { String::new() };
        let _ = write!(
            html,
            "<text x=\"{}\" y=\"{:.0}\" text-anchor=\"{}\">{second}{unit}</text>",
            place(share),
            HEIGHT + 14.0,
            anchor(share)
        );
    }
    html.push_str("</svg></div></div>");
}

/// Where phases begin, with the names that have room.
fn phases(html: &mut String, one: &Measurement, end: f64) {
    for phase in &one.phases {
        let (start, share) = (phase.start / end, (phase.end - phase.start) / end);
        let _ = write!(
            html,
            "<line class=\"edge\" x1=\"{0}\" x2=\"{0}\" y1=\"0\" y2=\"{HEIGHT}\"/>",
            place(start)
        );
        if share > 0.05 + 0.025 * phase.name.chars().count() as f64 {
            let _ =
                write!(html, "<text x=\"{}\" dx=\"3\" y=\"-3\">{}</text>", place(start), escape(&phase.name));
        }
    }
}

/// A curve in coordinates of 1000 by [`HEIGHT`]: moves relative to the point before, for they are short.
fn path(times: &[f64], values: &[Option<f64>], end: f64, most: f64, filled: bool) -> String {
    let mut path = String::new();
    let mut before: Option<(i64, i64)> = None;
    let bottom = HEIGHT as i64;
    let close = |path: &mut String, before: Option<(i64, i64)>| {
        if let (true, Some(_)) = (filled, before) {
            let _ = write!(path, "V{bottom}z");
        }
    };
    for (time, value) in times.iter().zip(values) {
        let Some(value) = value else {
            close(&mut path, before);
            before = None;
            continue;
        };
        let x = (time / end * 1000.0).round() as i64;
        let y = (HEIGHT - (value / most).clamp(0.0, 1.0) * HEIGHT).round() as i64;
        let _ = match before {
            None if filled => write!(path, "M{x} {bottom}V{y}"),
            None => write!(path, "M{x} {y}"),
            Some((_, level)) if level == y => write!(path, "H{x}"),
            Some((left, level)) => write!(path, "l{} {}", x - left, y - level),
        };
        before = Some((x, y));
    }
    close(&mut path, before);
    path
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gaps_stay_gaps_and_areas_are_closed() {
        let times = [1.0, 2.0, 3.0, 4.0];
        let values = [Some(0.0), Some(1.0), None, Some(2.0)];
        assert_eq!(path(&times, &values, 4.0, 2.0, false), "M250 84l250 -42M1000 0");
        assert_eq!(path(&times, &values, 4.0, 2.0, true), "M250 84V84l250 -42V84zM1000 84V0V84z");
    }

    #[test]
    fn means_leave_out_what_could_not_be_read() {
        assert_eq!(averaged(&[Some(1.0), None, Some(2.0), Some(4.0), None], 2), [Some(1.0), Some(3.0), None]);
    }
}
