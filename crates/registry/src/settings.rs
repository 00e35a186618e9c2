//! One file says what is special about registries: `/etc/minidocker/registries.toml`.
//!
//! ```toml
//! attempts = 5            # how often something is tried before it fails; 1 is once
//! connect-timeout = 30    # seconds until a connection must stand
//! stall-timeout = 60      # seconds of silence until a connection counts as broken
//! chunk-size = 52428800   # bytes of one request of an upload; without it a blob goes up in one
//!
//! [registry."docker.io"]
//! mirrors = ["https://mirror.example", "http://10.0.0.5:5000"]   # asked first, in this order, never written to
//!
//! [registry."10.0.0.5:5000"]
//! insecure = true         # TLS without a check of the certificate, else plain HTTP
//!
//! [registry."registry.corp.example"]
//! ca = ["/etc/ssl/corp.pem"]                  # trusted beside the system's authorities
//! client-cert = "/etc/ssl/me.pem"
//! client-key = "/etc/ssl/me.key"
//!
//! [registry."*.bad.example"]
//! blocked = true
//! ```
//!
//! Registries on this machine (localhost, 127.0.0.0/8, ::1) are insecure by default, as in Docker, unless they have a
//! `ca` here or in `certs.d`. `/etc/docker/certs.d/HOST[:PORT]/` with `*.crt`, `*.cert` and `*.key` counts as well.

use std::collections::BTreeMap;
use std::env;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::Deserialize;

use crate::credentials::Keyring;
use crate::error::Error;
use crate::proxy::Proxies;
use crate::url;

/// Where the file is, unless the environment names another.
const FILE: &str = "/etc/minidocker/registries.toml";

/// Names another file.
const VARIABLE: &str = "MINIDOCKER_REGISTRIES";

/// How to deal with registries: the file's content and the environment's.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The file that was read, for messages.
    pub path: PathBuf,
    /// How often something is tried before it fails.
    pub attempts: u32,
    /// The pause before the second attempt; each further one is twice as long, up to 20 s, less a random part.
    pub first_pause: Duration,
    /// Until a connection must stand.
    pub connect_timeout: Duration,
    /// How long a connection may be silent.
    pub stall_timeout: Duration,
    /// How many bytes of a blob go up in one request. None: all of them.
    pub chunk_size: Option<u64>,
    /// By host, `host:port` or `*.domain`.
    pub hosts: BTreeMap<String, HostSettings>,
    /// Folders laid out as Docker's `certs.d`.
    pub certificate_folders: Vec<PathBuf>,
    /// Where credentials are kept. None: there are none.
    pub keyring: Option<Keyring>,
    /// Proxies.
    pub proxies: Proxies,
    /// What the client calls itself.
    pub user_agent: String,
}

/// What is special about one registry.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub struct HostSettings {
    /// URLs to ask first.
    pub mirrors: Vec<String>,
    /// Certificates are not checked, and plain HTTP will do.
    pub insecure: bool,
    /// Nothing is to be asked of it.
    pub blocked: bool,
    /// Files with certificates of authorities, PEM.
    pub ca: Vec<PathBuf>,
    /// The client's own certificate with its chain, PEM.
    pub client_cert: Option<PathBuf>,
    /// Its key, PEM.
    pub client_key: Option<PathBuf>,
}

/// The file as it is written.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
struct File {
    attempts: Option<u32>,
    connect_timeout: Option<u64>,
    stall_timeout: Option<u64>,
    chunk_size: Option<u64>,
    registry: BTreeMap<String, HostSettings>,
}

impl Default for Settings {
    /// Those of an empty file, without credentials and proxies.
    fn default() -> Self {
        Self {
            path: PathBuf::from(FILE),
            attempts: 5,
            first_pause: Duration::from_millis(500),
            connect_timeout: Duration::from_secs(30),
            stall_timeout: Duration::from_secs(60),
            chunk_size: None,
            hosts: BTreeMap::new(),
            certificate_folders: Vec::new(),
            keyring: None,
            proxies: Proxies::default(),
            user_agent: format!("minidocker/{} (linux; {})", env!("CARGO_PKG_VERSION"), env::consts::ARCH),
        }
    }
}

impl Settings {
    /// Reads the file at `path`, or else the one that `MINIDOCKER_REGISTRIES` names, or else
    /// `/etc/minidocker/registries.toml`, which need not be there; and the environment: credentials, proxies.
    ///
    /// # Errors
    ///
    /// [`Error::Settings`], with the line and column.
    pub fn load(path: Option<&Path>) -> Result<Self, Error> {
        let named = path.map(Path::to_owned).or_else(|| env::var_os(VARIABLE).map(PathBuf::from));
        let file = named.clone().unwrap_or_else(|| PathBuf::from(FILE));
        let text = match fs::read_to_string(&file) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound && named.is_none() => String::new(),
            Err(error) => return Err(Error::Settings { path: file, reason: step::words(&error) }),
        };
        let settings = Self::parse(&text, &file)?;
        Ok(Self {
            certificate_folders: vec!["/etc/docker/certs.d".into(), "/etc/containers/certs.d".into()],
            keyring: Keyring::from_environment(),
            proxies: Proxies::from_environment(),
            ..settings
        })
    }

    /// Reads the file's text; nothing of the environment.
    ///
    /// # Errors
    ///
    /// [`Error::Settings`] on `path`, with the line and column.
    pub fn parse(text: &str, path: &Path) -> Result<Self, Error> {
        let invalid = |reason: String| Error::Settings { path: path.to_owned(), reason };
        let file: File = toml::from_str(text).map_err(|error| invalid(words(&error, text)))?;
        for (host, entry) in &file.registry {
            if host.is_empty() || host.contains('/') {
                return Err(invalid(format!(
                    "registry.\"{}\": an entry's name is host, host:port or *.domain",
                    host.escape_debug()
                )));
            }
            for mirror in &entry.mirrors {
                let url = url::Url::parse(mirror);
                if url.is_none_or(|url| url.path.contains('?')) {
                    return Err(invalid(format!(
                        "registry.\"{host}\": mirror '{}' is no URL, as https://mirror.example",
                        mirror.escape_debug()
                    )));
                }
            }
            if entry.client_cert.is_some() != entry.client_key.is_some() {
                return Err(invalid(format!(
                    "registry.\"{host}\": client-cert and client-key need each other"
                )));
            }
        }
        let default = Self::default();
        let seconds = |value: Option<u64>, name: &str, or: Duration| match value {
            Some(0) => Err(invalid(format!("{name} is a number of seconds from 1"))),
            Some(value) => Ok(Duration::from_secs(value)),
            None => Ok(or),
        };
        if file.attempts == Some(0) {
            return Err(invalid("attempts is a number from 1".into()));
        }
        if file.chunk_size == Some(0) {
            return Err(invalid("chunk-size is a number of bytes from 1".into()));
        }
        Ok(Self {
            path: path.to_owned(),
            attempts: file.attempts.unwrap_or(default.attempts),
            connect_timeout: seconds(file.connect_timeout, "connect-timeout", default.connect_timeout)?,
            stall_timeout: seconds(file.stall_timeout, "stall-timeout", default.stall_timeout)?,
            chunk_size: file.chunk_size,
            hosts: file.registry,
            ..default
        })
    }

    /// The entry for a host, with its name: the host's own, or else the longest `*.domain` that it lies in.
    pub fn host(&self, host: &str) -> Option<(&str, &HostSettings)> {
        if let Some((name, entry)) = self.hosts.get_key_value(host) {
            return Some((name, entry));
        }
        let lies_in = |name: &&String| name.strip_prefix('*').is_some_and(|domain| host.ends_with(domain));
        let name = self.hosts.keys().filter(lies_in).max_by_key(|name| name.len())?;
        self.hosts.get_key_value(name).map(|(name, entry)| (name.as_str(), entry))
    }
}

/// What TOML's reader says, in one line with the place.
fn words(error: &toml::de::Error, text: &str) -> String {
    let place = error.span().map_or(String::new(), |span| {
        let before = &text.as_bytes()[..span.start.min(text.len())];
        let line = before.iter().filter(|byte| **byte == b'\n').count() + 1;
        let column = before.iter().rev().take_while(|byte| **byte != b'\n').count() + 1;
        format!("line {line}, column {column}: ")
    });
    format!("{place}{}", oci::shown(error.message()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Settings, String> {
        Settings::parse(text, Path::new("r.toml")).map_err(|error| error.to_string())
    }

    #[test]
    fn the_documents_example_is_read() {
        let example: String = include_str!("settings.rs")
            .lines()
            .skip_while(|line| *line != "//! ```toml")
            .skip(1)
            .take_while(|line| *line != "//! ```")
            .map(|line| format!("{}\n", line.trim_start_matches("//!")))
            .collect();
        let settings = parse(&example).unwrap();
        assert_eq!((settings.attempts, settings.chunk_size), (5, Some(52_428_800)));
        assert_eq!(settings.stall_timeout, Duration::from_secs(60));
        assert_eq!(
            settings.host("docker.io").unwrap().1.mirrors,
            ["https://mirror.example", "http://10.0.0.5:5000"]
        );
        assert!(settings.host("10.0.0.5:5000").unwrap().1.insecure);
        assert!(settings.host("10.0.0.5").is_none());
        assert_eq!(settings.host("registry.corp.example").unwrap().1.ca, [Path::new("/etc/ssl/corp.pem")]);
        assert!(settings.host("very.bad.example").unwrap().1.blocked);
        assert!(settings.host("bad.example").is_none());
        assert!(settings.host("notbad.example").is_none());
    }

    #[test]
    fn nothing_is_everything_as_usual() {
        let settings = parse("").unwrap();
        assert_eq!((settings.attempts, settings.hosts.len()), (5, 0));
    }

    #[test]
    fn mistakes_are_told_with_their_place() {
        for (text, words) in [
            ("attempts = 0", "r.toml: attempts is a number from 1"),
            ("attempts = \"x\"", "r.toml: line 1, column 12: invalid type: string \"x\", expected u32"),
            ("\n\nretries = 3", "r.toml: line 3, column 1: unknown field `retries`"),
            ("[registry.\"a\"]\ninsecur = true", "r.toml: line 2, column 1: unknown field `insecur`"),
            ("[registry.\"https://a\"]", "an entry's name is host, host:port or *.domain"),
            ("[registry.\"a\"]\nmirrors = [\"b.example\"]", "mirror 'b.example' is no URL"),
            ("[registry.\"a\"]\nclient-cert = \"/x\"", "client-cert and client-key need each other"),
            ("stall-timeout = 0", "stall-timeout is a number of seconds from 1"),
            ("= 1", "r.toml: line 1, column 1"),
        ] {
            let error = parse(text).expect_err(text);
            assert!(error.contains(words), "{text}: {error}");
        }
    }

    #[test]
    fn the_narrowest_entry_counts() {
        let text = "[registry.\"*.a.example\"]\nblocked = true\n[registry.\"*.b.a.example\"]\n[registry.\"c.b.a.example\"]\n\
                    insecure = true";
        let settings = parse(text).unwrap();
        let name = |host: &str| settings.host(host).map(|(name, _)| name.to_owned());
        assert_eq!(name("x.a.example").as_deref(), Some("*.a.example"));
        assert_eq!(name("x.b.a.example").as_deref(), Some("*.b.a.example"));
        assert_eq!(name("c.b.a.example").as_deref(), Some("c.b.a.example"));
    }
}
