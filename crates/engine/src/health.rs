//! Health: is what runs in a container well? Its monitor asks, again and again, and keeps the answers.
//!
//! - `rules`: what an answer makes of what was known, and when to ask again: Docker's, pure.
//! - `talk`: a question by TCP or HTTP in the container's network namespace. No process is started for it.
//! - `command`: a question by a program in the container.
//! - `watch`: the monitor's part: one question at a time, none of them waited for.
//!
//! ```text
//! Watch::turn   due, nothing runs  → begin: Talk or Command     (a paused container is left alone)
//!               what runs is ready → its Verdict
//!               due, it still runs → killed; "exceeded timeout"
//!               Verdict → Rules::judge → health.json, an event where the status changes, a word to who asked
//! ```
//! [Decision 0021](../../../docs/decisions/0021-health.md).

mod command;
mod rules;
mod talk;
mod watch;

pub(crate) use watch::{Told, Watch};
