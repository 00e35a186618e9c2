//! Docker's image archives: `manifest.json`, a list of images with their configurations and layers as files.
//!
//! The layers are tar files, mostly plain; that some are links to others' was Docker's way up to 24. The format of before
//! Docker 1.10 has no such list, and no image ids: it is refused.

use oci::image::MediaType;
use oci::{Digest, Reference};
use serde::{Deserialize, Serialize};
use step::Failure;

use crate::files::{Files, find_text, text, wrong};
use crate::image::{Blob, Config, Plan, PlannedLayer, references};
use crate::layout::{MAX_IMAGES, MAX_LAYERS, is_called, listed};
use crate::location::Which;

pub(crate) const MANIFEST: &str = "manifest.json";

/// An image in `manifest.json`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct Item {
    /// The configuration's file.
    pub(crate) config: String,
    /// Its names.
    #[serde(default)]
    pub(crate) repo_tags: Option<Vec<String>>,
    /// The layers' files, the lowest first.
    #[serde(default)]
    pub(crate) layers: Option<Vec<String>>,
}

impl Item {
    fn tags(&self) -> impl Iterator<Item = &str> {
        self.repo_tags.iter().flatten().map(String::as_str)
    }
}

/// The list of images.
pub(crate) fn items(files: &dyn Files) -> Result<Vec<Item>, Failure> {
    let Some(bytes) = find_text(files, MANIFEST)? else {
        if files.open("repositories")?.is_some() {
            let reason = "is an archive of Docker before 1.10, without a manifest.json";
            return Err(wrong(files, "", reason).hint("load it into Docker and save it anew"));
        }
        return Err(wrong(files, "", "is no archive of images: it has neither index.json nor manifest.json"));
    };
    let items: Vec<Item> = serde_json::from_slice(&bytes)
        .map_err(|error| wrong(files, MANIFEST, oci::shown(&format!("is no list of images: {error}"))))?;
    if items.len() > MAX_IMAGES {
        return Err(wrong(files, MANIFEST, format!("names more than {MAX_IMAGES} images")));
    }
    if items.is_empty() {
        return Err(wrong(files, MANIFEST, "names no image"));
    }
    Ok(items)
}

/// The images of an archive, their layers not read yet.
pub(crate) fn plans(files: &dyn Files, which: Option<&Which>) -> Result<Vec<Plan>, Failure> {
    let items = items(files)?;
    let chosen: Vec<&Item> = match which {
        None => items.iter().collect(),
        Some(Which::At(place)) => vec![items.get(*place).ok_or_else(|| {
            wrong(files, MANIFEST, format!("has {} images, and none at place {place}", items.len()))
        })?],
        Some(Which::Named(name)) => {
            let found: Vec<&Item> =
                items.iter().filter(|item| item.tags().any(|tag| is_called(name, Some(tag), None))).collect();
            if found.is_empty() {
                let there: Vec<&str> = items.iter().flat_map(Item::tags).collect();
                let reason = format!("has no image called {}", oci::shown(name));
                return Err(wrong(files, MANIFEST, reason).hint(format!("there is {}", listed(&there))));
            }
            found
        }
    };
    chosen.into_iter().map(|item| plan(files, item)).collect()
}

fn plan(files: &dyn Files, item: &Item) -> Result<Plan, Failure> {
    let layers = item.layers.as_deref().unwrap_or_default();
    if layers.len() > MAX_LAYERS {
        return Err(wrong(files, MANIFEST, format!("has an image with more than {MAX_LAYERS} layers")));
    }
    let bytes = text(files, &item.config)?;
    let config = Blob::of(MediaType::ImageConfig, bytes);
    if let Some(promised) = named_digest(&item.config)
        && promised != Digest::with(promised.algorithm(), &config.bytes)
    {
        let reason = format!("has the digest {}, and its name says another", config.digest);
        return Err(wrong(files, &item.config, reason));
    }
    let parsed = Config::read(files, &item.config, &config.bytes)?;
    let platform = parsed.platform();
    let diff_ids = parsed.diff_ids(files, &item.config, layers.len())?;
    let layers = layers
        .iter()
        .zip(diff_ids)
        .map(|(entry, diff_id)| PlannedLayer { entry: entry.clone(), promised: None, diff_id })
        .collect();
    Ok(Plan {
        names: names(files, item)?,
        label: None,
        manifest: None,
        config,
        layers,
        platform,
        indexes: Vec::new(),
    })
}

/// Gives images of a layout the names that `manifest.json` beside it has for the same configurations.
pub(crate) fn add_names(files: &dyn Files, plans: &mut [Plan]) -> Result<(), Failure> {
    for item in items(files)? {
        let Some(config) = named_digest(&item.config) else { continue };
        let names = names(files, &item)?;
        for plan in plans.iter_mut().filter(|plan| plan.config.digest == config) {
            let new: Vec<_> = names.iter().filter(|name| !plan.names.contains(name)).cloned().collect();
            plan.names.extend(new);
        }
    }
    Ok(())
}

/// `RepoTags` as references. What an image without a name has there is none.
pub(crate) fn names(files: &dyn Files, item: &Item) -> Result<Vec<Reference>, Failure> {
    let tags = || item.tags().filter(|tag| *tag != "<none>:<none>");
    if let Some(invalid) = tags().find(|tag| tag.parse::<Reference>().is_err()) {
        return Err(wrong(
            files,
            MANIFEST,
            format!("has '{}', which is no image's name", oci::shown(invalid)),
        ));
    }
    Ok(references(tags()))
}

/// The digest that a configuration's file is named by: `<hex>.json`, `sha256:<hex>`, `blobs/sha256/<hex>`.
fn named_digest(name: &str) -> Option<Digest> {
    let last = name.rsplit('/').next()?;
    let hex = last.strip_suffix(".json").unwrap_or(last);
    let hex = hex.strip_prefix("sha256:").unwrap_or(hex);
    Digest::from_hex(hex).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn configurations_are_named_by_their_digests_in_three_ways() {
        let digest = Digest::of(b"x");
        let hex = digest.hex();
        for name in
            [format!("{hex}.json"), format!("sha256:{hex}"), format!("blobs/sha256/{hex}"), hex.clone()]
        {
            assert_eq!(named_digest(&name), Some(digest), "{name}");
        }
        for name in ["config.json", "", "a/b/", "repositories"] {
            assert_eq!(named_digest(name), None, "{name}");
        }
    }
}
