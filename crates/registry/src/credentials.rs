//! Who one is to a registry, and where that is kept: Docker's config.json, Podman's auth.json, and the helpers that
//! they name.

use std::env;
use std::fmt;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use oci::DOCKER_HUB;
use serde_json::{Map, Value};

use crate::error::Error;
use crate::helper;

/// What Docker Hub is called in config.json and by helpers, for historical reasons.
const DOCKER_HUB_KEY: &str = "https://index.docker.io/v1/";

/// A login. Its `Debug` form does not tell the secret.
#[derive(Clone, PartialEq, Eq)]
pub enum Credential {
    /// A name with a password, or with a token in its place.
    Password {
        /// The name.
        user: String,
        /// The password.
        secret: String,
    },
    /// What a token server gave for a password once; only it takes it.
    IdentityToken(String),
}

impl Credential {
    /// The name, if there is one.
    pub fn user(&self) -> Option<&str> {
        match self {
            Self::Password { user, .. } => Some(user),
            Self::IdentityToken(_) => None,
        }
    }

    /// The value of `Authorization` for HTTP's basic authentication. None for a token.
    pub(crate) fn basic(&self) -> Option<String> {
        match self {
            Self::Password { user, secret } => {
                Some(format!("Basic {}", BASE64_STANDARD.encode(format!("{user}:{secret}"))))
            }
            Self::IdentityToken(_) => None,
        }
    }
}

impl fmt::Debug for Credential {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Password { user, .. } => write!(f, "Password {{ user: {user:?}, .. }}"),
            Self::IdentityToken(_) => f.write_str("IdentityToken(..)"),
        }
    }
}

/// Where a credential went.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Stored {
    /// Into the file, readable by its owner alone, but not encrypted.
    File(PathBuf),
    /// To this program.
    Helper(String),
}

/// The file of credentials.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Keyring {
    path: PathBuf,
}

impl Keyring {
    /// The one in this file, which need not be there yet.
    pub fn at(path: impl Into<PathBuf>) -> Self {
        Self { path: path.into() }
    }

    /// `$REGISTRY_AUTH_FILE`, or `$DOCKER_CONFIG/config.json`, or `~/.docker/config.json`. None without a home.
    pub fn from_environment() -> Option<Self> {
        let set = |name: &str| env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
        let path = set("REGISTRY_AUTH_FILE")
            .or_else(|| set("DOCKER_CONFIG").map(|folder| folder.join("config.json")))
            .or_else(|| set("HOME").map(|home| home.join(".docker/config.json")))?;
        Some(Self { path })
    }

    /// The file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The credential for a registry, or for one repository of it where the file has such an entry (Podman's files
    /// may). None if there is none.
    ///
    /// # Errors
    ///
    /// [`Error::Keyring`] for a file that cannot be read, [`Error::Helper`] for a helper that fails.
    pub fn find(&self, registry: &str, repository: &str) -> Result<Option<Credential>, Error> {
        let config = self.read()?;
        if let Some(helper) = helper_of(&config, registry)
            && let Some(found) = helper::get(&helper, server(registry))?
        {
            return Ok(Some(found));
        }
        let Some(Value::Object(auths)) = config.get("auths") else { return Ok(None) };
        // From the whole name up to the host alone.
        let mut wanted = format!("{registry}/{repository}");
        wanted.truncate(wanted.trim_end_matches('/').len());
        loop {
            let of = |(key, _): &(&String, &Value)| same(key, &wanted);
            if let Some(found) = auths.iter().filter(of).find_map(|(_, entry)| decode(entry)) {
                return Ok(Some(found));
            }
            match wanted.rfind('/') {
                Some(end) => wanted.truncate(end),
                None => return Ok(None),
            }
        }
    }

    /// Keeps a credential: by the helper that the file names for this registry or for all, or else in the file itself,
    /// with mode 0600. What else the file says stays.
    ///
    /// # Errors
    ///
    /// As for [`Keyring::find`].
    pub fn store(&self, registry: &str, credential: &Credential) -> Result<Stored, Error> {
        let mut entry = Map::new();
        let mut stored = Stored::File(self.path.clone());
        self.change(|config| {
            if let Some(helper) = helper_of(config, registry) {
                helper::store(&helper, server(registry), credential)?;
                stored = Stored::Helper(format!("docker-credential-{helper}"));
            } else {
                match credential {
                    Credential::Password { user, secret } => {
                        let auth = BASE64_STANDARD.encode(format!("{user}:{secret}"));
                        entry.insert("auth".into(), Value::String(auth));
                    }
                    Credential::IdentityToken(token) => {
                        entry.insert("auth".into(), Value::String(BASE64_STANDARD.encode("<token>:")));
                        entry.insert("identitytoken".into(), Value::String(token.clone()));
                    }
                }
            }
            let auths = config.entry("auths").or_insert_with(|| Value::Object(Map::new()));
            if let Value::Object(auths) = auths {
                auths.retain(|key, _| !same(key, registry));
                auths.insert(server(registry).to_owned(), Value::Object(entry));
            }
            Ok(true)
        })?;
        Ok(stored)
    }

    /// Forgets a registry, in the file and in its helper. Whether there was something to forget.
    ///
    /// # Errors
    ///
    /// As for [`Keyring::find`].
    pub fn erase(&self, registry: &str) -> Result<bool, Error> {
        let mut known = false;
        self.change(|config| {
            if let Some(helper) = helper_of(config, registry) {
                known = helper::get(&helper, server(registry))?.is_some();
                helper::erase(&helper, server(registry))?;
            }
            let Some(Value::Object(auths)) = config.get_mut("auths") else { return Ok(false) };
            let before = auths.len();
            auths.retain(|key, _| !same(key, registry));
            let found = auths.len() < before;
            known |= found;
            Ok(found)
        })?;
        Ok(known)
    }

    fn failed(&self, action: &'static str, reason: String) -> Error {
        Error::Keyring { action, path: self.path.clone(), reason }
    }

    fn read(&self) -> Result<Map<String, Value>, Error> {
        let text = match fs::read(&self.path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Map::new()),
            Err(error) => return Err(self.failed("read", step::words(&error))),
        };
        if text.iter().all(u8::is_ascii_whitespace) {
            return Ok(Map::new());
        }
        // Of JSON's error only the place is told: what stands there may be a secret.
        serde_json::from_slice(&text).map_err(|error| {
            self.failed("read", format!("no JSON object, line {}, column {}", error.line(), error.column()))
        })
    }

    /// Reads, changes and replaces the file, one process after the other. Nothing is written if `change` says false.
    fn change(
        &self,
        change: impl FnOnce(&mut Map<String, Value>) -> Result<bool, Error>,
    ) -> Result<(), Error> {
        let io = |error: io::Error| self.failed("write", step::words(&error));
        // Through a link to the file itself: dotfiles are often links.
        let path = fs::canonicalize(&self.path).unwrap_or_else(|_| self.path.clone());
        let folder = match path.parent() {
            Some(folder) if !folder.as_os_str().is_empty() => folder,
            _ => Path::new("."),
        };
        if !folder.exists() {
            let mut builder = fs::DirBuilder::new();
            std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
            builder.recursive(true).create(folder).map_err(io)?;
        }
        // The folder's own lock: the file is replaced, and a lock on it would go with the old one.
        let lock = File::open(folder).map_err(io)?;
        lock.lock().map_err(io)?;
        let mut config = self.read()?;
        if !change(&mut config)? {
            return Ok(());
        }
        let text = serde_json::to_string_pretty(&Value::Object(config))
            .map_err(|error| self.failed("write", error.to_string()))?;
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let new = folder.join(format!(".{name}.{}", std::process::id()));
        let _ = fs::remove_file(&new);
        let written =
            OpenOptions::new().write(true).create_new(true).mode(0o600).open(&new).and_then(|mut file| {
                file.write_all(text.as_bytes())?;
                file.write_all(b"\n")?;
                file.sync_data()
            });
        written.and_then(|()| fs::rename(&new, &path)).map_err(|error| {
            let _ = fs::remove_file(&new);
            io(error)
        })
    }
}

/// What helpers and the file call a registry.
fn server(registry: &str) -> &str {
    if registry == DOCKER_HUB { DOCKER_HUB_KEY } else { registry }
}

/// The helper for this registry: its own, or the one for all.
fn helper_of(config: &Map<String, Value>, registry: &str) -> Option<String> {
    let own = config.get("credHelpers").and_then(Value::as_object).and_then(|helpers| {
        helpers.iter().find(|(key, _)| same(key, registry)).and_then(|(_, helper)| helper.as_str())
    });
    own.or_else(|| config.get("credsStore").and_then(Value::as_str))
        .filter(|helper| !helper.is_empty())
        .map(str::to_owned)
}

/// Whether a key of config.json means this name (a host, or a host with a path).
fn same(key: &str, name: &str) -> bool {
    let plain = key.split_once("://").map_or(key, |(_, rest)| rest).trim_end_matches('/');
    let plain = plain.strip_suffix("/v1").or_else(|| plain.strip_suffix("/v2")).unwrap_or(plain);
    let plain = match plain.split_once('/') {
        Some((host, path)) => format!("{}/{path}", hub(host)),
        None => hub(plain).to_owned(),
    };
    plain == name
}

/// Docker Hub's other names.
fn hub(host: &str) -> &str {
    if matches!(host, "index.docker.io" | "registry-1.docker.io") { DOCKER_HUB } else { host }
}

/// An entry of `auths`. None for an empty one, which only says that a helper knows more.
fn decode(entry: &Value) -> Option<Credential> {
    let text = |name: &str| entry.get(name).and_then(Value::as_str).filter(|text| !text.is_empty());
    if let Some(token) = text("identitytoken") {
        return Some(Credential::IdentityToken(token.to_owned()));
    }
    if let Some(auth) = text("auth") {
        let bytes = BASE64_STANDARD.decode(auth.trim()).ok()?;
        let text = String::from_utf8(bytes).ok()?;
        let (user, secret) = text.split_once(':')?;
        // Docker pads with zero bytes.
        let secret = secret.trim_end_matches('\0');
        return Some(Credential::Password { user: user.to_owned(), secret: secret.to_owned() });
    }
    let (user, secret) = (text("username")?, text("password")?);
    Some(Credential::Password { user: user.to_owned(), secret: secret.to_owned() })
}

#[cfg(test)]
mod tests;
