//! Where the last N lines of a local log begin: found from the end, reading no more than they are.

use std::collections::BTreeMap;
use std::io;
use std::path::Path;

use super::files::Form;
use super::frame::HEAD;
use super::source::Source;
use crate::Stream;
use crate::tail::{Search, Start};

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
        let search = search.get_or_insert_with(|| Search::new(lines, (*number, end, 0)));
        loop {
            if search.is_over(&wants) {
                return Ok(search.start);
            }
            let Some((place, frame)) = source.before(end)? else {
                // At the beginning, or behind something that is damaged.
                let sound = if end > HEAD as u64 { source.first_end()? } else { end };
                if sound >= end {
                    break;
                }
                end = sound;
                continue;
            };
            if let Some(stream) = frame.kind.stream().filter(|stream| wants(*stream)) {
                search.look(stream.index(), (*number, place), frame.bytes);
            }
            end = place;
        }
    }
    Ok(search.map_or(Start::ALL, Search::at_the_beginning))
}
