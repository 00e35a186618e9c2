//! seccomp(2): putting a classic BPF filter on the calling thread, and asking what the kernel offers. Making the
//! filter is the room `seccomp`'s work.

use std::io;
use std::ops::{BitOr, BitOrAssign};
use std::os::fd::{FromRawFd, OwnedFd};

/// One instruction of classic BPF: the kernel's `struct sock_filter`, 8 bytes.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Instruction {
    /// Class, size, mode or operation (linux/bpf_common.h).
    pub code: u16,
    /// Instructions to skip where the test holds.
    pub jt: u8,
    /// Instructions to skip where it does not.
    pub jf: u8,
    /// The constant, offset or return value.
    pub k: u32,
}

/// The most instructions that the kernel takes (BPF_MAXINSNS).
pub const MAX_INSTRUCTIONS: usize = 4096;

/// How a filter is put in place: `SECCOMP_FILTER_FLAG_*`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Flags(u32);

impl Flags {
    /// None.
    pub const NONE: Self = Self(0);
    /// All threads of the process get the filter, or none does.
    pub const TSYNC: Self = Self(1);
    /// Every action but "allow" is logged, where actions_logged has it.
    pub const LOG: Self = Self(1 << 1);
    /// The mitigation of Speculative Store Bypass stays off (before Linux 5.16 a filter turned it on).
    pub const SPEC_ALLOW: Self = Self(1 << 2);
    /// [`install`] returns the descriptor on which SECCOMP_RET_USER_NOTIF's questions are answered.
    pub const NEW_LISTENER: Self = Self(1 << 3);
    /// With NEW_LISTENER: once a question is taken, only a fatal signal ends the wait for its answer (Linux 5.19).
    pub const WAIT_KILLABLE_RECV: Self = Self(1 << 5);

    /// TSYNC fails with ESRCH instead of a thread's number, which could be taken for a listener's (Linux 5.7).
    const TSYNC_ESRCH: u32 = 1 << 4;

    /// All that have a name above.
    const ALL: u32 = 0b10_1111;

    /// Whether all of `other` is in it.
    pub fn contains(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    /// The kernel's number.
    pub fn bits(self) -> u32 {
        self.0
    }

    /// From the kernel's number; none where it has a bit that has no name here.
    pub fn from_bits(bits: u32) -> Option<Self> {
        (bits & !Self::ALL == 0).then_some(Self(bits))
    }
}

impl BitOr for Flags {
    type Output = Self;

    fn bitor(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

impl BitOrAssign for Flags {
    fn bitor_assign(&mut self, other: Self) {
        self.0 |= other.0;
    }
}

/// Puts `program` on the calling thread, for good; what it execs and its children inherit it. The listener's
/// descriptor (close-on-exec) comes back where NEW_LISTENER asks for it.
///
/// # Errors
/// EACCES without no_new_privs and without CAP_SYS_ADMIN in the thread's user namespace; EINVAL for a program that
/// is empty, longer than [`MAX_INSTRUCTIONS`] or malformed, and for a flag or action that the kernel does not know;
/// EBUSY where a listener exists already; ESRCH where TSYNC finds a thread with a filter of its own.
pub fn install(program: &[Instruction], flags: Flags) -> io::Result<Option<OwnedFd>> {
    if program.is_empty() || program.len() > MAX_INSTRUCTIONS {
        return Err(io::Error::from_raw_os_error(libc::EINVAL));
    }
    let mut bits = flags.bits();
    if flags.contains(Flags::TSYNC | Flags::NEW_LISTENER) {
        bits |= Flags::TSYNC_ESRCH;
    }
    let filter = libc::sock_fprog {
        len: program.len() as u16,
        filter: program.as_ptr().cast::<libc::sock_filter>().cast_mut(),
    };
    // SAFETY: Instruction has sock_filter's layout (checked below); `filter` and the `len` instructions that it
    // points to live until the call returns, and the kernel only reads them.
    let result = unsafe {
        libc::syscall(libc::SYS_seccomp, libc::SECCOMP_SET_MODE_FILTER, bits, std::ptr::from_ref(&filter))
    };
    match result {
        ..0 => Err(io::Error::last_os_error()),
        0 if !flags.contains(Flags::NEW_LISTENER) => Ok(None),
        // SAFETY: with NEW_LISTENER a result of 0 or more is a new descriptor that nobody else owns; TSYNC's thread
        // numbers are switched off above.
        fd if flags.contains(Flags::NEW_LISTENER) => Ok(Some(unsafe { OwnedFd::from_raw_fd(fd as i32) })),
        // Without NEW_LISTENER, TSYNC tells the thread that could not follow.
        _thread => Err(io::Error::from_raw_os_error(libc::ESRCH)),
    }
}

const _: () = {
    assert!(size_of::<Instruction>() == size_of::<libc::sock_filter>());
    assert!(align_of::<Instruction>() == align_of::<libc::sock_filter>());
    assert!(std::mem::offset_of!(Instruction, k) == std::mem::offset_of!(libc::sock_filter, k));
};

/// Whether the kernel knows `action`, a `SECCOMP_RET_*` (the data bits must be 0).
///
/// # Errors
/// Those of seccomp(2) other than "does not know it": ENOSYS without seccomp, EINVAL before Linux 4.14.
pub fn action_available(action: u32) -> io::Result<bool> {
    // SAFETY: the kernel reads the four bytes of `action`, which live until the call returns.
    let result = unsafe {
        libc::syscall(libc::SYS_seccomp, libc::SECCOMP_GET_ACTION_AVAIL, 0u32, std::ptr::from_ref(&action))
    };
    if result == 0 {
        return Ok(true);
    }
    match io::Error::last_os_error() {
        error if error.raw_os_error() == Some(libc::EOPNOTSUPP) => Ok(false),
        error => Err(error),
    }
}

/// Whether the kernel knows all of `flags`. Nothing is installed: the kernel looks at the flags before it looks at
/// the program, and the program's address is null (EFAULT).
pub fn flags_available(flags: Flags) -> bool {
    let null = std::ptr::null::<libc::sock_fprog>();
    // SAFETY: the kernel takes no memory of ours through a null pointer; it fails with EFAULT.
    unsafe { libc::syscall(libc::SYS_seccomp, libc::SECCOMP_SET_MODE_FILTER, flags.bits(), null) };
    io::Error::last_os_error().raw_os_error() == Some(libc::EFAULT)
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsFd;
    use std::sync::{Arc, Barrier};
    use std::thread;

    use super::*;

    const LOAD_NR: Instruction = Instruction { code: 0x20, jt: 0, jf: 0, k: 0 };
    const ALLOW: Instruction = Instruction { code: 0x06, jt: 0, jf: 0, k: 0x7fff_0000 };

    /// `nr` fails with `errno`, all else is allowed.
    fn deny(nr: i64, action: u32) -> [Instruction; 4] {
        [
            LOAD_NR,
            Instruction { code: 0x15, jt: 0, jf: 1, k: nr as u32 },
            Instruction { code: 0x06, jt: 0, jf: 0, k: action },
            ALLOW,
        ]
    }

    fn keyctl() -> i32 {
        // SAFETY: KEYCTL_GET_KEYRING_ID (0) of the thread keyring (-1), without creating it, touches no memory.
        unsafe { libc::syscall(libc::SYS_keyctl, 0, -1, 0) };
        io::Error::last_os_error().raw_os_error().unwrap()
    }

    /// A filter without TSYNC is the thread's own and dies with it: each test takes a thread.
    fn in_thread<T: Send + 'static>(body: impl FnOnce() -> T + Send + 'static) -> T {
        thread::spawn(body).join().unwrap()
    }

    #[test]
    fn a_filter_denies_one_call_and_leaves_the_others() {
        in_thread(|| {
            assert_ne!(keyctl(), libc::EMFILE);
            let program = deny(libc::SYS_keyctl, 0x0005_0000 | libc::EMFILE as u32);
            assert!(install(&program, Flags::LOG | Flags::SPEC_ALLOW).unwrap().is_none());
            assert_eq!(keyctl(), libc::EMFILE);
            assert!(rustix::process::getppid().is_some());
        });
        assert_ne!(keyctl(), libc::EMFILE, "the filter must not have left its thread");
    }

    #[test]
    fn a_listener_comes_back_as_a_descriptor() {
        let flags = in_thread(|| {
            let program = deny(libc::SYS_keyctl, 0x7fc0_0000);
            let listener = install(&program, Flags::NEW_LISTENER).unwrap().unwrap();
            rustix::io::fcntl_getfd(listener.as_fd()).unwrap()
        });
        assert!(flags.contains(rustix::io::FdFlags::CLOEXEC));
    }

    #[test]
    fn tsync_tells_of_a_thread_with_a_filter_of_its_own() {
        // In a child process, for TSYNC means every thread of it.
        // SAFETY: the child starts threads and installs filters only; the heap that this needs is usable after a
        // fork, for glibc's fork takes and releases malloc's locks.
        let child = unsafe { libc::fork() };
        if child == 0 {
            let (ready, done) = (Arc::new(Barrier::new(2)), Arc::new(Barrier::new(2)));
            let (its_ready, its_done) = (ready.clone(), done.clone());
            let other = thread::spawn(move || {
                let own = install(&deny(libc::SYS_keyctl, 0x0005_0001), Flags::NONE).is_ok();
                its_ready.wait();
                its_done.wait();
                own
            });
            ready.wait();
            let result = install(&[ALLOW], Flags::TSYNC).map_err(|error| error.raw_os_error());
            let listener = install(&deny(1 << 20, 0x7fc0_0000), Flags::TSYNC | Flags::NEW_LISTENER);
            done.wait();
            let esrch = Err(Some(libc::ESRCH));
            let good = result.map(|_| ()) == esrch
                && listener.map(|_| ()).map_err(|error| error.raw_os_error()) == esrch
                && other.join().is_ok_and(|own| own);
            // SAFETY: ends the child at once, without the harness's exit handlers.
            unsafe { libc::_exit(if good { 0 } else { 1 }) };
        }
        let mut status = 0;
        // SAFETY: `status` is a live int; the child is ours.
        assert_eq!(unsafe { libc::waitpid(child, &mut status, 0) }, child);
        assert_eq!(status, 0);
    }

    #[test]
    fn refuses_a_program_without_or_with_too_many_instructions() {
        let einval = |result: io::Result<Option<OwnedFd>>| {
            assert_eq!(result.unwrap_err().raw_os_error(), Some(libc::EINVAL));
        };
        einval(install(&[], Flags::NONE));
        einval(install(&vec![ALLOW; MAX_INSTRUCTIONS + 1], Flags::NONE));
        einval(in_thread(|| install(&[LOAD_NR], Flags::NONE)));
    }

    #[test]
    fn asks_the_kernel_what_it_knows() {
        for known in
            [0x8000_0000, 0, 0x0003_0000, 0x0005_0000, 0x7fc0_0000, 0x7ff0_0000, 0x7ffc_0000, 0x7fff_0000]
        {
            assert!(action_available(known).unwrap(), "{known:#x}");
        }
        assert!(!action_available(0x1234_0000).unwrap());
        assert!(flags_available(Flags::TSYNC | Flags::LOG | Flags::SPEC_ALLOW));
        assert!(!flags_available(Flags(1 << 30)));
        assert_eq!(Flags::from_bits(1 << 30), None);
        assert_eq!(Flags::from_bits(6), Some(Flags::LOG | Flags::SPEC_ALLOW));
    }
}
