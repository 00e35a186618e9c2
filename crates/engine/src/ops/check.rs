//! `system check`: looks for everything that was left behind or is not true, and mends it if it is asked to.

use crate::state::Store;
use crate::sweep::{self, Finding};
use crate::{Error, Settings};

/// What became of something that was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// A repair was not asked for.
    Found,
    /// It is mended.
    Repaired,
    /// It may be somebody's data, or there are two answers: only its user can decide.
    Left,
    /// It could not be mended, for this reason; and the way out.
    Failed(String, Option<String>),
}

/// Something that was left behind, or that is not true.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// What kind of thing it is: `control group`.
    pub kind: &'static str,
    /// Which: a path, a name, an id.
    pub which: String,
    /// Why it is wrong.
    pub why: String,
    /// What the repair does, in words; where there is none, what its user can do.
    pub remedy: String,
    /// Whether there is a repair that needs nobody's decision.
    pub repairable: bool,
    /// Its steps, as strace(1) would show them.
    pub steps: Vec<String>,
    /// What became of it.
    pub outcome: Outcome,
}

/// Everything that was found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Report {
    /// In the order in which it was found, and mended.
    pub found: Vec<Found>,
    /// What could not be looked at, and why.
    pub unseen: Vec<Error>,
}

impl Report {
    /// Whether nothing is wrong, any more.
    pub fn is_clean(&self) -> bool {
        self.unseen.is_empty() && self.found.iter().all(|found| found.outcome == Outcome::Repaired)
    }
}

/// Looks at everything below the roots and of the kernel that bears an id of ours; with `repair` mends what it can.
pub fn check(settings: &Settings, repair: bool) -> Result<Report, Error> {
    let mut report = Report::default();
    if !settings.root.exists() && !settings.run_root.exists() {
        return Ok(report);
    }
    let store = Store::new(settings);
    store.prepare()?;
    let unseen = sweep::check(settings, &store, &mut |finding| report.found.push(judge(finding, repair)))?;
    report.unseen = unseen.into_iter().map(Error::from).collect();
    Ok(report)
}

fn judge(finding: Finding, repair: bool) -> Found {
    let steps = finding.repair.iter().chain(&finding.then);
    let mut found = Found {
        kind: finding.kind,
        which: finding.which.clone(),
        why: finding.why.clone(),
        remedy: finding.remedy.clone(),
        repairable: finding.is_repairable(),
        steps: steps.map(|step| step.call()).collect(),
        outcome: Outcome::Found,
    };
    found.outcome = match (repair, found.repairable) {
        (false, _) => Outcome::Found,
        (true, false) => Outcome::Left,
        (true, true) => match finding.repair() {
            Ok(()) => Outcome::Repaired,
            Err(failure) => Outcome::Failed(failure.to_string(), failure.hint),
        },
    };
    found
}
