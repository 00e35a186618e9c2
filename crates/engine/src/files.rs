//! The texts of /etc/hosts, /etc/hostname and /etc/resolv.conf inside of a container.

use std::net::{IpAddr, Ipv4Addr};

use crate::request::{Network, NetworkMode, RunRequest};

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
    let resolv_conf = resolv_conf(&own("/etc/resolv.conf"), host, &request.network);
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

/// The host's resolver, as far as it can be reached from the container's own network: a server on the host's
/// loopback cannot (resolv.conf(5)).
fn resolv_conf(own: &str, host_network: bool, network: &Network) -> String {
    let word = |line: &&str| line.split_ascii_whitespace().next().map(str::to_owned);
    let server =
        |line: &str| line.split_ascii_whitespace().nth(1).and_then(|text| text.parse::<IpAddr>().ok());
    let mut text = String::new();
    for line in own.lines().filter(|line| !line.trim_start().starts_with(['#', ';'])) {
        let keep = match word(&line).as_deref() {
            Some("nameserver") => {
                network.dns.is_empty() && (host_network || server(line).is_some_and(|ip| !ip.is_loopback()))
            }
            Some("search" | "domain") => network.dns_search.is_empty(),
            Some("options") => network.dns_options.is_empty(),
            _ => false,
        };
        if keep {
            text.push_str(line);
            text.push('\n');
        }
    }
    for server in &network.dns {
        text.push_str(&format!("nameserver {server}\n"));
    }
    let search: Vec<_> =
        network.dns_search.iter().filter(|domain| *domain != ".").map(String::as_str).collect();
    if !search.is_empty() {
        text.push_str(&format!("search {}\n", search.join(" ")));
    }
    if !network.dns_options.is_empty() {
        text.push_str(&format!("options {}\n", network.dns_options.join(" ")));
    }
    text
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
        let chosen = Network {
            dns: vec!["9.9.9.9".parse().unwrap()],
            dns_search: vec![".".into()],
            dns_options: vec!["ndots:2".into()],
            ..Network::default()
        };
        assert_eq!(resolv_conf(own, false, &chosen), "nameserver 9.9.9.9\noptions ndots:2\n");
    }
}
