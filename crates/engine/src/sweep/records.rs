//! Records, and the small facts beside them: names and ranges of user ids.

use std::path::Path;

use step::Failure;

use super::finding::Finding;
use super::steps::SweepStep;
use crate::Settings;
use crate::state::{Store, is_id, read_link};
use crate::steps::EngineStep;

/// Directories of containers that no record names, records that cannot be read, and names that records have and that
/// point nowhere.
pub(super) fn directories(settings: &Settings, store: &Store) -> Result<Vec<Finding>, Failure> {
    let mut found = Vec::new();
    for id in store.kept()? {
        // Somebody is at it, or it crashed, which is told by itself.
        if store.is_cared_for(&id) {
            continue;
        }
        let dir = store.keep_dir(&id);
        match store.kept_record(&id) {
            Ok(Some(record)) => found.extend(name(store, &record.name, &id)),
            Ok(None) if dir.exists() && !store.is_cared_for(&id) => {
                let step = EngineStep::RemoveLayer { places: settings.places(), id };
                found.push(Finding::at("directory", &dir, "no container has it").step("remove it", step));
            }
            Ok(None) => {}
            Err(failure) => {
                let remedy = format!("minidocker rm -f {} removes the container and its files", &id[..12]);
                found.push(Finding::at("record", &dir, failure.cause()).advice(remedy));
            }
        }
    }
    for name in names_in(&settings.root.join("removed")) {
        if is_id(&name) && !store.is_cared_for(&name) {
            let path = settings.root.join("removed").join(&name);
            found.push(Finding::at("directory", &path, "its removal was cut short").removal(&path));
        }
    }
    Ok(found)
}

fn name(store: &Store, name: &str, id: &str) -> Option<Finding> {
    let found = |why: String| Finding::new("name", name, why);
    match store.named(name) {
        Some(owner) if owner == id => None,
        // Somebody renames it just now, or removes it.
        _ if store.kept_record(id).ok().flatten().is_none_or(|record| record.name != name) => None,
        None => {
            let step = SweepStep::Name { store: store.clone(), name: name.to_owned(), id: id.to_owned() };
            let why = format!("container {} has it, and it points nowhere", &id[..12]);
            Some(found(why).step("let it point at the container", step))
        }
        Some(other) => {
            let other = other.get(..12).unwrap_or(&other);
            let why = format!("two containers have it: {} and {other}", &id[..12]);
            Some(found(why).advice(format!("minidocker rename {} NAME gives one of them another", &id[..12])))
        }
    }
}

/// Names that point at no container, or at one that has another name.
pub(super) fn names(settings: &Settings, store: &Store) -> Result<Vec<Finding>, Failure> {
    let dir = settings.run_root.join("names");
    let judge = |name: String| {
        let path = dir.join(&name);
        let Some(id) = read_link(&path) else {
            return Some(Finding::at("name", &path, "it is no name of a container").removal(&path));
        };
        let wrong = |why: String| {
            let step = SweepStep::Unlink { path: path.clone(), text: id.clone() };
            Some(Finding::new("name", &name, why).step("remove it", step))
        };
        let short = id.get(..12).unwrap_or(&id);
        let record = if is_id(&id) { store.record(&id) } else { Ok(None) };
        match record {
            Err(_) => None,
            Ok(None) if is_id(&id) && store.is_cared_for(&id) => None,
            // Seen again: a container that is made has its name before its record, one that is renamed after.
            Ok(None) if read_link(&path)? != id || store.record(&id).ok()?.is_some() => None,
            Ok(None) => wrong(format!("it points at {short}, and there is no such container")),
            Ok(Some(record)) if record.name == name => None,
            Ok(Some(record)) => {
                // Whoever renames it holds this.
                let _writing = store.try_lock_record(&record)?;
                let record = store.record(&id).ok()??;
                (record.name != name)
                    .then(|| wrong(format!("container {short} is called {}", record.name)))?
            }
        }
    };
    Ok(names_in(&dir).into_iter().filter_map(judge).collect())
}

/// Ranges of user ids of containers that are gone.
pub(super) fn user_ids(settings: &Settings, store: &Store) -> Result<Vec<Finding>, Failure> {
    let dir = settings.run_root.join("ids");
    let judge = |first: String| {
        let path = dir.join(&first);
        let id = read_link(&path)?;
        let gone = !store.is_cared_for(&id) && read_link(&path)? == id;
        let why = format!("container {} had it, which is gone", id.get(..12).unwrap_or(&id));
        let step = SweepStep::Unlink { path, text: id };
        gone.then(|| Finding::new("range of user ids", first, why).step("remove it", step))
    };
    Ok(names_in(&dir).into_iter().filter_map(judge).collect())
}

/// What is in a directory, sorted; nothing where it is not there.
pub(super) fn names_in(dir: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(dir).into_iter().flatten().flatten();
    let mut names: Vec<String> = entries.filter_map(|entry| entry.file_name().into_string().ok()).collect();
    names.sort();
    names
}
