//! nf_tables by netlink: a change is one batch, which the kernel takes as a whole or not at all; no program is started.
//!
//! Formats: linux/netfilter/{nfnetlink.h, nf_tables.h}; how a rule is made of expressions: `nft --debug=netlink`.

mod batch;
mod expression;
mod socket;

pub(crate) use batch::{Batch, Element, Set, Writer};
pub(crate) use expression::{Expression, Register};
pub(crate) use socket::{BaseChain, Message, Netfilter, Seen};

/// Messages, NFT_MSG_*.
mod message {
    pub(super) const NEWTABLE: u16 = 0;
    pub(super) const GETTABLE: u16 = 1;
    pub(super) const DELTABLE: u16 = 2;
    pub(super) const NEWCHAIN: u16 = 3;
    pub(super) const GETCHAIN: u16 = 4;
    pub(super) const NEWRULE: u16 = 6;
    pub(super) const GETRULE: u16 = 7;
    pub(super) const DELRULE: u16 = 8;
    pub(super) const NEWSET: u16 = 9;
    pub(super) const NEWSETELEM: u16 = 12;
    pub(super) const GETSETELEM: u16 = 13;
    pub(super) const DELSETELEM: u16 = 14;
}

/// NFNL_SUBSYS_NFTABLES: the upper byte of each message's type.
const SUBSYSTEM: u16 = 10;
/// NFPROTO_INET: IPv4 and IPv6 in one table.
const INET: u8 = 1;

const fn kind(message: u16) -> u16 {
    SUBSYSTEM << 8 | message
}
