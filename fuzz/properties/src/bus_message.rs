//! Messages of D-Bus as they come from a socket.

use cgroup::systemd::fuzz;

/// The input as the beginning of a stream.
pub fn bus_message(data: &[u8]) {
    let Some(written) = fuzz::message(data) else { return };
    // What nobody knows of it is left out; after that nothing changes any more.
    assert_eq!(fuzz::message(&written), Some(written));
}
