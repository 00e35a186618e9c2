//! `bench compare`: the same cases in two runs.

use engine::Settings;
use lab::compare::{Format, compare, render};

use super::report::read;
use crate::commands::Command;
use crate::options::{Group, Typed, Words, one};
use crate::problem::Problem;
use crate::terminal::{print, report_note, report_warning};

pub(crate) const COMMAND: Command = Command {
    name: "bench compare",
    long_names: &[],
    summary: "Compare two runs of a suite",
    usage: &["bench compare [OPTIONS] DIR DIR"],
    about: "Show how the cases of one run changed in another: before and after a change, or one machine against\n\
            another. Of each case the change of the median, its 95 % interval, and whether it is real. Where\n\
            hosts, sizes, environments or suites differ, it warns.",
    examples: &[
        ("minidocker bench compare before after", "what a change did"),
        ("minidocker bench compare --format md before after", "the same for a page"),
    ],
    groups: &[Group {
        title: "Options",
        options: &[one("format", "FORMAT", "text, md or json (default text)")],
    }],
    words: Words::Between,
    failed: 1,
    exec,
};

fn exec(typed: Typed, _settings: &Settings) -> Result<u8, Problem> {
    let [before, after] = typed.words.as_slice() else {
        return Err(Problem::new("bench compare needs the directories of two runs")
            .hint("the first is what the second is compared to"));
    };
    let format = typed.read("format", parse)?.unwrap_or(Format::Text);
    let comparison = compare(&read(before)?, &read(after)?);
    if format == Format::Text {
        for warning in &comparison.warnings {
            report_warning(warning, None);
        }
        if comparison.changes.is_empty() {
            report_note("the runs have no figure in common", None);
        }
    }
    print(&render(&comparison, format)).map(|()| 0)
}

fn parse(text: &str) -> Result<Format, String> {
    match text {
        "text" => Ok(Format::Text),
        "md" => Ok(Format::Markdown),
        "json" => Ok(Format::Json),
        other => Err(format!("unknown format {}, known are text, md and json", step::quote(other))),
    }
}
