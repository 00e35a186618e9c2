//! `manifest annotate`: for what platform an image of a list is.

use engine::Settings;
use engine::ops::images::{self, Annotation};

use crate::commands::Command;
use crate::options::{Group, Typed, Words, one};
use crate::problem::Problem;

pub(crate) const COMMAND: Command = Command {
    name: "manifest annotate",
    long_names: &[],
    summary: "Say for what platform an image of a list is",
    usage: &["manifest annotate [OPTIONS] LIST IMAGE|DIGEST"],
    about: "Say for what platform an image of a list is, where its own configuration does not say it or says another.",
    examples: &[("minidocker manifest annotate app:1 app:1-arm --arch arm --variant v6", "")],
    groups: &[Group {
        title: "Options",
        options: &[
            one("arch", "ARCH", "The architecture"),
            one("os", "OS", "The operating system"),
            one("variant", "VARIANT", "The variant of the architecture"),
        ],
    }],
    words: Words::Between,
    failed: 1,
    exec,
};

fn exec(typed: Typed, settings: &Settings) -> Result<u8, Problem> {
    let [list, image] = typed.words.as_slice() else {
        return Err(Problem::new("manifest annotate needs a list and one of its images")
            .hint("minidocker manifest annotate app:1 app:1-arm --variant v6"));
    };
    let own = |name| typed.one(name).map(str::to_owned);
    let annotation = Annotation { os: own("os"), architecture: own("arch"), variant: own("variant") };
    if annotation == Annotation::default() {
        return Err(
            Problem::new("manifest annotate needs something to say").hint("--os, --arch or --variant")
        );
    }
    images::annotate(settings, list, image, &annotation)?;
    Ok(0)
}
