//! What a request goes to: the few parts of a URL that count here, and what a Location means.

use std::fmt;
use std::net::IpAddr;

use ureq::http::Uri;

/// With TLS or without.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Scheme {
    Https,
    Http,
}

impl Scheme {
    fn name(self) -> &'static str {
        match self {
            Self::Https => "https",
            Self::Http => "http",
        }
    }

    fn port(self) -> u16 {
        match self {
            Self::Https => 443,
            Self::Http => 80,
        }
    }
}

/// An absolute URL of HTTP.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Url {
    pub(crate) scheme: Scheme,
    /// Host and, if it was named, port. Never with a user.
    pub(crate) authority: String,
    /// Begins with a slash; the query is part of it.
    pub(crate) path: String,
}

impl Url {
    /// Reads an absolute URL. None if it is none of HTTP, or brings a user along.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let uri: Uri = text.parse().ok()?;
        let scheme = match uri.scheme_str()? {
            "https" => Scheme::Https,
            "http" => Scheme::Http,
            _ => return None,
        };
        let authority = uri.authority()?.as_str();
        if authority.contains('@') || uri.host().is_none_or(str::is_empty) {
            return None;
        }
        let path = uri.path_and_query().map_or("/", |path| path.as_str());
        let path = if path.starts_with('/') { path.to_owned() } else { format!("/{path}") };
        Some(Self { scheme, authority: authority.to_owned(), path })
    }

    /// What `location` means in an answer to a request of this URL (RFC 9110, 10.2.2).
    pub(crate) fn join(&self, location: &str) -> Option<Self> {
        let location = location.split('#').next().unwrap_or_default();
        if location.contains("://") && !location.starts_with(['/', '?']) {
            return Self::parse(location);
        }
        if location.starts_with("//") {
            return Self::parse(&format!("{}:{location}", self.scheme.name()));
        }
        let path = self.path.split('?').next().unwrap_or("/");
        let target = match location.chars().next() {
            None => return Some(self.clone()),
            Some('/') => location.to_owned(),
            Some('?') => format!("{path}{location}"),
            Some(_) => format!("{}/{location}", path.rsplit_once('/').map_or("", |(folder, _)| folder)),
        };
        // Once more through the parser: it knows what may stand in a path.
        Self::parse(&format!("{}://{}{target}", self.scheme.name(), self.authority))
    }

    /// Whether a credential for one may be sent to the other: the same host, port and scheme.
    pub(crate) fn same_origin(&self, other: &Self) -> bool {
        self.scheme == other.scheme
            && self.host().eq_ignore_ascii_case(other.host())
            && self.port() == other.port()
    }

    /// The host, an IPv6 address without its brackets.
    pub(crate) fn host(&self) -> &str {
        host_of(&self.authority)
    }

    /// The port, named or not.
    pub(crate) fn port(&self) -> u16 {
        port_of(&self.authority).unwrap_or(self.scheme.port())
    }

    /// The same with one more parameter.
    pub(crate) fn with(mut self, name: &str, value: &str) -> Self {
        self.path.push(if self.path.contains('?') { '&' } else { '?' });
        self.path.push_str(name);
        self.path.push('=');
        self.path.push_str(&encoded(value));
        self
    }
}

impl fmt::Display for Url {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}{}", self.scheme.name(), self.authority, self.path)
    }
}

impl fmt::Debug for Url {
    /// Without the query: it may hold a signature that is as good as a password.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let path = self.path.split('?').next().unwrap_or_default();
        write!(f, "{}://{}{path}", self.scheme.name(), self.authority)
    }
}

/// The host of `host`, `host:port`, `[address]:port`.
pub(crate) fn host_of(authority: &str) -> &str {
    if let Some(rest) = authority.strip_prefix('[') {
        return rest.split(']').next().unwrap_or_default();
    }
    authority.split(':').next().unwrap_or_default()
}

/// The port, if one is named.
pub(crate) fn port_of(authority: &str) -> Option<u16> {
    let rest = authority.rsplit_once(']').map_or(authority, |(_, rest)| rest);
    rest.rsplit_once(':')?.1.parse().ok()
}

/// This machine itself: nobody listens in between.
pub(crate) fn is_loopback(host: &str) -> bool {
    host.eq_ignore_ascii_case("localhost")
        || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

/// A value for a query or a form: everything but letters, digits and `-._~` as %XX.
pub(crate) fn encoded(value: &str) -> String {
    let mut text = String::with_capacity(value.len());
    for byte in value.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {
                text.push(char::from(byte))
            }
            _ => text.push_str(&format!("%{byte:02X}")),
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn locations_are_resolved() {
        let base = Url::parse("https://r.example:5000/v2/app/blobs/uploads/?x=1").unwrap();
        for (location, meant) in [
            ("https://cdn.example/a?b=c", "https://cdn.example/a?b=c"),
            ("//cdn.example/a", "https://cdn.example/a"),
            ("/v2/x", "https://r.example:5000/v2/x"),
            ("/login?next=https://r.example/", "https://r.example:5000/login?next=https://r.example/"),
            ("abc?state=1", "https://r.example:5000/v2/app/blobs/uploads/abc?state=1"),
            ("?state=1", "https://r.example:5000/v2/app/blobs/uploads/?state=1"),
            ("/a#part", "https://r.example:5000/a"),
        ] {
            assert_eq!(base.join(location).unwrap().to_string(), meant, "{location}");
        }
        for location in ["ftp://x/y", "https://", "https://user:pass@x/", "http://[::1/", "/a b"] {
            assert!(base.join(location).is_none(), "{location}");
        }
    }

    #[test]
    fn an_origin_is_scheme_host_and_port() {
        let url = |text| Url::parse(text).unwrap();
        assert!(url("https://r.example/a").same_origin(&url("https://R.example:443/b")));
        assert!(!url("https://r.example/a").same_origin(&url("http://r.example:443/a")));
        assert!(!url("https://r.example/a").same_origin(&url("https://r.example:5000/a")));
        assert!(!url("https://r.example/a").same_origin(&url("https://r.example.org/a")));
        assert!(url("http://[::1]:80/a").same_origin(&url("http://[::1]/")));
    }

    #[test]
    fn secrets_of_a_query_are_not_shown() {
        let url = Url::parse("https://cdn.example/blob?X-Amz-Signature=abc").unwrap();
        assert_eq!(format!("{url:?}"), "https://cdn.example/blob");
    }

    #[test]
    fn hosts_and_ports() {
        for (authority, host, port) in [
            ("r.example", "r.example", None),
            ("r.example:5000", "r.example", Some(5000)),
            ("[::1]:5000", "::1", Some(5000)),
            ("[fc00::1]", "fc00::1", None),
        ] {
            assert_eq!((host_of(authority), port_of(authority)), (host, port), "{authority}");
        }
        assert!(is_loopback("127.0.0.53") && is_loopback("::1") && is_loopback("localhost"));
        assert!(!is_loopback("localhost.example") && !is_loopback("10.0.0.1"));
    }

    #[test]
    fn parameters_are_added() {
        let url = Url::parse("https://t.example/token").unwrap().with("scope", "repository:a/b:pull,push");
        assert_eq!(url.with("service", "r").path, "/token?scope=repository%3Aa%2Fb%3Apull%2Cpush&service=r");
    }
}
