//! IPv6 networks as a user writes them, `fd00:1::/64`; and one that nobody else has, where the user left it to us.

use std::fmt;
use std::net::Ipv6Addr;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::subnet::ParseError;

/// The shortest and the longest prefix of a network of ours.
const PREFIXES: std::ops::RangeInclusive<u8> = 8..=126;

/// An IPv6 network: its address with all host bits zero, and the length of its prefix in bits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Subnet6 {
    network: Ipv6Addr,
    prefix: u8,
}

impl Subnet6 {
    /// The network of `prefix` bits (0 to 128, more counts as 128) that `address` lies in.
    pub const fn of(address: Ipv6Addr, prefix: u8) -> Self {
        let prefix = if prefix > 128 { 128 } else { prefix };
        Self { network: Ipv6Addr::from_bits(address.to_bits() & mask(prefix)), prefix }
    }

    /// A unique local network (RFC 4193) of 64 bits made of random-looking text: `fd`, 40 bits, subnet 0.
    pub fn unique_local(seed: &str) -> Self {
        // FNV-1a with 64 bits; the id of a network is random already.
        let hash = seed.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
        });
        let global = u128::from((hash ^ (hash >> 40)) & 0xff_ffff_ffff);
        Self::of(Ipv6Addr::from_bits(0xfd << 120 | global << 80), 64)
    }

    /// Its address, all host bits zero.
    pub const fn network(self) -> Ipv6Addr {
        self.network
    }

    /// The length of its prefix in bits.
    pub const fn prefix(self) -> u8 {
        self.prefix
    }

    /// The first address that a machine can have: 0 is that of all routers.
    pub const fn first(self) -> Ipv6Addr {
        Ipv6Addr::from_bits(self.network.to_bits().saturating_add(1))
    }

    /// The last address.
    pub const fn last(self) -> Ipv6Addr {
        Ipv6Addr::from_bits(self.network.to_bits() | !mask(self.prefix))
    }

    /// Whether `address` lies in it.
    pub const fn contains(self, address: Ipv6Addr) -> bool {
        address.to_bits() & mask(self.prefix) == self.network.to_bits()
    }

    /// Whether the two share an address.
    pub const fn overlaps(self, other: Self) -> bool {
        if self.prefix <= other.prefix { self.contains(other.network) } else { other.contains(self.network) }
    }
}

const fn mask(prefix: u8) -> u128 {
    if prefix == 0 { 0 } else { u128::MAX << (128 - prefix as u32) }
}

impl fmt::Display for Subnet6 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.network, self.prefix)
    }
}

impl FromStr for Subnet6 {
    type Err = ParseError;

    /// Parses `fd00:1::/64`, prefix 8 to 126, no host bits set.
    fn from_str(text: &str) -> Result<Self, ParseError> {
        let bad = |wrong: &str| ParseError::new("subnet", text, wrong, "fd00:1::/64");
        let (address, prefix) = text.split_once('/').ok_or_else(|| bad("the prefix length is missing"))?;
        let address: Ipv6Addr = address.parse().map_err(|_| bad("it is no IPv6 address"))?;
        let number =
            prefix.bytes().all(|byte| byte.is_ascii_digit()).then(|| prefix.parse::<u8>().ok()).flatten();
        let subnet = match number {
            Some(prefix) if PREFIXES.contains(&prefix) => Self::of(address, prefix),
            _ => return Err(bad("the prefix length is no number between 8 and 126")),
        };
        if subnet.network != address {
            let wrong = format!("bits are set behind the prefix of {} bits", subnet.prefix);
            return Err(ParseError::new("subnet", text, wrong, subnet.to_string()));
        }
        unusable(subnet).map_or(Ok(subnet), |why| Err(bad(why)))
    }
}

/// Why no container can live there, if none can.
pub(crate) fn unusable(subnet: Subnet6) -> Option<&'static str> {
    [
        (Subnet6::of(Ipv6Addr::UNSPECIFIED, 96), "it holds the loopback address, or IPv4 addresses"),
        (Subnet6::of(Ipv6Addr::new(0, 0, 0, 0, 0, 0xffff, 0, 0), 96), "these stand for IPv4 addresses"),
        (Subnet6::of(Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 0), 10), "fe80::/10 is for each link alone"),
        (Subnet6::of(Ipv6Addr::new(0xff00, 0, 0, 0, 0, 0, 0, 0), 8), "ff00::/8 is for multicast"),
    ]
    .into_iter()
    .find_map(|(special, why)| special.overlaps(subnet).then_some(why))
}

impl TryFrom<String> for Subnet6 {
    type Error = ParseError;
    fn try_from(text: String) -> Result<Self, ParseError> {
        text.parse()
    }
}

impl From<Subnet6> for String {
    fn from(subnet: Subnet6) -> Self {
        subnet.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_is_right_and_refuses_the_rest() {
        let net: Subnet6 = "fd00:1::/64".parse().unwrap();
        assert_eq!(net.to_string(), "fd00:1::/64");
        assert_eq!((net.first().to_string(), net.prefix()), ("fd00:1::1".to_owned(), 64));
        assert_eq!(net.last().to_string(), "fd00:1::ffff:ffff:ffff:ffff");
        assert!(net.overlaps("fd00::/16".parse().unwrap()) && !net.overlaps("fd00:2::/64".parse().unwrap()));
        for text in
            ["", "fd00::1", "fd00::1/64", "fd00::/127", "fe80::/64", "ff00::/16", "::/64", "10.0.0.0/8"]
        {
            assert!(text.parse::<Subnet6>().is_err(), "{text}");
        }
    }

    #[test]
    fn a_chosen_one_is_unique_and_local() {
        let (one, two) = (Subnet6::unique_local("a"), Subnet6::unique_local("b"));
        assert!(one != two && one.network().octets()[0] == 0xfd && one.prefix() == 64);
        assert_eq!(one.to_string().parse(), Ok(one));
    }
}
