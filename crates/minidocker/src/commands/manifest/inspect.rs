//! `manifest inspect`: what a registry has by a name, or a list that was made here.

use engine::Settings;
use engine::ops::images;

use crate::commands::Command;
use crate::options::{Typed, Words};
use crate::path_template::indented;
use crate::problem::Problem;
use crate::terminal::print;

pub(crate) const COMMAND: Command = Command {
    name: "manifest inspect",
    long_names: &[],
    summary: "Show the manifest of a name at its registry",
    usage: &["manifest inspect NAME[:TAG|@DIGEST]"],
    about: "Show the manifest, or the list of manifests, that a registry has by a name. Nothing is pulled. A list that\n\
            was made here is shown as it is here.",
    examples: &[("minidocker manifest inspect alpine", "which platforms there are")],
    groups: &[],
    words: Words::Between,
    failed: 1,
    exec,
};

fn exec(typed: Typed, settings: &Settings) -> Result<u8, Problem> {
    let [name] = typed.words.as_slice() else {
        return Err(
            Problem::new("manifest inspect needs one name").hint("minidocker manifest inspect alpine")
        );
    };
    let bytes = images::manifest(settings, name)?;
    let value: serde_json::Value = serde_json::from_slice(&bytes)
        .map_err(|error| Problem::new(format!("the manifest of {name} is no JSON: {error}")))?;
    let text = serde_json::to_string_pretty(&value).map_err(|error| Problem::new(error.to_string()))?;
    print(&format!("{}\n", indented(&text))).map(|()| 0)
}
