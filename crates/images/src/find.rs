//! From what was typed to an image.

use oci::{Digest, Platform, Reference};
use step::Failure;

use crate::Images;
use crate::catalogue::Catalogue;
use crate::image::Image;
use crate::index::Index;

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

/// What a name or an id stands for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Found {
    /// One image.
    Image(Image),
    /// Several, each for a platform.
    Index(Index),
}

impl Found {
    /// Its id.
    pub fn id(&self) -> Digest {
        match self {
            Self::Image(image) => image.id,
            Self::Index(index) => index.id(),
        }
    }
}

fn is_hex(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

impl Images {
    /// The image that a user means: by name, by name and digest, by id or the beginning of one. Of several for platforms
    /// it is this machine's, or else the first. None if it is not here.
    ///
    /// # Errors
    /// What can be no image's name; a beginning that several ids have.
    pub fn find(&self, text: &str) -> Result<Option<Image>, Failure> {
        self.find_for(text, None)
    }

    /// The same for a platform, where one is asked for: none if of several images none is for it. An image that is alone
    /// is given whatever it is for.
    ///
    /// # Errors
    /// Those of [`Images::find`].
    pub fn find_for(&self, text: &str, platform: Option<&Platform>) -> Result<Option<Image>, Failure> {
        let catalogue = self.read()?;
        let index = match look_in(&catalogue, text)? {
            None => return Ok(None),
            Some(Found::Image(image)) => return Ok(Some(image)),
            Some(Found::Index(index)) => index,
        };
        let entry = match platform {
            Some(platform) => index.best(platform),
            None => {
                let first = || index.entries.iter().find(|entry| entry.image.is_some());
                index.best(&Platform::host()).or_else(first)
            }
        };
        Ok(entry.and_then(|entry| entry.image).and_then(|id| catalogue.get(&id).cloned()))
    }

    /// What a user means, an image or an index of some.
    ///
    /// # Errors
    /// Those of [`Images::find`].
    pub fn look(&self, text: &str) -> Result<Option<Found>, Failure> {
        look_in(&self.read()?, text)
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

pub(crate) fn look_in(catalogue: &Catalogue, text: &str) -> Result<Option<Found>, Failure> {
    let wanted = Wanted::parse(text)?;
    if let Wanted::Name(reference) = &wanted {
        let named = |names: &[String], digests: &[String]| match reference.digest() {
            Some(digest) => digests.contains(&by_digest(reference, digest)),
            None => names.contains(&reference.canonical()),
        };
        // First: an image of it may have been pulled by the index's digest.
        if let Some(index) = catalogue.indexes.iter().find(|index| named(&index.names, &index.digests)) {
            return Ok(Some(Found::Index(index.clone())));
        }
        if let Some(image) = catalogue.images.iter().find(|image| named(&image.names, &image.digests)) {
            return Ok(Some(Found::Image(image.clone())));
        }
    }
    let begin = match &wanted {
        Wanted::Id(hex) => hex,
        Wanted::Name(_) if is_hex(text) => text,
        Wanted::Name(_) => return Ok(None),
    };
    let images = catalogue.images.iter().filter(|image| image.id.hex().starts_with(begin));
    let indexes = catalogue.indexes.iter().filter(|index| index.id().hex().starts_with(begin));
    let mut found = images.cloned().map(Found::Image).chain(indexes.cloned().map(Found::Index));
    match (found.next(), found.next()) {
        (Some(_), Some(_)) => {
            Err(Failure::because("images", text, "is ambiguous: several images' ids begin with it")
                .hint("give more digits, or a name"))
        }
        (first, _) => Ok(first),
    }
}

/// `docker.io/library/alpine@sha256:…`.
pub(crate) fn by_digest(reference: &Reference, digest: Digest) -> String {
    format!("{}/{}@{digest}", reference.registry(), reference.repository())
}
