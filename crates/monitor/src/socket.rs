//! The socket in a container's directory: by it commands come to its monitor.

use std::os::fd::{AsRawFd, OwnedFd};
use std::path::Path;

use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType};

use crate::channel::{Channel, Kind};
use crate::client::Hello;

/// Its name.
const NAME: &str = "monitor.sock";

/// The address by way of the open directory: a path of unix(7) has 108 bytes, and a container's may be longer.
fn address(dir: &OwnedFd) -> Result<SocketAddrUnix, Errno> {
    SocketAddrUnix::new(format!("/proc/self/fd/{}/{NAME}", dir.as_raw_fd()))
}

fn open(dir: &Path) -> Result<OwnedFd, Errno> {
    rustix::fs::open(dir, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())
}

fn socket() -> Result<OwnedFd, Errno> {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    rustix::net::socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None)
}

/// Makes it; one of a monitor that is gone is replaced. Who may connect is who may open it for writing: its owner.
pub(crate) fn listen(dir: &Path) -> Result<OwnedFd, Errno> {
    let dir = open(dir)?;
    match rustix::fs::unlinkat(&dir, NAME, rustix::fs::AtFlags::empty()) {
        Ok(()) | Err(Errno::NOENT) => {}
        Err(errno) => return Err(errno),
    }
    let listener = socket()?;
    let before = rustix::process::umask(Mode::RWXG | Mode::RWXO);
    let bound = rustix::net::bind(&listener, &address(&dir)?);
    rustix::process::umask(before);
    bound?;
    rustix::net::listen(&listener, 128)?;
    Ok(listener)
}

/// The next guest; none at the moment.
pub(crate) fn accept(listener: &OwnedFd) -> Option<OwnedFd> {
    rustix::net::accept_with(listener, SocketFlags::CLOEXEC | SocketFlags::NONBLOCK).ok()
}

/// Connects with the monitor of the container whose directory this is, and says what for.
///
/// # Errors
/// `ENOENT`, `ECONNREFUSED`: there is no monitor (yet, or any more).
pub fn connect(dir: &Path, hello: Hello) -> Result<Channel, Errno> {
    let dir = open(dir)?;
    let socket = socket()?;
    rustix::net::connect(&socket, &address(&dir)?)?;
    let mut channel = Channel::new(socket);
    channel.push(Kind::Hello, &serde_json::to_vec(&hello).unwrap_or_default());
    Ok(channel)
}
