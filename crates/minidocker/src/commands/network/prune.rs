//! `network prune`: networks that no container names.

use engine::Settings;
use engine::ops::networks::{self, Network};

use super::filters;
use crate::commands::prune::Pruned;
use crate::commands::{Command, confirmed};
use crate::options::{Group, Typed, Words, flag, many};
use crate::problem::Problem;
use crate::terminal::print;

pub(crate) const COMMAND: Command = Command {
    name: "network prune",
    long_names: &[],
    summary: "Remove networks that no container uses",
    usage: &["network prune [OPTIONS]"],
    about: "Remove the networks that no container uses, running or not.",
    examples: &[("minidocker network prune -f --filter until=24h", "those made more than a day ago")],
    groups: &[Group {
        title: "Options",
        options: &[
            many("filter", "KEY=VALUE", "Only those with this label=, label!= or until="),
            flag("force", "Do not ask").short('f'),
        ],
    }],
    words: Words::None,
    failed: 1,
    exec,
};

fn exec(typed: Typed, settings: &Settings) -> Result<u8, Problem> {
    typed.read_many("filter", filters::for_prune)?;
    let question = "This will remove all custom networks not used by at least one container.";
    if !typed.flag("force")?.unwrap_or(false) && !confirmed(question)? {
        return Ok(0);
    }
    // There is nothing that would take room.
    print(&prune(&typed, settings)?.deleted).map(|()| 0)
}

/// Removes networks that no container names, as far as `--filter` says so.
pub(in crate::commands) fn prune(typed: &Typed, settings: &Settings) -> Result<Pruned, Problem> {
    let filters = typed.read_many("filter", filters::for_prune)?;
    let keep = |network: &Network| !filters.iter().all(|filter| filter.holds(network, false));
    let names = networks::prune(settings, &keep)?;
    let deleted = match names.as_slice() {
        [] => String::new(),
        names => format!("Deleted Networks:\n{}\n\n", names.join("\n")),
    };
    Ok(Pruned { deleted, ..Pruned::default() })
}
