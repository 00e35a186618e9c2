//! Processes: fork, clone3(2), execve(2), descriptors that must not be inherited.
//!
//! Both fork and clone3 give the child a copy of the whole address space, and the child goes on in ordinary Rust.
//! That is sound as long as the caller has one thread (else a lock that another thread held would stay locked in the
//! child), so both assert it: minidocker's command, monitor and init have one thread each by design.

use std::ffi::{CStr, CString, c_char};
use std::io;
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::ptr;

/// CLONE_INTO_CGROUP of clone(2), Linux 5.7; the constant of the libc crate overflows its type.
const CLONE_INTO_CGROUP: u64 = 0x2_0000_0000;

/// Which side of a fork this is.
#[derive(Debug)]
pub enum Fork {
    /// The caller, with the child's pid as the caller's pid namespace numbers it, and its pidfd.
    Parent(i32, OwnedFd),
    /// The new process.
    Child,
}

/// Which namespaces a child gets for its own: CLONE_NEW* of clone(2), with CLONE_NEWTIME of time_namespaces(7).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct CloneFlags(pub u64);

impl CloneFlags {
    /// CLONE_NEWTIME; its bit is a signal number to the older clone(2).
    pub const NEWTIME: u64 = 0x80;
    /// CLONE_NEWNS.
    pub const NEWNS: u64 = libc::CLONE_NEWNS as u64;
    /// CLONE_NEWCGROUP.
    pub const NEWCGROUP: u64 = libc::CLONE_NEWCGROUP as u64;
    /// CLONE_NEWUTS.
    pub const NEWUTS: u64 = libc::CLONE_NEWUTS as u64;
    /// CLONE_NEWIPC.
    pub const NEWIPC: u64 = libc::CLONE_NEWIPC as u64;
    /// CLONE_NEWUSER.
    pub const NEWUSER: u64 = libc::CLONE_NEWUSER as u64;
    /// CLONE_NEWPID.
    pub const NEWPID: u64 = libc::CLONE_NEWPID as u64;
    /// CLONE_NEWNET.
    pub const NEWNET: u64 = libc::CLONE_NEWNET as u64;
    /// CLONE_PARENT: a sibling instead of a child. Its end is told to the common parent.
    pub const PARENT: u64 = libc::CLONE_PARENT as u64;

    const NAMES: [(u64, &str); 8] = [
        (Self::NEWUSER, "CLONE_NEWUSER"),
        (Self::NEWPID, "CLONE_NEWPID"),
        (Self::NEWNS, "CLONE_NEWNS"),
        (Self::NEWNET, "CLONE_NEWNET"),
        (Self::NEWUTS, "CLONE_NEWUTS"),
        (Self::NEWIPC, "CLONE_NEWIPC"),
        (Self::NEWCGROUP, "CLONE_NEWCGROUP"),
        (Self::NEWTIME, "CLONE_NEWTIME"),
    ];

    /// Whether `flag` is among them.
    pub fn has(self, flag: u64) -> bool {
        self.0 & flag != 0
    }
}

impl std::fmt::Display for CloneFlags {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let names: Vec<_> =
            Self::NAMES.iter().filter(|(flag, _)| self.has(*flag)).map(|(_, name)| *name).collect();
        if names.is_empty() { f.write_str("0") } else { f.write_str(&names.join("|")) }
    }
}

/// clone3(2): a child in new namespaces and, where given, in the cgroup v2 directory `cgroup`
/// (CLONE_INTO_CGROUP). The child's end is told by SIGCHLD and by the pidfd.
pub fn clone3(flags: CloneFlags, cgroup: Option<&OwnedFd>) -> io::Result<Fork> {
    let mut pidfd: RawFd = -1;
    let mut args: libc::clone_args = unsafe_zeroed_clone_args();
    args.flags = flags.0 | libc::CLONE_PIDFD as u64;
    args.pidfd = ptr::from_mut(&mut pidfd) as u64;
    // A sibling has its parent's: the kernel takes no other.
    args.exit_signal = if flags.has(CloneFlags::PARENT) { 0 } else { libc::SIGCHLD as u64 };
    if let Some(cgroup) = cgroup {
        args.flags |= CLONE_INTO_CGROUP;
        args.cgroup = cgroup.as_raw_fd() as u64;
    }
    await_ended_threads();
    debug_assert!(is_single_threaded());
    // SAFETY: `args` is a valid clone_args whose pidfd field points to a live i32; without CLONE_VM and with no stack
    // given the child runs on a copy of this one's memory. The caller has one thread (module documentation).
    let pid =
        unsafe { libc::syscall(libc::SYS_clone3, ptr::from_mut(&mut args), size_of::<libc::clone_args>()) };
    match pid {
        -1 => Err(io::Error::last_os_error()),
        0 => Ok(Fork::Child),
        // SAFETY: CLONE_PIDFD succeeded, so `pidfd` is a descriptor that nothing else owns.
        pid => Ok(Fork::Parent(pid as i32, unsafe { OwnedFd::from_raw_fd(pidfd) })),
    }
}

/// unshare(2): moves this process into new namespaces (for pid and time: its future children).
pub fn unshare(flags: CloneFlags) -> io::Result<()> {
    let known = CloneFlags::NAMES.iter().fold(0, |all, (flag, _)| all | flag);
    assert_eq!(flags.0 & !known, 0, "namespaces only: CLONE_FILES would break the ownership of descriptors");
    // SAFETY: namespace flags touch neither memory nor descriptors.
    let result = unsafe { libc::unshare(flags.0 as libc::c_int) };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// setfsuid(2) and setfsgid(2): files that this thread makes belong to these ids from now on; threads that it starts do as
/// it does. It keeps its capabilities, those about files too.
///
/// # Errors
/// The kernel refused.
pub fn set_file_ids(uid: u32, gid: u32) -> io::Result<()> {
    // SAFETY: both take a number and change the calling thread's credentials alone; they give the former ids.
    let now = unsafe {
        libc::setfsgid(gid);
        libc::setfsuid(uid);
        // Ids that cannot be: nothing changes, and the present ones are told.
        (libc::setfsuid(u32::MAX) as u32, libc::setfsgid(u32::MAX) as u32)
    };
    if now != (uid, gid) {
        return Err(io::Error::from_raw_os_error(libc::EPERM));
    }
    // A change away from 0 takes those about files out of the effective set (capabilities(7)).
    let mut sets = rustix::thread::capabilities(None)?;
    sets.effective = sets.permitted;
    rustix::thread::set_capabilities(None, sets)?;
    Ok(())
}

/// setns(2) with a pidfd: this process moves into those of its namespaces that `kinds` names, all or none (Linux 5.8).
pub fn setns_all(pidfd: &OwnedFd, kinds: CloneFlags) -> io::Result<()> {
    // SAFETY: namespace flags touch neither memory nor descriptors, and the descriptor is open.
    let result = unsafe { libc::setns(pidfd.as_raw_fd(), kinds.0 as libc::c_int) };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

fn unsafe_zeroed_clone_args() -> libc::clone_args {
    // SAFETY: clone_args is a plain struct of u64 fields; all zeroes is the kernel's "nothing asked for".
    unsafe { std::mem::zeroed() }
}

/// A plain child: clone3 with no flag.
pub fn fork() -> io::Result<Fork> {
    clone3(CloneFlags::default(), None)
}

/// A thread that a scope has waited for, or that was joined, may still be on its way out, with the allocator's lock in its
/// hand: who copies this process then copies the lock. That is over in a moment; a second is the bound.
fn await_ended_threads() {
    for _ in 0..10_000 {
        if is_single_threaded() {
            return;
        }
        std::thread::sleep(std::time::Duration::from_micros(100));
    }
}

/// The links of the directory are two and one for each thread. Where there is no /proc nobody can tell.
fn is_single_threaded() -> bool {
    rustix::fs::stat(c"/proc/self/task").map_or(true, |stat| stat.st_nlink <= 3)
}

/// Ends this process at once: no destructors, no flushing of buffers that a fork copied.
pub fn exit_now(code: i32) -> ! {
    // SAFETY: _exit has no preconditions.
    unsafe { libc::_exit(code) }
}

/// execve(2). Returns only on failure.
pub fn execve(path: &CStr, args: &[CString], env: &[CString]) -> io::Error {
    let args = pointers(args);
    let env = pointers(env);
    // SAFETY: the path and every entry of both arrays are NUL-terminated strings that outlive the call, and both
    // arrays end in NULL.
    unsafe { libc::execve(path.as_ptr(), args.as_ptr(), env.as_ptr()) };
    io::Error::last_os_error()
}

/// execveat(2) of the file that `file` is. Returns only on failure.
pub fn execve_fd(file: &impl AsFd, args: &[CString], env: &[CString]) -> io::Error {
    let args = pointers(args);
    let env = pointers(env);
    // SAFETY: every entry of both arrays is a NUL-terminated string that outlives the call, and both end in NULL; the
    // path is the empty string that AT_EMPTY_PATH asks for.
    unsafe {
        libc::syscall(
            libc::SYS_execveat,
            file.as_fd().as_raw_fd(),
            c"".as_ptr(),
            args.as_ptr(),
            env.as_ptr(),
            libc::AT_EMPTY_PATH,
        )
    };
    io::Error::last_os_error()
}

fn pointers(strings: &[CString]) -> Vec<*const c_char> {
    strings.iter().map(|s| s.as_ptr()).chain([ptr::null()]).collect()
}

/// Marks every descriptor from `first` on close-on-exec (close_range(2), Linux 5.11): whatever the caller of
/// minidocker left open does not reach the container (CVE-2024-21626).
pub fn close_on_exec_from(first: RawFd) -> io::Result<()> {
    close_range(first, libc::CLOSE_RANGE_CLOEXEC)
}

/// Closes every descriptor but 0, 1 and 2: for the first line of a program, when it has opened none itself. A failure
/// (a kernel before 5.9) leaves them open; they are close-on-exec later all the same.
pub fn close_inherited() {
    let _ = close_range(3, 0);
}

fn close_range(first: RawFd, flags: libc::c_uint) -> io::Result<()> {
    // SAFETY: close_range takes no pointers. It closes descriptors only at the start of a program, when no value owns
    // any (`close_inherited`'s contract).
    let result =
        unsafe { libc::syscall(libc::SYS_close_range, first as libc::c_uint, libc::c_uint::MAX, flags) };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Gives the heap's unused pages back to the kernel (malloc_trim(3)): what a short-lived command touched would stay
/// in its long-lived child otherwise.
pub fn trim_heap() {
    #[cfg(target_env = "gnu")]
    // SAFETY: malloc_trim has no preconditions.
    unsafe {
        libc::malloc_trim(0);
    }
}

/// A new, empty session keyring (keyctl(2), KEYCTL_JOIN_SESSION_KEYRING), so that the container does not share the
/// keys of whoever started it. `ENOSYS` where the kernel has no keys.
pub fn join_session_keyring(name: &CStr) -> io::Result<()> {
    const KEYCTL_JOIN_SESSION_KEYRING: libc::c_int = 1;
    // SAFETY: the operation reads one NUL-terminated string.
    let result = unsafe { libc::syscall(libc::SYS_keyctl, KEYCTL_JOIN_SESSION_KEYRING, name.as_ptr()) };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// Gives back what a process that will mostly sleep does not need: the heap's free pages, the pages below the present
/// end of the stack, and its mappings of the program's text, which come back from the page cache when they are used.
pub fn slim_down() {
    trim_heap();
    trim_stack();
    unmap_text();
}

const PAGE: usize = 4096;

fn trim_stack() {
    // What lies further below than this frame and its callees' red zones is dead. The kernel skips what of the range
    // is not mapped; nothing else is mapped so near to the stack (it keeps a gap of at least 1 MiB there).
    let local = 0_u8;
    let end = (ptr::from_ref(&local) as usize & !(PAGE - 1)).saturating_sub(4 * PAGE);
    let size = 64 * PAGE;
    // SAFETY: only pages of this thread's own stack below its pointer are dropped, and they hold nothing live.
    unsafe { libc::madvise((end - size) as *mut libc::c_void, size, libc::MADV_DONTNEED) };
}

#[cfg(not(test))]
fn unmap_text() {
    unsafe extern "C" {
        /// The linker's names for the beginning of the program and the end of its text, ld(1).
        static __executable_start: u8;
        static etext: u8;
    }
    let start = &raw const __executable_start as usize & !(PAGE - 1);
    let end = &raw const etext as usize & !(PAGE - 1);
    if start < end {
        // SAFETY: the range is the program's read-only text, mapped from its file and never written: dropped pages
        // come back as they were.
        unsafe { libc::madvise(start as *mut libc::c_void, end - start, libc::MADV_DONTNEED) };
    }
}

/// A test program may be linked otherwise.
#[cfg(test)]
fn unmap_text() {}
