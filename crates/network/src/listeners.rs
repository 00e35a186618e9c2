//! Which program of this network namespace has a port, by /proc/net and the descriptors of all processes. Only for the
//! words of a refusal: it takes as long as there are processes.

use std::fs;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::ports::Protocol;

/// TCP_LISTEN; of UDP each socket counts.
const LISTEN: &str = "0A";

/// `nginx (pid 123)`; none where nobody is found, or may be looked at.
pub(crate) fn who(address: IpAddr, port: u16, protocol: Protocol) -> Option<String> {
    let files = match protocol {
        Protocol::Tcp => ["tcp", "tcp6"],
        Protocol::Udp => ["udp", "udp6"],
        Protocol::Sctp => ["sctp/eps", "sctp/eps"],
    };
    let texts =
        files.map(|file| fs::read_to_string(format!("/proc/thread-self/net/{file}")).unwrap_or_default());
    let mut sockets: Vec<Socket> = texts.iter().flat_map(|text| read(text, port, address)).collect();
    // Who listens has it rather than who is connected from there.
    sockets.sort_by_key(|socket| !socket.listens);
    sockets.iter().find_map(|socket| process(&socket.inode))
}

#[derive(Debug, PartialEq, Eq)]
struct Socket {
    listens: bool,
    inode: String,
}

/// The sockets of a table of proc_pid_net(5) that have this port at an address that is in the way of this one.
fn read(text: &str, port: u16, address: IpAddr) -> Vec<Socket> {
    let one = |line: &str| {
        let words: Vec<&str> = line.split_ascii_whitespace().collect();
        let (local, state, inode) = (words.get(1)?, words.get(3)?, words.get(9)?);
        let (host, number) = local.rsplit_once(':')?;
        let found = local_address(host)?;
        let meets = found == address || found.is_unspecified() || address.is_unspecified();
        let is_one = u16::from_str_radix(number, 16).ok()? == port && meets;
        is_one.then(|| Socket { listens: *state == LISTEN, inode: (*inode).to_owned() })
    };
    text.lines().skip(1).filter_map(one).collect()
}

/// Four bytes, or four times four, each in the host's byte order.
fn local_address(text: &str) -> Option<IpAddr> {
    let words: Vec<u32> = text
        .as_bytes()
        .chunks(8)
        .map(|word| u32::from_str_radix(std::str::from_utf8(word).ok()?, 16).ok())
        .collect::<Option<_>>()?;
    match *words.as_slice() {
        [a] => Some(Ipv4Addr::from(a.to_ne_bytes()).into()),
        [a, b, c, d] => {
            let bytes: Vec<u8> = [a, b, c, d].iter().flat_map(|word| word.to_ne_bytes()).collect();
            let address = Ipv6Addr::from(<[u8; 16]>::try_from(bytes).ok()?);
            Some(address.to_ipv4_mapped().map_or(IpAddr::V6(address), IpAddr::V4))
        }
        _ => None,
    }
}

/// A process that has this socket open.
fn process(inode: &str) -> Option<String> {
    let wanted = format!("socket:[{inode}]");
    for entry in fs::read_dir("/proc").ok()?.flatten() {
        let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse::<u32>().ok()) else {
            continue;
        };
        let Ok(open) = fs::read_dir(entry.path().join("fd")) else { continue };
        let has = |file: fs::DirEntry| {
            fs::read_link(file.path()).is_ok_and(|target| target.as_os_str() == wanted.as_str())
        };
        if open.flatten().any(has) {
            let name = fs::read_to_string(entry.path().join("comm")).unwrap_or_default();
            let name: String = name.trim_end().chars().filter(|c| !c.is_control()).collect();
            return Some(format!("{name} (pid {pid})"));
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[cfg(target_endian = "little")]
    fn finds_the_line() {
        let text = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n   \
                    0: 0100007F:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 4711 1 0 100\n   \
                    1: 0100007F:1F91 0100007F:0016 01 00000000:00000000 00:00000000 00000000     0        0 4712 1 0 100\n";
        let at = |text: &str, port, address: &str| {
            read(text, port, address.parse().unwrap()).into_iter().map(|one| one.inode).collect::<Vec<_>>()
        };
        assert_eq!(at(text, 8080, "127.0.0.1"), ["4711"]);
        assert_eq!(at(text, 8080, "0.0.0.0"), ["4711"]);
        assert!(at(text, 8080, "10.0.0.1").is_empty() && at(text, 80, "0.0.0.0").is_empty());
        assert_eq!(local_address("00000000000000000000000001000000"), Some("::1".parse().unwrap()));
        assert_eq!(local_address("0000000000000000FFFF00000100007F"), Some("127.0.0.1".parse().unwrap()));
        assert_eq!(local_address("x"), None);
    }
}
