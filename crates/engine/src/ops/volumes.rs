//! Volumes: make them, look at them, let them go. Nobody's data goes unless its volume was named, or nobody named it.

use std::collections::BTreeMap;
use std::path::PathBuf;

use step::Failure;

use crate::request::Mount;
use crate::state::{Record, Store};
use crate::sweep::sweep;
use crate::volumes::{self, ANONYMOUS, DRIVER, Gone, Volumes, check_driver, is_name, users};
use crate::{Error, Kind, Settings, events, names};

pub use crate::volumes::Volume;

/// What a new volume is to be.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct New {
    /// Its name; made up where there is none.
    pub name: Option<String>,
    /// `--label`.
    pub labels: BTreeMap<String, String>,
    /// `--opt`: `type`, `device`, `o`.
    pub options: BTreeMap<String, String>,
}

/// A volume and what the state says of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listed {
    /// The volume.
    pub volume: Volume,
    /// Where its data lies.
    pub mountpoint: PathBuf,
    /// Whether a container's record names it, or may do so and cannot be read.
    pub used: bool,
}

/// What `prune` has removed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Pruned {
    /// Names.
    pub names: Vec<String>,
    /// Bytes, as du counts.
    pub bytes: u64,
    /// A container's record cannot be read: what it uses is not known, nothing was removed.
    pub unknown: bool,
}

/// Makes a volume; one that is there already is content, as in Docker. Its name.
pub fn create(settings: &Settings, new: &New) -> Result<String, Error> {
    let name = new.name.clone().unwrap_or_else(names::id);
    if !is_name(&name) {
        return Err(bad_name(&name));
    }
    check_driver(&new.options)?;
    let volumes = Volumes::new(&settings.root);
    let mut labels = new.labels.clone();
    if new.name.is_none() {
        labels.insert(ANONYMOUS.to_owned(), String::new());
    }
    let locked = volumes.lock()?;
    let mut gone = Gone::default();
    volumes.leftovers(&locked, &mut gone);
    let made = match volumes.find(&name)? {
        Some(there) if !new.options.is_empty() && there.options != new.options => {
            Err(Error::new(Kind::Invalid, format!("a volume named {name} already exists with other options"))
                .hint(format!("choose another name, or remove that one: minidocker volume rm {name}")))
        }
        Some(_) => Ok(()),
        None => {
            let made = volumes.make(&locked, &name, &labels, &new.options);
            made.map(|_| events::volume(&settings.run_root, "create", &name)).map_err(Error::from)
        }
    };
    drop(locked);
    volumes.empty(gone)?;
    made.map(|()| name)
}

fn bad_name(name: &str) -> Error {
    Error::new(Kind::Invalid, format!("{} cannot be a volume's name", step::quote(name))).hint(
        "a name starts with a letter or digit, at least one of a-z A-Z 0-9 _ . - follows; a directory of the host is written as /data or ./data",
    )
}

/// Every volume, by name. Readers take no lock.
pub fn list(settings: &Settings) -> Result<Vec<Listed>, Error> {
    let volumes = Volumes::new(&settings.root);
    let users = users(&Store::new(settings))?;
    let used = |name: &str| users.as_ref().is_none_or(|users| users.contains_key(name));
    let one =
        |volume: Volume| Listed { mountpoint: volumes.data(&volume.name), used: used(&volume.name), volume };
    Ok(volumes.list()?.into_iter().map(one).collect())
}

/// One volume.
pub fn inspect(settings: &Settings, name: &str) -> Result<Listed, Error> {
    let volumes = Volumes::new(&settings.root);
    let volume = volumes.find(name)?.ok_or_else(|| no_such(name))?;
    let users = users(&Store::new(settings))?;
    let used = users.is_none_or(|users| users.contains_key(name));
    Ok(Listed { mountpoint: volumes.data(name), used, volume })
}

fn no_such(name: &str) -> Error {
    Error::new(Kind::Invalid, format!("no such volume: {name}"))
        .hint("`minidocker volume ls` lists all volumes")
}

/// Removes a volume that no container uses, running or not. `force`: one that is not there is content.
pub fn remove(settings: &Settings, name: &str, force: bool) -> Result<(), Error> {
    let store = Store::new(settings);
    sweep(settings, &store)?;
    let volumes = store.volumes();
    let mut gone = Gone::default();
    let removed = remove_locked(&store, &volumes, name, force, &mut gone);
    volumes.empty(gone)?;
    removed
}

fn remove_locked(
    store: &Store,
    volumes: &Volumes,
    name: &str,
    force: bool,
    gone: &mut Gone,
) -> Result<(), Error> {
    // A container's record is there before its volumes are asked for: whoever is not seen here makes it anew.
    let locked = volumes.lock()?;
    volumes.leftovers(&locked, gone);
    // A damaged one can go too: it was named.
    if !is_name(name) || !volumes.directory(name).is_dir() {
        return if force { Ok(()) } else { Err(no_such(name)) };
    }
    let Some(users) = users(store)? else { return Err(unknown(name)) };
    if let Some(ids) = users.get(name) {
        return Err(Error::new(
            Kind::Invalid,
            format!("remove {name}: volume is in use - [{}]", ids.join(", ")),
        )
        .hint("remove the containers first: minidocker rm CONTAINER"));
    }
    volumes.retire(&locked, name, gone)?;
    events::volume(store.run_root(), "destroy", name);
    Ok(())
}

fn unknown(name: &str) -> Error {
    Error::new(
        Kind::Invalid,
        format!("cannot remove volume {name}: a container's record cannot be read, it may use the volume"),
    )
    .hint("`minidocker ps -a` shows damaged containers; `minidocker rm -f` removes them")
}

/// Removes anonymous volumes that no container uses; with `all` named ones too. `keep` spares some.
pub fn prune(settings: &Settings, all: bool, keep: &dyn Fn(&Volume) -> bool) -> Result<Pruned, Error> {
    let store = Store::new(settings);
    sweep(settings, &store)?;
    let volumes = store.volumes();
    let mut gone = Gone::default();
    let wanted = |volume: &Volume| (all || volume.is_anonymous()) && !keep(volume);
    let pruned = prune_locked(&store, &volumes, &wanted, &mut gone);
    let bytes = volumes.usage(&gone);
    volumes.empty(gone)?;
    Ok(Pruned { bytes, ..pruned? })
}

fn prune_locked(
    store: &Store,
    volumes: &Volumes,
    wanted: &dyn Fn(&Volume) -> bool,
    gone: &mut Gone,
) -> Result<Pruned, Failure> {
    let locked = volumes.lock()?;
    volumes.leftovers(&locked, gone);
    let Some(users) = users(store)? else { return Ok(Pruned { unknown: true, ..Pruned::default() }) };
    let mut pruned = Pruned::default();
    for volume in volumes.list()? {
        if !users.contains_key(&volume.name)
            && wanted(&volume)
            && volumes.retire(&locked, &volume.name, gone)?
        {
            events::volume(store.run_root(), "destroy", &volume.name);
            pruned.names.push(volume.name);
        }
    }
    Ok(pruned)
}

/// What a volume's data take on disk, as du counts.
pub(crate) fn size(volumes: &Volumes, name: &str) -> Result<u64, Failure> {
    storage::layers::disk_usage(&volumes.data(name))
}

/// A mount of a container, in the words of Docker's `inspect`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MountPoint {
    /// `bind`, `volume` or `tmpfs`.
    pub kind: &'static str,
    /// A volume's name; empty for others.
    pub name: String,
    /// Where its files are on the host; empty for tmpfs.
    pub source: PathBuf,
    /// Where it is in the container.
    pub destination: PathBuf,
    /// A volume's driver; empty for others.
    pub driver: &'static str,
    /// The options as they were typed.
    pub mode: String,
    /// Whether the container may write.
    pub rw: bool,
    /// mount(2)'s propagation.
    pub propagation: String,
}

/// The mounts of a container, as its record has them: for `inspect`.
pub fn mounts_of(settings: &Settings, container: &str) -> Result<Vec<MountPoint>, Error> {
    let store = Store::new(settings);
    let id = store.find(container)?;
    Ok(store.record(&id)?.map(|record| mounts_of_record(settings, &record)).unwrap_or_default())
}

/// The same of a record.
pub(crate) fn mounts_of_record(settings: &Settings, record: &Record) -> Vec<MountPoint> {
    let volumes = Volumes::new(&settings.root);
    record.request.storage.mounts.iter().map(|mount| point(&volumes, mount)).collect()
}

fn point(volumes: &Volumes, mount: &Mount) -> MountPoint {
    let propagation = |word: &Option<String>| word.clone().unwrap_or_else(|| "rprivate".to_owned());
    let mode = |read_only: bool, recursive: bool, options: &[String]| {
        let first = match (recursive, read_only) {
            (true, _) => Some("rro"),
            (_, true) => Some("ro"),
            _ => None,
        };
        first.into_iter().chain(options.iter().map(String::as_str)).collect::<Vec<_>>().join(",")
    };
    match mount {
        Mount::Bind {
            source, target, read_only, recursive_read_only, propagation: word, options, ..
        } => MountPoint {
            kind: "bind",
            name: String::new(),
            source: source.clone(),
            destination: target.clone(),
            driver: "",
            mode: mode(*read_only, *recursive_read_only, options),
            rw: !read_only,
            propagation: propagation(word),
        },
        Mount::Tmpfs { target, options } => MountPoint {
            kind: "tmpfs",
            name: String::new(),
            source: PathBuf::new(),
            destination: target.clone(),
            driver: "",
            mode: options.join(","),
            rw: !options.iter().any(|option| option == "ro"),
            propagation: String::new(),
        },
        Mount::Volume(volume) => MountPoint {
            kind: "volume",
            name: volume.name.clone(),
            source: match &volume.subpath {
                Some(subpath) => volumes.data(&volume.name).join(subpath),
                None => volumes.data(&volume.name),
            },
            destination: volume.target.clone(),
            driver: DRIVER,
            mode: mode(volume.read_only, volume.recursive_read_only, &volume.options),
            rw: !volume.read_only,
            propagation: volume.propagation.clone().unwrap_or_default(),
        },
    }
}

/// Names of volumes that a typed `-v` may use.
pub fn check_name(name: &str) -> Result<(), Error> {
    if is_name(name) { Ok(()) } else { Err(bad_name(name)) }
}

/// Options of the driver that a typed `--mount` may use.
pub fn check_options(options: &BTreeMap<String, String>) -> Result<(), Error> {
    volumes::check_driver(options)
}
