//! What a request means on this host, read once before anything is planned: numbers of devices, processes of other
//! containers, ids.

use std::collections::BTreeMap;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};

use crate::request::{Namespace, NetworkMode, RunRequest, UserNamespace};
use crate::state::Store;
use crate::users::User;
use crate::volumes;
use crate::{Error, Kind};

/// A device node of the host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct DeviceFact {
    /// Where it will be in the container.
    pub path: PathBuf,
    /// `c` or `b`.
    pub kind: char,
    /// Major and minor number.
    pub number: (u32, u32),
    /// Permission bits.
    pub mode: u32,
    /// Owner and group.
    pub owner: (u32, u32),
    /// Some of `r`, `w`, `m`.
    pub access: String,
}

/// The facts.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Facts {
    /// Who the program is.
    pub user: User,
    /// The name of whose network or host name the container shares: the host's, or another container's.
    pub hostname: String,
    /// `--device`, or with --privileged every device of the host.
    pub devices: Vec<DeviceFact>,
    /// The ids outside that a user namespace of its own maps to: first and count.
    pub ids: Option<(u32, u32)>,
    /// The pid of the first process of the container whose namespace is joined.
    pub pid: Option<i32>,
    /// The same for IPC.
    pub ipc: Option<i32>,
    /// The same for UTS.
    pub uts: Option<i32>,
    /// The same for the network.
    pub network: Option<i32>,
    /// Where the hosts, hostname and resolv.conf of that container are.
    pub network_files: Option<PathBuf>,
    /// What minidocker itself may have, by the kernel's numbers: more than this nobody can get from it.
    pub capabilities: u64,
    /// Rows and columns of the user's terminal.
    pub terminal: Option<(u16, u16)>,
    /// Where the files of its volumes are, by their names.
    pub volumes: BTreeMap<String, volumes::Place>,
    /// Owner and group of what is bound with `idmap`, by path.
    pub owners: BTreeMap<PathBuf, (u32, u32)>,
}

/// Where an own user namespace maps to if nobody said otherwise: above what useradd(8) gives to people.
const FIRST_ID: u32 = 1 << 20;

/// Below the ids that the kernel and NFS have uses for.
const END_OF_IDS: u32 = 1 << 31;

/// Reads them. `lookup` is where the image's files can be read, the uppermost layer first.
pub(crate) fn gather(
    store: &Store,
    request: &RunRequest,
    id: &str,
    lookup: &[PathBuf],
) -> Result<Facts, Error> {
    let user = crate::users::resolve(lookup, request.process.user.as_deref(), &request.process.groups)?;
    let join = |namespace: &Namespace| match namespace {
        Namespace::Container(name) => living(store, name).map(Some),
        _ => Ok(None),
    };
    let mut hostname = rustix::system::uname().nodename().to_string_lossy().into_owned();
    let (network, network_files) = match &request.network.mode {
        NetworkMode::Container(name) => {
            let pid = living(store, name)?;
            let files = store.run_dir(&store.find(name)?);
            hostname = hostname_in(&files).unwrap_or(hostname);
            (Some(pid), Some(files))
        }
        _ => (None, None),
    };
    if let Namespace::Container(name) = &request.namespaces.uts {
        hostname = hostname_in(&store.run_dir(&store.find(name)?)).unwrap_or(hostname);
    }
    let mut devices = Vec::new();
    if request.security.privileged {
        all_devices(Path::new("/dev"), &mut devices);
    }
    for device in &request.security.devices {
        asked_devices(&device.host, &device.container, &device.access, &mut devices)?;
    }
    Ok(Facts {
        user,
        hostname,
        devices,
        ids: own_ids(store, request.namespaces.user, id)?,
        pid: join(&request.namespaces.pid)?,
        ipc: join(&request.namespaces.ipc)?,
        uts: join(&request.namespaces.uts)?,
        network,
        network_files,
        capabilities: rustix::thread::capabilities(None).map_or(0, |sets| sets.permitted.bits()),
        terminal: None,
        volumes: volumes::places(&store.volumes(), request)?,
        owners: volumes::owners(request),
    })
}

/// What the container with these files is called.
fn hostname_in(files: &Path) -> Option<String> {
    Some(std::fs::read_to_string(files.join("hostname")).ok()?.trim_end().to_owned())
}

fn living(store: &Store, name: &str) -> Result<i32, Error> {
    let id = store.find(name)?;
    store.joinable_init(&id).ok_or_else(|| {
        Error::new(Kind::Invalid, format!("cannot join the namespace of container {name}: it is not running"))
            .hint("`minidocker ps` lists the containers that run")
    })
}

/// The ids outside that an own user namespace maps to: those that were asked for, or a range that no other container
/// has. The search begins at a place that the container's id gives, so that starts at the same time seldom meet.
fn own_ids(store: &Store, user: UserNamespace, id: &str) -> Result<Option<(u32, u32)>, Error> {
    let UserNamespace::Private { host, size } = user else { return Ok(None) };
    if host != 0 {
        return Ok(Some((host, size)));
    }
    let width = size.max(1 << 16).next_multiple_of(1 << 16);
    let slots = (END_OF_IDS - FIRST_ID) / width;
    let start = u32::from_str_radix(&id[..7], 16).unwrap_or(0);
    for slot in (0..slots).map(|n| start.wrapping_add(n) % slots) {
        let first = FIRST_ID + slot * width;
        if store.take_ids(first, id)? {
            return Ok(Some((first, size)));
        }
    }
    Err(Error::new(Kind::Engine, format!("no {size} user ids are free for the container"))
        .hint("name them: --userns private:HOSTID:SIZE"))
}

fn fact(host: &Path, container: &Path, access: &str) -> Option<DeviceFact> {
    let meta = std::fs::metadata(host).ok()?;
    let kind = match meta.file_type() {
        kind if kind.is_char_device() => 'c',
        kind if kind.is_block_device() => 'b',
        _ => return None,
    };
    let number = (rustix::fs::major(meta.rdev()), rustix::fs::minor(meta.rdev()));
    Some(DeviceFact {
        path: container.to_owned(),
        kind,
        number,
        mode: meta.mode() & 0o7777,
        owner: (meta.uid(), meta.gid()),
        access: access.to_owned(),
    })
}

/// `--device` of a node, or of a directory of nodes.
fn asked_devices(
    host: &Path,
    container: &Path,
    access: &str,
    devices: &mut Vec<DeviceFact>,
) -> Result<(), Error> {
    let invalid = |reason: String| {
        Error::new(Kind::Invalid, format!("--device {}: {reason}", host.display()))
            .hint("give the path of a device node of the host, like /dev/fuse")
    };
    if host.is_dir() {
        let before = devices.len();
        for entry in std::fs::read_dir(host).map_err(|error| invalid(error.to_string()))?.flatten() {
            devices.extend(fact(&entry.path(), &container.join(entry.file_name()), access));
        }
        return if devices.len() > before {
            Ok(())
        } else {
            Err(invalid("no device nodes in this directory".into()))
        };
    }
    if !host.exists() {
        return Err(invalid("does not exist on the host".into()));
    }
    devices.push(fact(host, container, access).ok_or_else(|| invalid("is not a device node".into()))?);
    Ok(())
}

/// --privileged: every device of the host but terminals and what the container has of its own.
fn all_devices(dir: &Path, devices: &mut Vec<DeviceFact>) {
    const OWN: [&str; 9] = ["pts", "shm", "mqueue", "null", "zero", "full", "random", "urandom", "tty"];
    for entry in std::fs::read_dir(dir).into_iter().flatten().flatten() {
        let (path, name) = (entry.path(), entry.file_name());
        let Ok(kind) = entry.file_type() else { continue };
        if dir == Path::new("/dev") && OWN.iter().any(|own| name == *own) || name == "console" {
            continue;
        }
        if kind.is_dir() {
            all_devices(&path, devices);
        } else if kind.is_char_device() || kind.is_block_device() {
            devices.extend(fact(&path, &path, "rwm"));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn own_ids_are_apart_and_free_again_afterwards() {
        let dir = std::env::temp_dir().join(format!("minidocker-ids-{}", std::process::id()));
        let settings = crate::Settings {
            root: dir.join("keep"),
            run_root: dir.join("run"),
            ..crate::Settings::default()
        };
        let store = Store::new(&settings);
        store.prepare().unwrap();
        let automatic = UserNamespace::Private { host: 0, size: 65536 };
        let (a, b) = ("f".repeat(64), format!("{}e", "f".repeat(63)));
        let _held = [store.hold(&a).unwrap(), store.hold(&b).unwrap()];
        let first = own_ids(&store, automatic, &a).unwrap().unwrap();
        let second = own_ids(&store, automatic, &b).unwrap().unwrap();
        assert!(first.0 >= FIRST_ID && first.0 + first.1 <= END_OF_IDS && first.0.is_multiple_of(65536));
        assert_eq!(second.0, first.0 + 65536, "the same place to begin, and the next range");
        store.forget(&a).unwrap();
        assert!(store.take_ids(first.0, &b).unwrap());
        let chosen = UserNamespace::Private { host: 5000, size: 10 };
        assert_eq!(own_ids(&store, chosen, &a).unwrap(), Some((5000, 10)));
        std::fs::remove_dir_all(dir).unwrap();
    }

    #[test]
    fn devices_are_looked_up() {
        let mut devices = Vec::new();
        asked_devices(Path::new("/dev/null"), Path::new("/dev/nothing"), "r", &mut devices).unwrap();
        assert_eq!((devices[0].kind, devices[0].number, devices[0].access.as_str()), ('c', (1, 3), "r"));
        for bad in ["/etc/passwd", "/dev/none", "/etc"] {
            assert!(asked_devices(Path::new(bad), Path::new("/x"), "rwm", &mut devices).is_err(), "{bad}");
        }
    }
}
