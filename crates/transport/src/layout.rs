//! The OCI's image layout (image-spec, image-layout.md): `oci-layout`, `index.json`, and blobs by digest.

use oci::image::{Descriptor, ImageIndex, ImageManifest, MediaType};
use oci::{Content, Digest, Platform, content, layers, offered, select};
use step::Failure;

use crate::files::{Files, text, wrong};
use crate::image::{Blob, Config, Plan, PlannedLayer, digest, references, refused};
use crate::location::Which;

pub(crate) const LAYOUT: &str = "oci-layout";
pub(crate) const INDEX: &str = "index.json";
/// What an image is called in a layout (image-spec, annotations.md).
pub(crate) const REF_NAME: &str = "org.opencontainers.image.ref.name";
/// Its whole name, as containerd and Docker write it.
pub(crate) const IMAGE_NAME: &str = "io.containerd.image.name";

/// An index may name an index, and that one another. Nobody needs more.
const MAX_DEPTH: usize = 4;
/// So many images may one place have.
pub(crate) const MAX_IMAGES: usize = 1000;
/// Layers of an image: Docker takes 127.
pub(crate) const MAX_LAYERS: usize = 1000;

/// Which images of an index are taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Platforms {
    /// The one that suits this platform best.
    One(Platform),
    /// All whose manifests are there, and the index itself.
    All,
}

/// Where a layout has a blob.
pub(crate) fn blob_name(digest: &Digest) -> String {
    format!("blobs/{}/{}", digest.algorithm().name(), digest.hex())
}

/// How blobs are called: in a layout, or in a directory of skopeo's.
pub(crate) type Naming = fn(&Digest) -> String;

/// The images of a layout, their layers not read yet.
pub(crate) fn plans(
    files: &dyn Files,
    which: Option<&Which>,
    platforms: &Platforms,
) -> Result<Vec<Plan>, Failure> {
    check_version(files)?;
    let bytes = text(files, INDEX)?;
    let index = match content(MediaType::ImageIndex.as_ref(), &bytes) {
        Ok(Content::Index(index)) => *index,
        Ok(Content::Image(_)) => {
            return Err(wrong(files, INDEX, "is an image, and should be a list of them"));
        }
        Err(error) => return Err(refused(files, INDEX, error)),
    };
    let mut walk =
        Walk { files, platforms, naming: blob_name, manifest_naming: blob_name, read: 0, plans: Vec::new() };
    for group in groups(files, &index, which)? {
        walk.group(&group)?;
    }
    merge(walk.plans, files)
}

/// Reads `oci-layout`.
fn check_version(files: &dyn Files) -> Result<(), Failure> {
    #[derive(serde::Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Version {
        image_layout_version: String,
    }
    let bytes = text(files, LAYOUT)?;
    let version: Version = serde_json::from_slice(&bytes)
        .map_err(|error| wrong(files, LAYOUT, oci::shown(&format!("is no OCI layout's: {error}"))))?;
    if version.image_layout_version.split('.').next() != Some("1") {
        let reason = format!("is of version {}, and 1 is known", oci::shown(&version.image_layout_version));
        return Err(wrong(files, LAYOUT, reason));
    }
    Ok(())
}

/// One name of the layout, with what has it: several manifests for several platforms are one index in all but form.
#[derive(Debug)]
struct Group<'i> {
    label: Option<&'i str>,
    image_name: Option<&'i str>,
    descriptors: Vec<&'i Descriptor>,
}

fn annotation<'d>(descriptor: &'d Descriptor, key: &str) -> Option<&'d str> {
    descriptor.annotations().as_ref()?.get(key).map(String::as_str)
}

/// What belongs to an image and is none: signatures and proofs of how it was built.
fn is_attestation(descriptor: &Descriptor) -> bool {
    let unknown = descriptor.platform().as_ref().is_some_and(|platform| {
        platform.os().to_string() == "unknown" && platform.architecture().to_string() == "unknown"
    });
    unknown
        || annotation(descriptor, "vnd.docker.reference.type").is_some()
        || descriptor.artifact_type().is_some()
}

fn groups<'i>(
    files: &dyn Files,
    index: &'i ImageIndex,
    which: Option<&Which>,
) -> Result<Vec<Group<'i>>, Failure> {
    let mut groups: Vec<Group<'i>> = Vec::new();
    let manifests = index.manifests().iter().filter(|descriptor| !is_attestation(descriptor));
    for descriptor in manifests {
        if groups.len() > MAX_IMAGES {
            return Err(wrong(files, INDEX, format!("names more than {MAX_IMAGES} images")));
        }
        let (label, image_name) = (annotation(descriptor, REF_NAME), annotation(descriptor, IMAGE_NAME));
        let for_a_platform = |descriptor: &Descriptor| descriptor.platform().is_some();
        let same = groups.iter_mut().find(|group| {
            (group.label, group.image_name) == (label, image_name)
                && for_a_platform(descriptor)
                && group.descriptors.iter().all(|other| for_a_platform(other))
        });
        match same {
            Some(group) => group.descriptors.push(descriptor),
            None => groups.push(Group { label, image_name, descriptors: vec![descriptor] }),
        }
    }
    match which {
        None => {}
        Some(Which::At(place)) => {
            let count = groups.len();
            if *place >= count {
                return Err(wrong(files, INDEX, format!("has {count} images, and none at place {place}")));
            }
            groups = groups.into_iter().skip(*place).take(1).collect();
        }
        Some(Which::Named(name)) => {
            let there: Vec<&str> =
                groups.iter().filter_map(|group| group.label.or(group.image_name)).collect();
            let there = listed(&there);
            groups.retain(|group| is_called(name, group.label, group.image_name));
            if groups.is_empty() {
                let reason = format!("has no image called {}", oci::shown(name));
                return Err(wrong(files, INDEX, reason).hint(format!("there is {there}")));
            }
        }
    }
    if groups.is_empty() {
        return Err(wrong(files, INDEX, "names no image"));
    }
    Ok(groups)
}

/// Some names, for a message.
pub(crate) fn listed(names: &[&str]) -> String {
    const MOST: usize = 10;
    let mut text = names.iter().take(MOST).map(|name| oci::shown(name)).collect::<Vec<_>>().join(", ");
    match names.len() {
        0 => text.push_str("none that has a name"),
        1..=MOST => {}
        more => text.push_str(&format!(" and {} more", more - MOST)),
    }
    text
}

/// Whether one of the names is meant: as it stands, or as the same reference.
pub(crate) fn is_called(wanted: &str, label: Option<&str>, image_name: Option<&str>) -> bool {
    let reference = wanted.parse::<oci::Reference>().ok();
    [label, image_name].into_iter().flatten().any(|name| {
        name == wanted || reference.is_some() && name.contains(['/', ':']) && name.parse().ok() == reference
    })
}

/// Images with the same manifest are one, with the names of both.
fn merge(plans: Vec<Plan>, files: &dyn Files) -> Result<Vec<Plan>, Failure> {
    let mut merged: Vec<Plan> = Vec::new();
    for plan in plans {
        let digest = plan.manifest.as_ref().map(|manifest| manifest.digest);
        match merged.iter_mut().find(|other| other.manifest.as_ref().map(|other| other.digest) == digest) {
            Some(other) => {
                let new: Vec<_> = plan.names.into_iter().filter(|name| !other.names.contains(name)).collect();
                other.names.extend(new);
                if other.label.is_none() {
                    other.label = plan.label;
                }
            }
            None => merged.push(plan),
        }
    }
    if merged.is_empty() {
        return Err(wrong(files, INDEX, "names no image whose manifest is there"));
    }
    Ok(merged)
}

/// The way from an index to images.
pub(crate) struct Walk<'f> {
    pub(crate) files: &'f dyn Files,
    pub(crate) platforms: &'f Platforms,
    pub(crate) naming: Naming,
    pub(crate) manifest_naming: Naming,
    /// Manifests and indexes that were read.
    pub(crate) read: usize,
    pub(crate) plans: Vec<Plan>,
}

impl Walk<'_> {
    fn group(&mut self, group: &Group<'_>) -> Result<(), Failure> {
        let before = self.plans.len();
        match group.descriptors.as_slice() {
            [only] => self.descriptor(only, &[])?,
            several => {
                let mut index = ImageIndex::default();
                index.set_manifests(several.iter().map(|descriptor| (*descriptor).clone()).collect());
                self.index(&index, INDEX, &[])?;
            }
        }
        // A name with a tag or a registry is one; `latest` alone is what the layout calls it.
        let whole = group.label.filter(|label| label.contains(['/', ':']));
        let names = references(group.image_name.into_iter().chain(whole));
        for plan in &mut self.plans[before..] {
            plan.names.clone_from(&names);
            plan.label = group.label.map(str::to_owned);
        }
        Ok(())
    }

    /// What a descriptor names: an image, or an index of some.
    fn descriptor(&mut self, descriptor: &Descriptor, above: &[Blob]) -> Result<(), Failure> {
        let entry = (self.manifest_naming)(&digest(self.files, INDEX, descriptor)?);
        if above.len() >= MAX_DEPTH {
            return Err(wrong(self.files, &entry, "is an index in an index, and so on: too deep"));
        }
        self.read += 1;
        if self.read > MAX_IMAGES {
            return Err(wrong(self.files, &entry, format!("is one of more than {MAX_IMAGES} manifests")));
        }
        let blob = Blob::read(self.files, &entry, descriptor)?;
        self.blob(blob, &entry, above)
    }

    /// What a manifest or index says.
    pub(crate) fn blob(&mut self, blob: Blob, entry: &str, above: &[Blob]) -> Result<(), Failure> {
        match content(blob.descriptor.media_type().as_ref(), &blob.bytes) {
            Err(error) => Err(refused(self.files, entry, error)),
            Ok(Content::Image(image)) => {
                let plan = self.image(&image, blob, entry, above)?;
                self.plans.push(plan);
                Ok(())
            }
            Ok(Content::Index(index)) => {
                let above: Vec<Blob> = above.iter().cloned().chain([blob]).collect();
                self.index(&index, entry, &above)
            }
        }
    }

    fn index(&mut self, index: &ImageIndex, entry: &str, above: &[Blob]) -> Result<(), Failure> {
        match self.platforms {
            Platforms::One(platform) => match select(index, platform) {
                Some(chosen) => self.descriptor(chosen, above),
                None => match self.only_nested(index) {
                    Some(nested) => self.descriptor(nested, above),
                    None => {
                        let reason = format!("has nothing for {platform}: there is {}", offered(index));
                        Err(wrong(self.files, entry, reason).hint("choose one of them by --platform"))
                    }
                },
            },
            Platforms::All => {
                for descriptor in index.manifests() {
                    let name = (self.manifest_naming)(&digest(self.files, entry, descriptor)?);
                    // Docker saves an index whole, and of its images those that it has.
                    if is_attestation(descriptor) || self.files.open(&name)?.is_none() {
                        continue;
                    }
                    self.descriptor(descriptor, above)?;
                }
                Ok(())
            }
        }
    }

    /// An index in an index has no platform; one of them may have the image.
    fn only_nested<'i>(&self, index: &'i ImageIndex) -> Option<&'i Descriptor> {
        let images = index.manifests().iter().filter(|descriptor| !is_attestation(descriptor));
        let mut nested = images.filter(|descriptor| descriptor.platform().is_none());
        let first = nested.next()?;
        nested.next().is_none().then_some(first)
    }

    fn image(
        &self,
        image: &ImageManifest,
        manifest: Blob,
        entry: &str,
        above: &[Blob],
    ) -> Result<Plan, Failure> {
        let found = layers(image).map_err(|error| refused(self.files, entry, error))?;
        if found.len() > MAX_LAYERS {
            return Err(wrong(self.files, entry, format!("has more than {MAX_LAYERS} layers")));
        }
        let config_entry = (self.naming)(&digest(self.files, entry, image.config())?);
        let config = Blob::read(self.files, &config_entry, image.config())?;
        let parsed = Config::read(self.files, &config_entry, &config.bytes)?;
        let platform = parsed.platform();
        let diff_ids = parsed.diff_ids(self.files, &config_entry, found.len())?;
        let layers = found
            .into_iter()
            .zip(diff_ids)
            .map(|(layer, diff_id)| PlannedLayer {
                entry: (self.naming)(&layer.digest),
                promised: Some((layer.descriptor.clone(), layer.digest)),
                diff_id,
            })
            .collect();
        let (manifest, indexes) = (Some(manifest), above.to_vec());
        Ok(Plan { names: Vec::new(), label: None, manifest, config, layers, platform, indexes })
    }
}
