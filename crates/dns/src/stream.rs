//! Messages over TCP: each behind its length in two bytes (RFC 1035, section 4.2.2; RFC 7766).

use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::io::Errno;
use rustix::net::{RecvFlags, SendFlags, recv, send};

/// So much is read at a time.
const PIECE: usize = 4096;
/// So much may wait for somebody who does not read before the connection is given up: two of the longest answers.
const MOST_UNREAD: usize = 128 * 1024 + 4;

/// One connection.
#[derive(Debug)]
pub(crate) struct Stream {
    socket: OwnedFd,
    heard: Vec<u8>,
    unsaid: Vec<u8>,
    /// The other side has no more to say.
    ended: bool,
}

impl Stream {
    pub(crate) fn new(socket: OwnedFd) -> Self {
        Self { socket, heard: Vec::new(), unsaid: Vec::new(), ended: false }
    }

    pub(crate) fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }

    pub(crate) fn has_ended(&self) -> bool {
        self.ended
    }

    /// Whether something waits to be said.
    pub(crate) fn has_unsaid(&self) -> bool {
        !self.unsaid.is_empty()
    }

    /// Reads what there is, up to one message of so many bytes and what came with its end.
    pub(crate) fn hear(&mut self, most: usize) -> Result<(), Errno> {
        let mut piece = [MaybeUninit::<u8>::uninit(); PIECE];
        while !self.ended && self.heard.len() <= 2 + most {
            match recv(&self.socket, &mut piece, RecvFlags::empty()) {
                Ok((([], _), _)) => self.ended = true,
                Ok(((bytes, _), _)) => self.heard.extend_from_slice(bytes),
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => break,
                Err(errno) => return Err(errno),
            }
        }
        Ok(())
    }

    /// Whether a whole message waits to be taken, or one that is refused.
    pub(crate) fn has_message(&self, most: usize) -> bool {
        let length = self.heard.first_chunk().map(|bytes| usize::from(u16::from_be_bytes(*bytes)));
        length.is_some_and(|length| length > most || self.heard.len() >= 2 + length)
    }

    /// The next whole message. One that is longer than `most` is an error: nobody waits for the rest of it.
    pub(crate) fn next(&mut self, most: usize) -> Result<Option<Vec<u8>>, Errno> {
        let Some(length) = self.heard.first_chunk().map(|bytes| usize::from(u16::from_be_bytes(*bytes)))
        else {
            return Ok(None);
        };
        if length > most {
            return Err(Errno::MSGSIZE);
        }
        if self.heard.len() < 2 + length {
            return Ok(None);
        }
        let rest = self.heard.split_off(2 + length);
        let mut message = std::mem::replace(&mut self.heard, rest);
        message.drain(..2);
        Ok(Some(message))
    }

    /// Says a message, as far as there is room, and the rest by and by.
    pub(crate) fn say(&mut self, message: &[u8]) -> Result<(), Errno> {
        let length = u16::try_from(message.len()).map_err(|_| Errno::MSGSIZE)?;
        self.unsaid.extend(length.to_be_bytes());
        self.unsaid.extend_from_slice(message);
        self.flush()?;
        if self.unsaid.len() > MOST_UNREAD { Err(Errno::NOBUFS) } else { Ok(()) }
    }

    /// Says what waits. Nothing of a connection that is not there yet is lost.
    pub(crate) fn flush(&mut self) -> Result<(), Errno> {
        while !self.unsaid.is_empty() {
            match send(&self.socket, &self.unsaid, SendFlags::NOSIGNAL) {
                Ok(count) => drop(self.unsaid.drain(..count)),
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => return Ok(()),
                Err(errno) => return Err(errno),
            }
        }
        self.unsaid = Vec::new();
        Ok(())
    }
}
