//! `volume prune`: volumes that no container uses.

use engine::Settings;
use engine::ops::volumes::{self, Volume};

use super::filters;
use crate::commands::prune::Pruned;
use crate::commands::{Command, confirmed};
use crate::options::{Group, Typed, Words, flag, many};
use crate::problem::Problem;
use crate::terminal::report_warning;

pub(crate) const COMMAND: Command = Command {
    name: "volume prune",
    long_names: &[],
    summary: "Remove volumes that no container uses",
    usage: &["volume prune [OPTIONS]"],
    about: "Remove volumes without a name of their own that no container uses, running or not. With --all those with a\n\
            name too.",
    examples: &[("minidocker volume prune -f --filter label=scratch", "those with a label")],
    groups: &[Group {
        title: "Options",
        options: &[
            flag("all", "Volumes with a name of their own too").short('a'),
            many("filter", "KEY=VALUE", "Only those with this label= or label!="),
            flag("force", "Do not ask").short('f'),
        ],
    }],
    words: Words::None,
    failed: 1,
    exec,
};

fn exec(typed: Typed, settings: &Settings) -> Result<u8, Problem> {
    let all = typed.flag("all")?.unwrap_or(false);
    typed.read_many("filter", filters::for_prune)?;
    let which = if all { "all local volumes" } else { "anonymous local volumes" };
    let question = format!("This will remove {which} not used by at least one container.");
    if !typed.flag("force")?.unwrap_or(false) && !confirmed(&question)? {
        return Ok(0);
    }
    prune(&typed, settings, all)?.print()
}

/// Removes volumes that no container uses, as far as `--filter` says so; with `all` those with a name too.
pub(in crate::commands) fn prune(typed: &Typed, settings: &Settings, all: bool) -> Result<Pruned, Problem> {
    let filters = typed.read_many("filter", filters::for_prune)?;
    let keep = |volume: &Volume| !filters.iter().all(|filter| filter.holds(volume, false));
    let pruned = volumes::prune(settings, all, &keep)?;
    let deleted = match pruned.names.as_slice() {
        [] => String::new(),
        names => format!("Deleted Volumes:\n{}\n\n", names.join("\n")),
    };
    if pruned.unknown {
        report_warning(
            "nothing was removed: a container's record cannot be read, it may use any volume",
            Some("'minidocker ps -a' shows damaged containers, 'minidocker rm -f' removes them"),
        );
    }
    Ok(Pruned { deleted, bytes: pruned.bytes, code: 0 })
}
