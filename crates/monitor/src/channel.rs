//! Frames over a stream socket: one byte of kind, four of length, then the payload. Neither side ever blocks on it, so
//! that output goes on while input waits.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::io::Errno;
use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType};

use crate::streams::null;

/// What a frame carries. Capitals come from the monitor, small letters from the command.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Kind {
    /// The program runs; JSON of [`crate::Started`].
    Started = b'S',
    /// It could not be started; JSON of [`crate::Started`] too.
    Failed = b'F',
    /// Bytes of its standard output, or of its terminal.
    Stdout = b'O',
    /// Bytes of its standard error.
    Stderr = b'E',
    /// It ended; JSON of [`crate::Ended`].
    Ended = b'X',
    /// Everything is taken down; JSON of the trace's records.
    Gone = b'G',
    /// Its health was looked at; JSON of the keeper's own.
    Health = b'H',
    /// Bytes for its standard input.
    Stdin = b'i',
    /// No more of them.
    StdinEnd = b'e',
    /// The user's terminal has this size: rows and columns, 16 bits each.
    Size = b'w',
    /// A signal for it: its number in 32 bits.
    Signal = b's',
    /// Nobody reads its standard output (1) or standard error (2) any more: one byte.
    Unread = b'u',
    /// The command leaves, the container stays.
    Detach = b'd',
    /// A guest's first words; JSON of [`crate::Hello`].
    Hello = b'h',
    /// The monitor's answer; JSON of [`crate::Welcome`].
    Welcome = b'W',
}

impl Kind {
    const ALL: [Self; 15] = [
        Self::Started,
        Self::Failed,
        Self::Stdout,
        Self::Stderr,
        Self::Ended,
        Self::Gone,
        Self::Health,
        Self::Stdin,
        Self::StdinEnd,
        Self::Size,
        Self::Signal,
        Self::Unread,
        Self::Detach,
        Self::Hello,
        Self::Welcome,
    ];

    fn from_byte(byte: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| *kind as u8 == byte)
    }
}

/// One end.
#[derive(Debug)]
pub struct Channel {
    socket: OwnedFd,
    inbox: Vec<u8>,
    outbox: Vec<u8>,
    sent: usize,
    closed: bool,
}

/// How much may wait to be sent before the side that produces it is no longer read.
const FULL: usize = 64 * 1024;

const HEAD: usize = 5;

impl Channel {
    /// Both ends, close-on-exec.
    pub fn pair() -> Result<(Self, Self), Errno> {
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let (a, b) = rustix::net::socketpair(AddressFamily::UNIX, SocketType::STREAM, flags, None)?;
        Ok((Self::new(a), Self::new(b)))
    }

    /// An end of a connected stream socket that does not block.
    pub(crate) fn new(socket: OwnedFd) -> Self {
        Self { socket, inbox: Vec::new(), outbox: Vec::new(), sent: 0, closed: false }
    }

    /// The same for a child that has nothing else open but the standard streams.
    pub(crate) fn alone(self) -> Result<Self, Errno> {
        rustix::stdio::dup2_stdin(&self.socket)?;
        drop(self);
        sys::process::close_inherited();
        let socket = rustix::io::fcntl_dupfd_cloexec(rustix::stdio::stdin(), 3)?;
        rustix::stdio::dup2_stdin(null()?)?;
        Ok(Self::new(socket))
    }

    /// Whether the other side is gone.
    pub fn is_closed(&self) -> bool {
        self.closed
    }

    /// Whether something waits to be sent.
    pub fn has_output(&self) -> bool {
        !self.outbox.is_empty() && !self.closed
    }

    /// Whether so much waits that no more should be produced.
    pub fn is_full(&self) -> bool {
        self.outbox.len() - self.sent >= FULL && !self.closed
    }

    /// Queues a frame and sends what goes without waiting.
    pub fn push(&mut self, kind: Kind, payload: &[u8]) {
        if self.closed {
            return;
        }
        self.outbox.push(kind as u8);
        self.outbox.extend((payload.len() as u32).to_ne_bytes());
        self.outbox.extend(payload);
        self.flush();
    }

    /// Sends what goes without waiting.
    pub fn flush(&mut self) {
        while self.sent < self.outbox.len() && !self.closed {
            match rustix::net::send(&self.socket, &self.outbox[self.sent..], SendFlags::NOSIGNAL) {
                Ok(n) => self.sent += n,
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => return,
                Err(_) => self.closed = true,
            }
        }
        self.outbox.clear();
        self.sent = 0;
    }

    /// Takes in what is there. Never part of its caller, which may live long: the buffer would with it.
    #[inline(never)]
    pub fn fill(&mut self) {
        let mut buffer = [0_u8; 16 * 1024];
        // Not for ever: the other side may be faster than we are.
        for _ in 0..4 {
            match rustix::net::recv(&self.socket, &mut buffer[..], RecvFlags::empty()).map(|(n, _)| n) {
                Ok(0) => return self.closed = true,
                Ok(n) => {
                    self.inbox.extend(&buffer[..n]);
                    if n < buffer.len() {
                        return;
                    }
                }
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => return,
                Err(_) => return self.closed = true,
            }
        }
    }

    /// The next whole frame if it is of this kind; others stay.
    pub fn take_if(&mut self, kind: Kind) -> Option<(Kind, Vec<u8>)> {
        if self.inbox.first() == Some(&(kind as u8)) { self.take() } else { None }
    }

    /// The next whole frame that was taken in. A kind that nobody knows ends the conversation.
    pub fn take(&mut self) -> Option<(Kind, Vec<u8>)> {
        let size = u32::from_ne_bytes(self.inbox.get(1..HEAD)?.try_into().ok()?) as usize;
        let payload = self.inbox.get(HEAD..HEAD + size)?.to_vec();
        let kind = Kind::from_byte(self.inbox[0]);
        self.inbox.drain(..HEAD + size);
        if self.inbox.is_empty() {
            self.inbox = Vec::new();
        }
        if kind.is_none() {
            self.closed = true;
        }
        Some((kind?, payload))
    }
}

impl AsFd for Channel {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_arrive_whole_and_in_order_however_the_socket_cuts_them() {
        let (mut a, mut b) = Channel::pair().unwrap();
        let big = vec![7_u8; 1 << 20];
        a.push(Kind::Stdout, &big);
        a.push(Kind::Size, &[1, 2, 3, 4]);
        assert!(a.is_full());
        let mut frames = Vec::new();
        while frames.len() < 2 {
            a.flush();
            b.fill();
            while let Some(frame) = b.take() {
                frames.push(frame);
            }
        }
        assert_eq!(frames, [(Kind::Stdout, big), (Kind::Size, vec![1, 2, 3, 4])]);
        assert!(!a.has_output());
    }

    #[test]
    fn a_closed_other_side_is_seen_and_swallows_output() {
        let (mut a, b) = Channel::pair().unwrap();
        drop(b);
        a.push(Kind::Stdout, b"x");
        a.fill();
        assert!(a.is_closed() && !a.has_output() && !a.is_full());
    }

    #[test]
    fn an_unknown_kind_ends_the_conversation() {
        let (a, mut b) = Channel::pair().unwrap();
        rustix::io::write(&a, b"?\0\0\0\0").unwrap();
        b.fill();
        assert!(b.take().is_none() && b.is_closed());
    }
}
