//! What of a container is not in the images that CRIU makes of it, and is put together again at the restore: bind
//! mounts, control groups that are bind mounts, devices, masked files.
//!
//! A mount is known by its mount point as the container sees it, with links resolved. The dump takes that from the
//! running container, the restore from the root file system with the bind mounts on it, one after the other, as they
//! were when the container was made.

use std::fs;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Component, Path, PathBuf};

use cgroup::Hierarchies;
use criu::External;
use oci::spec::{LinuxNamespaceType, Mount, Spec};
use runtime::options::Options;
use runtime::path::{Kind, ensure};
use rustix::fs::{AtFlags, Mode, OFlags, StatxAttributes, StatxFlags};
use rustix::mount::UnmountFlags;

use crate::error::Error;

/// The file that hides the masked ones: one name in the images serves them all.
const NULL: &str = "/dev/null";

/// The devices that every container has. With a user namespace they are bind mounts.
const DEVICES: [&str; 6] = [NULL, "/dev/zero", "/dev/full", "/dev/random", "/dev/urandom", "/dev/tty"];

/// What a mount of config.json is.
enum Role {
    Bind { source: PathBuf, recursive: bool },
    Groups,
    Other,
}

/// The container's part of the world.
pub(crate) struct Outside<'a> {
    pub(crate) spec: &'a Spec,
    /// The bundle's directory, which relative sources are seen from.
    pub(crate) bundle: &'a Path,
    /// The root file system's directory.
    pub(crate) rootfs: &'a Path,
    /// Each hierarchy of control groups that is a bind mount: the name below its mount point, empty for the mount point
    /// itself, and the group's directory on the host.
    pub(crate) groups: Vec<(String, PathBuf)>,
}

impl<'a> Outside<'a> {
    /// Of the container with the group `group`, which is in those hierarchies that `joined` says.
    pub(crate) fn new(
        spec: &'a Spec,
        (bundle, rootfs): (&'a Path, &'a Path),
        hierarchies: &Hierarchies,
        group: &str,
        joined: impl Fn(&Path) -> bool,
    ) -> Self {
        let there = hierarchies.mounts().iter().map(|mount| (mount, mount.group(group)));
        let there = there.filter(|(_, dir)| joined(dir));
        let groups = match hierarchies.v2().is_some() && !hierarchies.is_hybrid() {
            // A mount of its own in a control group namespace.
            true if crate::prepare::owns(spec, LinuxNamespaceType::Cgroup) => Vec::new(),
            true => there.map(|(_, dir)| (String::new(), dir)).collect(),
            false => there.map(|(mount, dir)| (mount.name(), dir)).collect(),
        };
        Self { spec, bundle, rootfs, groups }
    }

    fn mounts(&self) -> impl Iterator<Item = (PathBuf, Role)> {
        let mounts = self.spec.mounts().iter().flatten();
        mounts.filter_map(|mount| self.role(mount).map(|role| (self.inside(mount.destination()), role)))
    }

    fn role(&self, mount: &Mount) -> Option<Role> {
        let options = Options::parse(mount.options().as_deref().unwrap_or_default());
        if options.remount {
            return None;
        }
        Some(match mount.typ().as_deref() {
            _ if options.bind => self.bind(mount, options.recursive),
            None | Some("bind" | "none" | "") => self.bind(mount, options.recursive),
            Some("cgroup" | "cgroup2") => Role::Groups,
            Some(_) => Role::Other,
        })
    }

    fn bind(&self, mount: &Mount, recursive: bool) -> Role {
        let source = self.bundle.join(mount.source().clone().unwrap_or_default());
        // CRIU wants a name at its end, and no dot. What is not there is told when it is bound.
        Role::Bind { source: fs::canonicalize(&source).unwrap_or(source), recursive }
    }

    /// A destination from the container's root, without dots. Some engines name it from outside.
    fn inside(&self, destination: &Path) -> PathBuf {
        let mut inside = PathBuf::from("/");
        for part in destination.strip_prefix(self.rootfs).unwrap_or(destination).components() {
            match part {
                Component::Normal(name) => inside.push(name),
                Component::ParentDir => drop(inside.pop()),
                _ => {}
            }
        }
        inside
    }

    fn group_mounts(&self, at: &Path) -> impl Iterator<Item = (String, &Path)> {
        self.groups.iter().map(move |(name, dir)| {
            let point = if name.is_empty() { at.to_owned() } else { at.join(name) };
            (text(&point), dir.as_path())
        })
    }

    fn devices(&self) -> Vec<PathBuf> {
        let asked = self.spec.linux().as_ref().and_then(|linux| linux.devices().clone()).unwrap_or_default();
        let asked = asked.into_iter().map(|device| device.path().clone());
        DEVICES.into_iter().map(PathBuf::from).chain(asked).collect()
    }

    fn masked(&self) -> &[String] {
        self.spec.linux().as_ref().and_then(|linux| linux.masked_paths().as_deref()).unwrap_or_default()
    }

    /// What a dump of the container with this first process leaves out.
    pub(crate) fn dumped(&self, pid: i32) -> Result<Vec<External>, Error> {
        let seen = Seen::of(pid)?;
        let mut externals = Vec::new();
        let mut asked = Vec::new();
        let mut trees = Vec::new();
        for (inside, role) in self.mounts() {
            let point = seen.mount_at(&inside);
            match role {
                Role::Bind { recursive, .. } => {
                    externals.extend(point.iter().cloned().map(External::mount_point));
                    trees.extend(point.clone().filter(|_| recursive));
                }
                Role::Groups => {
                    let mounts = self.group_mounts(&inside);
                    externals.extend(mounts.map(|(point, _)| External::mount_point(point)));
                }
                Role::Other => {}
            }
            asked.extend(point);
        }
        // What came along with a recursive bind; not what was mounted on it later.
        for tree in trees {
            let along = below(&seen.mounts, &tree).filter(|point| !asked.contains(point));
            externals.extend(along.map(External::mount_point));
        }
        for device in self.devices() {
            externals.extend(seen.mount_at(&self.inside(&device)).map(External::mount_point));
        }
        for masked in self.masked() {
            let file = seen.mount_at(Path::new(masked)).filter(|point| !seen.is_directory(point));
            externals.extend(file.map(|id| External::Mount { id, value: NULL.to_owned() }));
        }
        Ok(externals)
    }

    /// Makes every mount point that a restore needs on `root`, where the root file system is mounted, and gives what
    /// the restore puts on them. Binds them for the time being, for mount points that lie in them; in the caller's
    /// mount namespace.
    pub(crate) fn restored(&self, root: &Path) -> Result<Vec<External>, Error> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let opened = rustix::fs::open(root, flags, Mode::empty());
        let top = opened.map_err(|errno| Error::io("open", root, errno))?;
        let mut externals = Vec::new();
        let mut made: Vec<PathBuf> = Vec::new();
        // What lies on these CRIU brings, or the kernel.
        let mut filled: Vec<PathBuf> = Vec::new();
        for (inside, role) in self.mounts() {
            let there = filled.iter().any(|other| inside != *other && inside.starts_with(other));
            match role {
                Role::Bind { source, recursive } => {
                    let mut key = text(&inside);
                    if !there {
                        let bound = bind(&top, root, &inside, &source)?;
                        key = text(&Path::new("/").join(bound.strip_prefix(root).unwrap_or(&bound)));
                        if recursive {
                            externals.extend(along(root, &bound, &source)?);
                        }
                        made.push(bound);
                    }
                    externals.push(External::Mount { id: key, value: text(&source) });
                }
                Role::Groups => {
                    let mounts = self.group_mounts(&inside);
                    externals.extend(mounts.map(|(id, dir)| External::Mount { id, value: text(dir) }));
                }
                Role::Other if there => {}
                Role::Other => {
                    ensure(&top, &inside, Kind::Directory)
                        .map_err(|errno| Error::io("make the mount point", &inside, errno))?;
                    filled.push(inside);
                }
            }
        }
        for point in made.iter().rev() {
            rustix::mount::unmount(point, UnmountFlags::DETACH)
                .map_err(|errno| Error::io("unmount", point, errno))?;
        }
        // Masked files too.
        for device in self.devices() {
            let path = text(&self.inside(&device));
            externals.push(External::Mount { id: path.clone(), value: path });
        }
        Ok(externals)
    }
}

/// A stream of a process that is a file of the host, which no mount of the container reaches: /dev/null, a log.
pub(crate) fn host_file(pid: i32, stream: usize) -> Result<Option<External>, Error> {
    /// The null device's and its kin: linux/major.h, MEM_MAJOR.
    const MEMORY: u32 = 1;
    let path = PathBuf::from(format!("/proc/{pid}/fd/{stream}"));
    let Ok(found) = fs::metadata(&path) else { return Ok(None) };
    let is_memory = found.file_type().is_char_device() && rustix::fs::major(found.rdev()) == MEMORY;
    if !found.is_file() && !is_memory {
        return Ok(None);
    }
    let path = PathBuf::from(format!("/proc/{pid}/fdinfo/{stream}"));
    let text = fs::read_to_string(&path).map_err(|error| Error::io("read", &path, error))?;
    let mount = text.lines().find_map(|line| line.strip_prefix("mnt_id:")?.trim().parse::<u32>().ok());
    let own = mounts(&format!("/proc/{pid}/mountinfo"))?;
    let outside = mount.filter(|mount| own.iter().all(|(id, _)| *id != u64::from(*mount)));
    Ok(outside.map(|mount| External::File { mount, inode: found.ino() }))
}

/// Binds `source` over its mount point below `root`, which is made if it is not there; gives where it is.
fn bind(top: &OwnedFd, root: &Path, inside: &Path, source: &Path) -> Result<PathBuf, Error> {
    let found =
        fs::metadata(source).map_err(|error| Error::io("the source of a bind mount", source, error))?;
    let kind = if found.is_dir() { Kind::Directory } else { Kind::File };
    let place =
        ensure(top, inside, kind).map_err(|errno| Error::io("make the mount point", inside, errno))?;
    let link = format!("/proc/self/fd/{}", place.as_raw_fd());
    let point = fs::read_link(&link).map_err(|error| Error::io("read", Path::new(&link), error))?;
    if !point.starts_with(root) {
        return Err(Error::new(format!("the mount point {} is outside of the root", inside.display())));
    }
    rustix::mount::mount_bind_recursive(source, &link)
        .map_err(|errno| Error::io("bind", source, errno).during(&text(inside)))?;
    Ok(point)
}

/// The mounts that came along with the bind mount at `bound`.
fn along(root: &Path, bound: &Path, source: &Path) -> Result<Vec<External>, Error> {
    // Not /proc/self: a thread has a mount namespace of its own.
    let mounts = mounts("/proc/thread-self/mountinfo")?;
    let external = |point: String| {
        let below = Path::new(&point).strip_prefix(bound).ok()?;
        let id = Path::new("/").join(Path::new(&point).strip_prefix(root).ok()?);
        Some(External::Mount { id: text(&id), value: text(&source.join(below)) })
    };
    Ok(below(&mounts, &text(bound)).filter_map(external).collect())
}

/// The mounts of a container that runs.
struct Seen {
    root: OwnedFd,
    mounts: Vec<(u64, String)>,
}

impl Seen {
    fn of(pid: i32) -> Result<Self, Error> {
        let path = format!("/proc/{pid}/root");
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let root = rustix::fs::open(&path, flags, Mode::empty());
        let root = root.map_err(|errno| Error::io("open", Path::new(&path), errno))?;
        Ok(Self { root, mounts: mounts(&format!("/proc/{pid}/mountinfo"))? })
    }

    /// The mount point that a path leads to; none if no mount begins there.
    fn mount_at(&self, path: &Path) -> Option<String> {
        let place = runtime::path::open(&self.root, path).ok()?;
        let found = rustix::fs::statx(&place, c"", AtFlags::EMPTY_PATH, StatxFlags::MNT_ID).ok()?;
        if !found.stx_attributes.contains(StatxAttributes::MOUNT_ROOT) {
            return None;
        }
        let (_, point) = self.mounts.iter().find(|(id, _)| *id == found.stx_mnt_id)?;
        Some(point.clone())
    }

    fn is_directory(&self, path: &str) -> bool {
        let place = runtime::path::open(&self.root, Path::new(path));
        let stat = place.and_then(|place| rustix::fs::fstat(place.as_fd()));
        stat.is_ok_and(|stat| rustix::fs::FileType::from_raw_mode(stat.st_mode).is_dir())
    }
}

/// Number and mount point of each mount, proc_pid_mountinfo(5).
fn mounts(file: &str) -> Result<Vec<(u64, String)>, Error> {
    let read = fs::read(file).map_err(|error| Error::io("read", Path::new(file), error))?;
    let mount = |line: &str| {
        let fields: Vec<&str> = line.split(' ').collect();
        Some((fields.first()?.parse().ok()?, text(&sys::mount::unescape(fields.get(4)?.as_bytes()))))
    };
    Ok(String::from_utf8_lossy(&read).lines().filter_map(mount).collect())
}

/// The mount points below another.
fn below<'m>(mounts: &'m [(u64, String)], top: &str) -> impl Iterator<Item = String> + use<'m> {
    let prefix = format!("{}/", top.trim_end_matches('/'));
    mounts.iter().filter(move |(_, point)| point.starts_with(&prefix)).map(|(_, point)| point.clone())
}

/// CRIU's messages take UTF-8 only; another path is refused there.
fn text(path: &Path) -> String {
    path.to_string_lossy().into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn destinations_are_seen_from_inside() {
        let spec = Spec::default();
        let (bundle, rootfs) = (Path::new("/b"), Path::new("/b/rootfs"));
        let outside = Outside { spec: &spec, bundle, rootfs, groups: vec![("cpu".into(), "/g".into())] };
        let inside = |path: &str| text(&outside.inside(Path::new(path)));
        assert_eq!(inside("data/./x/../y"), "/data/y");
        assert_eq!(inside("/../.."), "/");
        assert_eq!(inside("/b/rootfs/data"), "/data");
        let groups: Vec<_> = outside.group_mounts(Path::new("/sys/fs/cgroup")).collect();
        assert_eq!(groups, [("/sys/fs/cgroup/cpu".to_owned(), Path::new("/g"))]);
    }

    #[test]
    fn only_what_lies_below_is_below() {
        let mounts: Vec<_> = ["/a", "/a/b", "/ab", "/"].map(|point| (1, point.to_owned())).into();
        assert_eq!(below(&mounts, "/a").collect::<Vec<_>>(), ["/a/b"]);
        assert_eq!(below(&mounts, "/").count(), 4);
    }

    #[test]
    fn a_file_of_this_namespace_is_none_of_the_hosts() {
        let own = rustix::process::getpid().as_raw_nonzero().get();
        let file = fs::File::open("/proc/self/exe").unwrap();
        assert_eq!(host_file(own, file.as_raw_fd() as usize).unwrap(), None);
    }
}
