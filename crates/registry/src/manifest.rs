//! Manifests: fetched whole, checked before anybody reads them, pushed, deleted.

use oci::image::ImageManifest;
use oci::{ACCEPTED, Content, Digest, Hasher, Platform, Reference, select, shown};
use ureq::http::{Method, header};

use crate::client::{Client, Job, To};
use crate::error::Error;
use crate::http;

/// The longest manifest that is taken, what registries take as well (distribution-spec, "Pushing Manifests").
pub const MAX_MANIFEST: u64 = 4 << 20;

/// An index may name an index. Nobody needs more.
const MAX_DEPTH: usize = 3;

/// The registry's own word on a content's digest.
const CONTENT_DIGEST: &str = "docker-content-digest";

/// A manifest as the registry has it. `bytes` have this digest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Manifest {
    /// The registry's Content-Type. [`Manifest::content`] knows what to make of it.
    pub media_type: String,
    /// What the bytes are called.
    pub digest: Digest,
    /// The very bytes: they are kept as they are, for their digest.
    pub bytes: Vec<u8>,
}

impl Manifest {
    /// What it says.
    ///
    /// # Errors
    ///
    /// Those of [`content`](crate::content).
    pub fn content(&self) -> Result<Content, Error> {
        Ok(oci::content(&self.media_type, &self.bytes)?)
    }
}

impl Client {
    /// The manifest of a tag or a digest, from a mirror or the registry.
    ///
    /// # Errors
    ///
    /// [`Error::NotFound`], [`Error::Digest`] where it is not the one asked for, [`Error::Answer`] where it is longer than
    /// [`MAX_MANIFEST`], and all that a connection and a login can fail with.
    pub fn manifest(&self, reference: &Reference) -> Result<Manifest, Error> {
        self.check(reference)?;
        let asked = format!("get manifest {}", named(reference));
        self.anywhere(|endpoint| {
            let job = Job { headers: accept(), ..Job::get(asked.clone(), reference.repository()) };
            let path = path(reference);
            let (headers, bytes) = self.fetch(endpoint, To::Path(&path), &job, MAX_MANIFEST)?;
            let said = http::named(&headers, CONTENT_DIGEST).and_then(|text| text.parse::<Digest>().ok());
            let media_type = shown(http::text(&headers, &header::CONTENT_TYPE).unwrap_or_default());
            // What was asked for by digest counts more than what the registry says.
            let expected = reference.digest().or(said);
            let found = match expected {
                Some(expected) => Digest::with(expected.algorithm(), &bytes),
                None => Digest::of(&bytes),
            };
            match expected.filter(|expected| *expected != found) {
                Some(expected) => Err(self.mismatch(&asked, expected, found)),
                None => Ok(Manifest { media_type, digest: found, bytes }),
            }
        })
    }

    /// The digest that a tag stands for now, without the manifest. None if there is no such tag.
    ///
    /// # Errors
    ///
    /// As [`Client::manifest`].
    pub fn digest(&self, reference: &Reference) -> Result<Option<Digest>, Error> {
        self.check(reference)?;
        let asked = format!("look up manifest {}", named(reference));
        let known = self.anywhere(|endpoint| {
            let job = Job {
                method: Method::HEAD,
                headers: accept(),
                ..Job::get(asked.clone(), reference.repository())
            };
            let response = self.call(endpoint, To::Path(&path(reference)), &job)?;
            Ok(http::named(response.headers(), CONTENT_DIGEST).and_then(|text| text.parse().ok()))
        });
        match known {
            Ok(Some(digest)) => Ok(Some(digest)),
            // Registries need not tell it.
            Ok(None) => self.manifest(reference).map(|manifest| Some(manifest.digest)),
            Err(error) if is_absent(&error) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// The image for a platform: the manifest itself, or through its index.
    ///
    /// # Errors
    ///
    /// As [`Client::manifest`] and [`content`](crate::content); [`Error::Platform`] with what there is.
    pub fn image(
        &self,
        reference: &Reference,
        platform: &Platform,
    ) -> Result<(Manifest, ImageManifest), Error> {
        let manifest = self.manifest(reference)?;
        self.choose(reference, manifest, platform)
    }

    /// What [`Client::image`] does once the manifest of the name is there: for one who needs that one, too.
    ///
    /// # Errors
    ///
    /// As [`Client::image`].
    pub fn choose(
        &self,
        reference: &Reference,
        mut manifest: Manifest,
        platform: &Platform,
    ) -> Result<(Manifest, ImageManifest), Error> {
        for _ in 0..MAX_DEPTH {
            let index = match manifest.content()? {
                Content::Image(image) => return Ok((manifest, *image)),
                Content::Index(index) => index,
            };
            let chosen = select(&index, platform).ok_or_else(|| Error::Platform {
                image: reference.to_string(),
                wanted: platform.to_string(),
                offered: oci::offered(&index),
            })?;
            manifest = self.manifest(&reference.at(oci::digest_of(chosen)?))?;
        }
        Err(Error::Manifest { reason: "it is an index of indexes of indexes".into() })
    }

    /// Pushes a manifest under a tag or, where `reference` has a digest, under that alone. Its digest.
    ///
    /// What it names must be there already. Where it has a `subject` and the registry does not know referrers, the list
    /// that stands in for them is kept up to date.
    ///
    /// # Errors
    ///
    /// [`Error::Digest`] where the bytes have another digest than the reference, or the registry thinks so; and all that a
    /// connection and a login can fail with.
    pub fn push_manifest(
        &self,
        reference: &Reference,
        media_type: &str,
        bytes: &[u8],
    ) -> Result<Digest, Error> {
        self.check(reference)?;
        let asked = format!("push manifest {}", named(reference));
        let algorithm = reference.digest().map_or(oci::Algorithm::Sha256, |digest| digest.algorithm());
        let mut hasher = Hasher::new(algorithm);
        hasher.update(bytes);
        let digest = hasher.finish();
        if let Some(expected) = reference.digest().filter(|expected| *expected != digest) {
            return Err(self.mismatch(&asked, expected, digest));
        }
        let job = Job {
            headers: vec![(header::CONTENT_TYPE, media_type.to_owned())],
            body: Some(bytes),
            ..Job::push(Method::PUT, asked, reference.repository())
        };
        let response = self.call(self.upstream(), To::Path(&path(reference)), &job)?;
        let said =
            http::named(response.headers(), CONTENT_DIGEST).and_then(|text| text.parse::<Digest>().ok());
        let knows_subject = response.headers().contains_key("oci-subject");
        if let Some(said) = said.filter(|said| said.algorithm() == algorithm && *said != digest) {
            return Err(self.mismatch(&job.asked, digest, said));
        }
        // Read to the end: the connection serves again.
        let _ = http::read(response, MAX_MANIFEST);
        if !knows_subject {
            self.note_referrer(reference, media_type, digest, bytes)?;
        }
        Ok(digest)
    }

    /// Deletes a tag, or with a digest the manifest and all its tags.
    ///
    /// # Errors
    ///
    /// [`Error::NotFound`]; [`Error::Unsupported`] where the registry does not delete.
    pub fn delete_manifest(&self, reference: &Reference) -> Result<(), Error> {
        self.check(reference)?;
        let asked = format!("delete manifest {}", named(reference));
        self.delete(asked, reference.repository(), &path(reference))
    }

    pub(crate) fn delete(&self, asked: String, repository: &str, path: &str) -> Result<(), Error> {
        let job = Job {
            method: Method::DELETE,
            actions: "delete",
            pass: &[400, 405],
            ..Job::get(asked, repository)
        };
        let response = self.call(self.upstream(), To::Path(path), &job)?;
        match response.status().as_u16() {
            // 400 with UNSUPPORTED is the specification's way for tags.
            400 | 405 => Err(Error::Unsupported {
                what: format!("{} at registry {}", job.asked, self.registry()),
                reason: "it does not delete; Docker's registry needs REGISTRY_STORAGE_DELETE_ENABLED=true",
            }),
            _ => Ok(()),
        }
    }

    pub(crate) fn check(&self, reference: &Reference) -> Result<(), Error> {
        if reference.registry() == self.registry() {
            return Ok(());
        }
        Err(Error::Elsewhere { registry: self.registry().to_owned(), image: reference.to_string() })
    }

    fn mismatch(&self, asked: &str, expected: Digest, found: Digest) -> Error {
        Error::Digest {
            registry: self.registry().to_owned(),
            asked: asked.to_owned(),
            expected: expected.to_string(),
            found: found.to_string(),
        }
    }
}

fn accept() -> Vec<(header::HeaderName, String)> {
    ACCEPTED.iter().map(|kind| (header::ACCEPT, (*kind).to_owned())).collect()
}

fn path(reference: &Reference) -> String {
    format!("{}/manifests/{}", reference.repository(), reference.wanted())
}

/// `library/alpine:latest`.
fn named(reference: &Reference) -> String {
    match reference.digest() {
        Some(digest) => format!("{}@{digest}", reference.repository()),
        None => format!("{}:{}", reference.repository(), reference.wanted()),
    }
}

pub(crate) fn is_absent(error: &Error) -> bool {
    match error {
        Error::NotFound { .. } => true,
        Error::Mirrored { error, .. } => is_absent(error),
        _ => false,
    }
}
