//! `clone`: a container once more.

use engine::Settings;
use engine::ops::clone::{self, Clone};

use super::{Command, run};
use crate::options::{Group, Typed, Words, flag};
use crate::problem::Problem;
use crate::terminal::print;
use crate::values::names;

pub(crate) const COMMAND: Command = Command {
    name: "clone",
    long_names: &["container clone"],
    summary: "Make a copy of a container",
    usage: &["clone [OPTIONS] CONTAINER [NAME]"],
    about: "Make a container with the configuration of another and a copy of what that one has written, and print its\n\
            id. 'minidocker start' starts it. A running container stands still while its files are copied; what its\n\
            processes have not written yet is not there. Volumes without a name are new, those with a name are shared.",
    examples: &[("minidocker clone web web-2", "as lxc-copy -n web -N web-2")],
    groups: &[Group {
        title: "Options",
        options: &[flag("keepmac", "Keep a MAC address that was asked for").short('M')],
    }],
    words: Words::Between,
    failed: 1,
    exec,
};

fn exec(typed: Typed, settings: &Settings) -> Result<u8, Problem> {
    let (source, name) = match typed.words.as_slice() {
        [source] => (source, None),
        [source, name] => (source, Some(name)),
        _ => {
            return Err(Problem::new("clone needs a container, and may have a name for the new one")
                .hint("for example: minidocker clone web web-2"));
        }
    };
    let named = |name: &String| {
        names::container(name).map_err(|why| Problem::new(format!("{}: {why}", step::quote(name))))
    };
    let asked = Clone {
        source: source.clone(),
        name: name.map(named).transpose()?,
        keep_mac: typed.flag("keepmac")?.unwrap_or(false),
    };
    let created = clone::clone(settings, &asked)?;
    run::report(&created.notes);
    print(&format!("{}\n", created.id)).map(|()| 0)
}
