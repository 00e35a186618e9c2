//! What a repository has: its tags, and what refers to a manifest.

use oci::image::{Descriptor, ImageIndex};
use oci::{Content, Digest, Reference};
use serde::Deserialize;
use serde_json::{Value, json};
use ureq::http::header;

use crate::client::{Client, Job, To};
use crate::error::Error;
use crate::http;
use crate::manifest::{MAX_MANIFEST, is_absent};
use crate::url::encoded;

/// What one page may have.
const MAX_PAGE: u64 = 16 << 20;

/// A list that does not end by then leads in a circle.
const MAX_PAGES: usize = 10_000;

#[derive(Deserialize)]
struct Tags {
    /// Null where there are none.
    tags: Option<Vec<String>>,
}

impl Client {
    /// A repository's tags, in the registry's order.
    ///
    /// # Errors
    ///
    /// [`Error::NotFound`], [`Error::Answer`], and all that a connection and a login can fail with.
    pub fn tags(&self, repository: &str) -> Result<Vec<String>, Error> {
        let asked = format!("list tags of {repository}");
        self.anywhere(|endpoint| {
            let mut tags = Vec::new();
            self.pages(endpoint, repository, &asked, &format!("{repository}/tags/list?n=1000"), |page| {
                let page: Tags = serde_json::from_slice(page)
                    .map_err(|error| self.answer(&asked, format!("no list of tags: {error}")))?;
                tags.extend(page.tags.unwrap_or_default());
                Ok(())
            })?;
            Ok(tags)
        })
    }

    /// What has this manifest as its subject: signatures, attestations. `kind` is the artifact type that is wanted.
    ///
    /// A registry that does not know such lists is asked for the tag that stands in for them.
    ///
    /// # Errors
    ///
    /// As [`Client::tags`].
    pub fn referrers(
        &self,
        repository: &str,
        digest: Digest,
        kind: Option<&str>,
    ) -> Result<Vec<Descriptor>, Error> {
        let asked = format!("list referrers of {repository}@{digest}");
        let query = kind.map_or(String::new(), |kind| format!("?artifactType={}", encoded(kind)));
        let path = format!("{repository}/referrers/{digest}{query}");
        let listed = self.anywhere(|endpoint| {
            let mut list = Vec::new();
            self.pages(endpoint, repository, &asked, &path, |page| {
                let index: ImageIndex = serde_json::from_slice(page)
                    .map_err(|error| self.answer(&asked, format!("no index: {error}")))?;
                list.extend(index.manifests().iter().cloned());
                Ok(())
            })?;
            Ok(list)
        });
        let mut list = match listed {
            Ok(list) => list,
            Err(error) if is_absent(&error) => self.stand_in(repository, digest)?,
            Err(error) => return Err(error),
        };
        // Registries need not choose.
        if let Some(kind) = kind {
            list.retain(|descriptor| {
                descriptor.artifact_type().as_ref().is_some_and(|artifact| artifact.to_string() == kind)
            });
        }
        Ok(list)
    }

    /// The list that stands in for a registry's own.
    fn stand_in(&self, repository: &str, digest: Digest) -> Result<Vec<Descriptor>, Error> {
        match self.manifest(&stand_in_tag(self.registry(), repository, digest)?) {
            Ok(manifest) => match manifest.content()? {
                Content::Index(index) => Ok(index.manifests().clone()),
                Content::Image(_) => Ok(Vec::new()),
            },
            Err(error) if is_absent(&error) => Ok(Vec::new()),
            Err(error) => Err(error),
        }
    }

    /// Adds a manifest with a subject to the list that stands in for the registry's own (distribution-spec, "Pushing
    /// Manifests with Subject"). Nothing to do without a subject.
    pub(crate) fn note_referrer(
        &self,
        reference: &Reference,
        media_type: &str,
        digest: Digest,
        bytes: &[u8],
    ) -> Result<(), Error> {
        let Ok(value) = serde_json::from_slice::<Value>(bytes) else { return Ok(()) };
        let subject = value.pointer("/subject/digest").and_then(Value::as_str);
        let Some(subject) = subject.and_then(|subject| subject.parse::<Digest>().ok()) else { return Ok(()) };
        let mut list = self.stand_in(reference.repository(), subject)?;
        if list.iter().any(|descriptor| descriptor.digest().as_ref() == digest.to_string()) {
            return Ok(());
        }
        let mut descriptor = json!({"mediaType": media_type, "digest": digest, "size": bytes.len()});
        // What an artifact is, its configuration's type says where it does not itself.
        let kind = value.get("artifactType").or_else(|| value.pointer("/config/mediaType"));
        for (name, value) in [("artifactType", kind), ("annotations", value.get("annotations"))] {
            if let Some(value) = value {
                descriptor[name] = value.clone();
            }
        }
        let invalid = |error: serde_json::Error| Error::Manifest { reason: error.to_string() };
        list.push(serde_json::from_value(descriptor).map_err(invalid)?);
        let kind = "application/vnd.oci.image.index.v1+json";
        let index = json!({"schemaVersion": 2, "mediaType": kind, "manifests": list});
        let bytes = serde_json::to_vec(&index).map_err(invalid)?;
        self.push_manifest(&stand_in_tag(self.registry(), reference.repository(), subject)?, kind, &bytes)
            .map(drop)
    }

    /// Goes through a list page by page.
    fn pages(
        &self,
        endpoint: usize,
        repository: &str,
        asked: &str,
        path: &str,
        mut each: impl FnMut(&[u8]) -> Result<(), Error>,
    ) -> Result<(), Error> {
        let job = Job::get(asked.to_owned(), repository);
        let mut url = self.url(endpoint, path);
        for page in 0..MAX_PAGES {
            let to = if page == 0 { To::Path(path) } else { To::Url(&url) };
            let (headers, bytes) = self.fetch(endpoint, to, &job, MAX_PAGE)?;
            each(&bytes)?;
            let Some(next) = http::text(&headers, &header::LINK).and_then(next) else { return Ok(()) };
            if page == 0 {
                // By now it is known whether with TLS.
                url = self.url(endpoint, path);
            }
            url = self
                .located(endpoint, &url, next)
                .filter(|next| next.same_origin(&url))
                .ok_or_else(|| self.answer(asked, "the next page is somewhere else"))?;
        }
        Err(self.answer(asked, "the list has no end"))
    }
}

/// `sha256-<hex>`.
fn stand_in_tag(registry: &str, repository: &str, digest: Digest) -> Result<Reference, Error> {
    let mut hex = digest.hex();
    // Tags have 128 characters; the specification cuts the digest there.
    hex.truncate(64);
    let tag = format!("{}-{hex}", digest.algorithm().name());
    Reference::new(registry, repository, Some(&tag), None)
        .map_err(|error| Error::Manifest { reason: error.to_string() })
}

/// The target of `<…>; rel="next"` (RFC 8288).
fn next(link: &str) -> Option<&str> {
    link.split(',').find_map(|one| {
        let (target, rest) = one.trim().strip_prefix('<')?.split_once('>')?;
        let is_next = rest.split(';').any(|parameter| {
            matches!(parameter.trim().to_ascii_lowercase().as_str(), "rel=next" | "rel=\"next\"")
        });
        is_next.then_some(target)
    })
}

const _: () = assert!(MAX_MANIFEST <= MAX_PAGE);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_next_page_is_found() {
        for (link, target) in [
            (r#"</v2/a/tags/list?n=2&last=b>; rel="next""#, Some("/v2/a/tags/list?n=2&last=b")),
            (r#"<https://r/x>; rel=next"#, Some("https://r/x")),
            (r#"</first>; rel="first", </second>; rel="next""#, Some("/second")),
            (r#"</first>; rel="first""#, None),
            ("nonsense", None),
            ("", None),
        ] {
            assert_eq!(next(link), target, "{link}");
        }
    }
}
