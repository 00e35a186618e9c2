//! `network ls`: every network, in Docker's columns.

use engine::Settings;
use engine::ops::networks::{self, Listed};

use super::filters::{self, Filter};
use super::inspect::driver;
use crate::ages;
use crate::commands::Command;
use crate::options::{Group, Typed, Words, flag, many, one};
use crate::problem::Problem;
use crate::template::{self, Field, Row};
use crate::terminal::{print, report};

pub(crate) const COMMAND: Command = Command {
    name: "network ls",
    long_names: &["network list"],
    summary: "List networks",
    usage: &["network ls [OPTIONS]"],
    about: "List networks by their names: those that users made, and bridge, host and none, which are always there.",
    examples: &[("minidocker network ls -qf type=custom", "ids of those that users made")],
    groups: &[Group {
        title: "Options",
        options: &[
            many(
                "filter",
                "KEY=VALUE",
                "Only those with this driver=, type=, name=, id=, label=, scope= or\ndangling=",
            )
            .short('f'),
            one("format", "FORMAT", "table, json, or a template such as '{{.Name}} {{.Driver}}'"),
            flag("no-trunc", "Show ids in full"),
            flag("quiet", "Show ids only").short('q'),
        ],
    }],
    words: Words::None,
    failed: 1,
    exec,
};

const FIELDS: &[Field] = &[
    ("CreatedAt", "CREATED AT"),
    ("Driver", "DRIVER"),
    ("ID", "NETWORK ID"),
    ("IPv4", "IPV4"),
    ("IPv6", "IPV6"),
    ("Internal", "INTERNAL"),
    ("Labels", "LABELS"),
    ("Name", "NAME"),
    ("Scope", "SCOPE"),
];
const TABLE: &str = "table {{.ID}}\t{{.Name}}\t{{.Driver}}\t{{.Scope}}";

fn exec(typed: Typed, settings: &Settings) -> Result<u8, Problem> {
    let filters = typed.read_many("filter", filters::for_list)?;
    let format = typed.read("format", |text| template::parse(text, FIELDS, TABLE))?;
    let quiet = typed.flag("quiet")?.unwrap_or(false);
    let full = typed.flag("no-trunc")?.unwrap_or(false);
    let (all, damaged) = networks::list(settings)?;
    let rows: Vec<Row> = all
        .into_iter()
        .filter(|listed| Filter::all_hold(&filters, listed))
        .map(|one| row(one, full))
        .collect();
    let template = match format {
        Some(template) if !quiet => template,
        _ => template::parse(if quiet { "{{.ID}}" } else { "table" }, FIELDS, TABLE).map_err(Problem::new)?,
    };
    print(&template.render(FIELDS, &rows))?;
    let code = if damaged.is_empty() { 0 } else { COMMAND.failed };
    damaged.into_iter().for_each(|error| report(&Problem::from(error)));
    Ok(code)
}

/// The values of [`FIELDS`].
fn row(listed: Listed, full: bool) -> Row {
    let network = listed.network;
    let pairs: Vec<String> = network.labels.iter().map(|(key, value)| format!("{key}={value}")).collect();
    let id = if full { network.id.clone() } else { network.id.get(..12).unwrap_or(&network.id).to_owned() };
    let values = vec![
        ages::date(networks::created(&network)),
        driver(&network).to_owned(),
        id,
        "true".to_owned(),
        network.v6.is_some().to_string(),
        network.internal.to_string(),
        pairs.join(","),
        network.name.clone(),
        "local".to_owned(),
    ];
    Row { values, labels: network.labels }
}
