//! What a content is, by its first bytes: names and media types lie.

use oci::Compression;
use storage::layer::Foreign;

/// So many bytes tell it: the header of a tar archive's first entry.
pub(crate) const BEGIN: usize = 512;

/// A kind of content.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Sort {
    /// A tar archive, plain or compressed: what a layer is.
    Layer(Compression),
    /// What may be a text in JSON.
    Text,
    /// Compressed by what no layer is compressed by.
    Foreign(Foreign),
    /// Something else.
    Other,
}

/// What begins with these bytes.
pub(crate) fn sort(begin: &[u8]) -> Sort {
    match begin {
        [0x1f, 0x8b, ..] => Sort::Layer(Compression::Gzip),
        [0x28, 0xb5, 0x2f, 0xfd, ..] | [0x50..=0x5f, 0x2a, 0x4d, 0x18, ..] => Sort::Layer(Compression::Zstd),
        _ if is_tar(begin) => Sort::Layer(Compression::None),
        _ => match (Foreign::of(begin), begin.trim_ascii_start()) {
            (Some(foreign), _) => Sort::Foreign(foreign),
            (None, [b'{' | b'[', ..]) => Sort::Text,
            _ => Sort::Other,
        },
    }
}

/// A header of an entry has `ustar` in it, but in archives of before 1988; and an empty archive is blocks of zeroes.
fn is_tar(begin: &[u8]) -> bool {
    begin.get(257..262) == Some(b"ustar") || begin.len() == BEGIN && begin.iter().all(|byte| *byte == 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn contents_tell_what_they_are() {
        let mut header = vec![b'x'; 512];
        header[257..262].copy_from_slice(b"ustar");
        for (begin, expected) in [
            (&b"\x1f\x8b\x08"[..], Sort::Layer(Compression::Gzip)),
            (b"\x28\xb5\x2f\xfd\x00", Sort::Layer(Compression::Zstd)),
            (&header, Sort::Layer(Compression::None)),
            (&[0; 512], Sort::Layer(Compression::None)),
            (&[0; 100], Sort::Other),
            (b" \n[{}]", Sort::Text),
            (b"{", Sort::Text),
            (b"BZh9", Sort::Foreign(Foreign::Bzip2)),
            (b"\xfd7zXZ\0", Sort::Foreign(Foreign::Xz)),
            (b"Directory Transport Version: 1.1\n", Sort::Other),
            (b"", Sort::Other),
        ] {
            assert_eq!(sort(begin), expected, "{begin:?}");
        }
    }
}
