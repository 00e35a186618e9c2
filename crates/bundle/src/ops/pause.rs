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
        Status::Running | Status::Created => Ok(super::kill::group(&saved)?.freeze()?),
        status => Err(Error::new(format!("container not running or created: {}", status.word()))),
    }
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
