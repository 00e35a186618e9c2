//! Addresses and networks as a user writes them: `172.30.0.0/16`, `10.0.0.1`, `10.0.0.1/8`, a MAC address. Strict:
//! what is not plainly right is an error that says what is wrong and shows a right one.

use std::fmt;
use std::net::Ipv4Addr;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// The shortest prefix of a network of ours.
const SHORTEST: u8 = 8;
/// The longest: below that there is no room for the host's side and a container.
const LONGEST: u8 = 30;

/// What is wrong with a text.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{what} '{text}': {wrong}, write it as {example}")]
pub struct ParseError {
    what: &'static str,
    text: String,
    wrong: String,
    example: String,
}

impl ParseError {
    pub(crate) fn new(
        what: &'static str,
        text: &str,
        wrong: impl Into<String>,
        example: impl Into<String>,
    ) -> Self {
        // One line, whatever was typed.
        let text = text.chars().take(64).flat_map(char::escape_default).collect();
        Self { what, text, wrong: wrong.into(), example: example.into() }
    }
}

/// An IPv4 network: its address with all host bits zero, and the length of its prefix in bits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Subnet {
    network: Ipv4Addr,
    prefix: u8,
}

impl Subnet {
    /// The network of `prefix` bits (0 to 32, more counts as 32) that `address` lies in.
    pub const fn of(address: Ipv4Addr, prefix: u8) -> Self {
        let prefix = if prefix > 32 { 32 } else { prefix };
        Self { network: Ipv4Addr::from_bits(address.to_bits() & mask(prefix)), prefix }
    }

    /// Its address, all host bits zero.
    pub const fn network(self) -> Ipv4Addr {
        self.network
    }

    /// The length of its prefix in bits.
    pub const fn prefix(self) -> u8 {
        self.prefix
    }

    /// Its broadcast address, all host bits one.
    pub const fn broadcast(self) -> Ipv4Addr {
        Ipv4Addr::from_bits(self.network.to_bits() | !mask(self.prefix))
    }

    /// The first address that a machine can have. For prefixes up to 30, as all of ours are.
    pub const fn first(self) -> Ipv4Addr {
        Ipv4Addr::from_bits(self.network.to_bits().saturating_add(1))
    }

    /// The last address that a machine can have. For prefixes up to 30, as all of ours are.
    pub const fn last(self) -> Ipv4Addr {
        Ipv4Addr::from_bits(self.broadcast().to_bits().saturating_sub(1))
    }

    /// How many addresses lie from [`Subnet::first`] to [`Subnet::last`].
    pub const fn usable(self) -> u32 {
        (self.broadcast().to_bits() - self.network.to_bits()).saturating_sub(1)
    }

    /// Whether `address` lies in it.
    pub const fn contains(self, address: Ipv4Addr) -> bool {
        address.to_bits() & mask(self.prefix) == self.network.to_bits()
    }

    /// Whether the two share an address.
    pub const fn overlaps(self, other: Self) -> bool {
        if self.prefix <= other.prefix { self.contains(other.network) } else { other.contains(self.network) }
    }
}

const fn mask(prefix: u8) -> u32 {
    // A shift by 32 is no shift at all: the empty prefix is its own case.
    if prefix == 0 { 0 } else { u32::MAX << (32 - prefix as u32) }
}

impl fmt::Display for Subnet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.network, self.prefix)
    }
}

impl FromStr for Subnet {
    type Err = ParseError;

    /// Parses `172.30.0.0/16`, prefix 8 to 30, no host bits set.
    fn from_str(text: &str) -> Result<Self, ParseError> {
        let bad = |wrong: &str| ParseError::new("subnet", text, wrong, "172.30.0.0/16");
        let (address, prefix) = text.split_once('/').ok_or_else(|| bad("the prefix length is missing"))?;
        let address = parse_address(address).map_err(|wrong| bad(&wrong))?;
        let subnet = Self::of(address, parse_prefix(prefix).map_err(|wrong| bad(&wrong))?);
        if subnet.network != address {
            return Err(ParseError::new(
                "subnet",
                text,
                format!("bits are set behind the prefix of {} bits", subnet.prefix),
                subnet.to_string(),
            ));
        }
        unusable(subnet).map_or(Ok(subnet), |why| Err(bad(why)))
    }
}

impl TryFrom<String> for Subnet {
    type Error = ParseError;
    fn try_from(text: String) -> Result<Self, ParseError> {
        text.parse()
    }
}

impl From<Subnet> for String {
    fn from(subnet: Subnet) -> Self {
        subnet.to_string()
    }
}

/// What a user asks for with `--ip`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct IpRequest {
    /// The container's address.
    pub addr: Ipv4Addr,
    /// The length of its network's prefix, 8 to 30; none leaves it to us.
    pub prefix: Option<u8>,
}

impl FromStr for IpRequest {
    type Err = ParseError;

    /// Parses `10.0.0.1` or `10.0.0.1/8`, prefix 8 to 30.
    fn from_str(text: &str) -> Result<Self, ParseError> {
        let bad = |wrong: &str| ParseError::new("address", text, wrong, "10.0.0.1 or 10.0.0.1/8");
        let (addr, prefix) = match text.split_once('/') {
            Some((addr, prefix)) => (addr, Some(parse_prefix(prefix).map_err(|wrong| bad(&wrong))?)),
            None => (text, None),
        };
        let addr = parse_address(addr).map_err(|wrong| bad(&wrong))?;
        match unusable(Subnet::of(addr, 32)) {
            Some(why) => Err(bad(why)),
            None => Ok(Self { addr, prefix }),
        }
    }
}

impl fmt::Display for IpRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.prefix {
            Some(prefix) => write!(f, "{}/{prefix}", self.addr),
            None => self.addr.fmt(f),
        }
    }
}

fn parse_address(text: &str) -> Result<Ipv4Addr, String> {
    if text.contains(':') {
        return Err("it is no IPv4 address, and IPv6 addresses cannot be chosen".into());
    }
    // The standard library refuses leading zeros, which some programs read as octal.
    text.parse()
        .map_err(|_| "it is no IPv4 address of four numbers from 0 to 255 without leading zeros".into())
}

fn parse_prefix(text: &str) -> Result<u8, String> {
    let number = text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse::<u8>().ok()).flatten();
    match number {
        Some(prefix) if (SHORTEST..=LONGEST).contains(&prefix) => Ok(prefix),
        Some(prefix) => Err(format!("a prefix of {prefix} bits is not between {SHORTEST} and {LONGEST}")),
        None => Err(format!("the prefix length is no number between {SHORTEST} and {LONGEST}")),
    }
}

/// Why no container can live there (RFC 6890), if none can.
pub(crate) fn unusable(subnet: Subnet) -> Option<&'static str> {
    [
        (Subnet::of(Ipv4Addr::UNSPECIFIED, 8), "0.0.0.0/8 means \"this network\""),
        (Subnet::of(Ipv4Addr::LOCALHOST, 8), "127.0.0.0/8 is the loopback network"),
        (Subnet::of(Ipv4Addr::new(224, 0, 0, 0), 3), "224.0.0.0 and above is for multicast and reserved"),
    ]
    .into_iter()
    .find_map(|(special, why)| special.overlaps(subnet).then_some(why))
}

/// Whether a network of ours may have this prefix.
pub(crate) fn usable_prefix(prefix: u8) -> bool {
    (SHORTEST..=LONGEST).contains(&prefix)
}

/// Parses a MAC address, `02:42:0a:00:00:01`: one machine's (the lowest bit of the first byte is 0), not all zero.
pub fn parse_mac(text: &str) -> Result<[u8; 6], ParseError> {
    let bad = |wrong: &str| ParseError::new("MAC address", text, wrong, "02:42:0a:00:00:01");
    let mut mac = [0; 6];
    let mut parts = text.split(':');
    for byte in &mut mac {
        *byte = parts
            .next()
            .filter(|part| part.len() == 2 && part.bytes().all(|digit| digit.is_ascii_hexdigit()))
            .and_then(|part| u8::from_str_radix(part, 16).ok())
            .ok_or_else(|| bad("it is not six pairs of hexadecimal digits"))?;
    }
    match mac {
        _ if parts.next().is_some() => Err(bad("it is not six pairs of hexadecimal digits")),
        [first, ..] if first & 1 == 1 => {
            Err(bad("the lowest bit of the first byte says that it is a group's"))
        }
        [0, 0, 0, 0, 0, 0] => Err(bad("it is all zero")),
        mac => Ok(mac),
    }
}

/// A MAC address as it is written.
pub fn mac_text(mac: [u8; 6]) -> String {
    let [a, b, c, d, e, f] = mac;
    format!("{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{f:02x}")
}

/// The MAC address that goes with an IPv4 address: locally administered, and the same whoever has the address next,
/// so that no neighbour's ARP cache is ever wrong.
pub(crate) fn mac_of(address: Ipv4Addr) -> [u8; 6] {
    let [a, b, c, d] = address.octets();
    [0x02, 0x42, a, b, c, d]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn subnet(text: &str) -> Subnet {
        text.parse().unwrap()
    }

    #[test]
    fn a_subnet_knows_its_range() {
        let net = subnet("192.168.208.0/20");
        assert_eq!(net.to_string(), "192.168.208.0/20");
        assert_eq!(net.first(), Ipv4Addr::new(192, 168, 208, 1));
        assert_eq!(net.last(), Ipv4Addr::new(192, 168, 223, 254));
        assert_eq!(net.broadcast(), Ipv4Addr::new(192, 168, 223, 255));
        assert_eq!(net.usable(), 4094);
        assert!(net.contains(Ipv4Addr::new(192, 168, 223, 255)));
        assert!(!net.contains(Ipv4Addr::new(192, 168, 224, 0)));
        assert_eq!(subnet("10.0.0.4/30").usable(), 2);
        assert!(Subnet::of(Ipv4Addr::UNSPECIFIED, 0).contains(Ipv4Addr::BROADCAST));
        assert_eq!(Subnet::of(Ipv4Addr::LOCALHOST, 32).usable(), 0);
    }

    #[test]
    fn overlaps_both_ways() {
        let (wide, narrow, other) = (subnet("10.0.0.0/8"), subnet("10.9.8.0/24"), subnet("11.0.0.0/8"));
        assert!(wide.overlaps(narrow) && narrow.overlaps(wide) && wide.overlaps(wide));
        assert!(!wide.overlaps(other) && !other.overlaps(narrow));
    }

    #[test]
    fn reads_what_is_plainly_right() {
        let addr = Ipv4Addr::new(10, 0, 0, 1);
        assert_eq!("10.0.0.1".parse(), Ok(IpRequest { addr, prefix: None }));
        assert_eq!("10.0.0.1/8".parse(), Ok(IpRequest { addr, prefix: Some(8) }));
        assert_eq!(parse_mac("02:42:0A:00:00:01"), Ok([2, 0x42, 10, 0, 0, 1]));
        assert_eq!(mac_text(mac_of(addr)), "02:42:0a:00:00:01");
    }

    #[test]
    fn refuses_the_rest_in_one_line_with_an_example() {
        for text in [
            "",
            "10",
            "10.0.0",
            "10.0.0.256",
            "010.0.0.1",
            "10.0.0.1/",
            "10.0.0.1/+8",
            "10.0.0.1/7",
            "10.0.0.1/31",
            "10.0.0.1/999",
            "10.0.0.1/8/8",
            " 10.0.0.1",
            "10.0.0.1\n",
            "::1",
            "127.0.0.1",
            "0.0.0.0",
            "224.0.0.1",
            "255.255.255.255",
            "host",
        ] {
            let error = text.parse::<IpRequest>().unwrap_err().to_string();
            assert!(
                error.ends_with("write it as 10.0.0.1 or 10.0.0.1/8") && !error.contains('\n'),
                "{error}"
            );
        }
        for text in ["172.30.0.0", "172.30.0.0/31", "172.30.0.0/x", "126.0.0.0/07x", "127.1.0.0/16", "a/16"] {
            assert!(text.parse::<Subnet>().is_err(), "{text}");
        }
        assert_eq!(
            "172.30.0.1/16".parse::<Subnet>().unwrap_err().to_string(),
            "subnet '172.30.0.1/16': bits are set behind the prefix of 16 bits, write it as 172.30.0.0/16"
        );
        for text in [
            "",
            "02:42:0a:00:00",
            "02:42:0a:00:00:01:02",
            "2:42:a:0:0:1",
            "03:42:0a:00:00:01",
            "zz:42:0a:00:00:01",
        ] {
            assert!(parse_mac(text).is_err(), "{text}");
        }
        assert!(parse_mac("00:00:00:00:00:00").is_err());
    }

    #[test]
    fn is_written_to_json_as_text() {
        let text = serde_json::to_string(&subnet("10.0.0.0/8")).unwrap();
        assert_eq!(text, "\"10.0.0.0/8\"");
        assert_eq!(serde_json::from_str::<Subnet>(&text).unwrap(), subnet("10.0.0.0/8"));
        assert!(serde_json::from_str::<Subnet>("\"10.0.0.1/8\"").is_err());
    }
}
