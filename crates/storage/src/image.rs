//! The loop image of a container: an ext4 in a sparse file, on a loop device that lets go of it by itself. Nothing has
//! to be taken down: with the last mount and the last descriptor, however their processes ended, the device is free,
//! and the file lies in the container's directory.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use rustix::fs::{AtFlags, CWD, FileType, FlockOperation, Mode, OFlags};
use rustix::io::Errno;
use rustix::mount::{FsMountFlags, FsOpenFlags, MountAttrFlags};
use step::Failure;

use crate::ext4::{self, BLOCK, Format};

/// The image's name in the container's directory.
pub(crate) const NAME: &str = "disk";
/// Its name as long as it is not whole.
pub(crate) const NEW: &str = "disk.new";
/// Its size where nobody says: sparse, so that it takes what is written.
pub(crate) const USUAL: u64 = 10 << 30;

/// LOOP_MAJOR, linux/major.h.
const LOOP_MAJOR: u32 = 7;
/// How often another process may be faster to a free loop device.
const TRIES: u32 = 10_000;

/// Makes the file with an empty file system in it.
///
/// `journal`: without one it is faster, and not whole after a loss of power.
pub(crate) fn make(path: &Path, size: u64, journal: bool) -> io::Result<()> {
    let flags = OFlags::CREATE | OFlags::TRUNC | OFlags::RDWR | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let file = File::from(rustix::fs::openat(CWD, path, flags, Mode::RUSR | Mode::WUSR)?);
    format(&file, size, journal)
}

/// The same in a file that is there.
pub(crate) fn format(file: &File, size: u64, journal: bool) -> io::Result<()> {
    let mut uuid = [0; 16];
    rustix::rand::getrandom(&mut uuid, rustix::rand::GetRandomFlags::empty())?;
    // Version 4, variant 1: RFC 9562.
    uuid[6] = uuid[6] & 0x0f | 0x40;
    uuid[8] = uuid[8] & 0x3f | 0x80;
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |past| past.as_secs() as u32);
    ext4::format(file, &Format { size, journal, uuid, now })
}

fn open(path: &Path) -> Result<File, Errno> {
    let flags = OFlags::RDWR | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    rustix::fs::openat(CWD, path, flags, Mode::empty()).map(File::from)
}

/// Attaches the file to a free loop device, which is attached as long as somebody has it open or mounted. If it is on
/// one already, waits until it is not.
pub(crate) fn attach(step: &'static str, path: &Path) -> Result<OwnedFd, Failure> {
    let failed = |errno: Errno| Failure::new(step, path.display().to_string(), errno);
    let file = open(path).map_err(failed)?;
    rustix::fs::flock(&file, FlockOperation::LockExclusive).map_err(failed)?;
    attach_file(step, path, &file)
}

/// The file is locked: two devices on one file would be two caches of it. The lock belongs to the open file, which the
/// device keeps, so that it ends with the device.
fn attach_file(step: &'static str, path: &Path, file: &File) -> Result<OwnedFd, Failure> {
    let failed = |errno: Errno| Failure::new(step, path.display().to_string(), errno);
    const CONTROL: &str = "/dev/loop-control";
    let control = rustix::fs::openat(CWD, CONTROL, OFlags::RDWR | OFlags::CLOEXEC, Mode::empty())
        .map_err(|errno| Failure::new(step, CONTROL, errno).hint(NO_LOOP))?;
    for _ in 0..TRIES {
        let number = sys::disk::free_loop(&control).map_err(|cause| {
            Failure::new(step, CONTROL, cause).hint("every loop device is taken: losetup -a tells by whom")
        })?;
        let beside = path.parent().unwrap_or(Path::new("/"));
        let name = || format!("/dev/loop{number}");
        let device = open_device(number, beside).map_err(|errno| Failure::new(step, name(), errno))?;
        match sys::disk::attach_loop(&device, file) {
            Ok(()) => return Ok(device),
            // Somebody else was faster.
            Err(error) if error.raw_os_error() == Some(Errno::BUSY.raw_os_error()) => {
                rustix::thread::sched_yield();
            }
            Err(error) => return Err(Failure::new(step, name(), error).hint(NO_LOOP)),
        }
    }
    Err(failed(Errno::BUSY).hint("other programs take each loop device before this one can: try again"))
}

const NO_LOOP: &str = "loop devices need Linux 5.8 with its loop driver (`modprobe loop`) and a /dev that shows \
    them; without --storage-opt size=, or with --rootfs-kind copy, none is needed";

/// Opens /dev/loop`number`; where /dev is no devtmpfs and has no such node, by one that is made in the directory
/// `beside` and removed at once.
fn open_device(number: u32, beside: &Path) -> Result<OwnedFd, Errno> {
    let open = |path: &Path| rustix::fs::openat(CWD, path, OFlags::RDWR | OFlags::CLOEXEC, Mode::empty());
    match open(Path::new(&format!("/dev/loop{number}"))) {
        Err(Errno::NOENT | Errno::NXIO) => {}
        result => return result,
    }
    let node = beside.join(format!("loop{number}"));
    let device = rustix::fs::makedev(LOOP_MAJOR, number);
    match rustix::fs::mknodat(CWD, &node, FileType::BlockDevice, Mode::RUSR | Mode::WUSR, device) {
        Err(Errno::EXIST) => {}
        made => made?,
    }
    let opened = open(&node);
    rustix::fs::unlinkat(CWD, &node, AtFlags::empty())?;
    opened
}

/// The loop device that the file is attached to, if there is one; open, so that it stays.
fn attached(file: &File) -> Result<Option<OwnedFd>, Errno> {
    let stat = rustix::fs::fstat(file)?;
    // huge_encode_dev, linux/kdev_t.h.
    let (major, minor) =
        (u64::from(rustix::fs::major(stat.st_dev)), u64::from(rustix::fs::minor(stat.st_dev)));
    let device = minor & 0xff | major << 8 | (minor & !0xff) << 12;
    for entry in std::fs::read_dir("/sys/block").into_iter().flatten().flatten() {
        let name = entry.file_name();
        let Some(number) = name.to_str().and_then(|name| name.strip_prefix("loop")?.parse().ok()) else {
            continue;
        };
        if !entry.path().join("loop").exists() {
            continue;
        }
        let Ok(opened) = open_device(number, Path::new("/run")) else { continue };
        if sys::disk::loop_file(&opened).is_ok_and(|found| found == (device, stat.st_ino)) {
            return Ok(Some(opened));
        }
    }
    Ok(None)
}

/// Why the kernel does not mount it.
#[derive(Debug)]
pub(crate) struct Refused {
    pub(crate) errno: Errno,
    pub(crate) words: Option<String>,
}

/// A detached mount of the ext4 on the loop device; of one that is mounted already it is another mount of the same.
/// `volatile`: it is never needed after a loss of power.
pub(crate) fn mount(device: &OwnedFd, volatile: bool) -> Result<OwnedFd, Refused> {
    let refused = |errno| Refused { errno, words: None };
    let context = rustix::mount::fsopen("ext4", FsOpenFlags::FSOPEN_CLOEXEC).map_err(refused)?;
    let configure = || {
        let source = source(device)?;
        rustix::mount::fsconfig_set_string(&context, "source", source)?;
        // What is deleted inside is given back to the host.
        rustix::mount::fsconfig_set_flag(&context, "discard")?;
        if volatile {
            rustix::mount::fsconfig_set_string(&context, "barrier", "0")?;
        }
        rustix::mount::fsconfig_create(&context)?;
        rustix::mount::fsmount(&context, FsMountFlags::FSMOUNT_CLOEXEC, MountAttrFlags::empty())
    };
    configure().map_err(|errno| Refused { errno, words: crate::overlay::log(&context) })
}

/// What the mount is called in /proc/mounts: the device by its name, or by the descriptor where /dev shows none. A
/// device keeps its number as long as it is open.
fn source(device: &OwnedFd) -> Result<String, Errno> {
    let number = rustix::fs::fstat(device)?.st_rdev;
    let name = format!("/dev/loop{}", rustix::fs::minor(number));
    let named = rustix::fs::stat(name.as_str()).is_ok_and(|stat| stat.st_rdev == number);
    Ok(if named { name } else { format!("/proc/self/fd/{}", device.as_raw_fd()) })
}

/// How full a container's disk is, in bytes, as df(1) tells it inside.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Usage {
    /// What fits.
    pub size: u64,
    /// What is taken.
    pub used: u64,
    /// What is left for everybody but root of the file system.
    pub available: u64,
}

impl Usage {
    pub(crate) fn of(directory: impl AsFd) -> Result<Self, Errno> {
        let disk = rustix::fs::fstatvfs(directory)?;
        let bytes = |blocks: u64| blocks.saturating_mul(disk.f_frsize);
        Ok(Self {
            size: bytes(disk.f_blocks),
            used: bytes(disk.f_blocks.saturating_sub(disk.f_bfree)),
            available: bytes(disk.f_bavail),
        })
    }
}

/// The root of the image's file system, mounted beside whoever has it mounted.
struct Opened {
    file: File,
    device: OwnedFd,
    mount: OwnedFd,
}

impl Opened {
    fn new(step: &'static str, path: &Path) -> Result<Self, Failure> {
        let failed = |errno: Errno| Failure::new(step, path.display().to_string(), errno);
        let file = open(path).map_err(failed)?;
        let device = loop {
            match rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive) {
                Ok(()) => break attach_file(step, path, &file)?,
                Err(Errno::WOULDBLOCK) => {}
                Err(errno) => return Err(failed(errno)),
            }
            // Somebody has it on a device, or is about to.
            match attached(&file).map_err(failed)? {
                Some(device) => break device,
                None => rustix::thread::sched_yield(),
            }
        };
        let mount = mount(&device, false)
            .map_err(|refused| Failure { reason: refused.words, ..failed(refused.errno) })?;
        Ok(Self { file, device, mount })
    }
}

/// How full the image at `path` is.
pub(crate) fn usage(path: &Path) -> Result<Usage, Failure> {
    const STEP: &str = "storage.usage";
    let opened = Opened::new(STEP, path)?;
    Usage::of(&opened.mount).map_err(|errno| Failure::new(STEP, path.display().to_string(), errno))
}

/// Makes the image at `path` larger, whether its container runs or not. What was cut short is completed by doing it
/// again.
pub(crate) fn grow(path: &Path, size: u64) -> Result<(), Failure> {
    const STEP: &str = "storage.grow";
    let failed = |cause: io::Error| Failure::new(STEP, path.display().to_string(), cause);
    let opened = Opened::new(STEP, path)?;
    let blocks = size / BLOCK;
    let now = opened.file.metadata().map_err(failed)?.len();
    if blocks * BLOCK < now {
        let reason = format!("has {now} bytes: an image grows and does not shrink");
        return Err(Failure::because(STEP, path.display().to_string(), reason));
    }
    opened.file.set_len(blocks * BLOCK).map_err(failed)?;
    sys::disk::loop_size_changed(&opened.device).map_err(failed)?;
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let root =
        rustix::fs::openat(&opened.mount, ".", flags, Mode::empty()).map_err(|errno| failed(errno.into()))?;
    sys::disk::resize_ext4(&root, blocks).map_err(|cause| {
        let not_allowed = cause.raw_os_error() == Some(Errno::PERM.raw_os_error());
        // What lies beyond the file system is nobody's.
        let _ = opened.file.set_len(now).and_then(|()| sys::disk::loop_size_changed(&opened.device));
        let failure = failed(cause);
        if not_allowed {
            failure.hint("growing an ext4 needs the capability CAP_SYS_RESOURCE")
        } else {
            failure
        }
    })
}
