//! `state`: what is known of a container, as JSON.

use bundle::ops;

use super::super::Context;
use super::super::arguments::Typed;
use super::{Command, print_json};
use crate::problem::Problem;

pub(super) const COMMAND: Command = Command::new("state", "Print the state of a container", exec);

fn exec(typed: &Typed, context: &Context) -> Result<u8, Problem> {
    let state = ops::state(&context.settings, typed.id())?;
    print_json(&state, true).map(|()| 0)
}
