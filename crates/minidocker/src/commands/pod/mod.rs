//! `pod`: containers that share namespaces, with Podman's names and options.

pub(super) mod acts;
pub(super) mod create;
pub(super) mod exists;
mod filters;
pub(super) mod inspect;
pub(super) mod ls;
pub(super) mod prune;
pub(super) mod rm;
pub(super) mod stats;
pub(super) mod top;

use engine::ops::list::State;
use engine::ops::pods::{self, Done, Listed};
use engine::{Error, Settings};

use super::{Command, run};
use crate::options::{Opt, Typed, flag};
use crate::problem::{Problem, RUN_FAILED};
use crate::terminal::{print, report};

/// Podman's exit code for whatever a command of pods could not do.
const FAILED: u8 = RUN_FAILED;

const ALL: Opt = flag("all", "All pods").short('a');
const LATEST: Opt = flag("latest", "The pod that was made last").short('l');

/// The pods that are meant: by their names, or by --all (of those that fit) or --latest.
fn named(
    typed: &Typed,
    command: &Command,
    settings: &Settings,
    fits: fn(&Listed) -> bool,
) -> Result<Vec<String>, Problem> {
    let on =
        |long| if typed.knows(long) { typed.flag(long).map(|on| on.unwrap_or(false)) } else { Ok(false) };
    let (all, latest) = (on("all")?, on("latest")?);
    match (all || latest, typed.words.is_empty()) {
        (false, false) => return Ok(typed.words.clone()),
        (false, true) => {
            return Err(Problem::new(format!("{} needs a pod's name or id", command.name))
                .hint("'minidocker pod ls' lists them"));
        }
        (true, false) => {
            return Err(Problem::new("--all and --latest take no names").hint("leave out one or the other"));
        }
        (true, true) => {}
    }
    let mut pods = pods::list(settings)?.into_iter();
    let ids = |pods: &mut dyn Iterator<Item = Listed>| -> Vec<String> {
        pods.map(|listed| listed.infra.id).collect()
    };
    Ok(if all { ids(&mut pods.filter(fits)) } else { ids(&mut pods.by_ref().take(1)) })
}

/// Whether something of a pod runs.
fn runs(listed: &Listed) -> bool {
    listed.containers().any(|one| matches!(one.state, State::Running(..)))
}

/// Whether something of a pod stands still.
fn stands(listed: &Listed) -> bool {
    listed.containers().any(|one| matches!(one.state, State::Paused(..)))
}

/// Does `act` to each pod, prints the id of each that it was done to, and tells of what it was not. The exit code is that of
/// the first failure, by `code`.
fn for_each(
    names: &[String],
    act: impl Fn(&str) -> Result<Done, Error>,
    code: impl Fn(&Error) -> Option<u8>,
) -> Result<u8, Problem> {
    let mut first = None;
    for name in names {
        let failed = match act(name) {
            Ok(done) => {
                run::report(&done.notes);
                if done.failed.is_empty() {
                    print(&format!("{}\n", done.id))?;
                }
                done.failed
            }
            Err(error) => vec![error],
        };
        for error in failed {
            let own = code(&error);
            if own != Some(0) {
                report(&Problem::from(error));
                first = first.or(Some(own.unwrap_or(FAILED)));
            }
        }
    }
    Ok(first.unwrap_or(0))
}
