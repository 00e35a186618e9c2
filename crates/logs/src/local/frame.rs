//! The format of local files.
//!
//! ```text
//! file   magic, 8 bytes, the last one its version │ seed u32 │ zero u32 │ frames
//! frame  length u32 │ kind u8 │ time i64 │ bytes │ check u32 │ length u32
//! ```
//!
//! All numbers are little-endian; `length` is that of the bytes, `time` is in nanoseconds since 1970. `check` is the CRC-32
//! of seed, the frame's place in the file (u64), its first 13 bytes and its bytes. The seed is random: nobody can print
//! something that, cut at the right place, would be taken for a frame. The length at the end is for reading backwards.

use flate2::Crc;

/// The first bytes of a file; the last of them is the format's number.
pub(crate) const MAGIC: [u8; 8] = *b"\x89mdlog\n\x01";
/// Bytes of a file before its frames.
pub(crate) const HEAD: usize = 16;
/// Bytes of a frame before its payload.
pub(crate) const BEFORE: usize = 13;
/// Bytes of a frame after its payload.
pub(crate) const AFTER: usize = 8;
/// What a frame adds to its payload.
pub(crate) const OVERHEAD: usize = BEFORE + AFTER;
/// The longest payload of a frame; what is longer is no frame.
pub(crate) const LONGEST: usize = 256 * 1024;

/// What a frame holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Stdout,
    Stderr,
    /// A line on what was lost.
    Loss,
    /// A JSON object that belongs to all that follows in the file.
    Attributes,
    /// Of a later version: skipped.
    Other,
}

impl Kind {
    fn number(self) -> u8 {
        match self {
            Self::Other => 0,
            Self::Stdout => 1,
            Self::Stderr => 2,
            Self::Loss => 3,
            Self::Attributes => 4,
        }
    }

    fn of(number: u8) -> Self {
        match number {
            1 => Self::Stdout,
            2 => Self::Stderr,
            3 => Self::Loss,
            4 => Self::Attributes,
            _ => Self::Other,
        }
    }

    /// Where it is printed.
    pub(crate) fn stream(self) -> Option<crate::Stream> {
        match self {
            Self::Stdout => Some(crate::Stream::Stdout),
            Self::Stderr | Self::Loss => Some(crate::Stream::Stderr),
            Self::Attributes | Self::Other => None,
        }
    }
}

/// A whole frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Frame<'a> {
    pub(crate) kind: Kind,
    pub(crate) time: i64,
    pub(crate) bytes: &'a [u8],
}

impl Frame<'_> {
    /// Bytes in the file.
    pub(crate) fn size(&self) -> usize {
        self.bytes.len() + OVERHEAD
    }
}

/// What the next bytes are.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Parsed<'a> {
    Whole(Frame<'a>),
    /// The beginning of a frame: so many bytes are needed to tell.
    Short(usize),
    Broken,
}

/// The head of a file.
pub(crate) fn head(seed: u32) -> [u8; HEAD] {
    let mut head = [0; HEAD];
    head[..8].copy_from_slice(&MAGIC);
    head[8..12].copy_from_slice(&seed.to_le_bytes());
    head
}

/// The seed of a file that begins like this; none where it is no such file.
pub(crate) fn seed(head: &[u8]) -> Option<u32> {
    (head.get(..8)? == MAGIC).then_some(())?;
    number(head, 8)
}

/// What stands before and after `bytes` in the frame at `place`. The bytes must not be longer than [`LONGEST`].
pub(crate) fn around(
    seed: u32,
    place: u64,
    kind: Kind,
    time: i64,
    bytes: &[u8],
) -> ([u8; BEFORE], [u8; AFTER]) {
    let length = (bytes.len() as u32).to_le_bytes();
    let mut before = [0; BEFORE];
    before[..4].copy_from_slice(&length);
    before[4] = kind.number();
    before[5..].copy_from_slice(&time.to_le_bytes());
    let mut after = [0; AFTER];
    after[..4].copy_from_slice(&check(seed, place, &before, bytes).to_le_bytes());
    after[4..].copy_from_slice(&length);
    (before, after)
}

fn check(seed: u32, place: u64, before: &[u8], bytes: &[u8]) -> u32 {
    let mut first = [0; 12 + BEFORE];
    first[..4].copy_from_slice(&seed.to_le_bytes());
    first[4..12].copy_from_slice(&place.to_le_bytes());
    first[12..].copy_from_slice(before);
    let mut crc = Crc::new();
    crc.update(&first);
    crc.update(bytes);
    crc.sum()
}

/// Reads the frame at `place`, of which `bytes` are the bytes from there on.
pub(crate) fn parse(seed: u32, place: u64, bytes: &[u8]) -> Parsed<'_> {
    let Some(length) = number(bytes, 0) else { return Parsed::Short(BEFORE) };
    let length = length as usize;
    if length > LONGEST {
        return Parsed::Broken;
    }
    let size = length + OVERHEAD;
    let Some(whole) = bytes.get(..size) else { return Parsed::Short(size) };
    let (before, rest) = whole.split_at(BEFORE);
    let (payload, after) = rest.split_at(length);
    let sum = check(seed, place, before, payload);
    if number(after, 0) != Some(sum) || after[4..] != before[..4] {
        return Parsed::Broken;
    }
    let time = before[5..].try_into().map_or(0, i64::from_le_bytes);
    Parsed::Whole(Frame { kind: Kind::of(before[4]), time, bytes: payload })
}

/// The size of the frame that ends where `bytes` end, by its last word; none where no frame ends so.
pub(crate) fn last_size(bytes: &[u8]) -> Option<usize> {
    let length = number(bytes, bytes.len().checked_sub(4)?)? as usize;
    (length <= LONGEST).then_some(length + OVERHEAD)
}

pub(crate) fn number(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_le_bytes(bytes.get(at..at + 4)?.try_into().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(seed: u32, place: u64, kind: Kind, time: i64, bytes: &[u8]) -> Vec<u8> {
        let (before, after) = around(seed, place, kind, time, bytes);
        [&before[..], bytes, &after].concat()
    }

    #[test]
    fn a_frame_is_read_as_it_was_written() {
        for payload in [&b""[..], b"a", b"line\n", &[0; LONGEST]] {
            let written = frame(7, 16, Kind::Stderr, -5, payload);
            let whole = Frame { kind: Kind::Stderr, time: -5, bytes: payload };
            assert_eq!(parse(7, 16, &written), Parsed::Whole(whole));
            assert_eq!(last_size(&written), Some(written.len()));
            assert_eq!(whole.size(), written.len());
        }
    }

    #[test]
    fn a_torn_or_changed_frame_is_none() {
        let written = frame(7, 16, Kind::Stdout, 1, b"hello\n");
        for cut in 0..written.len() {
            assert!(matches!(parse(7, 16, &written[..cut]), Parsed::Short(needed) if needed > cut), "{cut}");
        }
        for at in 0..written.len() {
            for bit in 0..8 {
                let mut changed = written.clone();
                changed[at] ^= 1 << bit;
                assert!(!matches!(parse(7, 16, &changed), Parsed::Whole(_)), "byte {at}, bit {bit}");
            }
        }
        assert_eq!(parse(7, 17, &written), Parsed::Broken);
        assert_eq!(parse(8, 16, &written), Parsed::Broken);
    }

    #[test]
    fn heads_name_their_seed_and_format() {
        assert_eq!(seed(&head(9)), Some(9));
        assert_eq!(seed(&head(9)[..11]), None);
        let mut later = head(9);
        later[7] = 2;
        assert_eq!(seed(&later), None);
    }
}
