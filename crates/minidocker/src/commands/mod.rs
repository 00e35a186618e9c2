//! One file per command: what it accepts and an `exec` that calls the engine. This table is the only place that
//! knows them all; Docker's long names (`container ls`) are further names of the same entries.

mod attach;
mod bench;
mod build;
mod builder_prune;
mod clone;
mod commit;
mod completion;
mod cp;
mod create;
mod diff;
mod events;
mod exec;
mod export;
mod healthcheck;
mod image;
mod info;
mod inspect;
mod kill;
mod login;
mod logs;
mod man;
mod manifest;
mod network;
mod pause;
mod pod;
mod port;
mod prune;
pub(crate) mod ps;
mod rename;
mod rm;
mod run;
mod start;
mod stats;
mod stop;
mod system_check;
mod system_df;
mod system_prune;
mod system_start;
mod top;
mod ui;
mod update;
pub(crate) mod version;
mod vm;
mod volume;
mod wait;

use engine::Settings;

use crate::options::{Group, Typed, Words};
use crate::problem::Problem;

/// One command.
#[derive(Debug)]
pub(crate) struct Command {
    /// `ps`, or with its group: `image prune`.
    pub(crate) name: &'static str,
    /// Its other names: `container ls`.
    pub(crate) long_names: &'static [&'static str],
    /// One line of the overview.
    pub(crate) summary: &'static str,
    /// What may be typed, without `minidocker`.
    pub(crate) usage: &'static [&'static str],
    /// What it does.
    pub(crate) about: &'static str,
    /// What is typed, and what that does.
    pub(crate) examples: &'static [(&'static str, &'static str)],
    /// Its options.
    pub(crate) groups: &'static [Group],
    /// Its other words.
    pub(crate) words: Words,
    /// The exit code when it fails.
    pub(crate) failed: u8,
    /// Does it; gives the exit code.
    pub(crate) exec: fn(Typed, &Settings) -> Result<u8, Problem>,
}

/// Every command, in the order of the overview.
pub(crate) const COMMANDS: &[&Command] = &[
    &run::COMMAND,
    &create::COMMAND,
    &start::COMMAND,
    &stop::COMMAND,
    &stop::RESTART,
    &kill::COMMAND,
    &rm::COMMAND,
    &ps::COMMAND,
    &stats::COMMAND,
    &ui::COMMAND,
    &exec::COMMAND,
    &logs::COMMAND,
    &events::COMMAND,
    &attach::COMMAND,
    &wait::COMMAND,
    &healthcheck::COMMAND,
    &pause::COMMAND,
    &pause::UNPAUSE,
    &rename::COMMAND,
    &clone::COMMAND,
    &inspect::COMMAND,
    &inspect::CONTAINER,
    &top::COMMAND,
    &port::COMMAND,
    &diff::COMMAND,
    &cp::COMMAND,
    &prune::COMMAND,
    &update::COMMAND,
    &image::ls::COMMAND,
    &image::pull::COMMAND,
    &image::push::COMMAND,
    &image::tag::COMMAND,
    &image::rm::COMMAND,
    &build::COMMAND,
    &builder_prune::COMMAND,
    &image::save::COMMAND,
    &image::load::COMMAND,
    &image::import::COMMAND,
    &image::history::COMMAND,
    &image::inspect::COMMAND,
    &image::prune::COMMAND,
    &image::bootstrap::COMMAND,
    &volume::create::COMMAND,
    &volume::ls::COMMAND,
    &volume::inspect::COMMAND,
    &volume::rm::COMMAND,
    &volume::prune::COMMAND,
    &network::create::COMMAND,
    &network::ls::COMMAND,
    &network::inspect::COMMAND,
    &network::rm::COMMAND,
    &network::prune::COMMAND,
    &network::connect::COMMAND,
    &network::disconnect::COMMAND,
    &network::show::COMMAND,
    &network::update::COMMAND,
    &pod::create::COMMAND,
    &pod::ls::COMMAND,
    &pod::inspect::COMMAND,
    &pod::rm::COMMAND,
    &pod::acts::START,
    &pod::acts::STOP,
    &pod::acts::RESTART,
    &pod::acts::KILL,
    &pod::acts::PAUSE,
    &pod::acts::UNPAUSE,
    &pod::exists::COMMAND,
    &pod::prune::COMMAND,
    &pod::top::COMMAND,
    &pod::stats::COMMAND,
    &vm::RUN,
    &commit::COMMAND,
    &export::COMMAND,
    &login::COMMAND,
    &login::LOGOUT,
    &manifest::inspect::COMMAND,
    &manifest::create::COMMAND,
    &manifest::create::ADD,
    &manifest::annotate::COMMAND,
    &manifest::push::COMMAND,
    &manifest::rm::COMMAND,
    &system_check::COMMAND,
    &system_df::COMMAND,
    &system_prune::COMMAND,
    &system_start::COMMAND,
    &bench::report::COMMAND,
    &bench::compare::COMMAND,
    &bench::list::COMMAND,
    &bench::run::COMMAND,
    &info::COMMAND,
    &version::COMMAND,
    &completion::COMMAND,
    &man::COMMAND,
];

/// Groups of commands, Docker's long names: `container ls`, `image prune`.
pub(crate) const GROUPS: &[(&str, &str)] = &[
    ("bench", "Measuring: the bare host, containers and virtual machines"),
    ("builder", "The cache of builds"),
    ("buildx", "The same by the name that Docker's plug-in has"),
    ("container", "Containers by Docker's long names: container run, ls, kill, rm"),
    ("healthcheck", "Health of containers: healthcheck run"),
    ("image", "Images by Docker's long names: image ls, pull, push, tag, rm"),
    ("manifest", "Lists of images for platforms: manifest inspect, create, add, annotate, push, rm"),
    ("network", "Networks: network create, ls, inspect, rm, prune, connect, disconnect, update, show"),
    ("pod", "Containers that share a network: pod create, ls, inspect, rm, start, stop, kill, prune"),
    ("system", "minidocker as a whole"),
    ("vm", "Virtual machines of images: vm run"),
    ("volume", "Volumes: volume create, ls, inspect, rm, prune"),
];

/// All names of a command, the first one first.
impl Command {
    pub(crate) fn names(&self) -> impl Iterator<Item = &'static str> {
        std::iter::once(self.name).chain(self.long_names.iter().copied())
    }
}

/// The names after a group, or those of one word that the overview lists.
pub(crate) fn names_in(group: Option<&str>) -> Vec<&'static str> {
    match group {
        None => COMMANDS
            .iter()
            .map(|command| command.name)
            .filter(|name| !name.contains(' '))
            .chain(GROUPS.iter().map(|(name, _)| *name))
            .chain(["help"])
            .collect(),
        Some(group) => {
            let all = COMMANDS.iter().flat_map(|command| command.names());
            all.filter_map(|name| name.strip_prefix(group)?.strip_prefix(' ')).collect()
        }
    }
}

/// For hints: the names in words.
pub(crate) fn listed(names: &[&str]) -> String {
    match names {
        [all @ .., last] if !all.is_empty() => format!("{} and {last}", all.join(", ")),
        names => names.concat(),
    }
}

/// Does `act` to each named container, prints the name of each that it was done to, and tells of each other one.
fn for_each(
    typed: &Typed,
    command: &Command,
    act: impl Fn(&str) -> Result<(), engine::Error>,
) -> Result<u8, Problem> {
    if typed.words.is_empty() {
        return Err(Problem::new(format!("{} needs a container's name or id", command.name))
            .hint("'minidocker ps -a' lists them"));
    }
    let mut code = 0;
    for name in &typed.words {
        match act(name) {
            Ok(()) => crate::terminal::print(&format!("{}\n", crate::terminal::plain(name)))?,
            Err(error) => {
                crate::terminal::report(&Problem::from(error));
                code = command.failed;
            }
        }
    }
    Ok(code)
}

/// Asks before something goes that nobody brings back; no answer is no.
fn confirmed(warning: &str) -> Result<bool, Problem> {
    use std::io::{BufRead as _, IsTerminal as _};
    crate::terminal::print(&format!("WARNING! {warning}\nAre you sure you want to continue? [y/N] "))?;
    let stdin = std::io::stdin();
    let mut answer = String::new();
    let read = stdin.lock().read_line(&mut answer);
    let yes = read.is_ok() && matches!(answer.trim(), "y" | "Y" | "yes");
    if !yes && !stdin.is_terminal() {
        crate::terminal::print("\n")?;
    }
    Ok(yes)
}

/// Writes a file beside its name first: what is there stays until the whole new one is.
fn into_file(path: &str, write: impl FnOnce(&std::fs::File) -> Result<(), Problem>) -> Result<(), Problem> {
    let new = format!("{path}.part");
    let failed = |error: std::io::Error| {
        let reason = crate::terminal::io_reason(&error);
        Problem::new(format!("cannot write {}: {reason}", crate::terminal::plain(path)))
    };
    let file = std::fs::File::create(&new).map_err(failed)?;
    let written = write(&file).and_then(|()| std::fs::rename(&new, path).map_err(failed));
    if written.is_err() {
        let _ = std::fs::remove_file(&new);
    }
    written
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_is_there_once_and_its_group_is_known() {
        let mut all: Vec<&str> = COMMANDS.iter().flat_map(|command| command.names()).collect();
        for name in &all {
            if let Some((group, _)) = name.split_once(' ') {
                assert!(GROUPS.iter().any(|(known, _)| *known == group), "{name}");
            }
        }
        for (group, _) in GROUPS {
            assert!(!names_in(Some(group)).is_empty(), "{group}");
        }
        let number = all.len();
        all.sort_unstable();
        all.dedup();
        assert_eq!(all.len(), number);
        assert_eq!(listed(&["a", "b", "c"]), "a, b and c");
        assert_eq!(listed(&["a"]), "a");
    }
}
