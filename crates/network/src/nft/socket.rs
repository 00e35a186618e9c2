//! The netfilter socket: sends a batch, asks for an element, reads what a table has.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::atomic::{AtomicU32, Ordering};

use netlink_packet_core::{NLM_F_DUMP, NLMSG_DONE, NLMSG_ERROR};
use netlink_sys::protocols::NETLINK_NETFILTER;
use rustix::io::Errno;
use rustix::net::{RecvFlags, SendFlags};

use super::batch::{Batch, Element, Writer};
use super::{INET, kind, message};
use crate::netlink::{Messages, Refusal, acknowledgement, attributes};

/// What the kernel packs at most into one datagram of a dump.
const BUFFER: usize = 32 * 1024;
/// How often a change is tried anew because another one came in between (EINTR, EAGAIN), or a dump.
const TRIES: usize = 8;

/// What a message is: NFNL_SUBSYS_* and the subsystem's own number, and the protocol family that it is about.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Message {
    pub(crate) kind: u16,
    pub(crate) family: u8,
}

impl Message {
    /// One of nf_tables, about tables of the family inet.
    fn inet(message: u16) -> Self {
        Self { kind: kind(message), family: INET }
    }
}

/// A chain that packets come through by themselves.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct BaseChain {
    /// `ip`, `inet` and so on.
    pub(crate) family: &'static str,
    pub(crate) table: String,
    pub(crate) name: String,
    /// NF_INET_*.
    pub(crate) hook: u32,
    /// `filter`, `nat` or `route`.
    pub(crate) kind: String,
    /// What it has not decided on is dropped.
    pub(crate) drops: bool,
    /// How many rules it has.
    pub(crate) rules: u32,
}

impl BaseChain {
    fn read(family: u8, entry: &[u8]) -> Option<Self> {
        let of = |bytes, kind| attributes(bytes).find(|(found, _)| *found == kind).map(|(_, value)| value);
        let number = |value: &[u8]| Some(u32::from_be_bytes(value.try_into().ok()?));
        // NFTA_CHAIN_TABLE, _NAME, _HOOK, _POLICY, _USE, _TYPE; NFTA_HOOK_HOOKNUM.
        let text = |kind| of(entry, kind).and_then(crate::netlink::text);
        let hook = number(of(of(entry, 4)?, 1)?)?;
        let family = match family {
            1 => "inet",
            2 => "ip",
            10 => "ip6",
            _ => return None,
        };
        let policy = of(entry, 5).and_then(number);
        Some(Self {
            family,
            table: text(1)?,
            name: text(3)?,
            hook,
            kind: text(7)?,
            drops: policy == Some(0),
            rules: of(entry, 6).and_then(number).unwrap_or_default(),
        })
    }
}

/// What the kernel has in the place of something that was asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Seen {
    /// It is there.
    There,
    /// It is not.
    Absent,
    /// This kernel has no nf_tables, or none for this network namespace.
    Unsupported,
}

/// Numbers of messages; as many as a batch has are taken at once.
static SEQUENCE: AtomicU32 = AtomicU32::new(1);

/// A socket of this thread's network namespace. To close one that removed something takes milliseconds: the kernel
/// waits until no processor uses it any more (nf_tables_api.c, nft_rcv_nl_event).
#[derive(Debug)]
pub(crate) struct Netfilter(OwnedFd);

impl Netfilter {
    /// Opens one. Close-on-exec. A kernel without netfilter's netlink says EPROTONOSUPPORT.
    pub(crate) fn open() -> io::Result<Self> {
        let socket = netlink_sys::Socket::new(NETLINK_NETFILTER)?;
        // The kernel's words for a refusal, and not the whole message that it is for: neither is worth a failure.
        let _ = socket.set_ext_ack(true);
        let _ = socket.set_cap_ack(true);
        Ok(Self(socket.as_fd().try_clone_to_owned()?))
    }

    /// Its descriptor, for whoever closes it later.
    pub(crate) fn into_inner(self) -> OwnedFd {
        self.0
    }

    /// Makes a change of `table`. The refusal is that of the first message that failed.
    pub(crate) fn change(&self, table: &str, write: impl Fn(&mut Batch<'_>)) -> Result<(), Refusal> {
        let mut tries = 0;
        loop {
            tries += 1;
            // A batch has some hundred messages at most; the numbers need only differ from the last one's.
            let first = SEQUENCE.fetch_add(1 << 12, Ordering::Relaxed);
            let mut batch = Batch::new(table, first);
            write(&mut batch);
            match self.send_batch(batch) {
                Err(Refusal { errno: Errno::INTR | Errno::AGAIN, .. }) if tries < TRIES => {}
                result => return result,
            }
        }
    }

    fn send_batch(&self, batch: Batch<'_>) -> Result<(), Refusal> {
        let (bytes, first, last) = batch.finish();
        // Thousands of elements do not fit into a socket's usual room; only root may have more than net.core.wmem_max.
        if bytes.len() > 100_000 {
            rustix::net::sockopt::set_socket_send_buffer_size_force(&self.0, 2 * bytes.len())?;
        }
        rustix::io::retry_on_intr(|| rustix::net::send(&self.0, &bytes, SendFlags::empty()))?;
        drop(bytes);
        let mut buffer = Vec::with_capacity(4096);
        loop {
            for message in Messages(self.receive(&mut buffer)?) {
                let message = message?;
                let number = message.sequence_number();
                if message.message_type() != NLMSG_ERROR || !(first..=last + 1).contains(&number) {
                    continue;
                }
                acknowledgement(message)?;
                if number == last {
                    return Ok(());
                }
            }
        }
    }

    /// Whether a set of `table` has an element of this key.
    pub(crate) fn has(&self, table: &str, set: &str, key: &[u8]) -> Result<Seen, Refusal> {
        let element = Element { key: key.to_vec(), data: None, comment: String::new() };
        self.ask(message::GETSETELEM, |writer| {
            writer.text(1, table);
            writer.text(2, set);
            writer.nested(3, |writer| element.write(writer, false));
        })
    }

    /// Whether `table` is there.
    pub(crate) fn has_table(&self, table: &str) -> Result<Seen, Refusal> {
        self.ask(message::GETTABLE, |writer| writer.text(1, table))
    }

    /// The names of the tables for IPv4 and IPv6 together, ours and others'.
    pub(crate) fn tables(&self) -> Result<Vec<String>, Refusal> {
        self.dump(
            Message::inet(message::GETTABLE),
            |_| {},
            |_, entry, all| {
                let name = attributes(entry).find(|(kind, _)| *kind == 1);
                all.extend(name.and_then(|(_, value)| crate::netlink::text(value)));
            },
        )
    }

    fn ask(&self, message: u16, content: impl FnOnce(&mut Writer)) -> Result<Seen, Refusal> {
        let number = self.send(Message::inet(message), 0, content)?;
        let mut buffer = Vec::with_capacity(4096);
        loop {
            for message in Messages(self.receive(&mut buffer)?) {
                let message = message?;
                if message.sequence_number() != number {
                    continue;
                }
                if message.message_type() != NLMSG_ERROR {
                    return Ok(Seen::There);
                }
                return match acknowledgement(message) {
                    Ok(()) => Ok(Seen::There),
                    Err(Refusal { errno: Errno::NOENT, .. }) => Ok(Seen::Absent),
                    // nfnetlink knows no such subsystem; one without chains of this kind.
                    Err(Refusal { errno: Errno::INVAL | Errno::OPNOTSUPP, .. }) => Ok(Seen::Unsupported),
                    Err(refusal) => Err(refusal),
                };
            }
        }
    }

    /// The elements of a set: key and data. None where it is not there.
    pub(crate) fn elements(&self, table: &str, set: &str) -> Result<Vec<Element>, Refusal> {
        self.dump(
            Message::inet(message::GETSETELEM),
            |writer| {
                writer.text(1, table);
                writer.text(2, set);
            },
            |_, entry, all| {
                let list = attributes(entry).find(|(kind, _)| *kind == 3).map(|(_, value)| value);
                all.extend(attributes(list.unwrap_or_default()).filter_map(|(_, value)| read_element(value)));
            },
        )
    }

    /// How many rules each chain of a table has that has any.
    pub(crate) fn rules(&self, table: &str) -> Result<Vec<(String, usize)>, Refusal> {
        let names = self.dump(
            Message::inet(message::GETRULE),
            |writer| writer.text(1, table),
            |_, entry, all: &mut Vec<String>| {
                let name = |wanted| attributes(entry).find(|(kind, _)| *kind == wanted);
                // An older kernel gives those of all tables.
                if name(1).and_then(|(_, value)| crate::netlink::text(value)).as_deref() == Some(table) {
                    all.extend(name(2).and_then(|(_, value)| crate::netlink::text(value)));
                }
            },
        )?;
        let mut counted: Vec<(String, usize)> = Vec::new();
        for name in names {
            match counted.iter_mut().find(|(known, _)| *known == name) {
                Some((_, count)) => *count += 1,
                None => counted.push((name, 1)),
            }
        }
        Ok(counted)
    }

    /// The base chains of all tables for IP.
    pub(crate) fn base_chains(&self) -> Result<Vec<BaseChain>, Refusal> {
        // NFPROTO_UNSPEC: of every family.
        let question = Message { kind: kind(message::GETCHAIN), family: 0 };
        self.dump(question, |_| {}, |family, entry, all| all.extend(BaseChain::read(family, entry)))
    }

    /// Asks for a whole table; `take` gets each entry's family and what is behind its header. What this kernel does not have
    /// is empty.
    pub(crate) fn dump<T>(
        &self,
        message: Message,
        content: impl Fn(&mut Writer),
        take: impl Fn(u8, &[u8], &mut Vec<T>),
    ) -> Result<Vec<T>, Refusal> {
        for _ in 0..TRIES {
            match self.dump_once(message, &content, &take) {
                Err(Refusal { errno: Errno::INTR | Errno::AGAIN, .. }) => {}
                Err(Refusal { errno: Errno::NOENT | Errno::OPNOTSUPP, .. }) => return Ok(Vec::new()),
                result => return result,
            }
        }
        Err(Errno::INTR.into())
    }

    fn dump_once<T>(
        &self,
        message: Message,
        content: impl Fn(&mut Writer),
        take: impl Fn(u8, &[u8], &mut Vec<T>),
    ) -> Result<Vec<T>, Refusal> {
        let number = self.send(message, NLM_F_DUMP, content)?;
        let mut buffer = Vec::with_capacity(BUFFER);
        let mut all = Vec::new();
        loop {
            for message in Messages(self.receive(&mut buffer)?) {
                let message = message?;
                if message.sequence_number() != number {
                    continue;
                }
                if message.flags() & netlink_packet_core::NLM_F_DUMP_INTR != 0 {
                    return Err(Errno::INTR.into());
                }
                match message.message_type() {
                    NLMSG_ERROR => acknowledgement(message)?,
                    NLMSG_DONE => return Ok(all),
                    // Behind nfgenmsg, whose first byte is the family.
                    _ => {
                        let payload = message.payload();
                        let family = payload.first().copied().unwrap_or_default();
                        take(family, payload.get(4..).unwrap_or_default(), &mut all);
                    }
                }
            }
        }
    }

    /// Sends one message and waits for its acknowledgement, which `flags` are to ask for.
    pub(crate) fn order(
        &self,
        message: Message,
        flags: u16,
        content: impl FnOnce(&mut Writer),
    ) -> Result<(), Refusal> {
        let number = self.send(message, flags, content)?;
        let mut buffer = Vec::with_capacity(4096);
        loop {
            for message in Messages(self.receive(&mut buffer)?) {
                let message = message?;
                if message.sequence_number() == number && message.message_type() == NLMSG_ERROR {
                    return acknowledgement(message);
                }
            }
        }
    }

    fn send(&self, message: Message, flags: u16, content: impl FnOnce(&mut Writer)) -> Result<u32, Refusal> {
        let number = SEQUENCE.fetch_add(1, Ordering::Relaxed);
        let mut writer = Writer::default();
        let start = writer.begin(message.kind, flags, number, message.family, 0);
        content(&mut writer);
        writer.end(start);
        rustix::io::retry_on_intr(|| rustix::net::send(&self.0, &writer.bytes, SendFlags::empty()))?;
        Ok(number)
    }

    fn receive<'b>(&self, buffer: &'b mut Vec<u8>) -> Result<&'b [u8], Refusal> {
        buffer.clear();
        rustix::io::retry_on_intr(|| {
            rustix::net::recv(&self.0, rustix::buffer::spare_capacity(buffer), RecvFlags::empty())
        })?;
        Ok(buffer)
    }
}

fn read_element(bytes: &[u8]) -> Option<Element> {
    let value = |wanted: u16| {
        let (_, nested) = attributes(bytes).find(|(kind, _)| *kind == wanted)?;
        attributes(nested).find(|(kind, _)| *kind == 1).map(|(_, value)| value.to_vec())
    };
    let comment = attributes(bytes).find(|(kind, _)| *kind == 6).and_then(|(_, value)| value.get(2..));
    let comment = comment.and_then(crate::netlink::text).unwrap_or_default();
    Some(Element { key: value(1)?, data: value(2), comment })
}
