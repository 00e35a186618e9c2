//! `image inspect`: all that is known of images, as JSON.

use engine::Settings;
use engine::ops::images;
use serde_json::Value;

use crate::commands::Command;
use crate::options::{Group, Typed, Words, one};
use crate::path_template;
use crate::problem::Problem;
use crate::terminal::{print, report};

pub(crate) const COMMAND: Command = Command {
    name: "image inspect",
    long_names: &[],
    summary: "Show all that is known of images",
    usage: &["image inspect [OPTIONS] IMAGE [IMAGE...]"],
    about: "Show all that is known of images, in Docker's fields.",
    examples: &[("minidocker image inspect -f '{{json .Config.Env}}' app", "a part of it")],
    groups: &[Group {
        title: "Options",
        options: &[
            one("format", "FORMAT", "json, or a template such as '{{.Id}} {{json .Config.Env}}'").short('f')
        ],
    }],
    words: Words::Between,
    failed: 1,
    exec,
};

fn exec(typed: Typed, settings: &Settings) -> Result<u8, Problem> {
    if typed.words.is_empty() {
        return Err(
            Problem::new("image inspect needs an image's name or id").hint("'minidocker images' lists them")
        );
    }
    let template = typed.read("format", path_template::parse)?;
    let (mut found, mut code): (Vec<Value>, u8) = (Vec::new(), 0);
    for name in &typed.words {
        match images::inspect(settings, name) {
            Ok(value) => found.push(value),
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
