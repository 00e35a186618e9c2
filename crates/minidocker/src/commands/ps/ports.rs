//! The column PORTS, in Docker's form: what is published and what is only exposed, ports in a row as one range.

use std::net::IpAddr;

use engine::request::{Ports, Protocol, Published};

use super::super::port::place;

/// A port of the container: number, protocol, and where it is published.
type Port = (u16, Option<IpAddr>, u16, Protocol);

/// Docker's order is by the container's port. One that has another number on the host stands by itself, behind the rest.
pub(super) fn words(exposed: &[Ports], published: &[Published]) -> String {
    let mut all: Vec<Port> = Vec::new();
    for one in published {
        let (address, protocol) = (one.address, one.container.protocol);
        all.extend(one.each().map(|(host, container)| (container, Some(address), host, protocol)));
    }
    let is_published = |port, protocol| published.iter().any(|one| one.container.has(port, protocol));
    for ports in exposed {
        let alone = (ports.first..=ports.last).filter(|port| !is_published(*port, ports.protocol));
        all.extend(alone.map(|port| (port, None, 0, ports.protocol)));
    }
    all.sort();
    all.dedup();
    let (mut rows, mut others): (Vec<Row>, Vec<String>) = (Vec::new(), Vec::new());
    let mut done = Vec::new();
    for (port, address, host, protocol) in all {
        if let Some(address) = address.filter(|_| host != port) {
            others.push(format!("{}->{port}/{protocol}", place(address, host)));
            continue;
        }
        match rows.iter_mut().find(|row| (row.address, row.protocol) == (address, protocol)) {
            Some(row) if row.last.checked_add(1) == Some(port) => row.last = port,
            Some(row) => {
                done.push(row.words());
                (row.first, row.last) = (port, port);
            }
            None => rows.push(Row { address, protocol, first: port, last: port }),
        }
    }
    done.extend(rows.iter().map(Row::words));
    done.extend(others);
    done.join(", ")
}

/// Ports in a row that have the same numbers on the host, or none there.
struct Row {
    address: Option<IpAddr>,
    protocol: Protocol,
    first: u16,
    last: u16,
}

impl Row {
    fn words(&self) -> String {
        let ports = match self.first == self.last {
            true => self.first.to_string(),
            false => format!("{}-{}", self.first, self.last),
        };
        // Docker writes no brackets around an IPv6 address in a row.
        let host = self.address.map_or_else(String::new, |address| format!("{address}:{ports}->"));
        format!("{host}{ports}/{}", self.protocol)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_dockers() {
        let shown = |exposed: &[&str], published: &[&str]| {
            let exposed: Vec<Ports> = exposed.iter().map(|text| text.parse().unwrap()).collect();
            let published: Vec<Published> = published.iter().map(|text| text.parse().unwrap()).collect();
            words(&exposed, &published)
        };
        assert_eq!(shown(&[], &[]), "");
        assert_eq!(shown(&["80"], &["0.0.0.0:8080->80/tcp"]), "0.0.0.0:8080->80/tcp");
        assert_eq!(
            shown(&["53/udp", "80-82", "443"], &["0.0.0.0:32768->443/tcp"]),
            "80-82/tcp, 53/udp, 0.0.0.0:32768->443/tcp".replace("80-82/tcp, 53/udp", "53/udp, 80-82/tcp")
        );
        assert_eq!(
            shown(&[], &["0.0.0.0:7000-7002->7000-7002/tcp", "127.0.0.1:9000->9000/tcp"]),
            "0.0.0.0:7000-7002->7000-7002/tcp, 127.0.0.1:9000->9000/tcp"
        );
        assert_eq!(shown(&["80", "82"], &[]), "80/tcp, 82/tcp");
    }
}
