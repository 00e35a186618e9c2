//! `pause` and `unpause`: every process of a container stands still, and runs on.

use engine::ops::pause;

use super::{Command, for_each};
use crate::options::Words;

pub(crate) const COMMAND: Command = Command {
    name: "pause",
    long_names: &["container pause", "freeze"],
    summary: "Let containers stand still",
    usage: &["pause CONTAINER [CONTAINER...]"],
    about: "Stop every process of containers where it is, by the freezer of their control groups.",
    examples: &[("minidocker pause web", "")],
    groups: &[],
    words: Words::Between,
    failed: 1,
    exec: |typed, settings| for_each(&typed, &COMMAND, |name| pause::pause(settings, name)),
};

pub(crate) const UNPAUSE: Command = Command {
    name: "unpause",
    long_names: &["container unpause", "unfreeze"],
    summary: "Let paused containers run on",
    usage: &["unpause CONTAINER [CONTAINER...]"],
    about: "Let the processes of paused containers run on.",
    examples: &[("minidocker unpause web", "")],
    groups: &[],
    words: Words::Between,
    failed: 1,
    exec: |typed, settings| for_each(&typed, &UNPAUSE, |name| pause::unpause(settings, name)),
};
