//! One file per command: what it accepts and an `exec` that calls the engine. This table is the only place that
//! knows them all; Docker's long names (`container ls`) are further names of the same entries.

mod info;
mod kill;
mod ps;
mod rm;
mod run;
pub(crate) mod version;

use engine::Settings;

use crate::options::{Group, Typed, Words};
use crate::problem::Problem;

/// One command.
#[derive(Debug)]
pub(crate) struct Command {
    /// `ps`.
    pub(crate) name: &'static str,
    /// Its names after `container`.
    pub(crate) long_names: &'static [&'static str],
    /// One line of the overview.
    pub(crate) summary: &'static str,
    /// What may be typed, without `minidocker`.
    pub(crate) usage: &'static [&'static str],
    /// What it does.
    pub(crate) about: &'static str,
    /// What is typed, and what that does.
    pub(crate) examples: &'static [(&'static str, &'static str)],
    /// Its options.
    pub(crate) groups: &'static [Group],
    /// Its other words.
    pub(crate) words: Words,
    /// The exit code when it fails.
    pub(crate) failed: u8,
    /// Does it; gives the exit code.
    pub(crate) exec: fn(Typed, &Settings) -> Result<u8, Problem>,
}

/// Every command, in the order of the overview.
pub(crate) const COMMANDS: &[&Command] =
    &[&run::COMMAND, &ps::COMMAND, &kill::COMMAND, &rm::COMMAND, &info::COMMAND, &version::COMMAND];

/// For hints.
pub(crate) const NAMES_AND_HELP: &str = "run, ps, kill, rm, info, version, help and container";

/// Does `act` to each named container, prints the name of each that it was done to, and tells of each other one.
fn for_each(
    typed: &Typed,
    command: &Command,
    act: impl Fn(&str) -> Result<(), engine::Error>,
) -> Result<u8, Problem> {
    if typed.words.is_empty() {
        return Err(Problem::new(format!("{} needs a container's name or id", command.name))
            .hint("'minidocker ps -a' lists them"));
    }
    let mut code = 0;
    for name in &typed.words {
        match act(name) {
            Ok(()) => crate::terminal::print(&format!("{}\n", crate::terminal::plain(name)))?,
            Err(error) => {
                crate::terminal::report(&Problem::from(error));
                code = command.failed;
            }
        }
    }
    Ok(code)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hint_names_every_command() {
        for command in COMMANDS {
            assert!(NAMES_AND_HELP.split([',', ' ']).any(|name| name == command.name), "{}", command.name);
        }
    }
}
