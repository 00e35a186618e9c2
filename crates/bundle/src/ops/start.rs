//! `start`: the gate is opened.

use oci::spec::ContainerState;

use crate::error::Error;
use crate::store::{Saved, Store};
use crate::{Settings, Status, prepare};

/// Starts the program of a created container and runs its poststart hooks.
pub fn start(settings: &Settings, id: &str) -> Result<(), Error> {
    let store = Store::new(&settings.root);
    let _lock = store.lock(id)?;
    let saved = store.load(id)?;
    let dir = store.dir(id);
    match Status::of(&saved, &dir) {
        Status::Created => {}
        Status::Stopped => return Err(Error::new("cannot start a container that has stopped")),
        Status::Running | Status::Paused => {
            return Err(Error::new("cannot start an already running container"));
        }
        Status::Creating => {
            return Err(Error::new("cannot start a container that is being created"));
        }
    }
    let name = saved.config.process().as_ref().and_then(|process| process.args().clone()).unwrap_or_default();
    let name = name.first().map(String::as_str).unwrap_or_default();
    runtime::open_gate(&dir, name)
        .map_err(|failure| Error::from(failure).during("unable to start container process"))?;
    after_start(&saved)
}

/// The poststart hooks; the first that fails ends the container.
pub(super) fn after_start(saved: &Saved) -> Result<(), Error> {
    let hooks = saved.config.hooks().as_ref().and_then(|hooks| hooks.poststart().clone()).unwrap_or_default();
    if hooks.is_empty() {
        return Ok(());
    }
    let state = prepare::state(&saved.config, &saved.id, &saved.bundle);
    let state = runtime::state_at(&state, ContainerState::Running, saved.init.map(|init| init.pid));
    runtime::run_hooks("poststart", &hooks, &state).map_err(|failure| {
        let _ = super::delete::end(saved);
        Error::new(failure.cause())
    })
}
