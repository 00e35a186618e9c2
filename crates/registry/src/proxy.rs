//! Which proxy a request goes through, by the variables that all tools know: https_proxy, http_proxy, all_proxy,
//! no_proxy, in small letters or capitals.

use std::fmt;
use std::net::IpAddr;

use crate::url::{self, Scheme, Url};

/// The environment's proxies.
#[derive(Clone, Default)]
pub struct Proxies {
    /// For HTTPS.
    pub https: Option<String>,
    /// For plain HTTP.
    pub http: Option<String>,
    /// What is reached without one: hosts, domains, addresses, networks, each with or without a port, or `*`.
    pub none: Vec<String>,
}

impl Proxies {
    /// From the process's environment.
    pub fn from_environment() -> Self {
        Self::from(|name| std::env::var(name).ok())
    }

    /// From any environment. Small letters win, as in curl.
    pub fn from(environment: impl Fn(&str) -> Option<String>) -> Self {
        let get = |name: &str| {
            let set = |name: &str| environment(name).filter(|value| !value.trim().is_empty());
            set(name).or_else(|| set(&name.to_ascii_uppercase()))
        };
        let all = get("all_proxy");
        Self {
            https: get("https_proxy").or_else(|| all.clone()),
            http: get("http_proxy").or(all),
            none: get("no_proxy")
                .map(|list| {
                    list.split([',', ' '])
                        .map(str::trim)
                        .filter(|entry| !entry.is_empty())
                        .map(Into::into)
                        .collect()
                })
                .unwrap_or_default(),
        }
    }

    /// The proxy for this URL. This machine itself is never reached through one.
    pub(crate) fn of(&self, url: &Url) -> Option<&str> {
        let proxy = match url.scheme {
            Scheme::Https => self.https.as_deref(),
            Scheme::Http => self.http.as_deref(),
        }?;
        let host = url.host();
        let excluded =
            url::is_loopback(host) || self.none.iter().any(|entry| matches(entry, host, url.port()));
        (!excluded).then_some(proxy)
    }
}

impl fmt::Debug for Proxies {
    /// Without their users and passwords.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let hidden = |proxy: &Option<String>| proxy.as_deref().map(without_user);
        f.debug_struct("Proxies")
            .field("https", &hidden(&self.https))
            .field("http", &hidden(&self.http))
            .field("none", &self.none)
            .finish()
    }
}

/// A proxy's URL as it may be shown.
pub(crate) fn without_user(proxy: &str) -> String {
    match proxy.rsplit_once('@') {
        Some((before, host)) => match before.split_once("://") {
            Some((scheme, _)) => format!("{scheme}://{host}"),
            None => host.to_owned(),
        },
        None => proxy.to_owned(),
    }
}

/// One entry of no_proxy, as Go reads it (golang.org/x/net/http/httpproxy): `example.org` is the domain and all below,
/// `.example.org` and `*.example.org` only what lies below.
fn matches(entry: &str, host: &str, port: u16) -> bool {
    if entry == "*" {
        return true;
    }
    if let Some((network, length)) = entry.split_once('/') {
        let (Ok(network), Ok(length), Ok(address)) = (network.parse(), length.parse(), host.parse()) else {
            return false;
        };
        return within(address, network, length);
    }
    // An address of version 6 has colons without a port.
    let plain = entry.parse::<IpAddr>().is_ok();
    if !plain && url::port_of(entry).is_some_and(|wanted| wanted != port) {
        return false;
    }
    let name = if plain { entry } else { url::host_of(entry) };
    if let Ok(address) = name.parse::<IpAddr>() {
        return host.parse::<IpAddr>().is_ok_and(|host| host == address);
    }
    let (name, host) = (name.trim_start_matches('*').to_ascii_lowercase(), host.to_ascii_lowercase());
    match name.strip_prefix('.') {
        Some(_) => host.ends_with(&name),
        None => host == name || host.ends_with(&format!(".{name}")),
    }
}

fn within(address: IpAddr, network: IpAddr, length: u32) -> bool {
    match (address, network) {
        (IpAddr::V4(address), IpAddr::V4(network)) if length <= 32 => {
            let mask = u32::MAX.checked_shl(32 - length).unwrap_or(0);
            address.to_bits() & mask == network.to_bits() & mask
        }
        (IpAddr::V6(address), IpAddr::V6(network)) if length <= 128 => {
            let mask = u128::MAX.checked_shl(128 - length).unwrap_or(0);
            address.to_bits() & mask == network.to_bits() & mask
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn proxies(variables: &[(&str, &str)]) -> Proxies {
        Proxies::from(|name| {
            variables.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).to_owned())
        })
    }

    #[test]
    fn each_scheme_has_its_own() {
        let proxies =
            proxies(&[("HTTPS_PROXY", "http://s"), ("http_proxy", "http://p"), ("all_proxy", "http://a")]);
        let of = |text: &str| proxies.of(&Url::parse(text).unwrap());
        assert_eq!(of("https://r.example/"), Some("http://s"));
        assert_eq!(of("http://r.example/"), Some("http://p"));
        assert_eq!(of("http://localhost:5000/"), None);
        assert_eq!(of("http://127.0.0.1:5000/"), None);
    }

    #[test]
    fn exceptions_hold() {
        for (list, url, through) in [
            ("*", "https://r.example/", false),
            ("r.example", "https://r.example/", false),
            ("r.example", "https://a.r.example/", false),
            ("r.example", "https://br.example/", true),
            (".r.example", "https://r.example/", true),
            (".r.example", "https://a.R.example/", false),
            ("*.r.example", "https://a.r.example/", false),
            ("x, r.example:5000", "https://r.example:5000/", false),
            ("r.example:5000", "https://r.example/", true),
            ("10.1.2.3", "https://10.1.2.3/", false),
            ("10.1.0.0/16", "https://10.1.2.3/", false),
            ("10.1.0.0/16", "https://10.2.2.3/", true),
            ("0.0.0.0/0", "https://10.2.2.3/", false),
            ("fd00::/8", "https://[fd12::1]/", false),
            ("fd00::1", "https://[fd00::1]/", false),
            ("10.1.0.0/99", "https://10.1.2.3/", true),
            ("", "https://r.example/", true),
        ] {
            let proxies = proxies(&[("https_proxy", "http://p"), ("no_proxy", list)]);
            assert_eq!(proxies.of(&Url::parse(url).unwrap()).is_some(), through, "{list} {url}");
        }
    }

    #[test]
    fn passwords_are_not_shown() {
        let proxies = proxies(&[("https_proxy", "http://me:secret@p.example:8080")]);
        assert!(!format!("{proxies:?}").contains("secret"));
        assert_eq!(without_user("http://me:secret@p:1"), "http://p:1");
        assert_eq!(without_user("me:secret@p:1"), "p:1");
    }
}
