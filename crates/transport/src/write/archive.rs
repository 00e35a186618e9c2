//! Images in one tar file: an OCI layout, and beside it what Docker's readers look for. The same bytes for the same
//! images: names in their order, times 0.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Write};

use oci::Digest;
use step::Failure;
use storage::blobs::Blobs;
use storage::layer::MembersWriter;

use super::part::{Parts, refused};
use super::{STEP, layout};
use crate::docker::{Item, MANIFEST};
use crate::layout::{INDEX, LAYOUT, blob_name};

/// What an archive has in it, by name.
#[derive(Debug)]
pub(super) struct Plan {
    members: BTreeMap<String, Member>,
}

#[derive(Debug)]
enum Member {
    Directory,
    Text(Vec<u8>),
    Blob(Digest, u64),
}

/// The archive of all the parts.
pub(super) fn plan(parts: &Parts, also_docker: bool) -> Result<Plan, Failure> {
    let mut members = BTreeMap::new();
    members.insert(LAYOUT.to_owned(), Member::Text(layout::VERSION_TEXT.as_bytes().to_vec()));
    members.insert(INDEX.to_owned(), Member::Text(layout::index(Vec::new(), parts)));
    if also_docker {
        members.insert(MANIFEST.to_owned(), Member::Text(docker_manifest(parts)?));
    }
    members.insert("blobs".to_owned(), Member::Directory);
    for (digest, size) in &parts.blobs {
        members.insert(format!("blobs/{}", digest.algorithm().name()), Member::Directory);
        members.insert(blob_name(digest), Member::Blob(*digest, *size));
    }
    Ok(Plan { members })
}

/// `manifest.json`: an item for each configuration, with the names of all images that have it.
fn docker_manifest(parts: &Parts) -> Result<Vec<u8>, Failure> {
    let mut items: Vec<(Item, BTreeSet<String>)> = Vec::new();
    for whole in &parts.images {
        let invalid = |error| refused(&whole.export, &error);
        let config = oci::digest_of(whole.image.config()).map_err(invalid)?;
        let layers = oci::layers(&whole.image).map_err(invalid)?;
        // A name with a digest alone is none that Docker could give.
        let tagged = whole.export.names.iter().filter(|name| name.tag().is_some());
        let names = tagged.map(|name| {
            let tag = name.tag().unwrap_or_default();
            format!("{}:{tag}", name.familiar_name())
        });
        let config = blob_name(&config);
        match items.iter_mut().find(|(item, _)| item.config == config) {
            Some((_, all)) => all.extend(names),
            None => {
                let layers = layers.iter().map(|layer| blob_name(&layer.digest)).collect();
                items.push((Item { config, repo_tags: None, layers: Some(layers) }, names.collect()));
            }
        }
    }
    let items: Vec<Item> = items
        .into_iter()
        .map(|(item, names)| Item { repo_tags: Some(names.into_iter().collect()), ..item })
        .collect();
    serde_json::to_vec(&items).map_err(|error| Failure::because(STEP, MANIFEST, error.to_string()))
}

/// Writes the archive. Between files the kernel copies.
pub(super) fn write(blobs: &Blobs, plan: &Plan, output: impl Write) -> io::Result<()> {
    let mut writer = MembersWriter::new(output);
    for (name, member) in &plan.members {
        match member {
            Member::Directory => writer.directory(name)?,
            Member::Text(text) => writer.file(name, text.len() as u64, text.as_slice())?,
            Member::Blob(digest, size) => {
                let blob = blobs.get(digest).map_err(io::Error::other)?;
                let blob =
                    blob.ok_or_else(|| io::Error::other(format!("{digest} is no longer in the store")))?;
                writer.file(name, *size, blob.file)?;
            }
        }
    }
    writer.finish().map(drop)
}
