//! What was left behind, and what is not true: found by what the kernel and the files say, never by a list of what
//! somebody once made. A thing bears its container's id; it is left over where nobody cares for that container.
//!
//! Every command looks for containers that crashed, which is one look at each lock ([`sweep`]). `system check` looks at
//! everything ([`check`]). Both get the same [`Finding`]s, with the steps that mend them.
//!
//! A container's directory in the run root is made before anything else of it and goes after everything else. So what
//! is there, and is still there when that directory has been seen to be missing, is nobody's.

mod crashed;
mod files;
mod finding;
mod kernel;
mod machines;
mod records;
mod steps;

use monitor::Note;
use step::Failure;

pub(crate) use finding::Finding;

use crate::Settings;
use crate::state::Store;

/// Sweeps. What cannot be taken down stays for the next time and keeps nobody from working: it is told.
pub(crate) fn sweep(settings: &Settings, store: &Store) -> Result<Vec<Note>, Failure> {
    let mut left = Vec::new();
    for id in store.present()? {
        if let Some(found) = crashed::look(settings, store, &id)?
            && let Err(failure) = found.repair()
        {
            let words = format!("container {} crashed and cannot be taken down yet: {failure}", &id[..12]);
            left.push((words, failure.hint));
        }
    }
    Ok(left)
}

/// The same of one container, which is about to be started.
pub(crate) fn sweep_one(settings: &Settings, store: &Store, id: &str) -> Result<(), Failure> {
    crashed::look(settings, store, id)?.map_or(Ok(()), Finding::repair)
}

/// A look at one kind of thing.
type Look = fn(&Settings, &Store) -> Result<Vec<Finding>, Failure>;

/// Where is looked, in this order: what crashed first, for it takes with it what it had.
const AREAS: [Look; 13] = [
    records::names,
    records::directories,
    records::user_ids,
    kernel::addresses_and_links,
    kernel::networks,
    kernel::rules,
    kernel::groups,
    files::half_written,
    files::locked,
    files::volumes,
    files::logs,
    machines::disks,
    machines::benches,
];

/// Hands on everything that is found, one after the other; `act` may repair it. What cannot be looked at is told.
pub(crate) fn check(
    settings: &Settings,
    store: &Store,
    act: &mut dyn FnMut(Finding),
) -> Result<Vec<Failure>, Failure> {
    let mut unseen = Vec::new();
    // What is mounted in a directory keeps it from going.
    match kernel::mounts(settings, store) {
        Ok(found) => found.into_iter().for_each(&mut *act),
        Err(failure) => unseen.push(failure),
    }
    for id in store.present()? {
        // One at a time: a new monitor is a fork, and would keep the locks of all that were found before.
        crashed::look(settings, store, &id)?.into_iter().for_each(&mut *act);
    }
    for look in AREAS {
        match look(settings, store) {
            Ok(found) => found.into_iter().for_each(&mut *act),
            Err(failure) => unseen.push(failure),
        }
    }
    Ok(unseen)
}
