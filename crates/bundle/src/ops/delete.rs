//! `delete`: whatever is left of a container goes.

use std::os::fd::AsFd;
use std::time::Duration;

use cgroup::{Group, Hierarchies};
use oci::spec::ContainerState;
use rustix::event::{PollFd, PollFlags, Timespec};

use crate::error::Error;
use crate::store::{Init, Saved, Store};
use crate::{Settings, Status, prepare};

/// How long a killed process may take to go.
const PATIENCE: Duration = Duration::from_secs(10);

/// Deletes a container that has stopped, or was created and not started; with `force` any, and none is fine too.
pub fn delete(settings: &Settings, id: &str, force: bool) -> Result<(), Error> {
    let store = Store::new(&settings.root);
    let _lock = match store.lock(id) {
        Err(_) if force => return Ok(()),
        lock => lock?,
    };
    let saved = match store.load(id) {
        // A directory without a state: `create` was killed before it wrote one.
        Err(_) if force => return store.forget(id),
        saved => saved?,
    };
    match Status::of(&saved, &store.dir(id)) {
        Status::Stopped | Status::Created => {}
        _ if force => {}
        status => {
            return Err(Error::new(format!(
                "cannot delete container {id} that is not stopped: {}",
                status.word()
            ))
            .hint("kill it first, or use --force"));
        }
    }
    destroy(&store, id, settings)
}

/// Kills what runs, removes what is there, runs the poststop hooks. Again is nothing.
pub(super) fn destroy(store: &Store, id: &str, settings: &Settings) -> Result<(), Error> {
    let Ok(saved) = store.load(id) else { return store.forget(id) };
    end(store, &saved, settings)?;
    store.forget(id)?;
    let hooks = saved.config.hooks().as_ref().and_then(|hooks| hooks.poststop().clone()).unwrap_or_default();
    let state = prepare::state(&saved.config, id, &saved.bundle);
    let state = runtime::state_at(&state, ContainerState::Stopped, None);
    // The specification: a failing poststop hook is told, and the container is gone all the same.
    for hook in hooks {
        if let Err(failure) = runtime::run_hooks("poststop", &[hook], &state) {
            (settings.warn)(&failure.cause());
        }
    }
    Ok(())
}

/// Ends all processes and removes the control group.
pub(super) fn end(_store: &Store, saved: &Saved, _settings: &Settings) -> Result<(), Error> {
    if let Some(init) = saved.init {
        end_process(&init)?;
    }
    let group = Group::open(&Hierarchies::probe()?, &saved.group)?;
    if group.exists() {
        group.kill()?;
        group.remove()?;
    }
    Ok(())
}

/// Kills the first process, and waits for its end.
fn end_process(init: &Init) -> Result<(), Error> {
    let Some(pidfd) = init.pidfd() else { return Ok(()) };
    match sys::signal::send(&pidfd, 9) {
        Err(error) if error.raw_os_error() != Some(3) => {
            return Err(Error::new(format!("kill process {}: {}", init.pid, step::words(&error))));
        }
        _ => {}
    }
    let mut wanted = [PollFd::from_borrowed_fd(pidfd.as_fd(), PollFlags::IN)];
    let limit = Timespec { tv_sec: PATIENCE.as_secs().cast_signed(), tv_nsec: 0 };
    match rustix::event::poll(&mut wanted, Some(&limit)) {
        Ok(0) if init.is_alive() => Err(Error::new(format!(
            "process {} was killed and does not end: it is stuck in the kernel, or frozen",
            init.pid
        ))),
        _ => Ok(()),
    }
}
