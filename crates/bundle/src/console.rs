//! Descriptors handed to the engine over a unix socket that it listens on.

use std::io::IoSlice;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::path::Path;

use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags};

use crate::error::Error;

/// Connects before anything is made: a socket that is not there is told early. Relative paths and such longer than
/// the 108 bytes of unix(7) are reached by their directory's descriptor.
pub(crate) fn connect(what: &str, path: &Path) -> Result<UnixStream, Error> {
    let failed = |error: std::io::Error| Error::io(&format!("connect to the {what}"), path, error);
    match UnixStream::connect(path) {
        Err(error) if error.kind() == std::io::ErrorKind::InvalidInput => {
            let (parent, name) =
                (path.parent().unwrap_or(Path::new("/")), path.file_name().unwrap_or_default());
            let dir = std::fs::File::open(parent).map_err(failed)?;
            let number = std::os::fd::AsRawFd::as_raw_fd(&dir);
            let short = Path::new("/proc/self/fd").join(number.to_string()).join(name);
            UnixStream::connect(short).map_err(failed)
        }
        connected => connected.map_err(failed),
    }
}

/// Sends `text` and a descriptor with it.
pub(crate) fn send(socket: &UnixStream, text: &[u8], fd: BorrowedFd<'_>) -> Result<(), Error> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    let fds = [fd];
    control.push(SendAncillaryMessage::ScmRights(&fds));
    rustix::net::sendmsg(socket.as_fd(), &[IoSlice::new(text)], &mut control, SendFlags::NOSIGNAL)
        .map(drop)
        .map_err(|errno| Error::new(format!("send a descriptor: {}", step::words(&errno.into()))))
}

/// The terminal's outer end, with the name that runc gives it.
pub(crate) fn send_terminal(socket: &UnixStream, master: BorrowedFd<'_>) -> Result<(), Error> {
    send(socket, b"/dev/ptmx", master).map_err(|error| error.during("the console socket"))
}
