//! Sentences on all environments of which they are true: of the host and its disk.

use super::{Explanation, Figure, Of, listed, range};
use crate::analysis::Analysis;

/// A sentence on all environments of which it is true.
pub(super) struct Shared {
    figures: fn(&Of) -> Vec<Figure>,
    /// Of the names of the environments, and from what to what the figures reach.
    text: fn(&str, &str) -> String,
}

pub(super) const SHARED: &[Shared] = &[
    Shared {
        figures: |of| of.busy_device(),
        text: |names, range| {
            format!(
                "The device was busy for {range} of the time while {names} ran: there it is the disk that limits the \
                 figures."
            )
        },
    },
    Shared {
        figures: |of| of.waiting(),
        text: |names, range| {
            format!(
                "The host\u{2019}s processors spent {range} of their time waiting for the disk while {names} ran."
            )
        },
    },
    Shared {
        figures: |of| of.stolen(),
        text: |names, range| {
            format!(
                "Other machines on the same hypervisor took {range} of the processors\u{2019} time while {names} ran: \
                 differences of that size may be theirs."
            )
        },
    },
    Shared {
        figures: |of| of.spread(),
        text: |names, range| {
            format!(
                "Repetitions in {names} spread by {range} of their mean: smaller differences cannot be seen there."
            )
        },
    },
];

impl Shared {
    pub(super) fn explanation(&self, analysis: &Analysis) -> Option<Explanation> {
        let mut names: Vec<&str> = Vec::new();
        let mut figures = Vec::new();
        for environment in &analysis.results.run.environments {
            let own = (self.figures)(&Of { analysis, environment });
            if !own.is_empty() {
                names.push(&environment.name);
            }
            figures.extend(own.into_iter().map(|mut figure| {
                figure.place = format!("{} in {}", figure.place, environment.name);
                figure
            }));
        }
        let range = range(&figures)?;
        let listed = listed(&names);
        let environment = if names.len() > 1 { String::new() } else { listed.clone() };
        Some(Explanation { environment, text: (self.text)(&listed, &range), figures })
    }
}
