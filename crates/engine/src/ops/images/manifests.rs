//! Lists of images that are put together by hand: `manifest create`, `annotate`, `push`, `rm`. Such a list is an index of
//! the catalogue; what it names may be here or at a registry alone.

use images::{Entry, Found, Images, Index, Watch};
use oci::{Digest, Reference};

use super::{reference, registries, sweep};
use crate::image::absent;
use crate::{Error, Kind, Settings, events};

/// What a registry has by a name, or what a list is that was made here: the very bytes.
pub fn manifest(settings: &Settings, name: &str) -> Result<Vec<u8>, Error> {
    let images = Images::open(&settings.root)?;
    if let Some(Found::Index(index)) = images.look(name)? {
        return Ok(images.index_bytes(&index)?);
    }
    let reference = reference(name)?;
    let failed = |error: registry::Error| Error::from(error.into_failure("manifest"));
    let client = registry::Client::new(reference.registry(), registries()?).map_err(failed)?;
    Ok(client.manifest(&reference).map_err(failed)?.bytes)
}

/// Makes a list of images, each of which is here or at its registry; with `amend` adds to the one that is there.
pub fn create_manifest(
    settings: &Settings,
    list: &str,
    names: &[String],
    amend: bool,
) -> Result<Digest, Error> {
    let name = tagged(list)?;
    let images = Images::open(&settings.root)?;
    let _bringing = images.bringing()?;
    let there = match images.look(list)? {
        Some(Found::Index(index)) if amend => Some(index),
        Some(Found::Index(_)) => {
            return Err(Error::new(Kind::Invalid, format!("there is a manifest list {name} already"))
                .hint("use --amend to add to it, or remove it: minidocker manifest rm"));
        }
        Some(Found::Image(_)) => {
            return Err(Error::new(Kind::Invalid, format!("{name} is the name of an image"))
                .hint("give the list another name, or remove that one: minidocker rmi"));
        }
        None => None,
    };
    let mut entries = there.as_ref().map(|index| index.entries.clone()).unwrap_or_default();
    for name in names {
        for new in entries_of(&images, name)? {
            // What is for the same platform makes way, as it does for Docker.
            entries.retain(|entry| {
                entry.manifest.digest != new.manifest.digest && entry.platform != new.platform
            });
            entries.push(new);
        }
    }
    let index = images.make_index(entries)?;
    let index = match there {
        Some(old) if old.id() != index.id() => images.replace_index(&old.id(), index)?,
        Some(old) => old,
        None => images.add_index(index, Vec::new(), &[name.canonical()])?,
    };
    Ok(index.id())
}

/// What of an image in a list is to be said otherwise.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Annotation {
    /// `--os`.
    pub os: Option<String>,
    /// `--arch`.
    pub architecture: Option<String>,
    /// `--variant`.
    pub variant: Option<String>,
}

/// Says for what platform an image of a list is.
pub fn annotate(
    settings: &Settings,
    list: &str,
    image: &str,
    annotation: &Annotation,
) -> Result<Digest, Error> {
    let images = Images::open(&settings.root)?;
    let _bringing = images.bringing()?;
    let index = of(&images, list)?;
    let digests: Vec<Digest> = match image.parse::<Digest>() {
        Ok(digest) => vec![digest],
        Err(_) => entries_of(&images, image)?.iter().map(|entry| entry.manifest.digest).collect(),
    };
    let mut entries = index.entries.clone();
    let mut found = entries.iter_mut().filter(|entry| digests.contains(&entry.manifest.digest)).peekable();
    if found.peek().is_none() {
        return Err(Error::new(Kind::NoSuchImage, format!("the manifest list {list} does not have {image}"))
            .hint(format!("minidocker manifest inspect {list} shows what it has")));
    }
    for entry in found {
        let mut parts: Vec<String> = entry.platform.splitn(3, '/').map(str::to_owned).collect();
        parts.resize(3, String::new());
        let said = [&annotation.os, &annotation.architecture, &annotation.variant];
        for (part, said) in parts.iter_mut().zip(said) {
            if let Some(said) = said {
                part.clone_from(said);
            }
        }
        parts.retain(|part| !part.is_empty());
        entry.platform = super::platform(Some(&parts.join("/")))?.to_string();
    }
    let new = images.make_index(entries)?;
    if new.id() == index.id() {
        return Ok(index.id());
    }
    Ok(images.replace_index(&index.id(), new)?.id())
}

/// Sends a list with its images to the registry that its name says; with `purge` it is removed here.
pub fn push_manifest(
    settings: &Settings,
    list: &str,
    purge: bool,
    watch: Watch<'_>,
) -> Result<Digest, Error> {
    let name = tagged(list)?;
    let images = Images::open(&settings.root)?;
    let index = of(&images, list)?;
    let digest = images.push_index(&registries()?, &index, &name, watch)?;
    events::image(settings, "push", &name.to_string(), &name.familiar_name());
    if purge {
        super::remove(settings, list, false)?;
    }
    sweep(settings, &images)?;
    Ok(digest)
}

/// Removes a list, with those of its images that have no names of their own.
pub fn remove_manifest(settings: &Settings, list: &str) -> Result<(), Error> {
    of(&Images::open(&settings.root)?, list)?;
    super::remove(settings, list, false).map(drop)
}

/// The list of that name.
fn of(images: &Images, list: &str) -> Result<Index, Error> {
    match images.look(list)? {
        Some(Found::Index(index)) => Ok(index),
        Some(Found::Image(_)) => {
            Err(Error::new(Kind::Invalid, format!("{list} is one image and no list of some"))
                .hint("minidocker manifest create makes one"))
        }
        None => Err(Error { message: format!("no such manifest list: {list}"), ..absent(list) }
            .hint("minidocker manifest create makes one, and so does a build for several platforms")),
    }
}

fn tagged(list: &str) -> Result<Reference, Error> {
    let name = reference(list)?;
    if name.digest().is_some() {
        return Err(Error::new(Kind::Invalid, format!("{list}: a digest is no name that can be given"))
            .hint("give a tag, as in NAME:TAG"));
    }
    Ok(name)
}

/// An image by name, or each of several, as a list names them.
fn entries_of(images: &Images, name: &str) -> Result<Vec<Entry>, Error> {
    match images.look(name)? {
        Some(Found::Image(image)) => Ok(vec![Entry::of(&image)]),
        Some(Found::Index(index)) => Ok(index.entries),
        None => Ok(images.look_up(&registries()?, &reference(name)?)?),
    }
}
