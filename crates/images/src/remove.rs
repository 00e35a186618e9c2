//! How images go: names first, then what nobody names.

use std::collections::HashSet;

use oci::Digest;
use step::Failure;

use crate::Images;
use crate::catalogue::{Catalogue, Dropped};
use crate::find::{Found, Wanted, look_in, missing};
use crate::image::Image;
use crate::index::Index;
use crate::pull::now;

/// What a removal did.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Removed {
    /// Names that are gone, in full.
    pub untagged: Vec<String>,
    /// The image, or the index, that is gone with them.
    pub deleted: Option<Digest>,
    /// Images of that index that are gone with it.
    pub members: Vec<Digest>,
}

/// What [`Images::remove_all`] removed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Gone {
    /// Images.
    pub images: Vec<Image>,
    /// Indexes.
    pub indexes: Vec<Index>,
}

/// Tells the diff ids of layers that containers use, when nothing can be added to them any more; none where that cannot
/// be known.
pub type Used<'u> = &'u dyn Fn() -> Result<Option<HashSet<Digest>>, Failure>;

/// What was given back to the disk.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Freed {
    /// Blobs and layers.
    pub pieces: u64,
    /// Bytes.
    pub bytes: u64,
}

impl Images {
    /// Gives an image or an index one more name, which another may lose; its id.
    ///
    /// # Errors
    /// An image that is not here.
    pub fn tag(&self, text: &str, name: &str) -> Result<Digest, Failure> {
        self.change(|catalogue| {
            let id = look_in(catalogue, text)?.ok_or_else(|| missing(text))?.id();
            catalogue.give_name(&id, name, now());
            Ok(id)
        })
    }

    /// Removes what `text` names: that name, and with its last one the image. An id with several names is only removed
    /// with `force`. `in_use` tells of an image why it has to stay, and whether `force` takes it all the same: then its
    /// layers stay for those who use them. An index takes those of its images with it that have no names of their own; an
    /// image that an index has stays.
    ///
    /// The content goes by [`Images::sweep`].
    ///
    /// # Errors
    /// An image that is not here, or is in use.
    pub fn remove(
        &self,
        text: &str,
        force: bool,
        in_use: &dyn Fn(&Image) -> Option<Failure>,
    ) -> Result<Removed, Failure> {
        self.change(|catalogue| {
            let found = look_in(catalogue, text)?.ok_or_else(|| missing(text))?;
            let (names, digests) = match &found {
                Found::Image(image) => (&image.names, &image.digests),
                Found::Index(index) => (&index.names, &index.digests),
            };
            let named = match Wanted::parse(text)? {
                Wanted::Name(reference) => match reference.digest() {
                    Some(digest) => Some(crate::find::by_digest(&reference, digest)),
                    None => Some(reference.canonical()),
                },
                Wanted::Id(_) => None,
            };
            let named = named.filter(|name| names.contains(name) || digests.contains(name));
            let others = names.iter().filter(|name| Some(*name) != named.as_ref()).count();
            let above = catalogue.indexes.iter().find(|index| index.has(&found.id()));
            if let Some(name) = &named
                && (others > 0 || above.is_some())
            {
                catalogue.take_name(&found.id(), name);
                return Ok(Removed { untagged: vec![name.clone()], ..Removed::default() });
            }
            if let Some(index) = above {
                let reason = format!("is one of several for platforms: {}", index.called());
                return Err(Failure::because("rmi", text, reason).hint("remove that by its name"));
            }
            if named.is_none() && names.len() > 1 && !force {
                return Err(Failure::because(
                    "rmi",
                    text,
                    format!("has several names: {}", names.join(", ")),
                )
                .hint("name the ones to remove, or use --force"));
            }
            let untagged = names.iter().chain(digests).cloned().collect();
            match &found {
                Found::Image(image) => {
                    if let Some(why) = in_use(image) {
                        return Err(why);
                    }
                    drop_image(catalogue, &image.id);
                    Ok(Removed { untagged, deleted: Some(image.id), members: Vec::new() })
                }
                Found::Index(index) => {
                    let members = alone(catalogue, index);
                    if let Some(why) = members.iter().find_map(in_use) {
                        return Err(why);
                    }
                    drop_index(catalogue, &index.id());
                    let members: Vec<Digest> = members.iter().map(|image| image.id).collect();
                    members.iter().for_each(|id| drop_image(catalogue, id));
                    Ok(Removed { untagged, deleted: Some(index.id()), members })
                }
            }
        })
    }

    /// Removes all images that `unwanted` says, at once, and the indexes of which it says so of each image under the
    /// index's names.
    ///
    /// # Errors
    /// A catalogue that cannot be written.
    pub fn remove_all(&self, unwanted: &dyn Fn(&Image) -> bool) -> Result<Gone, Failure> {
        self.change(|catalogue| {
            let is_unwanted = |index: &Index| {
                let here = index.entries.iter().filter_map(|entry| catalogue.get(&entry.image?));
                let mut here =
                    here.map(|image| Image { names: index.names.clone(), ..image.clone() }).peekable();
                // Of one without images nobody can say more than whether it has a name.
                match here.peek() {
                    None => index.names.is_empty(),
                    Some(_) => here.all(|image| unwanted(&image)),
                }
            };
            let indexes: Vec<Index> =
                catalogue.indexes.iter().filter(|index| is_unwanted(index)).cloned().collect();
            indexes.iter().for_each(|index| drop_index(catalogue, &index.id()));
            let is_unwanted = |image: &&Image| !catalogue.is_part(&image.id) && unwanted(image);
            let images: Vec<Image> = catalogue.images.iter().filter(is_unwanted).cloned().collect();
            for image in &images {
                drop_image(catalogue, &image.id);
            }
            Ok(Gone { images, indexes })
        })
    }

    /// Drops content that nobody needs: the next sweep removes what of it no image and no container has.
    ///
    /// # Errors
    /// A catalogue that cannot be written.
    pub fn drop_content(&self, blobs: &[Digest], layers: &[Digest]) -> Result<(), Failure> {
        self.change(|catalogue| {
            catalogue.dropped.blobs.extend(blobs);
            catalogue.dropped.layers.extend(layers);
            Ok(())
        })
    }

    /// Removes the content that was dropped and that no image has. `used` are the layers of containers, none where they
    /// cannot be told. None as long as they cannot, or somebody brings something: then it waits for the next sweep.
    ///
    /// # Errors
    /// What cannot be removed.
    pub fn sweep(&self, used: Used<'_>) -> Result<Option<Freed>, Failure> {
        if self.read()?.dropped == Dropped::default() && !self.layers.is_to_clear()? {
            return Ok(Some(Freed::default()));
        }
        self.sweep_with(used, None)
    }

    /// The same for everything that no image and no container has: what killed attempts left too, which a later one
    /// could have gone on with. `kept` are digests of blobs and of layers that stay as long as nobody drops them.
    ///
    /// # Errors
    /// What cannot be removed.
    pub fn sweep_all(&self, used: Used<'_>, kept: &HashSet<Digest>) -> Result<Option<Freed>, Failure> {
        self.sweep_with(used, Some(kept))
    }

    fn sweep_with(&self, used: Used<'_>, all: Option<&HashSet<Digest>>) -> Result<Option<Freed>, Failure> {
        let Some(_alone) = self.removing()? else { return Ok(None) };
        let Some(used) = used()? else { return Ok(None) };
        let catalogue = self.read()?;
        let images = catalogue.images.iter().flat_map(Image::blobs);
        let named: HashSet<Digest> = images.chain(catalogue.indexes.iter().flat_map(Index::blobs)).collect();
        let named = |digest: &Digest| named.contains(digest);
        let layered = |diff_id: &Digest| {
            let has = |image: &Image| image.layers.iter().any(|layer| layer.diff_id == *diff_id);
            used.contains(diff_id) || catalogue.images.iter().any(has)
        };
        let (mut blobs, mut layers) = (catalogue.dropped.blobs.clone(), catalogue.dropped.layers.clone());
        if let Some(kept) = all {
            blobs.extend(
                self.blobs
                    .list()?
                    .into_iter()
                    .map(|(digest, _)| digest)
                    .filter(|digest| !kept.contains(digest)),
            );
            layers.extend(self.layers.list()?.into_iter().filter(|diff_id| !kept.contains(diff_id)));
        }
        let mut freed = Freed::default();
        for digest in unique(blobs).filter(|digest| !named(digest)) {
            let size = self.blobs.has(&digest).unwrap_or(0);
            if self.blobs.remove(&digest)? {
                freed = Freed { pieces: freed.pieces + 1, bytes: freed.bytes + size };
            }
        }
        for diff_id in unique(layers).filter(|diff_id| !layered(diff_id)) {
            let size = self.layers.size(&diff_id)?.map_or(0, |size| size.disk);
            if self.layers.set_aside(&diff_id)? {
                freed = Freed { pieces: freed.pieces + 1, bytes: freed.bytes + size };
            }
        }
        let done = catalogue.dropped;
        self.change(|catalogue| {
            catalogue.dropped.blobs.retain(|digest| !done.blobs.contains(digest));
            // Those that a container uses wait for its end.
            catalogue
                .dropped
                .layers
                .retain(|diff_id| !done.layers.contains(diff_id) || used.contains(diff_id));
            Ok::<_, Failure>(())
        })?;
        // Last: what is freed of many files before a sync is waited for in it. A crash leaves them in a place that every
        // later sweep looks at.
        self.layers.clear()?;
        if all.is_some() {
            freed.bytes += self.blobs.remove_partial()?;
            self.layers.sweep()?;
        }
        Ok(Some(freed))
    }
}

fn unique(mut digests: Vec<Digest>) -> impl Iterator<Item = Digest> {
    digests.sort();
    digests.dedup();
    digests.into_iter()
}

/// The images of an index that nobody else names.
fn alone(catalogue: &Catalogue, index: &Index) -> Vec<Image> {
    let others = |image: &Image| {
        let mut others = catalogue.indexes.iter().filter(|other| other.id() != index.id());
        others.any(|other| other.has(&image.id))
    };
    let its = catalogue.images.iter().filter(|image| index.has(&image.id));
    its.filter(|image| image.names.is_empty() && !others(image)).cloned().collect()
}

fn drop_index(catalogue: &mut Catalogue, id: &Digest) {
    let Some(place) = catalogue.indexes.iter().position(|index| index.id() == *id) else { return };
    let index = catalogue.indexes.remove(place);
    catalogue.dropped.blobs.extend(index.blobs());
}

fn drop_image(catalogue: &mut Catalogue, id: &Digest) {
    let Some(place) = catalogue.images.iter().position(|image| image.id == *id) else { return };
    let image = catalogue.images.remove(place);
    catalogue.dropped.blobs.extend(image.blobs());
    catalogue.dropped.layers.extend(image.layers.iter().map(|layer| layer.diff_id));
}
