//! One HTML file that needs no other, no network and no script: text, tables and inline drawings, light and dark, on a
//! screen of any width and on paper.

mod bars;
mod series;
mod setup;
mod steps;
mod summary;
mod tables;
mod text;

use std::fmt::Write as _;

use super::notes::{self, Weight};
use super::{method, shell};
use crate::analysis::{Analysis, Cell};
use crate::explain::{explain, listed};
use crate::quantity::moment;
use crate::read::Results;
use crate::record::{Case, Kind};
use bars::upper;
pub use text::escape;

/// The colours, light and dark, by name.
pub const PALETTE: &str = include_str!("palette.css");
/// How a page looks, colours included.
pub const STYLE: &str = concat!(include_str!("palette.css"), include_str!("style.css"));

/// Which hue an environment has in every drawing: the bare host grey, containers blue and green, machines orange.
struct Hues(Vec<(String, usize)>);

impl Hues {
    fn new(results: &Results) -> Self {
        let (mut containers, mut machines) =
            ([1, 3, 6, 7].into_iter().cycle(), [2, 4, 5].into_iter().cycle());
        let hue = |kind| match kind {
            Kind::Native => Some(0),
            Kind::Container => containers.next(),
            Kind::Vm => machines.next(),
        };
        let kinds = results.run.environments.iter().map(|environment| environment.kind);
        let hues: Vec<usize> = kinds.map(hue).map(Option::unwrap_or_default).collect();
        Self(results.run.environments.iter().map(|one| one.name.clone()).zip(hues).collect())
    }

    fn of(&self, environment: &str) -> usize {
        self.0.iter().find(|(name, _)| name == environment).map_or(0, |(_, hue)| *hue)
    }
}

fn differs(results: &Results, cell: &Cell) -> bool {
    notes::differs(results, &cell.environment.name, &cell.size.name)
}

pub(super) fn render(analysis: &Analysis) -> String {
    let results = analysis.results;
    let run = &results.run;
    let hues = Hues::new(results);
    let groups = analysis.groups();
    let title = format!("{}: {}", run.suite, names(results));
    let mut html = format!(
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <title>{}</title>\n<style>\n{STYLE}</style>\n</head>\n<body>\n",
        escape(&title)
    );
    head(&mut html, analysis, &groups);
    section(&mut html, "summary", "Summary", &[summary::table(analysis, &hues), why(analysis)]);
    section(&mut html, "parity", "What each environment really had", &[tables::parity(results)]);
    let (points, rows) = (series::points(analysis), tables::listed(analysis));
    for (number, group) in groups.iter().enumerate() {
        let cases: Vec<&Case> = run.cases.iter().filter(|case| case.group == *group).collect();
        let mut parts = vec![bars::chart(analysis, &cases, &hues)];
        for case in cases {
            parts.push(self::case(analysis, case, points, rows));
        }
        section(&mut html, &format!("group-{number}"), &upper(group), &parts);
    }
    section(&mut html, "setup", "Setup", &[setup::host(results), setup::environments(results)]);
    let paragraphs: String = method(analysis).iter().map(|text| format!("<p>{}</p>", escape(text))).collect();
    section(&mut html, "method", "Method", &[paragraphs]);
    section(&mut html, "repeat", "To repeat it", &[setup::repeat(results)]);
    html.push_str("</body>\n</html>\n");
    html
}

fn names(results: &Results) -> String {
    let names: Vec<&str> =
        results.run.environments.iter().map(|environment| environment.name.as_str()).collect();
    listed(&names)
}

fn head(html: &mut String, analysis: &Analysis, groups: &[&str]) {
    let run = &analysis.results.run;
    let n = match analysis.repetitions() {
        Some((least, most)) if least == most => format!("n = {least}"),
        Some((least, most)) => format!("n = {least} to {most}"),
        None => "nothing measured".to_owned(),
    };
    let sizes: Vec<&str> = run.sizes.iter().map(|size| size.name.as_str()).collect();
    let _ = write!(
        html,
        "<header><h1>{}: {}</h1><p class=\"soft\">Suite {} at {}; {n}; {} on {}, {}; minidocker {}.</p><ul class=\"notes\">",
        escape(&upper(&run.suite)),
        escape(&names(analysis.results)),
        escape(&run.suite),
        escape(&sizes.join(", ")),
        moment(run.started),
        escape(&run.host.processor),
        escape(&run.host.kernel),
        escape(&run.version)
    );
    for note in notes::notes(analysis) {
        let class = match note.weight {
            Weight::Spoils => "spoils",
            Weight::Care => "care",
            Weight::Good => "good",
        };
        let _ =
            write!(html, "<li class=\"{class}\"><b>{}:</b>{}</li>", note.weight.word(), escape(&note.text));
    }
    html.push_str("</ul><nav><a href=\"#summary\">Summary</a><a href=\"#parity\">Parity</a>");
    for (number, group) in groups.iter().enumerate() {
        let _ = write!(html, "<a href=\"#group-{number}\">{}</a>", escape(&upper(group)));
    }
    html.push_str("<a href=\"#setup\">Setup</a><a href=\"#method\">Method</a><a href=\"#repeat\">To repeat it</a></nav></header>\n");
}

/// A section of what there is; nothing where there is nothing.
fn section(html: &mut String, id: &str, title: &str, parts: &[String]) {
    if parts.iter().any(|part| !part.is_empty()) {
        let _ = writeln!(html, "<section id=\"{id}\"><h2>{}</h2>{}</section>", escape(title), parts.concat());
    }
}

fn why(analysis: &Analysis) -> String {
    let all = explain(analysis);
    if all.is_empty() {
        return String::new();
    }
    let mut html = "<h3>What the figures say</h3><ul class=\"why\">".to_owned();
    for one in &all {
        let figures: Vec<String> =
            one.figures.iter().map(|figure| format!("{} {}", figure.place, figure.words())).collect();
        let _ = write!(
            html,
            "<li><details><summary>{}</summary><small>{}: {}.</small></details></li>",
            escape(&one.text),
            escape(&upper(one.figures.first().map_or("", |figure| figure.what))),
            escape(&figures.join("; "))
        );
    }
    html + "</ul>"
}

fn case(analysis: &Analysis, case: &Case, points: usize, rows: usize) -> String {
    let results = analysis.results;
    let measured: Vec<&crate::record::Size> = results
        .run
        .sizes
        .iter()
        .filter(|size| {
            results.measurements.iter().any(|one| one.slot.case == case.name && one.slot.size == size.name)
        })
        .collect();
    let mut html = format!("<h3>{}</h3><p>{}</p>", escape(&case.title), escape(&case.about));
    if measured.is_empty() {
        return html + "<p class=\"soft\">Not measured.</p>";
    }
    html.push_str(&steps::chart(analysis, case));
    html.push_str(&tables::published(analysis, case));
    for (number, size) in measured.iter().enumerate() {
        if results.run.sizes.len() > 1 {
            let _ = write!(html, "<h4>{}</h4>", escape(&size.name));
        }
        html.push_str(&tables::figures(analysis, case, size));
        html.push_str(&tables::repetitions(analysis, case, size, rows));
        html.push_str(&tables::costs(analysis, case, size));
        html.push_str(&commands(results, case, &size.name));
        let panels = series::panels(analysis, case, size, points);
        if !panels.is_empty() {
            let open = if number == 0 { " open" } else { "" };
            let _ = write!(
                html,
                "<details class=\"wide\"{open}><summary>What the host saw</summary><p class=\"soft\"><small>The repetition nearest to the median of each environment; \
                 the tinted part is the phase that is measured.</small></p>{panels}</details>"
            );
        }
    }
    html
}

fn commands(results: &Results, case: &Case, size: &str) -> String {
    let mut html = String::new();
    for environment in &results.run.environments {
        if let Some(one) = results.of(&case.name, &environment.name, size).first() {
            let _ = writeln!(html, "# {}\n{}", escape(&environment.name), escape(&shell(&one.command)));
        }
    }
    if html.is_empty() {
        html
    } else {
        format!("<details><summary>Exact commands</summary><pre>{html}</pre></details>")
    }
}

#[cfg(test)]
mod tests;
