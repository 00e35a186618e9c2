//! Root file systems as steps: a directory as it is, a directory behind an overlay, the host's own root behind an
//! overlay that hides what is none of the container's business. Nothing of the sources is ever changed by a mount.
//!
//! ```text
//! <root>/containers/<id>/upper, work              what the container writes; the overlay's own
//! <root>/containers/<id>/upper%2Fvar, work%2Fvar  the same for a further file system of the host, here /var
//! ```

#![forbid(unsafe_code)]

pub mod blobs;
mod hidden;
mod host;
mod identity;
pub mod layer;
pub mod layers;
mod mask;
#[cfg(test)]
mod mount_tests;
mod mounts;
mod overlay;
mod remove;
mod source;
mod steps;
#[cfg(test)]
mod trial;

use std::path::{Path, PathBuf};

use step::{Failure, Steps};

pub use remove::{empty as remove_directory, remove, remove_leftovers};
use steps::{Directory, Slot, Storage};

/// What a root file system is made from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// A copy-on-write view of the host's own root file system.
    Host,
    /// The directory as it is: changes stay in it.
    Directory(PathBuf),
    /// The directory stays untouched: changes go into the container's own layer.
    DirectoryOverlay(PathBuf),
    /// Layers of an image, the lowest first as its configuration names them, each a directory as
    /// [`layer::apply`] makes it. They stay untouched. None at all is an empty root.
    Layers(Vec<PathBuf>),
}

/// Where minidocker keeps its state.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Places {
    /// What outlives a reboot: /var/lib/minidocker.
    pub root: PathBuf,
    /// What does not: /run/minidocker.
    pub run_root: PathBuf,
}

impl Places {
    /// The directory of everything that the container `id` leaves on disk.
    fn container(&self, id: &str) -> PathBuf {
        self.root.join("containers").join(id)
    }

    /// Where containers go that are being removed: on the same file system, so that one rename takes them there.
    fn removed(&self) -> PathBuf {
        self.root.join("removed")
    }
}

/// How a root file system is used.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Options {
    /// The container's layer is thrown away at its end (`--rm`): it is never synced to disk. Such a layer can be
    /// mounted once only.
    pub volatile: bool,
    /// `--read-only`. The root mount itself stays writable until its user has made the mount points that it needs
    /// and sets MOUNT_ATTR_RDONLY on it; every mount below it that these steps bring is read-only at once.
    pub read_only: bool,
    /// The container has its own user namespace, which will be in [`step::Context::userns`]: layers are idmapped
    /// mounts, so that on disk every file belongs to the id that the container sees.
    pub idmapped: bool,
}

/// The way to a root file system.
#[derive(Debug)]
pub struct Rootfs {
    /// On the host's side, before the container's namespaces exist: the directories of the container's layer.
    pub prepare: Steps,
    /// For whoever builds the root, with the rights of the host's root: init, or the monitor where the container has
    /// a user namespace. The last one leaves a detached mount in [`step::Context::root`].
    pub mount: Steps,
    /// After the root is attached, with the same rights, in the mount namespace that it is attached in: overlays of
    /// the host's further file systems. [`step::Context::root`] is the attached root.
    pub after_attach: Steps,
    /// Where the image's /etc/passwd and /etc/group can be read before the mount: a directory of the host.
    pub lookup: PathBuf,
    /// Of an image with several layers: where else to look, in this order, for a file that `lookup` has not. A character
    /// device in a file's place says that there is none.
    pub lookup_below: Vec<PathBuf>,
}

/// Plans the root file system of the container `id`. Reads facts of the host and changes nothing.
///
/// # Errors
/// A source that cannot be a root file system, in words for the user; a host that cannot be read.
pub fn plan(places: &Places, id: &str, source: &Source, options: Options) -> Result<Rootfs, Failure> {
    source::check_id(id)?;
    let container = places.container(id);
    match source {
        Source::Host => {
            let facts = host::Facts::read(places)?;
            plan_host(&container, Path::new("/"), &facts, options)
        }
        Source::Directory(path) => {
            let path = source::check_directory(places, path)?;
            let tree = Storage::Tree {
                path: path.clone(),
                read_only: options.read_only,
                idmapped: options.idmapped,
            };
            let mount: Steps = vec![Box::new(tree)];
            Ok(Rootfs {
                prepare: Vec::new(),
                mount,
                after_attach: Vec::new(),
                lookup: path,
                lookup_below: Vec::new(),
            })
        }
        Source::DirectoryOverlay(path) => {
            let path = source::check_directory(places, path)?;
            let owner = source::owner(&path)?;
            let layer = steps::Overlay::new(&container, vec![path.clone()], None, options);
            let prepare: Steps =
                vec![Box::new(Storage::Directories { container, all: layer.directories(owner).into() })];
            let mount: Steps = vec![Box::new(Storage::Overlay(layer))];
            Ok(Rootfs { prepare, mount, after_attach: Vec::new(), lookup: path, lookup_below: Vec::new() })
        }
        Source::Layers(layers) => plan_layers(container, layers, options),
    }
}

/// The view of an image's layers, the lowest first.
fn plan_layers(container: PathBuf, layers: &[PathBuf], options: Options) -> Result<Rootfs, Failure> {
    let mut lower = source::check_layers(layers)?;
    let mut all = Vec::new();
    let owner = match lower.first() {
        Some(uppermost) => source::owner(uppermost)?,
        None => {
            // overlayfs wants one at least: an empty one.
            let owner = mask::Owner { mode: 0o755, uid: 0, gid: 0 };
            all.push(Directory { name: "lower".to_owned(), owner });
            lower.push(container.join("lower"));
            owner
        }
    };
    let layer = steps::Overlay::new(&container, lower.clone(), None, options);
    all.extend(layer.directories(owner));
    let prepare: Steps = vec![Box::new(Storage::Directories { container, all })];
    let mount: Steps = vec![Box::new(Storage::Overlay(layer))];
    let lookup = lower.remove(0);
    Ok(Rootfs { prepare, mount, after_attach: Vec::new(), lookup, lookup_below: lower })
}

/// The view of the host's root `base`; `base` is "/" but in tests.
fn plan_host(
    container: &Path,
    base: &Path,
    facts: &host::Facts,
    options: Options,
) -> Result<Rootfs, Failure> {
    let mut directories: Vec<Directory> = Vec::new();
    let mut mount: Steps = Vec::new();
    let mut after_attach: Steps = Vec::new();
    for (at, mask) in host::plan(base, facts)? {
        let lower = if at.as_os_str().is_empty() { base.to_owned() } else { base.join(&at) };
        let owner = source::owner(&lower)?;
        let below = (!at.as_os_str().is_empty()).then_some(at);
        let list = if below.is_some() { &mut after_attach } else { &mut mount };
        let mut layer = steps::Overlay::new(container, vec![lower.clone()], below, options);
        layer.steady_inodes = true;
        directories.extend(layer.directories(owner));
        if !mask.entries.is_empty() {
            let slot = Slot::default();
            layer.mask = Some(slot.clone());
            list.push(Box::new(Storage::Mask { mask, over: lower, slot, idmapped: options.idmapped }));
        }
        list.push(Box::new(Storage::Overlay(layer)));
    }
    let container = container.to_owned();
    let prepare: Steps = vec![Box::new(Storage::Directories { container, all: directories })];
    Ok(Rootfs { prepare, mount, after_attach, lookup: base.to_owned(), lookup_below: Vec::new() })
}
