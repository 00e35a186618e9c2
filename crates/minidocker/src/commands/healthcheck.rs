//! `healthcheck run`: looks at a container's health right now.

use engine::{Settings, ops};

use super::Command;
use crate::options::{Typed, Words};
use crate::problem::Problem;
use crate::terminal;

pub(crate) const COMMAND: Command = Command {
    name: "healthcheck run",
    long_names: &[],
    summary: "Look at a container's health right now",
    usage: &["healthcheck run CONTAINER"],
    about: "Make a container's health check right now, as Podman's command of this name does. The answer\n\
            counts as any other.\n\n\
            The exit code is 0 if it went well and 1 if not; then the container's health is printed:\n\
            starting, healthy or unhealthy. It is 125 where there is no check to be made.",
    examples: &[("minidocker healthcheck run web && echo well", "does something if it is well")],
    groups: &[],
    words: Words::Between,
    failed: 125,
    exec,
};

fn exec(typed: Typed, settings: &Settings) -> Result<u8, Problem> {
    let [name] = typed.words.as_slice() else {
        return Err(Problem::new("healthcheck run needs one container's name or id")
            .hint("'minidocker ps' lists them"));
    };
    let checked = ops::healthcheck::run(settings, name)?;
    if checked.exit_code == 0 {
        return Ok(0);
    }
    terminal::print(&format!("{}\n", checked.status.name())).map(|()| 1)
}
