//! `ps`: the processes of a container, by their numbers here.

use crate::error::Error;
use crate::store::Store;
use crate::{Settings, Status};

/// Every process of a container, sorted.
pub fn ps(settings: &Settings, id: &str) -> Result<Vec<i32>, Error> {
    let store = Store::new(&settings.root);
    let saved = store.load(id)?;
    if Status::of(&saved, &store.dir(id)) == Status::Stopped {
        return Err(Error::new("container not running"));
    }
    let mut pids = super::kill::group(&saved)?.processes();
    pids.sort_unstable();
    Ok(pids)
}
