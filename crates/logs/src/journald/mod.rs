//! systemd's journal: lines go to it as datagrams of its native protocol, and come back by journalctl(1).

mod read;
mod write;

pub(crate) use read::Reader;
pub(crate) use write::Writer;
