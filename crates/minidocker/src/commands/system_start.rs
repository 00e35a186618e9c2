//! `system start`: after a boot, the containers that are to run.

use engine::{Settings, ops};

use super::Command;
use crate::options::{Typed, Words};
use crate::problem::Problem;
use crate::terminal;

pub(crate) const COMMAND: Command = Command {
    name: "system start",
    long_names: &[],
    summary: "Start what is to run after a boot",
    usage: &["system start"],
    about: "Start the containers whose restart policy wants them to run and that do not: after a boot, by the\n\
            systemd unit share/systemd/minidocker.service. Prints the name of each.",
    examples: &[("minidocker system start", "once after each boot")],
    groups: &[],
    words: Words::None,
    failed: 1,
    exec,
};

fn exec(_: Typed, settings: &Settings) -> Result<u8, Problem> {
    let mut code = 0;
    for (name, started) in ops::boot::start_all(settings)? {
        match started {
            Ok(()) => terminal::print(&format!("{name}\n"))?,
            Err(error) => {
                terminal::report(&Problem::from(error));
                code = COMMAND.failed;
            }
        }
    }
    Ok(code)
}
