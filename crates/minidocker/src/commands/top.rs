//! `top`: the processes of a container.

use engine::ops::top::Processes;
use engine::{Settings, ops};

use super::Command;
use crate::options::{Typed, Words};
use crate::problem::Problem;
use crate::terminal::{plain, print};

pub(crate) const COMMAND: Command = Command {
    name: "top",
    long_names: &["container top"],
    summary: "Show the processes of a container",
    usage: &["top CONTAINER [PS OPTIONS]"],
    about: "Show the processes of a container that runs, by the host's ps and with its options; -ef without any. The\n\
            numbers are the host's.",
    examples: &[
        ("minidocker top web", ""),
        ("minidocker top web -o pid,rss,args", "other columns; the one of PID is needed"),
    ],
    groups: &[],
    words: Words::Last,
    failed: 1,
    exec: top,
};

fn top(typed: Typed, settings: &Settings) -> Result<u8, Problem> {
    let Some((name, options)) = typed.words.split_first() else {
        return Err(Problem::new("top needs a container's name or id").hint("'minidocker ps' lists them"));
    };
    show(&ops::top::top(settings, name, options)?)
}

/// Prints them.
pub(super) fn show(found: &Processes) -> Result<u8, Problem> {
    let lines = std::iter::once(&found.titles).chain(&found.rows);
    let lines: Vec<Vec<String>> =
        lines.map(|line| line.iter().map(|cell| plain(cell).into_owned()).collect()).collect();
    print(&aligned(&lines)).map(|()| 0)
}

/// Docker's columns: at least twenty wide, three blanks between them.
fn aligned(lines: &[Vec<String>]) -> String {
    let columns = lines.iter().map(Vec::len).max().unwrap_or(0);
    let width = |column: usize| {
        let cells =
            lines.iter().filter(|line| column + 1 < line.len()).map(|line| line[column].chars().count());
        cells.max().map_or(0, |most| (most + 3).max(20))
    };
    let widths: Vec<usize> = (0..columns).map(width).collect();
    let line = |line: &Vec<String>| {
        let cells = line.iter().zip(&widths).map(|(cell, width)| format!("{cell:<width$}"));
        cells.collect::<String>().trim_end().to_owned() + "\n"
    };
    lines.iter().map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_as_wide_as_dockers() {
        let line = |cells: &[&str]| cells.iter().map(|cell| (*cell).to_owned()).collect::<Vec<_>>();
        let text = aligned(&[line(&["UID", "CMD"]), line(&["root", "sh -c x"])]);
        assert_eq!(text, "UID                 CMD\nroot                sh -c x\n");
    }
}
