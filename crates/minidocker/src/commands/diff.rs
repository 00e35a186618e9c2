//! `diff`: what a container has changed.

use engine::Settings;
use engine::ops::diff::{self, Change};

use super::Command;
use crate::options::{Typed, Words};
use crate::problem::Problem;
use crate::terminal::{plain, print};

pub(crate) const COMMAND: Command = Command {
    name: "diff",
    long_names: &["container diff"],
    summary: "Show what a container has changed",
    usage: &["diff CONTAINER"],
    about: "Show which files a container has added (A), changed (C) and deleted (D), without what its own mounts\n\
            needed to be mounted on.",
    examples: &[("minidocker diff web", "")],
    groups: &[],
    words: Words::Between,
    failed: 1,
    exec,
};

fn exec(typed: Typed, settings: &Settings) -> Result<u8, Problem> {
    let [name] = typed.words.as_slice() else {
        return Err(Problem::new("diff needs one container").hint("'minidocker ps -a' lists them"));
    };
    let mut text = String::new();
    for (change, path) in diff::diff(settings, name)? {
        let letter = match change {
            Change::Added => 'A',
            Change::Changed => 'C',
            Change::Deleted => 'D',
        };
        text.push_str(&format!("{letter} {}\n", plain(&String::from_utf8_lossy(&path))));
    }
    print(&text).map(|()| 0)
}
