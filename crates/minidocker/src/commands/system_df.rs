//! `system df`: what minidocker has on disk.

use std::collections::BTreeMap;

use engine::Settings;
use engine::ops::images;
use engine::ops::usage::{self, Sum, Usage};

use super::Command;
use crate::options::{Group, Typed, Words, flag, one};
use crate::problem::Problem;
use crate::template::{self, Field, Row};
use crate::terminal::print;
use crate::values::sizes::decimal;

pub(crate) const COMMAND: Command = Command {
    name: "system df",
    long_names: &[],
    summary: "Show what minidocker has on disk",
    usage: &["system df [OPTIONS]"],
    about: "Show what images, containers, volumes and the cache of builds take on disk, counted as du does. An\n\
            image is there twice: unpacked for containers, and as it came for a push.",
    examples: &[("minidocker system df -v", "each image and container")],
    groups: &[Group {
        title: "Options",
        options: &[
            one("format", "FORMAT", "table, json, or a template such as '{{.Type}} {{.Size}}'"),
            flag("verbose", "Each image, container and volume").short('v'),
        ],
    }],
    words: Words::None,
    failed: 1,
    exec,
};

const FIELDS: &[Field] = &[
    ("Type", "TYPE"),
    ("TotalCount", "TOTAL"),
    ("Active", "ACTIVE"),
    ("Size", "SIZE"),
    ("Reclaimable", "RECLAIMABLE"),
];
const TABLE: &str = "table {{.Type}}\t{{.TotalCount}}\t{{.Active}}\t{{.Size}}\t{{.Reclaimable}}";

fn exec(typed: Typed, settings: &Settings) -> Result<u8, Problem> {
    let format = typed.read("format", |text| template::parse(text, FIELDS, TABLE))?;
    let usage = usage::usage(settings)?;
    if typed.flag("verbose")?.unwrap_or(false) {
        return print(&verbose(&usage)?).map(|()| 0);
    }
    let rows = [
        row("Images", &usage.images),
        row("Containers", &usage.containers),
        row("Local Volumes", &usage.volumes),
        row("Build Cache", &usage.cache),
    ];
    let template = match format {
        Some(template) => template,
        None => template::parse("table", FIELDS, TABLE).map_err(Problem::new)?,
    };
    print(&template.render(FIELDS, &rows)).map(|()| 0)
}

fn row(name: &str, sum: &Sum) -> Row {
    let percent = (sum.reclaimable * 100).checked_div(sum.size);
    let percent = percent.map_or(String::new(), |percent| format!(" ({percent}%)"));
    let values = vec![
        name.to_owned(),
        sum.total.to_string(),
        sum.active.to_string(),
        decimal(sum.size),
        format!("{}{percent}", decimal(sum.reclaimable)),
    ];
    Row { values, labels: BTreeMap::new() }
}

fn verbose(usage: &Usage) -> Result<String, Problem> {
    const IMAGES: &[Field] = &[
        ("Repository", "REPOSITORY"),
        ("Tag", "TAG"),
        ("ID", "IMAGE ID"),
        ("Size", "SIZE"),
        ("Shared", "SHARED SIZE"),
        ("Unique", "UNIQUE SIZE"),
        ("Packed", "PACKED"),
        ("Containers", "CONTAINERS"),
    ];
    const CONTAINERS: &[Field] = &[
        ("ID", "CONTAINER ID"),
        ("Image", "IMAGE"),
        ("Size", "SIZE"),
        ("Status", "STATUS"),
        ("Names", "NAMES"),
    ];
    const VOLUMES: &[Field] = &[("Name", "VOLUME NAME"), ("Links", "LINKS"), ("Size", "SIZE")];
    let all = |fields: &[Field]| {
        let parts: Vec<String> = fields.iter().map(|(name, _)| format!("{{{{.{name}}}}}")).collect();
        format!("table {}", parts.join("\t"))
    };
    let none = || "<none>".to_owned();
    let images: Vec<Row> = usage
        .each_image
        .iter()
        .map(|one| {
            let name = one.image.names.first().and_then(|name| images::reference(name).ok());
            let tag = name.as_ref().and_then(|name| name.tag().map(str::to_owned));
            let values = vec![
                name.map_or_else(none, |name| name.familiar_name()),
                tag.unwrap_or_else(none),
                one.image.short_id(),
                decimal(one.shared + one.unique),
                decimal(one.shared),
                decimal(one.unique),
                decimal(one.packed),
                one.containers.to_string(),
            ];
            Row { values, labels: BTreeMap::new() }
        })
        .collect();
    let containers: Vec<Row> = usage
        .each_container
        .iter()
        .map(|one| {
            let status = if one.running { "running" } else { "exited" };
            let id = one.id.chars().take(12).collect();
            let values = vec![id, one.image.clone(), decimal(one.size), status.to_owned(), one.name.clone()];
            Row { values, labels: BTreeMap::new() }
        })
        .collect();
    let volumes: Vec<Row> = usage
        .each_volume
        .iter()
        .map(|one| Row {
            values: vec![one.name.clone(), one.links.to_string(), decimal(one.size)],
            labels: BTreeMap::new(),
        })
        .collect();
    let table = |fields: &[Field], rows: &[Row]| {
        template::parse(&all(fields), fields, "")
            .map(|template| template.render(fields, rows))
            .map_err(Problem::new)
    };
    Ok(format!(
        "Images space usage:\n\n{}\nContainers space usage:\n\n{}\nLocal Volumes space usage:\n\n{}",
        table(IMAGES, &images)?,
        table(CONTAINERS, &containers)?,
        table(VOLUMES, &volumes)?
    ))
}
