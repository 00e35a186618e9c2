//! `bench list`: the suites that are part of the program.

use engine::Settings;
use lab::suite;

use super::told;
use crate::commands::Command;
use crate::options::{Typed, Words};
use crate::problem::Problem;
use crate::terminal::print;

pub(crate) const COMMAND: Command = Command {
    name: "bench list",
    long_names: &[],
    summary: "List the suites that can be measured",
    usage: &["bench list [SUITE]"],
    about: "List the suites that are part of the program, or print one as the file that it is: a start for one of your\n\
            own.",
    examples: &[
        ("minidocker bench list", "every suite, and its cases"),
        ("minidocker bench list course > mine.toml", "a suite of your own to start from"),
    ],
    groups: &[],
    words: Words::Between,
    failed: 1,
    exec,
};

fn exec(typed: Typed, _: &Settings) -> Result<u8, Problem> {
    match &typed.words[..] {
        [] => {
            let mut text = String::new();
            for (name, _) in suite::SHIPPED {
                let suite = suite::load(name).map_err(told)?;
                let cases: Vec<&str> = suite.cases.iter().map(|case| case.record.name.as_str()).collect();
                text.push_str(&format!("{name:8} {}\n         {}\n", suite.title, cases.join(", ")));
            }
            print(&text)?;
        }
        [name] => print(&suite::load(name).map_err(told)?.text)?,
        _ => return Err(Problem::new("bench list takes one suite at most")),
    }
    Ok(0)
}
