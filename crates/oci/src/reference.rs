//! Image names as Docker reads them: `alpine`, `localhost:5000/team/app:1.2`, `ghcr.io/o/app@sha256:…`.
//!
//! The grammar is that of github.com/distribution/reference (regexp.go and normalize.go there), which Docker,
//! containerd and Podman use.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::digest::{Digest, InvalidDigest};

/// What names without a registry belong to.
pub const DOCKER_HUB: &str = "docker.io";

/// Docker Hub's first name, still found in old scripts and in config.json.
const OLD_DOCKER_HUB: &str = "index.docker.io";

/// Where Docker Hub's own images live; left off in the short form.
const LIBRARY: &str = "library/";

/// The tag of a name that has neither tag nor digest.
const DEFAULT_TAG: &str = "latest";

/// The longest repository, without the registry.
const MAX_REPOSITORY: usize = 255;

/// The longest tag.
const MAX_TAG: usize = 128;

/// An image's name, complete: registry, repository, and a tag or a digest or both.
///
/// Shown in the familiar form, as Docker does (`alpine:latest`); [`Reference::canonical`] says all.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Reference {
    registry: String,
    repository: String,
    tag: Option<String>,
    digest: Option<Digest>,
}

/// Why a text is no image's name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidReference {
    /// Nothing at all.
    #[error("an image's name is missing")]
    Empty,
    /// A URL.
    #[error("'{}' is a URL, not an image's name: leave off '{scheme}://'", text.escape_debug())]
    Url {
        /// The text.
        text: String,
        /// What stands before `://`.
        scheme: String,
    },
    /// 64 hexadecimal digits: an image's id, which no repository may be called.
    #[error("'{text}' is an image's id, not its name")]
    Id {
        /// The text.
        text: String,
    },
    /// A capital letter.
    #[error("repository name '{}' has capital letters: it must be lower case", name.escape_debug())]
    UpperCase {
        /// The repository.
        name: String,
    },
    /// Something that the grammar does not allow in a repository.
    #[error(
        "'{}' is no repository name: its parts are made of a-z and 0-9, with single '.', '_', '__' or any number of \
         '-' between them",
        name.escape_debug()
    )]
    Repository {
        /// The repository, or what should be one.
        name: String,
    },
    /// Something before the first slash that looks like a host but can be none.
    #[error("'{}' is no registry: it is a host name or address, with or without a port", name.escape_debug())]
    Registry {
        /// The host, or what should be one.
        name: String,
    },
    /// A tag that is none.
    #[error(
        "'{}' is no tag: it is made of up to 128 letters, digits, '_', '.' and '-', and begins with none of the last \
         two",
        tag.escape_debug()
    )]
    Tag {
        /// The tag.
        tag: String,
    },
    /// A repository that is too long.
    #[error("a repository name has at most 255 characters, not {length}")]
    TooLong {
        /// How many it has.
        length: usize,
    },
    /// What stands behind the `@`.
    #[error(transparent)]
    Digest(#[from] InvalidDigest),
}

impl Reference {
    /// An image of this registry, by its parts.
    ///
    /// # Errors
    ///
    /// Those of the grammar. A name with neither tag nor digest gets the tag `latest`.
    pub fn new(
        registry: &str,
        repository: &str,
        tag: Option<&str>,
        digest: Option<Digest>,
    ) -> Result<Self, InvalidReference> {
        check_registry(registry)?;
        check_repository(repository)?;
        if let Some(tag) = tag {
            check_tag(tag)?;
        }
        let tag = match (tag, &digest) {
            (None, None) => Some(DEFAULT_TAG),
            (tag, _) => tag,
        };
        Ok(Self {
            registry: registry.to_owned(),
            repository: repository.to_owned(),
            tag: tag.map(str::to_owned),
            digest,
        })
    }

    /// The host, with its port if it was named: `docker.io`, `localhost:5000`.
    pub fn registry(&self) -> &str {
        &self.registry
    }

    /// What the registry calls it: `library/alpine`.
    pub fn repository(&self) -> &str {
        &self.repository
    }

    /// The tag. None only where there is a digest.
    pub fn tag(&self) -> Option<&str> {
        self.tag.as_deref()
    }

    /// The digest, if one was named.
    pub fn digest(&self) -> Option<Digest> {
        self.digest
    }

    /// The full form, `docker.io/library/alpine:latest`, for what other programs read.
    pub fn canonical(&self) -> String {
        format!("{}/{}{}", self.registry, self.repository, Suffix(self))
    }

    /// Registry and repository in the familiar form, without tag and digest: `alpine`.
    pub fn familiar_name(&self) -> String {
        if self.registry != DOCKER_HUB {
            return format!("{}/{}", self.registry, self.repository);
        }
        match self.repository.strip_prefix(LIBRARY) {
            Some(name) if !name.contains('/') => name.to_owned(),
            _ => self.repository.clone(),
        }
    }

    /// What to ask the registry for: the digest if there is one, else the tag. A digest wins, as Docker has it.
    pub fn wanted(&self) -> String {
        match (&self.digest, &self.tag) {
            (Some(digest), _) => digest.to_string(),
            (None, Some(tag)) => tag.clone(),
            (None, None) => DEFAULT_TAG.to_owned(),
        }
    }

    /// The same repository at this digest, without a tag.
    #[must_use]
    pub fn at(&self, digest: Digest) -> Self {
        Self { tag: None, digest: Some(digest), ..self.clone() }
    }

    /// The same repository at this tag, without a digest.
    ///
    /// # Errors
    ///
    /// A tag that is none.
    pub fn tagged(&self, tag: &str) -> Result<Self, InvalidReference> {
        check_tag(tag)?;
        Ok(Self { tag: Some(tag.to_owned()), digest: None, ..self.clone() })
    }
}

/// `:tag@digest`, as far as they are there.
struct Suffix<'a>(&'a Reference);

impl fmt::Display for Suffix<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(tag) = &self.0.tag {
            write!(f, ":{tag}")?;
        }
        if let Some(digest) = &self.0.digest {
            write!(f, "@{digest}")?;
        }
        Ok(())
    }
}

impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", self.familiar_name(), Suffix(self))
    }
}

impl FromStr for Reference {
    type Err = InvalidReference;

    fn from_str(text: &str) -> Result<Self, InvalidReference> {
        if text.is_empty() {
            return Err(InvalidReference::Empty);
        }
        let scheme = text.split_once("://").map(|(scheme, _)| scheme);
        if let Some(scheme) = scheme.filter(|scheme| scheme.chars().all(|c| c.is_ascii_alphabetic())) {
            return Err(InvalidReference::Url { text: text.to_owned(), scheme: scheme.to_owned() });
        }
        if is_id(text) {
            return Err(InvalidReference::Id { text: text.to_owned() });
        }
        let (registry, rest) = split_registry(text);
        let (name, digest) = match rest.split_once('@') {
            Some((name, digest)) => (name, Some(digest)),
            None => (rest, None),
        };
        let (name, tag) = match name.split_once(':') {
            Some((name, tag)) => (name, Some(tag)),
            None => (name, None),
        };
        let repository = match registry {
            // On Docker Hub alone a single word stands for one of its own images.
            DOCKER_HUB if !name.contains('/') => {
                check_repository(name)?;
                format!("{LIBRARY}{name}")
            }
            _ => name.to_owned(),
        };
        let digest = digest.map(str::parse).transpose()?;
        Self::new(registry, &repository, tag, digest)
    }
}

/// The registry and the rest. What stands before the first slash is a registry if it can be nothing else: `localhost`,
/// with a dot or a colon, or with a capital letter.
fn split_registry(text: &str) -> (&str, &str) {
    match text.split_once('/') {
        Some((OLD_DOCKER_HUB, rest)) => (DOCKER_HUB, rest),
        Some((first, rest)) if is_registry(first) => (first, rest),
        _ => (DOCKER_HUB, text),
    }
}

fn is_registry(first: &str) -> bool {
    first == "localhost" || first.contains(['.', ':']) || first.to_lowercase() != first
}

/// 64 hexadecimal digits in lower case.
fn is_id(text: &str) -> bool {
    text.len() == 64 && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

fn check_registry(text: &str) -> Result<(), InvalidReference> {
    let invalid = || InvalidReference::Registry { name: text.to_owned() };
    let (host, port) = match text.strip_prefix('[') {
        Some(rest) => {
            let (address, port) = rest.split_once(']').ok_or_else(invalid)?;
            if address.is_empty() || !address.bytes().all(|byte| byte.is_ascii_hexdigit() || byte == b':') {
                return Err(invalid());
            }
            (None, if port.is_empty() { None } else { Some(port.strip_prefix(':').ok_or_else(invalid)?) })
        }
        None => match text.split_once(':') {
            Some((host, port)) => (Some(host), Some(port)),
            None => (Some(text), None),
        },
    };
    let label = |label: &str| {
        !label.is_empty()
            && !label.starts_with('-')
            && !label.ends_with('-')
            && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
    };
    if host.is_some_and(|host| !host.split('.').all(label)) {
        return Err(invalid());
    }
    if port.is_some_and(|port| port.is_empty() || !port.bytes().all(|byte| byte.is_ascii_digit())) {
        return Err(invalid());
    }
    Ok(())
}

fn check_repository(name: &str) -> Result<(), InvalidReference> {
    if name.to_lowercase() != name {
        return Err(InvalidReference::UpperCase { name: name.to_owned() });
    }
    if !name.split('/').all(is_component) {
        return Err(InvalidReference::Repository { name: name.to_owned() });
    }
    if name.len() > MAX_REPOSITORY {
        return Err(InvalidReference::TooLong { length: name.len() });
    }
    Ok(())
}

/// `[a-z0-9]+`, with `.`, `_`, `__` or dashes between.
fn is_component(text: &str) -> bool {
    let letter = |byte: &u8| matches!(byte, b'a'..=b'z' | b'0'..=b'9');
    let separator =
        |text: &[u8]| matches!(text, b"." | b"_" | b"__") || text.iter().all(|byte| *byte == b'-');
    let bytes = text.as_bytes();
    bytes.first().is_some_and(letter)
        && bytes.last().is_some_and(letter)
        && bytes.split(letter).filter(|between| !between.is_empty()).all(separator)
}

fn check_tag(tag: &str) -> Result<(), InvalidReference> {
    let word = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    let mut bytes = tag.bytes();
    let valid = bytes.next().is_some_and(word) && bytes.all(|byte| word(byte) || matches!(byte, b'.' | b'-'));
    if !valid || tag.len() > MAX_TAG {
        return Err(InvalidReference::Tag { tag: tag.to_owned() });
    }
    Ok(())
}

impl Serialize for Reference {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.canonical())
    }
}

impl<'de> Deserialize<'de> for Reference {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests;
