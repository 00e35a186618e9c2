//! Whether /dev/kvm runs virtual machines: on hosts that are virtual machines themselves it may be there, make machines
//! and processors, and never run an instruction, so one is run; or it may run them without the processor's help and take
//! for ever to boot a kernel, so the processor is asked too. (Documentation/virt/kvm/api.rst)

use std::io;
use std::ptr;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, Signal, WaitOptions};

/// KVM_GET_API_VERSION, linux/kvm.h: `_IO(0xAE, 0x00)`.
const GET_API_VERSION: libc::c_ulong = 0xae00;
/// KVM_CREATE_VM: `_IO(0xAE, 0x01)`.
const CREATE_VM: libc::c_ulong = 0xae01;
/// KVM_GET_VCPU_MMAP_SIZE: `_IO(0xAE, 0x04)`.
const GET_VCPU_MMAP_SIZE: libc::c_ulong = 0xae04;
/// KVM_CREATE_VCPU: `_IO(0xAE, 0x41)`.
const CREATE_VCPU: libc::c_ulong = 0xae41;
/// KVM_SET_USER_MEMORY_REGION: `_IOW(0xAE, 0x46, 32 bytes)`.
const SET_USER_MEMORY_REGION: libc::c_ulong = 0x4020_ae46;
/// KVM_RUN: `_IO(0xAE, 0x80)`.
const RUN: libc::c_ulong = 0xae80;
/// The only version of the interface that programs may use.
const VERSION: libc::c_int = 12;
/// KVM_EXIT_HLT: the guest has halted.
const EXIT_HLT: u32 = 5;
/// Where `exit_reason` stands in `struct kvm_run`.
const EXIT_REASON: usize = 8;
/// The page that has the instruction at which an x86 begins, 0xfffffff0.
const LAST_PAGE: u64 = 0xffff_f000;
const PAGE: usize = 4096;
/// The instruction: hlt.
const HLT: u8 = 0xf4;

/// How long one instruction may take, in nanoseconds: it takes some microseconds.
const PATIENCE: Timespec = Timespec { tv_sec: 0, tv_nsec: 500_000_000 };

/// `struct kvm_userspace_memory_region`.
#[repr(C)]
struct Region {
    slot: u32,
    flags: u32,
    guest: u64,
    size: u64,
    host: u64,
}

/// Runs one instruction in a machine of its own, in a process that is killed if it takes too long.
///
/// # Errors
/// What the kernel says: there is no device, it may not be opened, it makes no machine; `ETIMEDOUT` where the instruction
/// never ends; `ENODEV` where the processor has neither vmx nor svm.
pub fn probe() -> io::Result<()> {
    let device = std::fs::OpenOptions::new().read(true).write(true).open("/dev/kvm")?;
    drop(device);
    let processor = std::fs::read_to_string("/proc/cpuinfo")?;
    let flags = processor.lines().find(|line| line.starts_with("flags")).unwrap_or_default();
    if !flags.split_ascii_whitespace().any(|flag| flag == "vmx" || flag == "svm") {
        return Err(io::Error::from_raw_os_error(libc::ENODEV));
    }
    // SAFETY: the child makes plain system calls alone, allocates nothing and takes no lock, so that it does not matter
    // what other threads held; it ends by _exit.
    let pid = match unsafe { libc::fork() } {
        -1 => return Err(io::Error::last_os_error()),
        // SAFETY: as above.
        0 => unsafe { libc::_exit(run()) },
        pid => pid,
    };
    let pid = Pid::from_raw(pid).ok_or_else(|| io::Error::from_raw_os_error(libc::ESRCH))?;
    let pidfd = rustix::process::pidfd_open(pid, PidfdFlags::empty());
    let ended = pidfd.and_then(|pidfd| poll(&mut [PollFd::new(&pidfd, PollFlags::IN)], Some(&PATIENCE)));
    if !matches!(ended, Ok(1..)) {
        rustix::process::kill_process(pid, Signal::KILL)?;
    }
    let status = loop {
        match rustix::process::waitpid(Some(pid), WaitOptions::empty()) {
            Err(rustix::io::Errno::INTR) => {}
            waited => break waited?.and_then(|(_, status)| status.exit_status()),
        }
    };
    match status {
        Some(0) => Ok(()),
        Some(errno) => Err(io::Error::from_raw_os_error(errno)),
        None => Err(io::Error::from_raw_os_error(libc::ETIMEDOUT)),
    }
}

/// In the child: 0, or the error's number.
fn run() -> libc::c_int {
    // SAFETY: paths are NUL-terminated; the requests take plain numbers, or a structure of this function that has the
    // size that the request's number tells; the mapped memory is used within its size and nobody else's.
    unsafe {
        let errno = || *libc::__errno_location();
        let device = libc::open(c"/dev/kvm".as_ptr(), libc::O_RDWR | libc::O_CLOEXEC);
        if device < 0 {
            return errno();
        }
        if libc::ioctl(device, GET_API_VERSION as _, 0) != VERSION {
            return libc::ENOTTY;
        }
        let machine = libc::ioctl(device, CREATE_VM as _, 0);
        let size = libc::ioctl(device, GET_VCPU_MMAP_SIZE as _, 0);
        if machine < 0 || size < PAGE as libc::c_int {
            return errno();
        }
        let (read, anonymous) = (libc::PROT_READ | libc::PROT_WRITE, libc::MAP_SHARED | libc::MAP_ANONYMOUS);
        let memory = libc::mmap(ptr::null_mut(), PAGE, read, anonymous, -1, 0);
        if memory == libc::MAP_FAILED {
            return errno();
        }
        memory.cast::<u8>().add(0xff0).write(HLT);
        let region = Region { slot: 0, flags: 0, guest: LAST_PAGE, size: PAGE as u64, host: memory as u64 };
        if libc::ioctl(machine, SET_USER_MEMORY_REGION as _, &raw const region) < 0 {
            return errno();
        }
        let processor = libc::ioctl(machine, CREATE_VCPU as _, 0);
        if processor < 0 {
            return errno();
        }
        let shared = libc::mmap(ptr::null_mut(), size as usize, read, libc::MAP_SHARED, processor, 0);
        if shared == libc::MAP_FAILED || libc::ioctl(processor, RUN as _, 0) < 0 {
            return errno();
        }
        let reason = shared.cast::<u8>().add(EXIT_REASON).cast::<u32>().read_volatile();
        if reason == EXIT_HLT { 0 } else { libc::EIO }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_missing_is_told() {
        let there = std::path::Path::new("/dev/kvm").exists();
        match probe() {
            Ok(()) => assert!(there),
            Err(error) => assert!(error.raw_os_error().is_some(), "{error}"),
        }
    }
}
