//! `delete`: whatever is left of a container goes.

use bundle::ops;

use super::super::Context;
use super::super::arguments::Typed;
use super::Command;
use crate::options::flag;
use crate::problem::Problem;

pub(super) const COMMAND: Command = Command {
    about: "Deletes a container that has stopped or was never started.",
    options: &[flag("force", "Kill what still runs; a container that does not exist is no error").short('f')],
    ..Command::new("delete", "Delete what is left of a container", exec)
};

fn exec(typed: &Typed, context: &Context) -> Result<u8, Problem> {
    Ok(ops::delete(&context.settings, typed.id(), typed.on("force")).map(|()| 0)?)
}
