//! The one protocol between the monitor and init: a packet socket, a tag and a few bytes, sometimes descriptors.

use std::io::{IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::io::Errno;
use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, SocketFlags, SocketType,
};
use step::Failure;

use crate::plan::Point;

/// What is said over the socket.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Message {
    /// This side has reached a meeting point.
    Reached(Point),
    /// Init took a step of its list; nanoseconds. Sent only while a trace is kept.
    Took { index: u16, nanos: u64 },
    /// Init could not take a step, and is gone.
    Failed(Failure),
    /// If the kernel does not know the program's format, this is the likely reason.
    Suspects(Failure),
    /// The stub could not execute the program: an error number.
    ExecFailed(i32),
    /// Init's descriptor of the system call filter's listener, by its number: told by a plain write(2), and fetched.
    Listener(i32),
}

impl Message {
    fn encode(&self) -> Vec<u8> {
        let json = |tag: u8, failure: &Failure| {
            let mut bytes = vec![tag];
            // A Failure is strings and a number: writing it as JSON cannot fail.
            bytes.extend(serde_json::to_vec(failure).unwrap_or_default());
            bytes
        };
        let number = |tag: u8, number: i32| {
            let mut bytes = vec![tag];
            bytes.extend(number.to_ne_bytes());
            bytes
        };
        match self {
            Self::Reached(point) => vec![b'P', *point as u8],
            Self::Took { index, nanos } => {
                let mut bytes = vec![b'S'];
                bytes.extend(index.to_ne_bytes());
                bytes.extend(nanos.to_ne_bytes());
                bytes
            }
            Self::Failed(failure) => json(b'F', failure),
            Self::Suspects(failure) => json(b'D', failure),
            Self::ExecFailed(errno) => number(crate::stub::FAILED, *errno),
            Self::Listener(fd) => number(b'L', *fd),
        }
    }

    pub(crate) fn decode(bytes: &[u8]) -> Option<Self> {
        let number = |rest: &[u8]| Some(i32::from_ne_bytes(rest.get(..4)?.try_into().ok()?));
        let (tag, rest) = bytes.split_first()?;
        Some(match tag {
            b'P' => Self::Reached(Point::from_byte(*rest.first()?)?),
            b'S' => Self::Took {
                index: u16::from_ne_bytes(rest.get(..2)?.try_into().ok()?),
                nanos: u64::from_ne_bytes(rest.get(2..10)?.try_into().ok()?),
            },
            b'F' => Self::Failed(serde_json::from_slice(rest).ok()?),
            b'D' => Self::Suspects(serde_json::from_slice(rest).ok()?),
            &crate::stub::FAILED => Self::ExecFailed(number(rest)?),
            b'L' => Self::Listener(number(rest)?),
            _ => return None,
        })
    }
}

/// One end of the socket.
#[derive(Debug)]
pub(crate) struct Line(OwnedFd);

/// The largest message: a failure with its texts.
const LARGEST: usize = 16 * 1024;

/// How many descriptors go with a message: as many as the kernel takes (SCM_MAX_FD, unix(7)).
pub(crate) const MOST_FDS: usize = 253;

impl Line {
    /// Both ends, close-on-exec.
    pub(crate) fn pair() -> Result<(Self, Self), Errno> {
        let (a, b) =
            rustix::net::socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)?;
        Ok((Self(a), Self(b)))
    }

    /// Sends a message. A plain write(2): the strictest filters leave that open.
    pub(crate) fn send(&self, message: &Message) -> Result<(), Errno> {
        let mut bytes = message.encode();
        bytes.truncate(LARGEST);
        rustix::io::write(&self.0, &bytes).map(drop)
    }

    /// The socket, or whatever else takes messages: the pipe of a gate.
    pub(crate) fn over(fd: OwnedFd) -> Self {
        Self(fd)
    }

    /// Sends a message with descriptors, unix(7) SCM_RIGHTS; at most [`MOST_FDS`].
    pub(crate) fn send_with(&self, message: &Message, fds: &[BorrowedFd<'_>]) -> Result<(), Errno> {
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MOST_FDS))];
        let mut control = SendAncillaryBuffer::new(&mut space);
        if fds.len() > MOST_FDS || !control.push(SendAncillaryMessage::ScmRights(fds)) {
            return Err(Errno::TOOBIG);
        }
        let bytes = message.encode();
        rustix::net::sendmsg(&self.0, &[IoSlice::new(&bytes)], &mut control, SendFlags::NOSIGNAL).map(drop)
    }

    /// The next message by read(2): its descriptors, if it had any, are lost.
    pub(crate) fn read(&self) -> Result<Option<(Message, Vec<OwnedFd>)>, Errno> {
        let mut bytes = vec![0; LARGEST];
        let read = loop {
            match rustix::io::read(&self.0, &mut bytes) {
                Err(Errno::INTR | Errno::CONNRESET) => {}
                result => break result?,
            }
        };
        if read == 0 {
            return Ok(None);
        }
        let message = Message::decode(&bytes[..read]).ok_or(Errno::BADMSG)?;
        Ok(Some((message, Vec::new())))
    }

    /// The next message with its descriptors; none when the other side is gone.
    pub(crate) fn receive(&self) -> Result<Option<(Message, Vec<OwnedFd>)>, Errno> {
        let mut bytes = vec![0; LARGEST];
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MOST_FDS))];
        let mut control = RecvAncillaryBuffer::new(&mut space);
        let read = loop {
            let mut parts = [IoSliceMut::new(&mut bytes)];
            match rustix::net::recvmsg(&self.0, &mut parts, &mut control, RecvFlags::CMSG_CLOEXEC) {
                // ECONNRESET is told once, where the other side died with messages unread; its own last words are
                // still to come (unix_release_sock in net/unix/af_unix.c).
                Err(Errno::INTR | Errno::CONNRESET) => {}
                result => break result?.bytes,
            }
        };
        if read == 0 {
            return Ok(None);
        }
        let mut all = Vec::new();
        for message in control.drain() {
            if let RecvAncillaryMessage::ScmRights(fds) = message {
                all.extend(fds);
            }
        }
        let message = Message::decode(&bytes[..read]).ok_or(Errno::BADMSG)?;
        Ok(Some((message, all)))
    }
}

impl AsFd for Line {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_message_arrives_as_it_was_sent() {
        let (a, b) = Line::pair().unwrap();
        let failure = Failure::because("exec.find", "/bin/x", "is not there").hint("put it there");
        for message in [
            Message::Reached(Point::Linked),
            Message::Took { index: 513, nanos: u64::MAX },
            Message::Failed(failure.clone()),
            Message::Suspects(failure),
            Message::ExecFailed(8),
            Message::Listener(9),
        ] {
            a.send(&message).unwrap();
            assert_eq!(b.receive().unwrap().unwrap().0, message);
        }
        let (read, _write) = rustix::pipe::pipe().unwrap();
        a.send_with(&Message::Reached(Point::Terminal), &[read.as_fd(); 3]).unwrap();
        assert_eq!(b.receive().unwrap().unwrap().1.len(), 3);
        assert_eq!(a.send_with(&Message::Reached(Point::Terminal), &[read.as_fd(); 254]), Err(Errno::TOOBIG));
        // The last words of a side that dies with messages unread are not lost.
        a.send(&Message::ExecFailed(2)).unwrap();
        b.send(&Message::Reached(Point::Settled)).unwrap();
        drop(a);
        assert_eq!(b.receive().unwrap().unwrap().0, Message::ExecFailed(2));
        assert!(b.receive().unwrap().is_none());
    }
}
