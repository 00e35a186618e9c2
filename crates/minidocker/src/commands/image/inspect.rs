//! `image inspect`: all that is known of images, as JSON.

use engine::ops::images;

use crate::commands::{Command, inspect};
use crate::options::{Group, Words, one};

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
            one("format", "FORMAT", "json, or a template such as '{{.Id}} {{json .Config.Env}}'").short('f'),
            one("platform", "OS/ARCH[/VARIANT]", "Of several; this machine's where absent"),
        ],
    }],
    words: Words::Between,
    failed: 1,
    exec: |typed, settings| {
        inspect::show(&typed, &COMMAND, |name| images::inspect(settings, name, typed.one("platform")))
    },
};
