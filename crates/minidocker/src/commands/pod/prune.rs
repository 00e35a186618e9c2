//! `pod prune`: pods that have ended.

use engine::Settings;
use engine::ops::pods::{self, Listed};

use super::{FAILED, filters};
use crate::commands::prune::{Filter, Pruned};
use crate::commands::{Command, confirmed};
use crate::options::{Group, Typed, Words, flag, many};
use crate::problem::Problem;
use crate::terminal::{print, report};

pub(crate) const COMMAND: Command = Command {
    name: "pod prune",
    long_names: &[],
    summary: "Remove pods that have ended",
    usage: &["pod prune [OPTIONS]"],
    about: "Remove all pods that have ended, with their containers, and print their ids.",
    examples: &[("minidocker pod prune -f --filter until=24h", "those made more than a day ago")],
    groups: &[Group {
        title: "Options",
        options: &[
            many("filter", "KEY=VALUE", "Only those with this label=, label!= or until="),
            flag("force", "Do not ask").short('f'),
        ],
    }],
    words: Words::None,
    failed: FAILED,
    exec,
};

fn exec(typed: Typed, settings: &Settings) -> Result<u8, Problem> {
    typed.read_many("filter", Filter::parse)?;
    if !typed.flag("force")?.unwrap_or(false) && !confirmed("This will remove all stopped/exited pods.")? {
        return Ok(0);
    }
    let (ids, code) = pruned(&typed, settings)?;
    print(&ids.iter().map(|id| format!("{id}\n")).collect::<String>()).map(|()| code)
}

/// Removes those that `--filter` means; their ids, and the exit code.
fn pruned(typed: &Typed, settings: &Settings) -> Result<(Vec<String>, u8), Problem> {
    let wanted = typed.read_many("filter", Filter::parse)?;
    let keep = |listed: &Listed| !wanted.iter().all(|filter| filters::pruned(filter, listed));
    let (ids, failed) = pods::prune(settings, &keep)?;
    let code = if failed.is_empty() { 0 } else { FAILED };
    failed.into_iter().for_each(|error| report(&Problem::from(error)));
    Ok((ids, code))
}

/// The same among other things that are pruned.
pub(in crate::commands) fn prune(typed: &Typed, settings: &Settings) -> Result<Pruned, Problem> {
    let (ids, code) = pruned(typed, settings)?;
    let deleted = match ids.as_slice() {
        [] => String::new(),
        ids => format!("Deleted Pods:\n{}\n\n", ids.join("\n")),
    };
    Ok(Pruned { deleted, bytes: 0, code })
}
