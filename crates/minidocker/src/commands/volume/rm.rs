//! `volume rm`: volumes that no container uses go, with their data.

use engine::Settings;
use engine::ops::volumes;

use crate::commands::Command;
use crate::options::{Group, Typed, Words, flag};
use crate::problem::Problem;
use crate::terminal::{plain, print, report};

pub(crate) const COMMAND: Command = Command {
    name: "volume rm",
    long_names: &["volume remove"],
    summary: "Remove volumes with their data",
    usage: &["volume rm [OPTIONS] VOLUME [VOLUME...]"],
    about: "Remove volumes and all that is in them. One that a container uses, running or not, stays.",
    examples: &[("minidocker volume rm data", "its files are gone")],
    groups: &[Group {
        title: "Options",
        options: &[flag("force", "A volume that is not there is no error").short('f')],
    }],
    words: Words::Between,
    failed: 1,
    exec,
};

fn exec(typed: Typed, settings: &Settings) -> Result<u8, Problem> {
    if typed.words.is_empty() {
        return Err(Problem::new("volume rm needs a volume's name").hint("'minidocker volume ls' lists them"));
    }
    let force = typed.flag("force")?.unwrap_or(false);
    let mut code = 0;
    for name in &typed.words {
        match volumes::remove(settings, name, force) {
            Ok(()) => print(&format!("{}\n", plain(name)))?,
            Err(error) => {
                report(&Problem::from(error));
                code = COMMAND.failed;
            }
        }
    }
    Ok(code)
}
