//! `rm`: a container goes, with its layer and its record.

use std::cell::Cell;
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use ::images::Images;
use monitor::Hello;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, pidfd_open};
use step::{Context, Failure};

use crate::ops::images;
use crate::ops::list::{self, State, Summary};
use crate::ops::stop::{THAW, thaw};
use crate::state::{Held, Record, Store};
use crate::steps::{Remains, take_all, takedown};
use crate::sweep::sweep;
use crate::{Error, Kind, Settings, contact, events};

/// How long a killed container may take to end. Longer, and a process is stuck in the kernel.
const PATIENCE: Duration = Duration::from_secs(10);

/// Removes containers, one after the other. What crashes left is swept once, before the first.
#[derive(Debug)]
pub struct Remover<'s> {
    settings: &'s Settings,
    store: Store,
    /// One of them may have been the last that used the layers of an image that is gone.
    had_image: Cell<bool>,
}

impl<'s> Remover<'s> {
    /// Nothing is removed yet.
    pub fn new(settings: &'s Settings) -> Result<Self, Error> {
        let store = Store::new(settings);
        sweep(settings, &store)?;
        Ok(Self { settings, store, had_image: Cell::new(false) })
    }

    /// Removes a container; a running one only with `force`, which kills it first. With `volumes` its anonymous volumes
    /// go too, unless another container uses them.
    pub fn remove(&self, name: &str, force: bool, volumes: bool) -> Result<(), Error> {
        self.take(name, How { force, volumes, with_pod: false })
    }

    /// Removes a container of a pod that goes as a whole, its infra too.
    pub(super) fn remove_with_pod(&self, id: &str, force: bool) -> Result<(), Error> {
        self.take(id, How { force, volumes: true, with_pod: true })
    }

    fn take(&self, name: &str, how: How) -> Result<(), Error> {
        let had_image = remove(self.settings, &self.store, name, how)?;
        self.had_image.set(self.had_image.get() || had_image);
        Ok(())
    }

    /// Gives back what nobody needs without them.
    pub fn finish(self) -> Result<(), Error> {
        match self.had_image.get() {
            true => images::sweep(self.settings, &Images::open(&self.settings.root)?),
            false => Ok(()),
        }
    }
}

/// How a container is removed.
#[derive(Debug, Clone, Copy)]
struct How {
    force: bool,
    volumes: bool,
    /// Its pod goes with it.
    with_pod: bool,
}

/// Whether it was made of an image.
fn remove(settings: &Settings, store: &Store, name: &str, how: How) -> Result<bool, Error> {
    let How { force, volumes, with_pod } = how;
    let id = store.find(name)?;
    // After a reboot this may be the first command, and there is a container to be locked.
    store.prepare()?;
    let record = match store.record(&id) {
        Err(_) if force => None,
        Err(failure) => {
            return Err(
                Error::from(failure).hint(format!("`minidocker rm -f {name}` removes it all the same"))
            );
        }
        Ok(record) => record,
    };
    if let Some(record) = record.as_ref().filter(|record| !with_pod && record.request.pod.infra().is_some()) {
        let pod = &record.name;
        let message =
            format!("cannot remove container {name}: it is the infra of pod {pod}, and goes with it");
        return Err(Error::new(Kind::Invalid, message).hint(format!("minidocker pod rm {pod}")));
    }
    if let Some(pid) = store.living_init(&id) {
        if !force {
            return Err(Error::new(Kind::Invalid, format!("cannot remove container {name}: it is running"))
                .hint(format!(
                    "stop it first with `minidocker kill {name}`, or use `minidocker rm -f {name}`"
                )));
        }
        // Its restart policy is not to start it again.
        let _halted = contact::connect(store, &id, Hello { halt: true, ..Hello::default() })?;
        if let Some(record) = &record {
            events::container(settings, record, "kill", &[("signal", "9")]);
        }
        end(name, pid, record.as_ref())?;
    } else if record.is_some() && store.run_dir(&id).exists() {
        // Between two starts, perhaps.
        let hello = Hello { halt: force, ..Hello::default() };
        let waits = contact::connect(store, &id, hello)?;
        if !force && waits.is_some_and(|(_, welcome)| welcome.pid.is_none()) {
            return Err(Error::new(
                Kind::Invalid,
                format!("cannot remove container {name}: it is started again by its restart policy"),
            )
            .hint(format!("stop it first with `minidocker stop {name}`, or use `minidocker rm -f {name}`")));
        }
    }
    let was_running = wait_for_monitor(store, name, &id)?;
    // Held while it goes, so that a crash on the way is found and finished by the next command.
    let (no_network, _held) = match was_running {
        Some(held) => (false, held),
        None => (true, store.hold(&id).map_err(|failure| in_progress(name, failure))?),
    };
    let of_image = record.as_ref().is_none_or(|record| record.origin.is_some());
    let remains = Remains {
        id: id.clone(),
        group: record.as_ref().map_or_else(|| settings.group(None, &id), |record| record.group.clone()),
        kill: true,
        networks: None,
        no_network,
        keep_volumes: !volumes,
        kept: record.as_ref().is_none_or(|record| !record.passing),
        // Whatever name it has: a `rename` that was killed leaves two.
        name: None,
        remove: true,
        pod: record
            .as_ref()
            .filter(|_| !with_pod)
            .and_then(|record| record.request.pod.membership())
            .map(str::to_owned),
    };
    let mut context = Context::default();
    take_all(&takedown(settings, &remains).all(), |step| step.perform(&mut context))?;
    // With --rm its monitor has told it.
    if let Some(record) = record.as_ref().filter(|record| !record.passing) {
        events::container(settings, record, "destroy", &[]);
    }
    Ok(of_image)
}

/// Removes all containers that do not run and that `keep` does not want to keep; their ids, and the bytes that are free
/// again. One that cannot be removed stays, and is told of.
pub fn prune(
    settings: &Settings,
    keep: &dyn Fn(&Summary) -> bool,
) -> Result<(Vec<String>, u64, Vec<Error>), Error> {
    let (mut ids, mut freed, mut failed) = (Vec::new(), 0, Vec::new());
    let remover = Remover::new(settings)?;
    for one in list::look(&remover.store, |record, state| Ok(list::summary(&remover.store, record, state)))? {
        let is_stopped = matches!(one.state, State::Created | State::Exited(..) | State::Lost);
        // A pod is not a container that ended: it goes as a whole, by `pod prune`.
        let is_infra = one.pod.as_ref().is_some_and(|pod| pod.infra.is_some());
        if !is_stopped || is_infra || keep(&one) {
            continue;
        }
        let bytes = list::sizes(settings, &one.id).map_or(0, |(written, _)| written);
        // One that was started meanwhile is kept: nothing is forced.
        match remover.remove(&one.id, false, false) {
            Ok(()) => {
                freed += bytes;
                ids.push(one.id);
            }
            Err(error) if error.kind == Kind::NoSuchContainer => {}
            Err(error) => failed.push(error),
        }
    }
    remover.finish()?;
    Ok((ids, freed, failed))
}

/// Whoever holds it while it does not run removes it.
fn in_progress(name: &str, failure: Failure) -> Error {
    if failure.errno == rustix::io::Errno::EXIST.raw_os_error() {
        return Error::new(Kind::Invalid, format!("removal of container {name} is already in progress"));
    }
    failure.into()
}

fn end(name: &str, pid: i32, record: Option<&Record>) -> Result<(), Error> {
    let Some(pidfd) = Pid::from_raw(pid).and_then(|pid| pidfd_open(pid, PidfdFlags::empty()).ok()) else {
        return Ok(());
    };
    if sys::signal::send(&pidfd, 9).is_err() {
        return Ok(());
    }
    let patience = Instant::now() + PATIENCE;
    let mut fds = [PollFd::from_borrowed_fd(pidfd.as_fd(), PollFlags::IN)];
    while Instant::now() < patience {
        record.into_iter().for_each(thaw);
        let timeout = Timespec { tv_sec: 0, tv_nsec: THAW.subsec_nanos().into() };
        match poll(&mut fds, Some(&timeout)) {
            Ok(0) | Err(rustix::io::Errno::INTR) => {}
            Ok(_) => return Ok(()),
            Err(errno) => return Err(Failure::new("rm", name, errno).into()),
        }
    }
    let message = format!("cannot remove container {name}: its process {pid} does not end");
    Err(Error::new(Kind::Engine, message)
        .hint(format!("it is stuck in the kernel, see /proc/{pid}/stack; try again when it has ended")))
}

/// Waits until the monitor has taken down what is its to take down; ours is what stays.
fn wait_for_monitor(store: &Store, name: &str, id: &str) -> Result<Option<Held>, Error> {
    let held = store.wait_until_abandoned(id, PATIENCE)?;
    if held.is_none() && store.run_dir(id).exists() {
        return Err(Error::new(
            Kind::Engine,
            format!("cannot remove container {name}: its monitor does not end"),
        )
        .hint("it may still be starting; try again"));
    }
    Ok(held)
}
