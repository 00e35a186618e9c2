//! Deciding on the host's ports that lead to a container, and reserving them: against other containers in the book,
//! against other programs by asking the kernel for the port as they would.
//!
//! No socket stays open for it: a thousand ports would be a thousand descriptors of each monitor. A program that takes
//! such a port later gets it, and hears nothing on it: the rules come first.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketType, ipproto, socket};
use step::Failure;

use crate::error::Error;
use crate::listeners;
use crate::port_book::{Entry, PortBook, Target};
use crate::ports::{Ports, Protocol, Publish, Published, Wanted};
use crate::reservation::{Claimant, hash};
use crate::settings::Settings;
use crate::table::{self, Table};

const LOCAL_RANGE: &str = "/proc/sys/net/ipv4/ip_local_port_range";
/// The kernel's own, ip(7).
const USUAL_RANGE: (u16, u16) = (32768, 60999);

/// Reserves what is wanted for the claimant's container, which has the addresses `to`, or none that ports lead to for now;
/// its earlier ports are given back. What names no address of the host is published on all, of IPv6 too where the
/// container has an address of it.
pub(crate) fn claim(
    settings: &Settings,
    by: Claimant<'_>,
    to: Option<Target>,
    wanted: &[Publish],
) -> Result<Vec<Published>, Error> {
    if wanted.is_empty() {
        return Ok(Vec::new());
    }
    let mut book = PortBook::open(&settings.run_dir)?;
    book.take(&by.owner.id);
    let mut desk = Desk { settings, by, book, to, ours: Vec::new(), wish: (0, false) };
    // Those that leave no choice first.
    let mut order: Vec<&Publish> = wanted.iter().collect();
    order.sort_by_key(|one| !matches!(one.host, Wanted::From(_)));
    for publish in order {
        desk.one(publish)?;
    }
    let mut ports = desk.ours;
    ports.sort_by_key(|one| (one.container, one.address, one.host));
    let entry = Entry { owner: by.owner.called(&[]), to, ports: ports.clone() };
    desk.book.entries.push(entry);
    desk.book.write()?;
    Ok(ports)
}

/// Takes a container's ports from the rules and gives them back; `id` may have none. The second is what has to be closed
/// when there is time: it takes milliseconds.
pub(crate) fn give_back(settings: &Settings, id: &str) -> Result<Option<std::os::fd::OwnedFd>, Error> {
    if !crate::port_book::owners(&settings.run_dir)?.iter().any(|owner| owner.id == id) {
        return Ok(None);
    }
    let mut book = PortBook::open(&settings.run_dir)?;
    let Some(entry) = book.take(id) else { return Ok(None) };
    let closing = match table::open() {
        Ok(netfilter) => {
            Table::of(&settings.run_dir).unpublish(&book, &entry, &netfilter)?;
            Some(netfilter.into_inner())
        }
        // Where there are no rules there are none to remove.
        Err(failure) if table::is_unsupported(&failure) => None,
        Err(failure) => return Err(failure.into()),
    };
    book.write()?;
    Ok(closing)
}

/// Leads a container's ports to other addresses of it, if they do not lead there already. To none they lead nowhere, and
/// are kept for it: it may have such an address again.
pub(crate) fn lead_to(settings: &Settings, id: &str, to: Option<Target>) -> Result<(), Error> {
    let mut book = PortBook::open(&settings.run_dir)?;
    let Some(entry) = book.take(id).filter(|entry| entry.to != to) else { return Ok(()) };
    let table = Table::of(&settings.run_dir);
    table.unpublish(&book, &entry, &table::open()?)?;
    let entry = Entry { to, ..entry };
    let (ports, id) = (entry.ports.clone(), entry.owner.id.clone());
    book.entries.push(entry);
    book.write()?;
    drop(book);
    if let Some(to) = to {
        table.publish(&id, to, &ports)?;
    }
    Ok(())
}

/// One container's ports being decided on.
struct Desk<'a> {
    settings: &'a Settings,
    by: Claimant<'a>,
    book: PortBook,
    to: Option<Target>,
    ours: Vec<Published>,
    /// Where those of the present wish begin, and whether they are published on both families.
    wish: (usize, bool),
}

impl Desk<'_> {
    fn one(&mut self, publish: &Publish) -> Result<(), Error> {
        let address = publish.address.unwrap_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED));
        if self.to.is_some_and(|to| to.of_family(address).is_none()) {
            return Err(Error::PortFamily { what: publish.to_string() });
        }
        if address == IpAddr::V6(Ipv6Addr::LOCALHOST) && table::filters_bridges6() {
            return Err(Error::PortLoopback6 { what: publish.to_string() });
        }
        let from = self.ours.len();
        let both = publish.address.is_none() && self.to.is_some_and(|to| to.v6.is_some());
        self.wish = (from, both);
        self.of_one_family(publish, address)?;
        if both {
            let sixes: Vec<Published> = self.ours[from..].iter().map(on_all_of_ipv6).collect();
            self.ours.extend(sixes);
        }
        Ok(())
    }

    fn of_one_family(&mut self, publish: &Publish, address: IpAddr) -> Result<(), Error> {
        let container = publish.container;
        match publish.host {
            Wanted::From(host) => {
                let all = Published { address, host, container };
                if let Some(why) = self.refused(all)? {
                    return Err(why);
                }
                self.ours.push(all);
                Ok(())
            }
            Wanted::Within(first, last) => self.free(address, container, (first, last), first),
            Wanted::Any => {
                let (first, last) = local_range();
                let places = u32::from(last - first) + 1;
                let mut start = first + (hash(&self.by.owner.id) % places) as u16;
                for port in container.first..=container.last {
                    self.free(address, Ports { first: port, last: port, ..container }, (first, last), start)?;
                    let given = self.ours.last().map_or(start, |last| last.last());
                    start = if given >= last { first } else { given + 1 };
                }
                Ok(())
            }
        }
    }

    /// The first port from `start` on, and around, that is free; ranges that follow each other become one.
    fn free(
        &mut self,
        address: IpAddr,
        container: Ports,
        (first, last): (u16, u16),
        start: u16,
    ) -> Result<(), Error> {
        for host in (start..=last).chain(first..start) {
            let one = Published { address, host, container };
            if self.refused(one)?.is_some() {
                continue;
            }
            match self.ours.get_mut(self.wish.0..).and_then(<[Published]>::last_mut) {
                Some(before) if follows(before, &one) => before.container.last = container.last,
                _ => self.ours.push(one),
            }
            return Ok(());
        }
        Err(Error::NoPort { first, last, protocol: container.protocol })
    }

    /// Whose one of these ports is, or one of the same of IPv6 where both are wanted.
    fn refused(&mut self, wanted: Published) -> Result<Option<Error>, Error> {
        match self.taken(wanted)? {
            None if self.wish.1 => self.taken(on_all_of_ipv6(&wanted)),
            taken => Ok(taken),
        }
    }

    /// Whose one of these ports is; a dead container's are taken from it.
    fn taken(&mut self, wanted: Published) -> Result<Option<Error>, Error> {
        if let Some(other) = self.ours.iter().find(|other| other.overlaps(&wanted)) {
            let port = other.host.max(wanted.host);
            let owner = "this same container: it is asked for twice".to_owned();
            return Ok(Some(port_taken(&wanted, port, owner)));
        }
        loop {
            let found = self.book.entries.iter().find_map(|entry| {
                let port = entry.ports.iter().find(|port| port.overlaps(&wanted))?;
                Some((entry.owner.clone(), port.host.max(wanted.host)))
            });
            match found {
                None => break,
                Some((owner, port)) if (self.by.is_alive)(&owner.id) => {
                    return Ok(Some(port_taken(&wanted, port, owner.to_string())));
                }
                Some((owner, _)) => self.bury(&owner.id)?,
            }
        }
        for (host, _) in wanted.each() {
            match try_port(wanted.address, host, wanted.container.protocol) {
                Ok(()) => {}
                Err(Errno::ADDRINUSE) => {
                    let owner = listeners::who(wanted.address, host, wanted.container.protocol);
                    let owner = owner.unwrap_or_else(|| "a program of this host".to_owned());
                    return Ok(Some(port_taken(&wanted, host, owner)));
                }
                Err(Errno::ADDRNOTAVAIL) => {
                    return Ok(Some(Error::PortAddress { address: wanted.address }));
                }
                Err(errno) => {
                    let what = format!("{}:{host}/{}", wanted.address, wanted.container.protocol);
                    return Err(Failure::new("network.publish", what, errno).into());
                }
            }
        }
        Ok(None)
    }

    fn bury(&mut self, id: &str) -> Result<(), Error> {
        let Some(entry) = self.book.take(id) else { return Ok(()) };
        let netfilter = table::open()?;
        Table::of(&self.settings.run_dir).unpublish(&self.book, &entry, &netfilter)?;
        Ok(())
    }
}

/// The same ports on all addresses of IPv6.
fn on_all_of_ipv6(four: &Published) -> Published {
    Published { address: IpAddr::V6(Ipv6Addr::UNSPECIFIED), ..*four }
}

fn port_taken(wanted: &Published, port: u16, owner: String) -> Error {
    let protocol = wanted.container.protocol;
    Error::PortTaken { address: wanted.address, port, protocol, owner }
}

fn follows(before: &Published, next: &Published) -> bool {
    before.address == next.address
        && before.container.protocol == next.container.protocol
        && before.last().checked_add(1) == Some(next.host)
        && before.container.last.checked_add(1) == Some(next.container.first)
}

/// From where the kernel gives ports to those who ask for any: a container that asks for any gets one there too.
fn local_range() -> (u16, u16) {
    let read = || {
        let text = std::fs::read_to_string(LOCAL_RANGE).ok()?;
        let mut numbers = text.split_ascii_whitespace().map(|word| word.parse::<u16>().ok());
        match (numbers.next()??, numbers.next()??) {
            (first, last) if 0 < first && first <= last => Some((first, last)),
            _ => None,
        }
    };
    read().unwrap_or(USUAL_RANGE)
}

/// Asks the kernel for the port, and gives it back: EADDRINUSE where another program has it.
fn try_port(address: IpAddr, port: u16, protocol: Protocol) -> Result<(), Errno> {
    let (kind, number) = match protocol {
        Protocol::Tcp => (SocketType::STREAM, Some(ipproto::TCP)),
        Protocol::Udp => (SocketType::DGRAM, Some(ipproto::UDP)),
        Protocol::Sctp => (SocketType::STREAM, Some(ipproto::SCTP)),
    };
    let family = if address.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
    let asked = match socket(family, kind, number) {
        // A host without SCTP has no programs that speak it.
        Err(Errno::PROTONOSUPPORT | Errno::SOCKTNOSUPPORT) => return Ok(()),
        asked => asked?,
    };
    if protocol == Protocol::Tcp {
        // Connections that were closed a moment ago are no reason; listeners are one all the same, socket(7).
        rustix::net::sockopt::set_socket_reuseaddr(&asked, true)?;
    }
    if address.is_ipv6() {
        // Its own family alone, or whoever has the port of IPv4 would be met too.
        rustix::net::sockopt::set_ipv6_v6only(&asked, true)?;
    }
    rustix::net::bind(&asked, &SocketAddr::new(address, port))
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;
    use crate::owner::Owner;

    fn settings(name: &str) -> Settings {
        let run_dir = std::env::temp_dir().join(format!("minidocker-publish-{name}-{}", std::process::id()));
        std::fs::create_dir(&run_dir).unwrap();
        Settings { run_dir, ..Settings::default() }
    }

    fn owner(n: u8) -> Owner {
        Owner::new(&format!("{n:02x}").repeat(32), &format!("c{n}")).unwrap()
    }

    fn ask(settings: &Settings, n: u8, words: &[&str]) -> Result<Vec<String>, String> {
        let wanted: Vec<Publish> = words.iter().map(|word| word.parse().unwrap()).collect();
        let owner = owner(n);
        let by = Claimant { owner: &owner, is_alive: &|_| true };
        let claimed = claim(settings, by, Some(Ipv4Addr::new(10, 0, 0, n).into()), &wanted);
        claimed.map(|all| all.iter().map(ToString::to_string).collect()).map_err(|error| error.to_string())
    }

    #[test]
    fn a_port_has_one_owner_who_is_named() {
        let settings = settings("one");
        // High ports of an address of its own: programs of this host are not in the way.
        assert_eq!(
            ask(&settings, 1, &["127.77.0.1:7001-7003:80-82"]).unwrap(),
            ["127.77.0.1:7001-7003->80-82/tcp"]
        );
        let refusal = ask(&settings, 2, &["127.77.0.1:7003:80"]).unwrap_err();
        assert!(refusal.contains("7003/tcp") && refusal.contains("container c1 (010101010101)"), "{refusal}");
        assert!(ask(&settings, 2, &["7002:80"]).unwrap_err().contains("c1"));
        assert!(ask(&settings, 2, &["127.77.0.2:7002:80", "127.77.0.1:7002:80/udp"]).is_ok());
        assert!(
            ask(&settings, 3, &["127.77.0.3:7002:80", "127.77.0.3:7002:81"]).unwrap_err().contains("twice")
        );
        assert!(ask(&settings, 3, &["[::1]:7002:80"]).unwrap_err().contains("IPv6"));
        assert!(ask(&settings, 3, &["192.0.2.77:7002:80"]).unwrap_err().contains("192.0.2.77"));
        // Asked again it is given again.
        assert!(ask(&settings, 1, &["127.77.0.1:7001:80"]).is_ok());
        std::fs::remove_dir_all(&settings.run_dir).unwrap();
    }

    #[test]
    fn a_container_with_both_families_has_both_ports() {
        let settings = settings("both");
        let owner = owner(1);
        let by = Claimant { owner: &owner, is_alive: &|_| true };
        let to = Target { v4: Ipv4Addr::new(10, 0, 0, 1), v6: Some(Ipv6Addr::LOCALHOST) };
        let words = |wanted: &str| {
            let ports = claim(&settings, by, Some(to), &[wanted.parse().unwrap()])?;
            Ok::<Vec<String>, Error>(ports.iter().map(ToString::to_string).collect())
        };
        assert_eq!(words("17391:80").unwrap(), ["0.0.0.0:17391->80/tcp", "[::]:17391->80/tcp"]);
        assert_eq!(words("[::]:17391:80").unwrap(), ["[::]:17391->80/tcp"]);
        let loopback = words("[::1]:17391:80").map_err(|error| error.to_string());
        match table::filters_bridges6() {
            true => assert!(loopback.unwrap_err().contains("filters its bridges")),
            false => assert_eq!(loopback.unwrap(), ["[::1]:17391->80/tcp"]),
        }
        let listener = TcpListener::bind("[::1]:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        assert!(words(&format!("{port}:80")).unwrap_err().to_string().contains("taken"));
        std::fs::remove_dir_all(&settings.run_dir).unwrap();
    }

    #[test]
    fn any_and_one_of_several() {
        let settings = settings("any");
        let range = local_range();
        let given = ask(&settings, 1, &["127.77.0.4::80-82"]).unwrap();
        let first: Published = given[0].parse().unwrap();
        assert!((range.0..=range.1).contains(&first.host), "{given:?}");
        let ports: u32 = given.iter().map(|one| one.parse::<Published>().unwrap().container.count()).sum();
        assert_eq!(ports, 3);
        assert_eq!(ask(&settings, 2, &["127.77.0.4:7100-7101:80"]).unwrap(), ["127.77.0.4:7100->80/tcp"]);
        assert_eq!(ask(&settings, 3, &["127.77.0.4:7100-7101:80"]).unwrap(), ["127.77.0.4:7101->80/tcp"]);
        assert!(ask(&settings, 4, &["127.77.0.4:7100-7101:80"]).unwrap_err().contains("7100"));
        std::fs::remove_dir_all(&settings.run_dir).unwrap();
    }

    #[test]
    fn a_program_that_has_the_port_is_named() {
        let settings = settings("program");
        let listener = TcpListener::bind("127.77.0.5:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let refusal = ask(&settings, 1, &[&format!("{port}:80")]).unwrap_err();
        assert!(refusal.contains(&format!("(pid {})", std::process::id())), "{refusal}");
        drop(listener);
        assert!(ask(&settings, 1, &[&format!("127.77.0.5:{port}:80")]).is_ok());
        std::fs::remove_dir_all(&settings.run_dir).unwrap();
    }
}
