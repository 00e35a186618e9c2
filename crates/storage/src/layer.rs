//! Layers of images: tar streams, and the directories that they become.
//!
//! [`apply`] writes a stream into a directory, [`archive`] makes a stream of one. Both ends are our own: the parser,
//! because what a hostile header may cost must be bounded before it is read, and because holes, times before 1970 and
//! attributes with line feeds must survive; the writer, because no name of an archive may ever be resolved by more
//! than one component at a time (openat2(2), RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS).
//!
//! [`inspect`] reads a stream to its end and writes nothing; [`Members`] and [`MembersWriter`] are for archives that have
//! layers in them.
//!
//! Formats: tar in the manners of v7, ustar, pax (POSIX.1-2001) and GNU; what Go's archive/tar reads, since that is
//! what all engines read layers with. Compression: none, gzip (RFC 1952, any number of members), zstd (RFC 8878); read only:
//! xz and bzip2.

mod apply;
mod archive;
mod compress;
mod foreign;
mod framing;
mod header;
mod inspect;
mod members;
mod metadata;
mod pax;
mod pipeline;
mod reader;
mod sparse;
mod tree;

#[cfg(test)]
mod hostile_tests;
#[cfg(test)]
mod round_trip_tests;
#[cfg(test)]
pub(crate) mod trial;

pub use apply::{Applied, Devices, Limits, Onto, Options, apply};
pub use archive::{
    Archived, Compression, Kind, Owners, Part, Settings, archive, archive_part, archive_tapped, compress,
};
pub use compress::Tap;
pub use foreign::{Foreign, Unpacked};
pub use inspect::inspect;
pub use members::{Member, MemberKind, Members, MembersWriter};

/// Where the name of a file that hides another begins: OCI image specification, layer.md, "Whiteouts".
const WHITEOUT: &[u8] = b".wh.";
/// The name that hides all that a directory has in lower layers.
const OPAQUE: &[u8] = b".wh..wh..opq";
/// What AUFS kept for itself in layers that it made; other engines pass over it.
const AUFS: &[u8] = b".wh..wh.";

/// A name as messages show it: control characters escaped, for it comes from outside and goes to terminals.
pub fn shown(name: &[u8]) -> String {
    let text = String::from_utf8_lossy(name);
    let mut shown: String = text
        .chars()
        .take(512)
        .flat_map(|c| if c.is_control() { c.escape_default().collect() } else { vec![c] })
        .collect();
    if text.chars().nth(512).is_some() {
        shown.push('…');
    }
    shown
}
