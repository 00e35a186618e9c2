//! A source's words: fixed ones, the machine's files, and what the state has by name.

use std::path::Path;

use engine::{Settings, signals};

use super::sources::{Containers, Source};
use super::{Answer, Candidate, live};
use crate::values::capabilities;

/// What `source` offers where `typed` is there already. Words may be among it that do not begin so.
pub(super) fn of(source: Source, typed: &str, settings: &Settings) -> Answer {
    let words = |words: &[&str]| words.iter().map(|word| Candidate::new(*word, "")).collect();
    let candidates = match source {
        Source::Nothing => Vec::new(),
        Source::Files | Source::Directories => return files(typed, source == Source::Directories),
        Source::Containers(which) => live::containers(settings, which, typed),
        Source::CopyEnds => with_colon(live::containers(settings, Containers::All, typed)),
        Source::Images => live::images(settings),
        Source::Objects => {
            let mut all = live::containers(settings, Containers::All, typed);
            all.extend(live::images(settings));
            all
        }
        Source::Volumes => live::volumes(settings),
        Source::Networks => live::networks(settings),
        Source::Pods => live::pods(settings),
        Source::Cables => match typed.strip_prefix("container:") {
            Some(rest) => headed("container:", live::containers(settings, Containers::Alive, rest)),
            None => live::networks(settings).into_iter().chain([Candidate::new("container:", "")]).collect(),
        },
        Source::Mounted | Source::Bound if typed.starts_with(['/', '.', '~']) => return files(typed, false),
        Source::Mounted => live::volumes(settings),
        Source::Bound => with_colon(live::volumes(settings)),
        Source::Shared(modes) => match typed.strip_prefix("container:") {
            Some(rest) => headed("container:", live::containers(settings, Containers::Alive, rest)),
            None => words(modes),
        },
        Source::Signals => signal_names(typed),
        Source::Capabilities => {
            capabilities::names().chain(["ALL"]).map(|name| Candidate::new(name, "")).collect()
        }
        Source::Words(all) => words(all),
        Source::Pairs(keys) => return pairs(keys, "", typed, settings),
        Source::List(keys) => {
            let (head, last) = typed.split_at(typed.rfind(',').map_or(0, |at| at + 1));
            return pairs(keys, head, last, settings);
        }
        Source::Variables => variables(),
    };
    Answer { candidates, paths: false }
}

/// `KEY=` while the key is typed, then its values.
fn pairs(keys: &[(&str, Source)], head: &str, typed: &str, settings: &Settings) -> Answer {
    let Some((key, value)) = typed.split_once('=') else {
        let all = keys.iter().map(|(key, _)| Candidate::new(format!("{head}{key}="), "")).collect();
        return Answer { candidates: all, paths: false };
    };
    let Some((_, source)) = keys.iter().find(|(known, _)| *known == key) else { return Answer::default() };
    let mut answer = of(*source, value, settings);
    answer.candidates = headed(&format!("{head}{key}="), answer.candidates);
    answer
}

fn with_colon(candidates: Vec<Candidate>) -> Vec<Candidate> {
    candidates.into_iter().map(|one| Candidate { word: one.word + ":", about: one.about }).collect()
}

fn headed(head: &str, candidates: Vec<Candidate>) -> Vec<Candidate> {
    let one = |one: Candidate| Candidate { word: format!("{head}{}", one.word), about: one.about };
    candidates.into_iter().map(one).collect()
}

/// With `SIG` where that has been typed.
fn signal_names(typed: &str) -> Vec<Candidate> {
    let head = if typed.to_ascii_uppercase().starts_with("SIG") { "SIG" } else { "" };
    let names = signals::names();
    names.map(|(name, number)| Candidate::new(format!("{head}{name}"), &number.to_string())).collect()
}

fn variables() -> Vec<Candidate> {
    let names = std::env::vars_os().filter_map(|(name, _)| name.into_string().ok());
    let mut names: Vec<String> = names.filter(|name| !name.starts_with('_')).collect();
    names.sort_unstable();
    names.into_iter().map(|name| Candidate::new(name, "")).collect()
}

/// Files whose paths begin with `typed`; directories end in a slash. Hidden ones where the dot has been typed.
fn files(typed: &str, directories: bool) -> Answer {
    let (head, name) = typed.split_at(typed.rfind('/').map_or(0, |at| at + 1));
    let home = head.strip_prefix("~/").zip(std::env::var_os("HOME"));
    let place = home.map_or_else(|| Path::new(head).to_owned(), |(rest, home)| Path::new(&home).join(rest));
    let place = if head.is_empty() { Path::new(".").to_owned() } else { place };
    let mut candidates = Vec::new();
    for entry in std::fs::read_dir(place).into_iter().flatten().flatten() {
        let Ok(file) = entry.file_name().into_string() else { continue };
        // A line break cannot be told to a shell in one line.
        if !file.starts_with(name) || file.contains('\n') || file.starts_with('.') && !name.starts_with('.') {
            continue;
        }
        // Of a link, what it leads to.
        let is_directory = std::fs::metadata(entry.path()).is_ok_and(|data| data.is_dir());
        if is_directory || !directories {
            let end = if is_directory { "/" } else { "" };
            candidates.push(Candidate::new(format!("{head}{file}{end}"), ""));
        }
    }
    candidates.sort_by(|a, b| a.word.cmp(&b.word));
    Answer { candidates, paths: true }
}
