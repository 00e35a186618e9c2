//! Expressions, of which rules are made: each loads into registers, compares, or does something.

use super::batch::Writer;

/// A register. The first four of 32 bits are one of 128 bits too, where a match of one value has it: [`Register::WHOLE`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Register(u32);

impl Register {
    /// NFT_REG_1: of 16 bytes.
    pub(crate) const WHOLE: Self = Self(1);

    /// NFT_REG32_nn: the nth four bytes.
    pub(crate) const fn part(n: u32) -> Self {
        Self(8 + n)
    }
}

/// One expression. What is compared, masked or loaded is in network byte order where the packet has it so.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Expression {
    /// NFT_META_*.
    Meta { key: u32, into: Register },
    /// NFT_CT_*.
    Ct { key: u32, into: Register },
    /// Bytes of the network header (base 1) or the transport header (base 2).
    Payload { base: u32, offset: u32, length: u32, into: Register },
    /// What the routing table says of the destination address: RTN_*.
    DestinationType { into: Register },
    /// `register & mask`.
    Mask { register: Register, mask: Vec<u8> },
    /// Goes on where it is equal, or where it is not.
    Compare { register: Register, equal: bool, to: Vec<u8> },
    /// Goes on where the set has it, or where it has not; of a map the data go into a register.
    Lookup { set: &'static str, from: Register, into: Option<Register>, absent: bool },
    /// Counts packets and bytes.
    Counter,
    /// NF_ACCEPT, NF_DROP.
    Verdict { code: u32 },
    /// NFT_JUMP.
    Jump { chain: &'static str },
    /// Destination address and port; `family`: NFPROTO_IPV4 or NFPROTO_IPV6.
    Dnat { family: u32, address: Register, port: Register },
    /// The source address is that of the link that it leaves by.
    Masquerade,
}

/// NFT_JUMP.
const JUMP: u32 = (-3_i32).cast_unsigned();

impl Expression {
    /// The kernel's name of its kind.
    fn name(&self) -> &'static str {
        match self {
            Self::Meta { .. } => "meta",
            Self::Ct { .. } => "ct",
            Self::Payload { .. } => "payload",
            Self::DestinationType { .. } => "fib",
            Self::Mask { .. } => "bitwise",
            Self::Compare { .. } => "cmp",
            Self::Lookup { .. } => "lookup",
            Self::Counter => "counter",
            Self::Verdict { .. } | Self::Jump { .. } => "immediate",
            Self::Dnat { .. } => "nat",
            Self::Masquerade => "masq",
        }
    }

    /// NFTA_LIST_ELEM with NFTA_EXPR_NAME and NFTA_EXPR_DATA.
    pub(super) fn write(&self, writer: &mut Writer) {
        writer.nested(1, |writer| {
            writer.text(1, self.name());
            writer.nested(2, |writer| self.data(writer));
        });
    }

    fn data(&self, writer: &mut Writer) {
        match self {
            Self::Meta { key, into } | Self::Ct { key, into } => {
                // NFTA_META_DREG and _KEY, NFTA_CT_DREG and _KEY.
                writer.number(1, into.0);
                writer.number(2, *key);
            }
            Self::Payload { base, offset, length, into } => {
                for (kind, value) in [(1, into.0), (2, *base), (3, *offset), (4, *length)] {
                    writer.number(kind, value);
                }
            }
            Self::DestinationType { into } => {
                // NFT_FIB_RESULT_ADDRTYPE, NFTA_FIB_F_DADDR.
                for (kind, value) in [(1, into.0), (2, 3), (3, 2)] {
                    writer.number(kind, value);
                }
            }
            Self::Mask { register, mask } => {
                for (kind, value) in [(1, register.0), (2, register.0), (3, mask.len() as u32)] {
                    writer.number(kind, value);
                }
                writer.nested(4, |writer| writer.attribute(1, mask));
                writer.nested(5, |writer| writer.attribute(1, &vec![0; mask.len()]));
            }
            Self::Compare { register, equal, to } => {
                writer.number(1, register.0);
                writer.number(2, u32::from(!*equal));
                writer.nested(3, |writer| writer.attribute(1, to));
            }
            Self::Lookup { set, from, into, absent } => {
                writer.text(1, set);
                writer.number(2, from.0);
                if let Some(into) = into {
                    writer.number(3, into.0);
                }
                if *absent {
                    writer.number(5, 1);
                }
            }
            Self::Counter | Self::Masquerade => {}
            Self::Verdict { code } => verdict(writer, *code, None),
            Self::Jump { chain } => verdict(writer, JUMP, Some(chain)),
            Self::Dnat { family, address, port } => {
                // NFT_NAT_DNAT, the family, the registers.
                for (kind, value) in [(1, 1), (2, *family), (3, address.0), (5, port.0)] {
                    writer.number(kind, value);
                }
            }
        }
    }
}

/// An immediate into NFT_REG_VERDICT.
fn verdict(writer: &mut Writer, code: u32, chain: Option<&str>) {
    writer.number(1, 0);
    writer.nested(2, |writer| {
        writer.nested(2, |writer| {
            writer.number(1, code);
            if let Some(chain) = chain {
                writer.text(2, chain);
            }
        });
    });
}
