//! `cp`: files into a container and out of it.

use std::io::IsTerminal as _;

use engine::Settings;
use engine::ops::copy::{self, Options};

use super::Command;
use crate::options::{Group, Typed, Words, flag};
use crate::problem::Problem;
use crate::terminal::{plain, warn};
use crate::values::sizes;

pub(crate) const COMMAND: Command = Command {
    name: "cp",
    long_names: &["container cp"],
    summary: "Copy files into a container or out of it",
    usage: &["cp [OPTIONS] CONTAINER:SOURCE TARGET|-", "cp [OPTIONS] SOURCE|- CONTAINER:TARGET"],
    about: "Copy files and directories between a container, running or not, and this machine; - is a tar archive on\n\
            standard input or output. A directory goes into one that is there, or becomes the one that is named;\n\
            SOURCE/. is what is in it. Copies in a container belong to its root, copies here to who copies.",
    examples: &[
        ("minidocker cp web:/etc/nginx .", "a directory, here"),
        ("minidocker cp site/. web:/srv", "what is in it, into one that is there"),
        ("minidocker cp web:/var/log - | tar -t", "as an archive"),
    ],
    groups: &[Group {
        title: "Options",
        options: &[
            flag("archive", "Keep users and groups").short('a'),
            flag("follow-link", "A source that is a link means what it leads to").short('L'),
            flag("quiet", "Do not tell how much was copied").short('q'),
        ],
    }],
    words: Words::Between,
    failed: 1,
    exec,
};

/// One end as typed: of a container its name too.
fn end(text: &str) -> (Option<&str>, &str) {
    // An absolute path, or one that begins with a point, is of this machine whatever it contains.
    if text.starts_with(['/', '.']) {
        return (None, text);
    }
    match text.split_once(':') {
        Some((name, path)) => (Some(name), path),
        None => (None, text),
    }
}

fn exec(typed: Typed, settings: &Settings) -> Result<u8, Problem> {
    let [source, target] = typed.words.as_slice() else {
        return Err(Problem::new("cp needs a source and a target")
            .hint("for example: minidocker cp web:/etc/hosts ."));
    };
    if source.is_empty() || target.is_empty() {
        let which = if source.is_empty() { "source" } else { "destination" };
        return Err(Problem::new(format!("{which} cannot be empty")));
    }
    let on = |long| typed.flag(long).map(|on| on.unwrap_or(false));
    let how = Options { archive: on("archive")?, follow: on("follow-link")? };
    let quiet = typed.flag("quiet")?.unwrap_or(!std::io::stdout().is_terminal());
    let copied = match (end(source), end(target)) {
        ((Some(_), _), (Some(_), _)) => {
            return Err(Problem::new("copying between containers is not supported")
                .hint("through an archive: minidocker cp A:/x - | minidocker cp - B:/y"));
        }
        ((None, _), (None, _)) => {
            return Err(Problem::new("must specify at least one container source")
                .hint("write a container's file as NAME:/PATH"));
        }
        ((Some(name), path), (None, "-")) => {
            if std::io::stdout().is_terminal() {
                return Err(Problem::new("an archive is nothing for a terminal").hint("use a file or a pipe"));
            }
            copy::out_archive(settings, name, path, how, std::io::stdout())?;
            None
        }
        ((None, "-"), (Some(name), path)) => {
            copy::into_archive(settings, name, path, how, std::io::stdin())?;
            None
        }
        ((Some(name), path), (None, here)) => Some(copy::out(settings, name, path, here, how)?),
        ((None, here), (Some(name), path)) => Some(copy::into(settings, here, name, path, how)?),
    };
    if let Some(bytes) = copied.filter(|_| !quiet) {
        warn(&format!("Successfully copied {} to {}\n", sizes::decimal(bytes), plain(target)));
    }
    Ok(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_and_a_path_are_told_apart_as_docker_does() {
        assert_eq!(end("web:/etc"), (Some("web"), "/etc"));
        assert_eq!(end("web:etc:x"), (Some("web"), "etc:x"));
        assert_eq!(end("./a:b"), (None, "./a:b"));
        assert_eq!(end("/a:b"), (None, "/a:b"));
        assert_eq!(end("-"), (None, "-"));
    }
}
