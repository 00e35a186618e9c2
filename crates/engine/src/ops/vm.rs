//! `vm run`: what a virtual machine of an image is made of. The machine itself is the room `vm`'s.

use std::path::PathBuf;

use images::Images;
use vm::settings::Process;
use vm::{Hardware, Kernel, Plan, Root, Tree};

use crate::prepare::bad_root;
use crate::request::{Image, Mount, RunRequest};
use crate::{Error, Kind, Settings, image, names, spec, users};

/// How large a machine's disk is where nobody says, in bytes.
pub const DISK_SIZE: u64 = 10 << 30;

/// Whether a request has trees of the host in it, for which a machine needs a daemon.
#[must_use]
pub fn has_trees(request: &RunRequest) -> bool {
    request.image == Image::Host || !request.storage.mounts.is_empty()
}

/// Makes the parts, ready to be booted. Of the request counts what a machine can have: image, command, entry point,
/// process, name, host name, terminal, directories of the host, and `storage.size` as the disk's size.
pub fn plan(
    settings: &Settings,
    request: &RunRequest,
    hardware: Hardware,
    kernel: Kernel,
) -> Result<Plan, Error> {
    let resolved = image::resolve(settings, request)?;
    let request = &resolved.request;
    let places = settings.places();
    // What the image has for volumes stays on the machine's own disk.
    let anonymous = |mount: &&Mount| !matches!(mount, Mount::Volume(volume) if volume.anonymous);
    let mounts = request.storage.mounts.iter().filter(anonymous);
    let trees = mounts.map(share).collect::<Result<Vec<_>, _>>()?;
    let id = names::id();
    let planned = storage::plan(&places, &id, &resolved.source, storage::Options::default());
    let planned = planned.map_err(|failure| bad_root(request, failure))?;
    let lookup: Vec<PathBuf> = [planned.lookup].into_iter().chain(planned.lookup_below).collect();
    let user = users::resolve(&lookup, request.process.user.as_deref(), &request.process.groups)?;
    let name = request.name.clone().unwrap_or_else(|| id[..12].to_owned());
    // A name may have more letters than the kernel keeps of a host's.
    let short = || if name.len() <= 64 { name.clone() } else { id[..12].to_owned() };
    let hostname = request.namespaces.hostname.clone().unwrap_or_else(short);
    let process = Process {
        command: spec::command(request)?,
        env: spec::variables(request, &hostname, &user.home),
        workdir: request.process.workdir.clone().unwrap_or_else(|| "/".into()),
        uid: user.uid,
        gid: user.gid,
        groups: user.groups,
        interactive: request.interactive,
        terminal: request.tty,
        size: if request.tty { vm::terminal_size() } else { None },
    };
    let scratch = storage::machine::scratch(&places, request.storage.size.unwrap_or(DISK_SIZE))?;
    let root = match (&resolved.source, &resolved.origin) {
        (storage::Source::Layers(layers), Some(origin)) => {
            let images = Images::open(&settings.root)?;
            let known: Vec<_> = images.list()?;
            let content = known.iter().find(|image| image.id == origin.id).map_or(0, |image| image.size);
            forget(settings, &images)?;
            let disk = storage::machine::disk(&places, &origin.id.hex(), layers, content)?;
            vec![(Root::Disk(disk), PathBuf::new())]
        }
        _ => {
            let views = storage::machine::host_views(&places)?;
            views.into_iter().map(|(tree, at)| (Root::Tree(tree), at)).collect()
        }
    };
    Ok(Plan { hardware, kernel, root, scratch, trees, process, hostname, name })
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

fn share(mount: &Mount) -> Result<Tree, Error> {
    match mount {
        Mount::Bind { source, target, read_only, .. } => {
            let directory = storage::machine::tree(source, *read_only)?;
            Ok(Tree { directory, at: target.clone(), read_only: *read_only })
        }
        Mount::Tmpfs { target, .. } => Err(unknown(&target.display().to_string())),
        Mount::Volume(volume) => Err(unknown(&volume.target.display().to_string())),
    }
}

fn unknown(target: &str) -> Error {
    Error::new(Kind::Invalid, format!("{target}: a virtual machine takes directories of the host alone"))
        .hint("write it as -v /data:/data, or ./data:/data:ro")
}
