//! Networks: `--network` in its short and its long form, what `network create` and `network connect` take.

use std::net::{IpAddr, Ipv6Addr};

use engine::request::{DEFAULT_NETWORK, Endpoint, NetworkMode};

use super::{addresses, csv, namespaces};

/// What one `--network` says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Asked {
    /// A network, and how the container is there.
    Endpoint(Box<Endpoint>),
    /// The host's, none, or another container's.
    Mode(NetworkMode),
}

/// `--network`.
pub(crate) fn network(text: &str) -> Result<Asked, String> {
    if text.contains('=') {
        return long_form(text);
    }
    match namespaces::network(text)? {
        Some(mode) => Ok(Asked::Mode(mode)),
        None => name(text).map(|name| endpoint(&name)),
    }
}

fn endpoint(name: &str) -> Asked {
    Asked::Endpoint(Box::new(Endpoint { network: name.to_owned(), ..Endpoint::default() }))
}

/// A network by its name, its id or the beginning of that.
pub(crate) fn name(text: &str) -> Result<String, String> {
    let later = |byte: u8| byte.is_ascii_alphanumeric() || b"_.-".contains(&byte);
    let first = text.bytes().next().is_some_and(|byte| byte.is_ascii_alphanumeric());
    if first && text.bytes().all(later) {
        Ok(if text == "default" { DEFAULT_NETWORK.to_owned() } else { text.to_owned() })
    } else {
        Err("no network has such a name: a letter or digit, then a-z A-Z 0-9 _ . - follow".to_owned())
    }
}

/// `name=web,alias=db,ip=10.7.0.9,…`.
fn long_form(text: &str) -> Result<Asked, String> {
    let mut endpoint = Endpoint::default();
    for field in csv::fields(text)? {
        let (key, value) = field.split_once('=').ok_or_else(|| {
            format!("{} has no value; write it as name=web,alias=db,ip=10.7.0.9", step::quote(&field))
        })?;
        match key.trim().to_ascii_lowercase().as_str() {
            "name" => endpoint.network = name(value)?,
            key => set(&mut endpoint, key, value)?,
        }
    }
    match endpoint.network.as_str() {
        "" => Err("the network's name is missing; write it as name=web,alias=db".to_owned()),
        "host" | "none" => Err("that network has nothing to be said of; write its name alone".to_owned()),
        _ => Ok(Asked::Endpoint(Box::new(endpoint))),
    }
}

fn set(endpoint: &mut Endpoint, key: &str, value: &str) -> Result<(), String> {
    match key {
        "alias" => endpoint.aliases.push(alias(value)?),
        "ip" => endpoint.ip = Some(addresses::ip(value)?),
        "ip6" => endpoint.ip6 = Some(ip6(value)?),
        "mac-address" => endpoint.mac = Some(addresses::mac(value)?),
        "link-local-ip" => endpoint.link_local.push(link_local(value)?),
        "gw-priority" => endpoint.priority = priority(value)?,
        "driver-opt" => {
            let (option, value) = option(value)?;
            endpoint.driver_options.insert(option, value);
        }
        other => {
            return Err(format!(
                "{} is none of name, alias, ip, ip6, mac-address, link-local-ip, driver-opt and gw-priority",
                step::quote(other)
            ));
        }
    }
    Ok(())
}

/// A further name of a container: a host name, with dots where it likes.
pub(crate) fn alias(text: &str) -> Result<String, String> {
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || b"_.-".contains(&byte);
    if (1..=253).contains(&text.len()) && !text.starts_with(['-', '.']) && text.bytes().all(fits) {
        Ok(text.to_owned())
    } else {
        Err("no name of a host: letters, digits, - _ . and none of - . first".to_owned())
    }
}

/// `--ip6`: an address that a machine can have.
pub(crate) fn ip6(text: &str) -> Result<Ipv6Addr, String> {
    let help = "write it as fd00:7::9";
    let address: Ipv6Addr = text.parse().map_err(|_| format!("not an IPv6 address; {help}"))?;
    let odd = address.is_unspecified() || address.is_loopback() || address.is_multicast();
    if odd || address.is_unicast_link_local() || address.to_ipv4_mapped().is_some() {
        return Err(format!("no container can have this address; {help}"));
    }
    Ok(address)
}

/// `--link-local-ip`.
pub(crate) fn link_local(text: &str) -> Result<IpAddr, String> {
    let address: IpAddr =
        text.parse().map_err(|_| "not an IP address; write it as 169.254.7.9".to_owned())?;
    let fits = match address {
        IpAddr::V4(address) => address.is_link_local(),
        IpAddr::V6(address) => address.is_unicast_link_local(),
    };
    if fits { Ok(address) } else { Err("not of 169.254.0.0/16 or fe80::/10".to_owned()) }
}

/// `--link NAME[:ALIAS]`; without an alias it is the name. Docker writes `/db:/web/alias` where it tells of one.
pub(crate) fn link(text: &str) -> Result<(String, String), String> {
    let help = "write it as db or db:database";
    let mut parts = text.split(':');
    let (Some(target), second, None) = (parts.next(), parts.next(), parts.next()) else {
        return Err(format!("more than a name and an alias; {help}"));
    };
    let target = target.trim_start_matches('/');
    let own = second.map_or(target, |alias| alias.rsplit('/').next().unwrap_or(alias));
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || b"_.-".contains(&byte);
    if target.is_empty() || !target.bytes().all(fits) {
        return Err(format!("no container has such a name; {help}"));
    }
    Ok((target.to_owned(), alias(own).map_err(|why| format!("the alias is {why}; {help}"))?))
}

/// `--gw-priority`.
pub(crate) fn priority(text: &str) -> Result<i32, String> {
    text.parse().map_err(|_| "not a whole number; write it as 10 or -1".to_owned())
}

/// `KEY=VALUE` of a driver.
pub(crate) fn option(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((key, value)) if !key.is_empty() => Ok((key.to_owned(), value.to_owned())),
        None if !text.is_empty() => Ok((text.to_owned(), String::new())),
        _ => Err("no key before the =; write it as mtu=1400".to_owned()),
    }
}

/// `NAME=ADDRESS`.
pub(crate) fn auxiliary(text: &str) -> Result<(String, IpAddr), String> {
    let help = "write it as printer=10.7.0.9";
    let (name, address) = text.split_once('=').ok_or_else(|| format!("no address; {help}"))?;
    let address = address.parse().map_err(|_| format!("not an IP address; {help}"))?;
    if name.is_empty() { Err(format!("no name; {help}")) } else { Ok((name.to_owned(), address)) }
}

/// `--gateway`.
pub(crate) fn gateway(text: &str) -> Result<IpAddr, String> {
    text.parse().map_err(|_| "not an IP address; write it as 10.7.0.1".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Endpoint {
        match network(text) {
            Ok(Asked::Endpoint(endpoint)) => *endpoint,
            other => panic!("{text}: {other:?}"),
        }
    }

    #[test]
    fn reads_what_others_are_called() {
        let pair = |a: &str, b: &str| Ok((a.to_owned(), b.to_owned()));
        assert_eq!(link("db"), pair("db", "db"));
        assert_eq!(link("db:Data.Base"), pair("db", "Data.Base"));
        assert_eq!(link("/db:/web/base"), pair("db", "base"));
        for text in ["", ":a", "a:", "a:b:c", "a b", "a:-b"] {
            assert!(link(text).is_err(), "{text}");
        }
    }

    #[test]
    fn reads_both_forms() {
        assert_eq!(read("web").network, "web");
        assert_eq!((read("bridge").network, read("default").network), ("bridge".into(), "bridge".into()));
        assert_eq!(network("host"), Ok(Asked::Mode(NetworkMode::Host)));
        assert_eq!(network("container:a"), Ok(Asked::Mode(NetworkMode::Container("a".into()))));
        let long = read(
            "name=web,alias=a,alias=b,ip=10.7.0.9,ip6=fd00::9,mac-address=02:42:0a:00:00:01,gw-priority=-2,\
             link-local-ip=169.254.1.2,\"driver-opt=a=b,c\"",
        );
        assert_eq!((long.network.as_str(), long.priority), ("web", -2));
        assert_eq!(long.aliases, ["a", "b"]);
        assert_eq!(long.ip6, Some("fd00::9".parse().unwrap()));
        assert_eq!(long.driver_options.get("a").map(String::as_str), Some("b,c"));
        assert!(long.ip.is_some() && long.mac.is_some() && long.link_local.len() == 1);
        for text in [
            "",
            "-a",
            "a b",
            "a/b",
            "alias=a",
            "name=",
            "name=host,alias=a",
            "name=web,colour=red",
            "name=web,ip=x",
            "name=web,ip6=::1",
            "name=web,link-local-ip=10.0.0.1",
            "name=web,gw-priority=x",
            "name=web,alias",
            "container:",
        ] {
            assert!(network(text).is_err(), "{text}");
        }
    }
}
