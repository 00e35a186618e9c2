//! What is done to all containers of a pod, one after the other.

use std::time::Duration;

use super::super::list::{State, state};
use super::super::stop::{self, Options};
use super::super::top::{Processes, top as top_of};
use super::super::{kill as killing, pause as pausing, start as starting};
use crate::pods::{self, Door, Found};
use crate::state::{Record, Store};
use crate::sweep::sweep;
use crate::{Error, Kind, Note, Settings};

/// So long those who come in may take; then they have what they get.
const PATIENCE: Duration = Duration::from_secs(2);

/// What became of it.
#[derive(Debug, Default)]
pub struct Done {
    /// The pod's id.
    pub id: String,
    /// What the user should be told.
    pub notes: Vec<Note>,
    /// Containers that it could not be done to, and why.
    pub failed: Vec<Error>,
}

impl Done {
    pub(super) fn of(id: &str) -> Self {
        Self { id: id.to_owned(), ..Self::default() }
    }

    /// Does it to each; what fails is noted and keeps nobody from the next.
    pub(super) fn each<T>(
        &mut self,
        all: impl IntoIterator<Item = T>,
        act: impl Fn(T) -> Result<Vec<Note>, Error>,
    ) {
        for one in all {
            match act(one) {
                Ok(notes) => self.notes.extend(notes),
                Err(error) => self.failed.push(error),
            }
        }
    }
}

/// A pod and its containers, as their records have them.
fn look(settings: &Settings, name: &str) -> Result<(Store, Found, Vec<Record>), Error> {
    let store = Store::new(settings);
    store.prepare()?;
    sweep(settings, &store)?;
    let found = pods::find(&store, name)?;
    let members = pods::members(&store, &found.record.id)?;
    Ok((store, found, members))
}

/// Starts a pod: its infra, then all others that do not run, the oldest first.
pub fn start(settings: &Settings, name: &str) -> Result<Done, Error> {
    let (store, found, members) = look(settings, name)?;
    pods::run_infra(settings, &store, &found.record.id)?;
    let mut done = Done::of(&found.record.id);
    done.each(members, |member| {
        let started = starting::start(settings, &member.id, false)?;
        Ok(started.map(|started| started.notes).unwrap_or_default())
    });
    Ok(done)
}

/// Stops a pod: all are asked at once, then each has its time; the infra last.
pub fn stop(settings: &Settings, name: &str, options: Options) -> Result<Done, Error> {
    let (store, found, members) = look(settings, name)?;
    let mut done = Done::of(&found.record.id);
    let mut asked = Vec::new();
    for member in &members {
        match stop::ask(settings, &store, &member.id, options) {
            Ok(stopping) => asked.extend(stopping),
            Err(error) => done.failed.push(error),
        }
    }
    done.each(asked, |stopping| stopping.finish(settings).map(|()| Vec::new()));
    // Whoever comes in just then starts it again, to its end: he would join what is dying. By its own signal, whatever the
    // others want.
    let _door = Door::close(&store, &found.record.id, PATIENCE)?;
    if let Some(stopping) = stop::ask(settings, &store, &found.record.id, Options::default())? {
        stopping.finish(settings)?;
    }
    Ok(done)
}

/// Stops a pod and starts it.
pub fn restart(settings: &Settings, name: &str, options: Options) -> Result<Done, Error> {
    let stopped = stop(settings, name, options)?;
    let mut done = start(settings, &stopped.id)?;
    done.failed.splice(0..0, stopped.failed);
    Ok(done)
}

/// Those of a pod that are in a state, the infra last.
fn those(
    store: &Store,
    found: Found,
    members: Vec<Record>,
    wanted: fn(&State) -> bool,
) -> Result<Vec<String>, Error> {
    let mut all = Vec::new();
    for record in members.into_iter().chain([found.record]) {
        if wanted(&state(store, &record)?) {
            all.push(record.id);
        }
    }
    Ok(all)
}

fn act(
    settings: &Settings,
    name: &str,
    verb: &str,
    wanted: fn(&State) -> bool,
    act: impl Fn(&str) -> Result<(), Error>,
) -> Result<Done, Error> {
    let (store, found, members) = look(settings, name)?;
    let mut done = Done::of(&found.record.id);
    let pod = found.record.name.clone();
    let ids = those(&store, found, members, wanted)?;
    if ids.is_empty() {
        let state = if verb == "unpause" { "paused" } else { "running" };
        let message = format!("cannot {verb} pod {pod}: none of it is {state}");
        return Err(Error::new(Kind::Invalid, message).hint("`minidocker pod ls` shows what pods are doing"));
    }
    done.each(ids, |id| act(&id).map(|()| Vec::new()));
    Ok(done)
}

/// Sends a signal to the first process of each container that runs, the infra last.
pub fn kill(settings: &Settings, name: &str, signal: i32) -> Result<Done, Error> {
    let lives = |state: &State| matches!(state, State::Running(..) | State::Paused(..));
    act(settings, name, "kill", lives, |id| killing::kill(settings, id, signal))
}

/// Lets all of it that runs stand still.
pub fn pause(settings: &Settings, name: &str) -> Result<Done, Error> {
    let runs = |state: &State| matches!(state, State::Running(..));
    act(settings, name, "pause", runs, |id| pausing::pause(settings, id))
}

/// Lets all of it that stands still run on.
pub fn unpause(settings: &Settings, name: &str) -> Result<Done, Error> {
    let stands = |state: &State| matches!(state, State::Paused(..));
    act(settings, name, "unpause", stands, |id| pausing::unpause(settings, id))
}

/// The processes of all containers that run, the infra's first.
pub fn top(settings: &Settings, name: &str, options: &[String]) -> Result<Processes, Error> {
    let (store, found, members) = look(settings, name)?;
    let pod = found.record.name.clone();
    let mut all: Option<Processes> = None;
    for record in [found.record].into_iter().chain(members) {
        if store.living_init(&record.id).is_none() {
            continue;
        }
        let more = top_of(settings, &record.id, options)?;
        match &mut all {
            Some(all) => all.rows.extend(more.rows),
            none => *none = Some(more),
        }
    }
    all.ok_or_else(|| {
        Error::new(Kind::Invalid, format!("pod {pod} is not running"))
            .hint(format!("start it first: minidocker pod start {pod}"))
    })
}
