//! `pause` and `resume`: the freezer.

use crate::error::Error;
use crate::store::Store;
use crate::{Settings, Status};

/// Freezes all processes of a container.
pub fn pause(settings: &Settings, id: &str) -> Result<(), Error> {
    let store = Store::new(&settings.root);
    let _lock = store.lock(id)?;
    let saved = store.load(id)?;
    match Status::of(&saved, &store.dir(id)) {
        Status::Running | Status::Created => {}
        status => return Err(not_running(status)),
    }
    let group = super::kill::group(&saved)?;
    group.freeze()?;
    // Who is killed meanwhile cannot die while he is frozen (version 1), and nobody would expect to have to resume him.
    if saved.init.is_none_or(|init| init.is_dying()) {
        group.thaw()?;
        return Err(not_running(Status::Stopped));
    }
    Ok(())
}

fn not_running(status: Status) -> Error {
    Error::new(format!("container not running or created: {}", status.word()))
}

/// Lets them go on.
pub fn resume(settings: &Settings, id: &str) -> Result<(), Error> {
    let store = Store::new(&settings.root);
    let _lock = store.lock(id)?;
    let saved = store.load(id)?;
    match Status::of(&saved, &store.dir(id)) {
        Status::Paused => Ok(super::kill::group(&saved)?.thaw()?),
        _ => Err(Error::new("container not paused")),
    }
}
