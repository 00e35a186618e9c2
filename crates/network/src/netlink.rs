//! The process's route netlink(7) socket: one request, its acknowledgement; one question, all parts of its answer.
//!
//! Requests are built by netlink-packet-route. Answers are read attribute by attribute, only those that are needed:
//! a newer kernel's unknown ones cannot break that.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::atomic::{AtomicU32, Ordering};

use netlink_packet_core::{
    NLM_F_ACK, NLM_F_ACK_TLVS, NLM_F_CAPPED, NLM_F_DUMP, NLM_F_DUMP_INTR, NLM_F_REQUEST, NLMSG_DONE,
    NLMSG_ERROR, NetlinkBuffer, NetlinkHeader, NetlinkMessage, NetlinkPayload, NlasIterator, parse_i32,
    parse_u32,
};
use netlink_packet_route::RouteNetlinkMessage;
use netlink_sys::protocols::NETLINK_ROUTE;
use rustix::io::Errno;
use rustix::net::{RecvFlags, SendFlags};

/// What the kernel packs at most into one datagram of a dump (netlink(7): recommended since 4.9).
const BUFFER: usize = 32 * 1024;
/// How often a dump is asked for anew because the table changed while it was read.
const TRIES: usize = 8;
/// NLMSGERR_ATTR_MSG, linux/netlink.h: the kernel's own words.
const NLMSGERR_ATTR_MSG: u16 = 1;

/// One number for each request of the process: an answer to a request that was given up is told by it.
static SEQUENCE: AtomicU32 = AtomicU32::new(1);

/// The kernel's no.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Refusal {
    pub(crate) errno: Errno,
    /// The kernel's own words (extended acknowledgement), where it has any.
    pub(crate) said: Option<String>,
}

impl From<Errno> for Refusal {
    fn from(errno: Errno) -> Self {
        Self { errno, said: None }
    }
}

impl From<io::Error> for Refusal {
    fn from(error: io::Error) -> Self {
        Self { errno: Errno::from_io_error(&error).unwrap_or(Errno::IO), said: None }
    }
}

/// Opens a route socket of this thread's network namespace. Close-on-exec.
pub(crate) fn open() -> io::Result<OwnedFd> {
    let socket = netlink_sys::Socket::new(NETLINK_ROUTE)?;
    // Without these the kernel explains no refusal (4.12) and ignores a dump's filter (4.20): both are gains only,
    // and an older kernel's no is no reason to give up.
    let _ = socket.set_ext_ack(true);
    let _ = socket.set_netlink_get_strict_chk(true);
    // The library's socket cannot be taken apart without unsafe code; a second descriptor can be had.
    socket.as_fd().try_clone_to_owned()
}

/// A route socket, borrowed from whoever keeps it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Route<'fd> {
    socket: BorrowedFd<'fd>,
}

impl<'fd> Route<'fd> {
    pub(crate) fn new(socket: &'fd OwnedFd) -> Self {
        Self { socket: socket.as_fd() }
    }

    /// The index of a link of this namespace; ENODEV where there is none. One ioctl without the routing lock,
    /// netdevice(7).
    pub(crate) fn index(self, link: &str) -> Result<u32, Errno> {
        rustix::net::netdevice::name_to_index(self.socket, link)
    }

    /// The name of a link of this namespace.
    pub(crate) fn name(self, index: u32) -> Option<String> {
        rustix::net::netdevice::index_to_name(self.socket, index).ok()
    }

    /// Sends a request and waits for its acknowledgement. `flags`: NLM_F_CREATE and so on.
    pub(crate) fn request(self, message: RouteNetlinkMessage, flags: u16) -> Result<(), Refusal> {
        let sequence = self.send(message, NLM_F_REQUEST | NLM_F_ACK | flags)?;
        let mut buffer = Vec::with_capacity(4096);
        loop {
            let datagram = self.receive(&mut buffer)?;
            for message in Messages(datagram) {
                let message = message?;
                if message.sequence_number() == sequence && message.message_type() == NLMSG_ERROR {
                    return acknowledgement(message);
                }
            }
        }
    }

    /// Asks for one object; `take` gets the answer behind the header.
    pub(crate) fn ask<T>(
        self,
        message: RouteNetlinkMessage,
        mut take: impl FnMut(&[u8]) -> Option<T>,
    ) -> Result<Option<T>, Refusal> {
        let sequence = self.send(message, NLM_F_REQUEST)?;
        let mut buffer = Vec::with_capacity(BUFFER);
        loop {
            let datagram = self.receive(&mut buffer)?;
            for message in Messages(datagram) {
                let message = message?;
                match message.message_type() {
                    _ if message.sequence_number() != sequence => {}
                    NLMSG_ERROR => return acknowledgement(message).map(|()| None),
                    _ => return Ok(take(message.payload())),
                }
            }
        }
    }

    /// Asks for a whole table, which comes in many parts; `take` makes something of an entry, or nothing.
    /// A table that changes while it is read is read again.
    pub(crate) fn dump<T>(
        self,
        message: RouteNetlinkMessage,
        mut take: impl FnMut(&[u8]) -> Option<T>,
    ) -> Result<Vec<T>, Refusal> {
        let mut entries = Vec::new();
        for _ in 0..TRIES {
            entries.clear();
            let whole = self.dump_once(message.clone(), |entry| entries.extend(take(entry)))?;
            if whole {
                break;
            }
        }
        // After so many tries the last reading stands: at worst an entry that is changing right now is missing.
        Ok(entries)
    }

    /// Whether the table held still.
    fn dump_once(self, message: RouteNetlinkMessage, mut take: impl FnMut(&[u8])) -> Result<bool, Refusal> {
        let sequence = self.send(message, NLM_F_REQUEST | NLM_F_DUMP)?;
        let mut buffer = Vec::with_capacity(BUFFER);
        let mut whole = true;
        loop {
            let datagram = self.receive(&mut buffer)?;
            for message in Messages(datagram) {
                let message = message?;
                if message.sequence_number() != sequence {
                    continue;
                }
                whole &= message.flags() & NLM_F_DUMP_INTR == 0;
                match message.message_type() {
                    NLMSG_ERROR => acknowledgement(message)?,
                    NLMSG_DONE => {
                        // The code of a dump that broke off; ENODEV is how a filter by link says "no such link".
                        let code =
                            message.payload().get(..4).and_then(|code| parse_i32(code).ok()).unwrap_or(0);
                        return if code == 0 {
                            Ok(whole)
                        } else {
                            Err(Errno::from_raw_os_error(-code).into())
                        };
                    }
                    _ => take(message.payload()),
                }
            }
        }
    }

    fn send(self, message: RouteNetlinkMessage, flags: u16) -> Result<u32, Refusal> {
        let sequence = SEQUENCE.fetch_add(1, Ordering::Relaxed);
        let mut header = NetlinkHeader::default();
        header.flags = flags;
        header.sequence_number = sequence;
        let mut packet = NetlinkMessage::new(header, NetlinkPayload::InnerMessage(message));
        packet.finalize();
        let mut bytes = vec![0; packet.buffer_len()];
        packet.serialize(&mut bytes);
        rustix::io::retry_on_intr(|| rustix::net::send(self.socket, &bytes, SendFlags::empty()))?;
        Ok(sequence)
    }

    fn receive(self, buffer: &mut Vec<u8>) -> Result<&[u8], Refusal> {
        buffer.clear();
        let (_, length) = rustix::io::retry_on_intr(|| {
            rustix::net::recv(self.socket, rustix::buffer::spare_capacity(buffer), RecvFlags::TRUNC)
        })?;
        // With TRUNC the kernel tells the true length: more than there was room for is a lost tail.
        if length > buffer.len() { Err(Errno::MSGSIZE.into()) } else { Ok(buffer) }
    }
}

/// The messages of one datagram.
pub(crate) struct Messages<'a>(pub(crate) &'a [u8]);

impl<'a> Iterator for Messages<'a> {
    type Item = Result<NetlinkBuffer<&'a [u8]>, Refusal>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.0.is_empty() {
            return None;
        }
        let whole = NetlinkBuffer::new_checked(self.0);
        let Ok(message) = whole else {
            self.0 = &[];
            return Some(Err(Errno::BADMSG.into()));
        };
        let length = message.length() as usize;
        let (this, rest) = self.0.split_at(length);
        // Messages begin at multiples of four bytes.
        self.0 = rest.get(length.next_multiple_of(4) - length..).unwrap_or(&[]);
        Some(Ok(NetlinkBuffer::new(this)))
    }
}

/// Reads an NLMSG_ERROR: code 0 is the acknowledgement.
pub(crate) fn acknowledgement(message: NetlinkBuffer<&[u8]>) -> Result<(), Refusal> {
    let payload = message.payload();
    let code = payload.get(..4).and_then(|code| parse_i32(code).ok()).ok_or(Errno::BADMSG)?;
    if code == 0 {
        return Ok(());
    }
    let said =
        (message.flags() & NLM_F_ACK_TLVS != 0).then(|| explanation(payload, message.flags())).flatten();
    Err(Refusal { errno: Errno::from_raw_os_error(-code), said })
}

/// The kernel's own words behind the code and the request (or only its header, if capped) that it repeats.
fn explanation(payload: &[u8], flags: u16) -> Option<String> {
    let request = payload.get(4..)?;
    let repeated = if flags & NLM_F_CAPPED != 0 { 16 } else { parse_u32(request.get(..4)?).ok()? as usize };
    let words = attribute(request.get(repeated.next_multiple_of(4)..)?, NLMSGERR_ATTR_MSG)?;
    text(words)
}

/// The attributes of an answer: kind and value. A torn one ends them.
pub(crate) fn attributes(bytes: &[u8]) -> impl Iterator<Item = (u16, &[u8])> {
    NlasIterator::new(bytes).map_while(|attribute| {
        let attribute = attribute.ok()?;
        let (kind, length) = (attribute.kind(), usize::from(attribute.length()));
        Some((kind, attribute.into_inner().get(4..length)?))
    })
}

/// The value of the first attribute of this kind.
fn attribute(bytes: &[u8], kind: u16) -> Option<&[u8]> {
    attributes(bytes).find_map(|(found, value)| (found == kind).then_some(value))
}

/// A text that ends with a zero byte.
pub(crate) fn text(bytes: &[u8]) -> Option<String> {
    let bytes = bytes.split(|byte| *byte == 0).next()?;
    Some(String::from_utf8_lossy(bytes).into_owned())
}

#[cfg(test)]
mod tests {
    use netlink_packet_core::NLM_F_CREATE;

    use super::*;

    #[test]
    fn splits_a_datagram_and_stops_at_a_torn_one() {
        let message = |length: u32, room: usize| {
            let mut bytes = length.to_ne_bytes().to_vec();
            bytes.extend([3, 0, 0, 0]);
            bytes.resize(room, 0);
            bytes
        };
        // 18 bytes, padded to 20, then 16.
        let both: Vec<u8> = [message(18, 20), message(16, 16)].concat();
        let lengths: Vec<_> = Messages(&both).map(|message| message.unwrap().length()).collect();
        assert_eq!(lengths, [18, 16]);
        for torn in [message(40, 20), message(8, 20), vec![0; 7]] {
            let read: Vec<_> = Messages(&torn).map(|message| message.map(|_| ())).collect();
            assert_eq!(read, [Err(Errno::BADMSG.into())]);
        }
    }

    #[test]
    fn reads_the_kernels_words() {
        // Refused before anything is made: no kernel knows this kind of link.
        let kind = netlink_packet_route::link::InfoKind::Other("minidocker".to_owned());
        let mut link = netlink_packet_route::link::LinkMessage::default();
        link.attributes = vec![netlink_packet_route::link::LinkAttribute::LinkInfo(vec![
            netlink_packet_route::link::LinkInfo::Kind(kind),
        ])];
        let socket = open().unwrap();
        let refusal =
            Route::new(&socket).request(RouteNetlinkMessage::NewLink(link), NLM_F_CREATE).unwrap_err();
        assert_eq!(refusal.errno, Errno::OPNOTSUPP);
        assert!(refusal.said.unwrap().contains("nknown device type"));
    }

    #[test]
    fn finds_an_attribute_and_ignores_a_torn_one() {
        let bytes = [8, 0, 1, 0, 1, 2, 3, 4, 6, 0, 2, 0, b'a', 0, 0, 0, 200, 0, 9, 0];
        assert_eq!(attribute(&bytes, 1), Some(&[1u8, 2, 3, 4][..]));
        assert_eq!(text(attribute(&bytes, 2).unwrap()).unwrap(), "a");
        assert_eq!(attribute(&bytes, 9), None);
    }
}
