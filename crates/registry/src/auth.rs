//! How one endpoint is convinced: nothing, a password with each request, or a token from the server that it names
//! (distribution's spec/auth/token.md and oauth.md).

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use oci::shown;
use serde::Deserialize;
use ureq::http::{HeaderMap, Method, header};

use crate::challenge::challenges;
use crate::credentials::{Credential, Keyring};
use crate::error::Error;
use crate::http::{self, Ask, Http, Kind};
use crate::settings::Settings;
use crate::url::{Scheme, Url, encoded};

/// What a token server says at most.
const MAX_TOKEN: u64 = 1 << 20;

/// How long a token is good if the server does not say (token.md: 60 s).
const DEFAULT_LIFE: u64 = 60;

/// A token is not used in its last seconds: the request has to get there.
const MARGIN: Duration = Duration::from_secs(5);

/// What is known about one endpoint's ways. One lock over all: threads that need the same token wait for one request.
#[derive(Debug)]
pub(crate) struct Auth {
    /// What the user calls the registry; credentials are kept under this name.
    registry: String,
    /// A credential to use instead of the kept one.
    fixed: Option<Credential>,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    way: Option<Way>,
    /// By the scopes that a request needs by itself.
    tokens: HashMap<String, Token>,
    /// What the registry wanted beside them, by the same.
    more_scopes: HashMap<String, Vec<String>>,
    credentials: HashMap<String, Option<Credential>>,
}

#[derive(Debug, Clone)]
enum Way {
    Basic,
    Bearer { realm: Url, service: Option<String> },
}

struct Token {
    value: String,
    until: Instant,
}

impl std::fmt::Debug for Token {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Token(..)")
    }
}

/// What a request needs.
#[derive(Debug, Clone)]
pub(crate) struct Need<'a> {
    pub(crate) repository: &'a str,
    /// `repository:library/alpine:pull`.
    pub(crate) scopes: Vec<String>,
    /// What is to be done, for messages.
    pub(crate) asked: &'a str,
}

/// What a token server answers.
#[derive(Deserialize)]
struct Answer {
    #[serde(default)]
    token: String,
    #[serde(default)]
    access_token: String,
    expires_in: Option<u64>,
}

impl Auth {
    pub(crate) fn new(registry: &str, fixed: Option<Credential>) -> Self {
        Self { registry: registry.to_owned(), fixed, state: Mutex::default() }
    }

    /// `Authorization` for a request, as far as the endpoint's way is known by now.
    pub(crate) fn header(
        &self,
        http: &Http,
        settings: &Settings,
        need: &Need<'_>,
    ) -> Result<Option<String>, Error> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(way) = state.way.clone() else { return Ok(None) };
        let credential = self.credential(&mut state, settings.keyring.as_ref(), need.repository)?;
        let (realm, service) = match way {
            Way::Basic => return Ok(credential.as_ref().and_then(Credential::basic)),
            Way::Bearer { realm, service } => (realm, service),
        };
        let key = need.scopes.join(" ");
        if let Some(token) = state.tokens.get(&key).filter(|token| token.until > Instant::now()) {
            return Ok(Some(format!("Bearer {}", token.value)));
        }
        let mut need = need.clone();
        need.scopes.extend(state.more_scopes.get(&key).into_iter().flatten().cloned());
        let token = self.fetch(http, settings, &need, (&realm, service.as_deref()), credential.as_ref())?;
        let header = format!("Bearer {}", token.value);
        state.tokens.insert(key, token);
        Ok(Some(header))
    }

    /// Learns from a 401 to a request over `scheme` with the authorization `sent`. False if it brought nothing that could
    /// be tried.
    ///
    /// # Errors
    ///
    /// A token server without TLS for a registry with TLS, a credential that cannot be read.
    pub(crate) fn challenged(
        &self,
        settings: &Settings,
        headers: &HeaderMap,
        (scheme, sent): (Scheme, Option<&str>),
        need: &Need<'_>,
    ) -> Result<bool, Error> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let key = need.scopes.join(" ");
        // Another thread may have got a better one meanwhile: that one stays.
        let refused =
            |token: &Token| sent.and_then(|sent| sent.strip_prefix("Bearer ")) == Some(&token.value);
        if state.tokens.get(&key).is_some_and(refused) {
            state.tokens.remove(&key);
        }
        let offers: Vec<_> = headers
            .get_all(header::WWW_AUTHENTICATE)
            .iter()
            .filter_map(|value| value.to_str().ok())
            .flat_map(challenges)
            .collect();
        if let Some(bearer) = offers.iter().find(|offer| offer.scheme == "bearer") {
            let realm = bearer.parameter("realm").and_then(Url::parse);
            let realm = realm.ok_or_else(|| self.answer(need, "it names no token server".into()))?;
            if scheme == Scheme::Https && realm.scheme == Scheme::Http {
                let reason = format!("its token server {realm:?} is without TLS: no password goes there");
                return Err(self.answer(need, reason));
            }
            let asked_for = bearer.parameter("scope").unwrap_or_default().split_whitespace();
            let more: Vec<String> = asked_for
                .filter(|scope| !need.scopes.iter().any(|own| own == scope))
                .map(str::to_owned)
                .collect();
            if !more.is_empty() && state.more_scopes.get(&key) != Some(&more) {
                state.more_scopes.insert(key.clone(), more);
                state.tokens.remove(&key);
            }
            let service = bearer.parameter("service").map(str::to_owned);
            state.way = Some(Way::Bearer { realm, service });
            return Ok(true);
        }
        if offers.iter().any(|offer| offer.scheme == "basic") {
            state.way = Some(Way::Basic);
            let credential = self.credential(&mut state, settings.keyring.as_ref(), need.repository)?;
            return Ok(sent.is_none() && credential.and_then(|credential| credential.basic()).is_some());
        }
        Ok(false)
    }

    /// Who one is here, for messages.
    pub(crate) fn user(&self, repository: &str) -> Option<String> {
        let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let credential =
            self.fixed.as_ref().or_else(|| state.credentials.get(repository).and_then(Option::as_ref))?;
        Some(credential.user().unwrap_or("the bearer of a token").to_owned())
    }

    fn credential(
        &self,
        state: &mut State,
        keyring: Option<&Keyring>,
        repository: &str,
    ) -> Result<Option<Credential>, Error> {
        if self.fixed.is_some() {
            return Ok(self.fixed.clone());
        }
        if let Some(known) = state.credentials.get(repository) {
            return Ok(known.clone());
        }
        let found = keyring.map_or(Ok(None), |keyring| keyring.find(&self.registry, repository))?;
        state.credentials.insert(repository.to_owned(), found.clone());
        Ok(found)
    }

    fn answer(&self, need: &Need<'_>, reason: String) -> Error {
        Error::Answer { registry: self.registry.clone(), asked: need.asked.to_owned(), reason }
    }

    fn fetch(
        &self,
        http: &Http,
        settings: &Settings,
        need: &Need<'_>,
        (realm, service): (&Url, Option<&str>),
        credential: Option<&Credential>,
    ) -> Result<Token, Error> {
        let asked_at = Instant::now();
        let form = match credential {
            Some(Credential::IdentityToken(token)) => Some(form(service, &need.scopes, token)),
            _ => None,
        };
        let mut failures = 0;
        let response = loop {
            let mut ask = match &form {
                Some(form) => Ask::new(Method::POST, realm.clone())
                    .header(header::CONTENT_TYPE, "application/x-www-form-urlencoded")
                    .bytes(form.as_bytes()),
                None => Ask::new(Method::GET, query(realm, service, &need.scopes, credential)),
            };
            ask.authorization = credential.and_then(Credential::basic);
            ask.checked = crate::endpoint::is_checked(settings, &realm.authority, &self.registry);
            failures += 1;
            let wait = match http.send(ask) {
                Ok(response) if !http::may_pass(response.status()) || failures >= settings.attempts => {
                    break response;
                }
                Ok(response) => http::retry_after(response.headers()).filter(|wait| *wait <= http::MAX_PAUSE),
                Err(fault) if fault.kind == Kind::Passing && failures < settings.attempts => None,
                Err(fault) => {
                    let reason = format!("its token server {}: {}", realm.authority, fault.words);
                    let (registry, asked) = (self.registry.clone(), need.asked.to_owned());
                    return Err(match fault.kind {
                        Kind::Tls => Error::Tls { registry, asked, reason },
                        _ => Error::Unreachable { registry, asked, reason, attempts: failures },
                    });
                }
            };
            let pause = || http::pause(settings.first_pause, failures, http::random());
            std::thread::sleep(wait.unwrap_or_else(pause));
        };
        let status = response.status().as_u16();
        let body = http::read(response, MAX_TOKEN).map_err(|fault| self.answer(need, fault.words))?;
        let body = body.ok_or_else(|| self.answer(need, "its token server says too much".into()))?;
        if status != 200 {
            return Err(self.refused(need, status, &body, credential));
        }
        let answer: Answer = serde_json::from_slice(&body)
            .map_err(|_| self.answer(need, "its token server answers no JSON".into()))?;
        let value = if answer.token.is_empty() { answer.access_token } else { answer.token };
        if value.is_empty() || !value.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(self.answer(need, "its token server gives no token".into()));
        }
        let life = Duration::from_secs(answer.expires_in.unwrap_or(DEFAULT_LIFE).min(24 * 3600));
        Ok(Token { value, until: asked_at + life.saturating_sub(MARGIN) })
    }

    fn refused(&self, need: &Need<'_>, status: u16, body: &[u8], credential: Option<&Credential>) -> Error {
        let (registry, asked) = (self.registry.clone(), need.asked.to_owned());
        let message = crate::client::message(body);
        match status {
            // 400: what oauth.md's invalid_grant comes with.
            400 | 401 | 403 => Error::Denied {
                registry,
                asked,
                user: credential
                    .map(|credential| credential.user().unwrap_or("the bearer of a token").to_owned()),
                message: shown(&format!("the token server refused: {message}")),
            },
            429 => Error::Busy { registry, asked, message },
            _ => Error::Status {
                registry,
                asked,
                status,
                message: shown(&format!("the token server: {message}")),
            },
        }
    }
}

fn query(realm: &Url, service: Option<&str>, scopes: &[String], credential: Option<&Credential>) -> Url {
    let mut url = realm.clone();
    if let Some(service) = service {
        url = url.with("service", service);
    }
    for scope in scopes {
        url = url.with("scope", scope);
    }
    match credential.and_then(Credential::user) {
        Some(user) => url.with("account", user),
        None => url,
    }
}

fn form(service: Option<&str>, scopes: &[String], token: &str) -> String {
    let mut form = format!(
        "grant_type=refresh_token&client_id=minidocker&access_type=offline&refresh_token={}&scope={}",
        encoded(token),
        encoded(&scopes.join(" "))
    );
    if let Some(service) = service {
        form.push_str("&service=");
        form.push_str(&encoded(service));
    }
    form
}
