//! `stop` and `restart`: containers are asked to end, and made to.

use engine::ops::stop::{self, Options};
use engine::{Settings, signals};

use super::{Command, for_each};
use crate::options::{Group, Typed, Words, one};
use crate::problem::Problem;
use crate::values::numbers;

const OPTIONS: &[Group] = &[Group {
    title: "Options",
    options: &[
        one("signal", "SIGNAL", "The signal that asks (default: the container's own, else TERM)").short('s'),
        one("timeout", "SECONDS", "Until it is killed (default: its own, else 10); -1 for never")
            .short('t')
            .alias("time"),
    ],
}];

pub(crate) const COMMAND: Command = Command {
    name: "stop",
    long_names: &["container stop"],
    summary: "Stop running containers",
    usage: &["stop [OPTIONS] CONTAINER [CONTAINER...]"],
    about: "Ask containers to end by a signal, and kill those that have not after a while.",
    examples: &[("minidocker stop -t 30 db", "it has half a minute")],
    groups: OPTIONS,
    words: Words::Between,
    failed: 1,
    exec: |typed, settings| {
        let options = options(&typed)?;
        for_each(&typed, &COMMAND, |name| stop::stop(settings, name, options))
    },
};

pub(crate) const RESTART: Command = Command {
    name: "restart",
    long_names: &["container restart"],
    summary: "Stop containers and start them",
    usage: &["restart [OPTIONS] CONTAINER [CONTAINER...]"],
    about: "Stop containers as 'minidocker stop' does, and start them.",
    examples: &[("minidocker restart web", "")],
    groups: OPTIONS,
    words: Words::Between,
    failed: 1,
    exec: |typed: Typed, settings: &Settings| {
        let options = options(&typed)?;
        for_each(&typed, &RESTART, |name| stop::restart(settings, name, options))
    },
};

pub(super) fn options(typed: &Typed) -> Result<Options, Problem> {
    Ok(Options {
        // Containers of a pod have one each.
        signal: if typed.knows("signal") { typed.read("signal", signals::parse)? } else { None },
        timeout: typed.read("timeout", |text| numbers::within(text, -1..=i64::from(i32::MAX)))?,
    })
}
