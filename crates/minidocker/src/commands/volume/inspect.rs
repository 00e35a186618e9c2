//! `volume inspect`: all that is known of volumes, as JSON.

use std::collections::BTreeMap;

use engine::Settings;
use engine::ops::volumes::{self, Listed};
use serde_json::{Value, json};

use crate::ages;
use crate::commands::{Command, inspect};
use crate::options::{Group, Words, one};

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
    exec: |typed, settings| inspect::show(&typed, &COMMAND, |name| find(settings, name)),
};

/// The volume of a name, as Docker's object.
pub(in crate::commands) fn find(settings: &Settings, name: &str) -> Result<Value, engine::Error> {
    volumes::inspect(settings, name).map(|listed| value(&listed))
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
