//! What the server asks the engine, for each question anew: so it is never old.

use std::net::IpAddr;

use crate::settings::Upstreams;

/// Who knows the container's neighbours and the servers beyond. It must answer without waiting.
pub trait Names {
    /// The addresses of whoever is called so on the container's networks; none where nobody is. `name` is in lower case,
    /// without a dot at its end.
    fn find(&mut self, name: &str) -> Option<Vec<IpAddr>>;

    /// Who has this address.
    fn at(&mut self, address: IpAddr) -> Neighbour;

    /// Who is asked about everything else; none where the container is to reach nothing outside.
    fn upstreams(&mut self) -> Option<Upstreams>;

    /// Nobody has asked for a while: what was kept for the next question can go.
    fn forget(&mut self) {}
}

/// Who has an address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Neighbour {
    /// A container, by its name and its network's.
    Named(String),
    /// Nobody, in a network of the container's.
    Nobody,
    /// It lies in none of them.
    Elsewhere,
}
