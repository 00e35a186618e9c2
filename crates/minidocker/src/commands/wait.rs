//! `wait`: until containers have ended.

use engine::{Settings, ops};

use super::Command;
use crate::options::{Typed, Words};
use crate::problem::Problem;
use crate::terminal;

pub(crate) const COMMAND: Command = Command {
    name: "wait",
    long_names: &["container wait"],
    summary: "Wait until containers have ended",
    usage: &["wait CONTAINER [CONTAINER...]"],
    about: "Wait until containers have ended, one after the other, and print their exit codes.",
    examples: &[("minidocker wait job", "prints 0 if it went well")],
    groups: &[],
    words: Words::Between,
    failed: 1,
    exec,
};

fn exec(typed: Typed, settings: &Settings) -> Result<u8, Problem> {
    if typed.words.is_empty() {
        return Err(Problem::new("wait needs a container's name or id").hint("'minidocker ps' lists them"));
    }
    let mut code = 0;
    for name in &typed.words {
        match ops::wait::wait(settings, name) {
            Ok(exit) => terminal::print(&format!("{exit}\n"))?,
            Err(error) => {
                terminal::report(&Problem::from(error));
                code = COMMAND.failed;
            }
        }
    }
    Ok(code)
}
