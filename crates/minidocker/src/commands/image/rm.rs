//! `rmi`: images go.

use engine::ops::images;
use engine::{Kind, Settings};

use crate::commands::Command;
use crate::options::{Group, Typed, Words, flag};
use crate::problem::Problem;
use crate::terminal::{plain, print, report};

pub(crate) const COMMAND: Command = Command {
    name: "rmi",
    long_names: &["image rm", "image remove"],
    summary: "Remove images",
    usage: &["rmi [OPTIONS] IMAGE [IMAGE...]"],
    about: "Remove names, and with its last name each image; layers that others use stay.",
    examples: &[("minidocker rmi app:1", "that name")],
    groups: &[Group {
        title: "Options",
        options: &[
            flag("force", "Also where a stopped container uses it, or an id has several names").short('f')
        ],
    }],
    words: Words::Between,
    failed: 1,
    exec,
};

fn exec(typed: Typed, settings: &Settings) -> Result<u8, Problem> {
    if typed.words.is_empty() {
        return Err(Problem::new("rmi needs an image's name or id").hint("'minidocker images' lists them"));
    }
    let force = typed.flag("force")?.unwrap_or(false);
    let mut code = 0;
    for name in &typed.words {
        match images::remove(settings, name, force) {
            Ok(removed) => {
                let mut text = String::new();
                for name in &removed.untagged {
                    let short =
                        images::reference(name).map_or_else(|_| name.clone(), |name| name.to_string());
                    text.push_str(&format!("Untagged: {}\n", plain(&short)));
                }
                for id in removed.deleted.iter().chain(&removed.members) {
                    text.push_str(&format!("Deleted: {id}\n"));
                }
                print(&text)?;
            }
            // Docker's: with --force it is no failure that something is gone already.
            Err(error) if force && error.kind == Kind::NoSuchImage => report(&Problem::from(error)),
            Err(error) => {
                report(&Problem::from(error));
                code = COMMAND.failed;
            }
        }
    }
    Ok(code)
}
