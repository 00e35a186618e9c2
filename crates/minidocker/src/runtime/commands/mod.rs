//! One file per command: what it accepts and an `exec` that calls `bundle::ops`. This table is the only place that
//! knows them all.

mod checkpoint;
mod create;
mod delete;
mod events;
mod exec;
mod features;
mod kill;
mod list;
mod pause;
mod ps;
mod restore;
mod run;
mod spec;
mod start;
mod state;
mod update;

use std::ops::RangeInclusive;

use serde::Serialize;

use crate::options::Opt;
use crate::problem::Problem;
use crate::terminal::print;

use super::Context;
use super::arguments::Typed;

/// One command.
#[derive(Debug)]
pub(super) struct Command {
    /// `create`.
    pub(super) name: &'static str,
    /// One line of the overview.
    pub(super) summary: &'static str,
    /// What follows the options, for the help.
    pub(super) arguments: &'static str,
    /// What it does; may be empty.
    pub(super) about: &'static str,
    /// Its options.
    pub(super) options: &'static [Opt],
    /// How many words it takes besides.
    pub(super) words: RangeInclusive<usize>,
    /// Options may follow the container's id.
    pub(super) interspersed: bool,
    /// It starts a program in a container.
    pub(super) starts: bool,
    /// It hands systemd's sockets on to the container.
    pub(super) listens: bool,
    /// The exit code when it fails.
    pub(super) failed: u8,
    /// Does it; gives the exit code.
    pub(super) exec: fn(&Typed, &Context) -> Result<u8, Problem>,
}

impl Command {
    /// A command on one container, without options.
    const fn new(
        name: &'static str,
        summary: &'static str,
        exec: fn(&Typed, &Context) -> Result<u8, Problem>,
    ) -> Self {
        Self {
            name,
            summary,
            arguments: "<container-id>",
            about: "",
            options: &[],
            words: 1..=1,
            interspersed: true,
            starts: false,
            listens: false,
            failed: 1,
            exec,
        }
    }
}

/// Every command, in the order of the overview.
pub(super) const COMMANDS: &[&Command] = &[
    &create::COMMAND,
    &start::COMMAND,
    &run::COMMAND,
    &exec::COMMAND,
    &state::COMMAND,
    &list::COMMAND,
    &ps::COMMAND,
    &kill::COMMAND,
    &pause::PAUSE,
    &pause::RESUME,
    &checkpoint::COMMAND,
    &restore::COMMAND,
    &delete::COMMAND,
    &update::COMMAND,
    &events::COMMAND,
    &spec::COMMAND,
    &features::COMMAND,
];

/// `table` or `json`.
fn wants_json(typed: &Typed) -> Result<bool, Problem> {
    match typed.text("format") {
        None | Some("table") => Ok(false),
        Some("json") => Ok(true),
        Some(other) => {
            Err(Problem::new("invalid format option").hint(format!("{other:?}: it is table or json")))
        }
    }
}

/// Prints a value as JSON, on one line or indented by two spaces.
fn print_json(value: &impl Serialize, indented: bool) -> Result<(), Problem> {
    let text = match indented {
        true => serde_json::to_string_pretty(value),
        false => serde_json::to_string(value),
    };
    let text = text.map_err(|error| Problem::new(format!("cannot write JSON: {error}")))?;
    print(&format!("{text}\n"))
}

/// The problem with what failed in front, `runc create failed: …`.
fn during(what: impl std::fmt::Display, problem: impl Into<Problem>) -> Problem {
    let problem = problem.into();
    Problem { message: format!("{what}: {}", problem.message), ..problem }
}

#[cfg(test)]
mod tests {
    use super::super::arguments::parse;
    use super::*;

    /// What a command reads of a line.
    pub(super) fn typed(command: &Command, line: &str) -> Typed {
        let words = line.split_whitespace().map(str::to_owned).collect();
        parse(command.options, command.interspersed, words).unwrap().unwrap()
    }

    #[test]
    fn no_table_names_an_option_twice() {
        for command in COMMANDS {
            let mut names: Vec<String> = Vec::new();
            for option in command.options {
                names.push(option.long.to_owned());
                names.extend(option.alias.map(str::to_owned));
                names.extend(option.short.map(String::from));
            }
            let count = names.len();
            names.sort();
            names.dedup();
            assert_eq!(names.len(), count, "{}", command.name);
        }
    }

    #[test]
    fn formats_are_two() {
        let json = |line| wants_json(&typed(&list::COMMAND, line)).map_err(|problem| problem.message);
        assert_eq!((json(""), json("-f table"), json("--format=json")), (Ok(false), Ok(false), Ok(true)));
        assert_eq!(json("-f yaml"), Err("invalid format option".to_owned()));
    }
}
