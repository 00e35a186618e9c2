//! `list`: all containers.

use crate::Settings;
use crate::error::Error;
use crate::store::Store;

use super::state::{StateReport, report};

/// Tells the state of every container, by id. One that goes away meanwhile is left out.
pub fn list(settings: &Settings) -> Result<Vec<StateReport>, Error> {
    let store = Store::new(&settings.root);
    let ids = store.ids()?;
    Ok(ids.iter().filter_map(|id| store.load(id).ok()).map(|saved| report(&store, saved)).collect())
}
