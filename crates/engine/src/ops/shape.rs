//! `network update`: what a network may carry.

use crate::request::Rate;
use crate::{Error, Kind, Settings};

/// All containers of a network together get so much in each direction from now on; none lifts that, and their shares
/// with it.
pub fn network(settings: &Settings, network: &str, rate: Option<Rate>) -> Result<(), Error> {
    ::network::set_total(&settings.network(), network, rate).map(drop).map_err(|error| {
        let hint = error.hint();
        Error { hint, ..Error::new(Kind::Engine, format!("cannot update network {network}: {error}")) }
    })
}
