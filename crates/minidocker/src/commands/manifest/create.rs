//! `manifest create`: a list of images that were built elsewhere, one for each platform.

use engine::Settings;
use engine::ops::images;

use crate::commands::Command;
use crate::options::{Group, Typed, Words, flag};
use crate::problem::Problem;
use crate::terminal::{plain, print};

pub(crate) const COMMAND: Command = Command {
    name: "manifest create",
    long_names: &[],
    summary: "Put images for platforms together under one name",
    usage: &["manifest create [OPTIONS] LIST IMAGE [IMAGE...]"],
    about: "Put images for platforms together under one name. Each is one that is here, or one of a registry: of\n\
            those only what the list needs to know is fetched.",
    examples: &[
        (
            "minidocker manifest create HOST/app:1 HOST/app:1-amd64 HOST/app:1-arm64",
            "of what two machines built",
        ),
        ("minidocker manifest push HOST/app:1", "and to its registry"),
    ],
    groups: &[Group {
        title: "Options",
        options: &[flag("amend", "Add to the list that is there").short('a')],
    }],
    words: Words::Between,
    failed: 1,
    exec: |typed, settings| create(&typed, settings, typed.flag("amend")?.unwrap_or(false)),
};

pub(crate) const ADD: Command = Command {
    name: "manifest add",
    long_names: &[],
    summary: "Add images to a list",
    usage: &["manifest add LIST IMAGE [IMAGE...]"],
    about: "Add images to a list, as `manifest create --amend` does: one for the same platform makes way. A list that is\n\
            not there is made.",
    examples: &[("minidocker manifest add HOST/app:1 HOST/app:1-riscv64", "")],
    groups: &[],
    words: Words::Between,
    failed: 1,
    exec: |typed, settings| create(&typed, settings, true),
};

fn create(typed: &Typed, settings: &Settings, amend: bool) -> Result<u8, Problem> {
    let [list, names @ ..] = typed.words.as_slice() else { return Err(needed()) };
    if names.is_empty() {
        return Err(needed());
    }
    images::create_manifest(settings, list, names, amend)?;
    let name = images::reference(list)?;
    print(&format!("Created manifest list {}\n", plain(&name.canonical()))).map(|()| 0)
}

fn needed() -> Problem {
    Problem::new("this needs the name of a list and at least one image")
        .hint("minidocker manifest create HOST/app:1 HOST/app:1-amd64 HOST/app:1-arm64")
}
