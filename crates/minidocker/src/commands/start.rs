//! `start`: starts containers that do not run.

use std::io::IsTerminal;

use engine::ops::run::AttachOptions;
use engine::{DetachKeys, Settings, ops};

use super::{Command, for_each, run};
use crate::options::{Group, Typed, Words, flag, one};
use crate::problem::Problem;
use crate::values::streams;

pub(crate) const COMMAND: Command = Command {
    name: "start",
    long_names: &["container start"],
    summary: "Start containers that do not run",
    usage: &["start [OPTIONS] CONTAINER [CONTAINER...]"],
    about: "Start containers that do not run. With --attach the exit code is the container's own.",
    examples: &[("minidocker start -ai web", "start it and stay with it")],
    groups: &[Group {
        title: "Options",
        options: &[
            flag("attach", "Show what it prints, forward signals").short('a'),
            flag("interactive", "Give it what is typed").short('i'),
            one("detach-keys", "KEYS", "Keys that leave the container running (default ctrl-p,ctrl-q)"),
        ],
    }],
    words: Words::Between,
    failed: 1,
    exec,
};

fn exec(typed: Typed, settings: &Settings) -> Result<u8, Problem> {
    let on = |long| typed.flag(long).map(|on| on.unwrap_or(false));
    let (attach, interactive) = (on("attach")?, on("interactive")?);
    if !attach && !interactive {
        return for_each(&typed, &COMMAND, |name| {
            let started = ops::start::start(settings, name, false)?;
            if let Some(started) = started {
                run::report(&started.notes);
            }
            Ok(())
        });
    }
    let [name] = typed.words.as_slice() else {
        return Err(Problem::new("--attach and --interactive are for one container"));
    };
    let keys = typed.read("detach-keys", streams::keys)?;
    let started = match ops::start::start(settings, name, true)? {
        Some(started) => started.interactive(interactive),
        None => ops::attach::attach(settings, name, interactive)?,
    };
    run::report(&started.notes);
    if started.is_terminal() && interactive && !std::io::stdin().is_terminal() {
        return Err(Problem::new("the input device is not a TTY").hint("start it from a terminal"));
    }
    let options = AttachOptions {
        detach: keys.map_or_else(DetachKeys::default, DetachKeys::new),
        ..AttachOptions::default()
    };
    let Some(finished) = started.attach(&options)? else { return Ok(0) };
    run::report(&finished.notes);
    Ok(finished.code)
}
