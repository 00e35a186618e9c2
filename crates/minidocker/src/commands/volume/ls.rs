//! `volume ls`: every volume, in Docker's columns.

use engine::Settings;
use engine::ops::volumes::{self, Listed};

use super::filters::{self, Filter};
use crate::commands::Command;
use crate::options::{Group, Typed, Words, flag, many, one};
use crate::problem::Problem;
use crate::template::{self, Field, Row};
use crate::terminal::print;

pub(crate) const COMMAND: Command = Command {
    name: "volume ls",
    long_names: &["volume list"],
    summary: "List volumes",
    usage: &["volume ls [OPTIONS]"],
    about: "List volumes by their names.",
    examples: &[("minidocker volume ls -qf dangling=true", "names of those that no container uses")],
    groups: &[Group {
        title: "Options",
        options: &[
            many("filter", "KEY=VALUE", "Only those with this dangling=, name=, label= or driver=")
                .short('f'),
            one("format", "FORMAT", "table, json, or a template such as '{{.Name}} {{.Mountpoint}}'"),
            flag("quiet", "Show names only").short('q'),
        ],
    }],
    words: Words::None,
    failed: 1,
    exec,
};

const FIELDS: &[Field] = &[
    ("Availability", "AVAILABILITY"),
    ("Driver", "DRIVER"),
    ("Group", "GROUP"),
    ("Labels", "LABELS"),
    ("Links", "LINKS"),
    ("Mountpoint", "MOUNTPOINT"),
    ("Name", "VOLUME NAME"),
    ("Scope", "SCOPE"),
    ("Size", "SIZE"),
    ("Status", "STATUS"),
];
const TABLE: &str = "table {{.Driver}}\t{{.Name}}";

fn exec(typed: Typed, settings: &Settings) -> Result<u8, Problem> {
    let filters = typed.read_many("filter", filters::for_list)?;
    let format = typed.read("format", |text| template::parse(text, FIELDS, TABLE))?;
    let quiet = typed.flag("quiet")?.unwrap_or(false);
    let all = volumes::list(settings)?;
    let rows: Vec<Row> =
        all.into_iter().filter(|listed| Filter::all_hold(&filters, listed)).map(row).collect();
    let template = match format {
        Some(template) if !quiet => template,
        _ => {
            template::parse(if quiet { "{{.Name}}" } else { "table" }, FIELDS, TABLE).map_err(Problem::new)?
        }
    };
    print(&template.render(FIELDS, &rows)).map(|()| 0)
}

/// The values of [`FIELDS`]; what belongs to clusters, and what is counted by `system df` alone, is not there.
fn row(listed: Listed) -> Row {
    let none = || "N/A".to_owned();
    let labels = listed.volume.labels;
    let pairs: Vec<String> = labels.iter().map(|(key, value)| format!("{key}={value}")).collect();
    let values = vec![
        none(),
        "local".to_owned(),
        none(),
        pairs.join(","),
        none(),
        listed.mountpoint.display().to_string(),
        listed.volume.name,
        "local".to_owned(),
        none(),
        none(),
    ];
    Row { values, labels }
}
