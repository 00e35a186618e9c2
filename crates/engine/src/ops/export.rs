//! `export`: a container's file system as a tar stream, without its mounts.

use std::io::Write;
use std::os::fd::OwnedFd;
use std::path::PathBuf;

use rustix::fs::{CWD, Mode, OFlags};
use rustix::io::Errno;
use step::Failure;

use crate::request::Image as From;
use crate::state::{Record, Store};
use crate::{Error, Kind, Settings, events};

/// Writes it to `output`, not compressed. A running container is read as it is.
pub fn export(settings: &Settings, name: &str, output: impl Write + Send) -> Result<(), Error> {
    let store = Store::new(settings);
    let id = store.find(name)?;
    let record = store
        .record(&id)?
        .ok_or_else(|| Error::new(Kind::NoSuchContainer, format!("no such container: {name}")))?;
    let root = match store.joinable_init(&id) {
        // Its own view: what is mounted below is an empty directory in the archive.
        Some(pid) => open(&format!("/proc/{pid}/root")),
        None => at_rest(settings, &record, name),
    }?;
    transport::export(&root, output)?;
    events::container(settings, &record, "export", &[]);
    Ok(())
}

/// The root of a container that does not run.
fn at_rest(settings: &Settings, record: &Record, name: &str) -> Result<OwnedFd, Error> {
    if let Some(disk) = record.disk.as_ref().filter(|disk| disk.kind.is_some() && !disk.is_plain_overlay()) {
        return Err(Error::new(
            Kind::Invalid,
            format!("container {name} does not run, and its disk is {disk}"),
        )
        .hint("export it while it runs"));
    }
    let upper = settings.places().upper(&record.id);
    let mut layers: Vec<PathBuf> = match (&record.request.image, &record.origin) {
        (From::Directory(path), _) => return open(&path.display().to_string()),
        (From::DirectoryOverlay(path), _) => vec![path.clone()],
        (From::Pause, _) => Vec::new(),
        (From::Named(_), Some(origin)) => {
            let all = storage::layers::Layers::open(&settings.root, false)?;
            origin.layers.iter().map(|layer| all.path(layer)).collect()
        }
        (From::Host | From::Named(_), _) => {
            let message = format!("container {name} is a view of this machine, and does not run");
            return Err(Error::new(Kind::Invalid, message)
                .hint("export it while it runs; what it wrote is in the upper directory of its state"));
        }
    };
    layers.push(upper);
    Ok(storage::read_only(&layers)?)
}

fn open(path: &str) -> Result<OwnedFd, Error> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    rustix::fs::openat(CWD, path, flags, Mode::empty())
        .map_err(|errno: Errno| Failure::new("export", path, errno).into())
}
