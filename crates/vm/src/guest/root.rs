//! The guest's file systems: the kernel's own, the root of layers and a scratch disk, and what programs expect in it.

use std::ffi::CString;
use std::fs;
use std::io;
use std::os::unix::fs::{PermissionsExt, chown, symlink};
use std::path::{Component, Path, PathBuf};

use rustix::fs::{CWD, Mode, OFlags, ResolveFlags};
use rustix::mount::MountFlags;
use step::Failure;

use crate::settings::{Lower, Settings, Source};

const STEP: &str = "vm.root";

/// Where the root is put together, in the initramfs.
const ROOT: &str = "/root";
const SCRATCH: &str = "/scratch";

fn failed(target: impl AsRef<Path>) -> impl Fn(io::Error) -> Failure {
    move |cause| Failure::new(STEP, target.as_ref().display().to_string(), cause)
}

fn mount(source: &str, at: &str, kind: &str, flags: MountFlags, data: &str) -> Result<(), Failure> {
    let data = CString::new(data).map_err(|_| Failure::because(STEP, at, "its options have a zero byte"))?;
    fs::create_dir_all(at).map_err(failed(at))?;
    rustix::mount::mount(source, at, kind, flags, data.as_c_str()).map_err(|errno| failed(at)(errno.into()))
}

const SAFE: MountFlags = MountFlags::NOSUID.union(MountFlags::NODEV).union(MountFlags::NOEXEC);

/// /dev, /proc and /sys of the initramfs: they move to the root later.
pub(super) fn mount_kernels() -> Result<(), Failure> {
    mount("dev", "/dev", "devtmpfs", MountFlags::NOSUID, "mode=0755")?;
    mount("proc", "/proc", "proc", SAFE, "")?;
    mount("sysfs", "/sys", "sysfs", SAFE, "")
}

/// The root: each lower file system with a layer on the scratch disk over it; then the shares.
pub(super) fn build(settings: &Settings) -> Result<(), Failure> {
    // Nothing of it is needed after a loss of power, but what programs ask to be on the disk goes there.
    mount(&disk(&settings.scratch)?, SCRATCH, "ext4", MountFlags::NOATIME, "")?;
    for (index, lower) in settings.lower.iter().enumerate() {
        overlay(index, lower)?;
    }
    for share in &settings.shares {
        let at = place(&share.at)?;
        let flags = if share.read_only { MountFlags::RDONLY } else { MountFlags::empty() };
        mount(&share.tag, &at.display().to_string(), "virtiofs", flags, "")?;
    }
    Ok(())
}

fn overlay(index: usize, lower: &Lower) -> Result<(), Failure> {
    let below = format!("/lower{index}");
    match &lower.source {
        Source::Disk(serial) => {
            mount(&disk(serial)?, &below, "ext4", MountFlags::RDONLY | MountFlags::NOATIME, "noload")?;
        }
        Source::Tree(tag) => mount(tag, &below, "virtiofs", MountFlags::RDONLY, "")?,
    }
    let (upper, work) = (format!("{SCRATCH}/upper{index}"), format!("{SCRATCH}/work{index}"));
    for directory in [&upper, &work] {
        fs::create_dir(directory).map_err(failed(directory))?;
    }
    // What is written covers the owner and the permissions of what lies below.
    let stat = rustix::fs::stat(&below).map_err(|errno| failed(&below)(errno.into()))?;
    chown(&upper, Some(stat.st_uid), Some(stat.st_gid)).map_err(failed(&upper))?;
    fs::set_permissions(&upper, fs::Permissions::from_mode(stat.st_mode & 0o7777)).map_err(failed(&upper))?;
    let at = if lower.at.as_os_str().is_empty() { PathBuf::from(ROOT) } else { place(&lower.at)? };
    let data = format!("lowerdir={below},upperdir={upper},workdir={work},index=off");
    mount("minidocker", &at.display().to_string(), "overlay", MountFlags::empty(), &data)
}

/// The device with this serial: /dev/vda and so on.
fn disk(serial: &str) -> Result<String, Failure> {
    for entry in fs::read_dir("/sys/block").map_err(failed("/sys/block"))?.flatten() {
        let found = fs::read_to_string(entry.path().join("serial")).unwrap_or_default();
        if found.trim() == serial {
            return Ok(format!("/dev/{}", entry.file_name().to_string_lossy()));
        }
    }
    Err(Failure::because(STEP, serial, "is no disk of this machine"))
}

/// A directory of the root, made if missing. Its links lead nowhere but into the root.
fn place(path: &Path) -> Result<PathBuf, Failure> {
    let failed = failed(path);
    let open = |path: &Path| {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let root = rustix::fs::open(ROOT, flags, Mode::empty())?;
        rustix::fs::openat2(&root, path, flags, Mode::empty(), ResolveFlags::IN_ROOT)
    };
    let mut done = PathBuf::from("/");
    let mut directory = open(&done).map_err(|errno| failed(errno.into()))?;
    for part in path.components() {
        let Component::Normal(name) = part else { continue };
        done.push(name);
        directory = match open(&done) {
            Err(rustix::io::Errno::NOENT) => {
                let mode = Mode::from_raw_mode(0o755);
                rustix::fs::mkdirat(&directory, name, mode).map_err(|errno| failed(errno.into()))?;
                open(&done).map_err(|errno| failed(errno.into()))?
            }
            opened => opened.map_err(|errno| failed(errno.into()))?,
        };
    }
    let fd = std::os::fd::AsRawFd::as_raw_fd(&directory);
    let real = rustix::fs::readlinkat(CWD, format!("/proc/self/fd/{fd}"), Vec::new());
    let real = real.map_err(|errno| failed(errno.into()))?;
    Ok(PathBuf::from(real.to_string_lossy().into_owned()))
}

/// Makes it the root, with what programs expect in it.
pub(super) fn enter(settings: &Settings) -> Result<(), Failure> {
    // All places first: to find one, /proc is asked.
    let names = ["dev", "proc", "sys"];
    let places = names.map(|name| place(Path::new(name)).map(|at| (format!("/{name}"), at)));
    for moved in places {
        let (from, at) = moved?;
        rustix::mount::mount_move(&from, &at).map_err(|errno| failed(&at)(errno.into()))?;
    }
    let _ = fs::remove_dir("/modules");
    let _ = fs::remove_file(super::SETTINGS);
    let _ = fs::remove_file("/init");
    let switch = || {
        rustix::process::chdir(ROOT)?;
        rustix::mount::mount_move(".", "/")?;
        rustix::process::chroot(".")?;
        rustix::process::chdir("/")
    };
    switch().map_err(|errno| failed("/")(errno.into()))?;
    furnish()?;
    for (path, text) in &settings.files {
        write(path, text)?;
    }
    rustix::system::sethostname(settings.hostname.as_bytes())
        .map_err(|errno| failed(&settings.hostname)(errno.into()))
}

/// What every program may expect.
fn furnish() -> Result<(), Failure> {
    let devpts = "gid=5,mode=620,ptmxmode=666";
    mount("devpts", "/dev/pts", "devpts", MountFlags::NOSUID | MountFlags::NOEXEC, devpts)?;
    mount("shm", "/dev/shm", "tmpfs", SAFE, "mode=1777")?;
    mount("run", "/run", "tmpfs", MountFlags::NOSUID | MountFlags::NODEV, "mode=0755")?;
    // A kernel without the one or the other runs programs all the same.
    let _ = mount("mqueue", "/dev/mqueue", "mqueue", SAFE, "");
    let _ = mount("cgroup", "/sys/fs/cgroup", "cgroup2", SAFE, "");
    for (name, target) in [("fd", "/proc/self/fd"), ("stdin", "fd/0"), ("stdout", "fd/1"), ("stderr", "fd/2")]
    {
        let at = Path::new("/dev").join(name);
        symlink(target, &at).map_err(failed(&at))?;
    }
    let tmp = Path::new("/tmp");
    if !tmp.is_dir() {
        fs::create_dir(tmp).map_err(failed(tmp))?;
        fs::set_permissions(tmp, fs::Permissions::from_mode(0o1777)).map_err(failed(tmp))?;
    }
    Ok(())
}

/// A file of ours in the place of the image's, which may be a link to somewhere that is not there.
fn write(path: &Path, text: &str) -> Result<(), Failure> {
    if let Some(parent) = path.parent() {
        fs::create_dir_all(parent).map_err(failed(parent))?;
    }
    match fs::remove_file(path) {
        Err(cause) if cause.kind() != io::ErrorKind::NotFound => return Err(failed(path)(cause)),
        _ => {}
    }
    fs::write(path, text).map_err(failed(path))
}
