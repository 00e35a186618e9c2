//! The engine's table in the kernel: made where it is missing, filled, compared with the files, written anew.
//!
//! The table follows the files: bridges are the networks of `addresses`, ports are the lines of `ports`. So whatever
//! another tool has done to it, it can be put back whole, in one batch, by anybody and at any time.

use std::fs;
use std::io;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};

use rustix::io::Errno;
use step::Failure;

use crate::error::Error;
use crate::facts::failed;
use crate::netlink::Refusal;
use crate::nft::{Batch, Element, Netfilter, Seen};
use crate::port_book::{Entry, PortBook};
use crate::ports::Published;
use crate::reservation::{Book, hash};
use crate::rules::{
    BRIDGES, CHAINS, PORTS, PORTS_ANY, SETS, bridge_elements, link_key, port_elements, rules,
};
use crate::settings::Settings;
use crate::small::Small;

/// The step that this is, in messages.
const STEP: &str = "network.rules";
/// The run state of an engine that was told nothing.
const USUAL: &str = "/run/minidocker";
/// Beside the reservations: we have turned forwarding on.
const FORWARDING: &str = "forwarding";
const IP_FORWARD: &str = "/proc/sys/net/ipv4/ip_forward";

/// The table of the engine with this run state.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Table {
    /// Its name.
    pub(crate) name: String,
    run_dir: PathBuf,
}

impl Table {
    pub(crate) fn of(run_dir: &Path) -> Self {
        // The same table by whatever way the directory is named.
        let path = fs::canonicalize(run_dir).unwrap_or_else(|_| run_dir.to_owned());
        let name = if path == Path::new(USUAL) {
            "minidocker".to_owned()
        } else {
            format!("minidocker-{:08x}", hash(&path.to_string_lossy()))
        };
        Self { name, run_dir: run_dir.to_owned() }
    }

    fn comment(&self) -> String {
        format!("minidocker, state in {}", self.run_dir.display())
    }

    /// Whether the rule is wanted that keeps this host from being a router for others.
    fn is_alone(&self) -> bool {
        self.run_dir.join(FORWARDING).exists()
    }

    /// The whole table with all that belongs into it, whatever is there.
    fn write(&self, batch: &mut Batch<'_>, bridges: &[String], entries: &[Entry]) {
        batch.table(&self.comment());
        SETS.iter().for_each(|set| batch.set(set));
        for (name, hook) in CHAINS {
            batch.chain(name, hook.map(|(kind, number, _, priority)| (kind, number, priority)));
        }
        CHAINS.iter().for_each(|(name, _)| batch.flush_chain(name));
        SETS.iter().for_each(|set| batch.flush_set(set.name));
        let rules = rules(self.is_alone());
        for (name, _) in CHAINS {
            let its = rules.iter().filter(|rule| rule.chain == name);
            its.for_each(|rule| batch.rule(name, &rule.expressions));
        }
        for (set, element) in bridges.iter().flat_map(|bridge| bridge_elements(bridge)) {
            batch.add(set, &[element]);
        }
        for entry in entries {
            for (map, elements) in port_elements(&entry.owner.id, entry.address, &entry.ports) {
                batch.add(map, &elements);
            }
        }
    }

    /// The same for nft(8), in one line, with this bridge.
    pub(crate) fn script(&self, bridge: &str) -> String {
        let mut text = format!("table inet {} {{ comment \"{}\"; ", self.name, self.comment());
        text += "set bridges { type ifname; elements = { ";
        text += &format!("\"{bridge}\" }}; }}; set within {{ type ifname . ifname; elements = {{ ");
        text += &format!("\"{bridge}\" . \"{bridge}\" }}; }}; ");
        text += "map ports { type ipv4_addr . inet_proto . inet_service : ipv4_addr . inet_service; }; ";
        text += "map ports_any { type inet_proto . inet_service : ipv4_addr . inet_service; }; ";
        let rules = rules(self.is_alone());
        for (name, hook) in CHAINS {
            text += &format!("chain {name} {{ ");
            if let Some((kind, _, hook, priority)) = hook {
                text += &format!("type {kind} hook {hook} priority {priority}; policy accept; ");
            }
            for rule in rules.iter().filter(|rule| rule.chain == name) {
                text += rule.text;
                text += "; ";
            }
            text += "}; ";
        }
        text + "}"
    }

    /// The elements of a container's ports as nft(8) takes them: `{ … }` for each map that gets some.
    pub(crate) fn script_ports(to: Ipv4Addr, ports: &[Published]) -> Vec<(&'static str, String)> {
        let list = |any: bool| {
            let ours = ports.iter().filter(|one| one.address.is_unspecified() == any);
            let each = ours.flat_map(|one| {
                let address = if any { String::new() } else { format!("{} . ", one.address) };
                let protocol = one.container.protocol;
                one.each().map(move |(host, container)| {
                    format!("{address}{protocol} . {host} : {to} . {container}")
                })
            });
            each.collect::<Vec<_>>().join(", ")
        };
        let both = [(PORTS.name, list(false)), (PORTS_ANY.name, list(true))];
        let some = both.into_iter().filter(|(_, list)| !list.is_empty());
        some.map(|(map, list)| (map, format!("{{ {list} }}"))).collect()
    }

    /// Sees to it that the table is there and has this bridge: one question where that is so.
    pub(crate) fn ensure(&self, bridge: &str) -> Result<(), Failure> {
        let netfilter = open()?;
        let seen = netfilter.has(&self.name, BRIDGES.name, &link_key(bridge));
        match seen.map_err(|refusal| self.refused(refusal))? {
            Seen::There => Ok(()),
            Seen::Absent => self.restore(&netfilter, Some(bridge)),
            Seen::Unsupported => Err(unsupported(Errno::OPNOTSUPP.into())),
        }
    }

    /// Adds a container's ports.
    pub(crate) fn publish(&self, id: &str, to: Ipv4Addr, ports: &[Published]) -> Result<(), Failure> {
        let netfilter = open()?;
        let elements = port_elements(id, to, ports);
        let added = netfilter.change(&self.name, |batch| {
            elements.iter().for_each(|(map, elements)| batch.add(map, elements));
        });
        match added {
            Ok(()) => Ok(()),
            // What a crash left, or the table went meanwhile: the files know.
            Err(Refusal { errno: Errno::EXIST | Errno::NOENT, .. }) => self.restore(&netfilter, None),
            Err(refusal) => Err(self.refused(refusal)),
        }
    }

    /// Removes the ports of `entry`, and with `whole` whatever else is in the table and not in the book any more. Under
    /// the book's lock; what is not there is removed already.
    pub(crate) fn unpublish(
        &self,
        book: &PortBook,
        entry: &Entry,
        netfilter: &Netfilter,
    ) -> Result<(), Failure> {
        let elements = port_elements(&entry.owner.id, entry.address, &entry.ports);
        let removed = netfilter.change(&self.name, |batch| {
            elements.iter().for_each(|(map, elements)| batch.remove(map, elements));
        });
        match removed {
            Ok(()) => Ok(()),
            Err(Refusal { errno: Errno::NOENT, .. }) => {
                match netfilter.has_table(&self.name).map_err(|refusal| self.refused(refusal))? {
                    Seen::There => self.restore_locked(netfilter, book, None),
                    Seen::Absent | Seen::Unsupported => Ok(()),
                }
            }
            Err(Refusal { errno: Errno::OPNOTSUPP | Errno::INVAL, .. }) => Ok(()),
            Err(refusal) => Err(self.refused(refusal)),
        }
    }

    /// Removes a bridge that is gone.
    pub(crate) fn forget_bridge(&self, bridge: &str) {
        let Ok(netfilter) = Netfilter::open() else { return };
        // A name that stays there is of no harm: it goes when the table is written the next time.
        let _ = netfilter.change(&self.name, |batch| {
            bridge_elements(bridge).into_iter().for_each(|(set, element)| batch.remove(set, &[element]));
        });
    }

    /// Writes the table anew from the files, and this bridge.
    fn restore(&self, netfilter: &Netfilter, bridge: Option<&str>) -> Result<(), Failure> {
        let book = PortBook::open(&self.run_dir).map_err(internal)?;
        self.restore_locked(netfilter, &book, bridge)
    }

    fn restore_locked(
        &self,
        netfilter: &Netfilter,
        book: &PortBook,
        bridge: Option<&str>,
    ) -> Result<(), Failure> {
        self.turn_forwarding_on();
        let bridges = self.bridges(bridge).map_err(internal)?;
        netfilter
            .change(&self.name, |batch| self.write(batch, &bridges, &book.entries))
            .map_err(|refusal| self.refused(refusal))
    }

    /// All bridges of this engine.
    fn bridges(&self, further: Option<&str>) -> Result<Vec<String>, Error> {
        let networks = Book::new(self.run_dir.join("addresses")).networks()?;
        let name = |directory: String| Small::read(&directory).map_or(directory, Small::bridge);
        let mut all: Vec<String> = networks.into_iter().map(name).collect();
        all.extend(further.map(str::to_owned));
        all.sort();
        all.dedup();
        Ok(all)
    }

    /// Without it nothing goes from a bridge to the world. A host that does not forward is no router, and is made one for
    /// our bridges alone. Where /proc/sys cannot be written, whoever made it so decides.
    fn turn_forwarding_on(&self) {
        if fs::read(IP_FORWARD).is_ok_and(|text| text.first() == Some(&b'0')) {
            // The note first: who is killed in between leaves a rule too many, not one too few.
            let noted = fs::write(self.run_dir.join(FORWARDING), "turned on by minidocker\n");
            if noted.is_ok() {
                let _ = fs::write(IP_FORWARD, "1");
            }
        }
    }

    /// What differs from what the files say, in words; none where nothing does. A table that is not there differs only
    /// where somebody needs it.
    pub(crate) fn differs(&self) -> Result<Option<String>, Failure> {
        let Ok(netfilter) = Netfilter::open() else { return Ok(None) };
        let book = PortBook::open(&self.run_dir).map_err(internal)?;
        let refused = |refusal| self.refused(refusal);
        let needed = self.is_needed(&book).map_err(internal)?;
        match netfilter.has_table(&self.name).map_err(refused)? {
            Seen::Unsupported => return Ok(None),
            Seen::Absent => {
                return Ok(needed.then(|| "containers run, and the table is not there".to_owned()));
            }
            Seen::There => {}
        }
        let counted = netfilter.rules(&self.name).map_err(refused)?;
        let expected = rules(self.is_alone());
        for (chain, _) in CHAINS {
            let wanted = expected.iter().filter(|rule| rule.chain == chain).count();
            let found = counted.iter().find(|(name, _)| name == chain).map_or(0, |(_, count)| *count);
            if wanted != found {
                return Ok(Some(format!("chain {chain} has {found} rules in the place of {wanted}")));
            }
        }
        let mut wanted: Vec<(&str, Vec<Element>)> = vec![(PORTS.name, vec![]), (PORTS_ANY.name, vec![])];
        for entry in &book.entries {
            for (map, elements) in port_elements(&entry.owner.id, entry.address, &entry.ports) {
                wanted.iter_mut().filter(|(name, _)| *name == map).for_each(|(_, all)| {
                    all.extend(elements.iter().cloned());
                });
            }
        }
        for (map, mut wanted) in wanted {
            let mut found = netfilter.elements(&self.name, map).map_err(refused)?;
            found.iter_mut().chain(&mut wanted).for_each(|element| element.comment.clear());
            let key = |one: &Element| (one.key.clone(), one.data.clone());
            found.sort_by_key(key);
            wanted.sort_by_key(key);
            if found != wanted {
                let missing = wanted.iter().filter(|one| !found.contains(one)).count();
                let more = found.iter().filter(|one| !wanted.contains(one)).count();
                return Ok(Some(format!("of published ports {missing} are missing, {more} are nobody's")));
            }
        }
        for bridge in self.bridges(None).map_err(internal)? {
            let seen = netfilter.has(&self.name, BRIDGES.name, &link_key(&bridge)).map_err(refused)?;
            if seen != Seen::There && Path::new("/sys/class/net").join(&bridge).exists() {
                return Ok(Some(format!("bridge {bridge} is not in the set of bridges")));
            }
        }
        Ok(None)
    }

    /// Whether a container has an address, or ports.
    fn is_needed(&self, book: &PortBook) -> Result<bool, Error> {
        let addresses = Book::new(self.run_dir.join("addresses"));
        for network in addresses.networks()? {
            if !addresses.members(&network)?.is_empty() {
                return Ok(true);
            }
        }
        Ok(!book.entries.is_empty())
    }

    /// Puts back what is missing and removes what is nobody's.
    pub(crate) fn repair(&self) -> Result<(), Failure> {
        self.restore(&open()?, None)
    }

    fn refused(&self, refusal: Refusal) -> Failure {
        match refusal.errno {
            Errno::OPNOTSUPP | Errno::PROTONOSUPPORT | Errno::AFNOSUPPORT => unsupported(refusal),
            _ => failed(STEP, format!("table inet {}", self.name), refusal),
        }
    }
}

/// What of the engine's table differs from what its files say, in words; none where nothing does.
pub fn rules_differ(settings: &Settings) -> Result<Option<String>, Failure> {
    Table::of(&settings.run_dir).differs()
}

/// The engine's table in words: `table inet minidocker`.
pub fn table_name(settings: &Settings) -> String {
    format!("table inet {}", Table::of(&settings.run_dir).name)
}

/// How a container's ports are taken away with nft(8).
pub fn unpublish_script(settings: &Settings, id: &str) -> Vec<String> {
    let entries = PortBook::open(&settings.run_dir).map(|book| book.entries.clone()).unwrap_or_default();
    let Some(entry) = entries.into_iter().find(|entry| entry.owner.id == id) else { return Vec::new() };
    let name = Table::of(&settings.run_dir).name;
    let command = |(map, list)| {
        let command = format!("delete element inet {name} {map} {list}");
        format!("nft {}", step::quote(&command))
    };
    Table::script_ports(entry.address, &entry.ports).into_iter().map(command).collect()
}

/// Writes the engine's table anew from its files.
pub fn repair_rules(settings: &Settings) -> Result<(), Failure> {
    Table::of(&settings.run_dir).repair()
}

/// Where the host has no nf_tables there are no ports, and nobody translates addresses; the rest works.
pub(crate) fn is_unsupported(failure: &Failure) -> bool {
    [Errno::OPNOTSUPP, Errno::PROTONOSUPPORT, Errno::AFNOSUPPORT]
        .iter()
        .any(|errno| failure.errno == errno.raw_os_error())
}

fn unsupported(refusal: Refusal) -> Failure {
    let mut failure = failed(STEP, "nf_tables", refusal);
    failure.reason = Some("this kernel has no nf_tables, by which ports are published".to_owned());
    failure.hint(
        "load the modules (modprobe nf_tables nft_nat nft_masq nft_fib_inet), leave --publish off, or run the \
         container with --network host",
    )
}

pub(crate) fn open() -> Result<Netfilter, Failure> {
    Netfilter::open().map_err(|error| match Errno::from_io_error(&error) {
        Some(Errno::PROTONOSUPPORT | Errno::AFNOSUPPORT) => unsupported(Errno::PROTONOSUPPORT.into()),
        _ => Failure::new(STEP, "the netfilter socket", error),
    })
}

fn internal(error: Error) -> Failure {
    let hint = error.hint();
    let failure = Failure::because(STEP, "", error.to_string());
    match hint {
        Some(hint) => failure.hint(hint),
        None => failure,
    }
}

/// Lets packets of the host's loopback leave by this bridge; what comes from there is dropped by our guard.
pub(crate) fn let_loopback_out(bridge: &str) -> io::Result<()> {
    fs::write(localnet(bridge), "1")
}

/// The switch for it.
pub(crate) fn localnet(bridge: &str) -> String {
    format!("/proc/sys/net/ipv4/conf/{bridge}/route_localnet")
}

#[cfg(test)]
mod tests;
