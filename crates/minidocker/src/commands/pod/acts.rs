//! `pod start`, `stop`, `restart`, `kill`, `pause` and `unpause`: what is done to all containers of a pod.

use engine::Kind;
use engine::ops::pods;

use super::{ALL, FAILED, LATEST, for_each, named, runs, stands};
use crate::commands::{Command, stop};
use crate::options::{Group, Words, flag, one};
use crate::values::signals;

const WHICH: &[Group] = &[Group { title: "Options", options: &[ALL, LATEST] }];

pub(crate) const START: Command = Command {
    name: "pod start",
    long_names: &[],
    summary: "Start pods with all their containers",
    usage: &["pod start [OPTIONS] [POD...]"],
    about: "Start pods with all their containers, in the order in which they were made.",
    examples: &[("minidocker pod start web", "")],
    groups: WHICH,
    words: Words::Between,
    failed: FAILED,
    exec: |typed, settings| {
        let names = named(&typed, &START, settings, |_| true)?;
        for_each(&names, |name| pods::start(settings, name), |_| None)
    },
};

pub(crate) const STOP: Command = Command {
    name: "pod stop",
    long_names: &[],
    summary: "Stop pods with all their containers",
    usage: &["pod stop [OPTIONS] [POD...]"],
    about: "Ask all containers of pods to end, at once, and kill those that have not after a while.",
    examples: &[("minidocker pod stop -t 30 web", "each has half a minute")],
    groups: &[Group {
        title: "Options",
        options: &[
            ALL,
            LATEST,
            flag("ignore", "A pod that is not there is no error").short('i'),
            one("timeout", "SECONDS", "Until one is killed (default: its own, else 10); -1 for never")
                .short('t')
                .alias("time"),
        ],
    }],
    words: Words::Between,
    failed: FAILED,
    exec: |typed, settings| {
        let options = stop::options(&typed)?;
        let ignore = typed.flag("ignore")?.unwrap_or(false);
        let names = named(&typed, &STOP, settings, |_| true)?;
        let code = |error: &engine::Error| (ignore && error.kind == Kind::NoSuchPod).then_some(0);
        for_each(&names, |name| pods::stop(settings, name, options), code)
    },
};

pub(crate) const RESTART: Command = Command {
    name: "pod restart",
    long_names: &[],
    summary: "Stop pods and start them",
    usage: &["pod restart [OPTIONS] [POD...]"],
    about: "Stop pods as 'minidocker pod stop' does, and start them with all their containers.",
    examples: &[("minidocker pod restart web", "")],
    groups: WHICH,
    words: Words::Between,
    failed: FAILED,
    exec: |typed, settings| {
        let names = named(&typed, &RESTART, settings, |_| true)?;
        for_each(
            &names,
            |name| pods::restart(settings, name, engine::ops::stop::Options::default()),
            |_| None,
        )
    },
};

pub(crate) const KILL: Command = Command {
    name: "pod kill",
    long_names: &[],
    summary: "Send a signal to all containers of pods",
    usage: &["pod kill [OPTIONS] [POD...]"],
    about: "Send a signal to the first process of each container of pods.",
    examples: &[("minidocker pod kill -s TERM web", "ask all of it to end")],
    groups: &[Group {
        title: "Options",
        options: &[ALL, LATEST, one("signal", "SIGNAL", "Name or number (default KILL)").short('s')],
    }],
    words: Words::Between,
    failed: FAILED,
    exec: |typed, settings| {
        let signal = typed.read("signal", signals::parse)?;
        let signal = signal.unwrap_or(rustix::process::Signal::KILL.as_raw());
        let names = named(&typed, &KILL, settings, |listed| runs(listed) || stands(listed))?;
        for_each(&names, |name| pods::kill(settings, name, signal), |_| None)
    },
};

pub(crate) const PAUSE: Command = Command {
    name: "pod pause",
    long_names: &[],
    summary: "Let pods stand still",
    usage: &["pod pause [OPTIONS] [POD...]"],
    about: "Stop every process of all containers of pods where it is, by the freezer of their control groups.",
    examples: &[("minidocker pod pause web", "")],
    groups: WHICH,
    words: Words::Between,
    failed: FAILED,
    exec: |typed, settings| {
        let names = named(&typed, &PAUSE, settings, runs)?;
        for_each(&names, |name| pods::pause(settings, name), |_| None)
    },
};

pub(crate) const UNPAUSE: Command = Command {
    name: "pod unpause",
    long_names: &[],
    summary: "Let paused pods run on",
    usage: &["pod unpause [OPTIONS] [POD...]"],
    about: "Let the processes of paused pods run on.",
    examples: &[("minidocker pod unpause web", "")],
    groups: WHICH,
    words: Words::Between,
    failed: FAILED,
    exec: |typed, settings| {
        let names = named(&typed, &UNPAUSE, settings, stands)?;
        for_each(&names, |name| pods::unpause(settings, name), |_| None)
    },
};
