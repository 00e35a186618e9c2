//! Archives that are packed as no layer is: xz and bzip2 (both by tukaani.org's and sourceware.org's formats). Docker reads
//! them wherever it reads an archive of files.

use std::io::{self, BufRead, Read};

use bzip2::bufread::MultiBzDecoder;
use lzma_rust2::XzReader;

/// KiB that an xz stream may ask for: `xz -9` asks for 65 MiB, and a header alone could ask for 4 GiB.
const MEMORY: u32 = 256 << 10;

/// How an archive is packed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Foreign {
    /// xz, any number of streams.
    Xz,
    /// bzip2, any number of streams.
    Bzip2,
}

impl Foreign {
    /// By the first bytes, six of them at least.
    pub fn of(begin: &[u8]) -> Option<Self> {
        match begin {
            [0xfd, b'7', b'z', b'X', b'Z', 0, ..] => Some(Self::Xz),
            [b'B', b'Z', b'h', b'1'..=b'9', ..] => Some(Self::Bzip2),
            _ => None,
        }
    }

    /// `xz`, `bzip2`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Xz => "xz",
            Self::Bzip2 => "bzip2",
        }
    }

    /// What `reader` has in it. How much that may be is the caller's to watch.
    pub fn unpack<R: BufRead>(self, reader: R) -> Unpacked<R> {
        match self {
            Self::Xz => Unpacked(Inner::Xz(Box::new(XzReader::new_mem_limit(reader, true, MEMORY)))),
            Self::Bzip2 => Unpacked(Inner::Bzip2(Box::new(MultiBzDecoder::new(reader)))),
        }
    }
}

/// What comes out. A stream that ends early is `UnexpectedEof`.
pub struct Unpacked<R: BufRead>(Inner<R>);

enum Inner<R: BufRead> {
    Xz(Box<XzReader<R>>),
    Bzip2(Box<MultiBzDecoder<R>>),
}

impl<R: BufRead> Read for Unpacked<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match &mut self.0 {
            Inner::Xz(reader) => reader.read(buffer),
            Inner::Bzip2(reader) => reader.read(buffer),
        }
    }
}
