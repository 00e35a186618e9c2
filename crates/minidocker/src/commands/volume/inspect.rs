//! `volume inspect`: all that is known of volumes, as JSON.

use std::collections::BTreeMap;

use engine::Settings;
use engine::ops::volumes::{self, Listed};
use serde_json::{Value, json};

use crate::ages;
use crate::commands::Command;
use crate::options::{Group, Typed, Words, one};
use crate::path_template;
use crate::problem::Problem;
use crate::terminal::{print, report};

pub(crate) const COMMAND: Command = Command {
    name: "volume inspect",
    long_names: &[],
    summary: "Show all that is known of volumes",
    usage: &["volume inspect [OPTIONS] VOLUME [VOLUME...]"],
    about: "Show all that is known of volumes, in Docker's fields.",
    examples: &[("minidocker volume inspect -f '{{.Mountpoint}}' data", "where its files are")],
    groups: &[Group {
        title: "Options",
        options: &[
            one("format", "FORMAT", "json, or a template such as '{{.Name}} {{json .Labels}}'").short('f')
        ],
    }],
    words: Words::Between,
    failed: 1,
    exec,
};

fn exec(typed: Typed, settings: &Settings) -> Result<u8, Problem> {
    if typed.words.is_empty() {
        return Err(
            Problem::new("volume inspect needs a volume's name").hint("'minidocker volume ls' lists them")
        );
    }
    let template = typed.read("format", path_template::parse)?;
    let (mut found, mut code): (Vec<Value>, u8) = (Vec::new(), 0);
    for name in &typed.words {
        match volumes::inspect(settings, name) {
            Ok(listed) => found.push(value(&listed)),
            Err(error) => {
                report(&Problem::from(error));
                code = COMMAND.failed;
            }
        }
    }
    match template {
        None => {
            let text =
                serde_json::to_string_pretty(&found).map_err(|error| Problem::new(error.to_string()))?;
            // Docker indents by four.
            print(&format!("{}\n", path_template::indented(&text)))?;
        }
        Some(template) => {
            for value in &found {
                print(&format!("{}\n", template.render(value).map_err(Problem::new)?))?;
            }
        }
    }
    Ok(code)
}

/// Docker's fields; an empty map is null there.
fn value(listed: &Listed) -> Value {
    let volume = &listed.volume;
    let map = |map: &BTreeMap<String, String>| if map.is_empty() { Value::Null } else { json!(map) };
    json!({
        "CreatedAt": ages::rfc3339(volume.created()),
        "Driver": "local",
        "Labels": map(&volume.labels),
        "Mountpoint": listed.mountpoint,
        "Name": volume.name,
        "Options": map(&volume.options),
        "Scope": "local",
    })
}
