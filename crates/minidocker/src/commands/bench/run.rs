//! `bench run`: a suite is measured.

use std::path::{Path, PathBuf};

use engine::Settings;
use lab::progress::Progress;
use lab::run::{Outcome, Request, parse_size};

use super::told;
use crate::commands::Command;
use crate::options::{Group, Typed, Words, many, one};
use crate::problem::Problem;
use crate::terminal::{plain, print, report_warning};

pub(crate) const COMMAND: Command = Command {
    name: "bench run",
    long_names: &[],
    summary: "Measure a suite on the bare host, in containers and in machines",
    usage: &["bench run SUITE --size MEMORY/CPUS -o DIR [OPTIONS]"],
    about: "Run each case of a suite in each environment of each size, in random order, and keep every figure in DIR. What\n\
            each environment really has of processors, memory and disk is tested before it is measured. A run that was\n\
            stopped goes on when the same command is typed again. SUITE is a name of 'bench list' or a file.",
    examples: &[
        (
            "minidocker bench run course --size 2g/1cpu -o results",
            "native, container and vm, five times each",
        ),
        (
            "minidocker bench run loop --env native,container:overlay,container:loop --size 2g/2cpu -o loop",
            "what a loop device costs",
        ),
        ("minidocker bench run course --size 1g/1cpu --time-scale 0.05 --repeat 2 -o try", "a short try"),
    ],
    groups: &[
        Group {
            title: "What is measured",
            options: &[
                many(
                    "env",
                    "NAME[,NAME...]",
                    "native, container, container:overlay, container:loop, container:host,\nvm, docker, podman, lxc (default native,container,vm)",
                ),
                many("size", "MEMORY/CPUS", "What each environment gets, such as 2g/1cpu"),
                many("case", "NAME[,NAME...]", "These cases of the suite only"),
                one("image", "IMAGE", "Files of the environments: host (default) or an image"),
                many(
                    "option",
                    "ENV=WORD",
                    "A further word for the command line of an environment:\n--option container=--cpus=1",
                ),
            ],
        },
        Group {
            title: "How",
            options: &[
                one("repeat", "NUMBER", "Measurements of each case (default 5)"),
                one("time-scale", "FACTOR", "Multiply times and amounts: 0.05 for a try (default 1)"),
                one("seed", "NUMBER", "Draw the order from this number"),
                one("rate", "NUMBER", "Samples of the host in a second (default 5)"),
                one("output", "DIR", "Where the results go").short('o'),
            ],
        },
    ],
    words: Words::Between,
    failed: 1,
    exec,
};

/// Where nothing else is asked for.
const DEFAULT: &str = "native,container,vm";

fn exec(typed: Typed, settings: &Settings) -> Result<u8, Problem> {
    let request = request(&typed, settings)?;
    let mut progress = Progress::new();
    let outcome = lab::run::run(&request, &mut progress).map_err(told)?;
    if !outcome.differing.is_empty() {
        let which = outcome.differing.join(", ");
        report_warning(
            &format!("not what was asked for: {which}"),
            Some("the files in parity/ say what differs: these figures cannot be compared"),
        );
    }
    print(&format!("{}\n", words(&outcome, &request.directory.to_string_lossy())))?;
    Ok(match outcome.stopped {
        Some(signal) => 128 + u8::try_from(signal).unwrap_or(0),
        None if outcome.failed > 0 => 1,
        None => 0,
    })
}

/// Takes away what the lab's own engine has made of the host's network.
fn take_down(run_root: &Path, bridge: &str) {
    let settings =
        Settings { run_root: run_root.to_owned(), bridge: bridge.to_owned(), ..Settings::default() };
    if let Err(error) = engine::ops::networks::take_down(&settings) {
        report_warning(&format!("the bench's network is left: {error}"), error.hint.as_deref());
    }
}

fn words(outcome: &Outcome, directory: &str) -> String {
    let failed =
        if outcome.failed > 0 { format!(", {} of them failed", outcome.failed) } else { String::new() };
    let next = if outcome.made < outcome.total { "; the same command goes on with it" } else { "" };
    format!("{} of {} measurements are in {}{failed}{next}", outcome.made, outcome.total, plain(directory))
}

fn request(typed: &Typed, settings: &Settings) -> Result<Request, Problem> {
    let suite = match &typed.words[..] {
        [suite] => suite.clone(),
        [] => return Err(Problem::new("bench run needs a suite").hint("'minidocker bench list' has them")),
        _ => return Err(Problem::new("bench run takes one suite")),
    };
    let listed = |long: &str| -> Vec<String> {
        typed.many(long).flat_map(|names| names.split(',')).map(str::to_owned).collect()
    };
    let mut environments = listed("env");
    if environments.is_empty() {
        environments = DEFAULT.split(',').map(str::to_owned).collect();
    }
    let sizes = typed.read_many("size", parse_size)?;
    if sizes.is_empty() {
        return Err(Problem::new("bench run needs a size")
            .hint("--size 2g/1cpu: memory and processors of each environment"));
    }
    let directory =
        typed.one("output").ok_or_else(|| Problem::new("bench run needs a directory").hint("-o DIR"))?;
    twice("env", &environments)?;
    twice("size", &sizes.iter().map(|size| size.name.clone()).collect::<Vec<_>>())?;
    let path = |path: &std::path::Path| path.to_string_lossy().into_owned();
    let mut globals = vec!["--root".to_owned(), path(&settings.root)];
    globals.extend(["--run-root".to_owned(), path(&settings.run_root), "--bridge".to_owned()]);
    globals.push(settings.bridge.clone());
    Ok(Request {
        suite,
        cases: listed("case"),
        environments,
        sizes,
        repeat: typed.read("repeat", |text| number(text, 1.0, 10_000.0))?.map_or(5, |number| number as u32),
        time_scale: typed.read("time-scale", |text| number(text, 0.0001, 1000.0))?.unwrap_or(1.0),
        seed: typed.read("seed", |text| text.parse::<u64>().map_err(|_| "not a whole number".to_owned()))?,
        rate: typed.read("rate", |text| number(text, 0.1, 100.0))?.unwrap_or(5.0),
        image: typed.one("image").unwrap_or("host").to_owned(),
        options: typed.read_many("option", option)?,
        directory: PathBuf::from(directory),
        command: std::env::args().collect(),
        globals,
        cgroup_parent: settings.cgroup_parent.clone(),
        take_down,
    })
}

fn twice(option: &str, names: &[String]) -> Result<(), Problem> {
    let again = names.iter().enumerate().find(|(place, name)| names[..*place].contains(name));
    again.map_or(Ok(()), |(_, name)| Err(Problem::new(format!("--{option} has {} twice", step::quote(name)))))
}

fn number(text: &str, least: f64, most: f64) -> Result<f64, String> {
    let number = text.parse::<f64>().ok().filter(|number| (least..=most).contains(number));
    number.ok_or_else(|| format!("not a number from {least} to {most}"))
}

fn option(text: &str) -> Result<(String, String), String> {
    let (name, word) = text.split_once('=').ok_or("write it as ENV=WORD: container=--cpus=1")?;
    Ok((name.to_owned(), word.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_is_told_in_one_line() {
        let outcome = Outcome { made: 3, total: 8, failed: 1, differing: Vec::new(), stopped: None };
        assert_eq!(
            words(&outcome, "d"),
            "3 of 8 measurements are in d, 1 of them failed; the same command goes on with it"
        );
        let outcome = Outcome { made: 8, failed: 0, ..outcome };
        assert_eq!(words(&outcome, "d"), "8 of 8 measurements are in d");
        assert_eq!(option("container=--cpus=1"), Ok(("container".to_owned(), "--cpus=1".to_owned())));
        assert!(
            option("container").is_err() && number("0", 1.0, 2.0).is_err() && number("x", 1.0, 2.0).is_err()
        );
        assert!(twice("env", &["a".to_owned(), "a".to_owned()]).is_err());
    }
}
