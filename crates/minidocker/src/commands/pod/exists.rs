//! `pod exists`: by the exit code alone.

use engine::Settings;
use engine::ops::pods;

use super::FAILED;
use crate::commands::Command;
use crate::options::{Typed, Words};
use crate::problem::Problem;

pub(crate) const COMMAND: Command = Command {
    name: "pod exists",
    long_names: &[],
    summary: "Tell by the exit code whether there is a pod",
    usage: &["pod exists POD"],
    about: "Print nothing, and end with 0 where there is a pod of that name or id, with 1 where there is none.",
    examples: &[("minidocker pod exists web || minidocker pod create web", "make it where it is missing")],
    groups: &[],
    words: Words::Between,
    failed: FAILED,
    exec,
};

fn exec(typed: Typed, settings: &Settings) -> Result<u8, Problem> {
    let [name] = typed.words.as_slice() else {
        return Err(Problem::new("pod exists needs one name or id").hint("'minidocker pod ls' lists pods"));
    };
    Ok(u8::from(!pods::exists(settings, name)?))
}
