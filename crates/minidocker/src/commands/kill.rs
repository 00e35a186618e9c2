//! `kill`: sends a signal to running containers.

use engine::{Settings, ops};

use super::{Command, for_each};
use crate::options::{Group, Typed, Words, one};
use crate::problem::Problem;
use crate::values::signals;

pub(crate) const COMMAND: Command = Command {
    name: "kill",
    long_names: &["container kill"],
    summary: "Send a signal to running containers",
    usage: &["kill [OPTIONS] CONTAINER [CONTAINER...]"],
    about: "Send a signal to the first process of running containers.",
    examples: &[("minidocker kill -s TERM web", "ask it to end")],
    groups: &[Group {
        title: "Options",
        options: &[one("signal", "SIGNAL", "Name or number (default KILL)").short('s')],
    }],
    words: Words::Between,
    failed: 1,
    exec,
};

fn exec(typed: Typed, settings: &Settings) -> Result<u8, Problem> {
    let signal = match typed.read("signal", signals::parse)? {
        Some(signal) => signal,
        None => rustix::process::Signal::KILL.as_raw(),
    };
    for_each(&typed, &COMMAND, |name| ops::kill::kill(settings, name, signal))
}
