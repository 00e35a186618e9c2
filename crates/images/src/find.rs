//! From what was typed to an image.

use oci::{Digest, Reference};
use step::Failure;

use crate::Images;
use crate::catalogue::Catalogue;
use crate::image::Image;

/// What a user means by a word.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Wanted {
    /// A name, complete.
    Name(Reference),
    /// An id, or the beginning of one: hexadecimal digits.
    Id(String),
}

impl Wanted {
    /// Reads it. `abc` may be a name and the beginning of an id: it is a name here, and [`Images::find`] tries both.
    ///
    /// # Errors
    /// What is neither.
    pub(crate) fn parse(text: &str) -> Result<Self, Failure> {
        if let Some(hex) = text.strip_prefix("sha256:")
            && is_hex(hex)
        {
            return Ok(Self::Id(hex.to_owned()));
        }
        if text.len() == 64 && is_hex(text) {
            return Ok(Self::Id(text.to_owned()));
        }
        let invalid = |error: oci::InvalidReference| Failure::because("images", "", error.to_string());
        text.parse().map(Self::Name).map_err(invalid)
    }
}

fn is_hex(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

impl Images {
    /// The image that a user means: by name, by name and digest, by id or the beginning of one. None if it is not here.
    ///
    /// # Errors
    /// What can be no image's name; a beginning that several ids have.
    pub fn find(&self, text: &str) -> Result<Option<Image>, Failure> {
        find_in(&self.read()?, text)
    }

    /// The same where it has to be here.
    ///
    /// # Errors
    /// Those of [`Images::find`], and an image that is not here.
    pub fn get(&self, text: &str) -> Result<Image, Failure> {
        self.find(text)?.ok_or_else(|| missing(text))
    }

    /// The image of an id.
    ///
    /// # Errors
    /// A catalogue that cannot be read.
    pub fn by_id(&self, id: &Digest) -> Result<Option<Image>, Failure> {
        Ok(self.read()?.get(id).cloned())
    }
}

pub(crate) fn missing(text: &str) -> Failure {
    Failure::because("images", "", format!("no such image: {text}"))
        .hint(format!("`minidocker images` lists those that are here; `minidocker pull {text}` may bring it"))
}

pub(crate) fn find_in(catalogue: &Catalogue, text: &str) -> Result<Option<Image>, Failure> {
    let wanted = Wanted::parse(text)?;
    if let Wanted::Name(reference) = &wanted {
        let named = |image: &&Image| match reference.digest() {
            Some(digest) => image.digests.contains(&by_digest(reference, digest)),
            None => image.names.contains(&reference.canonical()),
        };
        if let Some(image) = catalogue.images.iter().find(named) {
            return Ok(Some(image.clone()));
        }
    }
    let begin = match &wanted {
        Wanted::Id(hex) => hex,
        Wanted::Name(_) if is_hex(text) => text,
        Wanted::Name(_) => return Ok(None),
    };
    let mut found = catalogue.images.iter().filter(|image| image.id.hex().starts_with(begin));
    match (found.next(), found.next()) {
        (Some(_), Some(_)) => {
            Err(Failure::because("images", text, "is ambiguous: several images' ids begin with it")
                .hint("give more digits, or a name"))
        }
        (first, _) => Ok(first.cloned()),
    }
}

/// `docker.io/library/alpine@sha256:…`.
pub(crate) fn by_digest(reference: &Reference, digest: Digest) -> String {
    format!("{}/{}@{digest}", reference.registry(), reference.repository())
}
