//! bpf(2), as far as control groups v2 need it: loading a device program and attaching it to a group.
//! The program itself is made elsewhere, as plain numbers; the kernel's verifier judges it.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

/// `BPF_PROG_LOAD` of `enum bpf_cmd`, include/uapi/linux/bpf.h.
const PROG_LOAD: libc::c_int = 5;
/// `BPF_PROG_ATTACH`.
const PROG_ATTACH: libc::c_int = 8;
/// `BPF_PROG_TYPE_CGROUP_DEVICE` of `enum bpf_prog_type`.
const TYPE_CGROUP_DEVICE: u32 = 15;
/// `BPF_CGROUP_DEVICE` of `enum bpf_attach_type`.
const ATTACH_CGROUP_DEVICE: u32 = 6;

/// Attach beside the programs that are attached already; all of them must say yes (`BPF_F_ALLOW_MULTI`).
pub const ALLOW_MULTI: u32 = 1 << 1;

/// The head of `union bpf_attr` that `BPF_PROG_LOAD` reads; the kernel takes what is not given as zero.
#[repr(C)]
#[derive(Default)]
struct Load {
    prog_type: u32,
    insn_cnt: u32,
    insns: u64,
    license: u64,
    log_level: u32,
    log_size: u32,
    log_buf: u64,
    kern_version: u32,
    prog_flags: u32,
}

/// The head of `union bpf_attr` that `BPF_PROG_ATTACH` reads.
#[repr(C)]
struct Attach {
    target_fd: u32,
    attach_bpf_fd: u32,
    attach_type: u32,
    attach_flags: u32,
}

/// Loads `insns` (one `struct bpf_insn` each, in this machine's byte order) as a program that answers whether a
/// group's process may use a device. The program lives as long as the descriptor or an attachment to it.
///
/// Errors: `EPERM` without CAP_SYS_ADMIN (or CAP_BPF and CAP_NET_ADMIN) in the first user namespace, `EINVAL` or
/// `EACCES` where the verifier refuses it, `ENOSYS` on kernels without bpf(2).
pub fn load_cgroup_device_program(insns: &[u64]) -> io::Result<OwnedFd> {
    let insn_cnt = u32::try_from(insns.len()).map_err(|_| io::Error::from_raw_os_error(libc::E2BIG))?;
    // No helper is called that only programs under the GPL may call: the word is for the log alone.
    let license = c"Apache-2.0";
    let attributes = Load {
        prog_type: TYPE_CGROUP_DEVICE,
        insn_cnt,
        insns: insns.as_ptr() as u64,
        license: license.as_ptr() as u64,
        ..Load::default()
    };
    // SAFETY: the kernel reads `size_of::<Load>()` bytes of `attributes`, `insn_cnt` instructions of eight bytes
    // from `insns` and the license up to its NUL; all three outlive the call, and it writes to none of them.
    let fd = unsafe { libc::syscall(libc::SYS_bpf, PROG_LOAD, &raw const attributes, size_of::<Load>()) };
    let fd = i32::try_from(fd).map_err(|_| io::Error::from_raw_os_error(libc::EINVAL))?;
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: a successful BPF_PROG_LOAD returns a new descriptor (close-on-exec already) that nobody else owns.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// Attaches a program of [`load_cgroup_device_program`] to the v2 group whose directory `group` is.
/// `flags`: 0 or [`ALLOW_MULTI`]. It stays until the group is removed; the descriptor may be closed.
pub fn attach_cgroup_device(group: BorrowedFd<'_>, program: BorrowedFd<'_>, flags: u32) -> io::Result<()> {
    let attributes = Attach {
        target_fd: group.as_raw_fd() as u32,
        attach_bpf_fd: program.as_raw_fd() as u32,
        attach_type: ATTACH_CGROUP_DEVICE,
        attach_flags: flags,
    };
    // SAFETY: the kernel reads `size_of::<Attach>()` bytes of `attributes`, which outlives the call; both
    // descriptors are borrowed, hence open.
    let done =
        unsafe { libc::syscall(libc::SYS_bpf, PROG_ATTACH, &raw const attributes, size_of::<Attach>()) };
    if done < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::fd::AsFd;

    /// `r0 = 1; exit`: every device is allowed.
    const YES: [u64; 2] = [0x0000_0001_0000_00b7, 0x95];

    #[test]
    fn the_verifier_takes_a_program_and_refuses_none() {
        load_cgroup_device_program(&YES).unwrap();
        // Falls off its end.
        assert!(load_cgroup_device_program(&YES[..1]).is_err());
        assert_eq!(load_cgroup_device_program(&[]).unwrap_err().raw_os_error(), Some(libc::E2BIG));
    }

    #[test]
    fn attaching_needs_a_group() {
        let program = load_cgroup_device_program(&YES).unwrap();
        let dir = std::fs::File::open("/proc").unwrap();
        let error = attach_cgroup_device(dir.as_fd(), program.as_fd(), ALLOW_MULTI).unwrap_err();
        assert_eq!(error.raw_os_error(), Some(libc::EBADF));
    }
}
