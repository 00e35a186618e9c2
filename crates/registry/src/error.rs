//! Why a registry did not do what was asked, in words that name it, and the way out.

use std::io;
use std::path::PathBuf;

use oci::InvalidContent;
use step::Failure;

/// What went wrong. `registry` is what the user calls it; `asked` is what was to be done, as in `get manifest
/// library/alpine:latest`.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The file of settings cannot be read, or says something that makes no sense.
    #[error("{}: {reason}", path.display())]
    Settings {
        /// The file.
        path: PathBuf,
        /// What is wrong, with line and column where they are known.
        reason: String,
    },
    /// The settings say that nothing is to be asked of this registry.
    #[error("registry {registry} is blocked by {rule}")]
    Blocked {
        /// The registry.
        registry: String,
        /// The entry that says so.
        rule: String,
    },
    /// An image of another registry was asked of this client.
    #[error("{image} is not an image of registry {registry}")]
    Elsewhere {
        /// The client's registry.
        registry: String,
        /// The image.
        image: String,
    },
    /// No connection, or it broke, each time it was tried.
    #[error("registry {registry}: cannot {asked}: {reason}{}", times(*attempts))]
    Unreachable {
        /// The registry.
        registry: String,
        /// What was to be done.
        asked: String,
        /// Why, at the last attempt.
        reason: String,
        /// How often it was tried.
        attempts: u32,
    },
    /// The registry's certificate is not to be trusted, or it speaks no TLS.
    #[error("registry {registry}: cannot {asked}: {reason}")]
    Tls {
        /// The registry.
        registry: String,
        /// What was to be done.
        asked: String,
        /// Why.
        reason: String,
    },
    /// 401 or 403: not for this user, or not without a login.
    #[error("registry {registry}: cannot {asked}: access denied{}{}", of(user.as_ref()), said(message))]
    Denied {
        /// The registry.
        registry: String,
        /// What was to be done.
        asked: String,
        /// Who asked. None without a login.
        user: Option<String>,
        /// The registry's words.
        message: String,
    },
    /// 404: there is no such thing.
    #[error("registry {registry}: cannot {asked}: not found{}", said(message))]
    NotFound {
        /// The registry.
        registry: String,
        /// What was to be done.
        asked: String,
        /// The registry's words.
        message: String,
    },
    /// 429: too many requests, also after some waiting.
    #[error("registry {registry}: cannot {asked}: too many requests{}", said(message))]
    Busy {
        /// The registry.
        registry: String,
        /// What was to be done.
        asked: String,
        /// The registry's words.
        message: String,
    },
    /// Any other answer that is no success.
    #[error("registry {registry}: cannot {asked}: it answered {status}{}", said(message))]
    Status {
        /// The registry.
        registry: String,
        /// What was to be done.
        asked: String,
        /// HTTP's number.
        status: u16,
        /// The registry's words.
        message: String,
    },
    /// No file at an address of the web.
    #[error("{registry}: cannot {asked}: not found")]
    NoFile {
        /// The host.
        registry: String,
        /// What was to be done.
        asked: String,
    },
    /// An answer that does not follow the protocol.
    #[error("registry {registry}: cannot {asked}: {reason}")]
    Answer {
        /// The registry.
        registry: String,
        /// What was to be done.
        asked: String,
        /// What is wrong with it.
        reason: String,
    },
    /// Other content than the digest says.
    #[error("registry {registry}: cannot {asked}: the content has digest {found}, not {expected}")]
    Digest {
        /// The registry.
        registry: String,
        /// What was to be done.
        asked: String,
        /// What it should be.
        expected: String,
        /// What it is.
        found: String,
    },
    /// The caller's own content could not be read.
    #[error("cannot {asked}: {}", step::words(source))]
    Source {
        /// What was to be done.
        asked: String,
        /// Why.
        source: io::Error,
    },
    /// A kind of content that is not handled, on purpose.
    #[error("{what} is not supported: {reason}")]
    Unsupported {
        /// Which kind.
        what: String,
        /// Why not.
        reason: &'static str,
    },
    /// Content that is no manifest or contradicts itself.
    #[error("this is no image manifest: {reason}")]
    Manifest {
        /// What is wrong.
        reason: String,
    },
    /// The image is not there for this platform.
    #[error("{image} has nothing for {wanted}: there is {offered}")]
    Platform {
        /// The image.
        image: String,
        /// The platform.
        wanted: String,
        /// Those that there are.
        offered: String,
    },
    /// A program that keeps credentials failed.
    #[error("{program} {action}: {reason}")]
    Helper {
        /// `docker-credential-pass`.
        program: String,
        /// `get`, `store`, `erase`.
        action: &'static str,
        /// Why.
        reason: String,
    },
    /// The file of credentials could not be read or written.
    #[error("cannot {action} {}: {reason}", path.display())]
    Keyring {
        /// `read`, `write`.
        action: &'static str,
        /// The file.
        path: PathBuf,
        /// Why.
        reason: String,
    },
    /// The registry failed, and so did its mirrors before.
    #[error("{error} (before it: {mirrors})")]
    Mirrored {
        /// The registry's own failure.
        error: Box<Error>,
        /// Those of the mirrors.
        mirrors: String,
    },
}

fn times(attempts: u32) -> String {
    if attempts > 1 { format!(" ({attempts} times)") } else { String::new() }
}

fn of(user: Option<&String>) -> String {
    user.map_or(String::new(), |user| format!(" to {user}"))
}

fn said(message: &str) -> String {
    if message.is_empty() { String::new() } else { format!(": {message}") }
}

impl Error {
    /// What the user can do about it.
    pub fn hint(&self) -> Option<String> {
        Some(match self {
            Self::Blocked { .. } => "remove `blocked` from that entry, or choose another registry".into(),
            Self::Denied { registry, user: None, .. } => {
                format!("check the name; if it is private: minidocker login {registry}")
            }
            Self::Denied { registry, user: Some(_), .. } => {
                format!(
                    "check the name and the account's rights; another account: minidocker login {registry}"
                )
            }
            Self::NotFound { .. } => "check the name and the tag".into(),
            Self::NoFile { .. } => "check the address: its path and the file's name and version".into(),
            Self::Busy { registry, .. } => {
                format!("wait, or log in for a higher limit: minidocker login {registry}")
            }
            Self::Tls { registry, .. } => format!(
                "put the authority's certificate into /etc/docker/certs.d/{registry}/ca.crt; a registry without TLS \
                 needs `insecure = true` in the entry [registry.\"{registry}\"] of registries.toml"
            ),
            Self::Unreachable { .. } => {
                "check the name and the network; a proxy is set by https_proxy and no_proxy".into()
            }
            Self::Helper { program, reason, .. } if reason == crate::helper::MISSING => {
                format!("install {program}, or remove it from config.json")
            }
            Self::Platform { .. } => "choose one of them by --platform".into(),
            Self::Mirrored { error, .. } => return error.hint(),
            _ => return None,
        })
    }

    /// As a failed step, hint included. It has no target: the words name registry and thing.
    pub fn into_failure(self, step: &'static str) -> Failure {
        Failure { hint: self.hint(), ..Failure::because(step, "", self.to_string()) }
    }

    /// This error below an [`io::Error`], as a [`Blob`](crate::Blob) returns them.
    pub fn below(error: &io::Error) -> Option<&Self> {
        error.get_ref()?.downcast_ref()
    }
}

impl From<Error> for io::Error {
    fn from(error: Error) -> Self {
        Self::other(error)
    }
}

impl From<InvalidContent> for Error {
    fn from(error: InvalidContent) -> Self {
        match error {
            InvalidContent::Unsupported { what, reason } => Self::Unsupported { what, reason },
            InvalidContent::Manifest { reason } => Self::Manifest { reason },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn says_who_what_why_and_the_way_out() {
        let error = Error::Denied {
            registry: "ghcr.io".into(),
            asked: "get manifest o/app:1".into(),
            user: None,
            message: "unauthorized: authentication required".into(),
        };
        assert_eq!(
            error.to_string(),
            "registry ghcr.io: cannot get manifest o/app:1: access denied: unauthorized: authentication required"
        );
        let failure = error.into_failure("pull");
        assert_eq!(
            failure.hint.as_deref(),
            Some("check the name; if it is private: minidocker login ghcr.io")
        );
    }
}
