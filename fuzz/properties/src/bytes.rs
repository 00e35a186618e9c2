//! Random bytes as decisions: what a target that builds its input itself reads from.

/// The bytes that are left. At their end every answer is the first one: zero, no, the first of a list.
pub(crate) struct Bytes<'b>(pub(crate) &'b [u8]);

impl Bytes<'_> {
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(crate) fn byte(&mut self) -> u8 {
        match self.0 {
            [first, rest @ ..] => {
                self.0 = rest;
                *first
            }
            [] => 0,
        }
    }

    pub(crate) fn yes(&mut self) -> bool {
        self.byte() & 1 == 1
    }

    /// Less than `end`, which is not zero.
    pub(crate) fn below(&mut self, end: usize) -> usize {
        let number = if end > 256 {
            usize::from(u16::from_le_bytes([self.byte(), self.byte()]))
        } else {
            usize::from(self.byte())
        };
        number % end
    }

    pub(crate) fn pick<T: Copy>(&mut self, of: &[T]) -> T {
        of[self.below(of.len())]
    }

    pub(crate) fn word(&mut self) -> u64 {
        u64::from_le_bytes(std::array::from_fn(|_| self.byte()))
    }

    /// A number, rather one at an edge than any.
    pub(crate) fn number(&mut self) -> u64 {
        const EDGES: [u64; 14] = [
            0,
            1,
            2,
            38,
            0xff,
            0xffff,
            0x7fff_ffff,
            0x8000_0000,
            0xffff_ffff,
            0x1_0000_0000,
            0x1_0000_0028,
            0xffff_ffff_0000_0000,
            i64::MAX as u64,
            u64::MAX,
        ];
        match self.byte() {
            kind @ 0..14 => EDGES[usize::from(kind)],
            14..128 => u64::from(self.byte()),
            128..160 => 1 << (self.byte() % 64),
            160..200 => self.word() & 0xffff_ffff,
            _ => self.word(),
        }
    }
}
