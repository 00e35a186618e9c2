//! `rename`: another name for a container.

use engine::{Settings, ops};

use super::Command;
use crate::options::{Typed, Words};
use crate::problem::Problem;
use crate::values::names;

pub(crate) const COMMAND: Command = Command {
    name: "rename",
    long_names: &["container rename"],
    summary: "Give a container another name",
    usage: &["rename CONTAINER NAME"],
    about: "Give a container, running or not, another name.",
    examples: &[("minidocker rename web old-web", "")],
    groups: &[],
    words: Words::Between,
    failed: 1,
    exec,
};

fn exec(typed: Typed, settings: &Settings) -> Result<u8, Problem> {
    let [name, new] = typed.words.as_slice() else {
        return Err(Problem::new("rename needs a container and a new name")
            .hint("for example: minidocker rename web old-web"));
    };
    let new = names::container(new).map_err(|why| Problem::new(format!("{}: {why}", step::quote(new))))?;
    ops::rename::rename(settings, name, &new)?;
    Ok(0)
}
