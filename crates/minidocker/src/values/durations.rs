//! Durations and moments as Docker's options and filters write them.

use std::time::{Duration, SystemTime};

use oci::time;

/// A moment: so long ago, a date with or without time and zone, or seconds since 1970. Without a zone it is the user's.
///
/// # Errors
/// What is wrong with it, and how to write it.
pub(crate) fn moment(text: &str) -> Result<SystemTime, String> {
    time::moment(text, SystemTime::now(), sys::clock::offset)
}

/// Go's durations: `1h30m`, `1.5s`, `300ms`; none where the text is none, or a negative one.
pub(crate) fn duration(text: &str) -> Option<Duration> {
    time::duration(text).and_then(|nanoseconds| u64::try_from(nanoseconds).ok()).map(Duration::from_nanos)
}
