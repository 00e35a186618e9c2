//! `manifest rm`: lists go.

use engine::Settings;
use engine::ops::images;

use crate::commands::Command;
use crate::options::{Typed, Words};
use crate::problem::Problem;
use crate::terminal::report;

pub(crate) const COMMAND: Command = Command {
    name: "manifest rm",
    long_names: &[],
    summary: "Remove lists of images",
    usage: &["manifest rm LIST [LIST...]"],
    about: "Remove lists of images here. Images of them that have names of their own stay.",
    examples: &[("minidocker manifest rm app:1", "")],
    groups: &[],
    words: Words::Between,
    failed: 1,
    exec,
};

fn exec(typed: Typed, settings: &Settings) -> Result<u8, Problem> {
    if typed.words.is_empty() {
        return Err(
            Problem::new("manifest rm needs the name of a list").hint("'minidocker images' lists them")
        );
    }
    let mut code = 0;
    for list in &typed.words {
        if let Err(error) = images::remove_manifest(settings, list) {
            report(&Problem::from(error));
            code = COMMAND.failed;
        }
    }
    Ok(code)
}
