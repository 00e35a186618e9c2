//! `exec`: runs a program in a container that runs.

use std::io::IsTerminal;

use engine::ops::exec::ExecRequest;
use engine::ops::run::AttachOptions;
use engine::{DetachKeys, Error, Kind, Settings, ops};

use super::{Command, run};
use crate::options::{Group, Typed, Words, flag, many, one};
use crate::problem::Problem;
use crate::values::{names, streams};

pub(crate) const COMMAND: Command = Command {
    name: "exec",
    long_names: &["container exec"],
    summary: "Run a command in a container that runs",
    usage: &["exec [OPTIONS] CONTAINER COMMAND [ARG...]"],
    about: "Run a command in a container that runs: in its namespaces and control groups, with its\n\
            capabilities and its system call filter. It ends when this command is ended.\n\n\
            The exit code is the command's own; 128 and the signal's number where one ended it; 127 where\n\
            the command was not found, 126 where it cannot be run.",
    examples: &[
        ("minidocker exec -it web sh", "a shell in it"),
        ("minidocker exec -u 0 -w /srv web ls -l", "as root, elsewhere"),
    ],
    groups: &[Group {
        title: "Options",
        options: &[
            flag("interactive", "Keep standard input open").short('i'),
            flag("tty", "Give the command a terminal").short('t'),
            flag("detach", "Let it run in the background").short('d'),
            many("env", "NAME[=VALUE]", "Set a variable; NAME alone hands yours on").short('e'),
            many("env-file", "FILE", "Set variables from a file, one a line"),
            one("workdir", "DIR", "Working directory in the container").short('w'),
            one("user", "USER[:GROUP]", "Names or numbers").short('u'),
            flag("privileged", "All capabilities"),
            one("detach-keys", "KEYS", "Keys that leave the command running (default ctrl-p,ctrl-q)"),
        ],
    }],
    words: Words::Last,
    failed: 1,
    exec,
};

fn exec(typed: Typed, settings: &Settings) -> Result<u8, Problem> {
    let on = |long| typed.flag(long).map(|on| on.unwrap_or(false));
    let (name, command) = match typed.words.split_first() {
        Some((name, command)) if !command.is_empty() => (name, command),
        _ => {
            return Err(Problem::new("exec needs a container and a command")
                .hint("for example: minidocker exec -it web sh"));
        }
    };
    let request = ExecRequest {
        command: command.to_vec(),
        user: typed.read("user", names::user)?.flatten(),
        workdir: typed.read("workdir", run::request::workdir)?,
        env: run::request::environment(&typed, &run::request::Caller::own())?,
        tty: on("tty")?,
        interactive: on("interactive")?,
        detach: on("detach")?,
        privileged: on("privileged")?,
    };
    let keys = typed.read("detach-keys", streams::keys)?;
    if request.interactive && request.tty && !request.detach && !std::io::stdin().is_terminal() {
        return Err(
            Problem::new("the input device is not a TTY").hint("start it from a terminal, or leave out -t")
        );
    }
    let started = ops::exec::exec(settings, name, &request).map_err(not_started)?;
    run::report(&started.notes);
    if request.detach {
        return Ok(0);
    }
    let options = AttachOptions {
        detach: keys.map_or_else(DetachKeys::default, DetachKeys::new),
        ..AttachOptions::default()
    };
    let Some(finished) = started.attach(&options)? else { return Ok(0) };
    Ok(finished.code)
}

/// What could not be started ends with 126 as in Docker, so that it is not taken for the command's own 1.
fn not_started(error: Error) -> Problem {
    let engine = error.kind == Kind::Engine;
    let problem = Problem::from(error);
    if engine { problem.code(126) } else { problem }
}
