//! A network interface by ioctl(2), as netdevice(7) has it: up, one IPv4 address, a default route. What a virtual
//! machine's init needs, and no more.

use std::io;
use std::net::Ipv4Addr;
use std::os::fd::{AsRawFd, OwnedFd};

use rustix::net::{AddressFamily, SocketFlags, SocketType};

/// Sets the interface `name` up.
///
/// # Errors
/// There is none of that name; the kernel's.
pub fn up(name: &str) -> io::Result<()> {
    let mut request = request(name)?;
    request.ifr_ifru.ifru_flags = (libc::IFF_UP | libc::IFF_RUNNING) as libc::c_short;
    change(libc::SIOCSIFFLAGS, &raw mut request)
}

/// Gives the interface an address with a prefix of so many bits (0 to 32).
///
/// # Errors
/// As [`up`].
pub fn set_address(name: &str, address: Ipv4Addr, prefix: u8) -> io::Result<()> {
    let mut set = request(name)?;
    set.ifr_ifru.ifru_addr = socket_address(address);
    change(libc::SIOCSIFADDR, &raw mut set)?;
    let mask = u32::MAX.checked_shl(32 - u32::from(prefix.min(32))).unwrap_or(0);
    set.ifr_ifru.ifru_netmask = socket_address(Ipv4Addr::from(mask));
    change(libc::SIOCSIFNETMASK, &raw mut set)
}

/// Sends everything without a route of its own to `gateway`.
///
/// # Errors
/// The gateway is in no network of an interface that is up; the kernel's.
pub fn set_default_route(gateway: Ipv4Addr) -> io::Result<()> {
    // SAFETY: rtentry is a plain struct of numbers and pointers; all zeroes is "nothing asked for".
    let mut route: libc::rtentry = unsafe { std::mem::zeroed() };
    route.rt_dst = socket_address(Ipv4Addr::UNSPECIFIED);
    route.rt_genmask = socket_address(Ipv4Addr::UNSPECIFIED);
    route.rt_gateway = socket_address(gateway);
    route.rt_flags = libc::RTF_UP | libc::RTF_GATEWAY;
    change(libc::SIOCADDRT, &raw mut route)
}

/// An ifreq with its name: at most 15 bytes.
fn request(name: &str) -> io::Result<libc::ifreq> {
    // SAFETY: ifreq is a plain union of numbers; all zeroes is valid.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    if name.is_empty() || name.len() >= request.ifr_name.len() || name.contains('\0') {
        return Err(io::Error::from_raw_os_error(libc::ENODEV));
    }
    for (to, from) in request.ifr_name.iter_mut().zip(name.bytes()) {
        *to = from as libc::c_char;
    }
    Ok(request)
}

/// `struct sockaddr_in` in the shape of a sockaddr: family, port (none), address in network order.
fn socket_address(address: Ipv4Addr) -> libc::sockaddr {
    let mut data = [0; 14];
    for (to, from) in data[2..6].iter_mut().zip(address.octets()) {
        *to = from as libc::c_char;
    }
    libc::sockaddr { sa_family: libc::AF_INET as libc::sa_family_t, sa_data: data }
}

fn change<T>(number: libc::c_ulong, argument: *mut T) -> io::Result<()> {
    let socket: OwnedFd =
        rustix::net::socket_with(AddressFamily::INET, SocketType::DGRAM, SocketFlags::CLOEXEC, None)?;
    // SAFETY: the callers pass a live, initialised structure of the kind that the request's number takes; the kernel
    // reads it and keeps no pointer.
    let result = unsafe { libc::ioctl(socket.as_raw_fd(), number as _, argument) };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_cannot_be_are_refused() {
        for name in ["", "a-name-that-is-too-long", "a\0b"] {
            assert_eq!(up(name).unwrap_err().raw_os_error(), Some(libc::ENODEV), "{name:?}");
        }
    }

    #[test]
    fn loopback_and_a_route_in_a_network_of_its_own() {
        let work = || {
            crate::process::unshare(crate::process::CloneFlags(crate::process::CloneFlags::NEWNET)).unwrap();
            up("lo").unwrap();
            set_address("lo", Ipv4Addr::new(10, 9, 8, 7), 24).unwrap();
            set_default_route(Ipv4Addr::new(10, 9, 8, 1)).unwrap();
            let routes = std::fs::read_to_string("/proc/thread-self/net/route").unwrap();
            // Destination, gateway and mask, each as a number of this machine's byte order.
            let line = routes.lines().find(|line| line.starts_with("lo\t00000000\t")).unwrap();
            let gateway = u32::from_ne_bytes([10, 9, 8, 1]);
            assert!(line.contains(&format!("\t{gateway:08X}\t")), "{routes}");
        };
        std::thread::spawn(work).join().unwrap();
    }
}
