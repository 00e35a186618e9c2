//! Addresses: `--ip`, `--mac-address`, `--add-host`, `--dns`, `--subnet`.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::{names, numbers};

/// Prefixes that leave room for the container, the host and the broadcast address.
const PREFIXES: std::ops::RangeInclusive<u8> = 1..=30;

/// `--ip ADDRESS[/PREFIX]`: an address that a host can have.
pub(crate) fn ip(text: &str) -> Result<(Ipv4Addr, Option<u8>), String> {
    let help = "write it as 10.0.0.1 or 10.0.0.1/8";
    let (address, prefix) =
        text.split_once('/').map_or((text, None), |(address, prefix)| (address, Some(prefix)));
    let address: Ipv4Addr = address.parse().map_err(|_| format!("not an IPv4 address; {help}"))?;
    if address.octets()[0] == 0
        || address.is_loopback()
        || address.is_multicast()
        || address.octets()[0] >= 240
    {
        return Err(format!("no container can have this address; {help}"));
    }
    let Some(prefix) = prefix else { return Ok((address, None)) };
    let prefix = numbers::within(prefix, PREFIXES).map_err(|why| format!("the prefix is {why}; {help}"))?;
    let hosts = u32::MAX >> prefix;
    match address.to_bits() & hosts {
        0 => Err(format!("this is the address of the network itself; {help}")),
        host if host == hosts => Err(format!("this is the network's broadcast address; {help}")),
        _ => Ok((address, Some(prefix))),
    }
}

/// `ADDRESS/PREFIX` of a network, as typed.
pub(crate) fn subnet(text: &str) -> Result<String, String> {
    let help = "write it as 172.30.0.0/16";
    let (address, prefix) = text.split_once('/').ok_or_else(|| format!("no prefix; {help}"))?;
    let address: Ipv4Addr = address.parse().map_err(|_| format!("not an IPv4 address; {help}"))?;
    let prefix: u8 =
        numbers::within(prefix, PREFIXES).map_err(|why| format!("the prefix is {why}; {help}"))?;
    let network = Ipv4Addr::from_bits(address.to_bits() & !(u32::MAX >> prefix));
    if network == address { Ok(text.to_owned()) } else { Err(format!("the network is {network}/{prefix}")) }
}

/// Prefixes of a network of ours.
const PREFIXES6: std::ops::RangeInclusive<u8> = 8..=126;

/// `ADDRESS/PREFIX` of an IPv6 network, as typed; or `auto`.
pub(crate) fn subnet6(text: &str) -> Result<String, String> {
    if text == "auto" {
        return Ok(text.to_owned());
    }
    let help = "write it as fd00:7::/64 or auto";
    let (address, prefix) = text.split_once('/').ok_or_else(|| format!("no prefix; {help}"))?;
    let address: Ipv6Addr = address.parse().map_err(|_| format!("not an IPv6 address; {help}"))?;
    let prefix: u8 =
        numbers::within(prefix, PREFIXES6).map_err(|why| format!("the prefix is {why}; {help}"))?;
    let network = Ipv6Addr::from_bits(address.to_bits() & !(u128::MAX >> prefix));
    if network == address { Ok(text.to_owned()) } else { Err(format!("the network is {network}/{prefix}")) }
}

/// `--mac-address`: six bytes of one station.
pub(crate) fn mac(text: &str) -> Result<[u8; 6], String> {
    let help = "write it as 92:d0:c6:0a:29:33";
    let separator = if text.contains('-') { '-' } else { ':' };
    let bytes: Vec<u8> = text
        .split(separator)
        .filter(|part| part.len() == 2 && part.bytes().all(|byte| byte.is_ascii_hexdigit()))
        .filter_map(|part| u8::from_str_radix(part, 16).ok())
        .collect();
    let wrong = text.split(separator).count() != 6;
    let mac: [u8; 6] =
        bytes.try_into().ok().filter(|_| !wrong).ok_or_else(|| format!("not a MAC address; {help}"))?;
    if mac[0] & 1 == 1 || mac == [0; 6] {
        return Err(format!("not the address of one station; {help}"));
    }
    Ok(mac)
}

/// `--add-host NAME:ADDRESS` or `NAME=ADDRESS`; `None` for `host-gateway`.
pub(crate) fn host(text: &str) -> Result<(String, Option<IpAddr>), String> {
    let help = "write it as db:10.0.0.7 or db=fd00::7";
    let place = text.find(['=', ':']).ok_or_else(|| format!("no address; {help}"))?;
    let (name, address) = (&text[..place], &text[place + 1..]);
    if name.is_empty() || name.contains(|c: char| c.is_whitespace() || c.is_control() || c == '#') {
        return Err(format!("no host name; {help}"));
    }
    if address == "host-gateway" {
        return Ok((name.to_owned(), None));
    }
    let bare = address.strip_prefix('[').and_then(|address| address.strip_suffix(']'));
    let parsed = match bare {
        Some(bare) => bare.parse().map(IpAddr::V6).ok(),
        None => address.parse().ok(),
    };
    parsed
        .map(|address| (name.to_owned(), Some(address)))
        .ok_or_else(|| format!("{} is neither an IP address nor host-gateway; {help}", step::quote(address)))
}

/// `--dns`.
pub(crate) fn server(text: &str) -> Result<IpAddr, String> {
    text.parse().map_err(|_| "not an IP address; write it as 9.9.9.9".to_owned())
}

/// `--dns-search`: a domain, or `.` for none.
pub(crate) fn search(text: &str) -> Result<String, String> {
    if text == "." {
        return Ok(text.to_owned());
    }
    // resolv.conf takes underscores and a dot at the end; neither changes what is a label.
    let plain = text.strip_suffix('.').unwrap_or(text).replace('_', "x");
    names::domain(&plain).map(|_| text.to_owned()).map_err(|why| format!("{why}; write it as example.org"))
}

/// `--dns-option`: one word of resolv.conf(5)'s options.
pub(crate) fn option(text: &str) -> Result<String, String> {
    if text.is_empty() || text.contains(|c: char| c.is_whitespace() || c.is_control()) {
        return Err("not one word; write it as ndots:2".to_owned());
    }
    Ok(text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_ip_addresses() {
        assert_eq!(ip("10.0.0.1"), Ok((Ipv4Addr::new(10, 0, 0, 1), None)));
        assert_eq!(ip("10.0.0.1/8"), Ok((Ipv4Addr::new(10, 0, 0, 1), Some(8))));
        let cases = [
            ("", "not an IPv4 address"),
            ("10.0.0", "not an IPv4 address"),
            ("10.0.0.256", "not an IPv4 address"),
            ("10.0.0.01", "not an IPv4 address"),
            ("::1", "not an IPv4 address"),
            ("10.0.0.1/", "the prefix is not a whole number"),
            ("10.0.0.1/0", "the prefix is not from 1 to 30"),
            ("10.0.0.1/31", "the prefix is not from 1 to 30"),
            ("10.0.0.1/8/8", "the prefix is not a whole number"),
            ("0.0.0.0", "no container can have this address"),
            ("127.0.0.1", "no container can have this address"),
            ("224.0.0.1", "no container can have this address"),
            ("255.255.255.255", "no container can have this address"),
            ("10.0.0.0/8", "this is the address of the network itself"),
            ("10.255.255.255/8", "this is the network's broadcast address"),
        ];
        for (text, start) in cases {
            let why = ip(text).unwrap_err();
            assert!(why.starts_with(start), "{text}: {why}");
        }
    }

    #[test]
    fn reads_subnets() {
        assert_eq!(subnet("172.30.0.0/16"), Ok("172.30.0.0/16".to_owned()));
        assert_eq!(subnet("172.30.0.1/16"), Err("the network is 172.30.0.0/16".to_owned()));
        for text in ["", "172.30.0.0", "172.30.0.0/33", "x/16", "fd00::/64"] {
            assert!(subnet(text).is_err(), "{text}");
        }
    }

    #[test]
    fn reads_subnets_of_ipv6() {
        for text in ["auto", "fd00:7::/64", "2001:db8::/32"] {
            assert_eq!(subnet6(text), Ok(text.to_owned()));
        }
        assert_eq!(subnet6("fd00::7/64"), Err("the network is fd00::/64".to_owned()));
        for text in ["", "fd00::", "fd00::/127", "fd00::/7", "x/64", "10.0.0.0/8"] {
            assert!(subnet6(text).is_err(), "{text}");
        }
    }

    #[test]
    fn reads_mac_addresses() {
        assert_eq!(mac("92:d0:c6:0a:29:33"), Ok([0x92, 0xd0, 0xc6, 0x0a, 0x29, 0x33]));
        assert_eq!(mac("92-D0-C6-0A-29-33"), Ok([0x92, 0xd0, 0xc6, 0x0a, 0x29, 0x33]));
        for text in [
            "",
            "92:d0:c6:0a:29",
            "92:d0:c6:0a:29:33:44",
            "9:2:3:4:5:6",
            "92:d0:c6:0a:29:zz",
            "92:d0:c6:0a:29:+3",
        ] {
            assert!(mac(text).unwrap_err().starts_with("not a MAC"), "{text}");
        }
        assert!(mac("01:00:5e:00:00:01").unwrap_err().starts_with("not the address of one station"));
        assert!(mac("00:00:00:00:00:00").unwrap_err().starts_with("not the address of one station"));
    }

    #[test]
    fn reads_hosts() {
        let v4 = IpAddr::from([10, 0, 0, 7]);
        let v6: IpAddr = "fd00::7".parse().unwrap();
        assert_eq!(host("db:10.0.0.7"), Ok(("db".into(), Some(v4))));
        assert_eq!(host("db=10.0.0.7"), Ok(("db".into(), Some(v4))));
        for text in ["db:fd00::7", "db=fd00::7", "db:[fd00::7]", "db=[fd00::7]"] {
            assert_eq!(host(text), Ok(("db".into(), Some(v6))), "{text}");
        }
        assert_eq!(host("me:host-gateway"), Ok(("me".into(), None)));
        for text in [
            "",
            "db",
            ":10.0.0.7",
            "db:",
            "db:x",
            "db:[10.0.0.7]",
            "d b:10.0.0.7",
            "db:10.0.0.7:80",
            "d\nb:1.1.1.1",
        ] {
            assert!(host(text).is_err(), "{text:?}");
        }
    }

    #[test]
    fn reads_the_resolvers_options() {
        assert!(server("9.9.9.9").is_ok() && server("fd00::1").is_ok());
        assert!(server("dns.example").is_err() && server("").is_err());
        for domain in [".", "example.org", "example.org.", "_tcp.example"] {
            assert_eq!(search(domain), Ok(domain.to_owned()));
        }
        assert!(search("").is_err() && search("a b").is_err() && search("..").is_err());
        assert!(option("ndots:2").is_ok() && option("").is_err() && option("a b").is_err());
    }
}
