//! Writing messages: attributes, and the batch around them.

use netlink_packet_core::{NLM_F_ACK, NLM_F_CREATE, NLM_F_REQUEST};

use super::expression::Expression;
use super::{INET, SUBSYSTEM, kind, message};

/// NFNL_MSG_BATCH_BEGIN and _END.
const BEGIN: u16 = 16;
const END: u16 = 17;
/// NLA_F_NESTED.
const NESTED: u16 = 1 << 15;
/// So many elements go into one message: the list of them is one attribute, which has at most 65,535 bytes.
const ELEMENTS: usize = 512;
/// NFT_SET_MAP.
const MAP: u32 = 8;
/// NFTNL_UDATA_SET_ELEM_COMMENT, and likewise of tables and rules: what nft(8) shows as a comment.
const COMMENT: u8 = 0;

/// Bytes in the making.
#[derive(Debug, Default)]
pub(crate) struct Writer {
    pub(crate) bytes: Vec<u8>,
}

impl Writer {
    /// A message's header, and behind it nfgenmsg; [`Writer::end`] sets its length.
    pub(super) fn begin(&mut self, kind: u16, flags: u16, sequence: u32, family: u8, resource: u16) -> usize {
        let start = self.bytes.len();
        self.bytes.extend([0; 4]);
        self.bytes.extend(kind.to_ne_bytes());
        self.bytes.extend((NLM_F_REQUEST | flags).to_ne_bytes());
        self.bytes.extend(sequence.to_ne_bytes());
        self.bytes.extend([0; 4]);
        self.bytes.extend([family, 0]);
        self.bytes.extend(resource.to_be_bytes());
        start
    }

    pub(super) fn end(&mut self, start: usize) {
        let length = (self.bytes.len() - start) as u32;
        self.bytes[start..start + 4].copy_from_slice(&length.to_ne_bytes());
    }

    pub(crate) fn attribute(&mut self, kind: u16, value: &[u8]) {
        let length = (4 + value.len()) as u16;
        self.bytes.extend(length.to_ne_bytes());
        self.bytes.extend(kind.to_ne_bytes());
        self.bytes.extend(value);
        self.bytes.resize(self.bytes.len().next_multiple_of(4), 0);
    }

    /// Numbers are big-endian in nf_tables.
    pub(super) fn number(&mut self, kind: u16, value: u32) {
        self.attribute(kind, &value.to_be_bytes());
    }

    pub(super) fn text(&mut self, kind: u16, text: &str) {
        let length = (4 + text.len() + 1) as u16;
        self.bytes.extend(length.to_ne_bytes());
        self.bytes.extend(kind.to_ne_bytes());
        self.bytes.extend(text.as_bytes());
        self.bytes.push(0);
        self.bytes.resize(self.bytes.len().next_multiple_of(4), 0);
    }

    pub(crate) fn nested(&mut self, kind: u16, content: impl FnOnce(&mut Self)) {
        let start = self.bytes.len();
        self.bytes.extend([0; 2]);
        self.bytes.extend((kind | NESTED).to_ne_bytes());
        content(self);
        let length = (self.bytes.len() - start) as u16;
        self.bytes[start..start + 2].copy_from_slice(&length.to_ne_bytes());
    }
}

/// A set, or with `data` a map.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Set {
    pub(crate) name: &'static str,
    /// nft(8)'s type, of concatenations six bits each, and the bytes of a key: each part is padded to four.
    pub(crate) key: (u32, u32),
    /// A key is no number of the network's but bytes in the host's order: nft(8) shows it right then.
    pub(crate) host_order: bool,
    /// Type and bytes of what keys lead to.
    pub(crate) data: Option<(u32, u32)>,
}

/// An element of a set or a map.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Element {
    /// As long as the set says.
    pub(crate) key: Vec<u8>,
    /// What it leads to, in a map.
    pub(crate) data: Option<Vec<u8>>,
    /// Shown by nft(8) beside it; empty for none.
    pub(crate) comment: String,
}

/// A comment as nft(8) writes it: type, length, text with its zero. What is longer than 255 bytes is cut.
pub(crate) fn userdata(comment: &str) -> Vec<u8> {
    let text = comment.as_bytes().get(..254).unwrap_or(comment.as_bytes());
    let mut bytes = vec![COMMENT, text.len() as u8 + 1];
    bytes.extend(text);
    bytes.push(0);
    bytes
}

/// A change of one table: all of it happens, at one moment, or nothing.
#[derive(Debug)]
pub(crate) struct Batch<'t> {
    writer: Writer,
    table: &'t str,
    first: u32,
    sequence: u32,
    /// Where the last message began.
    last: usize,
    sets: u32,
}

impl<'t> Batch<'t> {
    /// An empty one; its messages are numbered from `first` on.
    pub(crate) fn new(table: &'t str, first: u32) -> Self {
        let mut writer = Writer::default();
        let start = writer.begin(BEGIN, 0, first, 0, SUBSYSTEM);
        writer.end(start);
        Self { writer, table, first, sequence: first, last: 0, sets: 0 }
    }

    /// The bytes, and the numbers of the first message and of the last one, which is acknowledged.
    pub(crate) fn finish(mut self) -> (Vec<u8>, u32, u32) {
        let flags = self.last + 6;
        if self.last != 0
            && let Some(bytes) = self.writer.bytes.get_mut(flags..flags + 2)
        {
            let old = u16::from_ne_bytes([bytes[0], bytes[1]]);
            bytes.copy_from_slice(&(old | NLM_F_ACK).to_ne_bytes());
        }
        let start = self.writer.begin(END, 0, self.sequence + 1, 0, SUBSYSTEM);
        self.writer.end(start);
        (self.writer.bytes, self.first, self.sequence)
    }

    fn message(&mut self, message: u16, flags: u16, content: impl FnOnce(&mut Writer)) {
        self.sequence += 1;
        self.last = self.writer.begin(kind(message), flags, self.sequence, INET, 0);
        content(&mut self.writer);
        self.writer.end(self.last);
    }

    /// The table; one that is there stays.
    pub(crate) fn table(&mut self, comment: &str) {
        let table = self.table;
        self.message(message::NEWTABLE, NLM_F_CREATE, |writer| {
            writer.text(1, table);
            writer.number(2, 0);
            writer.attribute(6, &userdata(comment));
        });
    }

    /// Removes the table with all that is in it.
    pub(crate) fn delete_table(&mut self) {
        let table = self.table;
        self.message(message::DELTABLE, 0, |writer| writer.text(1, table));
    }

    /// A chain; one that is there stays. `hook`: its type, the hook's number and its priority, where it has one. Its
    /// policy is to accept.
    pub(crate) fn chain(&mut self, name: &str, hook: Option<(&str, u32, i32)>) {
        let table = self.table;
        self.message(message::NEWCHAIN, NLM_F_CREATE, |writer| {
            writer.text(1, table);
            writer.text(3, name);
            if let Some((kind, number, priority)) = hook {
                writer.nested(4, |writer| {
                    writer.number(1, number);
                    writer.number(2, priority.cast_unsigned());
                });
                writer.number(5, 1);
                writer.text(7, kind);
            }
        });
    }

    /// Removes all rules of a chain.
    pub(crate) fn flush_chain(&mut self, name: &str) {
        let table = self.table;
        self.message(message::DELRULE, 0, |writer| {
            writer.text(1, table);
            writer.text(2, name);
        });
    }

    /// A rule at the end of a chain.
    pub(crate) fn rule(&mut self, chain: &str, expressions: &[Expression]) {
        let table = self.table;
        // NLM_F_APPEND.
        self.message(message::NEWRULE, NLM_F_CREATE | 0x800, |writer| {
            writer.text(1, table);
            writer.text(2, chain);
            writer.nested(4, |writer| expressions.iter().for_each(|one| one.write(writer)));
        });
    }

    /// A set; one that is there stays.
    pub(crate) fn set(&mut self, set: &Set) {
        self.sets += 1;
        let (table, number) = (self.table, self.sets);
        self.message(message::NEWSET, NLM_F_CREATE, |writer| {
            writer.text(1, table);
            writer.text(2, set.name);
            writer.number(3, if set.data.is_some() { MAP } else { 0 });
            writer.number(4, set.key.0);
            writer.number(5, set.key.1);
            if let Some((kind, length)) = set.data {
                writer.number(6, kind);
                writer.number(7, length);
            }
            // Within a batch sets are told by a number too; the kernel insists on it.
            writer.number(10, number);
            if set.host_order {
                // NFTNL_UDATA_SET_KEYBYTEORDER, for nft(8) alone.
                let order = [&[0, 4][..], &1_u32.to_ne_bytes()].concat();
                writer.attribute(13, &order);
            }
        });
    }

    /// Adds elements; the same ones that are there stay, another one of a key is refused (EEXIST).
    pub(crate) fn add(&mut self, set: &str, elements: &[Element]) {
        self.elements(message::NEWSETELEM, NLM_F_CREATE, set, elements);
    }

    /// Removes elements by their keys; one that is not there is refused (ENOENT).
    pub(crate) fn remove(&mut self, set: &str, elements: &[Element]) {
        self.elements(message::DELSETELEM, 0, set, elements);
    }

    /// Removes all elements of a set.
    pub(crate) fn flush_set(&mut self, set: &str) {
        let table = self.table;
        self.message(message::DELSETELEM, 0, |writer| {
            writer.text(1, table);
            writer.text(2, set);
        });
    }

    fn elements(&mut self, message: u16, flags: u16, set: &str, elements: &[Element]) {
        let (table, whole) = (self.table, message == message::NEWSETELEM);
        for some in elements.chunks(ELEMENTS) {
            self.message(message, flags, |writer| {
                writer.text(1, table);
                writer.text(2, set);
                writer.nested(3, |writer| some.iter().for_each(|one| one.write(writer, whole)));
            });
        }
    }
}

impl Element {
    /// `whole`: with what belongs to the key.
    pub(super) fn write(&self, writer: &mut Writer, whole: bool) {
        writer.nested(1, |writer| {
            writer.nested(1, |writer| writer.attribute(1, &self.key));
            if let Some(data) = self.data.as_ref().filter(|_| whole) {
                writer.nested(2, |writer| writer.attribute(1, data));
            }
            if whole && !self.comment.is_empty() {
                writer.attribute(6, &userdata(&self.comment));
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_batch_is_framed_and_its_last_message_acknowledged() {
        let mut batch = Batch::new("t", 7);
        batch.table("c");
        batch.flush_set("s");
        let (bytes, first, last) = batch.finish();
        assert_eq!((first, last), (7, 9));
        let mut at = 0;
        let mut seen = Vec::new();
        while at < bytes.len() {
            let length = u32::from_ne_bytes(bytes[at..at + 4].try_into().unwrap()) as usize;
            let two = |at: usize| u16::from_ne_bytes(bytes[at..at + 2].try_into().unwrap());
            assert_eq!(length % 4, 0);
            seen.push((two(at + 4), two(at + 6) & NLM_F_ACK != 0, bytes[at + 8]));
            at += length;
        }
        let expected =
            [(BEGIN, false, 7), (0xa00, false, 8), (0xa0e, true, 9), (END, false, 10)].map(|one| one);
        assert_eq!(seen, expected);
    }

    #[test]
    fn many_elements_go_into_several_messages() {
        let element = Element { key: vec![0; 12], data: Some(vec![0; 8]), comment: "0".repeat(12) };
        let mut batch = Batch::new("table", 1);
        batch.add("map", &vec![element; 10_000]);
        let (_, first, last) = batch.finish();
        assert_eq!((last - first) as usize, 10_000_usize.div_ceil(ELEMENTS));
    }

    #[test]
    fn a_long_comment_is_cut() {
        assert_eq!(userdata("ab"), [0, 3, b'a', b'b', 0]);
        assert_eq!(userdata(&"x".repeat(400)).len(), 257);
    }
}
