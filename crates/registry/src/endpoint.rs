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

    /// Whether to go on without TLS after this fault.
    pub(crate) fn falls_back(&self, scheme: Scheme, fault: &Fault) -> bool {
        let fits = self.policy == Policy::Insecure
            && scheme == Scheme::Https
            && self.settled.get().is_none_or(|settled| *settled == Scheme::Http)
            && fault.kind != Kind::Lasting;
        if fits {
            self.plain.store(true, Ordering::Relaxed);
        }
        fits
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
