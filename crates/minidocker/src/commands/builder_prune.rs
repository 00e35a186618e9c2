//! `builder prune`: the cache of builds.

use std::io::{BufRead as _, IsTerminal as _};
use std::time::SystemTime;

use engine::Settings;
use engine::ops::builder::{self, Prune};

use super::Command;
use super::prune::Pruned;
use crate::options::{Group, Typed, Words, flag, many, one};
use crate::problem::Problem;
use crate::terminal::{print, report_warning};
use crate::values::{durations, sizes};

pub(crate) const COMMAND: Command = Command {
    name: "builder prune",
    long_names: &["buildx prune"],
    summary: "Remove what builds kept for later ones",
    usage: &["builder prune [OPTIONS]"],
    about: "Remove layers that the cache of builds has and no image, and the directories of RUN --mount=type=cache. What a\n\
            running build uses stays. With --all the cache also forgets how the layers of images were made.",
    examples: &[
        ("minidocker builder prune -f", "all that is not in an image"),
        ("minidocker builder prune -af --filter until=48h", "what no build has used for two days"),
        ("minidocker builder prune -f --keep-storage 10g", "the oldest, until 10 GB are left"),
    ],
    groups: &[Group {
        title: "Options",
        options: &[
            flag("all", "Forget how layers of images were made, too").short('a'),
            many("filter", "until=TIME", "Only what no build has used since; unused-for= means the same"),
            one("keep-storage", "BYTES", "Stop when no more is left; the oldest goes first"),
            flag("force", "Do not ask").short('f'),
        ],
    }],
    words: Words::None,
    failed: 1,
    exec,
};

fn exec(typed: Typed, settings: &Settings) -> Result<u8, Problem> {
    let all = typed.flag("all")?.unwrap_or(false);
    let times = typed.read_many("filter", since)?;
    let keep = typed.read("keep-storage", sizes::parse)?;
    if !typed.flag("force")?.unwrap_or(false) && !agreed(all)? {
        return Ok(0);
    }
    let pruned = prune(settings, &Prune { all, since: times.into_iter().min(), keep })?;
    print(&format!("Total:\t{}\n", sizes::decimal(pruned.bytes)))?;
    Ok(pruned.code)
}

/// Removes of the cache what is asked for.
pub(super) fn prune(settings: &Settings, asked: &Prune) -> Result<Pruned, Problem> {
    let pruned = builder::prune(settings, asked)?;
    if pruned.waits {
        report_warning(
            "layers stay for now: another command builds or brings some, or a container's record cannot be read",
            Some("they go with the next prune; 'minidocker ps -a' shows damaged containers"),
        );
    }
    Ok(Pruned { bytes: pruned.bytes, ..Pruned::default() })
}

/// The moment of an `until=` filter.
pub(super) fn since(text: &str) -> Result<SystemTime, String> {
    match text.split_once('=') {
        Some(("until" | "unused-for", value)) => durations::moment(value),
        Some((key, _)) => Err(format!("no filter {}, there is until", step::quote(key))),
        None => Err("no value; write it as until=24h".to_owned()),
    }
}

fn agreed(all: bool) -> Result<bool, Problem> {
    let which = if all { "all build cache" } else { "all dangling build cache" };
    print(&format!("WARNING! This will remove {which}. Are you sure you want to continue? [y/N] "))?;
    let stdin = std::io::stdin();
    let mut answer = String::new();
    let read = stdin.lock().read_line(&mut answer);
    let agreed = read.is_ok() && matches!(answer.trim(), "y" | "Y" | "yes");
    if !agreed && !stdin.is_terminal() {
        print("\n")?;
    }
    Ok(agreed)
}
