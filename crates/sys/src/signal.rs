//! Signals as descriptors: block them all, read them from a signalfd(2) beside everything else in one poll.

use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};

/// A set of signals.
#[derive(Clone, Copy)]
pub struct Signals(libc::sigset_t);

impl std::fmt::Debug for Signals {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let has = |n: &i32| {
            // SAFETY: the set was initialised by sigemptyset or sigfillset.
            unsafe { libc::sigismember(&raw const self.0, *n) == 1 }
        };
        f.debug_set().entries((1..=64).filter(has)).finish()
    }
}

impl Signals {
    /// No signal.
    pub fn none() -> Self {
        let mut set = MaybeUninit::uninit();
        // SAFETY: sigemptyset initialises the whole set.
        unsafe {
            libc::sigemptyset(set.as_mut_ptr());
            Self(set.assume_init())
        }
    }

    /// Every signal but those that tell of a fault in this process: blocking these would only hide it.
    pub fn all() -> Self {
        let mut set = MaybeUninit::uninit();
        // SAFETY: sigfillset initialises the whole set; the numbers taken out are valid.
        unsafe {
            libc::sigfillset(set.as_mut_ptr());
            let mut set = set.assume_init();
            for fault in
                [libc::SIGSEGV, libc::SIGBUS, libc::SIGILL, libc::SIGFPE, libc::SIGABRT, libc::SIGTRAP]
            {
                libc::sigdelset(&raw mut set, fault);
            }
            Self(set)
        }
    }

    /// [`Self::all`] without these.
    pub fn all_but(signals: &[i32]) -> Self {
        let mut set = Self::all();
        for signal in signals {
            // SAFETY: the set is initialised; an invalid number is refused and changes nothing.
            unsafe { libc::sigdelset(&raw mut set.0, *signal) };
        }
        set
    }

    /// Makes this the set of blocked signals of the calling thread.
    pub fn block(&self) -> io::Result<()> {
        // SAFETY: the set is initialised; the old one is not asked for.
        let result = unsafe { libc::sigprocmask(libc::SIG_SETMASK, &raw const self.0, std::ptr::null_mut()) };
        if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
    }
}

/// signalfd(2): the blocked signals of a set, to be read.
#[derive(Debug)]
pub struct SignalFd(OwnedFd);

impl SignalFd {
    /// Non-blocking, close-on-exec. The signals must be blocked too.
    pub fn new(signals: &Signals) -> io::Result<Self> {
        // SAFETY: -1 asks for a new descriptor; the set is initialised.
        let fd = unsafe { libc::signalfd(-1, &raw const signals.0, libc::SFD_CLOEXEC | libc::SFD_NONBLOCK) };
        if fd < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: signalfd returned a descriptor that nothing else owns.
        Ok(Self(unsafe { OwnedFd::from_raw_fd(fd) }))
    }

    /// The number of the next signal that came; none if none is there.
    pub fn next(&self) -> io::Result<Option<i32>> {
        let mut info = MaybeUninit::<libc::signalfd_siginfo>::uninit();
        let size = size_of::<libc::signalfd_siginfo>();
        // SAFETY: the buffer has exactly the size of the one record that is asked for.
        let read = unsafe { libc::read(self.0.as_raw_fd(), info.as_mut_ptr().cast(), size) };
        if read == size as isize {
            // SAFETY: the kernel filled the whole record.
            return Ok(Some(unsafe { info.assume_init() }.ssi_signo as i32));
        }
        match io::Error::last_os_error() {
            error if error.kind() == io::ErrorKind::WouldBlock => Ok(None),
            error => Err(error),
        }
    }
}

impl std::os::fd::AsFd for SignalFd {
    fn as_fd(&self) -> std::os::fd::BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// Gives every signal its default action again: what a parent ignored stays ignored over execve(2) otherwise
/// (`nohup`, and SIGPIPE, which Rust's start ignores).
pub fn reset_dispositions() {
    for signal in 1..=libc::SIGRTMAX() {
        // SAFETY: SIG_DFL is always a valid disposition; refused numbers (SIGKILL, SIGSTOP) change nothing.
        unsafe { libc::signal(signal, libc::SIG_DFL) };
    }
}

/// Lets every signal that ends a process by default end this one, PID 1 of a pid namespace too, with 128 and its number
/// as the exit code. Ends with execve(2), which knows no handlers.
pub fn end_on_signals() {
    extern "C" fn end(signal: libc::c_int) {
        // SAFETY: _exit is safe in a signal handler (signal-safety(7)) and has no preconditions.
        unsafe { libc::_exit(128 + signal) }
    }
    for signal in [
        libc::SIGHUP,
        libc::SIGINT,
        libc::SIGQUIT,
        libc::SIGTERM,
        libc::SIGUSR1,
        libc::SIGUSR2,
        libc::SIGALRM,
    ] {
        let handler = end as extern "C" fn(libc::c_int);
        // SAFETY: the handler is a function of the right type that touches no memory.
        unsafe { libc::signal(signal, handler as libc::sighandler_t) };
    }
}

/// Sends `signal` to the process that `pidfd` is (pidfd_send_signal(2)), by number: real-time signals too.
pub fn send(pidfd: &OwnedFd, signal: i32) -> io::Result<()> {
    // SAFETY: no siginfo is given.
    let result = unsafe {
        libc::syscall(
            libc::SYS_pidfd_send_signal,
            pidfd.as_raw_fd(),
            signal,
            std::ptr::null::<libc::siginfo_t>(),
            0,
        )
    };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}
