//! `save`: images as one archive.

use std::io::IsTerminal as _;

use engine::Settings;
use engine::ops::files;

use crate::commands::{Command, into_file};
use crate::options::{Group, Typed, Words, one};
use crate::problem::Problem;

pub(crate) const COMMAND: Command = Command {
    name: "save",
    long_names: &["image save"],
    summary: "Write images as a tar archive",
    usage: &["save [OPTIONS] IMAGE [IMAGE...]"],
    about: "Write images as one tar archive that `load` reads, and Docker, Podman and skopeo too: an OCI layout and\n\
            Docker's in one. Layers that several images have are in it once. Of several for platforms all are in it.",
    examples: &[("minidocker save app:1 app:2 -o apps.tar", "")],
    groups: &[Group {
        title: "Options",
        options: &[
            one("output", "FILE", "Write to this file, not to standard output").short('o'),
            one("platform", "OS/ARCH[/VARIANT]", "Of several for platforms this one alone"),
        ],
    }],
    words: Words::Between,
    failed: 1,
    exec,
};

fn exec(typed: Typed, settings: &Settings) -> Result<u8, Problem> {
    if typed.words.is_empty() {
        return Err(Problem::new("save needs an image").hint("'minidocker images' lists them"));
    }
    let platform = typed.one("platform");
    match typed.one("output") {
        None if std::io::stdout().is_terminal() => {
            Err(Problem::new("an archive is nothing for a terminal").hint("use -o FILE, or a pipe"))
        }
        None => {
            let output = std::io::stdout().lock();
            Ok(files::save(settings, &typed.words, platform, output, "standard output")?)
        }
        Some(path) => into_file(path, |file| Ok(files::save(settings, &typed.words, platform, file, path)?)),
    }
    .map(|()| 0)
}
