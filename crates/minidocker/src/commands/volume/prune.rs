//! `volume prune`: volumes that no container uses.

use engine::Settings;
use engine::ops::volumes::{self, Volume};

use super::filters;
use crate::commands::{Command, confirmed};
use crate::options::{Group, Typed, Words, flag, many};
use crate::problem::Problem;
use crate::terminal::{print, report_warning};
use crate::values::sizes;

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
    let filters = typed.read_many("filter", filters::for_prune)?;
    let which = if all { "all local volumes" } else { "anonymous local volumes" };
    let question = format!("This will remove {which} not used by at least one container.");
    if !typed.flag("force")?.unwrap_or(false) && !confirmed(&question)? {
        return Ok(0);
    }
    let keep = |volume: &Volume| !filters.iter().all(|filter| filter.holds(volume, false));
    let pruned = volumes::prune(settings, all, &keep)?;
    let mut text = String::new();
    if !pruned.names.is_empty() {
        text = format!("Deleted Volumes:\n{}\n\n", pruned.names.join("\n"));
    }
    text.push_str(&format!("Total reclaimed space: {}\n", sizes::decimal(pruned.bytes)));
    print(&text)?;
    if pruned.unknown {
        report_warning(
            "nothing was removed: a container's record cannot be read, it may use any volume",
            Some("'minidocker ps -a' shows damaged containers, 'minidocker rm -f' removes them"),
        );
    }
    Ok(0)
}
