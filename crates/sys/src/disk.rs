//! Loop devices (loop(4)), the growing of a mounted ext4, and project quotas (quotactl(2), ioctl_xfs_fsgetxattr(2)).

use std::io;
use std::os::fd::{AsFd, AsRawFd};

/// LOOP_SET_CAPACITY, linux/loop.h.
const LOOP_SET_CAPACITY: libc::c_ulong = 0x4c07;
/// LOOP_GET_STATUS64.
const LOOP_GET_STATUS64: libc::c_ulong = 0x4c05;
/// LOOP_CONFIGURE, since Linux 5.8.
const LOOP_CONFIGURE: libc::c_ulong = 0x4c0a;
/// LOOP_CTL_GET_FREE.
const LOOP_CTL_GET_FREE: libc::c_ulong = 0x4c82;
/// LO_FLAGS_AUTOCLEAR: the device lets go of its file when its last user closes it.
const LO_FLAGS_AUTOCLEAR: u32 = 4;
/// LO_FLAGS_DIRECT_IO: the file's pages are not cached a second time.
const LO_FLAGS_DIRECT_IO: u32 = 16;
/// EXT4_IOC_RESIZE_FS, Documentation/filesystems/ext4.
const EXT4_IOC_RESIZE_FS: libc::c_ulong = 0x4008_6610;
/// FS_IOC_FSGETXATTR, linux/fs.h.
const FS_IOC_FSGETXATTR: libc::c_ulong = 0x801c_581f;
/// FS_IOC_FSSETXATTR.
const FS_IOC_FSSETXATTR: libc::c_ulong = 0x401c_5820;
/// FS_XFLAG_PROJINHERIT: what is made in the directory belongs to its project.
const FS_XFLAG_PROJINHERIT: u32 = 0x200;
/// Q_GETQUOTA and Q_SETQUOTA of PRJQUOTA, linux/quota.h: the command above the type.
const GET_PROJECT: libc::c_uint = 0x80_0007 << 8 | 2;
/// As [`GET_PROJECT`].
const SET_PROJECT: libc::c_uint = 0x80_0008 << 8 | 2;
/// QIF_BLIMITS: the limits of blocks count.
const QIF_BLIMITS: u32 = 1;

/// `struct loop_info64`.
#[repr(C)]
#[derive(Clone, Copy)]
struct Info {
    device: u64,
    inode: u64,
    rdevice: u64,
    offset: u64,
    size_limit: u64,
    number: u32,
    encrypt_type: u32,
    encrypt_key_size: u32,
    flags: u32,
    file_name: [u8; 64],
    crypt_name: [u8; 64],
    encrypt_key: [u8; 32],
    init: [u64; 2],
}

const NO_INFO: Info = Info {
    device: 0,
    inode: 0,
    rdevice: 0,
    offset: 0,
    size_limit: 0,
    number: 0,
    encrypt_type: 0,
    encrypt_key_size: 0,
    flags: 0,
    file_name: [0; 64],
    crypt_name: [0; 64],
    encrypt_key: [0; 32],
    init: [0; 2],
};

/// `struct loop_config`.
#[repr(C)]
struct Config {
    fd: u32,
    block_size: u32,
    info: Info,
    reserved: [u64; 8],
}

/// `struct fsxattr`.
#[repr(C)]
#[derive(Default)]
struct Attributes {
    flags: u32,
    extent_size: u32,
    extents: u32,
    project: u32,
    cow_extent_size: u32,
    pad: [u8; 8],
}

/// `struct if_dqblk`: blocks of 1,024 bytes.
#[repr(C)]
#[derive(Default)]
struct Quota {
    block_hard: u64,
    block_soft: u64,
    space: u64,
    inode_hard: u64,
    inode_soft: u64,
    inodes: u64,
    block_time: u64,
    inode_time: u64,
    valid: u32,
}

/// The number of a loop device that nobody uses; `control` is /dev/loop-control. Another may take it in between.
///
/// # Errors
/// `ENOSPC` where there are as many as there can be.
pub fn free_loop(control: impl AsFd) -> io::Result<u32> {
    // SAFETY: takes no argument.
    let number = unsafe { libc::ioctl(control.as_fd().as_raw_fd(), LOOP_CTL_GET_FREE as _) };
    u32::try_from(number).map_err(|_| io::Error::last_os_error())
}

/// Attaches `file` to the loop device `device`, both open for reading and writing. The device lets go of it when its
/// last descriptor is closed and its last mount has gone, in whatever way. Direct I/O is asked for: where the file's
/// file system has it, its pages are not cached twice.
///
/// # Errors
/// `EBUSY` where somebody else was faster, `ENOTTY` or `EINVAL` before Linux 5.8.
pub fn attach_loop(device: impl AsFd, file: impl AsFd) -> io::Result<()> {
    let info = Info { flags: LO_FLAGS_AUTOCLEAR | LO_FLAGS_DIRECT_IO, ..NO_INFO };
    let fd = file.as_fd().as_raw_fd() as u32;
    let config = Config { fd, block_size: 0, info, reserved: [0; 8] };
    // SAFETY: the kernel reads one `struct loop_config`, which `config` is, and keeps nothing of it.
    done(unsafe { libc::ioctl(device.as_fd().as_raw_fd(), LOOP_CONFIGURE as _, &raw const config) })
}

/// The device and inode numbers of the file that a loop device is attached to.
///
/// # Errors
/// `ENXIO` where it is attached to none.
pub fn loop_file(device: impl AsFd) -> io::Result<(u64, u64)> {
    let mut info = NO_INFO;
    // SAFETY: the kernel writes one `struct loop_info64`, which `info` is.
    done(unsafe { libc::ioctl(device.as_fd().as_raw_fd(), LOOP_GET_STATUS64 as _, &raw mut info) })?;
    Ok((info.device, info.inode))
}

/// Tells a loop device that its file has another size.
///
/// # Errors
/// `ENXIO` where it is attached to none.
pub fn loop_size_changed(device: impl AsFd) -> io::Result<()> {
    // SAFETY: takes no argument.
    done(unsafe { libc::ioctl(device.as_fd().as_raw_fd(), LOOP_SET_CAPACITY as _, 0) })
}

/// Grows a mounted ext4 to so many blocks of its own size; `directory` is one on it, open for reading.
///
/// # Errors
/// `EINVAL` for a device that is smaller, `EPERM` without CAP_SYS_RESOURCE.
pub fn resize_ext4(directory: impl AsFd, blocks: u64) -> io::Result<()> {
    // SAFETY: the kernel reads one number of 64 bits.
    done(unsafe { libc::ioctl(directory.as_fd().as_raw_fd(), EXT4_IOC_RESIZE_FS as _, &raw const blocks) })
}

fn attributes(directory: &impl AsFd) -> io::Result<Attributes> {
    let mut all = Attributes::default();
    // SAFETY: the kernel writes one `struct fsxattr`, which `all` is.
    done(unsafe { libc::ioctl(directory.as_fd().as_raw_fd(), FS_IOC_FSGETXATTR as _, &raw mut all) })?;
    Ok(all)
}

/// The project that what is made in the directory belongs to, if it hands one on; the directory is open for reading.
///
/// # Errors
/// `ENOTTY` or `EOPNOTSUPP` where its file system knows no projects.
pub fn project(directory: impl AsFd) -> io::Result<Option<u32>> {
    let all = attributes(&directory)?;
    Ok((all.flags & FS_XFLAG_PROJINHERIT != 0 && all.project != 0).then_some(all.project))
}

/// Makes a directory, and what is made in it from now on, part of a project.
///
/// # Errors
/// `ENOTTY` or `EOPNOTSUPP` where its file system knows no projects.
pub fn set_project(directory: impl AsFd, project: u32) -> io::Result<()> {
    let mut all = attributes(&directory)?;
    all.flags |= FS_XFLAG_PROJINHERIT;
    all.project = project;
    // SAFETY: the kernel reads one `struct fsxattr`, which `all` is.
    done(unsafe { libc::ioctl(directory.as_fd().as_raw_fd(), FS_IOC_FSSETXATTR as _, &raw const all) })
}

/// Of a project on the file system of `file`: how much it may use, 0 for any amount, and how much it uses, in bytes.
///
/// # Errors
/// `ESRCH` where the file system counts no projects, `ENOSYS` before Linux 5.14.
pub fn project_quota(file: impl AsFd, project: u32) -> io::Result<(u64, u64)> {
    let mut quota = Quota::default();
    match quotactl(&file, GET_PROJECT, project, &mut quota) {
        // xfs: nobody has ever used it.
        Err(error) if error.raw_os_error() == Some(libc::ENOENT) => Ok((0, 0)),
        result => result.map(|()| (quota.block_hard.saturating_mul(1024), quota.space)),
    }
}

/// How much a project may use on the file system of `file`: bytes, counted in whole KiB; 0 for any amount.
///
/// # Errors
/// As [`project_quota`]'s.
pub fn set_project_quota(file: impl AsFd, project: u32, bytes: u64) -> io::Result<()> {
    let mut quota = Quota { block_hard: bytes / 1024, valid: QIF_BLIMITS, ..Quota::default() };
    quotactl(&file, SET_PROJECT, project, &mut quota)
}

fn quotactl(file: &impl AsFd, command: libc::c_uint, project: u32, quota: &mut Quota) -> io::Result<()> {
    // SAFETY: either command reads or writes one `struct if_dqblk`, which `quota` is.
    let result = unsafe {
        libc::syscall(
            libc::SYS_quotactl_fd,
            file.as_fd().as_raw_fd(),
            command,
            project as libc::c_int,
            std::ptr::from_mut(quota),
        )
    };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

fn done(result: libc::c_int) -> io::Result<()> {
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

// What the kernel's headers say of their sizes.
const _: () = assert!(size_of::<Info>() == 232 && size_of::<Config>() == 304);
const _: () = assert!(size_of::<Attributes>() == 28 && size_of::<Quota>() == 72);
