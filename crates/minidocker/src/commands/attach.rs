//! `attach`: the user's terminal to a container that runs.

use std::io::IsTerminal;

use engine::ops::run::AttachOptions;
use engine::{DetachKeys, Settings, ops};

use super::{Command, run};
use crate::options::{Group, Typed, Words, flag, one};
use crate::problem::Problem;
use crate::values::streams;

pub(crate) const COMMAND: Command = Command {
    name: "attach",
    long_names: &["container attach", "console"],
    summary: "Attach to a container that runs",
    usage: &["attach [OPTIONS] CONTAINER"],
    about: "Attach the terminal, or standard streams, to a container that runs, until it ends or the detach\n\
            keys are typed. The exit code is the container's own.",
    examples: &[("minidocker attach web", "ctrl-p ctrl-q leaves it running")],
    groups: &[Group {
        title: "Options",
        options: &[
            flag("no-stdin", "Do not give it what is typed"),
            flag("sig-proxy", "Forward signals to it (default true)"),
            one("detach-keys", "KEYS", "Keys that leave the container running (default ctrl-p,ctrl-q)"),
        ],
    }],
    words: Words::Between,
    failed: 1,
    exec,
};

fn exec(typed: Typed, settings: &Settings) -> Result<u8, Problem> {
    let [name] = typed.words.as_slice() else {
        return Err(Problem::new("attach needs one container").hint("'minidocker ps' lists those that run"));
    };
    let input = !typed.flag("no-stdin")?.unwrap_or(false);
    let keys = typed.read("detach-keys", streams::keys)?;
    let options = AttachOptions {
        forward_signals: typed.flag("sig-proxy")?.unwrap_or(true),
        detach: keys.map_or_else(DetachKeys::default, DetachKeys::new),
        ..AttachOptions::default()
    };
    let started = ops::attach::attach(settings, name, input)?;
    if started.is_terminal() && input && !std::io::stdin().is_terminal() {
        return Err(
            Problem::new("the input device is not a TTY").hint("attach from a terminal, or with --no-stdin")
        );
    }
    let Some(finished) = started.attach(&options)? else { return Ok(0) };
    run::report(&finished.notes);
    Ok(finished.code)
}
