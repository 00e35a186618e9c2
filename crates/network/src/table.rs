//! The engine's table in the kernel: made where it is missing, filled, compared with the files, written anew.
//!
//! The table follows the files: bridges are the networks of `addresses`, ports are the lines of `ports`. So whatever
//! another tool has done to it, it can be put back whole, in one batch, by anybody and at any time.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use rustix::io::Errno;
use step::Failure;

use crate::conntrack;
use crate::error::Error;
use crate::facts::failed;
use crate::netlink::Refusal;
use crate::nft::{Batch, Element, Netfilter, Seen};
use crate::port_book::{Entry, PortBook, Target};
use crate::ports::Published;
use crate::reservation::{Book, hash};
use crate::rules::{Alone, BRIDGES, Bridge, CHAINS, MAPS, SETS, link_key, port_elements, rules};
use crate::settings::Settings;
use crate::small::Small;

/// The step that this is, in messages.
const STEP: &str = "network.rules";
/// The run state of an engine that was told nothing.
const USUAL: &str = "/run/minidocker";
/// What its table is called; those of other engines of ours have a number behind it.
const OURS: &str = "minidocker";
/// Beside the reservations: we have turned forwarding on.
const FORWARDING: &str = "forwarding";
const IP_FORWARD: &str = "/proc/sys/net/ipv4/ip_forward";
/// The same for IPv6.
const FORWARDING6: &str = "forwarding6";
const IPV6: &str = "/proc/sys/net/ipv6/conf";

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
            OURS.to_owned()
        } else {
            format!("{OURS}-{:08x}", hash(&path.to_string_lossy()))
        };
        Self { name, run_dir: run_dir.to_owned() }
    }

    fn comment(&self) -> String {
        format!("minidocker, state in {}", self.run_dir.display())
    }

    /// Whether the rule is wanted that keeps this host from being a router for others.
    fn alone(&self) -> Alone {
        let noted = |name: &str| self.run_dir.join(name).exists();
        Alone { v4: noted(FORWARDING), v6: noted(FORWARDING6) }
    }

    /// The whole table with all that belongs into it, whatever is there.
    fn write(&self, batch: &mut Batch<'_>, bridges: &[Bridge], entries: &[Entry]) {
        batch.table(&self.comment());
        SETS.iter().for_each(|set| batch.set(set));
        for (name, hook) in CHAINS {
            batch.chain(name, hook.map(|(kind, number, _, priority)| (kind, number, priority)));
        }
        CHAINS.iter().for_each(|(name, _)| batch.flush_chain(name));
        SETS.iter().for_each(|set| batch.flush_set(set.name));
        let rules = rules(self.alone());
        for (name, _) in CHAINS {
            let its = rules.iter().filter(|rule| rule.chain == name);
            its.for_each(|rule| batch.rule(name, &rule.expressions));
        }
        for (set, element) in bridges.iter().flat_map(Bridge::elements) {
            batch.add(set, &[element]);
        }
        for (entry, to) in entries.iter().filter_map(|entry| Some((entry, entry.to?))) {
            for (map, elements) in port_elements(&entry.owner.id, to, &entry.ports) {
                batch.add(map, &elements);
            }
        }
    }

    /// The same for nft(8), in one line, with this bridge.
    pub(crate) fn script(&self, bridge: &Bridge) -> String {
        let mut text = format!("table inet {} {{ comment \"{}\"; ", self.name, self.comment());
        let elements = bridge.script();
        for (set, kind) in [
            ("bridges", "ifname"),
            ("within", "ifname . ifname"),
            ("internal", "ifname"),
            ("open", "ifname"),
            ("routed", "ifname"),
            ("apart", "ifname"),
        ] {
            text += &format!("set {set} {{ type {kind}; ");
            if let Some((_, element)) = elements.iter().find(|(name, _)| *name == set) {
                text += &format!("elements = {{ {element} }}; ");
            }
            text += "}; ";
        }
        for (family, ports) in [("ipv4_addr", "ports"), ("ipv6_addr", "ports6")] {
            let data = format!("{family} . inet_service");
            text += &format!("map {ports} {{ type {family} . inet_proto . inet_service : {data}; }}; ");
            text += &format!("map {ports}_any {{ type inet_proto . inet_service : {data}; }}; ");
        }
        let rules = rules(self.alone());
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
    pub(crate) fn script_ports(to: Target, ports: &[Published]) -> Vec<(&'static str, String)> {
        let list = |n: usize| {
            let ours = ports.iter().filter(move |one| {
                n == usize::from(one.address.is_unspecified()) + 2 * usize::from(one.address.is_ipv6())
            });
            let each = ours.flat_map(|one| {
                let any = one.address.is_unspecified();
                let address = if any { String::new() } else { format!("{} . ", one.address) };
                let (protocol, to) = (one.container.protocol, to.of_family(one.address));
                one.each().filter_map(move |(host, container)| {
                    Some(format!("{address}{protocol} . {host} : {} . {container}", to?))
                })
            });
            each.collect::<Vec<_>>().join(", ")
        };
        let all = MAPS.iter().enumerate().map(|(n, map)| (map.name, list(n)));
        let some = all.filter(|(_, list)| !list.is_empty());
        some.map(|(map, list)| (map, format!("{{ {list} }}"))).collect()
    }

    /// Sees to it that the table is there and has this bridge: one question where that is so.
    pub(crate) fn ensure(&self, bridge: &Bridge) -> Result<(), Failure> {
        let netfilter = open()?;
        let seen = netfilter.has(&self.name, BRIDGES.name, &link_key(&bridge.name));
        match seen.map_err(|refusal| self.refused(refusal))? {
            Seen::There if !self.lacks_forwarding6(bridge) => Ok(()),
            Seen::There | Seen::Absent => self.restore(&netfilter, Some(bridge)),
            Seen::Unsupported => Err(unsupported(Errno::OPNOTSUPP.into())),
        }
    }

    /// Adds a container's ports.
    pub(crate) fn publish(&self, id: &str, to: Target, ports: &[Published]) -> Result<(), Failure> {
        let netfilter = open()?;
        let elements = port_elements(id, to, ports);
        let added = netfilter.change(&self.name, |batch| {
            elements.iter().for_each(|(map, elements)| batch.add(map, elements));
        });
        match added {
            Ok(()) => {}
            // What a crash left, or the table went meanwhile: the files know.
            Err(Refusal { errno: Errno::EXIST | Errno::NOENT, .. }) => self.restore(&netfilter, None)?,
            Err(refusal) => return Err(self.refused(refusal)),
        }
        // After the rules: who sends in between is led right already. A kernel that does not tell of its flows lets them
        // end by themselves, after half a minute of silence; no reason not to start.
        let _ = conntrack::forget_before(&netfilter, to, ports);
        Ok(())
    }

    /// Removes the ports of `entry`, and with `whole` whatever else is in the table and not in the book any more. Under
    /// the book's lock; what is not there is removed already.
    pub(crate) fn unpublish(
        &self,
        book: &PortBook,
        entry: &Entry,
        netfilter: &Netfilter,
    ) -> Result<(), Failure> {
        let Some(to) = entry.to else { return Ok(()) };
        let elements = port_elements(&entry.owner.id, to, &entry.ports);
        let removed = netfilter.change(&self.name, |batch| {
            elements.iter().for_each(|(map, elements)| batch.remove(map, elements));
        });
        // Likewise: nobody is to be led to an address that another container gets next.
        let _ = conntrack::forget_after(netfilter, to, &entry.ports);
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
        let rules = Book::new(self.run_dir.join("addresses")).rules_of(bridge).ok().flatten();
        let bridge =
            rules.and_then(|words| Bridge::read(bridge, &words)).unwrap_or_else(|| Bridge::plain(bridge));
        // A name that stays there is of no harm: it goes when the table is written the next time.
        let _ = netfilter.change(&self.name, |batch| {
            bridge.elements().into_iter().for_each(|(set, element)| batch.remove(set, &[element]));
        });
    }

    /// Writes the table anew from the files, and this bridge.
    fn restore(&self, netfilter: &Netfilter, bridge: Option<&Bridge>) -> Result<(), Failure> {
        let book = PortBook::open(&self.run_dir).map_err(internal)?;
        self.restore_locked(netfilter, &book, bridge)
    }

    fn restore_locked(
        &self,
        netfilter: &Netfilter,
        book: &PortBook,
        bridge: Option<&Bridge>,
    ) -> Result<(), Failure> {
        let bridges = self.bridges(bridge).map_err(internal)?;
        self.turn_forwarding_on(&bridges);
        netfilter
            .change(&self.name, |batch| self.write(batch, &bridges, &book.entries))
            .map_err(|refusal| self.refused(refusal))
    }

    /// All bridges of this engine.
    pub(crate) fn bridges(&self, further: Option<&Bridge>) -> Result<Vec<Bridge>, Error> {
        let book = Book::new(self.run_dir.join("addresses"));
        let mut all = Vec::new();
        for directory in book.networks()? {
            match (Small::read(&directory), book.rules_of(&directory)?) {
                (Some(small), _) => all.push(Bridge::plain(&small.bridge())),
                (None, Some(words)) => all.extend(Bridge::read(&directory, &words)),
                (None, None) => all.push(Bridge::plain(&directory)),
            }
        }
        all.extend(
            further
                .filter(|further| !all.iter().any(|one| one.name == further.name))
                .cloned()
                .into_iter()
                .collect::<Vec<_>>(),
        );
        all.sort();
        Ok(all)
    }

    /// Without it nothing goes from a bridge to the world. A host that does not forward is no router, and is made one for
    /// our bridges alone. Where /proc/sys cannot be written, whoever made it so decides. That of
    /// IPv6 is for networks that have it.
    fn turn_forwarding_on(&self, bridges: &[Bridge]) {
        let is_off = |path: &str| fs::read(path).is_ok_and(|text| text.first() == Some(&b'0'));
        // The note first: who is killed in between leaves a rule too many, not one too few.
        let note = |name: &str| fs::write(self.run_dir.join(name), "turned on by minidocker\n").is_ok();
        if is_off(IP_FORWARD) && note(FORWARDING) {
            let _ = fs::write(IP_FORWARD, "1");
        }
        let forwarding6 = format!("{IPV6}/all/forwarding");
        let v6 = bridges.iter().any(|bridge| bridge.v6);
        if v6 && is_off(&forwarding6) && note(FORWARDING6) {
            keep_router_advertisements(bridges);
            let _ = fs::write(forwarding6, "1");
        }
    }

    /// Whether a bridge has got IPv6 addresses after its rules were written, and the host does not forward IPv6 yet.
    fn lacks_forwarding6(&self, bridge: &Bridge) -> bool {
        let is_off =
            || fs::read(format!("{IPV6}/all/forwarding")).is_ok_and(|text| text.first() == Some(&b'0'));
        bridge.v6 && !self.run_dir.join(FORWARDING6).exists() && is_off()
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
        let expected = rules(self.alone());
        for (chain, _) in CHAINS {
            let wanted = expected.iter().filter(|rule| rule.chain == chain).count();
            let found = counted.iter().find(|(name, _)| name == chain).map_or(0, |(_, count)| *count);
            if wanted != found {
                return Ok(Some(format!("chain {chain} has {found} rules in the place of {wanted}")));
            }
        }
        let mut wanted: Vec<(&str, Vec<Element>)> = MAPS.iter().map(|map| (map.name, Vec::new())).collect();
        for (entry, to) in book.entries.iter().filter_map(|entry| Some((entry, entry.to?))) {
            for (map, elements) in port_elements(&entry.owner.id, to, &entry.ports) {
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
            for (set, element) in bridge.elements() {
                let seen = netfilter.has(&self.name, set, &element.key).map_err(refused)?;
                if seen != Seen::There && Path::new("/sys/class/net").join(&bridge.name).exists() {
                    return Ok(Some(format!("bridge {} is not in the set {set}", bridge.name)));
                }
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

    /// Takes the table away, and turns forwarding off where it was this engine that turned it on. Where another engine of
    /// ours uses it by now both stay: the rule that keeps the host from being a router for others is in this table.
    pub(crate) fn take_down(&self) -> Result<(), Failure> {
        let Ok(netfilter) = Netfilter::open() else { return Ok(()) };
        let forwarding6 = format!("{IPV6}/all/forwarding");
        let mut ours = vec![(FORWARDING, IP_FORWARD), (FORWARDING6, forwarding6.as_str())];
        ours.retain(|(note, _)| self.run_dir.join(note).exists());
        if !ours.is_empty() {
            let all = netfilter.tables().map_err(|refusal| self.refused(refusal))?;
            let is_other = |name: &String| {
                let rest = name.strip_prefix(OURS);
                *name != self.name && rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('-'))
            };
            if all.iter().any(is_other) {
                return Ok(());
            }
        }
        // The rules last: until then they keep others from being forwarded.
        for (note, switch) in ours {
            fs::write(switch, "0").map_err(|cause| Failure::new(STEP, switch, cause))?;
            let note = self.run_dir.join(note);
            fs::remove_file(&note).map_err(|cause| Failure::new(STEP, note.to_string_lossy(), cause))?;
        }
        match netfilter.change(&self.name, |batch| batch.delete_table()) {
            Ok(()) | Err(Refusal { errno: Errno::NOENT | Errno::OPNOTSUPP | Errno::INVAL, .. }) => Ok(()),
            Err(refusal) => Err(self.refused(refusal)),
        }
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

/// A router takes no routes of others: links that had theirs from advertisements lose them unless they are told to go on
/// taking them (ip-sysctl: accept_ra 2). From our bridges nobody tells the host its routes (CVE-2020-13401).
fn keep_router_advertisements(bridges: &[Bridge]) {
    for link in fs::read_dir(IPV6).into_iter().flatten().flatten() {
        let name = link.file_name();
        let is_ours = bridges.iter().any(|bridge| bridge.name.as_str() == name);
        if is_ours || ["all", "default", "lo"].iter().any(|other| *other == name) {
            continue;
        }
        let path = link.path().join("accept_ra");
        if fs::read(&path).is_ok_and(|text| text.first() == Some(&b'1')) {
            let _ = fs::write(path, "2");
        }
    }
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
    let lists = entry.to.map(|to| Table::script_ports(to, &entry.ports)).unwrap_or_default();
    lists.into_iter().map(command).collect()
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

/// Whether bridged packets pass the rules too (br_netfilter): then an answer for ::1 is translated while it is bridged, and
/// dropped where it comes up to the host, for no wire may bring that address.
pub(crate) fn filters_bridges6() -> bool {
    fs::read("/proc/sys/net/bridge/bridge-nf-call-ip6tables").is_ok_and(|text| text.first() == Some(&b'1'))
}

/// The switch for it.
pub(crate) fn localnet(bridge: &str) -> String {
    format!("/proc/sys/net/ipv4/conf/{bridge}/route_localnet")
}

#[cfg(test)]
mod tests;
