//! Images: bring them, name them, look at them, send them, let them go.

mod inspect;
mod manifests;

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

use images::{Found, Freed, Gone, Image, Images, Index, Pull, Push, Removed, Watch};
use oci::{Digest, Platform, Reference};
use step::Failure;

use crate::image::{absent, used_layers, users};
use crate::state::Store;
use crate::{Error, Kind, Settings, events};

pub use inspect::{History, history, inspect};
pub use manifests::{Annotation, annotate, create_manifest, manifest, push_manifest, remove_manifest};

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

/// An image, or several for platforms, and who uses it.
#[derive(Debug, Clone)]
pub struct Listed {
    /// The image. Of several this machine's or else the first, with the names, the platforms and the size of all.
    pub image: Image,
    /// Where there are several: all of them.
    pub index: Option<Index>,
    /// How many containers were made of it.
    pub containers: usize,
}

impl Listed {
    /// What it is called where it has no name.
    pub fn id(&self) -> Digest {
        self.index.as_ref().map_or(self.image.id, Index::id)
    }

    /// The first twelve digits of that.
    pub fn short_id(&self) -> String {
        self.id().hex().chars().take(12).collect()
    }
}

/// What `pull` brought.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pulled {
    /// What the name stands for at the registry.
    pub digest: Digest,
    /// Nothing had to be brought, and the name stood for this before.
    pub up_to_date: bool,
}

/// All images, the newest first; those with several for platforms as one.
pub fn list(settings: &Settings) -> Result<Vec<Listed>, Error> {
    let images = Images::open(&settings.root)?;
    let indexes = images.indexes()?;
    let mut all = list_all(settings)?;
    all.retain(|one| {
        one.index.is_some()
            || !one.image.names.is_empty()
            || !indexes.iter().any(|index| index.has(&one.image.id))
    });
    Ok(all)
}

/// The same with each of several that belong together, too.
pub fn list_all(settings: &Settings) -> Result<Vec<Listed>, Error> {
    let users = users(&Store::new(settings))?;
    let containers = |image: &Image| users.iter().filter(|user| user.origin.id == image.id).count();
    let images = Images::open(&settings.root)?;
    let (each, indexes) = (images.list()?, images.indexes()?);
    let mut all = Vec::new();
    for index in indexes {
        let its = || each.iter().filter(|image| index.has(&image.id));
        let (image, containers) = (together(&images, &index, &each)?, its().map(containers).sum());
        all.push(Listed { image, index: Some(index), containers });
    }
    all.extend(each.into_iter().map(|image| Listed { containers: containers(&image), image, index: None }));
    all.sort_by(|a, b| b.image.created.cmp(&a.image.created).then_with(|| a.id().cmp(&b.id())));
    Ok(all)
}

/// Several images as one: [`Listed::image`].
fn together(images: &Images, index: &Index, all: &[Image]) -> Result<Image, Error> {
    let best = index.best(&Platform::host());
    let best = best.or_else(|| index.entries.iter().find(|entry| entry.image.is_some()));
    let best = best.and_then(|entry| all.iter().find(|image| Some(image.id) == entry.image));
    let its = all.iter().filter(|image| index.has(&image.id));
    let layers: HashSet<Digest> = its.flat_map(|image| &image.layers).map(|layer| layer.diff_id).collect();
    let mut size = 0;
    for diff_id in layers {
        size += images.layers().size(&diff_id)?.map_or(0, |size| size.disk);
    }
    let platforms: Vec<&str> = index.entries.iter().map(|entry| entry.platform.as_str()).collect();
    let none = || Image {
        id: index.id(),
        manifest: index.manifest.clone(),
        names: Vec::new(),
        digests: Vec::new(),
        layers: Vec::new(),
        platform: String::new(),
        created: 0,
        tagged: 0,
        size: 0,
    };
    Ok(Image {
        names: index.names.clone(),
        digests: index.digests.clone(),
        platform: platforms.join(","),
        tagged: index.tagged,
        size,
        ..best.cloned().unwrap_or_else(none)
    })
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
    Ok(Pulled { digest: pulled.digest, up_to_date: pulled.up_to_date })
}

/// Brings the images for all platforms that a name stands for.
pub fn pull_all(settings: &Settings, name: &str, watch: Watch<'_>) -> Result<Pulled, Error> {
    let reference = reference(name)?;
    let images = Images::open(&settings.root)?;
    let Some(pulled) = images.pull_all(&registries()?, &reference, watch)? else {
        return pull(settings, name, None, watch);
    };
    events::image(settings, "pull", &reference.to_string(), &reference.familiar_name());
    sweep(settings, &images)?;
    Ok(Pulled { digest: pulled.index.id(), up_to_date: pulled.up_to_date })
}

/// Whether a `run` has to pull first.
pub fn is_missing(
    settings: &Settings,
    name: &str,
    when: When,
    platform: Option<&str>,
) -> Result<bool, Error> {
    let wanted = platform.map(|text| self::platform(Some(text))).transpose()?;
    let here = Images::open(&settings.root)?.find_for(name, wanted.as_ref())?;
    let other = |image: &Image| wanted.as_ref().is_some_and(|wanted| wanted.to_string() != image.platform);
    match (when, here) {
        (When::Always, _) => Ok(true),
        (When::Never, None) => Err(absent(name)),
        (When::Missing, None) => Ok(true),
        (When::Missing, Some(image)) => Ok(other(&image)),
        (When::Never, Some(image)) if other(&image) => {
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

/// Sends an image to the registry that its name says, of several for platforms all, or the one that is asked for; the
/// digest of what is there now.
pub fn push(
    settings: &Settings,
    name: &str,
    platform: Option<&str>,
    watch: Watch<'_>,
) -> Result<Digest, Error> {
    let reference = reference(name)?;
    let wanted = platform.map(|text| self::platform(Some(text))).transpose()?;
    let images = Images::open(&settings.root)?;
    let found = images.look(name)?.ok_or_else(|| absent(name))?;
    let registries = registries()?;
    let digest = match (found, &wanted) {
        (Found::Index(index), None) => images.push_index(&registries, &index, &reference, watch)?,
        _ => {
            let image = for_platform(&images, name, wanted.as_ref())?;
            images.push(Push { settings: &registries, image: &image, reference: &reference }, watch)?
        }
    };
    events::image(settings, "push", &reference.to_string(), &reference.familiar_name());
    sweep(settings, &images)?;
    Ok(digest)
}

/// The image of a name, for the platform that was asked for.
pub(super) fn for_platform(images: &Images, name: &str, wanted: Option<&Platform>) -> Result<Image, Error> {
    let image = images.find_for(name, wanted)?;
    let suits = |image: &Image| wanted.is_none_or(|wanted| wanted.to_string() == image.platform);
    match (image.filter(suits), images.look(name)?, wanted) {
        (Some(image), ..) => Ok(image),
        (None, Some(found), Some(wanted)) => {
            let here = match &found {
                Found::Image(image) => image.platform.clone(),
                Found::Index(index) => {
                    let here = index.entries.iter().filter(|entry| entry.image.is_some());
                    here.map(|entry| entry.platform.as_str()).collect::<Vec<_>>().join(", ")
                }
            };
            let message = format!("the image {name} is not here for {wanted}");
            Err(Error::new(Kind::NoSuchImage, message).hint(format!("it is here for {here}")))
        }
        (None, Some(_), None) => Err(Error::new(Kind::NoSuchImage, format!("no image of {name} is here"))
            .hint(format!("it is a list of images at registries: minidocker pull {name} brings one"))),
        (None, None, _) => Err(absent(name)),
    }
}

/// Gives an image another name.
pub fn tag(settings: &Settings, source: &str, target: &str) -> Result<(), Error> {
    let name = reference(target)?;
    if name.digest().is_some() {
        return Err(Error::new(Kind::Invalid, format!("{target}: a digest is no name that can be given"))
            .hint("give a tag, as in NAME:TAG"));
    }
    let images = Images::open(&settings.root)?;
    images.look(source)?.ok_or_else(|| absent(source))?;
    let id = images.tag(source, &name.canonical())?;
    events::image(settings, "tag", &id.to_string(), &name.to_string());
    Ok(())
}

/// Removes a name, and with the last one the image.
pub fn remove(settings: &Settings, name: &str, force: bool) -> Result<Removed, Error> {
    let images = Images::open(&settings.root)?;
    let id = images.look(name)?.ok_or_else(|| absent(name))?.id().to_string();
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
    let removed = images.remove(name, force, &in_use).map_err(|failure| match images.look(name) {
        // Another one was faster.
        Ok(None) => absent(name),
        _ => Error { kind: Kind::Invalid, ..Error::from(failure) },
    })?;
    // As Docker tells them: by the id, which is the name too.
    removed.untagged.iter().for_each(|_| events::image(settings, "untag", &id, &id));
    for id in removed.deleted.iter().chain(&removed.members).map(Digest::to_string) {
        events::image(settings, "delete", &id, &id);
    }
    sweep(settings, &images)?;
    Ok(removed)
}

/// What `prune` did.
#[derive(Debug, Clone, Default)]
pub struct Pruned {
    /// Images that are gone, and indexes of several.
    pub gone: Gone,
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
    let ids = gone.indexes.iter().map(Index::id).chain(gone.images.iter().map(|image| image.id));
    for id in ids.map(|id| id.to_string()) {
        events::image(settings, "delete", &id, &id);
    }
    // What builds keep goes by `builder prune`.
    let records = build::cached(&settings.root)?;
    let kept = records.iter().flat_map(|record| [record.diff_id, record.digest]).collect();
    let freed = images.sweep_all(&|| used_layers(&store), &kept)?;
    super::vm::forget(settings, &images)?;
    Ok(Pruned { gone, freed })
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
