//! A layer that is read and not written: is it one, and what are its digests?

use std::io::Read;

use step::Failure;

use super::apply::{Applied, Limits, tell};
use super::pipeline::{self, Trouble};
use super::reader::Entries;

/// Reads the layer that `source` gives (tar, plain or by gzip or zstd) to its end, and writes nothing. Of `compressed`
/// the digest of what `source` gave is wanted too. What only matters to a writer, as ways through links, is not looked
/// at.
///
/// # Errors
/// As [`super::apply`]'s, as far as they do not come from writing.
pub fn inspect(source: impl Read + Send, limits: &Limits, compressed: bool) -> Result<Applied, Failure> {
    let count = |stream: &mut pipeline::Stream| {
        let mut entries = Entries::new(stream);
        while entries.next()?.is_some() {
            if entries.count() > limits.entries {
                return Err(Trouble::refused(format!(
                    "the archive has more than {} entries",
                    limits.entries
                )));
            }
        }
        Ok(entries.count())
    };
    let (entries, totals) =
        pipeline::run(source, limits, compressed, count).map_err(|trouble| tell(trouble, None))?;
    let pipeline::Totals { diff_id, bytes, compressed, compressed_bytes } = totals;
    Ok(Applied { diff_id, bytes, entries, compressed, compressed_bytes, unknown_attributes: 0 })
}
