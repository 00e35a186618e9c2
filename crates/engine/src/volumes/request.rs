//! A request's volumes complete: what other containers have, what the image says, and names for those without one.

use std::path::{Component, Path, PathBuf};

use crate::names;
use crate::request::{Mount, RunRequest, VolumeMount};
use crate::state::Store;
use crate::{Error, Kind};

/// Completes them: Docker's order. What was typed wins over `--volumes-from`, and that over the image's VOLUME.
/// `image`: the paths that the image names.
pub(crate) fn complete<'a>(
    store: &Store,
    request: &mut RunRequest,
    image: impl Iterator<Item = &'a String>,
) -> Result<(), Error> {
    from_others(store, request)?;
    for path in image {
        let target = target(path);
        // No path of an image is the root itself.
        if target != Path::new("/") && !is_taken(request, &target) {
            request.storage.mounts.push(Mount::Volume(VolumeMount { target, ..VolumeMount::default() }));
        }
    }
    for mount in &mut request.storage.mounts {
        if let Mount::Volume(volume) = mount
            && volume.name.is_empty()
        {
            (volume.name, volume.anonymous) = (names::id(), true);
        }
    }
    Ok(())
}

/// The binds and volumes of other containers, as their records have them; the last container wins, as in Docker.
fn from_others(store: &Store, request: &mut RunRequest) -> Result<(), Error> {
    let mut found: Vec<Mount> = Vec::new();
    for from in &request.storage.volumes_from {
        let gone = || {
            Error::new(Kind::Invalid, format!("--volumes-from {}: no such container", from.container))
                .hint("`minidocker ps -a` lists all containers")
        };
        let id = store.find(&from.container).map_err(|error| match error.kind {
            Kind::NoSuchContainer => gone(),
            _ => error,
        })?;
        let record = store.record(&id)?.ok_or_else(gone)?;
        for mount in record.request.storage.mounts {
            let mut mount = mount;
            match &mut mount {
                Mount::Bind { read_only, .. } => *read_only |= from.read_only,
                Mount::Volume(volume) => {
                    volume.read_only |= from.read_only;
                    volume.no_copy = true;
                }
                // Memory is nobody else's.
                Mount::Tmpfs { .. } => continue,
            }
            found.retain(|other| other.target() != mount.target());
            found.push(mount);
        }
    }
    // They are mounts from here on: the record does not need the other containers any more.
    request.storage.volumes_from.clear();
    for mount in found {
        if !is_taken(request, mount.target()) {
            request.storage.mounts.push(mount);
        }
    }
    Ok(())
}

fn is_taken(request: &RunRequest, target: &Path) -> bool {
    request.storage.mounts.iter().any(|mount| mount.target() == target)
}

/// A path of an image's VOLUME: absolute and plain, by its letters.
fn target(path: &str) -> PathBuf {
    let mut clean = PathBuf::from("/");
    for component in Path::new(path).components() {
        match component {
            Component::ParentDir => drop(clean.pop()),
            Component::Normal(name) => clean.push(name),
            _ => {}
        }
    }
    clean
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Settings;

    #[test]
    fn what_was_typed_wins_over_the_image() {
        let settings = Settings { root: "/nowhere".into(), ..Settings::default() };
        let store = Store::new(&settings);
        let mut request = RunRequest::default();
        let typed = VolumeMount { name: "data".into(), target: "/a".into(), ..VolumeMount::default() };
        request.storage.mounts.push(Mount::Volume(typed.clone()));
        request.storage.mounts.push(Mount::Tmpfs { target: "/t".into(), options: Vec::new() });
        let image = ["/a/", "b/./c", "/t", "/", "/x/../../d"].map(str::to_owned);
        complete(&store, &mut request, image.iter()).unwrap();
        assert_eq!(request.storage.mounts[0], Mount::Volume(typed));
        let made: Vec<&VolumeMount> = super::super::mounts_in(&request).skip(1).collect();
        let targets: Vec<_> = made.iter().map(|one| one.target.to_str().unwrap()).collect();
        assert_eq!(targets, ["/b/c", "/d"]);
        assert!(made.iter().all(|one| one.anonymous && one.name.len() == 64 && !one.no_copy));
        let before = request.clone();
        complete(&store, &mut request, image.iter()).unwrap();
        assert_eq!(request, before, "a record's request stays as it is");
    }
}
