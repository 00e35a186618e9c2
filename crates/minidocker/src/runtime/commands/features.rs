//! `features`: what this runtime can do, as JSON.

use bundle::ops;

use super::super::Context;
use super::super::arguments::Typed;
use super::{Command, print_json};
use crate::problem::Problem;

pub(super) const COMMAND: Command = Command {
    arguments: "",
    about: "Prints the Features structure of the OCI runtime specification.",
    words: 0..=0,
    ..Command::new("features", "Print what this runtime can do", exec)
};

fn exec(_: &Typed, _: &Context) -> Result<u8, Problem> {
    print_json(&ops::features(), true).map(|()| 0)
}
