//! Where the last N lines of a log begin, for who looks at its pieces from the end.

use memchr::memrchr_iter;

use crate::Stream;

/// A byte of the log: the number of its file, the place there of its frame or its line, the byte within that.
pub(crate) type Position = (u64, u64, usize);

/// Where to begin with each stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Start(pub(crate) [Position; 2]);

impl Start {
    /// Everything.
    pub(crate) const ALL: Self = Self([(0, 0, 0); 2]);

    pub(crate) fn first(self) -> (u64, u64) {
        let (number, place, _) = self.0[0].min(self.0[1]);
        (number, place)
    }
}

/// What was seen of a stream, backwards.
#[derive(Debug, Clone, Copy)]
enum Seen {
    /// Nothing yet.
    Nothing,
    /// The end of a line that is wanted; its beginning is looked for.
    Within,
    /// All of its lines that are wanted.
    All,
}

#[derive(Debug)]
pub(crate) struct Search {
    left: u64,
    seen: [Seen; 2],
    pub(crate) start: Start,
}

impl Search {
    /// Looks for so many lines, in a log that ends there.
    pub(crate) fn new(lines: u64, end: Position) -> Self {
        Self { left: lines, seen: [Seen::Nothing; 2], start: Start([end; 2]) }
    }

    pub(crate) fn is_over(&self, wants: impl Fn(Stream) -> bool) -> bool {
        let looks = |stream: Stream| wants(stream) && matches!(self.seen[stream.index()], Seen::Within);
        self.left == 0 && !looks(Stream::Stdout) && !looks(Stream::Stderr)
    }

    /// Looks through one frame of the stream, from its end.
    pub(crate) fn look(&mut self, stream: usize, (number, place): (u64, u64), bytes: &[u8]) {
        if matches!(self.seen[stream], Seen::Nothing) && bytes.last().is_some_and(|last| *last != b'\n') {
            self.take(stream);
        }
        for feed in memrchr_iter(b'\n', bytes) {
            if matches!(self.seen[stream], Seen::Within) {
                self.start.0[stream] = (number, place, feed + 1);
            }
            self.take(stream);
            if matches!(self.seen[stream], Seen::All) {
                return;
            }
        }
    }

    /// The end of a line.
    fn take(&mut self, stream: usize) {
        self.seen[stream] = match self.seen[stream] {
            Seen::Nothing | Seen::Within if self.left > 0 => {
                self.left -= 1;
                Seen::Within
            }
            _ => Seen::All,
        };
    }

    /// There is nothing before it.
    pub(crate) fn at_the_beginning(mut self) -> Start {
        for (seen, start) in self.seen.iter().zip(&mut self.start.0) {
            if matches!(seen, Seen::Within) {
                *start = (0, 0, 0);
            }
        }
        self.start
    }
}
