//! `history`: how an image was made.

use std::collections::BTreeMap;
use std::time::SystemTime;

use engine::Settings;
use engine::ops::images::{self, History};

use crate::ages;
use crate::commands::Command;
use crate::options::{Group, Typed, Words, flag, one};
use crate::problem::Problem;
use crate::template::{self, Field, Row};
use crate::terminal::print;
use crate::values::sizes;

pub(crate) const COMMAND: Command = Command {
    name: "history",
    long_names: &["image history"],
    summary: "Show how an image was made",
    usage: &["history [OPTIONS] IMAGE"],
    about: "Show the steps by which an image was made, the newest first, and what each takes on disk.",
    examples: &[("minidocker history --no-trunc app", "instructions in full")],
    groups: &[Group {
        title: "Options",
        options: &[
            one("format", "FORMAT", "table, json, or a template such as '{{.CreatedBy}} {{.Size}}'"),
            one("platform", "OS/ARCH[/VARIANT]", "Of several; this machine's where absent"),
            flag("human", "Sizes and dates for people (default true)").short('H'),
            flag("no-trunc", "Show ids and instructions in full"),
            flag("quiet", "Show ids only").short('q'),
        ],
    }],
    words: Words::Between,
    failed: 1,
    exec,
};

const FIELDS: &[Field] = &[
    ("ID", "IMAGE"),
    ("CreatedSince", "CREATED"),
    ("CreatedAt", "CREATED AT"),
    ("CreatedBy", "CREATED BY"),
    ("Size", "SIZE"),
    ("Comment", "COMMENT"),
];

const TABLE: &str = "table {{.ID}}\t{{.CreatedSince}}\t{{.CreatedBy}}\t{{.Size}}\t{{.Comment}}";

fn exec(typed: Typed, settings: &Settings) -> Result<u8, Problem> {
    let [name] = typed.words.as_slice() else {
        return Err(Problem::new("history needs one image").hint("'minidocker images' lists them"));
    };
    let human = typed.flag("human")?.unwrap_or(true);
    let (quiet, full) = (typed.flag("quiet")?.unwrap_or(false), typed.flag("no-trunc")?.unwrap_or(false));
    let table = if human { TABLE.to_owned() } else { TABLE.replace("CreatedSince", "CreatedAt") };
    let format = typed.read("format", |text| template::parse(text, FIELDS, &table))?;
    let rows: Vec<Row> = images::history(settings, name, typed.one("platform"))?
        .into_iter()
        .map(|step| row(step, human, full))
        .collect();
    let template = match format {
        _ if quiet => template::parse("{{.ID}}", FIELDS, &table),
        Some(template) => Ok(template),
        None => template::parse("table", FIELDS, &table),
    };
    print(&template.map_err(Problem::new)?.render(FIELDS, &rows)).map(|()| 0)
}

fn row(step: History, human: bool, full: bool) -> Row {
    let id = match step.id {
        Some(id) if full => id,
        Some(id) => id.trim_start_matches("sha256:").chars().take(12).collect(),
        None => "<missing>".to_owned(),
    };
    let by = step.created_by.split_whitespace().collect::<Vec<_>>().join(" ");
    let by = if full || by.chars().count() <= 45 {
        by
    } else {
        format!("{}…", by.chars().take(44).collect::<String>())
    };
    let age = ages::words(ages::since(step.created, SystemTime::now()));
    let values = vec![
        id,
        format!("{age} ago"),
        ages::rfc3339(step.created),
        by,
        if human { sizes::decimal(step.size) } else { step.size.to_string() },
        step.comment,
    ];
    Row { values, labels: BTreeMap::new() }
}
