//! `rm`: removes containers.

use engine::ops::remove::Remover;
use engine::{Error, Kind, Settings};

use super::{Command, for_each};
use crate::options::{Group, Typed, Words, flag};
use crate::problem::Problem;

pub(crate) const COMMAND: Command = Command {
    name: "rm",
    long_names: &["container rm", "container remove"],
    summary: "Remove containers",
    usage: &["rm [OPTIONS] CONTAINER [CONTAINER...]"],
    about: "Remove containers that have ended; with --force running ones too.",
    examples: &[("minidocker rm -f web", "kill it first if it runs")],
    groups: &[Group {
        title: "Options",
        options: &[
            flag("force", "Kill a running container and remove it; one that is not there is no failure")
                .short('f'),
            flag("volumes", "Remove its anonymous volumes too").short('v'),
            flag("link", "Remove a link between containers; there are none").short('l'),
        ],
    }],
    words: Words::Between,
    failed: 1,
    exec,
};

fn exec(typed: Typed, settings: &Settings) -> Result<u8, Problem> {
    let force = typed.flag("force")?.unwrap_or(false);
    if typed.flag("link")?.unwrap_or(false) {
        return Err(Problem::new("there are no links between containers")
            .hint("containers of one network reach each other; leave out --link"));
    }
    let volumes = typed.flag("volumes")?.unwrap_or(false);
    let remover = Remover::new(settings)?;
    // What was to go anyway and is not there is told, and is no failure: Docker's way.
    let failed = std::cell::Cell::new(false);
    for_each(&typed, &COMMAND, |name| {
        let removed = remover.remove(name, force, volumes);
        let missing = |error: &Error| force && error.kind == Kind::NoSuchContainer;
        if removed.as_ref().is_err_and(|error| !missing(error)) {
            failed.set(true);
        }
        removed
    })?;
    remover.finish()?;
    Ok(if failed.get() { COMMAND.failed } else { 0 })
}
