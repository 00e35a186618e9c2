//! One registry with its mirrors: requests with retries, logins and errors that say what was asked.

use std::sync::Arc;
use std::thread;

use oci::shown;
use serde_json::Value;
use ureq::Body;
use ureq::http::{HeaderMap, Method, Response, StatusCode, header};

use crate::auth::Need;
use crate::credentials::Credential;
use crate::endpoint::Endpoint;
use crate::error::Error;
use crate::http::{self, Ask, Fault, Http, Kind, Sending};
use crate::settings::Settings;
use crate::url::Url;

/// What a registry may say about an error.
const MAX_MESSAGE: u64 = 64 << 10;

/// A mirror is not worth more than a second attempt: the registry itself comes next.
const MIRROR_ATTEMPTS: u32 = 2;

/// Speaks with one registry. A clone is the same client: connections, logins and what was learned are shared.
#[derive(Debug, Clone)]
pub struct Client {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    registry: String,
    settings: Arc<Settings>,
    http: Http,
    /// The mirrors, then the registry itself.
    endpoints: Vec<Endpoint>,
}

/// One request, to be made as often as it takes.
pub(crate) struct Job<'a> {
    pub(crate) method: Method,
    /// What is to be done, for messages: `get manifest library/alpine:latest`.
    pub(crate) asked: String,
    pub(crate) repository: &'a str,
    /// What it needs beside the repository's own `actions`.
    pub(crate) more_scopes: Vec<String>,
    /// `pull`, `pull,push`, `delete`; nothing for none.
    pub(crate) actions: &'static str,
    pub(crate) headers: Vec<(header::HeaderName, String)>,
    pub(crate) body: Option<&'a [u8]>,
    /// Failures that the caller wants to see.
    pub(crate) pass: &'static [u16],
}

impl<'a> Job<'a> {
    pub(crate) fn get(asked: String, repository: &'a str) -> Self {
        Self {
            method: Method::GET,
            asked,
            repository,
            more_scopes: Vec::new(),
            actions: "pull",
            headers: Vec::new(),
            body: None,
            pass: &[],
        }
    }

    pub(crate) fn push(method: Method, asked: String, repository: &'a str) -> Self {
        Self { method, actions: "pull,push", ..Self::get(asked, repository) }
    }

    pub(crate) fn scopes(&self) -> Vec<String> {
        let own =
            (!self.actions.is_empty()).then(|| format!("repository:{}:{}", self.repository, self.actions));
        own.into_iter().chain(self.more_scopes.iter().cloned()).collect()
    }
}

/// Where a request goes.
#[derive(Clone, Copy)]
pub(crate) enum To<'a> {
    /// Below `/v2/`.
    Path(&'a str),
    /// To where the registry said.
    Url(&'a Url),
}

impl Client {
    /// A client for `registry`, as [`oci::Reference::registry`] names it. Nothing is asked yet.
    ///
    /// # Errors
    ///
    /// [`Error::Blocked`].
    pub fn new(registry: &str, settings: Arc<Settings>) -> Result<Self, Error> {
        Self::with(registry, settings, None)
    }

    /// The same, with this login instead of the kept one, and without mirrors.
    ///
    /// # Errors
    ///
    /// [`Error::Blocked`].
    pub fn with_credential(
        registry: &str,
        settings: Arc<Settings>,
        credential: Credential,
    ) -> Result<Self, Error> {
        Self::with(registry, settings, Some(credential))
    }

    fn with(registry: &str, settings: Arc<Settings>, fixed: Option<Credential>) -> Result<Self, Error> {
        let mut endpoints = Vec::new();
        if let Some((name, entry)) = settings.host(registry) {
            if entry.blocked {
                let rule = format!("[registry.\"{name}\"] in {}", settings.path.display());
                return Err(Error::Blocked { registry: registry.to_owned(), rule });
            }
            if fixed.is_none() {
                let urls = entry.mirrors.iter().filter_map(|mirror| Url::parse(mirror));
                endpoints.extend(urls.map(|url| Endpoint::mirror(&url, &settings)));
            }
        }
        endpoints.push(Endpoint::of(registry, &settings, fixed));
        let http = Http::new(Arc::clone(&settings));
        Ok(Self { inner: Arc::new(Inner { registry: registry.to_owned(), settings, http, endpoints }) })
    }

    /// The registry's name.
    pub fn registry(&self) -> &str {
        &self.inner.registry
    }

    /// Whether the registry is there, speaks the protocol and knows who asks.
    ///
    /// # Errors
    ///
    /// All that a connection and a login can fail with.
    pub fn ping(&self) -> Result<(), Error> {
        let job = Job { actions: "", ..Job::get("log in".into(), "") };
        self.fetch(self.upstream(), To::Path(""), &job, 1 << 20).map(drop)
    }

    pub(crate) fn settings(&self) -> &Settings {
        &self.inner.settings
    }

    /// The registry itself.
    pub(crate) fn upstream(&self) -> usize {
        self.inner.endpoints.len() - 1
    }

    /// Does something that mirrors can do as well: the first that succeeds counts. `f` gets the endpoint's number.
    pub(crate) fn anywhere<T>(&self, mut f: impl FnMut(usize) -> Result<T, Error>) -> Result<T, Error> {
        let mut mirrors = Vec::new();
        for (number, endpoint) in self.inner.endpoints[..self.upstream()].iter().enumerate() {
            if endpoint.is_down() {
                continue;
            }
            match f(number) {
                Ok(value) => return Ok(value),
                Err(error) => {
                    if matches!(error, Error::Unreachable { .. } | Error::Tls { .. }) {
                        endpoint.give_up();
                    }
                    mirrors.push(format!("mirror {}: {error}", endpoint.authority()));
                }
            }
        }
        f(self.upstream()).map_err(|error| match mirrors.is_empty() {
            true => error,
            false => Error::Mirrored { error: Box::new(error), mirrors: mirrors.join("; ") },
        })
    }

    /// Makes a request until it succeeds, or will not.
    pub(crate) fn call(&self, endpoint: usize, to: To<'_>, job: &Job<'_>) -> Result<Response<Body>, Error> {
        let attempts = self.inner.settings.attempts;
        let attempts = if endpoint == self.upstream() { attempts } else { attempts.min(MIRROR_ATTEMPTS) };
        self.call_times(endpoint, to, job, attempts)
    }

    /// The same for an answer that is taken whole, its headers with it. One that breaks off is asked for again.
    pub(crate) fn fetch(
        &self,
        endpoint: usize,
        to: To<'_>,
        job: &Job<'_>,
        limit: u64,
    ) -> Result<(HeaderMap, Vec<u8>), Error> {
        let attempts = self.inner.settings.attempts;
        let mut failures = 0;
        loop {
            let response = self.call(endpoint, to, job)?;
            let headers = response.headers().clone();
            match http::read(response, limit) {
                Ok(Some(bytes)) => return Ok((headers, bytes)),
                Ok(None) => {
                    return Err(self.answer(&job.asked, format!("it is longer than {} MiB", limit >> 20)));
                }
                Err(fault) => {
                    failures += 1;
                    if fault.kind != Kind::Passing || failures >= attempts {
                        return Err(self.fault(&job.asked, &fault, failures));
                    }
                    thread::sleep(http::pause(self.inner.settings.first_pause, failures, http::random()));
                }
            }
        }
    }

    /// The same as [`Client::call`] with another number of attempts.
    pub(crate) fn call_times(
        &self,
        endpoint: usize,
        to: To<'_>,
        job: &Job<'_>,
        attempts: u32,
    ) -> Result<Response<Body>, Error> {
        let mut failures = 0;
        loop {
            let sending = || job.body.map_or(Sending::Nothing, Sending::Bytes);
            let wait = match self.once(endpoint, to, job, &mut || Ok(sending())) {
                Ok(response) => {
                    let status = response.status();
                    if status.is_success() || job.pass.contains(&status.as_u16()) {
                        return Ok(response);
                    }
                    failures += 1;
                    let wait = http::retry_after(response.headers());
                    let too_long = wait.is_some_and(|wait| wait > http::MAX_PAUSE);
                    if !http::may_pass(status) || failures >= attempts || too_long {
                        return Err(self.refused(endpoint, job, response));
                    }
                    // Read to the end: the connection serves again.
                    let _ = http::read(response, MAX_MESSAGE);
                    wait
                }
                Err(Failed::Fault(fault)) => {
                    failures += 1;
                    if fault.kind != Kind::Passing || failures >= attempts {
                        return Err(self.fault(&job.asked, &fault, failures));
                    }
                    None
                }
                Err(Failed::Error(error)) => return Err(error),
            };
            let pause = || http::pause(self.inner.settings.first_pause, failures, http::random());
            thread::sleep(wait.unwrap_or_else(pause));
        }
    }

    /// Makes a request once; but again if a login was missing, or TLS where there may be none. `sending` makes the
    /// content for each of these.
    pub(crate) fn once<'s>(
        &self,
        endpoint: usize,
        to: To<'_>,
        job: &Job<'_>,
        sending: &mut dyn FnMut() -> Result<Sending<'s>, Error>,
    ) -> Result<Response<Body>, Failed> {
        let Inner { settings, http, endpoints, .. } = &*self.inner;
        let endpoint = &endpoints[endpoint];
        let need = Need { repository: job.repository, scopes: job.scopes(), asked: &job.asked };
        let mut challenged = false;
        loop {
            let scheme = endpoint.scheme();
            let home = endpoint.url("");
            let url = match to {
                To::Path(path) => endpoint.url(path),
                To::Url(url) => url.clone(),
            };
            let foreign = !url.same_origin(&home);
            let mut ask = Ask::new(job.method.clone(), url);
            ask.headers.clone_from(&job.headers);
            ask.sending = sending().map_err(Failed::Error)?;
            ask.checked = foreign || endpoint.checked();
            if !foreign {
                ask.authorization = endpoint.auth.header(http, settings, &need).map_err(Failed::Error)?;
            }
            let sent = ask.authorization.clone();
            let response = match http.send(ask) {
                Ok(response) => response,
                Err(fault) if !foreign && endpoint.falls_back(scheme, &fault) => continue,
                Err(fault) => return Err(Failed::Fault(fault)),
            };
            if !foreign {
                endpoint.settle(scheme);
            }
            if response.status() != StatusCode::UNAUTHORIZED || challenged || foreign {
                return Ok(response);
            }
            challenged = true;
            let known =
                endpoint.auth.challenged(settings, response.headers(), (scheme, sent.as_deref()), &need);
            if !known.map_err(Failed::Error)? {
                return Ok(response);
            }
            let _ = http::read(response, MAX_MESSAGE);
        }
    }

    /// The error for an answer that is no success.
    pub(crate) fn refused(&self, endpoint: usize, job: &Job<'_>, response: Response<Body>) -> Error {
        let status = response.status().as_u16();
        let body = http::read(response, MAX_MESSAGE).ok().flatten().unwrap_or_default();
        let message = message(&body);
        let (registry, asked) = (self.inner.registry.clone(), job.asked.clone());
        match status {
            401 | 403 => {
                let user = self.inner.endpoints[endpoint].auth.user(job.repository);
                Error::Denied { registry, asked, user, message }
            }
            404 => Error::NotFound { registry, asked, message },
            429 => Error::Busy { registry, asked, message },
            _ => Error::Status { registry, asked, status, message },
        }
    }

    /// The error for no answer at all.
    pub(crate) fn fault(&self, asked: &str, fault: &Fault, attempts: u32) -> Error {
        let (registry, asked) = (self.inner.registry.clone(), asked.to_owned());
        let reason = fault.words.clone();
        match fault.kind {
            Kind::Passing => Error::Unreachable { registry, asked, reason, attempts },
            Kind::Tls => Error::Tls { registry, asked, reason },
            Kind::Lasting => Error::Answer { registry, asked, reason },
        }
    }

    /// The error for an answer that does not follow the protocol.
    pub(crate) fn answer(&self, asked: &str, reason: impl Into<String>) -> Error {
        let reason = shown(&reason.into());
        Error::Answer { registry: self.inner.registry.clone(), asked: asked.to_owned(), reason }
    }

    /// A URL that the registry named. One of its own host without TLS, where it was asked with TLS, is meant with:
    /// registries behind a proxy that does TLS for them do not know better.
    pub(crate) fn located(&self, endpoint: usize, from: &Url, location: &str) -> Option<Url> {
        let mut url = from.join(location)?;
        let home = self.inner.endpoints[endpoint].url("");
        if url.scheme != home.scheme && url.host() == home.host() {
            url.scheme = home.scheme;
            if url.port() != home.port() {
                url.authority.clone_from(&home.authority);
            }
        }
        Some(url)
    }

    /// The URL of a path at an endpoint.
    pub(crate) fn url(&self, endpoint: usize, path: &str) -> Url {
        self.inner.endpoints[endpoint].url(path)
    }
}

/// Why a single attempt brought no answer.
pub(crate) enum Failed {
    /// The connection.
    Fault(Fault),
    /// Anything that another attempt does not mend.
    Error(Error),
}

/// What an error's body says: the distribution specification's `errors`, a token server's `details` or `error`, or a
/// short text.
pub(crate) fn message(body: &[u8]) -> String {
    let Ok(value) = serde_json::from_slice::<Value>(body) else {
        let text = String::from_utf8_lossy(body);
        // Pages of proxies help nobody.
        return if text.trim_start().starts_with('<') { String::new() } else { shown(&text) };
    };
    let text = |value: &Value, name: &str| value.get(name).and_then(Value::as_str).map(str::to_owned);
    let one = |error: &Value| match (text(error, "code"), text(error, "message")) {
        (Some(code), Some(message)) if !message.is_empty() => Some(format!("{message} ({code})")),
        (Some(code), _) => Some(code),
        (None, message) => message,
    };
    let listed = value
        .get("errors")
        .and_then(Value::as_array)
        .map(|errors| errors.iter().filter_map(one).collect::<Vec<_>>().join("; "))
        .filter(|message| !message.is_empty());
    let names = ["details", "message", "error_description", "error"];
    shown(&listed.or_else(|| names.iter().find_map(|name| text(&value, name))).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_are_told_in_the_registrys_words() {
        for (body, words) in [
            (
                r#"{"errors":[{"code":"MANIFEST_UNKNOWN","message":"manifest unknown","detail":{}}]}"#,
                "manifest unknown (MANIFEST_UNKNOWN)",
            ),
            (r#"{"errors":[{"code":"A","message":"a"},{"code":"B"}]}"#, "a (A); B"),
            (r#"{"details":"incorrect username or password"}"#, "incorrect username or password"),
            (r#"{"error":"invalid_grant"}"#, "invalid_grant"),
            ("{}", ""),
            ("<html><body>Bad Gateway</body></html>", ""),
            ("slow\u{1b}[2J down\n", "slow [2J down"),
            ("", ""),
        ] {
            assert_eq!(message(body.as_bytes()), words, "{body}");
        }
    }

    #[test]
    fn a_blocked_registry_is_not_asked() {
        let path = std::path::Path::new("/etc/r.toml");
        let settings = Settings::parse("[registry.\"*.bad.example\"]\nblocked = true", path).unwrap();
        let error = Client::new("r.bad.example", Arc::new(settings)).unwrap_err();
        let words = "registry r.bad.example is blocked by [registry.\"*.bad.example\"] in /etc/r.toml";
        assert_eq!(error.to_string(), words);
    }
}
