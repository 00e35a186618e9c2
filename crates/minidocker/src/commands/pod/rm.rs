//! `pod rm`: pods go, with all that is in them.

use engine::ops::pods::{self, Removal};
use engine::{Error, Kind, Settings};

use super::{ALL, FAILED, LATEST, for_each, named};
use crate::commands::Command;
use crate::options::{Group, Typed, Words, flag, one};
use crate::problem::Problem;
use crate::values::numbers;

pub(crate) const COMMAND: Command = Command {
    name: "pod rm",
    long_names: &["pod remove"],
    summary: "Remove pods with all their containers",
    usage: &["pod rm [OPTIONS] [POD...]"],
    about: "Remove pods with all their containers and the anonymous volumes of these. A pod with containers that run is\n\
            removed with --force alone.\n\n\
            The exit code is 1 where there is no such pod, 2 where containers run in one, 125 for everything else.",
    examples: &[("minidocker pod rm -f web", "kill first what runs")],
    groups: &[Group {
        title: "Options",
        options: &[
            ALL,
            LATEST,
            flag("force", "Kill containers that run, and remove them").short('f'),
            flag("ignore", "A pod that is not there is no error").short('i'),
            one("timeout", "SECONDS", "With --force: ask first, and kill after so long; -1 for never")
                .short('t')
                .alias("time"),
        ],
    }],
    words: Words::Between,
    failed: FAILED,
    exec,
};

fn exec(typed: Typed, settings: &Settings) -> Result<u8, Problem> {
    let on = |long| typed.flag(long).map(|on| on.unwrap_or(false));
    let timeout = typed.read("timeout", |text| numbers::within(text, -1..=i64::from(i32::MAX)))?;
    let (how, ignore) = (Removal { force: on("force")?, timeout }, on("ignore")?);
    if timeout.is_some() && !how.force {
        return Err(Problem::new("--timeout without --force: nothing is stopped then").hint("add --force"));
    }
    let names = named(&typed, &COMMAND, settings, |_| true)?;
    let code = |error: &Error| match error.kind {
        Kind::NoSuchPod if ignore => Some(0),
        Kind::NoSuchPod => Some(1),
        Kind::InUse => Some(2),
        _ => None,
    };
    for_each(&names, |name| pods::remove(settings, name, how), code)
}
