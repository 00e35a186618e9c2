//! `events`: what happened to containers and images, and what happens.

use std::time::{SystemTime, UNIX_EPOCH};

use crate::events::Follower;
pub use crate::events::{Event, Of};
use crate::{Error, Settings};

/// Which events are wanted.
#[derive(Debug, Clone, Copy, Default)]
pub struct Span {
    /// From then on; none: from now on.
    pub since: Option<SystemTime>,
    /// Up to then, which may be to come; none: without end.
    pub until: Option<SystemTime>,
}

const SECOND: u64 = 1_000_000_000;

/// Gives every event to `each`, until that is content (false) or the time is over.
pub fn events(settings: &Settings, span: Span, each: &mut dyn FnMut(Event) -> bool) -> Result<(), Error> {
    let nanos = |time: SystemTime| time.duration_since(UNIX_EPOCH).map_or(0, |past| past.as_nanos() as u64);
    let (since, until) = (span.since.map_or(0, nanos), span.until.map_or(u64::MAX, nanos));
    // Without a beginning but with an end in the past there is nothing to tell, as in Docker.
    let mut follower = Follower::new(settings, span.since.is_some())?;
    while let Some(event) = follower.next(span.until)? {
        // Two that happen at once may stand in either order; not for so long.
        if event.at > until.saturating_add(SECOND) {
            break;
        }
        if (since..=until).contains(&event.at) && !each(event) {
            break;
        }
    }
    Ok(())
}
