//! `ps`: the processes of a container, by their numbers here.

use crate::Settings;
use crate::error::Error;
use crate::store::Store;

/// Every process of a container, sorted; none where it has stopped.
pub fn ps(settings: &Settings, id: &str) -> Result<Vec<i32>, Error> {
    let store = Store::new(&settings.root);
    let saved = store.load(id)?;
    let mut pids = super::kill::group(&saved)?.processes();
    pids.sort_unstable();
    Ok(pids)
}
