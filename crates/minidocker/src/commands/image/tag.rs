//! `tag`: one more name.

use engine::Settings;
use engine::ops::images;

use crate::commands::Command;
use crate::options::{Typed, Words};
use crate::problem::Problem;

pub(crate) const COMMAND: Command = Command {
    name: "tag",
    long_names: &["image tag"],
    summary: "Give an image another name",
    usage: &["tag IMAGE NAME[:TAG]"],
    about: "Give an image another name. An image that had the name before keeps its id and its other names.",
    examples: &[("minidocker tag app localhost:5000/app:1", "for a push")],
    groups: &[],
    words: Words::Between,
    failed: 1,
    exec,
};

fn exec(typed: Typed, settings: &Settings) -> Result<u8, Problem> {
    let [source, target] = typed.words.as_slice() else {
        return Err(Problem::new("tag needs an image and its new name")
            .hint("for example: minidocker tag app localhost:5000/app:1"));
    };
    images::tag(settings, source, target)?;
    Ok(0)
}
