//! A compiled filter, and its form on disk.

use sys::seccomp::{Flags, Instruction};

use crate::Error;

/// A compiled filter: instructions for seccomp(2), and the flags that the profile wants it installed with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Program {
    pub(crate) instructions: Vec<Instruction>,
    pub(crate) flags: Flags,
}

/// What the stored form begins with; the last byte is its version. Flags (u32) and the instructions follow, all in
/// the host's byte order.
const MAGIC: &[u8; 8] = b"mdseccp\x01";
const HEADER: usize = MAGIC.len() + size_of::<u32>();

impl Program {
    /// What [`sys::seccomp::install`] takes.
    pub fn instructions(&self) -> &[Instruction] {
        &self.instructions
    }

    /// The profile's flags, and NEW_LISTENER where a rule has SCMP_ACT_NOTIFY.
    pub fn flags(&self) -> Flags {
        self.flags
    }

    /// Whether installing it gives a listener, which must reach the profile's `listenerPath`.
    pub fn notifies(&self) -> bool {
        self.flags.contains(Flags::NEW_LISTENER)
    }

    /// For a cache on disk.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(HEADER + self.instructions.len() * size_of::<Instruction>());
        bytes.extend_from_slice(MAGIC);
        bytes.extend_from_slice(&self.flags.bits().to_ne_bytes());
        for instruction in &self.instructions {
            bytes.extend_from_slice(&instruction.code.to_ne_bytes());
            bytes.extend_from_slice(&[instruction.jt, instruction.jf]);
            bytes.extend_from_slice(&instruction.k.to_ne_bytes());
        }
        bytes
    }

    /// From [`Program::to_bytes`]. The kernel checks the instructions themselves when they are installed.
    ///
    /// # Errors
    /// [`Error::Stored`] for what is not of this version, cut short, or too long.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, Error> {
        let rest = bytes.strip_prefix(MAGIC).ok_or(Error::Stored("its first bytes are of another format"))?;
        let (flags, rest) = rest.split_first_chunk::<4>().ok_or(Error::Stored("it is cut short"))?;
        let flags = Flags::from_bits(u32::from_ne_bytes(*flags)).ok_or(Error::Stored("a flag is unknown"))?;
        let (chunks, cut) = rest.as_chunks::<8>();
        if chunks.is_empty() || !cut.is_empty() {
            return Err(Error::Stored("it is cut short"));
        }
        if chunks.len() > sys::seccomp::MAX_INSTRUCTIONS {
            return Err(Error::Stored("it is too long"));
        }
        let instructions = chunks
            .iter()
            .map(|&[c0, c1, jt, jf, k0, k1, k2, k3]| Instruction {
                code: u16::from_ne_bytes([c0, c1]),
                jt,
                jf,
                k: u32::from_ne_bytes([k0, k1, k2, k3]),
            })
            .collect();
        Ok(Self { instructions, flags })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn survives_the_disk_and_refuses_what_is_not_whole() {
        let program = Program {
            instructions: vec![
                Instruction { code: 0x15, jt: 1, jf: 2, k: 0xc000_003e },
                Instruction { code: 0x06, jt: 0, jf: 0, k: 0x7fff_0000 },
            ],
            flags: Flags::LOG | Flags::SPEC_ALLOW,
        };
        let bytes = program.to_bytes();
        assert_eq!(bytes.len(), 12 + 16);
        assert_eq!(Program::from_bytes(&bytes).unwrap(), program);
        for cut in 0..bytes.len() {
            // Only the cut between the two instructions leaves a whole (and shorter) program.
            assert_eq!(Program::from_bytes(&bytes[..cut]).is_ok(), cut == 20, "{cut}");
        }
        let mut other = bytes.clone();
        other[7] += 1;
        assert!(matches!(Program::from_bytes(&other), Err(Error::Stored(_))));
        let mut other = bytes.clone();
        other[11] = 0x80;
        assert!(matches!(Program::from_bytes(&other), Err(Error::Stored("a flag is unknown"))));
        let long = [&bytes[..12], &[0; 8 * 4097]].concat();
        assert!(matches!(Program::from_bytes(&long), Err(Error::Stored("it is too long"))));
    }
}
