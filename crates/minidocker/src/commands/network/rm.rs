//! `network rm`: networks that no container is in go.

use engine::Settings;
use engine::ops::networks;

use crate::commands::Command;
use crate::options::{Group, Typed, Words, flag};
use crate::problem::Problem;
use crate::terminal::{plain, print, report};

pub(crate) const COMMAND: Command = Command {
    name: "network rm",
    long_names: &["network remove"],
    summary: "Remove networks",
    usage: &["network rm [OPTIONS] NETWORK [NETWORK...]"],
    about: "Remove networks with their bridges. One that a running container is in stays, and says which.",
    examples: &[("minidocker network rm web", "its addresses are free for another")],
    groups: &[Group {
        title: "Options",
        options: &[flag("force", "A network that is not there is no error").short('f')],
    }],
    words: Words::Between,
    failed: 1,
    exec,
};

fn exec(typed: Typed, settings: &Settings) -> Result<u8, Problem> {
    if typed.words.is_empty() {
        return Err(Problem::new("network rm needs a network's name or id")
            .hint("'minidocker network ls' lists them"));
    }
    let force = typed.flag("force")?.unwrap_or(false);
    let mut code = 0;
    for name in &typed.words {
        match networks::remove(settings, name) {
            Ok(_) => print(&format!("{}\n", plain(name)))?,
            Err(_) if force && networks::is_missing(settings, name) => {}
            Err(error) => {
                report(&Problem::from(error));
                code = COMMAND.failed;
            }
        }
    }
    Ok(code)
}
