//! One request and its answer over ureq: redirects without giving credentials away, and faults in plain words. Nothing
//! is tried twice here.

use std::io::{self, Read};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use ureq::http::{HeaderMap, Method, Request, Response, StatusCode, header};
use ureq::unversioned::resolver::DefaultResolver;
use ureq::unversioned::transport::{ConnectProxyConnector, Connector as _, TcpConnector};
use ureq::{Agent, Body, SendBody};

use crate::certificates::Tls;
use crate::proxy;
use crate::settings::Settings;
use crate::tls::{Fault as TlsFault, TlsConnector};
use crate::url::{Scheme, Url};

/// As many as browsers follow is too many; blobs take one or two.
const MAX_REDIRECTS: usize = 5;

/// The longest pause that a registry's Retry-After may ask for.
pub(crate) const MAX_PAUSE: Duration = Duration::from_secs(60);

/// Connections to registries, kept for the next request.
#[derive(Debug)]
pub(crate) struct Http {
    settings: Arc<Settings>,
    tls: Arc<Tls>,
    /// By proxy and by whether certificates are checked.
    agents: Mutex<Vec<(Option<String>, bool, Agent)>>,
}

/// What to ask.
pub(crate) struct Ask<'a> {
    pub(crate) method: Method,
    pub(crate) url: Url,
    pub(crate) headers: Vec<(header::HeaderName, String)>,
    pub(crate) sending: Sending<'a>,
    /// `Authorization`, for the host of `url` alone.
    pub(crate) authorization: Option<String>,
    /// Whether the host's certificate is checked. Hosts that it leads to are always checked.
    pub(crate) checked: bool,
}

/// The request's content.
pub(crate) enum Sending<'a> {
    /// No content at all.
    Nothing,
    /// These bytes, which may be none.
    Bytes(&'a [u8]),
    /// So many bytes of a reader.
    Stream(Box<dyn Read + 'a>, u64),
}

/// Why there is no answer.
#[derive(Debug, Clone)]
pub(crate) struct Fault {
    /// In words.
    pub(crate) words: String,
    pub(crate) kind: Kind,
}

/// What kind of fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// May pass: a connection that is refused, broken or silent.
    Passing,
    /// TLS: the certificate, or there is none.
    Tls,
    /// Will be the same next time.
    Lasting,
}

impl<'a> Ask<'a> {
    pub(crate) fn new(method: Method, url: Url) -> Self {
        Self {
            method,
            url,
            headers: Vec::new(),
            sending: Sending::Nothing,
            authorization: None,
            checked: true,
        }
    }

    pub(crate) fn header(mut self, name: header::HeaderName, value: impl Into<String>) -> Self {
        self.headers.push((name, value.into()));
        self
    }

    pub(crate) fn bytes(mut self, bytes: &'a [u8]) -> Self {
        self.sending = Sending::Bytes(bytes);
        self
    }
}

impl Http {
    pub(crate) fn new(settings: Arc<Settings>) -> Self {
        let tls = Arc::new(Tls::new(Arc::clone(&settings)));
        Self { settings, tls, agents: Mutex::new(Vec::new()) }
    }

    /// Asks, and for GET and HEAD follows where it is sent to. The authorization stays with the first host.
    pub(crate) fn send(&self, mut ask: Ask<'_>) -> Result<Response<Body>, Fault> {
        let follows = matches!(ask.method, Method::GET | Method::HEAD);
        for _ in 0..=MAX_REDIRECTS {
            let response = self.exchange(&mut ask)?;
            let redirected = matches!(response.status().as_u16(), 301 | 302 | 303 | 307 | 308);
            if !redirected || !follows {
                return Ok(response);
            }
            let target = text(response.headers(), &header::LOCATION)
                .and_then(|location| ask.url.join(location))
                .ok_or_else(|| Fault::lasting("it redirects to no URL"))?;
            if ask.url.scheme == Scheme::Https && target.scheme == Scheme::Http {
                return Err(Fault::lasting(&format!("it redirects to {target:?}, without TLS")));
            }
            if !ask.url.same_origin(&target) {
                ask.authorization = None;
                ask.checked = true;
            }
            ask.url = target;
        }
        Err(Fault::lasting(&format!("it redirects more than {MAX_REDIRECTS} times")))
    }

    fn exchange(&self, ask: &mut Ask<'_>) -> Result<Response<Body>, Fault> {
        let mut request = Request::builder()
            .method(ask.method.clone())
            .uri(ask.url.to_string())
            .header(header::USER_AGENT, self.settings.user_agent.as_str())
            // Content is asked for as it is: its digest is that of the very bytes.
            .header(header::ACCEPT_ENCODING, "identity");
        for (name, value) in &ask.headers {
            request = request.header(name, value);
        }
        if let Some(authorization) = &ask.authorization {
            request = request.header(header::AUTHORIZATION, authorization);
        }
        if let Sending::Stream(_, length) = &ask.sending {
            request = request.header(header::CONTENT_LENGTH, *length);
        }
        let agent = self.agent(self.settings.proxies.of(&ask.url), ask.checked)?;
        let invalid = |_| Fault::lasting("the request cannot be written as HTTP");
        let answer = match &mut ask.sending {
            Sending::Nothing => agent.run(request.body(()).map_err(invalid)?),
            Sending::Bytes(bytes) => agent.run(request.body(*bytes).map_err(invalid)?),
            Sending::Stream(reader, _) => {
                agent.run(request.body(SendBody::from_reader(&mut **reader)).map_err(invalid)?)
            }
        };
        answer.map_err(|error| self.fault(&error))
    }

    fn agent(&self, proxy: Option<&str>, checked: bool) -> Result<Agent, Fault> {
        let mut agents = self.agents.lock().unwrap_or_else(PoisonError::into_inner);
        let known = agents.iter().find(|(of, check, _)| of.as_deref() == proxy && *check == checked);
        if let Some((_, _, agent)) = known {
            return Ok(agent.clone());
        }
        sys::names::look_up_without_modules().map_err(|error| {
            Fault::lasting(&format!("names cannot be looked up without modules: {}", step::words(&error)))
        })?;
        let through = proxy
            .map(|proxy| {
                let words = || format!("'{}' is no proxy", proxy::without_user(proxy).escape_debug());
                ureq::Proxy::new(proxy).map_err(|_| Fault::lasting(&words()))
            })
            .transpose()?;
        let config = Agent::config_builder()
            .http_status_as_error(false)
            .max_redirects(0)
            .max_redirects_will_error(false)
            .proxy(through)
            .timeout_resolve(Some(self.settings.connect_timeout))
            .timeout_connect(Some(self.settings.connect_timeout))
            .timeout_per_read(Some(self.settings.stall_timeout))
            .timeout_per_write(Some(self.settings.stall_timeout))
            .max_idle_connections(32)
            .max_idle_connections_per_host(16)
            .build();
        let connector =
            ().chain(ConnectProxyConnector::default())
                .chain(TcpConnector::default())
                .chain(TlsConnector { tls: Arc::clone(&self.tls), checked });
        let agent = Agent::with_parts(config, connector, DefaultResolver::default());
        agents.push((proxy.map(str::to_owned), checked, agent.clone()));
        Ok(agent)
    }

    fn fault(&self, error: &ureq::Error) -> Fault {
        let passing = |words: String| Fault { words, kind: Kind::Passing };
        match error {
            ureq::Error::Io(error) => Fault::of(error),
            ureq::Error::HostNotFound => passing("there is no host of that name".into()),
            ureq::Error::Timeout(ureq::Timeout::Connect | ureq::Timeout::Resolve) => {
                passing(format!("no connection within {} s", self.settings.connect_timeout.as_secs()))
            }
            ureq::Error::Timeout(_) => {
                passing(format!("no answer for {} s", self.settings.stall_timeout.as_secs()))
            }
            ureq::Error::ConnectionFailed => passing("no connection".into()),
            ureq::Error::ConnectProxyFailed(reason) => {
                Fault::lasting(&format!("the proxy refused: {reason}"))
            }
            ureq::Error::Other(other) => match other.downcast_ref::<TlsFault>() {
                Some(fault) => Fault { words: fault.0.clone(), kind: Kind::Tls },
                None => Fault::lasting(&other.to_string()),
            },
            other => Fault::lasting(&other.to_string()),
        }
    }
}

impl Fault {
    pub(crate) fn lasting(words: &str) -> Self {
        Self { words: oci::shown(words), kind: Kind::Lasting }
    }

    /// Of a connection that broke.
    pub(crate) fn of(error: &io::Error) -> Self {
        if let Some(inner) = error.get_ref().and_then(|inner| inner.downcast_ref::<ureq::Error>()) {
            return match inner {
                ureq::Error::Io(error) => Self::of(error),
                ureq::Error::Timeout(_) => {
                    Self { words: "nothing came for too long".into(), kind: Kind::Passing }
                }
                other => Self::lasting(&other.to_string()),
            };
        }
        let words = match error.kind() {
            io::ErrorKind::UnexpectedEof => "the connection was closed early".into(),
            io::ErrorKind::TimedOut | io::ErrorKind::WouldBlock => "nothing came for too long".into(),
            _ => oci::shown(&step::words(error)),
        };
        Self { words, kind: Kind::Passing }
    }
}

/// A header's value as text.
pub(crate) fn text<'a>(headers: &'a HeaderMap, name: &header::HeaderName) -> Option<&'a str> {
    headers.get(name).and_then(|value| value.to_str().ok())
}

/// A header by a name that HTTP does not know.
pub(crate) fn named<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name).and_then(|value| value.to_str().ok())
}

/// The whole of a body, if it is no longer than `limit`.
pub(crate) fn read(response: Response<Body>, limit: u64) -> Result<Option<Vec<u8>>, Fault> {
    let mut bytes = Vec::new();
    let reader = response.into_body().into_reader();
    reader.take(limit + 1).read_to_end(&mut bytes).map_err(|error| Fault::of(&error))?;
    Ok((bytes.len() as u64 <= limit).then_some(bytes))
}

/// Whether the same request may succeed a little later.
pub(crate) fn may_pass(status: StatusCode) -> bool {
    matches!(status.as_u16(), 408 | 429 | 500 | 502 | 503 | 504)
}

/// Retry-After in seconds. Dates, which registries do not send, are passed over.
pub(crate) fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    text(headers, &header::RETRY_AFTER)?.trim().parse().ok().map(Duration::from_secs)
}

/// The pause after the `number`th failure, from 1: doubled each time, less a random part of up to a half, so that many
/// who failed at the same moment do not come back at the same moment.
pub(crate) fn pause(first: Duration, number: u32, random: f64) -> Duration {
    const LONGEST: Duration = Duration::from_secs(20);
    let whole = first.saturating_mul(1 << (number - 1).min(16)).min(LONGEST);
    whole.mul_f64(1.0 - random.clamp(0.0, 1.0) / 2.0)
}

/// From 0 to 1, good enough to spread requests.
pub(crate) fn random() -> f64 {
    use std::hash::{BuildHasher as _, Hasher as _, RandomState};
    // Each RandomState has keys of its own.
    let bits = RandomState::new().build_hasher().finish() >> 11;
    bits as f64 / (1u64 << 53) as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_to_a_limit_and_vary() {
        let first = Duration::from_millis(500);
        let whole: Vec<u128> = (1..9).map(|number| pause(first, number, 0.0).as_millis()).collect();
        assert_eq!(whole, [500, 1000, 2000, 4000, 8000, 16000, 20000, 20000]);
        assert_eq!(pause(first, 1, 1.0).as_millis(), 250);
        assert_eq!(pause(first, u32::MAX, 0.0).as_millis(), 20000);
        let some: Vec<f64> = (0..100).map(|_| random()).collect();
        assert!(some.iter().all(|value| (0.0..1.0).contains(value)));
        assert!(some.iter().any(|value| *value != some[0]));
    }

    #[test]
    fn retry_after_is_seconds() {
        let with = |value: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(header::RETRY_AFTER, value.parse().unwrap());
            retry_after(&headers)
        };
        assert_eq!(with("3"), Some(Duration::from_secs(3)));
        assert_eq!(with("Fri, 31 Dec 1999 23:59:59 GMT"), None);
        assert_eq!(with("-1"), None);
    }
}
