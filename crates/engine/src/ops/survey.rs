//! `network show`: what the kernel says of the networks of containers and of the host.

pub use ::network::{Gateway, Link, Port, Rate, Resident, Rules, Space, Survey};

use super::list::{State, glance};
use crate::{Error, Kind, Settings};

/// Looks at the host and at all running containers; with `all` at every other network namespace of the host too. Nothing
/// is waited for, nothing is changed.
pub fn survey(settings: &Settings, all: bool) -> Result<Survey, Error> {
    let mut running: Vec<Resident> = glance(settings)?
        .into_iter()
        .filter_map(|one| match one.state {
            State::Running(_, pid) | State::Paused(_, pid) => {
                Some(Resident { name: one.name, id: one.id, pid })
            }
            _ => None,
        })
        .collect();
    // In the order in which they came, as the bridge's ports are.
    running.reverse();
    ::network::survey(&settings.network(), running, all).map_err(|error| {
        let hint = error.hint();
        Error { hint, ..Error::new(Kind::Engine, error.to_string()) }
    })
}
