//! resolv.conf(5), as the host's own programs read it.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

/// How many servers are asked at most. The C library asks three.
const MOST: usize = 8;
/// The longest wait and the most rounds that resolv.conf(5) admits.
const LONGEST: u64 = 30;
const ROUNDS: u32 = 5;
/// How long a server may take where nothing is said. The C libraries wait 5 seconds for all there is: within that time
/// a second server must have had its turn.
const PATIENCE: Duration = Duration::from_secs(2);
const PORT: u16 = 53;

/// What a resolv.conf says.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Settings {
    /// Its servers, and the link that an address of one link belongs to: `fe80::1%eth0`.
    pub servers: Vec<(IpAddr, Option<String>)>,
    /// The domains in which short names are looked for.
    pub search: Vec<String>,
    /// Words of its `options` lines.
    pub options: Vec<String>,
}

/// Who is asked about names that are no container's, and how.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Upstreams {
    /// In their order.
    pub servers: Vec<SocketAddr>,
    /// How long each may take: `timeout:N`.
    pub timeout: Duration,
    /// How often all are asked: `attempts:N`.
    pub attempts: u32,
    /// Each question begins with another server: `rotate`.
    pub rotate: bool,
    /// All are asked by TCP: `use-vc`.
    pub streams: bool,
}

impl Settings {
    /// Reads one. What is wrong in it is left out, as the C library does.
    pub fn read(text: &str) -> Self {
        let mut settings = Self::default();
        for line in text.lines() {
            let mut words = line.split([' ', '\t']).filter(|word| !word.is_empty());
            // Both are keywords only at the beginning of a line, but nobody minds.
            match words.next() {
                Some("nameserver") => {
                    let Some(word) = words.next() else { continue };
                    let (address, link) = match word.split_once('%') {
                        Some((address, link)) => (address, Some(link.to_owned())),
                        None => (word, None),
                    };
                    settings.servers.extend(address.parse().ok().map(|address| (address, link)));
                }
                // The last of them counts.
                Some("search" | "domain") => settings.search = words.map(str::to_owned).collect(),
                Some("options") => settings.options.extend(words.map(str::to_owned)),
                _ => {}
            }
        }
        settings
    }

    /// Whom to ask. `link` tells the number of a link by its name.
    pub fn upstreams(&self, link: impl Fn(&str) -> Option<u32>) -> Upstreams {
        let server = |(address, name): &(IpAddr, Option<String>)| {
            let mut server = SocketAddr::new(*address, PORT);
            if let (SocketAddr::V6(six), Some(name)) = (&mut server, name) {
                six.set_scope_id(name.parse().ok().or_else(|| link(name)).unwrap_or_default());
            }
            server
        };
        let mut servers: Vec<SocketAddr> = self.servers.iter().take(MOST).map(server).collect();
        if servers.is_empty() {
            // resolv.conf(5): the server of this machine.
            servers.push(SocketAddr::new(Ipv4Addr::LOCALHOST.into(), PORT));
        }
        let number = |name: &str| {
            let value = |word: &String| word.strip_prefix(name)?.strip_prefix(':')?.parse::<u64>().ok();
            self.options.iter().rev().find_map(value)
        };
        Upstreams {
            servers,
            timeout: number("timeout").map_or(PATIENCE, |all| Duration::from_secs(all.clamp(1, LONGEST))),
            attempts: number("attempts").map_or(2, |times| times.clamp(1, ROUNDS.into()) as u32),
            rotate: self.options.iter().any(|word| word == "rotate"),
            streams: self.options.iter().any(|word| word == "use-vc"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_hosts_have() {
        let text = "# by hand\n; likewise\nnameserver 127.0.0.53\n nameserver\t192.0.2.1 # dns\nnameserver fe80::1%lan0\n\
                    nameserver x\nnameserver\ndomain old.example\nsearch a.example b.example\n\
                    options edns0 trust-ad\noptions timeout:1 attempts:9 rotate\nsortlist 1.2.3.4\n";
        let settings = Settings::read(text);
        assert_eq!(settings.servers.len(), 3);
        assert_eq!(settings.search, ["a.example", "b.example"]);
        assert_eq!(settings.options, ["edns0", "trust-ad", "timeout:1", "attempts:9", "rotate"]);
        let upstreams = settings.upstreams(|name| (name == "lan0").then_some(7));
        let shown: Vec<String> = upstreams.servers.iter().map(ToString::to_string).collect();
        assert_eq!(shown, ["127.0.0.53:53", "192.0.2.1:53", "[fe80::1%7]:53"]);
        assert_eq!((upstreams.timeout, upstreams.attempts), (Duration::from_secs(1), 5));
        assert!(upstreams.rotate && !upstreams.streams);
        assert!(Settings::read("options use-vc\n").upstreams(|_| None).streams);
    }

    #[test]
    fn an_empty_one_means_this_machine() {
        let upstreams = Settings::read("options timeout:0 attempts:x\n").upstreams(|_| None);
        assert_eq!(upstreams.servers, [SocketAddr::from(([127, 0, 0, 1], 53))]);
        assert_eq!((upstreams.timeout, upstreams.attempts), (Duration::from_secs(1), 2));
        assert_eq!(Settings::default().upstreams(|_| None).timeout, PATIENCE);
    }
}
