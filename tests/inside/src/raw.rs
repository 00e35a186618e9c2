//! The calls that no safe library here offers. The only file of this program with unsafe code.

#![allow(unsafe_code)]

use std::ffi::CStr;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::ptr;

/// One address of one interface, as getifaddrs(3) gives it.
pub(crate) struct InterfaceAddress {
    pub(crate) interface: String,
    /// `IFF_*`, netdevice(7).
    pub(crate) flags: u32,
    pub(crate) address: Address,
}

pub(crate) enum Address {
    /// The link itself: its index and hardware address.
    Link { index: i32, mac: Vec<u8> },
    /// An IP address and the length of its prefix.
    Ip(IpAddr, u32),
    /// No address, or one of another family.
    Other,
}

/// Every address of every interface of this network namespace.
pub(crate) fn interface_addresses() -> io::Result<Vec<InterfaceAddress>> {
    let mut head = ptr::null_mut();
    // SAFETY: `head` is a place for one pointer; the list is freed below and not used afterwards.
    if unsafe { libc::getifaddrs(&raw mut head) } != 0 {
        return Err(io::Error::last_os_error());
    }
    let mut found = Vec::new();
    let mut next = head;
    while !next.is_null() {
        // SAFETY: a pointer of the list that getifaddrs made stays valid until freeifaddrs.
        let entry = unsafe { &*next };
        // SAFETY: ifa_name is a string that ends in zero, getifaddrs(3).
        let interface = unsafe { CStr::from_ptr(entry.ifa_name) }.to_string_lossy().into_owned();
        found.push(InterfaceAddress { interface, flags: entry.ifa_flags, address: address(entry) });
        next = entry.ifa_next;
    }
    // SAFETY: `head` came from getifaddrs and is freed once.
    unsafe { libc::freeifaddrs(head) };
    Ok(found)
}

fn address(entry: &libc::ifaddrs) -> Address {
    if entry.ifa_addr.is_null() {
        return Address::Other;
    }
    // SAFETY: a non-null ifa_addr points at a socket address of the family that it names.
    match i32::from(unsafe { (*entry.ifa_addr).sa_family }) {
        libc::AF_PACKET => {
            // SAFETY: AF_PACKET means sockaddr_ll, packet(7).
            let link = unsafe { &*entry.ifa_addr.cast::<libc::sockaddr_ll>() };
            let length = usize::from(link.sll_halen).min(link.sll_addr.len());
            Address::Link { index: link.sll_ifindex, mac: link.sll_addr[..length].to_vec() }
        }
        libc::AF_INET => {
            // SAFETY: AF_INET means sockaddr_in.
            let ip = |at: *mut libc::sockaddr| unsafe { (*at.cast::<libc::sockaddr_in>()).sin_addr.s_addr };
            let bits = if entry.ifa_netmask.is_null() { 32 } else { ip(entry.ifa_netmask).count_ones() };
            Address::Ip(IpAddr::V4(Ipv4Addr::from(ip(entry.ifa_addr).to_ne_bytes())), bits)
        }
        libc::AF_INET6 => {
            // SAFETY: AF_INET6 means sockaddr_in6.
            let ip =
                |at: *mut libc::sockaddr| unsafe { (*at.cast::<libc::sockaddr_in6>()).sin6_addr.s6_addr };
            let ones = |bytes: [u8; 16]| bytes.iter().map(|byte| byte.count_ones()).sum();
            let bits = if entry.ifa_netmask.is_null() { 128 } else { ones(ip(entry.ifa_netmask)) };
            Address::Ip(IpAddr::V6(Ipv6Addr::from(ip(entry.ifa_addr))), bits)
        }
        _ => Address::Other,
    }
}

/// fork(2): the child's id in the parent, none in the child. This program has one thread, so the child may do
/// whatever the parent may.
pub(crate) fn fork() -> io::Result<Option<i32>> {
    // SAFETY: there is no second thread that could hold a lock in the child.
    match unsafe { libc::fork() } {
        -1 => Err(io::Error::last_os_error()),
        0 => Ok(None),
        child => Ok(Some(child)),
    }
}

/// Ends this process at once, without the parent's buffered output.
pub(crate) fn exit_now(code: i32) -> ! {
    // SAFETY: _exit takes any number and does not return.
    unsafe { libc::_exit(code) }
}

/// Keeps the signals from being delivered, so that [`wait_for_signal`] can take them one by one; PID 1 of a
/// namespace does not get signals that it neither handles nor waits for.
pub(crate) fn block_signals(signals: &[i32]) -> io::Result<()> {
    let set = signal_set(signals);
    // SAFETY: `set` is initialised; no old set is asked for.
    check(unsafe { libc::sigprocmask(libc::SIG_BLOCK, &raw const set, ptr::null_mut()) })
}

/// Waits for one of the blocked signals and says which came.
pub(crate) fn wait_for_signal(signals: &[i32]) -> io::Result<i32> {
    let set = signal_set(signals);
    let mut signal = 0;
    // SAFETY: both pointers are to initialised values of the right type.
    match unsafe { libc::sigwait(&raw const set, &raw mut signal) } {
        0 => Ok(signal),
        errno => Err(io::Error::from_raw_os_error(errno)),
    }
}

/// Gives a signal its default effect again and sends it to this process.
pub(crate) fn raise_default(signal: i32) -> io::Result<()> {
    let set = signal_set(&[signal]);
    // SAFETY: SIG_DFL installs no code; `set` is initialised; kill takes any two numbers.
    unsafe {
        libc::signal(signal, libc::SIG_DFL);
        libc::sigprocmask(libc::SIG_UNBLOCK, &raw const set, ptr::null_mut());
        check(libc::kill(libc::getpid(), signal))
    }
}

fn signal_set(signals: &[i32]) -> libc::sigset_t {
    // SAFETY: sigset_t is plain bits, for which zero is a value; sigemptyset then sets it as the library wants it.
    let mut set = unsafe { std::mem::zeroed() };
    // SAFETY: `set` is a valid place; a number that is no signal is refused and changes nothing.
    unsafe {
        libc::sigemptyset(&raw mut set);
        for signal in signals {
            libc::sigaddset(&raw mut set, *signal);
        }
    }
    set
}

/// A system call by number with plain numbers: only for calls that read nothing through them, or that are given
/// invalid ones on purpose to see who refuses.
pub(crate) fn syscall(number: i64, arguments: [i64; 6]) -> io::Result<i64> {
    let [a, b, c, d, e, f] = arguments;
    // SAFETY: the kernel checks every argument; the callers pass numbers and null, never our memory.
    match unsafe { libc::syscall(number, a, b, c, d, e, f) } {
        -1 => Err(io::Error::last_os_error()),
        result => Ok(result),
    }
}

/// bpf(2) BPF_MAP_CREATE of an array of one element; closed again at once.
pub(crate) fn bpf_map() -> io::Result<()> {
    // map type array (2), key 4 bytes, value 4 bytes, one entry; the kernel takes a short attribute as zero-filled.
    let attribute: [u32; 4] = [2, 4, 4, 1];
    let size = size_of_val(&attribute);
    // SAFETY: the pointer and the size describe `attribute`, which outlives the call.
    let fd = unsafe { libc::syscall(libc::SYS_bpf, 0, attribute.as_ptr(), size) };
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the call above gave us this descriptor; nobody else has it. A descriptor fits an i32.
    check(unsafe { libc::close(fd as i32) })
}

/// Finds (`create` false) or makes the System V shared memory segment of `key`; its id.
pub(crate) fn shared_memory(key: i32, bytes: usize, create: bool) -> io::Result<i32> {
    let flags = if create { libc::IPC_CREAT | libc::IPC_EXCL | 0o600 } else { 0 };
    // SAFETY: numbers only.
    let id = unsafe { libc::shmget(key, bytes, flags) };
    if id < 0 { Err(io::Error::last_os_error()) } else { Ok(id) }
}

/// Removes a System V shared memory segment.
pub(crate) fn remove_shared_memory(id: i32) -> io::Result<()> {
    // SAFETY: IPC_RMID ignores the third argument, shmctl(2).
    check(unsafe { libc::shmctl(id, libc::IPC_RMID, ptr::null_mut()) })
}

fn check(result: i32) -> io::Result<()> {
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}
