//! Ports: those of a container that somebody may want to reach, those that were asked to be published, and those of the
//! host that lead there.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// What has ports.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Protocol {
    /// TCP.
    Tcp,
    /// UDP.
    Udp,
    /// SCTP.
    Sctp,
}

impl Protocol {
    /// `tcp`, `udp` or `sctp`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Tcp => "tcp",
            Self::Udp => "udp",
            Self::Sctp => "sctp",
        }
    }

    /// IPPROTO_*.
    pub(crate) const fn number(self) -> u8 {
        match self {
            Self::Tcp => 6,
            Self::Udp => 17,
            Self::Sctp => 132,
        }
    }
}

impl FromStr for Protocol {
    type Err = String;

    /// Upper case counts too, as in Docker.
    fn from_str(text: &str) -> Result<Self, String> {
        let known = [Self::Tcp, Self::Udp, Self::Sctp];
        let found = known.into_iter().find(|known| known.name().eq_ignore_ascii_case(text));
        found.ok_or_else(|| "the protocol is none of tcp, udp and sctp".to_owned())
    }
}

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Ports of a container, one after the other: `80/tcp`, `8000-8010/udp`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Ports {
    /// The first, 1 to 65535.
    pub first: u16,
    /// The last, not below the first.
    pub last: u16,
    /// Of which protocol.
    pub protocol: Protocol,
}

impl Ports {
    /// How many they are.
    pub const fn count(self) -> u32 {
        self.last as u32 - self.first as u32 + 1
    }

    /// Whether one of them is this one.
    pub fn has(self, port: u16, protocol: Protocol) -> bool {
        self.protocol == protocol && (self.first..=self.last).contains(&port)
    }
}

/// `80` or `8000-8010`.
fn range(text: &str) -> Result<(u16, u16), String> {
    let number = |text: &str| match text.parse::<u16>() {
        Ok(number) if number > 0 && text.bytes().all(|digit| digit.is_ascii_digit()) => Ok(number),
        _ => Err("a port is a number from 1 to 65535".to_owned()),
    };
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    match (number(first)?, number(last)?) {
        (first, last) if first <= last => Ok((first, last)),
        _ => Err("the range ends before it begins".to_owned()),
    }
}

impl FromStr for Ports {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (ports, protocol) = text.split_once('/').unwrap_or((text, "tcp"));
        let (first, last) = range(ports)?;
        Ok(Self { first, last, protocol: protocol.parse()? })
    }
}

impl TryFrom<String> for Ports {
    type Error = String;
    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl From<Ports> for String {
    fn from(ports: Ports) -> Self {
        ports.to_string()
    }
}

impl fmt::Display for Ports {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        span(f, self.first, self.last)?;
        write!(f, "/{}", self.protocol)
    }
}

fn span(f: &mut fmt::Formatter<'_>, first: u16, last: u16) -> fmt::Result {
    if first == last { write!(f, "{first}") } else { write!(f, "{first}-{last}") }
}

/// Which ports of the host are wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Wanted {
    /// Any that are free.
    Any,
    /// These, as many as the container's.
    From(u16),
    /// One of these: first and last.
    Within(u16, u16),
}

/// `--publish`: which ports of the host are to lead to which of the container.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Publish {
    /// The host's address; none for all of them.
    pub address: Option<IpAddr>,
    /// The host's ports.
    pub host: Wanted,
    /// The container's.
    pub container: Ports,
}

impl FromStr for Publish {
    type Err = String;

    /// Docker's `[[ADDRESS:][HOSTPORT]:]PORT[/PROTOCOL]`, ranges in the place of ports, IPv6 addresses in brackets.
    fn from_str(text: &str) -> Result<Self, String> {
        let (all, protocol) = text.split_once('/').unwrap_or((text, "tcp"));
        let (address, ports) = match all.strip_prefix('[') {
            Some(rest) => {
                let (address, rest) = rest.split_once("]:").ok_or("the address has no ] and : behind it")?;
                (address, rest)
            }
            // Two colons: all before them is an address.
            None => match all.rsplitn(3, ':').collect::<Vec<_>>().as_slice() {
                [container, host, address] => {
                    (*address, &all[all.len() - host.len() - container.len() - 1..])
                }
                _ => ("", all),
            },
        };
        let address = match address {
            "" if all.starts_with('[') => return Err("there is no address in the brackets".to_owned()),
            "" => None,
            address => Some(address.parse().map_err(|_| "the address is no IP address".to_owned())?),
        };
        let (host, container) = match ports.rsplit_once(':') {
            Some((host, container)) => (host, container),
            None => ("", ports),
        };
        let (first, last) = range(container)?;
        let container = Ports { first, last, protocol: protocol.parse()? };
        let host = match host {
            "" => Wanted::Any,
            host => match range(host)? {
                (first, last) if u32::from(last - first) + 1 == container.count() => Wanted::From(first),
                (first, last) if container.count() == 1 => Wanted::Within(first, last),
                _ => return Err("the two ranges have different lengths".to_owned()),
            },
        };
        Ok(Self { address, host, container })
    }
}

impl fmt::Display for Publish {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.address {
            Some(IpAddr::V6(address)) => write!(f, "[{address}]:")?,
            Some(IpAddr::V4(address)) => write!(f, "{address}:")?,
            None => {}
        }
        match self.host {
            Wanted::Any if self.address.is_some() => f.write_str(":")?,
            Wanted::Any => {}
            Wanted::From(first) => {
                span(f, first, first + (self.container.last - self.container.first))?;
                f.write_str(":")?;
            }
            Wanted::Within(first, last) => {
                span(f, first, last)?;
                f.write_str(":")?;
            }
        }
        self.container.fmt(f)
    }
}

/// Ports of the host, one after the other, that lead to ports of a container, likewise: `0.0.0.0:8080->80/tcp`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Published {
    /// The host's address; 0.0.0.0 for all of them.
    pub address: IpAddr,
    /// The host's first port.
    pub host: u16,
    /// The container's.
    pub container: Ports,
}

impl Published {
    /// The host's last port.
    pub const fn last(&self) -> u16 {
        self.host.saturating_add(self.container.last - self.container.first)
    }

    /// Each one: the host's port and the container's.
    pub fn each(self) -> impl Iterator<Item = (u16, u16)> {
        (self.host..=self.last()).zip(self.container.first..=self.container.last)
    }

    /// Whether no two sockets could have both.
    pub(crate) fn overlaps(&self, other: &Self) -> bool {
        let same = self.address.is_ipv4() == other.address.is_ipv4()
            && (self.address == other.address
                || self.address.is_unspecified()
                || other.address.is_unspecified());
        self.container.protocol == other.container.protocol
            && same
            && self.host <= other.last()
            && other.host <= self.last()
    }

    /// Whether the host's loopback of IPv4 leads there: that needs a switch of the bridge.
    pub(crate) fn is_on_loopback(&self) -> bool {
        self.address.is_ipv4() && (self.address.is_unspecified() || self.address.is_loopback())
    }

    /// Whether ::1 leads there: that needs a route of the bridge.
    pub(crate) fn is_on_loopback6(&self) -> bool {
        self.address.is_ipv6() && self.address.is_loopback()
    }
}

impl fmt::Display for Published {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.address {
            IpAddr::V6(address) => write!(f, "[{address}]:")?,
            IpAddr::V4(address) => write!(f, "{address}:")?,
        }
        span(f, self.host, self.last())?;
        write!(f, "->{}", self.container)
    }
}

impl FromStr for Published {
    type Err = String;

    /// Reads what is shown: for our own files.
    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("'{text}' are no published ports");
        let (host, container) = text.split_once("->").ok_or_else(wrong)?;
        let publish: Publish = format!("{host}:{container}").parse()?;
        match (publish.address, publish.host) {
            (Some(address), Wanted::From(host)) => Ok(Self { address, host, container: publish.container }),
            _ => Err(wrong()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_dockers_words() {
        for (text, shown) in [
            ("80", "80/tcp"),
            ("80/UDP", "80/udp"),
            (":80", "80/tcp"),
            ("8080:80", "8080:80/tcp"),
            ("8000-8002:80-82/sctp", "8000-8002:80-82/sctp"),
            ("8000-8002:80", "8000-8002:80/tcp"),
            ("7000-7002", "7000-7002/tcp"),
            ("127.0.0.1:8080:80", "127.0.0.1:8080:80/tcp"),
            ("127.0.0.1::80", "127.0.0.1::80/tcp"),
            ("[::1]:8080:80", "[::1]:8080:80/tcp"),
            ("[::1]::80/udp", "[::1]::80/udp"),
            ("::1:8080:80", "[::1]:8080:80/tcp"),
        ] {
            let read: Publish = text.parse().unwrap_or_else(|why| panic!("{text}: {why}"));
            assert_eq!(read.to_string(), shown);
            assert_eq!(shown.parse(), Ok(read));
        }
    }

    #[test]
    fn refuses_others() {
        for text in [
            "",
            "x",
            "0",
            "65536",
            "+80",
            "80/",
            "80/ip",
            "8080:",
            "90-80",
            "80-82:80-81",
            "1.2.3:80:80",
            "localhost:80:80",
            "[]:80:80",
            "[::1]80:80",
            "[::1]",
            "80-",
            "8080:80:80:80",
        ] {
            assert!(text.parse::<Publish>().is_err(), "{text}");
        }
    }

    #[test]
    fn what_is_published_is_read_back() {
        for text in ["0.0.0.0:8080->80/tcp", "127.0.0.1:8000-8009->9000-9009/udp", "[::1]:1->2/sctp"] {
            let read: Published = text.parse().unwrap();
            assert_eq!(read.to_string(), text);
        }
        for text in ["", "80", "0.0.0.0:->80/tcp", "8080->80/tcp", "0.0.0.0:1-2->80/tcp"] {
            assert!(text.parse::<Published>().is_err(), "{text}");
        }
    }

    #[test]
    fn overlaps_by_address_port_and_protocol() {
        let overlap = |a: &str, b: &str| {
            let (a, b): (Published, Published) = (a.parse().unwrap(), b.parse().unwrap());
            assert_eq!(a.overlaps(&b), b.overlaps(&a));
            a.overlaps(&b)
        };
        assert!(overlap("0.0.0.0:80->80/tcp", "127.0.0.1:80->81/tcp"));
        assert!(overlap("0.0.0.0:80-90->80-90/tcp", "0.0.0.0:90->1/tcp"));
        assert!(!overlap("127.0.0.2:80->80/tcp", "127.0.0.1:80->80/tcp"));
        assert!(!overlap("0.0.0.0:80->80/tcp", "0.0.0.0:80->80/udp"));
        assert!(!overlap("0.0.0.0:80->80/tcp", "[::]:80->80/tcp"));
        assert!(overlap("[::1]:80->80/tcp", "[::]:80->80/tcp"));
        assert!(!overlap("0.0.0.0:80->80/tcp", "0.0.0.0:81->80/tcp"));
    }
}
