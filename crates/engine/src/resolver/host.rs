//! The servers beyond: those of the host's own resolv.conf(5) as it is now, or of `--dns`. With them change the domains
//! that the container's own resolv.conf has from the host's.

use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use dns::Upstreams;
use rustix::net::{AddressFamily, SocketFlags, SocketType};

use super::stamp::{Seen, Stamp};
use crate::Settings;
use crate::files;
use crate::request::Network;
use crate::state::{Record, Store};

const FILE: &str = "/etc/resolv.conf";

/// Who is asked for what is no container's.
#[derive(Debug)]
pub(super) struct Host {
    seen: Seen,
    /// As of the file that was seen.
    upstreams: Option<Upstreams>,
    /// What the container's user chose instead.
    chosen: Network,
    /// The container's own file.
    own: PathBuf,
}

impl Host {
    pub(super) fn of(settings: &Settings, record: &Record) -> Self {
        let asked = &record.request.network;
        let chosen = Network {
            dns: asked.dns.clone(),
            dns_search: asked.dns_search.clone(),
            dns_options: asked.dns_options.clone(),
            ..Network::default()
        };
        let own = Store::new(settings).run_dir(&record.id).join("resolv.conf");
        Self { seen: Seen::default(), upstreams: None, chosen, own }
    }

    /// As the host is now.
    pub(super) fn upstreams(&mut self) -> Upstreams {
        let file = Path::new(FILE);
        let same = self.seen.is(Stamp::of(file));
        if let Some(upstreams) = self.upstreams.as_ref().filter(|_| same) {
            return upstreams.clone();
        }
        let text = std::fs::read_to_string(file).unwrap_or_default();
        let upstreams = files::upstreams(&text, &self.chosen, link);
        files::follow(&self.own, &files::served(&text, &self.chosen));
        self.upstreams.insert(upstreams).clone()
    }
}

/// The number of a link of the host's.
fn link(name: &str) -> Option<u32> {
    let socket: OwnedFd =
        rustix::net::socket_with(AddressFamily::INET, SocketType::DGRAM, SocketFlags::CLOEXEC, None).ok()?;
    rustix::net::netdevice::name_to_index(&socket, name).ok()
}
