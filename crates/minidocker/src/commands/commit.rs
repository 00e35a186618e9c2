//! `commit`: a container becomes an image.

use engine::Settings;
use engine::ops::commit::{self, Commit};

use super::Command;
use crate::options::{Group, Typed, Words, flag, many, one};
use crate::problem::Problem;
use crate::terminal::print;

pub(crate) const COMMAND: Command = Command {
    name: "commit",
    long_names: &["container commit"],
    summary: "Make an image of what a container has written",
    usage: &["commit [OPTIONS] CONTAINER [NAME[:TAG]]"],
    about: "Make an image of a container: its image's layers, and what it has written as one more. Volumes are not\n\
            in it.",
    examples: &[("minidocker commit -c 'CMD [\"serve\"]' web web:2", "")],
    groups: &[Group {
        title: "Options",
        options: &[
            one("author", "NAME", "Who made it").short('a'),
            many("change", "INSTRUCTION", "Apply an instruction of Dockerfiles").short('c'),
            one("message", "TEXT", "What for").short('m'),
            flag("pause", "The container stands still meanwhile (default true)").short('p'),
        ],
    }],
    words: Words::Between,
    failed: 1,
    exec,
};

fn exec(typed: Typed, settings: &Settings) -> Result<u8, Problem> {
    let (container, name) = match typed.words.as_slice() {
        [container] => (container, None),
        [container, name] => (container, Some(name.clone())),
        _ => {
            return Err(Problem::new("commit needs a container, and a name for its image")
                .hint("for example: minidocker commit web web:2"));
        }
    };
    let text = |long| typed.one(long).unwrap_or_default().to_owned();
    let asked = Commit {
        container: container.clone(),
        name,
        author: text("author"),
        message: text("message"),
        pause: typed.flag("pause")?.unwrap_or(true),
        changes: typed.many("change").map(str::to_owned).collect(),
    };
    let id = commit::commit(settings, &asked)?;
    print(&format!("{id}\n")).map(|()| 0)
}
