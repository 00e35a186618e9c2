//! `network disconnect`: a network less for a container, running or not.

use engine::Settings;
use engine::ops::networks;

use crate::commands::Command;
use crate::options::{Group, Typed, Words, flag};
use crate::problem::Problem;

pub(crate) const COMMAND: Command = Command {
    name: "network disconnect",
    long_names: &[],
    summary: "Take a container out of a network",
    usage: &["network disconnect [OPTIONS] NETWORK CONTAINER"],
    about: "Take a container out of a network: at once if it runs. Its other networks stay; one of them is its way out\n\
            then.",
    examples: &[("minidocker network disconnect bridge web", "the world is not reached by it any more")],
    groups: &[Group {
        title: "Options",
        options: &[flag("force", "A container that is not in the network is no error").short('f')],
    }],
    words: Words::Between,
    failed: 1,
    exec,
};

fn exec(typed: Typed, settings: &Settings) -> Result<u8, Problem> {
    let [network, container] = typed.words.as_slice() else {
        return Err(Problem::new("network disconnect needs a network and a container")
            .hint("for example: minidocker network disconnect backstage web"));
    };
    let force = typed.flag("force")?.unwrap_or(false);
    networks::disconnect(settings, container, network, force)?;
    Ok(0)
}
