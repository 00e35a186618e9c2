//! `manifest push`: a list and its images to their registry.

use engine::Settings;
use engine::ops::images;

use crate::commands::Command;
use crate::commands::image::push;
use crate::options::{Group, Typed, Words, flag};
use crate::problem::Problem;

pub(crate) const COMMAND: Command = Command {
    name: "manifest push",
    long_names: &[],
    summary: "Send a list of images to a registry",
    usage: &["manifest push [OPTIONS] LIST"],
    about: "Send a list of images to the registry that its name says. Images of it that are here go with it; others are\n\
            brought to its repository from where they are, unless they are there.",
    examples: &[("minidocker manifest push --purge HOST/app:1", "and forget it here")],
    groups: &[Group {
        title: "Options",
        options: &[
            flag("purge", "Remove the list here when it is there").short('p'),
            flag("quiet", "Print the name alone").short('q'),
        ],
    }],
    words: Words::Between,
    failed: 1,
    exec,
};

fn exec(typed: Typed, settings: &Settings) -> Result<u8, Problem> {
    let [list] = typed.words.as_slice() else {
        return Err(Problem::new("manifest push needs the name of one list")
            .hint("for example: minidocker manifest push HOST/app:1"));
    };
    let (purge, quiet) = (typed.flag("purge")?.unwrap_or(false), typed.flag("quiet")?.unwrap_or(false));
    let reference = images::reference(list)?;
    push::tell(&reference, quiet, |watch| images::push_manifest(settings, list, purge, watch)).map(|()| 0)
}
