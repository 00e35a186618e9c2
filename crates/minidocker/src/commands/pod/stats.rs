//! `pod stats`: what the containers of pods use, live.

use engine::Settings;
use engine::ops::list::State;
use engine::ops::pods;

use super::{ALL, FAILED, LATEST, named, runs};
use crate::commands::{Command, stats};
use crate::options::{Group, Typed, Words, flag, one};
use crate::problem::Problem;

pub(crate) const COMMAND: Command = Command {
    name: "pod stats",
    long_names: &[],
    summary: "Show what the containers of pods use",
    usage: &["pod stats [OPTIONS] [POD...]"],
    about: "Show what the containers of pods use, live, as 'minidocker stats' does; of all pods that run, where\n\
            none is named.",
    examples: &[("minidocker pod stats --no-stream web", "one look")],
    groups: &[Group {
        title: "Options",
        options: &[
            ALL,
            LATEST,
            one("format", "FORMAT", "table, json, or a template such as '{{.Name}} {{.CPUPerc}}'"),
            flag("no-stream", "Look once, and end"),
            flag("no-trunc", "Show ids in full"),
        ],
    }],
    words: Words::Between,
    failed: FAILED,
    exec,
};

fn exec(mut typed: Typed, settings: &Settings) -> Result<u8, Problem> {
    let which = match typed.words.is_empty() && !typed.flag("latest")?.unwrap_or(false) {
        true => pods::list(settings)?.into_iter().filter(runs).map(|listed| listed.infra.id).collect(),
        false => named(&typed, &COMMAND, settings, runs)?,
    };
    let mut ids = Vec::new();
    for name in &which {
        let listed = pods::find(settings, name)?;
        let running =
            listed.containers().filter(|one| matches!(one.state, State::Running(..) | State::Paused(..)));
        ids.extend(running.map(|one| one.id.clone()));
    }
    if ids.is_empty() {
        return Err(Problem::new("no container of these pods is running")
            .hint("'minidocker pod ls' shows what they do"));
    }
    typed.words = ids;
    stats::exec(typed, settings)
}
