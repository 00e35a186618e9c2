//! `start`: the program of a created container begins.

use bundle::ops;

use super::super::Context;
use super::super::arguments::Typed;
use super::Command;
use crate::problem::Problem;

pub(super) const COMMAND: Command = Command::new("start", "Start the program of a created container", exec);

fn exec(typed: &Typed, context: &Context) -> Result<u8, Problem> {
    Ok(ops::start(&context.settings, typed.id()).map(|()| 0)?)
}
