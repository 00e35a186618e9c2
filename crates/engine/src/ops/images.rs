//! Images: bring them, name them, look at them, send them, let them go.

mod inspect;

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

use images::{Freed, Image, Images, Pull, Pulled, Push, Removed, Watch};
use oci::{Digest, Platform, Reference};
use step::Failure;

use crate::image::{absent, used_layers, users};
use crate::state::Store;
use crate::{Error, Kind, Settings, events};

pub use inspect::{History, history, inspect};

/// Which image `pull` brings before a `run`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum When {
    /// Where it is not here.
    #[default]
    Missing,
    /// In any case: the name may stand for another one by now.
    Always,
    /// Not at all.
    Never,
}

/// An image and who uses it.
#[derive(Debug, Clone)]
pub struct Listed {
    /// The image.
    pub image: Image,
    /// How many containers were made of it.
    pub containers: usize,
}

/// All images, the newest first.
pub fn list(settings: &Settings) -> Result<Vec<Listed>, Error> {
    let users = users(&Store::new(settings))?;
    let containers = |image: &Image| users.iter().filter(|user| user.origin.id == image.id).count();
    let all = Images::open(&settings.root)?.list()?;
    let mut all: Vec<_> =
        all.into_iter().map(|image| Listed { containers: containers(&image), image }).collect();
    all.sort_by(|a, b| b.image.created.cmp(&a.image.created).then_with(|| a.image.id.cmp(&b.image.id)));
    Ok(all)
}

/// Brings an image from its registry. `platform` is this machine's where none is asked for.
pub fn pull(
    settings: &Settings,
    name: &str,
    platform: Option<&str>,
    watch: Watch<'_>,
) -> Result<Pulled, Error> {
    let reference = reference(name)?;
    let platform = self::platform(platform)?;
    let images = Images::open(&settings.root)?;
    let pull = Pull { settings: &registries()?, reference: &reference, platform: &platform };
    let pulled = images.pull(pull, watch)?;
    events::image(settings, "pull", &reference.to_string(), &reference.familiar_name());
    sweep(settings, &images)?;
    Ok(pulled)
}

/// Whether a `run` has to pull first.
pub fn is_missing(
    settings: &Settings,
    name: &str,
    when: When,
    platform: Option<&str>,
) -> Result<bool, Error> {
    let here = Images::open(&settings.root)?.find(name)?;
    let other = |image: &Image| match platform {
        Some(text) => self::platform(Some(text)).map(|wanted| wanted.to_string() != image.platform),
        None => Ok(false),
    };
    match (when, here) {
        (When::Always, _) => Ok(true),
        (When::Never, None) => Err(absent(name)),
        (When::Missing, None) => Ok(true),
        (When::Missing, Some(image)) => other(&image),
        (When::Never, Some(image)) if other(&image)? => {
            let message = format!("the image {name} is here for {} only", image.platform);
            Err(Error::new(Kind::NoSuchImage, message).hint("let it be pulled: leave out --pull never"))
        }
        (When::Never, Some(_)) => Ok(false),
    }
}

/// Every tag of a repository.
pub fn tags(name: &str) -> Result<Vec<String>, Error> {
    let reference = reference(name)?;
    let failed = |error: registry::Error| Error::from(error.into_failure("pull"));
    let client = registry::Client::new(reference.registry(), registries()?).map_err(failed)?;
    client.tags(reference.repository()).map_err(failed)
}

/// Sends an image to the registry that its name says; the digest of what is there now, and the manifest's size.
pub fn push(settings: &Settings, name: &str, watch: Watch<'_>) -> Result<Digest, Error> {
    let reference = reference(name)?;
    let images = Images::open(&settings.root)?;
    let image = images.find(name)?.ok_or_else(|| absent(name))?;
    let push = Push { settings: &registries()?, image: &image, reference: &reference };
    let digest = images.push(push, watch)?;
    events::image(settings, "push", &reference.to_string(), &reference.familiar_name());
    sweep(settings, &images)?;
    Ok(digest)
}

/// Gives an image another name.
pub fn tag(settings: &Settings, source: &str, target: &str) -> Result<(), Error> {
    let name = reference(target)?;
    if name.digest().is_some() {
        return Err(Error::new(Kind::Invalid, format!("{target}: a digest is no name that can be given"))
            .hint("give a tag, as in NAME:TAG"));
    }
    let images = Images::open(&settings.root)?;
    images.find(source)?.ok_or_else(|| absent(source))?;
    let image = images.tag(source, &name.canonical())?;
    events::image(settings, "tag", &image.id.to_string(), &name.to_string());
    Ok(())
}

/// Removes a name, and with the last one the image.
pub fn remove(settings: &Settings, name: &str, force: bool) -> Result<Removed, Error> {
    let images = Images::open(&settings.root)?;
    let id = images.find(name)?.ok_or_else(|| absent(name))?.id.to_string();
    let users = users(&Store::new(settings))?;
    let in_use = |image: &Image| {
        let mut its = users.iter().filter(|user| user.origin.id == image.id);
        let running = its.clone().find(|user| user.running);
        let because =
            |what: &str, id: &str| Failure::because("rmi", name, format!("{what} container {}", &id[..12]));
        match (running, its.next()) {
            (Some(user), _) => Some(
                because("is being used by running", &user.id)
                    .hint("remove that container first: minidocker rm -f"),
            ),
            (None, Some(user)) if !force => Some(
                because("is used by stopped", &user.id)
                    .hint("remove that container first, or use --force: the container keeps what it needs"),
            ),
            _ => None,
        }
    };
    let removed = images.remove(name, force, &in_use).map_err(|failure| match images.find(name) {
        // Another one was faster.
        Ok(None) => absent(name),
        _ => Error { kind: Kind::Invalid, ..Error::from(failure) },
    })?;
    // As Docker tells them: by the id, which is the name too.
    removed.untagged.iter().for_each(|_| events::image(settings, "untag", &id, &id));
    if removed.deleted.is_some() {
        events::image(settings, "delete", &id, &id);
    }
    sweep(settings, &images)?;
    Ok(removed)
}

/// What `prune` did.
#[derive(Debug, Clone, Default)]
pub struct Pruned {
    /// Images that are gone.
    pub images: Vec<Image>,
    /// What the disk got back; none where content stays for now: somebody brings some, or a container's record cannot be
    /// read.
    pub freed: Option<Freed>,
}

/// Removes images without a name, with `all` every image that no container uses; then all content that nobody names.
/// `keep` says which ones stay all the same (`--filter`).
pub fn prune(settings: &Settings, all: bool, keep: &dyn Fn(&Image) -> bool) -> Result<Pruned, Error> {
    let store = Store::new(settings);
    let images = Images::open(&settings.root)?;
    let used: HashSet<Digest> = users(&store)?.into_iter().map(|user| user.origin.id).collect();
    let unwanted =
        |image: &Image| (all || image.names.is_empty()) && !used.contains(&image.id) && !keep(image);
    let gone = images.remove_all(&unwanted)?;
    for id in gone.iter().map(|image| image.id.to_string()) {
        events::image(settings, "delete", &id, &id);
    }
    // What builds keep goes by `builder prune`.
    let records = build::cached(&settings.root)?;
    let kept = records.iter().flat_map(|record| [record.diff_id, record.digest]).collect();
    let freed = images.sweep_all(&|| used_layers(&store), &kept)?;
    super::vm::forget(settings, &images)?;
    Ok(Pruned { images: gone, freed })
}

/// An image's manifest, or an index, at its registry: the very bytes.
pub fn manifest(name: &str) -> Result<Vec<u8>, Error> {
    let reference = reference(name)?;
    let failed = |error: registry::Error| Error::from(error.into_failure("manifest"));
    let client = registry::Client::new(reference.registry(), registries()?).map_err(failed)?;
    Ok(client.manifest(&reference).map_err(failed)?.bytes)
}

/// An image's labels.
pub fn labels(settings: &Settings, image: &Image) -> Result<BTreeMap<String, String>, Error> {
    Ok(Images::open(&settings.root)?.config(image)?.config.labels)
}

/// What an image names complete: registry, repository, tag or digest.
pub fn reference(name: &str) -> Result<Reference, Error> {
    name.parse().map_err(|error: oci::InvalidReference| Error::new(Kind::Invalid, error.to_string()))
}

pub(crate) fn platform(text: Option<&str>) -> Result<Platform, Error> {
    let invalid = |error: oci::InvalidPlatform| Error::new(Kind::Invalid, error.to_string());
    text.map_or_else(|| Ok(Platform::host()), |text| text.parse().map_err(invalid))
}

/// How registries are reached.
pub(crate) fn registries() -> Result<Arc<registry::Settings>, Error> {
    let settings = registry::Settings::load(None);
    settings.map(Arc::new).map_err(|error| error.into_failure("settings").into())
}

/// Content that nobody names any more.
pub(crate) fn sweep(settings: &Settings, images: &Images) -> Result<(), Error> {
    let store = Store::new(settings);
    images.sweep(&|| used_layers(&store))?;
    super::vm::forget(settings, images)
}
