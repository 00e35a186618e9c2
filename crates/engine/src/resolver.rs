//! The names that a container can ask for: its monitor answers, from files that say who is in its networks, and asks the
//! host's own servers for all others (docs/decisions/0026).
//!
//! ```text
//! dns.listen       the sockets, inside of the container's network namespace       before its program runs
//! Resolver::serve  dns::Service::turn ── Names ──▶ Neighbours   the record: which networks; their books: who is in them
//!                                              └─▶ Host         /etc/resolv.conf, or --dns
//! ```
//!
//! Files are read when a question comes and they have changed, never else; what was kept for the next question goes
//! after two seconds without one.

mod host;
mod neighbours;
mod stamp;

use std::net::IpAddr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

use dns::{Names, Neighbour, Service, Upstreams};
use rustix::io::Errno;

use crate::Settings;
use crate::inside::in_network;
use crate::request::NetworkMode;
use crate::state::Record;
use host::Host;
use neighbours::Neighbours;

/// How often a new monitor looks whether the place is free, and how long it waits between.
const TRIES: u32 = 100;
const PAUSE: Duration = Duration::from_millis(1);

/// What answers in one container.
#[derive(Debug)]
pub(crate) struct Resolver {
    service: Service,
    known: Known,
}

#[derive(Debug)]
struct Known {
    neighbours: Neighbours,
    host: Host,
}

/// The sockets in the network namespace of process `pid`.
pub(crate) fn listen(pid: i32) -> Result<[OwnedFd; 2], Errno> {
    in_network(pid, Service::sockets)
}

/// Whether a container with this network asks its monitor for names. Without a network there is nobody to name; another
/// container's network has that container's monitor, and the host's has the host's resolver.
pub(crate) fn serves(mode: &NetworkMode) -> bool {
    *mode == NetworkMode::Bridge
}

impl Resolver {
    /// On sockets that were opened for this container.
    pub(crate) fn on(
        sockets: [OwnedFd; 2],
        settings: &Settings,
        record: &Record,
    ) -> Result<Box<Self>, Errno> {
        let known = Known { neighbours: Neighbours::of(settings, record), host: Host::of(settings, record) };
        Ok(Box::new(Self { service: Service::new(sockets)?, known }))
    }

    /// Of a container that runs and has lost its monitor.
    pub(crate) fn resume(settings: &Settings, record: &Record, pid: i32) -> Option<Box<Self>> {
        if !serves(&record.request.network.mode) {
            return None;
        }
        for _ in 0..TRIES {
            match listen(pid) {
                Ok(sockets) => return Self::on(sockets, settings, record).ok(),
                // The lock of the one that was killed is free, and its sockets are not yet.
                Err(Errno::ADDRINUSE) => std::thread::sleep(PAUSE),
                Err(_) => return None,
            }
        }
        None
    }

    /// When it wants its turn without being asked.
    pub(crate) fn due(&self) -> Option<Instant> {
        self.service.due()
    }

    /// Readable when there is something to do; none while it rests.
    pub(crate) fn as_fd(&self) -> Option<BorrowedFd<'_>> {
        (!self.service.rests()).then(|| self.service.as_fd())
    }

    /// Answers whom it can answer.
    pub(crate) fn serve(&mut self) {
        self.service.turn(&mut self.known);
    }
}

impl Names for Known {
    fn find(&mut self, name: &str) -> Option<Vec<IpAddr>> {
        self.neighbours.find(name)
    }

    fn at(&mut self, address: IpAddr) -> Neighbour {
        self.neighbours.at(address)
    }

    fn upstreams(&mut self) -> Option<Upstreams> {
        self.neighbours.reach_out().then(|| self.host.upstreams())
    }

    fn forget(&mut self) {
        self.neighbours.forget();
    }
}
