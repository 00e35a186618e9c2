//! `delete`: whatever is left of a container goes.

use std::os::fd::{AsFd, OwnedFd};
use std::time::Duration;

use cgroup::systemd::Unit;
use cgroup::{Group, Hierarchies};
use oci::spec::ContainerState;
use rustix::event::{PollFd, PollFlags, Timespec};
use step::{Context, Step as _};

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
    end(&saved)?;
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
pub(super) fn end(saved: &Saved) -> Result<(), Error> {
    let group = Group::open(&Hierarchies::probe()?, &saved.group)?;
    if let Some((init, pidfd)) = saved.init.and_then(|init| Some((init, init.pidfd()?))) {
        match sys::signal::send(&pidfd, 9) {
            Err(error) if error.raw_os_error() != Some(3) => {
                return Err(Error::new(format!("kill process {}: {}", init.pid, step::words(&error))));
            }
            _ => {}
        }
        // What is frozen does not die.
        if group.is_frozen().unwrap_or(true) {
            group.thaw()?;
        }
        wait_for_end(&init, &pidfd)?;
    }
    if group.exists() {
        group.kill()?;
        group.remove()?;
    }
    match &saved.unit {
        Some(unit) => {
            let unit = Unit::parse(unit, &saved.id, prepare::is_rootless())?;
            let stop = cgroup::systemd::Step::Stop { unit, rootless: prepare::is_rootless() };
            Ok(stop.perform(&mut Context::default())?)
        }
        None => Ok(()),
    }
}

fn wait_for_end(init: &Init, pidfd: &OwnedFd) -> Result<(), Error> {
    let mut wanted = [PollFd::from_borrowed_fd(pidfd.as_fd(), PollFlags::IN)];
    let limit = Timespec { tv_sec: PATIENCE.as_secs().cast_signed(), tv_nsec: 0 };
    match rustix::event::poll(&mut wanted, Some(&limit)) {
        Ok(0) if init.is_alive() => Err(Error::new(format!(
            "process {} was killed and does not end: it is stuck in the kernel, or in a group above that is frozen",
            init.pid
        ))),
        _ => Ok(()),
    }
}
