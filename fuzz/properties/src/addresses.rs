//! Networks, addresses and hardware addresses as users write them: what is read is written and read again as the same.

use std::net::Ipv4Addr;

use network::{IpRequest, Subnet, mac_text, parse_mac};

/// The input as each of them; and the longest names of hosts that fit.
pub fn addresses(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    match text.parse::<Subnet>() {
        Ok(subnet) => range(subnet),
        Err(error) => told(&error.to_string()),
    }
    match text.parse::<IpRequest>() {
        Ok(asked) => {
            assert_eq!(asked.to_string().parse(), Ok(asked));
            assert!(asked.prefix.is_none_or(|prefix| (8..=30).contains(&prefix)));
            range(Subnet::of(asked.addr, asked.prefix.unwrap_or(24)));
        }
        Err(error) => told(&error.to_string()),
    }
    match parse_mac(text) {
        Ok(mac) => {
            assert_eq!(mac_text(mac), text.to_ascii_lowercase());
            assert_eq!(parse_mac(&mac_text(mac)), Ok(mac));
            assert!(mac[0] & 1 == 0 && mac != [0; 6]);
        }
        Err(error) => told(&error.to_string()),
    }
}

/// A network's own numbers against each other.
fn range(subnet: Subnet) {
    assert_eq!(Subnet::of(subnet.first(), subnet.prefix()), subnet);
    assert_eq!(Subnet::of(subnet.broadcast(), subnet.prefix()), subnet);
    assert!(
        subnet.contains(subnet.network()) && subnet.contains(subnet.broadcast()) && subnet.overlaps(subnet)
    );
    assert_eq!(subnet.last().to_bits() - subnet.first().to_bits() + 1, subnet.usable());
    let outside = [subnet.network().to_bits().checked_sub(1), subnet.broadcast().to_bits().checked_add(1)];
    for address in outside.into_iter().flatten().map(Ipv4Addr::from_bits) {
        assert!(!subnet.contains(address), "{address} in {subnet}");
        assert!(!subnet.overlaps(Subnet::of(address, 32)));
    }
    let whole = Subnet::of(subnet.network(), 0);
    assert!(whole.overlaps(subnet) && subnet.overlaps(whole));
}

/// One line, and an example.
fn told(words: &str) {
    assert!(words.contains("write it as") && !words.contains(char::is_control), "{words:?}");
}
