//! `create`: makes a container that is started later.

use engine::{Settings, ops};

use super::{Command, run};
use crate::options::{Typed, Words};
use crate::problem::{Problem, RUN_FAILED};
use crate::terminal;

pub(crate) const COMMAND: Command = Command {
    name: "create",
    long_names: &["container create"],
    summary: "Make a container that is started later",
    usage: &[
        "create [OPTIONS] IMAGE [COMMAND] [ARG...]",
        "create [OPTIONS] --rootfs DIR[:overlay] [COMMAND] [ARG...]",
    ],
    about: "Make a container and print its id. 'minidocker start' starts it.",
    examples: &[("minidocker create --name web -v ./site:/site:ro host httpd", "to be started later")],
    groups: run::options::CREATE,
    words: Words::Last,
    failed: 1,
    exec,
};

fn exec(typed: Typed, settings: &Settings) -> Result<u8, Problem> {
    let mut request = run::request(&typed).map_err(|problem| problem.code(RUN_FAILED))?;
    run::bring(&typed, settings, &mut request)?;
    let created = run::in_new_pod(settings, request, |request| Ok(ops::create::create(settings, request)?))?;
    run::report(&created.notes);
    terminal::print(&format!("{}\n", created.id)).map(|()| 0)
}
