//! Volumes as mounts: where the files of each are, and what the runtime is told.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::driver::{Backing, backing, resolved};
use super::{Volumes, mounts_in};
use crate::request::{Mount, RunRequest, VolumeMount};
use crate::{Error, Kind};

/// Where the files of one volume of a request are.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Place {
    /// `bind`, or the kind of file system that is mounted.
    pub(crate) kind: String,
    /// A directory of the host, or the file system's device.
    pub(crate) source: PathBuf,
    /// mount(8)'s words.
    pub(crate) words: Vec<String>,
    /// The driver's `type=none`: a directory of the host that is the volume's data.
    pub(crate) device: bool,
}

impl Place {
    /// Whether it lies in a directory.
    pub(crate) fn is_directory(&self) -> bool {
        self.kind == "bind"
    }
}

/// The places of a request's volumes, by their names; of one that is not there yet as it will be made.
pub(crate) fn places(volumes: &Volumes, request: &RunRequest) -> Result<BTreeMap<String, Place>, Error> {
    let mut places = BTreeMap::new();
    for mount in mounts_in(request) {
        let known = volumes.find(&mount.name)?.map(|volume| volume.options);
        let options = known.as_ref().unwrap_or(&mount.driver_options);
        super::driver::check(options)?;
        let place = match resolved(backing(options), &mount.name)? {
            Backing::Data => Place {
                kind: "bind".to_owned(),
                source: volumes.data(&mount.name),
                words: Vec::new(),
                device: false,
            },
            Backing::Bind(device, words) => {
                if !device.is_dir() {
                    return Err(Error::new(
                        Kind::Invalid,
                        format!(
                            "volume {}: its device {} is no directory of this host",
                            mount.name,
                            device.display()
                        ),
                    )
                    .hint(format!("make it first: mkdir {}", step::quote(&device.to_string_lossy()))));
                }
                Place { kind: "bind".to_owned(), source: device, words, device: true }
            }
            Backing::Mounted(kind, device, words) => {
                Place { kind, source: device.into(), words, device: false }
            }
        };
        if mount.subpath.is_some() && !place.is_directory() {
            return Err(Error::new(
                Kind::Invalid,
                format!("volume {}: a {} has no subpath before it is mounted", mount.name, place.kind),
            )
            .hint("leave out volume-subpath"));
        }
        places.insert(mount.name.clone(), place);
    }
    Ok(places)
}

/// The mount of a volume: type, source and words of the specification. `own_user`: the container has a user namespace.
pub(crate) fn place(mount: &VolumeMount, place: &Place, own_user: bool) -> (String, PathBuf, Vec<String>) {
    let mut words: Vec<String> = Vec::new();
    if place.is_directory() {
        words
            .extend(["rbind".to_owned(), mount.propagation.clone().unwrap_or_else(|| "rprivate".to_owned())]);
        // On disk a file belongs to the id that the container sees, whatever its ids are on the host.
        words.extend(own_user.then(|| "idmap".to_owned()));
    }
    words.extend(place.words.iter().cloned());
    words.extend(mount.read_only.then(|| "ro".to_owned()));
    words.extend(mount.recursive_read_only.then(|| "rro".to_owned()));
    words.extend(mount.options.iter().cloned());
    let writable = !words.iter().any(|word| word == "ro");
    words.extend((place.kind == "tmpfs" && !mount.no_copy && writable).then(|| "tmpcopyup".to_owned()));
    (place.kind.clone(), source(mount, place), words)
}

fn source(mount: &VolumeMount, place: &Place) -> PathBuf {
    match &mount.subpath {
        Some(subpath) => place.source.join(subpath),
        None => place.source.clone(),
    }
}

/// What the runtime must know of the mounts of volumes besides the specification.
pub(crate) fn runtime_volumes(
    request: &RunRequest,
    places: &BTreeMap<String, Place>,
) -> Vec<runtime::VolumeSource> {
    let one = |mount: &VolumeMount| {
        let place = places.get(&mount.name)?;
        Some(runtime::VolumeSource {
            target: mount.target.clone(),
            within: mount.subpath.as_ref().map(|_| place.source.clone()),
            // Memory is the container's own; a device is the host's.
            by_monitor: !place.is_directory() && place.kind != "tmpfs",
        })
    };
    mounts_in(request).filter_map(one).collect()
}

/// The ids of the container's user that the owners of `:idmap` sources change with: by source.
pub(crate) fn owners(request: &RunRequest) -> BTreeMap<PathBuf, (u32, u32)> {
    use std::os::unix::fs::MetadataExt as _;
    let owner = |path: &Path| std::fs::metadata(path).map_or((0, 0), |meta| (meta.uid(), meta.gid()));
    let mapped = request.storage.mounts.iter().filter_map(|mount| match mount {
        Mount::Bind { source, idmap: true, .. } => Some((source.clone(), owner(source))),
        _ => None,
    });
    mapped.collect()
}
