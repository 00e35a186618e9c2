//! `run`: create and start, and delete when the program has ended.

use bundle::ops::{self, RunRequest};

use super::super::Context;
use super::super::arguments::Typed;
use super::create::{
    self, BUNDLE, CONSOLE_SOCKET, NO_NEW_KEYRING, NO_PIVOT, PID_FILE, PIDFD_SOCKET, PRESERVE_FDS,
};
use super::{Command, during};
use crate::options::{Opt, flag};
use crate::problem::Problem;

pub(super) const DETACH: Opt = flag("detach", "Return as soon as the program runs").short('d');
/// Processes whose parents have ended belong to the container's first process, or to us: there is nothing to switch.
pub(super) const NO_SUBREAPER: Opt =
    flag("no-subreaper", "Do not take over processes that lost their parents");

pub(super) const COMMAND: Command = Command {
    about: "Creates and starts a container. Without --detach it waits for the program's end, deletes the container\n\
            and ends with the program's exit code.",
    options: &[
        BUNDLE,
        CONSOLE_SOCKET,
        PIDFD_SOCKET,
        DETACH,
        flag("keep", "Do not delete the container when its program has ended"),
        PID_FILE,
        NO_SUBREAPER,
        NO_PIVOT,
        NO_NEW_KEYRING,
        PRESERVE_FDS,
    ],
    starts: true,
    listens: true,
    ..Command::new("run", "Create and run a container", exec)
};

fn exec(typed: &Typed, context: &Context) -> Result<u8, Problem> {
    let failed = |problem| during(format!("{} run failed", context.name), problem);
    let create = create::request(typed, context).map_err(failed)?;
    let request = RunRequest { create, detach: typed.on("detach"), keep: typed.on("keep") };
    ops::run(&context.settings, &request).map_err(|error| failed(error.into()))
}
