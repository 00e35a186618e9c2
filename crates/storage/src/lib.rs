//! Root file systems as steps: a directory as it is, a directory behind an overlay, the host's own root behind an
//! overlay that hides what is none of the container's business. Nothing of the sources is ever changed by a mount.
//!
//! ```text
//! <root>/containers/<id>/upper, work              what the container writes; the overlay's own
//! <root>/containers/<id>/upper%2Fvar, work%2Fvar  the same for a further file system of the host, here /var
//! <root>/containers/<id>/disk                     an ext4 image that holds these, or all of the container's files
//! <root>/containers/<id>/root                     all of the container's files, where they are a copy
//! <root>/containers/<id>/{disk, root}.new         the same while it is being made
//! <root>/machines/<image id>/disk                 an image's files for virtual machines
//! ```

#![forbid(unsafe_code)]

pub mod blobs;
mod copy;
mod disk;
mod disk_steps;
#[cfg(test)]
mod disk_tests;
mod duplicate;
mod ext4;
mod fill;
mod hidden;
mod host;
mod identity;
mod image;
pub mod layer;
pub mod layers;
pub mod machine;
mod mask;
#[cfg(test)]
mod mount_tests;
mod mounts;
mod overlay;
mod plan;
mod project;
mod remove;
mod source;
mod stacked;
mod steps;
#[cfg(test)]
mod trial;
mod view;

use std::path::PathBuf;

use step::Steps;

pub use disk::{Bound, Disk, Kind, grow, usage};
pub use duplicate::duplicate;
pub use fill::{Fill, Filled, fill};
pub use image::Usage;
pub use plan::plan;
pub use remove::{empty as remove_directory, remove, remove_leftovers};
pub use stacked::{mount_view, read_only, writable};
pub use view::read_file;

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

    /// What the container `id` has written to an overlay.
    pub fn upper(&self, id: &str) -> PathBuf {
        self.container(id).join("upper")
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
    /// How the container keeps what it writes; the cheapest that the host has where nobody says.
    pub kind: Option<Kind>,
    /// `--storage-opt size=`: what it may take on disk, in bytes.
    pub size: Option<u64>,
    /// `--storage-opt image=true`: what it writes lies in an image, whatever else could bound it.
    pub image: bool,
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
    /// Where what is written goes, and what holds it to its size: for the user.
    pub disk: Disk,
}
