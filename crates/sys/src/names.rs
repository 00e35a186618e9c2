//! How glibc looks up the names of hosts: by what is built into it alone.

use std::ffi::{CStr, c_char, c_int};
use std::io;
use std::sync::OnceLock;

use rustix::io::Errno;

unsafe extern "C" {
    /// nss.h; glibc's manual, "NSS Configuration File".
    fn __nss_configure_lookup(database: *const c_char, services: *const c_char) -> c_int;
}

const HOSTS: &CStr = c"hosts";
/// Both are part of libc.a since glibc 2.34; what else nsswitch.conf(5) can name is a file, `libnss_<name>.so.2`.
const BUILT_IN: &CStr = c"files dns";

/// From now on getaddrinfo(3), which std's `ToSocketAddrs` calls, asks /etc/hosts and then the servers of
/// resolv.conf(5), whatever `hosts:` in nsswitch.conf(5) says. All but the first call do nothing.
///
/// A static program has its own glibc, and a module (nss-resolve, nss-mymachines, nss-mdns) is loaded together with the
/// host's: of another version that is a failure or a crash, of the same one it is a second libc in the process.
///
/// # Errors
/// `EINVAL`: a glibc that does not know these two.
pub fn look_up_without_modules() -> io::Result<()> {
    static DONE: OnceLock<bool> = OnceLock::new();
    let done = *DONE.get_or_init(|| {
        // SAFETY: both are strings with a NUL at their end, which glibc copies; this cell calls it once, so not beside
        // itself, and glibc guards the table that other threads read.
        unsafe { __nss_configure_lookup(HOSTS.as_ptr(), BUILT_IN.as_ptr()) == 0 }
    });
    if done { Ok(()) } else { Err(Errno::INVAL.into()) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::ToSocketAddrs as _;

    #[test]
    fn names_of_the_hosts_file_are_found_afterwards() {
        look_up_without_modules().unwrap();
        look_up_without_modules().unwrap();
        let found: Vec<_> = ("localhost", 5000).to_socket_addrs().unwrap().collect();
        assert!(!found.is_empty() && found.iter().all(|address| address.ip().is_loopback()), "{found:?}");
    }
}
