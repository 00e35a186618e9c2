//! The texts of /etc/hosts, /etc/hostname and /etc/resolv.conf inside of a container.

use std::io::Read as _;
use std::net::{IpAddr, Ipv4Addr};
use std::os::unix::fs::FileExt as _;
use std::path::Path;

use rustix::fs::{Mode, OFlags};

use crate::request::{Network, NetworkMode, RunRequest};
use crate::resolver::serves;

/// One of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Text {
    /// Its file's name in the container's run directory.
    pub name: &'static str,
    /// What is in it.
    pub text: String,
}

/// Where each file goes.
pub(crate) const TARGETS: [(&str, &str); 3] =
    [("hosts", "/etc/hosts"), ("hostname", "/etc/hostname"), ("resolv.conf", "/etc/resolv.conf")];

/// The files of a container; none for one that shares another's network, and its files with it.
pub(crate) fn texts(request: &RunRequest, hostname: &str, places: &[network::Attachment]) -> Vec<Text> {
    if matches!(request.network.mode, NetworkMode::Container(_)) {
        return Vec::new();
    }
    let host = request.network.mode == NetworkMode::Host;
    let own = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
    let base = if host { own("/etc/hosts") } else { LOCAL.to_owned() };
    let domain = request.namespaces.domainname.as_deref();
    let gateway = places.iter().find(|place| place.way_out).or(places.first()).map(|place| place.gateway);
    let own_name = own_name(hostname, domain);
    let hosts = hosts(&base, &own_name, &addresses(places), gateway, &request.network);
    let own = own("/etc/resolv.conf");
    let resolv_conf = if serves(&request.network.mode) {
        served(&own, &request.network)
    } else {
        resolv_conf(&own, host, &request.network)
    };
    vec![
        Text { name: "hosts", text: hosts },
        Text { name: "hostname", text: format!("{hostname}\n") },
        Text { name: "resolv.conf", text: resolv_conf },
    ]
}

const LOCAL: &str = "127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\nfe00::\tip6-localnet\n\
                     ff00::\tip6-mcastprefix\nff02::1\tip6-allnodes\nff02::2\tip6-allrouters\n";

/// What a container is called in its own /etc/hosts.
pub(crate) fn own_name(hostname: &str, domain: Option<&str>) -> String {
    let full = domain.map_or(String::new(), |domain| format!("{hostname}.{domain} "));
    format!("{full}{hostname}")
}

/// All addresses of a container, by its links.
pub(crate) fn addresses(places: &[network::Attachment]) -> Vec<IpAddr> {
    let of = |place: &network::Attachment| {
        let six = place.v6.map(|six| IpAddr::V6(six.address));
        [IpAddr::V4(place.address)].into_iter().chain(six)
    };
    places.iter().flat_map(of).collect()
}

fn hosts(
    base: &str,
    own_name: &str,
    addresses: &[IpAddr],
    gateway: Option<Ipv4Addr>,
    network: &Network,
) -> String {
    let mut text = base.to_owned();
    for (name, address) in &network.add_hosts {
        let address = address.or(gateway.map(IpAddr::V4)).unwrap_or(IpAddr::V4(Ipv4Addr::LOCALHOST));
        text.push_str(&format!("{address}\t{name}\n"));
    }
    for address in addresses {
        text.push_str(&format!("{address}\t{own_name}\n"));
    }
    text
}

/// The text of a /etc/hosts whose container has other addresses now: lines of those that went go, those that came are
/// added; what else stands there was written by its user.
pub(crate) fn hosts_after(text: &str, own_name: &str, before: &[IpAddr], after: &[IpAddr]) -> String {
    let gone = |line: &str| {
        let word = line.split_ascii_whitespace().next().and_then(|word| word.parse::<IpAddr>().ok());
        word.is_some_and(|address| before.contains(&address) && !after.contains(&address))
    };
    let kept = text.lines().filter(|line| !gone(line)).map(str::to_owned);
    let new = after.iter().filter(|address| !before.contains(address));
    let mut lines: Vec<String> = kept.chain(new.map(|address| format!("{address}\t{own_name}"))).collect();
    lines.push(String::new());
    lines.join("\n")
}

/// The host's resolver for a container that asks it directly: as it is with the host's network, and with no network
/// without the servers on its loopback, which cannot be reached (resolv.conf(5)).
fn resolv_conf(own: &str, host_network: bool, network: &Network) -> String {
    let host = dns::Settings::read(own);
    let mut text = String::new();
    if network.dns.is_empty() {
        for (server, link) in host.servers.iter().filter(|(server, _)| host_network || !server.is_loopback())
        {
            let link = link.as_ref().map_or(String::new(), |link| format!("%{link}"));
            text.push_str(&format!("nameserver {server}{link}\n"));
        }
    }
    for server in &network.dns {
        text.push_str(&format!("nameserver {server}\n"));
    }
    let options = if network.dns_options.is_empty() { host.options } else { network.dns_options.clone() };
    text + &lines(search(host.search, network), options)
}

/// The file of a container that asks its monitor. With the host's domains and options; what of these is about servers
/// the monitor heeds. A name without a dot is asked for as it is first (`ndots:0`), for it may be a container's.
pub(crate) fn served(own: &str, network: &Network) -> String {
    let host = dns::Settings::read(own);
    let mut options = network.dns_options.clone();
    if options.is_empty() {
        let ours = |word: &String| {
            ["rotate", "use-vc"].contains(&word.as_str())
                || word.starts_with("timeout:")
                || word.starts_with("attempts:")
        };
        options = host.options.into_iter().filter(|word| !ours(word)).collect();
    }
    if !options.iter().any(|word| word.starts_with("ndots:")) {
        options.push("ndots:0".to_owned());
    }
    let text = format!("nameserver {}\n{}", dns::PLACE.ip(), lines(search(host.search, network), options));
    format!("{MARK}{:016x}\n{text}", sum(&text))
}

/// Whom a monitor asks.
pub(crate) fn upstreams(own: &str, network: &Network, link: impl Fn(&str) -> Option<u32>) -> dns::Upstreams {
    let mut host = dns::Settings::read(own);
    if !network.dns.is_empty() {
        host.servers = network.dns.iter().map(|server| (*server, None)).collect();
    }
    if !network.dns_options.is_empty() {
        host.options.clone_from(&network.dns_options);
    }
    host.upstreams(link)
}

fn search(host: Vec<String>, network: &Network) -> Vec<String> {
    let mut search = if network.dns_search.is_empty() { host } else { network.dns_search.clone() };
    search.retain(|domain| domain != ".");
    search
}

fn lines(search: Vec<String>, options: Vec<String>) -> String {
    let line = |key: &str, words: Vec<String>| {
        if words.is_empty() { String::new() } else { format!("{key} {}\n", words.join(" ")) }
    };
    line("search", search) + &line("options", options)
}

/// The first line of such a file, and what it says of the others: so it is known whether somebody has changed them.
const MARK: &str = "# by minidocker, which keeps it up while nobody else changes it: ";

/// So much of a container's file is read. Ours has some hundred bytes.
const MOST: u64 = 1 << 16;

/// FNV-1a: it tells apart what was not made to be alike.
fn sum(text: &str) -> u64 {
    let step = |sum: u64, byte: u8| (sum ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
    text.bytes().fold(0xcbf2_9ce4_8422_2325, step)
}

/// Whether nobody has changed it.
fn is_ours(text: &str) -> bool {
    let rest = text.strip_prefix(MARK).and_then(|rest| rest.split_once('\n'));
    rest.is_some_and(|(told, text)| told == format!("{:016x}", sum(text)))
}

/// Puts `text` into a container's file, in place, for the file is bound into it. A file that the container has changed stays
/// as it is.
pub(crate) fn follow(path: &Path, text: &str) {
    let flags = OFlags::RDWR | OFlags::CLOEXEC | OFlags::NOFOLLOW;
    let Ok(file) = rustix::fs::open(path, flags, Mode::empty()) else { return };
    let mut there = String::new();
    let file = std::fs::File::from(file);
    // What the container has put there may be endless.
    let read = (&file).take(MOST).read_to_string(&mut there);
    if read.is_err() || there == text || !is_ours(&there) {
        return;
    }
    // One write, so that nobody reads half of each; what is left over of a longer one is empty lines until it is cut.
    let padded = format!("{text}{}", "\n".repeat(there.len().saturating_sub(text.len())));
    if file.write_all_at(padded.as_bytes(), 0).is_ok() {
        let _ = file.set_len(text.len() as u64);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_names_the_container_and_what_was_added() {
        let network = Network {
            add_hosts: vec![("db".into(), Some("10.1.1.1".parse().unwrap())), ("up".into(), None)],
            ..Network::default()
        };
        let addresses: [IpAddr; 2] = ["172.30.0.2".parse().unwrap(), "fd00::2".parse().unwrap()];
        let name = own_name("web", Some("example.org"));
        let text = hosts(LOCAL, &name, &addresses[..1], Some(Ipv4Addr::new(172, 30, 0, 1)), &network);
        let more = hosts_after(&text, &name, &addresses[..1], &addresses);
        assert_eq!(more, format!("{text}fd00::2\tweb.example.org web\n"));
        assert_eq!(hosts_after(&more, &name, &addresses, &addresses[..1]), text);
        assert!(text.ends_with("10.1.1.1\tdb\n172.30.0.1\tup\n172.30.0.2\tweb.example.org web\n"), "{text}");
        assert!(text.starts_with("127.0.0.1\tlocalhost\n"));
    }

    #[test]
    fn a_resolver_on_the_hosts_loopback_is_not_for_a_container() {
        let own = "# made by hand\nnameserver 127.0.0.53\nnameserver 192.0.2.1\nsearch lan\noptions edns0\n";
        let none = Network::default();
        assert_eq!(resolv_conf(own, false, &none), "nameserver 192.0.2.1\nsearch lan\noptions edns0\n");
        assert!(resolv_conf(own, true, &none).contains("127.0.0.53"));
        assert_eq!(resolv_conf(own, false, &chosen()), "nameserver 9.9.9.9\noptions ndots:2\n");
    }

    fn chosen() -> Network {
        Network {
            dns: vec!["9.9.9.9".parse().unwrap()],
            dns_search: vec![".".into()],
            dns_options: vec!["ndots:2".into()],
            ..Network::default()
        }
    }

    #[test]
    fn who_asks_the_monitor_has_the_hosts_domains_and_options() {
        let own = "nameserver 127.0.0.53\nsearch lan b.example\noptions edns0 timeout:1 attempts:3 rotate\n";
        let text = served(own, &Network::default());
        let (_, rest) = text.split_once('\n').unwrap();
        assert_eq!(rest, "nameserver 127.0.0.11\nsearch lan b.example\noptions edns0 ndots:0\n");
        let beyond = upstreams(own, &Network::default(), |_| None);
        assert_eq!(
            (beyond.servers[0].to_string().as_str(), beyond.attempts, beyond.rotate),
            ("127.0.0.53:53", 3, true)
        );
        let text = served(own, &chosen());
        assert!(text.ends_with("\nnameserver 127.0.0.11\noptions ndots:2\n"), "{text}");
        let beyond = upstreams(own, &chosen(), |_| None);
        assert_eq!((beyond.servers[0].to_string().as_str(), beyond.attempts), ("9.9.9.9:53", 2));
    }

    #[test]
    fn a_file_is_kept_up_until_somebody_changes_it() {
        let path = std::env::temp_dir().join(format!("minidocker-resolv-{}", std::process::id()));
        let first = served("search a.example b.example\n", &Network::default());
        let second = served("search c.example\n", &Network::default());
        std::fs::write(&path, &first).unwrap();
        let there = || std::fs::read_to_string(&path).unwrap();
        follow(&path, &second);
        assert_eq!(there(), second);
        follow(&path, &first);
        assert_eq!(there(), first);
        let own = first.replace("a.example", "x.example");
        std::fs::write(&path, &own).unwrap();
        follow(&path, &second);
        assert_eq!(there(), own, "somebody has changed it");
        std::fs::remove_file(&path).unwrap();
        follow(&path, &second);
        assert!(!path.exists());
    }
}
