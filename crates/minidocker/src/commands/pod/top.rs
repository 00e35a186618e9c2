//! `pod top`: the processes of a pod.

use engine::Settings;
use engine::ops::pods;

use super::FAILED;
use crate::commands::{Command, top};
use crate::options::{Typed, Words};
use crate::problem::Problem;

pub(crate) const COMMAND: Command = Command {
    name: "pod top",
    long_names: &[],
    summary: "Show the processes of a pod",
    usage: &["pod top POD [PS OPTIONS]"],
    about: "Show the processes of all containers of a pod that run, its infra's first, as 'minidocker top' does.",
    examples: &[("minidocker pod top web -o pid,rss,args", "the column of PID is needed")],
    groups: &[],
    words: Words::Last,
    failed: FAILED,
    exec: |typed: Typed, settings: &Settings| {
        let Some((name, options)) = typed.words.split_first() else {
            return Err(
                Problem::new("pod top needs a pod's name or id").hint("'minidocker pod ls' lists them")
            );
        };
        top::show(&pods::top(settings, name, options)?)
    },
};
