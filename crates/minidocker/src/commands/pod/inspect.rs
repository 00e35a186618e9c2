//! `pod inspect`: all that is known of pods, as JSON.

use engine::ops::pods;

use super::FAILED;
use crate::commands::{Command, inspect};
use crate::options::{Group, Words, one};

pub(crate) const COMMAND: Command = Command {
    name: "pod inspect",
    long_names: &[],
    summary: "Show all that is known of pods",
    usage: &["pod inspect [OPTIONS] POD [POD...]"],
    about: "Show all that is known of pods, in Podman's fields: what is shared, and the containers with their states.",
    examples: &[("minidocker pod inspect -f '{{range .Containers}}{{.Name}} {{end}}' web", "who is in it")],
    groups: &[Group {
        title: "Options",
        options: &[one("format", "FORMAT", "json, or a template such as '{{.State}} {{json .Containers}}'")
            .short('f')],
    }],
    words: Words::Between,
    failed: FAILED,
    exec: |typed, settings| inspect::show(&typed, &COMMAND, |name| pods::inspect(settings, name)),
};
