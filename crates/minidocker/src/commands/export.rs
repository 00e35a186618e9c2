//! `export`: a container's file system as a tar archive.

use std::io::IsTerminal as _;

use engine::Settings;
use engine::ops::export;

use super::{Command, into_file};
use crate::options::{Group, Typed, Words, one};
use crate::problem::Problem;

pub(crate) const COMMAND: Command = Command {
    name: "export",
    long_names: &["container export"],
    summary: "Write a container's files as a tar archive",
    usage: &["export [OPTIONS] CONTAINER"],
    about: "Write a container's file system as a tar archive, without what is mounted in it.",
    examples: &[("minidocker export web | tar -x -C root", "a directory for --rootfs")],
    groups: &[Group {
        title: "Options",
        options: &[one("output", "FILE", "Write to this file, not to standard output").short('o')],
    }],
    words: Words::Between,
    failed: 1,
    exec,
};

fn exec(typed: Typed, settings: &Settings) -> Result<u8, Problem> {
    let [name] = typed.words.as_slice() else {
        return Err(Problem::new("export needs one container").hint("'minidocker ps -a' lists them"));
    };
    match typed.one("output") {
        None if std::io::stdout().is_terminal() => {
            Err(Problem::new("an archive is nothing for a terminal").hint("use -o FILE, or a pipe"))
        }
        None => export::export(settings, name, std::io::stdout()).map(|()| 0).map_err(Problem::from),
        Some(path) => into_file(path, |file| Ok(export::export(settings, name, file)?)).map(|()| 0),
    }
}
