//! `pause` and `resume`: a container's processes are frozen, and go on.

use bundle::ops;

use super::super::Context;
use super::super::arguments::Typed;
use super::Command;
use crate::problem::Problem;

pub(super) const PAUSE: Command = Command::new("pause", "Freeze all processes of a container", pause);
pub(super) const RESUME: Command = Command::new("resume", "Let a paused container go on", resume);

fn pause(typed: &Typed, context: &Context) -> Result<u8, Problem> {
    Ok(ops::pause(&context.settings, typed.id()).map(|()| 0)?)
}

fn resume(typed: &Typed, context: &Context) -> Result<u8, Problem> {
    Ok(ops::resume(&context.settings, typed.id()).map(|()| 0)?)
}
