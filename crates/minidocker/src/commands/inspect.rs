//! `inspect`: all that is known of containers and images, as JSON or through a template.

use engine::{Kind, Settings, ops};
use serde_json::Value;

use super::{Command, network, volume};
use crate::options::{Group, Typed, Words, flag, one};
use crate::path_template::{self, Template};
use crate::problem::Problem;
use crate::terminal::{print, report};

pub(crate) const COMMAND: Command = Command {
    name: "inspect",
    long_names: &[],
    summary: "Show all that is known of containers and images",
    usage: &["inspect [OPTIONS] NAME [NAME...]"],
    about: "Show all that is known of containers and images, in Docker's fields. A name means a container first,\n\
            then an image.",
    examples: &[
        ("minidocker inspect -f '{{.State.Status}}' web", "a part of it"),
        ("minidocker inspect -f '{{range .Mounts}}{{.Source}} {{end}}' web", "of each mount"),
    ],
    groups: &[Group {
        title: "Options",
        options: &[
            one("format", "FORMAT", "json, or a template such as '{{.Id}} {{json .Mounts}}'").short('f'),
            flag("size", "What a container has written, too").short('s'),
            one("type", "TYPE", "Only a container, an image, a network or a volume of this name"),
        ],
    }],
    words: Words::Between,
    failed: 1,
    exec: |typed, settings| {
        let kind = typed.read("type", kind)?;
        let sizes = typed.flag("size")?.unwrap_or(false);
        show(&typed, &COMMAND, |name| match kind {
            Some("container") => ops::inspect::inspect(settings, name, sizes),
            Some("image") => ops::images::inspect(settings, name, None),
            Some("network") => network::inspect::find(settings, name),
            Some(_) => volume::inspect::find(settings, name),
            None => any(settings, name, sizes),
        })
    },
};

pub(crate) const CONTAINER: Command = Command {
    name: "container inspect",
    long_names: &[],
    summary: "Show all that is known of containers",
    usage: &["container inspect [OPTIONS] CONTAINER [CONTAINER...]"],
    about: "Show all that is known of containers, in Docker's fields.",
    examples: &[("minidocker container inspect -f '{{.State.Pid}}' web", "its first process")],
    groups: &[Group {
        title: "Options",
        options: &[
            one("format", "FORMAT", "json, or a template such as '{{.Id}} {{json .Mounts}}'").short('f'),
            flag("size", "What it has written, too").short('s'),
        ],
    }],
    words: Words::Between,
    failed: 1,
    exec: |typed, settings| {
        let sizes = typed.flag("size")?.unwrap_or(false);
        show(&typed, &CONTAINER, |name| ops::inspect::inspect(settings, name, sizes))
    },
};

fn kind(text: &str) -> Result<&'static str, String> {
    let known = ["container", "image", "network", "volume"];
    known
        .into_iter()
        .find(|known| *known == text)
        .ok_or_else(|| format!("no such type, there are {}", known.join(", ")))
}

/// A container of that name, else an image.
fn any(settings: &Settings, name: &str, sizes: bool) -> Result<Value, engine::Error> {
    let none = match ops::inspect::inspect(settings, name, sizes) {
        Err(error) if error.kind == Kind::NoSuchContainer => error,
        found => return found,
    };
    // Names that can be no image's, such as with capitals, are told as what is not there too.
    let image = ops::images::inspect(settings, name, None);
    let volume = |_| volume::inspect::find(settings, name);
    match image.or_else(|_| network::inspect::find(settings, name)).or_else(volume) {
        Err(_) => Err(engine::Error::new(none.kind, format!("no such object: {name}")).hint(
            "`minidocker ps -a` lists containers, `minidocker images` images, `minidocker volume ls` volumes",
        )),
        found => found,
    }
}

/// Prints what `find` finds for each name, and tells of what is not there.
pub(super) fn show(
    typed: &Typed,
    command: &Command,
    find: impl Fn(&str) -> Result<Value, engine::Error>,
) -> Result<u8, Problem> {
    if typed.words.is_empty() {
        return Err(Problem::new(format!("{} needs a name or an id", command.name))
            .hint("'minidocker ps -a' lists containers, 'minidocker images' images"));
    }
    let template = typed.read("format", path_template::parse)?;
    let (mut found, mut code): (Vec<Value>, u8) = (Vec::new(), 0);
    for name in &typed.words {
        match find(name) {
            Ok(value) => found.push(value),
            Err(error) => {
                report(&Problem::from(error));
                code = command.failed;
            }
        }
    }
    print(&text(&found, template.as_ref())?)?;
    Ok(code)
}

fn text(found: &[Value], template: Option<&Template>) -> Result<String, Problem> {
    match template {
        None => {
            let text =
                serde_json::to_string_pretty(found).map_err(|error| Problem::new(error.to_string()))?;
            // Docker indents by four.
            Ok(format!("{}\n", path_template::indented(&text)))
        }
        Some(template) => {
            let line = |value| template.render(value).map(|line| line + "\n").map_err(Problem::new);
            found.iter().map(line).collect()
        }
    }
}
