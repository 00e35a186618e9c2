//! `healthcheck run`: a container's health is looked at right now.

use monitor::Hello;

use super::list::{Health, State, state};
use crate::contact;
use crate::health::Told;
use crate::state::Store;
use crate::sweep::sweep;
use crate::{Error, Kind, Settings};

/// How a check went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Checked {
    /// 0 is well.
    pub exit_code: i32,
    /// What is said of the container now.
    pub status: Health,
}

/// Has the container's monitor make its check now, and waits for the answer, which counts as any other. One that is
/// being made already is that.
pub fn run(settings: &Settings, name: &str) -> Result<Checked, Error> {
    let store = Store::new(settings);
    sweep(settings, &store)?;
    let (id, record) = store.load(name)?;
    let invalid = |message: String, hint: String| Err(Error::new(Kind::Invalid, message).hint(hint));
    if record.request.healthcheck.as_ref().is_none_or(|check| check.probe().is_none()) {
        let hint = "`run` and `create` take --health-cmd, --health-tcp and --health-http".to_owned();
        return invalid(format!("container {name} has no defined healthcheck"), hint);
    }
    match state(&store, &record)? {
        State::Running(..) => {}
        State::Paused(..) => {
            let hint = format!("`minidocker unpause {name}` lets it run on");
            return invalid(format!("cannot check container {name}: it is paused"), hint);
        }
        _ => {
            let hint = format!("`minidocker start {name}` starts it");
            return invalid(format!("cannot check container {name}: it is not running"), hint);
        }
    }
    let ended = || Error::new(Kind::Invalid, format!("container {name} has just ended"));
    let hello = Hello { probe: true, ..Hello::default() };
    let (mut channel, _) = contact::connect(&store, &id, hello)?.ok_or_else(ended)?;
    let word = contact::next_health(&mut channel)?.ok_or_else(ended)?;
    let told: Told = serde_json::from_slice(&word)
        .map_err(|error| Error::new(Kind::Engine, format!("the monitor is not understood: {error}")))?;
    Ok(Checked { exit_code: told.exit_code, status: told.status })
}
