//! One block of a tar archive, read and written: tar(5) of libarchive, POSIX.1-2001 pax "ustar Interchange Format",
//! and GNU tar's manual, "Basic Tar Format".

use super::sparse::Segment;

/// Bytes in a block.
pub(super) const BLOCK: usize = 512;

/// The block's fields, as far as anybody needs them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Header {
    pub(super) name: Vec<u8>,
    pub(super) mode: u32,
    pub(super) uid: u64,
    pub(super) gid: u64,
    pub(super) size: u64,
    pub(super) mtime: i64,
    /// The type, as the byte that it is.
    pub(super) kind: u8,
    pub(super) link: Vec<u8>,
    pub(super) major: u32,
    pub(super) minor: u32,
}

/// GNU's magic and version in one.
const GNU: &[u8] = b"ustar  \0";
/// POSIX's magic; the version follows.
const USTAR: &[u8] = b"ustar\0";

/// Up to the first NUL.
fn text(field: &[u8]) -> &[u8] {
    field.split(|byte| *byte == 0).next().unwrap_or_default()
}

/// A number: octal digits between blanks, or GNU's base 256 where the first bit is set (two's complement).
fn number(field: &[u8]) -> Option<i64> {
    let first = *field.first()?;
    if first & 0x80 != 0 {
        // Twelve bytes at most, the flag's bit being as the one after it: all of it fits into sixteen.
        let sign = if first & 0x40 != 0 { -1 } else { 0 };
        let head = i128::from(first & 0x7f) | sign << 7;
        let value = field[1..].iter().fold(head, |value, byte| value << 8 | i128::from(*byte));
        return i64::try_from(value).ok();
    }
    let trimmed = field.trim_ascii_start();
    let digits = trimmed.split(|byte| *byte == 0 || *byte == b' ').next().unwrap_or_default();
    let rest = &trimmed[digits.len()..];
    if rest.iter().any(|byte| *byte != 0 && *byte != b' ') && !digits.is_empty() {
        return None;
    }
    digits.iter().try_fold(0_i64, |value, digit| match digit {
        b'0'..=b'7' => value.checked_mul(8)?.checked_add(i64::from(digit - b'0')),
        _ => None,
    })
}

/// The sum of all bytes, the field of the sum itself counted as blanks; and the same of signed bytes, as some old
/// programs had it.
fn sums(block: &[u8; BLOCK]) -> (i64, i64) {
    let counted = |place: usize, byte: u8| if (148..156).contains(&place) { b' ' } else { byte };
    block.iter().enumerate().fold((0, 0), |(unsigned, signed), (place, byte)| {
        let byte = counted(place, *byte);
        (unsigned + i64::from(byte), signed + i64::from(byte as i8))
    })
}

impl Header {
    /// The fields of a block that is not all zeroes; or why it is none.
    pub(super) fn parse(block: &[u8; BLOCK]) -> Result<Self, &'static str> {
        let (unsigned, signed) = sums(block);
        if !number(&block[148..156]).is_some_and(|sum| sum == unsigned || sum == signed) {
            return Err("its header has a wrong checksum: this is no tar archive, or a damaged one");
        }
        let positive = |from: usize, to: usize, what| {
            number(&block[from..to]).and_then(|n| u64::try_from(n).ok()).ok_or(what)
        };
        let magic = &block[257..265];
        let (is_gnu, is_ustar) = (magic == GNU, magic.starts_with(USTAR));
        let (major, minor) = if is_gnu || is_ustar {
            (
                positive(329, 337, "its device number is no number")?,
                positive(337, 345, "its device number is no number")?,
            )
        } else {
            (0, 0)
        };
        let mut name = text(&block[..100]).to_vec();
        if is_ustar && block[345] != 0 {
            name = [text(&block[345..500]), b"/", &name].concat();
        }
        let device = |number| u32::try_from(number).map_err(|_| "its device number is too large");
        Ok(Self {
            name,
            mode: (positive(100, 108, "its mode is no number")? & 0o7777) as u32,
            uid: positive(108, 116, "its owner is no number")?,
            gid: positive(116, 124, "its group is no number")?,
            size: positive(124, 136, "its size is no number")?,
            mtime: number(&block[136..148]).ok_or("its time is no number")?,
            kind: block[156],
            link: text(&block[157..257]).to_vec(),
            major: device(major)?,
            minor: device(minor)?,
        })
    }

    /// The block, or none if a field does not fit and needs a record of pax.
    pub(super) fn write(&self) -> Option<[u8; BLOCK]> {
        let mut block = [0; BLOCK];
        let (prefix, name) = split_name(&self.name)?;
        block[..name.len()].copy_from_slice(name);
        block[345..345 + prefix.len()].copy_from_slice(prefix);
        if self.link.len() > 100 {
            return None;
        }
        block[157..157 + self.link.len()].copy_from_slice(&self.link);
        octal(&mut block[100..108], u64::from(self.mode))?;
        octal(&mut block[108..116], self.uid)?;
        octal(&mut block[116..124], self.gid)?;
        octal(&mut block[124..136], self.size)?;
        octal(&mut block[136..148], u64::try_from(self.mtime).ok()?)?;
        block[156] = self.kind;
        block[257..265].copy_from_slice(b"ustar\x0000");
        octal(&mut block[329..337], u64::from(self.major))?;
        octal(&mut block[337..345], u64::from(self.minor))?;
        let (sum, _) = sums(&block);
        block[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
        Some(block)
    }
}

/// Digits with zeroes before them and a NUL after them.
fn octal(field: &mut [u8], value: u64) -> Option<()> {
    let width = field.len() - 1;
    let digits = format!("{value:0width$o}");
    (digits.len() == width).then(|| field[..width].copy_from_slice(digits.as_bytes()))
}

/// A name as prefix and name of a header, if it fits: 155 bytes, a slash, 100 bytes.
fn split_name(name: &[u8]) -> Option<(&[u8], &[u8])> {
    if name.len() <= 100 {
        return Some((b"", name));
    }
    // The slash at the end of a directory's name is no place to cut.
    let from = name.len().saturating_sub(101);
    let at = (from..name.len().saturating_sub(1)).find(|at| name[*at] == b'/')?;
    (at <= 155 && at > 0).then(|| (&name[..at], &name[at + 1..]))
}

/// GNU's sparse map in a block: `count` pairs from `at` on, up to the first that is all zeroes or blank.
pub(super) fn gnu_segments(
    block: &[u8; BLOCK],
    at: usize,
    count: usize,
    into: &mut Vec<Segment>,
) -> Result<(), &'static str> {
    let wrong = "its sparse map is no list of numbers";
    for pair in block[at..at + count * 24].chunks_exact(24) {
        if pair[0] == 0 {
            break;
        }
        let field = |from, to| number(&pair[from..to]).and_then(|n| u64::try_from(n).ok()).ok_or(wrong);
        into.push(Segment { offset: field(0, 12)?, length: field(12, 24)? });
    }
    Ok(())
}

/// The full size of a sparse file in GNU's header, and whether a further block of the map follows.
pub(super) fn gnu_sparse(block: &[u8; BLOCK]) -> Result<(u64, bool), &'static str> {
    let size = number(&block[483..495]).and_then(|n| u64::try_from(n).ok());
    Ok((size.ok_or("its full size is no number")?, block[482] != 0))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header() -> Header {
        Header {
            name: b"usr/bin/tool".to_vec(),
            mode: 0o4755,
            uid: 1000,
            gid: 0o7777777,
            size: 0o77777777777,
            mtime: 1_700_000_000,
            kind: b'0',
            link: Vec::new(),
            major: 7,
            minor: 0o7777777,
        }
    }

    #[test]
    fn reads_what_it_writes() {
        let header = header();
        assert_eq!(Header::parse(&header.write().unwrap()).unwrap(), header);
        let long = Header { name: [vec![b'd'; 150], b"/".to_vec(), vec![b'f'; 100]].concat(), ..header };
        assert_eq!(Header::parse(&long.write().unwrap()).unwrap(), long);
        let directory =
            Header { name: [vec![b'd'; 90], b"/".to_vec(), vec![b'f'; 99], b"/".to_vec()].concat(), ..long };
        assert_eq!(Header::parse(&directory.write().unwrap()).unwrap(), directory);
    }

    #[test]
    fn says_what_does_not_fit() {
        let header = header();
        for header in [
            Header { name: vec![b'n'; 101], ..header.clone() },
            Header { link: vec![b'n'; 101], ..header.clone() },
            Header { uid: 0o10000000, ..header.clone() },
            Header { size: 0o100000000000, ..header.clone() },
            Header { mtime: -1, ..header.clone() },
            Header { minor: 0o10000000, ..header },
        ] {
            assert_eq!(header.write(), None, "{header:?}");
        }
    }

    #[test]
    fn reads_the_numbers_of_others() {
        assert_eq!(number(b"0000755\0"), Some(0o755));
        assert_eq!(number(b"   755 \0"), Some(0o755));
        assert_eq!(number(b"\0\0\0\0\0\0\0\0"), Some(0));
        assert_eq!(number(b"        "), Some(0));
        assert_eq!(number(b"12345678"), None);
        assert_eq!(number(b"-1     \0"), None);
        assert_eq!(number(b"7 7    \0"), None);
        assert_eq!(number(b"\x80\0\0\0\0\x20\0\0"), Some(0x200000));
        assert_eq!(number(b"\xff\xff\xff\xff\xff\xff\xff\xfe"), Some(-2));
        assert_eq!(number(b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\x85"), Some(-123));
        assert_eq!(number(b"\x80\0\0\0\x7f\xff\xff\xff\xff\xff\xff\xff"), Some(i64::MAX));
        assert_eq!(number(b"\x80\0\0\x01\0\0\0\0\0\0\0\0"), None);
        assert_eq!(number(b"\x80\0\0\0\x80\0\0\0\0\0\0\0"), None);
    }
}
