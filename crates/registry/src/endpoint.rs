//! One place where a registry is to be found: itself, or a mirror of it.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};

use oci::DOCKER_HUB;

use crate::auth::Auth;
use crate::certificates::Own;
use crate::credentials::Credential;
use crate::http::{Fault, Kind};
use crate::settings::Settings;
use crate::url::{Scheme, Url, host_of, is_loopback};

/// Where Docker Hub's registry really is.
const DOCKER_HUB_HOST: &str = "registry-1.docker.io";

/// Where to ask, and what is known about it.
#[derive(Debug)]
pub(crate) struct Endpoint {
    /// `host` or `host:port`.
    authority: String,
    /// What stands before `/v2/` in a path, without a slash at the end; mostly nothing.
    prefix: String,
    policy: Policy,
    /// What has worked.
    settled: OnceLock<Scheme>,
    /// What to try while nothing has worked: TLS was tried, and there is none.
    plain: AtomicBool,
    /// A mirror that failed is left alone for the rest of this client's life.
    down: AtomicBool,
    pub(crate) auth: Auth,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Policy {
    /// TLS with a certificate that is checked.
    Strict,
    /// TLS with any certificate, else plain HTTP.
    Insecure,
    /// Plain HTTP, as a mirror's URL says.
    Plain,
}

impl Endpoint {
    /// The registry itself.
    pub(crate) fn of(registry: &str, settings: &Settings, fixed: Option<Credential>) -> Self {
        let authority = if registry == DOCKER_HUB { DOCKER_HUB_HOST } else { registry };
        let policy = if is_checked(settings, authority, "") { Policy::Strict } else { Policy::Insecure };
        Self::new(authority, "", policy, Auth::new(registry, fixed))
    }

    /// A mirror by its URL.
    pub(crate) fn mirror(url: &Url, settings: &Settings) -> Self {
        let policy = match url.scheme {
            Scheme::Http => Policy::Plain,
            Scheme::Https if is_checked(settings, &url.authority, "") => Policy::Strict,
            Scheme::Https => Policy::Insecure,
        };
        let prefix = url.path.trim_end_matches('/');
        Self::new(&url.authority, prefix, policy, Auth::new(&url.authority, None))
    }

    fn new(authority: &str, prefix: &str, policy: Policy, auth: Auth) -> Self {
        Self {
            authority: authority.to_owned(),
            prefix: prefix.to_owned(),
            policy,
            settled: OnceLock::new(),
            plain: AtomicBool::new(false),
            down: AtomicBool::new(false),
            auth,
        }
    }

    pub(crate) fn authority(&self) -> &str {
        &self.authority
    }

    /// What to speak now.
    pub(crate) fn scheme(&self) -> Scheme {
        if let Some(scheme) = self.settled.get() {
            return *scheme;
        }
        match self.policy {
            Policy::Plain => Scheme::Http,
            Policy::Insecure if self.plain.load(Ordering::Relaxed) => Scheme::Http,
            Policy::Strict | Policy::Insecure => Scheme::Https,
        }
    }

    /// This scheme was answered.
    pub(crate) fn settle(&self, scheme: Scheme) {
        let _ = self.settled.set(scheme);
    }

    /// Whether to go on without TLS after this fault. Where that fails too, the next attempt begins with TLS again: it
    /// may be that nobody was there, and not that there is no TLS.
    pub(crate) fn falls_back(&self, scheme: Scheme, fault: &Fault) -> bool {
        if self.policy != Policy::Insecure || fault.kind == Kind::Lasting {
            return false;
        }
        match (scheme, self.settled.get()) {
            (Scheme::Https, None) => {
                self.plain.store(true, Ordering::Relaxed);
                true
            }
            // Another thread learned it meanwhile.
            (Scheme::Https, Some(settled)) => *settled == Scheme::Http,
            (Scheme::Http, None) => {
                self.plain.store(false, Ordering::Relaxed);
                false
            }
            (Scheme::Http, Some(_)) => false,
        }
    }

    /// Whether certificates are checked.
    pub(crate) fn checked(&self) -> bool {
        self.policy != Policy::Insecure
    }

    /// The URL of `path` below `/v2/`.
    pub(crate) fn url(&self, path: &str) -> Url {
        Url {
            scheme: self.scheme(),
            authority: self.authority.clone(),
            path: format!("{}/v2/{path}", self.prefix),
        }
    }

    pub(crate) fn is_down(&self) -> bool {
        self.down.load(Ordering::Relaxed)
    }

    pub(crate) fn give_up(&self) {
        self.down.store(true, Ordering::Relaxed);
    }
}

/// Whether a host's certificate is to be checked. Not for insecure registries and this machine itself, unless somebody
/// said by what. A token server on the `registry`'s own host is like it.
pub(crate) fn is_checked(settings: &Settings, authority: &str, registry: &str) -> bool {
    let insecure = |name: &str| settings.host(name).is_some_and(|(_, entry)| entry.insecure);
    let host = host_of(authority);
    if insecure(authority) || (host == host_of(registry) && insecure(registry)) {
        return false;
    }
    !is_loopback(host) || Own::of(settings, authority).is_there()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fault(kind: Kind) -> Fault {
        Fault { words: String::new(), kind }
    }

    #[test]
    fn tls_comes_first_until_something_is_known() {
        let endpoint = Endpoint::of("localhost:5000", &Settings::default(), None);
        assert_eq!((endpoint.scheme(), endpoint.checked()), (Scheme::Https, false));
        // Nobody was there, neither with TLS nor without: it begins anew.
        assert!(endpoint.falls_back(Scheme::Https, &fault(Kind::Passing)));
        assert_eq!(endpoint.scheme(), Scheme::Http);
        assert!(!endpoint.falls_back(Scheme::Http, &fault(Kind::Passing)));
        assert_eq!(endpoint.scheme(), Scheme::Https);
        // There is somebody without TLS: it stays at that.
        assert!(endpoint.falls_back(Scheme::Https, &fault(Kind::Tls)));
        endpoint.settle(Scheme::Http);
        assert!(!endpoint.falls_back(Scheme::Http, &fault(Kind::Passing)));
        assert!(endpoint.falls_back(Scheme::Https, &fault(Kind::Passing)), "a thread that began earlier");
        assert_eq!(endpoint.scheme(), Scheme::Http);
    }

    #[test]
    fn what_was_reached_by_tls_is_never_left() {
        let endpoint = Endpoint::of("localhost:5000", &Settings::default(), None);
        endpoint.settle(Scheme::Https);
        assert!(!endpoint.falls_back(Scheme::Https, &fault(Kind::Passing)));
        assert_eq!(endpoint.scheme(), Scheme::Https);
        let strict = Endpoint::of("r.example", &Settings::default(), None);
        assert!(strict.checked() && !strict.falls_back(Scheme::Https, &fault(Kind::Tls)));
    }

    #[test]
    fn docker_hub_is_found_where_it_is() {
        let hub = Endpoint::of("docker.io", &Settings::default(), None);
        assert_eq!(hub.url("x").to_string(), "https://registry-1.docker.io/v2/x");
        let url = Url::parse("https://m.example/cache/").unwrap();
        assert_eq!(
            Endpoint::mirror(&url, &Settings::default()).url("x").to_string(),
            "https://m.example/cache/v2/x"
        );
    }
}
