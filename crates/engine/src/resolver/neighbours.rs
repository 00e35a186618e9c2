//! Who is in the networks of a container, from the book of addresses. Names, aliases and short ids are found, also with
//! the network's name behind them.

use std::net::IpAddr;
use std::path::PathBuf;

use dns::Neighbour;
use network::Attachment;

use super::stamp::{Seen, Stamp};
use crate::Settings;
use crate::state::{Record, Store};

/// How many digits of an id are a name.
const SHORT: usize = 12;

/// The networks of one container, and who is in them.
#[derive(Debug)]
pub(super) struct Neighbours {
    settings: Settings,
    id: String,
    /// The container's record, which says in which networks it is now.
    record: PathBuf,
    seen: Seen,
    networks: Vec<Known>,
}

/// One of them.
#[derive(Debug)]
struct Known {
    place: Attachment,
    directory: PathBuf,
    seen: Seen,
    members: Vec<Member>,
    /// What this container alone calls others there: `--link`.
    links: Vec<(String, String)>,
}

/// An address and whose it is, as small as can be: a network may have thousands.
#[derive(Debug)]
struct Member {
    address: IpAddr,
    /// Short id, name, aliases, with spaces between them.
    names: Box<str>,
}

impl Member {
    fn is_called(&self, name: &str) -> bool {
        self.names.split(' ').any(|own| own.eq_ignore_ascii_case(name))
    }

    fn name(&self) -> &str {
        self.names.split(' ').nth(1).unwrap_or_default()
    }
}

impl Neighbours {
    pub(super) fn of(settings: &Settings, record: &Record) -> Self {
        let store = Store::new(settings);
        let dir = if record.passing { store.run_dir(&record.id) } else { store.keep_dir(&record.id) };
        let mut all = Self {
            settings: settings.clone(),
            id: record.id.clone(),
            record: dir.join("container.json"),
            seen: Seen::default(),
            networks: Vec::new(),
        };
        all.take(record);
        all
    }

    /// The addresses of whoever is called so; none where nobody is.
    pub(super) fn find(&mut self, name: &str) -> Option<Vec<IpAddr>> {
        self.look();
        let mut found = Vec::new();
        for known in &self.networks {
            let network = known.place.network_name();
            let within = name.strip_suffix(network).and_then(|rest| rest.strip_suffix('.'));
            let linked = known.links.iter().find(|(_, alias)| alias.eq_ignore_ascii_case(name));
            // What the container calls somebody comes before what that one, or another, is called.
            let name = linked.map_or(name, |(target, _)| digits(target));
            let called = |member: &&Member| {
                member.is_called(name) || within.is_some_and(|within| member.is_called(within))
            };
            found.extend(known.members.iter().filter(called).map(|member| member.address));
        }
        (!found.is_empty()).then_some(found)
    }

    /// Who has this address.
    pub(super) fn at(&mut self, address: IpAddr) -> Neighbour {
        self.look();
        for known in &self.networks {
            if let Some(member) = known.members.iter().find(|member| member.address == address) {
                return Neighbour::Named(format!("{}.{}", member.name(), known.place.network_name()));
            }
        }
        if self.networks.iter().any(|known| is_in(&known.place, address)) {
            Neighbour::Nobody
        } else {
            Neighbour::Elsewhere
        }
    }

    /// Whether one of the networks leads out.
    pub(super) fn reach_out(&mut self) -> bool {
        self.look_at_record();
        self.networks.iter().any(|known| !known.place.is_internal())
    }

    pub(super) fn forget(&mut self) {
        for known in &mut self.networks {
            (known.seen, known.members) = (Seen::default(), Vec::new());
        }
    }

    /// Reads what has changed.
    fn look(&mut self) {
        self.look_at_record();
        let settings = self.settings.network();
        for known in &mut self.networks {
            if known.seen.is(Stamp::of(&known.directory)) {
                continue;
            }
            // A book that cannot be read names nobody: what it named before may be gone.
            let members = network::members(&settings, &known.place.directory()).unwrap_or_default();
            let small = |member: network::Member| {
                let mut names = format!("{} {}", member.id.get(..SHORT).unwrap_or(&member.id), member.name);
                for alias in &member.aliases {
                    names.push(' ');
                    names.push_str(alias);
                }
                Member { address: member.address, names: names.into_boxed_str() }
            };
            known.members = members.into_iter().map(small).collect();
        }
    }

    /// It may have been connected to another network since.
    fn look_at_record(&mut self) {
        if self.seen.is(Stamp::of(&self.record)) {
            return;
        }
        // While it is being removed its last networks count on.
        if let Ok(Some(record)) = Store::new(&self.settings).record(&self.id) {
            self.take(&record);
        }
    }

    fn take(&mut self, record: &Record) {
        let endpoints = record.request.network.links();
        let links = |place: &Attachment| {
            let endpoint = endpoints.iter().find(|endpoint| endpoint.network == place.network_name());
            endpoint.map_or_else(Vec::new, |endpoint| endpoint.links.clone())
        };
        let now: Vec<_> = record.networks.iter().map(|place| (place, links(place))).collect();
        let is_known = |((place, links), known): (&(&Attachment, Vec<_>), &Known)| {
            **place == known.place && *links == known.links
        };
        if now.len() == self.networks.len() && now.iter().zip(&self.networks).all(is_known) {
            return;
        }
        let settings = self.settings.network();
        let known = |(place, links): (&Attachment, Vec<(String, String)>)| Known {
            directory: network::members_directory(&settings, &place.directory()),
            place: place.clone(),
            seen: Seen::default(),
            members: Vec::new(),
            links,
        };
        self.networks = now.into_iter().map(known).collect();
    }
}

/// An id as members are called by it; a name as it is.
fn digits(target: &str) -> &str {
    let is_id = target.len() == 64 && target.bytes().all(|digit| digit.is_ascii_hexdigit());
    if is_id { target.get(..SHORT).unwrap_or(target) } else { target }
}

/// Whether an address lies in a network, taken or not.
fn is_in(place: &Attachment, address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => place.subnet.contains(address),
        IpAddr::V6(address) => place.v6.is_some_and(|six| six.subnet.contains(address)),
    }
}
