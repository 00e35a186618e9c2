//! `list`: all containers, as a table or JSON.

use bundle::ops::{self, StateReport};

use super::super::Context;
use super::super::arguments::Typed;
use super::{Command, print_json, wants_json};
use crate::options::{flag, one};
use crate::problem::Problem;
use crate::terminal::{plain, print};

pub(super) const COMMAND: Command = Command {
    arguments: "",
    options: &[
        one("format", "FORMAT", "table or json (default table)").short('f'),
        flag("quiet", "Print ids only").short('q'),
    ],
    words: 0..=0,
    ..Command::new("list", "List the containers below --root", exec)
};

fn exec(typed: &Typed, context: &Context) -> Result<u8, Problem> {
    let json = wants_json(typed)?;
    let containers = ops::list(&context.settings)?;
    if typed.on("quiet") {
        return print(&containers.iter().map(|one| format!("{}\n", one.id)).collect::<String>()).map(|()| 0);
    }
    if json {
        // What Go makes of a list that nothing was put into.
        let none = containers.is_empty();
        return if none { print("null\n") } else { print_json(&containers, false) }.map(|()| 0);
    }
    print(&table(&containers.iter().map(row).collect::<Vec<_>>())).map(|()| 0)
}

type Row = [String; 6];

fn row(one: &StateReport) -> Row {
    let bundle = one.bundle.to_string_lossy();
    [
        one.id.clone(),
        one.pid.to_string(),
        one.status.word().to_owned(),
        plain(&bundle).into_owned(),
        one.created.clone(),
        plain(&one.owner).into_owned(),
    ]
}

/// Columns of 12 letters or more, with 3 spaces or more between them, as Go's tabwriter sets runc's.
fn table(rows: &[Row]) -> String {
    let head = ["ID", "PID", "STATUS", "BUNDLE", "CREATED", "OWNER"].map(str::to_owned);
    let rows: Vec<&Row> = std::iter::once(&head).chain(rows).collect();
    let width = |column: usize| {
        let longest = rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
        (longest + 3).max(12)
    };
    let widths: [usize; 5] = std::array::from_fn(width);
    let mut text = String::new();
    for row in rows {
        for (cell, width) in row.iter().zip(widths) {
            text.push_str(&format!("{cell:width$}"));
        }
        // Nothing stands to the right of the last one.
        text.push_str(&row[5]);
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_runcs() {
        assert_eq!(table(&[]), "ID          PID         STATUS      BUNDLE      CREATED     OWNER\n");
        let row = ["box1", "4711", "running", "/a/long/bundle", "2026-11-21T10:00:00.5Z", "root"]
            .map(str::to_owned);
        assert_eq!(
            table(&[row]),
            "ID          PID         STATUS      BUNDLE           CREATED                  OWNER\n\
             box1        4711        running     /a/long/bundle   2026-11-21T10:00:00.5Z   root\n"
        );
    }
}
