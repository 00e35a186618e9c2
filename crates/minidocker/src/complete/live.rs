//! Names from the state, read without a lock and without cleaning up: a look must not wait, nor change anything.

use engine::Settings;
use engine::ops::list::{self, State};
use engine::ops::{images, networks, pods, volumes};

use super::Candidate;
use super::sources::Containers;
use crate::commands::ps;

/// Containers by name; by short id where no name begins with what is typed.
pub(super) fn containers(settings: &Settings, which: Containers, typed: &str) -> Vec<Candidate> {
    let all = list::glance(settings).unwrap_or_default();
    let fits = |state: &State| match which {
        Containers::All => true,
        Containers::Alive => matches!(state, State::Running(..) | State::Paused(..) | State::Restarting(..)),
        Containers::Running => matches!(state, State::Running(..)),
        Containers::Paused => matches!(state, State::Paused(..)),
        Containers::Stopped => matches!(state, State::Created | State::Exited(..) | State::Lost),
    };
    let fitting: Vec<_> = all.into_iter().filter(|one| fits(&one.state)).collect();
    let by_name = fitting.iter().any(|one| !one.name.is_empty() && one.name.starts_with(typed));
    let now = std::time::SystemTime::now();
    let word = |one: &list::Summary| match by_name {
        true => one.name.clone(),
        false => one.id.chars().take(12.max(typed.len())).collect(),
    };
    let about = |one: &list::Summary| format!("{}, {}", one.image, ps::status(&one.state, one.health, now));
    let all = fitting.iter().map(|one| Candidate::new(word(one), &about(one)));
    all.filter(|one| !one.word.is_empty()).collect()
}

/// Images by the names that people use; `host` is always there.
pub(super) fn images(settings: &Settings) -> Vec<Candidate> {
    let mut all = vec![Candidate::new("host", "this machine's own root file system")];
    for listed in images::list(settings).unwrap_or_default() {
        let id = listed.short_id();
        for name in &listed.image.names {
            let Ok(name) = images::reference(name) else { continue };
            let name = name.to_string();
            all.push(Candidate::new(name.strip_suffix(":latest").unwrap_or(&name), &id));
        }
    }
    all
}

/// Volumes by name; those without a name of their own too, last.
pub(super) fn volumes(settings: &Settings) -> Vec<Candidate> {
    let mut all = volumes::list(settings).unwrap_or_default();
    all.sort_by_key(|one| one.volume.name.len() == 64);
    let about = |used| if used { "in use" } else { "" };
    all.into_iter().map(|one| Candidate::new(one.volume.name, about(one.used))).collect()
}

/// Networks by name, those that nobody made too.
pub(super) fn networks(settings: &Settings) -> Vec<Candidate> {
    networks::names(settings).into_iter().map(|name| Candidate::new(name, "")).collect()
}

/// Pods by name.
pub(super) fn pods(settings: &Settings) -> Vec<Candidate> {
    pods::names(settings).into_iter().map(|name| Candidate::new(name, "")).collect()
}
