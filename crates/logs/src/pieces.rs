//! Where Docker cuts what comes from a pipe: at line feeds, and every 16 KiB of a longer line.

use crate::Stream;

/// The longest piece: the buffer of Docker's copier.
pub(crate) const LONGEST: usize = 16 * 1024;

/// A line, or a piece of one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Piece<'a> {
    pub(crate) stream: Stream,
    /// Without the line feed.
    pub(crate) bytes: &'a [u8],
    /// A line feed stood behind it.
    pub(crate) ends: bool,
    /// Which piece of its line it is, from 1 on; 0 for a whole line.
    pub(crate) ordinal: u32,
    /// When the line's first piece came.
    pub(crate) time: i64,
}

/// Cuts both streams. Holds no more than one unfinished piece of each.
#[derive(Debug, Default)]
pub(crate) struct Cutter {
    streams: [Unfinished; 2],
}

#[derive(Debug, Default)]
struct Unfinished {
    bytes: Vec<u8>,
    /// How many pieces of this line have gone, and when the first one came.
    pieces: u32,
    time: i64,
}

impl Cutter {
    /// Hands over what `bytes` make whole.
    pub(crate) fn cut(&mut self, stream: Stream, time: i64, bytes: &[u8], mut each: impl FnMut(Piece<'_>)) {
        let held = &mut self.streams[stream.index()];
        let mut rest = bytes;
        while !rest.is_empty() {
            let room = LONGEST - held.bytes.len();
            // A line feed right behind a full piece is that of an empty last piece.
            let within = &rest[..rest.len().min(room)];
            let (taken, ends, skipped) = match memchr::memchr(b'\n', within) {
                Some(end) => (end, true, 1),
                None if within.len() == room => (room, false, 0),
                None => {
                    held.bytes.extend_from_slice(within);
                    return;
                }
            };
            let piece = &rest[..taken];
            rest = &rest[taken + skipped..];
            held.emit(stream, time, piece, ends, &mut each);
        }
    }

    /// The stream has ended: what is left of it is a piece without a line feed.
    pub(crate) fn end(&mut self, stream: Stream, time: i64, mut each: impl FnMut(Piece<'_>)) {
        let held = &mut self.streams[stream.index()];
        if !held.bytes.is_empty() {
            held.emit(stream, time, &[], false, &mut each);
        }
        *held = Unfinished::default();
    }
}

impl Unfinished {
    fn emit(
        &mut self,
        stream: Stream,
        time: i64,
        piece: &[u8],
        ends: bool,
        each: &mut impl FnMut(Piece<'_>),
    ) {
        if self.pieces == 0 {
            self.time = time;
        }
        let ordinal = if ends && self.pieces == 0 { 0 } else { self.pieces.saturating_add(1) };
        let time = self.time;
        let held = !self.bytes.is_empty();
        if held {
            self.bytes.extend_from_slice(piece);
        }
        each(Piece { stream, bytes: if held { &self.bytes } else { piece }, ends, ordinal, time });
        self.bytes.clear();
        self.pieces = if ends { 0 } else { ordinal };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The pieces of both ways to give the same bytes.
    fn cut(bytes: &[u8], chunk: usize) -> Vec<(Vec<u8>, bool, u32)> {
        let mut cutter = Cutter::default();
        let mut all = Vec::new();
        let mut take = |piece: Piece<'_>| all.push((piece.bytes.to_vec(), piece.ends, piece.ordinal));
        for chunk in bytes.chunks(chunk) {
            cutter.cut(Stream::Stdout, 1, chunk, &mut take);
        }
        cutter.end(Stream::Stdout, 1, &mut take);
        all
    }

    #[test]
    fn lines_are_cut_where_docker_cuts_them() {
        let x = |size| vec![b'x'; size];
        let line = |size: usize| [x(size), vec![b'\n']].concat();
        for (bytes, expected) in [
            (
                b"a\n\nb".to_vec(),
                vec![(b"a".to_vec(), true, 0), (vec![], true, 0), (b"b".to_vec(), false, 1)],
            ),
            (line(LONGEST - 1), vec![(x(LONGEST - 1), true, 0)]),
            (line(LONGEST), vec![(x(LONGEST), false, 1), (vec![], true, 2)]),
            (line(LONGEST + 5), vec![(x(LONGEST), false, 1), (x(5), true, 2)]),
            (x(2 * LONGEST + 1), vec![(x(LONGEST), false, 1), (x(LONGEST), false, 2), (x(1), false, 3)]),
            (x(LONGEST), vec![(x(LONGEST), false, 1)]),
        ] {
            for chunk in [1, 7, 4096, LONGEST, LONGEST + 1, 65_536] {
                assert_eq!(cut(&bytes, chunk), expected, "{} bytes in chunks of {chunk}", bytes.len());
            }
        }
    }

    #[test]
    fn the_pieces_of_a_line_have_the_time_of_its_first() {
        let mut cutter = Cutter::default();
        let mut times = Vec::new();
        cutter.cut(Stream::Stderr, 1, &[b'x'; LONGEST], |piece| times.push(piece.time));
        cutter.cut(Stream::Stderr, 2, b"y\n", |piece| times.push(piece.time));
        cutter.cut(Stream::Stderr, 3, b"z\n", |piece| times.push(piece.time));
        assert_eq!(times, [1, 1, 3]);
    }
}
