//! Where the last N lines of a local log begin: found from the end, reading no more than they are.

use std::collections::BTreeMap;
use std::io;
use std::path::Path;

use memchr::memrchr_iter;

use super::files::Form;
use super::source::Source;
use crate::Stream;

/// A byte of the log: the number of its file, its frame's place there, the byte within that.
pub(super) type Position = (u64, u64, usize);

/// Where to begin with each stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Start(pub(super) [Position; 2]);

impl Start {
    /// Everything.
    pub(super) const ALL: Self = Self([(0, 0, 0); 2]);

    pub(super) fn first(self) -> (u64, u64) {
        let (number, place, _) = self.0[0].min(self.0[1]);
        (number, place)
    }
}

/// What was seen of a stream, backwards.
#[derive(Clone, Copy)]
enum Seen {
    /// Nothing yet.
    Nothing,
    /// The end of a line that is wanted; its beginning is looked for.
    Within,
    /// All of its lines that are wanted.
    All,
}

struct Search {
    left: u64,
    seen: [Seen; 2],
    start: Start,
}

/// The beginning of the last `lines` lines of the streams that `wants` takes. A line belongs where it ends.
pub(super) fn start(
    dir: &Path,
    files: &BTreeMap<u64, Form>,
    lines: u64,
    wants: impl Fn(Stream) -> bool,
) -> io::Result<Start> {
    let mut search: Option<Search> = None;
    for number in files.keys().rev() {
        let Some(mut source) = Source::open(dir, *number)? else { continue };
        let mut end = source.end()?;
        let search = search.get_or_insert(Search {
            left: lines,
            seen: [Seen::Nothing; 2],
            start: Start([(*number, end, 0); 2]),
        });
        loop {
            if search.is_over(&wants) {
                return Ok(search.start);
            }
            let Some((place, frame)) = source.before(end)? else { break };
            if let Some(stream) = frame.kind.stream().filter(|stream| wants(*stream)) {
                search.look(stream.index(), (*number, place), frame.bytes);
            }
            end = place;
        }
    }
    Ok(search.map_or(Start::ALL, Search::at_the_beginning))
}

impl Search {
    fn is_over(&self, wants: &impl Fn(Stream) -> bool) -> bool {
        let looks = |stream: Stream| wants(stream) && matches!(self.seen[stream.index()], Seen::Within);
        self.left == 0 && !looks(Stream::Stdout) && !looks(Stream::Stderr)
    }

    /// Looks through one frame of the stream, from its end.
    fn look(&mut self, stream: usize, (number, place): (u64, u64), bytes: &[u8]) {
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
    fn at_the_beginning(mut self) -> Start {
        for (seen, start) in self.seen.iter().zip(&mut self.start.0) {
            if matches!(seen, Seen::Within) {
                *start = (0, 0, 0);
            }
        }
        self.start
    }
}
