//! `image prune`: images that nobody needs.

use engine::ops::images;
use engine::{Image, Settings};

use super::ls::Filter;
use crate::commands::prune::Pruned;
use crate::commands::{Command, confirmed};
use crate::options::{Group, Typed, Words, flag, many};
use crate::problem::Problem;
use crate::terminal::{plain, report_warning};

pub(crate) const COMMAND: Command = Command {
    name: "image prune",
    long_names: &[],
    summary: "Remove images that nobody needs",
    usage: &["image prune [OPTIONS]"],
    about: "Remove images without a name, and what interrupted downloads left. With --all every image that no\n\
            container uses.",
    examples: &[("minidocker image prune -af --filter until=24h", "those older than a day")],
    groups: &[Group {
        title: "Options",
        options: &[
            flag("all", "Every image that no container uses").short('a'),
            many("filter", "KEY=VALUE", "Only those with this label=, label!= or until="),
            flag("force", "Do not ask").short('f'),
        ],
    }],
    words: Words::None,
    failed: 1,
    exec,
};

fn exec(typed: Typed, settings: &Settings) -> Result<u8, Problem> {
    let all = typed.flag("all")?.unwrap_or(false);
    typed.read_many("filter", Filter::for_prune)?;
    let which = if all { "all images that no container uses" } else { "all images without a name" };
    if !typed.flag("force")?.unwrap_or(false) && !confirmed(&format!("This will remove {which}."))? {
        return Ok(0);
    }
    prune(&typed, settings)?.print()
}

/// Removes images without a name, with `--all` those that no container uses, as far as `--filter` says so.
pub(in crate::commands) fn prune(typed: &Typed, settings: &Settings) -> Result<Pruned, Problem> {
    let all = typed.flag("all")?.unwrap_or(false);
    let filters = typed.read_many("filter", Filter::for_prune)?;
    let listed = images::list_all(settings)?;
    let configs = Filter::configs(settings, &listed, &filters)?;
    let keep = |image: &Image| !filters.iter().all(|filter| filter.holds(image, &configs));
    let pruned = images::prune(settings, all, &keep)?;
    let mut text = String::new();
    let indexes = pruned.gone.indexes.iter().map(|index| (&index.names, index.id()));
    let gone = indexes.chain(pruned.gone.images.iter().map(|image| (&image.names, image.id)));
    for (names, id) in gone {
        for name in names {
            let short = images::reference(name).map_or_else(|_| name.clone(), |name| name.to_string());
            text.push_str(&format!("untagged: {}\n", plain(&short)));
        }
        text.push_str(&format!("deleted: {id}\n"));
    }
    if !text.is_empty() {
        text = format!("Deleted Images:\n{text}\n");
    }
    if pruned.freed.is_none() {
        report_warning(
            "their content stays for now: another command brings some, or a container's record cannot be read",
            Some("prune again later; 'minidocker ps -a' shows damaged containers"),
        );
    }
    Ok(Pruned { deleted: text, bytes: pruned.freed.map_or(0, |freed| freed.bytes), code: 0 })
}
