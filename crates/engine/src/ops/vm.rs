//! `vm run`: what a virtual machine of an image is made of. The machine itself is not the engine's.

use std::fs::File;
use std::os::fd::OwnedFd;
use std::path::PathBuf;

use images::Images;

use crate::prepare::bad_root;
use crate::request::{Image, Mount, RunRequest};
use crate::{Error, Kind, Settings, image, names, spec, users};

/// The root's read-only part.
#[derive(Debug)]
pub enum Root {
    /// An ext4 with all of the image's files, which machines share.
    Disk(File),
    /// Trees of the host, the root first, with an empty path; further ones with where they go, relative.
    Trees(Vec<(OwnedFd, PathBuf)>),
}

/// A directory of the host in the machine.
#[derive(Debug)]
pub struct Shared {
    /// A mount of it.
    pub directory: OwnedFd,
    /// Where it goes, absolute.
    pub at: PathBuf,
    /// Whether it only reads.
    pub read_only: bool,
}

/// Everything, ready to be booted.
#[derive(Debug)]
pub struct Parts {
    /// What is read.
    pub root: Root,
    /// An empty ext4 for what is written; it goes with its last descriptor.
    pub scratch: File,
    /// `-v`.
    pub shares: Vec<Shared>,
    /// The words to execute.
    pub command: Vec<String>,
    /// `NAME=VALUE`.
    pub env: Vec<String>,
    /// Absolute.
    pub workdir: PathBuf,
    /// User.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Supplementary groups.
    pub groups: Vec<u32>,
    /// The machine's name.
    pub hostname: String,
}

/// How large a machine's disk is where nobody says, in bytes.
pub const DISK_SIZE: u64 = 10 << 30;

/// Whether a request has trees of the host in it, for which a machine needs a daemon.
#[must_use]
pub fn has_trees(request: &RunRequest) -> bool {
    request.image == Image::Host || !request.storage.mounts.is_empty()
}

/// Makes the parts. Of the request counts what a machine can have: image, command, entry point, process, host name,
/// terminal, directories of the host, and `storage.size` as the disk's size.
pub fn parts(settings: &Settings, request: &RunRequest) -> Result<Parts, Error> {
    let resolved = image::resolve(settings, request)?;
    let request = &resolved.request;
    let places = settings.places();
    // What the image has for volumes stays on the machine's own disk.
    let anonymous = |mount: &&Mount| !matches!(mount, Mount::Volume(volume) if volume.anonymous);
    let mounts = request.storage.mounts.iter().filter(anonymous);
    let shares = mounts.map(share).collect::<Result<Vec<_>, _>>()?;
    let id = names::id();
    let planned = storage::plan(&places, &id, &resolved.source, storage::Options::default());
    let planned = planned.map_err(|failure| bad_root(request, failure))?;
    let lookup: Vec<PathBuf> = [planned.lookup].into_iter().chain(planned.lookup_below).collect();
    let user = users::resolve(&lookup, request.process.user.as_deref(), &request.process.groups)?;
    let hostname = request.namespaces.hostname.clone().unwrap_or_else(|| id[..12].to_owned());
    let command = spec::command(request)?;
    let env = spec::variables(request, &hostname, &user.home);
    let scratch = storage::machine::scratch(&places, request.storage.size.unwrap_or(DISK_SIZE))?;
    let root = match (&resolved.source, &resolved.origin) {
        (storage::Source::Layers(layers), Some(origin)) => {
            let images = Images::open(&settings.root)?;
            let known: Vec<_> = images.list()?;
            let content = known.iter().find(|image| image.id == origin.id).map_or(0, |image| image.size);
            forget(settings, &images)?;
            Root::Disk(storage::machine::disk(&places, &origin.id.hex(), layers, content)?)
        }
        _ => Root::Trees(storage::machine::host_views(&places)?),
    };
    Ok(Parts {
        root,
        scratch,
        shares,
        command,
        env,
        workdir: request.process.workdir.clone().unwrap_or_else(|| "/".into()),
        uid: user.uid,
        gid: user.gid,
        groups: user.groups,
        hostname,
    })
}

/// Throws away the disks of images that are gone.
pub(super) fn forget(settings: &Settings, images: &Images) -> Result<(), Error> {
    if !storage::machine::directory(&settings.places()).exists() {
        return Ok(());
    }
    let known: Vec<String> = images.list()?.iter().map(|image| image.id.hex().to_string()).collect();
    storage::machine::forget_disks(&settings.places(), &|name| known.iter().any(|id| id == name))?;
    Ok(())
}

fn share(mount: &Mount) -> Result<Shared, Error> {
    match mount {
        Mount::Bind { source, target, read_only, .. } => {
            let directory = storage::machine::tree(source, *read_only)?;
            Ok(Shared { directory, at: target.clone(), read_only: *read_only })
        }
        Mount::Tmpfs { target, .. } => Err(unknown(&target.display().to_string())),
        Mount::Volume(volume) => Err(unknown(&volume.target.display().to_string())),
    }
}

fn unknown(target: &str) -> Error {
    Error::new(Kind::Invalid, format!("{target}: a virtual machine takes directories of the host alone"))
        .hint("write it as -v /data:/data, or ./data:/data:ro")
}
