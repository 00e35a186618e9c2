//! An entry's header as bytes: one block where ustar has room for it, with records of pax before it where not.

use super::header::{BLOCK, Header};
use super::pax::Records;

/// A number of a header.
type Field = fn(&mut Header) -> &mut u64;

/// The header, before it one with records if there are any or ustar has no room. None if it does not fit in any form.
pub(super) fn encode(mut header: Header, mut records: Records) -> Option<Vec<u8>> {
    let fits = |header: &Header| header.write().is_some();
    let plain =
        Header { name: b"x".to_vec(), link: Vec::new(), uid: 0, gid: 0, size: 0, mtime: 0, ..header.clone() };
    if !fits(&Header { name: header.name.clone(), ..plain.clone() }) {
        records.add(b"path", &header.name);
        header.name = short(&header.name);
    }
    if !fits(&Header { link: header.link.clone(), ..plain.clone() }) {
        records.add(b"linkpath", &header.link);
        header.link = short(&header.link);
    }
    let numbers: [(&[u8], u64, Field); 3] = [
        (b"uid", header.uid, |header| &mut header.uid),
        (b"gid", header.gid, |header| &mut header.gid),
        (b"size", header.size, |header| &mut header.size),
    ];
    for (key, value, field) in numbers {
        let mut trial = plain.clone();
        *field(&mut trial) = value;
        if !fits(&trial) {
            records.add(key, value.to_string());
            *field(&mut header) = 0;
        }
    }
    if !fits(&Header { mtime: header.mtime, ..plain }) {
        if records.get(b"mtime").is_none() {
            records.add(b"mtime", header.mtime.to_string());
        }
        header.mtime = 0;
    }
    let mut bytes = Vec::new();
    if !records.0.is_empty() {
        records.0.sort();
        let text = records.write();
        let mut extended = [b"PaxHeaders.0/", last(&header.name)].concat();
        extended.truncate(100);
        let header = Header {
            name: extended,
            mode: 0o644,
            uid: 0,
            gid: 0,
            size: text.len() as u64,
            mtime: 0,
            kind: b'x',
            link: Vec::new(),
            major: 0,
            minor: 0,
        };
        bytes.extend_from_slice(&header.write()?);
        bytes.extend_from_slice(&text);
        bytes.resize(bytes.len().next_multiple_of(BLOCK), 0);
    }
    bytes.extend_from_slice(&header.write()?);
    Some(bytes)
}

/// For programs that do not know pax: as much of a name's end as fits.
fn short(name: &[u8]) -> Vec<u8> {
    let mut last = last(name).to_vec();
    last.truncate(99);
    if name.ends_with(b"/") {
        last.push(b'/');
    }
    last
}

/// The last component.
pub(super) fn last(name: &[u8]) -> &[u8] {
    let name = name.strip_suffix(b"/").unwrap_or(name);
    name.rsplit(|byte| *byte == b'/').next().unwrap_or(name)
}
